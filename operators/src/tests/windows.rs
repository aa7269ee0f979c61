use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rivus_core::{Control, Event, Hashed, OperatorFactory, UserError};

use super::rig::*;
use crate::{
    CountEvictor, EventTimeTrigger, Evicting, KeySelector, SideOutputTag, Sum, Window,
    WindowAssigner, WindowFunction, WindowOperator, Windowed, by_ref,
};

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn by_key() -> impl KeySelector<Pair, Key = String> {
    by_ref::<Pair, str, _>(|pair| &pair.0)
}

pub(super) fn show(result: &Windowed<String, i64>) -> String {
    let Window { start, end } = result.window;
    format!("{}[{start},{end})={}", result.key, result.value)
}

fn sums(assigner: WindowAssigner) -> impl rivus_core::OperatorFactory {
    WindowOperator::aggregate(by_key(), assigner, Sum::of(|pair: &Pair| pair.1))
}

#[test]
fn a_tumbling_window_fires_at_its_last_millisecond() {
    check_keyed(
        &sums(WindowAssigner::tumbling(ms(5))),
        &main_only(show),
        "a@1 a@3 a=7@5 !3 !4 a@6 !9",
        "!3 a[0,5)=2@4 !4 a[5,10)=8@9 !9",
    );
}

#[test]
fn windows_before_the_epoch_and_offsets_work() {
    let assigner = WindowAssigner::tumbling(ms(10)).with_offset(ms(13));
    check_keyed(
        &sums(assigner),
        &main_only(show),
        "a@-7 a@-8 a@3 !max",
        "a[-17,-7)=1@-8 a[-7,3)=1@2 a[3,13)=1@12 !max",
    );
}

#[test]
fn a_sliding_window_counts_a_record_once_in_each() {
    check_keyed(
        &sums(WindowAssigner::sliding(ms(4), ms(2))),
        &main_only(show),
        "a=1@1 a=2@2 a=4@5 !5 !max",
        "a[-2,2)=1@1 a[0,4)=3@3 a[2,6)=6@5 !5 a[4,8)=4@7 !max",
    );
}

#[test]
fn the_pane_between_two_windows_is_passed_over() {
    check_keyed(
        &sums(WindowAssigner::sliding(ms(2), ms(4))),
        &main_only(show),
        "a@0 a@2 a@3 a@5 !max",
        "a[0,2)=1@1 a[4,6)=1@5 !max",
    );
}

/// A fold for which it matters in which pairs it is done: 1 - 2 - 3 is not 1 - (2 - 3).
#[test]
fn windows_that_overlap_reduce_their_own_records_in_the_order_in_which_they_come() {
    let reduce = |assigner| {
        WindowOperator::reduce(by_key(), assigner, |left: &mut Pair, next: Pair| {
            left.1 -= next.1;
        })
    };
    let shown = |result: &Windowed<String, Pair>| {
        format!(
            "[{},{})={}",
            result.window.start, result.window.end, result.value.1
        )
    };
    let input = "a=1@1 a=2@2 | a=3@3 x a=9@0 !max";
    for (operator, output) in [
        (
            reduce(WindowAssigner::sliding(ms(4), ms(2))),
            "| [-2,2)=-8@1 [0,4)=-13@3 [2,6)=-1@5 !max",
        ),
        (
            reduce(WindowAssigner::sliding(ms(4), ms(2))).associative(),
            "| [-2,2)=-8@1 [0,4)=-7@3 [2,6)=-1@5 !max",
        ),
        (
            reduce(WindowAssigner::tumbling(ms(4))),
            "| [0,4)=-13@3 !max",
        ),
    ] {
        check_keyed(&operator, &main_only(shown), input, output);
    }
}

