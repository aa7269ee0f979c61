//! How RocksDB is set up. Rows are read one by one from anywhere, and are written in the order of their keys; an order is
//! written in its own order and read from its beginning.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, Options};

/// Bytes of a memtable.
const MEMTABLE: usize = 16 << 20;

/// Files straight from memtables before they are merged with what is below. A lookup asks the filters of those
/// of them whose keys reach over it; the more there are, the less often the whole is written again.
const FRESH_FILES: i32 = 12;

/// What a memtable's file has in bytes, about: the rest of it was the memtable's own.
const FRESH_FILE: u64 = (MEMTABLE / 8 * 5) as u64;

/// The option that says how many fresh files set a merge off.
pub(super) const MERGED_FROM: &str = "level0_file_num_compaction_trigger";

/// It is said anew when it has changed by so many: each time costs RocksDB some files' worth of syncing.
const STEP: i32 = 2;

/// How many fresh files set a merge off where there are so many of so many bytes together. RocksDB counts files, and each checkpoint
/// leaves one that isn't full: what is to be merged is that many full ones' bytes, in twice as many files at the most.
pub(super) fn merged_from(files: usize, bytes: u64) -> i32 {
    let full = FRESH_FILES as u64 * FRESH_FILE;
    let more = full.saturating_sub(bytes).div_ceil(FRESH_FILE);
    let files = i32::try_from(files as u64 + more).unwrap_or(i32::MAX);
    let files = files.clamp(FRESH_FILES, 2 * FRESH_FILES);
    (files + STEP / 2) / STEP * STEP
}

/// A database that comes with files has as many fresh ones as there were, and doesn't begin by merging them.
pub(super) fn begin_with_what_is_there(family: &mut Options) {
    family.set_level_zero_file_num_compaction_trigger(2 * FRESH_FILES);
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_merged_when_there_are_so_many_bytes_of_them_or_twice_as_many() {
        // As full ones, as few.
        assert_eq!(merged_from(0, 0), FRESH_FILES);
        assert_eq!(merged_from(12, 12 * FRESH_FILE), FRESH_FILES);
        assert_eq!(merged_from(3, 90 * FRESH_FILE), FRESH_FILES);
        // Two and four are half full.
        assert_eq!(merged_from(7, 6 * FRESH_FILE), FRESH_FILES + STEP);
        assert_eq!(merged_from(10, 8 * FRESH_FILE), FRESH_FILES + STEP);
        assert_eq!(merged_from(11, 8 * FRESH_FILE), FRESH_FILES + 2 * STEP);
        // A checkpoint each second, and little that changes.
        assert_eq!(merged_from(23, FRESH_FILE), 2 * FRESH_FILES);
    }
}
