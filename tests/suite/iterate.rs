//! Loops: when they end, at any parallelism; what is under way in them when a task dies, or a savepoint is made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource, SplitMix};
use rivus::engine::core::MemoryStores;
use rivus::{
    AsyncRequests, CheckpointMode, CoProcessFunction, DataStream, EnvironmentBuilder, Event,
    JobOptions, JobView, Keyed, KeyedProcessFunction, Output, RocksDbBackend, RuntimeMode,
    SideOutputTag, StateSet, Storage, StreamEnvironment, Timer, UserError, ValueState,
    WatermarkStrategy, WindowAssigner,
};
use serde::{Deserialize, Serialize};

use crate::backends::backends;
use crate::written::csv_lines;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// On one thread; or on several, with rows on disk.
fn builder(parallelism: u32, disk: Option<&Path>) -> EnvironmentBuilder {
    let builder = StreamEnvironment::builder()
        .parallelism(parallelism)
        .checkpoint_interval(MS(10));
    match disk {
        None => builder.runtime(RuntimeMode::Current).seed(1),
        Some(dir) => {
            let rocks = RocksDbBackend::new(dir).expect("a backend");
            builder.state_backend(rocks.memory(1 << 20))
        }
    }
}

/// A number on its way to 1: where it began, where it is, steps so far.
type Walk = (u64, u64, u32);

fn step((first, n, steps): Walk) -> Walk {
    match n % 2 {
        0 => (first, n / 2, steps + 1),
        _ => (first, 3 * n + 1, steps + 1),
    }
}

fn collatz(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, u32)> {
    let walks = numbers.into_iter().map(|first| {
        let mut walk = (first, first, 0);
        while walk.1 > 1 {
            walk = step(walk);
        }
        (first, walk.2)
    });
    let mut walks: Vec<_> = walks.collect();
    walks.sort_unstable();
    walks
}

/// The number of steps of each, with an exchange in the loop.
fn walks(numbers: &DataStream<u64>) -> DataStream<(u64, u32)> {
    let there = numbers
        .map(|n| (n, n, 0))
        .iterate(|looped: DataStream<Walk>| {
            let looped = looped.name("walk").uid("walk");
            let further = looped.filter(|walk| walk.1 > 1).rebalance().map(step);
            (further, looped.filter(|walk| walk.1 == 1))
        });
    there.map(|(first, _, steps)| (first, steps))
}

