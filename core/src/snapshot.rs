//! What a subtask writes of itself at a barrier, and how it is read back.
//!
//! ```text
//! snapshot := "RVSN" version:u16 frame*
//! frame    := kind:u8 section:u32 length:u32 crc32c:u32 payload
//!   Section   payload = SectionHeader (MessagePack): which state of which operator, and its schema
//!   Rows      payload = row*, row = length:u32 key-hash:u64 body
//!   Stored    payload = number of rows:u64, what their orders follow from beside them; they lie in files of a store,
//!             which the checkpoint names
//!   Blob      payload = an operator's own bytes
//!   End       no payload; a snapshot without it is torn
//! ```
//!
//! Frames of different sections may alternate: tables are scanned in slices while processing goes on,
//! and a row that is about to change is written ahead of its turn. A table over a store gives its rows only to a
//! savepoint; for a checkpoint its store's files are enough. Rows carry their key's hash, so a
//! restore at another parallelism takes its key groups without decoding the others. Numbers are
//! little-endian.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::evolution::{Evolution, Migrations};
use crate::failure::Failure;
use crate::ids::{CheckpointId, OperatorUid};
use crate::key::{KeyGroup, KeyGroupRange};
use crate::schema::Schema;
use crate::store::{EachPiece, FrozenStore, StoreImage};

const MAGIC: &[u8; 4] = b"RVSN";
const VERSION: u16 = 1;
const FRAME_HEADER: usize = 13;

/// Bytes of a chunk's buffer. Beyond 64 KiB mimalloc takes fresh memory from the system for every single buffer,
/// which the kernel clears first: with chunks of 1 MiB, grown by doubling, that was three quarters of a checkpoint.
const CHUNK_BYTES: usize = 60 << 10;

/// Bytes after which a chunk is handed to the storage; room for one more row is left.
const CHUNK_FULL: usize = 52 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum FrameKind {
    Section = 1,
    Rows = 2,
    Blob = 3,
    End = 4,
    Stored = 5,
}

/// Names one state of one operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionHeader {
    /// The operator.
    pub operator: OperatorUid,
    /// Which of its states.
    pub state: String,
    /// What its keys and values look like; none for an operator's own bytes.
    pub schema: Option<Schema>,
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
    /// Number of rows; none if it is an operator's own bytes.
    pub rows: Option<u64>,
    /// Length of its rows, or of its own bytes.
    pub bytes: u64,
}

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
            let (header, payload) = self.bytes.split_at_mut(FRAME_HEADER);
            header[9..].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
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
        chunk.extend_from_slice(MAGIC);
        chunk.extend_from_slice(&VERSION.to_le_bytes());
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
            rows: header.schema.as_ref().map(|_| 0),
            bytes: 0,
        });
        let payload = codec::encode(header)?;
        self.frame(FrameKind::Section, id, &payload);
        Ok(id)
    }

    /// Writes an operator's own bytes as a section of their own.
    ///
    /// # Errors
    /// If the header or the value can't be encoded.
    pub fn blob<T: Serialize + ?Sized>(
        &mut self,
        operator: &OperatorUid,
        state: &str,
        value: &T,
    ) -> Result<(), CodecError> {
        let section = self.section(&SectionHeader {
            operator: operator.clone(),
            state: state.to_owned(),
            schema: None,
        })?;
        let payload = codec::encode(value)?;
        if self.head.is_some() {
            // Operators write their own state at the barrier, rows come after; else all of it is the head.
            self.head = Some(u64::MAX);
        }
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
        self.chunk.push(kind as u8);
        self.chunk.extend_from_slice(&section.0.to_le_bytes());
        self.chunk
            .extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.chunk
            .extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
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
        let Some(FullFrame { mut frame, rows }) = rows.full.pop() else {
            return;
        };
        if !self.chunk.is_empty() {
            // The section's header stands there.
            self.cut();
        }
        self.head.get_or_insert(self.bytes);
        let length = (frame.len() - FRAME_HEADER) as u32;
        self.count(section, rows, length as usize);
        frame[0] = FrameKind::Rows as u8;
        frame[1..5].copy_from_slice(&section.0.to_le_bytes());
        frame[5..9].copy_from_slice(&length.to_le_bytes());
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
    /// Bytes up to its first row: operators' own state stands there.
    pub head: u64,
    /// The states in it.
    pub sections: Vec<SectionSummary>,
}

