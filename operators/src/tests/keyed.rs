use std::collections::BTreeMap;

use proptest::prelude::*;
use rivus_core::{
    CheckpointId, Control, Event, Hashed, KeyGroup, ListState, OperatorFactory, StateSet,
    UserError, ValueState, key_hash,
};
use serde::{Deserialize, Serialize};

use super::rig::*;
use crate::{
    Count, DistinctOperator, Fold, Keyed, KeyedProcessFunction, KeyedProcessOperator, MaxBy, MinBy,
    Output, RollingOperator, SideOutputTag, SideOutputs, Sum, TimeDomain, Timer, TopN, by_ref,
    by_value,
};

fn show(pair: &Pair) -> String {
    format!("{}={}", pair.0, pair.1)
}

#[test]
fn a_rolling_sum_goes_on_where_the_checkpoint_was() {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let sums = RollingOperator::aggregate(by_key, Sum::of(|pair: &Pair| pair.1));
    check_keyed(
        &sums,
        &main_only(show),
        "a=1@1 b=5@1 a=2@2 | a=4@3 x b=1@4 !4",
        "a=1@1 b=5@1 a=3@2 | a=7@3 b=6@4 !4",
    );
}

#[test]
fn reduce_starts_from_the_first_record() {
    let by_key = by_value(|pair: &Pair| pair.0.clone());
    let greatest = RollingOperator::reduce(by_key, |best: &mut Pair, next: Pair| {
        best.1 = best.1.max(next.1);
    });
    check_keyed(
        &greatest,
        &main_only(|(key, pair): &(String, Pair)| format!("{key}={}", pair.1)),
        "a=-3@1 b=5@1 | x a=-7@2 b=9@3",
        "a=-3@1 b=5@1 | a=-3@2 b=9@3",
    );
}

#[test]
fn the_best_record_of_a_key_is_the_first_of_equal_ones_before_and_after_a_crash() {
    let by_key = || by_ref::<Pair, str, _>(|pair| &pair.0);
    let last = |(_, best): &(String, Pair)| show(best);
    let least = RollingOperator::new(by_key(), MinBy::of(|pair: &Pair| pair.1));
    let greatest = RollingOperator::new(by_key(), MaxBy::of(|pair: &Pair| pair.1));
    let input = "a=2@1 b=5@1 | a=1@2 x a=2@3 a=3@4 b=4@5";
    check_keyed(
        &least,
        &main_only(last),
        input,
        "a=2@1 b=5@1 | a=1@2 a=1@3 a=1@4 b=4@5",
    );
    check_keyed(
        &greatest,
        &main_only(last),
        input,
        "a=2@1 b=5@1 | a=2@2 a=2@3 a=3@4 b=5@5",
    );
}

#[test]
fn the_top_is_said_when_it_changes_and_survives_a_crash() {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let top = RollingOperator::new(by_key, TopN::of(2, |pair: &Pair| pair.1));
    let numbers = |(key, top): &(String, Vec<Pair>)| {
        let numbers: Vec<String> = top.iter().map(|pair| pair.1.to_string()).collect();
        format!("{key}:{}", numbers.join(","))
    };
    check_keyed(
        &top,
        &main_only(numbers),
        "a=3@1 b=1@1 a=5@2 | a=5@3 x a=4@4 a=5@5 b=0@6",
        "a:3@1 b:1@1 a:5,3@2 | a:5,5@3 b:1,0@6",
    );
}

#[test]
fn a_top_of_none_is_refused() {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let none = RollingOperator::new(by_key.clone(), TopN::of(0, |pair: &Pair| pair.1));
    let pair = (Count::<Pair>::new(), TopN::of(0, |pair: &Pair| pair.1));
    let within = RollingOperator::aggregate(by_key, pair);
    for refused in [&none as &dyn OperatorFactory, &within] {
        let told = refused.check(&BTreeMap::new()).unwrap_err();
        assert!(told.contains("ask for at least 1"), "{told}");
    }
}

#[test]
fn a_fold_begins_with_its_initial_value_for_each_key() {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let digits = |all: &mut i64, pair: &Pair| *all = *all * 10 + pair.1;
    let digits = RollingOperator::new(by_key, Fold::new(7, digits));
    check_keyed(
        &digits,
        &main_only(|(key, all): &(String, i64)| format!("{key}={all}")),
        "a=1@1 b=2@1 | a=3@2 x a=4@3",
        "a=71@1 b=72@1 | a=713@2 a=7134@3",
    );
}

#[test]
fn only_the_first_record_of_a_key_passes_whatever_crashes() {
    let distinct = DistinctOperator::new(by_ref::<Pair, str, _>(|pair| &pair.0));
    check_keyed(
        &distinct,
        &main_only(show),
        "a=1@1 b=2@1 a=3@2 | c=4@3 x b=5@4 a=6@5 c=7@6 d=8@7 d=9@7",
        "a=1@1 b=2@1 | c=4@3 d=8@7",
    );
}

