//! What operators do, as pictures and against simple models of themselves.

mod asynchronous;
mod broadcast;
mod expiring;
mod interval;
mod iteration;
mod keyed;
mod operator_state;
mod preaggregation;
mod recurring;
mod rig;
mod sessions;
mod source_and_sink;
mod stateless;
mod triggers;
mod turns;
mod two_inputs;
mod watermarks;
mod windowed_aggregates;
mod windows;
