//! An application around the job that leaves it alone: it asks for its state while it runs, and has it among its own actors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus::{JobHandle, QueryError};
use tokio::task::JoinHandle;

use super::Run;
use super::aftermath::in_time;
use crate::jobs::{ASKED, Reading, Rows, Shape, SoFar};
use crate::plan::Ending;

/// From one question to the next.
const ASK_EVERY: Duration = Duration::from_millis(7);

/// No answer takes so long.
const ANSWERED_IN: Duration = Duration::from_secs(30);

/// What was wrong, and how often an answer was right.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) wrong: Vec<String>,
    pub(super) right: u64,
    /// Of those, how often rows lay in RocksDB.
    pub(super) from_disk: u64,
}

/// The job that is asked, which may go on as another, and whether its rows lie in RocksDB.
pub(super) type AskedJob = Arc<Mutex<Option<(JobHandle, bool)>>>;

/// What a supervisor has heard of a job's end.
pub(super) type Heard = Arc<Mutex<Vec<String>>>;

impl Run<'_> {
    /// Whom is to be asked from now on.
    pub(super) fn ask(&self, job: &JobHandle, moved: bool) {
        let on_disk = matches!(self.rows(moved), Rows::InRocksDb(_));
        let mut asked = lock(&self.asked);
        *asked = Some((job.clone(), on_disk));
    }

    /// The process ends, and nothing may be held any more.
    pub(super) fn ask_nobody(&self) {
        *lock(&self.asked) = None;
    }

    /// Somebody asks for the state of one key after the other, where a key's records have an order: whatever fails, an
    /// answer is what a first part of them makes.
    pub(super) fn asker(&self) -> Option<JoinHandle<()>> {
        let spec = &self.world.spec;
        if !matches!(spec.shape, Shape::Rolling | Shape::Packed) {
            return None;
        }
        let parts = first_parts(&Reading::all(spec));
        let (asked, answers) = (Arc::clone(&self.asked), Arc::clone(&self.answers));
        Some(tokio::spawn(async move {
            for key in parts.keys().cycle() {
                tokio::time::sleep(ASK_EVERY).await;
                let Some((job, on_disk)) = lock(&asked).clone() else {
                    continue;
                };
                let answer = job.query::<u64, SoFar>(ASKED, key);
                let answer = tokio::time::timeout(ANSWERED_IN, answer).await;
                let mut answers = lock(&answers);
                match answer {
                    Ok(Ok(None) | Err(QueryError::Restarting(_) | QueryError::Ended)) => {}
                    Ok(Ok(Some(state))) if parts[key].contains(&state) => {
                        answers.right += 1;
                        answers.from_disk += u64::from(on_disk);
                    }
                    answer => {
                        let wrong = format!("asked for key {key}: {answer:?}");
                        answers.wrong.push(wrong);
                    }
                }
            }
        }))
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

/// What the first records of each key make, however many.
fn first_parts(readings: &[Reading]) -> BTreeMap<u64, Vec<SoFar>> {
    let mut parts: BTreeMap<u64, Vec<SoFar>> = BTreeMap::new();
    for reading in readings {
        let parts = parts.entry(reading.key).or_default();
        let next = parts.last().cloned().unwrap_or_default().and(reading);
        parts.push(next);
    }
    parts
}
