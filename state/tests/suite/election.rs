//! One list of promises, kept by every election: in a process, in a directory, in etcd.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use rivus_state::{
    Campaign, Candidate, DirectoryElection, Election, InProcessElection, Leader, Renewal,
};

/// One election, as it is seen by two processes, and their clock.
pub(crate) struct Hall {
    pub(crate) one: Arc<dyn Election>,
    pub(crate) two: Arc<dyn Election>,
    pub(crate) lease: Duration,
    /// Lets the leader's lease run out by the election's own clock, where it has one.
    pub(crate) run_out: fn(&dyn Election),
    pub(crate) now: Cell<Duration>,
}

impl Hall {
    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }

    /// Time passes on the processes' clock, in which the election's own may stand still.
    fn a_moment_passes(&self) {
        self.now.set(self.now() + self.lease / 2);
    }

    fn a_lease_passes(&self) {
        self.now.set(self.now() + self.lease);
        (self.run_out)(&*self.two);
    }

    fn wins(&self, election: &dyn Election, name: &str) -> u64 {
        match election.campaign(&candidate(name), self.now()).unwrap() {
            Campaign::Leading { term } => term,
            lost @ Campaign::Following { .. } => panic!("{name}: {lost:?}"),
        }
    }

    /// Who leads instead.
    fn loses(&self, election: &dyn Election, name: &str) -> Leader {
        match election.campaign(&candidate(name), self.now()).unwrap() {
            Campaign::Following { until, leader } => {
                let lease = self.now()..=self.now() + self.lease;
                assert!(lease.contains(&until), "{until:?} is not in {lease:?}");
                leader
            }
            won @ Campaign::Leading { .. } => panic!("{name}: {won:?}"),
        }
    }

    fn renews(&self, election: &dyn Election, name: &str, term: u64) {
        let until = self.now() + self.lease;
        let renewed = election.renew(name, term, self.now()).unwrap();
        assert_eq!(renewed, Renewal::Renewed { until }, "{name}");
    }

    fn has_lost(&self, election: &dyn Election, name: &str, term: u64, to: (u64, Option<&str>)) {
        let lost = election.renew(name, term, self.now()).unwrap();
        let (term, leader) = (to.0, to.1.map(str::to_owned));
        assert_eq!(lost, Renewal::Lost { term, leader }, "{name}");
    }
}

pub(crate) fn candidate(name: &str) -> Candidate {
    Candidate {
        name: name.to_owned(),
        address: format!("{name}.example:7000"),
        commands: format!("{name}.example:7878"),
    }
}

fn leader(name: &str, term: u64) -> Leader {
    let candidate = candidate(name);
    Leader { term, candidate }
}

pub(crate) fn the_first_leads_and_the_others_follow_while_it_renews(hall: &Hall) {
    assert_eq!(hall.wins(&*hall.one, "a"), 1);
    for _ in 0..5 {
        assert_eq!(hall.loses(&*hall.one, "b"), leader("a", 1));
        assert_eq!(hall.loses(&*hall.two, "c"), leader("a", 1));
        hall.a_moment_passes();
        hall.renews(&*hall.one, "a", 1);
    }
}

pub(crate) fn who_does_not_renew_is_replaced_and_can_not_renew_any_more(hall: &Hall) {
    hall.wins(&*hall.one, "a");
    hall.loses(&*hall.two, "b");
    hall.a_lease_passes();
    assert_eq!(hall.wins(&*hall.two, "b"), 2);
    hall.has_lost(&*hall.one, "a", 1, (2, Some("b")));
    // Nor with a term it never had, nor may it end the other's.
    hall.has_lost(&*hall.one, "a", 2, (2, Some("b")));
    hall.one.resign("a", 1).unwrap();
    hall.one.resign("a", 2).unwrap();
    assert_eq!(hall.loses(&*hall.one, "a"), leader("b", 2));
    hall.renews(&*hall.two, "b", 2);
}

pub(crate) fn a_lease_that_ran_out_can_be_renewed_while_nobody_else_campaigned(hall: &Hall) {
    hall.wins(&*hall.one, "a");
    hall.a_lease_passes();
    hall.renews(&*hall.one, "a", 1);
    assert_eq!(hall.loses(&*hall.two, "b"), leader("a", 1));
}

pub(crate) fn a_restarted_leader_gets_a_new_term_and_its_earlier_life_none(hall: &Hall) {
    hall.wins(&*hall.one, "a");
    assert_eq!(hall.wins(&*hall.two, "a"), 2);
    hall.has_lost(&*hall.one, "a", 1, (2, Some("a")));
    hall.one.resign("a", 1).unwrap();
    hall.renews(&*hall.two, "a", 2);
    assert_eq!(hall.loses(&*hall.one, "b"), leader("a", 2));
}

pub(crate) fn who_resigned_makes_room_at_once_and_terms_go_on_growing(hall: &Hall) {
    hall.wins(&*hall.one, "a");
    hall.loses(&*hall.two, "b");
    hall.one.resign("a", 1).unwrap();
    hall.has_lost(&*hall.one, "a", 1, (1, None));
    assert_eq!(hall.wins(&*hall.two, "b"), 2);
    hall.two.resign("b", 2).unwrap();
    assert_eq!(hall.wins(&*hall.one, "a"), 3);
}

