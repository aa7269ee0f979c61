use std::sync::{Arc, Mutex};

use rivus_core::concat_chunks;
use rivus_core::{
    Barrier, CheckpointId, CheckpointKind, Committer, Control, Event, Failure, FailureScope,
    ManualClock, OperatorFactory, Outlets, ParallelInstance, Progress, ReadStatus, Record, Sink,
    SinkWriter, SnapshotBuilder, Source, SourceFactory, SourceReader, SourceTurn, Stage, Task,
    TaskContext, Timestamp, UserError,
};

use super::rig::*;
use crate::{SinkOperator, SourceOperator};

/// Counts from `next` to before `end`.
type Range = (u32, u32);

/// What is read at a number: a record, or when to ask again.
type At<T> = fn(u32, Timestamp) -> Result<Result<T, ReadStatus>, UserError>;

/// A source that counts, and makes a record of each number.
struct Counting<T> {
    ranges: Vec<Range>,
    at: At<T>,
}

struct Counter<T> {
    ranges: Vec<Range>,
    at: At<T>,
}

impl<T: Record> Source for Counting<T> {
    type Out = T;
    type Split = Range;
    type Reader = Counter<T>;

    fn splits(&self, _parallelism: u32) -> Result<Vec<Range>, UserError> {
        Ok(self.ranges.clone())
    }

    fn reader(&self, _instance: ParallelInstance) -> Result<Counter<T>, UserError> {
        Ok(Counter {
            ranges: Vec::new(),
            at: self.at,
        })
    }
}

impl<T: Record> SourceReader for Counter<T> {
    type Out = T;
    type Split = Range;

    fn add_split(&mut self, split: Range) -> Result<(), UserError> {
        self.ranges.push(split);
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<T>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        while out.len() < max
            && let Some((next, end)) = self.ranges.first_mut()
        {
            if next == end {
                self.ranges.remove(0);
                continue;
            }
            match (self.at)(*next, now)? {
                Ok(record) => out.push(Event::at(i64::from(*next), record)),
                Err(status) => return Ok(status),
            }
            *next += 1;
        }
        Ok(if self.ranges.is_empty() {
            ReadStatus::SplitsDone
        } else {
            ReadStatus::More
        })
    }

    fn snapshot(&self) -> Vec<Range> {
        self.ranges.clone()
    }

    fn position(&self) -> Option<String> {
        self.ranges.first().map(|(next, _)| format!("range:{next}"))
    }
}

/// A source's task as its actor drives it.
struct Reading {
    task: Box<dyn Task>,
    cx: TaskContext,
    log: Log,
    checkpoints: u64,
}

impl Reading {
    fn new(place: (u32, u32), snapshots: &[bytes::Bytes], seed: u64) -> Self {
        let log = Log::default();
        let cx = world(place.0, place.1, &Arc::new(ManualClock::default()));
        let outlets = main_only(debug::<u32>)(&log, seed);
        let task = built(&cx, snapshots, |build| source().task(build, outlets)).unwrap();
        Self {
            task,
            cx,
            log,
            checkpoints: 0,
        }
    }

    fn give(&mut self, ids: &[usize], no_more: bool) {
        let splits = source().splits(1).unwrap();
        let splits = ids.iter().map(|id| splits[*id].clone()).collect();
        self.task
            .source()
            .unwrap()
            .add_splits(splits, no_more)
            .unwrap();
    }

    /// Reads until there is something else to say than that a run was read.
    fn read_all(&mut self) -> SourceTurn {
        loop {
            self.cx.begin_turn();
            let turn = self.task.source().unwrap().read(&mut self.cx).unwrap();
            let SourceTurn::Read(mut progress) = turn else {
                return turn;
            };
            while !progress.is_done() {
                progress = self.task.resume(&mut self.cx).unwrap();
            }
        }
    }

    fn read_once(&mut self) {
        let turn = self.task.source().unwrap().read(&mut self.cx).unwrap();
        assert_eq!(turn, SourceTurn::Read(Progress::Done));
    }

    fn complete(&mut self, checkpoint: u64) {
        let completed = Control::Completed(CheckpointId(checkpoint));
        let progress = self.task.control(completed, &mut self.cx).unwrap();
        assert!(progress.is_done());
    }

