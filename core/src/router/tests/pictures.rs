//! What goes in, and what comes out of it.

use std::sync::Arc;

use super::bench::{Bench, Hash, info};
use crate::event::Hashed;
use crate::key::key_hash;
use crate::router::*;

fn played(routes: &dyn RouteFactory, lanes: usize, script: &str) -> String {
    let info = info(3);
    let mut bench = Bench::new(routes.router(&info, 0..lanes), lanes, info);
    bench.play(script);
    bench.picture()
}

fn table(routes: &dyn RouteFactory, lanes: usize, rows: &[(&str, &str)]) {
    for (script, expected) in rows {
        assert_eq!(played(routes, lanes, script), *expected, "{script}");
    }
}

#[test]
fn one_channel_in_pictures() {
    table(
        &Forward::<u32>::default(),
        1,
        &[
            // A batch waits until it is full, the input runs dry, or something must follow it.
            ("+9 1,2", ""),
            ("+9 1,2 o7 3 o0", "[1, 2] o7 [3] o0"),
            ("+1 1,2,3 4 o7", "[1, 2, 3] !"),
            ("+9 1,2 3", "[1, 2, 3]"),
            ("+9 1,2 f", "[1, 2]"),
            ("+9 1,2 |1", "[1, 2] |1"),
            ("+9 1,2 $", "[1, 2] $"),
            ("+9 1,2,3,4,5,6,7 f", "[1, 2, 3] [4, 5, 6] [7]"),
            // A watermark passes an empty buffer, waits behind a filling one, and is merged there.
            ("+9 w5", "w5"),
            ("+9 1 w5", ""),
            ("+9 1 w5 f", "[1] w5"),
            ("+9 1 w5 2 w6 f", "[1, 2] w6"),
            ("+9 1 w5 2 w6 3", "[1, 2, 3] w6"),
            // Idleness comes last, and is taken back by whatever follows it.
            ("+9 1 w5 i", "[1] w5 i"),
            ("1 w5 i 2 +9", "[1, 2] w5"),
            ("w5 i w6 +9", "w6"),
            ("+9 i 1 f", "i [1]"),
            // Without credit everything waits, but barriers and the end need none of their own.
            ("1,2,3", " !"),
            ("1,2,3,4 +1", "[1, 2, 3]"),
            ("1,2,3,4 +1 +1", "[1, 2, 3] [4]"),
            ("+1 w5 |1 $", "w5 |1 $"),
            // Nothing passes a channel that its receiver hasn't opened.
            ("|1", " !"),
            ("|1 +1 $", "|1 $"),
            ("1 |1", " !"),
            ("1 |1 +1", "[1] |1"),
            ("1 w5 |1 +1", "[1] !"),
            ("1 w5 |1 +1 +1", "[1] w5 |1"),
            ("w5 i |1 +1 +1", "w5 i |1"),
            ("w5 w6 w7 +1", "w7"),
            ("i |1 +1 i $ +1", "i |1 i $"),
        ],
    );
}

#[test]
fn barriers_that_overtake_in_pictures() {
    table(
        &Forward::<u32>::default(),
        1,
        &[
            // The chain gets done with its run; what there is no credit for stays behind the barrier.
            ("+1 1,2,3 4,5,6,7 ( |1 )", "[1, 2, 3] ^1"),
            ("+1 1,2,3 4,5,6,7 ( |1 ) +9", "[1, 2, 3] ^1 [4, 5, 6] [7]"),
            ("+9 1,2 ( |1 )", "[1, 2] ^1"),
            // A barrier that is stuck goes ahead, and so do those that come while something is parked.
            ("+1 w1 2 w5 i |1 (", "w1 ^1"),
            ("+1 w1 2 w5 i |1 ( ) +9", "w1 ^1 [2] w5 i"),
            ("+1 w1 2 ( |1 ) ( |2 ) +9 f", "w1 ^1 ^2 [2]"),
            // One that isn't to overtake does not, nor does the end.
            ("+1 w1 2 ( |1 ) |2", "w1 ^1 !"),
            ("+1 w1 2 ( |1 ) |2 +9", "w1 ^1 [2] |2"),
            ("+1 w1 2 ( $ |1 ) +9", "w1 ^1 [2] $"),
            // Nothing goes ahead where nobody has opened the channel.
            ("1 ( |1", " !"),
            ("1 ( |1 +9", "[1] ^1"),
            // As much as is allowed, and then it waits for credit as ever.
            ("+1 w1 2,3,4,5,6,7,8 (1", "w1 !"),
            ("+1 w1 2,3,4,5,6,7,8 (1 +1", "w1 [2, 3, 4]"),
        ],
    );
    table(
        &Rebalance::<u32>::default(),
        2,
        &[(
            "0+9 1+1 w5 1,2,3,4,5,6 ( |1 ) 1+9",
            "w5 [2, 4, 6] ^1 / w5 ^1 [1, 3, 5]",
        )],
    );
    table(
        &Broadcast::<u32>::default(),
        2,
        &[
            ("0+9 1+1 w1 1,2,3 ( |1 )", "w1 [1, 2, 3] ^1 / w1 ^1"),
            ("0+9 1+1 w1 2 |1 ( ) 1+9", "w1 [2] ^1 / w1 ^1 [2]"),
            ("0+9 1+1 w1 2 ( |1 ) |2 1+9", "w1 [2] ^1 |2 / w1 ^1 [2] |2"),
        ],
    );
}

