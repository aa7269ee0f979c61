//! State of a running job, asked for by name, by key and by window, on both backends; and broadcast records that visit all keys.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::time::Duration;

use rivus::connectors::DiscardSink;
use rivus::testing::JobTest;
use rivus::{
    ActorFeed, Event, JobHandle, Keyed, KeyedBroadcastProcessFunction, ListState, MapState, Output,
    QueryError, RocksDbBackend, StateSet, StreamEnvironment, UserError, ValueState,
    WatermarkStrategy, Window, WindowAssigner,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

type Order = (u64, u64);

#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
struct Account {
    cents: ValueState<u64>,
    orders: ListState<u64>,
}

/// Keeps what each customer ordered; what is broadcast is credited to everybody.
#[derive(Clone)]
struct Accounts;

impl KeyedBroadcastProcessFunction<u64, Order, u64> for Accounts {
    type Out = Order;
    type State = Account;
    type Broadcast = MapState<i64, u64>;

    fn process(
        &mut self,
        order: Event<Order>,
        account: &mut Keyed<'_, u64, Account>,
        _: &Self::Broadcast,
        out: &mut Output<'_, Order>,
    ) -> Result<(), UserError> {
        let (customer, cents) = order.value;
        account.orders.push(cents);
        *account.cents.get_or_default() += cents;
        account.register_event_timer(order.ts + 1_000_000);
        out.emit((customer, *account.cents.get_or_default()));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        credit: Event<u64>,
        credits: &mut Self::Broadcast,
        _: &mut Output<'_, Order>,
    ) -> Result<(), UserError> {
        credits.insert(credit.ts, credit.value);
        Ok(())
    }

    fn visits_keys(&self, _: &u64) -> bool {
        true
    }

    fn for_each_key(
        &mut self,
        credit: &Event<u64>,
        account: &mut Keyed<'_, u64, Account>,
        _: &Self::Broadcast,
        _: &mut Output<'_, Order>,
    ) -> Result<(), UserError> {
        *account.cents.get_or_default() += credit.value;
        Ok(())
    }
}

/// Asks until there is an answer that is wanted.
pub(crate) async fn answered<S: DeserializeOwned>(
    ask: impl AsyncFn() -> Result<Option<S>, QueryError>,
    wanted: impl Fn(&S) -> bool,
) -> S {
    loop {
        match ask().await {
            Ok(Some(state)) if wanted(&state) => return state,
            Err(error) if !error.is_retryable() => panic!("{error}"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Asks until the subtask has begun, which may be another one than those that have answered.
pub(crate) async fn settled<S>(
    ask: impl AsyncFn() -> Result<Option<S>, QueryError>,
) -> Result<Option<S>, QueryError> {
    loop {
        match ask().await {
            Err(error) if error.is_retryable() => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer => return answer,
        }
    }
}

pub(crate) fn environments() -> [(StreamEnvironment, Option<tempfile::TempDir>); 2] {
    let builder = || {
        StreamEnvironment::builder()
            .parallelism(2)
            .checkpoint_interval(Duration::from_millis(20))
    };
    let directory = tempfile::tempdir().unwrap();
    let backend = RocksDbBackend::new(directory.path()).unwrap();
    let stored = builder().state_backend(backend.memory(1 << 20)).build();
    [(builder().build(), None), (stored, Some(directory))]
}

async fn accounts(env: &StreamEnvironment) -> (JobHandle, ActorFeed<Order>, ActorFeed<u64>) {
    let (orders, feed) = rivus::ActorSource::<Order>::bounded(1_000);
    let (credits, credit) = rivus::ActorSource::<u64>::bounded(10);
    let orders = env.from_source(orders).parallelism(1);
    let credits = env.from_source(credits).parallelism(1);
    let (orders, credits) = (
        orders
            .assign_watermarks(WatermarkStrategy::monotonous())
            .parallelism(1),
        credits
            .assign_watermarks(WatermarkStrategy::monotonous())
            .parallelism(1),
    );
    orders
        .key_by(|order| order.0)
        .connect_broadcast(&credits.broadcast())
        .process(Accounts)
        .uid("accounts")
        .sink_to(DiscardSink::new());
    (env.start("accounts").await.unwrap(), feed, credit)
}

#[tokio::test]
async fn states_are_asked_for_by_name_and_a_broadcast_record_changes_all_of_them() {
    for (env, _directory) in environments() {
        let (job, orders, credits) = accounts(&env).await;
        for n in 0..500 {
            orders.send_at(n, (n as u64 % 100, 1)).await.unwrap();
        }
        let of = |key: u64| {
            let job = job.clone();
            async move || {
                job.query_state::<_, ListState<u64>>("accounts", "orders", &key)
                    .await
            }
        };
        for key in [0, 7, 99] {
            let orders = answered(of(key), |orders| orders.len() == 5).await;
            assert_eq!(orders.as_slice(), [1; 5]);
        }
        credits.send_at(1, 100).await.unwrap();
        for key in 0..100_u64 {
            let cents = async || {
                job.query_state::<_, ValueState<u64>>("accounts", "cents", &key)
                    .await
            };
            answered(cents, |cents| cents.get() == Some(&105)).await;
            // All of a key's state at once.
            let account = job
                .query::<_, Account>("accounts", &key)
                .await
                .unwrap()
                .unwrap();
            assert_eq!((account.orders.len(), account.cents.get()), (5, Some(&105)));
        }
        let timers = job.query_timers("accounts", &7_u64).await.unwrap();
        let expected: Vec<i64> = (0..5).map(|n| 1_000_007 + 100 * n).collect();
        assert_eq!((timers.event, timers.processing), (expected, vec![]));
        let credits: MapState<i64, u64> = job.query_broadcast("accounts").await.unwrap();
        assert_eq!(credits.iter().collect::<Vec<_>>(), [(&1, &100)]);

        let wrong = job.query_state::<_, u64>("accounts", "sum", &7_u64).await;
        let told = "operator accounts: it has no state \"sum\": ask for one of cents, orders";
        assert_eq!(wrong.unwrap_err().to_string(), told);
        let wrong = job.query_broadcast::<String>("accounts").await.unwrap_err();
        assert!(
            wrong.to_string().contains("not String: ask for that"),
            "{wrong}"
        );
        job.cancel();
        let _ = job.wait().await;
    }
}

#[tokio::test]
async fn open_windows_are_shown_by_key_with_what_they_hold() {
    for (env, _directory) in environments() {
        let (source, feed) = rivus::ActorSource::bounded(100);
        let ms = Duration::from_millis;
        let windows = WindowAssigner::sliding(ms(10), ms(5));
        env.from_source(source)
            .parallelism(1)
            .assign_watermarks(WatermarkStrategy::monotonous())
            .parallelism(1)
            .key_by(|order: &Order| order.0)
            .window(windows)
            .sum(|order| order.1)
            .uid("sums")
            .sink_to(DiscardSink::new());
        let job = env.start("windows").await.unwrap();
        for (ts, key, cents) in [(1, 7, 1), (6, 7, 2), (12, 7, 4), (12, 8, 8)] {
            feed.send_at(ts, (key, cents)).await.unwrap();
        }
        let open = async || job.query::<_, Vec<(Window, u64)>>("sums", &7_u64).await;
        // Those before have fired: the watermark is at 11.
        let open = answered(open, |open| open.len() == 2).await;
        let window = |start| Window {
            start,
            end: start + 10,
        };
        assert_eq!(open, [(window(5), 6), (window(10), 4)]);
        let nine = async || job.query::<_, Vec<(Window, u64)>>("sums", &9_u64).await;
        assert_eq!(settled(nine).await, Ok(None));
        job.cancel();
        let _ = job.wait().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_visit_to_all_keys_is_repeated_with_its_record_after_a_failure() {
    let test = JobTest::with(3, |settings| settings.parallelism(2));
    let (orders, feed) = test.input::<Order>();
    let (credits, credit) = test.input::<u64>();
    let credits = credits.assign_watermarks(WatermarkStrategy::monotonous());
    let sums = orders
        .assign_watermarks(WatermarkStrategy::monotonous())
        .key_by(|order| order.0)
        .connect_broadcast(&credits.broadcast())
        .process(Accounts)
        .uid("accounts")
        .collect();
    let mut job = test.start().await.unwrap();
    for key in 0..20 {
        feed.send_at(key as i64, (key, 1)).await.unwrap();
    }
    job.checkpoint().await.unwrap();
    credit.send_at(1, 10).await.unwrap();
    job.settle().await;
    job.kill("accounts").await.unwrap();
    job.settle().await;
    for key in 0..20 {
        feed.send_at(30 + key as i64, (key, 1)).await.unwrap();
    }
    feed.finish();
    credit.finish();
    assert_eq!(job.finish().await.unwrap().restarts, 1);
    let mut sums = sums.values();
    sums.sort_unstable();
    let expected: Vec<Order> = (0..20).flat_map(|key| [(key, 1), (key, 12)]).collect();
    assert_eq!(sums, expected);
}

#[tokio::test]
async fn whether_a_key_has_been_seen_can_be_asked() {
    for (env, _directory) in environments() {
        let (orders, feed) = rivus::ActorSource::<Order>::bounded(10);
        let first = env.from_source(orders).key_by(|order| order.0).distinct();
        first.uid("seen").sink_to(DiscardSink::new());
        let job = env.start("seen").await.unwrap();
        feed.send((7, 1)).await.unwrap();
        let seen = async || job.query::<_, ()>("seen", &7_u64).await;
        answered(seen, |()| true).await;
        assert_eq!(job.query::<_, ()>("seen", &8_u64).await.unwrap(), None);
        job.cancel();
    }
}
