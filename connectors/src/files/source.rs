//! Sources that read text files line by line.

use std::path::{Path, PathBuf};

use rivus_core::{KnownSplits, ParallelInstance, Record, Source, SplitEnumerator, UserError};

use super::compression::Compression;
use super::csv_format::{CsvFormat, CsvParser};
use super::decode::{BadLines, CollectedLines, LineDecoder, ParsedLines, PlainLines};
use super::inputs::{Inputs, length};
use super::pace::Pace;
use super::parsers::JsonParser;
use super::reader::FileReader;
use super::source_error::FileSourceError;
use super::split::FileSplit;
use super::watch::{CutsFiles, Watch, Watching};

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
/// Files are read in the order in which they are named, those of a folder or glob by name. They must not
/// change while a job reads them, and be there under the same name on every machine. Names that start with a dot
/// match a glob only if it says so: what a [`FileSink`](crate::FileSink) has in progress isn't read. Files whose
/// names say that they are packed ([`Compression`]) are unpacked, and read by one subtask each.
#[derive(Debug, Clone)]
pub struct FileSource<D> {
    pub(super) inputs: Inputs,
    split_bytes: u64,
    pub(super) watch: Option<Watch>,
    rate: Option<u64>,
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

    /// Reads the files of a folder, not those of folders in it.
    ///
    /// ```
    /// use rivus_connectors::TextFileSource;
    /// use std::time::Duration;
    ///
    /// let arriving = TextFileSource::folder("inbox").watch(Duration::from_secs(10));
    /// ```
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self::of(Inputs::Folder(path.into()))
    }

    fn of(inputs: Inputs) -> Self {
        Self {
            inputs,
            split_bytes: DEFAULT_SPLIT_BYTES,
            watch: None,
            rate: None,
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
    pub fn parsed_by<T: Record, E: std::fmt::Display + 'static>(
        self,
        parser: impl Fn(&str) -> Result<T, E> + Send + Sync + 'static,
    ) -> ParsedFileSource<T> {
        self.decoding(|_| ParsedLines::new(parser))
    }

    /// Reads CSV whose files begin with the columns' names. A record's fields are found by them, so files may
    /// have other columns too, and in any order. Empty lines are passed.
    ///
    /// A line that is no record fails the job, unless [`bad_lines`](FileSource::bad_lines) or
    /// [`collecting_bad_lines`](FileSource::collecting_bad_lines) says otherwise. What else a file may look like is
    /// said with [`csv_with`](Self::csv_with).
    ///
    /// ```
    /// use rivus_connectors::{BadLines, TextFileSource};
    ///
    /// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    /// struct Trade { symbol: String, price: f64 }
    ///
    /// let trades = TextFileSource::glob("trades/*.csv.gz").csv::<Trade>().bad_lines(BadLines::Skip);
    /// ```
    pub fn csv<T: Record>(self) -> ParsedFileSource<T> {
        self.csv_with(CsvFormat::new())
    }

    /// Reads CSV of another format: with other delimiters, without a header, with line ends in quotes.
    ///
    /// ```
    /// use rivus_connectors::{CsvFormat, TextFileSource};
    ///
    /// let format = CsvFormat::new().delimiter(b'\t').without_header();
    /// let pairs = TextFileSource::new("pairs.tsv").csv_with::<(String, u64)>(format);
    /// ```
    pub fn csv_with<T: Record>(self, format: CsvFormat) -> ParsedFileSource<T> {
        self.decoding(|_| ParsedLines::by(CsvParser::new(format)))
    }

    /// Reads each line as one JSON value. Empty lines are passed; bad ones are treated as by
    /// [`csv`](Self::csv).
    ///
    /// ```
    /// use rivus_connectors::TextFileSource;
    ///
    /// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    /// struct Visit { page: String }
    ///
    /// let visits = TextFileSource::glob("visits/*.jsonl").json_lines::<Visit>();
    /// ```
    pub fn json_lines<T: Record>(self) -> ParsedFileSource<T> {
        self.decoding(|_| ParsedLines::by(JsonParser))
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
    ///
    /// ```
    /// use rivus_connectors::TextFileSource;
    /// use rivus_core::Source;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("numbers.txt");
    /// std::fs::write(&path, "one\ntwo\nthree\n")?;
    /// let source = TextFileSource::new(&path).split_bytes(7);
    /// assert_eq!(source.splits(1)?.len(), 2); // of fourteen bytes
    /// # Ok::<(), rivus_core::UserError>(())
    /// ```
    pub fn split_bytes(mut self, bytes: u64) -> Self {
        self.split_bytes = bytes;
        self
    }

    /// Reads no more lines than this in a second, all subtasks together: to play a file as if it came live. A subtask that
    /// has fallen behind catches up.
    ///
    /// ```
    /// use rivus_connectors::TextFileSource;
    ///
    /// let yesterday = TextFileSource::new("yesterday.log").rate(100);
    /// ```
    pub fn rate(mut self, lines_per_second: u64) -> Self {
        self.rate = Some(lines_per_second);
        self
    }

    /// Goes on looking for files; see [`Watch`].
    ///
    /// A file that goes on growing when it has been taken is read on as long as it isn't at its end: a last line without an end is
    /// taken when the file has stood still for the settle time once more; a packed file that ends in the middle, if it
    /// hasn't grown for ten intervals, fails the job, which can be resumed when the file is whole.
    ///
    /// ```
    /// use rivus_connectors::TextFileSource;
    /// use std::time::Duration;
    ///
    /// let arriving = TextFileSource::folder("inbox").watch(Duration::from_secs(10));
    /// ```
    pub fn watch(mut self, watch: impl Into<Watch>) -> Self {
        self.watch = Some(watch.into());
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
            watch: self.watch,
            rate: self.rate,
            options: self.options,
            decoder: decoder(self.decoder),
        }
    }
}

