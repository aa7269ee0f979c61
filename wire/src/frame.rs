//! Frames: a length, and as many bytes.
//!
//! ```text
//! len:u32 (little-endian) payload:len bytes
//! ```
//!
//! A frame without a payload says only that its sender lives.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of a frame's length.
const HEADER: usize = 4;

/// A frame's length is over the limit: whoever wrote it speaks something else, or is set up otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a frame of {len} bytes, where {limit} is the most: is this end's frame limit lower than the peer's?"
)]
pub struct FrameError {
    /// What the length said.
    pub len: usize,
    /// What is allowed.
    pub limit: usize,
}

/// A frame on its way out. What is appended to [`body`](Self::body) is its payload; its length is put in front when it is sent.
#[derive(Debug)]
pub struct Frame(Vec<u8>);

impl Default for Frame {
    fn default() -> Self {
        Self(vec![0; HEADER])
    }
}

impl Frame {
    /// With a payload.
    pub fn of(payload: &[u8]) -> Self {
        let mut frame = Self::default();
        frame.0.extend_from_slice(payload);
        frame
    }

    /// Where the payload is appended. What stands there already stays as it is.
    pub fn body(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Bytes of the payload.
    pub fn len(&self) -> usize {
        self.0.len().saturating_sub(HEADER)
    }

    /// Whether it says only that its sender lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame as it travels.
    ///
    /// # Errors
    /// If it is longer than may be sent.
    pub fn sealed(mut self, limit: usize) -> Result<Vec<u8>, FrameError> {
        let len = self.len();
        match u32::try_from(len) {
            Ok(short) if len <= limit => {
                self.0[..HEADER].copy_from_slice(&short.to_le_bytes());
                Ok(self.0)
            }
            _ => Err(FrameError { len, limit }),
        }
    }
}

/// Cuts frames out of what comes in, in pieces of any size.
///
/// ```
/// use rivus_wire::{Frame, FrameDecoder};
///
/// let mut decoder = FrameDecoder::new(100);
/// let wire = Frame::of(b"to be").sealed(100).unwrap();
/// decoder.buffer().extend_from_slice(&wire[..6]);
/// assert_eq!(decoder.next_frame(), Ok(None)); // not all of it yet
/// decoder.buffer().extend_from_slice(&wire[6..]);
/// assert_eq!(decoder.next_frame().unwrap().unwrap(), b"to be"[..]);
/// ```
#[derive(Debug)]
pub struct FrameDecoder {
    limit: usize,
    buffer: BytesMut,
}

impl FrameDecoder {
    /// Frames up to so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            buffer: BytesMut::new(),
        }
    }

    /// Sets another limit, for what comes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Where to put what has come in.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame's payload, if all of it is there.
    ///
    /// # Errors
    /// If its length is over the limit. Nothing that follows can be made sense of then.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*header) as usize;
        let limit = self.limit;
        if len > limit {
            return Err(FrameError { len, limit });
        }
        if self.buffer.len() < HEADER + len {
            // All of it in one piece, so that nothing is copied twice.
            self.buffer.reserve(HEADER + len - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }
}
