//! `savepoint`: make one, and see what is in one.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use rivus_state::CheckpointStorage;

use super::show::say;
use super::{At, CommandError};
use crate::config::{Config, Flags, ForBucket};
use crate::error::JobError;
use crate::inspect::{SavepointContents, look};
use crate::savepoint::Savepoint;
use crate::service::api::SavepointOptions;
use crate::service::settings::storage_at;

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
        /// The savepoint's folder, or s3://BUCKET/PREFIX/savepoints/NAME
        path: PathBuf,
        /// Read all of it, and check every checksum and row
        #[arg(long)]
        verify: bool,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
        /// How the bucket is reached
        #[command(flatten)]
        bucket: Bucket,
    },
}

/// How a bucket is reached.
#[derive(Debug, Args)]
pub struct Bucket {
    #[command(flatten)]
    flags: Flags<ForBucket>,
}

impl SavepointCommand {
    pub(super) fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Create { job, at } => {
                super::make_savepoint(&job, SavepointOptions::default(), &at)
            }
            Self::Inspect {
                path,
                verify,
                json,
                bucket,
            } => inspect(&path, &bucket, verify, json),
        }
    }
}

fn inspect(path: &Path, bucket: &Bucket, verify: bool, json: bool) -> Result<(), CommandError> {
    let place = path.to_str().filter(|place| place.contains("://"));
    let contents = match place {
        None => Savepoint::at(path).inspect(verify)?,
        Some(place) => {
            let config = Config::read(&bucket.flags)?;
            let storage = storage_at(&config, place)?.map_err(JobError::Savepoint)?;
            look(&CheckpointStorage::new(storage.open()?), "", verify)?
        }
    };
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
