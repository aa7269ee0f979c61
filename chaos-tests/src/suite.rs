//! Seeds, one after the other: each is a job, a plan, a run, and a verdict.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::panic;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rivus::engine::{ActorKind, Step};

use crate::cells::Cell;
use crate::history;
use crate::jobs::{Committed, JobSpec};
use crate::oracle::{counted, judge, judge_begun};
use crate::plan::{Ending, Plan};
use crate::simulation::{Answered, Outcome, simulate};

/// A run that takes longer in real time has stopped letting time pass: it can't be waited for.
const STUCK: Duration = Duration::from_secs(120);

/// What is wrong with a seed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Which.
    pub seed: u64,
    /// What is wrong.
    pub violations: Vec<String>,
    /// Job, plan and what happened last.
    pub story: String,
}

/// Runs a seed and judges it. Returns the disturbed run.
///
/// # Errors
/// What is wrong.
pub fn check(seed: u64) -> Result<Outcome, Box<Failed>> {
    let spec = JobSpec::of(seed);
    let plan = Plan::of(seed, &spec);
    References::default().check(&spec, &plan)
}

/// Undisturbed runs, each made once.
#[derive(Default)]
pub struct References(Mutex<HashMap<String, Arc<Committed>>>);

impl References {
    /// What a job commits if nothing happens to it.
    fn of(&self, spec: &JobSpec) -> Result<Arc<Committed>, Judged> {
        let name = format!("{spec:?}");
        if let Some(committed) = lock(&self.0).get(&name) {
            return Ok(Arc::clone(committed));
        }
        let run = simulate(spec, &Plan::undisturbed()).map_err(Judged::error)?;
        let mut violations = run.violations.clone();
        violations.extend(counted(spec, &run.committed));
        if !violations.is_empty() {
            let mut judged = Judged::of(&run, violations);
            judged
                .violations
                .insert(0, "nothing was broken, and yet:".into());
            return Err(judged);
        }
        let committed = Arc::new(run.committed);
        lock(&self.0).insert(name, Arc::clone(&committed));
        Ok(committed)
    }

    /// Runs a job under a plan and judges it. Returns the run.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, spec: &JobSpec, plan: &Plan) -> Result<Outcome, Box<Failed>> {
        self.check_by(spec, plan, simulate)
    }

    /// As [`check`](Self::check), with another way to run the job under the plan.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_by(
        &self,
        spec: &JobSpec,
        plan: &Plan,
        run: impl Fn(&JobSpec, &Plan) -> io::Result<Outcome>,
    ) -> Result<Outcome, Box<Failed>> {
        let judged = self.of(spec).and_then(|undisturbed| {
            let outcome = run(spec, plan).map_err(Judged::error)?;
            let mut violations = outcome.violations.clone();
            violations.extend(match plan.ending {
                Ending::Completed => judge(spec, &undisturbed, &outcome.committed),
                Ending::Canceled(_) | Ending::Failed => {
                    judge_begun(&undisturbed, &outcome.committed)
                }
            });
            match violations.is_empty() {
                true => Ok(outcome),
                false => Err(Judged::of(&outcome, violations)),
            }
        });
        judged.map_err(|judged| {
            let trace = judged.trace.join("\n");
            Box::new(Failed {
                seed: plan.seed,
                violations: judged.violations,
                story: format!("{spec:#?}\n{plan:#?}\n{trace}"),
            })
        })
    }
}

/// What is wrong with a run, and what happened last.
struct Judged {
    violations: Vec<String>,
    trace: Vec<String>,
}

impl Judged {
    fn of(run: &Outcome, violations: Vec<String>) -> Self {
        Self {
            violations,
            trace: run.trace.clone(),
        }
    }

    fn error(error: io::Error) -> Self {
        Self {
            violations: vec![error.to_string()],
            trace: Vec::new(),
        }
    }
}

/// Keeps panics that were asked for off the screen.
pub fn hush() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default();
            if !text.starts_with("an injected fault") {
                told(info);
            }
        }));
    });
}

/// How many runs a test makes where it usually makes so many: more, as `RIVUS_SEEDS` is more than the usual 200.
pub fn runs(usual: u64) -> u64 {
    let seeds = std::env::var("RIVUS_SEEDS").ok();
    let seeds = seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(200);
    usual.max(usual * seeds / 200)
}

