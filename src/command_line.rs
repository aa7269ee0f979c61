//! Command lines, as every binary of Rivus reads them.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ErrorKind};
use tracing_subscriber::EnvFilter;

/// Reads the command line. Help and version are printed; a mistake is one line on standard error. What the engine says goes
/// to standard error if `RUST_LOG` asks for it.
///
/// # Errors
/// The code to exit with, if there is nothing to be done.
///
/// ```no_run
/// #[derive(clap::Parser)]
/// struct Cli {
///     #[command(subcommand)]
///     command: rivus::ServiceCommand,
/// }
///
/// fn main() -> std::process::ExitCode {
///     match rivus::command_line::<Cli>() {
///         Ok(cli) => cli.command.run(rivus::Jobs::new()),
///         Err(code) => code,
///     }
/// }
/// ```
pub fn command_line<A: Parser>() -> Result<A, ExitCode> {
    let read = A::try_parse().map_err(|error| {
        let asked = [
            ErrorKind::DisplayHelp,
            ErrorKind::DisplayVersion,
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ];
        if asked.contains(&error.kind()) {
            let _ = error.print();
        } else {
            eprintln!("{} (--help shows the options)", one_line(&error));
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })?;
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        log(EnvFilter::from_default_env());
    }
    Ok(read)
}

/// From here on what the engine says goes to standard error, if it is important enough. Who asks first decides.
pub(crate) fn log(filter: EnvFilter) {
    let errors = std::io::stderr;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(errors().is_terminal())
        .with_writer(errors)
        .try_init();
}

/// The first paragraph of clap's message, on one line; with the flag that may have been meant.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.lines().take_while(|line| !line.trim().is_empty());
    let words: Vec<&str> = paragraph.flat_map(str::split_whitespace).collect();
    let line = words.join(" ");
    match error.get(ContextKind::SuggestedArg) {
        Some(similar) => format!("{line}: did you mean {similar}?"),
        None => line,
    }
}
