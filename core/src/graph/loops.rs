//! Loops of a program: which operators stand in one, and which programs with one can't work.
//!
//! A loop's head has edges of two kinds: its `inputs` come from outside, its `feedback` comes round. Everything that walks
//! a program upstream walks inputs, and so comes to an end.

use std::collections::BTreeSet;

use super::chained::JobGraph;
use super::written::{GraphError, NodeId, StreamEdge, StreamGraph, StreamNode};
use crate::ids::{SubtaskId, VertexId};
use crate::job::{CheckpointMode, JobOptions};

/// The operators of a loop: those that records from its head reach, and from which they come round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// Its head.
    pub head: NodeId,
    /// All of it, the head included.
    pub nodes: BTreeSet<NodeId>,
}

impl StreamNode {
    /// One of its edges: inputs come first, then those that come round.
    pub fn edge(&self, input: usize) -> &StreamEdge {
        match input.checked_sub(self.inputs.len()) {
            None => &self.inputs[input],
            Some(place) => &self.feedback[place],
        }
    }
}

impl StreamGraph {
    /// All loops, by their heads.
    pub fn loops(&self) -> Vec<Loop> {
        let heads = (0..self.nodes.len()).map(NodeId);
        let heads = heads.filter(|id| !self.nodes[id.0].feedback.is_empty());
        heads.map(|head| self.loop_of(head)).collect()
    }

    fn loop_of(&self, head: NodeId) -> Loop {
        // Operators stand in the order in which they were written: what is behind the head comes after it.
        let mut behind = BTreeSet::from([head]);
        for id in head.0 + 1..self.nodes.len() {
            if self.nodes[id]
                .inputs
                .iter()
                .any(|edge| behind.contains(&edge.from))
            {
                behind.insert(NodeId(id));
            }
        }
        let feedback = &self.nodes[head.0].feedback;
        let mut before: BTreeSet<NodeId> = feedback.iter().map(|edge| edge.from).collect();
        for id in (0..self.nodes.len()).rev() {
            if before.contains(&NodeId(id)) {
                before.extend(self.nodes[id].inputs.iter().map(|edge| edge.from));
            }
        }
        let mut nodes: BTreeSet<NodeId> = behind.intersection(&before).copied().collect();
        nodes.insert(head);
        Loop { head, nodes }
    }

