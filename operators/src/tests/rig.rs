//! Operators by themselves in the harness: records are pairs of a key and a number, and come as the operator takes them.
//!
//! ```text
//! a@1 b=7@3   key a, with number 1, at time 1; key b with number 7 at time 3
//! ~a@1        of the second stream
//! ```

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock};

use rivus_core::{
    BuildContext, Either, Event, Failure, GivenBack, Hashed, ManualClock, Migrations,
    OperatorFactory, OperatorIndex, OperatorUid, Outlets, Record, RestoredState, Rows, Stores,
    SubtaskInfo, Task, TaskContext, key_hash,
};

use crate::testing::{Backend, Capture, Delivery, HarnessSettings, Plan, steps};
use rivus_state::{RocksDbBackend, StateBackend};

pub(crate) use crate::testing::{Harness as Rig, Log, Step};

/// A key and a number.
pub(crate) type Pair = (String, i64);

/// Reads a picture.
pub(crate) fn picture(text: &str) -> Vec<Step<Pair>> {
    steps(text, |word| {
        let (key, number) = word.split_once('=').unwrap_or((word, "1"));
        (key.to_owned(), number.parse().unwrap())
    })
}

/// As the sender of a keyed stream does.
pub(crate) fn hashed(steps: Vec<Step<Pair>>) -> Vec<Step<Hashed<Pair>>> {
    mapped(steps, |value| Hashed {
        hash: key_hash(&value.0),
        value,
    })
}

/// A record of two streams.
pub(crate) type EitherPair = Either<Pair, Pair>;

/// As the senders of two streams do: a key that begins with `~` is the second stream's, without it.
pub(crate) fn sided(value: Pair) -> EitherPair {
    match value.0.strip_prefix('~') {
        Some(key) => Either::Second((key.to_owned(), value.1)),
        None => Either::First(value),
    }
}

/// As the senders of two keyed streams do.
pub(crate) fn hashed_sides(steps: Vec<Step<Pair>>) -> Vec<Step<Hashed<EitherPair>>> {
    mapped(steps, |value| Hashed {
        hash: key_hash(value.0.trim_start_matches('~')),
        value: sided(value),
    })
}

/// The same steps with other records.
pub(crate) fn mapped<T, U>(steps: Vec<Step<T>>, map: impl Fn(T) -> U) -> Vec<Step<U>> {
    steps.into_iter().map(|step| step.map(&map)).collect()
}

pub(crate) fn debug<T: Debug>(value: &T) -> String {
    format!("{value:?}").replace(' ', "")
}

pub(crate) const UID: &str = "op";

/// With seeds 3 and 5 modulo 8 RocksDB, with room for no row above it: snapshots are its files with the first, rows with the second.
pub(crate) fn backend(seed: u64) -> Backend {
    static ROCKS: LazyLock<RocksDbBackend> = LazyLock::new(|| {
        // What it leaves behind, the next one clears away.
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/pictures");
        let rocks = RocksDbBackend::new(directory).expect("a directory for state");
        rocks.memory(1).files_from(0)
    });
    match seed % 8 {
        3 | 5 => Backend(Arc::new(|attempt| {
            ROCKS.stores(rivus_core::ParallelInstance::ALONE.job, attempt)
        })),
        _ => Backend::default(),
    }
}

fn settings(place: (u32, u32), seed: u64, clock: &Arc<ManualClock>) -> HarnessSettings {
    HarnessSettings {
        seed,
        backend: backend(seed),
        parallelism: place.1,
        only: Some(place.0),
        max_parallelism: 8,
        clock: Arc::clone(clock),
    }
}

/// A world for subtask `index` of `parallelism`.
pub(crate) fn world(index: u32, parallelism: u32, clock: &Arc<ManualClock>) -> TaskContext {
    settings((index, parallelism), 0, clock).world(index, vec![UID.into()])
}

/// Builds something of an operator in a world, from snapshots.
pub(crate) fn built<R>(
    cx: &TaskContext,
    snapshots: &[bytes::Bytes],
    build: impl FnOnce(&BuildContext<'_>) -> R,
) -> R {
    build(&BuildContext {
        info: &cx.info,
        restored: &RestoredState::parse(snapshots).unwrap(),
        stores: None,
        uid: &OperatorUid::from(UID),
        operator: OperatorIndex(0),
        unmarked_source: None,
    })
}

/// Makes what stands behind the operator, given the log and the seed of refusals.
pub(crate) type MakeOutlets<'a> = &'a dyn Fn(&Log, u64) -> Outlets;

/// An operator without a stream around it. All records go to the one subtask.
struct Bare<'a> {
    factory: &'a dyn OperatorFactory,
    outlets: MakeOutlets<'a>,
    only: u32,
}

impl Bare<'_> {
    /// What is gone on from is what the operator has said that it keeps.
    fn expect_said(&self, restored: &RestoredState) -> Result<(), Failure> {
        let said = self.factory.states();
        for state in restored.states()? {
            let own = said.iter().find(|own| own.name() == state.state);
            let own = own.unwrap_or_else(|| panic!("\"{}\" is kept and not said", state.state));
            for form in state.schemas {
                let readable = own.check(state.operator, form, &Migrations::default());
                readable.expect("is read");
            }
        }
        Ok(())
    }
}

