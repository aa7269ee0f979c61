//! MessagePack, the default form of records and state, and the checked frames that hold durable bytes.

mod nameless;
mod read_back;

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use self::nameless::Nameless;
pub(crate) use self::read_back::look_at;

/// Bytes that can't be written or read.
#[derive(Debug, Error)]
pub enum CodecError {
    /// A value's `Serialize` refused.
    #[error("can't encode a {type_name}")]
    Encode {
        /// The value's type.
        type_name: &'static str,
        /// Why.
        #[source]
        source: rmp_serde::encode::Error,
    },
    /// Bytes are not what the type expects.
    #[error("can't decode a {type_name}")]
    Decode {
        /// The value's type.
        type_name: &'static str,
        /// Why.
        #[source]
        source: rmp_serde::decode::Error,
    },
    /// A batch of one type reached an operator of another.
    #[error("a batch of {expected} was expected, another type arrived")]
    WrongBatch {
        /// What the operator takes.
        expected: &'static str,
    },
    /// Bytes are of another version of what they are.
    #[error("{what} was written by another version of Rivus")]
    Version {
        /// What was being read.
        what: &'static str,
    },
    /// Bytes end too early, or a checksum doesn't match.
    #[error("damaged bytes: {what}")]
    Damaged {
        /// What was being read.
        what: &'static str,
    },
}

/// A value as MessagePack.
///
/// # Errors
/// If the value's `Serialize` fails.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// A value as MessagePack, to be read as a `T`.
///
/// # Errors
/// As [`encode_into`].
pub(crate) fn encode_as<T: DeserializeOwned, V: Serialize + ?Sized>(
    value: &V,
) -> Result<Vec<u8>, CodecError> {
    look_at::<V, T>();
    encode(value)
}

/// Appends a value as MessagePack.
///
/// # Errors
/// If the value's `Serialize` fails, or the value would be read back as another or not at all: if fields are left out of it, it has
/// an option that holds an option which is none, or serde reads it by names that aren't written.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let before = out.len();
    rmp_serde::encode::write(out, &Nameless::of(value))
        .and_then(|()| read_back::check::<T>(&out[before..]))
        .map_err(|source| CodecError::Encode {
            type_name: std::any::type_name::<T>(),
            source,
        })
}

/// A value from MessagePack.
///
/// # Errors
/// If the bytes are not one.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    rmp_serde::from_slice(bytes).map_err(|source| CodecError::Decode {
        type_name: std::any::type_name::<T>(),
        source,
    })
}

/// Reads a key and the value behind it.
///
/// # Errors
/// If the bytes don't start with them.
pub(crate) fn decode_row<K: DeserializeOwned, V: DeserializeOwned>(
    bytes: &[u8],
) -> Result<(K, V), CodecError> {
    // The reader that all else is decoded with, so that types are compiled for one only; it doesn't say how far it has got.
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    Ok((next(&mut reader)?, next(&mut reader)?))
}

fn next<'de, T: DeserializeOwned>(
    reader: &mut rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'de, [u8]>>,
) -> Result<T, CodecError> {
    T::deserialize(reader).map_err(|source| CodecError::Decode {
        type_name: std::any::type_name::<T>(),
        source,
    })
}

/// Reads one value from the front of `bytes` and moves it past the value.
///
/// # Errors
/// If the bytes don't start with one.
pub fn decode_prefix<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, CodecError> {
    let mut reader = rmp_serde::Deserializer::new(&mut *bytes);
    T::deserialize(&mut reader).map_err(|source| CodecError::Decode {
        type_name: std::any::type_name::<T>(),
        source,
    })
}

/// What stands behind the header of an array, as structs are written.
///
/// # Errors
/// If the bytes don't begin with one.
pub(crate) fn skip_array_header(bytes: &[u8]) -> Result<&[u8], CodecError> {
    let header = match bytes.first() {
        Some(0x90..=0x9f) => 1,
        Some(0xdc) => 3,
        Some(0xdd) => 5,
        _ => 0,
    };
    match bytes.get(header..) {
        Some(rest) if header > 0 => Ok(rest),
        _ => Err(CodecError::Damaged { what: "a struct" }),
    }
}

/// Length of a value's MessagePack form; 0 if it can't be encoded.
pub fn encoded_len<T: Serialize + ?Sized>(value: &T) -> usize {
    let counted = looked_through(value, Seen::counting());
    counted.map_or(0, |seen| seen.bytes)
}

/// Reads a value's memory, so that it is in the caches when it is needed.
pub(crate) fn read_ahead<T: Serialize + ?Sized>(value: &T) {
    // A value that can't be encoded says so when it is encoded.
    let _ = std::hint::black_box(looked_through(value, Seen::reading()));
}

fn looked_through<T: Serialize + ?Sized>(
    value: &T,
    mut seen: Seen,
) -> Result<Seen, rmp_serde::encode::Error> {
    rmp_serde::encode::write(&mut seen, value)?;
    Ok(seen)
}

/// Counts what is written, and may read a byte of each cache line of it. One writer for both: what types write is compiled for each.
struct Seen {
    reads: bool,
    bytes: usize,
    lines: u8,
}

impl Seen {
    fn counting() -> Self {
        Self {
            reads: false,
            bytes: 0,
            lines: 0,
        }
    }

    fn reading() -> Self {
        Self {
            reads: true,
            ..Self::counting()
        }
    }
}

const CACHE_LINE: usize = 64;

impl io::Write for Seen {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len();
        if self.reads {
            for line in bytes.chunks(CACHE_LINE) {
                self.lines ^= line[0];
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
