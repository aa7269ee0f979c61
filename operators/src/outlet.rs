//! What stands behind an operator: its main output, its side outputs, and whether they keep something.

use std::any::Any;

use rivus_core::{
    AnyStage, Control, Event, Failure, Fullness, OperatorIndex, Outlets, Progress, Record, Stage,
    StateAnswer, StateQuery, SubtaskInfo, TaskContext, Timestamp, run_records,
};

use crate::side::{SideOutputTag, SideOutputs};

/// The next stage, and whether it keeps something inside.
pub(crate) struct Outlet<T> {
    stage: Box<dyn Stage<T>>,
    done: bool,
}

impl<T: Record> Outlet<T> {
    pub(crate) fn new(stage: AnyStage) -> Result<Self, Failure> {
        Ok(Self {
            stage: stage.typed()?,
            done: true,
        })
    }

    #[inline]
    fn note(&mut self, progress: Progress) -> Progress {
        self.done = progress.is_done();
        progress
    }

    pub(crate) fn run(
        &mut self,
        run: Vec<Event<T>>,
        cx: &mut TaskContext,
    ) -> Result<Progress, Failure> {
        if run.is_empty() {
            return Ok(Progress::Done);
        }
        let progress = self.stage.run(run, cx)?;
        Ok(self.note(progress))
    }

    pub(crate) fn control(
        &mut self,
        control: Control,
        cx: &mut TaskContext,
    ) -> Result<Progress, Failure> {
        let progress = self.stage.control(control, cx)?;
        Ok(self.note(progress))
    }

    pub(crate) fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        if self.done {
            return Ok(Progress::Done);
        }
        let progress = self.stage.resume(cx)?;
        Ok(self.note(progress))
    }

    pub(crate) fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.stage.slice(rows, cx)
    }

    pub(crate) fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        self.stage.query(query, now)
    }
}

/// A side output whose type only its tag knows.
pub(crate) trait Side: Any + Send {
    fn name(&self) -> &str;
    fn send(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure>;
    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure>;
    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure>;
    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure>;
    fn query(&mut self, query: &StateQuery, now: Timestamp)
    -> Result<Option<StateAnswer>, Failure>;
    fn as_any(&mut self) -> &mut dyn Any;
}

/// A side output's buffer and what takes it.
pub(crate) struct TypedSide<S> {
    tag: SideOutputTag<S>,
    rows: Vec<Event<S>>,
    fullness: Fullness,
    next: Outlet<S>,
}

/// Of runs within a chain.
fn run_fullness<T>(info: &SubtaskInfo) -> Fullness {
    Fullness::new(run_records::<T>(info.batch_records), info.batch_bytes)
}

impl<S: Record> TypedSide<S> {
    pub(crate) fn new(
        tag: SideOutputTag<S>,
        stage: AnyStage,
        info: &SubtaskInfo,
    ) -> Result<Self, Failure> {
        Ok(Self {
            tag,
            rows: Vec::new(),
            fullness: run_fullness::<S>(info),
            next: Outlet::new(stage)?,
        })
    }

    /// Whether a run is together.
    fn push(&mut self, event: Event<S>) -> bool {
        self.rows.push(event);
        self.fullness.is_full(&self.rows)
    }
}

impl<S: Record> Side for TypedSide<S> {
    fn name(&self) -> &str {
        self.tag.name()
    }

