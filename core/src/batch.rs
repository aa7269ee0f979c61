//! Batches: the unit that travels between subtasks.
//!
//! A batch is a trait object, so the data plane moves rows today and Arrow record batches tomorrow
//! without knowing which. Within a process it is moved; only a broadcast shares it.

use std::any::Any;
use std::sync::Arc;

use crate::codec::{self, CodecError};
use crate::event::{Event, Record};

/// Records under way from one subtask to another.
pub trait Batch: Any + Send {
    /// Number of records.
    fn len(&self) -> usize;

    /// Whether it holds no record.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Estimated size in memory, from a sample of the records.
    fn bytes(&self) -> usize;

    /// Appends the batch's wire form.
    ///
    /// # Errors
    /// If a record's `Serialize` fails.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The batch as `Any`, for the receiving operator to downcast.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// A batch of rows, owned or shared among the receivers of a broadcast.
#[derive(Debug)]
pub enum Rows<T> {
    /// The receiver takes the records without a copy.
    Owned(Vec<Event<T>>),
    /// The last receiver takes them; the others clone.
    Shared(Arc<Vec<Event<T>>>),
}

impl<T: Record> Rows<T> {
    /// The records.
    pub fn into_vec(self) -> Vec<Event<T>> {
        match self {
            Self::Owned(rows) => rows,
            Self::Shared(rows) => Arc::try_unwrap(rows).unwrap_or_else(|rows| (*rows).clone()),
        }
    }

    /// Takes the rows out of a received batch.
    ///
    /// # Errors
    /// [`CodecError::WrongBatch`] if the batch holds records of another type: the graph is miswired.
    pub fn from_batch(batch: Box<dyn Batch>) -> Result<Vec<Event<T>>, CodecError> {
        match batch.into_any().downcast::<Self>() {
            Ok(rows) => Ok(rows.into_vec()),
            Err(_) => Err(CodecError::WrongBatch {
                expected: std::any::type_name::<T>(),
            }),
        }
    }

    /// A batch from its wire form.
    ///
    /// # Errors
    /// If the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        let rows: Vec<Event<T>> = codec::decode(bytes)?;
        Ok(Box::new(Self::Owned(rows)))
    }

    fn as_slice(&self) -> &[Event<T>] {
        match self {
            Self::Owned(rows) => rows,
            Self::Shared(rows) => rows,
        }
    }
}

impl<T: Record> Batch for Rows<T> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn bytes(&self) -> usize {
        record_bytes(self.as_slice()) * self.len()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::look_at::<[Event<T>], Vec<Event<T>>>();
        codec::encode_into(self.as_slice(), out)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Bytes that a run's buffer may have: it stays in the nearest cache from one operator to the next.
const RUN_BYTES: usize = 32 << 10;

/// Bytes that a batch's buffer may have. Each batch costs a message and its share of a turn, so it is to be large; but
/// beyond 64 KiB mimalloc takes fresh memory from the system for every single buffer, which the kernel clears first.
const BATCH_BYTES: usize = 60 << 10;

/// How many records a run within a chain may have. At least 1.
pub const fn run_records<T>(wanted: usize) -> usize {
    fitting::<T>(RUN_BYTES, wanted)
}

/// How many records a batch from subtask to subtask may have. At least 1.
pub const fn batch_records<T>(wanted: usize) -> usize {
    fitting::<T>(BATCH_BYTES, wanted)
}

const fn fitting<T>(bytes: usize, wanted: usize) -> usize {
    let fitting = bytes / size_of::<Event<T>>();
    let records = if fitting < wanted { fitting } else { wanted };
    if records == 0 { 1 } else { records }
}

/// How many records of a batch are measured.
const SAMPLES: usize = 4;

/// Mean size of a record in memory, sampled: its own size plus what it owns on the heap, taken to be
/// what serde would write of it. At least 1.
pub fn record_bytes<T: Record>(rows: &[Event<T>]) -> usize {
    let step = rows.len().div_ceil(SAMPLES).max(1);
    let (mut measured, mut count) = (0, 0);
    for row in rows.iter().step_by(step) {
        measured += codec::encoded_len(&row.value);
        count += 1;
    }
    (size_of::<Event<T>>() + measured.checked_div(count).unwrap_or(0)).max(1)
}

/// When a buffer is full: by the number of its records, and by their bytes.
///
/// As it fills, its newest record is measured when it has one, two, four, ... of them, and every sixty-fourth from there on. So it needs no
/// knowledge of what came before it, costs some twenty looks at a thousand records, and is over its bytes by some sixty records at
/// most where these become large while it fills.
///
/// ```
/// use rivus_core::{Event, Fullness};
///
/// let mut fullness = Fullness::new(1_000, 4 << 10);
/// let (mut rows, kilobyte) = (Vec::new(), "x".repeat(1_000));
/// while !fullness.is_full(&rows) {
///     rows.push(Event::at(0, kilobyte.clone()));
/// }
/// assert_eq!(rows.len(), 3);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Fullness {
    records: usize,
    bytes: usize,
    /// Records that fill it, as far as is known.
    full: usize,
    /// With so many records it is looked at next.
    look_at: usize,
    /// Bytes of the records that were measured, and how many those are.
    measured: usize,
    looks: usize,
}

