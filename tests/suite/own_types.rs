//! What Rivus itself keeps in state goes by names that no user's type has.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rivus::connectors::{BadLine, FileSink, GeneratorSource, SocketSource, TextFileSource};
use rivus::engine::core::RestoredState;
use rivus::{
    ActorFeed, ActorSink, ActorSource, AsyncRequests, Avg, BroadcastProcessFunction,
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountEvictor, CountTrigger,
    DataStream, Event, Keyed, KeyedBroadcastProcessFunction, KeyedCoProcessFunction,
    KeyedProcessFunction, MapState, OnError, Output, PurgingTrigger, Rejected, SideOutputTag,
    StatefulProcessFunction, Storage, StreamEnvironment, Timer, UserError, ValueState,
    WatermarkStrategy, Window, WindowAssigner, WindowFunction,
};
use serde::{Deserialize, Serialize};

use crate::waits::checkpoints;

/// The user's only type.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Click {
    user: u64,
    at: i64,
}

/// Is told records, and drops them.
struct Told;

impl Actor for Told {
    type Msg = u64;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<u64>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

/// Emits the timer of each record.
#[derive(Clone)]
struct Timed;

impl KeyedProcessFunction<u64, Click> for Timed {
    type Out = Timer;
    type State = ValueState<Click>;

    fn process(
        &mut self,
        click: Event<Click>,
        last: &mut Keyed<'_, u64, Self::State>,
        _: &mut Output<'_, Timer>,
    ) -> Result<(), UserError> {
        last.register_event_timer(click.ts);
        last.set(click.value);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        _: &mut Keyed<'_, u64, Self::State>,
        out: &mut Output<'_, Timer>,
    ) -> Result<(), UserError> {
        out.emit(timer);
        Ok(())
    }
}

/// Keeps a window's records until it fires.
#[derive(Clone)]
struct Whole;

impl WindowFunction<u64, Click> for Whole {
    type Out = Click;

    fn apply(
        &mut self,
        _: &u64,
        _: Window,
        clicks: Vec<Click>,
        out: &mut Vec<Click>,
    ) -> Result<(), UserError> {
        out.extend(clicks);
        Ok(())
    }
}

/// Has each subtask remember all records, of its own stream or of a broadcast one.
#[derive(Clone, Default)]
struct Remember(Vec<Click>);

impl StatefulProcessFunction<Click> for Remember {
    type Out = Click;
    type Item = Click;

    fn process(&mut self, click: Event<Click>, _: &mut Output<'_, Click>) -> Result<(), UserError> {
        self.0 = vec![click.value];
        Ok(())
    }

    fn snapshot(&self) -> Vec<Click> {
        self.0.clone()
    }

    fn restore(&mut self, clicks: Vec<Click>) -> Result<(), UserError> {
        self.0 = clicks;
        Ok(())
    }
}

impl BroadcastProcessFunction<Click, Click> for Remember {
    type Out = Click;
    type Broadcast = MapState<u64, Click>;

    fn process(
        &mut self,
        _: Event<Click>,
        _: &Self::Broadcast,
        _: &mut Output<'_, Click>,
    ) -> Result<(), UserError> {
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        click: Event<Click>,
        all: &mut Self::Broadcast,
        _: &mut Output<'_, Click>,
    ) -> Result<(), UserError> {
        all.insert(click.value.user, click.value);
        Ok(())
    }
}

/// Keeps the last record of a key, of either stream, and those of the broadcast one.
#[derive(Clone)]
struct Last;

impl KeyedCoProcessFunction<u64, Click, Click> for Last {
    type Out = Click;
    type State = ValueState<Click>;

    fn process_first(
        &mut self,
        click: Event<Click>,
        last: &mut Keyed<'_, u64, Self::State>,
        _: &mut Output<'_, Click>,
    ) -> Result<(), UserError> {
        let in_an_hour = last.processing_time() + 3_600_000;
        last.register_processing_timer(in_an_hour);
        last.set(click.value);
        Ok(())
    }

    fn process_second(
        &mut self,
        click: Event<Click>,
        last: &mut Keyed<'_, u64, Self::State>,
        _: &mut Output<'_, Click>,
    ) -> Result<(), UserError> {
        last.set(click.value);
        Ok(())
    }
}

impl KeyedBroadcastProcessFunction<u64, Click, Click> for Last {
    type Out = Click;
    type State = ValueState<Click>;
    type Broadcast = MapState<u64, Click>;

