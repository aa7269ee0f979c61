//! The contract suites catch what breaks a contract, and name the clause.

// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rivus_connectors::contract;
use rivus_core::{
    CheckpointId, Committer, Discovered, Event, KnownSplits, ParallelInstance, ReadStatus, Sink,
    SinkWriter, Source, SourceReader, SplitEnumerator, Timestamp, UserError,
};

/// What a check panics with.
fn broken(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("a clause is broken");
    let message = *panic.downcast::<String>().unwrap();
    assert!(!message.contains('\n'), "{message}");
    message
}

/// What is wrong with a source or sink of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// Yields one more than is asked for.
    TooMany,
    /// Its snapshot is a record behind, or ahead.
    Behind,
    Ahead,
    /// Keeps finished splits in its snapshot.
    Keeps,
    /// Never says that it is done.
    Endless,
    /// Waits for a moment that is over.
    Spins,
    /// Takes one split only.
    OneSplit,
    /// Finds other splits each time, or at another parallelism other records.
    Parallelism,
    /// Its enumerator forgets what was found.
    Forgets,
}

struct Numbers(Defect);

impl Source for Numbers {
    type Out = u32;
    type Split = Range<u32>;
    type Reader = Reading;

    fn splits(&self, parallelism: u32) -> Result<Vec<Range<u32>>, UserError> {
        let end = match self.0 {
            Defect::Parallelism => 10 + parallelism,
            _ => 10,
        };
        Ok(vec![0..4, 4..end])
    }

    fn enumerator(
        &self,
        known: KnownSplits<Range<u32>>,
    ) -> Result<Option<Box<dyn SplitEnumerator<Split = Range<u32>>>>, UserError> {
        let known = match self.0 {
            Defect::Forgets => 0,
            _ => known.splits.len(),
        };
        Ok(Some(Box::new(Finding(known))))
    }

    fn reader(&self, _instance: ParallelInstance) -> Result<Reading, UserError> {
        Ok(Reading {
            defect: self.0,
            splits: VecDeque::new(),
        })
    }
}

/// Finds a third split.
struct Finding(usize);

impl SplitEnumerator for Finding {
    type Split = Range<u32>;

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn discover(&mut self, _now: Timestamp) -> Result<Discovered<Range<u32>>, UserError> {
        let new = self.0 < 3;
        self.0 = 3;
        let third = new.then_some(20..22);
        Ok(Discovered {
            splits: third.into_iter().collect(),
            last: false,
        })
    }
}

struct Reading {
    defect: Defect,
    splits: VecDeque<Range<u32>>,
}

impl SourceReader for Reading {
    type Out = u32;
    type Split = Range<u32>;

    fn add_split(&mut self, split: Range<u32>) -> Result<(), UserError> {
        if self.defect != Defect::OneSplit || self.splits.is_empty() {
            self.splits.push_back(split);
        }
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<u32>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let max = max + usize::from(self.defect == Defect::TooMany);
        if self.defect != Defect::Keeps {
            self.splits.retain(|split| split.start < split.end);
        }
        let unread = self.splits.iter_mut().find(|split| split.start < split.end);
        let Some(split) = unread else {
            return Ok(match self.defect {
                Defect::Endless => ReadStatus::More,
                _ => ReadStatus::SplitsDone,
            });
        };
        out.extend(split.by_ref().take(max).map(|n| Event::at(0, n)));
        Ok(match self.defect {
            Defect::Spins => ReadStatus::Later(now),
            _ => ReadStatus::More,
        })
    }

    fn snapshot(&self) -> Vec<Range<u32>> {
        let place = |split: &Range<u32>| match self.defect {
            Defect::Behind => split.start.saturating_sub(1)..split.end,
            Defect::Ahead => (split.start + 1).min(split.end)..split.end,
            _ => split.clone(),
        };
        let splits = self
            .splits
            .iter()
            .filter(|split| self.defect == Defect::Keeps || split.start < split.end);
        splits.map(place).collect()
    }
}

#[test]
fn a_source_that_keeps_the_contract_passes() {
    contract::source(|| Numbers(Defect::None))
        .yields((0..10).chain(20..22))
        .check();
}

