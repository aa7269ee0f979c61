//! The coordinator's decisions as pictures: `when what happens | what is done`, a line each.
//!
//! The tasks are a0, a1 and b0; `a0#1` is an attempt. An action `log ..` is an entry on its way; `written`
//! says that the oldest such entry is in the log. A final checkpoint is `1!`.

mod coordinator;
mod ending;
mod failing;
mod from_trigger_to_commit;
mod quiescing;
mod restarted;
mod savepoints;
mod taking_over;

use std::collections::VecDeque;

use self::coordinator::Coordinator;
use super::*;
use crate::ids::VertexId;
use crate::job::{SavepointRequest, SnapshotPart, SnapshotRef};

const ALL: &str = "start a0#1 a1#1 b0#1";

fn id(text: &str) -> CheckpointId {
    CheckpointId(text.parse().expect(text))
}

fn attempt(text: &str) -> AttemptId {
    let (subtask, number) = text.split_once('#').expect("a0#1");
    AttemptId {
        subtask: SubtaskId {
            vertex: VertexId(u32::from(subtask.as_bytes()[0] - b'a')),
            index: subtask[1..].parse().unwrap(),
        },
        attempt: number.parse().unwrap(),
    }
}

fn snapshot(name: &str) -> SubtaskSnapshot {
    SubtaskSnapshot {
        parts: vec![SnapshotPart::whole(SnapshotRef {
            name: name.into(),
            len: 0,
            crc32c: 0,
        })],
        received: Vec::new(),
    }
}

fn number(id: CheckpointId, kind: CheckpointKind) -> String {
    match kind {
        CheckpointKind::Final => format!("{id}!"),
        CheckpointKind::Checkpoint => id.to_string(),
        CheckpointKind::Savepoint => format!("{id}s"),
        CheckpointKind::Stop { drain } => format!("{id}{}", if drain { "d" } else { "x" }),
    }
}

fn picture(action: &CheckpointAction) -> String {
    match action {
        CheckpointAction::Append(LogEntry::CheckpointTriggered { id, kind }) => {
            format!("log triggered {}", number(*id, *kind))
        }
        CheckpointAction::Append(LogEntry::CheckpointCompleted { id, kind, .. }) => {
            format!("log completed {}", number(*id, *kind))
        }
        CheckpointAction::Append(LogEntry::CheckpointAborted { id, reason }) => {
            format!("log aborted {id} ({reason})")
        }
        CheckpointAction::Append(LogEntry::CheckpointCommitted { id }) => {
            format!("log committed {id}")
        }
        CheckpointAction::Append(LogEntry::SavepointFailed { reason, .. }) => {
            format!("log savepoint failed ({reason})")
        }
        CheckpointAction::Append(entry) => format!("{entry:?}"),
        CheckpointAction::Trigger(barrier) => {
            format!("trigger {}", number(barrier.id, barrier.kind))
        }
        CheckpointAction::StoreManifest(manifest) => {
            let name = |id: &SubtaskId| {
                let letter = char::from(b'a' + id.vertex.0 as u8);
                format!("{letter}{}", id.index)
            };
            let subtasks: Vec<String> = manifest.subtasks.keys().map(name).collect();
            assert_eq!((manifest.fingerprint, manifest.max_parallelism), (7, 128));
            let number = number(manifest.id, manifest.kind);
            format!("store {number} of {}", subtasks.join(" "))
        }
        CheckpointAction::AnnounceCompleted(id) => format!("announce {id}"),
        CheckpointAction::AnnounceAborted(id) => format!("call off {id}"),
        CheckpointAction::Quiesced => "quiesced".into(),
        CheckpointAction::JobDone => "job done".into(),
        CheckpointAction::FailJob(failure) => format!("fail job: {failure}"),
    }
}