impl<In: Record> Plan<In> for Bare<'_> {
    fn uids(&self) -> Vec<OperatorUid> {
        vec![UID.into()]
    }

    /// Of other subtasks nothing is known here.
    fn restores_all(&self) -> bool {
        true
    }

    fn task(
        &mut self,
        info: &SubtaskInfo,
        restored: &RestoredState,
        stores: Option<&dyn Stores>,
        log: &Log,
        seed: u64,
    ) -> Result<Box<dyn Task>, Failure> {
        let uid = OperatorUid::from(UID);
        let build = BuildContext {
            info,
            restored,
            stores,
            uid: &uid,
            operator: OperatorIndex(0),
            unmarked_source: None,
        };
        let stage = self.factory.stage(&build, (self.outlets)(log, seed))?;
        self.expect_said(restored)?;
        self.factory.head(stage)
    }

    fn send(&mut self, run: Vec<Event<In>>) -> Result<Vec<Delivery>, Failure> {
        Ok(vec![Delivery {
            subtask: self.only,
            input: 0,
            batch: Box::new(Rows::Owned(run)),
        }])
    }

    fn returned(&self, batch: GivenBack) -> Option<usize> {
        let batch = batch.downcast::<Vec<Event<In>>>();
        Some(batch.map_or(0, |batch| batch.len()))
    }
}

impl<'a, In: Record> Rig<'a, In> {
    pub(crate) fn new(
        factory: &'a dyn OperatorFactory,
        outlets: MakeOutlets<'a>,
        seed: u64,
    ) -> Self {
        Self::restored(factory, outlets, seed, (0, 1), &[], &Arc::default()).unwrap()
    }

    /// Subtask `place.0` of `place.1`, from snapshots.
    pub(crate) fn restored(
        factory: &'a dyn OperatorFactory,
        outlets: MakeOutlets<'a>,
        seed: u64,
        place: (u32, u32),
        snapshots: &[bytes::Bytes],
        clock: &Arc<ManualClock>,
    ) -> Result<Self, Failure> {
        let only = place.0;
        let plan = Bare {
            factory,
            outlets,
            only,
        };
        Self::from_snapshots(Box::new(plan), settings(place, seed, clock), snapshots)
    }

    /// The one subtask's part of the last checkpoint.
    pub(crate) fn snapshot(&self) -> bytes::Bytes {
        self.saved().unwrap().snapshots[0].clone()
    }
}

/// Runs of more records than this are too long.
const FULL: usize = 256;

fn capture<T: Record>(
    tag: Option<&str>,
    show: fn(&T) -> String,
    log: &Log,
    seed: u64,
) -> rivus_core::AnyStage {
    let capture = Capture::new(tag, Arc::new(show), log, seed);
    capture.full_at(FULL).stage()
}

/// Only a main output.
pub(crate) fn main_only<T: Record>(show: fn(&T) -> String) -> impl Fn(&Log, u64) -> Outlets {
    move |log, seed| Outlets {
        main: capture(None, show, log, seed),
        sides: BTreeMap::new(),
    }
}

/// A main output and a side output.
pub(crate) fn with_side<T: Record, S: Record>(
    show: fn(&T) -> String,
    tag: &'static str,
    show_side: fn(&S) -> String,
) -> impl Fn(&Log, u64) -> Outlets {
    move |log, seed| Outlets {
        main: capture(None, show, log, seed),
        sides: BTreeMap::from([(
            tag.to_owned(),
            capture(Some(tag), show_side, log, seed.rotate_left(7)),
        )]),
    }
}

/// What an operator makes of steps, with refusals of a seed.
pub(crate) fn play<In: Record>(
    factory: &dyn OperatorFactory,
    outlets: MakeOutlets<'_>,
    steps: Vec<Step<In>>,
    seed: u64,
) -> Vec<String> {
    let mut rig = Rig::new(factory, outlets, seed);
    rig.play(steps).unwrap();
    rig.log.words()
}

/// Checks what an operator makes of steps, without refusals and with some.
#[track_caller]
pub(crate) fn check_steps<In: Record>(
    factory: &dyn OperatorFactory,
    outlets: MakeOutlets<'_>,
    steps: Vec<Step<In>>,
    output: &str,
) {
    for seed in 0..4 {
        let got = play(factory, outlets, steps.clone(), seed);
        assert_eq!(got.join(" "), output, "refusals of seed {seed}");
    }
}

/// Checks a picture of an operator on unkeyed pairs.
#[track_caller]
pub(crate) fn check(
    factory: &dyn OperatorFactory,
    outlets: MakeOutlets<'_>,
    input: &str,
    output: &str,
) {
    check_steps(factory, outlets, picture(input), output);
}

/// Checks a picture of a keyed operator.
#[track_caller]
pub(crate) fn check_keyed(
    factory: &dyn OperatorFactory,
    outlets: MakeOutlets<'_>,
    input: &str,
    output: &str,
) {
    check_steps(factory, outlets, hashed(picture(input)), output);
}

/// Checks a picture of an operator on two keyed streams.
#[track_caller]
pub(crate) fn check_two(
    factory: &dyn OperatorFactory,
    outlets: MakeOutlets<'_>,
    input: &str,
    output: &str,
) {
    check_steps(factory, outlets, hashed_sides(picture(input)), output);
}
