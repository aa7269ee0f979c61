//! Records that are gathered before the exchange: what travels, and that windows give what they give without.
//!
//! ```text
//! a=1@1            a record as it is, on its way
//! a=3*2@1          what was gathered of two records
//! a=3*2@1..4       what was gathered of two records of a session, the last at 4
//! ```

use std::ops::Range;
use std::sync::Arc;

use proptest::prelude::*;
use rivus_core::{
    Barrier, CheckpointId, CheckpointKind, Control, Either, Element, Event, Failure, Hashed,
    MAX_TIMESTAMP, OperatorFactory, Outputs, Progress, RestoredState, RouteFactory, Rows, Stage,
    Stores, SubtaskInfo, SubtaskMetrics, Task, TaskContext, key_hash,
};

use super::rig::*;
use super::windows::{Move, by_key, canonical, moves, ms, show};
use crate::testing::{Delivery, HarnessSettings, Plan};
use crate::window::Limits;
use crate::{
    Count, Fold, KeySelector, MaxBy, Partial, RollingOperator, SideOutputTag, Sum, TopN,
    WindowAssigner, WindowLogic, WindowOperator,
};

type Sent<A> = Hashed<Either<Pair, Partial<String, A>>>;

const MANY: Limits = Limits {
    rows: 1_000,
    bytes: 1 << 20,
    records: 1_000,
    judged: 1_000,
    pass: 1_000,
};

/// Judged by three records, and if it wasn't worth while three pass.
const SOON: Limits = Limits {
    judged: 3,
    pass: 1,
    ..MANY
};

fn sums(
    assigner: WindowAssigner,
) -> WindowOperator<
    Pair,
    impl KeySelector<Pair, Key = String>,
    impl WindowLogic<String, In = Pair, Acc = i64, Out = i64>,
> {
    WindowOperator::aggregate(by_key(), assigner, Sum::of(|pair: &Pair| pair.1))
}

/// A sender with an exchange behind it, whose channels always have credit, or one at a time.
struct Sender {
    stage: Box<dyn Stage<Pair>>,
    cx: TaskContext,
    granted: Vec<u64>,
    scarce: bool,
}

impl Sender {
    fn new(
        route: &dyn RouteFactory,
        info: &SubtaskInfo,
        lanes: Range<usize>,
        scarce: bool,
    ) -> Self {
        let clock = Arc::new(rivus_core::ManualClock::default());
        // The router keeps nothing back.
        let info = SubtaskInfo {
            batch_records: 1,
            ..info.clone()
        };
        let outputs = Outputs::new(lanes.len());
        let metrics = Arc::new(SubtaskMetrics::default());
        let mut sender = Self {
            stage: route.router(&info, lanes.clone()).typed().unwrap(),
            cx: TaskContext::new(info, outputs, metrics, vec![UID.into()], clock),
            granted: vec![0; lanes.len()],
            scarce,
        };
        sender.grant();
        sender
    }

    fn grant(&mut self) {
        for (lane, granted) in self.granted.iter_mut().enumerate() {
            *granted = if self.scarce { *granted + 1 } else { u64::MAX };
            self.cx.outputs.grant(lane, *granted);
        }
    }

    fn done(&mut self, mut progress: Progress) -> Vec<(usize, Element)> {
        while !progress.is_done() {
            self.grant();
            self.cx.begin_turn();
            progress = self.stage.resume(&mut self.cx).unwrap();
        }
        let sent = self.cx.outputs.drain();
        sent.map(|outgoing| (outgoing.lane, outgoing.element))
            .collect()
    }

    fn run(&mut self, run: Vec<Event<Pair>>) -> Vec<(usize, Element)> {
        let progress = self.stage.run(run, &mut self.cx).unwrap();
        self.done(progress)
    }

    fn control(&mut self, control: Control) -> Vec<(usize, Element)> {
        let progress = self.stage.control(control, &mut self.cx).unwrap();
        self.done(progress)
    }
}

