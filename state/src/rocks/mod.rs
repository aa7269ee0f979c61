//! The RocksDB backend: state that outgrows memory.

mod image;
mod process;
mod tuning;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use rivus_core::{
    AttemptId, Changes, EachEntry, EachFound, Failure, JobId, OperatorUid, Space, StateStore,
    StoreImage, StoreScan, Stores,
};
use rocksdb::properties::ESTIMATE_TABLE_READERS_MEM;
use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, IngestExternalFileOptions,
    LiveFile, LogLevel, Options, ReadOptions, SstFileWriter, WriteBatch, WriteBufferManager,
    WriteOptions,
};
use self_cell::self_cell;

use self::image::{RocksImage, lay_out};
use self::process::Process;
use crate::backend::StateBackend;

/// What images of these stores are called.
const FORMAT: &str = "RocksDB";

/// Keyed state in RocksDB, one database per operator and attempt, in a directory of the attempt's own.
///
/// One budget holds for all stores of a process together. A third is RocksDB's, for memtables and for blocks of what is
/// read in order. The rest is for rows, decoded and shared out among the stores that are open, less what the indexes and
/// filters of RocksDB's files take, about two bytes a key, and less what memtables have beyond their third for a moment; a
/// quarter of the budget is for rows in any case. What a store is about to write, some megabytes, and rows that change
/// while the files of a checkpoint are made come on top of it. A file's blocks of rows are not kept: of fifty rows in a block
/// one is wanted, and that one is kept decoded. There is no write-ahead log; what a
/// failure loses, the checkpoint has: the database's files. Those of the last one stay on the disk, linked, so that a
/// restart in this process begins with them.
///
/// The directory may be shared by processes. Each has its own part of it, which goes with it; what one left that was killed
/// goes when the next one comes.
///
/// ```
/// use rivus_state::RocksDbBackend;
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let backend = RocksDbBackend::new(directory)?.memory(256 << 20);
/// # let _: &dyn rivus_state::StateBackend = &backend;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RocksDbBackend {
    process: Arc<Process>,
    files_from: u64,
    memory: Arc<Memory>,
}

/// What all stores of a process share.
struct Memory {
    bytes: usize,
    blocks: Cache,
    memtables: WriteBufferManager,
    stores: AtomicUsize,
    /// Bytes of all rows in memory, as the tables estimate them.
    rows: AtomicUsize,
    /// Bytes of all indexes and filters.
    indexes: AtomicUsize,
}

/// What the stores of a backend take of its memory, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RocksDbMemory {
    /// Rows, decoded, as the tables above estimate them.
    pub rows: usize,
    /// RocksDB's memtables.
    pub memtables: usize,
    /// Blocks in RocksDB's cache.
    pub blocks: usize,
    /// Indexes and filters of RocksDB's files.
    pub indexes: usize,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stores = self.stores.load(Relaxed);
        write!(f, "{} bytes for {stores} stores", self.bytes)
    }
}

/// With less RocksDB would write tiny files all the time, and with none it would bound its memtables no more.
const LEAST_MEMORY: usize = 1 << 20;

/// Files that one store alone keeps open. Of ten, nine hundred are, which is what a process may have by default.
const OPEN_FILES: i32 = 256;

/// With fewer RocksDB would open a file for nearly each read.
const LEAST_OPEN_FILES: i32 = 24;

/// Rows of so many bytes are written in some milliseconds; so long it takes to flush, link and store files.
const FILES_FROM: u64 = 1 << 20;

/// Without a word: as much as a small container allows.
const DEFAULT_MEMORY: usize = 256 << 20;

impl Memory {
    fn new(bytes: usize) -> Self {
        let blocks = Cache::new_lru_cache(bytes / 3);
        Self {
            bytes,
            // Memtables are counted in the block cache, so that both together keep to their third.
            memtables: WriteBufferManager::new_write_buffer_manager_with_cache(
                bytes / 6,
                false,
                blocks.clone(),
            ),
            blocks,
            stores: AtomicUsize::new(0),
            rows: AtomicUsize::new(0),
            indexes: AtomicUsize::new(0),
        }
    }

    /// Bytes that rows of one store may take, whose rows take `own` now: an equal part, or what the others have left of it. An
    /// eighth of it in any case: what they have beyond theirs goes with their next load or checkpoint.
    fn share(&self, own: usize) -> usize {
        // A checkpoint that writes all that changed fills memtables faster than they are flushed.
        let rocks = self.memtables.get_usage().max(self.bytes / 3);
        let all = self.bytes.saturating_sub(rocks);
        let rows = all.saturating_sub(self.indexes.load(Relaxed));
        let rows = rows.max(self.bytes / 4);
        let part = rows / self.stores.load(Relaxed).max(1);
        let others = self.rows.load(Relaxed).saturating_sub(own);
        part.min(rows.saturating_sub(others)).max(part / 8)
    }

