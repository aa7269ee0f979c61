//! An application around the job that leaves it alone: it asks for its state while it runs, and has it among its own actors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus::{JobHandle, QueryError};
use tokio::task::JoinHandle;

use super::Run;
use crate::jobs::{ASKED, Reading, Shape, SoFar};
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
}

/// What a supervisor has heard of a job's end.
pub(super) type Heard = Arc<Mutex<Vec<String>>>;

impl Run<'_> {
    /// Somebody asks for the state of one key after the other, where a key's records have an order: whatever fails, an
    /// answer is what a first part of them makes.
    pub(super) fn asker(&self, job: &JobHandle) -> Option<JoinHandle<()>> {
        let spec = &self.world.spec;
        if !matches!(spec.shape, Shape::Rolling | Shape::Packed) {
            return None;
        }
        let parts = first_parts(&Reading::all(spec));
        let (job, answers) = (job.clone(), Arc::clone(&self.answers));
        Some(tokio::spawn(async move {
            for key in parts.keys().cycle() {
                tokio::time::sleep(ASK_EVERY).await;
                let asked = job.query::<u64, SoFar>(ASKED, key);
                let answer = tokio::time::timeout(ANSWERED_IN, asked).await;
                if let Ok(Err(QueryError::Ended)) = answer {
                    return;
                }
                let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                match answer {
                    Ok(Ok(None) | Err(QueryError::Restarting(_))) => {}
                    Ok(Ok(Some(state))) if parts[key].contains(&state) => answers.right += 1,
                    answer => {
                        let wrong = format!("asked for key {key}: {answer:?}");
                        answers.wrong.push(wrong);
                    }
                }
            }
        }))
    }

    /// An actor of the application's has the job under it, in every other run: as long as the process lives, which it does to
    /// the end.
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
        heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(linked.err());
        Some(Supervised { supervisor, heard })
    }

    /// The job has ended: its supervisor has heard so, once, and as it was.
    pub(super) async fn expect_heard(&mut self, Supervised { supervisor, heard }: Supervised) {
        // Behind all that the actors had to tell each other.
        tokio::time::sleep(Duration::from_millis(10)).await;
        supervisor.stop(None);
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(said);
        Ok(())
    }
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
