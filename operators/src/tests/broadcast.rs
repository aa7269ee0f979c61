use rivus_core::{
    Either, Event, Expiring, ExpiringMapState, Hashed, MapState, StateSet, UserError, ValueState,
    key_hash,
};
use serde::{Deserialize, Serialize};

use super::rig::*;
use crate::{
    BroadcastOperator, BroadcastProcessFunction, Keyed, KeyedBroadcastOperator,
    KeyedBroadcastProcessFunction, Output, SideOutputs, Timer, by_ref,
};

/// A record by key, or a broadcast one.
type Input = Either<Hashed<Pair>, Pair>;

fn show(pair: &Pair) -> String {
    format!("{}={}", pair.0, pair.1)
}

/// Numbers are summed by key and times the factor that was broadcast under the key's name; ten milliseconds later again.
#[derive(Clone)]
struct Factors;

type Copy = MapState<String, i64>;

fn factor(copy: &Copy, key: &str) -> i64 {
    copy.get(key).copied().unwrap_or(1)
}

impl KeyedBroadcastProcessFunction<String, Pair, Pair> for Factors {
    type Out = Pair;
    type State = ValueState<i64>;
    type Broadcast = Copy;

    fn process(
        &mut self,
        event: Event<Pair>,
        sum: &mut Keyed<'_, String, ValueState<i64>>,
        copy: &Copy,
        out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        *sum.get_or_default() += event.value.1;
        sum.register_event_timer(event.ts + 10);
        let total = *sum.get_or_default() * factor(copy, sum.key());
        out.emit((event.value.0, total));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        event: Event<Pair>,
        copy: &mut Copy,
        _out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        copy.insert(event.value.0, event.value.1);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _timer: Timer,
        sum: &mut Keyed<'_, String, ValueState<i64>>,
        copy: &Copy,
        out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        let total = sum.take().unwrap_or(0) * factor(copy, sum.key());
        out.emit((sum.key().clone(), total));
        Ok(())
    }
}

fn input(text: &str) -> Vec<Step<Input>> {
    mapped(picture(text), |pair| match sided(pair) {
        Either::First(value) => Either::First(Hashed {
            hash: key_hash(&value.0),
            value,
        }),
        Either::Second(value) => Either::Second(value),
    })
}

/// A function of pairs by their names.
fn keyed<P: KeyedBroadcastProcessFunction<String, Pair, Pair>>(
    function: P,
) -> KeyedBroadcastOperator<Pair, Pair, impl crate::KeySelector<Pair, Key = String>, P> {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    KeyedBroadcastOperator::new(by_key, function, SideOutputs::new())
}

#[test]
fn records_and_timers_by_key_read_what_was_broadcast() {
    for (text, output) in [
        (
            "a=2@1 / ~a=5@1 / a=3@2 b=3@2 !12",
            "a=2@1 a=25@2 b=3@2 a=25@11 b=3@12 a=0@12 !12",
        ),
        // State by key, timers and the copy survive a crash.
        (
            "~a=5@1 / a=2@1 | ~a=7@1 / a=1@1 x a=1@2 !11",
            "a=10@1 | a=21@1 a=28@2 a=28@11 !11",
        ),
    ] {
        check_steps(&keyed(Factors), &main_only(show), input(text), output);
    }
}

#[test]
fn a_subtask_that_starts_from_several_copies_takes_the_one_at_its_own_number() {
    let (operator, outlets) = (keyed(Factors), main_only(show));
    let snapshots = [5, 6].map(|number| {
        let mut rig: Rig<'_, Input> = Rig::new(&operator, &outlets, 0);
        rig.play(input(&format!("~a={number}@1 |"))).unwrap();
        rig.snapshot()
    });
    for (place, expected) in [((0, 1), "a=5@2"), ((1, 3), "a=6@2"), ((2, 3), "a=5@2")] {
        let clock = Default::default();
        let mut rig: Rig<'_, Input> =
            Rig::restored(&operator, &outlets, 0, place, &snapshots, &clock).unwrap();
        // A key of whichever group the subtask owns.
        let groups = rig.cx().info.key_groups();
        let hash = u64::from(groups.start) << 61;
        let value = Either::First(Hashed {
            hash,
            value: ("a".to_owned(), 1),
        });
        rig.run(vec![Event::at(2, value)]).unwrap();
        assert_eq!(rig.log.words().join(" "), expected, "{place:?}");
    }
}

/// Passes numbers on, times what was broadcast last.
#[derive(Clone)]
struct Times;

