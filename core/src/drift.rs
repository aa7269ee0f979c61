//! Watermark alignment: sources that are ahead of the others of their group wait for them (FLIP-182, FLIP-217).
//!
//! ```text
//!  source subtasks --reached, every update interval--> JobMaster --limit: the least of the others + max drift--> each
//! ```
//!
//! A subtask whose watermark is beyond its limit reads nothing until the limit has risen. The one that is furthest behind may
//! get ahead of the next one by the drift, so somebody always goes on. Idle subtasks and those at their end hold nobody up.
//!
//! The master remembers nothing that it could not learn again within an interval. It announces a limit only when every
//! subtask of the group has been heard since the last one: so a subtask that is being restarted is waited for, and
//! a new leader says nothing before it knows. Until then the limit that was announced last stands; an execution that has
//! heard of none yet reads until it has a watermark.
//!
//! Who begins to wait says so after a part of the interval already, so that sources which are all fast don't get on by one
//! drift an interval only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp};
use crate::ids::{AttemptId, SubtaskId};

/// In which group a source's watermarks are aligned, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkAlignment {
    /// Name of the group.
    pub group: Arc<str>,
    /// How far a watermark may be ahead of the least of the group.
    pub max_drift: Duration,
    /// How often subtasks say how far they are.
    pub update_interval: Duration,
}

/// How far a subtask has got in event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reached {
    /// Its watermark.
    Time(Timestamp),
    /// Nobody should wait for it.
    Idle,
}

/// One group, as its subtasks are known to the job's master.
#[derive(Debug, Clone)]
pub struct AlignmentGroup {
    max_drift: i64,
    members: BTreeMap<SubtaskId, Member>,
}

/// What is known of a subtask's present execution.
#[derive(Debug, Clone, Default)]
struct Member {
    /// Counts the subtask's executions; 0 before the first was heard of.
    attempt: u32,
    /// What it has said since the last announcement.
    heard: Option<Reached>,
    /// The limit that it was told last.
    told: Option<Timestamp>,
}

impl AlignmentGroup {
    /// A group of which nobody has been heard.
    pub fn new(max_drift: Duration, members: impl IntoIterator<Item = SubtaskId>) -> Self {
        let members = members.into_iter();
        Self {
            max_drift: i64::try_from(max_drift.as_millis()).unwrap_or(i64::MAX),
            members: members.map(|id| (id, Member::default())).collect(),
        }
    }

    /// A subtask says how far it is. Returns what is to be announced.
    pub fn on_reached(&mut self, attempt: AttemptId, reached: Reached) -> Option<Announcement> {
        let member = self.members.get_mut(&attempt.subtask)?;
        if attempt.attempt < member.attempt {
            return None;
        }
        if attempt.attempt > member.attempt {
            *member = Member {
                attempt: attempt.attempt,
                ..Member::default()
            };
        }
        member.heard = Some(reached);
        self.announce()
    }

    fn announce(&mut self) -> Option<Announcement> {
        let mut least = (MAX_TIMESTAMP, None);
        let mut second = MAX_TIMESTAMP;
        for (subtask, member) in &self.members {
            if let Reached::Time(time) = member.heard? {
                if time < least.0 {
                    second = least.0;
                    least = (time, Some(*subtask));
                } else {
                    second = second.min(time);
                }
            }
        }
        let mut limits = Vec::new();
        for (subtask, member) in &mut self.members {
            member.heard = None;
            let others = if least.1 == Some(*subtask) {
                second
            } else {
                least.0
            };
            let limit = others.saturating_add(self.max_drift);
            if member.told.replace(limit) != Some(limit) {
                let attempt = AttemptId {
                    subtask: *subtask,
                    attempt: member.attempt,
                };
                limits.push((attempt, limit));
            }
        }
        let least = least.0;
        (!limits.is_empty()).then_some(Announcement { least, limits })
    }
}

/// What a group's subtasks are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The least watermark of the group.
    pub least: Timestamp,
    /// Up to where watermarks may go, of those who don't know it yet.
    pub limits: Vec<(AttemptId, Timestamp)>,
}

/// A subtask's own watermarks that are aligned with others', and how far they may go.
#[derive(Debug, Clone, Default)]
pub struct AlignedTime {
    groups: Vec<OwnTime>,
}

#[derive(Debug, Clone)]
struct OwnTime {
    alignment: WatermarkAlignment,
    reached: Reached,
    /// The group's, when its limit was announced.
    least: Timestamp,
    limit: Timestamp,
}

impl AlignedTime {
    /// One that has reached nothing and has heard of no limit.
    pub fn new(alignments: Vec<WatermarkAlignment>) -> Self {
        let groups = alignments.into_iter().map(|alignment| OwnTime {
            alignment,
            reached: Reached::Time(MIN_TIMESTAMP),
            least: MIN_TIMESTAMP,
            limit: MIN_TIMESTAMP,
        });
        Self {
            groups: groups.collect(),
        }
    }

