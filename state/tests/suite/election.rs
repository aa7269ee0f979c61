//! What every election promises.

use std::time::Duration;

use rivus_state::{Campaign, Election, InProcessElection, Renewal};

const LEASE: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn led_by(leader: &str, until: u64) -> Campaign {
    Campaign::Following {
        until: at(until),
        leader: leader.to_owned(),
    }
}

#[test]
fn the_first_leads_and_the_others_follow_while_it_renews() {
    let election = InProcessElection::new(LEASE);
    assert_eq!(
        election.campaign("a", at(0)).unwrap(),
        Campaign::Leading { term: 1 }
    );
    assert_eq!(election.campaign("b", at(9)).unwrap(), led_by("a", 10));
    let until = at(18);
    assert_eq!(
        election.renew("a", 1, at(8)).unwrap(),
        Renewal::Renewed { until }
    );
    assert_eq!(election.campaign("b", at(17)).unwrap(), led_by("a", 18));
}

#[test]
fn a_paused_ex_leader_can_not_renew_after_another_campaigned() {
    let election = InProcessElection::new(LEASE);
    election.campaign("a", at(0)).unwrap();
    assert_eq!(
        election.campaign("b", at(10)).unwrap(),
        Campaign::Leading { term: 2 }
    );
    assert_eq!(
        election.renew("a", 1, at(11)).unwrap(),
        Renewal::Lost {
            term: 2,
            leader: Some("b".to_owned())
        }
    );
    // Nor with a term it never had, nor may it end the other's.
    assert!(matches!(
        election.renew("a", 2, at(11)).unwrap(),
        Renewal::Lost { .. }
    ));
    election.resign("a", 1).unwrap();
    election.resign("a", 2).unwrap();
    assert_eq!(election.campaign("a", at(12)).unwrap(), led_by("b", 20));
}

#[test]
fn a_lease_that_ran_out_can_be_renewed_while_nobody_else_campaigned() {
    let election = InProcessElection::new(LEASE);
    election.campaign("a", at(0)).unwrap();
    let until = at(40);
    assert_eq!(
        election.renew("a", 1, at(30)).unwrap(),
        Renewal::Renewed { until }
    );
    assert_eq!(election.campaign("b", at(31)).unwrap(), led_by("a", 40));
}

#[test]
fn a_restarted_leader_gets_a_new_term_and_its_earlier_life_none() {
    let election = InProcessElection::new(LEASE);
    election.campaign("a", at(0)).unwrap();
    assert_eq!(
        election.campaign("a", at(1)).unwrap(),
        Campaign::Leading { term: 2 }
    );
    assert!(matches!(
        election.renew("a", 1, at(2)).unwrap(),
        Renewal::Lost { term: 2, .. }
    ));
    assert!(matches!(
        election.renew("a", 2, at(2)).unwrap(),
        Renewal::Renewed { .. }
    ));
}

#[test]
fn who_resigned_makes_room_at_once_and_terms_go_on_growing() {
    let election = InProcessElection::new(LEASE);
    election.campaign("a", at(0)).unwrap();
    election.resign("a", 1).unwrap();
    assert_eq!(
        election.renew("a", 1, at(1)).unwrap(),
        Renewal::Lost {
            term: 1,
            leader: None
        }
    );
    assert_eq!(
        election.campaign("b", at(1)).unwrap(),
        Campaign::Leading { term: 2 }
    );
}