    fn snapshot(&mut self) -> bytes::Bytes {
        self.checkpoints += 1;
        let id = CheckpointId(self.checkpoints);
        let kind = CheckpointKind::Checkpoint;
        self.cx.snapshot = Some(SnapshotBuilder::new(id));
        let barrier = Control::Barrier(Barrier { id, kind });
        let mut progress = self.task.control(barrier, &mut self.cx).unwrap();
        while !progress.is_done() {
            progress = self.task.resume(&mut self.cx).unwrap();
        }
        concat_chunks(self.cx.snapshot.take().unwrap().finish().chunks)
    }

    fn said(&self) -> String {
        self.log.words().join(" ")
    }
}

/// The numbers of five ranges. 50 is there from the time 1,000 on, and 66 can't be read.
fn source() -> SourceOperator<Counting<u32>> {
    SourceOperator::new(Counting {
        ranges: vec![(0, 2), (10, 13), (20, 30), (50, 51), (65, 70)],
        at: |number, now| match number {
            50 if now < 1_000 => Ok(Err(ReadStatus::Later(1_000))),
            66 => Err("unreadable".into()),
            _ => Ok(Ok(number)),
        },
    })
}

#[test]
fn a_source_reads_its_splits_and_then_says_the_end_once() {
    for seed in 0..5 {
        let mut reading = Reading::new((0, 1), &[], seed);
        assert_eq!(reading.read_all(), SourceTurn::NeedsSplit);
        reading.give(&[0, 1], false);
        assert_eq!(reading.read_all(), SourceTurn::NeedsSplit);
        reading.give(&[], true);
        assert_eq!(reading.read_all(), SourceTurn::Finished);
        assert_eq!(reading.read_all(), SourceTurn::Finished);
        reading.snapshot();
        let said = reading.said().replace("wait ", "");
        assert_eq!(said, "split 0@0 1@1 10@10 11@11 12@12 !max end |");
        assert_eq!(reading.cx.metrics.figures().records_in, 5);
    }
}

#[test]
fn a_split_that_comes_twice_is_read_once() {
    let mut reading = Reading::new((0, 1), &[], 0);
    reading.give(&[1, 0], false);
    reading.give(&[0], false);
    reading.read_once();
    let snapshot = reading.snapshot();
    assert_eq!(reading.said(), "split 10@10 11@11 12@12 0@0 |");
    let mut back = Reading::new((0, 1), &[snapshot], 3);
    back.give(&[], true);
    assert_eq!(back.read_all(), SourceTurn::Finished);
    assert_eq!(back.said(), "1@1 !max end");
}

#[test]
fn splits_that_a_completed_checkpoint_holds_are_no_longer_said_to_be_received() {
    let mut reading = Reading::new((0, 1), &[], 0);
    let received = |reading: &mut Reading| {
        let received = reading.task.source().unwrap().received();
        received.iter().map(|id| id.0).collect::<Vec<_>>()
    };
    reading.give(&[1, 0], false);
    reading.snapshot(); // 1, which is given up
    reading.give(&[2], false);
    reading.snapshot(); // 2
    reading.give(&[4], false);
    assert_eq!(received(&mut reading), [0, 1, 2, 4]);
    reading.complete(2);
    assert_eq!(received(&mut reading), [4]);
    reading.snapshot(); // 3
    reading.complete(2); // said again
    assert_eq!(received(&mut reading), [4]);
    reading.complete(3);
    assert_eq!(received(&mut reading), [0; 0]);
}

#[test]
fn a_source_restored_after_its_end_says_the_end_again() {
    let mut reading = Reading::new((0, 1), &[], 0);
    reading.give(&[0], true);
    assert_eq!(reading.read_all(), SourceTurn::Finished);
    let snapshot = reading.snapshot();
    for seed in 0..5 {
        let mut back = Reading::new((0, 1), std::slice::from_ref(&snapshot), seed);
        assert_eq!(back.read_all(), SourceTurn::Finished);
        assert_eq!(back.said(), "!max end");
    }
}

#[test]
fn a_source_that_has_nothing_yet_asks_to_be_woken() {
    let mut reading = Reading::new((0, 1), &[], 0);
    reading.give(&[3], true);
    assert_eq!(reading.read_all(), SourceTurn::Later);
    assert_eq!(reading.cx.take_wake(), Some(1_000));
}

#[test]
fn a_read_that_fails_is_named_by_where_it_failed_not_by_where_the_last_one_ended() {
    let mut reading = Reading::new((0, 1), &[], 0);
    reading.give(&[4], true);
    let failure = reading.task.source().unwrap().read(&mut reading.cx);
    let failure = reading.cx.locate(failure.unwrap_err());
    assert_eq!(failure.position.as_deref(), Some("range:66"));
}