/// Rows on their way into a snapshot: encoded once, into the very buffers that go to the storage.
#[derive(Debug, Default)]
pub struct RowFrames {
    full: Vec<FullFrame>,
    /// Begins with room for the frame's header.
    open: Vec<u8>,
    open_rows: u64,
}

#[derive(Debug)]
struct FullFrame {
    frame: Vec<u8>,
    rows: u64,
}

impl RowFrames {
    /// Appends a row as [`encode_row`] does. Returns its length.
    ///
    /// # Errors
    /// Whatever `body` returns.
    pub fn row(
        &mut self,
        hash: u64,
        body: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<usize, CodecError> {
        if self.open.is_empty() {
            self.open.reserve_exact(CHUNK_BYTES);
            self.open.extend_from_slice(&[0; FRAME_HEADER]);
        }
        let before = self.open.len();
        encode_row(hash, &mut self.open, body)?;
        let length = self.open.len() - before;
        self.open_rows += 1;
        if self.open.len() >= CHUNK_FULL {
            self.seal();
        }
        Ok(length)
    }

    /// Whether no row waits to be handed on.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty() && self.open.is_empty()
    }

    /// Ends the frame that is not full, if there is one.
    pub fn seal(&mut self) {
        if !self.open.is_empty() {
            self.full.push(FullFrame {
                frame: std::mem::take(&mut self.open),
                rows: std::mem::take(&mut self.open_rows),
            });
        }
    }
}

/// Appends one row: its key's hash, then what `body` writes.
///
/// # Errors
/// Whatever `body` returns.
pub fn encode_row(
    hash: u64,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&hash.to_le_bytes());
    body(out)?;
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Pieces of a snapshot in one, as a storage holds them.
pub fn concat_chunks(chunks: Vec<SnapshotChunk>) -> Bytes {
    let pieces: Vec<Bytes> = chunks.into_iter().map(SnapshotChunk::seal).collect();
    pieces.concat().into()
}

/// A whole snapshot that is read when its rows are needed, in bounded memory.
pub trait SnapshotBytes: Send + Sync {
    /// Reads it from its beginning to its end, piece by piece. It blocks.
    ///
    /// # Errors
    /// If it can't be read or is damaged, or whatever `each` returns.
    fn read(&self, each: EachPiece<'_>) -> Result<(), Failure>;
}

/// The state that an attempt starts from: the snapshots it was given, checked and taken apart.
#[derive(Default)]
pub struct RestoredState {
    /// From old forms of state to those that the program has.
    pub migrations: Migrations,
    /// Whether all that the snapshots allow to be committed has been.
    pub committed: bool,
    sections: BTreeMap<(OperatorUid, String), Vec<RestoredSection>>,
    images: BTreeMap<OperatorUid, Arc<dyn StoreImage>>,
}

/// Rows that lie in files of a store.
pub(crate) struct StoredRows<'a> {
    /// How many.
    pub(crate) rows: u64,
    /// What their orders follow from beside them.
    pub(crate) basis: &'a str,
    /// The files; none if the checkpoint doesn't name them.
    pub(crate) image: Option<&'a Arc<dyn StoreImage>>,
    /// What to do with each row, if its type was another.
    pub(crate) evolution: Option<Evolution<'a>>,
}

/// One state in what was read of snapshots.
#[derive(Debug)]
pub struct StateView<'a> {
    /// Whose state.
    pub operator: &'a OperatorUid,
    /// Which of its states.
    pub state: &'a str,
    /// What it looks like, by each snapshot that has it.
    pub schemas: Vec<&'a Schema>,
    /// Rows that were read.
    pub rows: Option<u64>,
}

struct RestoredSection {
    schema: Option<Schema>,
    frames: Vec<Bytes>,
    /// Its number in a snapshot that is read when its rows are needed.
    streamed: Option<(Arc<dyn SnapshotBytes>, usize)>,
    /// Rows that lie in files, and what their orders follow from beside them.
    stored: Option<(u64, String)>,
}

