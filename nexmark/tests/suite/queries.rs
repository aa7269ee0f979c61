//! Each query gives what its question asks for, run undisturbed, and with actors killed on both backends.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rivus_nexmark::*;

use crate::reference;
use crate::world::{each_way, each_way_lasting, events, last, same};

/// Every row that a query gives, beside the reference's.
macro_rules! rows {
    ($($query:ident),*) => {$(
        #[test]
        fn $query() {
            let expected = reference::$query(&events());
            each_way(rivus_nexmark::$query, |output| same(&output, &expected));
        }
    )*};
}

/// The last row of each key, beside the reference's.
macro_rules! last_rows {
    ($($query:ident by $key:expr),*) => {$(
        #[test]
        fn $query() {
            let expected = reference::$query(&events());
            each_way(rivus_nexmark::$query, |output| {
                assert!(output.len() > expected.len(), "nothing was ever replaced");
                same(&last(&output, $key), &expected);
            });
        }
    )*};
}

rows!(q0, q1, q2, q3, q5, q6, q7, q8, q11, q14, q20, q21, q22);

last_rows!(
    q4 by |row| row.category,
    q9 by |row| row.auction.id,
    q15 by |row| row.day,
    q16 by |row| (row.channel.clone(), row.day.day),
    q17 by |row| (row.auction, row.day),
    q18 by |row| (row.bidder, row.auction),
    q19 by |row| (row.bid.auction, row.rank)
);

/// What a day's figures never do is fall, and they come to those of all bids.
#[test]
fn statistics_are_told_anew_as_bids_come_in() {
    each_way(rivus_nexmark::q15, |output| {
        let mut told = BTreeMap::new();
        for row in output {
            let before = told.insert(row.day, row.bids.total).unwrap_or_default();
            assert!(before < row.bids.total, "{before} bids, and then {row:?}");
        }
        let bids = reference::bids(&events()).len() as u64;
        assert_eq!(told.values().sum::<u64>(), bids);
    });
}

#[test]
fn a_winning_bid_is_told_once_and_is_higher_than_those_before() {
    each_way(rivus_nexmark::q9, |output| {
        let mut told: BTreeMap<u64, u64> = BTreeMap::new();
        for row in &output {
            let before = told.insert(row.auction.id, row.bid.price);
            assert!(
                before.is_none_or(|before| before < row.bid.price),
                "{row:?}"
            );
        }
    });
}

#[test]
fn q10() {
    let dir = tempfile::tempdir().unwrap();
    let expected = reference::q10(&events());
    let minutes: BTreeSet<String> = expected.iter().map(|(minute, _)| minute.clone()).collect();
    assert!(minutes.len() > 1, "{minutes:?}");
    let runs = Cell::new(0);
    let of_run = || dir.path().join(runs.get().to_string());
    let query = |events: &_| {
        runs.set(runs.get() + 1);
        rivus_nexmark::q10(events, of_run())
    };
    each_way(query, |_| same(&files(&of_run()), &expected));
}

/// Lines of all committed files, each with the folders of its file.
fn files(dir: &Path) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "csv") {
                continue;
            }
            let below = folder.strip_prefix(dir).unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            lines.extend(text.lines().map(|line| (below.to_owned(), line.to_owned())));
        }
    }
    lines
}

#[test]
fn q12() {
    let expected = reference::q12_in_all(&events());
    // What is open at the end is not told: the last window with a bid is over before.
    each_way_lasting(30, rivus_nexmark::q12, |output| {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for window in &output {
            assert_eq!(window.end - window.start, 10_000);
            *counts.entry(window.bidder).or_default() += window.bids;
        }
        same(&counts.into_iter().collect::<Vec<_>>(), &expected);
    });
}

#[test]
fn q13() {
    let side = side_input();
    let expected = reference::q13(&events(), &side);
    let query = |events: &_| rivus_nexmark::q13(events, side.clone());
    each_way(query, |output| same(&output, &expected));
}

/// What a loop by hand gives, beside the reference's.
macro_rules! loops {
    ($($query:ident as $name:ident),*) => {$(
        #[test]
        fn $name() {
            let mut told = Vec::new();
            loops::$query(events().into_iter(), |row| told.push(row));
            same(&told, &reference::$query(&events()));
        }
    )*};
}

loops!(
    q0 as q0_by_hand,
    q1 as q1_by_hand,
    q2 as q2_by_hand,
    q5 as q5_by_hand,
    q8 as q8_by_hand,
    q11 as q11_by_hand
);
