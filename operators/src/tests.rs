//! What operators do, as pictures and against simple models of themselves.

mod keyed;
mod sessions;
mod source_and_sink;
mod stateless;
mod triggers;
mod watermarks;
mod windows;
