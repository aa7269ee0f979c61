//! State of a process function without a key, after a failure in a running job.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::{
    Event, Output, ParallelInstance, Redistribution, RuntimeMode, StatefulProcessFunction,
    StreamEnvironment, UserError,
};

use crate::backends::{Backend, backends};

/// A subtask's place, and how many records it has seen.
type Seen = (u32, u64);

/// Counts each subtask's records, fails once, and tells what it was given back.
#[derive(Clone)]
struct Counting {
    how: Redistribution,
    place: u32,
    seen: u64,
    failed: Arc<AtomicBool>,
    restored: Arc<Mutex<Vec<Vec<Seen>>>>,
}

impl StatefulProcessFunction<u64> for Counting {
    type Out = Seen;
    type Item = Seen;

    fn redistribution(&self) -> Redistribution {
        self.how
    }

    fn open(&mut self, instance: ParallelInstance) -> Result<(), UserError> {
        self.place = instance.index;
        Ok(())
    }

    fn process(&mut self, _: Event<u64>, out: &mut Output<'_, Seen>) -> Result<(), UserError> {
        self.seen += 1;
        let late = self.place == 1 && self.seen == 400;
        if late && !self.failed.swap(true, Ordering::Relaxed) {
            return Err("the one failure".into());
        }
        out.emit((self.place, self.seen));
        Ok(())
    }

    fn snapshot(&self) -> Vec<Seen> {
        vec![(self.place, self.seen)]
    }

    fn restore(&mut self, items: Vec<Seen>) -> Result<(), UserError> {
        let own = items.iter().find(|(place, _)| *place == self.place);
        self.seen = own.map_or(0, |(_, seen)| *seen);
        self.restored.lock().expect("nobody panics").push(items);
        Ok(())
    }
}

/// Runs a job of two subtasks. Returns what each restored one was given.
async fn restored(how: Redistribution, backend: &Backend) -> Vec<Vec<Seen>> {
    let builder = StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(50))
        .seed(1);
    let env = backend.set(builder).build();
    let counting = Counting {
        how,
        place: u32::MAX,
        seen: 0,
        failed: Arc::default(),
        restored: Arc::default(),
    };
    let restored = Arc::clone(&counting.restored);
    let numbers = GeneratorSource::new(|n, _| n).count(1_000).rate(1_000);
    let counted = env
        .from_source(numbers)
        .process_with_state(counting)
        .collect();
    env.execute("counting").await.expect("ends");
    // Each record is counted once, whatever happened.
    let expected = (0..2).flat_map(|place| (1..=500).map(move |seen| (place, seen)));
    let counted: BTreeSet<Seen> = counted.values().into_iter().collect();
    assert_eq!(counted, expected.collect());
    let restored = restored.lock().expect("nobody panics");
    restored.clone()
}

#[tokio::test(start_paused = true)]
async fn a_subtask_that_restarts_gets_its_own_items_back() {
    for backend in backends() {
        let restored = restored(Redistribution::Split, &backend).await;
        assert_eq!(restored.len(), 1, "{restored:?}");
        assert!(matches!(restored[0][..], [(1, 1..400)]), "{restored:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_union_gives_a_subtask_that_restarts_the_items_of_all() {
    for backend in backends() {
        let restored = restored(Redistribution::Union, &backend).await;
        assert_eq!(restored.len(), 1, "{restored:?}");
        assert!(
            matches!(restored[0][..], [(0, 1..), (1, 1..400)]),
            "{restored:?}"
        );
    }
}