impl<D: LineDecoder> FileSource<D> {
    /// Refuses options that can't work together.
    fn check_options(&self) -> Result<(), FileSourceError> {
        let layout = self.decoder.layout();
        if self.split_bytes == 0 {
            let option = "split_bytes";
            return Err(FileSourceError::Zero { option });
        }
        if self.rate == Some(0) {
            let option = "rate";
            return Err(FileSourceError::Zero { option });
        }
        if let Some(reason) = self.decoder.refused() {
            return Err(FileSourceError::Format { reason });
        }
        if layout.header && self.options.skip_header {
            return Err(FileSourceError::HeaderSkipped);
        }
        self.inputs.check()?;
        match &self.watch {
            Some(watch) => watch.check(&self.inputs),
            None => Ok(()),
        }
    }

    fn parts(&self, path: &Path, len: u64) -> Vec<FileSplit> {
        match Compression::of(path) {
            Some(compression) => vec![FileSplit::packed(path, len, compression)],
            None if self.decoder.layout().multiline => {
                FileSplit::cut(path, len, u64::MAX).collect()
            }
            None => FileSplit::cut(path, len, self.split_bytes).collect(),
        }
    }
}

impl<D: LineDecoder> CutsFiles for FileSource<D> {
    type Split = FileSplit;

    fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    fn cut(&self, path: &Path, len: u64) -> Result<Vec<FileSplit>, UserError> {
        Ok(self.parts(path, len))
    }

    fn path(split: &FileSplit) -> &Path {
        &split.path
    }
}

impl<D: LineDecoder> Source for FileSource<D> {
    type Out = D::Out;
    type Split = FileSplit;
    type Reader = FileReader<D>;

    fn check(&self) -> Result<(), UserError> {
        Ok(self.check_options()?)
    }

    fn splits(&self, _parallelism: u32) -> Result<Vec<FileSplit>, UserError> {
        let mut splits = Vec::new();
        if self.watch.is_some() {
            // They come with the first look; but the folder has to be there.
            self.inputs.list()?;
            return Ok(splits);
        }
        for path in self.inputs.find()? {
            let len = length(&path)?;
            splits.extend(self.parts(&path, len));
        }
        Ok(splits)
    }

    fn enumerator(
        &self,
        known: KnownSplits<FileSplit>,
    ) -> Result<Option<Box<dyn SplitEnumerator<Split = FileSplit>>>, UserError> {
        Ok(self.watch.as_ref().map(|watch| {
            let watching = Watching::new(self.clone(), watch.clone(), known);
            Box::new(watching) as Box<dyn SplitEnumerator<Split = FileSplit>>
        }))
    }

    fn reader(&self, instance: ParallelInstance) -> Result<FileReader<D>, UserError> {
        let pace = self.rate.map(|rate| Pace::new(rate, instance.parallelism));
        Ok(FileReader::new(self.clone(), pace))
    }
}
