//! Watermarks that are aligned: which sources are in a group, and what must share a subtask for it.
//!
//! Whoever is ahead is held by not reading its source, so the subtask that reads must be the one that knows the watermark.
//! What stands between a source and aligned watermarks is one chain therefore, even where operators are not chained.

use std::collections::{BTreeMap, BTreeSet};

use super::chained::JobGraph;
use super::written::{Exchange, GraphError, NodeId, StreamGraph, StreamNode};
use crate::drift::{AlignmentGroup, WatermarkAlignment};
use crate::ids::{SubtaskId, VertexId};

impl StreamGraph {
    /// Refuses alignment where it can't work, or isn't the same for all of a group.
    pub(super) fn check_alignment(&self) -> Result<(), GraphError> {
        let mut groups: BTreeMap<&str, (&StreamNode, &WatermarkAlignment)> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(alignment) = &node.alignment else {
                continue;
            };
            if let Err(behind) = self.way_to_source(NodeId(index)) {
                return Err(GraphError::AlignedBehindExchange {
                    operator: node.name.clone(),
                    group: alignment.group.to_string(),
                    behind: behind.name.clone(),
                });
            }
            let (first, other) = *groups.entry(&alignment.group).or_insert((node, alignment));
            if other != alignment {
                return Err(GraphError::UnequalAlignment {
                    group: alignment.group.to_string(),
                    first: first.uid.clone(),
                    second: node.uid.clone(),
                });
            }
        }
        Ok(())
    }

    /// The operators from one back to its source, if nothing crosses on the way; else the one that records cross to.
    fn way_to_source(&self, id: NodeId) -> Result<Vec<NodeId>, &StreamNode> {
        let mut way = vec![id];
        let mut node = &self.nodes[id.0];
        while let Some(first) = node.inputs.first() {
            let from = &self.nodes[first.from.0];
            let forward = matches!(first.exchange, Exchange::Auto | Exchange::Forward);
            if node.inputs.len() > 1 || !forward || from.parallelism != node.parallelism {
                return Err(node);
            }
            way.push(first.from);
            node = from;
        }
        Ok(way)
    }

    /// Operators that share a subtask with the one before them, whatever is said of chaining.
    pub(super) fn kept_together(&self) -> BTreeSet<NodeId> {
        let aligned = (0..self.nodes.len()).map(NodeId);
        let aligned = aligned.filter(|id| self.nodes[id.0].alignment.is_some());
        aligned
            .flat_map(|id| self.way_to_source(id).unwrap_or_default())
            .collect()
    }
}

impl JobGraph {
    /// The groups in which watermarks of a vertex's subtasks are aligned.
    pub fn alignments(&self, id: VertexId) -> Vec<WatermarkAlignment> {
        let nodes = self.vertex(id).nodes.iter().map(|node| self.node(*node));
        let mut alignments: Vec<WatermarkAlignment> = Vec::new();
        for alignment in nodes.filter_map(|node| node.alignment.as_ref()) {
            if !alignments.contains(alignment) {
                alignments.push(alignment.clone());
            }
        }
        alignments
    }

    /// All groups by name, each with its source subtasks.
    pub fn alignment_groups(&self) -> BTreeMap<String, AlignmentGroup> {
        let mut members: BTreeMap<String, (WatermarkAlignment, Vec<SubtaskId>)> = BTreeMap::new();
        for vertex in &self.vertices {
            for alignment in self.alignments(vertex.id) {
                let (_, members) = members
                    .entry(alignment.group.to_string())
                    .or_insert_with(|| (alignment, Vec::new()));
                members.extend((0..vertex.parallelism).map(|index| {
                    let vertex = vertex.id;
                    SubtaskId { vertex, index }
                }));
            }
        }
        let groups = members.into_iter().map(|(name, (alignment, members))| {
            (name, AlignmentGroup::new(alignment.max_drift, members))
        });
        groups.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::graph::picture::program;

    fn aligned(text: &str, nodes: &[(usize, u64)]) -> StreamGraph {
        let mut program = program(text);
        for (node, drift) in nodes {
            program.nodes[*node].alignment = Some(WatermarkAlignment {
                group: "g".into(),
                max_drift: Duration::from_millis(*drift),
                update_interval: Duration::from_secs(1),
            });
        }
        program
    }

    #[test]
    fn alignment_is_refused_where_no_source_could_wait() {
        let refused = |text: &str, nodes: &[(usize, u64)]| {
            let checked = aligned(text, nodes).check();
            checked.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
        };
        let behind = |at: &str| {
            format!(
                "operator \"c\" aligns watermarks in group \"g\", but records cross to \"{at}\" on their way to it, so their \
                 source can't wait: call .assign_watermarks(..) right behind the source, at its parallelism"
            )
        };
        assert_eq!(refused("a:2; b:2 <- a; c:2! <- b", &[(2, 5)]), "fine");
        assert_eq!(
            refused("a:2; b:2 <- a; c:2! <- b.late~forward", &[(2, 5)]),
            "fine"
        );
        assert_eq!(
            refused("a:2; b:2 <- a~rebalance; c:2! <- b", &[(2, 5)]),
            behind("b")
        );
        assert_eq!(refused("a:2; b:2 <- a; c:1! <- b", &[(2, 5)]), behind("c"));
        assert_eq!(refused("a:2; b:2; c:2! <- a b", &[(2, 5)]), behind("c"));
        assert_eq!(
            refused("a:1; b:1! <- a; c:1; d:1! <- c", &[(1, 5), (3, 6)]),
            "watermarks of \"b\" and \"d\" are both aligned in group \"g\", but not in the same way: give both the same \
             drift and update interval, or each a group of its own"
        );
    }

    #[test]
    fn what_stands_between_a_source_and_aligned_watermarks_is_one_chain() {
        let mut program = aligned(
            "a:2; b:2 <- a; c:2! <- b; d:2 <- c; e:1; f:1! <- e",
            &[(2, 5), (5, 5)],
        );
        program.chaining = false;
        let graph = JobGraph::new(program).unwrap();
        let names: Vec<&str> = graph.vertices.iter().map(|vertex| &*vertex.name).collect();
        assert_eq!(names, ["a -> b -> c", "d", "e -> f"]);
        assert_eq!(graph.alignments(VertexId(1)), []);
        assert_eq!(graph.alignments(VertexId(2)).len(), 1);
        // All three subtasks are in the group: a limit comes when all have been heard.
        let mut groups = graph.alignment_groups();
        let group = groups.get_mut("g").unwrap();
        let mut told = Vec::new();
        for (vertex, index) in [(0, 0), (2, 0), (0, 1)] {
            let vertex = VertexId(vertex);
            let subtask = SubtaskId { vertex, index };
            let attempt = crate::ids::AttemptId {
                subtask,
                attempt: 1,
            };
            told.push(group.on_reached(attempt, crate::drift::Reached::Time(7)));
        }
        assert_eq!((&told[0], &told[1]), (&None, &None));
        assert_eq!(
            told[2].as_ref().map(|told| (told.least, told.limits.len())),
            Some((7, 3))
        );
    }
}