#[test]
fn a_late_record_is_counted_or_goes_to_the_side() {
    let tumbling = WindowAssigner::tumbling(ms(5));
    let operator = sums(tumbling);
    let outlets = main_only(show);
    let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, 0);
    rig.play(hashed(picture("a@1 !4 a@4 a@5 !9"))).unwrap();
    assert_eq!(rig.log.words().join(" "), "a[0,5)=1@4 !4 a[5,10)=1@9 !9");
    assert_eq!(rig.cx().metrics.figures().late, 1);

    let aside = WindowOperator::reduce(by_key(), tumbling, |sum: &mut Pair, next: Pair| {
        sum.1 += next.1;
    })
    .late_output(SideOutputTag::new("late"));
    check_keyed(
        &aside,
        &with_side(
            |result: &Windowed<String, Pair>| format!("{}", result.value.1),
            "late",
            debug::<Pair>,
        ),
        "a@1 a=2@2 !4 a=3@4 a=4@5 !9",
        "3@4 !4 late:(\"a\",3)@4 4@9 !9",
    );
}

#[test]
fn a_late_record_is_counted_wherever_it_goes() {
    let aside = WindowOperator::reduce(
        by_key(),
        WindowAssigner::tumbling(ms(5)),
        |sum: &mut Pair, next: Pair| sum.1 += next.1,
    )
    .late_output(SideOutputTag::new("late"));
    let outlets = with_side(
        |result: &Windowed<String, Pair>| format!("{}", result.value.1),
        "late",
        debug::<Pair>,
    );
    let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&aside, &outlets, 0);
    rig.play(hashed(picture("a@1 !4 a@4 a@5 !9"))).unwrap();
    assert_eq!(rig.cx().metrics.figures().late, 1);
}

#[test]
fn a_record_that_misses_some_of_its_windows_is_in_the_others_and_counted_as_such() {
    let sliding = || WindowAssigner::sliding(ms(10), ms(5));
    let sum = || WindowOperator::aggregate(by_key(), sliding(), Sum::of(|pair: &Pair| pair.1));
    let by_panes = sum();
    let one_by_one = sum().trigger(EventTimeTrigger);
    let operators: [&dyn OperatorFactory; 2] = [&by_panes, &one_by_one];
    for operator in operators {
        let outlets = main_only(show);
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(operator, &outlets, 0);
        // The second a misses one window of its two, the third both.
        rig.play(hashed(picture("a@3 !4 a=2@4 a@7 !9 a=4@4 !14")))
            .unwrap();
        let expected = "a[-5,5)=1@4 !4 a[0,10)=4@9 !9 a[5,15)=1@14 !14";
        assert_eq!(rig.log.words().join(" "), expected);
        let figures = rig.cx().metrics.figures();
        assert_eq!((figures.partly_late, figures.late), (1, 1));
    }
}

#[test]
fn a_late_record_of_many_windows_makes_each_fire_again() {
    let operator = WindowOperator::aggregate(
        by_key(),
        WindowAssigner::sliding(ms(500), ms(1)),
        Sum::of(|pair: &Pair| pair.1),
    )
    .allowed_lateness(ms(1_000));
    let outlets = main_only(show);
    let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, 0);
    rig.play(hashed(picture("a@1000 !1600 a@1000 !max")))
        .unwrap();
    let words = rig.log.words();
    let of = |sum: &str| words.iter().filter(|word| word.contains(sum)).count();
    assert_eq!((of("=1@"), of("=2@")), (500, 500));
}

#[test]
fn within_the_allowed_lateness_a_window_fires_again_for_each_record() {
    let operator = WindowOperator::aggregate(
        by_key(),
        WindowAssigner::tumbling(ms(5)),
        Sum::of(|pair: &Pair| pair.1),
    )
    .allowed_lateness(ms(3));
    check_keyed(
        &operator,
        &main_only(show),
        "a@1 !4 a@2 b@2 !6 | a@3 x !7 a@4 !max",
        "a[0,5)=1@4 !4 a[0,5)=2@4 b[0,5)=1@4 !6 | a[0,5)=3@4 !7 !max",
    );
}

/// Joins all numbers of a window, and says how many there were.
#[derive(Clone)]
pub(super) struct Join;

impl WindowFunction<String, Pair> for Join {
    type Out = String;

    fn apply(
        &mut self,
        _key: &String,
        _window: Window,
        values: Vec<Pair>,
        out: &mut Vec<String>,
    ) -> Result<(), UserError> {
        out.push(values.len().to_string());
        out.extend(values.iter().map(|pair| pair.1.to_string()));
        Ok(())
    }
}

