//! Rolling aggregates: what a key has gathered so far, said again whenever a record changes it.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Either, Event, Failure, Hashed, Key, OperatorFactory,
    Outlets, Record, SidesRead, StateAnswer, StateQuery, StateType, Task, TaskContext, Timestamp,
    ValueState, codec, no_side_outputs,
};

use super::{AggregateFunction, Rows};
use crate::OwnedOrLent;
use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::selector::{KeySelector, by_either, by_ref};
use crate::side::SideOutputs;
use crate::window::{Partial, PreAggregation, WindowAggregate};

/// How a record changes what its key has gathered. See [`RollingOperator`]'s constructors.
pub trait Rolling<In>: Clone + Send + Sync + 'static {
    /// What is kept by key.
    type Acc: Record;
    /// What comes out with the key.
    type Out: Record;

    /// Whether it says something for every record.
    const ONE_FOR_ONE: bool = true;

    /// Refuses figures with which it can't work.
    ///
    /// # Errors
    /// One line that says what is wrong and the mend.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Before any record.
    fn create(&self) -> Self::Acc;

    /// Adds a record and says what has been gathered, if there is anything to say.
    fn roll<V: OwnedOrLent<In>>(&self, acc: &mut Self::Acc, value: V) -> Option<Self::Out>;
}

/// Rolls by an [`AggregateFunction`].
#[derive(Debug, Clone)]
pub struct RollingAggregate<A>(A);

impl<A: AggregateFunction> Rolling<A::In> for RollingAggregate<A> {
    type Acc = A::Acc;
    type Out = A::Out;

    fn check(&self) -> Result<(), String> {
        self.0.check()
    }

    fn create(&self) -> A::Acc {
        self.0.create()
    }

    #[inline]
    fn roll<V: OwnedOrLent<A::In>>(&self, acc: &mut A::Acc, value: V) -> Option<A::Out> {
        self.0.add(acc, value.borrow());
        Some(self.0.result(acc))
    }
}

/// Rolls by folding each record into the first.
#[derive(Debug, Clone)]
pub struct RollingReduce<F>(F);

impl<T: Record, F: Fn(&mut T, T) + Clone + Send + Sync + 'static> Rolling<T> for RollingReduce<F> {
    type Acc = ValueState<T>;
    type Out = T;

    fn create(&self) -> ValueState<T> {
        ValueState::default()
    }

    #[inline]
    fn roll<V: OwnedOrLent<T>>(&self, acc: &mut ValueState<T>, value: V) -> Option<T> {
        let value = value.into_owned();
        match acc.get_mut() {
            Some(acc) => (self.0)(acc, value),
            None => acc.set(value),
        }
        acc.get().cloned()
    }
}

/// Rolls by an [`AggregateFunction`] that takes records, and what was gathered of some records.
#[derive(Debug, Clone)]
struct Merging<A>(A);

impl<K: Key, A: AggregateFunction> Rolling<Either<A::In, Partial<K, A::Acc>>> for Merging<A> {
    type Acc = A::Acc;
    type Out = A::Out;

    fn check(&self) -> Result<(), String> {
        self.0.check()
    }

    fn create(&self) -> A::Acc {
        self.0.create()
    }

    #[inline]
    fn roll<V: OwnedOrLent<Either<A::In, Partial<K, A::Acc>>>>(
        &self,
        acc: &mut A::Acc,
        value: V,
    ) -> Option<A::Out> {
        match value.borrow() {
            Either::First(record) => self.0.add(acc, record),
            Either::Second(partial) => self.0.merge(acc, partial.acc.clone()),
        }
        Some(self.0.result(acc))
    }
}

/// Makes stages that emit `(key, gathered so far)` for every record that changes it.
///
/// ```
/// use rivus_operators::{Count, RollingOperator, TopN, by_ref};
///
/// let by_word = by_ref::<String, str, _>(|word| word);
/// let counts = RollingOperator::aggregate(by_word.clone(), Count::<String>::new());
/// let longest = RollingOperator::reduce(by_word.clone(), |longest: &mut String, word: String| {
///     if word.len() > longest.len() { *longest = word }
/// });
/// let three_longest = RollingOperator::new(by_word, TopN::of(3, String::len));
/// # let _: [&dyn rivus_core::OperatorFactory; 3] = [&counts, &longest, &three_longest];
/// ```
pub struct RollingOperator<In, S, R> {
    selector: S,
    rolling: R,
    of: PhantomData<fn(In)>,
}

