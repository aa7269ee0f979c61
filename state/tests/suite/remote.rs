//! The promises of logs, checkpoints and elections over real servers: etcd, and one that speaks like S3. And what
//! happens when they are not there.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.
#![allow(clippy::disallowed_methods)] // A server's time is real.

use std::cell::Cell;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rivus_core::{Failure, JobId};
use rivus_state::{
    Append, Campaign, Election, Etcd, EtcdElection, EtcdOptions, JobLog, ObjectStorage, Renewal,
    S3Credentials, S3Options, StorageError,
};
use uuid::Uuid;

use crate::certificates::Certificates;
use crate::contract;
use crate::election::{self, Hall, LONG, SHORT, candidate};
use crate::servers::{self, EtcdCluster, eventually};

fn s3() -> (ObjectStorage, ()) {
    (ObjectStorage::s3(&servers::s3("state")).unwrap(), ())
}

fn etcd() -> (ObjectStorage, ()) {
    let etcd = servers::connected().unwrap();
    (ObjectStorage::etcd(&etcd).unwrap(), ())
}

fn hall(lease: Duration) -> (Hall, ()) {
    let options = servers::etcd();
    let open = || {
        let etcd = Etcd::new(options.clone()).unwrap();
        Arc::new(EtcdElection::new(etcd, lease))
    };
    let hall = Hall {
        one: open(),
        two: open(),
        lease,
        run_out: |election| {
            eventually(|| match election.leader().unwrap() {
                None => Ok(()),
                Some(leader) => Err(leader),
            });
        },
        now: Cell::default(),
    };
    (hall, ())
}

contract::log!(log_in_s3, super::s3);
contract::log!(log_in_etcd, super::etcd);
contract::checkpoints!(checkpoints_in_s3, super::s3);
election::contract!(election_in_etcd, super::hall);

fn job() -> JobId {
    JobId(Uuid::from_u128(7))
}

/// In one line, with all causes.
fn told(error: impl Into<rivus_core::UserError>) -> String {
    let told = Failure::user(&error.into()).message;
    assert!(!told.contains('\n'), "{told}");
    told
}

// S3

#[test]
fn the_probe_refuses_a_bucket_that_does_not_know_conditional_puts() {
    let storage = ObjectStorage::s3(&servers::s3("forgetful")).unwrap();
    let error = JobLog::new(storage).probe(42).unwrap_err();
    assert!(
        matches!(error, StorageError::NotWriteOnce { .. }),
        "{error}"
    );
    assert!(told(error).contains("choose another store"));
}

#[test]
fn a_bucket_that_is_not_there_and_a_server_that_is_not_there_are_named() {
    let storage = ObjectStorage::s3(&servers::s3("nowhere")).unwrap();
    let error = told(JobLog::new(storage).probe(42).unwrap_err());
    assert!(
        error.contains("nowhere") && error.contains("NoSuchBucket"),
        "{error}"
    );

    let credentials = S3Credentials::Given {
        key: "key".to_owned(),
        secret: "secret".to_owned(),
        token: None,
    };
    let options = S3Options::new("state")
        .endpoint("http://127.0.0.1:1")
        .credentials(credentials);
    let storage = ObjectStorage::s3(&options).unwrap();
    let error = told(storage.get("any").unwrap_err());
    assert!(error.contains("http://127.0.0.1:1"), "{error}");
    assert!(!format!("{options:?}").contains("secret"));
}

// etcd

/// Of small values, the objects themselves. As a store of checkpoints it is of no use.
#[test]
fn etcd_keeps_small_objects_like_any_store() {
    contract::what_is_put_can_be_read_listed_replaced_and_deleted(etcd().0);
    contract::of_many_creators_racing_on_threads_exactly_one_wins(etcd().0);
    contract::a_name_that_leads_elsewhere_is_refused(etcd().0);
}

