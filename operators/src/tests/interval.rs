use proptest::prelude::*;
use rivus_core::{Control, Event, Hashed, KeyGroup, OperatorFactory, UserError, key_hash};

use super::rig::*;
use crate::{
    EachPair, Interval, IntervalJoinFunction, IntervalJoinOperator, Output, SideOutputTag,
    by_either, by_ref,
};

fn by_key() -> impl crate::KeySelector<EitherPair, Key = String> {
    by_either(
        by_ref::<Pair, str, _>(|pair| &pair.0),
        by_ref::<Pair, str, _>(|pair| &pair.0),
    )
}

fn pair(first: &Pair, second: &Pair) -> String {
    format!("{}{}+{}", first.0, first.1, second.1)
}

fn operator(interval: Interval) -> impl OperatorFactory {
    IntervalJoinOperator::new(by_key(), interval, EachPair(pair))
        .late_first(SideOutputTag::new("late"))
}

fn outlets() -> impl Fn(&Log, u64) -> rivus_core::Outlets {
    with_side(String::clone, "late", |pair: &Pair| {
        format!("{}={}", pair.0, pair.1)
    })
}

#[test]
fn intervals_in_pictures() {
    let between = Interval::between;
    let table = [
        // A pair is given when the later one comes, with the greater time.
        (
            between(0, 5),
            "a=1@10 ~a=1@10 ~a=2@15 ~a=3@16 ~a=4@9 ~b=5@10",
            "a1+1@10 a1+2@15",
        ),
        (
            between(0, 5),
            "~a=1@12 a=1@10 a=2@7 a=3@13",
            "a1+1@12 a2+1@12",
        ),
        // Partners come in the order of their times, then in that in which they came.
        (
            between(-9, 9),
            "~a=3@5 ~a=1@4 ~a=2@4 a=7@5",
            "a7+1@5 a7+2@5 a7+3@5",
        ),
        (
            between(0, 5).lower_bound_exclusive(),
            "a=1@10 ~a=1@10 ~a=2@15",
            "a1+2@15",
        ),
        (
            between(0, 5).upper_bound_exclusive(),
            "a=1@10 ~a=1@10 ~a=2@15",
            "a1+1@10",
        ),
        // Bounds on one side of the record.
        (
            between(3, 5),
            "a=1@10 ~a=1@12 ~a=2@13 !12 ~a=3@14",
            "a1+2@13 !12 a1+3@14",
        ),
        (
            between(-5, -3),
            "a=1@10 ~a=1@4 ~a=2@5 ~a=3@7 !6 ~a=4@7 ~a=5@8",
            "a1+2@10 a1+3@10 !6 a1+4@10",
        ),
        // What the watermark has passed meets nobody; only one of the streams has an output for it.
        (
            between(-5, 5),
            "~a=1@10 a=1@10 !10 a=2@10 ~a=2@9 / a=3@11",
            "a1+1@10 !10 late:a=2@10 a3+1@11",
        ),
        (
            between(0, 5),
            "a=1@10 | ~a=1@11 x ~a=2@12 !12 | x ~a=3@15 !15 ~a=4@16",
            "| a1+1@11 a1+2@12 !12 | a1+3@15 !15",
        ),
    ];
    for (interval, input, output) in table {
        check_two(&operator(interval), &outlets(), input, output);
    }
}

#[test]
fn what_can_meet_no_other_is_forgotten_to_the_millisecond() {
    // The watermark, and rows that are left then.
    for (input, rows) in [
        ("a@10 !14 |", 1),
        ("a@10 !15 |", 0),
        ("~a@10 !12 |", 1),
        ("~a@10 !13 |", 0),
        ("a@10 ~a@10 !13 |", 1),
        ("a@10 a@11 b@12 !15 |", 2),
        ("a@9223372036854775800 b@1 !max |", 0),
    ] {
        for seed in [0, 1] {
            let (operator, outlets) = (operator(Interval::between(-3, 5)), outlets());
            let mut rig: Rig<'_, Hashed<EitherPair>> = Rig::new(&operator, &outlets, seed);
            rig.play(hashed_sides(picture(input))).unwrap();
            assert_eq!(rig.cx().metrics.figures().state_rows, rows, "{input}");
        }
    }
}

