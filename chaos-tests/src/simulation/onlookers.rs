//! An application around the job that leaves it alone: it asks for its state while it runs, and has it among its own actors.

use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus::{JobHandle, QueryError};
use tokio::task::JoinHandle;

use super::Run;
use super::aftermath::in_time;
use super::sayings::Sayings;
use crate::plan::Ending;

/// From one question to the next.
const ASK_EVERY: Duration = Duration::from_millis(17);

/// No answer takes so long.
const ANSWERED_IN: Duration = Duration::from_secs(30);

/// How often jobs have said what their state was, and were right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answered {
    /// In all.
    pub times: u64,
    /// Of those, how often rows lay in RocksDB.
    pub from_disk: u64,
    /// How often a state was asked for by its name.
    pub by_name: u64,
    /// How often it was the job beside the first, with its rows in RocksDB.
    pub beside_from_disk: u64,
}

impl Answered {
    /// With those of another run.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            times: self.times + other.times,
            from_disk: self.from_disk + other.from_disk,
            by_name: self.by_name + other.by_name,
            beside_from_disk: self.beside_from_disk + other.beside_from_disk,
        }
    }
}

/// What was wrong, and how often an answer was right.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) wrong: Vec<String>,
    pub(super) right: Answered,
}

/// The jobs that are asked, of which the first may go on as another, and whether their rows lie in RocksDB.
#[derive(Default)]
pub(super) struct Asked {
    jobs: Vec<JobHandle>,
    on_disk: bool,
}

/// What a supervisor has heard of a job's end.
pub(super) type Heard = Arc<Mutex<Vec<String>>>;

impl Run<'_> {
    /// Who is to be asked from now on.
    pub(super) fn ask(&self, jobs: &[JobHandle], moved: bool) {
        *lock(&self.asked) = Asked {
            jobs: jobs.to_vec(),
            on_disk: self.is_on_disk(moved),
        };
    }

    /// The process ends, and nothing may be held any more.
    pub(super) fn ask_nobody(&self) {
        *lock(&self.asked) = Asked::default();
    }

    /// Somebody asks the job, and somebody the one beside it, for the state of one key after the other, where it is known what is
    /// right.
    pub(super) fn askers(&self) -> Vec<JoinHandle<()>> {
        let worlds = iter::once(&self.world).chain(&self.neighbour);
        let askers = worlds.enumerate().filter_map(|(number, world)| {
            let sayings = Sayings::of(&world.spec)?;
            let (asked, answers) = (Arc::clone(&self.asked), Arc::clone(&self.answers));
            Some(tokio::spawn(keep_asking(number, sayings, asked, answers)))
        });
        askers.collect()
    }

    /// An actor of the application's has the job under it, in half of the runs in which the process lives to the end.
    pub(super) async fn supervised(&self, job: &JobHandle) -> Option<Supervised> {
        if !self.plan.crashes.is_empty() || self.world.spec.seed.is_multiple_of(2) {
            return None;
        }
        let heard = Heard::default();
        let (supervisor, _) = Actor::spawn(None, Supervisor, Arc::clone(&heard))
            .await
            .ok()?;
        let linked = job.link(supervisor.get_cell()).await;
        let linked = linked.map_err(|error| format!("not linked: {error}"));
        lock(&heard).extend(linked.err());
        Some(Supervised { supervisor, heard })
    }

    /// The job has ended: its supervisor has heard so, once, and as it was.
    pub(super) async fn expect_heard(&mut self, Supervised { supervisor, heard }: Supervised) {
        in_time(|| !lock(&heard).is_empty()).await;
        // Behind a second word, if there is one.
        tokio::time::sleep(Duration::from_millis(10)).await;
        supervisor.stop(None);
        let heard = lock(&heard);
        let ended_well = matches!(self.plan.ending, Ending::Completed);
        let said = match &heard[..] {
            [said] => said.starts_with("over: ") == ended_well,
            _ => false,
        };
        if !said {
            let wrong = format!("the job's supervisor heard {heard:?}");
            self.violations.push(wrong);
        }
    }
}

/// An actor of the application's, and what it has heard.
pub(super) struct Supervised {
    supervisor: ActorRef<()>,
    heard: Heard,
}

struct Supervisor;

impl Actor for Supervisor {
    type Msg = ();
    type State = Heard;
    type Arguments = Heard;

    async fn pre_start(&self, _: ActorRef<()>, heard: Heard) -> Result<Heard, ActorProcessingErr> {
        Ok(heard)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        heard: &mut Heard,
    ) -> Result<(), ActorProcessingErr> {
        let said = match event {
            SupervisionEvent::ActorTerminated(_, _, why) => {
                format!("over: {}", why.unwrap_or_default())
            }
            SupervisionEvent::ActorFailed(_, why) => format!("failed: {why}"),
            _ => return Ok(()),
        };
        lock(heard).push(said);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks one of the jobs for one key after the other, for ever.
async fn keep_asking(
    number: usize,
    sayings: Sayings,
    asked: Arc<Mutex<Asked>>,
    answers: Arc<Mutex<Answers>>,
) {
    for key in sayings.keys().into_iter().cycle() {
        tokio::time::sleep(ASK_EVERY).await;
        let (job, on_disk) = {
            let asked = lock(&asked);
            (asked.jobs.get(number).cloned(), asked.on_disk)
        };
        let Some(job) = job else {
            continue;
        };
        let answer = tokio::time::timeout(ANSWERED_IN, sayings.ask(&job, key)).await;
        let mut answers = lock(&answers);
        match answer {
            Ok(Ok(None) | Err(QueryError::Restarting(_) | QueryError::Ended)) => {}
            Ok(Ok(Some(Ok(())))) => {
                answers.right = answers.right.and(Answered {
                    times: 1,
                    from_disk: u64::from(on_disk),
                    by_name: u64::from(sayings.are_by_name()),
                    beside_from_disk: u64::from(on_disk && number > 0),
                });
            }
            answer => {
                let wrong = format!("job {number}, asked for key {key}: {answer:?}");
                answers.wrong.push(wrong);
            }
        }
    }
}
