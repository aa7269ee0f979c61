//! A harness that drives one operator by hand, and tests as pictures: a line of input through it, a line of what comes out.
//!
//! ```text
//! a@1 b=7@3   records in one run: what `a` and `b=7` stand for, at times 1 and 3
//! /           the run ends here
//! !6          the watermark 6          !max  the last one
//! |           a barrier, and its checkpoint completes
//! x           a crash: everything since the last checkpoint is undone and happens again
//! x3          the same, and the operator goes on in three subtasks
//! +50         50 ms pass; the operator is woken whenever it asked to be
//! end, idle, wait, split, flush, abort   the control elements of those names; `abort` is of checkpoint 1
//! ```
//!
//! What comes out is the log of a capturing stage: records `value@time`, those of side outputs with the tag in front, and
//! control elements in the words above. The capturing stage refuses, as an output without credit does, in a seeded pattern, and
//! panics if it is given anything meanwhile.
//!
//! | file | concern |
//! |---|---|
//! | `picture.rs` | from words to steps |
//! | `capture.rs` | the stage behind the operator, and its log |
//! | `by_hand.rs` | futures of operators, which are polled between steps |
//! | `harness.rs` | the operator's subtasks, and what happens to them |
//!
//! Streams are put into it by `rivus::testing`.

mod by_hand;
mod capture;
mod harness;
mod picture;

pub use by_hand::sleep;
#[cfg(test)]
pub(crate) use capture::word;
pub use capture::{Capture, CaptureFactory, Log, Show};
pub use harness::{Backend, Delivery, Harness, HarnessSettings, Plan, Saved};
pub use picture::{Step, steps};
