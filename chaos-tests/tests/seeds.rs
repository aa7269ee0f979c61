//! Two hundred seeds, or as many as `RIVUS_SEEDS` says, or the one of `RIVUS_SEED`.

use rivus::engine::Step;
use rivus_chaos::{Answered, keep_everything, replay_command, run_seeds};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn whatever_a_seed_breaks_the_output_is_right() {
    let seeds = match number("RIVUS_SEED") {
        Some(seed) => {
            keep_everything();
            seed..seed + 1
        }
        None => 0..number("RIVUS_SEEDS").unwrap_or(200),
    };
    let all = seeds.end - seeds.start;
    let summary = run_seeds(seeds, |summary| {
        if summary.seeds.is_multiple_of(50) || summary.seeds == all {
            println!("{summary}");
        }
    });
    let commands = summary
        .failed
        .iter()
        .map(|failed| replay_command(failed.seed));
    let commands: Vec<String> = commands.collect();
    assert!(
        commands.is_empty(),
        "failing seeds:\n{}",
        commands.join("\n")
    );
    // Not a suite that leaves any mechanism alone, or that breaks nothing.
    for cell in Step::ALL {
        let times = summary.passed.get(&cell).copied().unwrap_or_default();
        assert!(
            all < 200 || times >= 20,
            "{cell:?} is passed {times} times only"
        );
    }
    assert!(all == 1 || summary.deadly >= 2 * all, "{summary}");
    assert!(all < 200 || summary.spared >= all / 25, "{summary}");
    assert!(all < 200 || summary.confined >= all / 25, "{summary}");
    assert!(all < 200 || summary.moved_over >= all / 25, "{summary}");
    assert!(all < 200 || summary.changed >= all / 50, "{summary}");
    assert!(all < 200 || summary.begun_again >= all / 50, "{summary}");
    assert!(
        all < 200 || summary.restored_locally >= all / 50,
        "{summary}"
    );
    let Answered {
        times,
        from_disk,
        by_name,
        beside_from_disk,
    } = summary.answered;
    assert!(
        all < 200 || times.min(8 * from_disk) >= 8 * all,
        "{summary}"
    );
    assert!(
        all < 200 || by_name.min(beside_from_disk) >= all,
        "{summary}"
    );
    // What is rare by itself happens over RocksDB, too.
    assert!(
        all < 200 || summary.restarted_on_disk >= all / 20,
        "{summary}"
    );
    assert!(
        all < 200 || summary.confined_on_disk >= all / 200,
        "{summary}"
    );
}
