//! `rivus savepoint`: what is in a savepoint.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use indicatif::HumanBytes;
use rivus::{Savepoint, SavepointContents};

use super::say;

/// What is asked of savepoints.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the operators in a savepoint: their states, schemas, sizes and key counts; and its files
    Inspect {
        /// The savepoint's folder
        path: PathBuf,
        /// Read all of it, and check every checksum and row
        #[arg(long)]
        verify: bool,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Inspect { path, verify, json } = command;
    let contents = Savepoint::at(path).inspect(*verify)?;
    if *json {
        say(&serde_json::to_string(&contents)?);
    } else {
        show(&contents);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(contents: &SavepointContents) {
    say(&format!(
        "{} of job \"{}\" ({}): checkpoint {}, {} key groups, {} in {} files",
        contents.kind,
        contents.name,
        contents.job,
        contents.checkpoint,
        contents.max_parallelism,
        HumanBytes(contents.bytes),
        contents.files.len(),
    ));
    for operator in &contents.operators {
        say("");
        let name = match operator.name == operator.uid {
            true => String::new(),
            false => format!(" ({})", operator.name),
        };
        say(&format!(
            "{}{name}, parallelism {}{}",
            operator.uid,
            operator.parallelism,
            if operator.states.is_empty() {
                ": no state"
            } else {
                ""
            },
        ));
        for state in &operator.states {
            let keys = state
                .keys
                .map_or(String::new(), |keys| format!("{keys} keys, "));
            say(&format!(
                "  {}: {keys}{}",
                state.name,
                HumanBytes(state.bytes)
            ));
            if let Some(schema) = &state.schema {
                say(&format!("    {schema}"));
            }
        }
    }
    say("");
    let widest = contents.files.iter().map(|file| file.name.len()).max();
    for file in &contents.files {
        let (name, width) = (&file.name, widest.unwrap_or(0));
        let bytes = HumanBytes(file.bytes).to_string();
        say(&format!(
            "{name:width$}  {bytes:>12}  crc32c {}",
            file.crc32c
        ));
    }
    say(match contents.verified {
        true => "all of it was read: every length, checksum and row is as it was written",
        false => {
            "only what stands at the beginning of each file was read; --verify reads all of it"
        }
    });
}
