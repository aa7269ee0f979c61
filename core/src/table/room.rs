//! Room for rows above a store: how many bytes of them may be in memory (what they take: the module `weight`), and which of them leave.
//!
//! A hand goes round the table, key group by key group. A row that was needed since the hand's last visits is kept, one
//! that was not leaves. A row comes in with nothing to its credit and earns it by being needed *again*, up to three
//! visits: so a scan over rows that are needed once leaves as it came, while those that are needed all the time stay
//! (S3-FIFO draws the same line with queues).
//!
//! The hand goes in the order of the keys, and what leaves is written in that order. Where it comes by, rows have gathered since
//! its last round: what goes to the store at once lies close together there, which makes it cheap to write, and cheap
//! to merge with what is there.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stored::{CHANGES_BYTES, Stored};
use super::{Bucket, Group, RowId, Slot, Table, spread, tag};
use crate::failure::Failure;
use crate::key::Key;

/// Rows that are let go of beyond those that need to go.
const TOGETHER: usize = 4_096;

/// Rows that are given back at a time, by an operator that has more than it may have by now.
const GIVEN_BACK: usize = 16_384;

/// Keys of removed rows that are kept before they are taken out of the store.
const REMOVED: usize = 8_192;

/// Bytes that the index has for a row: eight and a control byte, between half and seven eighths of them in use.
const INDEXED: usize = 14;

/// Visits of the hand that a row can have to its credit.
pub(super) const MOST_CREDIT: u8 = 3;

impl<K, V> Group<K, V> {
    /// Gives the room of rows that have left back, if that is most of it. Places change.
    fn compact(&mut self) {
        let rows = self.index.len();
        if self.slots.len() < 2 * rows + 64 {
            return;
        }
        let slots = std::mem::take(self).slots;
        self.slots.reserve_exact(rows + rows / 4);
        for slot in slots {
            if let Slot::Row(row) = slot {
                let bucket = Bucket {
                    tag: tag(row.hash),
                    row: self.slots.len() as u32,
                };
                let spread_of = |bucket: &Bucket| spread(bucket.tag);
                self.index
                    .insert_unique(spread_of(&bucket), bucket, spread_of);
                self.slots.push(Slot::Row(row));
            }
        }
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// What a row has that has nothing beside its place: that, the room that a key group's rows have to spare, and its part of
    /// the index.
    pub(super) const PLACE: usize = size_of::<Slot<K, V>>() * 9 / 8 + INDEXED;

    /// Bytes that the rows in memory take, and what tells which others there are.
    pub(super) fn bytes(&self) -> usize {
        let known = self
            .stored
            .as_ref()
            .map_or(0, |stored| stored.known.bytes());
        self.len * Self::PLACE + self.weighed.bytes + known
    }

    /// What a row takes, on average.
    fn row_bytes(&self) -> usize {
        Self::PLACE + self.weighed.bytes / self.len.max(1)
    }

    /// At a barrier, when no run is being worked on: an operator that nothing comes to loads nothing, and gives back here what is beyond
    /// its room.
    pub(super) fn give_back(&mut self) -> Result<(), Failure> {
        let taken = self.bytes();
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        let room = stored.set_room(taken);
        if taken <= room {
            return Ok(());
        }
        let target = room.max(taken.saturating_sub(GIVEN_BACK * self.row_bytes()));
        self.let_go(target)?;
        let taken = self.bytes();
        match &mut self.stored {
            Some(stored) => {
                stored.store.cache_bytes(taken);
                stored.write()
            }
            None => Ok(()),
        }
    }

    /// Lets go of rows until so many more have room.
    pub(super) fn make_room(&mut self, more: usize) -> Result<(), Failure> {
        if !self.holds_back()
            && let Some(stored) = &mut self.stored
            && stored.removed.len() >= REMOVED
        {
            stored.write_removed();
            stored.write()?;
        }
        let (taken, row) = (self.bytes(), self.row_bytes());
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        let room = stored.set_room(taken);
        // Of those that come nothing is known; if a few that are here are large, it says little.
        let room = room - (more * row).min(room / 4);
        if taken <= room {
            return Ok(());
        }
        // Some more than needed, so that changes go to the store in large batches; not so many that it takes long.
        let target = room - (room / 16).min(TOGETHER * row);
        self.let_go(target)?;
        if self.bytes() > room && self.is_flushing() {
            // What changed since the barrier can't go before the snapshot has what was there before it.
            while !self.flush_rows(usize::MAX)? {}
            self.let_go(target)?;
        }
        match &mut self.stored {
            Some(stored) => stored.write(),
            None => Ok(()),
        }
    }

    /// Lets go of rows that were not needed lately, until those that are left take no more than `target` bytes or enough have been
    /// looked at.
    fn let_go(&mut self, target: usize) -> Result<(), Failure> {
        let (holds_back, epoch) = (self.holds_back(), self.epoch);
        let Some(mut stored) = self.stored.take() else {
            return Ok(());
        };
        let target = target.saturating_sub(stored.known.bytes());
        if !holds_back {
            stored.write_removed();
        }
        // Rows that are all in use are looked at over several loads; until then there are somewhat more than have room.
        let over = self.bytes().saturating_sub(target) / self.row_bytes();
        // In so many rounds whatever may leave has left.
        let round: usize = self.groups.iter().map(|group| group.slots.len() + 1).sum();
        let rounds = round * (usize::from(MOST_CREDIT) + 2);
        let mut looks = (8 * (over + TOGETHER) + self.groups.len()).min(rounds);
        let mut leaving = Vec::new();
        let mut goes = 0;
        while self.bytes() > target + goes && looks > 0 {
            looks -= 1;
            let (group, at) = stored.hand;
            let Some(slot) = self.groups[group].slots.get_mut(at) else {
                // Most groups of a small table have no rows.
                if at > 0 {
                    self.leave(group, &mut leaving, &mut stored)?;
                    goes = 0;
                    if !holds_back {
                        self.groups[group].compact();
                    }
                }
                stored.hand = ((group + 1) % self.groups.len(), 0);
                continue;
            };
            stored.hand.1 += 1;
            let Slot::Row(row) = slot else { continue };
            if row.cached.load == stored.load
                || (holds_back && row.cached.is_dirty() && row.epoch == epoch)
            {
                continue;
            }
            if !row.cached.uses.spend() {
                goes += Self::PLACE + row.cached.weight.bytes();
                leaving.push((row.hash, at as u32));
            }
        }
        let group = stored.hand.0;
        self.leave(group, &mut leaving, &mut stored)?;
        self.stored = Some(stored);
        Ok(())
    }

    /// Rows of a group leave, in the order of their keys; those that the store doesn't have as they are go there.
    fn leave(
        &mut self,
        group: usize,
        leaving: &mut Vec<(u64, u32)>,
        stored: &mut Stored,
    ) -> Result<(), Failure> {
        leaving.sort_unstable();
        for (_, row) in leaving.drain(..) {
            if let Slot::Row(row) = &mut self.groups[group].slots[row as usize]
                && row.cached.is_dirty()
            {
                stored.put_row(row)?;
                if stored.changes.bytes() >= CHANGES_BYTES {
                    stored.write()?;
                }
            }
            let group = group as u32;
            self.free(RowId { group, row });
        }
        Ok(())
    }
}
