//! The stage behind the operator under test.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Event, Failure, MAX_TIMESTAMP, OperatorFactory,
    Outlets, Progress, Record, Stage, Task, TaskContext, Timestamp,
};

/// Shows a record as a word.
pub type Show<T> = Arc<dyn Fn(&T) -> String + Send + Sync>;

/// What came out, in order. Clones share it.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Entry>>>);

/// A record, or a control element.
struct Entry {
    /// The side output, if it is one's.
    tag: Option<String>,
    /// The record with its time.
    record: Option<(Timestamp, Box<dyn Any + Send>)>,
    word: String,
}

impl Log {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of records and control elements.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether nothing came out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what came after the first `len`.
    pub fn truncate(&self, len: usize) {
        self.entries().truncate(len);
    }

    /// Everything as words.
    pub fn words(&self) -> Vec<String> {
        let words = self.entries();
        words.iter().map(|entry| entry.word.clone()).collect()
    }

    /// Everything after the first `from`, records only, as words.
    pub(crate) fn records_after(&self, from: usize) -> Vec<String> {
        let entries = self.entries();
        let records = entries
            .iter()
            .skip(from)
            .filter(|entry| entry.record.is_some());
        records.map(|entry| entry.word.clone()).collect()
    }

    /// The records of an output: of the main one, or of a side output.
    ///
    /// # Panics
    /// If they are no `T`.
    pub fn records<T: Record>(&self, tag: Option<&str>) -> Vec<Event<T>> {
        let entries = self.entries();
        let of = entries.iter().filter(|entry| entry.tag.as_deref() == tag);
        of.filter_map(|entry| entry.record.as_ref())
            .map(|(ts, value)| match value.downcast_ref::<T>() {
                Some(value) => Event::at(*ts, value.clone()),
                None => panic!("the output's records are no {}", std::any::type_name::<T>()),
            })
            .collect()
    }

    fn push(&self, entry: Entry) {
        self.entries().push(entry);
    }
}

/// A seeded stream of yes and no; seed 0 never says yes.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(u64);

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 3 == 1
    }
}

/// The next stage, which writes down what it gets and refuses now and then.
pub struct Capture<T> {
    tag: Option<String>,
    show: Show<T>,
    log: Log,
    pattern: Pattern,
    blocked: bool,
    /// Whether it writes down control elements too.
    controls: bool,
    /// Largest run that is let through without a word.
    full: usize,
}

impl<T: Record> Capture<T> {
    /// Of the main output, or of a side output; seed 0 never refuses.
    pub fn new(tag: Option<&str>, show: Show<T>, log: &Log, seed: u64) -> Self {
        Self {
            tag: tag.map(str::to_owned),
            show,
            log: log.clone(),
            pattern: Pattern::new(seed),
            blocked: false,
            controls: tag.is_none(),
            full: usize::MAX,
        }
    }

    /// Panics when it is given a run of more records.
    #[must_use]
    pub fn full_at(mut self, records: usize) -> Self {
        self.full = records;
        self
    }

    /// As a stage.
    pub fn stage(self) -> AnyStage {
        AnyStage::new::<T>(Box::new(self))
    }

    fn take(&mut self) -> Progress {
        assert!(!self.blocked, "a blocked stage was given something");
        self.blocked = self.pattern.next();
        if self.blocked {
            Progress::Blocked
        } else {
            Progress::Done
        }
    }
}

pub(crate) fn word(control: Control) -> Option<String> {
    Some(match control {
        Control::Watermark(MAX_TIMESTAMP) => "!max".to_owned(),
        Control::Watermark(watermark) => format!("!{watermark}"),
        Control::Barrier(_) => "|".to_owned(),
        Control::EndOfInput => "end".to_owned(),
        Control::Round(claim) => format!("round{claim}"),
        Control::Idle => "idle".to_owned(),
        Control::Waiting => "wait".to_owned(),
        Control::Assigned => "split".to_owned(),
        Control::Flush | Control::Tick | Control::Completed(_) | Control::Aborted(_) => {
            return None;
        }
    })
}

impl<T: Record> Stage<T> for Capture<T> {
    fn run(&mut self, run: Vec<Event<T>>, _cx: &mut TaskContext) -> Result<Progress, Failure> {
        assert!(!run.is_empty() && run.len() <= self.full, "{}", run.len());
        for Event { ts, value } in run {
            let shown = (self.show)(&value);
            let word = match &self.tag {
                Some(tag) => format!("{tag}:{shown}@{ts}"),
                None => format!("{shown}@{ts}"),
            };
            self.log.push(Entry {
                tag: self.tag.clone(),
                record: Some((ts, Box::new(value))),
                word,
            });
        }
        Ok(self.take())
    }

    fn control(&mut self, control: Control, _cx: &mut TaskContext) -> Result<Progress, Failure> {
        if self.controls
            && let Some(word) = word(control)
        {
            self.log.push(Entry {
                tag: None,
                record: None,
                word,
            });
        }
        Ok(self.take())
    }

    fn resume(&mut self, _cx: &mut TaskContext) -> Result<Progress, Failure> {
        assert!(self.blocked, "nothing is kept here");
        self.blocked = false;
        Ok(self.take())
    }

    fn slice(&mut self, _rows: usize, _cx: &mut TaskContext) -> Result<bool, Failure> {
        Ok(true)
    }
}

/// Puts a [`Capture`] behind an output of a stream.
pub struct CaptureFactory<T> {
    tag: Option<String>,
    show: Show<T>,
    log: Log,
    seed: u64,
}

impl<T: Record> CaptureFactory<T> {
    /// Of the main output, or of a side output.
    pub fn new(tag: Option<&str>, show: Show<T>, log: &Log, seed: u64) -> Self {
        Self {
            tag: tag.map(str::to_owned),
            show,
            log: log.clone(),
            seed,
        }
    }
}

impl<T: Record> OperatorFactory for CaptureFactory<T> {
    fn stage(&self, cx: &BuildContext<'_>, _outlets: Outlets) -> Result<AnyStage, Failure> {
        let instance = cx.instance();
        let seed = self.seed.rotate_left(9 * instance.index);
        let show = Arc::clone(&self.show);
        let mut capture = Capture::new(self.tag.as_deref(), show, &self.log, seed);
        // All subtasks get the same ones, the last one after all records.
        capture.controls &= instance.index + 1 == instance.parallelism;
        Ok(capture.stage())
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<T>::task(stage)
    }
}
