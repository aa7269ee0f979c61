//! One run of one job under one plan: on one thread, with a virtual clock.

mod aftermath;
mod again;
mod environment;
mod onlookers;
mod others;
mod sayings;

use std::collections::BTreeMap;
use std::io;
use std::iter;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rivus::engine::state::ObjectStorage;
use rivus::{
    JobError, JobHandle, JobId, JobOutcome, JobStatus, JobView, RuntimeMode, Savepoint,
    StreamEnvironment,
};
use tokio::runtime::Builder;
use tokio::time::Instant;

pub use self::onlookers::Answered;
use self::onlookers::{Answers, Asked};
use self::others::Made;
use crate::cells::{Cell, Hits};
use crate::faults::Faults;
use crate::invariants::{over_budget, where_it_hangs};
use crate::jobs::{Committed, JobSpec, Version, World};
use crate::plan::{Crash, Ending, Plan, Scope};

/// A job that has not ended by then hangs: virtual time, then real time.
const BOUND: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(60)];

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What it committed.
    pub committed: Committed,
    /// The job as it was seen last.
    pub view: Option<JobView>,
    /// What was broken against the rules, beside the output.
    pub violations: Vec<String>,
    /// A digest of everything that happened.
    pub hash: u64,
    /// How much happened.
    pub seen: u64,
    /// How often each step was passed.
    pub passed: BTreeMap<Cell, u64>,
    /// What happened last.
    pub trace: Vec<String>,
    /// Faults at steps of which an actor died.
    pub hits: Hits,
    /// Kills from outside of which an actor died.
    pub kills: u32,
    /// Virtual time until the job's end.
    pub lasted: Duration,
    /// Checkpoints that held state.
    pub state_checkpoints: u32,
    /// How often it, and the job beside it, said what their state was.
    pub answered: Answered,
    /// Whether the rows of the job lay in RocksDB when it was seen last.
    pub on_disk: bool,
    /// Files of stores that its present tasks began with and that were their process's own.
    pub restored_locally: u64,
    /// Whether it has gone on on another backend.
    pub moved_over: bool,
    /// Whether it has gone on as another version of its program.
    pub changed: bool,
    /// Whether only leaders were to die, so that no task was to notice.
    pub spared: bool,
    /// Whether one region was restarted beside others that were not to notice.
    pub confined: bool,
}

/// Runs a job on one thread with a virtual clock: the same every time, but for what RocksDB does on threads of its own.
///
/// # Errors
/// If the runtime or the job's files can't be set up.
pub fn simulate(spec: &JobSpec, plan: &Plan) -> io::Result<Outcome> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let worlds = worlds(spec)?;
    runtime.block_on(async {
        // The clock was stopped between two ticks; from its first tick on it shows whole milliseconds.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Run::new(worlds, plan, RuntimeMode::Current)
            .run_to_end()
            .await
    })
}

/// Runs a job on threads, in real time: different every time.
///
/// # Errors
/// If the runtime or the job's files can't be set up.
pub fn run_on_threads(spec: &JobSpec, plan: &Plan) -> io::Result<Outcome> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()?;
    let worlds = worlds(spec)?;
    let mode = RuntimeMode::Threads { workers: 2 };
    runtime.block_on(async { Run::new(worlds, plan, mode).run_to_end().await })
}

/// A job and the one beside it, if any.
fn worlds(spec: &JobSpec) -> io::Result<(World, Option<World>)> {
    let world = World::new(spec.clone())?;
    let neighbour = spec.neighbouring().map(|spec| world.beside(spec));
    let neighbour = neighbour.transpose()?;
    Ok((world, neighbour))
}

struct Run<'a> {
    world: World,
    neighbour: Option<World>,
    plan: &'a Plan,
    mode: RuntimeMode,
    faults: Arc<Faults>,
    objects: ObjectStorage,
    violations: Vec<String>,
    /// Whether the job has gone on from a savepoint.
    moved: Arc<AtomicBool>,
    savepoint: Made,
    asked: Arc<Mutex<Asked>>,
    /// What was answered to questions for state.
    answers: Arc<Mutex<Answers>>,
}

/// How one life of the simulated process ended.
enum Life {
    Ended(Result<Vec<JobView>, String>),
    Crashed,
    Hung,
}

impl<'a> Run<'a> {
    fn new(worlds: (World, Option<World>), plan: &'a Plan, mode: RuntimeMode) -> Self {
        let (world, neighbour) = worlds;
        let faults = Arc::new(Faults::new(plan, Arc::clone(&world.emitted)));
        let run = Self {
            world,
            neighbour,
            plan,
            mode,
            faults,
            objects: ObjectStorage::in_memory(),
            violations: Vec::new(),
            moved: Arc::default(),
            savepoint: Arc::default(),
            asked: Arc::default(),
            answers: Arc::default(),
        };
        run.world.become_version(run.first_version());
        run
    }

