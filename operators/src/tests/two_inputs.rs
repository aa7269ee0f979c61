use std::time::Duration;

use rivus_core::{Either, Event, Hashed, StateSet, UserError, ValueState};
use serde::{Deserialize, Serialize};

use super::rig::*;
use crate::{
    ByStream, CountTrigger, Grouped, Keyed, KeyedCoProcessFunction, KeyedProcessOperator, OfBoth,
    Output, Paired, PurgingTrigger, SideOutputTag, SideOutputs, Timer, WindowAssigner,
    WindowJoinOperator, WindowOperator, Windowed, by_either, by_ref, by_value,
};

fn show(pair: &Pair) -> String {
    format!("{}={}", pair.0, pair.1)
}

fn by_key() -> impl crate::KeySelector<EitherPair, Key = String> {
    by_either(
        by_ref::<Pair, str, _>(|pair| &pair.0),
        by_value(|pair: &Pair| pair.0.clone()),
    )
}

#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
#[state(crate = "rivus_core")]
struct Account {
    owed: ValueState<i64>,
    paid: ValueState<i64>,
}

/// The first stream is what is owed, the second what is paid; ten milliseconds later the balance is drawn.
#[derive(Clone)]
struct Balance {
    settled: SideOutputTag<String>,
}

impl KeyedCoProcessFunction<String, Pair, Pair> for Balance {
    type Out = Pair;
    type State = Account;

    fn process_first(
        &mut self,
        event: Event<Pair>,
        account: &mut Keyed<'_, String, Account>,
        _out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        *account.owed.get_or_default() += event.value.1;
        account.register_event_timer(event.ts + 10);
        Ok(())
    }

    fn process_second(
        &mut self,
        event: Event<Pair>,
        account: &mut Keyed<'_, String, Account>,
        _out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        *account.paid.get_or_default() += event.value.1;
        let at = account.processing_time() + 100;
        account.register_processing_timer(at);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _timer: Timer,
        account: &mut Keyed<'_, String, Account>,
        out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        let key = account.key().clone();
        match account.owed.take().unwrap_or(0) - account.paid.take().unwrap_or(0) {
            0 => out.side(&self.settled, key),
            left => out.emit((key, left)),
        }
        Ok(())
    }
}

type BalanceOperator<S> = KeyedProcessOperator<EitherPair, S, OfBoth<Balance>>;

fn balance() -> BalanceOperator<impl crate::KeySelector<EitherPair, Key = String>> {
    let settled = SideOutputTag::new("settled");
    let sides = SideOutputs::new();
    sides.declare(&settled);
    KeyedProcessOperator::new(by_key(), OfBoth(Balance { settled }), sides)
}

#[test]
fn records_of_both_streams_meet_in_their_keys_state_and_timers() {
    let outlets = with_side(show, "settled", |key: &String| key.clone());
    for (input, output) in [
        (
            "a=5@1 b=7@1 ~a=2@1 !11 ~b=7@12 !max",
            "b=7@11 a=3@11 !11 !max",
        ),
        ("~a=2@1 / a=2@1 !11", "settled:a@11 !11"),
        ("~a=2@1 +100", "a=-2@100"),
        // Both streams' state and timers survive a crash.
        (
            "a=5@1 ~b=1@1 | ~a=3@2 x ~a=4@3 !11 +100",
            "| a=-2@11 !11 b=-1@100 settled:a@100",
        ),
    ] {
        check_two(&balance(), &outlets, input, output);
    }
}

#[test]
fn runs_of_two_streams_go_back_to_their_senders() {
    let operator = balance();
    let outlets = with_side(show, "settled", |key: &String| key.clone());
    let mut rig: Rig<'_, Hashed<EitherPair>> = Rig::new(&operator, &outlets, 3);
    rig.play(hashed_sides(picture("a@1 b@1 / ~a@1 !2 a@3")))
        .unwrap();
    assert_eq!(rig.given_back, 3);
}

fn group(
    group: Windowed<String, Grouped<Pair, Pair>>,
) -> impl Iterator<Item = Windowed<String, String>> {
    let (key, window) = (group.key.clone(), group.window);
    let (first, second) = group.value;
    let join = |a: &Pair, b: &Pair| format!("{}+{}", a.1, b.1);
    Paired::inner(first, second, join).map(move |value| Windowed {
        key: key.clone(),
        window,
        value,
    })
}

