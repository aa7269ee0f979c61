//! What jobs, operators and connectors are tested with.
//!
//! | to test | use |
//! |---|---|
//! | an operator, or a chain of them, by pictures | [`OperatorTest`] |
//! | the same step by step: records, watermarks, time, snapshots, crashes, other parallelisms; its state and timers | [`RunningOperator`] |
//! | a whole job, by pictures | [`JobPictures`] |
//! | the same step by step: fed by hand, with a clock of its own, and with actors that die | [`JobTest`] |
//! | a source or sink of your own | [`contract`] |
//!
//! # Pictures
//!
//! A picture is a line of words; what they mean to a whole job is said at [`JobPictures`]. What stands before an `@` is a record, as the test reads and shows it.
//!
//! | word | what happens | what came out |
//! |---|---|---|
//! | `a@1 b@2` | records come in one run, at times 1 and 2 | records |
//! | `late:a@1` | | a record of side output `late` |
//! | `/` | the run ends here | |
//! | `!6`, `!max` | the watermark 6; the last one | the same |
//! | `\|` | a checkpoint is taken and completed | its barrier |
//! | `x` | a crash: what happened since the checkpoint is undone, and happens again | |
//! | `x3` | the same, and three subtasks go on | |
//! | `+50` | 50 ms pass | |
//! | `end`, `idle` | the input ends; falls silent | the same |
//! | `{ a@9 b@9 }` | | records in any order |
//!
//! **Windows of several keys that one watermark fires come in no order that anybody promises**: in memory in that of their rows, over a
//! store in that of their key groups. A picture that has several of them expects them between `{` and `}`.
//!
//! ```
//! use rivus::testing::OperatorTest;
//! use rivus::{DataStream, WindowAssigner};
//! use std::time::Duration;
//!
//! OperatorTest::of(|words: &DataStream<String>| {
//!     let tens = WindowAssigner::tumbling(Duration::from_millis(10));
//!     words.key_by_ref(|word| word.as_str()).window(tens).count()
//! })
//! .reads(str::to_owned)
//! .shows(|window| format!("{}[{}..]={}", window.key, window.window.start, window.value))
//! .check("a@1 b@2 a@9 | a@12 x3 a@13 !9 !max", "| { a[0..]=2@9 b[0..]=1@9 } !9 a[10..]=2@19 !max");
//! ```

mod expected;
mod inlets;
mod job;
mod job_pictures;
mod operator;
mod running;
mod streams;
mod words;

pub use job::{JobTest, RunningJob, TimedFeed};
pub use job_pictures::JobPictures;
pub use operator::{OperatorTest, Tested};
pub use rivus_connectors::contract;
pub use rivus_operators::testing::sleep;
pub use running::{RunningOperator, Snapshot};