#[test]
fn a_window_function_sees_all_records_and_emits_what_it_likes() {
    let operator = WindowOperator::process(by_key(), WindowAssigner::sliding(ms(4), ms(2)), Join);
    check_keyed(
        &operator,
        &main_only(|result: &Windowed<String, String>| result.value.clone()),
        "a=7@0 a=8@1 | a=9@3 x !3 !max",
        "| 2@1 7@1 8@1 3@3 7@3 8@3 9@3 !3 1@5 9@5 !max",
    );
}

#[test]
fn the_first_and_the_last_time_there_is_have_their_windows() {
    let text = format!("a@{} a@{} !0 !max", i64::MIN, i64::MAX);
    let operator = sums(WindowAssigner::sliding(ms(3), ms(2)));
    let outlets = main_only(show);
    let got = play(&operator, &outlets, hashed(picture(&text)), 0);
    assert_eq!(got.len(), 5, "{got:?}");
    assert_eq!(got.last().unwrap(), "!max");
}

#[test]
fn another_window_size_under_the_same_uid_is_refused() {
    let (five, six) = (
        sums(WindowAssigner::tumbling(ms(5))),
        sums(WindowAssigner::tumbling(ms(6))),
    );
    let outlets = main_only(show);
    let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&five, &outlets, 0);
    rig.play(hashed(picture("a@1 |"))).unwrap();
    let saved = [rig.snapshot()];
    let clock = rig.clock();
    let Err(failure) = Rig::<Hashed<Pair>>::restored(&six, &outlets, 0, (0, 1), &saved, clock)
    else {
        panic!("accepted");
    };
    assert!(failure.message.contains("another uid"), "{failure}");
}

#[test]
fn after_rescaling_no_window_fires_twice_though_subtasks_had_got_differently_far() {
    let operator = sums(WindowAssigner::sliding(ms(4), ms(2)));
    let outlets = main_only(show);
    let keys: Vec<String> = (0..8).map(|key| format!("k{key}")).collect();
    let mut snapshots = Vec::new();
    let mut fired = Vec::new();
    let clock = std::sync::Arc::default();
    for (index, watermark) in [(0, 3), (1, 5)] {
        let place = (index, 2);
        let mut rig: Rig<'_, Hashed<Pair>> =
            Rig::restored(&operator, &outlets, 0, place, &[], &clock).unwrap();
        let range = rig.cx().info.key_groups();
        let mut run = Vec::new();
        for key in &keys {
            let group = rivus_core::KeyGroup::of(rivus_core::key_hash(key), 8);
            if range.contains(group) {
                run.push(Event::at(3, (key.clone(), 1)));
            }
        }
        assert!(!run.is_empty());
        let watermark = Step::Control(Control::Watermark(watermark));
        rig.play(hashed(vec![Step::Run(run), watermark, Step::Barrier]))
            .unwrap();
        fired.extend(rig.log.words());
        snapshots.push(rig.snapshot());
    }
    let mut rig: Rig<'_, Hashed<Pair>> =
        Rig::restored(&operator, &outlets, 5, (0, 1), &snapshots, &clock).unwrap();
    rig.play(hashed(picture("!3 |"))).unwrap();
    let again = [rig.snapshot()];
    fired.extend(rig.log.words());
    // What is known of the past survives a second checkpoint.
    let mut rig: Rig<'_, Hashed<Pair>> =
        Rig::restored(&operator, &outlets, 5, (0, 1), &again, &clock).unwrap();
    rig.play(hashed(picture("!3 !4 !5 !max"))).unwrap();
    fired.extend(rig.log.words());
    fired.retain(|word| word.contains('@'));
    fired.sort();
    let mut expected: Vec<String> = keys
        .iter()
        .flat_map(|key| [format!("{key}[0,4)=1@3"), format!("{key}[2,6)=1@5")])
        .collect();
    expected.sort();
    assert_eq!(fired, expected);
}

/// Each window of each key for itself.
struct Model {
    assigner: WindowAssigner,
    lateness: i64,
    watermark: i64,
    /// By end, start and key.
    windows: BTreeMap<(i64, i64, String), i64>,
    out: Vec<String>,
}

impl Model {
    fn show(&self, key: &str, (start, end): (i64, i64), sum: i64) -> String {
        format!("{key}[{start},{end})={sum}@{}", end - 1)
    }

