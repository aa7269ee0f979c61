//! The job that is watched, and how what it tells is read.
//!
//! Its sink commits nothing: what reaches it is out. It appends to a file, a line for each silence worth telling, one each second for
//! how often something came, and a hundred a second for how far it has got:
//!
//! ```text
//! gap 1 1767225600123456789 5200000     subtask 1 heard something then, by the clock of its machine, and nothing for 5.2 ms before
//! came 1 1767225601000000000 8813       runs of records that have reached subtask 1 by then
//! most 1 1767225601000000000 2041183    the highest number of a record among them
//! ledger 1 20411 8813 0                 at its end: a digest of the numbers of the source's split 1, how many, and what is astray
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Parser;
use rivus::connectors::{FileSink, GeneratorSource};
use rivus::{AggregateFunction, Event, JobArgs, StreamEnvironment, UserError};
use serde::{Deserialize, Serialize};

use super::bid::{key_of, scramble};
use super::observed::ObservedSink;

/// Silences that are shorter are not told.
pub(super) const TOLD: u64 = 100_000;

const SECOND: u64 = 1_000_000_000;

/// How far it has got is told so often.
const MOST: u64 = SECOND / 100;

/// Of each operator, and so splits of the source: number n is of split n modulo this.
pub(super) const SUBTASKS: usize = 2;

#[derive(Parser)]
struct Probe {
    /// The file that silences are told to
    #[arg(long)]
    to: PathBuf,
    /// Keys that are counted
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes that are kept with each count
    #[arg(long, default_value_t = 0)]
    value_bytes: usize,
    /// Records a second; without it as many as it can
    #[arg(long)]
    rate: Option<u64>,
    /// When the first of them was there, in milliseconds since 1970: what is behind is caught up on
    #[arg(long, requires = "rate")]
    since: Option<i64>,
    /// Where all that comes out is committed too, as CSV: a key, its count, and the number of the record
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Counts, beside the last number of a key and something to carry.
#[derive(Clone)]
struct Counting {
    value_bytes: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Counted {
    count: u64,
    last: u64,
    text: String,
}

impl AggregateFunction for Counting {
    type In = (u64, u64);
    type Acc = Counted;
    type Out = (u64, u64);

    fn create(&self) -> Counted {
        Counted {
            count: 0,
            last: 0,
            text: String::new(),
        }
    }

    fn add(&self, counted: &mut Counted, (_, number): &(u64, u64)) {
        if counted.count == 0 {
            counted.text = text_of(*number, self.value_bytes);
        }
        counted.count += 1;
        counted.last = *number;
    }

    fn merge(&self, counted: &mut Counted, other: Counted) {
        counted.count += other.count;
        counted.last = counted.last.max(other.last);
    }

    fn result(&self, counted: &Counted) -> (u64, u64) {
        (counted.count, counted.last)
    }
}

/// Text that can't be packed well.
fn text_of(number: u64, bytes: usize) -> String {
    let words = (0..).map(|word| format!("{:016x}", scramble(number ^ (word << 48))));
    let mut text: String = words.take(bytes.div_ceil(16)).collect();
    text.truncate(bytes);
    text
}

/// Counts by key, and tells when nothing comes out. The first records have one key each.
pub(crate) fn probe(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let Probe {
        to,
        keys,
        value_bytes,
        rate,
        since,
        out,
    } = args.parse()?;
    for (option, value) in [("--keys", Some(keys)), ("--rate", rate)] {
        if value == Some(0) {
            return Err(format!("{option} is 0: give more").into());
        }
    }
    let telling = Arc::new(Telling {
        to,
        all: Default::default(),
    });
    let observe = move |subtask: u32, run: &[Event<Counts>]| telling.heard(subtask, now(), run);
    let mut numbers = GeneratorSource::new(move |n, _| (key_of(n, keys), n));
    if let Some(rate) = rate {
        numbers = numbers.rate(rate);
    }
    if let Some(since) = since {
        numbers = numbers.since(since);
    }
    let wide = SUBTASKS as u32;
    let numbers = env.from_source(numbers).uid("numbers").parallelism(wide);
    let counts = numbers.key_by(|(key, _)| *key);
    let counts = counts.aggregate(Counting { value_bytes }).uid("counts");
    if let Some(out) = out {
        let rows = counts.map(|(key, (count, number))| (key, count, number));
        let _ = rows.sink_to(FileSink::csv(out)).uid("committed");
    }
    let sink = ObservedSink::new(observe);
    let _ = counts
        .parallelism(wide)
        .sink_to(sink)
        .uid("probe")
        .parallelism(wide);
    Ok(())
}

/// Nanoseconds since 1970: what processes of one machine have in common.
#[allow(clippy::disallowed_methods)] // A benchmark measures real time.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// What comes out: a key, how many numbers of it there were, and the last one.
type Counts = (u64, (u64, u64));

/// What the sink's subtasks tell.
struct Telling {
    to: PathBuf,
    all: [Mutex<Option<Teller>>; SUBTASKS],
}

struct Teller {
    file: File,
    last: u64,
    came: u64,
    told: u64,
    most: u64,
    told_most: u64,
    ledger: Ledger,
}

impl Telling {
    fn heard(&self, subtask: u32, now: u64, run: &[Event<Counts>]) {
        let Some(own) = self.all.get(subtask as usize) else {
            return;
        };
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.is_none() {
            let mut file = OpenOptions::new();
            let Ok(file) = file.create(true).append(true).open(&self.to) else {
                return;
            };
            *own = Some(Teller {
                file,
                last: now,
                came: 0,
                told: now,
                most: 0,
                told_most: now,
                ledger: Ledger::default(),
            });
        }
        if let Some(teller) = &mut *own {
            teller.heard(subtask, now, run);
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let own = |own: &mut Mutex<Option<Teller>>| {
            let own = own.get_mut().unwrap_or_else(PoisonError::into_inner);
            own.take()
        };
        for mut teller in self.all.iter_mut().filter_map(own) {
            for line in teller.ledger.lines() {
                teller.tell(&line);
            }
        }
    }
}

impl Teller {
    fn heard(&mut self, subtask: u32, now: u64, run: &[Event<Counts>]) {
        let gap = now.saturating_sub(self.last);
        self.last = now;
        self.came += 1;
        for event in run {
            self.most = self.most.max(event.value.1.1);
            self.ledger.enter(event.value);
        }
        if gap >= TOLD {
            self.tell(&format!("gap {subtask} {now} {gap}"));
        }
        if now - self.told >= SECOND {
            self.told = now;
            self.tell(&format!("came {subtask} {now} {}", self.came));
        }
        if now - self.told_most >= MOST {
            self.told_most = now;
            self.tell(&format!("most {subtask} {now} {}", self.most));
        }
    }

