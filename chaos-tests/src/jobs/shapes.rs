//! The shapes of jobs, each written as a user would write it.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use rivus::connectors::{
    BadLines, CollectionSource, Compression, CsvFormat, FileSink, GeneratorSource, RollingPolicy,
    TextFileSource, Watch,
};
use rivus::{
    Avg, DataStream, Event, Max, MinBy, Redistribution, SideOutputTag, Source, StreamEnvironment,
    Sum, Timestamp, WatermarkStrategy, WindowAssigner, Windowed,
};

use super::functions::{Buckets, InOrder, Line, Members, SoFar, fold};
use super::lasting::{Gathering, Lanes};
use super::records::{DISORDER, FIRST, Reading};
use super::shape::Shape;
use super::shelf::Shelf;
use super::spec::{Inbox, Written};
use super::world::World;
use crate::paced::{Pace, Paced};

/// Name of the second pipeline's source.
pub const SECOND: &str = "second";

/// Uid of the rolling aggregate, whose state is asked for.
pub const ASKED: &str = "rolling";

/// Uid of the function that keeps buckets, one of whose states is asked for by its name.
pub const BUCKETS: &str = "buckets";

/// Uid of the windows that are asked for.
pub const WINDOWS: &str = "windows";

/// How much event time one of them gathers, in milliseconds.
pub const WINDOW: Timestamp = 400;

impl World {
    /// Writes the job into an environment.
    pub fn build(&self, env: &StreamEnvironment) {
        let read = OnceCell::new();
        self.write_shape(env, &|| read.get_or_init(|| self.generated(env, 0)).clone());
        // Behind the shape, whose operators are called by their places.
        if let Some(readings) = read.get() {
            self.write_version(env, readings);
        }
    }

    /// `one` is the generator of those that read one and nothing else.
    fn write_shape(&self, env: &StreamEnvironment, one: &dyn Fn() -> DataStream<Reading>) {
        let out = match self.spec.shape {
            Shape::Tumbling => self.windowed(&self.timed(&one()), false),
            Shape::Sliding => self.windowed(&self.timed(&one()), true),
            Shape::Rolling => self.rolling(&one()),
            Shape::Timers => self.timers(&self.timed(&one())),
            Shape::MultiStage => return self.multi_stage(&one()),
            Shape::Union => return self.union(env),
            Shape::Idle => return self.idle(env),
            Shape::TwoPipelines => return self.two_pipelines(env),
            Shape::Sessions => return self.sessions(&one()),
            Shape::CountWindows => return self.count_windows(&one()),
            Shape::Evicted => self.evicted(&self.timed(&one())),
            Shape::Broadcast => self.broadcast(&one()),
            Shape::ManySplits => self.windowed(&self.timed(&self.many_splits(env)), false),
            Shape::TextFiles => self.windowed(&self.timed(&self.text_files(env)), true),
            Shape::Connected => self.connected(env),
            Shape::BroadcastRules => self.broadcast_rules(env),
            Shape::WindowJoin => self.window_join(env),
            Shape::IntervalJoin => self.interval_join(env),
            Shape::Partitioned => self.partitioned(env),
            Shape::Aggregates => self.aggregates(&self.timed(&one())),
            Shape::Async => return self.asking(&one()),
            Shape::Expiring => self.expiring(&one()),
            Shape::Watched => self.windowed(&self.timed(&self.watched(env)), false),
            Shape::Packed => return self.packed(&one()),
            Shape::Looping => return self.looping(&one()),
            Shape::Fed => return self.fed(env),
            Shape::Socket => return self.socket(env),
            Shape::Parquet => return self.columns(env),
            Shape::Clocked => return self.clocked(env),
            Shape::Refiring => return self.refiring(env),
            Shape::CoGrouped => return self.co_grouped(env),
            Shape::Straight => return self.straight(env),
            Shape::Aligned => self.windowed(&self.aligned(env), false),
        };
        match self.out.is_beside() {
            true => self.to_files(&out),
            false => self.sink(&out, &self.main),
        }
    }

    /// Keys stay where they are on the way to the sink, so that their order is given.
    pub(super) fn sink(&self, lines: &DataStream<Line>, shelf: &Shelf<Line>) {
        let wide = self.wide();
        let _ = lines.sink_to(shelf.sink()).parallelism(wide);
    }

    pub(super) fn pace(&self) -> Pace {
        self.spec.pace
    }

    /// Records from a generator; those of a second source have other numbers.
    pub(super) fn generated(&self, env: &StreamEnvironment, source: u64) -> DataStream<Reading> {
        env.from_source(self.generator(source))
    }

