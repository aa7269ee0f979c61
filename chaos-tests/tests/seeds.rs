//! Two hundred seeds, or as many as `RIVUS_SEEDS` says, or the one of `RIVUS_SEED`.

use rivus_chaos::{replay_command, run_seeds};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn whatever_a_seed_breaks_the_output_is_right() {
    let seeds = match number("RIVUS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RIVUS_SEEDS").unwrap_or(200),
    };
    let failed = run_seeds(seeds);
    let commands: Vec<String> = failed
        .iter()
        .map(|failed| replay_command(failed.seed))
        .collect();
    assert!(
        commands.is_empty(),
        "failing seeds:\n{}",
        commands.join("\n")
    );
}