#[test]
fn wrong_intervals_and_outputs_are_refused_in_one_line() {
    let check = |operator: &dyn OperatorFactory| operator.check(&Default::default());
    let told = check(&IntervalJoinOperator::new(
        by_key(),
        Interval::between(5, -5),
        EachPair(pair),
    ));
    assert_eq!(
        told.unwrap_err(),
        "no time lies from 5 to -5 ms after a record: give .between(..) its lower bound first"
    );
    let empty = Interval::between(0, 0).upper_bound_exclusive();
    let told = check(&IntervalJoinOperator::new(by_key(), empty, EachPair(pair)));
    assert!(told.is_err());
    let told = check(
        &IntervalJoinOperator::new(by_key(), Interval::between(0, 5), EachPair(pair))
            .late_first(SideOutputTag::new("late"))
            .late_second(SideOutputTag::new("late")),
    );
    assert_eq!(
        told.unwrap_err(),
        "late records of both streams are to go to side output \"late\": give one another name"
    );
    assert!(
        check(&operator(Interval::between(0, 5))).is_err(),
        "nobody reads its late output"
    );
}

/// Says how far apart a pair is, and refuses one that is too far.
#[derive(Clone)]
struct Apart;

impl IntervalJoinFunction<Pair, Pair> for Apart {
    type Out = i64;

    fn join(
        &mut self,
        first: Event<&Pair>,
        second: Event<&Pair>,
        out: &mut Output<'_, i64>,
    ) -> Result<(), UserError> {
        let apart = second.ts - first.ts;
        if apart > 3 {
            return Err("too far apart".into());
        }
        out.emit_at(second.ts, apart);
        Ok(())
    }
}

#[test]
fn a_function_knows_both_times_and_may_fail() {
    let join = IntervalJoinOperator::new(by_key(), Interval::between(-9, 9), Apart);
    let outlets = main_only(i64::to_string);
    let mut rig: Rig<'_, Hashed<EitherPair>> = Rig::new(&join, &outlets, 0);
    rig.play(hashed_sides(picture("a@10 ~a@12 ~a@8"))).unwrap();
    assert_eq!(rig.log.words().join(" "), "2@12 -2@8");
    let failed = rig.play(hashed_sides(picture("~a@14"))).unwrap_err();
    assert!(failed.message.contains("too far apart"), "{failed}");
}

#[test]
fn a_record_with_many_partners_gives_them_a_few_at_a_time() {
    let (operator, outlets) = (operator(Interval::between(0, 5)), outlets());
    for seed in [2, 3] {
        let mut rig: Rig<'_, Hashed<EitherPair>> = Rig::new(&operator, &outlets, seed);
        let many: String = (0..2_000)
            .map(|n| format!("a={n}@{} ", 10 + n % 3))
            .collect();
        rig.play(hashed_sides(picture(&format!("{many} b@10 c@10"))))
            .unwrap();
        // A snapshot is written, a row at a time, while they are given.
        rig.slice = 1;
        rig.barrier(0).unwrap();
        // The capturing stage refuses runs of more than some hundred records.
        rig.play(hashed_sides(picture("~a=7@12"))).unwrap();
        assert_eq!(rig.log.len(), 2_001);
        assert_eq!(rig.given_back, 2);
    }
}

#[test]
fn two_subtasks_go_on_where_one_was_and_one_where_two_were() {
    let (operator, outlets) = (operator(Interval::between(0, 5)), outlets());
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let steps = |text: &str, keys: &[&str]| {
        let words = text.split(' ').flat_map(|word| match word.split_once('k') {
            Some((side, at)) => keys.iter().map(|key| format!("{side}{key}{at}")).collect(),
            None => vec![word.to_owned()],
        });
        hashed_sides(picture(&words.collect::<Vec<_>>().join(" ")))
    };
    let mut rig: Rig<'_, Hashed<EitherPair>> = Rig::new(&operator, &outlets, 0);
    rig.play(steps("k=1@10 !10 |", &keys)).unwrap();
    let (whole, clock) = (rig.snapshot(), Default::default());
    let mut words = Vec::new();
    let mut halves = Vec::new();
    for (index, backend) in [(0, 1), (1, 2)] {
        let snapshots = [whole.clone()];
        let place = (index, 2);
        let mut rig: Rig<'_, Hashed<EitherPair>> =
            Rig::restored(&operator, &outlets, backend, place, &snapshots, &clock).unwrap();
        let owned = |key: &&str| {
            let group = KeyGroup::of(key_hash(*key), rig.cx().info.max_parallelism);
            rig.cx().info.key_groups().contains(group)
        };
        let owned: Vec<&str> = keys.into_iter().filter(owned).collect();
        assert!(!owned.is_empty() && owned.len() < keys.len());
        // A record of the time that was passed before is late here too.
        rig.play(steps("k=9@10 ~k=2@14 !14 |", &owned)).unwrap();
        words.extend(rig.log.words());
        halves.push(rig.snapshot());
    }
    let mut rig: Rig<'_, Hashed<EitherPair>> =
        Rig::restored(&operator, &outlets, 1, (0, 1), &halves, &clock).unwrap();
    rig.play(steps("~k=3@15 !15 |", &keys)).unwrap();
    words.extend(rig.log.words());
    words.retain(|word| word.contains('@'));
    words.sort();
    let mut expected: Vec<String> = keys
        .iter()
        .flat_map(|key| {
            [
                format!("{key}1+2@14"),
                format!("{key}1+3@15"),
                format!("late:{key}=9@10"),
            ]
        })
        .collect();
    expected.sort();
    assert_eq!(words, expected);
    assert_eq!(rig.cx().metrics.figures().state_rows, 0);
}

