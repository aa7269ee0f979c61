//! Who does something about a job while it runs: reads its files, kills, stops and cancels.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rivus::{JobError, JobHandle, Savepoint};
use tokio::task::JoinHandle;

use super::Run;
use crate::outside::Observer;
use crate::plan::{Crash, Ending, Kill};

/// From one look at the committed files to the next.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// The last savepoint that was made while the job went on.
pub(super) type Made = Arc<Mutex<Option<Savepoint>>>;

/// Who reads committed files, and the task in which that is done.
pub(super) type Observing = (Arc<Mutex<Option<Observer>>>, JoinHandle<()>);

impl Run<'_> {
    /// Somebody reads committed files, through all crashes.
    pub(super) fn observer(&self) -> Option<Observing> {
        let observer = Arc::new(Mutex::new(Some(self.world.observer()?)));
        let (faults, looks) = (Arc::downgrade(&self.faults), Arc::clone(&observer));
        let looking = tokio::spawn(async move {
            while let Some(now) = faults.upgrade().map(|faults| faults.elapsed()) {
                look(&looks, now);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Some((observer, looking))
    }

    /// Stops the job when the plan says so, unless it has been.
    pub(super) fn mover(&self, job: &JobHandle) -> Option<JoinHandle<()>> {
        let moves = self.plan.moves?;
        if self.moved.load(Relaxed) {
            return None;
        }
        let (job, moved) = (job.clone(), Arc::clone(&self.moved));
        let (faults, savepoint) = (Arc::downgrade(&self.faults), Arc::clone(&self.savepoint));
        Some(tokio::spawn(async move {
            tokio::time::sleep(moves.after).await;
            // Those that fail, as others make them fail, leave the job as it was.
            for _ in 0..moves.before {
                if let Ok(made) = job.savepoint().await {
                    *lock(&savepoint) = Some(made);
                }
            }
            if let Some(faults) = faults.upgrade() {
                faults.moves();
            }
            match moves.rescale_to {
                Some(parallelism) => {
                    // One that fails leaves the job as it was, to be asked again.
                    while let Err(JobError::Savepoint(_)) = job.rescale(parallelism).await {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    moved.store(true, Relaxed);
                }
                None => drop(job.stop_with_savepoint().await),
            }
        }))
    }

    /// Asks for the job's end when the plan says so.
    pub(super) fn canceler(&self, job: &JobHandle) -> Option<JoinHandle<()>> {
        let Ending::Canceled(after) = self.plan.ending else {
            return None;
        };
        let job = job.clone();
        Some(tokio::spawn(async move {
            tokio::time::sleep(after).await;
            job.cancel();
        }))
    }

    pub(super) async fn crash(&self, crash: Option<Crash>) {
        match crash {
            Some(Crash::At(after)) => {
                tokio::time::sleep(after).await;
                self.faults.end_life();
            }
            Some(Crash::Step(..)) => self.faults.crashed().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until a kill may strike, and strikes.
    pub(super) fn killer(&self, kill: Kill) -> JoinHandle<()> {
        let faults = Arc::clone(&self.faults);
        tokio::spawn(async move {
            while !faults.is_armed(kill.arm) {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            tokio::time::sleep(kill.after).await;
            faults.kill_one(&kill);
        })
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look(observer: &Mutex<Option<Observer>>, now: Duration) {
    if let Some(observer) = &mut *lock(observer) {
        observer.look(now);
    }
}
