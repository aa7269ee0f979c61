//! Running jobs that get another parallelism, with leaders that die meanwhile. What they commit is known without an engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, Leader, checkpoints};
use crate::processes::{Asked, committed, expected};

/// Subtasks of the job's widest operator.
fn widest(status: &Value) -> usize {
    let tasks = status["tasks"].as_array().expect("a list").iter();
    let vertices = tasks.filter_map(|task| task["task"].as_str()?.split('[').next());
    let mut subtasks = BTreeMap::<&str, usize>::new();
    vertices.for_each(|vertex| *subtasks.entry(vertex).or_default() += 1);
    subtasks.into_values().max().unwrap_or_default()
}

/// Rescales a job, and waits until it runs so and has completed checkpoints.
fn rescale(asked: &Asked, job: &str, parallelism: usize) -> Value {
    let before = checkpoints(&asked.answer(&["status", job]));
    asked.answer(&["rescale", job, "-p", &parallelism.to_string()]);
    asked.wait_for(job, |status| {
        checkpoints(status) > before + 3 && widest(status) == parallelism
    })
}

/// Up and down under load.
fn there_and_back(options: &[&str]) {
    let cluster = Cluster::new();
    let leader = cluster.leader(&[]);
    let _tasks = [(); 2].map(|()| cluster.task_manager("2", options));
    let job = cluster.submit(&leader.asked, 40_000);
    leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > 2);
    rescale(&leader.asked, "clicks", 4);
    let narrow = rescale(&leader.asked, &job, 1);
    assert_eq!(narrow["name"], "clicks", "{narrow}");
    let last = cluster.completed(&leader.asked, &job, 40_000);
    assert_eq!(last["restarts"], 0, "{last}");
    // Two savepoints of its own, of which nothing is left.
    let savepoints = cluster.path("storage").join("savepoints");
    assert_eq!(files_in(&savepoints), 0);
}

fn files_in(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let counts = entries.flatten().map(|entry| match entry.path() {
        path if path.is_dir() => files_in(&path),
        _ => 1,
    });
    counts.sum()
}

#[test]
fn a_job_is_rescaled_up_and_down_and_its_output_is_that_of_the_undisturbed_run() {
    there_and_back(&[]);
}

#[test]
fn a_job_whose_state_is_in_a_store_is_rescaled_as_any() {
    let rows = tempfile::tempdir().expect("a directory");
    let rows = rows.path().display().to_string();
    there_and_back(&["--rocksdb-directory", &rows]);
}

#[test]
fn leaders_that_die_around_a_rescale_leave_it_to_the_next() {
    let cluster = Cluster::new();
    let mut leader = cluster.leader(&[]);
    let _tasks = cluster.task_manager("3", &[]);
    let job = cluster.submit(&leader.asked, 60_000);
    leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > 2);
    for (parallelism, after) in [(3, 10), (1, 60), (2, 150)] {
        let (standby, asked) = cluster.asked_standby(&[]);
        std::thread::scope(|scope| {
            let rescaled = scope.spawn(|| rescale(&asked, &job, parallelism));
            wait(Duration::from_millis(after));
            leader.process.kill();
            rescaled.join().expect("is rescaled");
        });
        leader = Leader::of(standby);
    }
    let last = cluster.completed(&leader.asked, &job, 60_000);
    assert_eq!(last["takeovers"], 3, "{last}");
}

/// Where another process happens to be then is chance; whatever it is, the output is the same.
#[allow(clippy::disallowed_methods)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn a_job_is_not_stopped_for_slots_that_there_are_not_and_waits_for_those_that_join() {
    let cluster = Cluster::new();
    let leader = cluster.leader(&[]);
    let _tasks = cluster.task_manager("2", &[]);
    let job = cluster.submit(&leader.asked, 40_000);
    leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > 1);
    let (said, code) = leader.asked.refusal(&["rescale", "clicks", "-p", "4"]);
    assert!(
        said.contains("the job goes on as it was: at parallelism 4 it needs more slots than the 2 that it can have"),
        "{said}"
    );
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    let status = leader.asked.answer(&["status", &job]);
    let mut tasks = status["tasks"].as_array().expect("a list").iter();
    let is_first = |task: &Value| task["task"].as_str().expect("a name").ends_with("#1");
    assert!(tasks.all(is_first), "{status}");
    let _more = std::thread::scope(|scope| {
        let rescaled = scope.spawn(|| rescale(&leader.asked, &job, 4));
        let more = cluster.task_manager("2", &[]);
        rescaled.join().expect("is rescaled");
        more
    });
    cluster.completed(&leader.asked, &job, 40_000);
}

#[test]
fn a_parallelism_that_can_not_be_is_refused_and_the_job_goes_on() {
    let cluster = Cluster::new();
    let leader = cluster.leader(&[]);
    let _tasks = cluster.task_manager("2", &[]);
    let job = cluster.submit(&leader.asked, 8_000);
    leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > 1);
    let (said, code) = leader.asked.refusal(&["rescale", "clicks", "-p", "129"]);
    assert!(
        said.contains("above the job's max_parallelism 128"),
        "{said}"
    );
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    let (said, code) = leader.asked.refusal(&["rescale", "clicks", "-p", "0"]);
    assert_eq!(code, Some(2), "{said}");
    let last = cluster.completed(&leader.asked, &job, 8_000);
    assert_eq!(last["restarts"], 0, "{last}");
    assert_eq!(committed(&cluster.out()), expected(8_000, 4_000));
}
