use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rivus_core::{Event, Failure, ManualClock, OperatorFactory, Outlets, Rows, UserError};

use super::rig::*;
use crate::testing::Capture;
use crate::{
    Filter, FlatMap, Map, OnError, Output, ProcessFunction, ProcessOperator, Rejected,
    SideOutputTag, SideOutputs, TryMap,
};

fn show(pair: &Pair) -> String {
    format!("{}={}", pair.0, pair.1)
}

#[test]
fn map_keeps_times_and_passes_everything_else_on() {
    let double = Map::new(|(key, number): Pair| (key, number * 2));
    check(
        &double,
        &main_only(show),
        "a=1@1 b=2@5 !5 | idle end",
        "a=2@1 b=4@5 !5 | idle end",
    );
}

#[test]
fn a_filter_that_keeps_nothing_of_a_run_sends_nothing() {
    let odd = Filter::new(|(_, number): &Pair| number % 2 == 1);
    check(
        &odd,
        &main_only(show),
        "a=2@1 / a=1@2 b=2@2 b=3@3 !3",
        "a=1@2 b=3@3 !3",
    );
}

#[test]
fn flat_map_emits_in_order_and_the_watermark_waits_for_all_of_it() {
    let upto = FlatMap::new(|(key, number): Pair| (0..number).map(move |i| (key.clone(), i)));
    check(
        &upto,
        &main_only(show),
        "a=2@1 b=0@2 c=6@3 !3",
        "a=0@1 a=1@1 c=0@3 c=1@3 c=2@3 c=3@3 c=4@3 c=5@3 !3",
    );
}

