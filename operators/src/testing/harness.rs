//! An operator's subtasks, and what happens to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use rivus_core::{
    AttemptId, Barrier, Batch, CheckpointId, CheckpointKind, CommitRequest, Control, Event,
    Failure, FrozenStore, GivenBack, KeyGroup, MIN_TIMESTAMP, ManualClock, MemoryStores,
    OperatorUid, Outputs, ParallelInstance, Progress, RestoredState, SnapshotBuilder, StateAnswer,
    StateQuery, StoreImage, Stores, SubtaskId, SubtaskInfo, SubtaskMetrics, Task, TaskContext,
    Timestamp, VertexId, concat_chunks,
};

use super::by_hand::{ByHand, Hand};
use super::capture::Log;
use super::picture::Step;

/// What is driven: how a subtask's task is built, and how records reach it.
pub trait Plan<In> {
    /// Uids of the operators, in the order of their places in the chain.
    fn uids(&self) -> Vec<OperatorUid>;

    /// Whether each subtask starts from what all of them wrote.
    fn restores_all(&self) -> bool;

    /// A subtask's task. What comes out goes to the log, through captures of a seed.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    fn task(
        &mut self,
        info: &SubtaskInfo,
        restored: &RestoredState,
        stores: Option<&dyn Stores>,
        log: &Log,
        seed: u64,
    ) -> Result<Box<dyn Task>, Failure>;

    /// Sends records on their way.
    ///
    /// # Errors
    /// Whatever fails the sender.
    fn send(&mut self, run: Vec<Event<In>>) -> Result<Vec<Delivery>, Failure>;

    /// A control element passes whoever sends the records: what they send before it.
    ///
    /// # Errors
    /// Whatever fails the sender.
    fn pass(&mut self, control: Control) -> Result<Vec<Delivery>, Failure> {
        let _ = control;
        Ok(Vec::new())
    }

    /// How many records a batch has that goes back to its sender, if the plan knows what it is.
    fn returned(&self, batch: GivenBack) -> Option<usize> {
        let _ = batch;
        None
    }
}

/// Records on their way to a subtask.
pub struct Delivery {
    /// Which.
    pub subtask: u32,
    /// The input that they come on.
    pub input: usize,
    /// The records.
    pub batch: Box<dyn Batch>,
}

/// Stores of an attempt, which has a number of its own.
#[derive(Clone)]
pub struct Backend(pub Arc<dyn Fn(AttemptId) -> Box<dyn Stores> + Send + Sync>);

impl Default for Backend {
    /// In memory, with room for hardly a row above.
    fn default() -> Self {
        Self(Arc::new(|_| Box::new(MemoryStores { cache_bytes: 1 })))
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Backend")
    }
}

/// Stores of no two attempts are in one place, whoever drives them.
static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

/// How a [`Harness`] is set up.
#[derive(Debug, Clone)]
pub struct HarnessSettings {
    /// Of the outputs' refusals; 0 never refuses. With odd ones rows lie in a store; every other of those gives its files to
    /// checkpoints, the others their rows.
    pub seed: u64,
    /// Where that store is.
    pub backend: Backend,
    /// Number of subtasks.
    pub parallelism: u32,
    /// The only one that is run, if not all are.
    pub only: Option<u32>,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// Moved by whoever drives.
    pub clock: Arc<ManualClock>,
}

impl Default for HarnessSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            backend: Backend::default(),
            parallelism: 1,
            only: None,
            max_parallelism: 128,
            clock: Arc::default(),
        }
    }
}

impl HarnessSettings {
    fn info(&self, index: u32) -> SubtaskInfo {
        SubtaskInfo {
            job: ParallelInstance::ALONE.job,
            attempt: AttemptId {
                subtask: SubtaskId {
                    vertex: VertexId(0),
                    index,
                },
                attempt: 1,
            },
            parallelism: self.parallelism,
            max_parallelism: self.max_parallelism,
            // So few that outputs are full again and again.
            batch_records: 4,
            batch_bytes: 1 << 20,
            loop_bytes: 1 << 20,
            is_distributed: true,
        }
    }

    fn indexes(&self) -> std::ops::Range<u32> {
        match self.only {
            Some(only) => only..only + 1,
            None => 0..self.parallelism,
        }
    }

    /// The world of a subtask.
    pub(crate) fn world(&self, index: u32, operators: Vec<OperatorUid>) -> TaskContext {
        let clock = Arc::clone(&self.clock) as Arc<dyn rivus_core::Clock>;
        let metrics = Arc::new(SubtaskMetrics::default());
        TaskContext::new(self.info(index), Outputs::new(0), metrics, operators, clock)
    }
}

