//! Runs any number of seeds, with a line that tells how far it is.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use rivus_chaos::{keep_everything, replay_command, run_seeds};

/// Whole jobs under faults, seed after seed.
#[derive(Parser)]
#[command(name = "rivus-chaos")]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// One seed only, with all that happened if it fails.
    #[arg(long, conflicts_with_all = ["from", "seeds"])]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seeds = match options.seed {
        Some(seed) => {
            keep_everything();
            seed..seed.saturating_add(1)
        }
        None => options.from..options.from.saturating_add(options.seeds),
    };
    let all = seeds.end - seeds.start;
    let summary = run_seeds(seeds, |summary| {
        eprint!("\r{summary} (of {all})");
        let _ = std::io::stderr().flush();
    });
    eprintln!();
    for failed in &summary.failed {
        println!("{}", replay_command(failed.seed));
    }
    match summary.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
