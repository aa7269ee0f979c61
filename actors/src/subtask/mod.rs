//! The subtask: one execution of a chain of operators, as an actor.
//!
//! Its handler never works on what has just arrived: an element is filed under its channel and the next
//! message is looked at. Work is done by a self-message, [`SubtaskMessage::Step`], one turn at a time, and
//! every turn ends with `yield_now`. So a cancel, a credit or a command waits for one turn at most, and a
//! consumer on the same worker is next after one turn of its producer.
//!
//! | file | concern |
//! |---|---|
//! | `mod.rs` | the mailbox |
//! | `futures.rs` | futures of operators |
//! | `work.rs` | turns: what is worked on next, and how far it got |
//! | `snapshot.rs` | barriers, slices, uploads |
//! | `files.rs` | files of stores, which go with a snapshot |

mod commits;
mod files;
mod futures;
mod snapshot;
mod work;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rivus_core::job::{CHANNELS_STATE, JobOptions, Manifest, SnapshotPart, SubtaskSnapshot};
use rivus_core::{
    AttemptId, Barrier, ChainBuilder, ChannelTime, CheckpointId, CheckpointKind, Clock, Element,
    EncodedSplit, Failure, GivenBack, Inputs, JobGraph, JobId, MIN_TIMESTAMP, OperatorUid, Outputs,
    RestoredState, SnapshotBytes, StateAnswer, StateQuery, Stores, SubtaskId, SubtaskInfo,
    SubtaskMetrics, Task, TaskContext, Timestamp,
};
use rivus_state::{CheckpointStorage, SnapshotHandle, StoredSnapshot};
use tokio::sync::oneshot;

use self::files::{FilesResult, RestoredFiles};
use self::futures::SubtaskFutures;
use self::snapshot::{UploadResult, Uploads};
use self::work::Work;
use crate::context::NodeContext;
use crate::job_tasks::{JobTasksMessage, TaskEvent};
use crate::probe::{ActorKind, OfJob, Step};

/// What a subtask is told.
pub enum SubtaskMessage {
    /// Its chain has been built, off the data path.
    Built(Box<Result<BuiltTask, Failure>>),
    /// The executions that it receives from, input channel by input channel.
    Connect(Vec<Sender>),
    /// A receiver opens a channel: nothing is sent to one that isn't there.
    Open {
        /// The output channel.
        lane: usize,
        /// Who it is meant for; another attempt refuses.
        producer: AttemptId,
        /// Who receives.
        receiver: Receiver,
        /// How much may be sent in all, for the time being.
        granted: u64,
    },
    /// What a sender has to say.
    Element {
        /// The input channel.
        channel: usize,
        /// Its place on the channel.
        seq: u64,
        /// What it is.
        element: Element,
    },
    /// How much may be sent in all on an output channel. Cumulative, hence idempotent.
    Credit {
        /// The output channel.
        lane: usize,
        /// The new figure.
        granted: u64,
        /// Batches that have been worked on, for their sender to drop.
        given_back: Vec<GivenBack>,
    },
    /// A turn is due.
    Step,
    /// A processing time that was asked for has come; an older wish is ignored.
    Wake {
        /// Which.
        at: Timestamp,
    },
    /// A future of an operator has ended.
    LookAgain,
    /// A slice of frozen state may be written again.
    SliceDue,
    /// Begin a checkpoint. Sources only.
    TriggerCheckpoint(Barrier),
    /// Channels have been parked long enough.
    AlignmentTimeout(CheckpointId),
    /// A piece of a snapshot has been stored.
    SnapshotStored(UploadResult),
    /// Files of a store have been made, or one is stored.
    FilesStored(FilesResult),
    /// A checkpoint is complete.
    CheckpointCompleted(CheckpointId),
    /// A checkpoint will never be.
    CheckpointAborted(CheckpointId),
    /// A commit has been carried out.
    CommitDone {
        /// Whose effects.
        id: CheckpointId,
        /// Why not.
        result: Result<(), Failure>,
    },
    /// Splits to read.
    AddSplits {
        /// The splits.
        splits: Vec<EncodedSplit>,
        /// Whether there are no others.
        no_more: bool,
    },
    /// Show the state of a key. An execution that isn't built yet, or dies, doesn't answer.
    Inspect {
        /// What is asked.
        query: Box<StateQuery>,
        /// Where the answer goes; none if no operator shows its state.
        reply: oneshot::Sender<Result<Option<StateAnswer>, Failure>>,
    },
}