#[test]
fn several_channels_in_pictures() {
    table(
        &Rebalance::<u32>::default(),
        2,
        &[
            ("+9 1,2,3,4 f", "[2, 4] / [1, 3]"),
            // A channel without credit holds up the others only when its batch is full.
            ("0+9 1,2,3,4 f", "[2, 4] / "),
            // (5 fills channel 1's batch: the run stops there, and 6 is kept.)
            ("0+9 1,2,3,4,5,6", " /  !"),
            // Barriers go out together, behind everything.
            ("0+9 1,2 |1", "[2] /  !"),
            ("0+9 1,2 |1 1+1", "[2] |1 / [1] |1"),
            ("0+9 w5 1+1", "w5 / w5"),
        ],
    );
    table(
        &Broadcast::<u32>::default(),
        2,
        &[
            (
                "+9 1,2,3 w5 i |1 $",
                "[1, 2, 3] w5 i |1 $ / [1, 2, 3] w5 i |1 $",
            ),
            // To all or to none.
            ("0+9 1,2,3", " /  !"),
            ("0+9 1,2,3 1+1", "[1, 2, 3] / [1, 2, 3]"),
            ("0+9 w5", " / "),
            ("0+9 w5 w6 1+1", "w6 / w6"),
            ("0+9 1 |1", " /  !"),
            ("0+1 |1", " /  !"),
            ("0+1 |1 1+1", "|1 / |1"),
        ],
    );
}

#[test]
fn a_channel_that_gets_few_records_gets_its_watermarks_all_the_same() {
    let one_sided = HashBy::new(|value: &u32| if *value == 1 { 0 } else { u64::MAX });
    let mut script = String::from("+99 1 w1 ");
    for n in 2..9 {
        script.push_str(&format!("{n} w{n} "));
    }
    // Two channels with batches of three: after six records the first is not held back any more.
    let expected = "[1] w7 w8 / w1 [2, 3, 4] w3 w4 [5, 6, 7] w6 w7";
    assert_eq!(played(&one_sided, 2, &script), expected);
}

#[test]
fn a_batch_keeps_to_its_bytes_when_records_are_large() {
    let info = SubtaskInfo {
        batch_bytes: 40,
        ..info(1_000)
    };
    for routes in [
        &Forward::<u32>::default() as &dyn RouteFactory,
        &Broadcast::<u32>::default(),
    ] {
        let mut bench = Bench::new(routes.router(&info, 0..1), 1, info.clone());
        bench.grant(0, 1_000);
        let run: Vec<u32> = (0..100).collect();
        bench.run(&run);
        bench.play("f");
        let sent = bench.seen[0].len();
        assert_eq!(sent, 100);
        let longest = bench.pictures[0]
            .iter()
            .map(|batch| batch.split(',').count());
        assert!(longest.max().unwrap() <= 3, "{:?}", bench.pictures);
    }
}

#[test]
fn subtasks_begin_to_rebalance_at_different_channels() {
    let first = |index| {
        let mut info = info(3);
        info.attempt.subtask.index = index;
        let router = Rebalance::<u32>::default().router(&info, 0..3);
        let mut bench = Bench::new(router, 3, info);
        bench.play("+9 1 f");
        bench.seen.iter().position(|lane| !lane.is_empty()).unwrap()
    };
    let mut firsts = [first(0), first(1), first(2)];
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 1, 2]);
}

