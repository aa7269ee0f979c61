//! Which of a process's workers runs a subtask.
//!
//! A worker is a thread, and a subtask stays on it, so that what it allocates stays in that thread's heap and its
//! core's caches. Two rules, in the order of the vertices:
//!
//! - A vertex with at least as many subtasks as there are workers is dealt to them in turn, from the first worker on if that
//!   comes out even, so that half of a hash exchange over two workers stays at home; otherwise from where the last
//!   that didn't come out even stopped.
//! - Narrower vertices stand in blocks: of four with one subtask each, two workers get two neighbours each, and one
//!   exchange in the middle crosses. The blocks begin where the dealing stopped.

use std::ops::Range;

use super::chained::JobGraph;
use crate::ids::SubtaskId;

impl JobGraph {
    /// The worker of a subtask, from 0 up to `workers`, which is at least 1.
    ///
    /// ```
    /// use rivus_core::JobGraph;
    ///
    /// /// Subtasks of each worker.
    /// fn shares(graph: &JobGraph, workers: usize) -> Vec<usize> {
    ///     let mut shares = vec![0; workers];
    ///     for subtask in graph.subtasks() {
    ///         shares[graph.worker(subtask, workers)] += 1;
    ///     }
    ///     shares
    /// }
    /// ```
    pub fn worker(&self, subtask: SubtaskId, workers: usize) -> usize {
        let workers = workers.max(1);
        let width = |vertex: usize| self.vertices[vertex].parallelism as usize;
        let is_narrow = |vertex: &usize| width(*vertex) < workers;
        let own = subtask.vertex.0 as usize;
        let index = subtask.index as usize;
        let earlier = 0..own;
        let vertices = 0..self.vertices.len();
        // What evenly dealt vertices add here is nothing.
        let dealt = |vertices: Range<usize>| -> usize {
            vertices
                .filter(|vertex| !is_narrow(vertex))
                .map(width)
                .sum()
        };
        if !is_narrow(&own) {
            let even = width(own).is_multiple_of(workers);
            let start = if even { 0 } else { dealt(earlier) };
            return (start + index) % workers;
        }
        let all: usize = vertices.clone().filter(is_narrow).map(width).sum();
        let before: usize = earlier.filter(is_narrow).map(width).sum();
        (dealt(vertices) + before * workers / all + index) % workers
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::picture::plan;

    #[test]
    fn placements_in_pictures() {
        let table = [
            // Wide vertices that are shared out evenly are dealt alike.
            (2, "a:2!; b:2 <- a~hash; c:2 <- b~rebalance", "01 01 01"),
            (2, "a:4!; b:2 <- a~hash", "0101 01"),
            // What is left over goes to the next in turn.
            (2, "a:3!; b:3 <- a~hash", "010 101"),
            // Narrow ones stand in blocks.
            (
                2,
                "a:1!; b:1 <- a~hash; c:1 <- b~hash; d:1 <- c~hash",
                "0 0 1 1",
            ),
            (2, "a:1!; b:1 <- a~hash", "0 1"),
            (4, "a:2!; b:2 <- a~hash", "01 23"),
            (4, "a:1!; b:4 <- a~hash; c:1 <- b~hash", "0 0123 2"),
            (1, "a:2!; b:1 <- a~hash", "00 0"),
            // Both together come out as even as they can.
            (2, "a:1!; b:3 <- a~hash", "1 010"),
            (4, "a:1!; b:5 <- a~hash", "1 01230"),
            (2, "a:2!; b:3 <- a~hash; c:2 <- b~hash", "01 010 01"),
        ];
        for (workers, program, expected) in table {
            let graph = plan(program);
            let mut picture = String::new();
            for subtask in graph.subtasks() {
                if subtask.index == 0 && subtask.vertex.0 > 0 {
                    picture.push(' ');
                }
                picture.push_str(&graph.worker(subtask, workers).to_string());
            }
            assert_eq!(picture, expected, "{workers} workers, {program}");
        }
    }
}
