//! The plan: operators chained into vertices, joined by edges that cross subtasks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::loops::in_loop;
use super::written::{Exchange, GraphError, NodeId, Operator, StreamEdge, StreamGraph, StreamNode};
use crate::evolution::Migrations;
use crate::ids::{OperatorUid, SubtaskId, VertexId};
use crate::job::is_of_channels;
use crate::key::key_hash;
use crate::snapshot::WrittenStates;
use crate::task::RouteFactory;

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
    /// Whether it comes round to the head of a loop.
    pub feedback: bool,
    /// Whether both its ends stand in one loop.
    pub in_loop: bool,
}

/// A program, chained.
#[derive(Clone)]
pub struct JobGraph {
    /// The program.
    pub written: StreamGraph,
    /// Vertices; a [`VertexId`] is an index. Inputs come first.
    pub vertices: Vec<JobVertex>,
    /// From forms of state that the program once had to those that it has.
    pub migrations: Migrations,
}

impl JobGraph {
    /// Chains a program, or refuses it.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub fn new(written: StreamGraph) -> Result<Self, GraphError> {
        written.check()?;
        let together = written.kept_together();
        let mut vertices: Vec<JobVertex> = Vec::new();
        let mut vertex_of: BTreeMap<NodeId, VertexId> = BTreeMap::new();
        for (index, node) in written.nodes.iter().enumerate() {
            let id = NodeId(index);
            if let Some(head) = chained_to(&written, node, together.contains(&id)) {
                let vertex = &mut vertices[vertex_of[&head].0 as usize];
                vertex.nodes.push(id);
                vertex.name = format!("{} -> {}", vertex.name, node.name);
                vertex_of.insert(id, vertex.id);
                continue;
            }
            let vertex_id = VertexId(vertices.len() as u32);
            vertex_of.insert(id, vertex_id);
            vertices.push(JobVertex {
                id: vertex_id,
                name: node.name.clone(),
                parallelism: node.parallelism,
                nodes: vec![id],
                inputs: Vec::new(),
                outputs: Vec::new(),
                is_source: matches!(node.operator, Operator::Source(_)),
            });
        }
        join(&written, &mut vertices, &vertex_of);
        Ok(Self {
            written,
            vertices,
            migrations: Migrations::default(),
        })
    }

    /// The same program at another parallelism: that of every operator that has none of its own.
    ///
    /// # Errors
    /// If it can't run so.
    pub fn rescaled(&self, parallelism: u32) -> Result<Self, GraphError> {
        let mut written = self.written.clone();
        for node in written.nodes.iter_mut().filter(|node| node.follows_job) {
            node.parallelism = parallelism;
        }
        Ok(Self {
            migrations: self.migrations.clone(),
            ..Self::new(written)?
        })
    }

    /// Refuses a program whose state has forms that those that were written can't be read as, and functions for types that weren't
    /// written. State of the operators in `dropped` is let go.
    ///
    /// # Errors
    /// One line that names what differs, and the mend.
    pub fn check_states(
        &self,
        written: &WrittenStates,
        dropped: &BTreeSet<OperatorUid>,
    ) -> Result<(), String> {
        self.migrations.check(written)?;
        let nodes = self.written.nodes.iter();
        for node in nodes.filter(|node| !dropped.contains(&node.uid)) {
            let own = node.operator.states();
            let of_node = written
                .iter()
                .filter(|((uid, state), _)| *uid == node.uid && !is_of_channels(state));
            // One that had other states was of another kind, which it says itself when it is built.
            let pairs: Option<Vec<_>> = of_node
                .map(|((_, state), forms)| {
                    let own = own.iter().find(|own| own.name() == state)?;
                    Some((own, forms))
                })
                .collect();
            for (own, forms) in pairs.into_iter().flatten() {
                let mut forms = forms.iter();
                forms.try_for_each(|form| own.check(&node.uid, form, &self.migrations))?;
            }
        }
        Ok(())
    }

    /// A vertex.
    pub fn vertex(&self, id: VertexId) -> &JobVertex {
        &self.vertices[id.0 as usize]
    }

    /// An operator.
    pub fn node(&self, id: NodeId) -> &StreamNode {
        &self.written.nodes[id.0]
    }

    /// The vertex with the most subtasks, the first of several; the job needs a slot for each of them.
    pub fn widest(&self) -> Option<&JobVertex> {
        let vertices = self.vertices.iter().rev();
        vertices.max_by_key(|vertex| vertex.parallelism)
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

    /// Uids of a vertex's operators whose subtasks each start from what all of them wrote.
    pub fn restoring_all(&self, id: VertexId) -> Vec<OperatorUid> {
        let nodes = self.vertex(id).nodes.iter().map(|node| self.node(*node));
        let all = nodes.filter(|node| match &node.operator {
            Operator::Transform(operator) => operator.restores_all(),
            Operator::Source(_) => false,
        });
        all.map(|node| node.uid.clone()).collect()
    }

    /// Uids of a vertex's operators, in chain order.
    pub fn operators(&self, id: VertexId) -> Vec<OperatorUid> {
        let nodes = &self.vertex(id).nodes;
        nodes
            .iter()
            .map(|node| self.node(*node).uid.clone())
            .collect()
    }

    /// The subtasks of the receiving vertex that a sending one reaches over an edge.
    pub(super) fn targets(&self, edge: &JobEdge, index: u32) -> Range<u32> {
        let from = self.vertex(edge.from).parallelism;
        let to = self.vertex(edge.to).parallelism;
        edge.exchange.targets(index, from, to)
    }

    /// The subtasks that a subtask sends to, output channel by output channel.
    pub fn receivers(&self, subtask: SubtaskId) -> Vec<(JobEdge, SubtaskId)> {
        let mut lanes = Vec::new();
        for edge in &self.vertex(subtask.vertex).outputs {
            lanes.extend(self.targets(edge, subtask.index).map(|index| {
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
            let from = self.vertex(edge.from).parallelism;
            let to = self.vertex(edge.to).parallelism;
            let origins = edge.exchange.origins(subtask.index, from, to);
            channels.extend(origins.map(|index| {
                let vertex = edge.from;
                (*edge, SubtaskId { vertex, index })
            }));
        }
        channels
    }

    /// What an edge's records are sent with.
    pub fn route(&self, edge: &JobEdge) -> &Arc<dyn RouteFactory> {
        let written = self.node(edge.node).edge(edge.input);
        match (&written.rebalance, edge.exchange) {
            (Some(rebalance), Exchange::Rebalance) => rebalance,
            _ => &written.route,
        }
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
                let operators: Vec<_> = vertex
                    .nodes
                    .iter()
                    .map(|id| {
                        let node = self.node(*id);
                        let edges = |edges: &[StreamEdge]| -> Vec<_> {
                            let edges = edges.iter();
                            edges
                                .map(|edge| {
                                    let side = edge.side.clone();
                                    (edge.from.0, side, edge.exchange.to_string())
                                })
                                .collect()
                        };
                        let inputs = (edges(&node.inputs), edges(&node.feedback));
                        (id.0, &node.uid.0, inputs)
                    })
                    .collect();
                (vertex.parallelism, operators)
            })
            .collect();
        key_hash(&(self.written.max_parallelism, shape))
    }
}

/// Joins vertices by the edges of their heads. What comes round comes last, among a head's own edges and among all.
fn join(written: &StreamGraph, vertices: &mut [JobVertex], vertex_of: &BTreeMap<NodeId, VertexId>) {
    let loops = written.loops();
    let mut edges = 0;
    for feedback in [false, true] {
        for place in 0..vertices.len() {
            let head = vertices[place].nodes[0];
            let node = &written.nodes[head.0];
            let (first, own) = match feedback {
                false => (0, &node.inputs),
                true => (node.inputs.len(), &node.feedback),
            };
            for (input, edge) in (first..).zip(own) {
                let from = vertex_of[&edge.from];
                let equal = written.nodes[edge.from.0].parallelism == node.parallelism;
                let edge = JobEdge {
                    id: edges,
                    from,
                    to: vertices[place].id,
                    node: head,
                    input,
                    exchange: match edge.exchange {
                        Exchange::Auto if equal => Exchange::Forward,
                        Exchange::Auto => Exchange::Rebalance,
                        exchange => exchange,
                    },
                    feedback,
                    in_loop: in_loop(&loops, edge.from, head),
                };
                edges += 1;
                vertices[from.0 as usize].outputs.push(edge);
                vertices[place].inputs.push(edge);
            }
        }
    }
}

/// The operator whose subtask this one can share.
fn chained_to(written: &StreamGraph, node: &StreamNode, together: bool) -> Option<NodeId> {
    let [edge] = node.inputs.as_slice() else {
        return None;
    };
    if !node.feedback.is_empty() {
        // What comes round needs channels.
        return None;
    }
    let forward = matches!(edge.exchange, Exchange::Auto | Exchange::Forward);
    let equal = written.nodes[edge.from.0].parallelism == node.parallelism;
    ((written.chaining || together) && forward && equal).then_some(edge.from)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::context::SubtaskInfo;
    use crate::graph::ChainBuilder;
    use crate::graph::picture::{plan, program, program_and_routes};
    use crate::ids::AttemptId;
    use crate::snapshot::RestoredState;
    use crate::source::ParallelInstance;

    /// The plan as a picture: `[a -> b]:2 [c]:1<-0~hash`.
    fn picture(graph: &JobGraph) -> String {
        let vertices = graph.vertices.iter().map(|vertex| {
            let inputs: Vec<String> = vertex
                .inputs
                .iter()
                .map(|edge| format!("{}~{}", edge.from.0, edge.exchange))
                .collect();
            let arrow = if inputs.is_empty() { "" } else { "<-" };
            let (name, width) = (&vertex.name, vertex.parallelism);
            format!("[{name}]:{width}{arrow}{}", inputs.join("+"))
        });
        vertices.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_rescaled_plan_leaves_operators_alone_that_have_a_parallelism_of_their_own() {
        let written = plan("a:2; b:2 <- a; c:1= <- b; d:2= <- b~hash");
        let rescaled = |parallelism| written.rescaled(parallelism).unwrap();
        let at_2 = "[a -> b]:2 [c]:1<-0~rebalance [d]:2<-0~hash";
        assert_eq!(picture(&written), at_2);
        assert_eq!(
            picture(&rescaled(3)),
            "[a -> b]:3 [c]:1<-0~rebalance [d]:2<-0~hash"
        );
        assert_eq!(picture(&rescaled(1)), "[a -> b -> c]:1 [d]:2<-0~hash");
        assert_eq!(rescaled(2).fingerprint(), written.fingerprint());
        assert_ne!(rescaled(3).fingerprint(), written.fingerprint());
        let there_and_back = rescaled(3).rescaled(2).unwrap();
        assert_eq!(there_and_back.fingerprint(), written.fingerprint());
        let refused = written.rescaled(129).err().unwrap().to_string();
        assert!(
            refused.contains("above the job's max_parallelism 128"),
            "{refused}"
        );
    }

    #[test]
    fn plans_in_pictures() {
        let table = [
            // Forward and auto edges between equals chain, to any depth.
            ("a:2; b:2 <- a; c:2 <- b~forward", "[a -> b -> c]:2"),
            // Every other exchange crosses.
            ("a:2; b:2 <- a~hash", "[a]:2 [b]:2<-0~hash"),
            ("a:2; b:2 <- a~rebalance", "[a]:2 [b]:2<-0~rebalance"),
            ("a:2; b:2 <- a~broadcast", "[a]:2 [b]:2<-0~broadcast"),
            ("a:2; b:2 <- a~rescale", "[a]:2 [b]:2<-0~rescale"),
            // Auto between unequals is a rebalance.
            ("a:2; b:3 <- a", "[a]:2 [b]:3<-0~rebalance"),
            // A union is a head, whatever its edges; auto between equals is a forward edge then.
            (
                "a:2; b:2; c:2 <- a b",
                "[a]:2 [b]:2 [c]:2<-0~forward+1~forward",
            ),
            (
                "a:2; b:3; c:2 <- a b",
                "[a]:2 [b]:3 [c]:2<-0~forward+1~rebalance",
            ),
            ("a:1; b:1 <- a a", "[a]:1 [b]:1<-0~forward+0~forward"),
            // A chain is a tree: one operator may feed several of its own vertex and of others.
            (
                "a:2; b:2 <- a; c:2 <- a; d:1 <- a",
                "[a -> b -> c]:2 [d]:1<-0~rebalance",
            ),
            // Side outputs are edges like any other.
            (
                "a:2; b:2 <- a.late; c:1 <- a.late~hash",
                "[a -> b]:2 [c]:1<-0~hash",
            ),
            // What is downstream of a crossing begins a chain of its own.
            ("a:2; b:2 <- a~hash; c:2 <- b", "[a]:2 [b -> c]:2<-0~hash"),
        ];
        for (written, expected) in table {
            assert_eq!(picture(&plan(written)), expected, "{written}");
        }
    }

    #[test]
    fn without_chaining_every_operator_is_a_vertex() {
        let mut written = program("a:2; b:2 <- a; c:2 <- b~hash");
        written.chaining = false;
        let expected = "[a]:2 [b]:2<-0~forward [c]:2<-1~hash";
        assert_eq!(picture(&JobGraph::new(written).unwrap()), expected);
    }

    #[test]
    fn only_a_vertex_that_begins_with_a_source_is_one() {
        let graph = plan("a:1; b:1 <- a; c:1 <- b~hash");
        let sources: Vec<bool> = graph.vertices.iter().map(|v| v.is_source).collect();
        assert_eq!(sources, [true, false]);
        assert_eq!(graph.operators(VertexId(0)), ["a".into(), "b".into()]);
    }

    #[test]
    fn the_fingerprint_stands_for_uids_edges_widths_and_key_groups_and_for_nothing_else() {
        let of = |text: &str| plan(text).fingerprint();
        let base = of("a:2; b:2 <- a~hash");
        let others = [
            "x:2; b:2 <- a~hash".replace("a~", "x~"),
            "a:2; b:1 <- a~hash".into(),
            "a:2; b:2 <- a~rebalance".into(),
            "a:2; b:2 <- a~hash a~hash".into(),
            "a:2; b:2 <- a".into(),
            "a:2; b:2 <- a.late~hash".into(),
        ];
        for other in others {
            assert_ne!(of(&other), base, "{other}");
        }
        let mut wider = program("a:2; b:2 <- a~hash");
        wider.max_parallelism = 256;
        assert_ne!(JobGraph::new(wider).unwrap().fingerprint(), base);
        // Inside one chain, too, it matters who reads from whom, and what.
        let tree = of("a:1; b:1 <- a; c:1 <- a");
        assert_ne!(tree, of("a:1; b:1 <- a; c:1 <- b"));
        assert_ne!(tree, of("a:1; b:1 <- a; c:1 <- a.late"));
        assert_ne!(tree, of("a:1; b:1 <- a~forward; c:1 <- a~hash"));
        let mut renamed = program("a:2; b:2 <- a~hash");
        renamed.nodes[0].name = "for people".into();
        assert_eq!(JobGraph::new(renamed).unwrap().fingerprint(), base);
    }

    /// The picture of a random program: inputs always come first, forward only joins equals.
    fn programs() -> impl Strategy<Value = (String, bool)> {
        let input = (any::<prop::sample::Index>(), 0..7_usize, any::<bool>());
        let node = (1..4_u32, prop::collection::vec(input, 0..4));
        (prop::collection::vec(node, 1..9), any::<bool>()).prop_map(|(nodes, chaining)| {
            let mut text = String::new();
            for (index, (width, inputs)) in nodes.iter().enumerate() {
                text.push_str(&format!("n{index}:{width} <-"));
                for (from, exchange, side) in inputs.iter().filter(|_| index > 0) {
                    let from = from.index(index);
                    let side = if *side { ".late" } else { "" };
                    let exchange = match exchange {
                        1 if nodes[from].0 == *width => "forward",
                        2 => "hash",
                        3 => "rebalance",
                        4 => "broadcast",
                        5 => "rescale",
                        6 => "partition_custom",
                        _ => "auto",
                    };
                    text.push_str(&format!(" n{from}{side}~{exchange}"));
                }
                text.push(';');
            }
            (text, chaining)
        })
    }

    proptest! {
        #[test]
        fn every_operator_stands_in_one_chain_behind_the_one_it_reads((text, chaining) in programs()) {
            let mut written = program(&text);
            written.chaining = chaining;
            let graph = JobGraph::new(written).unwrap();
            let mut seen = BTreeSet::new();
            for vertex in &graph.vertices {
                prop_assert!(chaining || vertex.nodes.len() == 1);
                for (place, id) in vertex.nodes.iter().enumerate() {
                    prop_assert!(seen.insert(*id), "{id:?} stands in two chains");
                    let node = graph.node(*id);
                    prop_assert_eq!(node.parallelism, vertex.parallelism);
                    if place > 0 {
                        prop_assert_eq!(node.inputs.len(), 1);
                        let from = node.inputs[0].from;
                        prop_assert!(vertex.nodes[..place].contains(&from));
                    } else {
                        prop_assert_eq!(vertex.inputs.len(), node.inputs.len());
                    }
                }
            }
            prop_assert_eq!(seen.len(), graph.written.nodes.len());
        }

        #[test]
        fn senders_receivers_and_lanes_are_three_views_of_the_same_channels((text, chaining) in programs()) {
            let mut written = program(&text);
            written.chaining = chaining;
            let graph = JobGraph::new(written).unwrap();
            let mut sent = BTreeSet::new();
            for sender in graph.subtasks() {
                for (lane, (edge, receiver)) in graph.receivers(sender).into_iter().enumerate() {
                    prop_assert_ne!(edge.exchange, Exchange::Auto);
                    prop_assert_eq!((edge.from, edge.to), (sender.vertex, receiver.vertex));
                    prop_assert!(sent.insert((edge.id, sender, receiver)), "a channel twice");
                    prop_assert_eq!(graph.lane(sender, edge.id, receiver), Some(lane));
                }
            }
            let mut received = BTreeSet::new();
            for receiver in graph.subtasks() {
                let mut inputs = Vec::new();
                for (edge, sender) in graph.senders(receiver) {
                    prop_assert!(received.insert((edge.id, sender, receiver)), "a channel twice");
                    inputs.push(edge.input);
                }
                prop_assert!(inputs.is_sorted(), "channels stand in the order of the inputs");
            }
            prop_assert_eq!(sent, received);
        }

        #[test]
        fn a_built_chain_writes_to_the_lanes_that_the_plan_says((text, chaining) in programs()) {
            let (mut written, routed) = program_and_routes(&text);
            written.chaining = chaining;
            let graph = JobGraph::new(written).unwrap();
            for subtask in graph.subtasks() {
                let info = info(&graph, subtask);
                let restored = RestoredState::default();
                let builder = ChainBuilder { graph: &graph, info: &info, restored: &restored, stores: None };
                prop_assert!(builder.build().is_ok());
                let mut built = BTreeMap::new();
                for (node, input, rebalance, lanes) in routed.lock().unwrap().drain(..) {
                    for lane in lanes {
                        prop_assert!(built.insert(lane, (node, input, rebalance)).is_none());
                    }
                }
                let planned: BTreeMap<_, _> = graph
                    .receivers(subtask)
                    .into_iter()
                    .map(|(edge, _)| {
                        let auto = graph.node(edge.node).inputs[edge.input].exchange == Exchange::Auto;
                        let rebalance = auto && edge.exchange == Exchange::Rebalance;
                        (edge.node.0, edge.input, rebalance)
                    })
                    .enumerate()
                    .collect();
                prop_assert_eq!(built, planned);
            }
        }
    }

    fn info(graph: &JobGraph, subtask: SubtaskId) -> SubtaskInfo {
        SubtaskInfo {
            job: ParallelInstance::ALONE.job,
            attempt: AttemptId {
                subtask,
                attempt: 1,
            },
            parallelism: graph.vertex(subtask.vertex).parallelism,
            max_parallelism: graph.written.max_parallelism,
            batch_records: 4,
            batch_bytes: 1 << 20,
            loop_bytes: 1 << 20,
            is_distributed: false,
        }
    }
}
