//! One watermark that sets off very much: an operator does it a turn at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rivus_core::{
    Control, Event, Hashed, ManualClock, OperatorFactory, Outlets, Record, UserError,
};

use super::rig::*;
use super::windows::{by_key, ms, show};
use crate::testing::Capture;
use crate::{
    EventTimeTrigger, Keyed, KeyedProcessFunction, KeyedProcessOperator, Output, SideOutputs, Sum,
    Timer, WindowAssigner, WindowOperator,
};

const KEYS: usize = 100_000;

/// Gives each key a record at time 1, then the operator the watermark 9, which makes every key put out a word.
#[track_caller]
fn check_turns<Out: Record>(
    operator: &dyn OperatorFactory,
    show: fn(&Out) -> String,
    word: impl Fn(&str) -> String,
) {
    let clock = Arc::new(ManualClock::default());
    // Each record takes a microsecond where it comes out: a turn is over after some thousand.
    let outlets = |log: &Log, seed: u64| {
        let clock = Arc::clone(&clock);
        let shown = move |value: &Out| {
            clock.advance(Duration::from_micros(1));
            show(value)
        };
        Outlets {
            main: Capture::new(None, Arc::new(shown), log, seed).stage(),
            sides: BTreeMap::new(),
        }
    };
    let mut rig: Rig<'_, Hashed<Pair>> =
        Rig::restored(operator, &outlets, 0, (0, 1), &[], &clock).unwrap();
    let keys: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
    let run = keys.iter().map(|key| Event::at(1, (key.clone(), 1)));
    rig.play(hashed(vec![Step::Run(run.collect())])).unwrap();
    assert!(rig.log.is_empty(), "something came too early");
    let before = rig.yields;
    rig.control(Control::Watermark(9)).unwrap();
    let yields = rig.yields - before;
    assert!(yields * 10_000 >= KEYS, "left {yields} times only");
    let mut words = rig.log.words();
    assert_eq!(words.pop().as_deref(), Some("!9"));
    assert_eq!(words.len(), KEYS);
    let words: BTreeSet<String> = words.into_iter().collect();
    let expected: BTreeSet<String> = keys.iter().map(|key| word(key)).collect();
    assert!(words == expected, "not every key's word came, once");
}

#[test]
fn windows_that_a_watermark_fires_leave_the_turn_often() {
    let tumbling = WindowAssigner::tumbling(ms(5));
    let sum = || Sum::of(|pair: &Pair| pair.1);
    let word = |key: &str| format!("{key}[0,5)=1@4");
    let once = WindowOperator::aggregate(by_key(), tumbling, sum());
    check_turns(&once, show, word);
    let late = WindowOperator::aggregate(by_key(), tumbling, sum()).allowed_lateness(ms(3));
    check_turns(&late, show, word);
    let live = WindowOperator::aggregate(by_key(), tumbling, sum()).trigger(EventTimeTrigger);
    check_turns(&live, show, word);
}

/// Every key says its name when event time has got to 5.
#[derive(Clone)]
struct AtFive;

impl KeyedProcessFunction<String, Pair> for AtFive {
    type Out = String;
    type State = ();

    fn process(
        &mut self,
        _: Event<Pair>,
        keyed: &mut Keyed<'_, String, ()>,
        _: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        keyed.register_event_timer(5);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: Timer,
        keyed: &mut Keyed<'_, String, ()>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        out.emit(keyed.key().clone());
        Ok(())
    }
}

#[test]
fn timers_that_a_watermark_fires_leave_the_turn_often() {
    let operator = KeyedProcessOperator::new(by_key(), AtFive, SideOutputs::new());
    check_turns(&operator, String::clone, |key| format!("{key}@5"));
}
