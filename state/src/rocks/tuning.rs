//! How RocksDB is set up. Rows are read one by one from anywhere, and are written in the order of their keys; an order is
//! written in its own order and read from its beginning.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, Options};

/// Bytes of a memtable.
const MEMTABLE: usize = 16 << 20;

/// Files straight from memtables before they are merged with what is below. A lookup asks the filters of those
/// of them whose keys reach over it; the more there are, the less often the whole is written again.
const FRESH_FILES: i32 = 12;

/// Bytes below which all that was merged stays one level. What lies on several is written several times more.
const ONE_LEVEL: u64 = 1 << 30;

/// Bytes of a file below the fresh ones.
const FILE: u64 = 64 << 20;

/// Rows, by key.
pub(super) fn rows() -> Options {
    let mut blocks = BlockBasedOptions::default();
    // The table above keeps the rows that are needed, decoded; a block has fifty, and one of them is needed.
    blocks.disable_cache();
    blocks.set_block_size(4 << 10);
    // Keys that are new are asked for too.
    blocks.set_bloom_filter(10.0, false);
    let mut family = levels(&blocks);
    // Most rows that are looked up are not in a memtable. So many bits are ten for a row of a hundred bytes.
    family.set_memtable_prefix_bloom_ratio(0.02);
    family.set_memtable_whole_key_filtering(true);
    family
}

/// Rows that are loaded, by key: such a file lies at the bottom, unless another one has rows between its first and last.
pub(super) fn loaded() -> Options {
    let mut family = rows();
    family.set_compression_type(DBCompressionType::Lz4);
    family
}

/// What is read in order.
pub(super) fn order(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(16 << 10);
    levels(&blocks)
}

fn levels(blocks: &BlockBasedOptions) -> Options {
    let mut family = Options::default();
    family.set_block_based_table_factory(blocks);
    family.set_write_buffer_size(MEMTABLE);
    // Two families in each store: what a small one takes at once must not fill the budget.
    family.set_arena_block_size(128 << 10);
    // What is young is soon written again.
    family.set_compression_type(DBCompressionType::None);
    family.set_bottommost_compression_type(DBCompressionType::Lz4);
    family.set_level_compaction_dynamic_level_bytes(true);
    family.set_level_zero_file_num_compaction_trigger(FRESH_FILES);
    family.set_level_zero_slowdown_writes_trigger(4 * FRESH_FILES);
    family.set_level_zero_stop_writes_trigger(6 * FRESH_FILES);
    family.set_max_bytes_for_level_base(ONE_LEVEL);
    family.set_target_file_size_base(FILE);
    family
}
