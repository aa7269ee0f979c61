//! Snapshots whose rows are read when they are needed.

use super::frame::{BEGINNING, FRAME_HEADER, Frame, FrameKind, check_beginning};
use crate::codec::CodecError;
use crate::failure::Failure;
use crate::store::EachPiece;

/// A whole snapshot that is read when its rows are needed, in bounded memory.
pub trait SnapshotBytes: Send + Sync {
    /// Reads it from its beginning to its end, piece by piece. It blocks.
    ///
    /// # Errors
    /// If it can't be read or is damaged, or whatever `each` returns.
    fn read(&self, each: EachPiece<'_>) -> Result<(), Failure>;
}

/// Reads a snapshot and hands on what the frames of rows of one section hold.
pub(super) fn read_rows(
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
            if bytes.len() < BEGINNING {
                return Ok(());
            }
            at = check_beginning(&bytes)?;
            is_begun = true;
        }
        while let Some(frame) = Frame::begin(&bytes[at..]) {
            let start = at + FRAME_HEADER;
            let Some(payload) = bytes.get(start..start + frame.length()) else {
                break;
            };
            let kind = frame.kind()?;
            if kind == FrameKind::Rows && frame.section() == section {
                frame.check(payload)?;
                each(payload)?;
            }
            has_ended |= kind == FrameKind::End;
            at = start + frame.length();
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
