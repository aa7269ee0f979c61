use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rivus_core::{
    Control, Event, Expiring, ExpiringMapState, Hashed, KeyGroup, ReducingState, StateSet,
    UserError, ValueState, key_hash,
};
use serde::{Deserialize, Serialize};

use super::rig::*;
use crate::{
    AggregateFunction, AggregatingState, Avg, KeySelector, Keyed, KeyedProcessFunction,
    KeyedProcessOperator, Mean, Output, SideOutputs, Timer, by_ref,
};

#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
#[state(crate = "rivus_core")]
struct Memory {
    #[state(ttl = "95ms")]
    written: Expiring<ValueState<i64>>,
    #[state(ttl = "60ms", renew = "read_and_write")]
    used: Expiring<ValueState<i64>>,
}

/// A positive number is remembered, 0 changes nothing, a negative one registers a timer so much later. Every
/// record and timer says what is remembered.
#[derive(Clone)]
struct Remember;

fn say(state: &Keyed<'_, String, Memory>) -> String {
    let number = |value: &ValueState<i64>| value.get().map_or("-".to_owned(), i64::to_string);
    let (written, used) = (number(&state.written), number(&state.used));
    format!("{}:{written}/{used}", state.key())
}

impl KeyedProcessFunction<String, Pair> for Remember {
    type Out = String;
    type State = Memory;

    fn process(
        &mut self,
        event: Event<Pair>,
        state: &mut Keyed<'_, String, Memory>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        out.emit(say(state));
        match event.value.1 {
            0 => {}
            number @ 1.. => {
                state.written.set(number);
                state.used.set(number);
            }
            later => {
                let at = state.processing_time() - later;
                state.register_processing_timer(at);
            }
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _timer: Timer,
        state: &mut Keyed<'_, String, Memory>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        out.emit(say(state));
        Ok(())
    }
}

fn remember() -> KeyedProcessOperator<Pair, impl KeySelector<Pair, Key = String>, Remember> {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    KeyedProcessOperator::new(by_key, Remember, SideOutputs::new())
}

#[test]
fn what_has_expired_is_never_seen_and_what_was_renewed_is() {
    let table = [
        // Written at 0: gone at 95, whether or not the row has been looked at.
        (
            "a=5@1 +59 a=0@2 +35 a=0@3 +1 a=0@4",
            "a:-/-@1 a:5/5@2 a:5/5@3 a:-/5@4",
        ),
        // A read at 59 renews what asked for it until 119.
        ("a=5@1 +60 a=0@2", "a:-/-@1 a:5/-@2"),
        ("a=5@1 +59 a=0@2 +60 a=0@3", "a:-/-@1 a:5/5@2 a:-/-@3"),
        // A write renews both.
        (
            "a=5@1 +59 a=6@2 +59 a=0@3 +36 a=0@4",
            "a:-/-@1 a:5/5@2 a:6/6@3 a:-/6@4",
        ),
        // A timer sees no more than a record, and keeps the row.
        ("a=5@1 a=-100@2 +100", "a:-/-@1 a:5/5@2 a:-/-@100"),
    ];
    for (input, output) in table {
        check_keyed(&remember(), &main_only(String::clone), input, output);
    }
}

#[test]
fn a_time_to_live_goes_on_over_a_crash() {
    // Written at 7. The clock is at 27 when it crashes, and at 47 and 57 when the records come again.
    check_keyed(
        &remember(),
        &main_only(String::clone),
        "+7 a=5@1 | +20 a=0@2 x +10 a=0@3 +44 a=0@4 +1 a=0@5",
        "a:-/-@1 | a:5/5@2 a:5/5@3 a:5/5@4 a:-/5@5",
    );
}

#[test]
fn a_row_that_is_never_touched_again_gives_its_memory_back_even_after_a_restore() {
    let (operator, outlets) = (remember(), main_only(String::clone));
    for backend in [0, 1] {
        let rows = |rig: &Rig<'_, Hashed<Pair>>| rig.cx().metrics.figures().state_rows;
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, backend);
        let keys: Vec<String> = (0..40).map(|key| format!("k{key}=1@1")).collect();
        rig.play(hashed(picture(&keys.join(" / ")))).unwrap();
        rig.play(hashed(picture("+40 k7=2@2 | flush flush flush")))
            .unwrap();
        assert_eq!(rows(&rig), 40, "backend {backend}");
        let (clock, snapshot) = (rig.clock().clone(), rig.snapshot());
        rig.play(hashed(picture("+59 |"))).unwrap();
        assert_eq!(rows(&rig), 1, "backend {backend}");
        rig.play(hashed(picture("+60 |"))).unwrap();
        assert_eq!(rows(&rig), 0, "backend {backend}");
        // What is restored into the other backend long after goes as soon as anything comes.
        let restored = Rig::restored(
            &operator,
            &outlets,
            1 - backend,
            (0, 1),
            &[snapshot],
            &clock,
        );
        let mut rig: Rig<'_, Hashed<Pair>> = restored.unwrap();
        rig.play(hashed(picture("flush +0 |"))).unwrap();
        assert_eq!(rows(&rig), 0, "backend {backend}");
    }
}

