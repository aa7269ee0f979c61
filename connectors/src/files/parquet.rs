//! Parquet files, in and out: records by serde, over Arrow's arrays.
//!
//! A file is whole only once its footer has been written, so a part is closed at every barrier and none is gone on
//! with after a recovery. Reading, a row group is a split; a reader goes on at a row of it.

use std::collections::VecDeque;
use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::{DataType, FieldRef, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rivus_core::{
    Event, Failure, KnownSplits, MIN_TIMESTAMP, ParallelInstance, ReadStatus, Record, Source,
    SourceReader, SplitEnumerator, Timestamp, UserError,
};
use serde::{Deserialize, Serialize};
use serde_arrow::schema::{SchemaLike, TracingOptions};

use super::format::{AnyFormat, ClosedFormat, ClosedPart};
use super::inputs::Inputs;
use super::sink::FileSink;
use super::sink_error::FileSinkError;
use super::source_error::FileSourceError;
use super::watch::{CutsFiles, Watch, Watching};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 1_024;

impl<T: Record> FileSink<T> {
    /// Records as the rows of Parquet files (`part-<job>-0-0.parquet`), packed inside with Zstandard. The record is a struct;
    /// its fields are the columns. An enum without data is a text; one with data has no column, and is refused when the
    /// job is started.
    ///
    /// Files are closed at every checkpoint, since one is whole only at its end: the time between checkpoints makes
    /// their size. Needs the feature `parquet`.
    ///
    /// ```
    /// use rivus_connectors::FileSink;
    ///
    /// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    /// struct Views { page: String, times: u64 }
    ///
    /// let views = FileSink::<Views>::parquet("out/views");
    /// ```
    pub fn parquet(dir: impl Into<PathBuf>) -> Self {
        let format = Parquet::<T>(PhantomData);
        Self::of(dir, "parquet", AnyFormat::Closed(Arc::new(format)))
    }
}

struct Parquet<T>(PhantomData<fn() -> T>);

struct Open {
    fields: Vec<FieldRef>,
    writer: ArrowWriter<Vec<u8>>,
}

fn unwritable(error: impl Into<UserError>) -> FileSinkError {
    FileSinkError::Format {
        format: "Parquet",
        source: error.into(),
    }
}

/// A record's fields as columns: enums without data as texts.
fn columns<T: Record>() -> Result<Vec<FieldRef>, FileSinkError> {
    let refused = |source: UserError| FileSinkError::Columns {
        record: std::any::type_name::<T>(),
        source,
    };
    let options = TracingOptions::default()
        .allow_null_fields(true)
        .map_as_struct(false)
        .enums_without_data_as_strings(true);
    let columns = Vec::<FieldRef>::from_type::<T>(options);
    let columns = columns.map_err(|error| refused(error.message().into()))?;
    match columns.iter().find_map(variants) {
        None => Ok(columns),
        Some(field) => {
            let field = format!(
                "{field} is an enum whose variants have data: make it a struct with an Option for each"
            );
            Err(refused(field.into()))
        }
    }
}

/// The name of the first field in which there is an enum with data.
fn variants(field: &FieldRef) -> Option<String> {
    let within = match field.data_type() {
        DataType::Union(..) => return Some(field.name().clone()),
        DataType::Struct(fields) => fields.iter().find_map(variants)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => variants(item)?,
        _ => return None,
    };
    Some(format!("{}.{within}", field.name()))
}

impl<T: Record> ClosedFormat<T> for Parquet<T> {
    fn check(&self) -> Result<(), FileSinkError> {
        columns::<T>().map(drop)
    }

    fn begin(&self) -> Result<Box<dyn ClosedPart<T>>, FileSinkError> {
        let fields = columns::<T>()?;
        let schema = Arc::new(Schema::new(fields.clone()));
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd).build();
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties));
        let writer = writer.map_err(unwritable)?;
        Ok(Box::new(Open { fields, writer }))
    }
}

impl<T: Record> ClosedPart<T> for Open {
    fn append(&mut self, run: &[Event<T>], bytes: &mut Vec<u8>) -> Result<(), FileSinkError> {
        let records: Vec<&T> = run.iter().map(|event| &event.value).collect();
        let rows = serde_arrow::to_record_batch(&self.fields, &records).map_err(unwritable)?;
        self.writer.write(&rows).map_err(unwritable)?;
        bytes.append(self.writer.inner_mut());
        Ok(())
    }

    fn held(&self) -> u64 {
        self.writer.in_progress_size() as u64
    }

    fn finish(self: Box<Self>, bytes: &mut Vec<u8>) -> Result<(), FileSinkError> {
        bytes.append(&mut self.writer.into_inner().map_err(unwritable)?);
        Ok(())
    }
}

/// Reads the rows of Parquet files as records, whose fields are found among the columns by their names. Row groups
/// are read in parallel. Needs the feature `parquet`.
///
/// Files are read in the order in which they are named, those of a folder or glob by name, and must not change while a
/// job reads them.
///
/// ```
/// use rivus_connectors::ParquetSource;
///
/// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
/// struct Trade { symbol: String, price: f64 }
///
/// let trades = ParquetSource::<Trade>::glob("trades/*.parquet");
/// ```
#[derive(Debug)]
pub struct ParquetSource<T> {
    inputs: Inputs,
    watch: Option<Watch>,
    of: PhantomData<fn() -> T>,
}

/// A row group of a file, and how many of its rows have been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.ParquetSplit")]
pub struct ParquetSplit {
    /// The file.
    pub path: PathBuf,
    /// Which of its row groups, from 0.
    pub row_group: u64,
    /// The next row, from 0.
    pub row: u64,
}

