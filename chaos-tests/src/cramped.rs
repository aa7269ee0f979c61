//! RocksDB with hardly any room for rows above it. Its own budget begins at 1 MiB, which holds all the rows of so small a job: here rows
//! are written, forgotten and read again all the time.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rivus::engine::core::{
    AttemptId, Changes, EachFound, OperatorUid, Space, StateStore, StoreImage, StoreScan, Stores,
};
use rivus::{Failure, JobId, RocksDbBackend, StateBackend};

/// Bytes for memtables and blocks of all stores: so many that few memtables are flushed but for checkpoints.
const MEMORY: usize = 64 << 20;

/// RocksDB under a directory; see the [module](self).
#[derive(Debug)]
pub struct Cramped {
    rocks: RocksDbBackend,
    cache_bytes: usize,
}

impl Cramped {
    /// With room for so many bytes of each store's rows. Stores with as many become files in a checkpoint.
    pub fn new(directory: &Path, cache_bytes: usize) -> io::Result<Self> {
        let rocks = RocksDbBackend::new(directory)?.memory(MEMORY);
        Ok(Self {
            rocks: rocks.files_from(cache_bytes as u64),
            cache_bytes,
        })
    }
}

impl StateBackend for Cramped {
    fn check(&self) -> Result<(), String> {
        self.rocks.check()
    }

    fn format(&self) -> &str {
        self.rocks.format()
    }

    fn stores(&self, job: JobId, attempt: AttemptId) -> Box<dyn Stores> {
        Box::new(CrampedStores {
            stores: self.rocks.stores(job, attempt),
            cache_bytes: self.cache_bytes,
        })
    }
}

struct CrampedStores {
    stores: Box<dyn Stores>,
    cache_bytes: usize,
}

impl Stores for CrampedStores {
    fn open(
        &self,
        operator: &OperatorUid,
        from: Option<&dyn StoreImage>,
    ) -> Result<Arc<dyn StateStore>, Failure> {
        Ok(Arc::new(CrampedStore {
            store: self.stores.open(operator, from)?,
            cache_bytes: self.cache_bytes,
        }))
    }
}

struct CrampedStore {
    store: Arc<dyn StateStore>,
    cache_bytes: usize,
}

impl StateStore for CrampedStore {
    fn get_many(&self, keys: &[&[u8]], each: EachFound<'_>) -> Result<(), Failure> {
        self.store.get_many(keys, each)
    }

    fn write(&self, changes: &Changes) -> Result<(), Failure> {
        self.store.write(changes)
    }

    fn load(&self, rows: &Changes) -> Result<(), Failure> {
        self.store.load(rows)
    }

    fn cache_bytes(&self, taken: usize) -> usize {
        self.store.cache_bytes(taken).min(self.cache_bytes)
    }

    fn scan(&self, space: Space, from: &[u8]) -> Result<Box<dyn StoreScan>, Failure> {
        self.store.scan(space, from)
    }

    fn files_from(&self) -> u64 {
        self.store.files_from()
    }

    fn image(&self) -> Result<Arc<dyn StoreImage>, Failure> {
        self.store.image()
    }

    fn imaged(&self) {
        self.store.imaged();
    }
}