fn info(parallelism: u32) -> SubtaskInfo {
    let cx = world(0, parallelism, &Arc::default());
    cx.info
}

fn barrier() -> Control {
    Control::Barrier(Barrier {
        id: CheckpointId(1),
        kind: CheckpointKind::Checkpoint,
    })
}

fn word(record: &Event<Sent<i64>>) -> String {
    match &record.value.value {
        Either::First((key, number)) => format!("{key}={number}@{}", record.ts),
        Either::Second(partial) => {
            let Partial {
                key,
                acc,
                records,
                span,
            } = partial;
            assert_eq!(record.value.hash, key_hash(key));
            let until = match span {
                0 => String::new(),
                span => format!("..{}", record.ts + span),
            };
            format!("{key}={acc}*{records}@{}{until}", record.ts)
        }
    }
}

/// What is sent, in words.
fn words(elements: Vec<(usize, Element)>) -> String {
    let mut words = Vec::new();
    for (_, element) in elements {
        match element {
            Element::Batch(batch) => {
                let rows = Rows::<Sent<i64>>::from_batch(batch).unwrap();
                words.extend(rows.iter().map(word));
            }
            Element::Watermark(MAX_TIMESTAMP) => words.push("!max".to_owned()),
            Element::Watermark(watermark) => words.push(format!("!{watermark}")),
            Element::Barrier(_) => words.push("|".to_owned()),
            Element::Idle => words.push("idle".to_owned()),
            Element::EndOfInput => words.push("end".to_owned()),
            _ => panic!("nothing else is sent"),
        }
    }
    words.join(" ")
}

/// What travels on the one channel of an exchange.
fn travels(assigner: WindowAssigner, limits: Limits, input: &str) -> String {
    let (route, _) = sums(assigner).pre_aggregated(true).unwrap();
    carried(&route.limited(limits), input)
}

/// The same of an aggregate that rolls.
fn travels_rolling(limits: Limits, input: &str) -> String {
    let operator = RollingOperator::aggregate(by_key(), Sum::of(|pair: &Pair| pair.1));
    let (route, _) = operator.pre_aggregated();
    carried(&route.limited(limits), input)
}

fn carried(route: &dyn RouteFactory, input: &str) -> String {
    let mut got = Vec::new();
    for scarce in [false, true] {
        let mut sender = Sender::new(route, &info(1), 0..1, scarce);
        let mut elements = Vec::new();
        for step in picture(input) {
            elements.extend(match step {
                Step::Run(run) => sender.run(run),
                Step::Control(control) => sender.control(control),
                Step::Barrier => sender.control(barrier()),
                _ => panic!("nothing else happens to a sender"),
            });
        }
        got.push(words(elements));
    }
    // Watermarks and idleness may fall behind.
    let records = |words: &String| -> Vec<String> {
        let words = words
            .split(' ')
            .filter(|word| !word.starts_with(['!', 'i']));
        words.map(str::to_owned).collect()
    };
    assert_eq!(records(&got[0]), records(&got[1]), "with little credit");
    got.remove(0)
}

#[test]
fn within_one_process_records_travel_as_they_are_unless_the_program_asks() {
    for (is_distributed, asked, expected) in [
        (false, false, "a=1@1 a=2@2 |"),
        (false, true, "a=3*2@1 |"),
        (true, false, "a=3*2@1 |"),
    ] {
        let fives = WindowAssigner::tumbling(ms(5));
        let (route, _) = sums(fives).pre_aggregated(asked).unwrap();
        let info = SubtaskInfo {
            is_distributed,
            ..info(1)
        };
        let mut sender = Sender::new(&route, &info, 0..1, false);
        let mut elements = Vec::new();
        for step in picture("a=1@1 a=2@2") {
            if let Step::Run(run) = step {
                elements.extend(sender.run(run));
            }
        }
        elements.extend(sender.control(barrier()));
        assert_eq!(words(elements), expected);
    }
}