pub(crate) fn a_process_that_leaves_gives_up_what_its_own_candidates_lead(hall: &Hall) {
    hall.one.leave("one/").unwrap();
    hall.wins(&*hall.one, "one/a");
    hall.two.leave("two/").unwrap();
    hall.renews(&*hall.one, "one/a", 1);
    hall.one.leave("one/").unwrap();
    hall.has_lost(&*hall.one, "one/a", 1, (1, None));
    assert_eq!(hall.wins(&*hall.two, "two/b"), 2);
    hall.one.leave("one/").unwrap();
    hall.renews(&*hall.two, "two/b", 2);
}

pub(crate) fn the_leader_is_found_by_those_who_do_not_contend(hall: &Hall) {
    assert_eq!(hall.two.leader().unwrap(), None);
    hall.wins(&*hall.one, "a");
    for election in [&hall.one, &hall.two] {
        assert_eq!(election.leader().unwrap(), Some(leader("a", 1)));
    }
    hall.renews(&*hall.one, "a", 1);
    assert_eq!(hall.two.leader().unwrap(), Some(leader("a", 1)));
    hall.one.resign("a", 1).unwrap();
    assert_eq!(hall.two.leader().unwrap(), None);
    hall.wins(&*hall.two, "b");
    assert_eq!(hall.one.leader().unwrap(), Some(leader("b", 2)));
}

pub(crate) fn terms_go_on_above_one_that_was_heard_of(hall: &Hall) {
    assert_eq!(hall.wins(&*hall.one, "a"), 1);
    hall.one.observe(41);
    // It still leads in its own term, and resigns from that.
    hall.renews(&*hall.one, "a", 1);
    assert_eq!(hall.two.leader().unwrap(), Some(leader("a", 1)));
    hall.one.resign("a", 1).unwrap();
    assert_eq!(hall.wins(&*hall.one, "a"), 42);
    hall.one.resign("a", 42).unwrap();
    assert_eq!(hall.wins(&*hall.two, "b"), 43);
    hall.two.observe(3);
    hall.two.resign("b", 43).unwrap();
    assert_eq!(hall.wins(&*hall.two, "b"), 44);
}

pub(crate) fn of_many_candidates_at_once_one_leads(hall: &Hall) {
    let mut terms = BTreeSet::new();
    for _ in 0..4 {
        let start = Barrier::new(6);
        let (now, start) = (hall.now(), &start);
        let won: Vec<(usize, u64)> = thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|index: usize| {
                    let election = [&hall.one, &hall.two][index % 2];
                    scope.spawn(move || {
                        start.wait();
                        let name = format!("candidate-{index}");
                        match election.campaign(&candidate(&name), now).unwrap() {
                            Campaign::Leading { term } => Some((index, term)),
                            Campaign::Following { .. } => None,
                        }
                    })
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            results.flatten().collect()
        });
        let [(index, term)] = won[..] else {
            panic!("{won:?} lead")
        };
        assert!(terms.last().is_none_or(|last| *last < term));
        terms.insert(term);
        let election = [&hall.one, &hall.two][index % 2];
        election
            .resign(&format!("candidate-{index}"), term)
            .unwrap();
    }
}

/// Runs each promise over an election, which is made with leases of a length. Those that wait for a lease have a short one
/// where time is real; no other shall lose one because the machine has a lot to do.
macro_rules! contract {
    ($election:ident, $hall:expr) => {
        mod $election {
            $crate::election::promises! { $hall, $crate::election::LONG,
                the_first_leads_and_the_others_follow_while_it_renews,
                a_restarted_leader_gets_a_new_term_and_its_earlier_life_none,
                who_resigned_makes_room_at_once_and_terms_go_on_growing,
                a_process_that_leaves_gives_up_what_its_own_candidates_lead,
                the_leader_is_found_by_those_who_do_not_contend,
                terms_go_on_above_one_that_was_heard_of,
                of_many_candidates_at_once_one_leads,
            }
            $crate::election::promises! { $hall, $crate::election::SHORT,
                who_does_not_renew_is_replaced_and_can_not_renew_any_more,
                a_lease_that_ran_out_can_be_renewed_while_nobody_else_campaigned,
            }
        }
    };
}

macro_rules! promises {
    ($hall:expr, $lease:expr, $($promise:ident),+ $(,)?) => {
        $(#[test]
        fn $promise() {
            let (hall, _kept) = $hall($lease);
            $crate::election::$promise(&hall);
        })+
    };
}

pub(crate) use {contract, promises};

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const SHORT: Duration = Duration::from_secs(2);

fn in_process(lease: Duration) -> (Hall, ()) {
    let election = Arc::new(InProcessElection::new(lease));
    let hall = Hall {
        one: election.clone(),
        two: election,
        lease,
        run_out: |_| (),
        now: Cell::default(),
    };
    (hall, ())
}

fn directory(lease: Duration) -> (Hall, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let open = || Arc::new(DirectoryElection::open(dir.path().join("election"), lease).unwrap());
    let hall = Hall {
        one: open(),
        two: open(),
        lease,
        run_out: |_| (),
        now: Cell::default(),
    };
    (hall, dir)
}

contract!(in_one_process, super::in_process);
contract!(in_a_directory, super::directory);
