use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
use crate::ids::{AttemptId, CheckpointId, SubtaskId, VertexId};
use crate::key::key_hash;
use crate::outputs::Outputs;
use crate::source::ParallelInstance;
use crate::stage::{Barrier, CheckpointKind};

/// What a channel carries; a batch is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Record(u32),
    Watermark(Timestamp),
    Idle,
    Barrier(u64),
    /// A barrier that has gone ahead of what is parked.
    Overtaking(u64),
    Round(u32),
    End,
}

/// A stage between its subtask and the receivers, all played by the test.
pub(crate) struct Bench {
    stage: Box<dyn Stage<u32>>,
    pub(crate) cx: TaskContext,
    granted: Vec<u64>,
    /// Whether the stage keeps something inside: it may only be resumed then.
    pub(crate) blocked: bool,
    /// What each channel has carried, and the same as a picture.
    pub(crate) seen: Vec<Vec<Seen>>,
    pub(crate) pictures: Vec<Vec<String>>,
    next_seq: Vec<u64>,
}

pub(crate) fn info(batch_records: usize) -> SubtaskInfo {
    let vertex = VertexId(0);
    SubtaskInfo {
        job: ParallelInstance::ALONE.job,
        attempt: AttemptId {
            subtask: SubtaskId { vertex, index: 0 },
            attempt: 1,
        },
        parallelism: 1,
        max_parallelism: 128,
        batch_records,
        batch_bytes: 1 << 20,
        loop_bytes: 1 << 20,
    }
}

impl Bench {
    pub(crate) fn new(stage: AnyStage, lanes: usize, info: SubtaskInfo) -> Self {
        let clock = Arc::new(ManualClock::default());
        let outputs = Outputs::new(lanes);
        Self {
            stage: stage.typed::<u32>().unwrap(),
            cx: TaskContext::new(info, outputs, Arc::default(), Vec::new(), clock),
            granted: vec![0; lanes],
            blocked: false,
            seen: vec![Vec::new(); lanes],
            pictures: vec![Vec::new(); lanes],
            next_seq: vec![0; lanes],
        }
    }

    /// Lets a channel take more; the stage goes on if it was blocked, else sends what is buffered.
    pub(crate) fn grant(&mut self, lane: usize, more: u64) {
        self.granted[lane] += more;
        self.cx.outputs.grant(lane, self.granted[lane]);
        if self.blocked {
            let progress = self.stage.resume(&mut self.cx).unwrap();
            self.after(progress);
        }
        if !self.blocked {
            self.control(Control::Flush);
        }
    }

    pub(crate) fn run(&mut self, records: &[u32]) {
        assert!(!self.blocked, "the caller must wait");
        let run = records.iter().map(|n| Event::at(Timestamp::from(*n), *n));
        let progress = self.stage.run(run.collect(), &mut self.cx).unwrap();
        self.after(progress);
    }

    pub(crate) fn control(&mut self, control: Control) {
        assert!(!self.blocked, "the caller must wait");
        let progress = self.stage.control(control, &mut self.cx).unwrap();
        self.after(progress);
    }

    fn after(&mut self, progress: Progress) {
        self.blocked = !progress.is_done();
        let sent: Vec<_> = self.cx.outputs.drain().collect();
        for outgoing in sent {
            let lane = outgoing.lane;
            assert_eq!(outgoing.seq, self.next_seq[lane], "a gap on channel {lane}");
            self.next_seq[lane] += 1;
            let seen = match outgoing.element {
                Element::Batch(batch) => {
                    let rows = records(batch);
                    self.pictures[lane].push(format!("{rows:?}"));
                    self.seen[lane].extend(rows.into_iter().map(Seen::Record));
                    continue;
                }
                Element::Watermark(ts) => Seen::Watermark(ts),
                Element::Idle => Seen::Idle,
                Element::Barrier(barrier) => Seen::Barrier(barrier.id.0),
                Element::Overtaking(barrier) => Seen::Overtaking(barrier.id.0),
                Element::Round(claim) => Seen::Round(claim),
                Element::Encoded(_) | Element::CancelBarrier(_) => continue,
                Element::EndOfInput => Seen::End,
            };
            self.seen[lane].push(seen);
            self.pictures[lane].push(match seen {
                Seen::Watermark(ts) => format!("w{ts}"),
                Seen::Idle => "i".into(),
                Seen::Barrier(id) => format!("|{id}"),
                Seen::Overtaking(id) => format!("^{id}"),
                Seen::Round(claim) => format!("o{claim}"),
                _ => "$".into(),
            });
        }
    }

