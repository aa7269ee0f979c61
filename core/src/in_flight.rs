//! Elements on their way between subtasks that a checkpoint's barrier has overtaken: a part of the checkpoint, as
//! the subtasks' state is.
//!
//! ```text
//! section "rivus.in-flight" of a subtask's snapshot, one frame for each element, in order:
//!   end:u8 (0 input, 1 output) channel:u32 element
//! ```
//!
//! They are encoded when they are recorded, so a batch that is lent goes home as always. Barriers are not recorded, nor
//! is the end of input, which is said again after a restore by whoever had said it. Numbers are little-endian; the element stands in its wire form (`element.rs`).

use bytes::Bytes;

use crate::batch::Batch;
use crate::codec::CodecError;
use crate::element::Element;
use crate::failure::Failure;
use crate::graph::JobGraph;
use crate::ids::{OperatorUid, SubtaskId};
use crate::snapshot::{RestoredState, SectionHeader, SnapshotBuilder};

/// Where a subtask's recorded elements stand in its snapshot: a section of this name, of its first operator.
pub const IN_FLIGHT_STATE: &str = "rivus.in-flight";

/// Which end of a channel an element was recorded at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Queued by its receiver.
    Input = 0,
    /// Parked by its sender.
    Output = 1,
}

/// Recorded elements, encoded.
#[derive(Debug, Default)]
pub struct InFlight {
    frames: Vec<Vec<u8>>,
    bytes: usize,
}

/// Makes a batch of its wire form.
type DecodeBatch<'a> = Box<dyn Fn(&[u8]) -> Result<Box<dyn Batch>, CodecError> + 'a>;

/// What a subtask had queued and parked, channel by channel, to be put back.
#[derive(Default)]
pub struct PutBack {
    /// By input channel.
    pub inputs: Vec<Vec<Element>>,
    /// By output channel.
    pub outputs: Vec<Vec<Element>>,
}

impl PutBack {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        let mut channels = self.inputs.iter().chain(&self.outputs);
        channels.all(Vec::is_empty)
    }
}

impl InFlight {
    /// Records an element, unless it is of a kind that isn't.
    ///
    /// # Errors
    /// If a record's `Serialize` fails.
    pub fn record(
        &mut self,
        end: End,
        channel: usize,
        element: &Element,
    ) -> Result<(), CodecError> {
        if !element.spends_credit() {
            return Ok(());
        }
        let mut frame = vec![end as u8];
        frame.extend_from_slice(&(channel as u32).to_le_bytes());
        element.encode(&mut frame)?;
        self.bytes += frame.len();
        self.frames.push(frame);
        Ok(())
    }

    /// Length of all.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what was recorded elsewhere.
    pub fn append(&mut self, mut other: Self) {
        self.bytes += other.bytes;
        self.frames.append(&mut other.frames);
    }

    /// Writes all into a snapshot, as a section of the subtask's first operator.
    ///
    /// # Errors
    /// If the section's header can't be encoded.
    pub fn write(
        &self,
        first: &OperatorUid,
        snapshot: &mut SnapshotBuilder,
    ) -> Result<(), CodecError> {
        let section = snapshot.section(&SectionHeader {
            operator: first.clone(),
            state: IN_FLIGHT_STATE.to_owned(),
            schema: None,
            is_rows: false,
        })?;
        for frame in &self.frames {
            snapshot.bytes_frame(section, frame);
        }
        Ok(())
    }

    /// Reads what a subtask's snapshot holds, and decodes it by the edges of its channels.
    ///
    /// # Errors
    /// If it is damaged, or of another plan.
    pub fn restore(
        restored: &RestoredState,
        graph: &JobGraph,
        subtask: SubtaskId,
    ) -> Result<PutBack, Failure> {
        let first = graph.vertex(subtask.vertex).nodes[0];
        let frames = restored.frames(&graph.node(first).uid, IN_FLIGHT_STATE);
        let decoding = |(edge, _)| {
            Box::new(move |bytes: &[u8]| graph.route(&edge).decode(bytes)) as DecodeBatch<'_>
        };
        let inputs: Vec<_> = graph.senders(subtask).into_iter().map(decoding).collect();
        let outputs: Vec<_> = graph.receivers(subtask).into_iter().map(decoding).collect();
        put_back(frames, &inputs, &outputs)
    }
}

