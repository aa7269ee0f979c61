//! Sources that read text files line by line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rivus_core::{ParallelInstance, Source, UserError};

use super::decode::{BadLines, CollectedLines, LineDecoder, ParsedLines, PlainLines};
use super::reader::FileReader;
use super::source_error::FileSourceError;
use super::split::FileSplit;

/// How many bytes of a file one split holds, unless told otherwise.
pub const DEFAULT_SPLIT_BYTES: u64 = 32 * 1024 * 1024;

/// The longest line that is taken for a line, unless told otherwise.
pub const DEFAULT_MAX_LINE_BYTES: usize = 64 * 1024 * 1024;

/// Reads the lines of files as `String`s.
///
/// ```
/// use rivus_connectors::TextFileSource;
///
/// let one = TextFileSource::new("access.log");
/// let some = TextFileSource::paths(["monday.log", "tuesday.log"]);
/// let many = TextFileSource::glob("logs/**/*.log").split_bytes(8 * 1024 * 1024).lossy_utf8();
/// ```
pub type TextFileSource = FileSource<PlainLines>;

/// Reads the lines of files as records of a type; see [`FileSource::parsed_by`].
pub type ParsedFileSource<T> = FileSource<ParsedLines<T>>;

/// Reads the lines of files as [`Parsed`](crate::Parsed) records, good and bad; see
/// [`FileSource::collecting_bad_lines`].
pub type CollectingFileSource<T> = FileSource<CollectedLines<T>>;

/// Reads text files line by line, by byte ranges in parallel; written as [`TextFileSource`],
/// [`ParsedFileSource`] or [`CollectingFileSource`].
///
/// Files are read in the order in which they are named, those of a glob by name. They must not change
/// while a job reads them, and be there under the same name on every machine. Names that start with a dot
/// match a glob only if it says so: what a [`FileSink`](crate::FileSink) has in progress isn't read.
#[derive(Debug, Clone)]
pub struct FileSource<D> {
    inputs: Inputs,
    split_bytes: u64,
    pub(super) options: LineOptions,
    pub(super) decoder: D,
}

/// How lines are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineOptions {
    pub lossy: bool,
    pub skip_header: bool,
    pub max_line_bytes: usize,
}

#[derive(Debug, Clone)]
enum Inputs {
    Paths(Vec<PathBuf>),
    Glob(String),
}

impl TextFileSource {
    /// Reads one file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::paths([path])
    }

    /// Reads some files, in this order.
    pub fn paths<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self::of(Inputs::Paths(paths.into_iter().map(Into::into).collect()))
    }

    /// Reads the files that match a pattern (`*`, `?`, `[a-z]`, `**` for any directories) when the job
    /// starts, in the order of their names.
    pub fn glob(pattern: impl Into<String>) -> Self {
        Self::of(Inputs::Glob(pattern.into()))
    }

    fn of(inputs: Inputs) -> Self {
        Self {
            inputs,
            split_bytes: DEFAULT_SPLIT_BYTES,
            options: LineOptions {
                lossy: false,
                skip_header: false,
                max_line_bytes: DEFAULT_MAX_LINE_BYTES,
            },
            decoder: PlainLines,
        }
    }

    /// Makes records of lines. A line that the parser refuses fails the job, unless
    /// [`bad_lines`](FileSource::bad_lines) or
    /// [`collecting_bad_lines`](FileSource::collecting_bad_lines) says otherwise.
    ///
    /// ```
    /// use rivus_connectors::{BadLines, TextFileSource, csv_lines};
    ///
    /// let trades = TextFileSource::new("trades.csv")
    ///     .skip_header()
    ///     .parsed_by(csv_lines::<(String, f64)>())
    ///     .bad_lines(BadLines::Skip);
    /// let numbers = TextFileSource::new("numbers.txt").parsed_by(|line| line.parse::<u64>());
    /// ```
    pub fn parsed_by<T, E: std::fmt::Display>(
        self,
        parser: impl Fn(&str) -> Result<T, E> + Send + Sync + 'static,
    ) -> ParsedFileSource<T> {
        self.decoding(|_| ParsedLines::new(parser))
    }
}