#[test]
fn partitioners_in_pictures() {
    let by_rest = PartitionBy::<u32>::new(Arc::new(|value, lanes| *value as usize % lanes));
    table(
        &by_rest,
        2,
        &[
            ("+9 1,2,3,4 f", "[2, 4] / [1, 3]"),
            ("+9 1 w5 f", "w5 / [1] w5"),
        ],
    );
    table(
        &Global::<u32>::default(),
        2,
        &[
            // The other subtasks have no records, but they have their time and their barriers.
            ("+9 1,2 w5 |1 $", "[1, 2] w5 |1 $ / w5 |1 $"),
        ],
    );
}

#[test]
fn a_partitioner_that_names_a_subtask_that_is_not_there_fails_the_attempt() {
    let info = info(3);
    let routes = PartitionBy::<u32>::new(Arc::new(|value, _| *value as usize));
    let mut stage = routes.router(&info, 0..2).typed::<u32>().unwrap();
    let mut bench = Bench::new(Forward::<u32>::default().router(&info, 0..2), 2, info);
    let run = |values: [u32; 2]| values.map(|value| Event::at(0, value)).to_vec();
    assert!(stage.run(run([0, 1]), &mut bench.cx).is_ok());
    let failure = stage.run(run([1, 2]), &mut bench.cx).unwrap_err();
    assert_eq!(failure.scope, crate::failure::FailureScope::Attempt);
    assert_eq!(
        failure.message,
        "the partitioner behind it chose subtask 2 of 2: return a number below the one that it is given"
    );
}

#[test]
fn a_shuffle_is_even_and_every_attempt_draws_the_same() {
    let drawn = |index, attempt| {
        let mut info = info(3);
        info.attempt.subtask.index = index;
        info.attempt.attempt = attempt;
        let router = Shuffle::<u32>::default().router(&info, 0..3);
        let mut bench = Bench::new(router, 3, info);
        (0..3).for_each(|lane| bench.grant(lane, 10_000));
        bench.run(&(0..3_000).collect::<Vec<u32>>());
        bench.play("f");
        bench.seen
    };
    let first = drawn(0, 1);
    assert!(first.iter().all(|lane| (900..1_100).contains(&lane.len())));
    assert_eq!(first, drawn(0, 2));
    assert_ne!(first, drawn(1, 1));
}

#[test]
fn records_of_both_streams_arrive_as_one_type() {
    use crate::either::{AsFirst, AsSecond, Either, InHashed};

    type Keyed = HashBy<u32, Hash, InHashed<AsSecond<u8>>>;
    let take = |routes: &dyn RouteFactory| {
        let info = info(3);
        let mut stage = routes.router(&info, 0..1).typed::<u32>().unwrap();
        let mut cx = Bench::new(Forward::<u32>::default().router(&info, 0..1), 1, info).cx;
        cx.outputs.grant(0, 9);
        let run = vec![Event::at(1, 7)];
        assert!(stage.run(run, &mut cx).unwrap().is_done());
        assert!(stage.control(Control::Flush, &mut cx).unwrap().is_done());
        match cx.outputs.drain().next().map(|outgoing| outgoing.element) {
            Some(Element::Batch(batch)) => batch,
            _ => panic!("no batch"),
        }
    };
    let first: [&dyn RouteFactory; 5] = [
        &Forward::<u32, AsFirst<u8>>::default(),
        &Rebalance::<u32, AsFirst<u8>>::default(),
        &Broadcast::<u32, AsFirst<u8>>::default(),
        &Global::<u32, AsFirst<u8>>::default(),
        &Shuffle::<u32, AsFirst<u8>>::default(),
    ];
    for routes in first {
        let rows = Rows::<Either<u32, u8>>::from_batch(take(routes)).unwrap();
        assert_eq!(rows, [Event::at(1, Either::First(7))]);
    }
    let routes = Keyed::carrying(key_hash);
    let rows = Rows::<Hashed<Either<u8, u32>>>::from_batch(take(&routes)).unwrap();
    let hash = key_hash(&7_u32);
    let value = Either::Second(7);
    assert_eq!(rows, [Event::at(1, Hashed { hash, value })]);
}
