//! What becomes of a checkpoint's barrier that is called off, wherever it has got to; and of what comes while the chain keeps one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rivus_core::{
    AttemptId, Barrier, Batch, CheckpointId, CheckpointKind, Control, Element, Failure, Inputs,
    ManualClock, Outputs, ParallelInstance, Progress, SubtaskId, SubtaskInfo, SubtaskMetrics, Task,
    TaskContext, VertexId,
};

use super::work::{Effect, Work};

/// What the chain has done, and whether its way out is free.
#[derive(Default)]
struct World {
    is_free: bool,
    seen: Vec<String>,
}

/// An operator with more rows than are ever written, and one behind it that the barrier reaches when the way is free.
struct Chain {
    world: Arc<Mutex<World>>,
    frozen: Option<CheckpointId>,
    barrier: Option<Barrier>,
}

impl Task for Chain {
    fn batch(
        &mut self,
        _: usize,
        _: Box<dyn Batch>,
        _: &mut TaskContext,
    ) -> Result<Progress, Failure> {
        unreachable!("it has no input")
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        if let Control::Barrier(barrier) = control {
            cx.open_snapshot()?;
            self.frozen = Some(barrier.id);
            self.barrier = Some(barrier);
            self.see(format!("f{}", barrier.id));
        }
        assert!(
            self.barrier.is_none() || matches!(control, Control::Barrier(_)),
            "it keeps something inside, and was given {control:?}"
        );
        if control == Control::Tick {
            self.see("k".to_owned());
        }
        self.resume(cx)
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        if let Some(barrier) = self.barrier {
            if !self.world.lock().unwrap().is_free {
                return Ok(Progress::Blocked);
            }
            cx.open_snapshot()?;
            cx.outputs.send_barrier(0, barrier);
            self.see(format!(">{}", barrier.id));
            self.barrier = None;
        }
        Ok(Progress::Done)
    }

    fn slice(&mut self, _: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        if self.frozen == cx.checkpoint() {
            return Ok(self.frozen.is_none());
        }
        if let Some(frozen) = self.frozen.take() {
            self.see(format!("t{frozen}"));
        }
        Ok(true)
    }
}

impl Chain {
    fn see(&self, what: String) {
        self.world.lock().unwrap().seen.push(what);
    }
}

fn work(world: &Arc<Mutex<World>>) -> Work {
    let info = SubtaskInfo {
        job: ParallelInstance::ALONE.job,
        attempt: AttemptId {
            subtask: SubtaskId {
                vertex: VertexId(0),
                index: 0,
            },
            attempt: 1,
        },
        parallelism: 1,
        max_parallelism: 128,
        batch_records: 1,
        batch_bytes: 1,
        loop_bytes: 1,
        is_distributed: false,
    };
    let mut outputs = Outputs::new(1);
    outputs.grant(0, 1);
    let (metrics, clock) = (Arc::new(SubtaskMetrics::default()), ManualClock::default());
    let cx = TaskContext::new(info, outputs, metrics, vec!["op".into()], Arc::new(clock));
    let inputs = Inputs::new(&[], CheckpointId(0), &[], 1);
    let chain = Chain {
        world: Arc::clone(world),
        frozen: None,
        barrier: None,
    };
    Work::new(Box::new(chain), cx, inputs, None, None)
}

/// Steps: `|1` checkpoint 1 is triggered, `x1` it is called off, `+` and `-` the way out is free or not, `k` a future has ended, `.` a
/// turn. Answers: `k` the operator looks which futures have, `f1`
/// the operator has frozen its rows for it, `t1` and let go of them, `>1` its barrier is sent, `/1` those behind need not wait
/// for it, `u1` its upload begins, `a1` what is uploaded for it is given up; and `!1` if its snapshot is open in the end.
fn picture(steps: &str) -> String {
    let world = Arc::default();
    let mut work = work(&world);
    let mut answers = Vec::new();
    for step in steps.split_whitespace() {
        let id = || CheckpointId(step[1..].parse().unwrap());
        match &step[..1] {
            "|" => work
                .trigger(Barrier {
                    id: id(),
                    kind: CheckpointKind::Checkpoint,
                })
                .unwrap(),
            "x" => work.aborted(id()).unwrap(),
            "k" => work.look_again(),
            "+" => world.lock().unwrap().is_free = true,
            "-" => world.lock().unwrap().is_free = false,
            _ => drop(work.turn(0).unwrap()),
        }
        let mut seen = std::mem::take(&mut world.lock().unwrap().seen);
        let sent = work.cx.outputs.drain();
        seen.extend(sent.filter_map(|sent| match sent.element {
            Element::CancelBarrier(id) => Some(format!("/{id}")),
            _ => None,
        }));
        seen.extend(work.effects.drain(..).filter_map(|effect| match effect {
            Effect::Frozen(barrier) => Some(format!("u{}", barrier.id)),
            Effect::Abandon(id) => Some(format!("a{id}")),
            _ => None,
        }));
        answers.push(match seen.is_empty() {
            true => "-".to_owned(),
            false => seen.join("+"),
        });
    }
    answers.extend(work.cx.checkpoint().map(|open| format!("!{open}")));
    answers.join(" ")
}

