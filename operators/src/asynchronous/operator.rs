//! The operator that asks.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Event, Failure, MAX_TIMESTAMP, OperatorFactory,
    OperatorUid, Outlets, Progress, Record, SidesRead, Stage, StateType, SubtaskMetrics, Task,
    TaskContext, Timestamp,
};

use super::function::AsyncFunction;
use super::queue::{Queue, Ready};
use super::request::{Answer, Answers, answer};
use super::requests::AsyncRequests;
use crate::operator_state::{Frozen, Items, Redistribution, STATE, deal};
use crate::outlet::Emitter;
use crate::side::{SideOutputs, check_only};
use crate::stateless::{OnError, Rejected};

/// Makes stages that ask for each record and hand on the answers.
///
/// A barrier passes requests that are under way: their records are part of the snapshot, and are asked for again after
/// a restore, before any other. At another parallelism they are dealt one by one.
///
/// ```
/// use rivus_operators::{AsyncMap, AsyncOperator, AsyncRequests};
/// use std::time::Duration;
///
/// let lookup = AsyncMap::new(|id: u32| async move { Ok::<_, String>(format!("customer {id}")) });
/// let operator = AsyncOperator::new(lookup, AsyncRequests::ordered(Duration::from_secs(1)));
/// # let _: &dyn rivus_core::OperatorFactory = &operator;
/// ```
pub struct AsyncOperator<In, F> {
    function: F,
    requests: AsyncRequests<In>,
    of: PhantomData<fn(In)>,
}

impl<In: Record, F: AsyncFunction<In>> AsyncOperator<In, F> {
    /// Of a function, and how its requests are made.
    pub fn new(function: F, requests: AsyncRequests<In>) -> Self {
        Self {
            function,
            requests,
            of: PhantomData,
        }
    }
}

struct Asking<In, F: AsyncFunction<In>> {
    function: Arc<F>,
    requests: AsyncRequests<In>,
    queue: Queue<In, F::Out>,
    answers: Arc<Answers<F::Out>>,
    /// Records that come before the rest of the run: those of a snapshot that have not been asked for again, and those
    /// for which a barrier that overtakes could not wait.
    waiting: VecDeque<Event<In>>,
    rest: std::vec::IntoIter<Event<In>>,
    control: Option<Control>,
    /// What is left of an answer.
    giving: Option<(Timestamp, std::vec::IntoIter<F::Out>)>,
    /// What may be told behind the records that have been handed on.
    telling: Option<Control>,
    /// Whether something has been handed on since the last flush.
    unflushed: bool,
    out: Emitter<F::Out>,
    uid: OperatorUid,
    frozen: Option<Frozen<Event<In>>>,
}

impl<In: Record, F: AsyncFunction<In>> Asking<In, F> {
    /// Asks for records while there is room, first for those of a snapshot.
    fn ask(&mut self, cx: &mut TaskContext) -> Result<(), Failure> {
        while self.queue.len() < self.requests.capacity {
            let next = self.waiting.pop_front().or_else(|| self.rest.next());
            let Some(event) = next else {
                break;
            };
            let futures = Arc::clone(cx.futures()?);
            let answering = answer(
                Arc::clone(&self.function),
                event.value.clone(),
                self.requests.retry,
                self.requests.timeout,
                Arc::clone(&futures),
            );
            let (id, answers) = (self.queue.next_id(), Arc::clone(&self.answers));
            let told = Arc::clone(&futures);
            let running = futures.spawn(Box::pin(async move {
                if answers.leave(id, answering.await) {
                    told.look_again();
                }
            }));
            self.queue.ask(event, running);
        }
        Ok(())
    }

    /// Hands on whatever may be. `Some` says to stop.
    fn hand_on(&mut self, cx: &mut TaskContext) -> Result<Option<Progress>, Failure> {
        loop {
            if let Some(control) = self.telling {
                // The records before it go first.
                self.unflushed = true;
                let mut progress = self.out.send(cx)?;
                if progress.is_done() {
                    self.telling = None;
                    progress = self.out.control(control, cx)?;
                }
                if !progress.is_done() {
                    return Ok(Some(progress));
                }
            } else if let Some((ts, values)) = &mut self.giving {
                match values.next() {
                    Some(value) => self.out.emit(*ts, value),
                    None => self.giving = None,
                }
            } else {
                match self.queue.ready() {
                    Some(Ready::Answer(event, answer)) => self.take(event, answer, cx)?,
                    Some(Ready::Control(control)) => self.telling = Some(control),
                    None => break,
                }
            }
            let over = cx.turn_is_over();
            if over || self.out.is_full() {
                self.unflushed = true;
                let progress = self.out.send(cx)?;
                if over {
                    return Ok(Some(progress.and(Progress::Yielded)));
                }
                if !progress.is_done() {
                    return Ok(Some(progress));
                }
            }
        }
        self.unflushed |= self.out.is_holding();
        let progress = self.out.send(cx)?;
        Ok((!progress.is_done()).then_some(progress))
    }