#[test]
fn a_listing_of_several_pages_is_complete() {
    let (storage, ()) = etcd();
    let log = JobLog::new(storage.clone());
    // One page has 4,096 keys.
    std::thread::scope(|scope| {
        for part in 0..10_u128 {
            let log = &log;
            scope.spawn(move || {
                for job in part * 430..(part + 1) * 430 {
                    let _ = log.append(JobId(Uuid::from_u128(job)), 0, 1, b"x").unwrap();
                }
            });
        }
    });
    assert_eq!(storage.list("jobs").unwrap().len(), 4_300);
    assert_eq!(storage.folders("jobs").unwrap().len(), 4_300);
}

#[test]
fn a_value_that_is_too_large_for_etcd_has_room_in_the_other_storage() {
    let (storage, ()) = etcd();
    let payload = vec![7; 1_700_000];
    let refused = JobLog::new(storage.clone()).append(job(), 0, 1, &payload);
    let refused = told(refused.unwrap_err());
    assert!(refused.contains("too large"), "{refused}");
    let beside = ObjectStorage::in_memory();
    let log = JobLog::new(storage).with_large(beside, Etcd::VALUE_BYTES);
    let append = log.append(job(), 0, 1, &payload).unwrap();
    assert_eq!(append, Append::Written);
    assert_eq!(log.read_all(job()).unwrap().entries[0].payload, payload);
    let _ = log
        .append(job(), 1, 1, &payload[..Etcd::VALUE_BYTES])
        .unwrap();
}

