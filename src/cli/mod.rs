//! What the binary's own subcommands do, and what they have in common.

pub(crate) mod bench;
pub(crate) mod demo;

use std::io::Write;

/// Prints a line. Whoever reads may stop before the end, as `head` does; the work goes on.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
