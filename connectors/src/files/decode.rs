//! Records out of lines, and what becomes of lines that are none.

use std::fmt;
use std::sync::Arc;

use csv::StringRecord;
use rivus_core::Record;
use serde::{Deserialize, Serialize};

use super::place::Place;
use super::source_error::FileSourceError;

type Parser<T> = Arc<dyn LineParser<T>>;

/// What a format makes of one line.
pub(super) trait LineParser<T>: Send + Sync {
    /// How its files are laid out.
    fn layout(&self) -> LineLayout {
        LineLayout::default()
    }

    /// Why it can't be used.
    fn refused(&self) -> Option<&'static str> {
        None
    }

    /// What a file's first line says, where the layout has a header.
    fn header(&self, line: &str) -> Result<Header, String> {
        let _ = line;
        Ok(Header::default())
    }

    /// A record; none if the line is an empty one that the format passes.
    fn parse(&self, line: &str, header: Option<&Header>) -> Result<Option<T>, String>;
}

/// Any function that makes a record of a line.
struct ByFunction<F>(F);

impl<T, E: fmt::Display, F: Fn(&str) -> Result<T, E> + Send + Sync> LineParser<T>
    for ByFunction<F>
{
    fn parse(&self, line: &str, _header: Option<&Header>) -> Result<Option<T>, String> {
        (self.0)(line).map(Some).map_err(|error| error.to_string())
    }
}

/// How the lines of a file are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineLayout {
    /// Its first line says what the others mean.
    pub header: bool,
    /// A line goes on in the next one while a quote is open.
    pub multiline: bool,
}

/// What the first line of a file says of the others.
#[derive(Debug, Clone, Default)]
pub struct Header(pub(super) StringRecord);

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded<T> {
    /// A record.
    Record(T),
    /// It is no record, and was dropped.
    Skipped,
    /// There is nothing in it.
    Nothing,
}

/// How a [`FileSource`](crate::FileSource) makes records of lines: what tells its three kinds apart.
pub trait LineDecoder: Clone + Send + Sync + 'static {
    /// What a line becomes.
    type Out: Record;

    /// How its files are laid out.
    fn layout(&self) -> LineLayout {
        LineLayout::default()
    }

    /// Why it can't be used, if it can't.
    fn refused(&self) -> Option<&'static str> {
        None
    }

    /// Reads a file's first line, where the layout has a header.
    ///
    /// # Errors
    /// If the line is no header; it fails the job.
    fn header(&self, line: &[u8], place: Place) -> Result<Header, FileSourceError> {
        let _ = (line, place);
        Ok(Header::default())
    }

    /// Makes a record of a line. `lossy` replaces bytes that aren't UTF-8; `place` says where the line
    /// stands.
    ///
    /// # Errors
    /// If the line is to fail the job. In a box: what is returned for every line is to be small.
    fn decode(
        &self,
        line: &[u8],
        header: Option<&Header>,
        lossy: bool,
        place: impl Fn() -> Place,
    ) -> Result<Decoded<Self::Out>, Box<FileSourceError>>;
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
#[serde(rename = "rivus.Parsed")]
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
#[serde(rename = "rivus.BadLine")]
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
    pub(super) fn new<E: fmt::Display + 'static>(
        parser: impl Fn(&str) -> Result<T, E> + Send + Sync + 'static,
    ) -> Self
    where
        T: 'static,
    {
        Self::by(ByFunction(parser))
    }

    pub(super) fn by(parser: impl LineParser<T> + 'static) -> Self {
        Self {
            parser: Arc::new(parser),
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
        _header: Option<&Header>,
        lossy: bool,
        place: impl Fn() -> Place,
    ) -> Result<Decoded<String>, Box<FileSourceError>> {
        match str::from_utf8(line) {
            Ok(line) => Ok(Decoded::Record(line.to_owned())),
            Err(_) if lossy => Ok(Decoded::Record(String::from_utf8_lossy(line).into_owned())),
            Err(source) => Err(Box::new(FileSourceError::NotUtf8 {
                place: place(),
                source,
            })),
        }
    }
}

impl<T: Record> LineDecoder for ParsedLines<T> {
    type Out = T;

    fn layout(&self) -> LineLayout {
        self.parser.layout()
    }

    fn refused(&self) -> Option<&'static str> {
        self.parser.refused()
    }

    fn header(&self, line: &[u8], place: Place) -> Result<Header, FileSourceError> {
        header(&self.parser, line, place)
    }

    fn decode(
        &self,
        line: &[u8],
        header: Option<&Header>,
        lossy: bool,
        place: impl Fn() -> Place,
    ) -> Result<Decoded<T>, Box<FileSourceError>> {
        match parse(&self.parser, line, header, lossy) {
            Ok(Some(record)) => Ok(Decoded::Record(record)),
            Ok(None) => Ok(Decoded::Nothing),
            Err(_) if self.bad_lines == BadLines::Skip => Ok(Decoded::Skipped),
            Err(error) => {
                let bad = bad_line(line, &place(), error);
                Err(Box::new(FileSourceError::BadLine { bad }))
            }
        }
    }
}

impl<T: Record> LineDecoder for CollectedLines<T> {
    type Out = Parsed<T>;

    fn layout(&self) -> LineLayout {
        self.parser.layout()
    }

    fn refused(&self) -> Option<&'static str> {
        self.parser.refused()
    }

    fn header(&self, line: &[u8], place: Place) -> Result<Header, FileSourceError> {
        header(&self.parser, line, place)
    }

    fn decode(
        &self,
        line: &[u8],
        header: Option<&Header>,
        lossy: bool,
        place: impl Fn() -> Place,
    ) -> Result<Decoded<Parsed<T>>, Box<FileSourceError>> {
        Ok(match parse(&self.parser, line, header, lossy) {
            Ok(Some(record)) => Decoded::Record(Parsed::Ok(record)),
            Ok(None) => Decoded::Nothing,
            Err(error) => Decoded::Record(Parsed::Bad(bad_line(line, &place(), error))),
        })
    }
}

fn header<T>(parser: &Parser<T>, line: &[u8], place: Place) -> Result<Header, FileSourceError> {
    let header = str::from_utf8(line)
        .map_err(|error| format!("not UTF-8: {error}"))
        .and_then(|line| parser.header(line));
    header.map_err(|reason| FileSourceError::Header { place, reason })
}

fn parse<T>(
    parser: &Parser<T>,
    line: &[u8],
    header: Option<&Header>,
    lossy: bool,
) -> Result<Option<T>, String> {
    match str::from_utf8(line) {
        Ok(text) => parser.parse(text, header),
        Err(_) if lossy => parser.parse(&String::from_utf8_lossy(line), header),
        Err(error) => Err(format!("not UTF-8: {error}")),
    }
}

fn bad_line(line: &[u8], place: &Place, error: String) -> BadLine {
    BadLine {
        file: place.path.display().to_string(),
        place: place.to_string(),
        text: String::from_utf8_lossy(line).into_owned(),
        error,
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