/// Says when each timer fires, and at the first one registers an earlier one.
#[derive(Clone)]
struct Again;

impl KeyedProcessFunction<String, Pair> for Again {
    type Out = String;
    type State = ();

    fn process(
        &mut self,
        event: Event<Pair>,
        keyed: &mut Keyed<'_, String, ()>,
        _: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        keyed.register_event_timer(event.value.1);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        keyed: &mut Keyed<'_, String, ()>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        if timer.ts == 10 {
            keyed.register_event_timer(5);
        }
        out.emit(format!("{}:{}", keyed.key(), timer.ts));
        Ok(())
    }
}

#[test]
fn a_timer_that_comes_while_others_fire_fires_before_those_of_other_key_groups() {
    let group = |key: &&str| KeyGroup::of(key_hash(*key), 8).0;
    let mut keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    keys.sort_by_key(group);
    let (first, second) = (keys[0], keys[7]);
    assert_ne!(group(&first), group(&second));
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let again = KeyedProcessOperator::new(by_key, Again, SideOutputs::new());
    check_keyed(
        &again,
        &main_only(String::clone),
        &format!("{second}=10@1 {first}=10@2 !20"),
        &format!("{first}:10@10 {first}:5@5 {second}:10@10 {second}:5@5 !20"),
    );
}

#[test]
fn runs_go_back_to_their_sender() {
    let by_key = || by_ref::<Pair, str, _>(|pair| &pair.0);
    let sums = RollingOperator::aggregate(by_key(), Sum::of(|pair: &Pair| pair.1));
    let last = RollingOperator::reduce(by_key(), |last: &mut Pair, next: Pair| *last = next);
    let (sum, pair) = (
        main_only(show),
        main_only(|(_, pair): &(String, Pair)| show(pair)),
    );
    for mut rig in [Rig::new(&sums, &sum, 3), Rig::new(&last, &pair, 3)] {
        let steps = hashed(picture("a=1@1 b=2@1 c=3@1 a=4@2 b=5@2 c=6@2 !2 a=1@3"));
        let runs = steps.iter().filter(|step| matches!(step, Step::Run(_)));
        let runs = runs.count();
        rig.play(steps).unwrap();
        assert_eq!(rig.given_back, runs);
    }
}

#[test]
fn an_abort_that_comes_late_leaves_the_next_checkpoint_alone() {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let sums = RollingOperator::aggregate(by_key, Sum::of(|pair: &Pair| pair.1));
    let outlets = main_only(show);
    // In memory, and over a store.
    for backend in [0, 1] {
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&sums, &outlets, backend);
        rig.slice = 1;
        rig.play(hashed(picture("a=1@1 b=2@1 c=3@1"))).unwrap();
        rig.barrier(0).unwrap();
        rig.barrier(0).unwrap();
        rig.control(Control::Aborted(CheckpointId(1))).unwrap();
        rig.slice = 1_000;
        // Over a store the rows come after those that it lacked.
        rig.play(hashed(picture("flush flush"))).unwrap();
        let snapshot = rig.snapshot();
        let clock = rig.clock();
        let mut back: Rig<'_, Hashed<Pair>> =
            Rig::restored(&sums, &outlets, 1 - backend, (0, 1), &[snapshot], clock).unwrap();
        back.play(hashed(picture("a@5 b@5 c@5"))).unwrap();
        assert_eq!(back.log.words().join(" "), "a=2@5 b=3@5 c=4@5");
    }
}

#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
#[state(crate = "rivus_core")]
struct Pending {
    numbers: ListState<i64>,
    total: ValueState<i64>,
}

/// A record registers a timer `number` after its time; at the timer everything gathered is emitted.
/// Number 0 takes back the timer at the record's own time; a negative one is by processing time.
#[derive(Clone)]
struct Gather {
    empty: SideOutputTag<String>,
}

impl KeyedProcessFunction<String, Pair> for Gather {
    type Out = Pair;
    type State = Pending;

    fn process(
        &mut self,
        event: Event<Pair>,
        state: &mut Keyed<'_, String, Pending>,
        _out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        let number = event.value.1;
        match number {
            0 => {
                state.delete_event_timer(event.ts);
                return Ok(());
            }
            1.. => state.register_event_timer(event.ts.saturating_add(number)),
            _ => {
                let at = state.processing_time() - number;
                state.register_processing_timer(at);
            }
        }
        state.numbers.push(number);
        *state.total.get_or_default() += number;
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, String, Pending>,
        out: &mut Output<'_, Pair>,
    ) -> Result<(), UserError> {
        let key = state.key().clone();
        if timer.domain == TimeDomain::Event {
            assert!(timer.ts <= state.watermark());
        }
        match state.total.take() {
            Some(total) => out.emit((key, total)),
            None => out.side(&self.empty, key),
        }
        state.numbers.clear();
        Ok(())
    }
}

type GatherOperator<S> = KeyedProcessOperator<Pair, S, Gather>;

