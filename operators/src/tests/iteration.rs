//! The head of a loop: what waits there, what goes next, what its snapshots hold.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rivus_core::{
    AnyStage, Barrier, BuildContext, CheckpointId, CheckpointKind, Control, Event, Failure,
    LoopWaiting, MAX_TIMESTAMP, ManualClock, MemoryStores, OperatorFactory, OperatorIndex,
    OperatorUid, Outlets, Progress, RestoredState, Rows, SnapshotBuilder, Stage, Stores,
    TaskContext, concat_chunks,
};

use super::rig::{UID, world};
use crate::IterationOperator;
use crate::testing::word;

type Seen = Arc<Mutex<Vec<String>>>;

/// The body's beginning.
struct Body(Seen);

impl Stage<u32> for Body {
    fn run(&mut self, run: Vec<Event<u32>>, _: &mut TaskContext) -> Result<Progress, Failure> {
        let run = run.iter().map(|event| event.value.to_string());
        let run = run.collect::<Vec<_>>().join(",");
        self.0.lock().unwrap().push(run);
        Ok(Progress::Done)
    }
    fn control(&mut self, control: Control, _: &mut TaskContext) -> Result<Progress, Failure> {
        self.0.lock().unwrap().extend(word(control));
        Ok(Progress::Done)
    }
    fn resume(&mut self, _: &mut TaskContext) -> Result<Progress, Failure> {
        Ok(Progress::Done)
    }
    fn slice(&mut self, _: usize, _: &mut TaskContext) -> Result<bool, Failure> {
        Ok(true)
    }
}

struct Head {
    stage: Box<dyn Stage<u32>>,
    cx: TaskContext,
    seen: Seen,
    snapshot: Option<Bytes>,
}

impl Head {
    /// Subtask `place.0` of `place.1`, from snapshots; over a store with room for so many bytes above it, if any.
    fn new(place: (u32, u32), store: Option<usize>, snapshots: &[Bytes]) -> Self {
        let cx = world(place.0, place.1, &Arc::new(ManualClock::default()));
        let seen = Seen::default();
        let stores = store.map(|cache_bytes| MemoryStores { cache_bytes });
        let restored = RestoredState::parse(snapshots).unwrap();
        let uid = OperatorUid::from(UID);
        let build = BuildContext {
            info: &cx.info,
            restored: &restored,
            stores: stores.as_ref().map(|stores| stores as &dyn Stores),
            uid: &uid,
            operator: OperatorIndex(0),
            unmarked_source: None,
        };
        let outlets = Outlets {
            main: AnyStage::new::<u32>(Box::new(Body(Arc::clone(&seen)))),
            sides: Default::default(),
        };
        let stage = IterationOperator::<u32>::default().stage(&build, outlets);
        Self {
            stage: stage.unwrap().typed().unwrap(),
            cx,
            seen,
            snapshot: None,
        }
    }

    /// `1,2` from outside, `o1,2` comes round, `r1,2` comes round and belongs into the snapshot; `>` the next goes into the
    /// body, `|` a barrier, `s` a slice of one record, `ss` all slices, `abort`, `!7` and `!max` watermarks, `$` time ends.
    fn play(&mut self, script: &str) -> Result<(), Failure> {
        let rows = |text: &str| -> Vec<Event<u32>> {
            let values = text.split(',').map(|n| n.parse().unwrap());
            values.map(|value| Event::at(0, value)).collect()
        };
        for word in script.split_whitespace() {
            let progress = match word {
                ">" => self.stage.loop_head().unwrap().send_round(&mut self.cx)?,
                "$" => self.stage.loop_head().unwrap().end_time(&mut self.cx)?,
                "|" => {
                    self.cx.snapshot = Some(SnapshotBuilder::new(CheckpointId(1)));
                    let barrier = Barrier {
                        id: CheckpointId(1),
                        kind: CheckpointKind::Checkpoint,
                    };
                    self.stage
                        .control(Control::Barrier(barrier), &mut self.cx)?
                }
                "s" => {
                    let _ = self.stage.slice(1, &mut self.cx)?;
                    Progress::Done
                }
                "ss" => {
                    while !self.stage.slice(1, &mut self.cx)? {}
                    let end = self.cx.snapshot.take().unwrap().finish();
                    self.snapshot = Some(concat_chunks(end.chunks));
                    Progress::Done
                }
                "abort" => {
                    self.cx.snapshot = None;
                    let aborted = Control::Aborted(CheckpointId(1));
                    self.stage.control(aborted, &mut self.cx)?
                }
                "!max" => {
                    let end = Control::Watermark(MAX_TIMESTAMP);
                    self.stage.control(end, &mut self.cx)?
                }
                word if word.starts_with('!') => {
                    let watermark = Control::Watermark(word[1..].parse().unwrap());
                    self.stage.control(watermark, &mut self.cx)?
                }
                word if word.starts_with(['o', 'r']) => {
                    let batch = Box::new(Rows::Owned(rows(&word[1..])));
                    let head = self.stage.loop_head().unwrap();
                    head.take_back(batch, word.starts_with('r'), &mut self.cx)?;
                    Progress::Done
                }
                run => self.stage.run(rows(run), &mut self.cx)?,
            };
            assert!(progress.is_done());
        }
        Ok(())
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().join(" ")
    }

