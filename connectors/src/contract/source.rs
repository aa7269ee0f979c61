//! The contract of sources.

use std::any::type_name;
use std::collections::BTreeSet;

use rivus_core::{
    CheckpointId, Event, Failure, KnownSplits, ParallelInstance, ReadStatus, Source, SourceReader,
    SplitMemory, Timestamp, UserError, codec,
};

/// Reads without a record after which a reader is taken to be stuck.
const PATIENCE: u32 = 10_000;

/// Looks after which an enumerator is taken not to end.
const LOOKS: u32 = 1_000;

/// How many records are asked for at a time.
const SIZES: [usize; 4] = [1, 2, 7, 1_000];

/// A contract that is about to be checked; see [`source()`].
pub struct SourceContract<S: Source, F> {
    make: F,
    expected: Option<Vec<S::Out>>,
    limit: usize,
}

/// Checks a source that `make` makes, each time of the same input.
///
/// The clauses:
///
/// - `splits` finds the same each time, and a split outlives being encoded;
/// - a read yields no more records than it is asked for, and a reader that says
///   [`Later`](ReadStatus::Later) names a time to come;
/// - a split yields the same records in the same order however many are asked for, also when it is read by a source
///   made anew;
/// - a reader made from a [`snapshot`](SourceReader::snapshot) goes on exactly behind the last record that was
///   yielded, whenever it was taken, and is told that checkpoints begin and are complete;
/// - a split that was read to its end is in no snapshot, and a reader that has none left says so and takes
///   another;
/// - all splits together are the same records at any parallelism;
/// - an [enumerator](Source::enumerator) that is told of splits finds none of them again, and neither does one that is told what
///   [is remembered](rivus_core::SplitEnumerator::memory) of all but the last.
///
/// ```should_panic
/// use rivus_connectors::contract;
/// use rivus_core::{Event, ParallelInstance, ReadStatus, Source, SourceReader, Timestamp, UserError};
///
/// /// Forgets where it stands.
/// struct Ten;
///
/// impl Source for Ten {
///     type Out = u32;
///     type Split = u32;
///     type Reader = Reading;
///
///     fn splits(&self, _parallelism: u32) -> Result<Vec<u32>, UserError> {
///         Ok(vec![0])
///     }
///
///     fn reader(&self, _instance: ParallelInstance) -> Result<Reading, UserError> {
///         Ok(Reading(None))
///     }
/// }
///
/// struct Reading(Option<u32>);
///
/// impl SourceReader for Reading {
///     type Out = u32;
///     type Split = u32;
///
///     fn add_split(&mut self, next: u32) -> Result<(), UserError> {
///         self.0 = Some(next);
///         Ok(())
///     }
///
///     fn read(&mut self, out: &mut Vec<Event<u32>>, max: usize, now: Timestamp) -> Result<ReadStatus, UserError> {
///         let Some(next) = self.0 else { return Ok(ReadStatus::SplitsDone) };
///         let until = (next + max as u32).min(10);
///         out.extend((next..until).map(|number| Event::at(now, number)));
///         self.0 = (until < 10).then_some(until);
///         Ok(ReadStatus::More)
///     }
///
///     fn snapshot(&self) -> Vec<u32> {
///         self.0.iter().map(|_| 0).collect() // here: it should be the next number
///     }
/// }
///
/// // panics: ...Ten: restored from a snapshot a reader goes on behind the last record ...
/// contract::source(|| Ten).yields(0..10).check();
/// ```
pub fn source<S: Source, F: Fn() -> S>(make: F) -> SourceContract<S, F> {
    SourceContract {
        make,
        expected: None,
        limit: usize::MAX,
    }
}

impl<S: Source, F: Fn() -> S> SourceContract<S, F> {
    /// All records that it has, in any order.
    #[must_use]
    pub fn yields(mut self, records: impl IntoIterator<Item = S::Out>) -> Self {
        self.expected = Some(records.into_iter().collect());
        self
    }