proptest! {
    #[test]
    fn flat_map_loses_nothing_wherever_it_is_stopped(
        numbers in prop::collection::vec(0..40_i64, 0..12), seed in 0..u64::MAX,
    ) {
        let upto = FlatMap::new(|(key, number): Pair| (0..number).map(move |i| (key.clone(), i)));
        let run: Vec<_> = numbers.iter().map(|n| Event::at(*n, ("k".to_owned(), *n))).collect();
        let got = play(&upto, &main_only(show), vec![Step::Run(run), Step::Barrier], seed);
        let mut expected: Vec<String> = numbers
            .iter()
            .flat_map(|n| (0..*n).map(move |i| format!("k={i}@{n}")))
            .collect();
        expected.push("|".to_owned());
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn one_record_that_gives_a_million_leaves_the_turn_often() {
    let many = FlatMap::new(|(_, number): Pair| 0..number);
    let outlets = main_only(|_: &i64| String::new());
    let mut rig = Rig::new(&many, &outlets, 0);
    rig.run(vec![Event::at(0, ("k".to_owned(), 1_000_000_i64))])
        .unwrap();
    assert_eq!(rig.log.len(), 1_000_000);
    assert!(rig.yields > 10, "{} times", rig.yields);
}

fn positive((key, number): Pair) -> Result<Pair, String> {
    if number > 0 {
        Ok((key, number))
    } else {
        Err(format!("{number} is not positive"))
    }
}

#[test]
fn try_map_skips_and_counts() {
    let skip = TryMap::new(positive, OnError::Skip);
    let outlets = main_only(show);
    let mut rig = Rig::new(&skip, &outlets, 3);
    rig.play(picture("a=0@1 b=2@2 c=-1@3 !3")).unwrap();
    assert_eq!(rig.log.words().join(" "), "b=2@2 !3");
    assert_eq!(rig.cx().metrics.figures().skipped, 2);
}

#[test]
fn try_map_sends_the_record_and_the_error_to_the_side() {
    let tag = SideOutputTag::<Rejected<Pair>>::new("bad");
    let aside = TryMap::new(positive, OnError::SideOutput(tag));
    let outlets = with_side(show, "bad", |rejected: &Rejected<Pair>| {
        format!("{}={}", rejected.record.0, rejected.error.replace(' ', "_"))
    });
    check(
        &aside,
        &outlets,
        "a=0@1 b=2@2 / c=-1@3 !3",
        "b=2@2 bad:a=0_is_not_positive@1 bad:c=-1_is_not_positive@3 !3",
    );
}

#[test]
fn try_map_fails_the_attempt_and_the_operator_is_named_and_in_debug_builds_the_record() {
    let fail = TryMap::new(positive, OnError::Fail);
    let outlets = main_only(show);
    let mut rig = Rig::new(&fail, &outlets, 0);
    let failure = rig.play(picture("a=0@1")).unwrap_err();
    let located: Failure = rig.cx().locate(failure);
    let record = match cfg!(debug_assertions) {
        true => " (record (\"a\", 0))",
        false => "",
    };
    let expected = format!("operator op: 0 is not positive{record}");
    assert_eq!(located.to_string(), expected);
}

#[derive(Clone)]
struct Split(SideOutputTag<i64>);

impl ProcessFunction<Pair> for Split {
    type Out = Pair;

    fn process(&mut self, event: Event<Pair>, out: &mut Output<'_, Pair>) -> Result<(), UserError> {
        if event.value.1 > 9 {
            out.side(&self.0, event.value.1);
        } else {
            out.emit_at(event.ts + 100, event.value);
        }
        Ok(())
    }
}

#[test]
fn process_writes_to_outputs_that_are_declared_later() {
    let tag = SideOutputTag::new("big");
    let sides = SideOutputs::new();
    let split = ProcessOperator::new(Split(tag.clone()), sides.clone());
    sides.declare(&tag);
    let outlets = with_side(show, "big", debug::<i64>);
    check(
        &split,
        &outlets,
        "a=1@1 b=10@2 c=3@3 !3",
        "a=1@101 c=3@103 big:10@2 !3",
    );
}

#[test]
fn a_side_output_that_nobody_declared_is_named() {
    let split = ProcessOperator::new(Split(SideOutputTag::new("big")), SideOutputs::new());
    let outlets = main_only(show);
    let mut rig = Rig::new(&split, &outlets, 0);
    let failure = rig.play(picture("a=10@1")).unwrap_err();
    assert!(failure.message.contains("\"big\""), "{failure}");
}

/// Puts all records aside.
#[derive(Clone)]
struct Aside(SideOutputTag<String>);

impl ProcessFunction<String> for Aside {
    type Out = String;

    fn process(
        &mut self,
        event: Event<String>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        out.side(&self.0, event.value);
        Ok(())
    }
}

#[test]
fn a_run_of_a_side_output_is_as_long_as_its_bytes_permit() {
    let tag = SideOutputTag::new("aside");
    let sides = SideOutputs::new();
    sides.declare(&tag);
    let operator = ProcessOperator::new(Aside(tag), sides);
    let mut cx = world(0, 1, &Arc::new(ManualClock::default()));
    cx.info.batch_records = 1_000;
    cx.info.batch_bytes = 200_000;
    let log = Log::default();
    let length = || Arc::new(|text: &String| text.len().to_string());
    // One more would make 200,000 bytes.
    let aside = Capture::new(Some("aside"), length(), &log, 3).full_at(3);
    let outlets = Outlets {
        main: Capture::new(None, length(), &log, 0).stage(),
        sides: BTreeMap::from([("aside".to_owned(), aside.stage())]),
    };
    let mut task = built(&cx, &[], |build| {
        operator.head(operator.stage(build, outlets)?)
    })
    .unwrap();
    let run = vec![Event::at(0, "x".repeat(50_000)); 20];
    let mut progress = task.batch(0, Box::new(Rows::Owned(run)), &mut cx).unwrap();
    while !progress.is_done() {
        progress = task.resume(&mut cx).unwrap();
    }
    assert_eq!(log.words(), vec!["aside:50000@0"; 20]);
}
