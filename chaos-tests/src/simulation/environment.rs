//! The process in which a job runs: what it has of everything, and what is wrong with it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rivus::engine::core::MemoryStores;
use rivus::{CheckpointMode, JobOptions, NodeConfig, RuntimeMode, Storage, StreamEnvironment};

use super::Run;
use crate::cramped::Cramped;
use crate::jobs::{Barriers, Rows};
use crate::storage::{FlakyStorage, SlowBlocking};

/// What the wall clock shows when a run begins.
const STARTS_AT: i64 = 1_700_000_000_000;

impl Run<'_> {
    /// Where the job's rows lie, once it has moved or before.
    pub(super) fn rows(&self, moved: bool) -> Rows {
        let onto = self.plan.moves.and_then(|moves| moves.onto);
        let onto = onto.filter(|_| moved);
        onto.unwrap_or(self.world.spec.rows)
    }

    /// Whether those are in RocksDB.
    pub(super) fn is_on_disk(&self, moved: bool) -> bool {
        matches!(self.rows(moved), Rows::InRocksDb(_))
    }

    /// The one of a life of the process, or the one of it that the job has moved onto.
    pub(super) fn environment(&self, life: usize, moved: bool) -> io::Result<StreamEnvironment> {
        let spec = &self.world.spec;
        let options = JobOptions {
            checkpoint_interval: Some(spec.checkpoint_interval),
            checkpoint_timeout: Duration::from_secs(20),
            alignment_timeout: spec.alignment_timeout,
            checkpoint_mode: match spec.barriers {
                Barriers::PassBy => CheckpointMode::AtLeastOnce,
                Barriers::Wait | Barriers::Overtake(_) => CheckpointMode::ExactlyOnce,
            },
            unaligned_after: match spec.barriers {
                Barriers::Overtake(wait) => Some(wait),
                Barriers::Wait | Barriers::PassBy => None,
            },
            retained_checkpoints: spec.retained,
            restart: spec.restart.clone(),
            batch_records: spec.batch_records,
            input_bytes: spec.input_bytes,
            ..JobOptions::default()
        };
        let node = NodeConfig {
            task_managers: spec.task_managers,
            job_managers: spec.job_managers,
            compact_log_every: spec.compact_log_every,
            local_recovery: spec.local_recovery,
            read_at_once: spec.read_at_once,
            ..NodeConfig::default()
        };
        let flaky = FlakyStorage::new(self.plan, life, Arc::clone(&self.faults));
        let objects = self.objects.clone().with_faults(Arc::new(flaky));
        let builder = match self.mode {
            RuntimeMode::Current => {
                let slow = SlowBlocking::new(self.plan, life, Arc::clone(&self.faults));
                StreamEnvironment::builder().blocking(Arc::new(slow))
            }
            // Threads are slow by themselves.
            RuntimeMode::Threads { .. } => StreamEnvironment::builder(),
        };
        let builder = match self.rows(moved) {
            Rows::InMemory => builder,
            Rows::InStandIn(cache_bytes) => builder.state_backend(MemoryStores { cache_bytes }),
            Rows::InRocksDb(cache_bytes) => {
                let directory = self.world.files.path();
                builder.state_backend(Cramped::new(directory, cache_bytes)?)
            }
        };
        Ok(builder
            .parallelism(spec.parallelism)
            .slots(spec.slots())
            .chaining(spec.chaining)
            .node(node)
            .options(options)
            .runtime(self.mode)
            .storage(Storage::Objects(objects))
            .seed(self.plan.seed ^ (life as u64) << 32 ^ u64::from(moved) << 48)
            .starts_at(STARTS_AT + self.faults.elapsed().as_millis() as i64)
            .probe(Arc::clone(&self.faults) as _)
            .build())
    }
}
