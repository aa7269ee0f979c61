//! Streams as a harness runs them: the program is written, chained and built by what does so for a job, and records cross to
//! the operator's subtasks by its own routers.

use std::sync::Arc;

use rivus_core::{
    AttemptId, ChainBuilder, Control, Element, Event, Exchange, Failure, JobGraph, ManualClock,
    Operator, OperatorUid, Outputs, ParallelInstance, Record, RestoredState, Stores, StreamGraph,
    SubtaskId, SubtaskInfo, SubtaskMetrics, Task, TaskContext, VertexId,
};
use rivus_operators::testing::{CaptureFactory, Delivery, Log, Plan};

use super::inlets::ToInlet;
use super::words::Words;
use crate::error::JobError;
use crate::program::Program;
use crate::stream::DataStream;

/// Writes the streams of a test.
pub(super) type Write<'a, Out> = Box<dyn Fn(&Program) -> DataStream<Out> + 'a>;

/// Puts a capture behind a side output.
pub(super) type CaptureSide<Out> = Arc<dyn Fn(&DataStream<Out>, &Log, u64) + Send + Sync>;

/// What a test says of its streams.
pub(super) struct Streams<'a, In, Out> {
    pub(super) write: Write<'a, Out>,
    pub(super) deal: fn(Vec<Event<In>>) -> Vec<ToInlet>,
    pub(super) words: Words<'a, In, Out>,
    pub(super) sides: Vec<CaptureSide<Out>>,
    pub(super) max_parallelism: u32,
}

impl<In, Out: Record> Streams<'_, In, Out> {
    /// The program with captures at its ends.
    pub(super) fn program(&self, log: &Log, seed: u64) -> Result<StreamGraph, JobError> {
        let program = Program::new(1, Some(self.max_parallelism), true);
        let stream = (self.write)(&program);
        let capture = CaptureFactory::new(None, Arc::clone(&self.words.show), log, seed);
        let _: DataStream<()> = stream.add("output", capture, |_| {});
        for side in &self.sides {
            side(&stream, log, seed.rotate_left(7));
        }
        let mut written = program.take()?.written;
        for node in &mut written.nodes {
            node.parallelism = 1;
        }
        Ok(written)
    }
}

/// Chains a program of which all but the inlets have so many subtasks.
pub(super) fn chained(written: &StreamGraph, parallelism: u32) -> Result<JobGraph, JobError> {
    let mut written = written.clone();
    let inlets: Vec<bool> = (written.nodes.iter())
        .map(|node| matches!(node.operator, Operator::Source(_)))
        .collect();
    for (node, is_inlet) in written.nodes.iter_mut().zip(&inlets) {
        if *is_inlet {
            continue;
        }
        node.parallelism = parallelism;
        for edge in &mut node.inputs {
            // An inlet is a subtask of its own.
            if inlets[edge.from.0] && matches!(edge.exchange, Exchange::Auto | Exchange::Forward) {
                edge.exchange = Exchange::Rebalance;
            }
        }
    }
    let graph = JobGraph::new(written)?;
    let mut driven = graph.vertices.iter().filter(|vertex| !vertex.is_source);
    if let (Some(first), Some(second)) = (driven.next(), driven.next()) {
        return Err(JobError::Program(format!(
            "records cross from \"{}\" to other subtasks, those of \"{}\": drive one of the two, or the whole job by a JobTest",
            first.name, second.name
        )));
    }
    Ok(graph)
}

/// The chain between the inlets and the captures.
pub(super) fn driven(graph: &JobGraph) -> VertexId {
    let mut vertices = graph.vertices.iter();
    let driven = vertices.find(|vertex| !vertex.is_source);
    driven.map_or(VertexId(0), |vertex| vertex.id)
}

/// An inlet's subtask.
struct Sender {
    task: Box<dyn Task>,
    cx: TaskContext,
    /// Subtask and input at the end of each output channel.
    lanes: Vec<(u32, usize)>,
}

/// Enough for a run to travel as one batch.
const BATCH: usize = 1 << 20;

impl Sender {
    fn new(graph: &JobGraph, inlet: VertexId, uid: OperatorUid) -> Result<Self, Failure> {
        let subtask = SubtaskId {
            vertex: inlet,
            index: 0,
        };
        let info = SubtaskInfo {
            job: ParallelInstance::ALONE.job,
            attempt: AttemptId {
                subtask,
                attempt: 1,
            },
            parallelism: 1,
            max_parallelism: graph.written.max_parallelism,
            batch_records: BATCH,
            batch_bytes: usize::MAX,
            loop_bytes: BATCH,
            is_distributed: false,
        };
        let builder = ChainBuilder {
            graph,
            info: &info,
            restored: &RestoredState::default(),
            stores: None,
        };
        let task = builder.build()?;
        let receivers = graph.receivers(subtask).into_iter();
        let lanes: Vec<(u32, usize)> = receivers.map(|(edge, to)| (to.index, edge.input)).collect();
        let mut outputs = Outputs::new(lanes.len());
        (0..lanes.len()).for_each(|lane| outputs.grant(lane, u64::MAX));
        let metrics = Arc::new(SubtaskMetrics::default());
        let clock = Arc::new(ManualClock::default());
        let cx = TaskContext::new(info, outputs, metrics, vec![uid], clock);
        Ok(Self { task, cx, lanes })
    }

