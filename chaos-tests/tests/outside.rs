//! What comes from outside, and goes there: shapes whose guarantees are those of their connectors.

use std::collections::BTreeSet;
use std::time::Duration;

use rivus::engine::{ActorKind, Step};
use rivus_chaos::{
    Crash, JobSpec, NamedRun, Outcome, Plan, Shape, all_go_well, one_alone, runs, simulate,
};

fn undisturbed(shape: Shape, seed: u64) -> (JobSpec, Outcome) {
    let spec = JobSpec::directed(shape, seed);
    let outcome = simulate(&spec, &Plan::undisturbed()).expect("the job runs");
    assert_eq!(outcome.violations, Vec::<String>::new());
    (spec, outcome)
}

#[test]
fn a_feed_of_either_kind_hands_over_everything_if_nothing_happens() {
    for (seed, is_replayed, is_acknowledged) in
        [(1, true, false), (0, false, false), (3, false, true)]
    {
        let (spec, outcome) = undisturbed(Shape::Fed, seed);
        let kind = (spec.is_replayed(), spec.is_acknowledged());
        assert_eq!(kind, (is_replayed, is_acknowledged));
        let Outcome { committed, .. } = outcome;
        let ids = committed.came.iter().map(|(delivery, id)| {
            assert_eq!(delivery, "1");
            id.parse::<u64>().expect("a number")
        });
        assert!(ids.eq(0..spec.records), "seed {seed}");
        assert_eq!(committed.outside.told.len() as u64, spec.records);
        assert_eq!(committed.outside.lost, 0);
    }
}

#[test]
fn of_a_socket_is_seen_what_was_heard_and_some_is_not_heard() {
    let (spec, outcome) = undisturbed(Shape::Socket, 1);
    let Outcome { committed, .. } = outcome;
    let handed = &committed.outside.handed;
    assert!(handed.len() > 1, "no connection broke");
    let heard = handed.values().map(Vec::len).sum::<usize>();
    assert_eq!(committed.came.len(), heard);
    let heard = heard as u64;
    assert!(heard > spec.records / 2, "only {heard} were heard");
    assert!(
        heard < spec.records,
        "nothing was lost where connections broke"
    );
}

/// Runs seeds of a shape, all of which go well.
fn seeds(shape: Shape, count: u64) -> Vec<(NamedRun, Outcome)> {
    let of_seed = |seed| NamedRun::of_seed(module_path!(), JobSpec::shaped(shape, seed));
    all_go_well((0..count).map(of_seed).collect())
}

/// How many records came again in a later delivery.
fn again(outcome: &Outcome) -> usize {
    let came = &outcome.committed.came;
    let different: BTreeSet<_> = came.iter().map(|(_, id)| id).collect();
    came.len() - different.len()
}

#[test]
fn what_a_checkpoint_covers_that_nobody_heard_of_is_sent_again() {
    // It is in the log, and the process dies before anyone is told.
    let dies_at_the = |passing| Plan {
        latency: Duration::from_millis(3),
        crashes: vec![Crash::Step(
            ActorKind::CheckpointCoordinator,
            Step::Announce,
            passing,
        )],
        ..Plan::undisturbed()
    };
    let passings = (2..10).map(|passing| {
        let spec = JobSpec::directed(Shape::Fed, 1);
        let name = format!("announced/{passing}");
        NamedRun::new(module_path!(), name, spec, dies_at_the(passing))
    });
    for (run, outcome) in all_go_well(passings.collect()) {
        assert_eq!(outcome.committed.outside.handed.len(), 2, "{run}");
        assert!(again(&outcome) > 0, "no client sent anything again: {run}");
    }
}

#[test]
fn whatever_a_seed_breaks_each_connector_keeps_its_word() {
    let fed = seeds(Shape::Fed, runs(48));
    let is_awaited = |spec: &JobSpec| spec.is_acknowledged() && !spec.is_replayed();
    let awaited = fed.iter().filter(|(run, _)| is_awaited(&run.spec));
    assert!(one_alone() || awaited.count() > 4, "few jobs wait");
    let lost = fed.iter().filter(|(_, run)| run.committed.outside.lost > 0);
    assert!(
        one_alone() || lost.count() > 2,
        "feeds that aren't replayed lost nothing"
    );
    let heard = seeds(Shape::Socket, runs(16));
    let lost = heard.iter().filter(|(_, run)| {
        let handed = run.committed.outside.handed.values().map(Vec::len);
        run.committed.came.len() < handed.sum::<usize>()
    });
    assert!(
        one_alone() || lost.count() > 4,
        "failures lost nothing that was heard"
    );
    for (run, outcome) in &heard {
        assert_eq!(again(outcome), 0, "{run}");
    }
    seeds(Shape::Parquet, runs(12));
}
