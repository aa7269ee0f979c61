//! The plan: operators chained into vertices, joined by edges that cross subtasks.

use std::collections::BTreeMap;

use super::written::{Exchange, GraphError, NodeId, Operator, StreamGraph, StreamNode};
use crate::ids::{OperatorUid, SubtaskId, VertexId};
use crate::key::key_hash;

/// Operators that run in one subtask: a tree, its head first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobVertex {
    /// Its place in the plan.
    pub id: VertexId,
    /// Name of the whole chain, for people.
    pub name: String,
    /// How many subtasks.
    pub parallelism: u32,
    /// The operators, each after the one it reads from.
    pub nodes: Vec<NodeId>,
    /// Edges into the head, in the order of its inputs.
    pub inputs: Vec<JobEdge>,
    /// Edges out of any of the operators.
    pub outputs: Vec<JobEdge>,
    /// Whether the head is a source.
    pub is_source: bool,
}

/// An edge that crosses from subtask to subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobEdge {
    /// Its number in the plan.
    pub id: usize,
    /// The sending vertex.
    pub from: VertexId,
    /// The receiving vertex.
    pub to: VertexId,
    /// The receiving operator, always a head.
    pub node: NodeId,
    /// Which of its inputs.
    pub input: usize,
    /// Never [`Exchange::Auto`].
    pub exchange: Exchange,
}

/// A program, chained.
#[derive(Clone)]
pub struct JobGraph {
    /// The program.
    pub written: StreamGraph,
    /// Vertices; a [`VertexId`] is an index. Inputs come first.
    pub vertices: Vec<JobVertex>,
}

impl JobGraph {
    /// Chains a program, or refuses it.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub fn new(written: StreamGraph) -> Result<Self, GraphError> {
        written.check()?;
        let mut vertices: Vec<JobVertex> = Vec::new();
        let mut vertex_of: BTreeMap<NodeId, VertexId> = BTreeMap::new();
        let mut edges = 0;
        for (index, node) in written.nodes.iter().enumerate() {
            let id = NodeId(index);
            if let Some(head) = chained_to(&written, node) {
                let vertex = &mut vertices[vertex_of[&head].0 as usize];
                vertex.nodes.push(id);
                vertex.name = format!("{} -> {}", vertex.name, node.name);
                vertex_of.insert(id, vertex.id);
                continue;
            }
            let vertex_id = VertexId(vertices.len() as u32);
            vertex_of.insert(id, vertex_id);
            let mut inputs = Vec::new();
            for (input, edge) in node.inputs.iter().enumerate() {
                let from = vertex_of[&edge.from];
                let equal = written.nodes[edge.from.0].parallelism == node.parallelism;
                let edge = JobEdge {
                    id: edges,
                    from,
                    to: vertex_id,
                    node: id,
                    input,
                    exchange: match edge.exchange {
                        Exchange::Auto if equal => Exchange::Forward,
                        Exchange::Auto => Exchange::Rebalance,
                        exchange => exchange,
                    },
                };
                edges += 1;
                vertices[from.0 as usize].outputs.push(edge);
                inputs.push(edge);
            }
            vertices.push(JobVertex {
                id: vertex_id,
                name: node.name.clone(),
                parallelism: node.parallelism,
                nodes: vec![id],
                inputs,
                outputs: Vec::new(),
                is_source: matches!(node.operator, Operator::Source(_)),
            });
        }
        Ok(Self { written, vertices })
    }

    /// A vertex.
    pub fn vertex(&self, id: VertexId) -> &JobVertex {
        &self.vertices[id.0 as usize]
    }

    /// An operator.
    pub fn node(&self, id: NodeId) -> &StreamNode {
        &self.written.nodes[id.0]
    }

    /// All subtasks, by vertex and index.
    pub fn subtasks(&self) -> impl Iterator<Item = SubtaskId> + '_ {
        self.vertices.iter().flat_map(|vertex| {
            (0..vertex.parallelism).map(|index| SubtaskId {
                vertex: vertex.id,
                index,
            })
        })
    }

    /// Uids of a vertex's operators, in chain order.
    pub fn operators(&self, id: VertexId) -> Vec<OperatorUid> {
        let nodes = &self.vertex(id).nodes;
        nodes
            .iter()
            .map(|node| self.node(*node).uid.clone())
            .collect()
    }

    /// The subtasks that a subtask sends to, output channel by output channel.
    pub fn receivers(&self, subtask: SubtaskId) -> Vec<(JobEdge, SubtaskId)> {
        let mut lanes = Vec::new();
        for edge in &self.vertex(subtask.vertex).outputs {
            let targets = match edge.exchange {
                Exchange::Forward => subtask.index..subtask.index + 1,
                _ => 0..self.vertex(edge.to).parallelism,
            };
            lanes.extend(targets.map(|index| {
                let vertex = edge.to;
                (*edge, SubtaskId { vertex, index })
            }));
        }
        lanes
    }

    /// The subtasks that a subtask receives from, input channel by input channel.
    pub fn senders(&self, subtask: SubtaskId) -> Vec<(JobEdge, SubtaskId)> {
        let mut channels = Vec::new();
        for edge in &self.vertex(subtask.vertex).inputs {
            let origins = match edge.exchange {
                Exchange::Forward => subtask.index..subtask.index + 1,
                _ => 0..self.vertex(edge.from).parallelism,
            };
            channels.extend(origins.map(|index| {
                let vertex = edge.from;
                (*edge, SubtaskId { vertex, index })
            }));
        }
        channels
    }

    /// Which output channel of `sender` leads over `edge` to `receiver`.
    pub fn lane(&self, sender: SubtaskId, edge: usize, receiver: SubtaskId) -> Option<usize> {
        self.receivers(sender)
            .iter()
            .position(|(out, to)| out.id == edge && *to == receiver)
    }

    /// Stands for everything that state and wiring depend on: uids, edges, parallelism of the key space.
    /// Two processes that run one job must agree on it.
    pub fn fingerprint(&self) -> u64 {
        let shape: Vec<_> = self
            .vertices
            .iter()
            .map(|vertex| {
                let uids: Vec<String> = self
                    .operators(vertex.id)
                    .into_iter()
                    .map(|uid| uid.0)
                    .collect();
                let edges: Vec<(usize, u32, String)> = vertex
                    .inputs
                    .iter()
                    .map(|edge| (edge.input, edge.from.0, edge.exchange.to_string()))
                    .collect();
                (uids, vertex.parallelism, edges)
            })
            .collect();
        key_hash(&(self.written.max_parallelism, shape))
    }
}

/// The operator whose subtask this one can share.
fn chained_to(written: &StreamGraph, node: &StreamNode) -> Option<NodeId> {
    let [edge] = node.inputs.as_slice() else {
        return None;
    };
    let forward = matches!(edge.exchange, Exchange::Auto | Exchange::Forward);
    let equal = written.nodes[edge.from.0].parallelism == node.parallelism;
    (written.chaining && forward && equal).then_some(edge.from)
}