    /// What is left, one run after the other.
    fn rest(&mut self) -> Vec<u32> {
        self.seen.lock().unwrap().clear();
        while self.stage.loop_head().unwrap().waiting() != LoopWaiting::Nothing {
            self.play(">").unwrap();
        }
        let seen = self.seen();
        let values = seen.split([',', ' ']).filter(|value| !value.is_empty());
        values.map(|value| value.parse().unwrap()).collect()
    }
}

#[test]
fn what_comes_round_goes_out_in_its_order_wherever_it_lies() {
    for store in [None, Some(1), Some(1 << 20)] {
        for (script, seen) in [
            ("1,2 o7 3 > 4", "1,2 3 7 4"),
            // Small batches go out together, up to a full run: four records.
            ("o1 o2 o3 > o4 >", "1,2,3 4"),
            ("o1,2,3 o4,5 o6 > > o7 >", "1,2,3 4,5,6 7"),
            // Time ends when the loop does.
            ("!5 !max o1 $ >", "!5 !max 1"),
        ] {
            let mut head = Head::new((0, 1), store, &[]);
            head.play(script).unwrap();
            assert_eq!(head.seen(), seen, "{script}, {store:?}");
        }
    }
}

#[test]
fn a_snapshot_holds_what_waited_at_its_barrier_and_what_came_round_before_it() {
    for store in [None, Some(1), Some(1 << 20)] {
        for (script, held) in [
            ("o1,2,3 o4,5,6 o7 | ss", "1 2 3 4 5 6 7"),
            // What goes out before its slice is written first; what comes behind the barrier is not written.
            ("o1,2,3 o4,5,6 | > s > o7,8 ss", "1 2 3 4 5 6"),
            ("o1,2 | o3 s r4 > r5 > o6 ss", "1 2 4 5"),
            ("o1,2,3,4 o5 | s s o6 ss", "1 2 3 4 5"),
            ("| r9 ss", "9"),
            ("| ss", ""),
            // Given up, and begun anew.
            ("o1,2,3 | r4 abort > | o5 ss", "4"),
        ] {
            let mut head = Head::new((0, 2), store, &[]);
            head.play(script).unwrap();
            let snapshot = head.snapshot.unwrap();
            let mut again = Head::new((0, 2), store, std::slice::from_ref(&snapshot));
            let shown = |values: Vec<u32>| {
                let mut values = values;
                values.sort_unstable();
                let values: Vec<String> = values.iter().map(u32::to_string).collect();
                values.join(" ")
            };
            assert_eq!(shown(again.rest()), held, "{script}, {store:?}");
            // The other one of two has none of it; of three each has some, once.
            let mut other = Head::new((1, 2), store, std::slice::from_ref(&snapshot));
            assert_eq!(other.rest(), Vec::<u32>::new());
            let mut dealt = Vec::new();
            for index in 0..3 {
                let snapshots = std::slice::from_ref(&snapshot);
                dealt.extend(Head::new((index, 3), store, snapshots).rest());
            }
            assert_eq!(shown(dealt), held);
        }
    }
}

#[test]
fn what_a_checkpoint_held_goes_first() {
    let mut head = Head::new((0, 1), None, &[]);
    head.play("o1,2,3 o4,5,6 | ss").unwrap();
    let mut again = Head::new((0, 1), Some(1), &[head.snapshot.unwrap()]);
    let waiting = |head: &mut Head| head.stage.loop_head().unwrap().waiting();
    assert_eq!(waiting(&mut again), LoopWaiting::Restored);
    again.play("o7 >").unwrap();
    assert_eq!(waiting(&mut again), LoopWaiting::Restored);
    again.play(">").unwrap();
    assert_ne!(waiting(&mut again), LoopWaiting::Restored);
    assert_eq!(again.rest(), [7]);
}

#[test]
fn what_a_loop_could_hold_at_a_checkpoint_it_can_hold_after_it() {
    // Of some 60,000 records that there may be without a store so many waited, and others were in the body.
    let some = vec!["7"; 1_000].join(",");
    let mut full = Head::new((0, 1), None, &[]);
    full.play(&format!("o{some} ").repeat(60)).unwrap();
    full.play("|").unwrap();
    full.play(&format!("> r{some} ").repeat(10)).unwrap();
    full.play("ss").unwrap();
    let mut again = Head::new((0, 1), None, &[full.snapshot.unwrap()]);
    // What goes round goes on.
    again
        .play(&format!("> o{} ", ["7"; 4].join(",")).repeat(100))
        .unwrap();
    assert_eq!(again.rest().len(), 70_000);
    // One gets what four had.
    let snapshots = [0, 1, 2, 3].map(|index| {
        let mut quarter = Head::new((index, 4), None, &[]);
        quarter.play(&format!("o{some} ").repeat(25)).unwrap();
        quarter.play("| ss").unwrap();
        quarter.snapshot.unwrap()
    });
    let mut alone = Head::new((0, 1), None, &snapshots);
    assert_eq!(alone.rest().len(), 100_000);
}

#[test]
fn without_a_store_a_loop_that_holds_too_much_fails() {
    let mut head = Head::new((0, 1), None, &[]);
    let many = format!("o{}", vec!["7"; 1_000].join(","));
    let mut failure = None;
    for _ in 0..100 {
        failure = failure.or(head.play(&many).err());
    }
    let failure = failure.expect("there is a limit").to_string();
    assert!(
        failure.contains("more than 1048576 bytes of records"),
        "{failure}"
    );
}