/// The sending end of an input channel.
pub struct Sender {
    /// Which execution.
    pub attempt: AttemptId,
    /// Its actor.
    pub actor: ActorRef<SubtaskMessage>,
    /// The channel, as it counts.
    pub lane: usize,
}

/// The receiving end of an output channel.
pub struct Receiver {
    /// Which execution.
    pub attempt: AttemptId,
    /// Its actor.
    pub actor: ActorRef<SubtaskMessage>,
    /// The channel, as it counts.
    pub channel: usize,
}

/// A chain, ready to work.
pub struct BuiltTask {
    task: Box<dyn Task>,
    times: Vec<ChannelTime>,
}

/// The checkpoint that an execution starts from.
pub struct Restore {
    /// Which.
    pub checkpoint: CheckpointId,
    /// Whether the job was stopped with it: nothing is read any more, only committed.
    pub stopped: bool,
    /// Whether other subtasks wrote it, over other channels.
    pub foreign: bool,
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
                    shared.contains(&section.operator) && section.state != CHANNELS_STATE
                });
                snapshot.parts.push(part);
            }
        }
        Self {
            checkpoint: manifest.id,
            stopped: matches!(manifest.kind, CheckpointKind::Stop { .. }),
            foreign: manifest.foreign,
            snapshot,
        }
    }
}

/// What an execution is started with.
pub struct SubtaskArgs {
    /// The process.
    pub node: Arc<NodeContext>,
    /// The job.
    pub job: JobId,
    /// Its plan.
    pub graph: Arc<JobGraph>,
    /// Its settings.
    pub options: Arc<JobOptions>,
    /// Which execution.
    pub attempt: AttemptId,
    /// What it starts from.
    pub restore: Option<Restore>,
    /// Who supervises it.
    pub parent: ActorRef<JobTasksMessage>,
    /// Its counters.
    pub metrics: Arc<SubtaskMetrics>,
}

/// The actor.
pub struct SubtaskActor;

/// What the actor remembers.
pub struct SubtaskState {
    args: SubtaskArgs,
    myself: ActorRef<SubtaskMessage>,
    receivers: Vec<Option<Receiver>>,
    senders: Vec<Sender>,
    /// None until the chain has been built.
    work: Option<Work>,
    uploads: Uploads,
    /// Whether a `Step` is in the mailbox.
    stepping: bool,
    /// Whether the subtask has been connected.
    connected: bool,
}

impl Actor for SubtaskActor {
    type Msg = SubtaskMessage;
    type State = SubtaskState;
    type Arguments = SubtaskArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SubtaskMessage>,
        args: SubtaskArgs,
    ) -> Result<SubtaskState, ActorProcessingErr> {
        let node = Arc::clone(&args.node);
        let label = OfJob(args.attempt, args.job);
        node.spawned(ActorKind::Subtask, &label, myself.get_cell());
        node.peers.insert((args.job, args.attempt), myself.clone());
        let lanes = args.graph.receivers(args.attempt.subtask).len();
        let state = SubtaskState {
            uploads: Uploads::new(&args, myself.clone()),
            receivers: (0..lanes).map(|_| None).collect(),
            senders: Vec::new(),
            work: None,
            stepping: false,
            connected: false,
            myself,
            args,
        };
        state.build_task();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SubtaskMessage>,
        message: SubtaskMessage,
        state: &mut SubtaskState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SubtaskMessage::Step => {
                state.stepping = false;
                state.turn()?;
                tokio::task::yield_now().await;
            }
            SubtaskMessage::Element {
                channel,
                seq,
                element,
            } => {
                let work = state.work()?;
                work.inputs.file(channel, seq, element)?;
                let (channels, queued) = (work.inputs.len(), work.inputs.queued_bytes());
                if let Some(probe) = &state.args.node.probe {
                    let label = OfJob(state.args.attempt, state.args.job);
                    probe.filed(&label, channels, queued);
                }
                state.step();
            }
            SubtaskMessage::Credit {
                lane,
                granted,
                given_back,
            } => {
                let work = state.work()?;
                work.credit(lane, granted);
                work.came_home.extend(given_back);
                state.step();
            }
            SubtaskMessage::Built(built) => {
                state.pass(Step::Built, &myself)?;
                state.built((*built)?)?;
            }
            SubtaskMessage::Connect(senders) => state.connect(senders)?,
            SubtaskMessage::Open {
                lane,
                producer,
                receiver,
                granted,
            } => {
                state.pass(Step::Open, &myself)?;
                if producer == state.args.attempt && lane < state.receivers.len() {
                    state.receivers[lane] = Some(receiver);
                    state.work()?.credit(lane, granted);
                    state.step();
                }
            }
            SubtaskMessage::Wake { at } => {
                if state.work()?.wake(at) {
                    state.step();
                }
            }
            SubtaskMessage::LookAgain => {
                state.work()?.look_again();
                state.step();
            }
            SubtaskMessage::SliceDue => state.step(),
            SubtaskMessage::TriggerCheckpoint(barrier) => {
                state.work()?.trigger(barrier);
                state.step();
            }
            SubtaskMessage::AlignmentTimeout(id) => {
                state.work()?.alignment_timeout(id);
                state.step();
            }
            SubtaskMessage::SnapshotStored(result) => state.snapshot_stored(result)?,
            SubtaskMessage::FilesStored(result) => state.files_stored(result)?,
            SubtaskMessage::CheckpointCompleted(id) => {
                state.settle_files(id, true);
                state.pass(Step::Commit, &myself)?;
                state.work()?.completed(id);
                state.step();
            }
            SubtaskMessage::CheckpointAborted(id) => {
                state.settle_files(id, false);
                state.work()?.aborted(id);
                state.step();
            }
            SubtaskMessage::CommitDone { id, result } => {
                result?;
                state.pass(Step::Committed, &myself)?;
                state.commit_done(id)?;
            }
            SubtaskMessage::AddSplits { splits, no_more } => {
                state.work()?.add_splits(splits, no_more)?;
                state.step();
            }
            SubtaskMessage::Inspect { query, reply } => {
                if let Some(work) = &mut state.work {
                    let now = work.cx.now();
                    let _ = reply.send(Failure::caught(|| work.task.query(&query, now)));
                }
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<SubtaskMessage>,
        state: &mut SubtaskState,
    ) -> Result<(), ActorProcessingErr> {
        state.uploads.abandon();
        Ok(())
    }
}