    /// From now on a barrier is to overtake; so many bytes may be parked for it.
    pub(crate) fn overdraw(&mut self, limit: usize) {
        self.cx.outputs.begin_overdraft(limit);
        if self.blocked {
            let progress = self.stage.resume(&mut self.cx).unwrap();
            self.after(progress);
        }
    }

    /// `1,2,3` a run, `w5` a watermark, `i` idle, `f` flush, `|1` a barrier, `o3` a round, `$` the end, `+2` credits
    /// for every channel, `0+2` for one, `(` and `)` an overdraft, `(9` of nine bytes.
    pub(crate) fn play(&mut self, script: &str) {
        for word in script.split_whitespace() {
            if let Some((lane, more)) = word.split_once('+') {
                let lanes = match lane.parse() {
                    Ok(lane) => lane..lane + 1,
                    Err(_) => 0..self.granted.len(),
                };
                lanes.for_each(|lane| self.grant(lane, more.parse().unwrap()));
            } else if let Some(id) = word.strip_prefix('|') {
                self.control(barrier(id.parse().unwrap()));
            } else if let Some(limit) = word.strip_prefix('(') {
                self.overdraw(limit.parse().unwrap_or(usize::MAX));
            } else if word == ")" {
                assert!(self.cx.outputs.end_overdraft());
            } else if let Some(claim) = word.strip_prefix('o') {
                self.control(Control::Round(claim.parse().unwrap()));
            } else if let Some(ts) = word.strip_prefix('w') {
                self.control(Control::Watermark(ts.parse().unwrap()));
            } else {
                match word {
                    "i" => self.control(Control::Idle),
                    "f" => self.control(Control::Flush),
                    "$" => self.control(Control::EndOfInput),
                    run => {
                        let run = run.split(',').map(|n| n.parse().unwrap());
                        self.run(&run.collect::<Vec<u32>>());
                    }
                }
            }
        }
    }

    /// What each channel has carried, and `!` if the stage is blocked.
    pub(crate) fn picture(&self) -> String {
        let lanes: Vec<String> = self.pictures.iter().map(|lane| lane.join(" ")).collect();
        let blocked = if self.blocked { " !" } else { "" };
        format!("{}{blocked}", lanes.join(" / "))
    }
}

fn records(batch: Box<dyn crate::batch::Batch>) -> Vec<u32> {
    match batch.into_any().downcast::<Rows<u32>>() {
        Ok(rows) => rows.into_vec().into_iter().map(|row| row.value).collect(),
        Err(batch) => {
            let rows = batch.downcast::<Rows<Hashed<u32>>>().unwrap().into_vec();
            rows.into_iter().map(|row| row.value.value).collect()
        }
    }
}

pub(crate) fn barrier(id: u64) -> Control {
    Control::Barrier(Barrier {
        id: CheckpointId(id),
        kind: CheckpointKind::Checkpoint,
    })
}

type Hash = fn(&u32) -> u64;

pub(crate) fn by_key() -> HashBy<u32, Hash> {
    HashBy::new(key_hash)
}

fn played(routes: &dyn RouteFactory, lanes: usize, script: &str) -> String {
    let info = info(3);
    let mut bench = Bench::new(routes.router(&info, 0..lanes), lanes, info);
    bench.play(script);
    bench.picture()
}

fn table(routes: &dyn RouteFactory, lanes: usize, rows: &[(&str, &str)]) {
    for (script, expected) in rows {
        assert_eq!(played(routes, lanes, script), *expected, "{script}");
    }
}

