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
//! | `aligned.rs` | waiting for other sources |
//! | `channels.rs` | the other ends of its channels, in this process and others |
//! | `futures.rs` | futures of operators |
//! | `loops.rs` | heads of loops, and rounds |
//! | `work.rs` | turns: what is worked on next, and how far it got |
//! | `restore.rs` | how it begins |
//! | `barriers.rs` | barriers, which wait or overtake |
//! | `snapshot.rs` | freezing, slices, uploads |
//! | `files.rs` | files of stores, which go with a snapshot |
//! | `wanted.rs` | what is being stored and not wanted any more |

mod aligned;
mod barriers;
#[cfg(test)]
mod barriers_tests;
mod channels;
mod commits;
mod files;
mod futures;
mod loops;
mod pace;
mod restore;
mod snapshot;
mod wanted;
mod work;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rivus_core::job::JobOptions;
use rivus_core::{
    AttemptId, Barrier, CheckpointId, Element, EncodedSplit, Failure, GivenBack, JobGraph, JobId,
    StateAnswer, StateQuery, SubtaskId, SubtaskInfo, SubtaskMetrics, Timestamp,
};
use tokio::sync::oneshot;

use self::channels::Receivers;
pub use self::channels::{Peer, Receiver, Sender};
use self::files::FilesResult;
pub use self::restore::{BuiltTask, Restore};
use self::snapshot::{UploadResult, Uploads};
pub use self::wanted::GivenUp;
use self::work::Work;
use crate::context::NodeContext;
use crate::job_tasks::{JobTasksMessage, TaskEvent};
use crate::probe::{ActorKind, OfJob, Step};
use crate::remote::LinkId;

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
    /// A link to another process is lost, and with it the channels that went over it.
    LinkLost {
        /// Which.
        link: LinkId,
        /// How that came.
        reason: String,
    },
    /// Begin a checkpoint. Sources only.
    TriggerCheckpoint(Barrier),
    /// A barrier has been awaited long enough: the checkpoint is given up.
    AlignmentTimeout(CheckpointId),
    /// A barrier has waited long enough: it overtakes.
    Overtake(Barrier),
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
    /// Say how far it is in an alignment group.
    TellTime {
        /// Which.
        group: Arc<str>,
        /// Whether to do so again after the group's interval.
        again: bool,
    },
    /// How far watermarks of an alignment group may go.
    LimitTime {
        /// Which.
        group: Arc<str>,
        /// The least watermark of the group.
        least: Timestamp,
        /// Up to where.
        limit: Timestamp,
    },
    /// Show the state of a key. An execution that isn't built yet, or dies, doesn't answer.
    Inspect {
        /// What is asked.
        query: Box<StateQuery>,
        /// Where the answer goes; none if no operator shows its state.
        reply: oneshot::Sender<Result<Option<StateAnswer>, Failure>>,
    },
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
    /// Set when it counts as ended, whether it is or not.
    pub given_up: GivenUp,
    /// Dropped when it is gone.
    pub _alive: Arc<()>,
}

/// The actor.
pub struct SubtaskActor;

/// What the actor remembers.
pub struct SubtaskState {
    args: SubtaskArgs,
    myself: ActorRef<SubtaskMessage>,
    receivers: Receivers,
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
            receivers: Receivers::closed(args.attempt, lanes),
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
                work.file(channel, seq, element)?;
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
                if lane < state.receivers.lanes() {
                    let work = state.work()?;
                    work.credit(lane, granted);
                    work.came_home.extend(given_back);
                    state.step();
                }
            }
            SubtaskMessage::Built(built) => {
                state.pass(Step::Built, &myself)?;
                // State that can't be read now, a writer that can't be opened: perhaps later.
                let built = built.map_err(Failure::outside)?;
                if !built.in_flight.is_empty() {
                    state.pass(Step::PutBack, &myself)?;
                }
                state.built(built)?;
                if let (Some(probe), Some(restore)) = (&state.args.node.probe, &state.args.restore)
                {
                    let label = OfJob(state.args.attempt, state.args.job);
                    probe.restored(&label, restore.checkpoint);
                }
            }
            SubtaskMessage::Connect(senders) => state.connect(senders)?,
            SubtaskMessage::LinkLost { link, reason } => state.link_lost(link, &reason)?,
            SubtaskMessage::Open {
                lane,
                producer,
                receiver,
                granted,
            } => {
                state.pass(Step::Open, &myself)?;
                if state.receivers.open(lane, producer, receiver) {
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
                state.work()?.trigger(barrier)?;
                state.step();
            }
            SubtaskMessage::AlignmentTimeout(id) => {
                let timeout = state.args.options.alignment_timeout;
                let may_overtake = state.might_overtake();
                state.work()?.alignment_timeout(id, timeout, may_overtake)?;
                state.step();
            }
            SubtaskMessage::Overtake(barrier) => {
                state.work()?.overtake(barrier)?;
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
                state.work()?.aborted(id)?;
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
            SubtaskMessage::TellTime { group, again } => state.tell_time(group, again)?,
            SubtaskMessage::LimitTime {
                group,
                least,
                limit,
            } => state.limit_time(&group, least, limit)?,
            SubtaskMessage::Inspect { query, reply } => {
                if let Some(work) = &mut state.work {
                    let now = work.cx.now();
                    let _ = reply.send(Failure::caught(|| work.task.query(&query, now)));
                }
            }
        }
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

    /// Whether the job's barriers could be told to overtake, and aren't.
    fn might_overtake(&self) -> bool {
        let SubtaskArgs { options, graph, .. } = &self.args;
        let overtaking = JobOptions {
            unaligned_after: Some(Duration::ZERO),
            ..(**options).clone()
        };
        options.unaligned_after.is_none()
            && overtaking.check().is_ok()
            && graph.check_options(&overtaking).is_ok()
    }

    /// Says that it gives a checkpoint up, and who that is to people: they know operators, and no executions.
    fn decline(&self, id: CheckpointId, reason: &str) {
        let SubtaskId { vertex, index } = self.args.attempt.subtask;
        let operator = &self.args.graph.operators(vertex)[0];
        let reason = format!("operator {operator}, subtask {index}: {reason}");
        self.tell(TaskEvent::Declined { id, reason });
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

    fn info(&self) -> SubtaskInfo {
        let options = &self.args.options;
        SubtaskInfo {
            job: self.args.job,
            attempt: self.args.attempt,
            parallelism: self
                .args
                .graph
                .vertex(self.args.attempt.subtask.vertex)
                .parallelism,
            max_parallelism: self.args.graph.written.max_parallelism,
            batch_records: options.batch_records,
            batch_bytes: options.batch_bytes,
            loop_bytes: options.loop_bytes,
            is_distributed: self.args.node.remote.is_some(),
        }
    }
}

impl Drop for SubtaskState {
    fn drop(&mut self) {
        // However the execution ended, nobody finds it any more.
        let key = (self.args.job, self.args.attempt);
        self.args.node.peers.remove(&key);
    }
}
