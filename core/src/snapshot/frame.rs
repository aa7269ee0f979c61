//! Frames: what a snapshot is made of. The format is drawn in the module above.

use crate::codec::CodecError;

const MAGIC: &[u8; 4] = b"RVSN";
const VERSION: u16 = 1;

/// Where the first frame begins.
pub(super) const BEGINNING: usize = MAGIC.len() + 2;

/// Bytes of a frame's header.
pub(super) const FRAME_HEADER: usize = 13;

/// Where the checksum stands in a header; it is its last part.
const CHECKSUM_AT: usize = 9;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// A section begins.
    Section = 1,
    /// Rows of a section.
    Rows = 2,
    /// An operator's own bytes.
    Blob = 3,
    /// The snapshot is whole.
    End = 4,
    /// Rows of a section lie in a store's files.
    Stored = 5,
}

impl FrameKind {
    fn of(byte: u8) -> Result<Self, CodecError> {
        let all = [
            Self::Section,
            Self::Rows,
            Self::Blob,
            Self::End,
            Self::Stored,
        ];
        let kind = all.into_iter().find(|kind| *kind as u8 == byte);
        kind.ok_or(CodecError::Damaged {
            what: "a snapshot's frame; its kind is unknown",
        })
    }
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    kind: u8,
    section: u32,
    length: u32,
    crc: u32,
}

impl Frame {
    /// Of a payload.
    pub(super) fn of(kind: FrameKind, section: u32, payload: &[u8]) -> Self {
        let unsealed = Self::unsealed(kind, section, payload.len());
        Self {
            crc: checksum(&unsealed.header(), payload),
            ..unsealed
        }
    }

    /// Without a checksum; [`seal`] puts it in.
    pub(super) fn unsealed(kind: FrameKind, section: u32, length: usize) -> Self {
        Self {
            kind: kind as u8,
            section,
            length: length as u32,
            crc: 0,
        }
    }

    /// As it stands before its payload.
    pub(super) fn header(self) -> [u8; FRAME_HEADER] {
        let mut header = [0; FRAME_HEADER];
        header[0] = self.kind;
        header[1..5].copy_from_slice(&self.section.to_le_bytes());
        header[5..CHECKSUM_AT].copy_from_slice(&self.length.to_le_bytes());
        header[CHECKSUM_AT..].copy_from_slice(&self.crc.to_le_bytes());
        header
    }

    /// None if the header is not whole.
    pub(super) fn begin(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<FRAME_HEADER>()?;
        let word =
            |i: usize| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
        Some(Self {
            kind: header[0],
            section: word(1),
            length: word(5),
            crc: word(CHECKSUM_AT),
        })
    }

    /// What it holds.
    ///
    /// # Errors
    /// If this version knows of no such kind.
    pub(super) fn kind(self) -> Result<FrameKind, CodecError> {
        FrameKind::of(self.kind)
    }

    /// The number of its section.
    pub(super) fn section(self) -> usize {
        self.section as usize
    }

    /// Bytes of its payload.
    pub(super) fn length(self) -> usize {
        self.length as usize
    }

    /// Compares header and payload with their checksum.
    ///
    /// # Errors
    /// If it is another.
    pub(super) fn check(self, payload: &[u8]) -> Result<(), CodecError> {
        match checksum(&self.header(), payload) == self.crc {
            true => Ok(()),
            false => Err(CodecError::Damaged {
                what: "a snapshot's frame; its checksum doesn't match",
            }),
        }
    }
}

/// The checksum of what a header says beside it, and of the payload.
fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..CHECKSUM_AT]), payload)
}

/// Puts its checksum into a frame that was written without.
pub(super) fn seal(frame: &mut [u8]) {
    let (header, payload) = frame.split_at_mut(FRAME_HEADER);
    let crc = checksum(header, payload);
    header[CHECKSUM_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// A snapshot's first bytes.
pub(super) fn beginning(out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
}

/// Checks a snapshot's first bytes. Returns where its frames begin.
pub(super) fn check_beginning(snapshot: &[u8]) -> Result<usize, CodecError> {
    let damaged = |what| Err(CodecError::Damaged { what });
    if snapshot.len() < BEGINNING || &snapshot[..MAGIC.len()] != MAGIC {
        return damaged("a snapshot's beginning");
    }
    if snapshot[MAGIC.len()..BEGINNING] != VERSION.to_le_bytes() {
        return Err(CodecError::Version { what: "a snapshot" });
    }
    Ok(BEGINNING)
}
