use std::collections::BTreeMap;

use proptest::prelude::*;
use rivus_core::{Control, Event, Hashed};

use super::rig::*;
use super::windows::{Join, Move, by_key, canonical, moves, ms, show};
use crate::{
    CountTrigger, PurgingTrigger, SideOutputTag, Sum, WindowAssigner, WindowOperator, Windowed,
};

/// Sums of sessions with a gap of 5 ms.
macro_rules! sessions {
    () => {
        WindowOperator::aggregate(
            by_key(),
            WindowAssigner::session(ms(5)),
            Sum::of(|pair: &Pair| pair.1),
        )
    };
}

#[test]
fn a_session_ends_when_no_record_has_come_for_its_gap() {
    check_keyed(
        &sessions!(),
        &main_only(show),
        "a@1 a@4 b@2 !5 !6 a@20 !max",
        "!5 b[2,7)=1@6 !6 a[1,9)=2@8 a[20,25)=1@24 !max",
    );
}

#[test]
fn a_record_that_comes_just_at_the_end_of_a_session_begins_another_whenever_it_comes() {
    check_keyed(
        &sessions!(),
        &main_only(show),
        "a@0 a@4 b@0 b@5 c@0 !4 c@5 !max",
        "b[0,5)=1@4 c[0,5)=1@4 !4 a[0,9)=2@8 b[5,10)=1@9 c[5,10)=1@9 !max",
    );
}

#[test]
fn a_record_between_two_sessions_makes_them_one() {
    check_keyed(
        &sessions!(),
        &main_only(show),
        "a@1 a@9 | a=5@5 x !9 | x !max",
        "| !9 | a[1,14)=7@13 !max",
    );
}

#[test]
fn of_sessions_that_become_one_the_earlier_ones_records_come_first() {
    check_keyed(
        &WindowOperator::process(by_key(), WindowAssigner::session(ms(5)), Join),
        &main_only(|result: &Windowed<String, String>| result.value.clone()),
        "a=1@9 a=2@1 a=3@5 !max",
        "3@13 2@13 1@13 3@13 !max",
    );
}

#[test]
fn a_session_of_the_past_is_late_and_one_that_reaches_into_the_future_is_not() {
    check_keyed(
        &WindowOperator::reduce(
            by_key(),
            WindowAssigner::session(ms(5)),
            |sum: &mut Pair, next: Pair| sum.1 += next.1,
        )
        .late_output(SideOutputTag::new("late")),
        &with_side(
            |result: &Windowed<String, Pair>| result.value.1.to_string(),
            "late",
            debug::<Pair>,
        ),
        "a@1 !5 a=2@1 a=3@2 !max",
        "1@5 !5 late:(\"a\",2)@1 3@6 !max",
    );
}

#[test]
fn a_session_that_fired_and_grows_fires_again_with_its_new_bounds() {
    check_keyed(
        &sessions!().allowed_lateness(ms(10)),
        &main_only(show),
        "a@1 !5 | a=2@3 x !7 a=4@0 !30 a@1 !max",
        "a[1,6)=1@5 !5 | a[1,8)=3@7 !7 a[0,8)=7@7 !30 !max",
    );
}

#[test]
fn a_record_too_late_for_a_session_of_its_own_is_taken_by_one_that_still_lives() {
    let operator = sessions!().allowed_lateness(ms(3));
    let outlets = main_only(show);
    for seed in 0..4 {
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, seed);
        rig.play(hashed(picture("a@0 a@4 !9 a@1 !10 !11 a@1 !max |")))
            .unwrap();
        assert_eq!(
            rig.log.words().join(" "),
            "a[0,9)=2@8 !9 a[0,9)=3@8 !10 !11 !max |"
        );
        let figures = rig.cx().metrics.figures();
        assert_eq!((figures.late, figures.state_rows), (1, 0));
    }
}

#[test]
fn a_record_says_itself_how_long_its_session_stays_open() {
    let operator = sessions!().gap_by(|pair: &Pair| ms(pair.1 as u64));
    check_keyed(
        &operator,
        &main_only(show),
        "a=3@0 a=10@2 a=1@11 a=1@14 !max",
        "a[0,12)=14@11 a[14,15)=1@14 !max",
    );
    let outlets = main_only(show);
    let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, 0);
    let failure = rig.play(hashed(picture("a=0@1"))).unwrap_err();
    assert!(failure.message.contains(".gap_by(..)"), "{failure}");
}

