//! Tests as pictures: a line of input through an operator, a line of what comes out.
//!
//! ```text
//! a@1 b=7@3   records in one run: key a at time 1; key b with number 7 at time 3
//! /           the run ends here
//! !6          the watermark 6          !max  the last one
//! |           a barrier, and its checkpoint completes
//! x           a crash: everything since the last checkpoint is undone and happens again
//! +50         50 ms pass, then a tick  wait, split, flush, end, idle, abort: the control elements
//! ```
//!
//! What comes out is the log of a capturing stage: records `value@time`, those of side outputs with the
//! tag in front, and control elements in the words above. The capturing stage refuses, as an output
//! without credit does, in a seeded pattern, and panics if it is given anything meanwhile.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rivus_core::concat_chunks;
use rivus_core::{
    AnyStage, AttemptId, Barrier, BuildContext, CheckpointId, CheckpointKind, Control, Either,
    Event, Failure, FrozenStore, Hashed, MAX_TIMESTAMP, MIN_TIMESTAMP, ManualClock, MemoryStores,
    OperatorFactory, OperatorIndex, OperatorUid, Outlets, Outputs, Progress, Record, RestoredState,
    SnapshotBuilder, Stage, StoreImage, Stores, SubtaskId, SubtaskInfo, SubtaskMetrics,
    TaskContext, Timestamp, VertexId, key_hash,
};

/// A key and a number.
pub(crate) type Pair = (String, i64);

#[derive(Debug, Clone)]
pub(crate) enum Step<T> {
    Run(Vec<Event<T>>),
    Control(Control),
    Pass(Duration),
    Barrier,
    Crash,
}

/// Reads a picture.
pub(crate) fn picture(text: &str) -> Vec<Step<Pair>> {
    let mut steps = Vec::new();
    let mut run = Vec::new();
    for word in text.split_whitespace() {
        if let Some((record, ts)) = word.rsplit_once('@') {
            let (key, number) = record.split_once('=').unwrap_or((record, "1"));
            let value = (key.to_owned(), number.parse().unwrap());
            run.push(Event::at(ts.parse().unwrap(), value));
            continue;
        }
        if !run.is_empty() {
            steps.push(Step::Run(std::mem::take(&mut run)));
        }
        steps.push(match word {
            "/" => continue,
            "!max" => Step::Control(Control::Watermark(MAX_TIMESTAMP)),
            "|" => Step::Barrier,
            "x" => Step::Crash,
            "wait" => Step::Control(Control::Waiting),
            "split" => Step::Control(Control::Assigned),
            "flush" => Step::Control(Control::Flush),
            "end" => Step::Control(Control::EndOfInput),
            "idle" => Step::Control(Control::Idle),
            "abort" => Step::Control(Control::Aborted(CheckpointId(1))),
            word if word.starts_with('!') => {
                Step::Control(Control::Watermark(word[1..].parse().unwrap()))
            }
            word if word.starts_with('+') => {
                Step::Pass(Duration::from_millis(word[1..].parse().unwrap()))
            }
            word => panic!("no such word: {word}"),
        });
    }
    if !run.is_empty() {
        steps.push(Step::Run(run));
    }
    steps
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
    let map = |event: Event<T>| event.map(&map);
    steps
        .into_iter()
        .map(|step| match step {
            Step::Run(run) => Step::Run(run.into_iter().map(map).collect()),
            Step::Control(control) => Step::Control(control),
            Step::Pass(time) => Step::Pass(time),
            Step::Barrier => Step::Barrier,
            Step::Crash => Step::Crash,
        })
        .collect()
}

/// A seeded stream of yes and no; seed 0 never says yes.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(u64);

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 3 == 1
    }
}

/// What came out, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn truncate(&self, len: usize) {
        self.0.lock().unwrap().truncate(len);
    }

    pub(crate) fn words(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn push(&self, word: String) {
        self.0.lock().unwrap().push(word);
    }
}

/// The next stage, which writes down what it gets and refuses now and then.
pub(crate) struct Capture<T> {
    label: Option<&'static str>,
    show: fn(&T) -> String,
    log: Log,
    pattern: Pattern,
    blocked: bool,
    /// Largest run that is let through without a word.
    full: usize,
}

impl<T: Record> Capture<T> {
    pub(crate) fn stage(
        label: Option<&'static str>,
        show: fn(&T) -> String,
        log: &Log,
        seed: u64,
    ) -> AnyStage {
        AnyStage::new::<T>(Box::new(Self {
            label,
            show,
            log: log.clone(),
            pattern: Pattern::new(seed),
            blocked: false,
            full: 256,
        }))
    }