type Images = Vec<(OperatorUid, Arc<dyn StoreImage>)>;

/// A checkpoint.
#[derive(Clone)]
pub struct Saved {
    /// What each subtask wrote.
    pub snapshots: Vec<Bytes>,
    /// Files of each subtask's stores, if the snapshots are beside those.
    images: Vec<Images>,
    /// How far event time had got.
    pub watermark: Timestamp,
    id: CheckpointId,
    /// Where the input and the log stood.
    position: usize,
    log: usize,
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.id, self.watermark)
    }
}

/// A checkpoint that is being written.
struct Open {
    position: usize,
    log: usize,
    watermark: Timestamp,
    id: CheckpointId,
    written: Vec<Option<(Bytes, Vec<FrozenStore>)>>,
}

impl Saved {
    fn parts(&self) -> (&[Bytes], &[Images]) {
        (&self.snapshots, &self.images)
    }
}

/// A subtask that runs.
struct Subtask {
    task: Box<dyn Task>,
    cx: TaskContext,
    by_hand: Arc<ByHand>,
    wake: Option<Timestamp>,
}

/// Turns without any progress after which time goes on to what is waited for.
const IDLE_TURNS: u32 = 64;

/// An operator that is driven by hand.
pub struct Harness<'a, In> {
    plan: Box<dyn Plan<In> + 'a>,
    settings: HarnessSettings,
    subtasks: Vec<Subtask>,
    /// What came out.
    pub log: Log,
    /// Rows written in one slice, one slice a step.
    pub slice: usize,
    /// How much time passes between two turns of one piece of work.
    pub drift: Duration,
    /// How often work was left to other turns, with nothing in its way.
    pub yields: usize,
    /// Batches that were given back to their senders.
    pub given_back: usize,
    watermark: Timestamp,
    open: Option<Open>,
    last: Option<Saved>,
    /// Whether another number of subtasks will go on from a checkpoint.
    rescales: bool,
    /// The last checkpoint, if files of stores haven't been made yet, by subtask.
    frozen: Option<(Saved, Vec<Vec<FrozenStore>>)>,
    /// The checkpoint that has been completed and of which the operator doesn't know yet.
    completed: Option<CheckpointId>,
    checkpoints: u64,
}

impl<'a, In> Harness<'a, In> {
    /// The operator as it starts, from a checkpoint if there is one.
    ///
    /// # Errors
    /// Whatever keeps a subtask from starting.
    pub fn start(
        plan: Box<dyn Plan<In> + 'a>,
        settings: HarnessSettings,
        from: Option<&Saved>,
    ) -> Result<Self, Failure> {
        let mut harness = Self::unbuilt(plan, settings);
        harness.build(from.map_or((&[], &[]), Saved::parts))?;
        if let Some(from) = from {
            harness.checkpoints = from.id.0;
            harness.recover(from)?;
            harness.last = Some(Saved {
                position: 0,
                log: harness.log.len(),
                ..from.clone()
            });
        }
        Ok(harness)
    }

    /// The operator as it starts from snapshots, with nothing said to it yet.
    ///
    /// # Errors
    /// Whatever keeps a subtask from starting.
    pub fn from_snapshots(
        plan: Box<dyn Plan<In> + 'a>,
        settings: HarnessSettings,
        snapshots: &[Bytes],
    ) -> Result<Self, Failure> {
        let mut harness = Self::unbuilt(plan, settings);
        harness.build((snapshots, &[]))?;
        Ok(harness)
    }

    fn unbuilt(plan: Box<dyn Plan<In> + 'a>, settings: HarnessSettings) -> Self {
        Self {
            plan,
            settings,
            subtasks: Vec::new(),
            log: Log::default(),
            slice: usize::MAX / 2,
            drift: Duration::ZERO,
            yields: 0,
            given_back: 0,
            watermark: MIN_TIMESTAMP,
            open: None,
            last: None,
            rescales: false,
            frozen: None,
            completed: None,
            checkpoints: 0,
        }
    }