/// Makes elements of their frames, by how each channel's batches are decoded.
fn put_back<'a>(
    frames: impl Iterator<Item = &'a [u8]>,
    inputs: &[DecodeBatch<'_>],
    outputs: &[DecodeBatch<'_>],
) -> Result<PutBack, Failure> {
    let mut back = PutBack {
        inputs: inputs.iter().map(|_| Vec::new()).collect(),
        outputs: outputs.iter().map(|_| Vec::new()).collect(),
    };
    for frame in frames {
        let (end, channel, rest) = split(frame)?;
        let (decoding, channels) = match end {
            End::Input => (inputs, &mut back.inputs),
            End::Output => (outputs, &mut back.outputs),
        };
        let (Some(decode), Some(elements)) = (decoding.get(channel), channels.get_mut(channel))
        else {
            return Err(Failure::job(format!(
                "the checkpoint holds records of {end:?} channel {channel}, and the subtask has {} of them: go on from \
                 it with the program that wrote it, at the same parallelism",
                decoding.len()
            )));
        };
        elements.push(element(rest, decode)?);
    }
    Ok(back)
}

const DAMAGED: CodecError = CodecError::Damaged {
    what: "an element that a barrier had overtaken",
};

fn split(frame: &[u8]) -> Result<(End, usize, &[u8]), CodecError> {
    let (end, rest) = frame.split_first().ok_or(DAMAGED)?;
    let (channel, rest) = rest.split_first_chunk::<4>().ok_or(DAMAGED)?;
    let end = match end {
        0 => End::Input,
        1 => End::Output,
        _ => return Err(DAMAGED),
    };
    Ok((end, u32::from_le_bytes(*channel) as usize, rest))
}

fn element(bytes: &[u8], decode: &DecodeBatch<'_>) -> Result<Element, CodecError> {
    let element = Element::decode(Bytes::copy_from_slice(bytes))?;
    match element.spends_credit() {
        true => element.unpacked(decode),
        false => Err(DAMAGED),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::batch::Rows;
    use crate::event::Event;

    /// What was recorded, as another attempt gets it back; records are of type `u32`.
    pub(crate) fn back(recorded: &InFlight, inputs: usize, outputs: usize) -> PutBack {
        let decoding = |count| -> Vec<DecodeBatch<'static>> {
            let decode = |_| Box::new(Rows::<u32>::decode) as DecodeBatch<'static>;
            (0..count).map(decode).collect()
        };
        let frames = recorded.frames.iter().map(Vec::as_slice);
        put_back(frames, &decoding(inputs), &decoding(outputs)).unwrap()
    }

    fn show(elements: Vec<Element>) -> String {
        let words: Vec<String> = elements
            .into_iter()
            .map(|element| match element {
                Element::Batch(batch) => {
                    let rows = Rows::<u32>::from_batch(batch).unwrap();
                    let rows: Vec<String> = rows
                        .iter()
                        .map(|row| format!("{}@{}", row.value, row.ts))
                        .collect();
                    rows.join(",")
                }
                Element::Watermark(time) => format!("w{time}"),
                Element::Idle => "i".into(),
                _ => unreachable!("it is not recorded"),
            })
            .collect();
        words.join(" ")
    }

    fn sample() -> InFlight {
        let rows = vec![Event::at(-5, 7_u32), Event::at(9, 8)];
        let mut recorded = InFlight::default();
        for (end, channel, element) in [
            (End::Input, 1, Element::Batch(Box::new(Rows::Owned(rows)))),
            (End::Output, 0, Element::Watermark(-1)),
            (End::Input, 1, Element::EndOfInput),
            (End::Input, 0, Element::Watermark(i64::MAX)),
            (End::Input, 1, Element::Idle),
        ] {
            recorded.record(end, channel, &element).unwrap();
        }
        recorded
    }

    #[test]
    fn what_is_recorded_comes_back_on_its_channel_in_order() {
        let back = back(&sample(), 2, 1);
        let inputs: Vec<String> = back.inputs.into_iter().map(show).collect();
        assert_eq!(inputs, [format!("w{}", i64::MAX), "7@-5,8@9 i".into()]);
        assert_eq!(
            back.outputs.into_iter().map(show).collect::<Vec<_>>(),
            ["w-1"]
        );
    }

    #[test]
    fn elements_of_channels_that_are_not_there_are_refused_in_one_line() {
        let recorded = sample();
        let frames = recorded.frames.iter().map(Vec::as_slice);
        let refused = put_back(frames, &[], &[]).err().unwrap();
        assert!(refused.message.contains("Input channel 1"), "{refused}");
        assert!(!refused.message.contains('\n'));
    }

    #[test]
    fn a_frame_that_is_cut_short_is_refused_and_never_panics() {
        let recorded = sample();
        for frame in &recorded.frames {
            for length in 0..frame.len() {
                let decode = || Box::new(Rows::<u32>::decode) as DecodeBatch<'static>;
                let cut = [&frame[..length]].into_iter();
                let both = put_back(cut, &[decode(), decode()], &[decode()]);
                assert!(both.is_err(), "{length} bytes of {frame:?}");
            }
        }
    }
}
