//! The source of all benchmarks: bids, as fast as they are taken or at a pace.

use std::time::Instant;

use rivus::{Event, ParallelInstance, ReadStatus, Source, SourceReader, Timestamp, UserError};
use serde::{Deserialize, Serialize};

use super::bid::{Bid, Draft, key_of};

/// Bids numbered from 0; the first `keys` of them have a key each.
#[derive(Debug, Clone)]
pub(crate) struct Bids {
    pub(crate) records: u64,
    pub(crate) keys: u64,
    pub(crate) pace: Option<Pace>,
}

/// Records a second once every key has been seen, and where time is counted from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) per_second: u64,
    pub(crate) base: Instant,
}

/// Every `step`th number from `next`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stripe {
    next: u64,
    step: u64,
}

pub(crate) struct BidReader {
    bids: Bids,
    stripe: Option<Stripe>,
    draft: Draft,
    /// When the pace began, nanoseconds from its base, and how many records have followed it.
    paced: Option<(u64, u64)>,
}

impl Source for Bids {
    type Out = Bid;
    type Split = Stripe;
    type Reader = BidReader;

    fn splits(&self, parallelism: u32) -> Result<Vec<Stripe>, UserError> {
        let step = u64::from(parallelism);
        Ok((0..step).map(|next| Stripe { next, step }).collect())
    }

    fn reader(&self, _: ParallelInstance) -> Result<BidReader, UserError> {
        Ok(BidReader {
            bids: self.clone(),
            stripe: None,
            draft: Draft::new(),
            paced: None,
        })
    }
}

impl BidReader {
    /// How many records are due, and when the first of them was.
    fn due(&mut self, pace: Pace, step: u64) -> (u64, u64) {
        let now = pace.base.elapsed().as_nanos() as u64;
        let (began, sent) = *self.paced.get_or_insert((now, 0));
        let between = 1_000_000_000 * step / pace.per_second;
        let due = (now - began) / between;
        (due.saturating_sub(sent), between)
    }
}

impl SourceReader for BidReader {
    type Out = Bid;
    type Split = Stripe;

    fn add_split(&mut self, split: Stripe) -> Result<(), UserError> {
        self.stripe = Some(split);
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<Bid>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let Some(stripe) = &self.stripe else {
            return Ok(ReadStatus::SplitsDone);
        };
        let (mut next, step) = (stripe.next, stripe.step);
        let (keys, end) = (self.bids.keys, self.bids.records);
        let pace = self.bids.pace.filter(|_| next >= keys);
        let mut wanted = (max as u64).min(end.saturating_sub(next).div_ceil(step));
        let mut between = 0;
        if let Some(pace) = pace {
            let due;
            (due, between) = self.due(pace, step);
            wanted = wanted.min(due);
        }
        let began = next;
        next += wanted * step;
        match &mut self.paced {
            None => out.extend((0..wanted).map(|place| {
                let number = began + place * step;
                let bid = self.draft.bid(number, key_of(number, keys));
                Event::at(number as Timestamp, bid)
            })),
            Some((first, sent)) => {
                let there = pace.map_or(0, |pace| pace.base.elapsed().as_nanos() as u64);
                out.extend((0..wanted).map(|place| {
                    let number = began + place * step;
                    let mut bid = self.draft.bid(number, key_of(number, keys));
                    // When it was read, and when it had been due.
                    *sent += 1;
                    bid.auction = there;
                    bid.time = *first + *sent * between;
                    Event::at(number as Timestamp, bid)
                }));
            }
        }
        self.stripe = (next < end).then_some(Stripe { next, step });
        Ok(match (self.stripe.is_some(), pace) {
            (false, _) => ReadStatus::SplitsDone,
            (true, Some(_)) if wanted < max as u64 => ReadStatus::Later(now + 1),
            (true, _) => ReadStatus::More,
        })
    }

    fn snapshot(&self) -> Vec<Stripe> {
        self.stripe.clone().into_iter().collect()
    }
}