impl RestoredState {
    /// Takes whole snapshots apart.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] says which part of a snapshot is torn or altered.
    pub fn parse(snapshots: &[Bytes]) -> Result<Self, CodecError> {
        let mut state = Self::default();
        for snapshot in snapshots {
            state.add(snapshot, false, |_, _| true)?;
        }
        Ok(state)
    }

    /// Takes one more snapshot apart, or the head of one: what stands before its first row. Of its sections it keeps those
    /// that are wanted.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] says which part of it is torn or altered.
    pub fn add(
        &mut self,
        snapshot: &Bytes,
        head_only: bool,
        wanted: impl Fn(&OperatorUid, &str) -> bool,
    ) -> Result<(), CodecError> {
        self.add_sections(snapshot, head_only, None, wanted)
    }

    /// Takes a snapshot's head apart, as [`add`](Self::add) does. Its rows are read when somebody takes them.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] says which part of the head is torn or altered.
    pub fn add_streamed(
        &mut self,
        head: &Bytes,
        snapshot: &Arc<dyn SnapshotBytes>,
        wanted: impl Fn(&OperatorUid, &str) -> bool,
    ) -> Result<(), CodecError> {
        self.add_sections(head, true, Some(snapshot), wanted)
    }

    fn add_sections(
        &mut self,
        snapshot: &Bytes,
        head_only: bool,
        rest: Option<&Arc<dyn SnapshotBytes>>,
        wanted: impl Fn(&OperatorUid, &str) -> bool,
    ) -> Result<(), CodecError> {
        let damaged = |what| Err(CodecError::Damaged { what });
        let mut at = check_beginning(snapshot)?;
        let mut open: Vec<((OperatorUid, String), RestoredSection)> = Vec::new();
        loop {
            if head_only && at == snapshot.len() {
                break;
            }
            let Some(frame) = Frame::begin(&snapshot[at..]) else {
                return damaged("a snapshot's end; it is torn");
            };
            at += FRAME_HEADER;
            if snapshot.len() - at < frame.length {
                return damaged("a snapshot's frame; it is torn");
            }
            let payload = snapshot.slice(at..at + frame.length);
            at += frame.length;
            frame.check(&payload)?;
            let Frame { kind, section, .. } = frame;
            if kind == FrameKind::End as u8 {
                break;
            } else if kind == FrameKind::Section as u8 {
                let header: SectionHeader = codec::decode(&payload)?;
                let streamed = rest.map(|rest| (Arc::clone(rest), open.len()));
                let section = RestoredSection {
                    schema: header.schema,
                    frames: Vec::new(),
                    streamed,
                    stored: None,
                };
                open.push(((header.operator, header.state), section));
            } else if kind == FrameKind::Stored as u8 {
                let rows = payload.split_first_chunk::<8>();
                match (open.get_mut(section), rows) {
                    (Some((_, section)), Some((rows, basis))) => {
                        let basis = String::from_utf8_lossy(basis).into_owned();
                        section.stored = Some((u64::from_le_bytes(*rows), basis));
                    }
                    _ => return damaged("a snapshot's frame; its rows were never counted"),
                }
            } else if kind == FrameKind::Rows as u8 || kind == FrameKind::Blob as u8 {
                match open.get_mut(section) {
                    Some((_, section)) => section.frames.push(payload),
                    None => return damaged("a snapshot's frame; its section was never opened"),
                }
            } else {
                return damaged("a snapshot's frame; its kind is unknown");
            }
        }
        let wanted = open
            .into_iter()
            .filter(|((operator, state), _)| wanted(operator, state));
        for (name, section) in wanted {
            self.sections.entry(name).or_default().push(section);
        }
        Ok(())
    }