impl BroadcastProcessFunction<Pair, Pair> for Times {
    type Out = Pair;
    type Broadcast = ValueState<i64>;

    fn process(
        &mut self,
        event: Event<Pair>,
        times: &ValueState<i64>,
        out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        let (key, number) = event.value;
        out.emit((key, number * times.get().copied().unwrap_or(1)));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        event: Event<Pair>,
        times: &mut ValueState<i64>,
        _out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        times.set(event.value.1);
        Ok(())
    }
}

#[test]
fn a_stream_without_a_key_reads_what_was_broadcast_after_a_crash_too() {
    let operator = BroadcastOperator::new(Times, SideOutputs::new());
    let steps = mapped(picture("a=2@1 / ~x=5@1 | a=3@2 ~x=7@2 x a=4@3 !4"), sided);
    check_steps(
        &operator,
        &main_only(show),
        steps,
        "a=2@1 | a=15@2 a=28@3 !4",
    );
}

/// Sums numbers by key. What is broadcast is added to every sum at once, and a sum that comes to 0 is forgotten.
#[derive(Clone)]
struct Bonus;

impl KeyedBroadcastProcessFunction<String, Pair, Pair> for Bonus {
    type Out = Pair;
    type State = ValueState<i64>;
    type Broadcast = ValueState<i64>;

    fn process(
        &mut self,
        event: Event<Pair>,
        sum: &mut Keyed<'_, String, ValueState<i64>>,
        _: &ValueState<i64>,
        out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        *sum.get_or_default() += event.value.1;
        out.emit((event.value.0, *sum.get_or_default()));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        event: Event<Pair>,
        last: &mut ValueState<i64>,
        _: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        last.set(event.value.1);
        Ok(())
    }

    fn visits_keys(&self, bonus: &Pair) -> bool {
        bonus.0 == "all"
    }

    fn for_each_key(
        &mut self,
        bonus: &Event<Pair>,
        sum: &mut Keyed<'_, String, ValueState<i64>>,
        last: &ValueState<i64>,
        _: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        assert_eq!(last.get(), Some(&bonus.value.1), "after process_broadcast");
        sum.update(|sum| sum.map(|sum| sum + bonus.value.1).filter(|sum| *sum != 0));
        Ok(())
    }
}

#[test]
fn a_broadcast_record_visits_every_key_once_and_what_comes_behind_it_waits() {
    let bonus = keyed(Bonus);
    for (text, output) in [
        (
            "a=1@1 b=2@1 ~all=10@2 a=1@3 b=1@3 ~none=5@4 a=1@5 | x ~all=-13@6 a=1@7 b=1@7",
            "a=1@1 b=2@1 a=12@3 b=13@3 a=13@5 | a=1@7 b=1@7",
        ),
        ("~all=1@1 | a=1@2 ~all=1@3 x a=1@4", "| a=1@2 a=3@4"),
    ] {
        check_steps(&bonus, &main_only(show), input(text), output);
    }
    // More keys than are brought in together, while a snapshot is being written.
    let keys = |ts: i64| (0..1_000).map(move |key| format!("k{key}={ts}@{ts} "));
    let (first, again) = (keys(1).collect::<String>(), keys(2).collect::<String>());
    let text = format!("{first} / ~all=40@1 | {again}");
    for seed in 0..4 {
        let outlets = main_only(show);
        let mut rig: Rig<'_, Input> = Rig::new(&bonus, &outlets, seed);
        rig.slice = 7;
        rig.play(input(&text)).unwrap();
        let sums = rig.log.words();
        assert!(sums[1_001..].iter().all(|word| word.ends_with("=43@2")));
        assert_eq!(sums.len(), 2_001);
    }
}

/// What was broadcast, for a while.
#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
#[state(crate = "rivus_core")]
struct Recent {
    #[state(ttl = "100ms")]
    by_key: ExpiringMapState<String, i64>,
    #[state(ttl = "60ms")]
    last: Expiring<ValueState<i64>>,
}

/// Says what is known of a record's key, and what was broadcast last.
#[derive(Clone)]
struct Recall;

fn recall(key: &str, recent: &Recent) -> String {
    let number = |number: Option<&i64>| number.map_or("-".to_owned(), i64::to_string);
    let (of_key, last) = (number(recent.by_key.get(key)), number(recent.last.get()));
    format!("{key}:{of_key}/{last}")
}

impl BroadcastProcessFunction<Pair, Pair> for Recall {
    type Out = String;
    type Broadcast = Recent;

