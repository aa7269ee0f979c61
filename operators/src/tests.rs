//! What operators do, as pictures and against simple models of themselves.

mod keyed;
mod source_and_sink;
mod stateless;
mod watermarks;
mod windows;
