//! Bytes out of records.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use rivus_core::{Event, UserError};
use serde::Serialize;

use super::header;
use super::sink_error::FileSinkError;

/// Appends records to a part's bytes.
pub(super) trait Format<T>: Send + Sync {
    /// Appends records of a run until the bytes are at least `enough`, one at least; returns how many.
    /// `head` is set at the first record of a part.
    fn append(
        &self,
        run: &[Event<T>],
        head: bool,
        enough: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<usize, FileSinkError>;
}

pub(super) type AnyFormat<T> = Arc<dyn Format<T>>;

/// One line per record, made by a function.
pub(super) struct Lines<F> {
    name: &'static str,
    line: F,
}

/// One CSV record per record.
pub(super) struct Csv {
    pub header: bool,
}

/// Each record as it is displayed.
pub(super) fn display<T: Display>() -> AnyFormat<T> {
    lines("a line", |value: &T, bytes| Ok(write!(bytes, "{value}")?))
}

/// Each record as a function of the user's shows it.
pub(super) fn shown<T: 'static, S: Display>(
    show: impl Fn(&T) -> S + Send + Sync + 'static,
) -> AnyFormat<T> {
    lines("a line", move |value: &T, bytes| {
        Ok(write!(bytes, "{}", show(value))?)
    })
}

/// Each record as JSON.
pub(super) fn json<T: Serialize>() -> AnyFormat<T> {
    lines("JSON", |value: &T, bytes| {
        Ok(serde_json::to_writer(bytes, value)?)
    })
}

fn lines<T>(
    name: &'static str,
    line: impl Fn(&T, &mut Vec<u8>) -> Result<(), UserError> + Send + Sync + 'static,
) -> AnyFormat<T> {
    Arc::new(Lines { name, line })
}

impl<T, F> Format<T> for Lines<F>
where
    F: Fn(&T, &mut Vec<u8>) -> Result<(), UserError> + Send + Sync,
{
    fn append(
        &self,
        run: &[Event<T>],
        _head: bool,
        enough: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<usize, FileSinkError> {
        for (at, event) in run.iter().enumerate() {
            (self.line)(&event.value, bytes).map_err(|source| FileSinkError::Format {
                format: self.name,
                source,
            })?;
            bytes.push(b'\n');
            if bytes.len() >= enough {
                return Ok(at + 1);
            }
        }
        Ok(run.len())
    }
}

impl<T: Serialize> Format<T> for Csv {
    fn append(
        &self,
        run: &[Event<T>],
        head: bool,
        enough: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<usize, FileSinkError> {
        let failed = |source: UserError| FileSinkError::Format {
            format: "CSV",
            source,
        };
        let mut writer = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(bytes);
        if let Some(first) = run.first().filter(|_| self.header && head) {
            let columns =
                header::columns(&first.value).map_err(|source| FileSinkError::Header {
                    source: source.into(),
                })?;
            writer
                .write_record(columns)
                .map_err(|error| failed(error.into()))?;
        }
        for (at, event) in run.iter().enumerate() {
            writer
                .serialize(&event.value)
                .map_err(|error| failed(error.into()))?;
            writer.flush().map_err(|error| failed(error.into()))?;
            if writer.get_ref().len() >= enough {
                return Ok(at + 1);
            }
        }
        Ok(run.len())
    }
}