#[test]
fn triggers_follow_sessions_that_become_one() {
    check_keyed(
        &sessions!().trigger(CountTrigger::every(3)),
        &main_only(show),
        "a@1 a@9 | a=5@5 x a@7 a@7 a@7 !max",
        "| a[1,14)=7@13 a[1,14)=10@13 !max",
    );
    // A session that was purged is still there to be met.
    check_keyed(
        &sessions!().trigger(PurgingTrigger::of(CountTrigger::every(2))),
        &main_only(show),
        "a@1 a@2 a=3@6 a=4@6 !max",
        "a[1,7)=2@6 a[1,11)=7@10 !max",
    );
}

#[test]
fn the_first_and_the_last_time_there_is_have_their_sessions() {
    let text = format!("a@{} a@{} !0 !max", i64::MIN, i64::MAX);
    let (operator, outlets) = (sessions!().allowed_lateness(ms(5)), main_only(show));
    let got = play(&operator, &outlets, hashed(picture(&text)), 0);
    assert_eq!(got.len(), 4, "{got:?}");
    assert_eq!(got.last().unwrap(), "!max");
}

#[test]
fn after_rescaling_no_session_fires_twice_and_what_was_late_is_late() {
    let operator = sessions!();
    let outlets = main_only(show);
    let keys: Vec<String> = (0..8).map(|key| format!("k{key}")).collect();
    let (mut snapshots, mut fired) = (Vec::new(), Vec::new());
    let clock = std::sync::Arc::default();
    for (index, watermark) in [(0, 3), (1, 9)] {
        let mut rig: Rig<'_, Hashed<Pair>> =
            Rig::restored(&operator, &outlets, 0, (index, 2), &[], &clock).unwrap();
        let range = rig.cx().info.key_groups();
        let own = keys
            .iter()
            .filter(|key| range.contains(rivus_core::KeyGroup::of(rivus_core::key_hash(*key), 8)));
        let run = own.map(|key| Event::at(3, (key.clone(), 1))).collect();
        let watermark = Step::Control(Control::Watermark(watermark));
        rig.play(hashed(vec![Step::Run(run), watermark, Step::Barrier]))
            .unwrap();
        fired.extend(rig.log.words());
        snapshots.push(rig.snapshot());
    }
    // The same records again: late where the session has fired, within it where it has not.
    let again = keys.iter().map(|key| Event::at(3, (key.clone(), 1)));
    let steps = vec![
        Step::Control(Control::Watermark(3)),
        Step::Run(again.collect()),
        Step::Control(Control::Watermark(i64::MAX)),
        Step::Barrier,
    ];
    let mut rig: Rig<'_, Hashed<Pair>> =
        Rig::restored(&operator, &outlets, 5, (0, 1), &snapshots, &clock).unwrap();
    rig.play(hashed(steps)).unwrap();
    fired.extend(rig.log.words());
    fired.retain(|word| word.contains('@'));
    let late = rig.cx().metrics.figures().late as usize;
    let ones = fired.iter().filter(|word| word.contains("=1@7")).count();
    let twos = fired.iter().filter(|word| word.contains("=2@7")).count();
    assert!(late > 0 && twos > 0, "{fired:?}");
    assert_eq!(
        (ones, ones + twos, fired.len()),
        (late, keys.len(), keys.len())
    );
}

/// Each session of each key for itself.
#[derive(Default)]
struct Model {
    gap: i64,
    lateness: i64,
    watermark: i64,
    /// Start, end and sum, by key.
    sessions: BTreeMap<String, Vec<(i64, i64, i64)>>,
    out: Vec<String>,
}

fn shown(key: &str, (start, end, sum): (i64, i64, i64)) -> String {
    format!("{key}[{start},{end})={sum}@{}", end - 1)
}

