//! What an undisturbed run must hold, counted without the engine: a job that puts out nothing, or half, is no reference.

use std::collections::{BTreeMap, BTreeSet};

use super::of_source;
use crate::jobs::{Committed, JobSpec, Line, Reading, Shape};

/// What is wrong with an undisturbed run as a reference.
pub fn counted(spec: &JobSpec, run: &Committed) -> Vec<String> {
    let claims = claims(spec, run).into_iter();
    let mut wrong: Vec<String> = claims
        .filter(|(_, found, expected)| found != expected)
        .map(|(what, found, expected)| format!("{what}: {found} instead of {expected}"))
        .collect();
    let empty = never_empty(spec, run).into_iter();
    let empty = empty.filter(|(_, lines)| lines.is_empty());
    wrong.extend(empty.map(|(what, _)| format!("{what}: nothing")));
    wrong
}

/// What is counted, how many there are, and how many there have to be.
fn claims(spec: &JobSpec, run: &Committed) -> Vec<(&'static str, u64, u64)> {
    let Committed {
        main,
        serial,
        late,
        came,
        ..
    } = run;
    let (n, wide) = (spec.records, u64::from(spec.wide));
    let first = || of_source(spec, 0);
    let mut claims = match spec.shape {
        Shape::Tumbling
        | Shape::ManySplits
        | Shape::Watched
        | Shape::Partitioned
        | Shape::Parquet => vec![("records in windows", sum(main), n)],
        // Each is in as many windows as begin while one lasts.
        Shape::Sliding | Shape::TextFiles => vec![("records in windows", sum(main), 4 * n)],
        Shape::Broadcast => vec![("records in windows", sum(main), wide * n)],
        Shape::Aligned => vec![("records in windows", sum(main), 2 * n)],
        Shape::Rolling | Shape::Packed | Shape::Expiring | Shape::Straight => {
            vec![("records told", len(main), n)]
        }
        Shape::Timers => vec![("records in buckets", sum(main), n)],
        Shape::MultiStage => {
            let copies = first().iter().map(|reading| 1 + reading.value % 2).sum();
            vec![("copies in the last sums", last_sums(main), copies)]
        }
        Shape::Union | Shape::Idle => {
            let all = spec.sources() * n;
            vec![
                ("records accepted or late", members(main) + len(late), all),
                ("records aggregated", len(serial), all),
            ]
        }
        Shape::TwoPipelines => vec![
            ("records in windows", sum(main), n),
            ("records of the second pipeline", len(serial), n),
        ],
        Shape::Connected => vec![("records of both streams", sum(main), 2 * n)],
        Shape::BroadcastRules => {
            let buckets = grouped(&first(), |reading| {
                (reading.key, reading.ts.div_euclid(150))
            });
            vec![("buckets", len(main), buckets.len() as u64)]
        }
        Shape::WindowJoin => {
            let pairs = by_window(spec, 30, |a, b| if a * b > 0 { a * b } else { a + b });
            vec![("pairs", len(main), pairs)]
        }
        Shape::IntervalJoin => vec![("pairs", len(main), near_pairs(spec))],
        Shape::Sessions => vec![
            ("records in sessions", members(main), n),
            ("records in windows without a key", sum(serial), n),
        ],
        Shape::Evicted => {
            let windows = grouped(&first(), |reading| {
                (reading.key, reading.ts.div_euclid(400))
            });
            vec![("firings", len(main), thirds(windows.values()))]
        }
        Shape::CountWindows => {
            let keys = grouped(&first(), |reading| reading.key);
            let fives = keys.values().map(|count| count / 5).sum();
            vec![
                ("windows of five", len(main), fives),
                ("windows at every third", len(serial), thirds(keys.values())),
                ("windows of 40 without a key", len(late), n / 40),
            ]
        }
        Shape::Aggregates => {
            let distinct = grouped(&first(), |reading| (reading.key, reading.value % 8));
            vec![
                ("aggregates of all", len(&under(main, "all ")), n),
                ("greatest ones", len(&under(main, "greatest ")), n),
                ("other aggregates", len(&under(main, "rolled ")), n),
                (
                    "first ones",
                    len(&under(main, "first ")),
                    distinct.len() as u64,
                ),
            ]
        }
        Shape::Async => vec![
            ("records answered in windows", members(main), n),
            ("records answered in order", len(serial), n),
        ],
        Shape::Looping => {
            let laps = first()
                .iter()
                .map(|reading| (reading.value % 6).max(1))
                .sum();
            vec![
                ("records come out of the loop", len(main), n),
                ("visits", len(serial), laps),
            ]
        }
        Shape::Fed => vec![("records fed", len(came), n)],
        Shape::Socket => vec![("records heard, in windows", members(main), len(came))],
        Shape::Clocked | Shape::Refiring => Vec::new(),
        Shape::CoGrouped => {
            let groups = by_window(spec, 60, |_, _| 1);
            let pairs = by_window(spec, 60, |a, b| a * b.max(1) + b * a.max(1) + a * b);
            let merged = late.iter().filter(|(key, _)| !key.starts_with("rules "));
            let merged: Vec<Line> = merged.cloned().collect();
            vec![
                ("groups", len(main), groups),
                ("pairs of left, right and inner joins", len(serial), pairs),
                ("records merged, in windows", sum(&merged), 2 * n),
            ]
        }
    };
    if spec.neighbour.is_some() {
        claims.push((
            "records in windows of the job beside it",
            sum(&run.neighbour),
            n,
        ));
    }
    claims
}