    fn sections(&self, operator: &OperatorUid, state: &str) -> &[RestoredSection] {
        self.sections
            .get(&(operator.clone(), state.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    /// Calls `each` with the hash and body of every row whose key group is in `range`. Rows of another schema than `own`
    /// are written anew, with the names of their fields.
    ///
    /// # Errors
    /// If a row is torn, or its schema is one that can't be read; and whatever `each` returns.
    pub fn rows(
        &self,
        operator: &OperatorUid,
        state: &str,
        own: &Schema,
        range: KeyGroupRange,
        max_parallelism: u32,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for section in self.sections(operator, state) {
            let evolution = self.evolution(operator, state, section, own)?;
            let mut each = |hash: u64, body: &[u8]| match &evolution {
                None => each(hash, body),
                Some(evolution) => evolve(evolution, operator, state, body, |row| each(hash, row)),
            };
            let mut rows_of = |frame: &[u8]| {
                let mut rest = frame;
                while !rest.is_empty() {
                    let (hash, body, after) = split_row(rest)?;
                    if range.contains(KeyGroup::of(hash, max_parallelism)) {
                        each(hash, body)?;
                    }
                    rest = after;
                }
                Ok(())
            };
            match &section.streamed {
                Some((snapshot, number)) => read_frames(&**snapshot, *number, rows_of)?,
                None => section.frames.iter().try_for_each(|frame| rows_of(frame))?,
            }
        }
        Ok(())
    }

    /// Rows of a state that lie in files, if they do.
    ///
    /// # Errors
    /// If their schema is one that can't be read.
    pub(crate) fn stored(
        &self,
        operator: &OperatorUid,
        state: &str,
        own: &Schema,
    ) -> Result<Option<StoredRows<'_>>, Failure> {
        for section in self.sections(operator, state) {
            if let Some((rows, basis)) = &section.stored {
                return Ok(Some(StoredRows {
                    rows: *rows,
                    basis,
                    image: self.images.get(operator),
                    evolution: self.evolution(operator, state, section, own)?,
                }));
            }
        }
        Ok(None)
    }

    /// Adds the files in which an operator's rows lie.
    pub fn add_image(&mut self, operator: OperatorUid, image: Arc<dyn StoreImage>) {
        self.images.insert(operator, image);
    }

    /// What is to be done with rows of a section that were of another type.
    fn evolution<'a>(
        &'a self,
        operator: &OperatorUid,
        state: &str,
        section: &'a RestoredSection,
        own: &Schema,
    ) -> Result<Option<Evolution<'a>>, Failure> {
        let Some(written) = &section.schema else {
            return Ok(None);
        };
        Evolution::between(written, own, &self.migrations).map_err(|what| {
            refused(
                operator,
                state,
                &what,
                "give a .migrate(..) from what it was",
            )
        })
    }

    /// An operator's own values, one per snapshot that has one.
    ///
    /// # Errors
    /// If one is not a `T`.
    pub fn blobs<T: serde::de::DeserializeOwned>(
        &self,
        operator: &OperatorUid,
        state: &str,
    ) -> Result<Vec<T>, CodecError> {
        self.frames(operator, state).map(codec::decode).collect()
    }

    /// The frames of a section that only their owner understands, in order.
    pub fn frames(&self, operator: &OperatorUid, state: &str) -> impl Iterator<Item = &[u8]> {
        let sections = self.sections(operator, state).iter();
        sections
            .flat_map(|section| &section.frames)
            .map(|frame| &frame[..])
    }

    /// Every state here: its operator, its name, the schemas that it was written with, and its rows, each looked at; no
    /// number where it is an operator's own bytes.
    ///
    /// # Errors
    /// If a row is torn.
    pub fn states(&self) -> Result<Vec<StateView<'_>>, CodecError> {
        let mut states = Vec::new();
        for ((operator, state), sections) in &self.sections {
            let mut rows = 0;
            for section in sections.iter().filter(|section| section.schema.is_some()) {
                for frame in &section.frames {
                    let mut rest = &frame[..];
                    while !rest.is_empty() {
                        rest = split_row(rest)?.2;
                        rows += 1;
                    }
                }
            }
            let schemas: Vec<&Schema> = sections
                .iter()
                .filter_map(|section| section.schema.as_ref())
                .collect();
            states.push(StateView {
                operator,
                state,
                rows: (!schemas.is_empty()).then_some(rows),
                schemas,
            });
        }
        Ok(states)
    }

    /// Uids of all operators that have state here.
    pub fn operators(&self) -> impl Iterator<Item = &OperatorUid> {
        self.sections.keys().map(|(operator, _)| operator)
    }
}

/// What a frame's header says.
struct Frame {
    kind: u8,
    section: usize,
    length: usize,
    crc: u32,
}