#[test]
fn after_rescaling_every_unfinished_split_is_read_by_exactly_one_reader() {
    let mut snapshots = Vec::new();
    for (index, splits) in [(0, [0, 1]), (1, [2, 2])] {
        let mut reading = Reading::new((index, 2), &[], 0);
        reading.give(&splits, true);
        reading.read_once();
        snapshots.push(reading.snapshot());
    }
    for parallelism in [1, 3] {
        let mut read = Vec::new();
        for index in 0..parallelism {
            let mut back = Reading::new((index, parallelism), &snapshots, 0);
            back.give(&[], true);
            assert_eq!(back.read_all(), SourceTurn::Finished);
            read.extend(back.log.words());
        }
        read.retain(|word| word.contains('@'));
        read.sort();
        let rest = [
            "12@12", "24@24", "25@25", "26@26", "27@27", "28@28", "29@29",
        ];
        assert_eq!(read, rest);
    }
}

/// Lines that can be seen.
type Shelf = Arc<Mutex<Vec<String>>>;

struct Shop {
    shelf: Shelf,
    two_phase: bool,
}

#[derive(Default)]
struct Packer {
    open: Vec<u32>,
    written: u32,
    last: bool,
}

struct Clerk(Shelf);

impl Committer<Vec<u32>> for Clerk {
    fn commit(&self, committable: &Vec<u32>) -> Result<(), UserError> {
        if committable.contains(&13) {
            return Err("13 is unlucky".into());
        }
        self.0.lock().unwrap().push(format!("{committable:?}"));
        Ok(())
    }

    fn keep(&self, committable: &Vec<u32>) -> Result<(), UserError> {
        self.0.lock().unwrap().push(format!("kept{committable:?}"));
        Ok(())
    }
}

impl Sink for Shop {
    type In = u32;
    type State = u32;
    type Committable = Vec<u32>;
    type Writer = Packer;

    fn writer(&self, _: ParallelInstance, state: Option<u32>) -> Result<Packer, UserError> {
        Ok(Packer {
            written: state.unwrap_or(0),
            ..Packer::default()
        })
    }

    fn check(&self) -> Result<(), UserError> {
        match self.two_phase {
            true => Ok(()),
            false => Err("a shop has a clerk".into()),
        }
    }

    fn retire(&self, written: u32) -> Result<(), UserError> {
        match written {
            0 => Ok(()),
            _ => Err("a packer's count would be lost".into()),
        }
    }

    fn committer(&self) -> Option<Arc<dyn Committer<Vec<u32>>>> {
        let clerk = Arc::new(Clerk(Arc::clone(&self.shelf)));
        self.two_phase
            .then_some(clerk as Arc<dyn Committer<Vec<u32>>>)
    }
}

/// Records that a packer has room for.
const ROOM: usize = 3;

impl SinkWriter for Packer {
    type In = u32;
    type State = u32;
    type Committable = Vec<u32>;

    fn has_room(&mut self) -> bool {
        self.open.len() < ROOM
    }

    fn write(&mut self, run: Vec<Event<u32>>) -> Result<(), UserError> {
        self.written += run.len() as u32;
        self.open.extend(run.into_iter().map(|event| event.value));
        Ok(())
    }

    fn prepare_commit(&mut self, _: CheckpointId, last: bool) -> Result<Vec<Vec<u32>>, UserError> {
        self.last = last;
        let open = std::mem::take(&mut self.open);
        Ok(if open.is_empty() { vec![] } else { vec![open] })
    }

    fn snapshot(&mut self) -> Result<u32, UserError> {
        Ok(self.written)
    }
}

struct Selling {
    stage: Box<dyn Stage<u32>>,
    cx: TaskContext,
}

impl Selling {
    fn new(shop: Shop, snapshots: &[bytes::Bytes]) -> Self {
        Self::at((0, 1), shop, snapshots).unwrap()
    }

    fn at(place: (u32, u32), shop: Shop, snapshots: &[bytes::Bytes]) -> Result<Self, Failure> {
        let cx = world(place.0, place.1, &Arc::new(ManualClock::default()));
        let nothing: Outlets = main_only(debug::<u32>)(&Log::default(), 0);
        let sink = SinkOperator::new(shop);
        let stage = built(&cx, snapshots, |build| sink.stage(build, nothing))?.typed()?;
        Ok(Self { stage, cx })
    }

