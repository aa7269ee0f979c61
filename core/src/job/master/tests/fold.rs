//! The fold over the log, and regions.

use super::*;

#[test]
fn the_first_verdict_on_a_checkpoint_counts() {
    let (one, two) = (CheckpointId(1), CheckpointId(2));
    let kind = CheckpointKind::Checkpoint;
    let triggered = |id| LogEntry::CheckpointTriggered { id, kind };
    let completed = |id| LogEntry::CheckpointCompleted {
        id,
        kind,
        received: BTreeMap::new(),
    };
    let aborted = |id| LogEntry::CheckpointAborted {
        id,
        reason: "late".into(),
    };
    // (entries, retained, completed in all, in flight)
    type Row = (Vec<LogEntry>, Vec<u64>, u64, Option<u64>);
    let table: [Row; 6] = [
        (vec![triggered(one)], vec![], 0, Some(1)),
        (vec![triggered(one), completed(one)], vec![1], 1, None),
        (
            vec![
                triggered(one),
                completed(one),
                triggered(two),
                completed(two),
            ],
            vec![2],
            2,
            None,
        ),
        // A coordinator that was restarted says again what its predecessor had said.
        (
            vec![triggered(one), completed(one), completed(one)],
            vec![1],
            1,
            None,
        ),
        (
            vec![triggered(one), completed(one), aborted(one)],
            vec![1],
            1,
            None,
        ),
        (
            vec![
                triggered(one),
                aborted(one),
                completed(one),
                triggered(two),
                aborted(one),
            ],
            vec![],
            0,
            Some(2),
        ),
    ];
    for (entries, retained, in_all, in_flight) in table {
        let state = JobState::replay(&entries);
        let completed: Vec<u64> = state.completed.iter().map(|(id, _)| id.0).collect();
        assert_eq!(completed, retained, "{entries:?}");
        assert_eq!(state.completed_in_all, in_all, "{entries:?}");
        assert_eq!(
            state.in_flight.map(|(id, _)| id.0),
            in_flight,
            "{entries:?}"
        );
    }
}

#[test]
fn a_job_that_is_over_keeps_what_others_go_on_from_or_what_may_not_be_visible() {
    let (id, kind) = (CheckpointId(1), CheckpointKind::Checkpoint);
    let running = Job::running(TWO).log;
    let finished = |outcome| vec![LogEntry::Finished { outcome }];
    let entries = |word: &str| match word {
        "runs" => running.clone(),
        "completed" => vec![
            LogEntry::CheckpointTriggered { id, kind },
            LogEntry::CheckpointCompleted {
                id,
                kind,
                received: BTreeMap::new(),
            },
        ],
        "committed" => vec![LogEntry::CheckpointCommitted { id }],
        "failed" => finished(JobOutcome::Failed(Failure::job("a mistake"))),
        "canceled" => finished(JobOutcome::Canceled),
        "done" => finished(JobOutcome::Completed),
        other => panic!("{other}"),
    };
    let table: [(&str, &[u64]); 8] = [
        ("runs completed", &[]),
        ("runs completed done", &[]),
        ("runs completed committed failed", &[1]),
        ("runs completed failed", &[1]),
        ("runs failed", &[]),
        ("runs completed canceled", &[1]),
        ("runs completed committed canceled", &[]),
        // It began with a checkpoint of another one, and has written nothing.
        ("completed canceled", &[]),
    ];
    for (words, expected) in table {
        let log: Vec<LogEntry> = words.split(' ').flat_map(entries).collect();
        let kept = JobState::replay(&log).kept();
        let kept: Vec<u64> = kept.iter().map(|id| id.0).collect();
        assert_eq!(kept, expected, "{words}");
    }
}

#[test]
fn a_state_that_went_through_a_snapshot_is_the_fold_over_the_rest() {
    let mut job = Job::running(TWO);
    job.play(
        "needs a0#1  | log a0#1 gets 0
         written     | give a0#1 0
         failed c0#1 | log failover c0 d0 (boom)
         written     | cancel d0#1; quiesce",
    );
    job.checkpoint(1, &[0]);
    let whole = JobState::replay(&job.log);
    for cut in 0..job.log.len() {
        let (before, after) = job.log.split_at(cut);
        let bytes = crate::codec::encode(&JobState::replay(before)).unwrap();
        let mut state: JobState = crate::codec::decode(&bytes).unwrap();
        after.iter().for_each(|entry| state.apply(entry));
        assert_eq!(state, whole, "cut at {cut}");
    }
}

#[test]
fn regions_are_what_channels_join() {
    let table = [
        ("a:2; b:1 <- a~hash", "a0a1b0"),
        ("a:2", "a0 a1"),
        ("a:2; b:2 <- a", "a0 a1"),
        ("a:2; b:2; c:2 <- a b", "a0b0c0 a1b1c1"),
        ("a:1; b:1 <- a~hash; c:1; d:1 <- c~hash", "a0b0 c0d0"),
        ("a:2; b:2; c:1 <- a b", "a0a1b0b1c0"),
        // Joined only by what comes round.
        (
            "a:2; h:2 <- a ^ c~hash; x:2; c:2 <- h x",
            "a0a1b0b1c0c1d0d1",
        ),
        // Joined far downstream only.
        (
            "a:1; b:1 <- a~hash; c:1; d:1 <- c~hash; e:1 <- b~hash d~hash",
            "a0b0c0d0e0",
        ),
    ];
    for (graph, expected) in table {
        let words: Vec<String> = regions(&plan(graph))
            .iter()
            .map(|region| {
                let names = region
                    .iter()
                    .map(|id| format!("{}{}", letter(id.vertex), id.index));
                names.collect::<String>()
            })
            .collect();
        assert_eq!(words.join(" "), expected, "{graph}");
    }
}
