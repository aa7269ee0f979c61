//! A router between its subtask and the receivers, all played by a test.

use std::sync::Arc;

use crate::clock::ManualClock;
use crate::event::Hashed;
use crate::ids::{AttemptId, CheckpointId, SubtaskId, VertexId};
use crate::key::key_hash;
use crate::outputs::Outputs;
use crate::router::*;
use crate::source::ParallelInstance;
use crate::stage::{Barrier, CheckpointKind};

/// What a channel carries; a batch is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Record(u32),
    Watermark(Timestamp),
    Idle,
    Barrier(u64),
    /// A barrier that has gone ahead of what is parked.
    Overtaking(u64),
    Round(u32),
    End,
}

/// A stage between its subtask and the receivers, all played by the test.
pub(crate) struct Bench {
    stage: Box<dyn Stage<u32>>,
    pub(crate) cx: TaskContext,
    granted: Vec<u64>,
    /// Whether the stage keeps something inside: it may only be resumed then.
    pub(crate) blocked: bool,
    /// What each channel has carried, and the same as a picture.
    pub(crate) seen: Vec<Vec<Seen>>,
    pub(crate) pictures: Vec<Vec<String>>,
    next_seq: Vec<u64>,
}

pub(crate) fn info(batch_records: usize) -> SubtaskInfo {
    let vertex = VertexId(0);
    SubtaskInfo {
        job: ParallelInstance::ALONE.job,
        attempt: AttemptId {
            subtask: SubtaskId { vertex, index: 0 },
            attempt: 1,
        },
        parallelism: 1,
        max_parallelism: 128,
        batch_records,
        batch_bytes: 1 << 20,
        loop_bytes: 1 << 20,
        is_distributed: false,
    }
}

impl Bench {
    pub(crate) fn new(stage: AnyStage, lanes: usize, info: SubtaskInfo) -> Self {
        let clock = Arc::new(ManualClock::default());
        let outputs = Outputs::new(lanes);
        Self {
            stage: stage.typed::<u32>().unwrap(),
            cx: TaskContext::new(info, outputs, Arc::default(), Vec::new(), clock),
            granted: vec![0; lanes],
            blocked: false,
            seen: vec![Vec::new(); lanes],
            pictures: vec![Vec::new(); lanes],
            next_seq: vec![0; lanes],
        }
    }

    /// Lets a channel take more; the stage goes on if it was blocked, else sends what is buffered.
    pub(crate) fn grant(&mut self, lane: usize, more: u64) {
        self.granted[lane] += more;
        self.cx.outputs.grant(lane, self.granted[lane]);
        if self.blocked {
            let progress = self.stage.resume(&mut self.cx).unwrap();
            self.after(progress);
        }
        if !self.blocked {
            self.control(Control::Flush);
        }
    }

    pub(crate) fn run(&mut self, records: &[u32]) {
        assert!(!self.blocked, "the caller must wait");
        let run = records.iter().map(|n| Event::at(Timestamp::from(*n), *n));
        let progress = self.stage.run(run.collect(), &mut self.cx).unwrap();
        self.after(progress);
    }

    pub(crate) fn control(&mut self, control: Control) {
        assert!(!self.blocked, "the caller must wait");
        let progress = self.stage.control(control, &mut self.cx).unwrap();
        self.after(progress);
    }