#[tokio::test(start_paused = true)]
async fn a_loop_ends_when_its_last_record_has_left_it() {
    for parallelism in [1, 2, 4] {
        let env = builder(parallelism, None).build();
        let found = walks(&env.from_collection((1..500).collect())).collect();
        let result = env.execute("collatz").await.expect("completes");
        let mut found = found.values();
        found.sort_unstable();
        assert_eq!(found, collatz(1..500), "parallelism {parallelism}");
        assert_eq!(result.view.restarts, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_without_any_record_ends_too() {
    let env = builder(3, None).build();
    let found = walks(&env.from_collection(Vec::new())).collect();
    env.execute("nothing").await.expect("completes");
    assert_eq!(found.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_whole_loop_may_be_one_chain_and_what_is_fed_back_a_union_of_other_parallelism() {
    let env = builder(2, None).build();
    let numbers = env.from_collection((1..200).collect::<Vec<u64>>());
    let chained = numbers.iterate(|looped| {
        let halved = looped.filter(|n| *n > 9).map(|n| n / 2);
        (halved, looped.filter(|n| *n <= 9))
    });
    let chained = chained.collect();
    let crossed = numbers.iterate(|looped| {
        let even = looped.filter(|n| *n > 9 && n % 2 == 0).map(|n| n / 2);
        let odd = looped.filter(|n| *n > 9 && n % 2 == 1).map(|n| n / 2);
        let odd = odd.parallelism(3);
        (even.union(&odd), looped.filter(|n| *n <= 9))
    });
    let crossed = crossed.collect();
    env.execute("halves").await.expect("completes");
    let mut expected: Vec<u64> = (1..200)
        .map(|mut n| {
            while n > 9 {
                n /= 2;
            }
            n
        })
        .collect();
    expected.sort_unstable();
    for found in [chained, crossed] {
        let mut found = found.values();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

/// What is told to a node of a graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Told {
    Neighbour(u32),
    Label(u32),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
struct Node {
    label: ValueState<u32>,
    neighbours: rivus::ListState<u32>,
}

/// Tells the least label that it has heard to all neighbours.
#[derive(Clone)]
struct Propagate {
    labels: SideOutputTag<(u32, u32)>,
}

impl KeyedProcessFunction<u32, (u32, Told)> for Propagate {
    type Out = (u32, Told);
    type State = Node;

    fn process(
        &mut self,
        event: Event<(u32, Told)>,
        node: &mut Keyed<'_, u32, Node>,
        out: &mut Output<'_, (u32, Told)>,
    ) -> Result<(), UserError> {
        let (id, told) = event.value;
        match told {
            Told::Neighbour(neighbour) => {
                node.neighbours.push(neighbour);
                let label = node.label.get().copied().unwrap_or(id);
                out.emit((neighbour, Told::Label(label)));
            }
            Told::Label(label) if node.label.get().is_none_or(|known| label < *known) => {
                node.label.set(label);
                out.side(&self.labels, (id, label));
                for neighbour in node.neighbours.iter() {
                    out.emit((*neighbour, Told::Label(label)));
                }
            }
            Told::Label(_) => {}
        }
        Ok(())
    }
}

/// The least node that each is joined to, by labels that go from neighbour to neighbour.
async fn components(
    builder: EnvironmentBuilder,
    nodes: u32,
    edges: &[(u32, u32)],
) -> BTreeMap<u32, u32> {
    let env = builder.build();
    let mut told: Vec<(u32, Told)> = (0..nodes).map(|id| (id, Told::Label(id))).collect();
    for (a, b) in edges {
        told.push((*a, Told::Neighbour(*b)));
        told.push((*b, Told::Neighbour(*a)));
    }
    let labels = SideOutputTag::new("labels");
    let function = Propagate {
        labels: labels.clone(),
    };
    let labels = env.from_collection(told).iterate(|looped| {
        let nodes = looped.key_by(|told| told.0).process(function);
        let labels = nodes.side_output(&labels);
        (nodes, labels)
    });
    let labels = labels.collect();
    env.execute("components").await.expect("completes");
    let mut least = BTreeMap::new();
    for (node, label) in labels.values() {
        let known = least.entry(node).or_insert(label);
        *known = label.min(*known);
    }
    least
}

fn graph(nodes: u32, edges: usize) -> (Vec<(u32, u32)>, BTreeMap<u32, u32>) {
    let mut rng = SplitMix::of(7, 1);
    let mut draw = || rng.below(u64::from(nodes)) as u32;
    let edges: Vec<(u32, u32)> = (0..edges).map(|_| (draw(), draw())).collect();
    let mut labels: Vec<u32> = (0..nodes).collect();
    // As many times as there are nodes is enough for any graph.
    for _ in 0..nodes {
        for (a, b) in &edges {
            let least = labels[*a as usize].min(labels[*b as usize]);
            labels[*a as usize] = least;
            labels[*b as usize] = least;
        }
    }
    (edges, (0..nodes).zip(labels).collect())
}

#[tokio::test(start_paused = true)]
async fn a_keyed_body_finds_the_components_of_a_graph() {
    let (edges, expected) = graph(300, 260);
    assert!(expected.values().filter(|label| **label == 0).count() > 20);
    for parallelism in [1, 2, 4] {
        let found = components(builder(parallelism, None), 300, &edges).await;
        assert_eq!(found, expected, "parallelism {parallelism}");
        // Everything that waits goes through a store.
        let stored = builder(parallelism, None).state_backend(MemoryStores { cache_bytes: 1 });
        assert_eq!(components(stored, 300, &edges).await, expected);
    }
}

#[tokio::test]
async fn a_keyed_body_finds_the_components_of_a_graph_on_threads_and_disk() {
    let (edges, expected) = graph(300, 260);
    for parallelism in [1, 2, 4] {
        let dir = tempfile::tempdir().expect("a directory");
        let found = components(builder(parallelism, Some(dir.path())), 300, &edges).await;
        assert_eq!(found, expected, "parallelism {parallelism}");
    }
}

async fn in_a_while(walk: Walk) -> Result<Walk, String> {
    tokio::time::sleep(MS(2)).await;
    Ok(walk)
}

/// The same walks; but each step takes a while and there is little room, so that most of what goes round waits.
fn slow_walks(env: &StreamEnvironment, wide: u32, dies: &Arc<AtomicU32>) -> DataStream<(u64, u32)> {
    let numbers = GeneratorSource::new(|n, _| n + 1).count(150).rate(3_000);
    let dies = Arc::clone(dies);
    let numbers = env.from_source(numbers).uid("numbers").parallelism(1);
    let walks = numbers.map(|n| (n, n, 0)).uid("walks").parallelism(1);
    let there = walks.iterate(|looped: DataStream<Walk>| {
        let looped = looped.uid("loop").parallelism(wide);
        let further = looped
            .filter(|walk| walk.1 > 1)
            .parallelism(wide)
            .async_map(in_a_while, AsyncRequests::unordered(MS(60_000)).capacity(8))
            .uid("wait")
            .parallelism(wide)
            .rebalance()
            .map(move |walk| {
                let left = dies.load(Ordering::Relaxed);
                if left > 0 && dies.fetch_sub(1, Ordering::Relaxed) == 1 {
                    panic!("as it was told to");
                }
                step(walk)
            })
            .parallelism(wide);
        (further, looped.filter(|walk| walk.1 == 1).parallelism(wide))
    });
    there
        .map(|(first, _, steps)| (first, steps))
        .parallelism(wide)
}

fn restored(view: &JobView) -> u64 {
    let restored = view
        .subtasks
        .iter()
        .map(|task| task.figures.restored_in_loop);
    restored.sum()
}

/// Fails once with much under way in so many subtasks, and no walk is lost or repeated.
async fn expect_walks_after_a_failure(builder: EnvironmentBuilder, wide: u32) {
    let env = builder.build();
    let dies = Arc::new(AtomicU32::new(2_000));
    let found = slow_walks(&env, wide, &dies).collect();
    let view = env.execute("walks").await.expect("completes").view;
    assert_eq!(view.restarts, 1);
    assert!(restored(&view) > 50, "{} were restored", restored(&view));
    let mut found = found.values();
    found.sort_unstable();
    assert_eq!(found, collatz(1..=150), "{wide} subtasks");
}

#[tokio::test(start_paused = true)]
async fn records_under_way_survive_a_failure() {
    expect_walks_after_a_failure(builder(1, None), 1).await;
    for backend in backends() {
        expect_walks_after_a_failure(backend.set(builder(1, None)), 2).await;
    }
    for (wide, cache_bytes) in [(3, 1), (2, 1 << 20)] {
        let stored = builder(1, None).state_backend(MemoryStores { cache_bytes });
        expect_walks_after_a_failure(stored, wide).await;
    }
}

/// What has been committed to files.
fn rows(dir: &Path) -> Vec<(u64, u32)> {
    let lines = csv_lines(dir).into_iter();
    let rows = lines.map(|line| {
        let (first, steps) = line.split_once(',').expect("two numbers");
        (first.parse().expect("one"), steps.parse().expect("one"))
    });
    let mut rows: Vec<(u64, u32)> = rows.collect();
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn a_savepoint_holds_what_is_under_way_for_any_parallelism() {
    for (before, behind, on_disk) in [(2, 3, false), (3, 1, true), (1, 2, false)] {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("out");
        let write = |wide| {
            let mut builder = StreamEnvironment::builder()
                .parallelism(1)
                .checkpoint_interval(MS(10))
                .storage(Storage::Directory(dir.path().join("state")));
            if on_disk {
                let rocks = RocksDbBackend::new(dir.path().join("rows")).expect("a backend");
                builder = builder.state_backend(rocks.memory(1 << 20));
            }
            let env = builder.build();
            let never = Arc::new(AtomicU32::new(0));
            let walks = slow_walks(&env, wide, &never);
            let _ = walks.sink_to(FileSink::csv(out.clone())).uid("out");
            env
        };
        let job = write(before).start("walks").await.expect("starts");
        // The shortest walks are over, the others have begun.
        while rows(&out).len() < 4 {
            tokio::time::sleep(MS(2)).await;
        }
        let savepoint = job.stop_with_savepoint().await.expect("stops");
        assert!(rows(&out).len() < 150);
        let contents = savepoint.inspect(true).expect("is whole");
        let mut operators = contents.operators.iter();
        let head = operators.find(|operator| operator.uid == "loop");
        let states = &head.expect("is there").states;
        let held = |state: &rivus::SavedState| state.name == "loop" && state.bytes > 0;
        assert!(states.iter().any(held), "{states:?}");

        let env = write(behind);
        let starting = env.from_savepoint(&savepoint).start("walks");
        let job = starting.await.expect("starts");
        let view = job.wait().await.expect("completes").view;
        assert!(restored(&view) > 0, "none was under way");
        assert_eq!(
            rows(&out),
            collatz(1..=150),
            "{before} subtasks, then {behind}"
        );
    }
}

/// When time ends, sends once more what it has got.
#[derive(Clone)]
struct Encore;

impl KeyedProcessFunction<u64, (u64, u32)> for Encore {
    type Out = (u64, u32);
    type State = ValueState<u32>;

    fn process(
        &mut self,
        event: Event<(u64, u32)>,
        state: &mut Keyed<'_, u64, ValueState<u32>>,
        out: &mut Output<'_, (u64, u32)>,
    ) -> Result<(), UserError> {
        let (key, left) = event.value;
        if state.get().is_none() {
            state.set(3);
            state.register_event_timer(1_000_000);
        }
        if left > 0 {
            out.emit((key, left - 1));
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _timer: Timer,
        state: &mut Keyed<'_, u64, ValueState<u32>>,
        out: &mut Output<'_, (u64, u32)>,
    ) -> Result<(), UserError> {
        out.emit((*state.key(), 3));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn time_ends_when_nothing_goes_round_and_the_input_when_nothing_does_any_more() {
    for parallelism in [1, 3] {
        let env = builder(parallelism, None).build();
        let events = (0..20).map(|key| Event::at(key as i64, (key, 2))).collect();
        let started = env
            .from_events(events)
            .assign_watermarks(WatermarkStrategy::monotonous());
        let all = started.iterate(|looped| {
            let all = looped.key_by(|record| record.0).process(Encore);
            (all.clone(), all)
        });
        let all = all.collect();
        env.execute("encore").await.expect("completes");
        // Each: 1 and 0; then, at the end of time, the timer's 3, and 2, 1 and 0 of it.
        let mut by_key: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (key, left) in all.values() {
            by_key.entry(key).or_default().push(left);
        }
        assert_eq!(by_key.len(), 20);
        for (key, left) in by_key {
            assert_eq!(left, [1, 0, 3, 2, 1, 0], "{key}, parallelism {parallelism}");
        }
    }
}

/// Lets go of numbers that it has been told of, and sends the others round.
#[derive(Clone, Default)]
struct Released(std::collections::BTreeSet<u64>);

impl CoProcessFunction<u64, u64> for Released {
    type Out = (u64, bool);

    fn process_first(
        &mut self,
        n: Event<u64>,
        out: &mut Output<'_, (u64, bool)>,
    ) -> Result<(), UserError> {
        out.emit((n.value, self.0.contains(&n.value)));
        Ok(())
    }

    fn process_second(
        &mut self,
        n: Event<u64>,
        _out: &mut Output<'_, (u64, bool)>,
    ) -> Result<(), UserError> {
        self.0.insert(n.value);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_does_not_end_before_all_else_that_its_body_reads() {
    let env = builder(1, None).build();
    let numbers = env.from_collection((0..30).collect::<Vec<u64>>());
    let releases = GeneratorSource::new(|n, _| n).count(30).rate(100);
    let releases = env.from_source(releases);
    let out = numbers.iterate(|looped| {
        let slow = looped
            .map(|n| (n, n, 0))
            .async_map(in_a_while, AsyncRequests::ordered(MS(60_000)));
        let both = slow
            .map(|walk| walk.0)
            .connect(&releases)
            .process(Released::default());
        let back = both.filter(|(_, go)| !go).map(|(n, _)| n);
        (back, both.filter(|(_, go)| *go))
    });
    let out = out.collect();
    env.execute("released").await.expect("completes");
    let mut out: Vec<u64> = out.values().into_iter().map(|(n, _)| n).collect();
    out.sort_unstable();
    assert_eq!(out, (0..30).collect::<Vec<u64>>());
}

/// Each record gives two, twelve times over.
fn doubling(env: &StreamEnvironment) -> DataStream<u32> {
    env.from_collection(vec![12_u32]).iterate(|looped| {
        let twice = looped
            .filter(|left| *left > 0)
            .flat_map(|left| [left - 1, left - 1]);
        (
            twice.rebalance().map(|left| left),
            looped.filter(|left| *left == 0),
        )
    })
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_grows_goes_to_the_store_or_fails_with_the_mend() {
    let options = JobOptions {
        loop_bytes: 20_000,
        ..JobOptions::default()
    };
    let env = builder(1, None).options(options.clone()).build();
    let _ = doubling(&env).collect();
    let failed = env.execute("doubling").await.expect_err("has no room");
    let failed = failed.to_string();
    assert!(
        failed.contains("more than 20000 bytes of records are under way")
            && failed.contains("RocksDbBackend"),
        "{failed}"
    );
    let stored = builder(2, None).options(options);
    let env = stored
        .state_backend(MemoryStores { cache_bytes: 500 })
        .build();
    let all = doubling(&env).collect();
    env.execute("doubling").await.expect("completes");
    assert_eq!(all.len(), 1 << 12);
}

/// What the author of a program is told before it is started.
async fn refusal(write: impl FnOnce(&StreamEnvironment, DataStream<u64>)) -> String {
    let env = builder(1, None).build();
    write(&env, env.from_collection(vec![1, 2, 3]));
    match env.start("wrong").await {
        Ok(_) => "started".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn loops_that_cannot_work_are_refused_in_one_line() {
    let second = WindowAssigner::tumbling(MS(1_000));
    let table = [
        (
            refusal(|_, numbers| {
                let other = numbers.map(|n| n + 1);
                numbers.iterate(|looped| (other, looped)).print();
            })
            .await,
            "what \"map\" emits is fed back into iteration \"iterate\", but doesn't come from it: return a stream that is \
             made of the one that the body is given",
        ),
        (
            refusal(|_, numbers| {
                let other = builder(1, None).build();
                let other = other.from_collection(vec![1]);
                numbers.iterate(|looped| (other, looped)).print();
            })
            .await,
            ".iterate(..) of streams of two environments: read both from one",
        ),
        (
            refusal(|_, numbers| {
                numbers.iterate(|looped| (looped.clone(), looped)).print();
            })
            .await,
            "iteration \"iterate\" feeds all that it gets straight back, so it never ends: put an operator that lets \
             records go, such as .filter(..), between the two",
        ),
        (
            refusal(|_, numbers| {
                let out = numbers.iterate(|looped| {
                    let inner =
                        looped.iterate(|inner| (inner.filter(|n| *n > 3), inner.name("inner")));
                    (inner.filter(|n| *n > 9), inner)
                });
                out.print();
            })
            .await,
            "iteration \"inner\" stands inside iteration \"iterate\": let one loop do both, with an enum of what goes round",
        ),
        (
            refusal(|_, numbers| {
                let timed = WatermarkStrategy::monotonous().with_timestamps(|n: &u64| *n as i64);
                let numbers = numbers.assign_watermarks(timed);
                let out = numbers.iterate(|looped| (looped.filter(|n| *n > 3), looped));
                out.key_by(|n| *n).window(second).count().print_debug();
            })
            .await,
            "operator \"window\" works in event time, but its watermarks come through iteration \"iterate\", and what goes \
             round there may be older than they say: call .assign_watermarks(..) between the two",
        ),
        (
            refusal(|_, numbers| {
                let out = numbers.iterate(|looped| {
                    let looped = looped.parallelism(2);
                    (looped.filter(|n| *n > 3).parallelism(1).forward(), looped)
                });
                out.print();
            })
            .await,
            "\"filter\" (1 subtasks) forwards to \"iterate\" (2): make them equal, or use .rebalance()",
        ),
    ];
    for (told, expected) in table {
        assert_eq!(told, expected);
    }
    for (builder, given) in [
        (
            builder(1, None).unaligned_after(Duration::ZERO),
            "unaligned_after",
        ),
        (
            builder(1, None).checkpoint_mode(CheckpointMode::AtLeastOnce),
            "checkpoint_mode AtLeastOnce",
        ),
    ] {
        let env = builder.build();
        let numbers = env.from_collection(vec![1, 2, 3]);
        numbers
            .iterate(|looped| (looped.filter(|n| *n > 3), looped))
            .print();
        let told = env
            .start("wrong")
            .await
            .err()
            .expect("is refused")
            .to_string();
        let expected = format!(
            "operator iterate-1 begins a loop, whose barriers keep their place: leave {given} out"
        );
        assert_eq!(told, expected);
    }
}
