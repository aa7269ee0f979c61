//! What travels on a channel, and its wire form.
//!
//! ```text
//! kind:u8 body
//!   0 batch          weight:u32, its wire form
//!   1 watermark      its time, i64
//!   2 idle
//!   3 barrier        MessagePack
//!   4 overtaking     MessagePack
//!   5 cancellation   the checkpoint's id, u64
//!   6 round          its claim, u32
//!   7 end of input
//! ```
//!
//! Numbers are little-endian. A batch's weight is what it takes in memory, by whoever had it there: it counts against the
//! receiver's budget before anybody has made records of the bytes, which is done in the turn that works on them.

use bytes::{Buf, Bytes};

use crate::batch::Batch;
use crate::codec::{self, CodecError};
use crate::event::Timestamp;
use crate::ids::CheckpointId;
use crate::stage::Barrier;

/// What travels on a channel, in order.
pub enum Element {
    /// Records. Spends a credit.
    Batch(Box<dyn Batch>),
    /// Records as they came from another process. Spends a credit.
    Encoded(EncodedBatch),
    /// Spends a credit; merged at the sender while there is none.
    Watermark(Timestamp),
    /// The sender is idle until it sends something else. Spends a credit; merged like a watermark.
    Idle,
    /// Free of credit.
    Barrier(Barrier),
    /// A barrier that has gone ahead of what its sender had parked, and is to go ahead of what its receiver has queued. Free
    /// of credit.
    Overtaking(Barrier),
    /// The checkpoint was declined upstream: don't wait for its barrier. Free of credit.
    CancelBarrier(CheckpointId),
    /// All that came before it in a loop has been worked on. Free of credit.
    Round(u32),
    /// No record will follow; barriers will. Free of credit.
    EndOfInput,
}

/// A batch's wire form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBatch {
    bytes: Bytes,
    weight: usize,
}

const BATCH: u8 = 0;
const WATERMARK: u8 = 1;
const IDLE: u8 = 2;
const BARRIER: u8 = 3;
const OVERTAKING: u8 = 4;
const CANCELLATION: u8 = 5;
const ROUND: u8 = 6;
const END_OF_INPUT: u8 = 7;

const DAMAGED: CodecError = CodecError::Damaged {
    what: "an element of a channel",
};

impl Element {
    /// Whether sending it needs a credit.
    pub fn spends_credit(&self) -> bool {
        matches!(
            self,
            Self::Batch(_) | Self::Encoded(_) | Self::Watermark(_) | Self::Idle
        )
    }

    /// Whether it goes ahead of what is parked.
    pub(crate) fn overtakes(&self) -> bool {
        matches!(self, Self::Overtaking(_) | Self::CancelBarrier(_))
    }

    /// What it weighs among what is parked or queued.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.bytes(),
            Self::Encoded(batch) => batch.weight,
            _ => 0,
        }
    }

    /// Appends its wire form.
    ///
    /// # Errors
    /// If a record's `Serialize` fails.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        match self {
            Self::Batch(batch) => {
                out.push(BATCH);
                out.extend_from_slice(&weight(batch.bytes()));
                batch.encode(out)?;
            }
            Self::Encoded(batch) => {
                out.push(BATCH);
                out.extend_from_slice(&weight(batch.weight));
                out.extend_from_slice(&batch.bytes);
            }
            Self::Watermark(time) => {
                out.push(WATERMARK);
                out.extend_from_slice(&time.to_le_bytes());
            }
            Self::Idle => out.push(IDLE),
            Self::Barrier(barrier) => {
                out.push(BARRIER);
                codec::encode_into(barrier, out)?;
            }
            Self::Overtaking(barrier) => {
                out.push(OVERTAKING);
                codec::encode_into(barrier, out)?;
            }
            Self::CancelBarrier(id) => {
                out.push(CANCELLATION);
                out.extend_from_slice(&id.0.to_le_bytes());
            }
            Self::Round(claim) => {
                out.push(ROUND);
                out.extend_from_slice(&claim.to_le_bytes());
            }
            Self::EndOfInput => out.push(END_OF_INPUT),
        }
        Ok(())
    }

    /// An element from its wire form. A batch stays as it came.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn decode(mut bytes: Bytes) -> Result<Self, CodecError> {
        let kind = bytes.try_get_u8().map_err(|_| DAMAGED)?;
        match (kind, &bytes[..]) {
            (BATCH, _) => {
                let weight = bytes.try_get_u32_le().map_err(|_| DAMAGED)? as usize;
                Ok(Self::Encoded(EncodedBatch { bytes, weight }))
            }
            (WATERMARK, _) => Ok(Self::Watermark(i64::from_le_bytes(number(&bytes)?))),
            (IDLE, []) => Ok(Self::Idle),
            (BARRIER, _) => Ok(Self::Barrier(codec::decode(&bytes)?)),
            (OVERTAKING, _) => Ok(Self::Overtaking(codec::decode(&bytes)?)),
            (CANCELLATION, _) => {
                let id = u64::from_le_bytes(number(&bytes)?);
                Ok(Self::CancelBarrier(CheckpointId(id)))
            }
            (ROUND, _) => Ok(Self::Round(u32::from_le_bytes(number(&bytes)?))),
            (END_OF_INPUT, []) => Ok(Self::EndOfInput),
            _ => Err(DAMAGED),
        }
    }

    /// Makes records of a batch that has come from another process, by the edge that it has come over.
    ///
    /// # Errors
    /// If `decode` can't.
    pub fn unpacked(
        self,
        decode: impl FnOnce(&[u8]) -> Result<Box<dyn Batch>, CodecError>,
    ) -> Result<Self, CodecError> {
        match self {
            Self::Encoded(batch) => decode(&batch.bytes).map(Self::Batch),
            other => Ok(other),
        }
    }
}