    /// Files that the next store may have open: the first ones leave enough for some more.
    fn open_files(&self) -> i32 {
        (OPEN_FILES / (1 + self.stores.load(Relaxed) as i32)).max(LEAST_OPEN_FILES)
    }
}

/// A store's part in one of the sums.
#[derive(Default)]
struct Part(AtomicUsize);

impl Part {
    fn set(&self, sum: &AtomicUsize, bytes: usize) {
        let before = self.0.swap(bytes, Relaxed);
        // Wraps around to the right sum, whichever is larger.
        sum.fetch_add(bytes.wrapping_sub(before), Relaxed);
    }
}

impl RocksDbBackend {
    /// Stores under a directory, with 256 MiB of memory for all of them.
    ///
    /// # Errors
    /// If a directory for this process can't be made there.
    pub fn new(directory: impl AsRef<Path>) -> io::Result<Self> {
        let directory = directory.as_ref();
        let process = Process::begin(directory).map_err(|error| {
            let message = format!(
                "state can't be kept in {}: {error}: give a directory that can be written",
                directory.display()
            );
            io::Error::new(error.kind(), message)
        })?;
        Ok(Self {
            process: Arc::new(process),
            memory: Arc::new(Memory::new(DEFAULT_MEMORY)),
            files_from: FILES_FROM,
        })
    }

    /// So many bytes of memory for all stores together, at least 1 MiB; less is refused when the first job starts.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = Arc::new(Memory::new(bytes));
        self
    }

    /// An operator's rows in one subtask that have so many bytes, 1 MiB without a word, go into a checkpoint as files; fewer
    /// are written each time, row by row, which is less work than making files and seeing them onto the disk.
    ///
    /// ```
    /// use rivus_state::RocksDbBackend;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// // Where checkpoints are frequent and few rows change between them, files pay off earlier.
    /// let backend = RocksDbBackend::new(directory)?.files_from(64 << 10);
    /// # let _: &dyn rivus_state::StateBackend = &backend;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn files_from(mut self, bytes: u64) -> Self {
        self.files_from = bytes;
        self
    }

    /// What is taken of the memory now.
    ///
    /// ```
    /// use rivus_state::RocksDbBackend;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// let backend = RocksDbBackend::new(directory)?;
    /// let jobs_run_over = backend.clone(); // the same memory
    /// # let _ = jobs_run_over;
    /// let used = backend.memory_used();
    /// assert_eq!(used.rows + used.indexes, 0); // nothing runs yet
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn memory_used(&self) -> RocksDbMemory {
        let memtables = self.memory.memtables.get_usage();
        RocksDbMemory {
            rows: self.memory.rows.load(Relaxed),
            memtables,
            blocks: self.memory.blocks.get_usage().saturating_sub(memtables),
            indexes: self.memory.indexes.load(Relaxed),
        }
    }
}

impl StateBackend for RocksDbBackend {
    fn check(&self) -> Result<(), String> {
        match self.memory.bytes {
            ..LEAST_MEMORY => Err(format!(
                "state backend RocksDB: memory of {} bytes is too little: give .memory({LEAST_MEMORY}) or more, \
                 or set a service's rocksdb.memory to {}MiB",
                self.memory.bytes,
                LEAST_MEMORY.div_ceil(1 << 20)
            )),
            _ => Ok(()),
        }
    }

    fn format(&self) -> &str {
        FORMAT
    }

    fn stores(&self, job: JobId, attempt: AttemptId) -> Box<dyn Stores> {
        let AttemptId { subtask, attempt } = attempt;
        let name = format!("{job}-{}-{}-{attempt}", subtask.vertex, subtask.index);
        Box::new(RocksStores {
            directory: self.process.directory.join(name),
            process: Arc::clone(&self.process),
            memory: Arc::clone(&self.memory),
            files_from: self.files_from,
        })
    }
}

/// The stores of one attempt.
struct RocksStores {
    directory: PathBuf,
    process: Arc<Process>,
    memory: Arc<Memory>,
    files_from: u64,
}

const ROWS: &str = "default";
const ORDER: &str = "order";

