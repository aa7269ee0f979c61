//! What registers itself by processing time again and again, and takes longer than it is to its next time.

use std::time::Duration;

use rivus_core::{Event, Hashed, Timestamp, UserError};

use super::rig::*;
use super::windows::{by_key, show};
use crate::{
    Keyed, KeyedProcessFunction, KeyedProcessOperator, Output, SideOutputs, Sum, Timer, Trigger,
    TriggerContext, TriggerResult, WindowAssigner, WindowOperator, by_ref,
};

/// A record each of forty keys, run by run.
fn keys() -> String {
    let keys: Vec<String> = (0..40).map(|key| format!("k{key}@1")).collect();
    keys.join(" / ")
}

/// From its first record on a key says every millisecond what its timer says.
#[derive(Clone)]
struct Every;

impl KeyedProcessFunction<String, Pair> for Every {
    type Out = String;
    type State = ();

    fn process(
        &mut self,
        _: Event<Pair>,
        keyed: &mut Keyed<'_, String, ()>,
        _: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        let next = keyed.processing_time() + 1;
        keyed.register_processing_timer(next);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        keyed: &mut Keyed<'_, String, ()>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        if timer.ts > 1_000 {
            return Err("nothing but timers has had its turn for a second".into());
        }
        let next = keyed.processing_time() + 1;
        keyed.register_processing_timer(next);
        out.emit(format!("{}:{}", keyed.key(), timer.ts));
        Ok(())
    }
}

#[test]
fn timers_that_take_longer_than_it_is_to_their_next_time_let_others_have_a_turn() {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let every = KeyedProcessOperator::new(by_key, Every, SideOutputs::new());
    let outlets = main_only(String::clone);
    for seed in 1..8 {
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&every, &outlets, seed);
        rig.play(hashed(picture(&keys()))).unwrap();
        rig.drift = Duration::from_millis(3);
        let mut fired = vec![0];
        for _ in 0..3 {
            rig.play(hashed(picture("+1 |"))).unwrap();
            let words = rig.log.words();
            fired.push(words.iter().filter(|word| word.starts_with('k')).count());
        }
        assert_eq!(fired[1], 40, "seed {seed}");
        assert!(
            fired.is_sorted_by(|before, after| before < after),
            "seed {seed}: {fired:?}"
        );
    }
}

/// Fires every millisecond from a window's first record on.
#[derive(Clone)]
struct Again;

impl Trigger<Pair> for Again {
    type State = bool;

    fn on_record(
        &self,
        _: &Pair,
        _: Timestamp,
        cx: &mut TriggerContext<'_, bool>,
    ) -> TriggerResult {
        let next = cx.processing_time() + 1;
        cx.register_processing_timer(next);
        TriggerResult::Continue
    }

    fn on_processing_time(
        &self,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, bool>,
    ) -> TriggerResult {
        assert!(ts < 1_000, "nothing but timers has had its turn");
        let next = cx.processing_time() + 1;
        cx.register_processing_timer(next);
        TriggerResult::Fire
    }
}

#[test]
fn triggers_that_take_longer_than_it_is_to_their_next_time_let_others_have_a_turn() {
    let sum = Sum::of(|pair: &Pair| pair.1);
    let (operator, outlets) = (
        WindowOperator::aggregate(by_key(), WindowAssigner::global(), sum).trigger(Again),
        main_only(show),
    );
    for seed in 1..8 {
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, seed);
        rig.play(hashed(picture(&keys()))).unwrap();
        rig.drift = Duration::from_millis(3);
        rig.play(hashed(picture("+2 |"))).unwrap();
        let fired = rig.log.words();
        let fired = fired.iter().filter(|word| word.starts_with('k')).count();
        assert_eq!(fired, 40, "seed {seed}");
    }
}
