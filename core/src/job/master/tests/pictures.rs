//! Words for what a test says and what a master does.

use super::*;

pub(super) fn words<const N: usize>(text: &str) -> [&str; N] {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.try_into().expect("so many words")
}

pub(super) fn letter(vertex: VertexId) -> char {
    char::from(b'a' + vertex.0 as u8)
}

pub(super) fn vertex(text: &str) -> VertexId {
    VertexId(u32::from(text.as_bytes()[0] - b'a'))
}

pub(super) fn name(attempt: AttemptId) -> String {
    let SubtaskId { vertex, index } = attempt.subtask;
    format!("{}{index}#{}", letter(vertex), attempt.attempt)
}

pub(super) fn attempt(text: &str) -> AttemptId {
    let (subtask, number) = text.split_once('#').expect("a0#1");
    AttemptId {
        subtask: SubtaskId {
            vertex: vertex(subtask),
            index: subtask[1..].parse().unwrap(),
        },
        attempt: number.parse().unwrap(),
    }
}

pub(super) fn split(id: u32) -> EncodedSplit {
    EncodedSplit {
        id: SplitId(id),
        bytes: Vec::new(),
    }
}

pub(super) fn slot(index: u32) -> Slot {
    Slot {
        task_manager: TaskManagerId(format!("t{index}")),
        incarnation: incarnation(&format!("t{index}")),
        index,
    }
}

pub(super) fn incarnation(text: &str) -> Incarnation {
    Incarnation(Uuid::from_u128(
        text.trim_start_matches('t').parse().unwrap(),
    ))
}

pub(super) fn names(attempts: &[AttemptId]) -> String {
    let names: Vec<String> = attempts.iter().map(|attempt| name(*attempt)).collect();
    names.join(" ")
}

pub(super) fn restore_picture(restore: &Option<CheckpointId>) -> String {
    restore.map_or(String::new(), |id| format!(" @{id}"))
}

pub(super) fn entry_picture(entry: &LogEntry) -> String {
    match entry {
        LogEntry::SplitsFound { source, .. } => format!("splits of {}", letter(*source)),
        LogEntry::SplitsDiscovered {
            source,
            splits,
            last,
        } => {
            let last = if *last { " at last" } else { "" };
            format!("{} more of {}{last}", splits.len(), letter(*source))
        }
        LogEntry::SplitsAssigned { attempt, splits } => {
            format!("{} gets {}", name(*attempt), splits[0].0)
        }
        LogEntry::Deployed {
            attempts, restore, ..
        } => {
            let attempts: Vec<AttemptId> = attempts.iter().map(|(a, _)| *a).collect();
            format!("deployed {}{}", names(&attempts), restore_picture(restore))
        }
        LogEntry::FailoverStarted { region, cause, .. } => {
            let region = region
                .iter()
                .map(|id| format!("{}{}", letter(id.vertex), id.index));
            let region: Vec<String> = region.collect();
            format!("failover {} ({})", region.join(" "), cause.message)
        }
        LogEntry::Rescaled {
            parallelism, start, ..
        } => format!("rescaled to {parallelism} @{}", start.checkpoint),
        LogEntry::RescaleFailed { reason, .. } => format!("not rescaled ({reason})"),
        LogEntry::SavepointRequested { request } => {
            format!("savepoint {}", request.token.as_u128())
        }
        LogEntry::SavepointFailed { token, reason } => {
            format!("no savepoint {} ({reason})", token.as_u128())
        }
        LogEntry::CancelRequested => "cancel".into(),
        LogEntry::JobFailing { cause } => format!("failing ({})", cause.message),
        LogEntry::Finished { outcome } => outcome.to_string(),
        other => format!("{other:?}"),
    }
}

pub(super) fn action_picture(action: &JobAction) -> String {
    match action {
        JobAction::Append(entry) => format!("log {}", entry_picture(entry)),
        JobAction::FindSplits(source) => format!("find {}", letter(*source)),
        JobAction::DiscoverSplits(source) => format!("look {}", letter(*source)),
        JobAction::RequestSlots { count, backend } => match backend {
            None => format!("request {count}"),
            Some(backend) => format!("request {count} with {backend}"),
        },
        JobAction::ReadManifest(id) => format!("read {id}"),
        JobAction::Deploy {
            attempts,
            restore,
            only_commit,
        } => {
            let attempts: Vec<AttemptId> = attempts.iter().map(|(a, _)| *a).collect();
            let to_commit = if *only_commit { " to commit" } else { "" };
            format!(
                "deploy {}{}{to_commit}",
                names(&attempts),
                restore_picture(restore)
            )
        }
        JobAction::Run(attempts) => format!("run {}", names(attempts)),
        JobAction::Cancel(attempts) if attempts.is_empty() => "cancel none".into(),
        JobAction::Cancel(attempts) => format!("cancel {}", names(attempts)),
        JobAction::Finish(attempts) if attempts.is_empty() => "finish none".into(),
        JobAction::Finish(attempts) => format!("finish {}", names(attempts)),
        JobAction::AssignSplits {
            attempt,
            splits,
            no_more,
        } => {
            let mut words: Vec<String> = splits.iter().map(|s| s.id.0.to_string()).collect();
            words.extend(no_more.then(|| "no more".to_owned()));
            if words.is_empty() {
                words.push("nothing yet".to_owned());
            }
            format!("give {} {}", name(*attempt), words.join(","))
        }
        JobAction::SetTimer(JobTimer::Restart { region, .. }, wait) => {
            format!("wake {region} in {wait:?}")
        }
        JobAction::SetTimer(JobTimer::Discover { source }, wait) => {
            format!("look {} in {wait:?}", letter(*source))
        }
        JobAction::SetTimer(JobTimer::Commits, wait) => format!("give commits up in {wait:?}"),
        JobAction::StartCheckpoints { tasks, reports } => {
            let tasks: Vec<AttemptId> = tasks.values().copied().collect();
            let known = reports.len();
            match known {
                0 => format!("checkpoints of {}", names(&tasks)),
                _ => format!("checkpoints of {} ({known} known)", names(&tasks)),
            }
        }
        JobAction::Quiesce => "quiesce".into(),
        JobAction::AllDrained => "all drained".into(),
        JobAction::PrepareRescale(rescaling) => format!(
            "prepare {} from {}",
            rescaling.parallelism, rescaling.savepoint
        ),
        JobAction::BeginAgain => "begin again".into(),
        JobAction::Ended(outcome) => format!("ended {outcome}"),
    }
}