    fn send(&mut self, batch: Box<dyn rivus_core::Batch>) -> Result<Vec<Delivery>, Failure> {
        let (task, cx) = (&mut self.task, &mut self.cx);
        let mut progress = task.batch(0, batch, cx)?;
        while !progress.is_done() {
            progress = task.resume(cx)?;
        }
        // The input has run dry.
        self.pass(Control::Flush)
    }

    /// What it sends before a control element passes it on.
    fn pass(&mut self, control: Control) -> Result<Vec<Delivery>, Failure> {
        let (task, cx) = (&mut self.task, &mut self.cx);
        let mut progress = task.control(control, cx)?;
        while !progress.is_done() {
            progress = task.resume(cx)?;
        }
        let _ = cx.take_given_back();
        let sent = cx.outputs.drain();
        let sent = sent.filter_map(|outgoing| match outgoing.element {
            Element::Batch(batch) => Some((outgoing.lane, batch)),
            _ => None,
        });
        let to = |(lane, batch): (usize, _)| {
            let (subtask, input) = self.lanes[lane];
            Delivery {
                subtask,
                input,
                batch,
            }
        };
        Ok(sent.map(to).collect())
    }
}

/// Streams as they run.
pub(super) struct RunningStreams<'a, In, Out> {
    pub(super) streams: &'a Streams<'a, In, Out>,
    written: Option<StreamGraph>,
    graph: JobGraph,
    senders: Vec<Sender>,
}

impl<'a, In, Out: Record> RunningStreams<'a, In, Out> {
    /// Refuses what can't be driven.
    pub(super) fn new(
        streams: &'a Streams<'a, In, Out>,
        parallelism: u32,
    ) -> Result<Self, JobError> {
        let written = streams.program(&Log::default(), 0)?;
        Ok(Self {
            streams,
            graph: chained(&written, parallelism)?,
            written: None,
            senders: Vec::new(),
        })
    }

    /// The operator that is asked about state: the first of the chain.
    pub(super) fn operator(&self) -> OperatorUid {
        self.uids().remove(0)
    }

    fn uids(&self) -> Vec<OperatorUid> {
        self.graph.operators(driven(&self.graph))
    }

    /// Wires the subtasks of a new start.
    fn wire(&mut self, log: &Log, seed: u64, parallelism: u32) -> Result<(), Failure> {
        let failed = |error: JobError| Failure::job(error.to_string());
        let written = match self.written.take() {
            Some(written) => written,
            None => self.streams.program(log, seed).map_err(failed)?,
        };
        self.graph = chained(&written, parallelism).map_err(failed)?;
        self.written = Some(written);
        let graph = &self.graph;
        let inlets = graph.vertices.iter().filter(|vertex| vertex.is_source);
        let senders = inlets.map(|vertex| {
            let uid = graph.node(vertex.nodes[0]).uid.clone();
            Sender::new(graph, vertex.id, uid)
        });
        self.senders = senders.collect::<Result<_, _>>()?;
        Ok(())
    }
}

impl<In, Out: Record> Plan<In> for RunningStreams<'_, In, Out> {
    fn uids(&self) -> Vec<OperatorUid> {
        RunningStreams::uids(self)
    }

    fn restores_all(&self) -> bool {
        !self.graph.restoring_all(driven(&self.graph)).is_empty()
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
            self.wire(log, seed, info.parallelism)?;
        }
        let mut info = info.clone();
        info.attempt.subtask.vertex = driven(&self.graph);
        let builder = ChainBuilder {
            graph: &self.graph,
            info: &info,
            restored,
            stores,
        };
        builder.build()
    }

    fn send(&mut self, run: Vec<Event<In>>) -> Result<Vec<Delivery>, Failure> {
        let mut deliveries = Vec::new();
        for (inlet, batch) in (self.streams.deal)(run) {
            deliveries.extend(self.senders[inlet].send(batch)?);
        }
        Ok(deliveries)
    }

    /// Senders keep nothing from one run to the next; but they may have to know how far event time has got.
    fn pass(&mut self, control: Control) -> Result<Vec<Delivery>, Failure> {
        if !matches!(control, Control::Watermark(_)) {
            return Ok(Vec::new());
        }
        let mut deliveries = Vec::new();
        for sender in &mut self.senders {
            deliveries.extend(sender.pass(control)?);
        }
        Ok(deliveries)
    }
}
