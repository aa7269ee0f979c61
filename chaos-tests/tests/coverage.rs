//! Every kind of actor dies at every step of its protocols, in every way, and nothing is lost.

use rivus::engine::Step;
use rivus_chaos::{
    Directed, FAULTS, References, add_up, all_directed, effective, on_all_cores, table,
};

fn name(run: &Directed) -> String {
    let (kind, step) = run.cell;
    format!(
        "{:?} of {kind:?} at {step:?}, seed {}",
        run.fault, run.plan.seed
    )
}

#[test]
fn every_cell_is_hit_by_every_fault() {
    let references = References::default();
    let results = on_all_cores(all_directed(), name, |run| {
        let name = name(&run);
        references
            .check(&run.spec, &run.plan)
            .map(|outcome| outcome.hits)
            .map_err(|failed| {
                format!(
                    "{name}:\n  {}\n{}",
                    failed.violations.join("\n  "),
                    failed.story
                )
            })
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
        missed.is_empty(),
        "not hit three times:\n{}",
        missed.join("\n")
    );
}
