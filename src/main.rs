//! The `rivus` binary.

mod builtin;
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
                  RUST_LOG=rivus=info says on standard error what the engine does.\n\
                  Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no service, leader or etcd answers: try again."
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
    #[command(flatten)]
    Service(rivus::ServiceCommand),
}

fn main() -> ExitCode {
    let Cli { command } = match rivus::command_line() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let done = match command {
        Command::Demo(args) => cli::demo::run(&args),
        Command::Bench(args) => cli::bench::run(args).map(|()| ExitCode::SUCCESS),
        Command::Service(command) => return command.run(builtin::jobs()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