    fn process(
        &mut self,
        event: Event<Pair>,
        recent: &Recent,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        out.emit(recall(&event.value.0, recent));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        event: Event<Pair>,
        recent: &mut Recent,
        _out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        recent.by_key.insert(event.value.0, event.value.1);
        recent.last.set(event.value.1);
        Ok(())
    }
}

impl KeyedBroadcastProcessFunction<String, Pair, Pair> for Recall {
    type Out = String;
    type State = ValueState<i64>;
    type Broadcast = Recent;

    fn process(
        &mut self,
        event: Event<Pair>,
        state: &mut Keyed<'_, String, ValueState<i64>>,
        recent: &Recent,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        if event.value.1 < 0 {
            let at = state.processing_time() - event.value.1;
            state.register_processing_timer(at);
        }
        out.emit(recall(&event.value.0, recent));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        event: Event<Pair>,
        recent: &mut Recent,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        BroadcastProcessFunction::process_broadcast(self, event, recent, out)
    }

    fn on_timer(
        &mut self,
        _timer: Timer,
        state: &mut Keyed<'_, String, ValueState<i64>>,
        recent: &Recent,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        out.emit(recall(state.key(), recent));
        Ok(())
    }
}

#[test]
fn what_was_broadcast_and_has_expired_is_never_seen() {
    let by_key = keyed(Recall);
    let plain = BroadcastOperator::new(Recall, SideOutputs::new());
    // Over a crash too: then records after the barrier come again, later.
    for (text, output) in [
        (
            "~a=5@1 / a=1@1 +59 a=1@2 +1 a=1@3 ~b=6@3 / +39 a=1@4 +1 a=1@5 b=1@5",
            "a:5/5@1 a:5/5@2 a:5/-@3 a:5/6@4 a:-/6@5 b:6/6@5",
        ),
        (
            "~a=5@1 / +40 | a=1@2 x +20 a=1@3 +40 a=1@4",
            "| a:5/5@2 a:5/-@3 a:-/-@4",
        ),
    ] {
        check_steps(
            &plain,
            &main_only(String::clone),
            mapped(picture(text), sided),
            output,
        );
        check_steps(&by_key, &main_only(String::clone), input(text), output);
    }
    // A timer sees no more than a record.
    let steps = input("~a=5@1 / a=-70@1 +70 +40 a=-1@2 +1");
    let output = "a:5/5@1 a:5/-@70 a:-/-@2 a:-/-@111";
    check_steps(&by_key, &main_only(String::clone), steps, output);
}

#[test]
fn a_copy_that_is_never_used_again_gives_its_memory_back_and_is_not_written() {
    let (by_key, outlets) = (keyed(Recall), main_only(String::clone));
    let mut rig: Rig<'_, Input> = Rig::new(&by_key, &outlets, 0);
    let long = "a".repeat(1_000);
    rig.play(input(&format!("~{long}=5@1 |"))).unwrap();
    assert!(rig.snapshot().len() > 1_000);
    rig.play(input("+110 |")).unwrap();
    assert!(rig.snapshot().len() < 1_000);
}

/// Remembers a number by key for a while.
#[derive(Clone)]
struct Brief;

#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
#[state(crate = "rivus_core")]
struct Short {
    #[state(ttl = "10ms")]
    number: Expiring<ValueState<i64>>,
}

impl KeyedBroadcastProcessFunction<String, Pair, Pair> for Brief {
    type Out = Pair;
    type State = Short;
    type Broadcast = MapState<String, i64>;

    fn process(
        &mut self,
        event: Event<Pair>,
        short: &mut Keyed<'_, String, Short>,
        _: &Self::Broadcast,
        _: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        short.number.set(event.value.1);
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        event: Event<Pair>,
        copy: &mut Self::Broadcast,
        _: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        copy.insert(event.value.0, event.value.1);
        Ok(())
    }
}

#[test]
fn a_barrier_writes_the_copy_once_however_many_rows_have_expired() {
    let (brief, outlets) = (keyed(Brief), main_only(show));
    let mut rig: Rig<'_, Input> = Rig::new(&brief, &outlets, 0);
    rig.play(input("a=1@1 b=1@1 c=1@1 ~x=1@1")).unwrap();
    // The clock has gone on, and no wake has come between.
    rig.clock().advance(std::time::Duration::from_millis(100));
    rig.play(input("|")).unwrap();
    let restored = rivus_core::RestoredState::parse(&[rig.snapshot()]).unwrap();
    let copies = restored.frames(&UID.into(), "broadcast").count();
    assert_eq!(copies, 1);
}