/// Records that come into a buffer without a look at one of them, at most.
const MOST_UNSEEN: usize = 64;

impl Fullness {
    /// Of buffers that have at most so many records, and about so many bytes unless one record has more.
    pub const fn new(records: usize, bytes: usize) -> Self {
        Self {
            records,
            bytes,
            full: records,
            look_at: 1,
            measured: 0,
            looks: 0,
        }
    }

    /// Whether a buffer is full. To be asked whenever records have come into it.
    #[inline]
    pub fn is_full<T: Record>(&mut self, rows: &[Event<T>]) -> bool {
        rows.len() >= self.look_at && self.look(rows)
    }

    #[inline(never)]
    fn look<T: Record>(&mut self, rows: &[Event<T>]) -> bool {
        let Some(newest) = rows.last() else {
            return false;
        };
        self.measured += size_of::<Event<T>>() + codec::encoded_len(&newest.value);
        self.looks += 1;
        let fitting = self.bytes.saturating_mul(self.looks) / self.measured.max(1);
        self.full = fitting.clamp(1, self.records);
        self.look_at = self.full.min(rows.len() + rows.len().min(MOST_UNSEEN));
        rows.len() >= self.full
    }

    /// The buffer is empty again.
    pub const fn emptied(&mut self) {
        self.look_at = 1;
        self.measured = 0;
        self.looks = 0;
    }

    /// How many records fill a buffer, if they are as the last ones were.
    pub const fn expected(&self) -> usize {
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_the_wrong_type_is_refused_with_the_type_that_was_expected() {
        let batch: Box<dyn Batch> = Box::new(Rows::Owned(vec![Event::at(1, 7_u32)]));
        let error = Rows::<String>::from_batch(batch).unwrap_err();
        assert!(error.to_string().contains("String"), "{error}");
    }

    #[test]
    fn a_shared_batch_is_cloned_for_all_but_the_last() {
        let rows = Arc::new(vec![Event::at(1, String::from("a"))]);
        let first = Rows::Shared(Arc::clone(&rows));
        assert_eq!(first.into_vec(), *rows);
        assert_eq!(Rows::Shared(rows).into_vec()[0].value, "a");
    }

    /// How many records of these sizes, one after the other and the last again and again, each of the first buffers had.
    fn filled(sizes: &[usize], buffers: usize) -> Vec<usize> {
        let mut fullness = Fullness::new(1_000, 10_000);
        let mut sizes = sizes.iter().copied();
        let mut size = 0;
        let mut fill = || {
            let mut rows = Vec::new();
            while !fullness.is_full(&rows) {
                size = sizes.next().unwrap_or(size);
                rows.push(Event::at(0, "x".repeat(size)));
            }
            fullness.emptied();
            rows.len()
        };
        (0..buffers).map(|_| fill()).collect()
    }

    #[test]
    fn a_buffer_is_full_by_records_or_by_bytes_whatever_came_before() {
        let small = vec![1; 300];
        let small_record = size_of::<Event<String>>() + 2;
        assert_eq!(filled(&[1], 1), [10_000 / small_record]);
        assert_eq!(filled(&[4_900], 2), [2, 2]);
        assert_eq!(filled(&[50_000], 2), [1, 1]);
        // A buffer of many, which become large when it is half full.
        let mut wide = Fullness::new(1_000, 1_000_000);
        let mut rows = Vec::new();
        while !wide.is_full(&rows) {
            let size = if rows.len() < 513 { 1 } else { 100_000 };
            rows.push(Event::at(0, "x".repeat(size)));
        }
        assert!(rows.len() <= 513 + MOST_UNSEEN, "{}", rows.len());
        let large = [small.as_slice(), &[50_000]].concat();
        let found = filled(&large, 4);
        assert!(found[1] < 32 && found[2..] == [1, 1], "{found:?}");
        let again = filled(&[50_000, 1], 3);
        assert_eq!(again[0], 1);
        assert!(again[1] > 200, "{again:?}");
    }

    #[test]
    fn size_grows_with_what_a_record_owns() {
        let short = record_bytes(&[Event::at(0, String::from("a"))]);
        let long = record_bytes(&[Event::at(0, "a".repeat(1_000))]);
        assert!(long >= short + 999, "{short} {long}");
    }
}
