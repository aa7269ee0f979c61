use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;
use rivus_core::{Event, Hashed, OperatorFactory, Timestamp};

use super::rig::*;
use super::windows::{by_key, ms, show};
use crate::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountEvictor, CountTrigger,
    DeltaEvictor, EndTrigger, EventTimeTrigger, Evicting, Evictor, EvictorContext,
    ProcessingTimeTrigger, PurgingTrigger, SideOutputTag, Sum, TimeEvictor, Trigger,
    TriggerContext, TriggerResult, Window, WindowAssigner, WindowOperator, Windowed,
};

/// Sums of windows.
macro_rules! sums {
    ($assigner:expr) => {
        WindowOperator::aggregate(by_key(), $assigner, Sum::of(|pair: &Pair| pair.1))
    };
}

fn tumbling(millis: u64) -> WindowAssigner {
    WindowAssigner::tumbling(ms(millis))
}

/// Without the bounds.
fn brief(result: &Windowed<String, i64>) -> String {
    assert_eq!(result.window, Window::GLOBAL);
    format!("{}={}", result.key, result.value)
}

#[test]
fn windows_by_processing_time_fire_when_the_clock_has_passed_them() {
    check_keyed(
        &sums!(tumbling(10).processing_time()),
        &main_only(show),
        "a@77 +9 a@3 +1 a@1 | x +9 +1 !max",
        "a[0,10)=2@9 | a[10,20)=1@19 !max",
    );
    check_keyed(
        &sums!(WindowAssigner::sliding(ms(10), ms(5)).processing_time()),
        &main_only(show),
        "a@0 +5 a=2@0 +5 | x +5",
        "a[-5,5)=1@4 a[0,10)=3@9 | a[5,15)=2@14",
    );
}

#[test]
fn sessions_by_processing_time_last_as_long_as_records_arrive() {
    check_keyed(
        &sums!(WindowAssigner::session(ms(10)).processing_time()),
        &main_only(show),
        "a@0 +5 a=2@0 +10 | a=4@0 x +10",
        "a[0,15)=3@14 | a[15,25)=4@24",
    );
}

#[test]
fn a_count_trigger_fires_at_every_so_many_records_of_a_window() {
    let every_second = CountTrigger::every(2);
    check_keyed(
        &sums!(tumbling(10)).trigger(every_second),
        &main_only(show),
        "a@1 b@2 | a@2 x a@3 a@12 a@4 a@5 !9 a@13 !max",
        "| a[0,10)=2@9 a[0,10)=4@9 !9 a[10,20)=2@19 !max",
    );
    check_keyed(
        &sums!(tumbling(10)).trigger(PurgingTrigger::of(every_second)),
        &main_only(show),
        "a@1 | a=2@2 x a=3@3 a=4@4 a=5@5 !9",
        "| a[0,10)=3@9 a[0,10)=7@9 !9",
    );
}

#[test]
fn a_continuous_trigger_fires_at_the_end_of_each_interval_in_which_records_came() {
    check_keyed(
        &sums!(tumbling(100)).trigger(ContinuousEventTimeTrigger::every(ms(10))),
        &main_only(show),
        "a@1 a@12 !8 !9 | a@15 x !19 !60 a@70 !80 !99",
        "!8 a[0,100)=2@99 !9 | a[0,100)=3@99 !19 !60 a[0,100)=4@99 !80 a[0,100)=4@99 !99",
    );
    // Late records fire at once, and an interval that reaches past the window ends with it.
    check_keyed(
        &sums!(tumbling(15))
            .allowed_lateness(ms(10))
            .trigger(ContinuousEventTimeTrigger::every(ms(10))),
        &main_only(show),
        "a@12 !14 | a=2@3 x !19 !max",
        "a[0,15)=1@14 !14 | a[0,15)=3@14 !19 !max",
    );
}

#[test]
fn a_continuous_trigger_by_processing_time_fires_at_the_windows_end_too() {
    check_keyed(
        &sums!(tumbling(100)).trigger(ContinuousProcessingTimeTrigger::every(ms(10))),
        &main_only(show),
        "a@1 +9 a@2 +1 | +50 a@3 x +20 !98 !99",
        "a[0,100)=2@99 | a[0,100)=3@99 !98 a[0,100)=3@99 !99",
    );
    check_keyed(
        &sums!(tumbling(15).processing_time())
            .trigger(ContinuousProcessingTimeTrigger::every(ms(10))),
        &main_only(show),
        "a@1 +10 a@1 +5",
        "a[0,15)=1@14 a[0,15)=2@14",
    );
}