    fn write(&mut self, value: u32) {
        let run = vec![Event::at(0, value)];
        assert!(self.stage.run(run, &mut self.cx).unwrap().is_done());
    }

    fn barrier(&mut self, id: u64) -> bytes::Bytes {
        self.barrier_for(id, CheckpointKind::Checkpoint)
    }

    fn barrier_for(&mut self, id: u64, kind: CheckpointKind) -> bytes::Bytes {
        let id = CheckpointId(id);
        self.cx.snapshot = Some(SnapshotBuilder::new(id));
        self.control(Control::Barrier(Barrier { id, kind }));
        concat_chunks(self.cx.snapshot.take().unwrap().finish().chunks)
    }

    fn control(&mut self, control: Control) {
        assert!(self.stage.control(control, &mut self.cx).unwrap().is_done());
    }

    /// Completes a checkpoint; returns the checkpoints whose commits are asked for.
    fn completed(&mut self, id: u64) -> Vec<u64> {
        self.control(Control::Completed(CheckpointId(id)));
        self.cx
            .commits
            .iter()
            .map(|commit| commit.checkpoint.0)
            .collect()
    }

    /// What the worker does.
    fn commit_all(&mut self) -> Result<(), UserError> {
        self.cx
            .commits
            .drain(..)
            .try_for_each(|commit| (commit.commit)())
    }
}

fn shop() -> (Shelf, Shop) {
    let shelf = Shelf::default();
    let shop = Shop {
        shelf: Arc::clone(&shelf),
        two_phase: true,
    };
    (shelf, shop)
}

fn on(shelf: &Shelf) -> String {
    shelf.lock().unwrap().join(" ")
}

#[test]
fn a_run_waits_for_room_unless_a_barrier_overtakes_it() {
    let (_, shop) = shop();
    let mut selling = Selling::new(shop, &[]);
    for value in 0..ROOM as u32 {
        selling.write(value);
    }
    let Selling { stage, cx } = &mut selling;
    let run = vec![Event::at(0, 7)];
    assert_eq!(stage.run(run, cx).unwrap(), Progress::Blocked);
    assert!(cx.take_wake().is_some_and(|again| again > cx.now()));
    assert_eq!(stage.resume(cx).unwrap(), Progress::Blocked);
    assert!(cx.take_wake().is_some());
    assert_eq!(cx.metrics.figures().records_out, ROOM as u64);
    cx.outputs.begin_overdraft(usize::MAX);
    assert_eq!(stage.resume(cx).unwrap(), Progress::Done);
    cx.outputs.end_overdraft();
    assert_eq!(cx.metrics.figures().records_out, ROOM as u64 + 1);
    selling.barrier(1);
    selling.write(8);
}

#[test]
fn nothing_is_seen_before_its_checkpoint_completes() {
    let (shelf, shop) = shop();
    let mut selling = Selling::new(shop, &[]);
    selling.write(1);
    selling.barrier(1);
    selling.write(2);
    assert_eq!(selling.completed(1), [1]);
    selling.commit_all().unwrap();
    assert_eq!(on(&shelf), "[1]");
    assert!(selling.completed(1).is_empty(), "announced again");
    assert_eq!(selling.cx.metrics.figures().records_out, 2);
}

#[test]
fn what_an_aborted_checkpoint_prepared_is_committed_with_the_next() {
    let (shelf, shop) = shop();
    let mut selling = Selling::new(shop, &[]);
    selling.write(1);
    selling.barrier(1);
    selling.control(Control::Aborted(CheckpointId(1)));
    selling.write(2);
    selling.barrier(2);
    selling.write(3);
    selling.barrier(3);
    assert_eq!(selling.completed(2), [1, 2]);
    selling.commit_all().unwrap();
    assert_eq!(on(&shelf), "[1] [2]");
}

#[test]
fn a_savepoint_of_a_job_that_goes_on_has_all_kept_that_may_not_be_committed() {
    let (shelf, shop) = shop();
    let mut selling = Selling::new(shop, &[]);
    for id in 1..=3 {
        selling.write(id);
        selling.barrier(id.into());
        selling.completed(1);
    }
    selling.commit_all().unwrap();
    selling.write(4);
    selling.barrier_for(4, CheckpointKind::Savepoint);
    assert_eq!(on(&shelf), "[1] kept[2] kept[3] kept[4]");
    // One that a job stops with is its own.
    selling.barrier_for(5, CheckpointKind::Stop { drain: false });
    selling.completed(5);
    selling.commit_all().unwrap();
    assert_eq!(on(&shelf), "[1] kept[2] kept[3] kept[4] [2] [3] [4]");
}

