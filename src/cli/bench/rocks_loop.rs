//! Read-modify-writes by hand: one thread, RocksDB, and a write-back cache in front of it.
//!
//! It does what the engine does for the same records, with the same codec, and nothing else: no source, no exchange, no
//! sink, no snapshots, one type of key and value. What the engine takes beyond it is the engine's.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;

use rivus::engine::core::{codec, key_hash};
use rocksdb::{
    BlockBasedOptions, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, Options,
    WriteBatch, WriteOptions,
};

use super::state::Carried;

/// Keys that are worked on together.
const TOGETHER: usize = 1_024;

/// Rows that leave at once.
const LEAVING: usize = 4_096;

/// Spreads a number, which is all that a map of numbers needs.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte) ^ self.0);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

struct Row {
    key: u64,
    value: Carried,
    is_dirty: bool,
    /// Whether it was needed again since the hand passed it.
    is_used: bool,
}

/// The database and its cache.
pub(crate) struct Loop {
    db: DB,
    write: WriteOptions,
    rows: Vec<Row>,
    places: HashMap<u64, usize, BuildHasherDefault<Spread>>,
    capacity: usize,
    hand: usize,
    new: Carried,
}

impl Loop {
    /// An empty database in a directory, with so many rows in memory above it.
    pub(crate) fn open(directory: &Path, capacity: usize, new: Carried) -> anyhow::Result<Self> {
        let mut blocks = BlockBasedOptions::default();
        blocks.disable_cache();
        blocks.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_max_background_jobs(2);
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::None);
        options.set_bottommost_compression_type(DBCompressionType::Lz4);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_write_buffer_size(32 << 20);
        options.set_memtable_prefix_bloom_ratio(0.02);
        options.set_memtable_whole_key_filtering(true);
        options.set_level_zero_file_num_compaction_trigger(12);
        options.set_level_zero_slowdown_writes_trigger(48);
        options.set_level_zero_stop_writes_trigger(72);
        options.set_max_bytes_for_level_base(1 << 30);
        options.set_target_file_size_base(64 << 20);
        let rows = ColumnFamilyDescriptor::new("default", options.clone());
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        write.set_memtable_insert_hint_per_batch(true);
        Ok(Self {
            db: DB::open_cf_descriptors(&options, directory, [rows])?,
            write,
            rows: Vec::with_capacity(capacity),
            places: HashMap::default(),
            capacity,
            hand: 0,
            new,
        })
    }

    /// Counts a record for each key. Returns how many there were.
    pub(crate) fn count(&mut self, keys: &mut impl Iterator<Item = u64>) -> anyhow::Result<u64> {
        let keys: Vec<u64> = keys.by_ref().take(TOGETHER).collect();
        let mut missing = Vec::new();
        for key in &keys {
            match self.places.get(key) {
                Some(place) => self.rows[*place].is_used = true,
                None => missing.push((key_hash(key), *key)),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        self.make_room(missing.len())?;
        self.fetch(&missing)?;
        for key in &keys {
            let row = &mut self.rows[self.places[key]];
            row.value.count += 1;
            row.is_dirty = true;
        }
        Ok(keys.len() as u64)
    }

    fn fetch(&mut self, missing: &[(u64, u64)]) -> anyhow::Result<()> {
        let mut bytes = Vec::with_capacity(missing.len() * 20);
        let mut ends = Vec::with_capacity(missing.len());
        for (hash, key) in missing {
            bytes.extend_from_slice(&hash.to_be_bytes());
            codec::encode_into(key, &mut bytes)?;
            ends.push(bytes.len());
        }
        let mut start = 0;
        let slices = ends
            .iter()
            .map(|end| &bytes[std::mem::replace(&mut start, *end)..*end]);
        let found = self.db.batched_multi_get_cf(self.family()?, slices, true);
        for ((_, key), value) in missing.iter().zip(found) {
            let (value, is_dirty) = match value? {
                Some(value) => (codec::decode(&value)?, false),
                None => (self.new.clone(), true),
            };
            self.places.insert(*key, self.rows.len());
            self.rows.push(Row {
                key: *key,
                value,
                is_dirty,
                is_used: false,
            });
        }
        Ok(())
    }

    fn family(&self) -> anyhow::Result<&ColumnFamily> {
        let family = self.db.cf_handle("default");
        family.ok_or_else(|| anyhow::anyhow!("RocksDB has no default column family"))
    }

    /// Lets rows go that were not needed again, those that have changed into the database.
    fn make_room(&mut self, more: usize) -> anyhow::Result<()> {
        if self.rows.len() + more <= self.capacity {
            return Ok(());
        }
        let target = self.capacity.saturating_sub(more + LEAVING);
        let mut leaving = Vec::new();
        while self.rows.len() > target {
            self.hand %= self.rows.len();
            let row = &mut self.rows[self.hand];
            if std::mem::take(&mut row.is_used) {
                self.hand += 1;
                continue;
            }
            let row = self.rows.swap_remove(self.hand);
            self.places.remove(&row.key);
            if let Some(moved) = self.rows.get(self.hand) {
                self.places.insert(moved.key, self.hand);
            }
            if row.is_dirty {
                leaving.push((key_hash(&row.key), row));
            }
        }
        leaving.sort_unstable_by_key(|(hash, _)| *hash);
        let mut batch = WriteBatch::default();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (hash, row) in &leaving {
            key.clear();
            value.clear();
            key.extend_from_slice(&hash.to_be_bytes());
            codec::encode_into(&row.key, &mut key)?;
            codec::encode_into(&row.value, &mut value)?;
            batch.put(&key, &value);
        }
        Ok(self.db.write_opt(batch, &self.write)?)
    }
}