    /// Which version of its program the job is before it is moved.
    fn first_version(&self) -> Version {
        match self.plan.changes() {
            Some(_) => Version::Earlier,
            None => Version::Only,
        }
    }

    fn bound(&self) -> Duration {
        match self.mode {
            RuntimeMode::Current => BOUND[0],
            RuntimeMode::Threads { .. } => BOUND[1],
        }
    }

    async fn run_to_end(mut self) -> io::Result<Outcome> {
        let began = Instant::now();
        let observer = self.observer();
        let result = self.live(began).await;
        let lasted = began.elapsed();
        let mut views = result.unwrap_or_else(|reason| {
            self.violations.push(reason);
            Vec::new()
        });
        self.expect_gone().await;
        let begun_again = self.begun_again(&mut views).await;
        let trace = self.faults.trace();
        let (hash, seen) = (self.faults.hash(), self.faults.seen());
        let hits = self.faults.hits();
        self.expect_no_files(&views).await;
        let queued = self.faults.queued();
        self.violations
            .extend(over_budget(&self.world.spec, &queued));
        self.expect_unnoticed(&views);
        self.world.application.hear_all().await;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        self.violations.append(&mut answers.wrong);
        let answered = answers.right;
        drop(answers);
        let mut committed = self.world.committed()?;
        committed.begun_again = begun_again;
        if let Some((observer, looking)) = observer {
            looking.abort();
            let observer = observer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let (appeared, wrong) = observer.map(|o| o.look_at_last(lasted)).unwrap_or_default();
            committed.appeared = appeared;
            self.violations.extend(wrong);
        }
        if let Some(neighbour) = &self.neighbour {
            committed.neighbour = neighbour.committed()?.main;
        }
        let view = views.into_iter().next();
        let restarted = view.as_ref().is_some_and(|view| view.restarts > 0);
        let tasks = view.iter().flat_map(|view| &view.subtasks);
        let restored_locally = tasks.map(|task| task.figures.restored_locally).sum();
        Ok(Outcome {
            committed,
            hash,
            seen,
            passed: self.faults.passed(),
            trace,
            hits,
            kills: self.faults.external_kills(),
            lasted,
            state_checkpoints: self.faults.state_checkpoints(),
            answered,
            on_disk: self.is_on_disk(self.moved.load(Relaxed)),
            restored_locally,
            moved_over: self.moved.load(Relaxed) && self.rows(true) != self.world.spec.rows,
            changed: self.moved.load(Relaxed) && self.plan.changes().is_some(),
            spared: self.plan.spares_tasks(),
            confined: restarted && self.plan.scope == Scope::FirstRegion,
            view,
            violations: self.violations,
        })
    }