impl Stores for RocksStores {
    fn open(
        &self,
        operator: &OperatorUid,
        from: Option<&dyn StoreImage>,
    ) -> Result<Arc<dyn StateStore>, Failure> {
        // A uid may hold anything; a directory's name may not.
        let name = format!("{:016x}", rivus_core::key_hash(operator));
        let path = self.directory.join(name);
        let failed = |error: &dyn std::fmt::Display| {
            Failure::attempt(format!(
                "state of operator {operator} can't be kept in {}: {error}",
                path.display()
            ))
        };
        fs::create_dir_all(&self.directory).map_err(|error| failed(&error))?;
        fs::create_dir(&path).map_err(|error| failed(&error))?;
        // It goes with what was laid out in it if the database can't be opened.
        let directory = Directory {
            directory: path.clone(),
            attempt: self.directory.clone(),
            process: Arc::clone(&self.process),
        };
        if let Some(image) = from {
            lay_out(image, &directory.directory, operator)?;
        }
        // What lasts is the checkpoint: nothing is written at the end only to be deleted.
        let mut options = Options::default();
        let mut options = options
            .get_options_from_string("avoid_flush_during_shutdown=true")
            .map_err(|error| failed(&error))?;
        options.create_if_missing(from.is_none());
        options.set_error_if_exists(from.is_none());
        options.set_max_open_files(self.memory.open_files());
        options.create_missing_column_families(true);
        options.set_write_buffer_manager(&self.memory.memtables);
        options.set_max_background_jobs(2);
        // The database is nobody's memory: its files matter, its log doesn't.
        options.set_keep_log_file_num(1);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        let mut rows = tuning::rows();
        if from.is_some() {
            tuning::begin_with_what_is_there(&mut rows);
        }
        let families = [
            ColumnFamilyDescriptor::new(ROWS, rows),
            ColumnFamilyDescriptor::new(ORDER, tuning::order(&self.memory.blocks)),
        ];
        let db = DB::open_cf_descriptors(&options, &directory.directory, families)
            .map_err(|error| failed(&error))?;
        self.memory.stores.fetch_add(1, Relaxed);
        Ok(Arc::new(RocksStore {
            open: Arc::new(Open { db, directory }),
            memory: Arc::clone(&self.memory),
            files_from: self.files_from,
            rows: Part::default(),
            indexes: Part::default(),
            writes: AtomicUsize::new(0),
            loaded: AtomicUsize::new(0),
            merged_from: AtomicI32::new(0),
        }))
    }
}

/// An open database; its directory goes when it has been closed.
struct Open {
    db: DB,
    directory: Directory,
}

struct Directory {
    directory: PathBuf,
    attempt: PathBuf,
    /// Goes last.
    process: Arc<Process>,
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "state that is not needed any more can't be removed");
        }
        // The attempt's last store takes its directory along.
        let _ = fs::remove_dir(&self.attempt);
    }
}

/// One operator's database.
struct RocksStore {
    open: Arc<Open>,
    memory: Arc<Memory>,
    files_from: u64,
    rows: Part,
    indexes: Part,
    writes: AtomicUsize,
    /// Files of rows that it was loaded with.
    loaded: AtomicUsize,
    /// How many fresh files set a merge off, once that has been said.
    merged_from: AtomicI32,
}

/// Writes after which indexes and filters are measured again: a memtable's worth, about.
const MEASURED_EVERY: usize = 16;

impl Drop for RocksStore {
    fn drop(&mut self) {
        self.rows.set(&self.memory.rows, 0);
        self.indexes.set(&self.memory.indexes, 0);
        self.memory.stores.fetch_sub(1, Relaxed);
    }
}

impl RocksStore {
    fn measure_indexes(&self) {
        let bytes = self.open.db.property_int_value(ESTIMATE_TABLE_READERS_MEM);
        // A figure that RocksDB doesn't have is no reason to fail.
        if let Ok(Some(bytes)) = bytes {
            self.indexes.set(&self.memory.indexes, bytes as usize);
        }
    }

    /// A checkpoint has left a fresh file that isn't full: that is not to set a merge off earlier.
    fn merge_by_bytes(&self) -> Result<(), rocksdb::Error> {
        let files = self.open.db.live_files()?;
        let is_fresh = |file: &&LiveFile| file.level == 0 && file.column_family_name == ROWS;
        let fresh = files.iter().filter(is_fresh);
        let bytes: u64 = fresh.clone().map(|file| file.size as u64).sum();
        let from = tuning::merged_from(fresh.count(), bytes);
        if let Some(rows) = self.open.db.cf_handle(ROWS)
            && self.merged_from.load(Relaxed) != from
        {
            let options = [(tuning::MERGED_FROM, &*from.to_string())];
            self.open.db.set_options_cf(rows, &options)?;
            self.merged_from.store(from, Relaxed);
        }
        Ok(())
    }
}

impl Open {
    fn failed(&self, error: &rocksdb::Error) -> Failure {
        let directory = self.db.path().display();
        Failure::attempt(format!(
            "the state store in {directory} failed: {error}: see to the disk, the job goes on from its last checkpoint"
        ))
    }