#[test]
fn each_broken_clause_of_a_source_is_named() {
    for (defect, clause) in [
        (
            Defect::TooMany,
            "a read yields no more records than it is asked for",
        ),
        (Defect::Behind, "goes on behind the last record"),
        (Defect::Ahead, "goes on behind the last record"),
        (
            Defect::Keeps,
            "a split that was read to its end is in no snapshot",
        ),
        (Defect::Endless, "a reader that has no more says so"),
        (
            Defect::Spins,
            "a reader that says Later names a time to come",
        ),
        (Defect::OneSplit, "one reader reads several splits"),
        (Defect::Parallelism, "the same records at any parallelism"),
        (Defect::Forgets, "finds none of them again"),
    ] {
        let message = broken(|| contract::source(|| Numbers(defect)).check());
        assert!(message.contains(clause), "{defect:?}: {message}");
    }
    let message = broken(|| {
        contract::source(|| Numbers(Defect::None))
            .yields(0..9)
            .check();
    });
    assert!(
        message.contains("it yields what it was said to yield"),
        "{message}"
    );
}

/// What is wrong with a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leak {
    None,
    /// Shows records as they are written.
    Early,
    /// Shows them twice if they are committed twice.
    Twice,
    /// Loses what a checkpoint that was aborted had prepared.
    Loses,
    /// Keeps what was written until the end.
    Lags,
    /// Only the first subtask writes.
    Alone,
}

/// Keeps records by the number of their first.
#[derive(Clone)]
struct Shelf {
    leak: Leak,
    seen: Arc<Mutex<Vec<u64>>>,
}

impl Sink for Shelf {
    type In = u64;
    type State = Vec<u64>;
    type Committable = Vec<u64>;
    type Writer = Writing;

    fn writer(
        &self,
        instance: ParallelInstance,
        state: Option<Vec<u64>>,
    ) -> Result<Writing, UserError> {
        Ok(Writing {
            shelf: self.clone(),
            written: state.unwrap_or_default(),
            writes: self.leak != Leak::Alone || instance.index == 0,
        })
    }

    fn committer(&self) -> Option<Arc<dyn Committer<Vec<u64>>>> {
        Some(Arc::new(self.clone()))
    }
}

impl Committer<Vec<u64>> for Shelf {
    fn commit(&self, records: &Vec<u64>) -> Result<(), UserError> {
        let mut seen = self.seen.lock().unwrap();
        for record in records {
            if self.leak == Leak::Twice || !seen.contains(record) {
                seen.push(*record);
            }
        }
        Ok(())
    }
}

struct Writing {
    shelf: Shelf,
    written: Vec<u64>,
    writes: bool,
}

impl SinkWriter for Writing {
    type In = u64;
    type State = Vec<u64>;
    type Committable = Vec<u64>;

    fn write(&mut self, run: Vec<Event<u64>>) -> Result<(), UserError> {
        if self.writes {
            self.written.extend(run.iter().map(|event| event.value));
        }
        if self.shelf.leak == Leak::Early {
            self.shelf.commit(&self.written)?;
        }
        Ok(())
    }

    fn prepare_commit(
        &mut self,
        checkpoint: CheckpointId,
        last: bool,
    ) -> Result<Vec<Vec<u64>>, UserError> {
        if self.shelf.leak == Leak::Loses && checkpoint.0 % 2 == 1 {
            self.written.clear();
        }
        if self.shelf.leak == Leak::Lags && !last {
            return Ok(Vec::new());
        }
        Ok(vec![std::mem::take(&mut self.written)])
    }

    fn snapshot(&mut self) -> Result<Vec<u64>, UserError> {
        Ok(self.written.clone())
    }
}

fn shelf(leak: Leak) -> impl Fn() -> (Shelf, Box<dyn Fn() -> Vec<u64>>) {
    move || {
        let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
        let shelf = Shelf {
            leak,
            seen: Arc::clone(&seen),
        };
        (shelf, Box::new(move || seen.lock().unwrap().clone()))
    }
}

#[test]
fn a_sink_that_keeps_the_contract_passes_and_one_that_says_that_it_lags_may() {
    contract::sink(shelf(Leak::None), |n| n).check();
    contract::sink(shelf(Leak::None), |n| n).unordered().check();
    contract::sink(shelf(Leak::Lags), |n| n).lags().check();
}

#[test]
fn each_broken_clause_of_a_sink_is_named_with_what_led_to_it() {
    for (leak, clause) in [
        (Leak::Early, "nothing is seen before a checkpoint"),
        (Leak::Twice, "and nothing twice"),
        (Leak::Loses, "what a completed checkpoint covers is seen"),
        (Leak::Lags, "what a completed checkpoint covers is seen"),
        (Leak::Alone, "with fewer writers, or more, loses nothing"),
    ] {
        let message = broken(|| contract::sink(shelf(leak), |n| n).check());
        assert!(message.contains(clause), "{leak:?}: {message}");
        assert!(message.contains("after: "), "{message}");
    }
}