#[test]
fn a_lease_in_etcd_lasts_as_long_as_it_is_renewed() {
    let (hall, ()) = hall(SHORT);
    let campaign = hall.one.campaign(&candidate("a"), Duration::ZERO).unwrap();
    assert_eq!(campaign, Campaign::Leading { term: 1 });
    let began = Instant::now();
    while began.elapsed() < 2 * SHORT {
        let renewed = hall.one.renew("a", 1, Duration::ZERO).unwrap();
        assert_eq!(renewed, Renewal::Renewed { until: SHORT });
        let other = hall.two.campaign(&candidate("b"), Duration::ZERO).unwrap();
        assert!(matches!(other, Campaign::Following { .. }));
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_can_not_work_is_refused_with_the_mend() {
    let none: [&str; 0] = [];
    for (options, says) in [
        (EtcdOptions::new(none), "give the members' client URLs"),
        (EtcdOptions::new(["here:2379"]), "write http://here:2379"),
        (EtcdOptions::new(["https://here:2379"]), "give .ca("),
        (EtcdOptions::new(["http://a:1", "https://b:1"]), "choose"),
        (
            EtcdOptions::new(["http://a:1"]).ca("ca.pem"),
            "write https://",
        ),
        (
            EtcdOptions::new(["https://a:1"]).ca("/not/there.pem"),
            "/not/there.pem",
        ),
        (
            EtcdOptions::new(["http://a:1"]).prefix("/x"),
            "has an empty part",
        ),
        (
            EtcdOptions::new(["http://a:1"]).timeout(Duration::ZERO),
            "give more",
        ),
    ] {
        let error = told(Etcd::new(options).unwrap_err());
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn an_etcd_that_is_not_there_is_named_with_the_mend() {
    let options = EtcdOptions::new(["http://127.0.0.1:1", "http://127.0.0.1:2"]);
    let etcd = Etcd::new(options).unwrap();
    let log = JobLog::new(ObjectStorage::etcd(&etcd).unwrap());
    let election = EtcdElection::new(etcd, LONG);
    for error in [
        told(log.probe(42).unwrap_err()),
        told(
            election
                .campaign(&candidate("a"), Duration::ZERO)
                .unwrap_err(),
        ),
    ] {
        assert!(
            error.contains("http://127.0.0.1:1, http://127.0.0.1:2"),
            "{error}"
        );
        assert!(error.contains("start it, or give its endpoints"), "{error}");
    }
}

#[test]
fn etcd_asks_for_name_and_password() {
    let cluster = EtcdCluster::start(1);
    for user in ["root", "rivus"] {
        cluster.ctl(&format!("user add {user}:right"));
        cluster.ctl(&format!("role add {user}"));
        cluster.ctl(&format!("user grant-role {user} {user}"));
    }
    cluster.ctl("role grant-permission rivus --prefix=true readwrite allowed/");
    cluster.ctl("auth enable");
    let probe = |prefix: &str, user: Option<(&str, &str)>| {
        let options = cluster.options(prefix);
        let options = match user {
            Some((name, password)) => options.user(name, password),
            None => options,
        };
        let storage = ObjectStorage::etcd(&Etcd::new(options).unwrap()).unwrap();
        JobLog::new(storage).probe(42).map_err(told)
    };
    assert_eq!(probe("allowed", Some(("rivus", "right"))), Ok(()));
    for (prefix, user) in [
        ("allowed", Some(("rivus", "wrong"))),
        ("forbidden", Some(("rivus", "right"))),
        ("allowed", None),
    ] {
        let error = probe(prefix, user).unwrap_err();
        assert!(
            error.contains("check the name, the password and the role"),
            "{error}"
        );
    }
}

#[test]
fn etcd_over_tls_wants_certificates_on_both_sides() {
    let cluster = EtcdCluster::start_secure(Certificates::make());
    let probe = |options: EtcdOptions| {
        let storage = ObjectStorage::etcd(&Etcd::new(options).unwrap()).unwrap();
        JobLog::new(storage).probe(42).map_err(told)
    };
    assert_eq!(probe(cluster.options("secure")), Ok(()));
    // Without a certificate of ours; and with an authority that has signed nothing.
    let bare = || EtcdOptions::new(cluster.endpoints());
    let stranger = Certificates::make();
    for options in [
        bare().ca(cluster.certificates().file("ca.pem")),
        cluster.options("secure").ca(stranger.file("ca.pem")),
    ] {
        let error = probe(options).unwrap_err();
        assert!(error.contains(&cluster.endpoints()[0]), "{error}");
    }
}

#[test]
fn without_a_quorum_nothing_is_written_and_afterwards_nothing_is_lost_or_twice() {
    let mut cluster = EtcdCluster::start(3);
    let options = cluster.options("quorum").timeout(Duration::from_secs(2));
    let etcd = Etcd::new(options).unwrap();
    let log = JobLog::new(ObjectStorage::etcd(&etcd).unwrap());
    let election = EtcdElection::new(etcd, LONG);
    let append = |index: u64| log.append(job(), index, u128::from(index), b"entry");
    let campaign = election.campaign(&candidate("a"), Duration::ZERO).unwrap();
    assert_eq!(campaign, Campaign::Leading { term: 1 });
    assert_eq!(append(0).unwrap(), Append::Written);

    // The one that was asked so far: the others go on, and so do we.
    cluster.kill(0);
    assert_eq!(eventually(|| append(1)), Append::Written);

    cluster.kill(1);
    let no_quorum = |result: Result<(), String>| match result {
        Err(error) if error.contains("has no quorum: start the members that are missing") => Ok(()),
        other => Err(other),
    };
    eventually(|| no_quorum(append(2).map(drop).map_err(told)));
    eventually(|| {
        no_quorum(
            election
                .renew("a", 1, Duration::ZERO)
                .map(drop)
                .map_err(told),
        )
    });

    cluster.restart(0);
    // The same entry again, whether or not it is there by now.
    assert_eq!(eventually(|| append(2)), Append::Written);
    cluster.restart(1);
    assert_eq!(eventually(|| append(3)), Append::Written);
    let nonces: Vec<u128> = log
        .read_all(job())
        .unwrap()
        .entries
        .iter()
        .map(|e| e.nonce)
        .collect();
    assert_eq!(nonces, [0, 1, 2, 3]);
    let renewed = eventually(|| election.renew("a", 1, Duration::ZERO));
    assert_eq!(renewed, Renewal::Renewed { until: LONG });
}