    fn process(
        &mut self,
        click: Event<Click>,
        last: &mut Keyed<'_, u64, Self::State>,
        _: &Self::Broadcast,
        _: &mut Output<'_, Click>,
    ) -> Result<(), UserError> {
        last.set(click.value);
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        click: Event<Click>,
        all: &mut Self::Broadcast,
        _: &mut Output<'_, Click>,
    ) -> Result<(), UserError> {
        all.insert(click.value.user, click.value);
        Ok(())
    }
}

/// A number, read as such or not.
fn parsed(line: &str) -> Result<u64, std::num::ParseIntError> {
    line.parse()
}

/// One of each source; the clicks, which have times.
fn sources(
    env: &StreamEnvironment,
    dir: &Path,
) -> (DataStream<Click>, ActorFeed<u64>, TcpListener) {
    let second = Duration::from_secs(1);
    let inbox = dir.join("in");
    std::fs::create_dir(&inbox).unwrap();
    let lines = TextFileSource::folder(&inbox).watch(second);
    let lines = env.from_source(lines.parsed_by(parsed).collecting_bad_lines());
    lines.collect();
    let bad = SideOutputTag::<BadLine>::new("bad");
    let good = lines.bad_lines_to(&bad);
    good.collect();
    good.side_output(&bad).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = SocketSource::lines(listener.local_addr().unwrap().to_string());
    env.from_source(socket).collect();
    env.from_collection(vec![1_u64]).collect();
    let (source, feed) = ActorSource::bounded(9);
    env.from_source(source).collect();
    let clicks = GeneratorSource::new(|n, _| Click {
        user: n % 9,
        at: n as i64,
    });
    let times = WatermarkStrategy::monotonous().with_timestamps(|click: &Click| click.at);
    let clicks = env.from_source(clicks.rate(1_000)).assign_watermarks(times);
    (clicks, feed, listener)
}

/// One of each operator that keeps something, and of each record that is Rivus's.
fn operators(clicks: &DataStream<Click>) {
    let second = Duration::from_secs(1);
    let by_user = clicks.key_by(|click| click.user);
    by_user
        .aggregate(Avg::of(|click: &Click| click.at as f64))
        .collect();
    by_user.process(Timed).collect();
    let tumbling = || by_user.window(WindowAssigner::tumbling(second));
    tumbling().count().collect();
    tumbling()
        .evictor(CountEvictor::keep(5))
        .process(Whole)
        .collect();
    tumbling()
        .trigger(PurgingTrigger::of(CountTrigger::every(3)))
        .count()
        .collect();
    tumbling()
        .trigger(ContinuousEventTimeTrigger::every(second / 10))
        .count()
        .collect();
    tumbling()
        .trigger(ContinuousProcessingTimeTrigger::every(second / 10))
        .count()
        .collect();
    let sessions = by_user.window(WindowAssigner::session(second));
    sessions.reduce(|last, click| *last = click).collect();
    let joined = clicks
        .join(clicks)
        .on(|click| click.user, |click| click.user);
    let joined = joined.window(WindowAssigner::tumbling(second));
    joined.apply(|first, _| first.clone()).collect();
    let soon = by_user.interval_join(&by_user).between(0, 1_000);
    soon.apply(|first, _| first.clone()).collect();
    clicks.process_with_state(Remember::default()).collect();
    let first = clicks.filter(|click| click.at == 0).broadcast();
    let beside = clicks.connect_broadcast(&first);
    beside.process(Remember::default()).collect();
    by_user.connect_broadcast(&first).process(Last).collect();
    by_user.connect(&by_user).process(Last).collect();
    by_user.distinct().collect();
    let requests = AsyncRequests::ordered(second);
    let asked = |click| async move { Ok::<_, UserError>(click) };
    clicks.async_map(asked, requests).collect();
    let looped = clicks.iterate(|looped| (looped.filter(|_| false), looped));
    looped.collect();
    let refused = SideOutputTag::<Rejected<Click>>::new("refused");
    let never = |_| Err::<u64, _>("no");
    let numbers = clicks.try_map(never, OnError::SideOutput(refused.clone()));
    numbers.side_output(&refused).collect();
}

#[tokio::test]
async fn no_type_of_ours_that_is_kept_has_a_name_that_a_users_may_have() {
    let dir = tempfile::tempdir().unwrap();
    let env = StreamEnvironment::builder()
        .parallelism(1)
        .checkpoint_interval(Duration::from_millis(50))
        .storage(Storage::Directory(dir.path().join("state")))
        .build();
    let (clicks, _feed, _listener) = sources(&env, dir.path());
    operators(&clicks);
    let users = clicks.map(|click| click.user);
    users.sink_to(FileSink::csv(dir.path().join("out")));
    let (told, _) = Actor::spawn(None, Told, ()).await.unwrap();
    users.sink_to(ActorSink::new(told, |user| user).committed());
    let mut job = env.start("everything").await.unwrap();
    checkpoints(&mut job, 2).await;
    let savepoint = job.stop_with_savepoint().await.unwrap();

    let contents = savepoint.inspect(false).unwrap();
    let files = contents.files.iter().map(|file| {
        let path = savepoint.path().unwrap().join(&file.name);
        std::fs::read(path).unwrap().into()
    });
    let restored = RestoredState::parse(&files.collect::<Vec<_>>()).unwrap();
    let states = restored.states().unwrap();
    let schemas = states.iter().flat_map(|state| &state.schemas);
    let names: BTreeSet<String> = schemas.flat_map(|schema| schema.names()).collect();
    let (ours, others): (Vec<&str>, Vec<&str>) = names
        .iter()
        .map(String::as_str)
        .partition(|name| name.starts_with("rivus."));
    assert_eq!(
        others,
        ["Click"],
        "a migration of such a name would be one of ours too"
    );
    let kept = [
        "ActorCommittable",
        "BadLine",
        "ChannelTime",
        "CheckpointId",
        "CollectCommittable",
        "CollectionSplit",
        "Compression",
        "Either",
        "Event",
        "FeedSplit",
        "FileCommittable",
        "FileSplit",
        "FileWriterState",
        "GeneratorSplit",
        "Items",
        "KeyGroupRange",
        "LiveState",
        "LiveWindow",
        "Mean",
        "OpenPart",
        "PaneRing",
        "Parsed",
        "ProcessRow",
        "Rejected",
        "Seen",
        "SinkState",
        "SocketSplit",
        "SourceState",
        "TimeDomain",
        "Timer",
        "TimerSet",
        "Waiting",
        "Window",
        "WindowRow",
        "Windowed",
        "WindowsState",
    ];
    assert_eq!(ours, kept.map(|name| format!("rivus.{name}")));
}