#[test]
fn triggers_by_one_clock_work_on_windows_by_the_other() {
    check_keyed(
        &sums!(tumbling(10)).trigger(ProcessingTimeTrigger),
        &main_only(show),
        "a@1 +5 a@2 | x +5 !9",
        "| a[0,10)=2@9 !9",
    );
    check_keyed(
        &sums!(tumbling(10).processing_time()).trigger(EventTimeTrigger),
        &main_only(show),
        "a@1 !8 | x !9 a@1 !12 +10",
        "!8 | a[0,10)=1@9 !9 a[0,10)=2@9 !12",
    );
}

#[test]
fn a_purging_trigger_gives_each_late_record_by_itself() {
    check_keyed(
        &sums!(tumbling(5))
            .allowed_lateness(ms(3))
            .late_output(SideOutputTag::new("late"))
            .trigger(PurgingTrigger::of(EndTrigger)),
        &with_side(show, "late", debug::<Pair>),
        "a@1 a@2 !4 | a=7@2 x !6 a=8@2 !7 a=9@2 !max",
        "a[0,5)=2@4 !4 | a[0,5)=7@4 !6 a[0,5)=8@4 !7 late:(\"a\",9)@2 !max",
    );
}

#[test]
fn a_global_window_fires_with_the_time_of_the_record_or_the_timer() {
    let global = WindowAssigner::global();
    check_keyed(
        &sums!(global).trigger(PurgingTrigger::of(CountTrigger::every(3))),
        &main_only(brief),
        "a=1@1 a=2@2 b=5@2 | a=3@3 x a=4@4 !max",
        "| a=6@3 !max",
    );
    check_keyed(
        &sums!(global).trigger(ContinuousEventTimeTrigger::every(ms(10))),
        &main_only(brief),
        "a=1@3 !9 | a=2@12 x !50 !60 a=3@61 !max",
        "a=1@9 !9 | a=3@19 !50 !60 a=6@69 !max",
    );
    check_keyed(
        &sums!(global).trigger(ContinuousProcessingTimeTrigger::every(ms(10))),
        &main_only(brief),
        "a=1@3 +10 | x a=2@12 +10",
        "a=1@9 | a=3@19",
    );
}

#[test]
fn a_count_window_that_has_fired_leaves_nothing_behind() {
    let operator =
        sums!(WindowAssigner::global()).trigger(PurgingTrigger::of(CountTrigger::every(2)));
    let outlets = main_only(brief);
    for backend in [0, 1] {
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, backend);
        rig.play(hashed(picture("a@1 b@1 a@1 |"))).unwrap();
        assert_eq!(rig.cx().metrics.figures().state_rows, 1);
        rig.play(hashed(picture("b@2 |"))).unwrap();
        assert_eq!(rig.cx().metrics.figures().state_rows, 0);
    }
}

#[test]
fn a_sliding_count_window_keeps_the_last_records() {
    check_keyed(
        &sums!(WindowAssigner::global())
            .trigger(CountTrigger::every(2))
            .evictor(Evicting::by(CountEvictor::keep(3))),
        &main_only(brief),
        "a=1@1 a=2@2 a=3@3 | a=4@4 x a=5@5 a=6@6",
        "a=3@2 | a=9@4 a=15@6",
    );
}

#[test]
fn evictors_say_which_records_count() {
    // The evictor, and what comes of `1@1 2@50 4@55 7@56`.
    let within = |from: &Pair, last: &Pair| (from.1 - last.1).abs() as f64;
    let table: [(Evicting<Pair>, &str); 4] = [
        (Evicting::by(CountEvictor::keep(2)), "a[0,100)=11@99 "),
        (Evicting::by(TimeEvictor::keep(ms(6))), "a[0,100)=11@99 "),
        (
            Evicting::by(DeltaEvictor::keep_within(6.0, within)),
            "a[0,100)=13@99 ",
        ),
        (Evicting::by(Nothing), ""),
    ];
    for (evictor, expected) in table {
        check_keyed(
            &sums!(tumbling(100)).evictor(evictor),
            &main_only(show),
            "a=1@1 a=2@50 | a=4@55 x a=7@56 !99",
            &format!("| {expected}!99"),
        );
    }
}

/// Leaves no record.
struct Nothing;

impl Evictor<Pair> for Nothing {
    fn evict_before(&self, records: &mut Vec<Event<Pair>>, _cx: &EvictorContext) {
        records.clear();
    }
}

#[test]
fn what_is_evicted_after_firing_counts_once() {
    let table: [(Evicting<Pair>, &str); 3] = [
        (Evicting::by(CountEvictor::keep(1).after_firing()), "3 14"),
        (
            Evicting::by(TimeEvictor::keep(ms(1)).after_firing()),
            "3 14",
        ),
        (
            Evicting::by(
                DeltaEvictor::keep_within(2.0, |a: &Pair, b: &Pair| (a.1 - b.1) as f64)
                    .after_firing(),
            ),
            "3 15",
        ),
    ];
    for (evictor, expected) in table {
        check_keyed(
            &sums!(tumbling(10))
                .trigger(CountTrigger::every(2))
                .evictor(evictor),
            &main_only(|result: &Windowed<String, i64>| format!("{}", result.value)),
            "a=1@1 a=2@2 | x a=4@3 a=8@4 !9",
            &format!("{} !9", expected.replacen(' ', "@9 | ", 1) + "@9"),
        );
    }
}

