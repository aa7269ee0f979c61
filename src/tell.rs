//! What the author of a program should see while it runs, be it set up for logging or not.

use std::collections::BTreeSet;

use rivus_actors::{JobStatus, JobView};
use rivus_core::{JobGraph, VertexId};
use tracing::Level;

/// A warning: to the program's `tracing` subscriber, or to standard error if the program has none. One that takes no warnings is told none.
pub(crate) fn warn(line: &str) {
    if tracing::enabled!(Level::WARN) {
        tracing::warn!("{line}");
    } else if !tracing::dispatcher::has_been_set() {
        eprintln!("warning: {line}");
    }
}

/// Tells of failures that a job is restarted for. They would be seen in its view only, and a job that can never get on looks like one
/// that takes long.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    seen: u32,
    last: Option<String>,
}

impl Restarts {
    /// The line that is to be told, if the job has been restarted for something else than the last time.
    pub(crate) fn look(&mut self, view: &JobView) -> Option<String> {
        // One that ends is started for what it owes only.
        let goes_on = !matches!(view.status, JobStatus::Ending | JobStatus::Ended(_));
        let is_new = goes_on && view.restarts > self.seen && view.last_failure != self.last;
        self.seen = view.restarts;
        self.last.clone_from(&view.last_failure);
        let failure = view.last_failure.as_ref().filter(|_| is_new)?;
        Some(format!(
            "job {}: tried again after a failure: {failure}",
            view.name
        ))
    }
}

/// Tells of records that come too late and go nowhere: but for a figure in the view nothing would show that they are missing.
#[derive(Debug, Default)]
pub(crate) struct LateRecords(BTreeSet<VertexId>);

impl LateRecords {
    /// The lines that are to be told, one of each vertex of which nobody reads a side output.
    pub(crate) fn look(&mut self, view: &JobView, graph: &JobGraph) -> Vec<String> {
        let has_sides = |vertex: VertexId| {
            let mut vertices = graph.vertices.iter().filter(|known| known.id == vertex);
            vertices
                .any(|vertex| (vertex.nodes.iter()).any(|node| !graph.node(*node).sides.is_empty()))
        };
        let late = view.subtasks.iter().filter(|task| task.figures.late > 0);
        let new = late.filter(|task| {
            let vertex = task.attempt.subtask.vertex;
            !has_sides(vertex) && self.0.insert(vertex)
        });
        let line = |name: &str| {
            format!(
                "job {}: records come too late for \"{name}\" and are in no result (figures.late counts them): give their watermarks \
                 a longer bound, or read them by a late output",
                view.name
            )
        };
        new.map(|task| line(&task.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rivus_actors::SubtaskView;
    use rivus_core::{AttemptId, JobId, SubtaskId, SubtaskMetrics, TaskManagerId};

    use crate::{SideOutputTag, StreamEnvironment, WatermarkStrategy, WindowAssigner};

    /// Windows whose late records somebody reads, or nobody; and their vertex.
    fn windows(late_output: bool) -> (JobGraph, VertexId) {
        let env = StreamEnvironment::default();
        let numbers = env.from_collection(vec![1_i64]);
        let times = WatermarkStrategy::monotonous().with_timestamps(|n: &i64| *n);
        let keyed = numbers.assign_watermarks(times).key_by(|_| ());
        let windows = keyed.window(WindowAssigner::tumbling(std::time::Duration::from_secs(1)));
        if late_output {
            let late = SideOutputTag::new("late");
            let counts = windows.late_output(&late).count();
            counts.side_output(&late).print();
            counts.print_debug();
        } else {
            windows.count().print_debug();
        }
        let graph = env.plan().expect("is a program");
        let last = graph.vertices.iter().rfind(|vertex| !vertex.is_source);
        let last = last.expect("has windows").id;
        (graph, last)
    }

    #[test]
    fn records_that_come_too_late_and_that_nobody_reads_are_told_of_once() {
        let metrics = SubtaskMetrics::default();
        let mut told = LateRecords::default();
        for (late, late_output, lines) in
            [(0, false, 0), (1, true, 0), (1, false, 1), (1, false, 0)]
        {
            let (graph, vertex) = windows(late_output);
            SubtaskMetrics::add(&metrics.late, late);
            let subtask = SubtaskId { vertex, index: 0 };
            let mut view = JobView::new(JobId(uuid::Uuid::nil()), "clicks".to_owned());
            view.subtasks.push(SubtaskView {
                attempt: AttemptId {
                    subtask,
                    attempt: 1,
                },
                name: "count".to_owned(),
                task_manager: TaskManagerId("here".to_owned()),
                is_measured: true,
                figures: metrics.figures(),
            });
            let said = told.look(&view, &graph);
            assert_eq!(said.len(), lines, "{said:?}");
            assert!(said.iter().all(|line| line.starts_with("job clicks: records come too late for \"count\"")));
        }
    }

    #[test]
    fn a_failure_is_told_when_it_is_first_seen_and_again_after_another() {
        let mut view = JobView::new(JobId(uuid::Uuid::nil()), "words".to_owned());
        let mut restarts = Restarts::default();
        let mut told = Vec::new();
        for (count, failure) in [
            (0, None),
            (1, Some("a")),
            (2, Some("a")),
            (3, Some("b")),
            (3, Some("b")),
            (4, Some("a")),
            (5, Some("the end")),
        ] {
            if count == 5 {
                view.status = JobStatus::Ending;
            }
            view.restarts = count;
            view.last_failure = failure.map(str::to_owned);
            told.push(
                restarts
                    .look(&view)
                    .map(|line| line.replace("job words: tried again after a failure: ", "")),
            );
        }
        let told: Vec<&str> = told
            .iter()
            .map(|line| line.as_deref().unwrap_or("-"))
            .collect();
        assert_eq!(told, ["-", "a", "-", "b", "-", "a", "-"]);
    }
}
