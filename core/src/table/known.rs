//! Which keys a store may have, told in memory, so that it isn't asked for those that are new.
//!
//! A Bloom filter of 256-bit blocks: a key has a block and one bit in each of its eight words, so that to look takes one line of memory.
//! It grows by further filters, each three times as large as all before it, and a look goes through them, the last first.
//!
//! It ends where it costs more than it saves, and from then on the store is asked for every key that isn't in memory: if it would take too
//! much of the room that rows have; if most of the keys that it has are gone, since they stay in it; and if hardly any key that was looked
//! for was new. A store that comes with files has none from the beginning: to read all their keys would take longer than to open them.
//!
//! Source: Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters (2007).

/// Words of a block.
const WORDS: usize = 8;

/// Keys for which a block has sixteen bits each: a filter that is full takes three others in a thousand for its own.
const KEYS_A_BLOCK: usize = 16;

/// Blocks of the first filter, if they have room.
const FIRST: usize = 1 << 10;

/// All filters together may take so much of what rows may: one part in so many.
const PART: usize = 8;

/// After so many looks it is judged by them.
const JUDGED: u32 = 1 << 16;

/// If fewer looks than one in so many have found that a key is new, it isn't worth its room.
const NEW: u32 = 32;

/// Odd numbers, each of which chooses another bit: the fractions of the square roots of the first primes.
const SALTS: [u32; WORDS] = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F373,
    0xA54F_F53B,
    0x510E_527F,
    0x9B05_688D,
    0x1F83_D9AB,
    0x5BE0_CD19,
];

type Block = [u32; WORDS];

/// One filter, and how many keys it has.
pub(super) struct Filter {
    blocks: Box<[Block]>,
    keys: usize,
}

impl Filter {
    fn new(blocks: usize) -> Self {
        Self {
            blocks: vec![[0; WORDS]; blocks].into_boxed_slice(),
            keys: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.keys >= self.blocks.len() * KEYS_A_BLOCK
    }

    /// The block of a hash, by its upper half.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (((hash >> 32) * self.blocks.len() as u64) >> 32) as usize
    }

    #[inline]
    fn has(&self, hash: u64) -> bool {
        let (block, bits) = (&self.blocks[self.place(hash)], bits(hash));
        block.iter().zip(bits).all(|(word, bit)| word & bit != 0)
    }

    fn add(&mut self, hash: u64) {
        let place = self.place(hash);
        let words = self.blocks[place].iter_mut();
        words.zip(bits(hash)).for_each(|(word, bit)| *word |= bit);
        self.keys += 1;
    }
}