#[test]
fn one_channel_in_pictures() {
    table(
        &Forward::<u32>::default(),
        1,
        &[
            // A batch waits until it is full, the input runs dry, or something must follow it.
            ("+9 1,2", ""),
            ("+9 1,2 o7 3 o0", "[1, 2] o7 [3] o0"),
            ("+1 1,2,3 4 o7", "[1, 2, 3] !"),
            ("+9 1,2 3", "[1, 2, 3]"),
            ("+9 1,2 f", "[1, 2]"),
            ("+9 1,2 |1", "[1, 2] |1"),
            ("+9 1,2 $", "[1, 2] $"),
            ("+9 1,2,3,4,5,6,7 f", "[1, 2, 3] [4, 5, 6] [7]"),
            // A watermark passes an empty buffer, waits behind a filling one, and is merged there.
            ("+9 w5", "w5"),
            ("+9 1 w5", ""),
            ("+9 1 w5 f", "[1] w5"),
            ("+9 1 w5 2 w6 f", "[1, 2] w6"),
            ("+9 1 w5 2 w6 3", "[1, 2, 3] w6"),
            // Idleness comes last, and is taken back by whatever follows it.
            ("+9 1 w5 i", "[1] w5 i"),
            ("1 w5 i 2 +9", "[1, 2] w5"),
            ("w5 i w6 +9", "w6"),
            ("+9 i 1 f", "i [1]"),
            // Without credit everything waits, but barriers and the end need none of their own.
            ("1,2,3", " !"),
            ("1,2,3,4 +1", "[1, 2, 3]"),
            ("1,2,3,4 +1 +1", "[1, 2, 3] [4]"),
            ("+1 w5 |1 $", "w5 |1 $"),
            // Nothing passes a channel that its receiver hasn't opened.
            ("|1", " !"),
            ("|1 +1 $", "|1 $"),
            ("1 |1", " !"),
            ("1 |1 +1", "[1] |1"),
            ("1 w5 |1 +1", "[1] !"),
            ("1 w5 |1 +1 +1", "[1] w5 |1"),
            ("w5 i |1 +1 +1", "w5 i |1"),
            ("w5 w6 w7 +1", "w7"),
            ("i |1 +1 i $ +1", "i |1 i $"),
        ],
    );
}

#[test]
fn barriers_that_overtake_in_pictures() {
    table(
        &Forward::<u32>::default(),
        1,
        &[
            // The chain gets done with its run; what there is no credit for stays behind the barrier.
            ("+1 1,2,3 4,5,6,7 ( |1 )", "[1, 2, 3] ^1"),
            ("+1 1,2,3 4,5,6,7 ( |1 ) +9", "[1, 2, 3] ^1 [4, 5, 6] [7]"),
            ("+9 1,2 ( |1 )", "[1, 2] ^1"),
            // A barrier that is stuck goes ahead, and so do those that come while something is parked.
            ("+1 w1 2 w5 i |1 (", "w1 ^1"),
            ("+1 w1 2 w5 i |1 ( ) +9", "w1 ^1 [2] w5 i"),
            ("+1 w1 2 ( |1 ) ( |2 ) +9 f", "w1 ^1 ^2 [2]"),
            // One that isn't to overtake does not, nor does the end.
            ("+1 w1 2 ( |1 ) |2", "w1 ^1 !"),
            ("+1 w1 2 ( |1 ) |2 +9", "w1 ^1 [2] |2"),
            ("+1 w1 2 ( $ |1 ) +9", "w1 ^1 [2] $"),
            // Nothing goes ahead where nobody has opened the channel.
            ("1 ( |1", " !"),
            ("1 ( |1 +9", "[1] ^1"),
            // As much as is allowed, and then it waits for credit as ever.
            ("+1 w1 2,3,4,5,6,7,8 (1", "w1 !"),
            ("+1 w1 2,3,4,5,6,7,8 (1 +1", "w1 [2, 3, 4]"),
        ],
    );
    table(
        &Rebalance::<u32>::default(),
        2,
        &[(
            "0+9 1+1 w5 1,2,3,4,5,6 ( |1 ) 1+9",
            "w5 [2, 4, 6] ^1 / w5 ^1 [1, 3, 5]",
        )],
    );
    table(
        &Broadcast::<u32>::default(),
        2,
        &[
            ("0+9 1+1 w1 1,2,3 ( |1 )", "w1 [1, 2, 3] ^1 / w1 ^1"),
            ("0+9 1+1 w1 2 |1 ( ) 1+9", "w1 [2] ^1 / w1 ^1 [2]"),
            ("0+9 1+1 w1 2 ( |1 ) |2 1+9", "w1 [2] ^1 |2 / w1 ^1 [2] |2"),
        ],
    );
}

