//! Keys, their hash, and key groups.
//!
//! The hash of a key is fixed for ever: state is found by it after years and on any machine. So it is
//! not `std::hash::Hash`, which is stable neither across versions nor across types, but xxh3 chained
//! over the key's serde events. No buffer is filled: each event is hashed with the hash so far as seed.

use std::fmt::{self, Debug, Display};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::ser::{self, Serialize, Serializer};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What a stream can be keyed by.
pub trait Key: Serialize + DeserializeOwned + Ord + Clone + Debug + Send + Sync + 'static {}

impl<K> Key for K where K: Serialize + DeserializeOwned + Ord + Clone + Debug + Send + Sync + 'static
{}

/// The most key groups that a job can have.
pub const MAX_PARALLELISM_LIMIT: u32 = 32_768;

/// The number of key groups of a job that doesn't say otherwise.
pub const DEFAULT_MAX_PARALLELISM: u32 = 128;

/// The stable hash of a key.
///
/// ```
/// use rivus_core::key_hash;
///
/// // A borrowed key finds what an owned one stored.
/// assert_eq!(key_hash("GET /"), key_hash(&String::from("GET /")));
/// assert_ne!(key_hash(&1_u32), key_hash(&1_u64));
/// ```
///
/// # Panics
/// If the key's `Serialize` fails, which no derived implementation does.
pub fn key_hash<K: Serialize + ?Sized>(key: &K) -> u64 {
    match key.serialize(KeyHasher(0)) {
        Ok(hash) => hash,
        Err(error) => panic!("a key can't be hashed: {error}"),
    }
}

/// One of `max_parallelism` parts of the key space; the unit in which state moves.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, Deserialize,
)]
pub struct KeyGroup(pub u16);

impl KeyGroup {
    /// The group of a hashed key.
    #[inline]
    pub fn of(hash: u64, max_parallelism: u32) -> Self {
        // The low bits probe the tables; the group takes the high ones.
        Self(((u128::from(hash) * u128::from(max_parallelism)) >> 64) as u16)
    }

    /// The subtask that owns this group.
    #[inline]
    pub fn owner(self, parallelism: u32, max_parallelism: u32) -> u32 {
        u32::from(self.0) * parallelism / max_parallelism
    }
}

/// A subtask's contiguous share of the key groups; `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename = "rivus.KeyGroupRange")]
pub struct KeyGroupRange {
    /// The first group.
    pub start: u16,
    /// One past the last group.
    pub end: u16,
}

impl KeyGroupRange {
    /// The groups that subtask `index` of `parallelism` owns.
    ///
    /// ```
    /// use rivus_core::{KeyGroup, KeyGroupRange};
    ///
    /// let second = KeyGroupRange::of(1, 3, 128);
    /// assert_eq!((second.start, second.end), (43, 86));
    /// assert!((43..86).all(|group| KeyGroup(group).owner(3, 128) == 1));
    /// ```
    pub fn of(index: u32, parallelism: u32, max_parallelism: u32) -> Self {
        let first = |index: u32| (index * max_parallelism).div_ceil(parallelism) as u16;
        Self {
            start: first(index),
            end: first(index + 1),
        }
    }

    /// Whether the range holds the group.
    #[inline]
    pub fn contains(self, group: KeyGroup) -> bool {
        self.start <= group.0 && group.0 < self.end
    }

    /// Number of groups.
    pub fn len(self) -> usize {
        usize::from(self.end - self.start)
    }

    /// Whether it holds no group at all.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Folds serde events into a hash: `hash = xxh3(event, seed = hash so far)`.
struct KeyHasher(u64);

/// A key whose `Serialize` reported an error of its own.
#[derive(Debug)]
struct KeyHashError(String);

impl Display for KeyHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyHashError {}

impl ser::Error for KeyHashError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

// One seed a type of event, so that 1_u32, 1_u64, "1" and (1,) are different keys.
const SEED_BYTES: u64 = 0x5279_0001;
const SEED_SEQUENCE: u64 = 0x5279_0002;
const SEED_UNIT: u64 = 0x5279_0003;
const SEED_NONE: u64 = 0x5279_0004;
const SEED_VARIANT: u64 = 0x5279_0005;

#[inline]
fn fold_bytes(hash: u64, seed: u64, bytes: &[u8]) -> u64 {
    // Seeding a long input makes xxh3 derive a secret each time; hash it first, then mix.
    if bytes.len() <= 240 {
        xxh3_64_with_seed(bytes, hash ^ seed)
    } else {
        xxh3_64_with_seed(&xxh3_64(bytes).to_le_bytes(), hash ^ seed)
    }
}

macro_rules! hash_numbers {
    ($($name:ident: $type:ty = $seed:literal),*) => {
        $(#[inline]
        fn $name(self, v: $type) -> Result<u64, KeyHashError> {
            Ok(xxh3_64_with_seed(&v.to_le_bytes(), self.0 ^ $seed))
        })*
    };
}

impl Serializer for KeyHasher {
    type Ok = u64;
    type Error = KeyHashError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    hash_numbers! {
        serialize_i8: i8 = 0x11, serialize_i16: i16 = 0x12, serialize_i32: i32 = 0x13,
        serialize_i64: i64 = 0x14, serialize_i128: i128 = 0x15, serialize_u8: u8 = 0x16,
        serialize_u16: u16 = 0x17, serialize_u32: u32 = 0x18, serialize_u64: u64 = 0x19,
        serialize_u128: u128 = 0x1a, serialize_f32: f32 = 0x1b, serialize_f64: f64 = 0x1c
    }

