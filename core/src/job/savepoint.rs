//! Savepoints: what one says of itself, and how another job goes on from it.
//!
//! A savepoint is a checkpoint that belongs to whoever asked for it. What it says of itself is enough to
//! start any job from it whose operators have the same uids: whatever its parallelism, its chains, its
//! backend. State is found by uid; rows are found by their keys' hashes; what operators keep beside rows is
//! given to all subtasks, and each takes its part.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::entry::{JobOutcome, Manifest, SnapshotPart, StartState, SubtaskSnapshot};
use super::splits::SplitPool;
use crate::graph::{JobGraph, JobVertex};
use crate::ids::{CheckpointId, JobId, OperatorUid, SubtaskId, VertexId};
use crate::in_flight::IN_FLIGHT_STATE;
use crate::key::KeyGroupRange;
use crate::stage::CheckpointKind;

/// What a savepoint says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavepointManifest {
    /// The job that it is of.
    pub job: JobId,
    /// That job's name.
    pub name: String,
    /// The checkpoint that it is.
    pub checkpoint: CheckpointId,
    /// How it came to be.
    pub kind: CheckpointKind,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// The job's vertices, by number.
    pub vertices: Vec<SavedVertex>,
}

/// A vertex of the job of which a savepoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedVertex {
    /// Its operators, in chain order.
    pub operators: Vec<SavedOperator>,
    /// The splits of its source, if it has one: those that it holds are settled, the others free.
    pub splits: Option<SplitPool>,
    /// What its subtasks stored, one after the other. Names begin at the savepoint's folder.
    pub subtasks: Vec<SubtaskSnapshot>,
}

/// An operator of the job of which a savepoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedOperator {
    /// Its stable name.
    pub uid: OperatorUid,
    /// Its name for people.
    pub name: String,
}

/// What a subtask keeps for itself, not for an operator: filed under its first operator's uid and this name. A job may do
/// without it.
pub const CHANNELS_STATE: &str = "rivus.channels";

/// Whether a state is what a subtask keeps of its channels, and no operator's.
pub fn is_of_channels(state: &str) -> bool {
    state == CHANNELS_STATE || state == IN_FLIGHT_STATE
}

impl SavepointManifest {
    /// Describes a checkpoint that has just been stored in a savepoint's folder.
    pub fn describe(
        job: JobId,
        name: &str,
        graph: &JobGraph,
        manifest: &Manifest,
        splits: &BTreeMap<VertexId, SplitPool>,
        folder: &str,
    ) -> Self {
        let vertices = graph.vertices.iter().map(|vertex| SavedVertex {
            operators: vertex
                .nodes
                .iter()
                .map(|node| graph.node(*node))
                .map(|node| SavedOperator {
                    uid: node.uid.clone(),
                    name: node.name.clone(),
                })
                .collect(),
            splits: splits.get(&vertex.id).map(|pool| {
                let of_source = manifest.subtasks.iter();
                let of_source = of_source.filter(|(subtask, _)| subtask.vertex == vertex.id);
                pool.saved(of_source.flat_map(|(_, stored)| &stored.received))
            }),
            subtasks: (0..vertex.parallelism)
                .map(|index| {
                    let vertex = vertex.id;
                    let stored = manifest.subtasks.get(&SubtaskId { vertex, index });
                    let mut stored = stored.cloned().unwrap_or_default();
                    for part in &mut stored.parts {
                        let name = part.snapshot.name.strip_prefix(folder);
                        if let Some(name) = name.and_then(|name| name.strip_prefix('/')) {
                            part.snapshot.name = name.to_owned();
                        }
                    }
                    stored
                })
                .collect(),
        });
        Self {
            job,
            name: name.to_owned(),
            checkpoint: manifest.id,
            kind: manifest.kind,
            max_parallelism: manifest.max_parallelism,
            vertices: vertices.collect(),
        }
    }

    /// Whether the job that it is of ended with it, by what that job's log says of its end: then all output up to it is
    /// visible, and whoever goes on from it has nothing to commit.
    pub fn is_committed(&self, outcome: Option<&JobOutcome>) -> bool {
        let savepoint = self.checkpoint;
        outcome == Some(&JobOutcome::Stopped { savepoint })
    }

    /// All parts of what its subtasks stored.
    pub fn parts(&self) -> impl Iterator<Item = &SnapshotPart> {
        let subtasks = self.vertices.iter().flat_map(|vertex| &vertex.subtasks);
        subtasks.flat_map(|subtask| &subtask.parts)
    }

    /// Uids of all operators that have state in it.
    pub fn stateful(&self) -> BTreeSet<&OperatorUid> {
        self.parts()
            .flat_map(|part| &part.sections)
            .filter(|section| !is_of_channels(&section.state) && section.rows != Some(0))
            .map(|section| &section.operator)
            .collect()
    }

    /// Whether it holds records on their way between subtasks. Rivus writes none such: savepoints are aligned.
    fn is_unaligned(&self) -> bool {
        let mut sections = self.parts().flat_map(|part| &part.sections);
        sections.any(|section| section.state == IN_FLIGHT_STATE)
    }

