//! Functions of two streams of different types.
//!
//! Records of both reach an operator as [`Either`], so that whatever works on one stream works on two. What is
//! here makes a function of one stream of a function of two.

use rivus_core::{Either, Event, Key, Record, StateSet, UserError};

use crate::output::Output;
use crate::stateless::ProcessFunction;
use crate::{Keyed, KeyedProcessFunction, Timer};

/// What a `process` on two streams without a key does.
///
/// ```
/// use rivus_core::{Event, UserError};
/// use rivus_operators::{CoProcessFunction, Output};
///
/// /// Numbers in words and in digits become one stream.
/// #[derive(Clone)]
/// struct Numbers;
///
/// impl CoProcessFunction<u32, String> for Numbers {
///     type Out = u32;
///
///     fn process_first(&mut self, digits: Event<u32>, out: &mut Output<'_, u32>) -> Result<(), UserError> {
///         out.emit(digits.value);
///         Ok(())
///     }
///
///     fn process_second(&mut self, word: Event<String>, out: &mut Output<'_, u32>) -> Result<(), UserError> {
///         if word.value == "seven" {
///             out.emit(7);
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait CoProcessFunction<A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;

    /// Takes a record of the first stream.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process_first(
        &mut self,
        event: Event<A>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;

    /// Takes a record of the second stream.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process_second(
        &mut self,
        event: Event<B>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;
}

/// What a `process` on two keyed streams does: records of both streams that have the same key meet in that key's state.
///
/// Which of two records of different streams comes first is not given; what a function makes of them in either order is
/// its own affair.
///
/// ```
/// use rivus_core::{Event, StateSet, UserError, ValueState};
/// use rivus_operators::{Keyed, KeyedCoProcessFunction, Output, Timer};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// #[state(crate = "rivus_core")] // only inside the workspace
/// struct Open { order: ValueState<u32>, paid: ValueState<()> }
///
/// /// Says which orders were not paid within an hour.
/// #[derive(Clone)]
/// struct Unpaid;
///
/// impl KeyedCoProcessFunction<u64, u32, ()> for Unpaid {
///     type Out = String;
///     type State = Open;
///
///     fn process_first(
///         &mut self, order: Event<u32>, state: &mut Keyed<'_, u64, Open>, _out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         state.order.set(order.value);
///         state.register_event_timer(order.ts + 3_600_000);
///         Ok(())
///     }
///
///     fn process_second(
///         &mut self, _payment: Event<()>, state: &mut Keyed<'_, u64, Open>, _out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         state.paid.set(());
///         Ok(())
///     }
///
///     fn on_timer(
///         &mut self, _timer: Timer, state: &mut Keyed<'_, u64, Open>, out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         if state.paid.take().is_none() {
///             out.emit(format!("{} owes {:?}", state.key(), state.order.get()));
///         }
///         state.order.clear();
///         Ok(())
///     }
/// }
/// ```
pub trait KeyedCoProcessFunction<K: Key, A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;
    /// What it keeps by key, for both streams together. Derive [`StateSet`].
    type State: StateSet;

    /// Takes a record of the first stream.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process_first(
        &mut self,
        event: Event<A>,
        state: &mut Keyed<'_, K, Self::State>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;

    /// Takes a record of the second stream.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process_second(
        &mut self,
        event: Event<B>,
        state: &mut Keyed<'_, K, Self::State>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;

    /// A timer of a key fires. Timers fire in the order (time, key group, key); event time is what both streams have
    /// reached.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, K, Self::State>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError> {
        let _ = (timer, state, out);
        Ok(())
    }
}

/// Makes a function of records of either stream of a function of two streams: of a [`CoProcessFunction`] a
/// [`ProcessFunction`], of a [`KeyedCoProcessFunction`] a [`KeyedProcessFunction`].
#[derive(Debug, Clone)]
pub struct OfBoth<P>(pub P);

impl<A, B, P: CoProcessFunction<A, B>> ProcessFunction<Either<A, B>> for OfBoth<P> {
    type Out = P::Out;

    #[inline]
    fn process(
        &mut self,
        event: Event<Either<A, B>>,
        out: &mut Output<'_, P::Out>,
    ) -> Result<(), UserError> {
        match event.value {
            Either::First(value) => self.0.process_first(Event::at(event.ts, value), out),
            Either::Second(value) => self.0.process_second(Event::at(event.ts, value), out),
        }
    }
}

impl<K, A, B, P> KeyedProcessFunction<K, Either<A, B>> for OfBoth<P>
where
    K: Key,
    P: KeyedCoProcessFunction<K, A, B>,
{
    type Out = P::Out;
    type State = P::State;

    #[inline]
    fn process(
        &mut self,
        event: Event<Either<A, B>>,
        state: &mut Keyed<'_, K, P::State>,
        out: &mut Output<'_, P::Out>,
    ) -> Result<(), UserError> {
        let Event { ts, value } = event;
        match value {
            Either::First(value) => self.0.process_first(Event::at(ts, value), state, out),
            Either::Second(value) => self.0.process_second(Event::at(ts, value), state, out),
        }
    }

    #[inline]
    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, K, P::State>,
        out: &mut Output<'_, P::Out>,
    ) -> Result<(), UserError> {
        self.0.on_timer(timer, state, out)
    }
}

/// What a `flat_map` of two streams gives: what one of two functions gives.
pub enum EitherIter<I, J> {
    /// By the first stream's.
    First(I),
    /// By the second stream's.
    Second(J),
}

impl<I: Iterator, J: Iterator<Item = I::Item>> Iterator for EitherIter<I, J> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        match self {
            Self::First(values) => values.next(),
            Self::Second(values) => values.next(),
        }
    }
}