#[test]
fn evictors_work_on_sessions_and_on_windows_that_fire_again() {
    let last_two = || Evicting::by(CountEvictor::keep(2));
    check_keyed(
        &sums!(WindowAssigner::session(ms(5))).evictor(last_two()),
        &main_only(show),
        "a=1@9 a=2@1 | a=4@5 x !max",
        // Sessions that become one keep their order in time: 2, 1, 4.
        "| a[1,14)=5@13 !max",
    );
    check_keyed(
        &sums!(tumbling(5))
            .allowed_lateness(ms(5))
            .evictor(last_two()),
        &main_only(show),
        "a=1@1 a=2@1 !4 | a=4@1 x !max",
        "a[0,5)=3@4 !4 | a[0,5)=6@4 !max",
    );
}

/// Fires a second after the first record by the wall clock, at 9 at once, and purges at 0; says in its state how often
/// it fired.
#[derive(Clone)]
struct Moody;

impl Trigger<Pair> for Moody {
    type State = u32;

    fn on_record(
        &self,
        record: &Pair,
        _ts: Timestamp,
        cx: &mut TriggerContext<'_, u32>,
    ) -> TriggerResult {
        match record.1 {
            0 => TriggerResult::Purge,
            9 => {
                let at = cx.processing_time() + 1_000;
                assert!(cx.delete_processing_timer(at));
                TriggerResult::FireAndPurge
            }
            _ => {
                let at = cx.processing_time() + 1_000;
                cx.register_processing_timer(at);
                TriggerResult::Continue
            }
        }
    }

    fn on_processing_time(
        &self,
        _ts: Timestamp,
        cx: &mut TriggerContext<'_, u32>,
    ) -> TriggerResult {
        *cx.state() += 1;
        match *cx.state() {
            1 => TriggerResult::Fire,
            _ => TriggerResult::FireAndPurge,
        }
    }
}

#[test]
fn a_trigger_of_ones_own_has_state_and_timers() {
    check_keyed(
        &sums!(WindowAssigner::global()).trigger(Moody),
        &main_only(brief),
        "a=1@1 a=9@2 a=2@3 a=0@4 a=3@5 | x +1001 a=4@6 +1001 a=5@7 +1001",
        "a=10@2 | a=3@1000 a=7@2001 a=5@3002",
    );
}

/// Counts the windows that go.
#[derive(Clone)]
struct Goes(Arc<AtomicU32>);

impl Trigger<Pair> for Goes {
    type State = bool;

    fn on_record(
        &self,
        _: &Pair,
        _: Timestamp,
        cx: &mut TriggerContext<'_, bool>,
    ) -> TriggerResult {
        *cx.state() = true;
        TriggerResult::Fire
    }