    fn take(
        &mut self,
        event: Event<In>,
        answer: Answer<F::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let named = |failure: Failure| match cfg!(debug_assertions) {
            true => failure.with_record(&event.value),
            false => failure,
        };
        match (answer.map_err(named)?, &self.requests.on_error) {
            (Ok(values), _) => self.giving = Some((event.ts, values.into_iter())),
            (Err(_), OnError::Skip) => SubtaskMetrics::add(&cx.metrics.skipped, 1),
            (Err(failure), OnError::SideOutput(tag)) => {
                let error = failure.message;
                let rejected = event.map(|record| Rejected { record, error });
                self.out.sides.push(tag, rejected);
            }
            (Err(failure), OnError::Fail) => return Err(named(failure)),
        }
        Ok(())
    }

    /// Works until all is done that can be; what waits for answers is blocked.
    fn advance(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.out.enter(cx);
        loop {
            for (id, answer) in self.answers.take() {
                self.queue.answer(id, answer);
            }
            if let Some(stopped) = self.hand_on(cx)? {
                return Ok(stopped);
            }
            self.ask(cx)?;
            if self.rest.len() > 0 {
                // A barrier that overtakes doesn't wait for answers; but what is kept for its snapshot is bounded.
                let overtakes = cx.outputs.is_overdrawing();
                if !overtakes || self.waiting.len() >= cx.info.batch_records {
                    return self.wait(cx);
                }
                self.waiting.extend(self.rest.by_ref());
            }
            let Some(control) = self.control else {
                return Ok(Progress::Done);
            };
            match control {
                // What ends time or the input waits for everything: a job may stop right behind it. So does what says of a
                // loop that all before it has been worked on.
                Control::Watermark(MAX_TIMESTAMP) | Control::Round(_) | Control::EndOfInput
                    if self.queue.len() > 0 || !self.waiting.is_empty() =>
                {
                    return self.wait(cx);
                }
                Control::Watermark(_) | Control::Idle => {
                    if !self.waiting.is_empty() {
                        return self.wait(cx);
                    }
                    self.control = None;
                    self.queue.tell(control);
                    continue;
                }
                Control::Barrier(barrier) => {
                    let mut records = self.queue.records();
                    records.extend(self.waiting.iter().cloned());
                    self.frozen = Some(Frozen::new(barrier.id, records));
                }
                Control::Aborted(checkpoint) => Frozen::aborted(&mut self.frozen, checkpoint),
                Control::Flush => self.unflushed = false,
                _ => {}
            }
            self.control = None;
            return self.out.control(control, cx);
        }
    }

    /// Nothing more comes in until an answer does: what was handed on must not wait for that.
    fn wait(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        if std::mem::take(&mut self.unflushed) {
            let progress = self.out.control(Control::Flush, cx)?;
            return Ok(progress.and(Progress::Blocked));
        }
        Ok(Progress::Blocked)
    }
}

impl<In: Record, F: AsyncFunction<In>> Stage<In> for Asking<In, F> {
    fn run(&mut self, run: Vec<Event<In>>, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.rest = run.into_iter();
        self.advance(cx)
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.control = Some(control);
        self.advance(cx)
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        let progress = self.out.resume(cx)?;
        if !progress.is_done() {
            return Ok(progress);
        }
        self.advance(cx)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        let own = Frozen::slice(&mut self.frozen, &self.uid, rows, cx)?;
        Ok(own & self.out.slice(rows, cx)?)
    }
}

impl<In: Record, F: AsyncFunction<In>> OperatorFactory for AsyncOperator<In, F> {
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        self.requests.check()?;
        let written = match &self.requests.on_error {
            OnError::SideOutput(tag) => Some(tag),
            OnError::Fail | OnError::Skip => None,
        };
        check_only(written, read)
    }

    fn states(&self) -> Vec<StateType> {
        vec![StateType::of::<Items<Event<In>>>(STATE)]
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let sides = SideOutputs::new();
        if let OnError::SideOutput(tag) = &self.requests.on_error {
            sides.declare(tag);
        }
        let mut function = self.function.clone();
        let opened = function.open(cx.instance());
        opened.map_err(|error| Failure::user(&error).outside())?;
        let items: Vec<Items<Event<In>>> = cx.restored.blobs(cx.uid, STATE)?;
        let asking: Asking<In, F> = Asking {
            function: Arc::new(function),
            requests: self.requests.clone(),
            queue: Queue::new(self.requests.ordered),
            answers: Arc::default(),
            waiting: deal(items, Redistribution::Split, cx.instance()).into(),
            rest: Vec::new().into_iter(),
            control: None,
            giving: None,
            telling: None,
            unflushed: false,
            out: Emitter::new(cx, outlets, &sides)?,
            uid: cx.uid.clone(),
            frozen: None,
        };
        Ok(AnyStage::new::<In>(Box::new(asking)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<In>::task(stage)
    }
}
