//! Events with personal data in, Parquet files without any out.
//!
//! Every line is a JSON object. E-mail addresses and IP addresses are masked wherever they stand, as they are usually
//! written: in an encoded text (`ann%40example.com`, Base64) nobody looks for them. Names are masked in the fields that
//! `--names` lists. Each gets a pseudonym, by a keyed hash: the same person is the same in all files of one key, so that
//! events can still be counted and joined. Lines that can't be read are set aside, with what is wrong with them; what they
//! say may be personal, so only their place is written down.
//!
//! ```text
//! cargo run --features parquet --example etl_mask -- examples/data/events.jsonl out --key $(openssl rand -hex 16)
//! ```

#[path = "world/pseudonym.rs"]
pub mod pseudonym;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use pseudonym::Masks;
use rivus::connectors::{BadLine, FileSink, RollingPolicy, TextFileSource};
use rivus::{JobError, OnError, RunArgs, SideOutputTag, StreamEnvironment};
use serde::{Deserialize, Serialize};

/// Masks personal data in events.
#[derive(Parser)]
pub struct Args {
    /// Files of JSON lines: a path, or a pattern such as `'logs/*.jsonl.gz'`.
    events: String,
    /// Where masked events go, `events/*.parquet`, and places of bad lines, `bad/*.txt`.
    out: PathBuf,
    /// Fields whose whole value is a name.
    #[arg(long, value_delimiter = ',', default_value = "user,seller")]
    names: Vec<String>,
    /// The key of the pseudonyms, 32 hexadecimal digits. Whoever knows it can find out who somebody is.
    #[arg(long, value_parser = key)]
    key: [u64; 2],
    /// A file is closed when it has so many bytes, and at each checkpoint.
    #[arg(long, default_value_t = 64 << 20)]
    max_bytes: u64,
    #[command(flatten)]
    run: RunArgs,
}

fn key(digits: &str) -> Result<[u64; 2], String> {
    match u128::from_str_radix(digits, 16) {
        Ok(key) if digits.len() == 32 => Ok([(key >> 64) as u64, key as u64].map(u64::swap_bytes)),
        _ => Err("give 32 hexadecimal digits".to_owned()),
    }
}

/// A row of the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// When it happened, as the event says.
    pub at: String,
    /// Who did it.
    pub user: String,
    /// From whom something was bought, if something was.
    pub seller: Option<String>,
    /// From where.
    pub client: String,
    /// The user's address.
    pub email: Option<String>,
    /// What else is to be said.
    pub note: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), JobError> {
    let args = Args::parse();
    let env = args.run.environment();
    let env = env.checkpoint_interval(Duration::from_secs(10)).build();
    etl_mask(&env, &args);
    args.run.execute(&env, "mask").await?;
    Ok(())
}

/// The job.
pub fn etl_mask(env: &StreamEnvironment, args: &Args) {
    let bad: SideOutputTag<BadLine> = SideOutputTag::new("bad lines");
    let lines = TextFileSource::glob(&args.events).json_lines::<Shown>();
    let events = env
        .from_source(lines.collecting_bad_lines())
        .bad_lines_to(&bad);
    events
        .side_output(&bad)
        .map(|line| format!("{}: not an event", line.place))
        .sink_to(FileSink::lines(args.out.join("bad")));
    let masks = Masks {
        key: args.key,
        names: args.names.clone(),
    };
    let masked = move |event: Shown| {
        let mut event = serde_json::to_value(event)?;
        masks.mask("", &mut event);
        serde_json::from_value::<Shown>(event)
    };
    let policy = RollingPolicy {
        max_bytes: args.max_bytes,
        on_checkpoint: true,
    };
    events
        .try_map(masked, OnError::Fail)
        .sink_to(FileSink::parquet(args.out.join("events")).rolling(policy));
}
