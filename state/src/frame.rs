//! The header in front of every small durable object: manifests, log entries, log snapshots.
//!
//! ```text
//! 0      4          6            14         18
//! | magic | version  | length     | crc32c   | body ...
//! | 4     | u16 LE   | u64 LE     | u32 LE   |
//! ```
//!
//! The length is the body's. The checksum covers everything but itself, so a flipped bit in the header is found too.

use bytes::{Bytes, BytesMut};

use crate::error::StorageError;

/// The newest version written and read.
pub(crate) const VERSION: u16 = 1;
const CHECKED: usize = 14;
const HEADER: usize = 18;

/// One kind of framed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) magic: [u8; 4],
    /// For messages: "is not a ...".
    pub(crate) kind: &'static str,
}

impl Frame {
    /// The body behind its header.
    pub(crate) fn encode(&self, body: &[&[u8]]) -> Bytes {
        let len: usize = body.iter().map(|part| part.len()).sum();
        let mut out = BytesMut::with_capacity(HEADER + len);
        out.extend_from_slice(&self.magic);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(len as u64).to_le_bytes());
        let crc = body.iter().fold(crc32c::crc32c(&out), |crc, part| {
            crc32c::crc32c_append(crc, part)
        });
        out.extend_from_slice(&crc.to_le_bytes());
        for part in body {
            out.extend_from_slice(part);
        }
        out.freeze()
    }

    /// The body, if all of it is there and as it was written.
    pub(crate) fn decode(&self, name: &str, bytes: &Bytes) -> Result<Bytes, StorageError> {
        let wrong_length = |expected: u64| StorageError::Length {
            name: name.to_owned(),
            expected,
            actual: bytes.len() as u64,
        };
        let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(wrong_length(HEADER as u64));
        };
        let [m0, m1, m2, m3, v0, v1, length @ .., c0, c1, c2, c3] = *header;
        if [m0, m1, m2, m3] != self.magic {
            return Err(StorageError::Kind {
                name: name.to_owned(),
                kind: self.kind,
                found: [m0, m1, m2, m3],
            });
        }
        let found = u16::from_le_bytes([v0, v1]);
        if found != VERSION {
            return Err(StorageError::Version {
                name: name.to_owned(),
                found,
                supported: VERSION,
            });
        }
        let expected = u64::from_le_bytes(length).saturating_add(HEADER as u64);
        if expected != bytes.len() as u64 {
            return Err(wrong_length(expected));
        }
        let body = bytes.slice(HEADER..);
        verify(
            name,
            u32::from_le_bytes([c0, c1, c2, c3]),
            crc32c::crc32c_append(crc32c::crc32c(&header[..CHECKED]), &body),
        )?;
        Ok(body)
    }
}

/// Compares checksums; a difference names the object.
pub(crate) fn verify(name: &str, expected: u32, actual: u32) -> Result<(), StorageError> {
    if expected == actual {
        return Ok(());
    }
    Err(StorageError::Checksum {
        name: name.to_owned(),
        expected,
        actual,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: Frame = Frame {
        magic: *b"NOTE",
        kind: "note",
    };

    #[test]
    fn what_is_framed_comes_back_whole() {
        let bytes = NOTE.encode(&[b"two ", b"parts"]);
        assert_eq!(NOTE.decode("n", &bytes).unwrap(), "two parts");
        assert_eq!(NOTE.decode("n", &NOTE.encode(&[])).unwrap(), "");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let good = NOTE.encode(&[b"body"]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = NOTE.decode("the note", &bad.into()).unwrap_err();
            assert!(error.is_damage(), "bit {bit}: {error}");
            assert!(error.to_string().contains("the note"), "bit {bit}: {error}");
        }
        for len in 0..good.len() {
            let error = NOTE.decode("the note", &good.slice(..len)).unwrap_err();
            assert!(error.to_string().contains("truncated"), "{len}: {error}");
        }
        let long: Bytes = [&good[..], b"more"].concat().into();
        let error = NOTE.decode("the note", &long).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