    /// The groups that it is in.
    pub fn alignments(&self) -> impl Iterator<Item = &WatermarkAlignment> + use<'_> {
        self.groups.iter().map(|own| &own.alignment)
    }

    /// Notes how far its watermark in a group is.
    pub fn reach(&mut self, group: &str, reached: Reached) {
        for own in &mut self.groups {
            if *own.alignment.group == *group {
                own.reached = reached;
            }
        }
    }

    /// How far its watermark in a group is.
    pub fn reached(&self, group: &str) -> Option<Reached> {
        let mut own = self.groups.iter();
        let own = own.find(|own| *own.alignment.group == *group);
        own.map(|own| own.reached)
    }

    /// Takes a group's limit, and the least watermark that it follows from.
    pub fn limit(&mut self, group: &str, least: Timestamp, limit: Timestamp) {
        for own in &mut self.groups {
            if *own.alignment.group == *group {
                own.least = least;
                own.limit = limit;
            }
        }
    }

    /// Whether it is further ahead of others than it may be. Who has ended waits for nobody.
    #[inline]
    pub fn is_ahead(&self) -> bool {
        self.groups.iter().any(|own| match own.reached {
            Reached::Time(MAX_TIMESTAMP) | Reached::Idle => false,
            Reached::Time(time) => time > own.limit,
        })
    }

    /// By how much it is ahead of the least of a group, as that was announced last; of several groups, the most.
    pub fn drift_ms(&self) -> i64 {
        let ahead = self.groups.iter().map(|own| match own.reached {
            Reached::Time(MIN_TIMESTAMP | MAX_TIMESTAMP) | Reached::Idle => 0,
            Reached::Time(_) if matches!(own.least, MIN_TIMESTAMP | MAX_TIMESTAMP) => 0,
            Reached::Time(time) => time.saturating_sub(own.least).max(0),
        });
        ahead.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VertexId;

    fn attempt(index: u32, attempt: u32) -> AttemptId {
        let vertex = VertexId(0);
        let subtask = SubtaskId { vertex, index };
        AttemptId { subtask, attempt }
    }

    fn alignment(group: &str) -> WatermarkAlignment {
        WatermarkAlignment {
            group: group.into(),
            max_drift: Duration::from_millis(10),
            update_interval: Duration::from_secs(1),
        }
    }

    /// Reports `member=time`, `member=i` for idle, `member=$` for the end, `member'=time` of a second attempt. Answers:
    /// who is told which limit.
    fn picture(members: u32, reports: &str) -> String {
        let ids = (0..members).map(|index| attempt(index, 1).subtask);
        let mut group = AlignmentGroup::new(Duration::from_millis(10), ids);
        let mut answers = Vec::new();
        for report in reports.split_whitespace() {
            let (who, what) = report.split_once('=').unwrap();
            let index = who.trim_end_matches('\'').parse().unwrap();
            let reached = match what {
                "i" => Reached::Idle,
                "$" => Reached::Time(MAX_TIMESTAMP),
                time => Reached::Time(time.parse().unwrap()),
            };
            let executions = 1 + who.matches('\'').count() as u32;
            let answer = group.on_reached(attempt(index, executions), reached);
            answers.push(match answer {
                None => "-".to_owned(),
                Some(Announcement { limits, .. }) => {
                    let limits = limits.iter().map(|(to, limit)| match *limit {
                        MAX_TIMESTAMP => format!("{}:max", to.subtask.index),
                        limit => format!("{}:{limit}", to.subtask.index),
                    });
                    limits.collect::<Vec<_>>().join(",")
                }
            });
        }
        answers.join(" ")
    }

    #[test]
    fn limits_in_pictures() {
        for (members, reports, answers) in [
            // Once everybody has been heard: the least of the others, and the drift.
            (2, "0=5 1=7", "- 0:17,1:15"),
            (3, "0=5 1=7 2=9", "- - 0:17,1:15,2:15"),
            (2, "0=5 1=5", "- 0:15,1:15"),
            // The next one needs everybody again; what has not changed is not said again.
            (2, "0=5 1=7 1=8 1=9 0=6", "- 0:17,1:15 - - 0:19,1:16"),
            (2, "0=5 1=7 0=5 1=12", "- 0:17,1:15 - 0:22"),
            // Who is idle, or at its end, holds nobody up. If that is everybody else, there is no limit.
            (3, "0=5 1=i 2=$", "- - 0:max,1:15,2:15"),
            (2, "0=i 1=$", "- 0:max,1:max"),
            (1, "0=5", "0:max"),
            // A restart goes back in time, and the limit with it; only what the new attempt knows counts.
            (2, "0=50 1=70 0'=20 1=75", "- 0:80,1:60 - 0:85,1:30"),
            // The new attempt has to be told what the one before it knew.
            (2, "0=50 1=70 0'=50 1=70", "- 0:80,1:60 - 0:80"),
            // Whatever an attempt that is over had to say comes too late.
            (2, "0=50 1=70 0'=20 0=90 1=75", "- 0:80,1:60 - - 0:85,1:30"),
            // One that is gone is waited for, and so the last limit stands.
            (2, "0=50 1=70 1=71 1=72", "- 0:80,1:60 - -"),
            // Nobody else's business.
            (2, "4=1 0=2", "- -"),
        ] {
            assert_eq!(picture(members, reports), answers, "{reports}");
        }
    }

    #[test]
    fn a_subtask_is_ahead_when_any_of_its_watermarks_is() {
        let mut time = AlignedTime::new(vec![alignment("a"), alignment("b")]);
        time.reach("a", Reached::Time(100));
        time.reach("b", Reached::Time(5));
        assert!(time.is_ahead(), "how far the others are is not known yet");
        time.limit("a", 90, 100);
        time.limit("b", 0, 4);
        assert!(time.is_ahead());
        assert_eq!(time.drift_ms(), 10);
        time.limit("b", 1, 11);
        assert!(!time.is_ahead());
        time.reach("a", Reached::Time(101));
        assert!(time.is_ahead());
        // Who is idle isn't ahead of anybody, and neither is who has ended.
        time.reach("a", Reached::Idle);
        assert!(!time.is_ahead());
        time.reach("a", Reached::Time(MAX_TIMESTAMP));
        assert!(!time.is_ahead());
        assert_eq!(
            (time.reached("b"), time.reached("c")),
            (Some(Reached::Time(5)), None)
        );
    }
}
