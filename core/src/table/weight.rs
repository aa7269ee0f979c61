//! What rows in memory take, as far as a budget for them is to be kept.
//!
//! A row's place is known. What it has beside it is measured, which costs more than a record may where it is much: so it is measured when
//! a row comes (with the next load if it is new), when it is written, at some of its changes, and one row with each load, whether
//! anything happens to it or not. Which of its changes follows from what came of those that were looked at: nearly all while it grows, one of
//! thirty-two of those that leave it as it is. Each row keeps what it was counted with, in a byte, and the sum is exactly that of
//! its rows: a few that are large count for what they are, whichever are looked at.

use std::mem::needs_drop;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Row, RowId, Slot, Table};
use crate::codec::encoded_len;
use crate::heap::heap_bytes;
use crate::key::Key;

/// One change in two to the power of this is looked at, of a row that stays as it is.
const MOST_STEADY: u8 = 5;

/// What rows are encoded tells whether they are worth files, and of new ones nothing has been written yet: one is looked at with each load,
/// unless it has so many bytes.
const ENCODED_UP_TO: usize = 4 << 10;

/// Bytes in one byte: eight sizes to a doubling, from sixteen bytes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight(u8);

const UNIT: usize = 16;

impl Weight {
    /// The nearest.
    pub(super) fn of(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT) as u64;
        let Some(shift) = units.checked_ilog2().and_then(|log| log.checked_sub(3)) else {
            return Self(units as u8);
        };
        let eighths = (units + (1 << shift) / 2) >> shift;
        Self((8 * u64::from(shift) + eighths).min(u8::MAX.into()) as u8)
    }

    pub(super) fn bytes(self) -> usize {
        match (self.0 / 8).checked_sub(1) {
            None => usize::from(self.0) * UNIT,
            Some(shift) => (UNIT * (8 + usize::from(self.0 % 8))) << shift,
        }
    }
}

/// The sum of what rows in memory have beside their places.
pub(super) struct Weighed<V> {
    pub(super) bytes: usize,
    pub(super) heap_bytes: fn(&V) -> usize,
}

impl<V: Serialize> Default for Weighed<V> {
    fn default() -> Self {
        Self {
            bytes: 0,
            heap_bytes: heap_bytes::<V>,
        }
    }
}

impl<V> Weighed<V> {
    /// Measures a row anew. Returns by how many sizes it differs from what it was.
    #[inline]
    pub(super) fn weigh<K: Serialize>(&mut self, row: &mut Row<K, V>) -> u8 {
        if !needs_drop::<(K, V)>() {
            return 0;
        }
        let weight = Weight::of(heap_bytes(&row.key) + (self.heap_bytes)(&row.value));
        let before = std::mem::replace(&mut row.cached.weight, weight);
        self.bytes = self.bytes + weight.bytes() - before.bytes();
        weight.0.abs_diff(before.0)
    }

    /// A row is not in memory any more.
    #[inline]
    pub(super) fn left<K>(&mut self, row: &Row<K, V>) {
        self.bytes -= row.cached.weight.bytes();
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// A row is about to change: it may be weighed with the next load.
    #[inline]
    pub(super) fn note_changed(&mut self, id: RowId) {
        if needs_drop::<V>()
            && let Some(stored) = &mut self.stored
            && let Slot::Row(row) = &self.groups[id.group as usize].slots[id.row as usize]
        {
            stored.changed = stored.changed.wrapping_add(1);
            // Rows that take turns must not all be passed over for ever.
            let drawn = stored.changed.wrapping_mul(0x9E37_79B9) >> (32 - u32::from(MOST_STEADY));
            if drawn & ((1 << row.cached.uses.steady()) - 1) == 0 {
                stored.unweighed.push(id);
            }
        }
    }

    /// Measures rows that have come or changed since the last load, and one more.
    pub(super) fn weigh_lately(&mut self) {
        let Some(stored) = &mut self.stored else {
            return;
        };
        let mut lately = std::mem::take(&mut stored.unweighed);
        let (group, at) = stored.sample;
        match self.groups[group].slots.get_mut(at) {
            Some(slot) => {
                stored.sample.1 += 1;
                if let Slot::Row(row) = slot {
                    self.weighed.weigh(row);
                }
            }
            None => stored.sample = ((group + 1) % self.groups.len(), 0),
        }
        for id in &lately {
            // It may be gone again, or elsewhere.
            let slots = &mut self.groups[id.group as usize].slots;
            if let Some(Slot::Row(row)) = slots.get_mut(id.row as usize) {
                let steady = row.cached.uses.steady();
                let steady = match self.weighed.weigh(row) {
                    0 => (steady + 1).min(MOST_STEADY),
                    1 => steady,
                    _ => steady.saturating_sub(1),
                };
                row.cached.uses.set_steady(steady);
            }
        }
        if let Some(id) = lately.first()
            && let Some(Slot::Row(row)) = self.groups[id.group as usize].slots.get(id.row as usize)
            && row.cached.weight.bytes() <= ENCODED_UP_TO
        {
            stored.note_bytes(encoded_len(&row.key) + encoded_len(&row.value));
        }
        lately.clear();
        stored.unweighed = lately;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_weight_is_nearly_what_it_was_made_of(bytes in 0..1_usize << 38) {
            let weighed = Weight::of(bytes).bytes();
            let rounded = bytes.next_multiple_of(UNIT);
            prop_assert!(weighed.abs_diff(rounded) <= rounded / 16, "{bytes} is {weighed}");
            prop_assert_eq!(Weight::of(weighed), Weight::of(bytes));
        }
    }
}