impl<In: Record, S: KeySelector<In>, R: Rolling<In>> RollingOperator<In, S, R> {
    /// By whatever rolls; emits `(S::Key, R::Out)`.
    pub fn new(selector: S, rolling: R) -> Self {
        Self {
            selector,
            rolling,
            of: PhantomData,
        }
    }
}

impl<S, A> RollingOperator<A::In, S, RollingAggregate<A>>
where
    A: AggregateFunction,
    S: KeySelector<A::In>,
{
    /// By an aggregate function; emits `(S::Key, A::Out)`.
    pub fn aggregate(selector: S, function: A) -> Self {
        Self::new(selector, RollingAggregate(function))
    }

    /// The operator in two: what gathers the records of a key before the exchange, as long as no watermark comes, and what takes both
    /// behind it. That one's state is the same as without; it emits once for all records that were gathered together.
    pub fn pre_aggregated(
        self,
    ) -> (
        PreAggregation<A::In, S, WindowAggregate<A>>,
        impl OperatorFactory + use<S, A>,
    ) {
        let Self {
            selector,
            rolling: RollingAggregate(function),
            ..
        } = self;
        let before =
            PreAggregation::rolling(selector.clone(), WindowAggregate::new(function.clone()));
        let by_key = by_either(selector, by_ref(Partial::<S::Key, A::Acc>::key));
        (before, RollingOperator::new(by_key, Merging(function)))
    }
}

impl<T, S, F> RollingOperator<T, S, RollingReduce<F>>
where
    T: Record,
    S: KeySelector<T>,
    F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
{
    /// By a function that folds a record into what was gathered; emits `(S::Key, T)`.
    pub fn reduce(selector: S, fold: F) -> Self {
        Self::new(selector, RollingReduce(fold))
    }
}

struct RollingWork<In, S: KeySelector<In>, R: Rolling<In>> {
    selector: S,
    rolling: R,
    rows: Rows<S::Key, R::Acc>,
}

impl<In: Record, S: KeySelector<In>, R: Rolling<In>> RollingWork<In, S, R> {
    #[inline]
    fn roll<V: OwnedOrLent<In>>(
        &mut self,
        ts: Timestamp,
        hash: u64,
        value: V,
        out: &mut Emitter<(S::Key, R::Out)>,
    ) -> Result<(), Failure> {
        let table = &mut self.rows.table;
        let new = || self.rolling.create();
        let id = self.selector.find(table, hash, value.borrow(), new)?;
        let (key, acc) = table.row_mut(id);
        if let Some(gathered) = self.rolling.roll(acc, value) {
            out.emit(ts, (key.clone(), gathered));
        }
        Ok(())
    }
}

impl<In: Record, S: KeySelector<In>, R: Rolling<In>> Work<Hashed<In>> for RollingWork<In, S, R> {
    type Out = (S::Key, R::Out);

    const ONE_FOR_ONE: bool = R::ONE_FOR_ONE;

    fn look_ahead(&mut self, run: &[Event<Hashed<In>>]) -> Result<(), Failure> {
        self.selector.load(&mut self.rows.table, run)
    }

    #[inline]
    fn record(
        &mut self,
        event: Event<Hashed<In>>,
        out: &mut Emitter<Self::Out>,
        _cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Hashed { hash, value } = event.value;
        self.roll(event.ts, hash, value, out)
    }

    #[inline]
    fn lent(
        &mut self,
        event: &Event<Hashed<In>>,
        out: &mut Emitter<Self::Out>,
        _cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Hashed { hash, value } = &event.value;
        self.roll(event.ts, *hash, value, out)
    }

    fn control(
        &mut self,
        control: Control,
        _out: &mut Emitter<Self::Out>,
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
        let encoded = |acc: &R::Acc| codec::encode(acc).map(Some);
        self.rows.query::<R::Acc>(query, encoded)
    }
}

impl<In: Record, S: KeySelector<In>, R: Rolling<In>> OperatorFactory for RollingOperator<In, S, R> {
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        self.rolling.check()?;
        no_side_outputs(read)
    }

    fn states(&self) -> Vec<StateType> {
        vec![Rows::<S::Key, R::Acc>::state()]
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let work: RollingWork<In, S, R> = RollingWork {
            selector: self.selector.clone(),
            rolling: self.rolling.clone(),
            rows: Rows::restore(cx)?,
        };
        let driver = Driver::new(work, cx, outlets, &SideOutputs::new())?;
        Ok(AnyStage::new::<Hashed<In>>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Hashed<In>>::task(stage)
    }
}