    /// Refuses loops that can't work.
    pub(super) fn check_loops(&self) -> Result<(), GraphError> {
        let loops = self.loops();
        for own in &loops {
            let head = &self.nodes[own.head.0];
            let iteration = head.name.clone();
            let stranger = |edge: &&StreamEdge| !own.nodes.contains(&edge.from);
            if let Some(stranger) = head.feedback.iter().find(stranger) {
                let from = self.nodes[stranger.from.0].name.clone();
                return Err(GraphError::StrangeFeedback { iteration, from });
            }
            if head.feedback.iter().any(|edge| edge.from == own.head) {
                return Err(GraphError::EmptyLoop { iteration });
            }
            for id in own.nodes.iter().filter(|id| **id != own.head) {
                if !self.nodes[id.0].feedback.is_empty() {
                    let inner = self.nodes[id.0].name.clone();
                    return Err(GraphError::NestedLoop { iteration, inner });
                }
            }
        }
        for node in self.nodes.iter().filter(|node| node.needs_watermarks) {
            if let Some(head) = self.marked_by_loop(node) {
                return Err(GraphError::TimeOfLoop {
                    operator: node.name.clone(),
                    iteration: head.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// The head through which an operator gets its watermarks, if it does: they say nothing of what goes round.
    fn marked_by_loop(&self, node: &StreamNode) -> Option<&StreamNode> {
        let mut seen = BTreeSet::new();
        let mut ways: Vec<NodeId> = node.inputs.iter().map(|edge| edge.from).collect();
        while let Some(id) = ways.pop() {
            let upstream = &self.nodes[id.0];
            if upstream.assigns_watermarks || !seen.insert(id) {
                continue;
            }
            if !upstream.feedback.is_empty() {
                return Some(upstream);
            }
            ways.extend(upstream.inputs.iter().map(|edge| edge.from));
        }
        None
    }
}

impl JobGraph {
    /// Refuses settings that a loop can't follow: its head records what comes round until the barrier does, which must
    /// stay in its place.
    ///
    /// # Errors
    /// One line that names the loop's head and the mend.
    pub fn check_options(&self, options: &JobOptions) -> Result<(), String> {
        let mut heads = self
            .vertices
            .iter()
            .filter(|vertex| self.is_loop_head(vertex.id));
        let Some(head) = heads.next() else {
            return Ok(());
        };
        let given = match (options.unaligned_after, options.checkpoint_mode) {
            (Some(_), _) => "unaligned_after",
            (None, CheckpointMode::AtLeastOnce) => "checkpoint_mode AtLeastOnce",
            (None, CheckpointMode::ExactlyOnce) => return Ok(()),
        };
        Err(format!(
            "operator {} begins a loop, whose barriers keep their place: leave {given} out",
            self.node(head.nodes[0]).uid
        ))
    }

    /// Whether a vertex begins with the head of a loop.
    pub fn is_loop_head(&self, id: VertexId) -> bool {
        !self.node(self.vertex(id).nodes[0]).feedback.is_empty()
    }

    /// By input channel, whether it belongs to the loop that the subtask stands in; none if it stands in none, or at its head.
    pub fn loop_channels(&self, subtask: SubtaskId) -> Option<Vec<bool>> {
        let in_loop: Vec<bool> = self
            .senders(subtask)
            .iter()
            .map(|(edge, _)| edge.in_loop)
            .collect();
        let stands_in_one = !self.is_loop_head(subtask.vertex) && in_loop.contains(&true);
        stands_in_one.then_some(in_loop)
    }

    /// Channels of a subtask that come from outside the loop whose head it is: all, if it is none. They are its first.
    pub fn outside_channels(&self, subtask: SubtaskId) -> Vec<usize> {
        let senders = self.senders(subtask);
        let outside = senders.iter().filter(|(edge, _)| !edge.feedback);
        outside.map(|(edge, _)| edge.input).collect()
    }
}

/// Whether an edge joins two operators of one loop.
pub(super) fn in_loop(loops: &[Loop], from: NodeId, to: NodeId) -> bool {
    let joins = |own: &Loop| own.nodes.contains(&from) && own.nodes.contains(&to);
    loops.iter().any(joins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::picture::{plan, program};

    fn nodes(text: &str) -> Vec<Vec<usize>> {
        let loops = program(text).loops();
        let nodes = loops
            .iter()
            .map(|own| own.nodes.iter().map(|id| id.0).collect());
        nodes.collect()
    }

    #[test]
    fn a_loop_is_what_leads_from_its_head_round_to_it() {
        // Behind `^` stands what comes round.
        assert_eq!(nodes("a:1; b:1 <- a; c:1 <- b"), Vec::<Vec<usize>>::new());
        assert_eq!(nodes("a:1; h:1 <- a ^ c; c:1 <- h; d:1 <- c"), [[1, 2]]);
        // What only comes in, or only goes out, is not of it.
        let with_sides =
            "a:1; x:1; h:2 <- a ^ c; b:2 <- h~hash x~hash; c:2 <- b; out:1 <- b; log:1 <- h";
        assert_eq!(nodes(with_sides), [[2, 3, 4]]);
        let two = "a:1; h:1 <- a ^ b; b:1 <- h; i:1 <- b ^ c; c:1 <- i~hash";
        assert_eq!(nodes(two), [[1, 2], [3, 4]]);
    }

    #[test]
    fn loops_that_cannot_work_are_refused() {
        let refused = |text: &str| match program(text).check() {
            Ok(()) => "fine".to_owned(),
            Err(error) => error.to_string(),
        };
        for (text, expected) in [
            ("a:1; h:1 <- a ^ b; b:1 <- h; c:1 <- b", "fine"),
            (
                "a:1; h:1 <- a ^ a; b:1 <- h",
                "what \"a\" emits is fed back into iteration \"h\", but doesn't come from it: return a stream that is made of \
                 the one that the body is given",
            ),
            (
                "a:1; h:1 <- a ^ h; b:1 <- h",
                "iteration \"h\" feeds all that it gets straight back, so it never ends: put an operator that lets records \
                 go, such as .filter(..), between the two",
            ),
            (
                "a:1; h:1 <- a ^ c; i:1 <- h ^ b; b:1 <- i; c:1 <- b",
                "iteration \"i\" stands inside iteration \"h\": let one loop do both, with an enum of what goes round",
            ),
            (
                "a:1!; h:1 <- a ^ b; b:1 <- h; c:1? <- b~hash",
                "operator \"c\" works in event time, but its watermarks come through iteration \"h\", and what goes round \
                 there may be older than they say: call .assign_watermarks(..) between the two",
            ),
            (
                "a:1!; h:1 <- a ^ b; b:1 <- h; w:1! <- b; c:1? <- w~hash",
                "fine",
            ),
            (
                "a:1; h:2 <- a ^ b~forward; b:1 <- h",
                "\"b\" (1 subtasks) forwards to \"h\" (2): make them equal, or use .rebalance()",
            ),
        ] {
            assert_eq!(refused(text), expected, "{text}");
        }
    }

    #[test]
    fn a_head_begins_a_chain_and_its_last_channels_come_round() {
        let graph = plan("a:2; h:2 <- a ^ c; b:2 <- h; c:2 <- b~hash; d:2 <- c");
        let names: Vec<&str> = graph.vertices.iter().map(|vertex| &*vertex.name).collect();
        assert_eq!(names, ["a", "h -> b", "c -> d"]);
        let subtask = |vertex, index| SubtaskId {
            vertex: VertexId(vertex),
            index,
        };
        assert!(graph.is_loop_head(VertexId(1)) && !graph.is_loop_head(VertexId(2)));
        assert_eq!(graph.outside_channels(subtask(1, 1)), [0]);
        // Forward both: one from outside, one that comes round.
        let senders = graph.senders(subtask(1, 1));
        let senders: Vec<_> = senders
            .iter()
            .map(|(edge, id)| (edge.feedback, id.vertex.0))
            .collect();
        assert_eq!(senders, [(false, 0), (true, 2)]);
        assert_eq!(graph.loop_channels(subtask(2, 0)), Some(vec![true, true]));
        assert_eq!(
            (
                graph.loop_channels(subtask(1, 0)),
                graph.loop_channels(subtask(0, 0))
            ),
            (None, None)
        );
        let lanes: Vec<_> = graph
            .receivers(subtask(2, 0))
            .iter()
            .map(|(edge, id)| (edge.feedback, id.vertex.0))
            .collect();
        assert_eq!(lanes, [(true, 1)]);
        // The whole loop may be one chain, which sends to itself.
        let graph = plan("a:1; h:1 <- a ^ b; b:1 <- h");
        assert_eq!(graph.receivers(subtask(1, 0))[0].1, subtask(1, 0));
        // What comes round is part of what a job is.
        let other = plan("a:1; h:1 <- a ^ b~hash; b:1 <- h");
        assert_ne!(graph.fingerprint(), other.fingerprint());
    }
}
