//! What a window does with its records: aggregate them, fold them, or keep them all.

use std::marker::PhantomData;

use rivus_core::{Key, Record, UserError, ValueState};

use super::Window;
use crate::OwnedOrLent;
use crate::keyed::AggregateFunction;

/// How a pane gathers records, panes become a window, and a window gives results. See
/// [`WindowOperator`](super::WindowOperator)'s constructors.
pub trait WindowLogic<K>: Clone + Send + Sync + 'static {
    /// What it takes.
    type In: Record;
    /// What a pane keeps.
    type Acc: Record;
    /// What a window gives, beside its key and bounds.
    type Out: Record;

    /// Refuses figures with which it can't work.
    ///
    /// # Errors
    /// One line that says what is wrong and the mend.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether a window is the same however its records are parted in panes that are merged. If not, windows that overlap
    /// take their records one by one.
    fn can_merge_panes(&self) -> bool {
        true
    }

    /// Whether what was gathered of some records may be merged in their stead. `asked` says that the program asks for it.
    fn can_pre_aggregate(&self, asked: bool) -> bool {
        let _ = asked;
        false
    }

    /// For how many records this one stands.
    #[inline]
    fn records(&self, value: &Self::In) -> u64 {
        let _ = value;
        1
    }

    /// A pane without records.
    fn create(&self) -> Self::Acc;

    /// Adds a record.
    fn add<V: OwnedOrLent<Self::In>>(&self, acc: &mut Self::Acc, value: V);

    /// Adds a later pane.
    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc);

    /// Appends what a window gives.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn finish(
        &mut self,
        key: &K,
        window: Window,
        acc: Self::Acc,
        out: &mut Vec<Self::Out>,
    ) -> Result<(), UserError>;
}

/// Aggregates by an [`AggregateFunction`].
#[derive(Debug, Clone)]
pub struct WindowAggregate<A>(pub(super) A);

impl<A> WindowAggregate<A> {
    pub(crate) fn new(function: A) -> Self {
        Self(function)
    }
}

impl<K, A: AggregateFunction> WindowLogic<K> for WindowAggregate<A> {
    type In = A::In;
    type Acc = A::Acc;
    type Out = A::Out;

    fn check(&self) -> Result<(), String> {
        self.0.check()
    }

    fn can_pre_aggregate(&self, asked: bool) -> bool {
        asked || self.0.can_pre_aggregate()
    }

    fn create(&self) -> A::Acc {
        self.0.create()
    }

    #[inline]
    fn add<V: OwnedOrLent<A::In>>(&self, acc: &mut A::Acc, value: V) {
        self.0.add(acc, value.borrow());
    }

    #[inline]
    fn merge(&self, acc: &mut A::Acc, other: A::Acc) {
        self.0.merge(acc, other);
    }

    #[inline]
    fn finish(
        &mut self,
        _key: &K,
        _window: Window,
        acc: A::Acc,
        out: &mut Vec<A::Out>,
    ) -> Result<(), UserError> {
        out.push(self.0.result(&acc));
        Ok(())
    }
}

/// Folds each record into the first.
pub struct WindowReduce<T, F> {
    pub(super) fold: F,
    pub(super) is_associative: bool,
    pub(super) of: PhantomData<fn(T)>,
}

impl<T, F: Clone> Clone for WindowReduce<T, F> {
    fn clone(&self) -> Self {
        Self {
            fold: self.fold.clone(),
            is_associative: self.is_associative,
            of: PhantomData,
        }
    }
}

impl<K, T, F> WindowLogic<K> for WindowReduce<T, F>
where
    T: Record,
    F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
{
    type In = T;
    type Acc = ValueState<T>;
    type Out = T;

    fn can_merge_panes(&self) -> bool {
        self.is_associative
    }

    fn can_pre_aggregate(&self, _asked: bool) -> bool {
        self.is_associative
    }

    fn create(&self) -> ValueState<T> {
        ValueState::default()
    }

    #[inline]
    fn add<V: OwnedOrLent<T>>(&self, acc: &mut ValueState<T>, value: V) {
        let value = value.into_owned();
        match acc.get_mut() {
            Some(acc) => (self.fold)(acc, value),
            None => acc.set(value),
        }
    }

    fn merge(&self, acc: &mut ValueState<T>, mut other: ValueState<T>) {
        if let Some(other) = other.take() {
            WindowLogic::<K>::add(self, acc, other);
        }
    }

    fn finish(
        &mut self,
        _key: &K,
        _window: Window,
        mut acc: ValueState<T>,
        out: &mut Vec<T>,
    ) -> Result<(), UserError> {
        out.extend(acc.take());
        Ok(())
    }
}

/// What a `process` on a window does with all of its records.
///
/// ```
/// use rivus_core::UserError;
/// use rivus_operators::{Window, WindowFunction};
///
/// /// The median of a window.
/// #[derive(Clone)]
/// struct Median;
///
/// impl WindowFunction<String, u32> for Median {
///     type Out = u32;
///     fn apply(
///         &mut self, _key: &String, _window: Window, mut values: Vec<u32>, out: &mut Vec<u32>,
///     ) -> Result<(), UserError> {
///         values.sort_unstable();
///         out.push(values[values.len() / 2]);
///         Ok(())
///     }
/// }
/// ```
pub trait WindowFunction<K, T>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;

    /// Takes a window's records, those of a pane in the order in which they came, and appends what they
    /// give.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn apply(
        &mut self,
        key: &K,
        window: Window,
        values: Vec<T>,
        out: &mut Vec<Self::Out>,
    ) -> Result<(), UserError>;
}

/// Keeps all records for a [`WindowFunction`].
pub struct WindowProcess<T, P> {
    pub(super) function: P,
    pub(super) of: PhantomData<fn(T)>,
}

impl<T, P: Clone> Clone for WindowProcess<T, P> {
    fn clone(&self) -> Self {
        Self {
            function: self.function.clone(),
            of: PhantomData,
        }
    }
}

impl<K: Key, T: Record, P: WindowFunction<K, T>> WindowLogic<K> for WindowProcess<T, P> {
    type In = T;
    type Acc = Vec<T>;
    type Out = P::Out;

    fn create(&self) -> Vec<T> {
        Vec::new()
    }

    #[inline]
    fn add<V: OwnedOrLent<T>>(&self, acc: &mut Vec<T>, value: V) {
        acc.push(value.into_owned());
    }

    fn merge(&self, acc: &mut Vec<T>, mut other: Vec<T>) {
        acc.append(&mut other);
    }

    fn finish(
        &mut self,
        key: &K,
        window: Window,
        acc: Vec<T>,
        out: &mut Vec<P::Out>,
    ) -> Result<(), UserError> {
        self.function.apply(key, window, acc, out)
    }
}
