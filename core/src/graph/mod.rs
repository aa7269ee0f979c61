//! From program to plan: `StreamGraph` (as written), `JobGraph` (chained), and the tasks built from it.
//! The parallel, running form is [`job::ExecutionGraph`](crate::job::ExecutionGraph).

mod aligned;
mod build;
mod chained;
mod loops;
mod placement;
mod written;

pub use build::ChainBuilder;
pub use chained::{JobEdge, JobGraph, JobVertex};
pub use loops::Loop;
pub use written::{Exchange, GraphError, NodeId, Operator, StreamEdge, StreamGraph, StreamNode};

/// Programs as pictures, for tests all over this crate.
///
/// ```text
/// a:2!; b:2 <- a; c:1? <- b~hash a.late~rebalance
/// ```
///
/// A node is `name:parallelism`; `!` assigns watermarks, `?` needs them, `=` has a parallelism of its own. Behind the arrow stand its
/// inputs, `from[.side][~exchange]`, `auto` unless it says otherwise; a node without any is a source. Behind `^`
/// stands what comes round to it, from nodes that are written later.
#[cfg(test)]
pub(crate) mod picture {
    use std::collections::BTreeMap;
    use std::ops::Range;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::batch::{Batch, Rows};
    use crate::codec::CodecError;
    use crate::context::{SubtaskInfo, TaskContext};
    use crate::event::Event;
    use crate::failure::{Failure, UserError};
    use crate::source::EncodedSplit;
    use crate::stage::{AnyStage, Control, Progress, Stage};
    use crate::task::{
        BuildContext, OperatorFactory, Outlets, OutputFactory, RouteFactory, SidesRead,
        SourceFactory, Task,
    };
    use crate::{Chain, TypedOutput};

    /// Does nothing, of type `u32`.
    pub(crate) struct Idle;

    /// Notes which lanes an edge was given: `(receiver's node, its input, rebalance?, lanes)`.
    pub(crate) type Routed = Arc<Mutex<Vec<(usize, usize, bool, Range<usize>)>>>;

    struct Noting {
        node: usize,
        input: usize,
        rebalance: bool,
        routed: Routed,
    }

    impl Stage<u32> for Idle {
        fn run(&mut self, _: Vec<Event<u32>>, _: &mut TaskContext) -> Result<Progress, Failure> {
            Ok(Progress::Done)
        }
        fn control(&mut self, _: Control, _: &mut TaskContext) -> Result<Progress, Failure> {
            Ok(Progress::Done)
        }
        fn resume(&mut self, _: &mut TaskContext) -> Result<Progress, Failure> {
            Ok(Progress::Done)
        }
        fn slice(&mut self, _: usize, _: &mut TaskContext) -> Result<bool, Failure> {
            Ok(true)
        }
    }

    impl SourceFactory for Idle {
        fn check(&self, _: &SidesRead) -> Result<(), String> {
            Ok(())
        }
        fn splits(&self, _: u32) -> Result<Vec<EncodedSplit>, UserError> {
            Ok(Vec::new())
        }
        fn task(&self, _: &BuildContext<'_>, outlets: Outlets) -> Result<Box<dyn Task>, Failure> {
            Chain::<u32>::task(outlets.main)
        }
    }

    impl OperatorFactory for Idle {
        fn check(&self, _: &SidesRead) -> Result<(), String> {
            Ok(())
        }
        fn stage(&self, _: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
            Ok(outlets.main)
        }
        fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
            Chain::<u32>::task(stage)
        }
    }

    impl RouteFactory for Noting {
        fn router(&self, _: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
            let note = (self.node, self.input, self.rebalance, lanes);
            self.routed.lock().unwrap().push(note);
            AnyStage::new::<u32>(Box::new(Idle))
        }
        fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
            Rows::<u32>::decode(bytes)
        }
    }

    fn node(index: usize, text: &str, names: &[String], routed: &Routed) -> StreamNode {
        let (head, inputs) = text.split_once("<-").unwrap_or((text, ""));
        let (name, parallelism) = head.trim().split_once(':').expect("name:parallelism");
        let output: Arc<dyn OutputFactory> = Arc::new(TypedOutput::<u32>::default());
        let edges = inputs.split_whitespace().filter(|text| *text != "^");
        let mut edges: Vec<StreamEdge> = edges
            .enumerate()
            .map(|(input, text)| {
                let (from, exchange) = text.split_once('~').unwrap_or((text, "auto"));
                let (from, side) = match from.split_once('.') {
                    Some((from, side)) => (from, Some(side.to_owned())),
                    None => (from, None),
                };
                let exchange = match exchange {
                    "auto" => Exchange::Auto,
                    "forward" => Exchange::Forward,
                    "hash" => Exchange::Hash,
                    "rebalance" => Exchange::Rebalance,
                    "broadcast" => Exchange::Broadcast,
                    "rescale" => Exchange::Rescale,
                    "shuffle" => Exchange::Shuffle,
                    "global" => Exchange::Global,
                    "partition_custom" => Exchange::Custom,
                    other => panic!("no exchange {other}"),
                };
                let route = |rebalance| {
                    Arc::new(Noting {
                        node: index,
                        input,
                        rebalance,
                        routed: Arc::clone(routed),
                    })
                };
                StreamEdge {
                    from: NodeId(names.iter().position(|name| name == from).expect(from)),
                    side,
                    exchange,
                    route: route(false),
                    rebalance: (exchange == Exchange::Auto)
                        .then(|| route(true) as Arc<dyn RouteFactory>),
                }
            })
            .collect();
        let from_outside = inputs.split_whitespace().take_while(|text| *text != "^");
        let feedback = edges.split_off(from_outside.count());
        let inputs = edges;
        let operator = if inputs.is_empty() {
            Operator::Source(Arc::new(Idle))
        } else {
            Operator::Transform(Arc::new(Idle))
        };
        StreamNode {
            uid: name.into(),
            name: name.to_owned(),
            parallelism: parallelism
                .trim_end_matches(['!', '?', '='])
                .parse()
                .unwrap(),
            follows_job: !parallelism.contains('='),
            operator,
            inputs,
            feedback,
            output: Arc::clone(&output),
            sides: BTreeMap::from([("late".to_owned(), output)]),
            assigns_watermarks: parallelism.contains('!'),
            needs_watermarks: parallelism.contains('?'),
            alignment: None,
        }
    }

    /// A program from its picture, and where its routers will note their lanes.
    pub(crate) fn program_and_routes(text: &str) -> (StreamGraph, Routed) {
        let routed = Routed::default();
        let mut nodes: Vec<StreamNode> = Vec::new();
        let texts = text.split(';').filter(|text| !text.trim().is_empty());
        let texts: Vec<&str> = texts.collect();
        let name = |text: &&str| text.split(':').next().unwrap_or("").trim().to_owned();
        let names: Vec<String> = texts.iter().map(name).collect();
        for text in texts {
            nodes.push(node(nodes.len(), text, &names, &routed));
        }
        let program = StreamGraph {
            nodes,
            max_parallelism: 128,
            chaining: true,
        };
        (program, routed)
    }

    /// A program from its picture.
    pub(crate) fn program(text: &str) -> StreamGraph {
        program_and_routes(text).0
    }

    /// A plan from its program's picture.
    pub(crate) fn plan(text: &str) -> JobGraph {
        JobGraph::new(program(text)).unwrap()
    }
}