#[test]
fn several_channels_in_pictures() {
    table(
        &Rebalance::<u32>::default(),
        2,
        &[
            ("+9 1,2,3,4 f", "[2, 4] / [1, 3]"),
            // A channel without credit holds up the others only when its batch is full.
            ("0+9 1,2,3,4 f", "[2, 4] / "),
            // (5 fills channel 1's batch: the run stops there, and 6 is kept.)
            ("0+9 1,2,3,4,5,6", " /  !"),
            // Barriers go out together, behind everything.
            ("0+9 1,2 |1", "[2] /  !"),
            ("0+9 1,2 |1 1+1", "[2] |1 / [1] |1"),
            ("0+9 w5 1+1", "w5 / w5"),
        ],
    );
    table(
        &Broadcast::<u32>::default(),
        2,
        &[
            (
                "+9 1,2,3 w5 i |1 $",
                "[1, 2, 3] w5 i |1 $ / [1, 2, 3] w5 i |1 $",
            ),
            // To all or to none.
            ("0+9 1,2,3", " /  !"),
            ("0+9 1,2,3 1+1", "[1, 2, 3] / [1, 2, 3]"),
            ("0+9 w5", " / "),
            ("0+9 w5 w6 1+1", "w6 / w6"),
            ("0+9 1 |1", " /  !"),
            ("0+1 |1", " /  !"),
            ("0+1 |1 1+1", "|1 / |1"),
        ],
    );
}

#[test]
fn a_channel_that_gets_few_records_gets_its_watermarks_all_the_same() {
    let one_sided = HashBy::new(|value: &u32| if *value == 1 { 0 } else { u64::MAX });
    let mut script = String::from("+99 1 w1 ");
    for n in 2..9 {
        script.push_str(&format!("{n} w{n} "));
    }
    // Two channels with batches of three: after six records the first is not held back any more.
    let expected = "[1] w7 w8 / w1 [2, 3, 4] w3 w4 [5, 6, 7] w6 w7";
    assert_eq!(played(&one_sided, 2, &script), expected);
}

#[test]
fn a_batch_keeps_to_its_bytes_when_records_are_large() {
    let info = SubtaskInfo {
        batch_bytes: 40,
        ..info(1_000)
    };
    for routes in [
        &Forward::<u32>::default() as &dyn RouteFactory,
        &Broadcast::<u32>::default(),
    ] {
        let mut bench = Bench::new(routes.router(&info, 0..1), 1, info.clone());
        bench.grant(0, 1_000);
        let run: Vec<u32> = (0..100).collect();
        bench.run(&run);
        bench.play("f");
        let sent = bench.seen[0].len();
        assert_eq!(sent, 100);
        let longest = bench.pictures[0]
            .iter()
            .map(|batch| batch.split(',').count());
        assert!(longest.max().unwrap() <= 3, "{:?}", bench.pictures);
    }
}

#[test]
fn subtasks_begin_to_rebalance_at_different_channels() {
    let first = |index| {
        let mut info = info(3);
        info.attempt.subtask.index = index;
        let router = Rebalance::<u32>::default().router(&info, 0..3);
        let mut bench = Bench::new(router, 3, info);
        bench.play("+9 1 f");
        bench.seen.iter().position(|lane| !lane.is_empty()).unwrap()
    };
    let mut firsts = [first(0), first(1), first(2)];
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 1, 2]);
}

/// What is given to a stage.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    Run(usize),
    Watermark,
    Idle,
    Flush,
    Barrier,
    Grant(usize, u64),
}

pub(crate) fn givens() -> impl Strategy<Value = Vec<Given>> {
    let given = prop_oneof![
        4 => (1..12_usize).prop_map(Given::Run),
        3 => Just(Given::Watermark),
        1 => Just(Given::Idle),
        1 => Just(Given::Flush),
        1 => Just(Given::Barrier),
        3 => (0..8_usize, 1..3_u64).prop_map(|(lane, more)| Given::Grant(lane, more)),
    ];
    prop::collection::vec(given, 0..60)
}

