//! How an execution begins: its part of a checkpoint is read, its chain built, and what barriers had overtaken put back.

use std::sync::Arc;

use rivus_core::job::{
    CHANNELS_STATE, CheckpointMode, Manifest, SnapshotPart, SubtaskSnapshot, is_of_channels,
};
use rivus_core::{
    ChainBuilder, ChannelTime, CheckpointId, CheckpointKind, Clock, Failure, InFlight, Inputs,
    JobGraph, MIN_TIMESTAMP, OperatorUid, Outputs, PutBack, RestoredState, RoundMerge,
    SnapshotBytes, Stores, SubtaskId, SubtaskInfo, Task, TaskContext,
};
use rivus_state::{CheckpointStorage, StoredSnapshot};

use super::files::RestoredFiles;
use super::futures::SubtaskFutures;
use super::loops::Head;
use super::pace::Pace;
use super::work::Work;
use super::{SubtaskMessage, SubtaskState};
use crate::job_tasks::TaskEvent;
use crate::planted;

/// A chain, ready to work.
pub struct BuiltTask {
    task: Box<dyn Task>,
    times: Vec<ChannelTime>,
    pub(super) in_flight: PutBack,
}

/// The checkpoint that an execution starts from.
pub struct Restore {
    /// Which.
    pub checkpoint: CheckpointId,
    /// Whether the job was stopped with it, or ends: nothing is read any more, only committed.
    pub only_commits: bool,
    /// Whether other subtasks wrote it, over other channels.
    pub foreign: bool,
    /// Whether all that it allows to be committed has been.
    pub committed: bool,
    /// This subtask's part.
    pub snapshot: SubtaskSnapshot,
}

impl Restore {
    /// A subtask's part of a checkpoint: its own snapshot; and from the heads of the others' what belongs to operators that
    /// start from all of them. Of a foreign checkpoint each has the heads of all already.
    pub fn of(manifest: &Manifest, subtask: SubtaskId, graph: &JobGraph) -> Self {
        let mut snapshot = manifest.subtasks.get(&subtask).cloned().unwrap_or_default();
        let shared = graph.restoring_all(subtask.vertex);
        if !shared.is_empty() && !manifest.foreign {
            let others = manifest
                .subtasks
                .iter()
                .filter(|(other, _)| other.vertex == subtask.vertex && **other != subtask);
            for part in others.flat_map(|(_, other)| &other.parts) {
                let mut part = SnapshotPart {
                    head_only: true,
                    stores: Vec::new(),
                    ..part.clone()
                };
                part.sections.retain(|section| {
                    shared.contains(&section.operator) && !is_of_channels(&section.state)
                });
                snapshot.parts.push(part);
            }
        }
        Self {
            checkpoint: manifest.id,
            only_commits: matches!(manifest.kind, CheckpointKind::Stop { .. }),
            foreign: manifest.foreign,
            committed: manifest.committed,
            snapshot,
        }
    }
}

impl SubtaskState {
    /// Reads the snapshot and builds the chain, off the data path.
    pub(super) fn build_task(&self) {
        let node = &self.args.node;
        let (graph, info) = (Arc::clone(&self.args.graph), self.info());
        let restore = self.args.restore.as_ref();
        let parts = restore.map_or(Vec::new(), |restore| restore.snapshot.parts.clone());
        let foreign = restore.is_some_and(|restore| restore.foreign);
        let committed = restore.is_some_and(|restore| restore.committed);
        let (storage, myself) = (node.checkpoints.clone(), self.myself.clone());
        let read_at_once = node.config.read_at_once;
        let stores = node.backend.as_ref();
        let stores = stores.map(|backend| backend.stores(self.args.job, self.args.attempt));
        let files = RestoredFiles {
            node: Arc::clone(node),
            job: self.args.job,
            subtask: self.args.attempt.subtask,
            checkpoint: restore.map_or(CheckpointId(0), |restore| restore.checkpoint),
            metrics: Arc::clone(&self.args.metrics),
        };
        node.blocking.run(Box::new(move || {
            let stores = stores.as_deref();
            let built = Failure::caught(|| {
                let restored = read_parts(&parts, foreign, &storage, read_at_once);
                let of_chain =
                    |failure: Failure| failure.outside().blame(&first_operator(&graph, &info));
                let mut restored = restored.map_err(of_chain)?;
                files.add(&parts, &mut restored)?;
                restored.committed = committed;
                // What the job has written itself may be of an earlier form, too: it may have been gone on with by another program.
                restored.migrations = graph.migrations.clone();
                let mut built = build(&graph, &info, &restored, foreign, stores)?;
                if foreign {
                    // The channels are others: each begins with what all had reached.
                    let least = built.times.iter().map(|time| time.watermark).min();
                    let time = ChannelTime {
                        watermark: least.unwrap_or(MIN_TIMESTAMP),
                        idle: false,
                    };
                    let channels = graph.outside_channels(info.attempt.subtask);
                    built.times = vec![time; channels.len()];
                }
                Ok(built)
            });
            let _ = myself.cast(SubtaskMessage::Built(Box::new(built)));
        }));
    }