#[test]
fn timers_fire_while_rows_expire_and_time_goes_on() {
    let (operator, outlets) = (remember(), main_only(String::clone));
    for seed in 0..8 {
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, seed);
        let timers = (0..40).map(|key| format!("t{key}=-60@1"));
        // These expire one after the other while the timers fire.
        let values = (0..40).map(|key| format!("v{key}=1@1 / +1"));
        let input: Vec<String> = timers.chain(values).collect();
        rig.play(hashed(picture(&input.join(" / ")))).unwrap();
        let before = rig.log.len();
        rig.drift = Duration::from_millis(3);
        rig.play(hashed(picture("+20"))).unwrap();
        rig.drift = Duration::ZERO;
        let fired = rig.log.words().split_off(before);
        assert_eq!(fired.len(), 40, "seed {seed}: {fired:?}");
        rig.play(hashed(picture("+200 |"))).unwrap();
        assert_eq!(rig.cx().metrics.figures().state_rows, 0, "seed {seed}");
    }
}

/// The simplest thing that could be right.
#[derive(Default)]
struct Model {
    now: i64,
    /// Value and time of the last renewal.
    written: BTreeMap<String, (i64, i64)>,
    used: BTreeMap<String, (i64, i64)>,
    timers: BTreeMap<(i64, u16, String), ()>,
    out: Vec<String>,
}

impl Model {
    fn say(&mut self, key: &str, ts: i64) {
        let now = self.now;
        let alive = |memory: &BTreeMap<String, (i64, i64)>, ttl: i64| {
            let found = memory.get(key).filter(|(_, renewed)| renewed + ttl > now);
            found.map(|(value, _)| *value)
        };
        let (written, used) = (alive(&self.written, 95), alive(&self.used, 60));
        if let Some(value) = used {
            self.used.insert(key.to_owned(), (value, now));
        }
        let number = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        let (written, used) = (number(written), number(used));
        self.out.push(format!("{key}:{written}/{used}@{ts}"));
    }

    fn record(&mut self, key: &str, number: i64, ts: i64) {
        self.say(key, ts);
        if number > 0 {
            self.written.insert(key.to_owned(), (number, self.now));
            self.used.insert(key.to_owned(), (number, self.now));
        } else if number < 0 {
            let group = KeyGroup::of(key_hash(key), 8).0;
            let timer = (self.now - number, group, key.to_owned());
            self.timers.insert(timer, ());
        }
    }

    fn pass(&mut self, time: i64) {
        let until = self.now + time;
        while let Some(((ts, group, key), ())) = self.timers.pop_first() {
            if ts > until {
                self.timers.insert((ts, group, key), ());
                break;
            }
            self.now = ts;
            self.say(&key, ts);
        }
        self.now = until;
    }
}

proptest! {
    #[test]
    fn rows_expire_as_if_each_state_had_a_clock_of_its_own_whatever_happens(
        steps in prop::collection::vec(
            prop_oneof![
                6 => (0..9_u8, -40..4_i64).prop_map(|(key, number)| (key, number)),
                4 => (0..50_i64).prop_map(|time| (100, time)),
                1 => Just((101, 0)),
            ],
            0..60,
        ),
        seed in 0..u64::MAX,
        slice in 1..50_usize,
    ) {
        let mut model = Model::default();
        let mut played = Vec::new();
        for (at, (kind, number)) in steps.into_iter().enumerate() {
            match kind {
                100 => {
                    model.pass(number);
                    played.push(Step::Pass(Duration::from_millis(number as u64)));
                }
                101 => {
                    // The checkpoint is written before the crash: what is undone would pass twice by the clock.
                    played.push(Step::Barrier);
                    played.extend((0..40).map(|_| Step::Control(Control::Flush)));
                    played.push(Step::Crash);
                }
                key => {
                    let (key, ts) = (format!("k{key}"), at as i64);
                    model.record(&key, number, ts);
                    played.push(Step::Run(vec![Event::at(ts, (key, number))]));
                }
            }
        }
        model.pass(1_000);
        played.push(Step::Pass(Duration::from_millis(1_000)));
        played.push(Step::Barrier);
        let (operator, outlets) = (remember(), main_only(String::clone));
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, seed);
        rig.slice = slice;
        rig.play(hashed(played)).unwrap();
        let words = rig.log.words();
        let records: Vec<_> = words.into_iter().filter(|word| word.contains('@')).collect();
        prop_assert_eq!(records, model.out);
        prop_assert_eq!(rig.cx().metrics.figures().state_rows, 0);
    }
}

