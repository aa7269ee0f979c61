//! What is said on a control link, and what a link is opened about.

use rivus_core::job::JobReport;
use rivus_core::{
    AttemptId, CodecError, Incarnation, JobId, LeaderEpoch, SubtaskFigures, TaskManagerId, codec,
};
use rivus_state::StorageIdentity;
use serde::{Deserialize, Serialize};

use crate::job_tasks::{JobCommand, TaskEvent};
use crate::resource_manager::Registration;

/// What a link is opened about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// A TaskManager follows a leader.
    Control {
        /// Who.
        id: TaskManagerId,
        /// In which life.
        life: Incarnation,
        /// The leader of which term.
        term: u64,
        /// Where it stores checkpoints.
        storage: StorageIdentity,
    },
    /// A TaskManager receives from another.
    Data {
        /// Who receives.
        from: Incarnation,
        /// Who sends.
        to: Incarnation,
    },
}

impl Purpose {
    /// # Errors
    /// If the bytes are none: another release's, since the peer belongs to us.
    pub(super) fn read(about: &[u8]) -> Result<Self, String> {
        codec::decode(about).map_err(|_| "it is not known here what the link is about".to_owned())
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }
}

/// What a leader says to a TaskManager.
#[derive(Serialize, Deserialize)]
pub(crate) enum ToTaskManager {
    /// A command for a job.
    Command {
        job: JobId,
        epoch: LeaderEpoch,
        command: JobCommand,
    },
    /// A job has ended: forget it.
    ForgetJob(JobId),
    /// Say again who you are.
    Register,
}

/// What a TaskManager says to a leader.
#[derive(Serialize, Deserialize)]
pub(crate) enum ToLeader {
    /// It is there.
    Register(Registration),
    /// It lives.
    Heartbeat(Incarnation),
    /// Something for the master of a job.
    News {
        job: JobId,
        /// Of which master. One that isn't there any more doesn't hear it; the next one asks for a report.
        epoch: LeaderEpoch,
        news: News,
    },
}

/// Something for the master of a job.
#[derive(Serialize, Deserialize)]
pub(crate) enum News {
    /// Of a task.
    Task(AttemptId, TaskEvent),
    /// All that runs.
    Report(JobReport),
    /// Figures of running tasks.
    Figures(Vec<(AttemptId, SubtaskFigures)>),
    /// What ran of the job in this TaskManager is gone.
    Lost(Incarnation),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rivus_core::job::{JobOptions, Manifest, ProgramRef};
    use rivus_core::{CheckpointId, CheckpointKind, Slot, SubtaskId, VertexId};

    use super::*;

    fn attempt(index: u32) -> AttemptId {
        AttemptId {
            subtask: SubtaskId {
                vertex: VertexId(1),
                index,
            },
            attempt: 3,
        }
    }

    fn deploy() -> ToTaskManager {
        let slot = Slot {
            task_manager: TaskManagerId("tm".into()),
            incarnation: Incarnation(uuid::Uuid::from_u128(7)),
            index: 1,
        };
        let program = ProgramRef {
            factory: "clicks".into(),
            args: vec!["--rate".into(), "7".into()],
            parallelism: 2,
        };
        let options = JobOptions {
            checkpoint_interval: Some(Duration::from_millis(70)),
            ..JobOptions::default()
        };
        let manifest = Manifest {
            id: CheckpointId(9),
            kind: CheckpointKind::Checkpoint,
            fingerprint: u64::MAX,
            max_parallelism: 128,
            foreign: false,
            committed: false,
            subtasks: BTreeMap::new(),
        };
        ToTaskManager::Command {
            job: JobId(uuid::Uuid::from_u128(1)),
            epoch: LeaderEpoch(4),
            command: JobCommand::Deploy {
                program: Some(Box::new(program)),
                parallelism: Some(3),
                fingerprint: u64::MAX,
                options: Arc::new(options),
                attempts: vec![(attempt(0), slot.clone()), (attempt(1), slot)],
                restore: Some(Arc::new(manifest)),
                only_commit: true,
            },
        }
    }

    #[test]
    fn a_deployment_arrives_as_it_was_sent() {
        let sent = codec::encode(&deploy()).unwrap();
        let arrived: ToTaskManager = codec::decode(&sent).unwrap();
        assert_eq!(codec::encode(&arrived).unwrap(), sent);
        let ToTaskManager::Command { command, epoch, .. } = arrived else {
            panic!("it is a command");
        };
        let JobCommand::Deploy {
            options, restore, ..
        } = command
        else {
            panic!("it is a deployment");
        };
        assert_eq!(epoch, LeaderEpoch(4));
        let interval = Some(Duration::from_millis(70));
        assert_eq!(options.checkpoint_interval, interval);
        assert_eq!(restore.unwrap().id, CheckpointId(9));
    }

    /// A peer that knows the secret and has lost its mind: bytes of a message with some of them changed, cut, or all random.
    #[test]
    fn nonsense_is_refused_or_means_something_and_never_panics() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let sent = codec::encode(&deploy()).unwrap();
        let mut refused = 0;
        for round in 0..3_000 {
            let mut bytes = sent.clone();
            match round % 3 {
                0 => {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] = random.random();
                }
                1 => bytes.truncate(random.random_range(0..bytes.len())),
                _ => random.fill(&mut bytes[..]),
            }
            let to_task_manager = codec::decode::<ToTaskManager>(&bytes);
            let _ = codec::decode::<ToLeader>(&bytes);
            refused += u32::from(to_task_manager.is_err());
            let _ = Purpose::read(&bytes);
        }
        assert!(refused > 2_000, "{refused}");
    }
}
