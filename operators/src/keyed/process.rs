//! `process` on a keyed stream: state, timers, side outputs.

mod handle;
mod operator;
mod queues;

use rivus_core::{Event, Key, Record, StateSet, UserError};

pub use handle::Keyed;
pub use operator::KeyedProcessOperator;
pub(super) use operator::KeyedProcessing;

use super::timers::Timer;
use crate::output::Output;

/// What a `process` on a keyed stream does.
///
/// ```
/// use rivus_core::{Event, StateSet, UserError, ValueState};
/// use rivus_operators::{Keyed, KeyedProcessFunction, Output, Timer};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// #[state(crate = "rivus_core")] // only inside the workspace
/// struct Session { clicks: ValueState<u32>, ends: ValueState<i64> }
///
/// /// Counts a user's clicks until there was none for half an hour.
/// #[derive(Clone)]
/// struct Sessions;
///
/// impl KeyedProcessFunction<String, String> for Sessions {
///     type Out = u32;
///     type State = Session;
///
///     fn process(
///         &mut self,
///         click: Event<String>,
///         state: &mut Keyed<'_, String, Session>,
///         _out: &mut Output<'_, u32>,
///     ) -> Result<(), UserError> {
///         if let Some(ends) = state.ends.take() {
///             state.delete_event_timer(ends);
///         }
///         let ends = click.ts + 30 * 60 * 1000;
///         state.ends.set(ends);
///         state.register_event_timer(ends);
///         *state.clicks.get_or_default() += 1;
///         Ok(())
///     }
///
///     fn on_timer(
///         &mut self,
///         _timer: Timer,
///         state: &mut Keyed<'_, String, Session>,
///         out: &mut Output<'_, u32>,
///     ) -> Result<(), UserError> {
///         out.emit(state.clicks.take().unwrap_or(0));
///         state.ends.clear();
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `KeyedProcessFunction<{K}, {In}>`, which `.process(..)` on a stream with such a key takes",
    label = "no `KeyedProcessFunction` of this stream's key and records",
    note = "a `ProcessFunction` is for a stream without a key: call `.process(..)` before `.key_by(..)`"
)]
pub trait KeyedProcessFunction<K: Key, In>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;
    /// What it keeps by key. Derive [`StateSet`].
    type State: StateSet;

    /// Takes a record.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process(
        &mut self,
        event: Event<In>,
        state: &mut Keyed<'_, K, Self::State>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;

    /// A timer of a key fires. Timers fire in the order (time, key group, key).
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
