//! Checkpoints that fail, and jobs for it.

use super::*;

#[test]
fn a_job_fails_when_too_many_checkpoints_in_a_row_do() {
    let failing = |tolerated| {
        let mut coordinator = Coordinator::with(JobOptions {
            tolerable_checkpoint_failures: tolerated,
            ..JobOptions::default()
        });
        coordinator.quietly(&["start a0#1"]);
        coordinator
    };
    failing(Some(1)).play(
        "@10s tick      | log triggered 1
         written        | trigger 1
         decline a0#1 1 | log aborted 1 (slow)
         written        | call off 1
         @20s tick      | log triggered 2
         written        | trigger 2
         ack a0#1 2     | store 2 of a0
         stored 2       | log completed 2
         written        | announce 2
         @30s tick      | log triggered 3
         written        | trigger 3
         decline a0#1 3 | log aborted 3 (slow)
         written        | call off 3
         @40s tick      | log triggered 4
         written        | trigger 4
         decline a0#1 4 | log aborted 4 (slow)
         written        | call off 4; fail job: 2 checkpoints failed in a row, 1 are tolerated; the last: \
                          slow",
    );
    let mut patient = failing(None);
    for checkpoint in 1..20 {
        patient.quietly(&[
            &format!("@{checkpoint}0s tick"),
            "written",
            &format!("decline a0#1 {checkpoint}"),
        ]);
        assert_eq!(patient.happens("written"), format!("call off {checkpoint}"));
    }
}

#[test]
fn a_checkpoint_that_gives_way_to_a_restart_has_not_failed() {
    let mut coordinator = Coordinator::with(JobOptions {
        tolerable_checkpoint_failures: Some(0),
        ..JobOptions::default()
    });
    coordinator.quietly(&["start a0#1"]);
    coordinator.play(
        "@10s tick  | log triggered 1
         written    | trigger 1
         quiesce    | log aborted 1 (tasks are being restarted)
         written    | call off 1; quiesced",
    );
}
