//! Rows: each is its length, its key's hash, and what stands in it.

use super::frame::FRAME_HEADER;
use super::{CHUNK_BYTES, CHUNK_FULL};
use crate::codec::CodecError;

/// Rows on their way into a snapshot: encoded once, into the very buffers that go to the storage.
#[derive(Debug, Default)]
pub struct RowFrames {
    full: Vec<FullFrame>,
    /// Begins with room for the frame's header.
    open: Vec<u8>,
    open_rows: u64,
}

/// A frame of rows that is full, or the last one of a section.
#[derive(Debug)]
pub(super) struct FullFrame {
    /// Begins with room for its header.
    pub(super) frame: Vec<u8>,
    pub(super) rows: u64,
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

    /// Takes one of the frames that are full.
    pub(super) fn take_full(&mut self) -> Option<FullFrame> {
        self.full.pop()
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

/// Splits the first row off: its key's hash, what stands in it, and what follows it.
///
/// # Errors
/// If it is torn.
pub(super) fn split_row(bytes: &[u8]) -> Result<(u64, &[u8], &[u8]), CodecError> {
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