    fn after(&mut self, progress: Progress) {
        self.blocked = !progress.is_done();
        let sent: Vec<_> = self.cx.outputs.drain().collect();
        for outgoing in sent {
            let lane = outgoing.lane;
            assert_eq!(outgoing.seq, self.next_seq[lane], "a gap on channel {lane}");
            self.next_seq[lane] += 1;
            let seen = match outgoing.element {
                Element::Batch(batch) => {
                    let rows = records(batch);
                    self.pictures[lane].push(format!("{rows:?}"));
                    self.seen[lane].extend(rows.into_iter().map(Seen::Record));
                    continue;
                }
                Element::Watermark(ts) => Seen::Watermark(ts),
                Element::Idle => Seen::Idle,
                Element::Barrier(barrier) => Seen::Barrier(barrier.id.0),
                Element::Overtaking(barrier) => Seen::Overtaking(barrier.id.0),
                Element::Round(claim) => Seen::Round(claim),
                Element::Encoded(_) | Element::CancelBarrier(_) => continue,
                Element::EndOfInput => Seen::End,
            };
            self.seen[lane].push(seen);
            self.pictures[lane].push(match seen {
                Seen::Watermark(ts) => format!("w{ts}"),
                Seen::Idle => "i".into(),
                Seen::Barrier(id) => format!("|{id}"),
                Seen::Overtaking(id) => format!("^{id}"),
                Seen::Round(claim) => format!("o{claim}"),
                _ => "$".into(),
            });
        }
    }

    /// From now on a barrier is to overtake; so many bytes may be parked for it.
    pub(crate) fn overdraw(&mut self, limit: usize) {
        self.cx.outputs.begin_overdraft(limit);
        if self.blocked {
            let progress = self.stage.resume(&mut self.cx).unwrap();
            self.after(progress);
        }
    }

    /// `1,2,3` a run, `w5` a watermark, `i` idle, `f` flush, `|1` a barrier, `o3` a round, `$` the end, `+2` credits
    /// for every channel, `0+2` for one, `(` and `)` an overdraft, `(9` of nine bytes.
    pub(crate) fn play(&mut self, script: &str) {
        for word in script.split_whitespace() {
            if let Some((lane, more)) = word.split_once('+') {
                let lanes = match lane.parse() {
                    Ok(lane) => lane..lane + 1,
                    Err(_) => 0..self.granted.len(),
                };
                lanes.for_each(|lane| self.grant(lane, more.parse().unwrap()));
            } else if let Some(id) = word.strip_prefix('|') {
                self.control(barrier(id.parse().unwrap()));
            } else if let Some(limit) = word.strip_prefix('(') {
                self.overdraw(limit.parse().unwrap_or(usize::MAX));
            } else if word == ")" {
                assert!(self.cx.outputs.end_overdraft());
            } else if let Some(claim) = word.strip_prefix('o') {
                self.control(Control::Round(claim.parse().unwrap()));
            } else if let Some(ts) = word.strip_prefix('w') {
                self.control(Control::Watermark(ts.parse().unwrap()));
            } else {
                match word {
                    "i" => self.control(Control::Idle),
                    "f" => self.control(Control::Flush),
                    "$" => self.control(Control::EndOfInput),
                    run => {
                        let run = run.split(',').map(|n| n.parse().unwrap());
                        self.run(&run.collect::<Vec<u32>>());
                    }
                }
            }
        }
    }

    /// What each channel has carried, and `!` if the stage is blocked.
    pub(crate) fn picture(&self) -> String {
        let lanes: Vec<String> = self.pictures.iter().map(|lane| lane.join(" ")).collect();
        let blocked = if self.blocked { " !" } else { "" };
        format!("{}{blocked}", lanes.join(" / "))
    }
}

pub(super) fn records(batch: Box<dyn crate::batch::Batch>) -> Vec<u32> {
    match batch.into_any().downcast::<Rows<u32>>() {
        Ok(rows) => rows.into_vec().into_iter().map(|row| row.value).collect(),
        Err(batch) => {
            let rows = batch.downcast::<Rows<Hashed<u32>>>().unwrap().into_vec();
            rows.into_iter().map(|row| row.value.value).collect()
        }
    }
}

pub(crate) fn barrier(id: u64) -> Control {
    Control::Barrier(Barrier {
        id: CheckpointId(id),
        kind: CheckpointKind::Checkpoint,
    })
}

pub(super) type Hash = fn(&u32) -> u64;

pub(crate) fn by_key() -> HashBy<u32, Hash> {
    HashBy::new(key_hash)
}
