//! Every kind of actor dies at every step of its protocols, in every way, and nothing is lost.

use rivus::engine::Step;
use rivus_chaos::{
    Directed, Entry, FAULTS, HitCount, Hits, JobSpec, References, Shape, add_up, all_directed,
    around_entries, effective, keep_everything, on_all_cores, table,
};

/// The run of `RIVUS_CELL`, if one is named, of these; or all.
fn chosen(mut runs: Vec<Directed>) -> Vec<Directed> {
    if let Ok(cell) = std::env::var("RIVUS_CELL") {
        keep_everything();
        let known = |runs: &[Directed]| runs.iter().any(|run| run.name() == cell);
        assert!(
            known(&all_directed()) || known(&around_entries()),
            "RIVUS_CELL={cell}: there is no such run; one is Subtask/Commit/Kill/10003"
        );
        runs.retain(|run| run.name() == cell);
    }
    runs
}

/// Returns whom the faults hit, or what is wrong and how to see it again.
fn run(run: &Directed, references: &References) -> Result<Hits, String> {
    let outcome = references.check(&run.spec, &run.plan);
    outcome.map(|outcome| outcome.hits).map_err(|failed| {
        format!(
            "{}:\n  {}\n{}\nreplay with: {}",
            run.name(),
            failed.violations.join("\n  "),
            failed.story,
            run.replay_command()
        )
    })
}

#[test]
fn every_cell_is_hit_by_every_fault() {
    let references = References::default();
    let runs = chosen(all_directed());
    let all = runs.len() > 1;
    let results = on_all_cores(runs, Directed::replay_command, |each| {
        run(&each, &references)
    });
    let (hits, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let hits = add_up(hits.into_iter().flatten());
    println!("{}", table(&hits));
    let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    let missed: Vec<String> = Step::ALL
        .into_iter()
        .flat_map(|cell| FAULTS.map(|fault| (cell, fault, effective(&hits, cell, fault))))
        .filter(|(_, _, count)| *count < 3)
        .map(|(cell, fault, count)| format!("{fault:?} at {cell:?} was effective {count} times"))
        .collect();
    assert!(
        failed.is_empty(),
        "{} runs fail:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(
        !all || missed.is_empty(),
        "not hit three times:\n{}",
        missed.join("\n")
    );
}

/// Whether the leader died at the entry that a run is about, and the next one went on.
fn is_effective(run: &Directed, hits: &Hits) -> bool {
    let count = hits.get(&(run.cell, run.fault));
    let HitCount {
        before_state,
        recovered,
        ..
    } = count.copied().unwrap_or_default();
    match run.entry.is_some_and(Entry::is_before_state) {
        true => before_state > 0,
        false => recovered > 0,
    }
}

#[test]
fn the_leader_dies_before_and_after_every_kind_of_entry() {
    let references = References::default();
    let results = on_all_cores(chosen(around_entries()), Directed::replay_command, |each| {
        let hits = run(&each, &references)?;
        match is_effective(&each, &hits) {
            true => Ok(()),
            false => Err(format!("{}: no leader died and was followed", each.name())),
        }
    });
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn where_an_entry_is_never_written_no_leader_dies_of_it() {
    let mut runs = around_entries();
    runs.retain(|run| run.entry == Some(Entry::SplitsDiscovered));
    let run = Directed {
        // Its splits are all there from the start.
        spec: JobSpec::directed(Shape::Tumbling, 1),
        ..runs.swap_remove(0)
    };
    let outcome = References::default().check(&run.spec, &run.plan);
    let hits = outcome.expect("nothing is wrong").hits;
    assert!(!is_effective(&run, &hits), "{hits:?}");
}
