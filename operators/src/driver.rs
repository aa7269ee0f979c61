//! The part that every resumable operator shares: a record, a timer or a window at a time.
//!
//! An operator that may emit much for one input is a [`Work`]; [`Driver`] makes a stage of it. The
//! driver keeps the rest of the run and the control element that is being worked on, hands on what was
//! emitted batch by batch, and stops at any step when an output is blocked or the turn is over. A
//! control element is passed on when the operator is through with it, never before.
//!
//! At the head of a chain runs come from other subtasks. There records are lent: they stay in their run, which goes back to
//! its sender ([`TaskContext::give_back`]). An operator that has to keep one copies it, which costs less than freeing on
//! one thread what another allocated.

use rivus_core::{
    BuildContext, Control, Event, Failure, OperatorIndex, Outlets, Progress, Record, Stage,
    StateAnswer, StateQuery, TaskContext, Timestamp,
};

use crate::naming::{naming, naming_lent};
use crate::outlet::Emitter;
use crate::side::SideOutputs;

/// An operator, a step at a time.
pub(crate) trait Work<In>: Send {
    /// What its main output carries.
    type Out: Record;

    /// Whether it gives about one record for each it takes.
    const ONE_FOR_ONE: bool = false;

    /// Looks at a run before its records are taken one by one, to bring in what they need.
    ///
    /// # Errors
    /// If state can't be read.
    #[inline]
    fn look_ahead(&mut self, _run: &[Event<In>]) -> Result<(), Failure> {
        Ok(())
    }

    /// Takes a record.
    fn record(
        &mut self,
        event: Event<In>,
        out: &mut Emitter<Self::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure>;

    /// Takes a record that stays in its run.
    #[inline]
    fn lent(
        &mut self,
        event: &Event<In>,
        out: &mut Emitter<Self::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure>
    where
        In: Clone,
    {
        self.record(event.clone(), out, cx)
    }

    /// Emits more of what the last record gives. Returns whether that was all.
    #[inline]
    fn more(
        &mut self,
        _out: &mut Emitter<Self::Out>,
        _cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        Ok(true)
    }

    /// Does a step of its work on a control element. Returns whether it is through with it.
    fn control(
        &mut self,
        _control: Control,
        _out: &mut Emitter<Self::Out>,
        _cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        Ok(true)
    }

    /// Writes a slice of its frozen state. Returns whether all is written.
    fn slice(&mut self, _rows: usize, _cx: &mut TaskContext) -> Result<bool, Failure> {
        Ok(true)
    }

    /// Answers a question about its state, if it is the one that is asked and shows its state.
    fn query(
        &mut self,
        _query: &StateQuery,
        _now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        Ok(None)
    }
}

/// What is left of a run.
enum Rest<In> {
    Owned(std::vec::IntoIter<Event<In>>),
    /// The whole run, and how many of its records have been worked on.
    Lent(Vec<Event<In>>, usize),
}

impl<In> Rest<In> {
    fn len(&self) -> usize {
        match self {
            Self::Owned(rest) => rest.len(),
            Self::Lent(run, seen) => run.len() - seen,
        }
    }
}

/// Makes a stage of a [`Work`].
pub(crate) struct Driver<In, W: Work<In>> {
    work: W,
    out: Emitter<W::Out>,
    rest: Rest<In>,
    /// Whether the run comes from another subtask.
    is_head: bool,
    /// Whether the last record has more to give.
    open: bool,
    control: Option<Control>,
    /// Whether the operator is through with the control element.
    through: bool,
}

impl<In: Record, W: Work<In>> Driver<In, W> {
    pub(crate) fn new(
        work: W,
        cx: &BuildContext<'_>,
        outlets: Outlets,
        sides: &SideOutputs,
    ) -> Result<Self, Failure> {
        Ok(Self {
            work,
            out: Emitter::new(cx, outlets, sides)?,
            rest: Rest::Owned(Vec::new().into_iter()),
            is_head: cx.operator == OperatorIndex(0),
            open: false,
            control: None,
            through: false,
        })
    }

    /// Of a stage that stands between an operator and an exchange.
    pub(crate) fn before_exchange(work: W, out: Emitter<W::Out>) -> Self {
        Self {
            work,
            out,
            rest: Rest::Owned(Vec::new().into_iter()),
            is_head: false,
            open: false,
            control: None,
            through: false,
        }
    }

    /// Of a stage that stands behind another one of the same operator: its runs come from that one.
    pub(crate) fn within(mut self) -> Self {
        self.is_head = false;
        self
    }

    /// Hands on what was emitted if a batch is together or the turn is over. `Some` says to stop.
    #[inline]
    fn pause(&mut self, cx: &mut TaskContext) -> Result<Option<Progress>, Failure> {
        let over = cx.turn_is_over();
        if !over && !self.out.is_full() {
            return Ok(None);
        }
        let progress = self.out.send(cx)?;
        self.out.enter(cx);
        if W::ONE_FOR_ONE {
            self.out.expect(self.rest.len());
        }
        if over {
            return Ok(Some(progress.and(Progress::Yielded)));
        }
        Ok((!progress.is_done()).then_some(progress))
    }

    /// Lets go of a run that was lent.
    fn release(&mut self, cx: &mut TaskContext) {
        if let Rest::Lent(run, seen) = &mut self.rest {
            *seen = 0;
            let run = std::mem::take(run);
            if run.capacity() > 0 {
                cx.give_back(Box::new(run));
            }
        }
    }

    /// Works until all is done, an output is blocked, or the turn is over.
    fn advance(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.out.enter(cx);
        loop {
            while self.open {
                self.open = !self.work.more(&mut self.out, cx)?;
                if let Some(stopped) = self.pause(cx)? {
                    return Ok(stopped);
                }
            }
            match &mut self.rest {
                Rest::Owned(rest) => {
                    let Some(event) = rest.next() else {
                        break;
                    };
                    naming(event, |event| self.work.record(event, &mut self.out, cx))?;
                }
                Rest::Lent(run, seen) => {
                    let Some(event) = run.get(*seen) else {
                        break;
                    };
                    *seen += 1;
                    naming_lent(event, |event| self.work.lent(event, &mut self.out, cx))?;
                }
            }
            self.open = !self.work.more(&mut self.out, cx)?;
            if let Some(stopped) = self.pause(cx)? {
                return Ok(stopped);
            }
        }
        self.release(cx);
        let Some(control) = self.control else {
            return self.out.send(cx);
        };
        while !self.through {
            self.through = self.work.control(control, &mut self.out, cx)?;
            if let Some(stopped) = self.pause(cx)? {
                return Ok(stopped);
            }
        }
        let progress = self.out.send(cx)?;
        if !progress.is_done() {
            return Ok(progress);
        }
        self.control = None;
        self.out.control(control, cx)
    }
}

impl<In: Record, W: Work<In>> Stage<In> for Driver<In, W> {
    fn run(&mut self, run: Vec<Event<In>>, cx: &mut TaskContext) -> Result<Progress, Failure> {
        if W::ONE_FOR_ONE {
            self.out.expect(run.len());
        }
        self.work.look_ahead(&run)?;
        self.rest = if self.is_head {
            Rest::Lent(run, 0)
        } else {
            Rest::Owned(run.into_iter())
        };
        self.advance(cx)
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.control = Some(control);
        self.through = false;
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
        self.out.enter(cx);
        let own = self.work.slice(rows, cx)?;
        Ok(own & self.out.slice(rows, cx)?)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        match self.work.query(query, now)? {
            Some(answer) => Ok(Some(answer)),
            None => self.out.query(query, now),
        }
    }
}