    /// Reads no more than about so many records of each split: for sources without end.
    #[must_use]
    pub fn first(mut self, records: usize) -> Self {
        self.limit = records;
        self
    }

    /// Checks it.
    ///
    /// # Panics
    /// If a clause is broken; says which.
    pub fn check(self) {
        let once = self.split_by_split();
        for parallelism in 2..5 {
            let splits = self.splits(parallelism);
            let records = self.read_restoring(splits, SIZES[1], 2, once.len());
            if self.limit == usize::MAX {
                self.holds(
                    sorted(&records) == sorted(&once),
                    "all splits together are the same records at any parallelism",
                    || format!("{parallelism} in parallel: {}", shown(&records, &once)),
                );
            }
        }
        if let Some(expected) = &self.expected {
            let expected: Vec<Vec<u8>> = expected.iter().map(|value| self.encoded(value)).collect();
            self.holds(
                sorted(&once) == sorted(&expected),
                "it yields what it was said to yield",
                || format!("{} records instead of {}", once.len(), expected.len()),
            );
        }
    }

    /// Checks every split; returns all records, encoded.
    fn split_by_split(&self) -> Vec<Vec<u8>> {
        let splits = self.splits(1);
        let mut all = Vec::new();
        for split in &splits {
            let plain = self.read(vec![split.clone()], SIZES[3]);
            for max in SIZES {
                let again = self.read(vec![split.clone()], max);
                self.same(
                    &plain,
                    &again,
                    "a split yields the same records however many are asked for",
                    || format!("{max} at a time"),
                );
                for keep in 1..4 {
                    let restored = self.read_restoring(vec![split.clone()], max, keep, plain.len());
                    self.same(
                        &plain,
                        &restored,
                        "restored from a snapshot a reader goes on behind the last record",
                        || format!("{max} at a time"),
                    );
                }
            }
            all.extend(plain);
        }
        if self.limit == usize::MAX {
            let together = self.read_restoring(splits, SIZES[1], 2, all.len());
            self.holds(
                sorted(&all) == sorted(&together),
                "one reader reads several splits as several readers do",
                || shown(&together, &all),
            );
        }
        all
    }

    /// All splits, those included that are found while the job runs.
    fn splits(&self, parallelism: u32) -> Vec<S::Split> {
        let source = (self.make)();
        let mut splits = self.done(source.splits(parallelism), "splits");
        let again = self.done((self.make)().splits(parallelism), "splits");
        self.holds(
            self.all_encoded(&splits) == self.all_encoded(&again),
            "splits finds the same each time",
            || format!("{} first, then {}", splits.len(), again.len()),
        );
        let enumerator = self.done(
            source.enumerator(KnownSplits::of(splits.clone())),
            "enumerator",
        );
        let Some(mut enumerator) = enumerator else {
            return splits;
        };
        let interval = enumerator.interval();
        self.holds(
            !interval.is_zero(),
            "an enumerator waits between two looks",
            || "its interval is 0".to_owned(),
        );
        let (mut now, mut idle) = (0, 0);
        for _ in 0..LOOKS {
            let found = self.done(enumerator.discover(now), "discover");
            idle = if found.splits.is_empty() { idle + 1 } else { 0 };
            splits.extend(found.splits);
            now += interval.as_millis().max(1) as Timestamp;
            if found.last || idle == 10 {
                break;
            }
        }
        let mut forgotten = KnownSplits::default();
        for (place, split) in splits.iter().enumerate() {
            let is_last = place + 1 == splits.len();
            match enumerator.memory(split) {
                SplitMemory::Key(key) if !is_last => {
                    forgotten.keys.insert(key);
                }
                SplitMemory::Nothing if !is_last => {}
                _ => forgotten.splits.push(split.clone()),
            }
        }
        let told = "an enumerator that is told of splits finds none of them again";
        self.successor(KnownSplits::of(splits.clone()), &splits, now, told);
        let told =
            "an enumerator that is told what is remembered of splits finds none of them again";
        self.successor(forgotten, &splits, now, told);
        splits
    }

