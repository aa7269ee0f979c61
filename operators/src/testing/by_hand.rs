//! Futures of operators that are polled between two steps, by the harness's clock. They need no runtime.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rivus_core::{BoxFuture, Clock, Futures, ManualClock, RunningFuture};

thread_local! {
    /// Whose future is being polled on this thread.
    static POLLED: RefCell<Option<Arc<ByHand>>> = const { RefCell::new(None) };
}

/// Waits, by the clock of the harness that polls the future: for functions under test that take their time.
///
/// # Panics
/// If it is awaited elsewhere.
pub async fn sleep(time: Duration) {
    let by_hand = POLLED.with_borrow(Clone::clone);
    let Some(by_hand) = by_hand else {
        panic!("this sleep is for functions that a test harness runs");
    };
    by_hand.sleep(time).await;
}

/// Runs a subtask's futures.
pub(super) struct ByHand {
    clock: Arc<ManualClock>,
    running: Mutex<Running>,
    look_again: AtomicBool,
}

#[derive(Default)]
struct Running {
    next: u64,
    /// None while one is being polled.
    futures: BTreeMap<u64, Option<BoxFuture<()>>>,
    /// When sleeps end, by their numbers.
    sleeps: BTreeMap<u64, Duration>,
}

impl Running {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl ByHand {
    pub(super) fn new(clock: &Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            running: Mutex::default(),
            look_again: AtomicBool::new(false),
        })
    }

    fn with<T>(&self, what: impl FnOnce(&mut Running) -> T) -> T {
        what(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Polls all futures once. Returns whether the operator has to be told of something.
    pub(super) fn poll(self: &Arc<Self>) -> bool {
        let before = POLLED.replace(Some(Arc::clone(self)));
        let ids: Vec<u64> = self.with(|running| running.futures.keys().copied().collect());
        for id in ids {
            let future = self.with(|running| running.futures.get_mut(&id).and_then(Option::take));
            let Some(mut future) = future else {
                continue;
            };
            let polled = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            let place = |running: &mut Running| match polled {
                Poll::Ready(()) => running.futures.remove(&id).map(|_| future),
                Poll::Pending => match running.futures.get_mut(&id) {
                    Some(place) => place.replace(future),
                    None => Some(future),
                },
            };
            // What is over is dropped outside the lock: its sleeps end with it.
            drop(self.with(place));
        }
        POLLED.set(before);
        self.look_again.swap(false, Relaxed)
    }

    /// Whether there is no future.
    pub(super) fn is_idle(&self) -> bool {
        self.with(|running| running.futures.is_empty())
    }

    /// How long it is until the next sleep ends. One that has ended waits for nothing but to be polled.
    pub(super) fn next_end(&self) -> Option<Duration> {
        let now = self.clock.monotonic();
        let ends = |running: &mut Running| {
            let ahead = running.sleeps.values().filter(|end| **end > now);
            ahead.min().copied()
        };
        self.with(ends).map(|end| end - now)
    }
}

/// A sleep that has been begun, for as long as somebody waits.
struct Sleep {
    by_hand: Arc<ByHand>,
    id: u64,
    end: Duration,
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.by_hand.with(|running| running.sleeps.remove(&self.id));
    }
}

/// A handle, so that futures can keep it.
#[derive(Clone)]
pub(super) struct Hand(pub(super) Arc<ByHand>);

impl ByHand {
    fn sleep(self: &Arc<Self>, time: Duration) -> BoxFuture<()> {
        let end = self.clock.monotonic() + time;
        let id = self.with(|running| {
            let id = running.number();
            running.sleeps.insert(id, end);
            id
        });
        let sleep = Sleep {
            by_hand: Arc::clone(self),
            id,
            end,
        };
        Box::pin(poll_fn(move |_| match sleep.by_hand.clock.monotonic() {
            now if now >= sleep.end => Poll::Ready(()),
            _ => Poll::Pending,
        }))
    }
}

impl Futures for Hand {
    fn spawn(&self, future: BoxFuture<()>) -> RunningFuture {
        let id = self.0.with(|running| {
            let id = running.number();
            running.futures.insert(id, Some(future));
            id
        });
        let by_hand = Arc::clone(&self.0);
        RunningFuture::new(move || {
            // Dropped outside the lock: what it holds may be the end of other futures.
            let future = by_hand.with(|running| running.futures.remove(&id));
            drop(future);
        })
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        self.0.sleep(time)
    }

    fn look_again(&self) {
        self.0.look_again.store(true, Relaxed);
    }
}
