//! Snapshots whose rows are read when they are needed.

use bytes::Bytes;

use super::frame::{BEGINNING, FRAME_HEADER, Frame, FrameKind, beginning, check_beginning};
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

    /// The failure of whoever finds in it what was not written so. What is damaged is so when it is read again.
    fn damaged(&self, what: CodecError) -> Failure;
}

/// Reads a snapshot and hands on what the frames of rows of one section hold.
pub(super) fn read_rows(
    snapshot: &dyn SnapshotBytes,
    section: usize,
    mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    read_frames(snapshot, |frame, kind, payload| {
        if kind == FrameKind::Rows && frame.section() == section {
            frame
                .check(payload)
                .map_err(|what| snapshot.damaged(what))?;
            each(payload)?;
        }
        Ok(())
    })
}

/// The head of a snapshot in which something stands behind rows: all that is not rows, as if it had been written before
/// them. Reads the whole of it, and keeps no row.
///
/// # Errors
/// If it can't be read, is torn, or holds what this version doesn't know.
pub fn read_head(snapshot: &dyn SnapshotBytes) -> Result<Bytes, Failure> {
    let mut head = Vec::new();
    beginning(&mut head);
    read_frames(snapshot, |frame, kind, payload| {
        if kind != FrameKind::Rows && kind != FrameKind::End {
            head.extend_from_slice(&frame.header());
            head.extend_from_slice(payload);
        }
        Ok(())
    })?;
    Ok(head.into())
}

/// Reads a snapshot frame by frame. Whoever takes one checks it.
fn read_frames(
    snapshot: &dyn SnapshotBytes,
    mut each: impl FnMut(Frame, FrameKind, &[u8]) -> Result<(), Failure>,
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
            at = check_beginning(&bytes).map_err(|what| snapshot.damaged(what))?;
            is_begun = true;
        }
        while let Some(frame) = Frame::begin(&bytes[at..]) {
            let start = at + FRAME_HEADER;
            let Some(payload) = bytes.get(start..start + frame.length()) else {
                break;
            };
            let kind = frame.kind().map_err(|what| snapshot.damaged(what))?;
            each(frame, kind, payload)?;
            has_ended |= kind == FrameKind::End;
            at = start + frame.length();
        }
        bytes.drain(..at);
        Ok(())
    })?;
    match has_ended {
        true => Ok(()),
        false => Err(snapshot.damaged(CodecError::Damaged {
            what: "a snapshot's end; it is torn",
        })),
    }
}
