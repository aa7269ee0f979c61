//! The forms of state that versions of a program keep.

use rivus::{StateSet, UserError};

use crate::jobs::functions::fold;
use crate::jobs::records::Reading;

/// A form of the state that counts a key's records, in all and by kind.
pub trait Counts: StateSet {
    /// Counts one more. Returns how many there are, and what there is of its kind: how many, and all in order.
    fn count(&mut self, reading: &Reading) -> Result<(u64, (u64, u64)), UserError>;
}

/// What a record is of, besides its key.
pub fn kind(reading: &Reading) -> u64 {
    reading.value % 3
}

/// The state of the earlier version.
pub mod earlier {
    use rivus::{ListState, MapState, StateSet, UserError, ValueState};
    use serde::{Deserialize, Serialize};

    use super::{Counts, Reading, fold, kind};

    #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
    pub struct Kept {
        pub gone: ListState<u64>,
        pub count: ValueState<u32>,
        pub kinds: MapState<u64, Seen>,
    }

    #[derive(Default, Clone, Debug, Serialize, Deserialize)]
    pub struct Seen {
        pub gone: String,
        pub times: u32,
        pub folded: u64,
    }

    impl Counts for Kept {
        fn count(&mut self, reading: &Reading) -> Result<(u64, (u64, u64)), UserError> {
            self.gone.push(reading.id);
            let count = self.count.get_or_default();
            *count += 1;
            let seen = self.kinds.entry(kind(reading)).or_default();
            seen.gone = format!("last {}", reading.id);
            seen.times += 1;
            seen.folded = fold(seen.folded, reading);
            let of_kind = (u64::from(seen.times), seen.folded);
            Ok((u64::from(*count), of_kind))
        }
    }
}

/// [`Change::Fields`](super::Change::Fields).
pub mod fields {
    use rivus::{MapState, StateSet, UserError, ValueState};
    use serde::{Deserialize, Serialize};

    use super::{Counts, Reading, fold, kind};

    #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
    pub struct Kept {
        kinds: MapState<u64, Seen>,
        #[serde(default)]
        new: ValueState<u64>,
        count: ValueState<u64>,
    }

    #[derive(Default, Clone, Debug, Serialize, Deserialize)]
    struct Seen {
        folded: u64,
        #[serde(default)]
        new: u64,
        times: u64,
    }

    impl Counts for Kept {
        /// What is new counts what has come since: no more in all than of all kinds together, and no more than there is.
        fn count(&mut self, reading: &Reading) -> Result<(u64, (u64, u64)), UserError> {
            let (count, new) = (self.count.get_or_default(), self.new.get_or_default());
            (*count, *new) = (*count + 1, *new + 1);
            let seen = self.kinds.entry(kind(reading)).or_default();
            seen.new += 1;
            seen.times += 1;
            seen.folded = fold(seen.folded, reading);
            let (count, new, of_kind) = (*count, *new, (seen.times, seen.folded));
            let of_kinds = self.kinds.values().map(|seen| seen.new).sum::<u64>();
            match new <= count && new == of_kinds {
                true => Ok((count, of_kind)),
                false => Err(format!("{new} of {count} are new, and {of_kinds} by kind").into()),
            }
        }
    }
}

/// [`Change::Inside`](super::Change::Inside).
pub mod inside {
    use rivus::{ListState, MapState, StateSet, UserError, ValueState};
    use serde::{Deserialize, Serialize};

    use super::{Counts, Reading, earlier, fold, kind};

    #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
    pub struct Kept {
        gone: ListState<u64>,
        count: ValueState<u32>,
        kinds: MapState<u64, Seen>,
    }

    #[derive(Default, Clone, Debug, Serialize, Deserialize)]
    pub struct Seen {
        pair: String,
    }

    pub fn seen(old: earlier::Seen) -> Seen {
        Seen {
            pair: format!("{} {}", old.times, old.folded),
        }
    }

    impl Counts for Kept {
        fn count(&mut self, reading: &Reading) -> Result<(u64, (u64, u64)), UserError> {
            self.gone.push(reading.id);
            let count = self.count.get_or_default();
            *count += 1;
            let seen = self.kinds.entry(kind(reading)).or_default();
            let (times, folded) = match seen.pair.split_once(' ') {
                Some((times, folded)) => (times.parse()?, folded.parse()?),
                None => (0, 0),
            };
            let of_kind = (times + 1, fold(folded, reading));
            seen.pair = format!("{} {}", of_kind.0, of_kind.1);
            Ok((u64::from(*count), of_kind))
        }
    }
}

/// [`Change::Whole`](super::Change::Whole).
pub mod whole {
    use rivus::{MapState, StateSet, UserError, ValueState};
    use serde::{Deserialize, Serialize};

    use super::{Counts, Reading, earlier, fold, kind};

    #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
    pub struct Kept {
        count: ValueState<String>,
        kinds: MapState<u64, (u64, u64)>,
    }

    pub fn kept(old: earlier::Kept) -> Kept {
        let mut kept = Kept::default();
        if let Some(count) = old.count.get() {
            kept.count.set(count.to_string());
        }
        for (kind, seen) in old.kinds.iter() {
            let of_kind = (u64::from(seen.times), seen.folded);
            kept.kinds.insert(*kind, of_kind);
        }
        kept
    }

    impl Counts for Kept {
        fn count(&mut self, reading: &Reading) -> Result<(u64, (u64, u64)), UserError> {
            let count = match self.count.get() {
                Some(count) => count.parse::<u64>()? + 1,
                None => 1,
            };
            self.count.set(count.to_string());
            let (times, folded) = self.kinds.entry(kind(reading)).or_default();
            (*times, *folded) = (*times + 1, fold(*folded, reading));
            Ok((count, (*times, *folded)))
        }
    }
}
