//! Files: lines in, lines out.
//!
//! Reading: [`source`] cuts files into [`split`]s and hands them to [`reader`]s, which take [`lines`]
//! apart and have them [`decode`]d, by a parser of [`parsers`] or of the user.
//! Writing: [`sink`] draws the layout of the directory and the protocol; a [`writer`] fills [`part`]s
//! whose bytes come from a [`format`], and the [`committer`] renames them.

mod committer;
mod decode;
mod format;
mod header;
mod layout;
mod lines;
mod parsers;
mod part;
mod place;
mod reader;
mod rolling;
mod sink;
mod sink_error;
mod source;
mod source_error;
mod split;
mod writer;

pub use committer::FileCommittable;
pub use decode::{BadLine, BadLines, CollectedLines, LineDecoder, Parsed, ParsedLines, PlainLines};
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
pub use writer::{FileWriter, FileWriterState, OpenPart};
