//! Networks that fail between processes: a way that lets nothing through, in both directions or in one, or that makes nonsense of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rivus::connectors::SplitMix;

use crate::cluster::{Cluster, Leader, checkpoints};
use crate::processes::{Process, pause};

/// What a way does to what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passes {
    Both,
    /// What the one that connects says is held up, while connections stay open.
    Answers,
    /// What it is answered is.
    Calls,
    Nothing,
}

/// A way from those who connect to whom it leads to.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) address: String,
    leads_to: Arc<Mutex<Option<String>>>,
    carried: Arc<AtomicU64>,
    passes: Arc<Mutex<Passes>>,
    /// How often what was open has become nonsense.
    garbled: Arc<AtomicU64>,
}

impl Way {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let way = Self {
            address: listener.local_addr().expect("an address").to_string(),
            leads_to: Arc::default(),
            carried: Arc::default(),
            passes: Arc::new(Mutex::new(Passes::Both)),
            garbled: Arc::default(),
        };
        let taken = way.clone();
        // It ends with the tests.
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let way = taken.clone();
                thread::spawn(move || way.carry(caller));
            }
        });
        way
    }

    pub(crate) fn lead_to(&self, address: &str) {
        *self.leads_to.lock().expect("whole") = Some(address.to_owned());
    }

    pub(crate) fn let_pass(&self, passes: Passes) {
        *self.passes.lock().expect("whole") = passes;
    }

    /// Whatever else comes over connections that are open now is nonsense, from peers who know the secret. New ones are as they should be.
    fn garble(&self) {
        self.garbled.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes that have passed in all, both ways.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    fn lets(&self, direction: Passes) -> bool {
        let passes = *self.passes.lock().expect("whole");
        passes == Passes::Both || passes == direction
    }

    fn carry(&self, caller: TcpStream) {
        let to = self.leads_to.lock().expect("whole").clone();
        let Some(called) = to.and_then(|to| TcpStream::connect(to).ok()) else {
            return;
        };
        let (Ok(from_caller), Ok(from_called)) = (caller.try_clone(), called.try_clone()) else {
            return;
        };
        let way = self.clone();
        let there = move || way.copy(from_caller, called, Passes::Calls);
        thread::spawn(there);
        self.copy(from_called, caller, Passes::Answers);
    }

    /// What is held up comes later, as a network sends it again: to whom it is no news any more.
    fn copy(&self, mut from: TcpStream, mut to: TcpStream, direction: Passes) {
        let mut bytes = [0; 16 << 10];
        let garbled = self.garbled.load(Ordering::Relaxed);
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            while !self.lets(direction) {
                pause();
            }
            let now = self.garbled.load(Ordering::Relaxed);
            if now != garbled {
                let mut nonsense = SplitMix::of(now, self.carried());
                bytes[..read].fill_with(|| nonsense.below(256) as u8);
            }
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
            self.carried.fetch_add(read as u64, Ordering::Relaxed);
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// Where a process listens that has another address for others.
pub(crate) fn behind(line: &str) -> &str {
    line.split_once(", which others reach at ").expect("both").0
}

/// Silence is noticed in a second.
pub(crate) const SOON: [&str; 4] = ["--heartbeat-timeout", "1s", "--heartbeat-interval", "200ms"];

fn leader_at_the_end_of(way: &Way, cluster: &Cluster) -> Leader {
    let advertised = ["--control-advertised", &way.address];
    let leader = cluster.leader(&[&SOON[..], &advertised].concat());
    way.lead_to(behind(&leader.control));
    leader
}

fn task_manager_at_the_end_of(way: &Way, cluster: &Cluster) -> Process {
    let advertised = ["--data-advertised", &way.address];
    let options = [&SOON[..], &advertised].concat();
    let (process, data) = cluster.asked_task_manager("1", &options);
    way.lead_to(behind(&data));
    process
}

/// A test of each way to be cut off, side by side: most of it is waiting.
pub(crate) fn however_cut_off(test: impl Fn(Passes) + Sync) {
    thread::scope(|scope| {
        for passes in [Passes::Nothing, Passes::Answers, Passes::Calls] {
            let test = &test;
            scope.spawn(move || test(passes));
        }
    });
}

#[test]
fn a_task_manager_that_its_leader_does_not_hear_is_replaced_and_comes_back() {
    however_cut_off(|passes| {
        let (cluster, way) = (Cluster::new(), Way::new());
        let leader = leader_at_the_end_of(&way, &cluster);
        let _tasks = cluster.task_manager("2", &SOON);
        let job = cluster.submit(&leader.asked, 32_000);
        let asked = &leader.asked;
        asked.wait_for(&job, |status| checkpoints(status) > 3);
        way.let_pass(passes);
        let lost = asked.wait_for(&job, |status| status["status"] != "running");
        assert_eq!(lost["takeovers"], 0, "{passes:?}: {lost}");
        // Whoever can't be heard starts nothing again.
        for _ in 0..20 {
            pause();
        }
        way.let_pass(Passes::Both);
        asked.wait_for(&job, |status| status["status"] == "running");
        let last = cluster.completed(asked, &job, 32_000);
        assert_ne!(last["restarts"], 0, "{passes:?}: {last}");
    });
}

#[test]
fn task_managers_that_do_not_hear_each_other_restart_what_runs_in_both() {
    however_cut_off(|passes| {
        let cluster = Cluster::new();
        let ways = [Way::new(), Way::new()];
        let leader = cluster.leader(&SOON);
        let _tasks = ways
            .each_ref()
            .map(|way| task_manager_at_the_end_of(way, &cluster));
        let job = cluster.submit(&leader.asked, 32_000);
        let asked = &leader.asked;
        asked.wait_for(&job, |status| checkpoints(status) > 3);
        ways.iter().for_each(|way| way.let_pass(passes));
        asked.wait_for(&job, |status| status["restarts"] != 0);
        ways.iter().for_each(|way| way.let_pass(Passes::Both));
        cluster.completed(asked, &job, 32_000);
    });
}

#[test]
fn commands_are_sent_on_by_the_way_that_the_leader_says() {
    let (cluster, way) = (Cluster::new(), Way::new());
    let leader = cluster.leader(&["--advertised", &way.address]);
    let (_standby, asked) = cluster.asked_standby(&[]);
    // The way leads nowhere yet.
    let (said, code) = asked.refusal(&["list", "--command-timeout", "1s"]);
    assert_eq!(code, Some(3), "{said}");
    way.lead_to(&leader.asked.address);
    assert_eq!(asked.answer(&["list"]), serde_json::json!([]));
}

#[test]
fn a_leader_that_nobody_hears_is_left_for_one_that_is_heard() {
    let (cluster, way) = (Cluster::new(), Way::new());
    let first = leader_at_the_end_of(&way, &cluster);
    let second = cluster.asked_standby(&SOON).0;
    let _tasks = cluster.task_manager("2", &SOON);
    let job = cluster.submit(&first.asked, 32_000);
    first.asked.wait_for(&job, |status| checkpoints(status) > 3);
    way.let_pass(Passes::Nothing);
    // It leads, and has nobody: the job waits for slots, and goes on under whoever is heard.
    let waits = first
        .asked
        .wait_for(&job, |status| status["status"] == "waiting");
    assert_eq!(waits["reason"], "needs 2 slots, and there are 0", "{waits}");
    first.process.kill();
    let second = Leader::of(second);
    let last = cluster.completed(&second.asked, &job, 32_000);
    assert_eq!(last["takeovers"], 1, "{last}");
}

#[test]
fn a_peer_that_knows_the_secret_and_speaks_nonsense_is_dropped_and_no_record_is_lost() {
    let (cluster, ways) = (Cluster::new(), [Way::new(), Way::new()]);
    let [control, data] = &ways;
    let leader = leader_at_the_end_of(control, &cluster);
    let _tasks = [
        task_manager_at_the_end_of(data, &cluster),
        cluster.task_manager("1", &SOON),
    ];
    let job = cluster.submit(&leader.asked, 1_000_000);
    let asked = &leader.asked;
    let mut last = asked.wait_for(&job, |status| checkpoints(status) > 3);
    for round in 0..4 {
        ways[round % 2].garble();
        let restarts = last["restarts"].as_u64();
        let dropped = asked.wait_for(&job, |status| status["restarts"].as_u64() > restarts);
        last = asked.wait_for(&job, |status| {
            status["status"] == "running" && checkpoints(status) > checkpoints(&dropped) + 1
        });
    }
    assert_eq!(last["takeovers"], 0, "{last}");
    cluster.stopped(asked, &job);
}