#[test]
fn of_a_key_and_a_pane_one_record_travels_when_somebody_could_ask_for_it() {
    let fives = || WindowAssigner::tumbling(ms(5));
    let table = [
        // A watermark sends the panes that it closes, and no other.
        (
            "a@1 b@2 a=4@3 a=5@6 !4 !8 !9",
            "a=5*2@1 b=1*1@1 !4 !8 a=5*1@6 !9",
        ),
        // A barrier, idleness, a flush and the end send all.
        ("a@1 a@6 a@2 | a@3", "a=2*2@1 a=1*1@6 |"),
        ("a@1 a@2 idle a@3", "a=2*2@1 idle"),
        ("a@1 a@2 flush a@3", "a=2*2@1"),
        ("a@1 a@2 end", "a=2*2@1 end"),
        // What happened before the watermark's pane goes as it is, at once and one by one.
        ("!7 a@4 a=2@4 a@5 a@6 !9", "!7 a=1@4 a=2@4 a=2*2@5 !9"),
        ("a@-1 a@-5 a@-6 !max", "a=1*1@-6 a=2*2@-1 !max"),
    ];
    for (input, output) in table {
        assert_eq!(travels(fives(), MANY, input), output, "{input}");
    }
    // The panes of sliding windows are as long as what all windows are made of; one that no window has is passed over.
    let sliding = WindowAssigner::sliding(ms(4), ms(2));
    assert_eq!(
        travels(sliding, MANY, "a@0 a@1 a@2 a@3 !max"),
        "a=2*2@0 a=2*2@2 !max"
    );
    let apart = WindowAssigner::sliding(ms(2), ms(4));
    assert_eq!(
        travels(apart, MANY, "a@0 a@1 a@2 a@3 a@4 !max"),
        "a=2*2@0 a=1*1@4 !max"
    );
}

#[test]
fn of_a_key_and_a_session_one_record_travels_with_the_next_watermark() {
    let table = [
        // None is kept before the first.
        (
            "a@1 !1 a@2 b@3 a=4@4 !5 a@6 end",
            "a=1@1 !1 a=5*2@2..4 b=1*1@3 !5 a=1*1@6 end",
        ),
        ("!1 a@2 a@4 | a@3 idle a@3", "!1 a=2*2@2..4 | a=1*1@3 idle"),
        // Records that come later may be earlier.
        ("!1 a@6 a@2 a@4 |", "!1 a=3*3@2..6 |"),
        // What doesn't meet, nor fills the gap between two, is another one's.
        (
            "!1 a@2 a@7 b@8 a@9 a@14 a@12 |",
            "!1 a=1*1@2 a=2*2@7..9 a=2*2@12..14 b=1*1@8 |",
        ),
        // What may be late by itself goes as it is, behind what came before it.
        (
            "!7 a@2 a@3 a@4 b@4 a=5@3 a@5 |",
            "!7 a=1@2 a=1@3 a=1*1@4 a=5@3 a=1*1@5 b=1*1@4 |",
        ),
    ];
    let session = || WindowAssigner::session(ms(5));
    for (input, output) in table {
        assert_eq!(travels(session(), MANY, input), output, "{input}");
    }
    let records = Limits { records: 3, ..MANY };
    assert_eq!(
        travels(session(), records, "!0 a@1 a@2 b@3 a@4 |"),
        "!0 a=2*2@1..2 b=1*1@3 a=1*1@4 |"
    );
    assert_eq!(
        travels(
            session(),
            SOON,
            "!0 a@1 a@9 b@3 !9 a@11 c@12 c@13 a@14 a@15 |"
        ),
        "!0 a=1*1@1 a=1*1@9 b=1*1@3 !9 a=1@11 c=1@12 c=1@13 a=2*2@14..15 |"
    );
}