    /// What a job of the given plan begins with, and the manifest that says where its subtasks' state is. `dropped` are
    /// operators whose state nobody wants, whether the job has such an operator or not; `folder` is where the savepoint lies.
    ///
    /// # Errors
    /// One line that names what doesn't fit, and the mend.
    pub fn start(
        &self,
        graph: &JobGraph,
        dropped: &BTreeSet<OperatorUid>,
        savepoint: &str,
        folder: &str,
    ) -> Result<(StartState, Manifest), String> {
        self.check(graph, dropped)?;
        let mut subtasks = BTreeMap::new();
        let mut splits = BTreeMap::new();
        for vertex in &graph.vertices {
            let uids = graph.operators(vertex.id).into_iter();
            let uids: BTreeSet<OperatorUid> = uids.filter(|uid| !dropped.contains(uid)).collect();
            let saved: Vec<&SavedVertex> = self
                .vertices
                .iter()
                .filter(|saved| {
                    saved
                        .operators
                        .iter()
                        .any(|saved| uids.contains(&saved.uid))
                })
                .collect();
            let head = &graph.node(vertex.nodes[0]).uid;
            // Only the very source knows what its splits are.
            let source = Some(head).filter(|head| vertex.is_source && uids.contains(head));
            let before = saved
                .iter()
                .find(|saved| source == Some(&saved.operators[0].uid));
            if let Some(found) = before.and_then(|before| before.splits.clone()) {
                splits.insert(vertex.id, found);
            }
            for index in 0..vertex.parallelism {
                let subtask = SubtaskId {
                    vertex: vertex.id,
                    index,
                };
                subtasks.insert(
                    subtask,
                    self.begins_with(vertex, index, &uids, &saved, folder),
                );
            }
        }
        let start = StartState {
            savepoint: savepoint.to_owned(),
            checkpoint: self.checkpoint,
            splits,
        };
        let manifest = Manifest {
            id: self.checkpoint,
            kind: CheckpointKind::Checkpoint,
            fingerprint: graph.fingerprint(),
            max_parallelism: self.max_parallelism,
            foreign: true,
            committed: false,
            subtasks,
        };
        Ok((start, manifest))
    }

    fn check(&self, graph: &JobGraph, dropped: &BTreeSet<OperatorUid>) -> Result<(), String> {
        if self.is_unaligned() {
            return Err(
                "the savepoint holds records on their way between subtasks, which only the very job can go on from: \
                 resume that job, and make a savepoint of it"
                    .into(),
            );
        }
        let max_parallelism = graph.written.max_parallelism;
        if max_parallelism != self.max_parallelism {
            return Err(format!(
                "the savepoint has {} key groups and the job {max_parallelism}: build the environment with \
                 .max_parallelism({})",
                self.max_parallelism, self.max_parallelism
            ));
        }
        let uids: BTreeSet<OperatorUid> = graph
            .written
            .nodes
            .iter()
            .map(|node| node.uid.clone())
            .collect();
        let stateful = self.stateful();
        let known = |uid: &OperatorUid| {
            let mut operators = self.vertices.iter().flat_map(|vertex| &vertex.operators);
            operators.any(|operator| operator.uid == *uid)
        };
        if let Some(unknown) = dropped.iter().find(|uid| !known(uid)) {
            return Err(format!(
                ".drop_state_of(\"{unknown}\"): the savepoint has no operator of that uid; it has state of {}",
                listed(&stateful)
            ));
        }
        let left = |uid: &&&OperatorUid| !uids.contains(**uid) && !dropped.contains(**uid);
        match stateful.iter().find(left) {
            Some(left) => Err(format!(
                "the savepoint has state of operator \"{left}\", and the job has no operator of that uid: give the one \
                 that goes on with it .uid(\"{left}\"), or let the state go by .drop_state_of(\"{left}\")"
            )),
            None => Ok(()),
        }
    }

    /// What one subtask begins with: the rows of its key groups, and whatever else its operators had.
    fn begins_with(
        &self,
        vertex: &JobVertex,
        index: u32,
        uids: &BTreeSet<OperatorUid>,
        saved: &[&SavedVertex],
        folder: &str,
    ) -> SubtaskSnapshot {
        let range = |index, of| KeyGroupRange::of(index, of, self.max_parallelism);
        let own = range(index, vertex.parallelism);
        let mut parts = Vec::new();
        for saved in saved {
            let before = saved.subtasks.len() as u32;
            for (place, subtask) in saved.subtasks.iter().enumerate() {
                let theirs = range(place as u32, before);
                let apart = theirs.end <= own.start || own.end <= theirs.start;
                parts.extend(subtask.parts.iter().map(|part| {
                    let mut part = SnapshotPart {
                        head_only: apart,
                        ..part.clone()
                    };
                    part.sections
                        .retain(|section| uids.contains(&section.operator));
                    part.snapshot.name = format!("{folder}/{}", part.snapshot.name);
                    part
                }));
            }
        }
        SubtaskSnapshot {
            parts,
            received: Vec::new(),
        }
    }
}

