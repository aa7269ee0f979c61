//! Bids as JSON lines.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use rivus_nexmark::{EPOCH, Generator, NexmarkConfig, NexmarkEvent};

use crate::run::count;

/// What is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to: a directory, whose files bids-0.jsonl, bids-1.jsonl and so on are written anew
    directory: PathBuf,
    /// How many, such as 10M
    #[arg(long, default_value = "1M", value_parser = count)]
    bids: u64,
    /// To how many files, by turns. A file is read in parallel, too, by ranges of bytes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    files: u64,
    /// Events a second of event time, of which 46 in 50 are bids
    #[arg(long, default_value = "10k", value_parser = count)]
    rate: u64,
    /// Another one, other bids
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let directory = &args.directory;
    fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))?;
    // What an earlier call has written, and nothing else.
    if let Ok(old) = super::files(directory) {
        for path in old {
            fs::remove_file(&path).with_context(|| format!("can't remove {path:?}"))?;
        }
    }
    let generator = Generator::new(NexmarkConfig {
        // More than there are bids among them.
        events: args.bids.saturating_mul(2).saturating_add(EPOCH),
        events_per_second: args.rate,
        seed: args.seed,
    });
    let paths = (0..args.files).map(|number| directory.join(format!("bids-{number}.jsonl")));
    let mut files = Vec::new();
    for path in paths {
        let file = File::create(&path).with_context(|| format!("can't write {path:?}"))?;
        files.push((path, BufWriter::with_capacity(1 << 20, file)));
    }
    let bids = generator.events().filter_map(NexmarkEvent::bid);
    let turns = (0..files.len()).cycle();
    for (bid, turn) in bids.take(args.bids as usize).zip(turns) {
        let (path, file) = &mut files[turn];
        let line = serde_json::to_string(&bid)?;
        writeln!(file, "{line}").with_context(|| format!("can't write {path:?}"))?;
    }
    for (path, mut file) in files {
        file.flush()
            .with_context(|| format!("can't write {path:?}"))?;
    }
    Ok(())
}