#[test]
fn a_checkpoint_that_is_called_off_is_not_frozen_any_more_and_not_uploaded() {
    for (steps, answers) in [
        ("+ |1 .", "- - f1+>1+u1 !1"),
        // While its rows are being written.
        ("+ |1 . x1 .", "- - f1+>1+u1 t1+a1 -"),
        // In mid-freeze: the rows are let go of at once, and the barrier goes out for nothing when it can.
        ("|1 . x1 . + . .", "- f1 t1+a1 - - >1 -"),
        ("|1 . x1 x1 + .", "- f1 t1+a1 a1 - >1"),
        // The next one begins behind it.
        ("|1 . x1 |2 . + .", "- f1 t1+a1 - - - >1+f2+>2+u2 !2"),
        // Before it comes itself.
        ("+ x1 |1 . |2 .", "- /1+a1+a1 - - - f2+>2+u2 !2"),
        // Before its turn comes.
        ("+ |1 x1 . |2 .", "- - a1 /1 - f2+>2+u2 !2"),
        // An older one is called off: that changes nothing.
        ("|2 . x1 + .", "- f2 a1 - >2+u2 !2"),
        // It is being written when another begins, which is only since it was called off and nobody has heard of it.
        ("+ |1 . |2 .", "- - f1+>1+u1 - t1+f2+>2+a1+u2 !2"),
        ("+ |1 . - |2 . x2", "- - f1+>1+u1 - - t1+f2+a1 t2+a2 !2"),
    ] {
        assert_eq!(picture(steps), answers, "{steps}");
    }
}

#[test]
fn however_often_a_chain_was_to_look_again_while_it_kept_something_it_looks_once() {
    for (steps, answers) in [
        ("+ k . k .", "- - k - k"),
        ("|1 . k k k + . . .", "- f1 - - - - >1+u1 k - !1"),
        ("|1 . k k x1 k k + . .", "- f1 - - t1+a1 - - - >1+k+k -"),
    ] {
        assert_eq!(picture(steps), answers, "{steps}");
    }
}

#[test]
fn a_source_that_holds_for_a_stop_goes_on_when_that_is_given_up() {
    let barrier = |id, kind| Barrier {
        id: CheckpointId(id),
        kind,
    };
    let (stop, checkpoint) = (
        CheckpointKind::Stop { drain: false },
        CheckpointKind::Checkpoint,
    );
    let held = |then: fn(&mut Work)| {
        let mut work = work(&Arc::default());
        work.trigger(barrier(1, stop)).unwrap();
        then(&mut work);
        work.held
    };
    assert_eq!(held(|_| ()), Some(CheckpointId(1)));
    assert_eq!(held(|work| work.aborted(CheckpointId(1)).unwrap()), None);
    // Nobody said so, but there is another one.
    let next = barrier(2, checkpoint);
    let mut work = work(&Arc::default());
    work.trigger(barrier(1, stop)).unwrap();
    work.trigger(next).unwrap();
    assert_eq!(work.held, None);
}

#[test]
fn a_barrier_that_does_not_come_on_all_inputs_in_time_says_what_would_help() {
    let (checkpoint, savepoint) = (CheckpointKind::Checkpoint, CheckpointKind::Savepoint);
    let minute = Duration::from_secs(60);
    let told = |kind, may_overtake| {
        let mut work = work(&Arc::default());
        work.inputs = Inputs::new(&[0, 0], CheckpointId(0), &[], 1);
        let id = CheckpointId(1);
        work.inputs.alignment.on_barrier(0, Barrier { id, kind });
        work.alignment_timeout(CheckpointId(0), minute, may_overtake)
            .unwrap();
        work.alignment_timeout(id, minute, may_overtake).unwrap();
        let told = work.effects.drain(..).filter_map(|effect| match effect {
            Effect::Decline { reason, .. } => Some(reason),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let late =
        "the barrier came on one input, and 60s later not yet on all: raise alignment_timeout";
    let or_overtake = ", or set unaligned_after, so that barriers overtake records";
    assert_eq!(told(checkpoint, true), [format!("{late}{or_overtake}")]);
    // A savepoint's barrier overtakes nothing.
    assert_eq!(told(savepoint, true), [late]);
    assert_eq!(told(checkpoint, false), [late]);
}
