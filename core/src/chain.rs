//! The pieces that every chain is made of: its head, its forks, its dead ends.

use std::marker::PhantomData;

use crate::batch::{Batch, Rows};
use crate::context::TaskContext;
use crate::event::{Event, Record, Timestamp};
use crate::failure::Failure;
use crate::metrics::SubtaskMetrics;
use crate::query::{StateAnswer, StateQuery};
use crate::stage::{AnyStage, Control, Progress, Stage};
use crate::task::{LoopHead, OutputFactory, Task};

/// A task whose inputs all carry the same type: one operator chain behind them.
pub struct Chain<T> {
    head: Box<dyn Stage<T>>,
}

impl<T: Record> Chain<T> {
    /// A task around its first stage.
    ///
    /// # Errors
    /// A job failure if the stage takes another type.
    pub fn task(head: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Ok(Box::new(Self {
            head: head.typed()?,
        }))
    }
}

impl<T: Record> Task for Chain<T> {
    fn batch(
        &mut self,
        _input: usize,
        batch: Box<dyn Batch>,
        cx: &mut TaskContext,
    ) -> Result<Progress, Failure> {
        let run = Rows::<T>::from_batch(batch)?;
        SubtaskMetrics::add(&cx.metrics.records_in, run.len() as u64);
        self.head.run(run, cx)
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.head.control(control, cx)
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.head.resume(cx)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.head.slice(rows, cx)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        self.head.query(query, now)
    }

    fn loop_head(&mut self) -> Option<&mut dyn LoopHead> {
        self.head.loop_head()
    }
}

/// An output of type `T`.
pub struct TypedOutput<T>(PhantomData<fn() -> T>);

