use std::sync::Arc;

use rivus_core::{CheckpointId, Control, Event, FailureScope, ManualClock, UserError};

use super::rig::*;
use crate::{
    Output, Redistribution, SideOutputs, StatefulProcessFunction, StatefulProcessOperator,
};

fn show(pair: &Pair) -> String {
    format!("{}={}", pair.0, pair.1)
}

/// Numbers records, past all numbers that it knows of.
#[derive(Clone, Default)]
struct Numbering {
    union: bool,
    given: Vec<i64>,
}

impl StatefulProcessFunction<Pair> for Numbering {
    type Out = Pair;
    type Item = i64;

    fn redistribution(&self) -> Redistribution {
        match self.union {
            true => Redistribution::Union,
            false => Redistribution::Split,
        }
    }

    fn process(&mut self, event: Event<Pair>, out: &mut Output<'_, Pair>) -> Result<(), UserError> {
        let next = self.given.last().map_or(0, |last| last + 1);
        self.given.push(next);
        out.emit((event.value.0, next));
        Ok(())
    }

    fn snapshot(&self) -> Vec<i64> {
        self.given.clone()
    }

    fn restore(&mut self, items: Vec<i64>) -> Result<(), UserError> {
        self.given = items;
        self.given.sort_unstable();
        Ok(())
    }
}

fn numbering(union: bool) -> StatefulProcessOperator<Pair, Numbering> {
    let given = Vec::new();
    StatefulProcessOperator::new(Numbering { union, given }, SideOutputs::new())
}

#[test]
fn a_function_with_state_goes_on_where_the_checkpoint_was() {
    for union in [false, true] {
        check(
            &numbering(union),
            &main_only(show),
            "a@1 b@1 !1 | c@2 x d@3 | e@4 f@4 x !5",
            "a=0@1 b=1@1 !1 | c=2@2 d=3@3 | e=4@4 f=5@4 !5",
        );
    }
}

#[test]
fn a_checkpoint_that_was_aborted_leaves_the_items_of_the_next_one_alone() {
    let operator = numbering(false);
    let outlets = main_only(show);
    let mut rig: Rig<'_, Pair> = Rig::new(&operator, &outlets, 0);
    rig.slice = 1;
    rig.play(picture("a@1 b@1 c@1")).unwrap();
    rig.barrier(0).unwrap();
    rig.play(picture("d@2")).unwrap();
    rig.barrier(0).unwrap();
    rig.control(Control::Aborted(CheckpointId(1))).unwrap();
    rig.play(picture("e@3 flush flush flush flush")).unwrap();
    let (clock, snapshot) = (rig.clock().clone(), rig.snapshot());
    let back = Rig::restored(&operator, &outlets, 0, (0, 1), &[snapshot], &clock);
    let mut back: Rig<'_, Pair> = back.unwrap();
    back.play(picture("f@5")).unwrap();
    assert_eq!(back.log.words(), ["f=4@5"]);
}

#[test]
fn at_another_parallelism_items_are_split_or_everyone_gets_all() {
    let outlets = main_only(show);
    let clock = Arc::new(ManualClock::default());
    // Of what two subtasks had, 0 to 2 and 0, the second of three subtasks gets one; or all, whoever it is.
    for (union, place, next) in [
        (false, (0, 2), "x=3@9"),
        (false, (1, 2), "x=1@9"),
        (false, (1, 3), "x=2@9"),
        (true, (0, 2), "x=3@9"),
        (true, (1, 2), "x=3@9"),
        (true, (1, 3), "x=3@9"),
    ] {
        let operator = numbering(union);
        let snapshots: Vec<_> = [(0, "a@1 a@1 a@1 |"), (1, "b@1 |")]
            .into_iter()
            .map(|(index, input)| {
                let rig = Rig::restored(&operator, &outlets, 0, (index, 2), &[], &clock);
                let mut rig: Rig<'_, Pair> = rig.unwrap();
                rig.play(picture(input)).unwrap();
                rig.snapshot()
            })
            .collect();
        let rig = Rig::restored(&operator, &outlets, 0, place, &snapshots, &clock);
        let mut rig: Rig<'_, Pair> = rig.unwrap();
        rig.play(picture("x@9")).unwrap();
        assert_eq!(rig.log.words(), [next], "union: {union}, {place:?}");
    }
}

#[test]
fn items_of_another_type_are_refused_with_the_mend() {
    let outlets = main_only(show);
    let operator = numbering(false);
    let mut rig: Rig<'_, Pair> = Rig::new(&operator, &outlets, 0);
    rig.play(picture("a@1 |")).unwrap();
    let snapshot = rig.snapshot();

    #[derive(Clone)]
    struct Other;
    impl StatefulProcessFunction<Pair> for Other {
        type Out = Pair;
        type Item = String;
        fn process(&mut self, _: Event<Pair>, _: &mut Output<'_, Pair>) -> Result<(), UserError> {
            Ok(())
        }
        fn snapshot(&self) -> Vec<String> {
            Vec::new()
        }
        fn restore(&mut self, _: Vec<String>) -> Result<(), UserError> {
            Ok(())
        }
    }
    let other = StatefulProcessOperator::new(Other, SideOutputs::new());
    let clock = rig.clock().clone();
    let refused = Rig::<Pair>::restored(&other, &outlets, 0, (0, 1), &[snapshot], &clock);
    let failure = refused.err().unwrap();
    assert_eq!(failure.scope, FailureScope::Job);
    assert!(
        failure.message.contains(".drop_state_of(\"op\")"),
        "{failure}"
    );
}