#[test]
fn a_commit_that_is_not_confirmed_stays_in_the_next_snapshot() {
    let (shelf, one) = shop();
    let mut selling = Selling::new(one, &[]);
    selling.write(1);
    selling.barrier(1);
    assert_eq!(selling.completed(1), [1]);
    // The worker hasn't got to it when the next barrier comes, and the process dies after that.
    let snapshot = selling.barrier(2);
    let two = Shop {
        shelf: Arc::clone(&shelf),
        two_phase: true,
    };
    let mut back = Selling::new(two, &[snapshot]);
    assert_eq!(back.completed(2), [1]);
    back.commit_all().unwrap();
    assert_eq!(on(&shelf), "[1]");
    let three = Shop {
        shelf: Arc::clone(&shelf),
        two_phase: true,
    };
    let snapshot = back.barrier(3);
    assert!(Selling::new(three, &[snapshot]).completed(3).is_empty());
}

#[test]
fn with_fewer_writers_none_is_let_go_whose_state_would_be_lost() {
    let snapshot = |writes: u32| {
        let (_, shop) = shop();
        let mut selling = Selling::at((1, 2), shop, &[]).unwrap();
        (0..writes).for_each(|value| selling.write(value));
        [selling.barrier(1)]
    };
    let fewer = |snapshots: &[bytes::Bytes]| Selling::at((0, 1), shop().1, snapshots);
    assert!(fewer(&snapshot(0)).is_ok());
    let failure = fewer(&snapshot(2)).err().unwrap();
    assert_eq!(failure.scope, FailureScope::Job);
    assert_eq!(failure.message, "a packer's count would be lost");
    // Its own state goes on.
    let (_, shop) = shop();
    assert!(Selling::at((1, 2), shop, &snapshot(2)).is_ok());
}

#[test]
fn a_sink_that_cannot_work_is_refused_with_the_program() {
    let (_, mut shop) = shop();
    shop.two_phase = false;
    let refused = SinkOperator::new(shop).check(&Default::default());
    assert_eq!(refused, Err("a shop has a clerk".to_owned()));
}

#[test]
fn a_commit_that_fails_says_so() {
    let (_, shop) = shop();
    let mut selling = Selling::new(shop, &[]);
    selling.write(13);
    selling.barrier(1);
    selling.completed(1);
    let error = selling.commit_all().unwrap_err();
    assert_eq!(error.to_string(), "13 is unlucky");
}

#[test]
fn a_sink_without_a_committer_keeps_no_committables() {
    let shop = Shop {
        shelf: Shelf::default(),
        two_phase: false,
    };
    let mut selling = Selling::new(shop, &[]);
    selling.write(1);
    selling.barrier(1);
    assert!(selling.completed(1).is_empty());
}

#[test]
fn a_run_is_as_long_as_its_bytes_permit() {
    let mut cx = world(0, 1, &Arc::new(ManualClock::default()));
    cx.info.batch_records = 1_000;
    cx.info.batch_bytes = 200_000;
    // Records of 50,000 bytes, behind a hundred that are small.
    let source = SourceOperator::new(Counting {
        ranges: vec![(0, u32::MAX)],
        at: |number, _| Ok(Ok("x".repeat(if number < 100 { 5 } else { 50_000 }))),
    });
    let outlets = main_only(|text: &String| text.len().to_string())(&Log::default(), 0);
    let mut task = built(&cx, &[], |build| source.task(build, outlets)).unwrap();
    let splits = source.splits(1).unwrap();
    task.source().unwrap().add_splits(splits, true).unwrap();
    let runs = (0..6).map(|_| {
        let before = cx
            .metrics
            .records_in
            .load(std::sync::atomic::Ordering::Relaxed);
        let mut progress = task.source().unwrap().read(&mut cx).unwrap();
        while let SourceTurn::Read(read) = progress
            && !read.is_done()
        {
            progress = SourceTurn::Read(task.resume(&mut cx).unwrap());
        }
        cx.metrics
            .records_in
            .load(std::sync::atomic::Ordering::Relaxed)
            - before
    });
    // It begins with few, and when records become large one run is longer than it would be.
    assert_eq!(runs.collect::<Vec<_>>(), [16, 32, 64, 3, 3, 3]);
}