/// What holds something, however much.
fn never_empty(spec: &JobSpec, run: &Committed) -> Vec<(&'static str, Vec<Line>)> {
    let Committed {
        main,
        serial,
        late,
        came,
        ..
    } = run;
    let told = run.outside.told.iter().map(|(_, line)| line.clone());
    match spec.shape {
        Shape::Aggregates => vec![
            ("the three greatest", under(main, "top ")),
            ("the two least in windows", under(main, "window ")),
            ("aggregates in windows", under(main, "within ")),
        ],
        Shape::Fed => vec![("what the actor was told", told.collect())],
        Shape::Socket => vec![("what was heard", came.clone())],
        Shape::Clocked => vec![("windows", main.clone()), ("timers", serial.clone())],
        Shape::Refiring => vec![
            ("mended windows", main.clone()),
            ("windows so far", serial.clone()),
            ("struck windows", late.clone()),
            ("watched windows", came.clone()),
        ],
        Shape::CoGrouped => vec![("rules", under(late, "rules "))],
        _ => vec![("the output", main.clone())],
    }
}

fn len(lines: &[Line]) -> u64 {
    lines.len() as u64
}

/// The lines of keys that begin so.
fn under(lines: &[Line], key: &str) -> Vec<Line> {
    let under = lines.iter().filter(|(of, _)| of.starts_with(key));
    under.cloned().collect()
}

/// The number behind a line's colon.
fn number((_, line): &Line) -> u64 {
    let (_, rest) = line.split_once(':').unwrap_or_default();
    let digits = rest
        .trim_start()
        .split(|c: char| !c.is_ascii_digit())
        .next();
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

fn sum(lines: &[Line]) -> u64 {
    lines.iter().map(number).sum()
}

/// The sum of each key's last number.
fn last_sums(lines: &[Line]) -> u64 {
    let last: BTreeMap<&str, u64> = lines.iter().map(|line| (&*line.0, number(line))).collect();
    last.values().sum()
}

/// How many numbers of records stand behind the colons.
fn members(lines: &[Line]) -> u64 {
    let members = lines.iter().map(|(_, line)| {
        let (_, rest) = line.split_once(':').unwrap_or_default();
        let ids = rest.split(' ').next().unwrap_or_default().split(',');
        ids.filter(|id| id.parse::<u64>().is_ok()).count() as u64
    });
    members.sum()
}

/// How many records each group has.
fn grouped<K: Ord>(readings: &[Reading], group: impl Fn(&Reading) -> K) -> BTreeMap<K, u64> {
    let mut groups = BTreeMap::new();
    for reading in readings {
        *groups.entry(group(reading)).or_default() += 1;
    }
    groups
}

fn thirds<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.map(|count| count / 3).sum()
}

/// What each key's windows of a size make of how many records of both sources they hold, in all.
fn by_window(spec: &JobSpec, size: i64, make: impl Fn(u64, u64) -> u64) -> u64 {
    let window = |reading: &Reading| (reading.key, reading.ts.div_euclid(size));
    let (first, second) = (of_source(spec, 0), of_source(spec, 1));
    let (first, second) = (grouped(&first, window), grouped(&second, window));
    let windows: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    let of = |counts: &BTreeMap<_, u64>, window| counts.get(window).copied().unwrap_or_default();
    let made = windows
        .iter()
        .map(|w| make(of(&first, *w), of(&second, *w)));
    made.sum()
}

/// Pairs of a key whose second is at most 20 ms before the first and less than 35 ms after it.
fn near_pairs(spec: &JobSpec) -> u64 {
    let mut times: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    for reading in of_source(spec, 1) {
        times.entry(reading.key).or_default().push(reading.ts);
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    let near = of_source(spec, 0).into_iter().map(|reading| {
        let times = times.get(&reading.key).map_or(&[][..], Vec::as_slice);
        let before = |ts: i64| times.partition_point(|other| *other < ts);
        (before(reading.ts + 35) - before(reading.ts - 20)) as u64
    });
    near.sum()
}
