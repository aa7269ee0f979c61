//! The `nexmark` binary.

mod beside;
mod lines;

mod outlet;
mod plot;
mod process;
mod published;
mod run;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As in `rivus`: allocation is what limits a stream processor.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Nexmark on Rivus: queries to an auction house, and what they take
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one query at full speed, and say what it took
    Run(run::Args),
    /// Run all queries, each in a process of its own: a table of what they took
    All(table::Args),
    /// Run some queries beside loops that are written by hand, by turns
    Beside(beside::Args),
    /// Say what there is to be run
    List,
    /// The job that users run: bids as JSON lines, a job over them and a loop by hand
    #[command(subcommand)]
    Lines(lines::Command),
}

fn main() -> ExitCode {
    process::start();
    let Cli { command } = Cli::parse();
    let done = match command {
        Command::Run(args) => run::run(&args),
        Command::All(args) => table::run(&args),
        Command::Beside(args) => beside::run(&args),
        Command::Lines(command) => lines::run(&command),
        Command::List => {
            for query in rivus_nexmark::Query::all() {
                println!("{:>4}  {}", query.to_string(), query.meaning());
            }
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
