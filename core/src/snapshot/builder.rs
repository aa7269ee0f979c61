//! Writing a snapshot, chunk by chunk.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{self, FRAME_HEADER, Frame, FrameKind};
use super::rows::{FullFrame, RowFrames};
use super::{CHUNK_FULL, SectionHeader, SectionId, SectionSummary};
use crate::codec::{self, CodecError};
use crate::ids::{CheckpointId, OperatorUid};
use crate::schema::Schema;
use crate::store::FrozenStore;

/// A piece of a snapshot, whole but for the checksum of its rows.
///
/// [`seal`](Self::seal) is for whoever writes it to the storage: the subtask's own thread has records to work on.
#[derive(Debug)]
pub struct SnapshotChunk {
    bytes: Vec<u8>,
    /// Whether it is one frame of rows, whose checksum is still to be put in.
    rows: bool,
}

impl SnapshotChunk {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its bytes, checksums and all.
    pub fn seal(mut self) -> Bytes {
        if self.rows {
            frame::seal(&mut self.bytes);
        }
        self.bytes.into()
    }
}

/// A snapshot that is being written, chunk by chunk.
#[derive(Debug)]
pub struct SnapshotBuilder {
    checkpoint: CheckpointId,
    sections: Vec<SectionSummary>,
    /// Bytes before the first row, once there is one.
    head: Option<u64>,
    chunk: Vec<u8>,
    ready: Vec<SnapshotChunk>,
    bytes: u64,
    written_ahead: u64,
    /// Whether rows that lie in a store stay there.
    takes_files: bool,
    frozen: Vec<FrozenStore>,
}

impl SnapshotBuilder {
    /// An empty snapshot, of all rows.
    pub fn new(checkpoint: CheckpointId) -> Self {
        let mut chunk = Vec::with_capacity(1 << 10);
        frame::beginning(&mut chunk);
        Self {
            checkpoint,
            sections: Vec::new(),
            head: None,
            chunk,
            ready: Vec::new(),
            bytes: 0,
            written_ahead: 0,
            takes_files: false,
            frozen: Vec::new(),
        }
    }

    /// Takes the files of stores in the place of the rows in them.
    #[must_use]
    pub fn with_files(mut self) -> Self {
        self.takes_files = true;
        self
    }

    /// Whether it takes the files of stores in the place of the rows in them.
    pub fn takes_files(&self) -> bool {
        self.takes_files
    }

    /// Notes that so many rows of a section lie in files.
    pub(crate) fn stored(&mut self, section: SectionId, rows: u64, basis: &str) {
        self.count(section, rows, 0);
        let payload = [&rows.to_le_bytes(), basis.as_bytes()].concat();
        self.frame(FrameKind::Stored, section, &payload);
    }

    /// Hands a store on that holds what it held at the barrier.
    pub(crate) fn add_store(&mut self, store: FrozenStore) {
        self.frozen.push(store);
    }

    /// Takes the stores of which images are to be made: at once, for what changes waits for that.
    pub fn take_stores(&mut self) -> Vec<FrozenStore> {
        std::mem::take(&mut self.frozen)
    }

    /// The checkpoint it belongs to.
    pub fn checkpoint(&self) -> CheckpointId {
        self.checkpoint
    }

