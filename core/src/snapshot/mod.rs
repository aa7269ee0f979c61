//! What a subtask writes of itself at a barrier, and how it is read back.
//!
//! ```text
//! snapshot := "RVSN" version:u16 frame*
//! frame    := kind:u8 section:u32 length:u32 crc32c:u32 payload       the checksum is of all else in the frame
//!   Section   payload = SectionHeader (MessagePack): which state of which operator, and its schema
//!   Rows      payload = row*, row = length:u32 key-hash:u64 body
//!   Stored    payload = number of rows:u64, what their orders follow from beside them; they lie in files of a store,
//!             which the checkpoint names
//!   Blob      payload = what an operator keeps without a key, or bytes that only it understands
//!   End       no payload; a snapshot without it is torn
//! ```
//!
//! Frames of different sections may alternate: tables are scanned in slices while processing goes on,
//! and a row that is about to change is written ahead of its turn. A table over a store gives its rows only to a
//! savepoint; for a checkpoint its store's files are enough. Rows carry their key's hash, so a
//! restore at another parallelism takes its key groups without decoding the others. Numbers are
//! little-endian.
//!
//! | file | concern |
//! |---|---|
//! | `frame.rs` | frames: their headers, written and read |
//! | `rows.rs` | rows, and the frames that they fill |
//! | `builder.rs` | writing a snapshot, chunk by chunk |
//! | `restored.rs` | what was read of snapshots, by operator and state |
//! | `state_type.rs` | what operators keep, to be compared before anything is read |
//! | `streamed.rs` | snapshots whose rows are read when they are needed |

mod builder;
mod frame;
mod restored;
mod rows;
mod state_type;
mod streamed;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::builder::{SnapshotBuilder, SnapshotChunk, SnapshotEnd, concat_chunks};
pub use self::restored::{RestoredState, StateView};
pub(crate) use self::restored::{StoredRows, evolve};
pub use self::rows::{RowFrames, encode_row};
pub use self::state_type::{StateType, WrittenStates};
pub use self::streamed::{SnapshotBytes, read_head};
use crate::ids::OperatorUid;
use crate::schema::Schema;

/// Bytes of a chunk's buffer. Beyond 64 KiB mimalloc takes fresh memory from the system for every single buffer,
/// which the kernel clears first: with chunks of 1 MiB, grown by doubling, that was three quarters of a checkpoint.
const CHUNK_BYTES: usize = 60 << 10;

/// Bytes after which a chunk is handed to the storage; room for one more row is left.
const CHUNK_FULL: usize = 52 << 10;

/// Names one state of one operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionHeader {
    /// The operator.
    pub operator: OperatorUid,
    /// Which of its states.
    pub state: String,
    /// What its keys and values look like, or what an operator keeps without a key; none for bytes that only their owner
    /// understands.
    pub schema: Option<Schema>,
    /// Whether it holds rows by key.
    pub is_rows: bool,
}

/// A section of a snapshot that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionId(u32);

/// How much a section holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionSummary {
    /// Whose state.
    pub operator: OperatorUid,
    /// Which of its states.
    pub state: String,
    /// Number of rows; none if it has no key.
    pub rows: Option<u64>,
    /// Length of its rows, or of its own bytes.
    pub bytes: u64,
}