#[test]
fn for_an_aggregate_that_rolls_all_leaves_with_a_watermark_at_its_latest_time() {
    let table = [
        (
            "a@1 b@2 a=4@3 a=5@6 !4 a@7 !8",
            "a=10*3@6 b=1*1@2 !4 a=1*1@7 !8",
        ),
        // What is late already is gathered too: it has its own latest time.
        ("!7 a@4 a=2@3 !9", "!7 a=3*2@4 !9"),
        ("a@-9 a@1 | a@3", "a=2*2@1 |"),
        ("a@1 a@2 idle a@3", "a=2*2@2 idle"),
        ("a@1 a@2 flush a@3", "a=2*2@2"),
        ("a@1 a@2 end", "a=2*2@2 end"),
    ];
    for (input, output) in table {
        assert_eq!(travels_rolling(MANY, input), output, "{input}");
    }
    let records = Limits { records: 3, ..MANY };
    assert_eq!(
        travels_rolling(records, "a@1 a@2 b@3 a@4 |"),
        "a=2*2@2 b=1*1@3 a=1*1@4 |"
    );
    // No record overtakes those of its key that are kept, one without a time neither.
    assert_eq!(
        travels_rolling(MANY, "!7 a@4 a@-9000000000000000000 |"),
        "!7 a=1*1@-9000000000000000000 a=1*1@4 |"
    );
    let rows = Limits { rows: 2, ..MANY };
    assert_eq!(
        travels_rolling(rows, "a@1 a@2 b@3 a@4 |"),
        "a=2*2@2 b=1*1@3 a=1*1@4 |"
    );
    assert_eq!(
        travels_rolling(SOON, "a@1 a@2 b@3 !9 a@11 c@12 c@13 a@14 a@15 |"),
        "a=2*2@2 b=1*1@3 !9 a=1@11 c=1@12 c=1@13 a=2*2@15 |"
    );
}

#[test]
fn no_more_is_kept_than_it_may() {
    let tens = || WindowAssigner::tumbling(ms(10));
    let rows = Limits { rows: 2, ..MANY };
    assert_eq!(
        travels(tens(), rows, "a@1 a@2 b@3 a@4 |"),
        "a=2*2@1 b=1*1@1 a=1*1@4 |"
    );
    let bytes = Limits { bytes: 1, ..MANY };
    assert_eq!(travels(tens(), bytes, "a@1 a@2 |"), "a=1*1@1 a=1*1@2 |");
}

/// Many rows that stay as they are, and then one that grows.
#[test]
fn a_row_that_grows_among_many_that_do_not_is_seen() {
    let all = Fold::new(Vec::new(), |all: &mut Vec<i64>, pair: &Pair| {
        if pair.1 > 1 {
            all.push(pair.1);
        }
    })
    .merged_by(|all, mut other| all.append(&mut other));
    let hour = WindowAssigner::tumbling(ms(3_600_000));
    let operator = WindowOperator::aggregate(by_key(), hour, all);
    let (route, _) = operator.pre_aggregated(true).unwrap();
    let limits = Limits {
        bytes: 40_000,
        ..MANY
    };
    let route = route.limited(limits);
    for heavy in ["a", "b", "c", "d", "e", "f"] {
        let mut sender = Sender::new(&route, &info(1), 0..1, false);
        let event = |key: &str, number: i64| Event::at(1, (key.to_owned(), number));
        let flat =
            (0..100).flat_map(|key| [event(&format!("k{key}"), 1), event(&format!("k{key}"), 1)]);
        assert!(sender.run(flat.collect()).is_empty());
        let grown = (0..8_000).map(|_| event(heavy, 1 << 40));
        assert!(!sender.run(grown.collect()).is_empty(), "{heavy} has 72 KB");
    }
}

