//! The stage that assigns times and makes watermarks.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Event, Failure, MAX_TIMESTAMP, MIN_TIMESTAMP,
    OperatorFactory, OperatorIndex, OperatorUid, Outlets, Progress, Reached, Record, SidesRead,
    Stage, StateAnswer, StateQuery, StateType, Task, TaskContext, Timestamp, no_side_outputs,
};
use serde::{Deserialize, Serialize};

use super::idle::IdleClock;
use super::strategy::{
    BoundedOutOfOrderness, KeepTimestamps, TimestampAssigner, WatermarkGenerator, WatermarkStrategy,
};
use crate::outlet::{Outlet, only_outlet};

/// Name of its state in a snapshot.
const STATE: &str = "watermark";

/// Makes stages that follow a [`WatermarkStrategy`]. Watermarks from upstream end here, but for the last.
pub struct WatermarkOperator<T, G = BoundedOutOfOrderness, S = KeepTimestamps> {
    strategy: WatermarkStrategy<T, G, S>,
}

impl<T, G, S> WatermarkOperator<T, G, S>
where
    T: Record,
    G: WatermarkGenerator<T>,
    S: TimestampAssigner<T>,
{
    /// By a strategy.
    pub fn new(strategy: WatermarkStrategy<T, G, S>) -> Self {
        Self { strategy }
    }
}

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.Seen")]
struct Seen {
    /// Greatest time of a record.
    max_ts: Timestamp,
    /// The last watermark.
    watermark: Timestamp,
}

impl Seen {
    const NOTHING: Self = Self {
        max_ts: MIN_TIMESTAMP,
        watermark: MIN_TIMESTAMP,
    };

    /// What can be asserted whoever of several goes on: the least.
    fn least(all: Vec<Self>) -> Self {
        all.into_iter()
            .reduce(|a, b| Self {
                max_ts: a.max_ts.min(b.max_ts),
                watermark: a.watermark.min(b.watermark),
            })
            .unwrap_or(Self::NOTHING)
    }
}

struct Assigner<T, G, S> {
    generator: G,
    timestamps: S,
    clock: Option<IdleClock>,
    /// The group in which its watermarks are aligned.
    group: Option<Arc<str>>,
    /// Whether the source waits for work to be handed to it, or for other sources.
    waiting: bool,
    /// Whether the next stage has been told that nobody should wait for this one.
    told_idle: bool,
    seen: Seen,
    /// The last watermark that this attempt has sent.
    sent: Timestamp,
    /// Goes out when the next stage is through with its run.
    due: Option<Timestamp>,
    next: Outlet<T>,
    uid: OperatorUid,
    operator: OperatorIndex,
}

impl<T, G, S> Assigner<T, G, S>
where
    T: Record,
    G: WatermarkGenerator<T>,
    S: TimestampAssigner<T>,
{
    /// Behind it every record has a time.
    fn observe(&mut self, run: &mut [Event<T>]) -> Result<(), Failure> {
        let (mut min_ts, mut max_ts) = (MAX_TIMESTAMP, self.seen.max_ts);
        for event in run {
            event.ts = self.timestamps.timestamp(event);
            min_ts = min_ts.min(event.ts);
            max_ts = max_ts.max(event.ts);
            self.generator.on_event(event.ts, &event.value);
        }
        if min_ts == MIN_TIMESTAMP {
            return Err(Failure::job(
                "a record has no time: give the watermark strategy .with_timestamps(..), \
                 or read from a source that knows its records' times",
            ));
        }
        self.seen.max_ts = max_ts;
        if let Some(watermark) = self.generator.on_run() {
            self.raise(watermark);
        }
        Ok(())
    }

    /// Notes a watermark to be sent. It never falls, not even across a recovery.
    fn raise(&mut self, watermark: Timestamp) {
        self.seen.watermark = self.seen.watermark.max(watermark);
        if self.seen.watermark > self.sent {
            self.due = Some(self.seen.watermark);
        }
    }

    fn send_due(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        match self.due.take() {
            Some(watermark) => {
                self.sent = watermark;
                cx.metrics.watermark.store(watermark, Relaxed);
                self.next.control(Control::Watermark(watermark), cx)
            }
            None => Ok(Progress::Done),
        }
    }

    /// Lets the clock of idleness go or stand, by how far the next stage got.
    fn settle(&mut self, progress: Progress, cx: &mut TaskContext) -> Progress {
        if let Some(clock) = &mut self.clock
            && !progress.is_done()
        {
            clock.stop(cx.now());
        }
        self.ask_to_be_woken(cx);
        self.tell_group(cx);
        progress
    }

    /// Notes how far it is, for others of its group.
    fn tell_group(&self, cx: &mut TaskContext) {
        if let Some(group) = &self.group {
            let idle = self.clock.as_ref().is_some_and(IdleClock::is_idle);
            let reached = match idle {
                true => Reached::Idle,
                false => Reached::Time(self.seen.watermark),
            };
            cx.aligned.reach(group, reached);
        }
    }

    fn ask_to_be_woken(&self, cx: &mut TaskContext) {
        if let Some(at) = self.clock.as_ref().and_then(IdleClock::wake) {
            cx.wake_at(at);
        }
    }

    fn snapshot(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        let snapshot = cx.open_snapshot()?;
        snapshot.blob::<Seen>(&self.uid, STATE, &self.seen)?;
        Ok(())
    }
}