    fn build(&mut self, (snapshots, images): (&[Bytes], &[Images])) -> Result<(), Failure> {
        let seed = self.settings.seed;
        let own =
            snapshots.len() == self.settings.parallelism as usize && !self.plan.restores_all();
        self.subtasks.clear();
        for index in self.settings.indexes() {
            let from = match own {
                true => &snapshots[index as usize..=index as usize],
                false => snapshots,
            };
            let mut restored = RestoredState::parse(from)?;
            let images = images.get(index as usize).filter(|_| own);
            for (uid, image) in images.into_iter().flatten() {
                restored.add_image(uid.clone(), Arc::clone(image));
            }
            let mut cx = self.settings.world(index, self.plan.uids());
            let by_hand = ByHand::new(&self.settings.clock);
            cx.set_futures(Arc::new(Hand(Arc::clone(&by_hand))));
            let stores = (seed % 2 == 1).then(|| {
                let attempt = ATTEMPTS.fetch_add(1, Relaxed);
                (self.settings.backend.0)(AttemptId {
                    attempt,
                    ..cx.info.attempt
                })
            });
            let task = self
                .plan
                .task(&cx.info, &restored, stores.as_deref(), &self.log, seed)?;
            self.subtasks.push(Subtask {
                task,
                cx,
                by_hand,
                wake: None,
            });
        }
        Ok(())
    }

    /// How many subtasks there are.
    pub fn parallelism(&self) -> u32 {
        self.settings.parallelism
    }

    /// The world of the first subtask.
    pub fn cx(&self) -> &TaskContext {
        &self.subtasks[0].cx
    }

    /// The clock of all subtasks.
    pub fn clock(&self) -> &Arc<ManualClock> {
        &self.settings.clock
    }

    /// The last checkpoint that was written to its end.
    pub fn saved(&self) -> Option<&Saved> {
        self.last.as_ref()
    }

    /// Does a piece of work of a subtask to its end.
    fn work(
        &mut self,
        index: usize,
        begin: impl FnOnce(&mut dyn Task, &mut TaskContext) -> Result<Progress, Failure>,
    ) -> Result<(), Failure> {
        let Subtask { task, cx, .. } = &mut self.subtasks[index];
        cx.begin_turn();
        let begun = begin(task.as_mut(), cx);
        let mut progress = begun.map_err(|failure| self.subtasks[index].cx.locate(failure))?;
        let (mut idle_turns, mut came) = (0, self.log.len());
        while !progress.is_done() {
            self.yields += usize::from(progress == Progress::Yielded);
            self.settings.clock.advance(self.drift);
            // Rows are written between two turns, whatever is kept inside.
            self.write_slices()?;
            let Subtask {
                task, cx, by_hand, ..
            } = &mut self.subtasks[index];
            idle_turns += 1;
            let told = by_hand.poll();
            if told || by_hand.is_idle() || came != self.log.len() {
                (idle_turns, came) = (0, self.log.len());
            } else if idle_turns > IDLE_TURNS {
                // It waits for an answer, or for the end of its patience.
                let wait = by_hand.next_end();
                let wait = wait.ok_or_else(|| Failure::job("it waits for what never comes"))?;
                self.settings.clock.advance(wait);
                idle_turns = 0;
            }
            cx.begin_turn();
            let resumed = task.resume(cx);
            progress = resumed.map_err(|failure| self.subtasks[index].cx.locate(failure))?;
        }
        let Subtask { cx, wake, .. } = &mut self.subtasks[index];
        if let Some(at) = cx.take_wake() {
            *wake = Some(wake.map_or(at, |earlier| earlier.min(at)));
        }
        Ok(())
    }

    /// Lets futures get on, and the operator look at what they brought.
    fn poll(&mut self) -> Result<(), Failure> {
        for index in 0..self.subtasks.len() {
            while self.subtasks[index].by_hand.poll() {
                self.work(index, |task, cx| task.control(Control::Tick, cx))?;
            }
        }
        Ok(())
    }

