//! What leaders are in the midst of, and the steps of it at which they die.

/// What a leader does, as whom it does it by its own account, and the steps of it. Of an entry there is the step before it is written
/// and the one after.
const TABLE: &[(Stage, &str, &[&str], &[&str])] = &[
    (
        Stage::Begins,
        "submitted",
        &[
            "Submit",
            "Renew",
            "StartMaster",
            "Fence",
            "Replay",
            "Decide",
            "Allocate",
            "Deploy",
            "Connect",
            "AssignSplit",
            "Trigger",
            "BetweenTriggers",
            "Acknowledge",
            "StoreManifest",
            "Complete",
            "Announce",
        ],
        &[
            "SplitsFound",
            "SplitsAssigned",
            "Deployed",
            "CheckpointTriggered",
            "CheckpointCompleted",
            "CheckpointCommitted",
        ],
    ),
    (Stage::Discovers, "submitted", &[], &["SplitsDiscovered"]),
    (Stage::Aborts, "submitted", &[], &["CheckpointAborted"]),
    (
        Stage::Rescales,
        "submitted",
        &[],
        &[
            "SavepointRequested",
            "CheckpointTriggered to stop",
            "CheckpointCompleted to stop",
            "Rescaled",
        ],
    ),
    (
        Stage::Rescales,
        "rescaled",
        &[
            "Fence", "Replay", "Decide", "Deploy", "Connect", "Trigger", "Announce",
        ],
        &["Deployed", "CheckpointTriggered", "CheckpointCompleted"],
    ),
    (
        Stage::RescaleRefused,
        "submitted",
        &[],
        &["SavepointRefused"],
    ),
    (Stage::RescaleFails, "submitted", &[], &["RescaleFailed"]),
    (
        Stage::SavepointFails,
        "submitted",
        &[],
        &["SavepointFailed"],
    ),
    (
        Stage::Stops,
        "submitted",
        &["Compact"],
        &[
            "SavepointRequested",
            "CheckpointTriggered to stop",
            "CheckpointCompleted to stop",
            "CheckpointCommitted to stop",
            "Finished",
        ],
    ),
    (
        Stage::Ends,
        "submitted",
        &[],
        &[
            "CheckpointTriggered at last",
            "CheckpointCompleted at last",
            "CheckpointCommitted at last",
            "Finished",
        ],
    ),
    (
        Stage::Cancels,
        "submitted",
        &[],
        &["CancelRequested", "Finished"],
    ),
    (
        Stage::Restarts,
        "submitted",
        &["TaskFailed"],
        &["FailoverStarted"],
    ),
    (
        Stage::Fails,
        "submitted",
        &["TaskFailed"],
        &["FailoverStarted", "JobFailing", "Finished"],
    ),
    (
        Stage::TakesOver,
        "takes over",
        &[
            "Campaign",
            "Renew",
            "Recover",
            "StartMaster",
            "Fence",
            "Register",
            "Replay",
            "Collect",
            "Decide",
        ],
        &["CheckpointTriggered", "CheckpointCompleted"],
    ),
];

/// What somebody asks of a leader, or what comes to pass, at one step of which it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Begins,
    /// Its source finds another file.
    Discovers,
    /// Its checkpoints can't be stored, for a while.
    Aborts,
    Rescales,
    /// There are too few slots for it.
    RescaleRefused,
    /// What the job has stopped with for it is lost.
    RescaleFails,
    /// It can't be stored.
    SavepointFails,
    Stops,
    /// By itself: all has been read.
    Ends,
    Cancels,
    /// By itself: a number is refused, once.
    Restarts,
    /// By itself: it is refused again and again.
    Fails,
    TakesOver,
}

impl Stage {
    /// Whether a job comes to it by itself.
    pub(super) fn is_by_itself(self) -> bool {
        [Self::Begins, Self::Ends, Self::Restarts, Self::Fails].contains(&self)
    }

    /// How many numbers there are: a thousand a second, or what files hold. All jobs but one that ends by itself are stopped, most
    /// of them long before.
    pub(super) fn numbers(self) -> usize {
        match self {
            Self::Ends => 500,
            Self::Discovers => 2_000,
            _ => 1_000_000,
        }
    }

    /// Whether all of them are counted in the end.
    pub(super) fn counts_all(self) -> bool {
        [Self::Ends, Self::Discovers].contains(&self)
    }

    pub(super) fn job(self) -> &'static str {
        match self {
            Self::Fails => "refusing",
            Self::Restarts => "stumbling",
            Self::Discovers => "watching",
            _ => "numbers",
        }
    }

    /// Whether its tasks are restarted, whoever dies.
    pub(super) fn restarts(self) -> bool {
        [Self::Restarts, Self::Fails, Self::RescaleFails].contains(&self)
    }

    /// What the job is in the end.
    pub(super) fn end(self) -> &'static str {
        match self {
            Self::Ends => "completed",
            Self::Cancels => "canceled",
            Self::Fails => "failed",
            _ => "stopped",
        }
    }
}

/// All steps at which somebody dies, as a process says them.
pub(super) fn steps() -> Vec<(Stage, String)> {
    let mut all = Vec::new();
    for (stage, who, steps, entries) in TABLE {
        all.extend(steps.iter().map(|step| (*stage, format!("{who}: {step}"))));
        for entry in *entries {
            all.push((*stage, format!("{who}: BeforeAppend {entry}")));
            all.push((*stage, format!("{who}: AfterAppend {entry}")));
        }
    }
    all
}
