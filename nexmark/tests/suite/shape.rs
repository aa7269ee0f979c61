//! What the generator makes is of the benchmark's proportions, sizes and heat.

use std::collections::{BTreeMap, BTreeSet};

use rivus_nexmark::*;

use crate::reference::{auctions, bids, persons};

fn many() -> Vec<NexmarkEvent> {
    let config = NexmarkConfig {
        events: 200_000,
        events_per_second: 10_000,
        seed: 3,
    };
    Generator::new(config).events().collect()
}

fn mean<T>(of: &[&T], bytes: impl Fn(&T) -> usize) -> f64 {
    of.iter().map(|one| bytes(one)).sum::<usize>() as f64 / of.len() as f64
}

fn close(is: f64, should: f64, by: f64) {
    assert!((is - should).abs() <= by, "{is} is no {should}");
}

#[test]
fn one_of_fifty_is_a_person_and_three_are_auctions() {
    let events = many();
    assert_eq!(persons(&events).len(), 4_000);
    assert_eq!(auctions(&events).len(), 12_000);
    assert_eq!(bids(&events).len(), 184_000);
    assert!(events.is_sorted_by_key(NexmarkEvent::date_time));
}

#[test]
fn events_have_their_usual_sizes() {
    let events = many();
    close(
        mean(&persons(&events), |person| {
            let texts = [&person.name, &person.email_address, &person.credit_card];
            let more = [&person.city, &person.state, &person.extra];
            16 + texts
                .into_iter()
                .chain(more)
                .map(String::len)
                .sum::<usize>()
        }),
        207.0,
        2.0,
    );
    close(
        mean(&auctions(&events), |auction| {
            let texts = [&auction.item_name, &auction.description, &auction.extra];
            56 + texts.map(String::len).iter().sum::<usize>()
        }),
        507.0,
        3.0,
    );
    let bids = bids(&events);
    close(mean(&bids, |bid| bid.channel().len()), 9.0, 0.5);
    close(mean(&bids, |bid| bid.url().len()), 63.0, 1.0);
    close(mean(&bids, |bid| bid.extra().len()), 67.0, 1.0);
}

#[test]
fn half_of_the_bids_are_for_hot_auctions_and_three_quarters_from_hot_bidders() {
    let events = many();
    let bids = bids(&events);
    let share = |is_hot: &dyn Fn(&Bid) -> bool| {
        bids.iter().filter(|bid| is_hot(bid)).count() as f64 / bids.len() as f64
    };
    // One of a hundred is hot by its number, whoever names it.
    close(share(&|bid| bid.auction % 100 == 0), 0.505, 0.01);
    close(share(&|bid| bid.bidder % 100 == 1), 0.7525, 0.01);
    let hot = ["Google", "Facebook", "Baidu", "Apple"];
    close(share(&|bid| hot.contains(&bid.channel())), 0.5, 0.01);
}

#[test]
fn ids_are_given_once_and_mean_somebody_who_comes_sooner_or_later() {
    let events = many();
    let ids = |ids: Vec<u64>| {
        let distinct: BTreeSet<u64> = ids.iter().copied().collect();
        assert_eq!(distinct.len(), ids.len());
        distinct
    };
    let persons = ids(persons(&events).iter().map(|person| person.id).collect());
    let sold = ids(auctions(&events).iter().map(|auction| auction.id).collect());
    let unknown = |known: &BTreeSet<u64>, id: u64| !known.contains(&id);
    // Those up to ten ahead of the last.
    let ahead = 10 + 1;
    let bids = bids(&events);
    let strange: BTreeSet<u64> = bids
        .iter()
        .map(|bid| bid.auction)
        .filter(|auction| unknown(&sold, *auction))
        .collect();
    assert!(strange.len() <= ahead, "{strange:?}");
    let strange: BTreeSet<u64> = bids
        .iter()
        .map(|bid| bid.bidder)
        .chain(auctions(&events).iter().map(|auction| auction.seller))
        .filter(|person| unknown(&persons, *person))
        .collect();
    // The hot bidder of the first hundred registers as the second.
    assert!(strange.len() <= ahead, "{strange:?}");
}

#[test]
fn auctions_last_up_to_twice_the_time_in_which_a_hundred_begin() {
    let events = many();
    // A hundred auctions begin within 1,666 events, at ten a millisecond.
    let lasts: Vec<i64> = auctions(&events)
        .iter()
        .map(|auction| auction.expires - auction.date_time)
        .collect();
    assert!(lasts.iter().all(|ms| (1..=334).contains(ms)));
    close(
        lasts.iter().sum::<i64>() as f64 / lasts.len() as f64,
        167.0,
        5.0,
    );
}

#[test]
fn the_logarithm_of_prices_is_evenly_spread() {
    let events = many();
    let mut decades: BTreeMap<u32, usize> = BTreeMap::new();
    let bids = bids(&events);
    for bid in &bids {
        *decades.entry(bid.price.ilog10()).or_default() += 1;
    }
    for decade in 2..8 {
        close(decades[&decade] as f64 / bids.len() as f64, 1.0 / 6.0, 0.01);
    }
}

#[test]
fn an_event_is_the_same_whenever_it_is_made_and_another_by_another_seed() {
    let generator = |seed| {
        Generator::new(NexmarkConfig {
            seed,
            ..NexmarkConfig::default()
        })
    };
    let (one, again, other) = (generator(1), generator(1), generator(2));
    for number in [0, 3, 49, 1_000_007] {
        assert_eq!(one.event(number), again.event(number));
        assert_ne!(one.event(number), other.event(number));
    }
}