fn listed(uids: &BTreeSet<&OperatorUid>) -> String {
    match uids.len() {
        0 => "none".to_owned(),
        _ => {
            let quoted: Vec<String> = uids.iter().map(|uid| format!("\"{uid}\"")).collect();
            quoted.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::picture::plan;
    use crate::job::entry::SnapshotRef;
    use crate::snapshot::SectionSummary;
    use crate::source::{EncodedSplit, SplitId};

    /// A savepoint of `a -> out` at parallelism 2, whose source had three splits and had handed out two.
    fn savepoint() -> SavepointManifest {
        let graph = plan("a:2; out:2 <- a");
        let section = |operator: &str| SectionSummary {
            operator: operator.into(),
            state: "state".into(),
            rows: None,
            bytes: 1,
        };
        let vertex = VertexId(0);
        let subtasks = (0..2).map(|index| {
            let part = SnapshotPart {
                sections: vec![section("a"), section("out")],
                ..SnapshotPart::whole(SnapshotRef {
                    name: format!("folder/{index}"),
                    len: 9,
                    crc32c: 0,
                })
            };
            let stored = SubtaskSnapshot {
                parts: vec![part],
                received: vec![SplitId(index)],
            };
            (SubtaskId { vertex, index }, stored)
        });
        let manifest = Manifest {
            id: CheckpointId(7),
            kind: CheckpointKind::Savepoint,
            fingerprint: 0,
            max_parallelism: 128,
            foreign: false,
            committed: false,
            subtasks: subtasks.collect(),
        };
        let split = |id| EncodedSplit {
            id: SplitId(id),
            bytes: Vec::new(),
        };
        let pool = SplitPool::new((0..3).map(split).collect(), false);
        let splits = BTreeMap::from([(vertex, pool)]);
        let job = JobId(uuid::Uuid::nil());
        SavepointManifest::describe(job, "job", &graph, &manifest, &splits, "folder")
    }

    /// The splits that go on, and what the first subtask starts from: files, and splits that are not handed out again.
    fn start(program: &str, dropped: &[&str]) -> String {
        let dropped = dropped.iter().map(|uid| (*uid).into()).collect();
        match savepoint().start(&plan(program), &dropped, "name", "folder") {
            Err(line) => line,
            Ok((start, manifest)) => {
                let first = SubtaskId {
                    vertex: VertexId(0),
                    index: 0,
                };
                let first = &manifest.subtasks[&first];
                let files: Vec<&str> = first.parts.iter().map(|p| &*p.snapshot.name).collect();
                let splits: usize = start.splits.values().map(SplitPool::len).sum();
                let received: usize = start.splits.values().map(|pool| pool.settled()).sum();
                format!("{splits} splits, {received} received, {}", files.join(" "))
            }
        }
    }

    #[test]
    fn splits_go_on_with_their_own_source_only() {
        let goes_on = "3 splits, 2 received, folder/0 folder/1";
        assert_eq!(start("a:2; out:2 <- a", &[]), goes_on);
        assert_eq!(start("a:1; out:1 <- a", &[]), goes_on);
        // Another source, or the same to begin anew, finds its splits itself, and all of them are free.
        let anew = "0 splits, 0 received, folder/0 folder/1";
        assert_eq!(start("b:2; out:2 <- b", &["a"]), anew);
        assert_eq!(start("a:2; out:2 <- a", &["a"]), anew);
    }

    #[test]
    fn records_on_their_way_are_refused() {
        let mut savepoint = savepoint();
        assert!(!savepoint.is_unaligned());
        let section = SectionSummary {
            operator: "a".into(),
            state: IN_FLIGHT_STATE.to_owned(),
            rows: None,
            bytes: 9,
        };
        savepoint.vertices[0].subtasks[0].parts[0]
            .sections
            .push(section);
        let refused = savepoint.start(&plan("a:2; out:2 <- a"), &BTreeSet::new(), "name", "folder");
        let refused = refused.unwrap_err();
        assert!(
            refused.contains("on their way") && !refused.contains('\n'),
            "{refused}"
        );
    }

    #[test]
    fn state_that_nobody_takes_is_refused_unless_it_is_let_go() {
        let refused = start("b:2; out:2 <- b", &[]);
        assert!(refused.contains("state of operator \"a\""), "{refused}");
        let unknown = start("a:2; out:2 <- a", &["c"]);
        assert!(unknown.contains("no operator of that uid"), "{unknown}");
    }

    #[test]
    fn only_what_a_job_ended_with_is_known_to_be_committed() {
        let savepoint = savepoint();
        let stopped = |checkpoint| JobOutcome::Stopped {
            savepoint: CheckpointId(checkpoint),
        };
        for (outcome, committed) in [
            (Some(stopped(7)), true),
            (Some(stopped(8)), false),
            (Some(JobOutcome::Completed), false),
            (Some(JobOutcome::Canceled), false),
            (None, false),
        ] {
            assert_eq!(savepoint.is_committed(outcome.as_ref()), committed);
        }
    }
}