    fn take(&mut self) -> Progress {
        assert!(!self.blocked, "a blocked stage was given something");
        self.blocked = self.pattern.next();
        if self.blocked {
            Progress::Blocked
        } else {
            Progress::Done
        }
    }
}

pub(crate) fn word(control: Control) -> Option<String> {
    Some(match control {
        Control::Watermark(MAX_TIMESTAMP) => "!max".to_owned(),
        Control::Watermark(watermark) => format!("!{watermark}"),
        Control::Barrier(_) => "|".to_owned(),
        Control::EndOfInput => "end".to_owned(),
        Control::Idle => "idle".to_owned(),
        Control::Waiting => "wait".to_owned(),
        Control::Assigned => "split".to_owned(),
        Control::Flush | Control::Tick | Control::Completed(_) | Control::Aborted(_) => {
            return None;
        }
    })
}

impl<T: Record> Stage<T> for Capture<T> {
    fn run(&mut self, run: Vec<Event<T>>, _cx: &mut TaskContext) -> Result<Progress, Failure> {
        assert!(!run.is_empty() && run.len() <= self.full, "{}", run.len());
        for event in run {
            let value = (self.show)(&event.value);
            let tag = self
                .label
                .map(|label| format!("{label}:"))
                .unwrap_or_default();
            self.log.push(format!("{tag}{value}@{}", event.ts));
        }
        Ok(self.take())
    }

    fn control(&mut self, control: Control, _cx: &mut TaskContext) -> Result<Progress, Failure> {
        if self.label.is_none()
            && let Some(word) = word(control)
        {
            self.log.push(word);
        }
        Ok(self.take())
    }

    fn resume(&mut self, _cx: &mut TaskContext) -> Result<Progress, Failure> {
        assert!(self.blocked, "nothing is kept here");
        self.blocked = false;
        Ok(self.take())
    }

    fn slice(&mut self, _rows: usize, _cx: &mut TaskContext) -> Result<bool, Failure> {
        Ok(true)
    }
}

pub(crate) fn debug<T: Debug>(value: &T) -> String {
    format!("{value:?}").replace(' ', "")
}

pub(crate) const UID: &str = "op";

/// A world for subtask `index` of `parallelism`.
pub(crate) fn world(index: u32, parallelism: u32, clock: &Arc<ManualClock>) -> TaskContext {
    let info = SubtaskInfo {
        attempt: AttemptId {
            subtask: SubtaskId {
                vertex: VertexId(0),
                index,
            },
            attempt: 1,
        },
        parallelism,
        max_parallelism: 8,
        batch_records: 4,
        batch_bytes: 1 << 20,
    };
    TaskContext::new(
        info,
        Outputs::new(0),
        Arc::new(SubtaskMetrics::default()),
        vec![UID.into()],
        Arc::clone(clock) as Arc<dyn rivus_core::Clock>,
    )
}

/// Makes what stands behind the operator, given the log and the seed of refusals.
pub(crate) type MakeOutlets<'a> = &'a dyn Fn(&Log, u64) -> Outlets;

/// An operator that runs, with what it needs to crash and come back.
pub(crate) struct Rig<'a, In> {
    factory: &'a dyn OperatorFactory,
    outlets: MakeOutlets<'a>,
    seed: u64,
    /// Rows written in one slice, one slice a step.
    pub(crate) slice: usize,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) cx: TaskContext,
    pub(crate) log: Log,
    stage: Box<dyn Stage<In>>,
    watermark: Timestamp,
    /// The checkpoint that is being written: where the input and the log stood, and the watermark.
    open: Option<(usize, usize, Timestamp)>,
    last: Option<Saved>,
    /// The last snapshot, whose stores' files have not been made yet.
    frozen: Option<(Saved, Vec<FrozenStore>)>,
    checkpoints: u64,
    wake: Option<Timestamp>,
    /// Runs that were given back to their senders.
    pub(crate) given_back: usize,
    /// How much time passes between two turns of one piece of work.
    pub(crate) drift: Duration,
}

#[derive(Clone)]
pub(crate) struct Saved {
    pub(crate) snapshot: bytes::Bytes,
    images: Vec<(OperatorUid, Arc<dyn StoreImage>)>,
    position: usize,
    log: usize,
    watermark: Timestamp,
    id: CheckpointId,
}

