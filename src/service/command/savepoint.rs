//! `savepoint`: make one, and see what is in one.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use indicatif::HumanBytes;

use super::show::say;
use super::{At, CommandError};
use crate::inspect::SavepointContents;
use crate::savepoint::Savepoint;
use crate::service::api::SavepointOptions;

/// What is asked of savepoints.
#[derive(Debug, Subcommand)]
pub enum SavepointCommand {
    /// Make a savepoint of a job, which goes on
    Create {
        /// The job's id, the beginning of one, or its name
        job: String,
        /// Which service
        #[command(flatten)]
        at: At,
    },
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

impl SavepointCommand {
    pub(super) fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Create { job, at } => {
                super::make_savepoint(&job, SavepointOptions::default(), &at)
            }
            Self::Inspect { path, verify, json } => inspect(&path, verify, json),
        }
    }
}

fn inspect(path: &Path, verify: bool, json: bool) -> Result<(), CommandError> {
    let contents = Savepoint::at(path).inspect(verify)?;
    match json {
        true => super::show::one(true, &contents, |_| String::new()),
        false => show(&contents),
    }
    Ok(())
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
