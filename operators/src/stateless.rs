//! Operators that know one record at a time: map, filter, flat_map, and a map that can fail.

mod filter;
mod flat_map;
mod map;
mod process;
mod try_map;

pub use filter::Filter;
pub use flat_map::FlatMap;
pub use map::Map;
pub use process::{ProcessFunction, ProcessOperator};
pub use try_map::{OnError, Rejected, TryMap};

use rivus_core::{
    AnyStage, BuildContext, Control, Event, Failure, OperatorIndex, Outlets, Progress, Record,
    Stage, StateAnswer, StateQuery, TaskContext, Timestamp,
};

use crate::naming::naming;
use crate::outlet::{Outlet, only_outlet};

/// An operator that makes one run of another, all at once.
pub(crate) trait Transform<In>: Clone + Send + Sync + 'static {
    type Out: Record;

    fn transform(&self, run: Vec<Event<In>>) -> Vec<Event<Self::Out>>;
}

/// Transforms runs and passes everything else on.
struct Transforming<In, X: Transform<In>> {
    transform: X,
    next: Outlet<X::Out>,
    operator: OperatorIndex,
}

impl<In: Record, X: Transform<In>> Transforming<In, X> {
    /// In debug builds record by record, so that the one that goes wrong can be named.
    #[inline]
    fn transformed(&self, run: Vec<Event<In>>) -> Result<Vec<Event<X::Out>>, Failure> {
        if !cfg!(debug_assertions) {
            return Ok(self.transform.transform(run));
        }
        let mut out = Vec::with_capacity(run.len());
        for event in run {
            out.extend(naming(event, |event| {
                Ok(self.transform.transform(vec![event]))
            })?);
        }
        Ok(out)
    }
}

impl<In: Record, X: Transform<In>> Stage<In> for Transforming<In, X> {
    fn run(&mut self, run: Vec<Event<In>>, cx: &mut TaskContext) -> Result<Progress, Failure> {
        cx.enter(self.operator);
        let run = self.transformed(run)?;
        self.next.run(run, cx)
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
}

pub(crate) fn transforming<In: Record, X: Transform<In>>(
    transform: &X,
    cx: &BuildContext<'_>,
    outlets: Outlets,
) -> Result<AnyStage, Failure> {
    Ok(AnyStage::new::<In>(Box::new(Transforming {
        transform: transform.clone(),
        next: only_outlet(outlets)?,
        operator: cx.operator,
    })))
}