impl<T> ParsedFileSource<T> {
    /// What happens at a line that the parser refuses, or that isn't UTF-8.
    ///
    /// ```
    /// use rivus_connectors::{BadLines, TextFileSource};
    ///
    /// let numbers = TextFileSource::new("numbers.txt").parsed_by(str::parse::<u64>).bad_lines(BadLines::Skip);
    /// ```
    pub fn bad_lines(self, bad_lines: BadLines) -> Self {
        self.decoding(|decoder| decoder.bad_lines(bad_lines))
    }

    /// Yields bad lines as records beside the good ones, to be split off downstream.
    ///
    /// ```
    /// use rivus_connectors::{Parsed, TextFileSource};
    /// use rivus_core::Source;
    ///
    /// let lines = TextFileSource::new("numbers.txt").parsed_by(str::parse::<u64>).collecting_bad_lines();
    /// fn yields<S: Source<Out = Parsed<u64>>>(_source: &S) {}
    /// yields(&lines);
    /// ```
    pub fn collecting_bad_lines(self) -> CollectingFileSource<T> {
        self.decoding(ParsedLines::collecting)
    }
}

impl<D> FileSource<D> {
    /// Cuts files into splits of this many bytes; a line belongs to the split in which it begins.
    pub fn split_bytes(mut self, bytes: u64) -> Self {
        self.split_bytes = bytes;
        self
    }

    /// Replaces bytes that aren't UTF-8 by `U+FFFD`, instead of failing.
    pub fn lossy_utf8(mut self) -> Self {
        self.options.lossy = true;
        self
    }

    /// Passes the first line of each file.
    pub fn skip_header(mut self) -> Self {
        self.options.skip_header = true;
        self
    }

    /// Fails at lines longer than this many bytes, the line end's `\n` not counted. A reader's buffer holds one
    /// line.
    ///
    /// ```
    /// use rivus_connectors::TextFileSource;
    ///
    /// let log = TextFileSource::glob("logs/*.log")
    ///     .skip_header()
    ///     .lossy_utf8()
    ///     .split_bytes(1 << 20)
    ///     .max_line_bytes(64 * 1024);
    /// ```
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.options.max_line_bytes = bytes;
        self
    }

    fn decoding<E>(self, decoder: impl FnOnce(D) -> E) -> FileSource<E> {
        FileSource {
            inputs: self.inputs,
            split_bytes: self.split_bytes,
            options: self.options,
            decoder: decoder(self.decoder),
        }
    }
}

impl<D: LineDecoder> Source for FileSource<D> {
    type Out = D::Out;
    type Split = FileSplit;
    type Reader = FileReader<D>;

    fn splits(&self, _parallelism: u32) -> Result<Vec<FileSplit>, UserError> {
        if self.split_bytes == 0 {
            let option = "split_bytes";
            return Err(FileSourceError::Zero { option }.into());
        }
        let mut splits = Vec::new();
        for path in self.inputs.find()? {
            let len = length(&path)?;
            splits.extend(FileSplit::cut(&path, len, self.split_bytes));
        }
        Ok(splits)
    }

    fn reader(&self, _instance: ParallelInstance) -> Result<FileReader<D>, UserError> {
        Ok(FileReader::new(self.clone()))
    }
}

impl Inputs {
    fn find(&self) -> Result<Vec<PathBuf>, FileSourceError> {
        match self {
            Self::Paths(paths) if paths.is_empty() => Err(FileSourceError::NoPaths),
            Self::Paths(paths) => Ok(paths.clone()),
            Self::Glob(pattern) => matching(pattern),
        }
    }
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>, FileSourceError> {
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        ..glob::MatchOptions::default()
    };
    let found = glob::glob_with(pattern, options).map_err(|source| FileSourceError::Pattern {
        pattern: pattern.to_owned(),
        source,
    })?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| FileSourceError::List {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() {
        let pattern = pattern.to_owned();
        return Err(FileSourceError::NoMatch { pattern });
    }
    files.sort();
    Ok(files)
}

fn length(path: &Path) -> Result<u64, FileSourceError> {
    let path = || path.to_owned();
    match fs::metadata(path()) {
        Ok(found) if found.is_file() => Ok(found.len()),
        Ok(_) => Err(FileSourceError::NotAFile { path: path() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(FileSourceError::Missing { path: path() })
        }
        Err(source) => Err(FileSourceError::Open {
            path: path(),
            source,
        }),
    }
}