impl SubtaskState {
    fn pass(
        &self,
        step: Step,
        myself: &ActorRef<SubtaskMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let cell = myself.get_cell();
        let label = OfJob(self.args.attempt, self.args.job);
        let node = &self.args.node;
        node.pass(ActorKind::Subtask, &label, step, &cell)
    }

    fn tell(&self, event: TaskEvent) {
        let _ = self.args.parent.cast(JobTasksMessage::Task {
            attempt: self.args.attempt,
            event,
        });
    }

    fn work(&mut self) -> Result<&mut Work, Failure> {
        let attempt = self.args.attempt;
        self.work
            .as_mut()
            .ok_or_else(|| Failure::attempt(format!("{attempt} was used before it was built")))
    }

    /// Makes sure that a turn is due.
    fn step(&mut self) {
        if !self.stepping && self.connected {
            self.stepping = true;
            let _ = self.myself.cast(SubtaskMessage::Step);
        }
    }

    /// Reads the snapshot and builds the chain, off the data path.
    fn build_task(&self) {
        let node = &self.args.node;
        let (graph, info) = (Arc::clone(&self.args.graph), self.info());
        let restore = self.args.restore.as_ref();
        let parts = restore.map_or(Vec::new(), |restore| restore.snapshot.parts.clone());
        let foreign = restore.is_some_and(|restore| restore.foreign);
        let (storage, myself) = (node.checkpoints.clone(), self.myself.clone());
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
                let mut restored = read_parts(&parts, foreign, &storage)?;
                files.add(&parts, &mut restored);
                if foreign {
                    // What the job writes itself is of the present form.
                    restored.migrations = graph.migrations.clone();
                }
                let mut built = build(&graph, &info, &restored, stores)?;
                if foreign {
                    // The channels are others: each begins with what all had reached.
                    let least = built.times.iter().map(|time| time.watermark).min();
                    let time = ChannelTime {
                        watermark: least.unwrap_or(MIN_TIMESTAMP),
                        idle: false,
                    };
                    built.times = vec![time; graph.senders(info.attempt.subtask).len()];
                }
                Ok(built)
            });
            let _ = myself.cast(SubtaskMessage::Built(Box::new(built)));
        }));
    }

    fn info(&self) -> SubtaskInfo {
        let options = &self.args.options;
        SubtaskInfo {
            attempt: self.args.attempt,
            parallelism: self
                .args
                .graph
                .vertex(self.args.attempt.subtask.vertex)
                .parallelism,
            max_parallelism: self.args.graph.written.max_parallelism,
            batch_records: options.batch_records,
            batch_bytes: options.batch_bytes,
        }
    }

    fn built(&mut self, built: BuiltTask) -> Result<(), Failure> {
        let subtask = self.args.attempt.subtask;
        let graph = &self.args.graph;
        let channels: Vec<usize> = graph
            .senders(subtask)
            .iter()
            .map(|(edge, _)| edge.input)
            .collect();
        let restore = self.args.restore.as_ref();
        let restored = restore.map(|restore| restore.checkpoint);
        let holds = restore.is_some_and(|restore| restore.stopped);
        let inputs = Inputs::new(
            &channels,
            restored.unwrap_or_default(),
            &built.times,
            self.args.options.input_bytes,
        );
        let mut cx = TaskContext::new(
            self.info(),
            Outputs::new(self.receivers.len()),
            Arc::clone(&self.args.metrics),
            graph.operators(subtask.vertex),
            Arc::clone(&self.args.node.clock) as Arc<dyn Clock>,
        );
        cx.set_futures(Arc::new(SubtaskFutures {
            runtime: self.args.node.runtimes.futures.clone(),
            subtask: self.myself.clone(),
        }));
        let mut work = Work::new(built.task, cx, inputs, restored);
        if holds {
            work.hold();
        }
        self.work = Some(work);
        self.tell(TaskEvent::Ready);
        Ok(())
    }

    /// Opens every input channel at its sender.
    fn connect(&mut self, senders: Vec<Sender>) -> Result<(), Failure> {
        if self.connected {
            // A new leader connects again what the old one may have connected.
            return Ok(());
        }
        for (channel, sender) in senders.iter().enumerate() {
            let granted = self.work()?.inputs.granted(channel);
            let _ = sender.actor.cast(SubtaskMessage::Open {
                lane: sender.lane,
                producer: sender.attempt,
                receiver: Receiver {
                    attempt: self.args.attempt,
                    actor: self.myself.clone(),
                    channel,
                },
                granted,
            });
        }
        self.senders = senders;
        self.connected = true;
        self.tell(TaskEvent::Running);
        self.step();
        Ok(())
    }
}