    /// In one write, behind a line's end: other processes append to the file too, and any of them may have been killed in the middle of
    /// a line. What isn't told is missed by who reads.
    fn tell(&mut self, line: &str) {
        let _ = self.file.write_all(format!("\n{line}").as_bytes());
    }
}

/// What has come, to be held against what must have.
#[derive(Debug, Default)]
struct Ledger {
    /// Of each of the source's splits.
    numbers: [Numbers; SUBTASKS],
    /// The last count of each key.
    counts: Vec<u64>,
    /// Counts that don't follow the last one of their key.
    astray: u64,
}

/// Numbers in whatever order: how many, and a digest that none can be taken from or added to unseen, but by chance.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    digest: u64,
    count: u64,
}

impl Numbers {
    fn enter(&mut self, number: u64) {
        self.digest = self.digest.wrapping_add(scramble(number));
        self.count += 1;
    }
}

impl Ledger {
    fn enter(&mut self, (key, (count, number)): Counts) {
        self.numbers[number as usize % SUBTASKS].enter(number);
        let key = key as usize;
        if self.counts.len() <= key {
            self.counts.resize(key + 1, 0);
        }
        self.astray += u64::from(self.counts[key] + 1 != count);
        self.counts[key] = count;
    }

    fn lines(&self) -> Vec<String> {
        let splits = self.numbers.iter().enumerate();
        let line = |(split, of): (usize, &Numbers)| {
            let Numbers { digest, count } = of;
            format!("ledger {split} {digest} {count} {}", self.astray)
        };
        splits.map(line).collect()
    }
}

/// A time without output of one subtask, nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) ended: u64,
    pub(super) took: u64,
}

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) gaps: Vec<Gap>,
    /// When, by which subtask, and how many runs had come by then.
    came: Vec<(u64, u32, u64)>,
    /// When, by which subtask, and the highest number that had come by then.
    most: Vec<(u64, u32, u64)>,
    /// What has come in all, of each split.
    numbers: [Numbers; SUBTASKS],
    /// Subtasks' ledgers, a line for each split.
    ledgers: usize,
    astray: u64,
}

