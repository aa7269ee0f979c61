//! The `rivus` binary.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Allocation is what limits a stream processor; this allocator is the faster one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A fault-tolerant stream processor on actors.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Start with `rivus demo`: a job whose actors are killed, and whose output doesn't show it.\n\
                  RUST_LOG=rivus=info says on standard error what the engine does."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a job, kill its actors and its leader, and compare the output with an undisturbed run
    Demo(cli::demo::Args),
    /// Measure the engine beside hand-written loops
    Bench(cli::bench::Args),
    /// Look into savepoints
    #[command(subcommand)]
    Savepoint(cli::savepoint::Command),
}

fn main() -> ExitCode {
    let Cli { command } = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    cli::start_tracing();
    let done = match command {
        Command::Demo(args) => cli::demo::run(&args),
        Command::Bench(args) => cli::bench::run(args).map(|()| ExitCode::SUCCESS),
        Command::Savepoint(command) => cli::savepoint::run(&command),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