    fn clear(&self, cx: &mut TriggerContext<'_, bool>) {
        assert!(*cx.state());
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_trigger_is_told_when_a_window_goes() {
    let gone = Arc::new(AtomicU32::new(0));
    let operator = sums!(WindowAssigner::sliding(ms(4), ms(2))).trigger(Goes(Arc::clone(&gone)));
    let got = play(
        &operator,
        &main_only(show),
        hashed(picture("a@1 b@1 !1 !2 !3")),
        0,
    );
    assert_eq!(got.len(), 7, "{got:?}");
    assert_eq!(gone.load(Relaxed), 4);
}

proptest! {
    #[test]
    fn count_windows_give_what_each_would_give_by_itself_whatever_happens(
        steps in prop::collection::vec(
            prop_oneof![
                8 => (0..4_u8, 1..100_i64).prop_map(Some),
                2 => Just(None),
            ],
            0..60,
        ),
        crashes in prop::collection::vec(any::<bool>(), 60),
        keep in 1..6_usize,
        every in 1..6_u64,
        purges: bool,
        seed in 0..u64::MAX,
    ) {
        let mut kept: BTreeMap<u8, (u64, Vec<i64>)> = BTreeMap::new();
        let (mut played, mut expected) = (Vec::new(), Vec::new());
        for (at, (step, crash)) in steps.into_iter().zip(crashes).enumerate() {
            let Some((key, number)) = step else {
                played.push(if crash { Step::Crash } else { Step::Barrier });
                continue;
            };
            let ts = at as Timestamp;
            played.push(Step::Run(vec![Event::at(ts, (format!("k{key}"), number))]));
            let (count, numbers) = kept.entry(key).or_default();
            *count += 1;
            numbers.push(number);
            if *count == every {
                *count = 0;
                let last = numbers.iter().rev().take(keep);
                expected.push(format!("k{key}={}@{ts}", last.sum::<i64>()));
                if purges {
                    numbers.clear();
                }
            }
        }
        let windows = || sums!(WindowAssigner::global()).evictor(Evicting::by(CountEvictor::keep(keep)));
        let trigger = CountTrigger::every(every);
        let operator: Box<dyn OperatorFactory> = match purges {
            true => Box::new(windows().trigger(PurgingTrigger::of(trigger))),
            false => Box::new(windows().trigger(trigger)),
        };
        let mut got = play(&*operator, &main_only(brief), hashed(played), seed);
        got.retain(|word| word.contains('@'));
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn a_trigger_whose_watermarks_never_come_fails_with_the_mend() {
    let operator = sums!(WindowAssigner::global()).trigger(EventTimeTrigger);
    let clock = Arc::default();
    let cx = world(0, 1, &clock);
    let (restored, uid) = (rivus_core::RestoredState::default(), UID.into());
    let build = rivus_core::BuildContext {
        info: &cx.info,
        restored: &restored,
        stores: None,
        uid: &uid,
        operator: rivus_core::OperatorIndex(0),
        unmarked_source: Some("numbers"),
    };
    let outlets = main_only(brief)(&Log::default(), 0);
    let mut stage = operator
        .stage(&build, outlets)
        .unwrap()
        .typed::<Hashed<Pair>>()
        .unwrap();
    let Step::Run(run) = hashed(picture("a@1")).remove(0) else {
        panic!("a run");
    };
    let failure = stage.run(run, &mut world(0, 1, &clock)).unwrap_err();
    assert!(
        failure.message.contains(".assign_watermarks(..)"),
        "{failure}"
    );
}

#[test]
fn a_window_that_got_a_trigger_is_refused_the_state_of_one_without() {
    let (without, with) = (
        sums!(tumbling(5)),
        sums!(tumbling(5)).trigger(EventTimeTrigger),
    );
    let other = sums!(tumbling(6)).trigger(EventTimeTrigger);
    let outlets = main_only(show);
    let cases: [(&dyn OperatorFactory, &dyn OperatorFactory); 3] =
        [(&without, &with), (&with, &without), (&with, &other)];
    for (written, read) in cases {
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(written, &outlets, 0);
        rig.play(hashed(picture("a@1 |"))).unwrap();
        let saved = [rig.snapshot()];
        let clock = rig.clock();
        match Rig::<Hashed<Pair>>::restored(read, &outlets, 0, (0, 1), &saved, clock) {
            Ok(_) => panic!("accepted"),
            Err(failure) => assert!(failure.message.contains("another uid"), "{failure}"),
        }
    }
}

/// Doesn't know what to do when windows become one.
#[derive(Clone)]
struct Alone;

impl Trigger<Pair> for Alone {
    type State = ();

    fn on_record(&self, _: &Pair, _: Timestamp, _: &mut TriggerContext<'_, ()>) -> TriggerResult {
        TriggerResult::Fire
    }
}

#[test]
fn windows_that_could_never_work_are_refused_with_the_mend() {
    let (session, global) = (WindowAssigner::session(ms(5)), WindowAssigner::global());
    let by_clock = tumbling(5).processing_time();
    let cases: [(&dyn OperatorFactory, &str); 12] = [
        (&sums!(global), ".count_window(..)"),
        (&sums!(global).trigger(EndTrigger), "give it a .trigger(..)"),
        (&sums!(WindowAssigner::session(ms(0))), "a longer Duration"),
        (&sums!(tumbling(0).processing_time()), "a longer Duration"),
        (&sums!(session).trigger(Alone), "can_merge and on_merge"),
        (
            &sums!(session).trigger(PurgingTrigger::of(Alone)),
            "can_merge and on_merge",
        ),
        (
            &sums!(tumbling(5)).gap_by(|_| ms(1)),
            "WindowAssigner::session(..)",
        ),
        (
            &sums!(by_clock).allowed_lateness(ms(1)),
            "leave .allowed_lateness(..) out",
        ),
        (
            &sums!(by_clock).late_output(SideOutputTag::new("late")),
            "leave .late_output(..) out",
        ),
        (
            &sums!(tumbling(5)).trigger(PurgingTrigger::of(CountTrigger::every(0))),
            "give at least 1",
        ),
        (
            &sums!(tumbling(5)).trigger(ContinuousEventTimeTrigger::every(ms(0))),
            "a longer Duration",
        ),
        (
            &sums!(tumbling(5)).evictor(Evicting::by(CountEvictor::keep(0))),
            "keep at least 1",
        ),
    ];
    for (operator, mend) in cases {
        let refusal = operator.check(&Default::default()).unwrap_err();
        assert!(refusal.contains(mend), "{refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}
