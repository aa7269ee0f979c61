//! Connectors: where streams come from and where they go.
//!
//! Each is synchronous code behind core's [`Source`](rivus_core::Source) or [`Sink`](rivus_core::Sink):
//! no actor, no clock, no randomness but what a seed gives. Reading the same split again yields the same
//! records, so a recovery only needs a position; writing is two-phase where the target allows.
//!
//! | Source | Reads | Splits |
//! |---|---|---|
//! | [`CollectionSource`] | a `Vec` | contiguous ranges |
//! | [`GeneratorSource`] | a function of (seed, index), at a rate | interleaved indices |
//! | [`TextFileSource`] | lines of files | byte ranges; packed files whole |
//! | [`ParsedFileSource`], [`CollectingFileSource`] | lines of files, parsed: CSV, JSON, your own | the same |
//! | `ParquetSource` (feature `parquet`) | rows of Parquet files | row groups |
//! | [`SocketSource`] | lines from a TCP server, at most once | the address |
//!
//! What a source or sink of your own owes the engine is checked by [`contract`].
//!
//! | Sink | Writes | Guarantee |
//! |---|---|---|
//! | [`FileSink`] | text, CSV, JSON lines, packed or not; Parquet (feature `parquet`) | exactly once: files appear whole, after the checkpoint |
//! | [`CollectSink`] | a `Vec` in memory | exactly once |
//! | [`PrintSink`] | standard output | at least once |
//! | [`DiscardSink`] | nothing; counts | at least once |

mod collect;
mod collection;
pub mod contract;
mod discard;
mod files;
mod generator;
mod print;
mod socket;
mod splitmix;

pub use collect::{CollectCommittable, CollectSink, CollectWriter, Collected};
pub use collection::{CollectionError, CollectionReader, CollectionSource, CollectionSplit};
pub use discard::{DiscardSink, DiscardWriter};
pub use files::{
    BadLine, BadLines, CollectedLines, CollectingFileSource, Compression, CsvFormat, CsvLineError,
    DEFAULT_MAX_LINE_BYTES, DEFAULT_SPLIT_BYTES, Decoded, FileCommittable, FileReader, FileSink,
    FileSinkError, FileSource, FileSourceError, FileSplit, FileWriter, FileWriterState, Header,
    LineDecoder, LineLayout, OpenPart, Parsed, ParsedFileSource, ParsedLines, Place, PlainLines,
    RollingPolicy, TextFileSource, Watch, csv_lines, json_lines,
};
#[cfg(feature = "parquet")]
pub use files::{ParquetReader, ParquetSource, ParquetSplit};
pub use generator::{GeneratorError, GeneratorReader, GeneratorSource, GeneratorSplit};
pub use print::{PrintSink, PrintWriter};
pub use socket::{Network, SocketError, SocketReader, SocketSource, SocketSplit};
pub use splitmix::SplitMix;
