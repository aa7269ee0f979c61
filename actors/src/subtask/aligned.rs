//! A source that waits while its watermark is too far ahead of others'. See [`AlignedTime`].

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rivus_core::{AlignedTime, Control, Failure, Timestamp};

use super::work::{Effect, Then, Turn, Work};
use super::{SubtaskMessage, SubtaskState};
use crate::job_tasks::TaskEvent;

/// Who begins to wait says so after this part of the interval.
const SOON: u32 = 16;

impl SubtaskState {
    /// What the subtask's watermarks are aligned with.
    pub(super) fn aligned_time(&self) -> AlignedTime {
        AlignedTime::new(self.args.graph.alignments(self.args.attempt.subtask.vertex))
    }

    /// Says for the first time how far it is in each of its groups.
    pub(super) fn begin_alignment(&self) {
        let work = self.work.iter();
        for alignment in work.flat_map(|work| work.cx.aligned.alignments()) {
            let group = Arc::clone(&alignment.group);
            let again = true;
            let _ = self.myself.cast(SubtaskMessage::TellTime { group, again });
        }
    }

    /// It has begun to wait: says so soon, or the others could not go on before the interval is over.
    pub(super) fn tell_waiting(&self) {
        let work = self.work.iter();
        for alignment in work.flat_map(|work| work.cx.aligned.alignments()) {
            let message = SubtaskMessage::TellTime {
                group: Arc::clone(&alignment.group),
                again: false,
            };
            let soon = alignment.update_interval / SOON;
            self.args.node.send_later(&self.myself, soon, message);
        }
    }

    /// Says how far it is in a group.
    pub(super) fn tell_time(&mut self, group: Arc<str>, again: bool) -> Result<(), Failure> {
        let aligned = &self.work()?.cx.aligned;
        let of_group = aligned.alignments().find(|own| own.group == group);
        let interval = of_group.map(|alignment| alignment.update_interval);
        if let (Some(reached), Some(interval)) = (aligned.reached(&group), interval) {
            self.tell(TaskEvent::Reached {
                group: Arc::clone(&group),
                reached,
            });
            if again {
                let message = SubtaskMessage::TellTime { group, again };
                self.args.node.send_later(&self.myself, interval, message);
            }
        }
        Ok(())
    }

    /// Takes a group's limit.
    pub(super) fn limit_time(
        &mut self,
        group: &str,
        least: Timestamp,
        limit: Timestamp,
    ) -> Result<(), Failure> {
        let cx = &mut self.work()?.cx;
        cx.aligned.limit(group, least, limit);
        let drift = cx.aligned.drift_ms();
        cx.metrics.drift_ms.store(drift, Relaxed);
        self.step();
        Ok(())
    }
}

impl Work {
    /// Whether the source waits for others. Clocks of idleness stand still while it does.
    pub(super) fn wait_for_others(&mut self) -> Result<Option<Turn>, Failure> {
        let ahead = self.cx.aligned.is_ahead();
        if ahead == self.aligning {
            return Ok(None);
        }
        self.aligning = ahead;
        let control = match ahead {
            true => Control::Waiting,
            false => Control::Assigned,
        };
        if ahead {
            self.effects.push(Effect::TellWaiting);
        }
        self.control(control, Then::Nothing).map(Some)
    }
}