    /// Lives through all crashes. Returns the jobs' last views, or why one did not end well.
    async fn live(&mut self, began: Instant) -> Result<Vec<JobView>, String> {
        let mut jobs = Vec::new();
        for life in 0.. {
            let crash = self.plan.crashes.get(life).copied();
            match self.one_life(life, &mut jobs, crash, began).await? {
                Life::Ended(ended) => return ended,
                Life::Hung => {
                    let done = self.world.emitted.load(Relaxed);
                    return Err(format!(
                        "the job hangs: no end after {:?}, {done} records read",
                        self.bound()
                    ));
                }
                // Somebody starts the process again.
                Life::Crashed => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        }
        unreachable!("there are fewer crashes than lives")
    }

    async fn one_life(
        &mut self,
        life: usize,
        jobs: &mut Vec<JobId>,
        crash: Option<Crash>,
        began: Instant,
    ) -> Result<Life, String> {
        self.faults.begin_life(life, crash);
        let killers: Vec<_> = match life {
            0 => self
                .plan
                .kills
                .iter()
                .map(|kill| self.killer(*kill))
                .collect(),
            _ => Vec::new(),
        };
        let started = self.start_jobs(life, jobs).await;
        let (env, mut handles) =
            started.map_err(|error| format!("the job did not start: {error}"))?;
        let mut elsewhere = None;
        let mover = self.mover(&handles[0]);
        let canceler = self.canceler(&handles[0]);
        self.ask(&handles, self.moved.load(Relaxed));
        let askers = self.askers();
        let supervised = self.supervised(&handles[0]).await;
        let left = self.bound().saturating_sub(began.elapsed());
        let ended = tokio::select! {
            biased;
            () = self.crash(crash) => Life::Crashed,
            ended = self.all_end(life, (&env, &mut elsewhere), &mut handles, jobs) => Life::Ended(ended),
            () = tokio::time::sleep(left) => Life::Hung,
        };
        let others = mover.iter().chain(&canceler).chain(&askers);
        killers.iter().chain(others).for_each(|task| task.abort());
        self.ask_nobody();
        match &ended {
            Life::Hung => self.violations.extend(handles.iter().map(where_it_hangs)),
            Life::Ended(_) => {
                if let Some(supervised) = supervised {
                    self.expect_heard(supervised).await;
                }
                self.expect_job_gone().await;
            }
            Life::Crashed => {}
        }
        Ok(ended)
    }

    /// Starts the job and the one beside it, or goes on with them.
    async fn start_jobs(
        &self,
        life: usize,
        jobs: &mut Vec<JobId>,
    ) -> Result<(StreamEnvironment, Vec<JobHandle>), JobError> {
        let env = self.environment(life, self.moved.load(Relaxed));
        let env = env.map_err(|error| JobError::Setup(error.to_string()))?;
        let mut handles = Vec::new();
        let worlds = iter::once(&self.world).chain(&self.neighbour);
        for (number, (world, name)) in worlds.zip(["the job", "the job beside it"]).enumerate() {
            world.build(&env);
            if number == 1 && jobs.len() < 2 {
                tokio::time::sleep(self.world.spec.neighbour.unwrap_or_default()).await;
            }
            let handle = match jobs.get(number) {
                None => env.start(name).await?,
                Some(job) => env.resume(name, *job).await?,
            };
            match number {
                0 => self.faults.follow(handle.id(), world.spec.first_region()),
                _ => world.out.begins_beside(handle.id()),
            }
            handles.push(handle);
        }
        *jobs = handles.iter().map(JobHandle::id).collect();
        Ok((env, handles))
    }

    /// Waits for the end of all jobs; of one that was stopped, for the end of the one that goes on, maybe in another environment.
    async fn all_end(
        &self,
        life: usize,
        (env, elsewhere): (&StreamEnvironment, &mut Option<StreamEnvironment>),
        handles: &mut [JobHandle],
        jobs: &mut [JobId],
    ) -> Result<Vec<JobView>, String> {
        let first = self.ends(&handles[0]).await?;
        if let JobStatus::Ended(JobOutcome::Stopped { savepoint }) = first.status {
            let savepoint = Savepoint::named(format!("{}-{savepoint}", first.job));
            if self.plan.moves.is_some_and(|moves| moves.onto.is_some()) {
                let other = self.environment(life, true);
                *elsewhere = Some(other.map_err(|error| error.to_string())?);
            }
            let env = elsewhere.as_ref().unwrap_or(env);
            let gone_on = self.go_on(env, &savepoint).await;
            handles[0] = gone_on.map_err(|error| format!("the job did not go on: {error}"))?;
            jobs[0] = handles[0].id();
            self.ask(handles, true);
        }
        let mut views = Vec::new();
        for job in handles {
            views.push(self.ends(job).await?);
        }
        Ok(views)
    }

    /// Waits for a job's end, which must be the one that the plan says.
    async fn ends(&self, job: &JobHandle) -> Result<JobView, String> {
        match (job.clone().wait().await, self.plan.ending) {
            (Ok(ended), Ending::Completed) => Ok(ended.view),
            (Err(JobError::Canceled), Ending::Canceled(_))
            | (Err(JobError::Failed(_)), Ending::Failed) => Ok(job.view()),
            (Ok(_), Ending::Canceled(_) | Ending::Failed) => Err("the job completed".into()),
            (Err(error), _) => Err(format!("the job did not end well: {error}")),
        }
    }

    /// Goes on from a savepoint, at another parallelism and maybe on another backend, or as another program.
    async fn go_on(
        &self,
        env: &StreamEnvironment,
        savepoint: &Savepoint,
    ) -> Result<JobHandle, JobError> {
        let wide = self
            .plan
            .moves
            .map_or(self.world.spec.wide, |moves| moves.wide);
        self.world.rescale(wide);
        if let Some(change) = self.plan.changes() {
            self.world.become_version(Version::Later(change));
        }
        let handle = self.begin(env, &self.world, savepoint).await?;
        self.moved.store(true, Relaxed);
        Ok(handle)
    }

    /// Starts a world's job from a savepoint, which the run is about from now on. The storage may fail now and then.
    async fn begin(
        &self,
        env: &StreamEnvironment,
        world: &World,
        savepoint: &Savepoint,
    ) -> Result<JobHandle, JobError> {
        let mut tries = 0;
        loop {
            world.build(env);
            let from = env.from_savepoint(savepoint);
            let dropped = world.dropped().iter();
            let from = dropped.fold(from, |from, uid| from.drop_state_of(uid));
            match from.start("the job").await {
                Ok(handle) => {
                    let region = world.spec.first_region();
                    self.faults.follow(handle.id(), region);
                    return Ok(handle);
                }
                Err(JobError::Savepoint(_)) if tries < 20 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
