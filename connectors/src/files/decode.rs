//! Records out of lines, and what becomes of lines that are none.

use std::fmt;
use std::sync::Arc;

use rivus_core::Record;
use serde::{Deserialize, Serialize};

use super::place::Place;
use super::source_error::FileSourceError;

type Parser<T> = Arc<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// How a [`FileSource`](crate::FileSource) makes records of lines: what tells its three kinds apart.
pub trait LineDecoder: Clone + Send + Sync + 'static {
    /// What a line becomes.
    type Out: Record;

    /// Makes a record of a line; `None` if the line is to be skipped. `lossy` replaces bytes that aren't
    /// UTF-8; `place` says where the line stands.
    ///
    /// # Errors
    /// If the line is to fail the job.
    fn decode(
        &self,
        line: &[u8],
        lossy: bool,
        place: impl Fn() -> Place,
    ) -> Result<Option<Self::Out>, FileSourceError>;
}

/// Each line as a `String`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainLines;

/// What happens at a line that the parser refuses, or that isn't UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BadLines {
    /// The job fails and names the file and the line.
    #[default]
    Fail,
    /// The line is dropped and counted ([`SourceReader::skipped`](rivus_core::SourceReader::skipped)).
    Skip,
}

/// Each line as the parser reads it; bad ones fail the job or are skipped.
pub struct ParsedLines<T> {
    parser: Parser<T>,
    bad_lines: BadLines,
}

/// Each line as the parser reads it; bad ones are records too.
pub struct CollectedLines<T> {
    parser: Parser<T>,
}

/// A line, parsed or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parsed<T> {
    /// What the parser made of it.
    Ok(T),
    /// A line that the parser refused.
    Bad(BadLine),
}

/// A line that is no record.
///
/// ```
/// use rivus_connectors::{BadLine, Parsed};
///
/// fn describe(line: &Parsed<u64>) -> String {
///     match line {
///         Parsed::Ok(number) => number.to_string(),
///         Parsed::Bad(BadLine { place, text, error, .. }) => format!("{place}: {text:?}: {error}"),
///     }
/// }
/// assert_eq!(describe(&Parsed::Ok(7)), "7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadLine {
    /// Its file.
    pub file: String,
    /// Where it stands: `access.log:1207` or `access.log@byte 123456`.
    pub place: String,
    /// The line; bytes that aren't UTF-8 are replaced.
    pub text: String,
    /// What the parser said.
    pub error: String,
}

impl<T> ParsedLines<T> {
    pub(super) fn new<E: fmt::Display>(
        parser: impl Fn(&str) -> Result<T, E> + Send + Sync + 'static,
    ) -> Self {
        Self {
            parser: Arc::new(move |line| parser(line).map_err(|error| error.to_string())),
            bad_lines: BadLines::Fail,
        }
    }

    pub(super) fn bad_lines(self, bad_lines: BadLines) -> Self {
        Self { bad_lines, ..self }
    }

    pub(super) fn collecting(self) -> CollectedLines<T> {
        CollectedLines {
            parser: self.parser,
        }
    }
}

impl LineDecoder for PlainLines {
    type Out = String;

    fn decode(
        &self,
        line: &[u8],
        lossy: bool,
        place: impl Fn() -> Place,
    ) -> Result<Option<String>, FileSourceError> {
        match str::from_utf8(line) {
            Ok(line) => Ok(Some(line.to_owned())),
            Err(_) if lossy => Ok(Some(String::from_utf8_lossy(line).into_owned())),
            Err(source) => Err(FileSourceError::NotUtf8 {
                place: place(),
                source,
            }),
        }
    }
}

impl<T: Record> LineDecoder for ParsedLines<T> {
    type Out = T;

    fn decode(
        &self,
        line: &[u8],
        lossy: bool,
        place: impl Fn() -> Place,
    ) -> Result<Option<T>, FileSourceError> {
        match (parse(&self.parser, line, lossy, place), self.bad_lines) {
            (Parsed::Ok(record), _) => Ok(Some(record)),
            (Parsed::Bad(_), BadLines::Skip) => Ok(None),
            (Parsed::Bad(bad), BadLines::Fail) => Err(FileSourceError::BadLine { bad }),
        }
    }
}

impl<T: Record> LineDecoder for CollectedLines<T> {
    type Out = Parsed<T>;

    fn decode(
        &self,
        line: &[u8],
        lossy: bool,
        place: impl Fn() -> Place,
    ) -> Result<Option<Parsed<T>>, FileSourceError> {
        Ok(Some(parse(&self.parser, line, lossy, place)))
    }
}

fn parse<T>(parser: &Parser<T>, line: &[u8], lossy: bool, place: impl Fn() -> Place) -> Parsed<T> {
    let parsed = match str::from_utf8(line) {
        Ok(text) => parser(text),
        Err(_) if lossy => parser(&String::from_utf8_lossy(line)),
        Err(error) => Err(format!("not UTF-8: {error}")),
    };
    match parsed {
        Ok(record) => Parsed::Ok(record),
        Err(error) => {
            let place = place();
            Parsed::Bad(BadLine {
                file: place.path.display().to_string(),
                place: place.to_string(),
                text: String::from_utf8_lossy(line).into_owned(),
                error,
            })
        }
    }
}

impl<T> Clone for ParsedLines<T> {
    fn clone(&self) -> Self {
        Self {
            parser: Arc::clone(&self.parser),
            bad_lines: self.bad_lines,
        }
    }
}

impl<T> Clone for CollectedLines<T> {
    fn clone(&self) -> Self {
        Self {
            parser: Arc::clone(&self.parser),
        }
    }
}

impl<T> fmt::Debug for ParsedLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedLines")
            .field("bad_lines", &self.bad_lines)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for CollectedLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectedLines").finish_non_exhaustive()
    }
}