impl<T> Default for TypedOutput<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Record> OutputFactory for TypedOutput<T> {
    fn carries(&self) -> &'static str {
        std::any::type_name::<T>()
    }

    fn fan_out(&self, mut consumers: Vec<AnyStage>) -> Result<AnyStage, Failure> {
        if consumers.len() == 1
            && let Some(only) = consumers.pop()
        {
            return Ok(only);
        }
        let branches = consumers
            .into_iter()
            .map(|stage| {
                Ok(Branch {
                    stage: stage.typed::<T>()?,
                    done: true,
                })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(AnyStage::new(Box::new(FanOut { branches })))
    }
}

struct Branch<T> {
    stage: Box<dyn Stage<T>>,
    /// Whether it keeps nothing inside.
    done: bool,
}

/// Hands everything to several stages. A branch that can't go on keeps the others waiting, never back:
/// each gets every element before the fork takes the next.
struct FanOut<T> {
    branches: Vec<Branch<T>>,
}

impl<T: Record> FanOut<T> {
    fn progress(&mut self, index: usize, progress: Progress) -> Progress {
        self.branches[index].done = progress.is_done();
        progress
    }
}

impl<T: Record> Stage<T> for FanOut<T> {
    fn run(&mut self, run: Vec<Event<T>>, cx: &mut TaskContext) -> Result<Progress, Failure> {
        let mut all = Progress::Done;
        let last = self.branches.len().saturating_sub(1);
        let mut run = Some(run);
        for index in 0..self.branches.len() {
            let copy = if index == last {
                run.take()
            } else {
                run.clone()
            };
            let progress = self.branches[index]
                .stage
                .run(copy.unwrap_or_default(), cx)?;
            all = all.and(self.progress(index, progress));
        }
        Ok(all)
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        let mut all = Progress::Done;
        for index in 0..self.branches.len() {
            let progress = self.branches[index].stage.control(control, cx)?;
            all = all.and(self.progress(index, progress));
        }
        Ok(all)
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        let mut all = Progress::Done;
        for index in 0..self.branches.len() {
            if !self.branches[index].done {
                let progress = self.branches[index].stage.resume(cx)?;
                all = all.and(self.progress(index, progress));
            }
        }
        Ok(all)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        let mut done = true;
        for branch in &mut self.branches {
            done &= branch.stage.slice(rows, cx)?;
        }
        Ok(done)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        for branch in &mut self.branches {
            if let Some(answer) = branch.stage.query(query, now)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualClock;
    use crate::context::SubtaskInfo;
    use crate::outputs::Outputs;
    use crate::router::tests::{Bench, Seen, by_key, check_channel, drive, givens, info};
    use crate::router::{Broadcast, Forward, Rebalance};
    use crate::task::RouteFactory;

    /// A fork in front of routers with so many lanes each.
    fn fork(routes: &[(&dyn RouteFactory, usize)], info: &SubtaskInfo) -> Bench {
        let mut first = 0;
        let mut consumers = Vec::new();
        for (routes, lanes) in routes {
            consumers.push(routes.router(info, first..first + lanes));
            first += lanes;
        }
        let stage = TypedOutput::<u32>::default().fan_out(consumers).unwrap();
        Bench::new(stage, first, info.clone())
    }

    #[test]
    fn forks_in_pictures() {
        let table = [
            ("+9 1,2,3 w5 |1 $", "[1, 2, 3] w5 |1 $ / [1, 2, 3] w5 |1 $"),
            // A branch without credit keeps the others waiting, never back, and gets nothing twice.
            ("0+9 1,2,3,4", "[1, 2, 3] /  !"),
            ("0+9 1,2,3,4 1+9", "[1, 2, 3] [4] / [1, 2, 3] [4]"),
            ("0+9 1 |1", "[1] |1 /  !"),
            ("0+9 1 |1 1+1", "[1] |1 / [1] |1"),
            ("1 |1 1+1", " / [1] |1 !"),
            ("1 |1 1+1 0+1 $", "[1] |1 $ / [1] |1 $"),
            // A barrier that has gone out on one branch overtakes on the other.
            ("0+9 1+1 w5 1 |1 ( ) 1+9", "w5 [1] |1 / w5 ^1 [1]"),
        ];
        for (script, expected) in table {
            let forward = Forward::<u32>::default();
            let mut bench = fork(&[(&forward, 1), (&forward, 1)], &info(3));
            bench.play(script);
            assert_eq!(bench.picture(), expected, "{script}");
        }
    }

    /// Keeps everything that it is given for so many turns, and is touched by nobody else meanwhile.
    struct Slow {
        turns: usize,
        left: usize,
        how: Progress,
    }

    impl Slow {
        fn begin(&mut self) -> Result<Progress, Failure> {
            assert_eq!(self.left, 0, "given something while it keeps something");
            self.left = self.turns;
            Ok(self.progress())
        }

        fn progress(&self) -> Progress {
            if self.left == 0 {
                Progress::Done
            } else {
                self.how
            }
        }
    }

    impl Stage<u32> for Slow {
        fn run(&mut self, _: Vec<Event<u32>>, _: &mut TaskContext) -> Result<Progress, Failure> {
            self.begin()
        }
        fn control(&mut self, _: Control, _: &mut TaskContext) -> Result<Progress, Failure> {
            self.begin()
        }
        fn resume(&mut self, _: &mut TaskContext) -> Result<Progress, Failure> {
            assert!(self.left > 0, "resumed while it keeps nothing");
            self.left -= 1;
            Ok(self.progress())
        }
        fn slice(&mut self, _: usize, _: &mut TaskContext) -> Result<bool, Failure> {
            self.left = self.left.saturating_sub(1);
            Ok(self.left == 0)
        }
    }

    #[test]
    fn only_branches_that_keep_something_are_resumed_and_the_slowest_says_when_all_are_done() {
        let slow = |turns, how| {
            let left = 0;
            AnyStage::new::<u32>(Box::new(Slow { turns, left, how }))
        };
        let branches = vec![
            slow(2, Progress::Blocked),
            slow(0, Progress::Blocked),
            slow(3, Progress::Yielded),
        ];
        let fork = TypedOutput::<u32>::default().fan_out(branches).unwrap();
        let mut fork = fork.typed::<u32>().unwrap();
        let mut cx = fork_context();
        for _ in 0..2 {
            let mut steps = vec![fork.control(Control::Flush, &mut cx).unwrap()];
            while !steps.last().unwrap().is_done() {
                steps.push(fork.resume(&mut cx).unwrap());
            }
            let (blocked, yielded) = (Progress::Blocked, Progress::Yielded);
            assert_eq!(steps, [blocked, blocked, yielded, Progress::Done]);
        }
        // Slices go to all, until all are through.
        assert_eq!(fork.run(Vec::new(), &mut cx).unwrap(), Progress::Blocked);
        let slices = [(); 3].map(|()| fork.slice(1, &mut cx).unwrap());
        assert_eq!(slices, [false, false, true]);
    }

    fn fork_context() -> TaskContext {
        let clock = Arc::new(ManualClock::default());
        let outputs = Outputs::new(0);
        TaskContext::new(info(1), outputs, Arc::default(), Vec::new(), clock)
    }

    #[test]
    fn an_output_that_nobody_reads_takes_everything() {
        let mut bench = fork(&[], &info(3));
        bench.play("1,2,3 w5 i |1 f $");
        assert!(!bench.blocked);
    }

    #[test]
    fn a_stage_of_another_type_is_refused_with_both_types() {
        let text = Forward::<String>::default().router(&info(3), 0..1);
        let number = Forward::<u32>::default().router(&info(3), 1..2);
        let joined = TypedOutput::<u32>::default().fan_out(vec![text, number]);
        let failure = joined.err().unwrap().to_string();
        assert!(
            failure.contains("u32") && failure.contains("String"),
            "{failure}"
        );
    }

    proptest! {
        #[test]
        fn every_branch_gets_everything_once_whatever_the_credits(
            givens in givens(), batch in 1..6_usize, hashed in 1..4_usize, widths in 1..4_usize,
        ) {
            let (forward, hash) = (Forward::<u32>::default(), by_key());
            let (broadcast, rebalance) =
                (Broadcast::<u32>::default(), Rebalance::<u32>::default());
            let routes: [(&dyn RouteFactory, usize); 4] =
                [(&forward, 1), (&hash, hashed), (&broadcast, widths), (&rebalance, 1)];
            let mut bench = fork(&routes, &info(batch));
            let told = drive(&mut bench, &givens);
            let mut lanes = bench.seen.iter();
            check_channel(&told, lanes.next().unwrap(), |_| true)?;
            let mut by_hash: Vec<Seen> = Vec::new();
            for _ in 0..hashed {
                by_hash.extend(lanes.next().unwrap());
            }
            for lane in lanes {
                check_channel(&told, lane, |_| true)?;
            }
            let records = |seen: &[Seen]| {
                let is_record = |seen: &Seen| matches!(seen, Seen::Record(_));
                let mut records: Vec<_> = seen.iter().copied().filter(is_record).collect();
                records.sort_unstable();
                records
            };
            prop_assert_eq!(records(&told), records(&by_hash));
        }
    }
}
