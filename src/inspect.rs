//! What is in a savepoint, without the program that wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rivus_core::job::{SavedVertex, SavepointManifest, SnapshotPart};
use rivus_core::{CheckpointKind, Failure, OperatorUid, RestoredState, SnapshotBytes, read_head};
use rivus_state::{CheckpointStorage, StorageError, StoredSnapshot, savepoint_folder};
use serde::Serialize;

use crate::error::JobError;
use crate::savepoint::{HEAD_AT_ONCE, Savepoint, open, read_manifest};
use crate::storage::Storage;

/// What is in a savepoint.
#[derive(Debug, Clone, Serialize)]
pub struct SavepointContents {
    /// The id of the job that it is of.
    pub job: String,
    /// That job's name.
    pub name: String,
    /// The checkpoint that it is.
    pub checkpoint: u64,
    /// `savepoint`, `stop` or `drain`.
    pub kind: &'static str,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// The job's operators, in the order in which they were written.
    pub operators: Vec<SavedOperatorState>,
    /// What its subtasks wrote.
    pub files: Vec<SavepointFile>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Whether every byte was read, and every checksum, length and row found right.
    pub verified: bool,
}

/// One operator in a savepoint.
#[derive(Debug, Clone, Serialize)]
pub struct SavedOperatorState {
    /// Its stable name.
    pub uid: String,
    /// Its name for people.
    pub name: String,
    /// Its subtasks.
    pub parallelism: u32,
    /// Its states.
    pub states: Vec<SavedState>,
}

/// One state of an operator in a savepoint.
#[derive(Debug, Clone, Serialize)]
pub struct SavedState {
    /// Its name.
    pub name: String,
    /// Keys that have a row; none if it is the operator's own bytes.
    pub keys: Option<u64>,
    /// Bytes of its rows.
    pub bytes: u64,
    /// Key and value of its rows.
    pub schema: Option<String>,
}

/// One file of a savepoint.
#[derive(Debug, Clone, Serialize)]
pub struct SavepointFile {
    /// Its name in the savepoint's folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its checksum, crc32c.
    pub crc32c: String,
}

impl Savepoint {
    /// Looks into a savepoint. With `verify` all of it is read and checked. It blocks.
    ///
    /// # Errors
    /// [`JobError::Savepoint`] if there is none, or names what is damaged.
    ///
    /// ```
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    /// use rivus::{Savepoint, Storage, StreamEnvironment};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let dir = dir.path().to_owned();
    /// let env = StreamEnvironment::builder().storage(Storage::Directory(dir)).build();
    /// let numbers = env.from_source(GeneratorSource::new(|n, _| n).rate(1_000)).uid("numbers");
    /// numbers.sink_to(DiscardSink::new()).uid("out");
    /// let savepoint = env.start("for ever").await?.stop_with_savepoint().await?;
    ///
    /// let contents = savepoint.inspect(true)?;
    /// let operators: Vec<&str> = contents.operators.iter().map(|operator| &*operator.uid).collect();
    /// assert_eq!(operators, ["numbers", "out"]);
    /// assert!(contents.verified);
    /// # Ok(()) }
    /// ```
    pub fn inspect(&self, verify: bool) -> Result<SavepointContents, JobError> {
        let path = self.path().ok_or_else(|| {
            JobError::Savepoint(format!(
                "savepoint {self} has no folder, its environment's storage being no directory: look into it by \
                 inspect_in(..)"
            ))
        })?;
        look(&open(path)?, "", verify)
    }

    /// Looks into the savepoint of that name in a storage, which may be another than a directory. It blocks.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect), and if the storage can't be opened.
    ///
    /// ```no_run
    /// use rivus::{JobError, S3Options, Savepoint, Storage};
    ///
    /// # fn main() -> Result<(), JobError> {
    /// let bucket = Storage::S3(S3Options::new("state").prefix("orders"));
    /// let contents = Savepoint::named("67e5504410b1426f9247bb680e5fe0c8-12").inspect_in(&bucket, true)?;
    /// println!("{} bytes", contents.bytes);
    /// # Ok(()) }
    /// ```
    pub fn inspect_in(
        &self,
        storage: &Storage,
        verify: bool,
    ) -> Result<SavepointContents, JobError> {
        let storage = CheckpointStorage::new(storage.open()?);
        look(&storage, &savepoint_folder(self.name()), verify)
    }
}