    fn serialize_bool(self, v: bool) -> Result<u64, KeyHashError> {
        Ok(xxh3_64_with_seed(&[u8::from(v)], self.0 ^ 0x1d))
    }

    fn serialize_char(self, v: char) -> Result<u64, KeyHashError> {
        Ok(xxh3_64_with_seed(
            &u32::from(v).to_le_bytes(),
            self.0 ^ 0x1e,
        ))
    }

    #[inline]
    fn serialize_str(self, v: &str) -> Result<u64, KeyHashError> {
        Ok(fold_bytes(self.0, SEED_BYTES, v.as_bytes()))
    }

    #[inline]
    fn serialize_bytes(self, v: &[u8]) -> Result<u64, KeyHashError> {
        Ok(fold_bytes(self.0, SEED_BYTES, v))
    }

    fn serialize_none(self) -> Result<u64, KeyHashError> {
        Ok(fold_bytes(self.0, SEED_NONE, &[]))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<u64, KeyHashError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<u64, KeyHashError> {
        Ok(fold_bytes(self.0, SEED_UNIT, &[]))
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<u64, KeyHashError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<u64, KeyHashError> {
        Ok(fold_bytes(self.0, SEED_VARIANT, &index.to_le_bytes()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<u64, KeyHashError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<u64, KeyHashError> {
        value.serialize(Self(fold_bytes(self.0, SEED_VARIANT, &index.to_le_bytes())))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, KeyHashError> {
        Ok(Self(fold_bytes(self.0, SEED_SEQUENCE, &[])))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self, KeyHashError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, KeyHashError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self, KeyHashError> {
        Ok(Self(fold_bytes(self.0, SEED_VARIANT, &index.to_le_bytes())))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self, KeyHashError> {
        self.serialize_seq(None)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self, KeyHashError> {
        self.serialize_seq(None)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self, KeyHashError> {
        self.serialize_tuple_variant(name, index, variant, len)
    }
}

impl KeyHasher {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyHashError> {
        self.0 = value.serialize(Self(self.0))?;
        Ok(())
    }

    // The end is an event too: (("a",), "b") and (("a", "b"),) differ.
    fn close(self) -> u64 {
        fold_bytes(self.0, SEED_UNIT, &[0])
    }
}

macro_rules! hash_compound {
    ($($trait:ident: $method:ident),*) => {
        $(impl ser::$trait for KeyHasher {
            type Ok = u64;
            type Error = KeyHashError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyHashError> {
                self.element(value)
            }
            fn end(self) -> Result<u64, KeyHashError> {
                Ok(self.close())
            }
        })*
    };
}

hash_compound! {
    SerializeSeq: serialize_element, SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field
}

macro_rules! hash_fields {
    ($($trait:ident),*) => {
        $(impl ser::$trait for KeyHasher {
            type Ok = u64;
            type Error = KeyHashError;
            // Names don't count: renaming a field of a key type must not lose its state.
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _key: &'static str,
                value: &T,
            ) -> Result<(), KeyHashError> {
                self.element(value)
            }
            // So that what stands behind it doesn't count as what it is.
            fn skip_field(&mut self, _key: &'static str) -> Result<(), KeyHashError> {
                self.0 = fold_bytes(self.0, SEED_UNIT, &[1]);
                Ok(())
            }
            fn end(self) -> Result<u64, KeyHashError> {
                Ok(self.close())
            }
        })*
    };
}

hash_fields! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for KeyHasher {
    type Ok = u64;
    type Error = KeyHashError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), KeyHashError> {
        self.element(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyHashError> {
        self.element(value)
    }

    fn end(self) -> Result<u64, KeyHashError> {
        Ok(self.close())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hashes_are_fixed_for_ever() {
        // A changed figure here means that every stored state is lost.
        let hashes = [
            key_hash("GET /"),
            key_hash(&42_u64),
            key_hash(&("a", 1_i32)),
            key_hash(&Some('x')),
            key_hash(&vec![1_u8, 2]),
            key_hash(&()),
        ];
        assert_eq!(hashes, GOLDEN);
    }

    const GOLDEN: [u64; 6] = [
        3_881_242_295_269_632_567,
        4_695_424_506_468_661_824,
        16_270_173_819_032_169_549,
        15_508_859_886_516_144_316,
        2_172_755_965_139_296_806,
        4_042_792_609_945_633_023,
    ];

    #[test]
    fn keys_of_other_shapes_hash_differently() {
        assert_ne!(key_hash(&("ab", "c")), key_hash(&("a", "bc")));
        assert_ne!(key_hash(&(("a",), "b")), key_hash(&(("a", "b"),)));
        assert_ne!(key_hash(&1_u32), key_hash(&1_i32));
        assert_ne!(key_hash(&None::<u8>), key_hash(&()));
    }

    proptest! {
        #[test]
        fn every_group_has_one_owner_whose_range_holds_it(
            max in 1_u32..2_000, parallelism in 1_u32..300, hash: u64,
        ) {
            let parallelism = parallelism.min(max);
            let group = KeyGroup::of(hash, max);
            prop_assert!(u32::from(group.0) < max);
            let owner = group.owner(parallelism, max);
            for index in 0..parallelism {
                let range = KeyGroupRange::of(index, parallelism, max);
                prop_assert_eq!(range.contains(group), index == owner);
            }
        }
    }
}