/// Reads row groups one after the other.
pub struct ParquetReader<T> {
    splits: VecDeque<ParquetSplit>,
    /// What is left of the first split, once it has been opened.
    open: Option<ParquetRecordBatchReader>,
    decoded: std::vec::IntoIter<T>,
    last: Option<String>,
}

impl<T> ParquetSource<T> {
    /// Reads one file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::of(Inputs::Paths(vec![path.into()]))
    }

    /// Reads the files that match a pattern.
    pub fn glob(pattern: impl Into<String>) -> Self {
        Self::of(Inputs::Glob(pattern.into()))
    }

    /// Reads the files of a folder, not those of folders in it.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self::of(Inputs::Folder(path.into()))
    }

    fn of(inputs: Inputs) -> Self {
        Self {
            inputs,
            watch: None,
            of: PhantomData,
        }
    }

    /// Goes on looking for files; see [`Watch`]. A file that has no footer yet is looked at again; one that stands still without
    /// one for ten looks fails the job.
    ///
    /// ```
    /// use rivus_connectors::{ParquetSource, Watch};
    /// use std::time::Duration;
    ///
    /// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    /// struct Trade { symbol: String, price: f64 }
    ///
    /// let watch = Watch::every(Duration::from_secs(10)).until("day/_DONE");
    /// let day = ParquetSource::<Trade>::folder("day").watch(watch);
    /// ```
    pub fn watch(mut self, watch: impl Into<Watch>) -> Self {
        self.watch = Some(watch.into());
        self
    }
}

impl<T> Clone for ParquetSource<T> {
    fn clone(&self) -> Self {
        Self {
            watch: self.watch.clone(),
            ..Self::of(self.inputs.clone())
        }
    }
}

fn unreadable(path: &Path, error: impl Into<UserError>) -> UserError {
    Failure::permanent(FileSourceError::Parquet {
        path: path.to_owned(),
        source: error.into(),
    })
    .into()
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, UserError> {
    super::inputs::length(path)?;
    let file = File::open(path).map_err(|source| {
        let path = path.to_owned();
        FileSourceError::Open { path, source }.into_user_error()
    })?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(path, error))
}

impl<T: Record> CutsFiles for ParquetSource<T> {
    type Split = ParquetSplit;

    fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    fn cut(&self, path: &Path, _len: u64) -> Result<Vec<ParquetSplit>, UserError> {
        let groups = open(path)?.metadata().num_row_groups() as u64;
        let split = |row_group| ParquetSplit {
            path: path.to_owned(),
            row_group,
            row: 0,
        };
        Ok((0..groups).map(split).collect())
    }

    fn path(split: &ParquetSplit) -> &Path {
        &split.path
    }
}

impl<T: Record> Source for ParquetSource<T> {
    type Out = T;
    type Split = ParquetSplit;
    type Reader = ParquetReader<T>;

    fn check(&self) -> Result<(), UserError> {
        self.inputs.check()?;
        match &self.watch {
            Some(watch) => Ok(watch.check(&self.inputs)?),
            None => Ok(()),
        }
    }

    fn splits(&self, _parallelism: u32) -> Result<Vec<ParquetSplit>, UserError> {
        if self.watch.is_some() {
            // They come with the first look; but the folder has to be there.
            self.inputs.list()?;
            return Ok(Vec::new());
        }
        let files = self.inputs.find()?.into_iter();
        let cut = files.map(|path| self.cut(&path, 0));
        Ok(cut.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn enumerator(
        &self,
        known: KnownSplits<ParquetSplit>,
    ) -> Result<Option<Box<dyn SplitEnumerator<Split = ParquetSplit>>>, UserError> {
        Ok(self.watch.as_ref().map(|watch| {
            let watching = Watching::new(self.clone(), watch.clone(), known);
            Box::new(watching) as Box<dyn SplitEnumerator<Split = ParquetSplit>>
        }))
    }

    fn reader(&self, _instance: ParallelInstance) -> Result<ParquetReader<T>, UserError> {
        Ok(ParquetReader {
            splits: VecDeque::new(),
            open: None,
            decoded: Vec::new().into_iter(),
            last: None,
        })
    }
}

impl<T: Record> SourceReader for ParquetReader<T> {
    type Out = T;
    type Split = ParquetSplit;

    fn add_split(&mut self, split: ParquetSplit) -> Result<(), UserError> {
        self.splits.push_back(split);
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<T>>,
        max: usize,
        _now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let Some(split) = self.splits.front_mut() else {
            return Ok(ReadStatus::SplitsDone);
        };
        if self.decoded.len() == 0 {
            let rows = match self.open.take() {
                Some(rows) => rows,
                None => open(&split.path)?
                    .with_row_groups(vec![split.row_group as usize])
                    .with_offset(split.row as usize)
                    .with_batch_size(BATCH_ROWS)
                    .build()
                    .map_err(|error| unreadable(&split.path, error))?,
            };
            match self.open.insert(rows).next() {
                None => {
                    self.open = None;
                    self.splits.pop_front();
                    return Ok(ReadStatus::More);
                }
                Some(batch) => {
                    let batch = batch.map_err(|error| unreadable(&split.path, error))?;
                    let records = serde_arrow::from_record_batch::<Vec<T>>(&batch);
                    let records = records.map_err(|error| unreadable(&split.path, error))?;
                    self.decoded = records.into_iter();
                }
            }
        }
        let before = out.len();
        let records = self.decoded.by_ref().take(max);
        out.extend(records.map(|record| Event::at(MIN_TIMESTAMP, record)));
        split.row += (out.len() - before) as u64;
        self.last = Some(format!(
            "{}, row group {}, row {}",
            split.path.display(),
            split.row_group,
            split.row
        ));
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<ParquetSplit> {
        self.splits.iter().cloned().collect()
    }

    fn position(&self) -> Option<String> {
        self.last.clone()
    }
}