/// A bit for each word, by the hash's lower half.
#[inline]
fn bits(hash: u64) -> Block {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// A hash as evenly spread as it can be: those of a subtask's keys lie within its key groups.
#[inline]
fn mixed(hash: u64) -> u64 {
    (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// How often it was looked for a key, and how often that was new.
#[derive(Debug, Default)]
pub(super) struct Looks {
    all: u32,
    new: u32,
}

/// The keys that a store may have.
pub(super) enum Known {
    /// Those, the smallest filter first.
    These(Vec<Filter>, Looks),
    /// Any.
    All,
}

impl Known {
    /// Of a store without keys.
    pub(super) fn none() -> Self {
        Self::These(Vec::new(), Looks::default())
    }

    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        match self {
            Self::These(filters, _) => {
                let hash = mixed(hash);
                filters.iter().rev().any(|filter| filter.has(hash))
            }
            Self::All => true,
        }
    }

    /// The same, to be judged by.
    #[inline]
    pub(super) fn look(&mut self, hash: u64) -> bool {
        let may_have = self.may_have(hash);
        if let Self::These(_, looks) = self {
            looks.all += 1;
            looks.new += u32::from(!may_have);
            if looks.all == JUDGED {
                let is_worth_it = looks.new >= JUDGED / NEW;
                *looks = Looks::default();
                if !is_worth_it {
                    *self = Self::All;
                }
            }
        }
        may_have
    }

    /// The store will have a key; `rows` there are in all, and rows may take `room` bytes.
    pub(super) fn add(&mut self, hash: u64, rows: u64, room: usize) {
        // A row that was removed has left it as it was.
        if self.may_have(hash) {
            return;
        }
        if let Self::These(filters, _) = self
            && filters.last().is_none_or(Filter::is_full)
        {
            self.grow(rows, room);
        }
        if let Self::These(filters, _) = self
            && let Some(filter) = filters.last_mut()
        {
            filter.add(mixed(hash));
        }
    }

    #[cold]
    fn grow(&mut self, rows: u64, room: usize) {
        let Self::These(filters, _) = self else {
            return;
        };
        let keys: usize = filters.iter().map(|filter| filter.keys).sum();
        let all: usize = filters.iter().map(|filter| filter.blocks.len()).sum();
        let most = (room / PART / size_of::<Block>()).saturating_sub(all);
        let more = if all == 0 { FIRST } else { 3 * all };
        let more = more.min(most);
        match keys as u64 <= 2 * rows && more > all {
            true => filters.push(Filter::new(more)),
            false => *self = Self::All,
        }
    }

    /// Rows may take so many bytes by now: it ends if it has twice its part of them.
    pub(super) fn fit(&mut self, room: usize) {
        if self.bytes() > 2 * room / PART {
            *self = Self::All;
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::These(filters, _) => {
                let blocks = filters.iter().map(|filter| size_of_val(&*filter.blocks));
                blocks.sum()
            }
            Self::All => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::key_hash;

    fn filled(keys: u64, rows: u64, room: usize) -> Known {
        let mut known = Known::none();
        for key in 0..keys {
            known.add(key_hash(&key), rows, room);
        }
        known
    }

    #[test]
    fn it_has_what_was_added_and_hardly_anything_else() {
        assert!(!Known::none().may_have(key_hash(&0_u64)));
        let known = filled(100_000, 100_000, usize::MAX);
        assert!((0..100_000_u64).all(|key| known.may_have(key_hash(&key))));
        let others = 1_000_000..1_100_000_u64;
        let wrong = others.filter(|key| known.may_have(key_hash(key))).count();
        assert!(wrong < 1_000, "{wrong} of 100000");
        let bits_a_key = 8.0 * known.bytes() as f64 / 100_000.0;
        assert!((16.0..65.0).contains(&bits_a_key), "{bits_a_key}");
    }

    #[test]
    fn it_ends_where_most_keys_have_gone_or_it_would_take_too_much() {
        assert!(matches!(filled(1_000, 1_000, 1 << 20), Known::These(..)));
        // As small as it must be for little room, and as large as it may be.
        assert!(matches!(filled(100, 100, 2_000), Known::These(..)));
        for ended in [
            filled(50_000, 3, 1 << 20),
            filled(1_000, 1_000, 2_000),
            filled(1, 1, 0),
        ] {
            assert!(matches!(ended, Known::All));
            assert!(ended.may_have(key_hash(&1_000_000_u64)) && ended.bytes() == 0);
        }
        // The same keys again and again are no more than once.
        let mut known = filled(16_000, 1, 1 << 20);
        for _ in 0..10 {
            (0..16_000_u64).for_each(|key| known.add(key_hash(&key), 1, 1 << 20));
        }
        assert!(matches!(known, Known::These(..)));
        known.fit(1 << 18);
        assert!(matches!(known, Known::These(..)));
        known.fit(1 << 16);
        assert!(matches!(known, Known::All));
    }

    #[test]
    fn it_ends_where_hardly_any_key_is_new() {
        let looked = |new: u64| {
            let mut known = filled(1_000, 1_000, 1 << 20);
            for look in 0..u64::from(JUDGED) {
                let is_new = look % new == 0;
                known.look(key_hash(&(look % 1_000 + u64::from(is_new) * 1_000_000)));
            }
            matches!(known, Known::These(..))
        };
        assert!(looked(20) && !looked(50));
    }
}