    /// Records come, in one run.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    pub fn run(&mut self, run: Vec<Event<In>>) -> Result<(), Failure> {
        let deliveries = self.plan.send(run)?;
        self.deliver(deliveries)?;
        self.poll()
    }

    fn deliver(&mut self, deliveries: Vec<Delivery>) -> Result<(), Failure> {
        let first = self.settings.indexes().start;
        for delivery in deliveries {
            let Delivery {
                subtask,
                input,
                batch,
            } = delivery;
            let index = subtask.saturating_sub(first) as usize;
            let records = batch.len();
            self.work(index, |task, cx| task.batch(input, batch, cx))?;
            // Whole, once, and when all of its records have been worked on; or not at all.
            let home: Vec<GivenBack> = self.subtasks[index].cx.take_given_back().collect();
            assert!(home.len() < 2, "given back twice");
            for batch in home {
                let returned = self.plan.returned(batch);
                assert_eq!(returned.unwrap_or(records), records, "given back in part");
                self.given_back += 1;
            }
        }
        Ok(())
    }

    fn tell(&mut self, control: Control) -> Result<(), Failure> {
        (0..self.subtasks.len())
            .try_for_each(|index| self.work(index, |task, cx| task.control(control, cx)))
    }

    /// A control element comes, to all subtasks.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    pub fn control(&mut self, control: Control) -> Result<(), Failure> {
        if let Control::Watermark(watermark) = control {
            self.watermark = watermark;
        }
        let deliveries = self.plan.pass(control)?;
        self.deliver(deliveries)?;
        self.tell(control)?;
        self.poll()
    }

    /// Time passes, and the operator is woken whenever it asked to be.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    pub fn pass(&mut self, time: Duration) -> Result<(), Failure> {
        let now = |harness: &Self| harness.subtasks[0].cx.monotonic();
        let until = now(self) + time;
        loop {
            let unix = rivus_core::Clock::unix_millis(&*self.settings.clock);
            let to_wake = |at: Timestamp| Duration::from_millis((at - unix).max(0) as u64);
            let wakes = self.subtasks.iter().enumerate();
            let wakes =
                wakes.filter_map(|(index, subtask)| Some((to_wake(subtask.wake?), Some(index))));
            let ends = self
                .subtasks
                .iter()
                .filter_map(|subtask| Some((subtask.by_hand.next_end()?, None)));
            let next = wakes.chain(ends).min_by_key(|(wait, _)| *wait);
            let Some((wait, woken)) = next.filter(|(wait, _)| now(self) + *wait <= until) else {
                break;
            };
            self.settings.clock.advance(wait);
            if let Some(index) = woken {
                self.subtasks[index].wake = None;
                self.work(index, |task, cx| task.control(Control::Tick, cx))?;
            }
            self.poll()?;
        }
        let rest = until.saturating_sub(now(self));
        self.settings.clock.advance(rest);
        self.subtasks
            .iter_mut()
            .for_each(|subtask| subtask.cx.begin_turn());
        self.poll()
    }

    /// A checkpoint begins; the steps that follow write it. `position` is where the input goes on from it.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    pub fn barrier(&mut self, position: usize) -> Result<(), Failure> {
        self.checkpoints += 1;
        let id = CheckpointId(self.checkpoints);
        // One that is still being written is given up.
        self.open = None;
        self.make_files()?;
        let kind = CheckpointKind::Checkpoint;
        let deliveries = self.plan.pass(Control::Barrier(Barrier { id, kind }))?;
        self.deliver(deliveries)?;
        let gives_files = self.gives_files();
        for subtask in &mut self.subtasks {
            let snapshot = SnapshotBuilder::new(id);
            subtask.cx.snapshot = Some(match gives_files {
                true => snapshot.with_files(),
                false => snapshot,
            });
        }
        self.tell(Control::Barrier(Barrier { id, kind }))?;
        self.open = Some(Open {
            position,
            log: self.log.len(),
            watermark: self.watermark,
            id,
            written: self.subtasks.iter().map(|_| None).collect(),
        });
        self.write_slices()
    }

    /// Whether checkpoints are files of stores. Files are of the subtasks that made them: whoever goes on must be as many.
    fn gives_files(&self) -> bool {
        let stays = self.settings.parallelism == 1 && !self.rescales;
        self.settings.seed % 4 == 3 && stays && !self.plan.restores_all()
    }

    fn write_slices(&mut self) -> Result<(), Failure> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        for (subtask, written) in self.subtasks.iter_mut().zip(&mut open.written) {
            if written.is_none()
                && subtask.task.slice(self.slice, &mut subtask.cx)?
                && let Some(mut snapshot) = subtask.cx.snapshot.take()
            {
                let frozen = snapshot.take_stores();
                *written = Some((concat_chunks(snapshot.finish().chunks), frozen));
            }
        }
        if open.written.iter().all(Option::is_some)
            && let Some(open) = self.open.take()
        {
            let (snapshots, frozen): (_, Vec<_>) = open.written.into_iter().flatten().unzip();
            let saved = Saved {
                snapshots,
                images: Vec::new(),
                watermark: open.watermark,
                id: open.id,
                position: open.position,
                log: open.log,
            };
            self.frozen = Some((saved, frozen));
            if !self.gives_files() {
                self.make_files()?;
            }
        }
        Ok(())
    }

    /// Makes the files of frozen stores, as late as can be: what happened since must not be in them. Then the
    /// checkpoint is complete.
    fn make_files(&mut self) -> Result<(), Failure> {
        if let Some((mut saved, frozen)) = self.frozen.take() {
            for stores in frozen {
                let images = stores
                    .into_iter()
                    .map(|store| Ok((store.operator.clone(), store.image()?)));
                saved.images.push(images.collect::<Result<_, Failure>>()?);
            }
            self.completed = Some(saved.id);
            self.last = Some(saved);
        }
        Ok(())
    }

    /// Ends a step: writes a slice, and tells of a checkpoint that was completed with it.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    pub fn end_step(&mut self) -> Result<(), Failure> {
        self.write_slices()?;
        match self.completed.take() {
            Some(id) => self.complete(id),
            None => Ok(()),
        }
    }

    fn complete(&mut self, id: CheckpointId) -> Result<(), Failure> {
        self.tell(Control::Completed(id))?;
        for subtask in &mut self.subtasks {
            for CommitRequest { commit, .. } in subtask.cx.commits.drain(..) {
                commit().map_err(|error| Failure::user(&error))?;
            }
        }
        Ok(())
    }

    /// Takes a checkpoint, which is completed and committed.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    pub fn checkpoint(&mut self) -> Result<&Saved, Failure> {
        self.barrier(0)?;
        while self.open.is_some() {
            self.write_slices()?;
        }
        self.make_files()?;
        self.end_step()?;
        self.last
            .as_ref()
            .ok_or_else(|| Failure::job("the checkpoint wasn't written"))
    }

    /// Everything since the last checkpoint is undone; then so many subtasks go on. Returns where the input does.
    ///
    /// # Errors
    /// Whatever keeps a subtask from starting.
    pub fn crash(&mut self, parallelism: u32) -> Result<usize, Failure> {
        self.open = None;
        self.make_files()?;
        self.completed = None;
        self.settings.parallelism = parallelism;
        let Some(saved) = self.last.clone() else {
            self.log.truncate(0);
            self.watermark = MIN_TIMESTAMP;
            self.build((&[], &[]))?;
            return Ok(0);
        };
        self.log.truncate(saved.log);
        self.build(saved.parts())?;
        self.recover(&saved)?;
        Ok(saved.position)
    }

    /// Says what is said to an operator that has been restored.
    fn recover(&mut self, saved: &Saved) -> Result<(), Failure> {
        let came = self.log.len();
        self.watermark = saved.watermark;
        if saved.watermark != MIN_TIMESTAMP {
            let watermark = Control::Watermark(saved.watermark);
            let deliveries = self.plan.pass(watermark)?;
            self.deliver(deliveries)?;
            self.tell(watermark)?;
        }
        self.complete(saved.id)?;
        let again = self.log.records_after(came);
        assert!(again.is_empty(), "emitted again after a restore: {again:?}");
        self.log.truncate(came);
        Ok(())
    }

    /// Asks the operator about its state, as a running job is asked.
    ///
    /// # Errors
    /// If state can't be read.
    pub fn query(&mut self, query: &StateQuery) -> Result<Option<StateAnswer>, Failure> {
        let group = KeyGroup::of(query.hash, self.settings.max_parallelism);
        let owner = group.owner(self.settings.parallelism, self.settings.max_parallelism);
        let index = owner.saturating_sub(self.settings.indexes().start) as usize;
        let Subtask { task, cx, .. } = &mut self.subtasks[index];
        cx.begin_turn();
        task.query(query, cx.now())
    }
}

impl<In: Clone> Harness<'_, In> {
    /// Plays steps, each crash once.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    pub fn play(&mut self, mut steps: Vec<Step<In>>) -> Result<(), Failure> {
        let mut at = 0;
        self.rescales = (steps.iter()).any(|step| matches!(step, Step::Rescale(_)));
        while let Some(step) = steps.get(at).cloned() {
            at += 1;
            match step {
                Step::Run(run) => self.run(run)?,
                Step::Control(control) => self.control(control)?,
                Step::Pass(time) => self.pass(time)?,
                Step::Barrier => self.barrier(at)?,
                Step::Crash | Step::Rescale(_) => {
                    let parallelism = match step {
                        Step::Rescale(parallelism) => parallelism,
                        _ => self.settings.parallelism,
                    };
                    steps[at - 1] = Step::Pass(Duration::ZERO);
                    at = self.crash(parallelism)?;
                }
            }
            self.end_step()?;
        }
        Ok(())
    }
}
