//! What operators do, as pictures and against simple models of themselves.

mod broadcast;
mod interval;
mod keyed;
mod source_and_sink;
mod stateless;
mod two_inputs;
mod watermarks;
mod windows;