impl Frame {
    /// None if the header is not whole.
    fn begin(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<FRAME_HEADER>()?;
        let word =
            |i: usize| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
        Some(Self {
            kind: header[0],
            section: word(1) as usize,
            length: word(5) as usize,
            crc: word(9),
        })
    }

    fn check(&self, payload: &[u8]) -> Result<(), CodecError> {
        match crc32c::crc32c(payload) == self.crc {
            true => Ok(()),
            false => Err(CodecError::Damaged {
                what: "a snapshot's frame; its checksum doesn't match",
            }),
        }
    }
}

/// Checks a snapshot's first bytes. Returns where its frames begin.
fn check_beginning(snapshot: &[u8]) -> Result<usize, CodecError> {
    let damaged = |what| Err(CodecError::Damaged { what });
    let frames = MAGIC.len() + 2;
    if snapshot.len() < frames || &snapshot[..4] != MAGIC {
        return damaged("a snapshot's beginning");
    }
    if snapshot[4..6] != VERSION.to_le_bytes() {
        return damaged("a snapshot's version; it was written by another version of Rivus");
    }
    Ok(frames)
}

/// Reads a snapshot and hands on what the frames of rows of one section hold.
fn read_frames(
    snapshot: &dyn SnapshotBytes,
    section: usize,
    mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // What has been read and not taken: less than a frame and a piece.
    let mut bytes: Vec<u8> = Vec::new();
    let (mut is_begun, mut has_ended) = (false, false);
    snapshot.read(&mut |piece| {
        bytes.extend_from_slice(piece);
        let mut at = 0;
        if !is_begun {
            if bytes.len() < MAGIC.len() + 2 {
                return Ok(());
            }
            at = check_beginning(&bytes)?;
            is_begun = true;
        }
        while let Some(frame) = Frame::begin(&bytes[at..]) {
            let start = at + FRAME_HEADER;
            let Some(payload) = bytes.get(start..start + frame.length) else {
                break;
            };
            if frame.kind == FrameKind::Rows as u8 && frame.section == section {
                frame.check(payload)?;
                each(payload)?;
            }
            has_ended |= frame.kind == FrameKind::End as u8;
            at = start + frame.length;
        }
        bytes.drain(..at);
        Ok(())
    })?;
    match has_ended {
        true => Ok(()),
        false => Err(CodecError::Damaged {
            what: "a snapshot's end; it is torn",
        }
        .into()),
    }
}

