//! What operators do, as pictures and against simple models of themselves.

mod broadcast;
mod interval;
mod keyed;
mod sessions;
mod source_and_sink;
mod stateless;
mod triggers;
mod two_inputs;
mod watermarks;
mod windows;