/// Looks into the savepoint in a folder of a storage, or in all of it.
pub(crate) fn look(
    storage: &CheckpointStorage,
    folder: &str,
    verify: bool,
) -> Result<SavepointContents, JobError> {
    let manifest = read_manifest(storage, folder)?;
    let mut schemas = BTreeMap::new();
    for vertex in &manifest.vertices {
        for part in vertex.subtasks.iter().flat_map(|subtask| &subtask.parts) {
            let mut file = StoredSnapshot::of(storage, part);
            if !folder.is_empty() {
                file.handle.name = format!("{folder}/{}", file.handle.name);
            }
            read(file, part, verify, &mut schemas)?;
        }
    }
    Ok(contents(&manifest, &schemas, verify))
}

/// What each state looks like, as it was found in the files.
type Schemas = BTreeMap<(OperatorUid, String), BTreeSet<String>>;

/// Reads a file's head, or all of it, rows as a stream.
fn read(
    file: StoredSnapshot,
    part: &SnapshotPart,
    verify: bool,
    schemas: &mut Schemas,
) -> Result<(), JobError> {
    let name = &part.snapshot.name;
    let failed = |failure: Failure| JobError::Savepoint(failure.message);
    let damaged = |what: String| JobError::Savepoint(format!("{name} is damaged: {what}"));
    let mut restored = RestoredState::default();
    let added = if verify {
        let whole = file
            .storage
            .read_pieces::<StorageError>(&file.handle, |_| Ok(()));
        whole.map_err(|error| failed(error.failure()))?;
        let head = read_head(&file).map_err(failed)?;
        let file: Arc<dyn SnapshotBytes> = Arc::new(file);
        restored.add_streamed(&head, &file, |_, _| true)
    } else {
        let head = file.head(part, HEAD_AT_ONCE).map_err(failed)?;
        restored.add(&head, true, |_, _| true)
    };
    added.map_err(|error| damaged(error.to_string()))?;
    for state in restored.states().map_err(failed)? {
        let key = (state.operator.clone(), state.state.to_owned());
        let found = schemas.entry(key).or_default();
        found.extend(state.schemas.iter().map(ToString::to_string));
        let written = part
            .sections
            .iter()
            .find(|section| section.operator == *state.operator && section.state == state.state);
        let written = written.and_then(|section| section.rows);
        if verify && state.rows != written {
            return Err(damaged(format!(
                "state \"{}\" of operator {} has {:?} rows, {written:?} were written",
                state.state, state.operator, state.rows
            )));
        }
    }
    Ok(())
}

fn contents(manifest: &SavepointManifest, schemas: &Schemas, verified: bool) -> SavepointContents {
    let parts = manifest
        .vertices
        .iter()
        .flat_map(|vertex| &vertex.subtasks)
        .flat_map(|subtask| &subtask.parts);
    let files: Vec<SavepointFile> = parts
        .map(|part| SavepointFile {
            name: part.snapshot.name.clone(),
            bytes: part.snapshot.len,
            crc32c: format!("{:08x}", part.snapshot.crc32c),
        })
        .collect();
    let operators = manifest.vertices.iter().flat_map(|vertex| {
        vertex.operators.iter().map(|operator| SavedOperatorState {
            uid: operator.uid.to_string(),
            name: operator.name.clone(),
            parallelism: vertex.subtasks.len() as u32,
            states: states(vertex, &operator.uid, schemas),
        })
    });
    SavepointContents {
        job: manifest.job.to_string(),
        name: manifest.name.clone(),
        checkpoint: manifest.checkpoint.0,
        kind: match manifest.kind {
            CheckpointKind::Stop { drain: true } => "drain",
            CheckpointKind::Stop { drain: false } => "stop",
            CheckpointKind::Savepoint | CheckpointKind::Checkpoint | CheckpointKind::Final => {
                "savepoint"
            }
        },
        max_parallelism: manifest.max_parallelism,
        operators: operators.collect(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        files,
        verified,
    }
}

fn states(vertex: &SavedVertex, uid: &OperatorUid, schemas: &Schemas) -> Vec<SavedState> {
    let mut states: BTreeMap<&str, SavedState> = BTreeMap::new();
    let sections = vertex
        .subtasks
        .iter()
        .flat_map(|subtask| &subtask.parts)
        .flat_map(|part| &part.sections);
    for section in sections.filter(|section| section.operator == *uid) {
        let state = states.entry(&section.state).or_insert_with(|| {
            let schemas = schemas.get(&(uid.clone(), section.state.clone()));
            let schemas: Vec<&str> = schemas.into_iter().flatten().map(String::as_str).collect();
            SavedState {
                name: section.state.clone(),
                keys: None,
                bytes: 0,
                schema: (!schemas.is_empty()).then(|| schemas.join(" or ")),
            }
        });
        state.bytes += section.bytes;
        if let Some(rows) = section.rows {
            *state.keys.get_or_insert(0) += rows;
        }
    }
    states.into_values().collect()
}
