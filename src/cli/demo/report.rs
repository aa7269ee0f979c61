//! What the demonstration has shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::fire::Run;
use super::job::{Plan, Row};
use super::latency::Latency;

/// Two outputs beside one another, as multisets of (key, window, result): a result that differs counts
/// as one that was lost and another that was made up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Results of the undisturbed run.
    pub results: u64,
    /// Of those, how many the other run lacks.
    pub lost: u64,
    /// How many the other run has beyond them.
    pub duplicated: u64,
}

impl Comparison {
    pub(super) fn of(expected: &[Row], found: &[Row]) -> Self {
        let mut balance: BTreeMap<&Row, i64> = BTreeMap::new();
        for row in expected {
            *balance.entry(row).or_default() -= 1;
        }
        for row in found {
            *balance.entry(row).or_default() += 1;
        }
        let sum = |sign: i64| balance.values().map(|n| (n * sign).max(0) as u64).sum();
        Self {
            results: expected.len() as u64,
            lost: sum(-1),
            duplicated: sum(1),
        }
    }
}

/// What is printed; as JSON field by field.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    lost: u64,
    duplicated: u64,
    results: u64,
    kills: u32,
    killed: BTreeMap<String, u32>,
    restarts: u32,
    takeovers: u32,
    attempts_restarted_by_takeover: u32,
    records: u64,
    seconds: f64,
    records_per_second: u64,
    p50_latency_ms: f64,
    p99_latency_ms: f64,
    checkpoints: u64,
    seed: u64,
}

impl Report {
    pub(super) fn new(
        plan: Plan,
        took: Duration,
        run: Run,
        latency: &Latency,
        comparison: Comparison,
    ) -> Self {
        let millis = |quantile| latency.quantile(quantile).as_micros() as f64 / 1_000.0;
        Self {
            lost: comparison.lost,
            duplicated: comparison.duplicated,
            results: comparison.results,
            kills: run.kills.values().sum(),
            killed: run.kills,
            restarts: run.view.restarts,
            takeovers: run.view.takeovers,
            attempts_restarted_by_takeover: run.view.restarted_by_takeover,
            records: plan.records(),
            seconds: took.as_secs_f64(),
            records_per_second: (plan.records() as f64 / took.as_secs_f64()) as u64,
            p50_latency_ms: millis(0.5),
            p99_latency_ms: millis(0.99),
            checkpoints: run.view.checkpoints,
            seed: plan.seed,
        }
    }

    /// Whether the run under fire gave what the undisturbed one did.
    pub(super) fn is_exact(&self) -> bool {
        self.lost == 0 && self.duplicated == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let killed = self.killed.iter();
        let killed: Vec<String> = killed
            .map(|(kind, times)| format!("{kind} {times}"))
            .collect();
        write!(
            f,
            "
{} records in {:.1} s ({}/s), latency p50 {:.1} ms, p99 {:.1} ms with recoveries
{} actors killed: {}
{} checkpoints, {} restarts, {} takeovers, which restarted {} attempts
{} results compared with the undisturbed run:
lost {}, duplicated {}

Where to go next:
  README.md                                  what Rivus is, and a first job of your own
  docs/guide/                                how to write a job, chapter by chapter
  cargo run --example top_pages -- --help    a job on an access log
  docs/                                      decisions, and results checked against SQL",
            self.records,
            self.seconds,
            self.records_per_second,
            self.p50_latency_ms,
            self.p99_latency_ms,
            self.kills,
            killed.join(", "),
            self.checkpoints,
            self.restarts,
            self.takeovers,
            self.attempts_restarted_by_takeover,
            self.results,
            self.lost,
            self.duplicated,
        )
    }
}

#[cfg(test)]
mod tests {
    use rivus::{Window, Windowed};

    use super::super::job::Tally;
    use super::*;

    /// Rows written as keys; a capital letter has another result than the small one.
    fn rows(keys: &str) -> Vec<Row> {
        let window = Window { start: 0, end: 1 };
        let row = |key: char| Windowed {
            key: u64::from(key.to_ascii_lowercase() as u32),
            window,
            value: Tally {
                records: 1,
                fingerprint: u64::from(key.is_uppercase()),
            },
        };
        keys.chars().map(row).collect()
    }

    #[test]
    fn what_is_missing_is_lost_and_what_is_too_much_is_duplicated() {
        for (expected, found, lost, duplicated) in [
            ("abc", "cab", 0, 0),
            ("abc", "ab", 1, 0),
            ("abc", "abbc", 0, 1),
            ("abc", "aBc", 1, 1),
            ("", "aa", 0, 2),
        ] {
            let found = Comparison::of(&rows(expected), &rows(found));
            let results = expected.len() as u64;
            let expected = Comparison {
                results,
                lost,
                duplicated,
            };
            assert_eq!(found, expected);
        }
    }
}