    /// Takes up work with the chain, and with what was under way at the checkpoint.
    pub(super) fn built(&mut self, built: BuiltTask) -> Result<(), Failure> {
        let subtask = self.args.attempt.subtask;
        let graph = &self.args.graph;
        let channels = graph.outside_channels(subtask);
        let restore = self.args.restore.as_ref();
        let restored = restore.map(|restore| restore.checkpoint);
        let holds = restore.is_some_and(|restore| restore.only_commits);
        let options = &self.args.options;
        let mut inputs = Inputs::new(
            &channels,
            restored.unwrap_or_default(),
            &built.times,
            options.input_bytes,
        );
        if options.checkpoint_mode == CheckpointMode::AtLeastOnce {
            inputs.alignment.allow_duplicates();
        }
        let mut outputs = Outputs::new(self.receivers.lanes());
        for (channel, elements) in built.in_flight.inputs.into_iter().enumerate() {
            if elements.is_empty() || !planted::loses_queue() {
                inputs.put_back(channel, elements);
            }
        }
        for (lane, elements) in built.in_flight.outputs.into_iter().enumerate() {
            outputs.put_back(lane, elements);
        }
        let mut cx = TaskContext::new(
            self.info(),
            outputs,
            Arc::clone(&self.args.metrics),
            graph.operators(subtask.vertex),
            Arc::clone(&self.args.node.clock) as Arc<dyn Clock>,
        );
        cx.aligned = self.aligned_time();
        cx.set_futures(Arc::new(SubtaskFutures {
            runtime: self.args.node.runtimes.futures.clone(),
            subtask: self.myself.clone(),
        }));
        let unaligned_after = options.unaligned_after;
        let mut work = Work::new(built.task, cx, inputs, restored, unaligned_after);
        work.pace = Pace::new(self.args.node.backend.is_some());
        let budget = self.args.options.input_bytes;
        let senders = graph.senders(subtask);
        let routes = senders
            .iter()
            .map(|(edge, _)| Arc::clone(graph.route(edge)));
        work.routes = routes.collect();
        work.head = Head::of(graph, subtask, restored.unwrap_or_default(), budget);
        let channels = graph.loop_channels(subtask);
        work.rounds = channels.map(|of_loop| RoundMerge::new(&of_loop));
        if holds {
            work.hold();
        }
        self.work = Some(work);
        self.tell(TaskEvent::Ready);
        Ok(())
    }
}

/// Reads what a subtask starts from, and checks it; rows of snapshots that are not read at once when they are taken.
fn read_parts(
    parts: &[SnapshotPart],
    foreign: bool,
    storage: &CheckpointStorage,
    read_at_once: u64,
) -> Result<RestoredState, Failure> {
    let mut restored = RestoredState::default();
    for part in parts {
        let wanted = |uid: &OperatorUid, state: &str| {
            let mut sections = part.sections.iter();
            let listed = sections.any(|section| section.operator == *uid && section.state == state);
            listed || !(foreign || part.head_only)
        };
        let snapshot = Arc::new(StoredSnapshot::of(storage, part));
        let added = if part.head_only {
            restored.add(&snapshot.head(part, read_at_once)?, true, wanted)
        } else if part.snapshot.len > read_at_once {
            let head = snapshot.head(part, read_at_once)?;
            let bytes: Arc<dyn SnapshotBytes> = Arc::clone(&snapshot) as _;
            restored.add_streamed(&head, &bytes, wanted)
        } else {
            restored.add(&snapshot.whole()?, false, wanted)
        };
        added.map_err(|what| snapshot.damaged(what))?;
    }
    Ok(restored)
}

fn build(
    graph: &JobGraph,
    info: &SubtaskInfo,
    restored: &RestoredState,
    foreign: bool,
    stores: Option<&dyn Stores>,
) -> Result<BuiltTask, Failure> {
    let uid = first_operator(graph, info);
    let times: Vec<Vec<ChannelTime>> = restored.blobs(&uid, CHANNELS_STATE)?;
    let builder = ChainBuilder {
        graph,
        info,
        restored,
        stores,
    };
    // Who goes on from a savepoint has other channels; there is nothing of them in it.
    let in_flight = match foreign {
        true => PutBack::default(),
        false => InFlight::restore(restored, graph, info.attempt.subtask)?,
    };
    let task = builder.build()?;
    if foreign && let Some((operator, state)) = restored.untaken() {
        return Err(Failure::job(format!(
            "the savepoint has state \"{state}\" of operator {operator}, and the operator of that uid keeps none of that \
             name: give it another .uid(..), or let the state go by .drop_state_of(\"{operator}\")"
        )));
    }
    Ok(BuiltTask {
        task,
        times: times.into_iter().flatten().collect(),
        in_flight,
    })
}

fn first_operator(graph: &JobGraph, info: &SubtaskInfo) -> OperatorUid {
    let vertex = graph.vertex(info.attempt.subtask.vertex);
    graph.node(vertex.nodes[0]).uid.clone()
}
