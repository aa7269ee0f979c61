//! What a monitoring system asks JobManagers: whether they live, and their figures.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, checkpoints};
use crate::processes::Asked;

fn get(asked: &Asked, path: &str) -> String {
    let answer = ureq::get(format!("http://{}/{path}", asked.address)).call();
    let mut answer = answer.expect("is answered");
    answer.body_mut().read_to_string().expect("is text")
}

/// Figures by name and labels, each line of which has to be one that Prometheus reads.
fn figures(asked: &Asked) -> BTreeMap<String, f64> {
    let (mut figures, mut described) = (BTreeMap::new(), String::new());
    for line in get(asked, "metrics").lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (keyword, rest) = comment.split_once(' ').expect("a keyword");
            let (name, rest) = rest.split_once(' ').expect("a name");
            match keyword {
                "HELP" => described = name.to_owned(),
                "TYPE" => {
                    let counts = name.ends_with("_total");
                    assert_eq!(rest, if counts { "counter" } else { "gauge" }, "{line}");
                    assert_eq!(name, described);
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, figure) = line.rsplit_once(' ').expect("a figure");
        let name = series.split('{').next().expect("a name");
        assert_eq!(name, described, "{line}");
        if let Some(labels) = series.strip_prefix(&format!("{name}{{")) {
            let labels = labels.strip_suffix("\"}").expect("is closed");
            for label in labels.split("\",") {
                let (label, value) = label.split_once("=\"").expect("a label");
                let is_word = |letter: char| letter.is_ascii_lowercase() || letter == '_';
                assert!(label.chars().all(is_word), "{line}");
                assert!(!value.contains(['"', '\\']), "{line}");
            }
        }
        let figure = figure.parse().expect("a number");
        let twice = figures.insert(series.to_owned(), figure);
        assert_eq!(twice, None, "{line}");
    }
    figures
}

#[test]
fn job_managers_say_whether_they_lead_and_the_leader_shows_what_status_does() {
    let cluster = Cluster::new();
    let first = cluster.leader(&[]);
    let leader = &first.asked;
    let _tasks = cluster.task_manager("3", &["--name", "tasks"]);
    let (_standby, standby) = cluster.asked_standby(&[]);
    assert_eq!(get(leader, "healthz"), "ok leader\n");
    assert_eq!(get(&standby, "healthz"), "ok standby\n");
    let stands_by = [("rivus_leader".to_owned(), 0.0)];
    assert_eq!(figures(&standby), BTreeMap::from(stands_by));

    let job = cluster.submit(leader, 1_000_000);
    let before = leader.wait_for(&job, |status| checkpoints(status) > 2);
    let shown = figures(leader);
    let after = leader.answer(&["status", &job]);
    let named = format!(r#"job_name="clicks",job_id="{job}""#);
    assert_eq!(shown["rivus_leader"], 1.0);
    assert_eq!(shown[r#"rivus_slots_free{task_manager="tasks/tm-0"}"#], 1.0);
    let status = format!(r#"rivus_job_status{{{named},status="running"}}"#);
    assert_eq!(shown[&status], 1.0);
    let completed = shown[&format!("rivus_job_checkpoints_total{{{named}}}")];
    let between = [&before, &after].map(|status| checkpoints(status) as f64);
    assert!(
        (between[0]..=between[1]).contains(&completed),
        "{between:?}"
    );
    for task in after["tasks"].as_array().expect("a list") {
        let id = task["task"].as_str().expect("an id"); // v0[1]#1
        let (vertex, rest) = id.split_once('[').expect("a vertex");
        let (subtask, _) = rest.split_once(']').expect("a subtask");
        let of_task = format!(
            r#"{named},vertex="{vertex}",operators={},subtask="{subtask}""#,
            task["name"]
        );
        let out = shown[&format!("rivus_records_out_total{{{of_task}}}")];
        assert!(out <= task["records_out"].as_f64().expect("a number"));
    }
}