impl<'a, In: Record> Rig<'a, In> {
    pub(crate) fn new(
        factory: &'a dyn OperatorFactory,
        outlets: MakeOutlets<'a>,
        seed: u64,
    ) -> Self {
        let clock = Arc::new(ManualClock::default());
        Self::restored(factory, outlets, seed, (0, 1), &[], &clock).unwrap()
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
        let log = Log::default();
        let cx = world(place.0, place.1, clock);
        let restored = RestoredState::parse(snapshots)?;
        let stage = Self::build(factory, outlets(&log, seed), &cx, &restored, seed)?;
        Ok(Self {
            factory,
            outlets,
            seed,
            slice: usize::MAX / 2,
            clock: Arc::clone(clock),
            cx,
            log,
            stage,
            watermark: MIN_TIMESTAMP,
            open: None,
            last: None,
            frozen: None,
            checkpoints: 0,
            wake: None,
            given_back: 0,
            drift: Duration::ZERO,
        })
    }

    fn build(
        factory: &dyn OperatorFactory,
        outlets: Outlets,
        cx: &TaskContext,
        restored: &RestoredState,
        seed: u64,
    ) -> Result<Box<dyn Stage<In>>, Failure> {
        // Odd seeds: over a store, with room in memory for hardly a row.
        let stores = MemoryStores { cache_bytes: 1 };
        let uid = OperatorUid::from(UID);
        let build = BuildContext {
            info: &cx.info,
            restored,
            stores: (seed % 2 == 1).then_some(&stores as &dyn Stores),
            uid: &uid,
            operator: OperatorIndex(0),
            unmarked_source: None,
        };
        factory.stage(&build, outlets)?.typed()
    }

    fn settle(&mut self, mut progress: Progress) -> Result<(), Failure> {
        while !progress.is_done() {
            self.clock.advance(self.drift);
            self.cx.begin_turn();
            // Rows are written between two turns, whatever is kept inside.
            self.write_slice()?;
            progress = self.stage.resume(&mut self.cx)?;
        }
        if let Some(at) = self.cx.take_wake() {
            self.wake = Some(self.wake.map_or(at, |earlier| earlier.min(at)));
        }
        Ok(())
    }

    pub(crate) fn run(&mut self, run: Vec<Event<In>>) -> Result<(), Failure> {
        self.cx.begin_turn();
        let records = run.len();
        let progress = self.stage.run(run, &mut self.cx)?;
        self.settle(progress)?;
        // Whole, once, and when all of its records have been worked on; or not at all.
        let mut home = self.cx.take_given_back();
        if let Some(batch) = home.next() {
            let batch = batch.downcast::<Vec<Event<In>>>();
            assert_eq!(batch.map(|batch| batch.len()).ok(), Some(records));
            self.given_back += 1;
        }
        assert_eq!(home.len(), 0, "given back twice");
        Ok(())
    }

    pub(crate) fn control(&mut self, control: Control) -> Result<(), Failure> {
        self.cx.begin_turn();
        if let Control::Watermark(watermark) = control {
            self.watermark = watermark;
        }
        let progress = self.stage.control(control, &mut self.cx)?;
        self.settle(progress)
    }

