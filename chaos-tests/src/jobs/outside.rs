//! Shapes whose records come from the world outside, not all of which can be read again, and go there.

use std::sync::Arc;
use std::time::Duration;

use rivus::connectors::{FileSink, ParquetSource, RollingPolicy, SocketSource};
use rivus::{
    ActorSink, DataStream, Event, Keyed, KeyedProcessFunction, OnError, Output, StreamEnvironment,
    UserError, ValueState, WindowAssigner,
};
use serde::{Deserialize, Serialize};

use super::functions::{Line, Members};
use super::records::Reading;
use super::shapes::members;
use super::world::World;
use crate::outside::Told;
use crate::paced::Paced;

/// How many lines a job tells before it waits for the actor that is to handle them.
const UNHANDLED: usize = 3;

/// A line of output as a row of a Parquet file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub key: String,
    pub value: String,
}

/// Lets each record of a key pass once, by its number, which a client counts upwards: what the client sends again, since it
/// doesn't know that a checkpoint covers it, is dropped.
#[derive(Clone)]
struct Once;

impl KeyedProcessFunction<u64, Reading> for Once {
    type Out = Reading;
    type State = ValueState<u64>;

    fn process(
        &mut self,
        event: Event<Reading>,
        last: &mut Keyed<'_, u64, ValueState<u64>>,
        out: &mut Output<'_, Reading>,
    ) -> Result<(), UserError> {
        let id = event.value.id;
        if last.get().is_none_or(|last| id > *last) {
            last.set(id);
            out.emit(event.value);
        }
        Ok(())
    }
}

impl World {
    /// A feed that is replayed, before functions that drop what comes again and an actor that is told what is committed; or
    /// one that is not, and an actor that is told at once, whom some wait for.
    pub(super) fn fed(&self, env: &StreamEnvironment) {
        let capacity = self.spec.feed_capacity();
        let (source, actor) = self.application.begin(Reading::all(&self.spec), capacity);
        let source = match self.spec.is_replayed() {
            true => source.replayed(),
            false => source,
        };
        let source = Paced::new(source, self.pace(), Arc::clone(&self.emitted));
        let readings = env.from_source(source);
        let came = self.came(&readings);
        if self.spec.is_replayed() {
            let once = readings.map(|(_, reading)| reading);
            let once = once.key_by(|reading| reading.key).process(Once);
            let told = self.rolling(&once.parallelism(self.wide()));
            let sink = ActorSink::batches(actor, unanswered).committed();
            let _ = told.sink_to(sink).parallelism(self.wide());
        } else if self.spec.is_acknowledged() {
            let one = |line, handled| Told(vec![line], Some(handled));
            let _ = came.sink_to(ActorSink::acknowledged(actor, UNHANDLED, one));
        } else {
            let _ = came.sink_to(ActorSink::batches(actor, unanswered));
        }
    }

    /// Lines from a socket, counted in windows, and beside them shown as they come.
    pub(super) fn socket(&self, env: &StreamEnvironment) {
        let source = SocketSource::lines("far-away:7").over(Arc::clone(&self.server) as _);
        let source = source.until_closed();
        let source = Paced::new(source, self.pace(), Arc::clone(&self.emitted));
        let readings = env.from_source(source).try_map(delivered, OnError::Fail);
        let _ = self.came(&readings);
        let windows = self
            .timed(&readings.map(|(_, reading)| reading))
            .key_by(|reading| reading.key)
            .window(WindowAssigner::tumbling(Duration::from_millis(200)))
            .process(Members)
            .parallelism(self.wide());
        self.sink(&windows.map(members).parallelism(self.wide()), &self.main);
    }

    /// Shows which records came, in which delivery, in the order in which they did: one subtask reads them.
    fn came(&self, readings: &DataStream<(u64, Reading)>) -> DataStream<Line> {
        let came =
            readings.map(|(delivery, reading)| (delivery.to_string(), reading.id.to_string()));
        let _ = came.sink_to(self.came.sink());
        came
    }

    /// Parquet files in and out.
    pub(super) fn columns(&self, env: &StreamEnvironment) {
        let source = ParquetSource::<Reading>::folder(self.inbox());
        let source = Paced::new(source, self.pace(), Arc::clone(&self.emitted));
        let counts = self.windowed(&self.timed(&env.from_source(source)), false);
        let rows = counts
            .map(|(key, value)| Row { key, value })
            .parallelism(self.wide());
        let rolling = RollingPolicy {
            max_bytes: 2_000,
            on_checkpoint: true,
        };
        let sink = FileSink::parquet(self.out_dir()).rolling(rolling);
        let _ = rows.sink_to(sink).parallelism(self.wide());
    }
}

fn unanswered(lines: Vec<Line>) -> Told {
    Told(lines, None)
}

/// A line of the server: the connection's number, and a reading.
fn delivered(line: String) -> Result<(u64, Reading), String> {
    let bad = || format!("half a line: {line}");
    let (delivery, reading) = line.split_once(';').ok_or_else(bad)?;
    Ok((delivery.parse().map_err(|_| bad())?, reading.parse()?))
}