impl<T, G, S> Stage<T> for Assigner<T, G, S>
where
    T: Record,
    G: WatermarkGenerator<T>,
    S: TimestampAssigner<T>,
{
    fn run(&mut self, mut run: Vec<Event<T>>, cx: &mut TaskContext) -> Result<Progress, Failure> {
        cx.enter(self.operator);
        let woke = std::mem::take(&mut self.told_idle);
        if let Some(clock) = &mut self.clock {
            clock.active(cx.now());
        }
        self.waiting = false;
        self.observe(&mut run)?;
        if woke {
            // Also who gets no record of it has to hear that it is to be waited for again.
            self.due = Some(self.seen.watermark);
        }
        let mut progress = self.next.run(run, cx)?;
        if progress.is_done() {
            progress = self.send_due(cx)?;
        }
        Ok(self.settle(progress, cx))
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        let mut pass = Some(control);
        match control {
            Control::Watermark(MAX_TIMESTAMP) => {
                pass = None;
                self.raise(MAX_TIMESTAMP);
            }
            Control::Watermark(_) => pass = None,
            Control::Barrier(_) => self.snapshot(cx)?,
            Control::Waiting => {
                self.waiting = true;
                if let Some(clock) = &mut self.clock {
                    clock.start(cx.now());
                    clock.stop(cx.now());
                }
            }
            // Whatever becomes of the work before it gets here: there could be a record now.
            Control::Assigned => {
                self.waiting = false;
                if let Some(clock) = &mut self.clock {
                    clock.go_on(cx.now());
                }
            }
            Control::Flush => {
                if let Some(clock) = &mut self.clock {
                    clock.start(cx.now());
                }
            }
            Control::EndOfInput => self.clock = None,
            Control::Tick => {
                if self
                    .clock
                    .as_mut()
                    .is_some_and(|clock| clock.ring(cx.now()))
                {
                    // Stages behind this one see the tick when it comes round again.
                    cx.wake_at(cx.now());
                    pass = Some(Control::Idle);
                }
            }
            Control::Idle | Control::Round(_) | Control::Completed(_) | Control::Aborted(_) => {}
        }
        self.told_idle |= pass == Some(Control::Idle);
        let progress = match pass {
            Some(control) => self.next.control(control, cx)?,
            None => self.send_due(cx)?,
        };
        Ok(self.settle(progress, cx))
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        let mut progress = self.next.resume(cx)?;
        if progress.is_done() {
            progress = self.send_due(cx)?;
        }
        if let Some(clock) = &mut self.clock
            && progress.is_done()
            && !self.waiting
        {
            clock.go_on(cx.now());
        }
        Ok(self.settle(progress, cx))
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.next.slice(rows, cx)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        self.next.query(query, now)
    }
}

impl<T, G, S> OperatorFactory for WatermarkOperator<T, G, S>
where
    T: Record,
    G: WatermarkGenerator<T>,
    S: TimestampAssigner<T>,
{
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        let alignment = self.strategy.alignment.as_ref();
        if let Some(alignment) = alignment.filter(|alignment| alignment.update_interval.is_zero()) {
            return Err(format!(
                "the update interval of alignment group \"{}\" is 0: give more",
                alignment.group
            ));
        }
        no_side_outputs(read)
    }

    fn states(&self) -> Vec<StateType> {
        vec![StateType::of::<Seen>(STATE)]
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let seen = Seen::least(cx.restored.blobs(cx.uid, STATE)?);
        let mut generator = self.strategy.generator.clone();
        generator.restore(seen.max_ts);
        let idleness = self.strategy.idleness.map(crate::window::millis);
        Ok(AnyStage::new::<T>(Box::new(Assigner {
            generator,
            timestamps: self.strategy.timestamps.clone(),
            clock: idleness.map(IdleClock::new),
            group: self
                .strategy
                .alignment
                .as_ref()
                .map(|alignment| Arc::clone(&alignment.group)),
            waiting: false,
            told_idle: false,
            seen,
            sent: MIN_TIMESTAMP,
            due: None,
            next: only_outlet(outlets)?,
            uid: cx.uid.clone(),
            operator: cx.operator,
        })))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<T>::task(stage)
    }
}