/// What has been given to a stage, in order.
#[derive(Default)]
struct Told {
    all: Vec<Seen>,
    records: u32,
    time: Timestamp,
    barriers: u64,
    turn: usize,
}

impl Told {
    /// Gives something to the stage, whatever has to be granted for it.
    fn give(&mut self, bench: &mut Bench, given: &Given) {
        let lanes = bench.seen.len();
        if let Given::Grant(lane, more) = given {
            bench.grant(lane % lanes, *more);
            return;
        }
        while bench.blocked {
            self.turn += 1;
            bench.grant(self.turn % lanes, 1);
        }
        match given {
            Given::Run(length) => {
                let run: Vec<u32> = (self.records..self.records + *length as u32).collect();
                self.records += *length as u32;
                self.all.extend(run.iter().copied().map(Seen::Record));
                bench.run(&run);
            }
            Given::Watermark => {
                self.time += 1;
                self.all.push(Seen::Watermark(self.time));
                bench.control(Control::Watermark(self.time));
            }
            Given::Idle => {
                self.all.push(Seen::Idle);
                bench.control(Control::Idle);
            }
            Given::Flush => bench.control(Control::Flush),
            Given::Barrier => {
                self.barriers += 1;
                self.all.push(Seen::Barrier(self.barriers));
                bench.control(barrier(self.barriers));
            }
            Given::Grant(..) => {}
        }
    }

    /// Ends the input and lets everything go.
    fn end(mut self, bench: &mut Bench) -> Vec<Seen> {
        (0..bench.seen.len()).for_each(|lane| bench.grant(lane, 1_000));
        assert!(!bench.blocked);
        bench.control(Control::EndOfInput);
        self.all.push(Seen::End);
        self.all
    }
}

/// Gives everything to the stage, and then the end. Returns what was given, in order.
pub(crate) fn drive(bench: &mut Bench, givens: &[Given]) -> Vec<Seen> {
    let mut told = Told::default();
    for given in givens.iter().chain([&Given::Barrier]) {
        told.give(bench, given);
    }
    told.end(bench)
}