/// Calls `each` for every item on all cores, and gathers what it returns; `at_most` says what is stuck if
/// one never returns.
pub fn on_all_cores<T: Send, R: Send>(
    items: Vec<T>,
    name: impl Fn(&T) -> String + Sync,
    each: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    hush();
    let queue = Mutex::new(items.into_iter().collect::<VecDeque<T>>());
    let results = Mutex::new(Vec::new());
    // A function: what a loop's condition locks stays locked in its body, and one core would do all the work.
    let next = || lock(&queue).pop_front();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(item) = next() {
                    let watched = watch(name(&item));
                    let result = each(item);
                    drop(watched);
                    lock(&results).push(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends this process if what is returned is not dropped in time: nobody can end a thread that never
/// awaits.
fn watch(name: String) -> mpsc::Sender<()> {
    let (alive, gone) = mpsc::channel::<()>();
    thread::spawn(move || {
        if gone.recv_timeout(STUCK) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("stuck for {STUCK:?} of real time: {name}");
            std::process::abort();
        }
    });
    alive
}

/// How a failing seed is run again.
pub fn replay_command(seed: u64) -> String {
    format!("RIVUS_SEED={seed} cargo test -p rivus-chaos --test seeds -- --nocapture")
}

/// What many seeds came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Steps that the probe saw.
    pub seen: u64,
    /// Faults of which an actor died.
    pub deadly: u64,
    /// How often each step was passed.
    pub passed: BTreeMap<Cell, u64>,
    /// Seeds in which only leaders were to die, and no task noticed.
    pub spared: u64,
    /// How often jobs said what their state was.
    pub answered: Answered,
    /// Seeds in which a job was restarted whose rows lay in RocksDB.
    pub restarted_on_disk: u64,
    /// Seeds whose last tasks began with files of their own process.
    pub restored_locally: u64,
    /// Seeds in which a job went on on another backend.
    pub moved_over: u64,
    /// Seeds in which a job went on as another version of its program.
    pub changed: u64,
    /// Seeds in which a job began at a savepoint of one that went on.
    pub begun_again: u64,
    /// Seeds in which a region was restarted beside others, and those did not notice.
    pub confined: u64,
    /// Those of them in which its rows lay in RocksDB.
    pub confined_on_disk: u64,
    /// Those that failed.
    pub failed: Vec<Failed>,
}

impl Summary {
    fn add(&mut self, result: Result<Outcome, Box<Failed>>) {
        self.seeds += 1;
        match result {
            Ok(outcome) => {
                let hits = outcome.hits.values();
                let hits: u32 = hits.map(|hit| hit.before_state + hit.with_state).sum();
                self.seen += outcome.seen;
                for (cell, times) in outcome.passed {
                    *self.passed.entry(cell).or_default() += times;
                }
                self.deadly += u64::from(hits + outcome.kills);
                self.answered = self.answered.and(outcome.answered);
                let restarted = outcome.view.is_some_and(|view| view.restarts > 0);
                self.restarted_on_disk += u64::from(restarted && outcome.on_disk);
                self.restored_locally += u64::from(outcome.restored_locally > 0);
                self.moved_over += u64::from(outcome.moved_over);
                self.changed += u64::from(outcome.changed);
                let begun_again = outcome.committed.begun_again.is_some();
                self.begun_again += u64::from(begun_again);
                self.spared += u64::from(outcome.spared);
                self.confined += u64::from(outcome.confined);
                self.confined_on_disk += u64::from(outcome.confined && outcome.on_disk);
            }
            Err(failed) => {
                tell(&failed);
                self.failed.push(*failed);
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed.len();
        let put_back = (ActorKind::Subtask, Step::PutBack);
        let put_back = self.passed.get(&put_back).copied().unwrap_or_default();
        let Answered {
            times,
            from_disk,
            by_name,
            beside_from_disk,
        } = self.answered;
        write!(
            f,
            "{} seeds: {} steps seen, {} deadly faults, {} times only leaders died, {} times only one of \
             several regions was restarted, {} times over RocksDB, {} jobs restarted over RocksDB, {put_back} subtasks went on with records in \
             flight, {} jobs restored files of their own process, {} went on on another backend, {} as another program, {} began at a \
             savepoint of one that went on, {times} answers, {by_name} of them by a state's name, {from_disk} from RocksDB, \
             {beside_from_disk} of those by the job beside; {failed} failed",
            self.seeds,
            self.seen,
            self.deadly,
            self.spared,
            self.confined,
            self.confined_on_disk,
            self.restarted_on_disk,
            self.restored_locally,
            self.moved_over,
            self.changed,
            self.begun_again,
        )
    }
}

/// Runs seeds on all cores. Failures are told on standard error as they are found; after every seed `each`
/// is told how it stands.
pub fn run_seeds(seeds: impl IntoIterator<Item = u64>, each: impl Fn(&Summary) + Sync) -> Summary {
    let summary = Mutex::new(Summary::default());
    on_all_cores(
        seeds.into_iter().collect(),
        |seed| replay_command(*seed),
        |seed| {
            let result = check(seed);
            let mut summary = lock(&summary);
            summary.add(result);
            each(&summary);
        },
    );
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn tell(failed: &Failed) {
    eprintln!("seed {} fails:", failed.seed);
    for violation in &failed.violations {
        eprintln!("  {violation}");
    }
    if history::keeps_everything() {
        eprintln!("{}", failed.story);
    }
    eprintln!(
        "replay with, as likely as not if rows lie in RocksDB: {}",
        replay_command(failed.seed)
    );
}