    fn record(&mut self, key: &str, number: i64, ts: i64) {
        let windows: Vec<Window> = self.assigner.windows(ts).collect();
        let mut taken = windows.is_empty();
        for Window { start, end } in windows {
            if end - 1 + self.lateness <= self.watermark {
                continue;
            }
            taken = true;
            let sum = self
                .windows
                .entry((end, start, key.to_owned()))
                .or_default();
            *sum += number;
            let sum = *sum;
            if end - 1 <= self.watermark {
                self.out.push(self.show(key, (start, end), sum));
            }
        }
        if !taken {
            self.out.push(format!("late:{key}={number}@{ts}"));
        }
    }

    fn watermark(&mut self, watermark: i64) {
        for ((end, start, key), sum) in &self.windows {
            if end - 1 > self.watermark && end - 1 <= watermark {
                self.out.push(self.show(key, (*start, *end), *sum));
            }
        }
        self.watermark = watermark;
        self.out.push(format!("!{watermark}"));
    }
}

/// The order of keys within a window is not promised: sorts what lies between two watermarks.
pub(super) fn canonical(words: &[String]) -> Vec<Vec<String>> {
    let mut parts = vec![Vec::new()];
    for word in words.iter().filter(|word| *word != "|") {
        if word.starts_with('!') {
            parts.push(vec![word.clone()]);
            parts.push(Vec::new());
        } else {
            parts.last_mut().unwrap().push(word.clone());
        }
    }
    for part in &mut parts {
        part.sort();
    }
    parts
}

#[derive(Debug, Clone)]
pub(super) enum Move {
    Records(Vec<(u8, i64, i64)>),
    Watermark(i64),
    Barrier,
    Crash,
}

pub(super) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let records = prop::collection::vec((0..10_u8, 1..9_i64, -20..20_i64), 1..10);
    let step = prop_oneof![
        4 => records.prop_map(Move::Records),
        3 => (0..9_i64).prop_map(Move::Watermark),
        1 => Just(Move::Barrier),
        1 => Just(Move::Crash),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #[test]
    fn windows_give_what_each_would_give_by_itself_whatever_happens(
        moves in moves(),
        size in 1..14_u64,
        slide in 1..14_u64,
        tumbling: bool,
        offset in 0..9_u64,
        lateness in prop_oneof![Just(0_u64), 1..15_u64],
        seed in 0..u64::MAX,
        slice in 1..20_usize,
        way in 0..3_u8,
    ) {
        let slide = if tumbling { size } else { slide };
        let assigner = WindowAssigner::sliding(ms(size), ms(slide)).with_offset(ms(offset));
        let made = || {
            WindowOperator::aggregate(by_key(), assigner, Sum::of(|pair: &Pair| pair.1))
                .allowed_lateness(ms(lateness))
                .late_output(SideOutputTag::new("late"))
        };
        // By panes; one by one; one by one with all records kept.
        let operator: Box<dyn OperatorFactory> = match way {
            0 => Box::new(made()),
            1 => Box::new(made().trigger(EventTimeTrigger)),
            _ => Box::new(made().evictor(Evicting::by(CountEvictor::keep(1_000)))),
        };
        let mut model = Model {
            assigner,
            lateness: lateness as i64,
            watermark: i64::MIN,
            windows: BTreeMap::new(),
            out: Vec::new(),
        };
        let mut steps = Vec::new();
        let (mut time, mut records) = (-20, 0);
        for step in moves {
            match step {
                Move::Records(run) => {
                    records += run.len();
                    let mut events = Vec::new();
                    for (key, number, ahead) in run {
                        let (key, ts) = (format!("k{key}"), time + ahead);
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
        let mut rig: Rig<'_, Hashed<Pair>> = Rig::new(&*operator, &outlets, seed);
        rig.slice = slice;
        rig.play(hashed(steps)).unwrap();
        let (got, expected) = (rig.log.words(), model.out);
        prop_assert_eq!(canonical(&got), canonical(&expected), "{} records", records);
        prop_assert_eq!(rig.cx().metrics.figures().state_rows, 0, "no state is left behind");
    }
}
