//! Builds a subtask's task from the plan: back to front, each operator in front of what it feeds.

use super::chained::JobGraph;
use super::written::{NodeId, Operator};
use crate::context::{OperatorIndex, SubtaskInfo};
use crate::failure::Failure;
use crate::ids::VertexId;
use crate::snapshot::RestoredState;
use crate::stage::AnyStage;
use crate::store::Stores;
use crate::task::{BuildContext, Outlets, Task};

/// Builds the task of one attempt.
pub struct ChainBuilder<'a> {
    /// The plan.
    pub graph: &'a JobGraph,
    /// Which subtask.
    pub info: &'a SubtaskInfo,
    /// What it starts from.
    pub restored: &'a RestoredState,
    /// Where rows lie that are not in memory; none if all are.
    pub stores: Option<&'a dyn Stores>,
}

impl ChainBuilder<'_> {
    /// The task.
    ///
    /// # Errors
    /// If the graph is miswired, state can't be read, or a connector refuses; names the operator.
    pub fn build(&self) -> Result<Box<dyn Task>, Failure> {
        let head = self.graph.vertex(self.vertex()).nodes[0];
        let outlets = self.outlets(head)?;
        let node = self.graph.node(head);
        let built = match &node.operator {
            Operator::Source(source) => source.task(&self.context(head), outlets),
            Operator::Transform(operator) => operator
                .stage(&self.context(head), outlets)
                .and_then(|stage| operator.head(stage)),
        };
        built.map_err(|failure| failure.blame(&node.uid))
    }

    fn vertex(&self) -> VertexId {
        self.info.attempt.subtask.vertex
    }

    fn context(&self, node: NodeId) -> BuildContext<'_> {
        let nodes = &self.graph.vertex(self.vertex()).nodes;
        let place = nodes.iter().position(|other| *other == node);
        let written = self.graph.node(node);
        BuildContext {
            info: self.info,
            restored: self.restored,
            stores: self.stores,
            uid: &written.uid,
            operator: OperatorIndex(place.unwrap_or(0)),
            unmarked_source: self.graph.written.unmarked_source(written),
        }
    }

    fn outlets(&self, node: NodeId) -> Result<Outlets, Failure> {
        let written = self.graph.node(node);
        let main = written.output.fan_out(self.consumers(node, None)?)?;
        let sides = written
            .sides
            .iter()
            .map(|(tag, output)| {
                let consumers = self.consumers(node, Some(tag))?;
                Ok((tag.clone(), output.fan_out(consumers)?))
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Outlets { main, sides })
    }

    /// The stages that take one of an operator's outputs: chained operators and routers.
    fn consumers(&self, node: NodeId, side: Option<&String>) -> Result<Vec<AnyStage>, Failure> {
        let vertex = self.graph.vertex(self.vertex());
        let mut stages = Vec::new();
        for chained in &vertex.nodes[1..] {
            let edge = &self.graph.node(*chained).inputs[0];
            if edge.from == node && edge.side.as_ref() == side {
                stages.push(self.chained(*chained)?);
            }
        }
        let mut lanes = 0;
        for edge in &vertex.outputs {
            let first = lanes;
            let index = self.info.attempt.subtask.index;
            lanes += self.graph.targets(edge, index).len();
            let written = self.graph.node(edge.node).edge(edge.input);
            if written.from != node || written.side.as_ref() != side {
                continue;
            }
            stages.push(self.graph.route(edge).router(self.info, first..lanes));
        }
        Ok(stages)
    }

    fn chained(&self, node: NodeId) -> Result<AnyStage, Failure> {
        let outlets = self.outlets(node)?;
        let written = self.graph.node(node);
        let Operator::Transform(operator) = &written.operator else {
            return Err(Failure::job(format!(
                "source {} stands inside a chain; this is a defect in Rivus",
                written.uid
            )));
        };
        operator
            .stage(&self.context(node), outlets)
            .map_err(|failure| failure.blame(&written.uid))
    }
}
