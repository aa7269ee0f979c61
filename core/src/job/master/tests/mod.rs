//! The master's decisions as pictures: `what happens | what is done`, a line each.
//!
//! A vertex is a letter, its subtask `a0`, an attempt `a0#1`; slot i lies in TaskManager `t<i>`. An action
//! `log ..` is an entry on its way; `written` says that the oldest such entry is in the log.

mod ending;
mod failing_over;
mod fold;
mod giving_up;
mod hopeless;
mod job;
mod pictures;
mod rescaling;
mod splits;
mod starting;
mod taking_over;

use std::collections::{BTreeSet, VecDeque};

use uuid::Uuid;

use super::super::options::JobOptions;
use super::super::restart::RestartStrategy;
use super::*;
use crate::graph::picture::plan;
use crate::ids::{LeaderEpoch, OperatorUid, TaskManagerId};
use crate::job::SubtaskSnapshot;
use crate::job::{SnapshotPart, SnapshotRef, StoredFiles};
use crate::source::FoundSplit;
use crate::stage::CheckpointKind;

use self::job::{Job, restart};
use self::pictures::*;

/// One region: two readers, one counter.
const ONE: &str = "a:2; b:1 <- a~hash";
/// Two regions of a reader and a counter each: a, b and c, d.
const TWO: &str = "a:1; b:1 <- a~hash; c:1; d:1 <- c~hash";
/// Two readers that share nothing but their splits: two regions, one source.
const WIDE: &str = "a:2";
