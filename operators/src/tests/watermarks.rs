use std::time::Duration;

use rivus_core::{FailureScope, MIN_TIMESTAMP};

use super::rig::*;
use crate::{WatermarkOperator, WatermarkStrategy};

fn show(pair: &Pair) -> String {
    pair.0.clone()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_watermark_follows_the_run_that_raised_it_and_never_falls() {
    let operator =
        WatermarkOperator::new(WatermarkStrategy::<Pair>::bounded_out_of_orderness(ms(2)));
    check(
        &operator,
        &main_only(show),
        "a@5 a@9 / a@3 / a@9 / a@20 !7 !max",
        "a@5 a@9 !6 a@3 a@9 a@20 !17 !max",
    );
}

#[test]
fn times_come_from_the_record_when_a_function_finds_them() {
    let strategy = WatermarkStrategy::<Pair>::monotonous().with_timestamps(|pair: &Pair| pair.1);
    let operator = WatermarkOperator::new(strategy);
    check(&operator, &main_only(show), "a=7@0 b=9@0", "a@7 b@9 !8");
}

#[test]
fn punctuated_watermarks_come_from_records() {
    let strategy = WatermarkStrategy::punctuated(|pair: &Pair, ts| (pair.0 == "w").then_some(ts));
    let operator = WatermarkOperator::new(strategy);
    check(
        &operator,
        &main_only(show),
        "a@9 w@4 a@5 / a@12",
        "a@9 w@4 a@5 !4 a@12",
    );
}

#[test]
fn after_a_crash_the_clock_does_not_turn_back() {
    let operator = WatermarkOperator::new(WatermarkStrategy::<Pair>::monotonous());
    check(
        &operator,
        &main_only(show),
        "a@5 / a@9 | x a@7 / a@8 / a@20",
        // Said again, since the channels behind are new; never less.
        "a@5 !4 a@9 !8 | a@7 !8 a@8 a@20 !19",
    );
}

#[test]
fn no_time_overflows() {
    let operator = WatermarkOperator::new(WatermarkStrategy::<Pair>::bounded_out_of_orderness(
        Duration::MAX,
    ));
    let first = i64::MIN + 1;
    let text = format!("a@{first} / a@{}", i64::MAX);
    check(
        &operator,
        &main_only(show),
        &text,
        &format!("a@{first} a@{} !-1", i64::MAX),
    );
}

#[test]
fn a_record_that_nobody_gives_a_time_fails_the_job() {
    let operator = WatermarkOperator::new(WatermarkStrategy::<Pair>::monotonous());
    let outlets = main_only(show);
    let mut rig = Rig::new(&operator, &outlets, 0);
    let text = format!("a@5 / b@7 b@{}", MIN_TIMESTAMP);
    let failure = rig.play(picture(&text)).unwrap_err();
    assert_eq!(failure.scope, FailureScope::Job);
    assert!(
        failure.message.contains(".with_timestamps(..)"),
        "{failure}"
    );
}

#[test]
fn a_quiet_stream_is_idle_once_until_a_record_comes() {
    let strategy = WatermarkStrategy::<Pair>::monotonous().with_idleness(ms(100));
    let operator = WatermarkOperator::new(strategy);
    check(
        &operator,
        &main_only(show),
        "a@5 +99 a@6 +99 flush +1 flush +500 a@7 +100",
        "a@5 !4 a@6 !5 idle a@7 !6 idle",
    );
    // Idleness of what stands before it is handed on, and so is its end.
    let heedless = WatermarkOperator::new(WatermarkStrategy::<Pair>::monotonous());
    let expected = "a@5 !4 idle a@3 !4";
    check(&heedless, &main_only(show), "a@5 / idle / a@3", expected);
    // The same watermark again, for those that get no record.
    check(
        &operator,
        &main_only(show),
        "a@5 +99 flush +1 a@3",
        "a@5 !4 idle a@3 !4",
    );
}

#[test]
fn a_stream_that_never_had_a_record_becomes_idle_too() {
    let strategy = WatermarkStrategy::<Pair>::monotonous().with_idleness(ms(100));
    let operator = WatermarkOperator::new(strategy);
    check(&operator, &main_only(show), "flush +100", "idle");
}

#[test]
fn waiting_for_a_split_is_not_idleness() {
    let strategy = WatermarkStrategy::<Pair>::monotonous().with_idleness(ms(100));
    let operator = WatermarkOperator::new(strategy);
    check(
        &operator,
        &main_only(show),
        "a@5 +60 wait +1000 a@6 +100",
        "a@5 !4 wait a@6 !5 idle",
    );
    // The input runs dry while it waits, too.
    check(&operator, &main_only(show), "wait flush +1000", "wait");
}

#[test]
fn a_stream_whose_records_are_all_dropped_before_it_becomes_idle_once_its_source_has_work() {
    let strategy = WatermarkStrategy::<Pair>::monotonous().with_idleness(ms(100));
    let operator = WatermarkOperator::new(strategy);
    check(
        &operator,
        &main_only(show),
        "wait flush +1000 split +99 flush +1 +500 wait split +500 a@5 +100",
        "wait split idle wait split a@5 !4 idle",
    );
    check(
        &operator,
        &main_only(show),
        "a@5 +60 wait +1000 split +39 flush | +1",
        "a@5 !4 wait split | idle",
    );
}
