//! From words to steps.

use std::str::FromStr;
use std::time::Duration;

use rivus_core::{CheckpointId, Control, Event, MAX_TIMESTAMP};

/// Something that happens to an operator.
#[derive(Debug, Clone)]
pub enum Step<T> {
    /// Records come, in one run.
    Run(Vec<Event<T>>),
    /// A control element comes.
    Control(Control),
    /// Time passes.
    Pass(Duration),
    /// A checkpoint is taken.
    Barrier,
    /// Everything since the last checkpoint is undone.
    Crash,
    /// The same, and it goes on in so many subtasks.
    Rescale(u32),
}

impl<T> Step<T> {
    /// The step with other records.
    pub fn map<U>(self, map: impl Fn(T) -> U) -> Step<U> {
        match self {
            Self::Run(run) => Step::Run(run.into_iter().map(|event| event.map(&map)).collect()),
            Self::Control(control) => Step::Control(control),
            Self::Pass(time) => Step::Pass(time),
            Self::Barrier => Step::Barrier,
            Self::Crash => Step::Crash,
            Self::Rescale(parallelism) => Step::Rescale(parallelism),
        }
    }
}

/// Reads a picture. `read` makes a record of what stands before the `@`.
///
/// # Panics
/// If there is a word that means nothing.
///
/// ```
/// use rivus_operators::testing::{Step, steps};
///
/// let steps = steps("7@1 8@2 | x", |word| word.parse::<u32>().unwrap());
/// assert!(matches!(&steps[..], [Step::Run(run), Step::Barrier, Step::Crash] if run[1].value == 8));
/// ```
#[track_caller]
pub fn steps<T>(text: &str, read: impl Fn(&str) -> T) -> Vec<Step<T>> {
    let mut steps = Vec::new();
    let mut run = Vec::new();
    for word in text.split_whitespace() {
        if let Some((record, ts)) = word.rsplit_once('@') {
            run.push(Event::at(number(word, ts), read(record)));
            continue;
        }
        if !run.is_empty() {
            steps.push(Step::Run(std::mem::take(&mut run)));
        }
        if word != "/" {
            steps.push(step(word));
        }
    }
    if !run.is_empty() {
        steps.push(Step::Run(run));
    }
    steps
}

/// What a picture may say, for whoever said something else.
const KNOWN: &str = "a record has its time behind it, as a@1, and there are /, !6, !max, |, x, x3, +50, end, idle, wait, split, flush, abort";

#[track_caller]
fn step<T>(word: &str) -> Step<T> {
    match word {
        "!max" => Step::Control(Control::Watermark(MAX_TIMESTAMP)),
        "|" => Step::Barrier,
        "x" => Step::Crash,
        "wait" => Step::Control(Control::Waiting),
        "split" => Step::Control(Control::Assigned),
        "flush" => Step::Control(Control::Flush),
        "end" => Step::Control(Control::EndOfInput),
        "idle" => Step::Control(Control::Idle),
        "abort" => Step::Control(Control::Aborted(CheckpointId(1))),
        _ => match word.split_at_checked(1) {
            Some(("!", ts)) => Step::Control(Control::Watermark(number(word, ts))),
            Some(("+", ms)) => Step::Pass(Duration::from_millis(number(word, ms))),
            Some(("x", subtasks)) if subtasks.starts_with(|first: char| first.is_ascii_digit()) => {
                Step::Rescale(number(word, subtasks))
            }
            _ => panic!("the picture's word {word} means nothing: {KNOWN}"),
        },
    }
}

#[track_caller]
fn number<N: FromStr>(word: &str, digits: &str) -> N {
    match digits.parse() {
        Ok(number) => number,
        Err(_) => panic!("\"{digits}\" is no number, in the picture's word {word}"),
    }
}