impl Told {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the probe has told nothing in {}", path.display()))?;
        let mut told = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let kind = words.next();
            let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
            // The last line may be half written.
            let (Some(subtask), Some(at), Some(what)) = (number(), number(), number()) else {
                continue;
            };
            match kind {
                Some("gap") => told.gaps.push(Gap {
                    ended: at,
                    took: what,
                }),
                Some("most") => told.most.push((at, subtask as u32, what)),
                Some("ledger") => {
                    let (split, astray) = (subtask as usize % SUBTASKS, number());
                    told.numbers[split].digest = told.numbers[split].digest.wrapping_add(at);
                    told.numbers[split].count += what;
                    told.ledgers += 1;
                    told.astray += astray.unwrap_or(1);
                }
                _ => told.came.push((at, subtask as u32, what)),
            }
        }
        Ok(told)
    }

    /// Whether all subtasks have told what has come in all.
    pub(super) fn is_whole(&self) -> bool {
        self.ledgers >= SUBTASKS * SUBTASKS
    }

    /// How many records came, if each number of each split came once, from its first to some last one, and each key's counts came one
    /// after the other.
    pub(super) fn each_once(&self) -> Option<u64> {
        let whole = |(split, told): (usize, &Numbers)| {
            let mut numbers = Numbers::default();
            let of_split = (split as u64..).step_by(SUBTASKS);
            of_split
                .take(told.count as usize)
                .for_each(|number| numbers.enter(number));
            numbers == *told
        };
        let is_so = self.astray == 0 && self.numbers.iter().enumerate().all(whole);
        is_so.then(|| self.numbers.iter().map(|of| of.count).sum())
    }

    /// When each of so many subtasks has put out what none had before `then`, if they have.
    pub(super) fn all_new_after(&self, then: u64, subtasks: u32) -> Option<u64> {
        let before = self.most.iter().filter(|(at, ..)| *at <= then);
        let before = before.map(|(.., most)| *most).max()?;
        let new = |subtask| {
            let told = self.most.iter();
            let mut new =
                told.filter(|(at, of, most)| *at > then && *of == subtask && *most > before);
            new.next().map(|(at, ..)| *at)
        };
        let all: Option<Vec<u64>> = (0..subtasks).map(new).collect();
        all?.into_iter().max()
    }

    /// The longest silence that reached into a span.
    pub(super) fn longest(&self, from: u64, until: u64) -> u64 {
        longest(&self.gaps, from, until)
    }

    /// Of all silences that ended in a span, the one that one of a thousand exceeds.
    pub(super) fn p999(&self, from: u64, until: u64) -> u64 {
        let mut came = std::collections::BTreeMap::<u32, (u64, u64)>::new();
        for (at, subtask, count) in &self.came {
            if (from..until).contains(at) {
                came.entry(*subtask).or_insert((*count, *count)).1 = *count;
            }
        }
        let all: u64 = came.values().map(|(first, last)| last - first).sum();
        let within = self
            .gaps
            .iter()
            .filter(|gap| (from..until).contains(&gap.ended));
        let mut gaps: Vec<u64> = within.map(|gap| gap.took).collect();
        gaps.sort_unstable_by(|one, other| other.cmp(one));
        gaps.get(all as usize / 1_000).copied().unwrap_or(TOLD)
    }
}

/// The longest that reached into a span.
fn longest(gaps: &[Gap], from: u64, until: u64) -> u64 {
    let within = gaps.iter().filter(|gap| {
        let began = gap.ended - gap.took;
        began < until && gap.ended > from
    });
    within.map(|gap| gap.took).max().unwrap_or(TOLD)
}

/// The longest of each span of a time, sorted.
pub(super) fn sorted_longest(gaps: &[Gap], (from, until): (u64, u64), span: u64) -> Vec<u64> {
    let spans = (from..until.saturating_sub(span)).step_by(span as usize);
    let mut all: Vec<u64> = spans.map(|at| longest(gaps, at, at + span)).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_are_told_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("told");
        let telling = Telling {
            to: to.clone(),
            all: Default::default(),
        };
        for n in 0..6_000 {
            // Each millisecond, and once nothing for 40 of them.
            let late = if n < 2_000 { 0 } else { 40 };
            let run = [Event::at(0, (n % 10, (n / 10 + 1, n)))];
            telling.heard(n as u32 % 2, (n + late) * 1_000_000, &run);
        }
        let told = Told::read(&to).unwrap();
        assert_eq!(told.gaps.len(), 5_998);
        assert_eq!(told.longest(0, SECOND), 2_000_000);
        assert_eq!(told.longest(2_001_000_000, 2_002_000_000), 42_000_000);
        let each_second = sorted_longest(&told.gaps, (0, 4 * SECOND), SECOND);
        assert_eq!(each_second, [2_000_000, 42_000_000, 42_000_000]);
        // Two of them are more than one in a thousand of some, and fewer of many.
        assert_eq!(told.p999(0, 3 * SECOND), 42_000_000);
        assert_eq!(told.p999(0, 7 * SECOND), 2_000_000);
        // Each tells every tenth millisecond of its own; the other's numbers count as old, too.
        let (then, next) = (1_005_000_000, 1_011_000_000);
        assert_eq!(told.all_new_after(then, 2), Some(next));
        assert_eq!(told.all_new_after(then, 3), None);
        assert_eq!(told.all_new_after(7 * SECOND, 2), None);

        assert!(!told.is_whole());
        drop(telling);
        let told = Told::read(&to).unwrap();
        assert!(told.is_whole());
        assert_eq!(told.each_once(), Some(6_000));
    }

    #[test]
    fn what_is_lost_or_comes_twice_is_seen() {
        let came = |numbers: &[u64]| {
            let mut ledger = Ledger::default();
            let mut counts = [0; 3];
            for number in numbers {
                let key = number % 3;
                counts[key as usize] += 1;
                ledger.enter((key, (counts[key as usize], *number)));
            }
            let told = Told {
                numbers: ledger.numbers,
                astray: ledger.astray,
                ..Told::default()
            };
            told.each_once()
        };
        assert_eq!(came(&[0, 1, 2, 4, 3, 6]), Some(6));
        assert_eq!(came(&[0, 1, 2, 6]), None);
        assert_eq!(came(&[0, 1, 2, 2]), None);
        let mut ledger = Ledger::default();
        for count in [1, 2, 2] {
            ledger.enter((0, (count, 0)));
        }
        assert_eq!(ledger.astray, 1);
    }
}
