//! The first record of each key.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Event, Failure, Hashed, OperatorFactory, Outlets,
    Record, StateAnswer, StateQuery, StateType, Task, TaskContext, Timestamp, codec,
};

use super::Rows;
use crate::OwnedOrLent;
use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::selector::KeySelector;
use crate::side::SideOutputs;

/// Makes stages that let the first record of each key pass. A key that has a row has been seen.
///
/// ```
/// use rivus_operators::{DistinctOperator, by_ref};
///
/// let words = DistinctOperator::new(by_ref::<String, str, _>(|word| word));
/// # let _: &dyn rivus_core::OperatorFactory = &words;
/// ```
pub struct DistinctOperator<In, S> {
    selector: S,
    of: PhantomData<fn(In)>,
}

impl<In: Record, S: KeySelector<In>> DistinctOperator<In, S> {
    /// By a key.
    pub fn new(selector: S) -> Self {
        Self {
            selector,
            of: PhantomData,
        }
    }
}

struct Distinct<In, S: KeySelector<In>> {
    selector: S,
    rows: Rows<S::Key, ()>,
}

impl<In: Record, S: KeySelector<In>> Distinct<In, S> {
    #[inline]
    fn pass<V: OwnedOrLent<In>>(
        &mut self,
        ts: Timestamp,
        hash: u64,
        value: V,
        out: &mut Emitter<In>,
    ) -> Result<(), Failure> {
        let (selector, table) = (&self.selector, &mut self.rows.table);
        // A row that is there already isn't changed, so it need not be written again.
        if !selector.is_known(table, hash, value.borrow()) {
            selector.find(table, hash, value.borrow(), || ())?;
            out.emit(ts, value.into_owned());
        }
        Ok(())
    }
}

impl<In: Record, S: KeySelector<In>> Work<Hashed<In>> for Distinct<In, S> {
    type Out = In;

    fn look_ahead(&mut self, run: &[Event<Hashed<In>>]) -> Result<(), Failure> {
        self.selector.load(&mut self.rows.table, run)
    }

    #[inline]
    fn record(
        &mut self,
        event: Event<Hashed<In>>,
        out: &mut Emitter<In>,
        _cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Hashed { hash, value } = event.value;
        self.pass(event.ts, hash, value, out)
    }

    #[inline]
    fn lent(
        &mut self,
        event: &Event<Hashed<In>>,
        out: &mut Emitter<In>,
        _cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Hashed { hash, value } = &event.value;
        self.pass(event.ts, *hash, value, out)
    }

    fn control(
        &mut self,
        control: Control,
        _out: &mut Emitter<In>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        match control {
            Control::Barrier(_) => self.rows.freeze(&mut [], cx)?,
            Control::Aborted(checkpoint) => self.rows.abort(checkpoint),
            _ => {}
        }
        Ok(true)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.rows.slice(rows, cx)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        _now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        self.rows
            .query::<()>(query, |()| codec::encode(&()).map(Some))
    }
}

impl<In: Record, S: KeySelector<In>> OperatorFactory for DistinctOperator<In, S> {
    fn states(&self) -> Vec<StateType> {
        vec![Rows::<S::Key, ()>::state()]
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let work: Distinct<In, S> = Distinct {
            selector: self.selector.clone(),
            rows: Rows::restore(cx)?,
        };
        let driver = Driver::new(work, cx, outlets, &SideOutputs::new())?;
        Ok(AnyStage::new::<Hashed<In>>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Hashed<In>>::task(stage)
    }
}
