//! A store in memory, with files: for simulations, and beside which others are tested.
//!
//! ```text
//! 000007.run    what changed since the image before, or everything:  entry*
//! entry         space:u8 key-length:u32 key  0 | 1 value-length:u32 value
//! RUNS          names of the runs that make up the store, oldest first, a line each; and the number of the next
//! ```
//!
//! It does with its files what a log-structured store does: a new one holds what has changed, and now and then all are
//! merged into one. Numbers go on from those of the image that a store was opened with, so two attempts
//! that begin with the same image make different files of the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Changes, EachEntry, EachFound, EachPiece, ImageFile, Space, StateStore, StoreImage, StoreScan,
    Stores,
};
use crate::failure::Failure;
use crate::ids::OperatorUid;

/// Runs that are merged into one.
const MERGED: usize = 4;

/// The file that names the others.
const RUNS: &str = "RUNS";

const FORMAT: &str = "memory";

/// Bytes of a file that are read at a time.
const PIECE: usize = 1 << 10;

type Key = (Space, Vec<u8>);

type Entries = BTreeMap<Key, Vec<u8>>;

#[derive(Debug, Default)]
struct Content {
    entries: Entries,
    /// Keys that have changed since the last image.
    changed: BTreeSet<Key>,
    /// What earlier images hold, oldest first.
    runs: Vec<(String, Arc<[u8]>)>,
    next_run: u64,
}

/// A store in memory.
///
/// ```
/// use rivus_core::{Changes, MemoryStore, Space, StateStore};
///
/// let store = MemoryStore::default();
/// let mut changes = Changes::default();
/// changes.put(Space::Rows, |key| Ok::<_, ()>(key.push(1)), |value| Ok(value.push(7))).unwrap();
/// store.write(&changes)?;
/// let mut found = Vec::new();
/// store.get_many(&[&[0], &[1]], &mut |place, value| {
///     found.push((place, value.to_vec()));
///     Ok(())
/// })?;
/// assert_eq!(found, [(1, vec![7])]);
/// let image = store.image()?;
/// let names: Vec<&str> = image.files().iter().map(|file| &*file.name).collect();
/// assert_eq!(names, ["000000.run", "RUNS"]);
/// # Ok::<(), rivus_core::Failure>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    content: Mutex<Content>,
    cache_bytes: usize,
}

impl MemoryStore {
    fn content(&self) -> std::sync::MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryStore {
    fn get_many(&self, keys: &[&[u8]], each: EachFound<'_>) -> Result<(), Failure> {
        let content = self.content();
        for (place, key) in keys.iter().enumerate() {
            if let Some(value) = content.entries.get(&(Space::Rows, key.to_vec())) {
                each(place, value)?;
            }
        }
        Ok(())
    }

    fn write(&self, changes: &Changes) -> Result<(), Failure> {
        let mut content = self.content();
        for (space, key, value) in changes.iter() {
            let key = (space, key.to_vec());
            content.changed.insert(key.clone());
            match value {
                Some(value) => content.entries.insert(key, value.to_vec()),
                None => content.entries.remove(&key),
            };
        }
        Ok(())
    }

    fn cache_bytes(&self, _taken: usize) -> usize {
        self.cache_bytes
    }

    fn scan(&self, space: Space, from: &[u8]) -> Result<Box<dyn StoreScan>, Failure> {
        let content = self.content();
        let from = content.entries.range((space, from.to_vec())..);
        let of_space = from.take_while(|((other, _), _)| *other == space);
        let entries: Vec<_> = of_space
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        Ok(Box::new(MemoryScan(entries.into_iter())))
    }

    fn image(&self) -> Result<Arc<dyn StoreImage>, Failure> {
        Ok(Arc::new(self.content().image()))
    }
}

impl Content {
    fn image(&mut self) -> MemoryImage {
        let mut changed = std::mem::take(&mut self.changed);
        if self.runs.len() + 1 >= MERGED {
            self.runs.clear();
            changed = self.entries.keys().cloned().collect();
        }
        if !changed.is_empty() {
            let mut run = Vec::new();
            for key in &changed {
                encode_entry(key, self.entries.get(key), &mut run);
            }
            let name = format!("{:06}.run", self.next_run);
            self.next_run += 1;
            self.runs.push((name, run.into()));
        }
        let mut index = String::new();
        for (name, _) in &self.runs {
            index.push_str(name);
            index.push('\n');
        }
        index.push_str(&self.next_run.to_string());
        let mut contents = self.runs.clone();
        contents.push((RUNS.to_owned(), index.into_bytes().into()));
        MemoryImage::new(contents)
    }

