//! A chain of four stateless stages, and an exchange by key in memory; no actor, no other thread.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rivus::engine::core::{
    AnyStage, AttemptId, BuildContext, CheckpointId, Control, Element, Event, Failure, HashBy,
    Hashed, Inputs, ManualClock, OperatorFactory, OperatorIndex, OperatorUid, Outlets, Outputs,
    ParallelInstance, Progress, RestoredState, RouteFactory, Rows, Stage, SubtaskId, SubtaskInfo,
    SubtaskMetrics, TaskContext, VertexId, key_hash,
};
use rivus_operators::{Filter, Map};
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUN: u64 = 256;
const LANES: usize = 2;
const BUDGET: usize = 8 << 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Bid {
    price: u64,
    user: String,
    channel: String,
    url: String,
}

fn run() -> Vec<Event<Bid>> {
    (0..RUN)
        .map(|number| {
            let bid = Bid {
                price: number,
                user: format!("user-{:08x}", number * 7_919),
                channel: "channel-direct".to_owned(),
                url: format!("https://auctions.example.org/item/{number:016x}/bid"),
            };
            Event::at(number as i64, bid)
        })
        .collect()
}

fn info() -> SubtaskInfo {
    let subtask = SubtaskId {
        vertex: VertexId(0),
        index: 0,
    };
    SubtaskInfo {
        job: ParallelInstance::ALONE.job,
        attempt: AttemptId {
            subtask,
            attempt: 1,
        },
        parallelism: 1,
        max_parallelism: 128,
        batch_records: 1_024,
        batch_bytes: 1 << 20,
        loop_bytes: 1 << 20,
        is_distributed: false,
    }
}

fn context(lanes: usize) -> TaskContext {
    TaskContext::new(
        info(),
        Outputs::new(lanes),
        Arc::new(SubtaskMetrics::default()),
        vec![OperatorUid::from("bench")],
        Arc::new(ManualClock::default()),
    )
}

/// The end of the chain.
struct Drops;

impl Stage<Bid> for Drops {
    fn run(&mut self, run: Vec<Event<Bid>>, _: &mut TaskContext) -> Result<Progress, Failure> {
        drop(black_box(run));
        Ok(Progress::Done)
    }

    fn control(&mut self, _: Control, _: &mut TaskContext) -> Result<Progress, Failure> {
        Ok(Progress::Done)
    }

    fn resume(&mut self, _: &mut TaskContext) -> Result<Progress, Failure> {
        Ok(Progress::Done)
    }

    fn slice(&mut self, _: usize, _: &mut TaskContext) -> Result<bool, Failure> {
        Ok(true)
    }
}

fn chain_of_four() -> Result<Box<dyn Stage<Bid>>, Failure> {
    let dear = |mut bid: Bid| {
        bid.price = bid.price * 89 / 100;
        bid
    };
    let anonymous = |mut bid: Bid| {
        bid.user.truncate(9);
        bid
    };
    let operators: [Box<dyn OperatorFactory>; 4] = [
        Box::new(Filter::new(|bid: &Bid| !bid.price.is_multiple_of(16))),
        Box::new(Map::new(anonymous)),
        Box::new(Filter::new(|bid: &Bid| bid.price >= 16)),
        Box::new(Map::new(dear)),
    ];
    let (info, restored, uid) = (info(), RestoredState::default(), OperatorUid::from("bench"));
    let mut stage = AnyStage::new::<Bid>(Box::new(Drops));
    for operator in &operators {
        let cx = BuildContext {
            info: &info,
            restored: &restored,
            stores: None,
            uid: &uid,
            operator: OperatorIndex(0),
            unmarked_source: None,
        };
        let outlets = Outlets {
            main: stage,
            sides: BTreeMap::new(),
        };
        stage = operator.stage(&cx, outlets)?;
    }
    stage.typed()
}

fn chain(c: &mut Criterion) {
    let mut group = c.benchmark_group("chain_of_four");
    group.throughput(Throughput::Elements(RUN));
    let mut cx = context(0);
    let mut stage = match chain_of_four() {
        Ok(stage) => stage,
        Err(failure) => panic!("the chain can't be built: {failure}"),
    };
    group.bench_function("run of 256", |b| {
        b.iter_batched(run, |run| stage.run(run, &mut cx), BatchSize::SmallInput);
    });
    group.finish();
}

fn exchange(c: &mut Criterion) {
    let mut group = c.benchmark_group("exchange_by_key");
    group.throughput(Throughput::Elements(RUN));
    let mut cx = context(LANES);
    let by_user = HashBy::<Bid, _>::new(|bid: &Bid| key_hash(bid.user.as_str()));
    let mut router = match by_user.router(&info(), 0..LANES).typed::<Bid>() {
        Ok(stage) => stage,
        Err(failure) => panic!("the router can't be built: {failure}"),
    };
    let mut inputs = Inputs::new(&[0; LANES], CheckpointId(0), &[], BUDGET);
    for lane in 0..LANES {
        cx.outputs.grant(lane, inputs.granted(lane));
    }
    let mut pass = |run: Vec<Event<Bid>>| -> Result<(), Failure> {
        let mut progress = router.run(run, &mut cx)?;
        loop {
            for outgoing in cx.outputs.drain() {
                inputs.file(outgoing.lane, outgoing.seq, outgoing.element)?;
            }
            while let Some((channel, element)) = inputs.take() {
                if let Element::Batch(batch) = element {
                    black_box(Rows::<Hashed<Bid>>::from_batch(batch)?);
                }
                if let Some(granted) = inputs.processed(channel) {
                    cx.outputs.grant(channel, granted);
                }
            }
            if progress.is_done() {
                return Ok(());
            }
            progress = router.resume(&mut cx)?;
        }
    };
    group.bench_function("run of 256", |b| {
        b.iter_batched(run, |run| assert!(pass(run).is_ok()), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, chain, exchange);
criterion_main!(benches);
