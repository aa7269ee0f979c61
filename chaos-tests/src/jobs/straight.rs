//! A shape without an exchange: what a subtask reads it writes, and has nothing to do with the others but the splits that are
//! handed out to all of them. Each file is one split, a *lane*: wherever it is read, its records are told in their order, with
//! a digest of those before.

use std::sync::Arc;

use rivus::connectors::{FileSink, RollingPolicy, TextFileSource};
use rivus::{OnError, Redistribution, StreamEnvironment};

use super::functions::{Line, fold};
use super::lasting::Lanes;
use super::records::Reading;
use super::spec::JobSpec;
use super::world::World;
use crate::paced::Paced;

impl World {
    pub(super) fn straight(&self, env: &StreamEnvironment) {
        let pattern = self.files.path().join("in-*.csv");
        let source = TextFileSource::glob(pattern.to_string_lossy());
        let source = Paced::new(source, self.pace(), Arc::clone(&self.emitted));
        let per_file = self.spec.per_file();
        let parsed = move |line: String| {
            let reading = line.parse::<Reading>()?;
            let key = reading.id / per_file;
            Ok::<_, String>(Reading { key, ..reading })
        };
        let lanes = Lanes::new(self.spec.records, Redistribution::Split);
        let lines = env
            .from_source(source)
            .try_map(parsed, OnError::Fail)
            .process_with_state(lanes)
            .map(|reading| line(&reading));
        let rolling = RollingPolicy {
            max_bytes: 1_500,
            on_checkpoint: self.spec.seed.is_multiple_of(2),
        };
        let show = |(key, value): &Line| format!("{key}\t{value}");
        let _ = lines.sink_to(FileSink::lines_with(self.out_dir(), show).rolling(rolling));
    }
}

fn line(reading: &Reading) -> Line {
    let Reading { id, key, value, .. } = reading;
    (key.to_string(), format!("{id}:{value}"))
}

/// What the job puts out, made without it.
pub fn straightened(spec: &JobSpec) -> Vec<Line> {
    let mut lines = Vec::new();
    for (lane, readings) in (0..).zip(Reading::all(spec).chunks(spec.per_file() as usize)) {
        let mut folded = 0;
        for reading in readings {
            folded = fold(folded, reading);
            lines.push(line(&Reading {
                key: lane,
                value: folded % 1_000,
                ..reading.clone()
            }));
        }
    }
    lines
}