impl Model {
    fn record(&mut self, key: &str, number: i64, ts: i64) {
        let sessions = self.sessions.entry(key.to_owned()).or_default();
        let (mut start, mut end, mut sum) = (ts, ts + self.gap, number);
        let meets = |other: &(i64, i64, i64)| other.0 < ts + self.gap && other.1 > ts;
        let met: Vec<_> = sessions.iter().copied().filter(meets).collect();
        if met.is_empty() && end - 1 + self.lateness <= self.watermark {
            self.out.push(format!("late:{key}={number}@{ts}"));
            return;
        }
        for other in met {
            (start, end, sum) = (start.min(other.0), end.max(other.1), sum + other.2);
            sessions.retain(|each| *each != other);
        }
        sessions.push((start, end, sum));
        if end - 1 <= self.watermark {
            self.out.push(shown(key, (start, end, sum)));
        }
    }

    fn watermark(&mut self, watermark: i64) {
        for (key, sessions) in &mut self.sessions {
            for session in sessions.iter() {
                if session.1 - 1 > self.watermark && session.1 - 1 <= watermark {
                    self.out.push(shown(key, *session));
                }
            }
            sessions.retain(|session| session.1 - 1 + self.lateness > watermark);
        }
        self.watermark = watermark;
        self.out.push(format!("!{watermark}"));
    }
}

proptest! {
    #[test]
    fn sessions_give_what_each_would_give_by_itself_whatever_happens(
        moves in moves(),
        gap in 1..9_u64,
        lateness in prop_oneof![Just(0_u64), 1..15_u64],
        seed in 0..u64::MAX,
        slice in 1..20_usize,
    ) {
        let sum = Sum::of(|pair: &Pair| pair.1);
        let operator = WindowOperator::aggregate(by_key(), WindowAssigner::session(ms(gap)), sum)
            .allowed_lateness(ms(lateness))
            .late_output(SideOutputTag::new("late"));
        let mut model = Model {
            gap: gap as i64,
            lateness: lateness as i64,
            watermark: i64::MIN,
            ..Model::default()
        };
        let mut steps = Vec::new();
        let mut time = -20;
        for step in moves {
            match step {
                Move::Records(run) => {
                    let mut events = Vec::new();
                    for (key, number, ahead) in run {
                        // Few keys, so that sessions meet.
                        let (key, ts) = (format!("k{}", key % 3), time + ahead);
                        model.record(&key, number, ts);
                        events.push(Event::at(ts, (key, number)));
                    }
                    steps.push(Step::Run(events));
                }
                Move::Watermark(by) => {
                    time += by;
                    model.watermark(time);
                    steps.push(Step::Control(Control::Watermark(time)));
                }
                Move::Barrier => steps.push(Step::Barrier),
                Move::Crash => steps.push(Step::Crash),
            }
        }
        model.watermark(1_000);
        steps.push(Step::Control(Control::Watermark(1_000)));
        steps.push(Step::Barrier);
        let outlets = with_side(show, "late", |pair: &Pair| format!("{}={}", pair.0, pair.1));
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, seed);
        rig.slice = slice;
        rig.play(hashed(steps)).unwrap();
        prop_assert_eq!(canonical(&rig.log.words()), canonical(&model.out));
        prop_assert_eq!(rig.cx().metrics.figures().state_rows, 0, "no state is left behind");
    }

    #[test]
    fn however_records_are_mixed_up_the_sessions_are_those_of_their_order_in_time(
        times in prop::collection::vec(-60..60_i64, 1..40),
        gap in 1..9_i64,
        seed in 0..u64::MAX,
    ) {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let mut expected: Vec<(i64, i64, i64)> = Vec::new();
        for ts in sorted {
            match expected.last_mut() {
                Some((_, end, count)) if ts < *end => {
                    (*end, *count) = (ts + gap, *count + 1);
                }
                _ => expected.push((ts, ts + gap, 1)),
            }
        }
        let mut expected: Vec<String> = expected.into_iter().map(|each| shown("a", each)).collect();
        expected.push("!max".to_owned());
        let sum = Sum::of(|pair: &Pair| pair.1);
        let assigner = WindowAssigner::session(ms(gap as u64));
        let operator = WindowOperator::aggregate(by_key(), assigner, sum);
        let events = times.into_iter().map(|ts| Event::at(ts, ("a".to_owned(), 1)));
        let last = Step::Control(Control::Watermark(i64::MAX));
        let steps = hashed(vec![Step::Run(events.collect()), last]);
        prop_assert_eq!(play(&operator, &main_only(show), steps, seed), expected);
    }
}
