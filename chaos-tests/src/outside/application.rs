//! An application around a job: it feeds the job, and has an actor that the job sends to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime};
use rivus::{ActorFeed, ActorSource, Handled};

use super::Deliveries;
use crate::jobs::{Line, Reading};

/// A client's records, all of which are to reach the job: whatever process there is when it comes back is given again what
/// no checkpoint is known to cover.
#[derive(Default)]
pub struct Application(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    deliveries: Deliveries,
    /// The delivery that is under way.
    delivery: u64,
    /// Number of its first record.
    first: u64,
    feed: Option<ActorFeed<(u64, Reading)>>,
    actors: Vec<ActorRef<Told>>,
}

/// What the application's actor is told; some jobs wait until it has handled that.
#[derive(Debug)]
pub struct Told(pub Vec<Line>, pub Option<Handled>);

/// The application's actor, as long as a process lives.
struct Listener;

impl Actor for Listener {
    type Msg = Told;
    type State = (u64, Arc<Application>);
    type Arguments = Self::State;

    async fn pre_start(
        &self,
        _: ActorRef<Told>,
        state: Self::State,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Told>,
        Told(lines, _handled): Told,
        (delivery, application): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let lines = lines.into_iter().map(|line| (*delivery, line));
        application.memory().deliveries.told.extend(lines);
        Ok(())
    }
}

impl Application {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a delivery: each record with the delivery's number, as fast as the feed takes them. Returns what a job reads
    /// it from, and whom it sends to.
    pub fn begin(
        self: &Arc<Self>,
        readings: Vec<Reading>,
        capacity: usize,
    ) -> (ActorSource<(u64, Reading)>, ActorRef<Told>) {
        let (source, feed) = ActorSource::bounded(capacity);
        let mut memory = self.memory();
        memory.delivery += 1;
        let delivery = memory.delivery;
        memory.deliveries.handed.insert(delivery, Vec::new());
        let settled = memory.feed.replace(feed.clone());
        memory.first += settled.map_or(0, |feed| feed.settled());
        let readings = readings.into_iter().skip(memory.first as usize);
        let application = Arc::clone(self);
        tokio::spawn(async move {
            for reading in readings {
                let id = reading.id;
                if feed.send((delivery, reading)).await.is_err() {
                    return;
                }
                let mut memory = application.memory();
                let handed = &mut memory.deliveries.handed;
                handed.entry(delivery).or_default().push(id);
            }
            feed.finish();
        });
        let listening = ActorRuntime::spawn_instant(None, Listener, (delivery, Arc::clone(self)));
        let (actor, _) = listening.expect("an actor without a name has no namesake");
        memory.actors.push(actor.clone());
        (source, actor)
    }

    /// Waits until its actors have heard all that they were told.
    pub async fn hear_all(&self) {
        let actors = std::mem::take(&mut self.memory().actors);
        for actor in actors {
            // One that has ended hears nothing any more.
            let _ = actor.drain_and_wait(None).await;
        }
    }

    /// What it remembers.
    pub fn deliveries(&self) -> Deliveries {
        let memory = self.memory();
        let mut deliveries = memory.deliveries.clone();
        deliveries.lost = memory.feed.as_ref().map_or(0, ActorFeed::lost);
        deliveries
    }
}