    /// The next leader's enumerator looks.
    fn successor(
        &self,
        known: KnownSplits<S::Split>,
        splits: &[S::Split],
        now: Timestamp,
        clause: &str,
    ) {
        let splits: BTreeSet<Vec<u8>> = self.all_encoded(splits).into_iter().collect();
        let successor = (self.make)().enumerator(known);
        if let Some(mut successor) = self.done(successor, "enumerator") {
            for look in 0..10 {
                let at = now + look * successor.interval().as_millis() as Timestamp;
                let found = self.done(successor.discover(at), "discover").splits;
                let found = self.all_encoded(&found);
                let again = found.iter().any(|split| splits.contains(split));
                self.holds(!again, clause, || format!("look {}", look + 1));
            }
        }
    }

    fn reader(&self, splits: Vec<S::Split>) -> S::Reader {
        let reader = (self.make)().reader(ParallelInstance::ALONE);
        let mut reader = self.done(reader, "reader");
        for split in splits {
            let bytes = self.encoded(&split);
            let split: S::Split = match codec::decode(&bytes) {
                Ok(split) => split,
                Err(error) => self.broken("a split outlives being encoded", &error.to_string()),
            };
            self.done(reader.add_split(split), "add_split");
        }
        reader
    }

    /// Reads splits to their end.
    fn read(&self, splits: Vec<S::Split>, max: usize) -> Vec<Vec<u8>> {
        let mut reading = Reading::of(self.reader(splits.clone()));
        while self.step(&mut reading, max) {}
        if self.limit == usize::MAX {
            self.at_end(&mut reading, splits);
        }
        reading.yielded(self)
    }

    /// As [`read`](Self::read); after each read but every `keep`th, crashes and restores from the snapshot. A reader
    /// that goes back at each restart would never come to the end: one that yields more than `enough` is stopped.
    fn read_restoring(
        &self,
        splits: Vec<S::Split>,
        max: usize,
        keep: usize,
        enough: usize,
    ) -> Vec<Vec<u8>> {
        let mut reading = Reading::of(self.reader(splits));
        for turn in 1.. {
            let before = reading.out.len();
            if !self.step(&mut reading, max) || reading.out.len() > enough {
                break;
            }
            // One that has still to find its place would never get there.
            let came = reading.out.len() > before;
            if !came || (turn % keep == 0 && keep > 1) {
                reading.checkpoint();
                continue;
            }
            let splits = reading.checkpoint();
            // What is read after the snapshot is lost in the crash.
            let mut lost = Reading {
                reader: reading.reader,
                out: Vec::new(),
                ..reading
            };
            self.step(&mut lost, max);
            reading = Reading {
                reader: self.reader(splits),
                out: reading.out,
                ..lost
            };
        }
        reading.yielded(self)
    }

    /// Reads once; false when all has been read, or enough.
    fn step(&self, reading: &mut Reading<S>, max: usize) -> bool {
        let before = reading.out.len();
        let (out, now) = (&mut reading.out, reading.now);
        let status = self.done(reading.reader.read(out, max, now), "read");
        let read = reading.out.len() - before;
        self.holds(
            read <= max,
            "a read yields no more records than it is asked for",
            || format!("{read} instead of {max}"),
        );
        reading.fruitless = if read == 0 { reading.fruitless + 1 } else { 0 };
        self.holds(
            reading.fruitless < PATIENCE,
            "a reader that has no more says so",
            || format!("{PATIENCE} reads without a record"),
        );
        match status {
            ReadStatus::SplitsDone => return false,
            ReadStatus::Later(at) => {
                self.holds(
                    at > now,
                    "a reader that says Later names a time to come",
                    || format!("{at} at {now}"),
                );
                reading.now = at;
            }
            ReadStatus::More => {}
        }
        reading.out.len() < self.limit
    }