    pub(super) fn generator(&self, source: u64) -> Paced<impl Source<Out = Reading> + use<>> {
        let spec = self.spec.clone();
        let generator = GeneratorSource::new(move |index, rng| {
            let mut reading = Reading::generate(&spec, index, rng);
            reading.id += source * spec.records;
            reading
        })
        .seed(self.spec.seed + source)
        .count(self.spec.records)
        .timestamps(|reading: &Reading| reading.ts);
        Paced::new(generator, self.pace(), Arc::clone(&self.emitted))
    }

    fn many_splits(&self, env: &StreamEnvironment) -> DataStream<Reading> {
        let events = Reading::all(&self.spec)
            .into_iter()
            .map(|reading| Event::at(reading.ts, reading))
            .collect();
        let source = CollectionSource::timestamped(events);
        env.from_source(Paced::new(source, self.pace(), Arc::clone(&self.emitted)).finer(12))
    }

    fn text_files(&self, env: &StreamEnvironment) -> DataStream<Reading> {
        let pattern = self.files.path().join("in-*.csv");
        let bytes = self.spec.records * 20 / 24;
        let source = TextFileSource::glob(pattern.to_string_lossy()).split_bytes(bytes.max(64));
        env.from_source(Paced::new(source, self.pace(), Arc::clone(&self.emitted)))
            .try_map(|line: String| line.parse::<Reading>(), rivus::OnError::Fail)
    }

    /// Files come one after the other, in half of the seeds known by that, and at last the one that ends the watch.
    fn watched(&self, env: &StreamEnvironment) -> DataStream<Reading> {
        let lines =
            TextFileSource::folder(self.inbox()).split_bytes((self.spec.records * 20 / 24).max(64));
        let records = match self.spec.inbox() {
            Inbox::Csv => lines.csv::<Reading>(),
            Inbox::MultilineCsv => lines.csv_with(CsvFormat::new().multiline()),
            Inbox::Json => lines.json_lines(),
        };
        let watch = Watch::every(Duration::from_millis(50))
            .settle(Duration::ZERO)
            .until(self.done());
        let watch = match self.spec.seed / 3 % 2 {
            0 => watch.in_order_of_names(),
            _ => watch,
        };
        let source = records.bad_lines(BadLines::Skip).watch(watch);
        let paced = Paced::new(source, self.pace(), Arc::clone(&self.emitted));
        env.from_source(paced.arriving(Arc::clone(&self.arrivals)))
    }

    fn packed(&self, readings: &DataStream<Reading>) {
        let compression = match self.spec.seed % 4 {
            0 | 1 => Compression::Gzip,
            _ => Compression::Zstd,
        };
        let rolling = RollingPolicy {
            max_bytes: 2_000,
            on_checkpoint: self.spec.seed.is_multiple_of(2),
        };
        let sink = match self.spec.written() {
            Written::Csv => FileSink::csv(self.out_dir()),
            Written::Json => FileSink::json_lines(self.out_dir()),
            Written::Lines => {
                FileSink::lines_with(self.out_dir(), |(key, value)| format!("{key}\t{value}"))
            }
        };
        let sink = sink.rolling(rolling).compressed(compression);
        let lines = self.rolling(readings);
        let _ = lines.sink_to(sink).parallelism(self.wide());
    }

