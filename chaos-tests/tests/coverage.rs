//! Every kind of actor dies at every step of its protocols, in every way, and nothing is lost.

use rivus::engine::Step;
use rivus_chaos::{
    Directed, FAULTS, Hits, References, add_up, all_directed, effective, keep_everything,
    on_all_cores, table,
};

/// All directed runs, or the one of `RIVUS_CELL`.
fn runs() -> Vec<Directed> {
    let mut runs = all_directed();
    if let Ok(cell) = std::env::var("RIVUS_CELL") {
        keep_everything();
        runs.retain(|run| run.name() == cell);
        assert!(
            !runs.is_empty(),
            "RIVUS_CELL={cell}: there is no such run; one is Subtask/Commit/Kill/10003"
        );
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
    let runs = runs();
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