/// Every record of both streams that has come, and the watermark.
#[derive(Default)]
struct Model {
    first: Vec<(String, i64, i64)>,
    second: Vec<(String, i64, i64)>,
    watermark: Option<i64>,
    pairs: Vec<String>,
    late: Vec<String>,
}

impl Model {
    fn record(&mut self, is_first: bool, key: &str, number: i64, ts: i64, bounds: (i64, i64)) {
        if self.watermark.is_some_and(|watermark| ts <= watermark) {
            if is_first {
                self.late.push(format!("late:{key}={number}@{ts}"));
            }
            return;
        }
        let record = (key.to_owned(), number, ts);
        let others = match is_first {
            true => &mut self.second,
            false => &mut self.first,
        };
        // Stable: those of one time stay in the order in which they came.
        others.sort_by_key(|(_, _, ts)| *ts);
        for other in others.iter().filter(|other| other.0 == key) {
            let (a, b) = match is_first {
                true => (&record, other),
                false => (other, &record),
            };
            if (a.2 + bounds.0..=a.2 + bounds.1).contains(&b.2) {
                self.pairs
                    .push(format!("{key}{}+{}@{}", a.1, b.1, a.2.max(b.2)));
            }
        }
        match is_first {
            true => self.first.push(record),
            false => self.second.push(record),
        }
    }
}

proptest! {
    #[test]
    fn pairs_are_those_of_all_records_compared_whatever_happens(
        steps in prop::collection::vec(
            prop_oneof![
                8 => (0..3_u8, any::<bool>(), 0..100_i64, -2..14_i64),
                3 => (0..5_i64).prop_map(|by| (100, true, by, 0)),
                1 => Just((101, true, 0, 0)),
                1 => Just((102, true, 0, 0)),
            ],
            0..60,
        ),
        lower in -8..8_i64,
        width in 0..9_i64,
        seed in 0..u64::MAX,
        slice in 1..20_usize,
    ) {
        let bounds = (lower, lower + width);
        let mut model = Model::default();
        let mut played = Vec::new();
        let mut time = 0;
        for (kind, is_first, number, ahead) in steps {
            match kind {
                100 => {
                    time += number;
                    model.watermark = Some(time);
                    played.push(Step::Control(Control::Watermark(time)));
                }
                101 => played.push(Step::Barrier),
                102 => played.push(Step::Crash),
                key => {
                    let (key, ts) = (format!("k{key}"), time + ahead);
                    model.record(is_first, &key, number, ts, bounds);
                    let side = if is_first { "" } else { "~" };
                    played.push(Step::Run(vec![Event::at(ts, (format!("{side}{key}"), number))]));
                }
            }
        }
        played.push(Step::Control(Control::Watermark(1_000)));
        played.push(Step::Barrier);
        let (operator, outlets) = (operator(Interval::between(bounds.0, bounds.1)), outlets());
        let mut rig: Rig<'_, Hashed<EitherPair>> = Rig::new(&operator, &outlets, seed);
        rig.slice = slice;
        rig.play(hashed_sides(played)).unwrap();
        let (late, pairs): (Vec<_>, Vec<_>) = rig
            .log
            .words()
            .into_iter()
            .filter(|word| word.contains('@'))
            .partition(|word| word.starts_with("late:"));
        prop_assert_eq!(pairs, model.pairs);
        prop_assert_eq!(late, model.late);
        prop_assert_eq!(rig.cx().metrics.figures().state_rows, 0, "no state is left behind");
    }
}
