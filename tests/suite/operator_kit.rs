//! The test kit's harness on what a program is made of, beside the pictures of its documentation.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;
use std::time::Duration;

use rivus::connectors::FileSink;
use rivus::testing::OperatorTest;
use rivus::{
    AsyncRequests, BroadcastProcessFunction, DataStream, Either, Event, MapState, OnError, Output,
    SideOutputTag, UserError, WatermarkStrategy, WindowAssigner,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn pair(word: &str) -> (String, u64) {
    let (key, number) = word.split_once('=').unwrap_or((word, "1"));
    (key.to_owned(), number.parse().unwrap())
}

fn sided(word: &str) -> Either<(String, u64), (String, u64)> {
    match word.strip_prefix('~') {
        Some(word) => Either::Second(pair(word)),
        None => Either::First(pair(word)),
    }
}

type Pairs = DataStream<(String, u64)>;

#[test]
fn a_chain_of_operators_behind_one_exchange_is_driven_as_one() {
    let late = SideOutputTag::new("late");
    OperatorTest::of(|pairs: &Pairs| {
        pairs
            .key_by_ref(|pair| pair.0.as_str())
            .window(WindowAssigner::tumbling(MS(10)))
            .late_output(&late)
            .sum(|pair| pair.1)
            .name("sums")
    })
    .side_output(&late)
    .reads(pair)
    .shows(|sum| format!("{}={}", sum.key, sum.value))
    .check(
        "a=1@1 b=2@2 | a=4@3 x3 !9 a@5 a=8@11 | x2 !max",
        "| b=2@9 a=5@9 !9 late:(\"a\",1)@5 | a=8@19 !max",
    );
    OperatorTest::of(|pairs: &Pairs| {
        let sums = pairs.key_by_ref(|pair| pair.0.as_str()).sum(|pair| pair.1);
        sums.filter(|sum| sum.1 % 2 == 0).map(|sum| sum.1)
    })
    .reads(pair)
    .check("a=1@1 a=1@2 | a=1@3 x a=1@3", "2@2 | 4@3");
}

/// Records that are gathered before the exchange are driven as they are sent: what is late goes one by one.
#[test]
fn a_window_fires_again_for_each_late_record_of_a_run() {
    OperatorTest::of(|pairs: &Pairs| {
        let windows = pairs
            .key_by_ref(|pair| pair.0.as_str())
            .window(WindowAssigner::tumbling(MS(10)));
        let windows = windows.allowed_lateness(MS(10)).pre_aggregate(true);
        windows.sum(|pair| pair.1)
    })
    .reads(pair)
    .shows(|sum| format!("{}={}", sum.key, sum.value))
    .check(
        "a=1@1 a=2@2 | a=3@3 x !9 | a=1@4 a=1@5 x a=2@6 !max",
        "| a=6@9 !9 | a=7@9 a=8@9 a=10@9 !max",
    );
}

#[test]
fn two_streams_meet_in_joins_and_under_broadcast_rules_at_every_parallelism() {
    OperatorTest::of_two(|orders: &Pairs, payments: &Pairs| {
        orders
            .join(payments)
            .on(|order| order.0.clone(), |payment| payment.0.clone())
            .window(WindowAssigner::tumbling(MS(10)))
            .apply(|order, payment| (order.0.clone(), order.1 + payment.1))
    })
    .reads(sided)
    .shows(|joined| format!("{}={}", joined.value.0, joined.value.1))
    .check("a=1@1 ~a=2@2 ~b=1@2 | x2 a=5@3 !9", "| a=3@9 a=7@9 !9");

    /// Passes on what isn't forbidden.
    #[derive(Clone)]
    struct Polite;

    impl BroadcastProcessFunction<(String, u64), (String, u64)> for Polite {
        type Out = (String, u64);
        type Broadcast = MapState<String, u64>;

        fn process(
            &mut self,
            word: Event<(String, u64)>,
            forbidden: &Self::Broadcast,
            out: &mut Output<'_, (String, u64)>,
        ) -> Result<(), UserError> {
            if !forbidden.contains_key(&word.value.0) {
                out.emit(word.value);
            }
            Ok(())
        }

        fn process_broadcast(
            &mut self,
            word: Event<(String, u64)>,
            forbidden: &mut Self::Broadcast,
            _: &mut Output<'_, (String, u64)>,
        ) -> Result<(), UserError> {
            forbidden.insert(word.value.0, word.ts as u64);
            Ok(())
        }
    }

    let polite = OperatorTest::of_two(|words: &Pairs, rules: &Pairs| {
        words
            .connect_broadcast(&rules.clone().broadcast())
            .process(Polite)
    });
    let polite = polite
        .reads(sided)
        .shows(|word| word.0.clone())
        .parallelism(3);
    polite.check("a@1 ~a@2 a@3 b@4 a@5 a@6 a@7 | x2 a@8 b@9", "a@1 b@4 | b@9");
    let mut running = polite.start().unwrap();
    running.push_second(2, pair("a")).unwrap();
    let forbidden: MapState<String, u64> = running.broadcast_state().unwrap().unwrap();
    assert_eq!(forbidden.get("a"), Some(&2));
}

/// The visible lines of a folder, file by file.
fn lines(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| !file.file_name().unwrap().to_str().unwrap().starts_with('.'));
    files.sort();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_sink_has_committed_when_the_checkpoint_is_there_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let test = OperatorTest::of(|numbers: &DataStream<u64>| numbers.sink_to(FileSink::lines(&out)));
    let mut sink = test.start().unwrap();
    sink.push(0, 1).unwrap();
    assert!(lines(&out).is_empty());
    sink.checkpoint().unwrap();
    assert_eq!(lines(&out), ["1"]);
    sink.push(0, 2).unwrap();
    sink.crash().unwrap();
    sink.push(0, 3).unwrap();
    sink.checkpoint().unwrap();
    assert_eq!(lines(&out), ["1", "3"]);
}