#[test]
fn where_keys_hardly_repeat_records_pass_for_a_while() {
    let tens = || WindowAssigner::tumbling(ms(10));
    // Three records made two: so the next three pass. What is kept of another pane goes first, lest it be overtaken.
    assert_eq!(
        travels(
            tens(),
            SOON,
            "a@1 a@2 b@3 c@10 !9 a@11 c@12 c@13 a@14 a@15 |"
        ),
        "a=2*2@1 b=1*1@1 c=1*1@10 !9 a=1@11 c=1@12 c=1@13 a=2*2@14 |"
    );
    // Every second one was merged: that is worth while.
    assert_eq!(
        travels(tens(), SOON, "a@1 a@2 b@3 b@4 c@10 !9 a@11 a@12 |"),
        "a=2*2@1 b=2*2@1 !9 c=1*1@10 a=2*2@10 |"
    );
}

#[test]
fn only_what_may_be_merged_and_need_not_be_shown_is_gathered() {
    let (tumbling, sliding) = (
        WindowAssigner::tumbling(ms(5)),
        WindowAssigner::sliding(ms(4), ms(2)),
    );
    let number = |pair: &Pair| pair.1;
    let sum = || sums(tumbling);
    assert!(
        sum()
            .allowed_lateness(ms(3))
            .pre_aggregated(false)
            .is_some()
    );
    assert!(
        sum()
            .late_output(SideOutputTag::new("late"))
            .pre_aggregated(true)
            .is_none()
    );
    assert!(
        sums(tumbling.processing_time())
            .pre_aggregated(true)
            .is_none()
    );
    assert!(
        sums(WindowAssigner::tumbling(ms(0)))
            .pre_aggregated(true)
            .is_none()
    );
    let evictor = || crate::Evicting::by(crate::CountEvictor::keep(3));
    assert!(sum().evictor(evictor()).pre_aggregated(true).is_none());
    let session = |gap| sums(WindowAssigner::session(ms(gap)));
    assert!(session(5).pre_aggregated(false).is_none());
    assert!(session(5).pre_aggregated(true).is_some());
    assert!(session(0).pre_aggregated(true).is_none());
    let by_processing_time = sums(WindowAssigner::session(ms(5)).processing_time());
    assert!(by_processing_time.pre_aggregated(true).is_none());
    let of_its_own = session(5).gap_by(|pair: &Pair| ms(pair.1 as u64));
    assert!(of_its_own.pre_aggregated(true).is_none());
    assert!(session(5).evictor(evictor()).pre_aggregated(true).is_none());
    let both = (Count::new(), (MaxBy::of(number), TopN::of(2, number)));
    assert!(
        WindowOperator::aggregate(by_key(), sliding, both)
            .pre_aggregated(false)
            .is_some()
    );
    // One's own is merged where the program says so.
    let own = Fold::new(0, |sum: &mut i64, pair: &Pair| *sum += pair.1)
        .merged_by(|sum, other| *sum += other);
    let own = WindowOperator::aggregate(by_key(), sliding, own);
    assert!(own.pre_aggregated(false).is_none() && own.pre_aggregated(true).is_some());
    let fold = |sum: &mut Pair, next: Pair| sum.1 += next.1;
    let reduce = || WindowOperator::reduce(by_key(), tumbling, fold);
    assert!(reduce().pre_aggregated(true).is_none());
    assert!(reduce().associative().pre_aggregated(false).is_some());
    let all = WindowOperator::process(by_key(), tumbling, super::windows::Join);
    assert!(all.pre_aggregated(true).is_none());
}

/// Whoever asks for it agrees that what is gathered is merged as one.
#[test]
fn of_a_session_what_was_gathered_is_merged_as_one() {
    let operator = firsts(WindowAssigner::session(ms(6)));
    let (route, behind) = operator.pre_aggregated(true).unwrap();
    let outlets =
        main_only(|windowed: &crate::Windowed<String, Pair>| windowed.value.1.to_string());
    let input = "!0 a=1@20 a=2@10 a=3@15 !max";
    let mut with = two_phases(&route, &behind, &outlets, 0);
    with.play(picture(input)).unwrap();
    assert!(with.log.words().contains(&"1@25".to_owned()));
    let mut without: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, 0);
    without.play(hashed(picture(input))).unwrap();
    // The third has made the session of the second and that of the first one.
    assert!(without.log.words().contains(&"2@25".to_owned()));
}

