//! How far event time has got, by key group.
//!
//! After a restore at another parallelism one subtask may own key groups that had got further than its own
//! watermark. What has fired there doesn't fire twice, and what was late there stays late: each group keeps the
//! watermark that it had as its *floor*.

use rivus_core::{KeyGroup, KeyGroupRange, MIN_TIMESTAMP, SubtaskInfo, Timestamp};

/// The watermark, and the floors of those key groups that are ahead of it.
pub(super) struct Reached {
    watermark: Timestamp,
    floors: Vec<Timestamp>,
    highest_floor: Timestamp,
    key_groups: KeyGroupRange,
    max_parallelism: u32,
}

impl Reached {
    pub(super) fn new(info: &SubtaskInfo) -> Self {
        let key_groups = info.key_groups();
        Self {
            watermark: MIN_TIMESTAMP,
            floors: vec![MIN_TIMESTAMP; key_groups.len()],
            highest_floor: MIN_TIMESTAMP,
            key_groups,
            max_parallelism: info.max_parallelism,
        }
    }

    /// Takes up what snapshots say.
    pub(super) fn restore(&mut self, fired: impl Iterator<Item = (KeyGroupRange, Timestamp)>) {
        for (groups, watermark) in fired {
            for group in groups.start..groups.end {
                if self.key_groups.contains(KeyGroup(group)) {
                    let floor = &mut self.floors[usize::from(group - self.key_groups.start)];
                    *floor = watermark.max(*floor);
                }
            }
        }
        self.highest_floor = self.floors.iter().copied().max().unwrap_or(MIN_TIMESTAMP);
        self.watermark = self.floors.iter().copied().min().unwrap_or(MIN_TIMESTAMP);
    }

    /// For the snapshot: how far runs of key groups have got.
    pub(super) fn fired(&self) -> Vec<(KeyGroupRange, Timestamp)> {
        let mut fired: Vec<(KeyGroupRange, Timestamp)> = Vec::new();
        for (group, floor) in self.floors.iter().enumerate() {
            let start = self.key_groups.start + group as u16;
            let end = start + 1;
            let watermark = self.watermark.max(*floor);
            match fired.last_mut() {
                Some((groups, same)) if *same == watermark => groups.end = end,
                _ => fired.push((KeyGroupRange { start, end }, watermark)),
            }
        }
        fired
    }

    /// A watermark has come. Returns whether it says anything new.
    pub(super) fn advance(&mut self, watermark: Timestamp) -> bool {
        let is_new = watermark > self.watermark;
        self.watermark = self.watermark.max(watermark);
        is_new
    }

    #[inline]
    pub(super) fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// How far the key group of a hash has got.
    #[inline]
    pub(super) fn of_hash(&self, hash: u64) -> Timestamp {
        if self.highest_floor <= self.watermark {
            return self.watermark;
        }
        let group = KeyGroup::of(hash, self.max_parallelism).0 - self.key_groups.start;
        self.of_group(u32::from(group))
    }

    /// How far a key group, counted from the first of the subtask's, has got.
    #[inline]
    pub(super) fn of_group(&self, group: u32) -> Timestamp {
        self.watermark.max(self.floor(group))
    }

    /// How far a key group had got when it was restored.
    #[inline]
    pub(super) fn floor(&self, group: u32) -> Timestamp {
        self.floors[group as usize]
    }
}
