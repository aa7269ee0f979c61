//! What an append to a job's log costs on each store, and a renewal in each election.
//!
//!     cargo bench -p rivus-state --bench append
//!
//! Servers are started on this host, so what is seen is their work and the disk's, without a network between. The one that speaks like S3 keeps
//! everything in memory: of that, only the number of requests means something.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rivus_core::JobId;
use rivus_state::{
    Append, Campaign, Candidate, DirectoryElection, Election, Etcd, EtcdElection,
    InProcessElection, JobLog, ObjectStorage,
};
use uuid::Uuid;

#[path = "../tests/suite/certificates.rs"]
mod certificates;
#[path = "../tests/suite/servers.rs"]
mod servers;

const TIMES: u64 = 300;

/// Does something many times, and prints how long the one in the middle took, and the hundredth from the top.
fn measure(name: &str, mut what: impl FnMut(u64)) {
    let mut took: Vec<Duration> = (0..TIMES)
        .map(|time| {
            let began = Instant::now();
            what(time);
            began.elapsed()
        })
        .collect();
    took.sort();
    let [half, most] = [took.len() / 2, took.len() * 99 / 100].map(|at| took[at]);
    println!("{name:32} median {half:>10.2?}   99 % {most:>10.2?}");
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = || Etcd::new(servers::etcd()).unwrap();
    let three = servers::EtcdCluster::start(3);
    let of_three = Etcd::new(three.options("bench")).unwrap();
    let payload = [7; 200];
    for (name, objects) in [
        ("memory", ObjectStorage::in_memory()),
        (
            "a directory",
            ObjectStorage::directory(dir.path().join("log")).unwrap(),
        ),
        ("etcd, one member", ObjectStorage::etcd(&etcd()).unwrap()),
        (
            "etcd, three members",
            ObjectStorage::etcd(&of_three).unwrap(),
        ),
        (
            "S3 (moto)",
            ObjectStorage::s3(&servers::s3("state")).unwrap(),
        ),
    ] {
        let log = JobLog::new(objects);
        let job = JobId(Uuid::from_u128(7));
        measure(&format!("append, {name}"), |slot| {
            let append = log.append(job, slot, u128::from(slot), &payload).unwrap();
            assert_eq!(append, Append::Written);
        });
    }
    let lease = Duration::from_secs(10);
    let elections: [(&str, Arc<dyn Election>); 3] = [
        ("memory", Arc::new(InProcessElection::new(lease))),
        (
            "a directory",
            Arc::new(DirectoryElection::open(dir.path().join("leaders"), lease).unwrap()),
        ),
        (
            "etcd, one member",
            Arc::new(EtcdElection::new(etcd(), lease)),
        ),
    ];
    for (name, election) in elections {
        let candidate = Candidate {
            name: "a".to_owned(),
            address: "a.example:7000".to_owned(),
            commands: "a.example:7878".to_owned(),
        };
        let mut last = 0;
        measure(&format!("campaign, {name}"), |_| {
            match election.campaign(&candidate, Duration::ZERO).unwrap() {
                Campaign::Leading { term } => last = term,
                lost @ Campaign::Following { .. } => panic!("{lost:?}"),
            }
        });
        measure(&format!("renewal, {name}"), |_| {
            let _ = election.renew("a", last, Duration::ZERO).unwrap();
        });
    }
}