/// Hands a row of another type on, written anew.
pub(crate) fn evolve(
    evolution: &Evolution<'_>,
    operator: &OperatorUid,
    state: &str,
    row: &[u8],
    each: impl FnOnce(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let evolved = evolution.row(row);
    let taken = evolved.and_then(|row| each(&row).map_err(|failure| failure.message));
    let mend = "give a new field #[serde(default)], or a .migrate(..) from what it was";
    taken.map_err(|what| refused(operator, state, &what, mend))
}

/// State that can't be read, in one line.
fn refused(operator: &OperatorUid, state: &str, what: &str, mend: &str) -> Failure {
    Failure::job(format!(
        "state \"{state}\" of operator {operator}: {what}; {mend}, or let the state go by .drop_state_of(\"{operator}\")"
    ))
}

fn split_row(bytes: &[u8]) -> Result<(u64, &[u8], &[u8]), CodecError> {
    let damaged = CodecError::Damaged {
        what: "a row of keyed state",
    };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(damaged);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length < 8 || rest.len() < length {
        return Err(damaged);
    }
    let (row, after) = rest.split_at(length);
    let mut hash = [0; 8];
    hash.copy_from_slice(&row[..8]);
    Ok((u64::from_le_bytes(hash), &row[8..], after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Bytes, u64, Vec<SectionSummary>) {
        let mut builder = SnapshotBuilder::new(CheckpointId(3));
        let section = builder
            .section(&SectionHeader {
                operator: "count".into(),
                state: "rows".into(),
                schema: Some(Schema::of::<u64>()),
            })
            .unwrap();
        builder.blob(&"source".into(), "splits", &7_u32).unwrap();
        let mut rows = RowFrames::default();
        for hash in [0_u64, u64::MAX / 2, u64::MAX] {
            let encode = |out: &mut Vec<u8>| codec::encode_into(&hash, out);
            rows.row(hash, encode).unwrap();
        }
        rows.seal();
        builder.row_frame(section, &mut rows);
        let end = builder.finish();
        (concat_chunks(end.chunks), end.head, end.sections)
    }

    #[test]
    fn rows_come_back_for_the_key_groups_asked_for() {
        let state = RestoredState::parse(&[sample().0]).unwrap();
        let mut seen = Vec::new();
        let own = Schema::of::<u64>();
        let range = KeyGroupRange {
            start: 64,
            end: 128,
        };
        state
            .rows(&"count".into(), "rows", &own, range, 128, |hash, body| {
                assert_eq!(codec::decode::<u64>(body)?, hash);
                seen.push(hash);
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [u64::MAX]);
        let splits: Vec<u32> = state.blobs(&"source".into(), "splits").unwrap();
        assert_eq!(splits, [7]);
    }

    #[test]
    fn a_snapshot_damaged_anywhere_is_refused_and_never_panics() {
        let (whole, ..) = sample();
        for length in 0..whole.len() {
            assert!(RestoredState::parse(&[whole.slice(..length)]).is_err());
        }
        for at in 0..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 0x40;
            if let Ok(state) = RestoredState::parse(&[bytes.into()]) {
                // Only a frame's section number is not covered by its checksum.
                let _ = state.blobs::<u32>(&"source".into(), "splits");
            }
        }
    }

    /// A snapshot that comes in pieces of a size.
    struct Pieces(Bytes, usize);

    impl SnapshotBytes for Pieces {
        fn read(&self, each: EachPiece<'_>) -> Result<(), Failure> {
            self.0.chunks(self.1).try_for_each(each)
        }
    }

    #[test]
    fn rows_that_are_streamed_are_those_that_were_written_whatever_the_pieces() {
        let (whole, head, _) = sample();
        let read = |bytes: Bytes, piece: usize| {
            let mut state = RestoredState::default();
            let bytes: Arc<dyn SnapshotBytes> = Arc::new(Pieces(bytes, piece));
            let head = whole.slice(..head as usize);
            state.add_streamed(&head, &bytes, |_, _| true).unwrap();
            let splits: Vec<u32> = state.blobs(&"source".into(), "splits").unwrap();
            assert_eq!(splits, [7]);
            let (own, mut seen) = (Schema::of::<u64>(), Vec::new());
            let all = KeyGroupRange { start: 0, end: 128 };
            let each = |hash: u64, _: &[u8]| {
                seen.push(hash);
                Ok(())
            };
            let read = state.rows(&"count".into(), "rows", &own, all, 128, each);
            read.map(|()| seen)
        };
        for piece in 1..=whole.len() {
            let rows = read(whole.clone(), piece).unwrap();
            assert_eq!(rows, [0, u64::MAX / 2, u64::MAX], "pieces of {piece}");
        }
        for length in 0..whole.len() {
            assert!(read(whole.slice(..length), 9).is_err(), "torn at {length}");
        }
    }

    #[test]
    fn the_head_of_a_snapshot_holds_the_operators_own_state_and_no_row() {
        let (whole, head, sections) = sample();
        let mut state = RestoredState::default();
        state
            .add(&whole.slice(..head as usize), true, |_, _| true)
            .unwrap();
        let splits: Vec<u32> = state.blobs(&"source".into(), "splits").unwrap();
        assert_eq!(splits, [7]);
        let all = KeyGroupRange { start: 0, end: 128 };
        let none = |_, _: &[u8]| panic!("a row in the head");
        let own = Schema::of::<u64>();
        state
            .rows(&"count".into(), "rows", &own, all, 128, none)
            .unwrap();
        let counted: Vec<_> = sections.iter().map(|s| (&*s.state, s.rows)).collect();
        assert_eq!(counted, [("rows", Some(3)), ("splits", None)]);
        // Torn inside the head, it is refused.
        let torn = state.add(&whole.slice(..head as usize - 1), true, |_, _| true);
        assert!(torn.is_err());
        let mut state = RestoredState::default();
        let counts = |operator: &OperatorUid, _: &str| operator.0 == "count";
        state.add(&whole, false, counts).unwrap();
        assert_eq!(state.operators().collect::<Vec<_>>(), [&"count".into()]);
    }
}