#[test]
fn records_that_cross_to_other_subtasks_are_refused_with_the_mend() {
    let test = OperatorTest::of(|pairs: &Pairs| {
        let sums = pairs.key_by_ref(|pair| pair.0.as_str()).sum(|pair| pair.1);
        sums.key_by(|sum| sum.1).count()
    });
    let told = test.start().err().unwrap().message;
    assert!(
        told.ends_with("drive one of the two, or the whole job by a JobTest"),
        "{told}"
    );
}

#[test]
fn watermarks_that_a_strategy_makes_are_the_operators_own() {
    OperatorTest::of(|pairs: &Pairs| {
        let by_number =
            WatermarkStrategy::monotonous().with_timestamps(|pair: &(String, u64)| pair.1 as i64);
        pairs.assign_watermarks(by_number)
    })
    .reads(pair)
    .shows(|pair| pair.0.clone())
    .check("a=5@0 b=7@0 flush", "a@5 b@7 !6");
}

/// What a check of a test tells when it fails.
fn told(check: impl FnOnce()) -> String {
    let check = std::panic::AssertUnwindSafe(check);
    let panic = std::panic::catch_unwind(check).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_picture_that_is_wrong_says_so() {
    let same = OperatorTest::of(|pairs: &Pairs| pairs.map(|pair| pair)).reads(pair);
    for (picture, mend) in [
        (
            "a@1 ?",
            "word ? means nothing: a record has its time behind it, as a@1, and there are /, !6",
        ),
        ("xylophone", "word xylophone means nothing"),
        ("!soon", "\"soon\" is no number"),
    ] {
        let told = told(|| {
            let _ = same.play(picture, 0);
        });
        assert!(told.contains(mend) && !told.contains('\n'), "{told}");
    }
}

#[test]
fn keys_of_one_watermark_are_expected_in_any_order_and_a_check_says_when_that_is_meant() {
    let counts = OperatorTest::of(|pairs: &Pairs| {
        let windows = pairs
            .key_by_ref(|pair| pair.0.as_str())
            .window(WindowAssigner::tumbling(MS(10)));
        windows.count()
    });
    let counts = counts
        .reads(pair)
        .shows(|count| format!("{}={}", count.key, count.value));
    // In memory the last that came is the first, over a store it isn't.
    let six = "a@1 b@2 c@3 d@4 e@5 f@6 !9";
    let order = "f=1@9 e=1@9 d=1@9 c=1@9 b=1@9 a=1@9";
    let told_so = told(|| {
        counts.check(six, &format!("{order} !9"));
    });
    for line in [
        "with seed 1, rows over a store",
        "  came out  expected",
        "Expect their records between { and }",
    ] {
        assert!(told_so.contains(line), "{told_so}");
    }
    counts.check(six, &format!("{{ {order} }} !9"));
    let told = told(|| {
        counts.check("a@1 !9", "a=2@9 !9");
    });
    assert!(told.contains("> a=1@9     a=2@9"), "{told}");
}

#[test]
fn requests_are_pictured_in_order_and_not_with_little_room_and_at_another_parallelism() {
    let answer = |pair: (String, u64)| async move {
        rivus::testing::sleep(MS(pair.1)).await;
        match pair.0.as_str() {
            "bad" => Err("refused".to_owned()),
            _ => Ok(pair),
        }
    };
    let check = |requests: AsyncRequests<(String, u64)>, input: &str, output: &str| {
        OperatorTest::of(|pairs: &Pairs| pairs.async_map(answer, requests.clone()))
            .reads(pair)
            .shows(|pair| format!("{}={}", pair.0, pair.1))
            .check(input, output);
    };
    let (ordered, unordered) = (
        || AsyncRequests::ordered(MS(100)),
        || AsyncRequests::unordered(MS(100)),
    );
    check(ordered(), "a=30@1 b=10@2 !2 +30", "a=30@1 b=10@2 !2");
    check(unordered(), "a=30@1 b=10@2 !2 +30", "b=10@2 a=30@1 !2");
    // c has room when b is answered, and is before a.
    let two = unordered().capacity(2);
    check(two, "a=30@1 b=10@2 c=10@3 +30", "b=10@2 c=10@3 a=30@1");
    let skipping = ordered().on_error(OnError::Skip);
    check(skipping, "bad=10@1 b=10@2 !2 +10", "b=10@2 !2");
    // Those under way at the barrier are dealt to three, and are all asked for again.
    let all = "a=30@1 b=20@2 c=10@3 +5 | x3 +30";
    check(unordered(), all, "| c=10@3 b=20@2 a=30@1");
    OperatorTest::of(|pairs: &Pairs| pairs.async_map(answer, ordered()))
        .reads(pair)
        .check_fails("a=150@1 +100", "no answer within 100ms");
}
