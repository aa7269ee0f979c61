//! Two streams in one operator: what is refused, and jobs that fail and go on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::{
    CoProcessFunction, DataStream, EnvironmentBuilder, Event, JobError, Keyed,
    KeyedCoProcessFunction, Output, RestartStrategy, RuntimeMode, SideOutputTag, StreamEnvironment,
    UserError, ValueState, WatermarkStrategy, WindowAssigner,
};

use crate::backends::backends;

fn builder() -> EnvironmentBuilder {
    StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .seed(1)
}

fn numbers(env: &StreamEnvironment) -> DataStream<i64> {
    env.from_collection(vec![1, 2, 3])
}

fn timed(env: &StreamEnvironment) -> DataStream<i64> {
    let strategy = WatermarkStrategy::monotonous();
    numbers(env).assign_watermarks(strategy.with_timestamps(|n: &i64| *n))
}

/// What the author of a program is told before it is started.
async fn refusal(write: impl FnOnce(&StreamEnvironment)) -> String {
    let env = builder().build();
    write(&env);
    match env.start("wrong").await {
        Ok(_) => "started".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn programs_of_two_streams_that_cannot_work_are_refused_in_one_line() {
    let second = WindowAssigner::tumbling(Duration::from_secs(1));
    let table = [
        (
            refusal(|env| {
                let other = numbers(&builder().build());
                numbers(env).connect(&other).map(|n| n, |n| n).print();
            })
            .await,
            ".connect(..) of streams of two environments: read both from one",
        ),
        (
            refusal(|env| {
                let other = numbers(&builder().build());
                numbers(env).union(&other).print();
            })
            .await,
            ".union(..) of streams of two environments: read both from one",
        ),
        (
            refusal(|env| {
                let keyed = timed(env).key_by(|n| *n);
                let join = keyed.interval_join(&numbers(env).key_by(|n| *n));
                join.between(-1, 1).apply(|a, b| a + b).print();
            })
            .await,
            "operator \"interval_join\" works in event time, but no watermarks reach it from \
             \"source\": call .assign_watermarks(..) between the two",
        ),
        (
            refusal(|env| {
                let keyed = timed(env).key_by(|n| *n);
                let join = keyed.interval_join(&timed(env).key_by(|n| *n));
                join.between(1, -1).apply(|a, b| a + b).print();
            })
            .await,
            "operator \"interval_join\": no time lies from 1 to -1 ms after a record: give \
             .between(..) its lower bound first",
        ),
        (
            refusal(|env| {
                let join = timed(env).join(&numbers(env)).on(|n| *n, |n| *n);
                join.window(second).apply(|a, b| a + b).print_debug();
            })
            .await,
            "operator \"join\" works in event time, but no watermarks reach it from \"source\": call \
             .assign_watermarks(..) between the two",
        ),
        (
            refusal(|env| {
                let late = SideOutputTag::new("late");
                let join = timed(env).join(&timed(env)).on(|n| *n, |n| *n);
                let join = join.window(second).late_output(&late);
                join.apply(|a, b| a + b).print_debug();
            })
            .await,
            "operator \"join\": side output \"late\" is written to, but nobody reads it: call \
             .side_output(..) with the same tag on the operator's stream",
        ),
        (
            refusal(|env| {
                let join = timed(env).join(&timed(env).broadcast()).on(|n| *n, |n| *n);
                join.window(second).apply(|a, b| a + b).print_debug();
            })
            .await,
            ".broadcast() is undone by .join(..) right behind it: leave it out, or put an operator \
             between the two",
        ),
        (
            refusal(|env| {
                let sent = numbers(env).partition_custom(|_, _| 0, |n| *n);
                sent.shuffle().map(|n| n).print();
            })
            .await,
            ".partition_custom() is undone by .shuffle(..) right behind it: leave it out, or put an \
             operator between the two",
        ),
    ];
    for (told, expected) in table {
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partitioner_that_names_no_subtask_fails_the_job_with_its_number() {
    let env = builder().restart(RestartStrategy::None).build();
    let wild = |n: &i64, _: usize| *n as usize + 7;
    let squares = numbers(&env).partition_custom(wild, |n| *n).map(|n| n * n);
    let _ = squares.parallelism(2).collect();
    let Err(JobError::Failed(failure)) = env.execute("wild").await else {
        panic!("it must fail");
    };
    let told = "the partitioner behind it chose subtask 8 of 2: return a number below the one that it is given";
    assert_eq!(failure.message, told);
    assert_eq!(failure.operator.unwrap().0, "source-0");
}

/// Fails once, in the middle.
#[derive(Clone)]
struct FailsOnce(Arc<AtomicBool>);

impl KeyedCoProcessFunction<u64, u64, u64> for FailsOnce {
    type Out = (u64, i64);
    type State = ValueState<i64>;

    fn process_first(
        &mut self,
        n: Event<u64>,
        sum: &mut Keyed<'_, u64, ValueState<i64>>,
        out: &mut Output<'_, (u64, i64)>,
    ) -> Result<(), UserError> {
        if n.value == 700 && !self.0.swap(true, Relaxed) {
            return Err("once".into());
        }
        *sum.get_or_default() += n.value as i64;
        out.emit((*sum.key(), n.value as i64));
        Ok(())
    }

    fn process_second(
        &mut self,
        n: Event<u64>,
        sum: &mut Keyed<'_, u64, ValueState<i64>>,
        out: &mut Output<'_, (u64, i64)>,
    ) -> Result<(), UserError> {
        *sum.get_or_default() -= n.value as i64;
        out.emit((*sum.key(), -(n.value as i64)));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_of_two_streams_goes_on_after_a_failure_and_every_record_counts_once() {
    for backend in backends() {
        let builder = builder()
            .parallelism(2)
            .checkpoint_interval(Duration::from_millis(50));
        let env = backend.set(builder).build();
        let source = || GeneratorSource::new(|n, _| n).count(1_000).rate(1_000);
        let (first, second) = (env.from_source(source()), env.from_source(source()));
        let function = FailsOnce(Arc::default());
        // A union on one side: three edges into one operator of two inputs.
        let more = env.from_collection((1_000..1_100).collect::<Vec<u64>>());
        let first = first.union(&more).key_by(|n| n % 10);
        let sums = first
            .connect(&second.key_by(|n| n % 10))
            .process(function.clone());
        let sums = sums.parallelism(3).collect();
        let result = env.execute("sums").await.unwrap();
        assert_eq!(result.view.restarts, 1);
        assert!(function.0.load(Relaxed));
        let sums = sums.values();
        assert_eq!(sums.len(), 2_100);
        assert_eq!(
            sums.iter().map(|(_, n)| n).sum::<i64>(),
            (1_000..1_100).sum::<i64>()
        );
    }
}

/// Says which side a record came on.
#[derive(Clone)]
struct Sided;

impl CoProcessFunction<i64, String> for Sided {
    type Out = String;

    fn process_first(
        &mut self,
        n: Event<i64>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        out.emit(format!("first {}", n.value));
        Ok(())
    }

    fn process_second(
        &mut self,
        text: Event<String>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        out.emit(format!("second {}", text.value));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn every_exchange_leads_to_either_side() {
    type Send = fn(DataStream<i64>) -> DataStream<i64>;
    // How the first stream is sent, and how often each record arrives.
    let table: [(Send, usize); 6] = [
        (|stream| stream, 1),
        (DataStream::rebalance, 1),
        (DataStream::rescale, 1),
        (DataStream::shuffle, 1),
        (DataStream::global, 1),
        (DataStream::broadcast, 3),
    ];
    for (send, times) in table {
        let env = builder().build();
        let first = send(numbers(&env));
        let text = env
            .from_collection(vec!["a".to_owned()])
            .partition_custom(|_: &usize, subtasks| subtasks - 1, String::len);
        let sided = first.connect(&text).process(Sided).parallelism(3).collect();
        env.execute("sided").await.unwrap();
        let mut sided = sided.values();
        sided.sort();
        let firsts = (1..=3).flat_map(|n| vec![format!("first {n}"); times]);
        let expected: Vec<String> = firsts.chain(["second a".to_owned()]).collect();
        assert_eq!(sided, expected);
    }
}
