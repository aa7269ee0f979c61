//! A leader may die at any step: between any two messages, before and after every write to the log.
//!
//! The two machines run against a model of everything around them: TaskManagers with their tasks, splits
//! and barriers, slots, the log, the checkpoint storage, and a network that delivers in any order that it
//! might. Whatever dies, these hold (`world.rs` says where each is checked):
//!
//! - an entry is in the log before anything that follows from it is seen by a task;
//! - no attempt number is used twice, and no subtask has two executions at a time;
//! - no split is with two readers, and at the end each has been read exactly once;
//! - what reports say to be as the log has it is never restarted;
//! - each checkpoint gets one verdict, and a terminal job none but the one it has;
//! - the job ends, without the help of a timeout.

mod leader;
mod plan;
mod tasks;
mod world;

use world::{Chaos, Deaths, World};

/// One region of three subtasks.
const ONE: &[(&str, u32, Option<usize>)] = &[("a", 2, None), ("b", 1, Some(0))];
/// Two regions.
const TWO: &[(&str, u32, Option<usize>)] = &[
    ("a", 2, None),
    ("b", 1, Some(0)),
    ("c", 1, None),
    ("d", 1, Some(2)),
];
/// Two regions that share the splits of one source.
const WIDE: &[(&str, u32, Option<usize>)] = &[("a", 2, None)];

const SHAPES: [&[(&str, u32, Option<usize>)]; 3] = [ONE, TWO, WIDE];

/// Seeds tried per shape. One that fails is printed, and `RIVUS_SEED` tries it alone; `RIVUS_RUNS=50`
/// tries so many times as many.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    match number("RIVUS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count * number("RIVUS_RUNS").unwrap_or(1),
    }
}

fn survive(count: u64, chaos: Chaos) -> Deaths {
    let mut deaths = Deaths::default();
    for shape in SHAPES {
        for seed in seeds(count) {
            let mut world = World::new(shape, seed, chaos);
            world.run_to_the_end();
            deaths += world.deaths;
        }
    }
    deaths
}

#[test]
fn a_job_that_nothing_happens_to_completes() {
    let deaths = survive(100, Chaos::default());
    assert_eq!(deaths, Deaths::default());
}

#[test]
fn a_leader_dies_at_each_logged_step_before_and_after_the_write() {
    for shape in SHAPES {
        for seed in seeds(3) {
            let mut entries = 0;
            loop {
                let mut reached = false;
                for after in [false, true] {
                    let mut world = World::new(shape, seed, Chaos::default());
                    world.leader_dies_at(entries, after);
                    world.run_to_the_end();
                    reached |= world.deaths.leaders > 0;
                }
                if !reached {
                    break;
                }
                entries += 1;
            }
            assert!(entries > 10, "only {entries} entries");
        }
    }
}

#[test]
fn leaders_die_at_random_and_no_task_is_restarted_for_it() {
    let chaos = Chaos {
        leader: 30,
        ..Chaos::default()
    };
    let deaths = survive(300, chaos);
    assert!(deaths.leaders > 1_000, "{deaths:?}");
}

#[test]
fn coordinators_die_at_random() {
    let chaos = Chaos {
        coordinator: 30,
        ..Chaos::default()
    };
    let deaths = survive(300, chaos);
    assert!(deaths.coordinators > 1_000, "{deaths:?}");
}

#[test]
fn everything_dies_at_random() {
    let chaos = Chaos {
        leader: 8,
        coordinator: 5,
        task_manager: 3,
        task: 8,
        decline: 8,
        ..Chaos::default()
    };
    let deaths = survive(700, chaos);
    assert!(deaths.leaders > 700 && deaths.tasks > 700, "{deaths:?}");
    assert!(deaths.task_managers > 250, "{deaths:?}");
}

#[test]
fn a_leader_that_loses_patience_with_a_slow_reporter_still_ends_up_with_one_of_each() {
    let chaos = Chaos {
        leader: 15,
        task: 4,
        impatience: 200,
        ..Chaos::default()
    };
    let deaths = survive(500, chaos);
    assert!(deaths.impatient > 100, "{deaths:?}");
}

#[test]
fn a_cancel_ends_the_job_whatever_dies() {
    let chaos = Chaos {
        leader: 10,
        coordinator: 5,
        task_manager: 3,
        task: 5,
        cancel: 5,
        ..Chaos::default()
    };
    survive(300, chaos);
}