    /// Bytes handed out and waiting, so far.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.chunk.len() as u64
    }

    /// Opens a section.
    ///
    /// # Errors
    /// If the header can't be encoded.
    pub fn section(&mut self, header: &SectionHeader) -> Result<SectionId, CodecError> {
        let id = SectionId(self.sections.len() as u32);
        self.sections.push(SectionSummary {
            operator: header.operator.clone(),
            state: header.state.clone(),
            rows: header.is_rows.then_some(0),
            bytes: 0,
        });
        let payload = codec::encode(header)?;
        self.frame(FrameKind::Section, id, &payload);
        Ok(id)
    }

    /// Writes what an operator keeps without a key, which is read as a `T`. Several of one state stand one behind the other.
    ///
    /// # Errors
    /// If the header or the value can't be encoded.
    pub fn blob<T: DeserializeOwned + 'static>(
        &mut self,
        operator: &OperatorUid,
        state: &str,
        value: &impl Serialize,
    ) -> Result<(), CodecError> {
        let mut sections = self.sections.iter();
        let begun = sections.position(|section| {
            section.rows.is_none() && section.operator == *operator && section.state == state
        });
        let section = match begun {
            Some(at) => SectionId(at as u32),
            None => self.section(&SectionHeader {
                operator: operator.clone(),
                state: state.to_owned(),
                schema: Some(Schema::known_of::<T>()),
                is_rows: false,
            })?,
        };
        let payload = codec::encode_as::<T, _>(value)?;
        self.bytes_frame(section, &payload);
        Ok(())
    }

    /// Writes bytes that only their owner understands, as a frame of a section without a schema.
    pub fn bytes_frame(&mut self, section: SectionId, payload: &[u8]) {
        self.count(section, 0, payload.len());
        self.frame(FrameKind::Blob, section, payload);
    }

    /// Takes the full chunks.
    pub fn take_ready(&mut self) -> Vec<SnapshotChunk> {
        std::mem::take(&mut self.ready)
    }

    /// Ends the snapshot and returns what is left of it.
    pub fn finish(mut self) -> SnapshotEnd {
        let head = self.head.unwrap_or(u64::MAX).min(self.bytes());
        self.frame(FrameKind::End, SectionId(0), &[]);
        self.cut();
        SnapshotEnd {
            chunks: self.ready,
            bytes: self.bytes,
            head,
            sections: self.sections,
        }
    }

    /// Notes what goes into a section.
    fn count(&mut self, section: SectionId, rows: u64, bytes: usize) {
        if let Some(summary) = self.sections.get_mut(section.0 as usize) {
            summary.bytes += bytes as u64;
            if let Some(counted) = &mut summary.rows {
                *counted += rows;
            }
        }
    }

    fn frame(&mut self, kind: FrameKind, section: SectionId, payload: &[u8]) {
        if self.head.is_some() {
            // What is not rows is written at the barrier, mostly, and rows come after; else all of it is the head.
            self.head = Some(u64::MAX);
        }
        let frame = Frame::of(kind, section.0, payload);
        self.chunk.extend_from_slice(&frame.header());
        self.chunk.extend_from_slice(payload);
        if self.chunk.len() >= CHUNK_FULL {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let bytes = std::mem::take(&mut self.chunk);
        self.push(SnapshotChunk { bytes, rows: false });
    }

    fn push(&mut self, chunk: SnapshotChunk) {
        self.bytes += chunk.len() as u64;
        self.ready.push(chunk);
    }

    /// Notes that records had so many bytes of rows written, or copied, ahead of their turn.
    pub fn note_written_ahead(&mut self, bytes: u64) {
        self.written_ahead += bytes;
    }

    /// Bytes that were written or copied ahead of their turn since this was last asked.
    pub fn take_written_ahead(&mut self) -> u64 {
        std::mem::take(&mut self.written_ahead)
    }

    /// Takes one of the frames that are full, if there is one.
    pub fn row_frame(&mut self, section: SectionId, rows: &mut RowFrames) {
        let Some(FullFrame { mut frame, rows }) = rows.take_full() else {
            return;
        };
        if !self.chunk.is_empty() {
            // The section's header stands there.
            self.cut();
        }
        self.head.get_or_insert(self.bytes);
        let length = frame.len() - FRAME_HEADER;
        self.count(section, rows, length);
        let header = Frame::unsealed(FrameKind::Rows, section.0, length);
        frame[..FRAME_HEADER].copy_from_slice(&header.header());
        self.push(SnapshotChunk {
            bytes: frame,
            rows: true,
        });
    }
}

/// The last pieces of a snapshot, and what is in it.
#[derive(Debug)]
pub struct SnapshotEnd {
    /// The last pieces.
    pub chunks: Vec<SnapshotChunk>,
    /// Its length.
    pub bytes: u64,
    /// Bytes up to its first row, if nothing but rows comes after; else up to its end. All that is not rows stands there.
    pub head: u64,
    /// The states in it.
    pub sections: Vec<SectionSummary>,
}

/// Pieces of a snapshot in one, as a storage holds them.
pub fn concat_chunks(chunks: Vec<SnapshotChunk>) -> Bytes {
    let pieces: Vec<Bytes> = chunks.into_iter().map(SnapshotChunk::seal).collect();
    pieces.concat().into()
}
