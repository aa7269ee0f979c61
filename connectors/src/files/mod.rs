//! Files: lines in, lines out.
//!
//! Reading: [`source`] cuts files into [`split`]s and hands them to [`reader`]s, which take [`lines`]
//! apart and have them [`decode`]d, by a parser of [`parsers`] or [`csv_format`] or of the user. Which files
//! there are is seen through [`inputs`]; a [`watch`] goes on looking, and what is [`unfinished`] waits.
//! Writing: [`sink`] draws the layout of the directory and the protocol; a [`writer`] fills [`part`]s
//! whose bytes come from a [`format`], and the [`committer`] renames them.

mod committer;
mod compression;
mod csv_format;
mod decode;
mod format;
mod header;
mod inputs;
mod layout;
mod lines;
mod pace;
#[cfg(feature = "parquet")]
mod parquet;
mod parsers;
mod part;
mod passing;
mod place;
mod reader;
mod rolling;
mod sink;
mod sink_error;
mod source;
mod source_error;
mod split;
mod unfinished;
mod watch;
mod writer;

pub use committer::FileCommittable;
pub use compression::Compression;
pub use csv_format::CsvFormat;
pub use decode::{
    BadLine, BadLines, CollectedLines, Decoded, Header, LineDecoder, LineLayout, Parsed,
    ParsedLines, PlainLines,
};
#[cfg(feature = "parquet")]
pub use parquet::{ParquetReader, ParquetSource, ParquetSplit};
pub use parsers::{CsvLineError, csv_lines, json_lines};
pub use place::Place;
pub use reader::FileReader;
pub use rolling::RollingPolicy;
pub use sink::FileSink;
pub use sink_error::FileSinkError;
pub use source::{
    CollectingFileSource, DEFAULT_MAX_LINE_BYTES, DEFAULT_SPLIT_BYTES, FileSource,
    ParsedFileSource, TextFileSource,
};
pub use source_error::FileSourceError;
pub use split::FileSplit;
pub use watch::Watch;
pub use writer::{FileWriter, FileWriterState, OpenPart};
