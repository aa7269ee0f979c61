//! What operators do, as pictures and against simple models of themselves.

mod expiring;
mod keyed;
mod operator_state;
mod source_and_sink;
mod stateless;
mod watermarks;
mod windowed_aggregates;
mod windows;