    /// No record is late: watermarks stay behind by as much as records are out of order.
    pub(super) fn timed(&self, readings: &DataStream<Reading>) -> DataStream<Reading> {
        let bound = Duration::from_millis(DISORDER as u64);
        readings.assign_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(bound)
                .with_timestamps(|reading: &Reading| reading.ts),
        )
    }

    pub(super) fn windowed(
        &self,
        readings: &DataStream<Reading>,
        sliding: bool,
    ) -> DataStream<Line> {
        let size = Duration::from_millis(WINDOW as u64);
        let assigner = match sliding {
            true => WindowAssigner::sliding(size, Duration::from_millis(100)),
            false => WindowAssigner::tumbling(size),
        };
        let windows = readings.key_by(|reading| reading.key).window(assigner);
        // Some are gathered before the exchange, as between processes; most are under way one by one, where there is more to lose.
        let windows = windows.pre_aggregate(self.spec.seed % 4 == 1);
        let counts = windows.count().uid(WINDOWS).parallelism(self.wide());
        counts.map(line).parallelism(self.wide())
    }

    pub(super) fn rolling(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let keyed = readings.key_by(|reading| reading.key);
        let rolling = keyed.aggregate(InOrder).uid(ASKED).parallelism(self.wide());
        rolling
            .map(|(key, so_far)| {
                (
                    key.to_string(),
                    format!("{}:{:x}", so_far.count, so_far.fold),
                )
            })
            .parallelism(self.wide())
    }

    fn timers(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let keyed = readings.key_by(|reading| reading.key);
        let buckets = keyed.process(Buckets).uid(BUCKETS);
        buckets.parallelism(self.wide())
    }

    fn multi_stage(&self, readings: &DataStream<Reading>) {
        let copies = |reading: Reading| vec![reading.clone(); 1 + (reading.value % 2) as usize];
        let windows = self
            .timed(readings)
            .flat_map(copies)
            .rebalance()
            .map(|reading| reading)
            .parallelism(self.wide())
            .key_by(|reading| reading.key)
            .window(WindowAssigner::tumbling(Duration::from_millis(300)))
            .count();
        let sums = windows
            .key_by(|window| window.key)
            .reduce(|sum, next| {
                sum.window = next.window;
                sum.value += next.value;
            })
            .parallelism(self.wide());
        let show = |(key, sum): &(u64, Windowed<u64, u64>)| {
            format!("{key}\t{}:{}", sum.window.start, sum.value)
        };
        let sink = FileSink::lines_with(self.out_dir(), show);
        let _ = sums.sink_to(sink).parallelism(self.wide());
    }

    /// Watermarks that are too bold: what is late depends on how the two sources interleave.
    fn union(&self, env: &StreamEnvironment) {
        let both = self.generated(env, 0).union(&self.generated(env, 1));
        let bold = WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(2))
            .with_timestamps(|reading: &Reading| reading.ts);
        self.accepted_and_late(&both, &both.assign_watermarks(bold));
    }

    /// A source subtask sleeps while the others go on: nobody waits for it, so what it reads afterwards is
    /// late.
    fn idle(&self, env: &StreamEnvironment) {
        let sleepy = self.generator(0).sleepy(self.spec.lasts() / 2);
        let readings = env.from_source(sleepy);
        let bound = Duration::from_millis(DISORDER as u64);
        let patient = WatermarkStrategy::bounded_out_of_orderness(bound)
            .with_timestamps(|reading: &Reading| reading.ts)
            .with_idleness(self.pace().every * 2);
        self.accepted_and_late(&readings, &readings.assign_watermarks(patient));
    }

    fn accepted_and_late(&self, readings: &DataStream<Reading>, timed: &DataStream<Reading>) {
        let tag = SideOutputTag::<Reading>::new("late");
        let windows = timed
            .key_by(|reading| reading.key)
            .window(WindowAssigner::tumbling(Duration::from_millis(200)))
            .late_output(&tag)
            .process(Members)
            .parallelism(self.wide());
        let late = windows
            .side_output(&tag)
            .map(|reading| (reading.key.to_string(), reading.id.to_string()))
            .parallelism(self.wide());
        let accepted = windows.map(members).parallelism(self.wide());
        let serial = readings
            .key_by(|reading| reading.key)
            .aggregate(InOrder)
            .parallelism(self.wide())
            .map(|(key, so_far): (u64, SoFar)| {
                let SoFar { count, last, fold } = so_far;
                (key.to_string(), format!("{count} {last} {fold}"))
            })
            .parallelism(self.wide());
        self.sink(&accepted, &self.main);
        self.sink(&late, &self.late);
        self.sink(&serial, &self.serial);
    }

    /// The first is of the vertices that [`JobSpec::first_region`](super::JobSpec::first_region) says.
    fn two_pipelines(&self, env: &StreamEnvironment) {
        let first = self.windowed(&self.timed(&self.generated(env, 0)), false);
        self.sink(&first, &self.main);
        let second = self.rolling(&self.generated(env, 1).name(SECOND));
        self.sink(&second, &self.serial);
    }

    fn broadcast(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let everywhere = self
            .timed(readings)
            .broadcast()
            .filter(|reading| reading.ts >= FIRST - DISORDER)
            .parallelism(self.wide());
        let windows = everywhere
            .key_by(|reading| reading.key)
            .window(WindowAssigner::tumbling(Duration::from_millis(400)));
        let counts = windows.count().parallelism(self.wide());
        counts.map(line).parallelism(self.wide())
    }

    /// Each has output keys of its own, so that the order within one is given.
    fn aggregates(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let wide = self.wide();
        let keyed = readings.key_by(|reading| reading.key);
        let value = |reading: &Reading| reading.value;
        let of_all = keyed
            .aggregate((Sum::of(value), (MinBy::of(value), Max::of(value))))
            .parallelism(wide)
            .map(|(key, (sum, (least, greatest)))| {
                let least = least.map(|reading| reading.id);
                (format!("all {key}"), format!("{sum} {least:?} {greatest}"))
            })
            .parallelism(wide);
        let greatest = keyed.max_by(value).parallelism(wide);
        let greatest = greatest
            .map(|(key, reading)| (format!("greatest {key}"), reading.id.to_string()))
            .parallelism(wide);
        let top = keyed.top_n(3, value).parallelism(wide);
        let top = top
            .map(|(key, top)| (format!("top {key}"), ids(&top)))
            .parallelism(wide);
        let first = readings
            .key_by(|reading| (reading.key, reading.value % 8))
            .distinct()
            .parallelism(wide)
            .map(|Reading { id, key, value, .. }| {
                (format!("first {key} {}", value % 8), id.to_string())
            })
            .parallelism(wide);
        let size = Duration::from_millis(300);
        let windows = readings
            .key_by(|reading| reading.key)
            .window(WindowAssigner::sliding(size, size / 3))
            .top_n(2, |reading| Reverse(reading.value))
            .parallelism(wide);
        let windows = windows
            .map(|Windowed { key, window, value }| {
                (
                    format!("window {key}"),
                    format!("{}:{}", window.start, ids(&value)),
                )
            })
            .parallelism(wide);
        of_all
            .union(&greatest)
            .union(&top)
            .union(&first)
            .union(&windows)
            .union(&self.rolled(readings))
            .union(&self.within(readings))
    }

    /// One of the other aggregates: the least, the mean, or a fold that depends on the order.
    fn rolled(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let wide = self.wide();
        let keyed = readings.key_by(|reading| reading.key);
        let line = |key: u64, value: String| (format!("rolled {key}"), value);
        let rolled = match self.spec.kind(3) {
            0 => keyed
                .fold(0, |so_far, reading| *so_far = fold(*so_far, reading))
                .parallelism(wide)
                .map(move |(key, folded)| line(key, format!("{folded:x}"))),
            1 => keyed
                .min(|reading| reading.value)
                .parallelism(wide)
                .map(move |(key, least)| line(key, least.to_string())),
            _ => keyed
                .avg(|reading| reading.value as f64)
                .parallelism(wide)
                .map(move |(key, mean)| line(key, mean.to_string())),
        };
        rolled.parallelism(wide)
    }

    /// Two of the ready-made aggregates of windows.
    fn within(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let wide = self.wide();
        let windows = || {
            let keyed = readings.key_by(|reading| reading.key);
            keyed.window(WindowAssigner::tumbling(Duration::from_millis(250)))
        };
        let value = |reading: &Reading| reading.value;
        let number = |window: Windowed<u64, u64>| within("number", window, |found| found);
        let record = |window: Windowed<u64, Reading>| within("record", window, |found| found.id);
        let (one, other) = match self.spec.kind(3) {
            0 => (
                windows().sum(value).parallelism(wide).map(number),
                windows().max_by(value).parallelism(wide).map(record),
            ),
            1 => (
                windows().min(value).parallelism(wide).map(number),
                windows().min_by(value).parallelism(wide).map(record),
            ),
            _ => (
                windows().max(value).parallelism(wide).map(number),
                windows()
                    .avg(|reading| reading.value as f64)
                    .parallelism(wide)
                    .map(|window| within("mean", window, |mean| mean)),
            ),
        };
        one.parallelism(wide).union(&other.parallelism(wide))
    }

    fn expiring(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let how = match self.spec.keys % 2 {
            0 => Redistribution::Split,
            _ => Redistribution::Union,
        };
        let lanes = Lanes::new(u64::from(self.spec.parallelism), how);
        let chained = readings.process_with_state(lanes);
        let keyed = chained.key_by(|reading| reading.key);
        let gathered = Gathering(Avg::of(|reading: &Reading| reading.value as f64));
        keyed.process(gathered).parallelism(self.wide())
    }
}

/// What a window comes to.
fn within<V, S: Display>(of: &str, window: Windowed<u64, V>, show: fn(V) -> S) -> Line {
    let start = window.window.start;
    (
        format!("within {of} {}", window.key),
        format!("{start}:{}", show(window.value)),
    )
}

fn ids(readings: &[Reading]) -> String {
    let ids: Vec<String> = readings.iter().map(|r| r.id.to_string()).collect();
    ids.join(",")
}

fn line(window: Windowed<u64, u64>) -> Line {
    (
        window.key.to_string(),
        format!("{}:{}", window.window.start, window.value),
    )
}

pub(super) fn members(window: Windowed<u64, Vec<u64>>) -> Line {
    let ids: Vec<String> = window.value.iter().map(u64::to_string).collect();
    let start = window.window.start;
    (window.key.to_string(), format!("{start}:{}", ids.join(",")))
}
