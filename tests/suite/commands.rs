//! Commands to any JobManager: the one that leads answers, however often that changes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use crate::cluster::{Cluster, Leader, checkpoints};
use crate::partitions::{Passes, Way};
use crate::processes::{Asked, pause};

/// Says something to an address as a program of one's own would.
fn say(address: &str, request: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// What is answered.
pub(crate) fn answer(address: &str, request: &str) -> io::Result<String> {
    let mut answer = String::new();
    say(address, request)?.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Says something and doesn't wait for the answer.
fn say_and_leave(address: &str, request: &str) {
    let stream = say(address, request).expect("is said");
    stream.shutdown(Shutdown::Both).expect("hangs up");
}

/// A request for a job, as it goes over the wire.
fn submission(cluster: &Cluster, name: &str) -> String {
    let out = cluster.path(name).display().to_string();
    let body = json!({"job": "clicks", "name": name, "args": ["--out", out]}).to_string();
    format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: rivus\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Names of all jobs that are known.
fn names(asked: &Asked) -> Vec<String> {
    let listed = asked.answer(&["list"]);
    let jobs = listed.as_array().expect("a list").iter();
    jobs.map(|job| job["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn a_standby_sends_every_command_on_to_the_leader() {
    let cluster = Cluster::new();
    let leader = cluster.leader(&[]);
    let _tasks = cluster.task_manager("2", &[]);
    let (_standby, asked) = cluster.asked_standby(&[]);
    let job = cluster.submit(&asked, 1_000_000);
    asked.wait_for("clicks", |status| checkpoints(status) > 1);
    let seen = leader.asked.answer(&["status", &job]);
    assert_eq!(seen["name"], "clicks", "{seen}");
    assert_eq!(names(&asked), ["clicks"]);
    assert_eq!(asked.answer(&["jobs"]), leader.asked.answer(&["jobs"]));
    assert_eq!(
        asked.answer(&["dot", "clicks"]),
        leader.asked.answer(&["dot", &job])
    );
    let made = asked.answer(&["savepoint", "create", "clicks"]);
    assert!(made["path"].is_string(), "{made}");
    let unknown = asked.refusal(&["cancel", "nothing"]);
    assert_eq!(unknown.1, Some(1), "{}", unknown.0);
    let canceled = asked.answer(&["cancel", "clicks"]);
    assert_eq!(canceled["id"], job.as_str(), "{canceled}");
    leader
        .asked
        .wait_for(&job, |status| status["status"] == "canceled");

    // A program of one's own follows what HTTP has for that.
    let answer = answer(&asked.address, &submission(&cluster, "other")).expect("is answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let place = format!("location: http://{}/v1/jobs\r\n", leader.asked.address);
    assert!(head.starts_with("HTTP/1.1 307 "), "{head}");
    assert!(format!("{head}\r\n").contains(&place), "{head}");
    let body: Value = serde_json::from_str(body).expect("is JSON");
    let says = format!(
        "this process doesn't lead, the one at {} does",
        leader.asked.address
    );
    assert_eq!(body["error"], says.as_str());
}

#[test]
fn a_command_waits_for_the_next_leader_and_a_savepoint_survives_the_one_that_was_asked() {
    let cluster = Cluster::new();
    let first = cluster.leader(&[]);
    let _tasks = cluster.task_manager("2", &[]);
    let (second, asked) = cluster.asked_standby(&[]);
    let job = cluster.submit(&asked, 24_000);
    asked.wait_for(&job, |status| checkpoints(status) > 1);
    let made = std::thread::scope(|scope| {
        let made = scope.spawn(|| asked.answer(&["savepoint", "create", "clicks"]));
        first.process.kill();
        // Nobody leads at this moment, and the one that is asked stands by.
        assert_eq!(asked.answer(&["status", &job])["name"], "clicks");
        made.join().expect("is made")
    });
    assert!(made["path"].is_string(), "{made}");
    let second = Leader::of(second);
    let last = cluster.completed(&second.asked, &job, 24_000);
    assert_eq!(last["takeovers"], 1, "{last}");
    assert_eq!(last["restarts"], 0, "{last}");
}

#[test]
fn where_no_leader_answers_it_is_said_in_one_line() {
    let cluster = Cluster::new();
    let patient = ["--lease", "60s"];
    let leader = cluster.leader(&patient);
    let (_standby, asked) = cluster.asked_standby(&patient);
    leader.process.signal("-STOP");
    let (said, code) = asked.refusal(&["list", "--command-timeout", "1s"]);
    assert_eq!((code, said.lines().count()), (Some(3), 1), "{said}");
    let says = format!(
        "error: no leader has answered within 1s, by {}: {} has not answered (",
        asked.address, leader.asked.address
    );
    assert!(said.starts_with(&says), "{said}");
    leader.process.signal("-CONT");
    assert_eq!(names(&asked), [""; 0]);
}

#[test]
fn a_command_whose_connection_is_closed_is_not_run_by_a_leader_that_wakes_nor_later() {
    let cluster = Cluster::new();
    let first = cluster.leader(&[]);
    let tasks = cluster.task_manager("3", &[]);
    let (second, asked) = cluster.asked_standby(&[]);
    let job = cluster.submit(&asked, 40_000);
    asked.wait_for(&job, |status| checkpoints(status) > 1);
    say_and_leave(&asked.address, &submission(&cluster, "to a standby"));
    first.process.signal("-STOP");
    say_and_leave(
        &first.asked.address,
        &submission(&cluster, "to one that sleeps"),
    );
    let second = Leader::of(second);
    assert_eq!(names(&second.asked), ["clicks"]);
    first.process.signal("-CONT");
    asked.wait_for(&job, |status| checkpoints(status) > 10);
    assert_eq!(names(&second.asked), ["clicks"]);

    // Who woke leads again, and has nothing left to do that nobody wants.
    second.process.kill();
    first
        .asked
        .wait_for(&job, |status| status["takeovers"] == 2);
    assert_eq!(names(&first.asked), ["clicks"]);
    cluster.completed(&first.asked, &job, 40_000);
    assert_eq!(names(&first.asked), ["clicks"]);
    for never in ["to a standby", "to one that sleeps"] {
        assert!(!cluster.path(never).exists());
    }
    drop(tasks);
}

/// Whoever of two is asked that answers first.
fn either(one: &str, other: &str) -> Asked {
    let address = format!("{one},{other}");
    Asked { address }
}

#[test]
fn a_command_that_is_given_several_addresses_goes_to_the_first_that_answers() {
    let cluster = Cluster::new();
    let leader = cluster.leader(&[]);
    let (standby, standing_by) = cluster.asked_standby(&[]);
    let both = either(&leader.asked.address, &standing_by.address);
    assert_eq!(names(&both), [""; 0]);
    leader.process.kill();
    // The first one is gone, and the second one about to lead.
    assert_eq!(names(&both), [""; 0]);
    standby.kill();
    let (said, code) = both.refusal(&["list"]);
    assert_eq!((code, said.lines().count()), (Some(3), 1), "{said}");
    let says = format!("error: no service answers at {}: start one", both.address);
    assert!(said.starts_with(&says), "{said}");
}

#[test]
fn a_submission_whose_leader_is_stopped_is_asked_of_the_next_and_is_one_job() {
    let cluster = Cluster::new();
    let first = cluster.leader(&[]);
    let (second, standing_by) = cluster.asked_standby(&[]);
    first.process.signal("-STOP");
    let both = either(&first.asked.address, &standing_by.address);
    let out = cluster.path("out").display().to_string();
    let submit = [
        "submit",
        "--command-timeout",
        "2s",
        "clicks",
        "--",
        "--out",
        &out,
    ];
    let submitted = both.answer(&submit);
    let second = Leader::of(second);
    first.process.signal("-CONT");
    // When who woke has learned whom it is to send on to, it has looked at what it had been asked for.
    let listed = first.asked.answer(&["list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed[0]["id"], submitted["id"], "{listed}");
    drop(second);
}

#[test]
fn a_submission_that_was_made_and_not_answered_is_not_made_twice() {
    let (cluster, way) = (Cluster::new(), Way::new());
    let leader = cluster.leader(&[]);
    let (_standby, standing_by) = cluster.asked_standby(&[]);
    way.lead_to(&leader.asked.address);
    // What it says arrives, and what it is answered doesn't.
    way.let_pass(Passes::Calls);
    let both = either(&way.address, &standing_by.address);
    let out = cluster.path("out").display().to_string();
    let submit = [
        "submit",
        "--command-timeout",
        "2s",
        "clicks",
        "--",
        "--out",
        &out,
    ];
    let submitted = std::thread::scope(|scope| {
        let submitted = scope.spawn(|| both.answer(&submit));
        while names(&leader.asked).is_empty() {
            pause();
        }
        submitted.join().expect("is answered")
    });
    let listed = leader.asked.answer(&["list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed[0]["id"], submitted["id"], "{listed}");
}

#[test]
fn a_job_is_known_by_its_name_while_its_leader_collects_reports_and_when_it_has_ended() {
    let cluster = Cluster::new();
    let first = cluster.leader(&[]);
    let tasks = cluster.task_manager("2", &[]);
    let job = cluster.submit(&first.asked, 24_000);
    let running = first.asked.wait_for(&job, |status| checkpoints(status) > 3);
    // Nobody reports any more, so that the next leader waits for as long as it may.
    tasks.kill();
    first.process.kill();
    let second = cluster.leader(&["--collect-timeout", "3s"]);
    let recovering = second.asked.answer(&["status", "clicks"]);
    assert_eq!(recovering["status"], "recovering", "{recovering}");
    assert!(checkpoints(&recovering) >= checkpoints(&running));
    let (drawn, code) = second.asked.refusal(&["dot", "clicks"]);
    assert_eq!(code, Some(0), "{drawn}");
    let _tasks = cluster.task_manager("2", &[]);
    let last = cluster.completed(&second.asked, &job, 24_000);
    let ended = last["ended_at"].as_u64().expect("it has seen it end");
    assert!(ended > 1_767_225_600_000, "{last}");

    second.process.kill();
    let third = cluster.leader(&[]);
    let listed = third.asked.answer(&["list"]);
    assert_eq!(listed[0]["id"], job.as_str(), "{listed}");
    assert_eq!(listed[0]["status"], "completed", "{listed}");
    assert_eq!(listed[0]["checkpoints"], last["checkpoints"], "{listed}");
    assert_eq!(listed[0]["ended_at"], last["ended_at"], "{listed}");
    let redrawn = third.asked.answer(&["dot", "clicks"]);
    let redrawn = redrawn.as_str().expect("a drawing");
    assert!(redrawn.starts_with("digraph"), "{redrawn}");
    let (said, _) = third.asked.refusal(&["cancel", "clicks"]);
    assert!(said.contains("there is no job \"clicks\""), "{said}");
    let over = third.asked.answer(&["cancel", &job]);
    assert_eq!(over["status"], "completed", "{over}");
}