    fn family(&self, space: Space) -> Result<&ColumnFamily, Failure> {
        let name = match space {
            Space::Rows => ROWS,
            Space::Order => ORDER,
        };
        self.db
            .cf_handle(name)
            .ok_or_else(|| Failure::attempt(format!("state store: no column family {name}")))
    }
}

impl StateStore for RocksStore {
    fn get_many(&self, keys: &[&[u8]], each: EachFound<'_>) -> Result<(), Failure> {
        let rows = self.open.family(Space::Rows)?;
        let sorted = keys.is_sorted();
        let keys = keys.iter().copied();
        let found = self.open.db.batched_multi_get_cf(rows, keys, sorted);
        for (place, value) in found.into_iter().enumerate() {
            if let Some(value) = value.map_err(|error| self.open.failed(&error))? {
                each(place, &value)?;
            }
        }
        Ok(())
    }

    fn write(&self, changes: &Changes) -> Result<(), Failure> {
        let rows = self.open.family(Space::Rows)?;
        let order = self.open.family(Space::Order)?;
        // A record of the batch has a kind and two lengths beside key and value.
        let mut batch = WriteBatch::with_capacity_bytes(changes.bytes() + 8 * changes.len());
        for (space, key, value) in changes.iter() {
            let family = match space {
                Space::Rows => rows,
                Space::Order => order,
            };
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        // They come in the order of their keys.
        options.set_memtable_insert_hint_per_batch(true);
        let written = self.open.db.write_opt(batch, &options);
        if self
            .writes
            .fetch_add(1, Relaxed)
            .is_multiple_of(MEASURED_EVERY)
        {
            self.measure_indexes();
        }
        written.map_err(|error| self.open.failed(&error))
    }

    /// Rows come as files of their own, past the memtables: written once, in order, and put where they stay.
    fn load(&self, rows: &Changes) -> Result<(), Failure> {
        let failed = |error: rocksdb::Error| self.open.failed(&error);
        let mut rows: Vec<(&[u8], &[u8])> = rows
            .iter()
            .filter_map(|(_, key, value)| Some((key, value?)))
            .collect();
        // What another store wrote is in order already, and what a table in memory did nearly is.
        rows.sort_by_key(|(key, _)| *key);
        let number = self.loaded.fetch_add(1, Relaxed);
        let file = self
            .open
            .directory
            .directory
            .join(format!("{number}.loaded"));
        let options = tuning::loaded();
        let mut writer = SstFileWriter::create(&options);
        writer.open(&file).map_err(failed)?;
        for (key, value) in rows {
            writer.put(key, value).map_err(failed)?;
        }
        writer.finish().map_err(failed)?;
        let mut into = IngestExternalFileOptions::default();
        into.set_move_files(true);
        let family = self.open.family(Space::Rows)?;
        let taken = (self.open.db).ingest_external_file_cf_opts(family, &into, vec![file]);
        self.measure_indexes();
        taken.map_err(failed)
    }

    fn cache_bytes(&self, taken: usize) -> usize {
        self.rows.set(&self.memory.rows, taken);
        self.memory.share(taken)
    }

    fn scan(&self, space: Space, from: &[u8]) -> Result<Box<dyn StoreScan>, Failure> {
        let iterator = OwnedIterator::try_new(Arc::clone(&self.open), |open| {
            let options = ReadOptions::default();
            let family = open.family(space)?;
            let mut iterator = open.db.raw_iterator_cf_opt(family, options);
            iterator.seek(from);
            Ok::<_, Failure>(iterator)
        })?;
        Ok(Box::new(iterator))
    }

    fn files_from(&self) -> u64 {
        self.files_from
    }

    fn image(&self) -> Result<Arc<dyn StoreImage>, Failure> {
        let image = RocksImage::of(&self.open, &self.open.directory.process)?;
        Ok(Arc::new(image))
    }

    fn imaged(&self) {
        if let Err(error) = self.merge_by_bytes() {
            let directory = self.open.db.path().display();
            tracing::warn!(%directory, %error, "files are merged when there are as many as before");
        }
    }
}

self_cell!(
    /// An iterator that keeps its database open. It sees what was there when it was made.
    struct OwnedIterator {
        owner: Arc<Open>,
        #[not_covariant]
        dependent: DBRawIterator,
    }
);

impl StoreScan for OwnedIterator {
    fn read(&mut self, each: EachEntry<'_>) -> Result<bool, Failure> {
        self.with_dependent_mut(|open, iterator| {
            while let Some((key, value)) = iterator.item() {
                let more = each(key, value)?;
                iterator.next();
                if !more {
                    return Ok(true);
                }
            }
            iterator.status().map_err(|error| open.failed(&error))?;
            Ok(false)
        })
    }
}