/// Its records at 1 and 2 would have been too late by themselves.
#[test]
fn what_was_gathered_of_a_session_is_late_if_all_of_it_is() {
    let fives = WindowAssigner::session(ms(5));
    let (_, behind) = sums(fives).pre_aggregated(true).unwrap();
    let outlets = main_only(show);
    let partial = |ts: i64, span: i64| {
        let (hash, key) = (key_hash("a"), "a".to_owned());
        let value = Either::Second(Partial {
            key,
            acc: 3,
            records: 3,
            span,
        });
        Step::Run(vec![Event::at(ts, Hashed { hash, value })])
    };
    let watermark = |watermark| Step::Control(Control::Watermark(watermark));
    let mut rig: Rig<'_, Sent<i64>> = Rig::new(&behind, &outlets, 0);
    rig.play(vec![
        watermark(9),
        partial(1, 4),
        partial(1, 5),
        watermark(20),
    ])
    .unwrap();
    assert_eq!(rig.cx().metrics.figures().late, 3);
    assert!(rig.log.words().contains(&"a[1,11)=3@10".to_owned()));
}

/// Others had got further than the sender: while it was idle, say.
#[test]
fn what_was_gathered_and_is_late_is_as_many_late_records_and_makes_a_window_fire_once() {
    let partial = |key: &str, acc: i64, records: u64, ts: i64| {
        let (hash, key) = (key_hash(key), key.to_owned());
        let value = Either::Second(Partial {
            key,
            acc,
            records,
            span: 0,
        });
        Event::at(ts, Hashed { hash, value })
    };
    let record = |key: &str, number: i64, ts: i64| {
        let (hash, key) = (key_hash(key), key.to_owned());
        let value = Either::First((key, number));
        Event::at(ts, Hashed { hash, value })
    };
    let sliding = WindowAssigner::sliding(ms(10), ms(5));
    let operator = sums(sliding).allowed_lateness(ms(3));
    let (_, behind) = operator.pre_aggregated(false).unwrap();
    let outlets = main_only(show);
    let mut rig: Rig<'_, Sent<i64>> = Rig::new(&behind, &outlets, 0);
    let watermark = |watermark| Step::Control(Control::Watermark(watermark));
    rig.play(vec![
        Step::Run(vec![partial("a", 5, 3, 1), record("a", 1, 2)]),
        watermark(6),
        // The first of its windows has fired and takes it still.
        Step::Run(vec![partial("a", 2, 2, 3)]),
        watermark(8),
        // The first takes no more.
        Step::Run(vec![partial("a", 3, 4, 3)]),
        watermark(12),
        // And now none.
        Step::Run(vec![partial("a", 7, 5, 3), record("a", 7, 3)]),
        watermark(100),
    ])
    .unwrap();
    let expected = "a[-5,5)=6@4 !6 a[-5,5)=8@4 !8 a[0,10)=11@9 !12 !100";
    assert_eq!(rig.log.words().join(" "), expected);
    let figures = rig.cx().metrics.figures();
    assert_eq!((figures.partly_late, figures.late), (4, 6));
}

/// Keeps the first record, which no order but their own gives.
fn firsts(
    assigner: WindowAssigner,
) -> WindowOperator<
    Pair,
    impl KeySelector<Pair, Key = String>,
    impl WindowLogic<String, In = Pair, Out = Pair>,
> {
    WindowOperator::reduce(by_key(), assigner, |_: &mut Pair, _: Pair| {}).associative()
}