#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
#[state(crate = "rivus_core")]
struct Recent {
    #[state(ttl = "100ms")]
    numbers: ExpiringMapState<i64, u32>,
}

/// Says how often each of a key's numbers came lately.
#[derive(Clone)]
struct Lately;

impl KeyedProcessFunction<String, Pair> for Lately {
    type Out = String;
    type State = Recent;

    fn process(
        &mut self,
        event: Event<Pair>,
        state: &mut Keyed<'_, String, Recent>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        *state.numbers.get_or_default(event.value.1) += 1;
        let numbers = state.numbers.iter();
        let numbers: Vec<String> = numbers
            .map(|(number, times)| format!("{number}x{times}"))
            .collect();
        out.emit(format!("{}:{}", state.key(), numbers.join(",")));
        Ok(())
    }
}

#[test]
fn entries_of_a_map_expire_each_by_itself_over_a_crash_and_their_memory_is_given_back() {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let operator = KeyedProcessOperator::new(by_key, Lately, SideOutputs::new());
    let outlets = main_only(String::clone);
    // 1 is renewed at 40 and gone at 140, 2 came at 60 after the crash and is gone at 160.
    check_keyed(
        &operator,
        &outlets,
        "a=1@1 +40 a=1@2 | b=3@3 a=2@4 x +20 a=2@5 +79 a=9@6 +1 a=9@7 +20 a=9@8",
        "a:1x1@1 a:1x2@2 | b:3x1@3 a:1x2,2x1@4 a:1x2,2x2@5 a:1x2,2x2,9x1@6 a:2x2,9x2@7 a:9x3@8",
    );
    for backend in [0, 1] {
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, backend);
        let rows = |rig: &Rig<'_, Hashed<Pair>>| rig.cx().metrics.figures().state_rows;
        rig.play(hashed(picture("a=1@1 b=1@1 c=1@1 +50 b=2@2 +50 |")))
            .unwrap();
        assert_eq!(rows(&rig), 1, "backend {backend}");
        rig.play(hashed(picture("+50 |"))).unwrap();
        assert_eq!(rows(&rig), 0, "backend {backend}");
    }
}

#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
#[state(crate = "rivus_core")]
struct Gathered {
    mean: AggregatingState<Mean>,
    #[state(ttl = "50ms")]
    greatest: Expiring<ReducingState<i64>>,
}

/// Says the mean of a key's numbers, and the greatest of those that came shortly after one another.
#[derive(Clone)]
struct Gathering<A>(A);

impl<A> KeyedProcessFunction<String, Pair> for Gathering<A>
where
    A: AggregateFunction<In = Pair, Acc = Mean, Out = f64>,
{
    type Out = String;
    type State = Gathered;

    fn process(
        &mut self,
        event: Event<Pair>,
        state: &mut Keyed<'_, String, Gathered>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        state.mean.add(&self.0, &event.value);
        let greater = |best: &mut i64, next: i64| *best = next.max(*best);
        state.greatest.add(event.value.1, greater);
        let mean = state.mean.get(&self.0);
        out.emit(format!(
            "{:?},{:?}",
            mean.unwrap(),
            state.greatest.get().unwrap()
        ));
        Ok(())
    }
}

#[test]
fn reducing_and_aggregating_states_go_on_where_the_checkpoint_was() {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let gathering = Gathering(Avg::of(|pair: &Pair| pair.1 as f64));
    let operator = KeyedProcessOperator::new(by_key, gathering, SideOutputs::new());
    check_keyed(
        &operator,
        &main_only(String::clone),
        "a=4@1 a=2@2 b=7@2 | a=3@3 x a=1@4 +50 a=2@5",
        "4.0,4@1 3.0,4@2 7.0,7@2 | 3.0,4@3 2.5,4@4 2.4,2@5",
    );
}