fn gather() -> GatherOperator<impl crate::KeySelector<Pair, Key = String>> {
    let empty = SideOutputTag::new("empty");
    let sides = SideOutputs::new();
    sides.declare(&empty);
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    KeyedProcessOperator::new(by_key, Gather { empty }, sides)
}

fn outlets() -> impl Fn(&Log, u64) -> rivus_core::Outlets {
    with_side(show, "empty", |key: &String| key.clone())
}

#[test]
fn timers_fire_before_their_watermark_passes() {
    check_keyed(
        &gather(),
        &outlets(),
        "a=5@1 a=2@2 !3 !6 b=9@9 !max",
        "!3 a=7@4 empty:a@6 !6 b=9@18 !max",
    );
}

#[test]
fn a_timer_that_was_taken_back_does_not_fire() {
    check_keyed(&gather(), &outlets(), "a=5@1 a=0@6 !9", "!9");
}

#[test]
fn timers_survive_a_crash() {
    check_keyed(
        &gather(),
        &outlets(),
        "a=5@1 b=1@1 !1 | !2 a=3@3 x !6",
        "!1 | b=1@2 !2 a=8@6 !6",
    );
}

#[test]
fn processing_timers_fire_when_the_clock_gets_there_and_after_a_crash() {
    check_keyed(
        &gather(),
        &outlets(),
        "a=-50@1 +49 | flush +1 b=-10@2 x flush +1 +10 +100",
        // The clock went on meanwhile: b asks for its timer a millisecond later than before.
        "| a=-50@50 b=-10@61",
    );
}

#[test]
fn a_row_without_state_and_timers_is_removed() {
    let (operator, outlets) = (gather(), outlets());
    let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, 0);
    let rows = |rig: &Rig<'_, Hashed<Pair>>| rig.cx().metrics.figures().state_rows;
    rig.play(hashed(picture("a=1@1 b=2@1 c=0@1 |"))).unwrap();
    assert_eq!(rows(&rig), 2);
    rig.play(hashed(picture("!2 |"))).unwrap();
    assert_eq!(rows(&rig), 1);
    rig.play(hashed(picture("!3 |"))).unwrap();
    assert_eq!(rows(&rig), 0);
}

/// The simplest thing that could be right: all timers in one ordered map.
#[derive(Default)]
struct Model {
    timers: BTreeMap<(i64, u16, String), ()>,
    totals: BTreeMap<String, i64>,
    watermark: i64,
    out: Vec<String>,
}

impl Model {
    fn record(&mut self, key: &str, number: i64, ts: i64) {
        let group = KeyGroup::of(key_hash(key), 8).0;
        if number == 0 {
            self.timers.remove(&(ts, group, key.to_owned()));
            return;
        }
        self.timers.insert((ts + number, group, key.to_owned()), ());
        *self.totals.entry(key.to_owned()).or_default() += number;
    }

    fn watermark(&mut self, watermark: i64) {
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        while let Some(((ts, group, key), ())) = self.timers.pop_first() {
            if ts > watermark {
                self.timers.insert((ts, group, key), ());
                break;
            }
            self.out.push(match self.totals.remove(&key) {
                Some(total) => format!("{key}={total}@{ts}"),
                None => format!("empty:{key}@{ts}"),
            });
        }
    }
}

proptest! {
    #[test]
    fn timers_fire_in_the_order_of_time_key_group_and_key_whatever_happens(
        steps in prop::collection::vec(
            prop_oneof![
                6 => (0..12_u8, 0..6_i64, 0..12_i64).prop_map(|(key, number, ts)| (key, number, ts)),
                2 => (0..3_i64).prop_map(|by| (100, by, 0)),
                1 => Just((101, 0, 0)),
                1 => Just((102, 0, 0)),
            ],
            0..60,
        ),
        seed in 0..u64::MAX,
        slice in 1..20_usize,
    ) {
        let mut model = Model::default();
        let mut played = Vec::new();
        let mut watermark = 0;
        for (kind, number, ts) in steps {
            match kind {
                100 => {
                    watermark += number;
                    model.watermark(watermark);
                    played.push(Step::Control(Control::Watermark(watermark)));
                }
                101 => played.push(Step::Barrier),
                102 => played.push(Step::Crash),
                key => {
                    let key = format!("k{key}");
                    model.record(&key, number, ts);
                    played.push(Step::Run(vec![Event::at(ts, (key, number))]));
                }
            }
        }
        model.watermark(i64::MAX);
        played.push(Step::Control(Control::Watermark(i64::MAX)));
        let (operator, outlets) = (gather(), outlets());
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, seed);
        rig.slice = slice;
        rig.play(hashed(played)).unwrap();
        let words = rig.log.words();
        // Main and side output are in order each by itself.
        for side in [false, true] {
            let of = |words: &[String]| -> Vec<String> {
                let records = words.iter().filter(|word| word.contains('@'));
                records.filter(|word| word.starts_with("empty:") == side).cloned().collect()
            };
            prop_assert_eq!(of(&words), of(&model.out));
        }
    }
}