/// What every channel must hold, whatever the credits were. `mine` says which records are its own.
pub(crate) fn check_channel(
    told: &[Seen],
    lane: &[Seen],
    mine: impl Fn(u32) -> bool,
) -> Result<(), TestCaseError> {
    // Between two barriers: all its records in order, and the last word about time.
    let is_cut = |seen: &Seen| matches!(seen, Seen::Barrier(_) | Seen::End);
    let cuts = |seen: &[Seen]| seen.iter().copied().filter(is_cut).collect::<Vec<_>>();
    prop_assert_eq!(cuts(told), cuts(lane));
    for (told, sent) in told.split(is_cut).zip(lane.split(is_cut)) {
        let records = |seen: &[Seen]| -> Vec<u32> {
            let records = seen.iter().filter_map(|seen| match seen {
                Seen::Record(n) if mine(*n) => Some(*n),
                _ => None,
            });
            records.collect()
        };
        prop_assert_eq!(records(told), records(sent));
        let watermark = |seen: &Seen| matches!(seen, Seen::Watermark(_));
        let last = |seen: &[Seen]| seen.iter().copied().rfind(watermark);
        prop_assert_eq!(last(told), last(sent));
        let idle_at_the_end = |seen: &[Seen]| seen.last() == Some(&Seen::Idle);
        prop_assert!(!idle_at_the_end(told) || idle_at_the_end(sent));
    }
    // A watermark rises, and every record that came before it stands before it.
    let mut time = 0;
    for (place, seen) in lane.iter().enumerate() {
        let Seen::Watermark(watermark) = seen else {
            continue;
        };
        prop_assert!(*watermark > time);
        time = *watermark;
        let when = told.iter().position(|told| told == seen).unwrap();
        for earlier in &told[..when] {
            if let Seen::Record(n) = earlier
                && mine(*n)
            {
                prop_assert!(
                    lane[..place].contains(earlier),
                    "{seen:?} overtook record {n}"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_the_credits_nothing_is_lost_or_reordered(
        givens in givens(), lanes in 1..5_usize, batch in 1..6_usize, kind in 0..4,
    ) {
        let lanes = if kind == 0 { 1 } else { lanes };
        let info = info(batch);
        let router = match kind {
            0 => Forward::<u32>::default().router(&info, 0..1),
            1 => by_key().router(&info, 0..lanes),
            2 => Rebalance::<u32>::default().router(&info, 0..lanes),
            _ => Broadcast::<u32>::default().router(&info, 0..lanes),
        };
        let mut bench = Bench::new(router, lanes, info);
        let told = drive(&mut bench, &givens);
        let owner = |n: u32| {
            let group = KeyGroup::of(key_hash(&n), 128);
            group.owner(lanes as u32, 128) as usize
        };
        let mut all = Vec::new();
        for (index, lane) in bench.seen.iter().enumerate() {
            let sent: Vec<u32> = lane
                .iter()
                .filter_map(|seen| match seen { Seen::Record(n) => Some(*n), _ => None })
                .collect();
            check_channel(&told, lane, |n| match kind {
                1 => owner(n) == index,
                2 => (n as usize + 1) % lanes == index,
                _ => true,
            })?;
            all.extend(sent);
        }
        if kind < 3 {
            let given = told.iter().filter(|seen| matches!(seen, Seen::Record(_))).count();
            prop_assert_eq!(all.len(), given);
        }
    }
}

/// The elements of a batch or of time, as a channel shows them.
fn shown(element: Element) -> Vec<Seen> {
    match element {
        Element::Batch(batch) => records(batch).into_iter().map(Seen::Record).collect(),
        Element::Watermark(time) => vec![Seen::Watermark(time)],
        Element::Idle => vec![Seen::Idle],
        _ => unreachable!("it is not recorded"),
    }
}

proptest! {
    /// What has gone out and what is recorded are together what an aligned barrier would have had before it, on each
    /// channel; and all of it still arrives, in order.
    #[test]
    fn whatever_a_barrier_overtakes_is_recorded_and_still_sent(
        before in givens(), after in givens(), lanes in 1..5_usize, batch in 1..6_usize, kind in 0..3,
    ) {
        const ID: u64 = 1_000;
        let lanes = if kind == 0 { 1 } else { lanes };
        let info = info(batch);
        let router = match kind {
            0 => Forward::<u32>::default().router(&info, 0..1),
            1 => Rebalance::<u32>::default().router(&info, 0..lanes),
            _ => Broadcast::<u32>::default().router(&info, 0..lanes),
        };
        let mine = |n: u32, index| kind != 1 || (n as usize + 1) % lanes == index;
        let mut bench = Bench::new(router, lanes, info);
        (0..lanes).for_each(|lane| bench.grant(lane, 1));
        let mut told = Told::default();
        // One that is stuck would overtake, too: the job has given it up when the next one comes.
        let before = before.iter().filter(|given| !matches!(given, Given::Barrier));
        before.for_each(|given| told.give(&mut bench, given));
        bench.overdraw(usize::MAX);
        prop_assert!(!bench.blocked);
        bench.control(barrier(ID));
        let recorded = bench.cx.outputs.record().unwrap();
        prop_assert!(bench.cx.outputs.end_overdraft());
        let mut cut = told.all.clone();
        cut.push(Seen::Barrier(ID));
        let recorded = crate::in_flight::tests::back(&recorded, 0, lanes).outputs;
        for (index, parked) in recorded.into_iter().enumerate() {
            let mut lane = bench.seen[index].clone();
            prop_assert_eq!(lane.pop(), Some(Seen::Overtaking(ID)));
            lane.extend(parked.into_iter().flat_map(shown));
            lane.push(Seen::Barrier(ID));
            check_channel(&cut, &lane, |n| mine(n, index))?;
        }
        after.iter().for_each(|given| told.give(&mut bench, given));
        let told = told.end(&mut bench);
        for (index, lane) in bench.seen.iter_mut().enumerate() {
            lane.retain(|seen| *seen != Seen::Overtaking(ID));
            check_channel(&told, lane, |n| mine(n, index))?;
        }
    }
}

#[test]
fn partitioners_in_pictures() {
    let by_rest = PartitionBy::<u32>::new(Arc::new(|value, lanes| *value as usize % lanes));
    table(
        &by_rest,
        2,
        &[
            ("+9 1,2,3,4 f", "[2, 4] / [1, 3]"),
            ("+9 1 w5 f", "w5 / [1] w5"),
        ],
    );
    table(
        &Global::<u32>::default(),
        2,
        &[
            // The other subtasks have no records, but they have their time and their barriers.
            ("+9 1,2 w5 |1 $", "[1, 2] w5 |1 $ / w5 |1 $"),
        ],
    );
}

#[test]
fn a_partitioner_that_names_a_subtask_that_is_not_there_fails_the_attempt() {
    let info = info(3);
    let routes = PartitionBy::<u32>::new(Arc::new(|value, _| *value as usize));
    let mut stage = routes.router(&info, 0..2).typed::<u32>().unwrap();
    let mut bench = Bench::new(Forward::<u32>::default().router(&info, 0..2), 2, info);
    let run = |values: [u32; 2]| values.map(|value| Event::at(0, value)).to_vec();
    assert!(stage.run(run([0, 1]), &mut bench.cx).is_ok());
    let failure = stage.run(run([1, 2]), &mut bench.cx).unwrap_err();
    assert_eq!(failure.scope, crate::failure::FailureScope::Attempt);
    assert_eq!(
        failure.message,
        "the partitioner behind it chose subtask 2 of 2: return a number below the one that it is given"
    );
}

#[test]
fn a_shuffle_is_even_and_every_attempt_draws_the_same() {
    let drawn = |index, attempt| {
        let mut info = info(3);
        info.attempt.subtask.index = index;
        info.attempt.attempt = attempt;
        let router = Shuffle::<u32>::default().router(&info, 0..3);
        let mut bench = Bench::new(router, 3, info);
        (0..3).for_each(|lane| bench.grant(lane, 10_000));
        bench.run(&(0..3_000).collect::<Vec<u32>>());
        bench.play("f");
        bench.seen
    };
    let first = drawn(0, 1);
    assert!(first.iter().all(|lane| (900..1_100).contains(&lane.len())));
    assert_eq!(first, drawn(0, 2));
    assert_ne!(first, drawn(1, 1));
}

#[test]
fn records_of_both_streams_arrive_as_one_type() {
    use crate::either::{AsFirst, AsSecond, Either, InHashed};

    type Keyed = HashBy<u32, Hash, InHashed<AsSecond<u8>>>;
    let take = |routes: &dyn RouteFactory| {
        let info = info(3);
        let mut stage = routes.router(&info, 0..1).typed::<u32>().unwrap();
        let mut cx = Bench::new(Forward::<u32>::default().router(&info, 0..1), 1, info).cx;
        cx.outputs.grant(0, 9);
        let run = vec![Event::at(1, 7)];
        assert!(stage.run(run, &mut cx).unwrap().is_done());
        assert!(stage.control(Control::Flush, &mut cx).unwrap().is_done());
        match cx.outputs.drain().next().map(|outgoing| outgoing.element) {
            Some(Element::Batch(batch)) => batch,
            _ => panic!("no batch"),
        }
    };
    let first: [&dyn RouteFactory; 5] = [
        &Forward::<u32, AsFirst<u8>>::default(),
        &Rebalance::<u32, AsFirst<u8>>::default(),
        &Broadcast::<u32, AsFirst<u8>>::default(),
        &Global::<u32, AsFirst<u8>>::default(),
        &Shuffle::<u32, AsFirst<u8>>::default(),
    ];
    for routes in first {
        let rows = Rows::<Either<u32, u8>>::from_batch(take(routes)).unwrap();
        assert_eq!(rows, [Event::at(1, Either::First(7))]);
    }
    let routes = Keyed::carrying(key_hash);
    let rows = Rows::<Hashed<Either<u8, u32>>>::from_batch(take(&routes)).unwrap();
    let hash = key_hash(&7_u32);
    let value = Either::Second(7);
    assert_eq!(rows, [Event::at(1, Hashed { hash, value })]);
}
