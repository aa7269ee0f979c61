use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rivus_core::{ParallelInstance, UserError};

use super::rig::*;
use crate::testing::sleep;
use crate::{AsyncFunction, AsyncOperator, AsyncRequests, OnError, Rejected, Retry, SideOutputTag};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Answers after as many milliseconds as the number says; a negative one is refused at once.
#[derive(Clone)]
struct Slow;

impl AsyncFunction<Pair> for Slow {
    type Out = Pair;

    async fn call(&self, pair: Pair) -> Result<Vec<Pair>, UserError> {
        let ms = u64::try_from(pair.1).map_err(|_| format!("{} is less than nothing", pair.1))?;
        sleep(MS(ms)).await;
        Ok(vec![pair])
    }
}

/// A service that is busy as often as the number says, for each key, and then answers which try it was. Nothing for keys
/// that it gave up.
#[derive(Clone, Default)]
struct Busy(Arc<Mutex<BTreeMap<String, i64>>>);

impl AsyncFunction<Pair> for Busy {
    type Out = Pair;

    /// Each attempt asks a service of its own.
    fn open(&mut self, _: ParallelInstance) -> Result<(), UserError> {
        self.0 = Arc::default();
        Ok(())
    }

    async fn call(&self, (key, times): Pair) -> Result<Vec<Pair>, UserError> {
        let mut tries = self.0.lock().unwrap();
        let tries = tries.entry(key.clone()).or_default();
        *tries += 1;
        match *tries > times {
            true => Ok(vec![(key, *tries)]),
            false => Err("busy".into()),
        }
    }

    fn on_timeout(&self, (key, _): Pair, _: Duration) -> Result<Vec<Pair>, UserError> {
        Ok(vec![(key, -1)])
    }
}

fn show(pair: &Pair) -> String {
    format!("{}={}", pair.0, pair.1)
}

fn asked(requests: AsyncRequests<Pair>) -> AsyncOperator<Pair, Slow> {
    AsyncOperator::new(Slow, requests)
}

#[test]
fn answers_come_in_the_order_of_the_records_or_as_they_are_there() {
    let input = "a=30@1 b=10@2 !5 c=5@6 +10 +20 +30";
    check(
        &asked(AsyncRequests::ordered(MS(100))),
        &main_only(show),
        input,
        "a=30@1 b=10@2 !5 c=5@6",
    );
    // No answer passes a watermark.
    check(
        &asked(AsyncRequests::unordered(MS(100))),
        &main_only(show),
        input,
        "b=10@2 a=30@1 !5 c=5@6",
    );
}

#[test]
fn what_is_under_way_at_a_barrier_is_asked_for_again_after_a_crash() {
    for (input, output) in [
        ("a=30@1 b=10@2 +15 | +10 x +40", "b=10@2 | a=30@1"),
        ("a=30@1 | !3 b=10@4 +5 x +5 x +30", "| a=30@1 !3 b=10@4"),
        // The end waits for all, however long that takes.
        ("a=30@1 b=20@2 !max end", "b=20@2 a=30@1 !max end"),
    ] {
        let unordered = asked(AsyncRequests::unordered(MS(100)));
        check(&unordered, &main_only(show), input, output);
    }
}

#[test]
fn those_that_have_no_room_wait_until_others_are_answered() {
    let two = asked(AsyncRequests::unordered(MS(100)).capacity(2));
    check(
        &two,
        &main_only(show),
        "a=30@1 b=10@2 c=10@3 d=30@4 +60",
        "b=10@2 c=10@3 a=30@1 d=30@4",
    );
}

#[test]
fn errors_and_answers_that_are_too_late_go_where_the_requests_say() {
    let tag = || SideOutputTag::new("bad");
    let patient = AsyncRequests::ordered(MS(20))
        .retry(Retry::fixed(1, MS(5)))
        .on_error(OnError::SideOutput(tag()));
    let outlets = with_side(show, "bad", |bad: &Rejected<Pair>| {
        format!("{}:{}", show(&bad.record), bad.error.replace(' ', "_"))
    });
    let operator = asked(patient);
    // Side outputs have a buffer of their own: which of two outputs is first is not given.
    let mut said = Vec::new();
    for seed in 0..4 {
        let input = "a=-1@1 b=50@2 c=7@3 +4 +1 +30";
        let mut words = play(&operator, &outlets, picture(input), seed);
        words.sort();
        said.push(words.join(" "));
    }
    let bad = "bad:a=-1:-1_is_less_than_nothing@1 \
               bad:b=50:no_answer_within_20ms:_give_it_a_longer_timeout@2 c=7@3";
    assert!(said.iter().all(|said| said == bad), "{said:?}");

    let strict = asked(AsyncRequests::ordered(MS(20)));
    let outlets = main_only(show);
    let mut rig = Rig::new(&strict, &outlets, 0);
    let failure = rig.play(picture("a=50@1 +30")).unwrap_err();
    assert!(
        failure.message.contains("no answer within 20ms"),
        "{failure}"
    );
}

#[test]
fn a_request_that_fails_is_made_again_after_each_wait() {
    let thrice = || AsyncRequests::ordered(MS(100)).retry(Retry::backoff(3, MS(5), MS(10)));
    for (requests, input, output) in [
        // After 5 ms, and after 10 more.
        (
            thrice(),
            "a=1@1 +4 !2 +1 b=2@3 +14 !4 +1",
            "a=2@1 !2 b=3@3 !4",
        ),
        // In order c waits for b, which takes longer.
        (thrice(), "b=2@1 c=1@2 +5 +10", "b=3@1 c=2@2"),
        (
            AsyncRequests::unordered(MS(100)).retry(Retry::fixed(2, MS(5))),
            "b=2@1 c=1@2 +5 +5",
            "c=2@2 b=3@1",
        ),
        // The time runs from the first try.
        (
            AsyncRequests::ordered(MS(12)).retry(Retry::fixed(9, MS(5))),
            "a=2@1 b=5@2 +10 +2",
            "a=3@1 b=-1@2",
        ),
        // What was tried before the crash is forgotten with it.
        (thrice(), "a=2@1 +6 | +9 x +5 +10", "| a=3@1"),
    ] {
        let operator = AsyncOperator::new(Busy::default(), requests);
        check(&operator, &main_only(show), input, output);
    }
    let outlets = main_only(show);
    let operator = AsyncOperator::new(Busy::default(), thrice());
    let failure = Rig::new(&operator, &outlets, 0).play(picture("a=4@1 +5 +10 +10"));
    assert!(failure.unwrap_err().message.contains("busy"));
}
