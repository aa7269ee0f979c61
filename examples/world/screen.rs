//! Standard output, which somebody may read the beginning of, as in `.. | head`.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use rivus::JobError;

/// Prints lines, until nobody reads them any more.
#[allow(dead_code)] // by those whose job prints
pub fn show(lines: impl IntoIterator<Item = impl Display>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut lines = lines.into_iter();
    match lines.try_for_each(|line| writeln!(stdout, "{line}")) {
        Err(closed) if closed.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// What became of a job that prints; that nobody read it to its end is no failure.
#[allow(dead_code)] // by those that print themselves
pub fn unless_closed<T>(done: Result<T, JobError>) -> Result<(), JobError> {
    match done {
        Err(closed) if closed.is_closed_output() => Ok(()),
        done => done.map(drop),
    }
}
