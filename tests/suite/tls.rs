//! JobManagers and TaskManagers that speak TLS, and those who may not.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::certificates::Certificates;
use crate::cluster::Cluster;
use crate::processes::{logged, rivus};

/// Flags for a certificate, and the authority that others' must be signed by.
fn flags(of: &Certificates, name: &str, authority: &Path) -> Vec<String> {
    let file = |kind: &str| of.file(&format!("{name}.{kind}")).display().to_string();
    let certificate = ["--tls-certificate".to_owned(), file("pem")];
    let key = ["--tls-key".to_owned(), file("key")];
    let authority = ["--tls-ca".to_owned(), authority.display().to_string()];
    [certificate, key, authority].concat()
}

fn words(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[test]
fn a_cluster_over_tls_runs_a_job_and_strangers_are_dropped_with_a_line_each() {
    let (ours, theirs) = (Certificates::make(), Certificates::make());
    let authority = ours.file("ca.pem");
    let cluster = Cluster::new();
    let log = |name: &str| cluster.path(&format!("{name}.log"));
    let leader = flags(&ours, "server", &authority);
    let leader = cluster.logging_leader(&words(&leader), &log("leader"));

    // It takes the leader for what it is, and is not of its authority.
    let both = [&ours, &theirs].map(|of| std::fs::read(of.file("ca.pem")).expect("is read"));
    let both_file = cluster.path("both.pem");
    std::fs::write(&both_file, both.concat()).expect("is written");
    let foreign = flags(&theirs, "client", &both_file);
    let (foreign, _) = cluster.logging_task_manager("2", &words(&foreign), &log("foreign"));
    let (plain, _) = cluster.logging_task_manager("2", &[], &log("plain"));
    let silent = Command::new("openssl")
        .args(["s_client", "-connect", &leader.control, "-CAfile"])
        .arg(&authority)
        .stdin(Stdio::null())
        .output();
    silent.expect("openssl is installed");
    let job = cluster.submit(&leader.asked, 8_000);
    for why in [
        "the peer's certificate: it is not signed by the authority in tls.ca",
        "the peer doesn't speak TLS: give all processes tls settings, or none",
        "the peer shows no certificate: give it tls.certificate and tls.key",
    ] {
        let lines = logged(&log("leader"), why);
        assert_eq!(lines.len(), 1, "however often it is tried: {lines:?}");
        assert!(
            lines[0].contains("a peer is dropped peer=127.0.0.1:"),
            "{lines:?}"
        );
    }
    logged(&log("foreign"), "the peer breaks the handshake off");
    logged(
        &log("plain"),
        "the peer speaks TLS, and this process doesn't",
    );
    leader.asked.wait_for(&job, |status| {
        status["reason"] == "needs 2 slots, and there are 0"
    });

    let known = flags(&ours, "client", &authority);
    let start = |name| cluster.logging_task_manager("1", &words(&known), &log(name));
    let (first, second) = (start("first"), start("second"));
    // Records go from one to the other; somebody else may not ask for any.
    let mut stranger = TcpStream::connect(&first.1).expect("connects");
    let _ = stranger.write_all(b"GET / HTTP/1.1\r\n\r\n");
    logged(&log("first"), "the peer doesn't speak TLS");
    let last = cluster.completed(&leader.asked, &job, 8_000);
    assert_eq!(last["restarts"], 0, "{last}");
    drop((foreign, plain, second));
}

#[test]
fn files_that_do_not_go_together_are_refused_by_the_place_of_the_setting() {
    let (ours, theirs) = (Certificates::make(), Certificates::make());
    let authority = ours.file("ca.pem");
    let refusal = |flags: &[String]| {
        let mut command = rivus();
        let refused = command
            .arg("taskmanager")
            .args(flags)
            .output()
            .expect("runs");
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8(refused.stderr).expect("is text");
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    };
    let foreign = refusal(&flags(&theirs, "client", &authority));
    assert!(
        foreign.starts_with("error: --tls-certificate: "),
        "{foreign}"
    );
    assert!(
        foreign.ends_with("it is not signed by the authority in tls.ca\n"),
        "{foreign}"
    );
    let half = refusal(&flags(&ours, "client", &authority)[..2]);
    assert!(
        half.ends_with("client.pem: it needs tls.key beside it: give that too\n"),
        "{half}"
    );
}
