//! What the author of a program should see while it runs, be it set up for logging or not.

use rivus_actors::JobView;
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
        let is_new = view.restarts > self.seen && view.last_failure != self.last;
        self.seen = view.restarts;
        self.last.clone_from(&view.last_failure);
        let failure = view.last_failure.as_ref().filter(|_| is_new)?;
        Some(format!(
            "job {}: tried again after a failure: {failure}",
            view.name
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rivus_core::JobId;

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
        ] {
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
        assert_eq!(told, ["-", "a", "-", "b", "-", "a"]);
    }
}