    fn send(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.fullness.emptied();
        self.next.run(std::mem::take(&mut self.rows), cx)
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.next.control(control, cx)
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.next.resume(cx)
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

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// An operator's side outputs. There are few, so they are searched, and only when one is written to.
#[derive(Default)]
pub(crate) struct Sides {
    sides: Vec<Box<dyn Side>>,
    /// Whether there is a record in any buffer.
    is_holding: bool,
    /// Whether any buffer is full.
    is_full: bool,
    /// A tag that was written to and that nobody declared.
    undeclared: Option<String>,
}

impl Sides {
    pub(crate) fn new(sides: Vec<Box<dyn Side>>) -> Self {
        Self {
            sides,
            ..Self::default()
        }
    }

    pub(crate) fn push<S: Record>(&mut self, tag: &SideOutputTag<S>, event: Event<S>) {
        let side = self.sides.iter_mut().find(|side| side.name() == tag.name());
        let typed = side.and_then(|side| side.as_any().downcast_mut::<TypedSide<S>>());
        match typed {
            Some(side) => {
                self.is_holding = true;
                self.is_full |= side.push(event);
            }
            None => self.undeclared = Some(tag.name().to_owned()),
        }
    }
}

/// Gathers what an operator emits and hands it on in runs, main output first.
pub(crate) struct Emitter<Out> {
    main: Outlet<Out>,
    pub(crate) rows: Vec<Event<Out>>,
    pub(crate) sides: Sides,
    /// None of what stands before an exchange: that is the operator's before it.
    operator: Option<OperatorIndex>,
    fullness: Fullness,
}

impl<Out: Record> Emitter<Out> {
    pub(crate) fn new(
        cx: &rivus_core::BuildContext<'_>,
        outlets: Outlets,
        declared: &SideOutputs,
    ) -> Result<Self, Failure> {
        let Outlets { main, sides } = outlets;
        Ok(Self {
            main: Outlet::new(main)?,
            rows: Vec::new(),
            sides: declared.build(sides, cx.info)?,
            operator: Some(cx.operator),
            fullness: run_fullness::<Out>(cx.info),
        })
    }

    /// In front of an exchange.
    pub(crate) fn before_exchange(router: Box<dyn Stage<Out>>, info: &SubtaskInfo) -> Self {
        Self {
            main: Outlet {
                stage: router,
                done: true,
            },
            rows: Vec::new(),
            sides: Sides::default(),
            operator: None,
            fullness: run_fullness::<Out>(info),
        }
    }

    /// Notes whose code runs now.
    #[inline]
    pub(crate) fn enter(&self, cx: &mut TaskContext) {
        if let Some(operator) = self.operator {
            cx.enter(operator);
        }
    }

    /// Puts a record into the main output's buffer.
    #[inline]
    pub(crate) fn emit(&mut self, ts: Timestamp, value: Out) {
        self.rows.push(Event { ts, value });
    }

    /// Makes room for a run that gives about as many records as it takes.
    pub(crate) fn expect(&mut self, records: usize) {
        if self.rows.capacity() == 0 {
            self.rows
                .reserve_exact(records.min(self.fullness.expected()));
        }
    }

    /// Whether a batch is together.
    #[inline]
    pub(crate) fn is_full(&mut self) -> bool {
        self.fullness.is_full(&self.rows) || self.sides.is_full
    }

    /// Whether anything is buffered.
    pub(crate) fn is_holding(&self) -> bool {
        !self.rows.is_empty() || self.sides.is_holding
    }

    /// Hands on what is buffered. Not before what was handed on has been taken.
    pub(crate) fn send(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        if let Some(tag) = self.sides.undeclared.take() {
            return Err(Failure::job(format!(
                "side output \"{tag}\" is written to, but nobody reads it as this type: \
                 call .side_output(..) with the same tag on the operator's stream"
            )));
        }
        self.fullness.emptied();
        let mut progress = self.main.run(std::mem::take(&mut self.rows), cx)?;
        if self.sides.is_holding {
            (self.sides.is_holding, self.sides.is_full) = (false, false);
            for side in &mut self.sides.sides {
                progress = progress.and(side.send(cx)?);
            }
        }
        Ok(progress)
    }

    /// Hands a control element to every output.
    pub(crate) fn control(
        &mut self,
        control: Control,
        cx: &mut TaskContext,
    ) -> Result<Progress, Failure> {
        let mut progress = self.main.control(control, cx)?;
        for side in &mut self.sides.sides {
            progress = progress.and(side.control(control, cx)?);
        }
        Ok(progress)
    }

    /// Goes on with whatever the outputs keep.
    pub(crate) fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        let mut progress = self.main.resume(cx)?;
        for side in &mut self.sides.sides {
            progress = progress.and(side.resume(cx)?);
        }
        Ok(progress)
    }

    pub(crate) fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        let mut done = self.main.slice(rows, cx)?;
        for side in &mut self.sides.sides {
            done &= side.slice(rows, cx)?;
        }
        Ok(done)
    }

    pub(crate) fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        let mut answer = self.main.query(query, now)?;
        for side in &mut self.sides.sides {
            if answer.is_none() {
                answer = side.query(query, now)?;
            }
        }
        Ok(answer)
    }
}

/// The outlet of an operator that has no side outputs, which the graph has seen to.
pub(crate) fn only_outlet<T: Record>(outlets: Outlets) -> Result<Outlet<T>, Failure> {
    Outlet::new(outlets.main)
}