    /// Time passes, and the operator is woken whenever it asked to be.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<(), Failure> {
        let until = self.cx.now() + time.as_millis() as i64;
        while let Some(at) = self.wake.filter(|at| *at <= until) {
            self.wake = None;
            let ahead = (at - self.cx.now()).max(0) as u64;
            self.clock.advance(Duration::from_millis(ahead));
            self.control(Control::Tick)?;
        }
        let rest = (until - self.cx.now()).max(0) as u64;
        self.clock.advance(Duration::from_millis(rest));
        self.cx.begin_turn();
        Ok(())
    }

    pub(crate) fn barrier(&mut self, position: usize) -> Result<(), Failure> {
        self.checkpoints += 1;
        let id = CheckpointId(self.checkpoints);
        // One that is still being written is given up.
        self.open = None;
        self.make_files()?;
        let kind = CheckpointKind::Checkpoint;
        let snapshot = SnapshotBuilder::new(id);
        // Every other store gives its files, the others all rows, as for a savepoint.
        self.cx.snapshot = Some(match self.seed % 4 {
            3 => snapshot.with_files(),
            _ => snapshot,
        });
        self.control(Control::Barrier(Barrier { id, kind }))?;
        self.open = Some((position, self.log.len(), self.watermark));
        self.write_slice()
    }

    fn write_slice(&mut self) -> Result<(), Failure> {
        let Some((position, log, watermark)) = self.open else {
            return Ok(());
        };
        if self.stage.slice(self.slice, &mut self.cx)? {
            self.open = None;
            let mut snapshot = self.cx.snapshot.take().unwrap();
            let frozen = snapshot.take_stores();
            let saved = Saved {
                id: snapshot.checkpoint(),
                snapshot: concat_chunks(snapshot.finish().chunks),
                images: Vec::new(),
                position,
                log,
                watermark,
            };
            if frozen.is_empty() {
                self.last = Some(saved);
            } else {
                self.frozen = Some((saved, frozen));
            }
        }
        Ok(())
    }

    /// Makes the files of frozen stores, as late as can be: what happened since must not be in them.
    fn make_files(&mut self) -> Result<(), Failure> {
        if let Some((mut saved, frozen)) = self.frozen.take() {
            for store in frozen {
                saved.images.push((store.operator.clone(), store.image()?));
            }
            self.last = Some(saved);
        }
        Ok(())
    }

    /// The last snapshot that was written to its end.
    pub(crate) fn saved(&self) -> Saved {
        self.last.clone().unwrap()
    }

    /// Everything since the last checkpoint is gone. Returns where the input goes on.
    fn crash(&mut self) -> Result<usize, Failure> {
        self.open = None;
        self.make_files()?;
        self.cx = world(0, 1, &self.clock);
        self.wake = None;
        let mut restored = RestoredState::default();
        if let Some(saved) = &self.last {
            restored = RestoredState::parse(std::slice::from_ref(&saved.snapshot))?;
            for (uid, image) in &saved.images {
                restored.add_image(uid.clone(), Arc::clone(image));
            }
        }
        self.stage = Self::build(
            self.factory,
            (self.outlets)(&self.log, self.seed),
            &self.cx,
            &restored,
            self.seed,
        )?;
        let Some(saved) = self.last.clone() else {
            self.log.truncate(0);
            self.watermark = MIN_TIMESTAMP;
            return Ok(0);
        };
        self.log.truncate(saved.log);
        self.watermark = saved.watermark;
        if saved.watermark != MIN_TIMESTAMP {
            self.control(Control::Watermark(saved.watermark))?;
        }
        self.control(Control::Completed(saved.id))?;
        let again = self.log.words().split_off(saved.log);
        let records: Vec<_> = again.iter().filter(|word| word.contains('@')).collect();
        assert!(
            records.is_empty(),
            "emitted again after a restore: {records:?}"
        );
        self.log.truncate(saved.log);
        Ok(saved.position)
    }

    /// Plays steps, each crash once.
    pub(crate) fn play(&mut self, mut steps: Vec<Step<In>>) -> Result<(), Failure> {
        let mut at = 0;
        while let Some(step) = steps.get(at).cloned() {
            at += 1;
            match step {
                Step::Run(run) => self.run(run)?,
                Step::Control(control) => self.control(control)?,
                Step::Pass(time) => self.pass(time)?,
                Step::Barrier => self.barrier(at)?,
                Step::Crash => {
                    steps[at - 1] = Step::Pass(Duration::ZERO);
                    at = self.crash()?;
                }
            }
            self.write_slice()?;
        }
        Ok(())
    }
}

/// Only a main output.
pub(crate) fn main_only<T: Record>(show: fn(&T) -> String) -> impl Fn(&Log, u64) -> Outlets {
    move |log, seed| Outlets {
        main: Capture::stage(None, show, log, seed),
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
        main: Capture::stage(None, show, log, seed),
        sides: BTreeMap::from([(
            tag.to_owned(),
            Capture::stage(Some(tag), show_side, log, seed.rotate_left(7)),
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

/// Checks a picture of an operator on unkeyed pairs, without refusals and with some.
#[track_caller]
pub(crate) fn check(
    factory: &dyn OperatorFactory,
    outlets: MakeOutlets<'_>,
    input: &str,
    output: &str,
) {
    for seed in 0..4 {
        let got = play(factory, outlets, picture(input), seed);
        assert_eq!(got.join(" "), output, "refusals of seed {seed}");
    }
}

/// Checks a picture of a keyed operator.
#[track_caller]
pub(crate) fn check_keyed(
    factory: &dyn OperatorFactory,
    outlets: MakeOutlets<'_>,
    input: &str,
    output: &str,
) {
    for seed in 0..4 {
        let got = play(factory, outlets, hashed(picture(input)), seed);
        assert_eq!(got.join(" "), output, "refusals of seed {seed}");
    }
}

/// Checks a picture of an operator on two keyed streams.
#[track_caller]
pub(crate) fn check_two(
    factory: &dyn OperatorFactory,
    outlets: MakeOutlets<'_>,
    input: &str,
    output: &str,
) {
    for seed in 0..4 {
        let got = play(factory, outlets, hashed_sides(picture(input)), seed);
        assert_eq!(got.join(" "), output, "refusals of seed {seed}");
    }
}