fn joined(pair: &Windowed<String, String>) -> String {
    format!("{}[{})={}", pair.key, pair.window.start, pair.value)
}

fn late(record: &EitherPair) -> String {
    match record {
        Either::First(pair) => show(pair),
        Either::Second(pair) => format!("~{}", show(pair)),
    }
}

#[test]
fn windows_of_two_streams_give_every_pair_of_a_key() {
    let tens = WindowAssigner::tumbling(Duration::from_millis(10));
    let outlets = with_side(joined, "late", late);
    let tag = || SideOutputTag::new("late");
    let window = || WindowOperator::process(by_key(), tens, ByStream).late_output(tag());
    let join = WindowJoinOperator::new(window(), group);
    for (input, output) in [
        (
            "a=1@1 a=2@5 ~a=7@3 ~a=8@9 a=3@11 ~b=9@2 !9",
            "a[0)=1+7@9 a[0)=1+8@9 a[0)=2+7@9 a[0)=2+8@9 !9",
        ),
        (
            "a=1@1 ~a=2@12 !9 a=3@5 ~a=4@6 !max",
            "!9 late:a=3@5 late:~a=4@6 !max",
        ),
        (
            "a=1@1 | ~a=2@2 x ~a=2@2 ~a=3@3 !9 | x !12",
            "| a[0)=1+2@9 a[0)=1+2@9 a[0)=1+3@9 !9 | !12",
        ),
    ] {
        check_two(&join, &outlets, input, output);
    }
    let patient = window().allowed_lateness(Duration::from_millis(5));
    check_two(
        &WindowJoinOperator::new(patient, group),
        &outlets,
        "a=1@1 ~a=2@2 !9 ~a=3@3 !14 ~a=4@4",
        "a[0)=1+2@9 !9 a[0)=1+2@9 a[0)=1+3@9 !14 late:~a=4@4",
    );
}

#[test]
fn windows_of_two_streams_fire_when_a_trigger_says_so_and_stay_open_as_each_stream_says() {
    let outlets = main_only(joined);
    let twice = WindowOperator::process(by_key(), WindowAssigner::global(), ByStream);
    let twice = twice.trigger(PurgingTrigger::of(CountTrigger::every(2)));
    check_two(
        &WindowJoinOperator::new(twice, group),
        &outlets,
        "a=1@1 b=1@2 | x ~a=2@5 a=3@6 a=4@7 a=5@8 ~b=9@9",
        &"| a[min)=1+2@5 b[min)=1+9@9".replace("min", &i64::MIN.to_string()),
    );
    let sessions = WindowAssigner::session(Duration::from_millis(1));
    let window = WindowOperator::process(by_key(), sessions, ByStream);
    let window = window.gap_by(|record: &EitherPair| match record {
        Either::First(_) => Duration::from_millis(10),
        Either::Second(_) => Duration::from_millis(1),
    });
    check_two(
        &WindowJoinOperator::new(window, group),
        &outlets,
        "a=1@0 ~a=2@9 ~a=3@10 b=1@20 | x ~b=2@29 !9 !max",
        "| a[0)=1+2@9 !9 b[20)=1+2@29 !max",
    );
}

#[test]
fn a_million_pairs_are_made_a_few_at_a_time() {
    let tens = WindowAssigner::tumbling(Duration::from_millis(10));
    let window = WindowOperator::process(by_key(), tens, ByStream);
    let join = WindowJoinOperator::new(window, group);
    let outlets = main_only(joined);
    let mut rig: Rig<'_, Hashed<EitherPair>> = Rig::new(&join, &outlets, 3);
    let records = |key: &str| {
        (0..300)
            .map(|n| format!("{key}={n}@1 "))
            .collect::<String>()
    };
    let input = format!("{}/ {}", records("a"), records("~a"));
    // The capturing stage refuses runs of more than some hundred records.
    rig.play(hashed_sides(picture(&format!("{input} !9"))))
        .unwrap();
    assert_eq!(rig.log.len(), 300 * 300 + 1);
    assert_eq!(rig.given_back, 2, "only what came from another subtask");
}
