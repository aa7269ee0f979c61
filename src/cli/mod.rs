//! What the binary's subcommands do, and what they have in common.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod savepoint;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tracing_subscriber::EnvFilter;

/// Reads the command line. Help and version are printed; a mistake is one line on standard error.
pub(crate) fn parse<A: Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        let asked = [
            ErrorKind::DisplayHelp,
            ErrorKind::DisplayVersion,
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ];
        if asked.contains(&error.kind()) {
            let _ = error.print();
        } else {
            eprintln!("{}", one_line(&error));
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// Prints a line. Whoever reads may stop before the end, as `head` does; the work goes on.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The first paragraph of clap's message, on one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.lines().take_while(|line| !line.trim().is_empty());
    let words: Vec<&str> = paragraph.flat_map(str::split_whitespace).collect();
    format!("{} (--help shows the options)", words.join(" "))
}

/// What the engine says goes to standard error if `RUST_LOG` asks for it.
pub(crate) fn start_tracing() {
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
}