    /// What an image holds.
    fn open(image: &dyn StoreImage) -> Result<Self, Failure> {
        let damaged = || Failure::attempt("an image of a store in memory is damaged");
        let index = String::from_utf8(whole(image, RUNS)?).map_err(|_| damaged())?;
        let mut lines: Vec<&str> = index.lines().collect();
        let next_run = lines.pop().and_then(|line| line.parse().ok());
        let mut content = Self {
            next_run: next_run.ok_or_else(damaged)?,
            ..Self::default()
        };
        for name in lines {
            let run = whole(image, name)?;
            let mut rest = run.as_slice();
            while !rest.is_empty() {
                let (key, value) = decode_entry(&mut rest).ok_or_else(damaged)?;
                match value {
                    Some(value) => content.entries.insert(key, value),
                    None => content.entries.remove(&key),
                };
            }
            content.runs.push((name.to_owned(), run.into()));
        }
        Ok(content)
    }
}

fn encode_entry((space, key): &Key, value: Option<&Vec<u8>>, out: &mut Vec<u8>) {
    let append = |bytes: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    out.push(u8::from(*space == Space::Order));
    append(key, out);
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        append(value, out);
    }
}

fn decode_entry(rest: &mut &[u8]) -> Option<(Key, Option<Vec<u8>>)> {
    fn byte(rest: &mut &[u8]) -> Option<u8> {
        let (first, after) = rest.split_first()?;
        *rest = after;
        Some(*first)
    }
    fn bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *rest = after;
        Some(bytes.to_vec())
    }
    let space = match byte(rest)? {
        0 => Space::Rows,
        _ => Space::Order,
    };
    let key = bytes(rest)?;
    let value = match byte(rest)? {
        0 => None,
        _ => Some(bytes(rest)?),
    };
    Some(((space, key), value))
}

/// All bytes of a file.
fn whole(image: &dyn StoreImage, file: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    image.read(file, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

#[derive(Debug)]
struct MemoryImage {
    files: Vec<ImageFile>,
    contents: BTreeMap<String, Arc<[u8]>>,
}

impl MemoryImage {
    fn new(contents: Vec<(String, Arc<[u8]>)>) -> Self {
        let files = contents.iter().map(|(name, content)| ImageFile {
            name: name.clone(),
            bytes: content.len() as u64,
            is_lasting: name != RUNS,
        });
        Self {
            files: files.collect(),
            contents: contents.into_iter().collect(),
        }
    }
}

impl StoreImage for MemoryImage {
    fn format(&self) -> &str {
        FORMAT
    }

    fn files(&self) -> &[ImageFile] {
        &self.files
    }

    fn read(&self, file: &str, each: EachPiece<'_>) -> Result<(), Failure> {
        let Some(content) = self.contents.get(file) else {
            return Err(Failure::attempt(format!("an image has no file {file}")));
        };
        content.chunks(PIECE).try_for_each(each)
    }
}

struct MemoryScan(std::vec::IntoIter<(Vec<u8>, Vec<u8>)>);

impl StoreScan for MemoryScan {
    fn read(&mut self, each: EachEntry<'_>) -> Result<bool, Failure> {
        for (key, value) in self.0.by_ref() {
            if !each(&key, &value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Stores in memory, with room for so many bytes of rows.
#[derive(Debug, Clone, Copy)]
pub struct MemoryStores {
    /// Bytes that one operator's rows may take in memory.
    pub cache_bytes: usize,
}

impl MemoryStores {
    /// What files of these stores are called.
    pub const FORMAT: &str = FORMAT;
}

impl Stores for MemoryStores {
    fn open(
        &self,
        operator: &OperatorUid,
        from: Option<&dyn StoreImage>,
    ) -> Result<Arc<dyn StateStore>, Failure> {
        let content = match from {
            None => Content::default(),
            Some(image) if image.format() == FORMAT => Content::open(image)?,
            Some(image) => return Err(image.refused_by(operator, FORMAT)),
        };
        Ok(Arc::new(MemoryStore {
            content: Mutex::new(content),
            cache_bytes: self.cache_bytes,
        }))
    }
}