    fn at_end(&self, reading: &mut Reading<S>, splits: Vec<S::Split>) {
        let left = reading.reader.snapshot().len();
        self.holds(
            left == 0,
            "a split that was read to its end is in no snapshot",
            || format!("{left} are"),
        );
        let Some(split) = splits.into_iter().next() else {
            return;
        };
        // The engine doesn't give one twice; but the reader can't know.
        let before = reading.out.len();
        self.done(reading.reader.add_split(split.clone()), "add_split");
        while self.step(reading, SIZES[2]) {}
        let more = reading.out.split_off(before);
        let first = self.read_only(split);
        self.holds(
            more.len() == first,
            "a reader that has no split left takes another",
            || format!("it then yields {} records instead of {first}", more.len()),
        );
    }

    fn read_only(&self, split: S::Split) -> usize {
        let mut reading = Reading::of(self.reader(vec![split]));
        while self.step(&mut reading, SIZES[2]) {}
        reading.out.len()
    }

    fn same(
        &self,
        plain: &[Vec<u8>],
        other: &[Vec<u8>],
        clause: &str,
        how: impl FnOnce() -> String,
    ) {
        let len = plain.len().min(other.len()).min(self.limit);
        let all = self.limit != usize::MAX || plain.len() == other.len();
        self.holds(all && plain[..len] == other[..len], clause, || {
            format!("{}: {}", how(), shown(other, plain))
        });
    }

    fn encoded<T: serde::Serialize>(&self, value: &T) -> Vec<u8> {
        match codec::encode(value) {
            Ok(bytes) => bytes,
            Err(error) => self.broken("splits and records can be encoded", &error.to_string()),
        }
    }

    fn all_encoded(&self, splits: &[S::Split]) -> Vec<Vec<u8>> {
        splits.iter().map(|split| self.encoded(split)).collect()
    }

    fn done<T>(&self, result: Result<T, UserError>, what: &str) -> T {
        match result {
            Ok(value) => value,
            Err(error) => self.broken(
                "a source can be read in a healthy world",
                &format!("{what}: {}", Failure::user(&error)),
            ),
        }
    }

    fn holds(&self, holds: bool, clause: &str, detail: impl FnOnce() -> String) {
        if !holds {
            self.broken(clause, &detail());
        }
    }

    fn broken(&self, clause: &str, detail: &str) -> ! {
        panic!("{}: {clause}; {detail}", type_name::<S>());
    }
}

/// A reader and what it has yielded.
struct Reading<S: Source> {
    reader: S::Reader,
    out: Vec<Event<S::Out>>,
    now: Timestamp,
    fruitless: u32,
    checkpoints: u64,
}

impl<S: Source> Reading<S> {
    /// A checkpoint that completes at once.
    fn checkpoint(&mut self) -> Vec<S::Split> {
        self.checkpoints += 1;
        let checkpoint = CheckpointId(self.checkpoints);
        self.reader.checkpoint_begun(checkpoint);
        let splits = self.reader.snapshot();
        self.reader.checkpoint_completed(checkpoint);
        splits
    }

    fn of(reader: S::Reader) -> Self {
        Self {
            reader,
            out: Vec::new(),
            now: 0,
            fruitless: 0,
            checkpoints: 0,
        }
    }

    /// The records, without their times: a source may stamp them with processing time.
    fn yielded<F: Fn() -> S>(self, contract: &SourceContract<S, F>) -> Vec<Vec<u8>> {
        let records = self.out.iter().map(|event| contract.encoded(&event.value));
        records.collect()
    }
}

fn sorted(records: &[Vec<u8>]) -> Vec<&Vec<u8>> {
    let mut sorted: Vec<&Vec<u8>> = records.iter().collect();
    sorted.sort_unstable();
    sorted
}

fn shown(found: &[Vec<u8>], expected: &[Vec<u8>]) -> String {
    let same = found
        .iter()
        .zip(expected)
        .take_while(|(f, e)| f == e)
        .count();
    if sorted(found) == sorted(expected) {
        return format!(
            "the same {} records in another order, the first {same} in their places",
            found.len()
        );
    }
    let (found, expected) = (found.len(), expected.len());
    format!("{found} records instead of {expected}, the first {same} the same")
}