/// What a batch weighs, in so many bytes as travel.
fn weight(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

fn number<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CodecError> {
    bytes.try_into().map_err(|_| DAMAGED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::Rows;
    use crate::event::Event;
    use crate::stage::CheckpointKind;

    fn encoded(element: &Element) -> Bytes {
        let mut out = Vec::new();
        element.encode(&mut out).unwrap();
        out.into()
    }

    /// What an element is, for people; records are of type `u32`.
    fn shown(element: Element) -> String {
        match element.unpacked(Rows::<u32>::decode).unwrap() {
            Element::Batch(batch) => {
                let rows = Rows::<u32>::from_batch(batch).unwrap();
                let rows = rows.iter().map(|row| format!("{}@{}", row.value, row.ts));
                rows.collect::<Vec<_>>().join(" ")
            }
            Element::Encoded(_) => "encoded".into(),
            Element::Watermark(time) => format!("w{time}"),
            Element::Idle => "idle".into(),
            Element::Barrier(barrier) => format!("|{}", barrier.id),
            Element::Overtaking(barrier) => format!("^{}", barrier.id),
            Element::CancelBarrier(id) => format!("x{id}"),
            Element::Round(claim) => format!("r{claim}"),
            Element::EndOfInput => "$".into(),
        }
    }

    fn barrier(id: u64) -> Barrier {
        Barrier {
            id: CheckpointId(id),
            kind: CheckpointKind::Stop { drain: true },
        }
    }

    #[test]
    fn elements_arrive_as_they_were_sent() {
        let rows = vec![Event::at(1, 7_u32), Event::at(-2, 8)];
        let table = [
            (Element::Batch(Box::new(Rows::Owned(rows))), "7@1 8@-2"),
            (Element::Watermark(-5), "w-5"),
            (Element::Idle, "idle"),
            (Element::Barrier(barrier(3)), "|3"),
            (Element::Overtaking(barrier(4)), "^4"),
            (
                Element::CancelBarrier(CheckpointId(u64::MAX)),
                "x18446744073709551615",
            ),
            (Element::Round(9), "r9"),
            (Element::EndOfInput, "$"),
        ];
        for (element, as_shown) in table {
            let arrived = Element::decode(encoded(&element)).unwrap();
            // It weighs the same on either side, and may be passed on as it is.
            assert_eq!(arrived.bytes(), element.bytes(), "{as_shown}");
            assert_eq!(arrived.spends_credit(), element.spends_credit());
            assert_eq!(encoded(&arrived), encoded(&element), "{as_shown}");
            assert_eq!(shown(arrived), as_shown);
        }
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_is_a_batch_that_its_edge_refuses(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let kind = bytes.first().copied();
            match Element::decode(bytes.into()) {
                Ok(Element::Encoded(batch)) => {
                    prop_assert_eq!(kind, Some(BATCH));
                    let _ = Element::Encoded(batch).unpacked(Rows::<String>::decode);
                }
                Ok(_) => prop_assert!(kind.is_some_and(|kind| kind <= END_OF_INPUT)),
                Err(error) => prop_assert!(error.to_string().lines().count() == 1),
            }
        }
    }
}
