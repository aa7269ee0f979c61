//! The pieces that every chain is made of: its head, its forks, its dead ends.

use std::marker::PhantomData;

use crate::batch::{Batch, Rows};
use crate::context::TaskContext;
use crate::event::{Event, Record};
use crate::failure::Failure;
use crate::metrics::SubtaskMetrics;
use crate::stage::{AnyStage, Control, Progress, Stage};
use crate::task::{OutputFactory, Task};

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
}

/// An output of type `T`.
pub struct TypedOutput<T>(PhantomData<fn() -> T>);

impl<T> Default for TypedOutput<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Record> OutputFactory for TypedOutput<T> {
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
}
