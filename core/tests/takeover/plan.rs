//! Plans whose operators do nothing: the model plays the tasks itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rivus_core::{
    AnyStage, Batch, BuildContext, CodecError, EncodedSplit, Exchange, Failure, JobGraph, NodeId,
    Operator, OperatorFactory, Outlets, OutputFactory, RouteFactory, SourceFactory, StreamEdge,
    StreamGraph, StreamNode, SubtaskInfo, Task, UserError,
};

/// Built by nobody.
struct Nothing;

impl SourceFactory for Nothing {
    fn splits(&self, _: u32) -> Result<Vec<EncodedSplit>, UserError> {
        Ok(Vec::new())
    }
    fn task(&self, _: &BuildContext<'_>, _: Outlets) -> Result<Box<dyn Task>, Failure> {
        Err(Failure::job("the model plays the tasks"))
    }
}

impl OperatorFactory for Nothing {
    fn stage(&self, _: &BuildContext<'_>, _: Outlets) -> Result<AnyStage, Failure> {
        Err(Failure::job("the model plays the tasks"))
    }
    fn head(&self, _: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Err(Failure::job("the model plays the tasks"))
    }
}

impl OutputFactory for Nothing {
    fn carries(&self) -> &'static str {
        "nothing"
    }
    fn fan_out(&self, _: Vec<AnyStage>) -> Result<AnyStage, Failure> {
        Err(Failure::job("the model plays the tasks"))
    }
}

impl RouteFactory for Nothing {
    fn router(&self, _: &SubtaskInfo, _: Range<usize>) -> AnyStage {
        unreachable!("the model plays the tasks")
    }
    fn decode(&self, _: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        unreachable!("the model plays the tasks")
    }
}

/// A plan from `(name, parallelism, input)`; an edge is by hash.
pub fn plan(shape: &[(&str, u32, Option<usize>)]) -> JobGraph {
    let nodes = shape.iter().map(|(name, parallelism, input)| StreamNode {
        uid: (*name).into(),
        name: (*name).to_owned(),
        parallelism: *parallelism,
        follows_job: false,
        operator: match input {
            None => Operator::Source(Arc::new(Nothing)),
            Some(_) => Operator::Transform(Arc::new(Nothing)),
        },
        inputs: input
            .iter()
            .map(|from| StreamEdge {
                from: NodeId(*from),
                side: None,
                exchange: Exchange::Hash,
                route: Arc::new(Nothing),
                rebalance: None,
            })
            .collect(),
        feedback: Vec::new(),
        output: Arc::new(Nothing),
        sides: BTreeMap::new(),
        assigns_watermarks: false,
        needs_watermarks: false,
        alignment: None,
    });
    JobGraph::new(StreamGraph {
        nodes: nodes.collect(),
        max_parallelism: 128,
        chaining: true,
    })
    .expect("a shape that can run")
}