#[test]
fn a_folds_first_record_is_still_the_first_whatever_passes_as_it_is() {
    let limits = Limits { rows: 3, ..SOON };
    let input = "a=1@1 b=2@2 c=3@3 a=4@4 a=5@5 b=6@6 a=7@7 | b=8@8 a=9@9 !9";
    let shown = |found: &crate::Windowed<String, Pair>| format!("{}={}", found.key, found.value.1);
    let operator = firsts(WindowAssigner::tumbling(ms(10)));
    let (route, behind) = operator.pre_aggregated(false).unwrap();
    let route = route.limited(limits);
    let outlets = main_only(shown);
    let mut rig = two_phases(&route, &behind, &outlets, 0);
    rig.play(picture(input)).unwrap();
    let mut words = rig.log.words();
    words.sort();
    assert_eq!(words.join(" "), "!9 a=1@9 b=2@9 c=3@9 |");
}

/// A sender, an exchange, and the operator behind it.
struct TwoPhases<'a> {
    route: &'a dyn RouteFactory,
    operator: &'a dyn OperatorFactory,
    outlets: MakeOutlets<'a>,
    scarce: bool,
    sender: Option<Sender>,
}

fn delivered(elements: Vec<(usize, Element)>) -> Vec<Delivery> {
    let batches = elements
        .into_iter()
        .filter_map(|(lane, element)| match element {
            Element::Batch(batch) => Some((lane, batch)),
            _ => None,
        });
    let deliveries = batches.map(|(lane, batch)| Delivery {
        subtask: lane as u32,
        input: 0,
        batch,
    });
    deliveries.collect()
}

impl Plan<Pair> for TwoPhases<'_> {
    fn uids(&self) -> Vec<rivus_core::OperatorUid> {
        vec![UID.into()]
    }

    fn restores_all(&self) -> bool {
        true
    }

    fn task(
        &mut self,
        info: &SubtaskInfo,
        restored: &RestoredState,
        stores: Option<&dyn Stores>,
        log: &Log,
        seed: u64,
    ) -> Result<Box<dyn Task>, Failure> {
        if info.attempt.subtask.index == 0 {
            let lanes = 0..info.parallelism as usize;
            self.sender = Some(Sender::new(self.route, info, lanes, self.scarce));
        }
        let uid = rivus_core::OperatorUid::from(UID);
        let build = rivus_core::BuildContext {
            info,
            restored,
            stores,
            uid: &uid,
            operator: rivus_core::OperatorIndex(0),
            unmarked_source: None,
        };
        let stage = self.operator.stage(&build, (self.outlets)(log, seed))?;
        self.operator.head(stage)
    }

    fn send(&mut self, run: Vec<Event<Pair>>) -> Result<Vec<Delivery>, Failure> {
        Ok(delivered(self.sender.as_mut().unwrap().run(run)))
    }

    fn pass(&mut self, control: Control) -> Result<Vec<Delivery>, Failure> {
        let sender = self.sender.as_mut().unwrap();
        Ok(delivered(sender.control(control)))
    }
}

fn two_phases<'a>(
    route: &'a dyn RouteFactory,
    operator: &'a dyn OperatorFactory,
    outlets: MakeOutlets<'a>,
    seed: u64,
) -> Rig<'a, Pair> {
    let plan = TwoPhases {
        route,
        operator,
        outlets,
        scarce: seed % 3 == 1,
        sender: None,
    };
    let settings = HarnessSettings {
        seed,
        backend: backend(seed),
        max_parallelism: 8,
        ..HarnessSettings::default()
    };
    Rig::from_snapshots(Box::new(plan), settings, &[]).unwrap()
}

