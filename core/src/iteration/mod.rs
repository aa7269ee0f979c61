//! Loops: when one is over, and what of it belongs into a snapshot.
//!
//! A loop is a *head*, the operators of its *body*, and *feedback* channels back to the head. Nothing here waits for a
//! feedback channel: the head takes in whatever comes round, at once, so that no subtask of the body can be held up by it,
//! and a circle of subtasks that wait for each other's credit can't close.
//!
//! - When is it over? [`LoopRounds`] at the head and [`RoundMerge`] in the body.
//! - What is under way in it at a barrier? [`LoopBarriers`].

mod barriers;
mod rounds;

pub use barriers::{LoopBarrierAction, LoopBarriers};
pub use rounds::{LoopRounds, LoopStep, RoundMerge};
