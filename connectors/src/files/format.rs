//! Bytes out of records.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use rivus_core::{Event, UserError};
use serde::Serialize;

use super::header;
use super::sink_error::FileSinkError;

/// Appends records to a part's bytes. Whatever number of them it has appended, a part that ends there is whole.
pub(super) trait LineFormat<T>: Send + Sync {
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

/// Makes parts that are whole only once they have been finished, and can't be gone on with after that.
pub(super) trait ClosedFormat<T>: Send + Sync {
    /// Refuses records that can't be written so.
    fn check(&self) -> Result<(), FileSinkError>;

    /// Begins one.
    fn begin(&self) -> Result<Box<dyn ClosedPart<T>>, FileSinkError>;
}

/// One such part.
pub(super) trait ClosedPart<T>: Send {
    /// Takes a run; appends what can be written by now.
    fn append(&mut self, run: &[Event<T>], bytes: &mut Vec<u8>) -> Result<(), FileSinkError>;

    /// About how many bytes it holds back.
    fn held(&self) -> u64;

    /// Appends the rest.
    fn finish(self: Box<Self>, bytes: &mut Vec<u8>) -> Result<(), FileSinkError>;
}

/// What a sink makes of records.
pub(super) enum AnyFormat<T> {
    Lines(Arc<dyn LineFormat<T>>),
    /// Made with a feature of this crate only.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    Closed(Arc<dyn ClosedFormat<T>>),
}

impl<T> Clone for AnyFormat<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Lines(format) => Self::Lines(Arc::clone(format)),
            Self::Closed(format) => Self::Closed(Arc::clone(format)),
        }
    }
}

/// One line per record, made by a function.
struct Lines<F> {
    name: &'static str,
    line: F,
}

/// One CSV record per record.
struct Csv {
    header: bool,
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
    AnyFormat::Lines(Arc::new(Lines { name, line }))
}

/// Each record as CSV.
pub(super) fn csv<T: Serialize>(header: bool) -> AnyFormat<T> {
    AnyFormat::Lines(Arc::new(Csv { header }))
}

impl<T, F> LineFormat<T> for Lines<F>
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

impl<T: Serialize> LineFormat<T> for Csv {
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
