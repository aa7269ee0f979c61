//! Files that are packed: gzip and Zstandard.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

/// How a file is packed.
///
/// Sources see it by the file's name. Packed bytes can't be entered in the middle, so a packed file is one
/// split; it is read on after a recovery by unpacking it from its head up to the place. Several gzip members, or
/// Zstandard frames, one after the other are one file.
///
/// ```
/// use rivus_connectors::Compression;
///
/// assert_eq!(Compression::of("logs/monday.log.gz"), Some(Compression::Gzip));
/// assert_eq!(Compression::of("logs/monday.log.zst"), Some(Compression::Zstd));
/// assert_eq!(Compression::of("logs/monday.log"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.Compression")]
pub enum Compression {
    /// gzip: `.gz`, `.gzip`.
    Gzip,
    /// Zstandard: `.zst`, `.zstd`. Faster than gzip both ways, and smaller.
    Zstd,
}

impl Compression {
    /// How a file of this name is packed.
    pub fn of(path: impl AsRef<Path>) -> Option<Self> {
        let extension = path.as_ref().extension()?.to_str()?;
        match extension.to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// What the names of such files end with, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }
}

/// The bytes of a file, unpacked.
pub(super) enum Input {
    Plain(File),
    Gzip(MultiGzDecoder<BufReader<File>>),
    Zstd(zstd::Decoder<'static, BufReader<File>>),
}

impl Input {
    /// From the file's head on.
    pub fn new(file: File, compression: Option<Compression>) -> io::Result<Self> {
        Ok(match compression {
            None => Self::Plain(file),
            Some(Compression::Gzip) => Self::Gzip(MultiGzDecoder::new(BufReader::new(file))),
            Some(Compression::Zstd) => Self::Zstd(zstd::Decoder::new(file)?),
        })
    }
}

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(bytes),
            Self::Gzip(decoder) => decoder.read(bytes),
            Self::Zstd(decoder) => decoder.read(bytes),
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

/// Packs bytes into frames, each of which is whole by itself: what was written up to the end of one can be
/// unpacked whatever comes behind.
pub(super) struct Packer {
    compression: Compression,
    /// The frame that is being written; none between two.
    frame: Option<Frame>,
}

enum Frame {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Packer {
    /// Packs so.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            frame: None,
        }
    }

    /// Packs bytes; returns what can be written by now, which may be nothing.
    pub fn pack(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let frame = match self.frame.take() {
            Some(frame) => frame,
            None => Frame::begin(self.compression)?,
        };
        match self.frame.insert(frame) {
            Frame::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Frame::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// Ends the frame, if one is being written; returns its last bytes.
    pub fn end(&mut self) -> io::Result<Vec<u8>> {
        match self.frame.take() {
            None => Ok(Vec::new()),
            Some(Frame::Gzip(encoder)) => encoder.finish(),
            Some(Frame::Zstd(encoder)) => encoder.finish(),
        }
    }
}

impl Frame {
    fn begin(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => {
                Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default()))
            }
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
                // As gzip does: what the disk or a copy has broken isn't read as something else.
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer")
            .field("compression", &self.compression)
            .field("within_a_frame", &self.frame.is_some())
            .finish()
    }
}