/// Snapshots up to this size are read at once, and so checked before anything is made of them.
const READ_AT_ONCE: u64 = 4 << 20;

/// Reads what a subtask starts from, and checks it; rows of large snapshots when they are taken.
fn read_parts(
    parts: &[SnapshotPart],
    foreign: bool,
    storage: &CheckpointStorage,
) -> Result<RestoredState, Failure> {
    let mut restored = RestoredState::default();
    for part in parts {
        let snapshot = &part.snapshot;
        let handle = SnapshotHandle {
            name: snapshot.name.clone(),
            len: snapshot.len,
            crc32c: snapshot.crc32c,
        };
        let streamed = !part.head_only && snapshot.len > READ_AT_ONCE;
        let read = if part.head_only || streamed {
            storage.read_snapshot_head(&snapshot.name, part.head)
        } else {
            storage.read_snapshot(&handle)
        };
        let bytes = read.map_err(|error| Failure::user(&error.into()))?;
        let wanted = |uid: &OperatorUid, state: &str| {
            let mut sections = part.sections.iter();
            let listed = sections.any(|section| section.operator == *uid && section.state == state);
            listed || !(foreign || part.head_only)
        };
        if streamed {
            let storage = storage.clone();
            let snapshot: Arc<dyn SnapshotBytes> = Arc::new(StoredSnapshot { storage, handle });
            restored.add_streamed(&bytes, &snapshot, wanted)?;
        } else {
            restored.add(&bytes, part.head_only, wanted)?;
        }
    }
    Ok(restored)
}

fn build(
    graph: &JobGraph,
    info: &SubtaskInfo,
    restored: &RestoredState,
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
    Ok(BuiltTask {
        task: builder.build()?,
        times: times.into_iter().flatten().collect(),
    })
}

fn first_operator(graph: &JobGraph, info: &SubtaskInfo) -> OperatorUid {
    let vertex = graph.vertex(info.attempt.subtask.vertex);
    graph.node(vertex.nodes[0]).uid.clone()
}

impl Drop for SubtaskState {
    fn drop(&mut self) {
        // However the execution ended, nobody finds it any more.
        let key = (self.args.job, self.args.attempt);
        self.args.node.peers.remove(&key);
    }
}
