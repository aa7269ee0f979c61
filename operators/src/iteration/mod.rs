//! `iterate`: the head of a loop.
//!
//! ```text
//! snapshot  blob* "loop" = { instance, parallelism, first, records }
//! ```
//!
//! Records from outside pass straight through. What comes round is taken in at once, whatever else waits, and queued; so a
//! body that is blocked always gets rid of what it feeds back. At a barrier the queue is part of the snapshot, and so is what
//! comes round behind it until the barrier does ([`LoopBarriers`](rivus_core::LoopBarriers)). After a restore these
//! records go into the body before any other; at another parallelism they are dealt one by one, and the body's own exchanges
//! send them where they belong.
//!
//! Watermarks from outside pass into the body, but for the last: time ends when nothing is under way any more. What comes
//! round brings none.

mod queue;

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, Batch, BuildContext, Chain, CheckpointId, Control, Event, Failure, LoopHead,
    LoopWaiting, MAX_TIMESTAMP, OperatorFactory, OperatorIndex, OperatorUid, Outlets, Progress,
    Record, Rows, Stage, StateAnswer, StateQuery, StateType, Task, TaskContext, Timestamp,
};

use self::queue::LoopQueue;
use crate::operator_state::{Items, Redistribution, deal};
use crate::outlet::{Outlet, only_outlet};

/// Name of its state in a snapshot.
const STATE: &str = "loop";

/// Makes heads of loops.
///
/// ```
/// use rivus_operators::IterationOperator;
///
/// let operator = IterationOperator::<String>::default();
/// # let _: &dyn rivus_core::OperatorFactory = &operator;
/// ```
pub struct IterationOperator<T>(PhantomData<fn(T)>);

impl<T> Default for IterationOperator<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

struct Looping<T> {
    queue: LoopQueue<T>,
    /// The checkpoint for which the queue is being written.
    frozen: Option<CheckpointId>,
    next: Outlet<T>,
    uid: OperatorUid,
    operator: OperatorIndex,
}

impl<T: Record> Stage<T> for Looping<T> {
    fn run(&mut self, run: Vec<Event<T>>, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.next.run(run, cx)
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        match control {
            Control::Watermark(MAX_TIMESTAMP) => return Ok(Progress::Done),
            Control::Barrier(barrier) => {
                self.queue.freeze();
                self.frozen = Some(barrier.id);
            }
            Control::Aborted(id) if self.frozen.is_some_and(|frozen| frozen <= id) => {
                self.queue.thaw();
                self.frozen = None;
            }
            _ => {}
        }
        self.next.control(control, cx)
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.next.resume(cx)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        cx.enter(self.operator);
        let own = self.queue.slice(&self.uid, rows, cx)?;
        Ok(own & self.next.slice(rows, cx)?)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        self.next.query(query, now)
    }

    fn loop_head(&mut self) -> Option<&mut dyn LoopHead> {
        Some(self)
    }
}

impl<T: Record> LoopHead for Looping<T> {
    fn take_back(
        &mut self,
        batch: Box<dyn Batch>,
        recorded: bool,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        cx.enter(self.operator);
        let rows = Rows::<T>::from_batch(batch)?;
        if recorded {
            self.queue.record(&self.uid, &rows, cx)?;
        }
        self.queue.push(rows, false)?;
        self.queue.measure(cx);
        Ok(())
    }

    fn waiting(&self) -> LoopWaiting {
        self.queue.waiting()
    }

    fn send_round(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        cx.enter(self.operator);
        let run = self.queue.pop(&self.uid, cx)?;
        self.queue.measure(cx);
        self.next.run(run, cx)
    }

    fn end_time(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.next.control(Control::Watermark(MAX_TIMESTAMP), cx)
    }
}

impl<T: Record> OperatorFactory for IterationOperator<T> {
    fn states(&self) -> Vec<StateType> {
        vec![StateType::of::<Items<Event<T>>>(STATE)]
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let items: Vec<Items<Event<T>>> = cx.restored.blobs(cx.uid, STATE)?;
        let store = cx
            .stores
            .map(|stores| stores.open(cx.uid, None))
            .transpose()?;
        let mut queue = LoopQueue::new(cx.info, store);
        queue.restore(deal(items, Redistribution::Split, cx.instance()))?;
        Ok(AnyStage::new::<T>(Box::new(Looping {
            queue,
            frozen: None,
            next: only_outlet(outlets)?,
            uid: cx.uid.clone(),
            operator: cx.operator,
        })))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<T>::task(stage)
    }
}
