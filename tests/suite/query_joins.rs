//! State of joins and of windows that keep their records, asked for by uid and key while the job runs, on both backends.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::time::Duration;

use rivus::connectors::DiscardSink;
use rivus::{
    ActorFeed, ActorSource, CountEvictor, DataStream, Either, Event, JobHandle, Record,
    StreamEnvironment, UserError, ValueState, WatermarkStrategy, Window, WindowAssigner,
    WindowFunction,
};
use serde::de::DeserializeOwned;

use crate::queries::{answered, environments, settled};

/// A key and a number.
type Order = (u64, u64);
/// A key and a text.
type Payment = (u64, String);

/// What a join keeps of a key: by window the records of both streams, as they came.
type Groups = Vec<(Window, Vec<Either<Order, Payment>>)>;

/// Records by stream.
type Sides = (Vec<Order>, Vec<Payment>);

/// The only window that is open, and its records by stream.
fn sides(open: &Groups) -> Option<(Window, Sides)> {
    let [(window, records)] = &open[..] else {
        return None;
    };
    let (mut orders, mut payments) = (Vec::new(), Vec::new());
    for record in records {
        match record {
            Either::First(order) => orders.push(*order),
            Either::Second(payment) => payments.push(payment.clone()),
        }
    }
    Some((*window, (orders, payments)))
}

/// Keeps its windows' records, and is never through with them in this test.
#[derive(Clone)]
struct All;

impl WindowFunction<u64, Order> for All {
    type Out = usize;

    fn apply(
        &mut self,
        _: &u64,
        _: Window,
        orders: Vec<Order>,
        out: &mut Vec<usize>,
    ) -> Result<(), UserError> {
        out.push(orders.len());
        Ok(())
    }
}

fn fed<T: Record>(env: &StreamEnvironment) -> (DataStream<T>, ActorFeed<T>) {
    let (source, feed) = ActorSource::bounded(100);
    let stream = env
        .from_source(source)
        .parallelism(1)
        .assign_watermarks(WatermarkStrategy::monotonous())
        .parallelism(1);
    (stream, feed)
}

/// All joins of two streams, and windows of the first.
async fn joins(env: &StreamEnvironment) -> (JobHandle, ActorFeed<Order>, ActorFeed<Payment>) {
    let (orders, order) = fed::<Order>(env);
    let (payments, payment) = fed::<Payment>(env);
    let minute = || WindowAssigner::tumbling(Duration::from_secs(60));
    let both = || {
        let both = orders.join(&payments);
        both.on(|order| order.0, |payment| payment.0)
            .window(minute())
    };
    both()
        .apply(|order, payment| (order.1, payment.1.clone()))
        .uid("join")
        .sink_to(DiscardSink::new());
    both()
        .co_group(|group| [group.value.0.len()])
        .uid("groups")
        .sink_to(DiscardSink::new());
    let (by_order, by_payment) = (
        orders.key_by(|order| order.0),
        payments.key_by(|payment| payment.0),
    );
    by_order
        .interval_join(&by_payment)
        .between(0, 1_000)
        .apply(|order, _| *order)
        .uid("soon")
        .sink_to(DiscardSink::new());
    let windows = || orders.key_by(|order| order.0).window(minute());
    windows()
        .process(All)
        .uid("all")
        .sink_to(DiscardSink::new());
    windows()
        .reduce(|sum, next| sum.1 += next.1)
        .uid("reduced")
        .sink_to(DiscardSink::new());
    windows()
        .evictor(CountEvictor::keep(5))
        .process(All)
        .uid("evicted")
        .sink_to(DiscardSink::new());
    (env.start("joins").await.unwrap(), order, payment)
}

/// The state of key 7, once it is as it should be.
async fn seven<S: DeserializeOwned>(job: &JobHandle, uid: &str, wanted: impl Fn(&S) -> bool) -> S {
    answered(async || job.query::<_, S>(uid, &7_u64).await, wanted).await
}

#[tokio::test]
async fn joins_and_windows_show_what_they_keep_of_a_key() {
    for (env, _directory) in environments() {
        let (job, orders, payments) = joins(&env).await;
        for (ts, key, number) in [(1_000, 7, 1), (2_000, 8, 2), (3_000, 7, 3)] {
            orders.send_at(ts, (key, number)).await.unwrap();
        }
        for (ts, key, text) in [(2_500, 7, "card"), (2_600, 9, "cash")] {
            payments.send_at(ts, (key, text.to_owned())).await.unwrap();
        }
        let minute = Window {
            start: 0,
            end: 60_000,
        };
        let (of_seven, paid) = (vec![(7, 1), (7, 3)], vec![(7, "card".to_owned())]);
        for uid in ["join", "groups"] {
            let expected = Some((minute, (of_seven.clone(), paid.clone())));
            let all_came = |open: &Groups| open.iter().map(|(_, records)| records.len()).eq([3]);
            let groups = seven::<Groups>(&job, uid, all_came).await;
            assert_eq!(sides(&groups), expected, "{uid}");
        }
        // The watermark is at 2,599: nobody can pay for the first order any more.
        type Soon = (Vec<Event<Order>>, Vec<Event<Payment>>);
        let open = seven::<Soon>(&job, "soon", |(orders, _)| {
            orders.iter().map(|order| order.ts).eq([3_000])
        });
        assert_eq!(open.await.0, [Event::at(3_000, (7, 3))]);

        let all = seven::<Vec<(Window, Vec<Order>)>>(&job, "all", |open| open[0].1.len() == 2);
        assert_eq!(all.await, [(minute, of_seven)]);
        type Sums = Vec<(Window, ValueState<Order>)>;
        let sums = seven::<Sums>(&job, "reduced", |open| open[0].1.get() == Some(&(7, 4)));
        assert_eq!(sums.await[0].0, minute);
        type Events = Vec<(Window, Vec<Event<Order>>)>;
        let evicted = seven::<Events>(&job, "evicted", |open| open[0].1.len() == 2);
        let events = vec![Event::at(1_000, (7, 1)), Event::at(3_000, (7, 3))];
        assert_eq!(evicted.await, [(minute, events)]);

        // Of a key that has come in no stream, and of a key that has come in one.
        let one = async || job.query::<_, Groups>("join", &1_u64).await;
        assert_eq!(settled(one).await, Ok(None));
        let nine = async || job.query::<_, Groups>("join", &9_u64).await;
        let nine = answered(nine, |_| true).await;
        let cash = vec![(9, "cash".to_owned())];
        assert_eq!(sides(&nine), Some((minute, (vec![], cash))));
        for uid in ["join", "groups", "soon"] {
            let named = job.query_state::<_, u64>(uid, "orders", &7_u64).await;
            let refused = named.unwrap_err().to_string();
            let said = "without names: ask for it as a whole";
            assert!(
                refused.contains(uid) && refused.ends_with(said),
                "{refused}"
            );
            let wrong = job.query::<_, u64>(uid, &7_u64).await.unwrap_err();
            let wrong = wrong.to_string();
            assert!(wrong.contains("not u64: ask for that"), "{wrong}");
        }
        job.cancel();
        let _ = job.wait().await;
    }
}
