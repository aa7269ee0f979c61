//! A state that is what an aggregate function has gathered.

use rivus_core::{Record, StateField, StateSet, ValueState};
use serde::{Deserialize, Serialize};

use super::AggregateFunction;

/// What an [`AggregateFunction`] has gathered for a key: its accumulator, or none before the first record.
/// The function is the process function's own and is handed to each call, so that it may be made of closures.
///
/// ```
/// use rivus_operators::{AggregateFunction, AggregatingState, Avg, Mean};
///
/// let average = Avg::of(|degrees: &f64| *degrees);
/// let mut state = AggregatingState::<Mean>::default();
/// assert_eq!(state.get(&average), None);
/// state.add(&average, &20.0);
/// state.add(&average, &21.0);
/// assert_eq!(state.get(&average), Some(20.5));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AggregatingState<Acc>(ValueState<Acc>);

impl<Acc> Default for AggregatingState<Acc> {
    fn default() -> Self {
        Self(ValueState::default())
    }
}

impl<Acc> AggregatingState<Acc> {
    /// What has been gathered, if any record was added.
    #[inline]
    pub fn get<A: AggregateFunction<Acc = Acc>>(&self, function: &A) -> Option<A::Out> {
        self.0.get().map(|acc| function.result(acc))
    }

    /// The accumulator itself.
    #[inline]
    pub fn accumulator(&self) -> Option<&Acc> {
        self.0.get()
    }

    /// Whether no record was added.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<Acc: Clone> AggregatingState<Acc> {
    /// Adds a record.
    #[inline]
    pub fn add<A: AggregateFunction<Acc = Acc>>(&mut self, function: &A, value: &A::In) {
        if self.0.is_empty() {
            self.0.set(function.create());
        }
        if let Some(acc) = self.0.get_mut() {
            function.add(acc, value);
        }
    }

    /// Holds nothing any more.
    #[inline]
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<Acc: Clone + Serialize> StateField for AggregatingState<Acc> {
    const SHARES: bool = <ValueState<Acc> as StateField>::SHARES;

    #[inline]
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    fn share(&mut self) -> Self {
        Self(StateField::share(&mut self.0))
    }

    #[inline]
    fn read_ahead(&self) {
        StateField::read_ahead(&self.0);
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        StateField::heap_bytes(&self.0)
    }
}

impl<Acc: Record> StateSet for AggregatingState<Acc> {
    const SHARES: bool = <ValueState<Acc> as StateField>::SHARES;

    #[inline]
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    fn share(&mut self) -> Self {
        StateField::share(self)
    }

    #[inline]
    fn read_ahead(&self) {
        StateField::read_ahead(self);
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        StateField::heap_bytes(self)
    }
}