proptest! {
    #[test]
    fn windows_give_what_they_give_without_and_count_as_many_late_records(
        moves in moves(),
        size in 1..14_u64,
        slide in 1..14_u64,
        kind in 0..3_u8,
        lateness in prop_oneof![Just(0_u64), 1..15_u64],
        seed in 0..u64::MAX,
        (rows, judged, pass) in (1..20_usize, 1..20_u64, 0..3_u64),
        between in prop::collection::vec(0..6_u8, 40),
    ) {
        let assigner = match kind {
            0 => WindowAssigner::tumbling(ms(size)),
            1 => WindowAssigner::sliding(ms(size), ms(slide)),
            _ => WindowAssigner::session(ms(size)),
        };
        let operator = sums(assigner).allowed_lateness(ms(lateness));
        let mut steps = Vec::new();
        let mut time = -20;
        for (step, between) in moves.into_iter().zip(between) {
            steps.push(match step {
                Move::Records(run) => {
                    let event = |(key, number, ahead)| Event::at(time + ahead, (format!("k{}", key % 4), number));
                    Step::Run(run.into_iter().map(event).collect())
                }
                Move::Watermark(by) => {
                    time += by;
                    Step::Control(Control::Watermark(time))
                }
                Move::Barrier => Step::Barrier,
                Move::Crash => Step::Crash,
            });
            match between {
                0 => steps.push(Step::Control(Control::Flush)),
                1 => steps.push(Step::Control(Control::Idle)),
                _ => {}
            }
        }
        steps.push(Step::Control(Control::Watermark(1_000)));
        steps.push(Step::Barrier);
        let outlets = main_only(show);
        let late = |figures: rivus_core::SubtaskFigures| (figures.late, figures.partly_late);

        let mut without: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, seed);
        without.play(hashed(steps.clone())).unwrap();
        let expected = (canonical(&without.log.words()), late(without.cx().metrics.figures()));

        let (route, behind) = operator.pre_aggregated(true).unwrap();
        let route = route.limited(Limits { rows, judged, pass, ..MANY });
        let mut with = two_phases(&route, &behind, &outlets, seed);
        with.play(steps).unwrap();
        let got = (canonical(&with.log.words()), late(with.cx().metrics.figures()));
        prop_assert_eq!(got, expected);
        prop_assert_eq!(with.cx().metrics.figures().state_rows, 0, "no state is left behind");
    }
}

#[test]
fn state_is_the_same_with_and_without() {
    let sliding = WindowAssigner::sliding(ms(4), ms(2));
    for (assigner, result) in [
        (sliding, "a[0,4)=5@3"),
        (WindowAssigner::session(ms(3)), "a[1,7)=6@6"),
    ] {
        state_is_the_same(assigner, result);
    }
}

fn state_is_the_same(assigner: WindowAssigner, result: &str) {
    let operator = sums(assigner);
    let (route, behind) = operator.pre_aggregated(true).unwrap();
    let outlets = main_only(show);
    // Of one time: where a session's row stands in the order may differ by how it has grown.
    let first = "!0 a@1 b=2@2 a=3@1 |";
    let mut without: Rig<'_, Hashed<Pair>> = Rig::new(&operator, &outlets, 0);
    without.play(hashed(picture(first))).unwrap();
    let mut with = two_phases(&route, &behind, &outlets, 0);
    with.play(picture(first)).unwrap();
    assert_eq!(with.snapshot(), without.snapshot());
    // So a job goes on with it from what was written without, and the other way round.
    let saved = [without.snapshot()];
    let mut rig: Rig<'_, Hashed<Pair>> =
        Rig::restored(&operator, &outlets, 0, (0, 1), &saved, &Arc::default()).unwrap();
    rig.play(hashed(picture("a@3 a@4 !max"))).unwrap();
    let plan = TwoPhases {
        route: &route,
        operator: &behind,
        outlets: &outlets,
        scarce: false,
        sender: None,
    };
    let settings = HarnessSettings {
        max_parallelism: 8,
        ..HarnessSettings::default()
    };
    let mut goes_on: Rig<'_, Pair> = Rig::from_snapshots(Box::new(plan), settings, &saved).unwrap();
    goes_on.play(picture("a@3 a@4 !max")).unwrap();
    assert_eq!(goes_on.log.words(), rig.log.words());
    assert!(goes_on.log.words().contains(&result.to_owned()));
}
