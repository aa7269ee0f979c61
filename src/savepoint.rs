//! Savepoints, and jobs that go on from them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rivus_actors::NodeContext;
use rivus_core::job::{SavepointManifest, SnapshotPart, StartState};
use rivus_core::{
    Failure, JobGraph, JobId, LeaderEpoch, OperatorUid, RestoredState, SnapshotBytes,
    WrittenStates, codec,
};
use rivus_state::{
    CheckpointStorage, ObjectStorage, SAVEPOINTS, StorageError, StoredSnapshot, checkpoint_folder,
    savepoint_folder,
};

use crate::environment::StreamEnvironment;
use crate::error::JobError;
use crate::handle::{JobHandle, JobResult};
use crate::kept;

/// Bytes up to which a file's head is read at once.
pub(crate) const HEAD_AT_ONCE: u64 = 4 << 20;

/// All state of a job at one moment, for whoever asked for it: a folder that is whole by itself. It lies below the storage of
/// the environment whose job it is of, and may be copied, moved and deleted like any folder.
///
/// | what is another in the job that goes on | |
/// |---|---|
/// | its parallelism, its chains, its state backend, its settings | goes on |
/// | an operator is new | begins empty |
/// | fields of state were removed, or added with `#[serde(default)]` | goes on |
/// | state is of another form otherwise | refused, unless there is a function for it ([`StreamEnvironment::migrate`]) |
/// | an operator of the same uid keeps other state | refused, unless [`FromSavepoint::drop_state_of`] names it |
/// | an operator is gone that had state | refused, unless [`FromSavepoint::drop_state_of`] names it |
/// | the number of key groups (`max_parallelism`) | refused |
///
/// A job whose state is worth keeping has a [`uid`](crate::DataStream::uid) at every operator with state, sources and
/// sinks among them: one that is derived from an operator's place is another when the place is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Savepoint {
    name: String,
    path: Option<PathBuf>,
}

impl Savepoint {
    pub(crate) fn of(name: String, directory: Option<&Path>) -> Self {
        Self {
            path: directory.map(|directory| directory.join(SAVEPOINTS).join(&name)),
            name,
        }
    }

    /// Where it is to be looked for by an environment whose storage is this directory, if it is one. A folder is known however it is
    /// spelled: from where the process is, or through links. It may block.
    pub(crate) fn place(&self, directory: Option<&Path>) -> Place {
        let Some(path) = &self.path else {
            return Place::Own(self.name.clone());
        };
        let path = path.canonicalize().unwrap_or_else(|_| path.clone());
        let own = directory.and_then(|directory| directory.join(SAVEPOINTS).canonicalize().ok());
        match path.file_name() {
            Some(name) if own.is_some() && own.as_deref() == path.parent() => {
                Place::Own(name.to_string_lossy().into_owned())
            }
            _ => Place::Elsewhere(path),
        }
    }

    /// The savepoint in a folder, which may lie anywhere: if not below the environment's own storage, a job that
    /// starts from it copies it there first, and deletes the copy when it doesn't need it any more.
    ///
    /// It may be the folder of a checkpoint, too: the last one of a job that has failed
    /// ([`JobHandle::kept_checkpoint`]). The same program goes on from it, at the same parallelism, in the storage where it lies; the
    /// folder of that job has to stay there.
    ///
    /// ```
    /// use rivus::Savepoint;
    ///
    /// let savepoint = Savepoint::at("/backup/before-the-upgrade");
    /// assert_eq!(savepoint.name(), "before-the-upgrade");
    /// ```
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().unwrap_or_default();
        Self {
            name: name.to_string_lossy().into_owned(),
            path: Some(path),
        }
    }

    /// The savepoint of a name in the environment's own storage, which may be another than a directory.
    ///
    /// ```
    /// use rivus::Savepoint;
    ///
    /// let savepoint = Savepoint::named("67e5504410b1426f9247bb680e5fe0c8-12");
    /// assert_eq!(savepoint.path(), None);
    /// ```
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: None,
        }
    }

    /// Its name: that of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder; none if the environment's storage is no directory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

/// Where a savepoint lies, for an environment that looks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its own storage, by this name.
    Own(String),
    /// In this folder.
    Elsewhere(PathBuf),
}

impl fmt::Display for Savepoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A job that is to go on from a savepoint; see [`StreamEnvironment::from_savepoint`].
#[must_use = "nothing runs before `start` or `execute`"]
pub struct FromSavepoint {
    env: StreamEnvironment,
    savepoint: Savepoint,
    dropped: BTreeSet<OperatorUid>,
}

impl FromSavepoint {
    pub(crate) fn new(env: StreamEnvironment, savepoint: Savepoint) -> Self {
        Self {
            env,
            savepoint,
            dropped: BTreeSet::new(),
        }
    }

    /// Lets an operator's state go: the job has no operator of this uid any more, or it is to begin empty.
    ///
    /// ```
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = || env.from_source(GeneratorSource::new(|n, _| n).rate(1_000).count(200)).uid("numbers");
    /// numbers().map(|n| n * n).sink_to(DiscardSink::new()).uid("squares");
    /// let savepoint = env.start("squares").await?.stop_with_savepoint().await?;
    ///
    /// numbers().sink_to(DiscardSink::new()).uid("plain");
    /// let plain = env.from_savepoint(&savepoint).start("plain").await.err().unwrap();
    /// assert!(plain.to_string().contains("or let the state go by .drop_state_of(\"squares\")"));
    ///
    /// numbers().sink_to(DiscardSink::new()).uid("plain");
    /// env.from_savepoint(&savepoint).drop_state_of("squares").execute("plain").await?;
    /// # Ok(()) }
    /// ```
    pub fn drop_state_of(mut self, uid: &str) -> Self {
        self.dropped.insert(uid.into());
        self
    }

    /// Starts the job. Returns when its log says what it goes on from: whoever resumes it then, after whatever crash, goes on from
    /// there too.
    ///
    /// # Errors
    /// [`JobError::Savepoint`] if there is no such savepoint, or the job doesn't fit it; and as
    /// [`StreamEnvironment::start`].
    pub async fn start(self, name: &str) -> Result<JobHandle, JobError> {
        let (graph, cluster) = self.env.written().await?;
        let job = JobId(cluster.new_id());
        let node = Arc::clone(cluster.context());
        let directory = cluster.directory().map(Path::to_owned);
        let (savepoint, dropped) = (self.savepoint, self.dropped);
        let prepare = move || {
            let place = savepoint.place(directory.as_deref());
            let start = prepare(job, place, &graph, &dropped, &node);
            start.map(|start| (start, graph))
        };
        let ((job, start), graph) = cluster.blocking(prepare).await??;
        let submission = self.env.submission(name, Some(start));
        let view = cluster.submit(job, graph, submission).await?;
        let mut handle = JobHandle { job, view, cluster };
        // A leader leads what is in the log. A job that couldn't begin has ended: its handle says how.
        match handle.wait_until(|view| view.epoch > LeaderEpoch(0)).await {
            Err(JobError::NodeStopped) => Err(JobError::NodeStopped),
            _ => Ok(handle),
        }
    }

    /// Runs the job and waits for its end.
    ///
    /// # Errors
    /// As [`start`](Self::start), or if the job fails or is canceled.
    pub async fn execute(self, name: &str) -> Result<JobResult, JobError> {
        self.start(name).await?.wait().await
    }
}

/// Reads a savepoint, copies it if it lies in another place, and stores where each subtask of the job finds its state. A copy
/// belongs to the checkpoint that the job begins with, and goes as that does. The job may have to be another: see [`kept`].
pub(crate) fn prepare(
    job: JobId,
    place: Place,
    graph: &JobGraph,
    dropped: &BTreeSet<OperatorUid>,
    node: &NodeContext,
) -> Result<(JobId, StartState), JobError> {
    if let Place::Elsewhere(folder) = &place
        && let Some(checkpoint) = kept::checkpoint_in(folder)
    {
        if !dropped.is_empty() {
            return Err(JobError::Savepoint(format!(
                "{} is a checkpoint, which is gone on from as it is: let no state go, or go on from a savepoint",
                folder.display()
            )));
        }
        return kept::prepare(job, folder, checkpoint, graph, node);
    }
    let storage = &node.checkpoints;
    let failed = |error: StorageError| JobError::Savepoint(error.failure().message);
    let (name, elsewhere) = match place {
        Place::Own(name) => (name, None),
        Place::Elsewhere(path) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            (name.to_string_lossy().into_owned(), Some(open(&path)?))
        }
    };
    let (place, there) = match &elsewhere {
        None => (storage, savepoint_folder(&name)),
        Some(elsewhere) => (elsewhere, String::new()),
    };
    let saved = read_manifest(place, &there)?;
    let folder = match &elsewhere {
        None => there.clone(),
        Some(_) => checkpoint_folder(job, saved.checkpoint),
    };
    // A log that isn't here, or can't be read, says nothing of an end: then it is committed once more.
    let before = rivus_actors::replay(&node.log, saved.job).ok();
    let outcome = before.and_then(|before| before.outcome);
    let (start, mut manifest) = saved
        .start(graph, dropped, &name, &folder)
        .map_err(JobError::Savepoint)?;
    check_states(graph, dropped, saved.parts(), place, &there)
        .map_err(|failure| JobError::Savepoint(failure.message))?;
    if let Some(elsewhere) = &elsewhere {
        let parts = saved.parts().map(|part| &part.snapshot);
        parts
            .into_iter()
            .try_for_each(|file| storage.copy_from(elsewhere, file, &folder))
            .map_err(failed)?;
    }
    manifest.committed = saved.is_committed(outcome.as_ref());
    let bytes = codec::encode(&manifest)
        .map_err(|error| JobError::Savepoint(Failure::from(error).message))?;
    storage
        .write_manifest(job, start.checkpoint, &bytes)
        .map_err(failed)?;
    Ok((job, start))
}

/// Refuses a plan that can't read what is to be gone on from, which lies in a folder of a storage or, if that has no name, where its
/// files say.
pub(crate) fn check_states<'a>(
    graph: &JobGraph,
    dropped: &BTreeSet<OperatorUid>,
    parts: impl Iterator<Item = &'a SnapshotPart>,
    storage: &CheckpointStorage,
    folder: &str,
) -> Result<(), Failure> {
    let written = written_states(parts, dropped, storage, folder)?;
    // Types are looked at by their own code.
    Failure::caught(|| {
        let checked = graph.check_states(&written, dropped);
        checked.map_err(Failure::job)
    })
}

/// The forms of each operator's states, which the heads of files tell.
fn written_states<'a>(
    parts: impl Iterator<Item = &'a SnapshotPart>,
    dropped: &BTreeSet<OperatorUid>,
    storage: &CheckpointStorage,
    folder: &str,
) -> Result<WrittenStates, Failure> {
    let mut found = WrittenStates::new();
    for part in parts {
        let mut unseen = part
            .sections
            .iter()
            .filter(|of| !dropped.contains(&of.operator))
            .filter(|of| !found.contains_key(&(of.operator.clone(), of.state.clone())));
        if unseen.next().is_none() {
            // Subtasks of one program have one schema.
            continue;
        }
        let mut file = StoredSnapshot::of(storage, part);
        if !folder.is_empty() {
            file.handle.name = format!("{folder}/{}", file.handle.name);
        }
        let head = file.head(part, HEAD_AT_ONCE)?;
        let mut restored = RestoredState::default();
        let added = restored.add(&head, true, |operator, _| !dropped.contains(operator));
        added.map_err(|what| file.damaged(what))?;
        for state in restored.states()? {
            let forms = found.entry((state.operator.clone(), state.state.to_owned()));
            let forms = forms.or_default();
            forms.extend(state.schemas.iter().map(|schema| (*schema).clone()));
        }
    }
    Ok(found)
}

/// A folder with a savepoint in it, as a storage of its own.
pub(crate) fn open(path: &Path) -> Result<CheckpointStorage, JobError> {
    if !path.join("savepoint").is_file() {
        return Err(JobError::Savepoint(format!(
            "{} is no savepoint: give the folder that has the file \"savepoint\" in it, or that of a job's last checkpoint, \
             jobs/JOB/checkpoints/NUMBER",
            path.display()
        )));
    }
    let objects = ObjectStorage::directory(path)
        .map_err(|error| JobError::Savepoint(Failure::user(&error.into()).message))?;
    Ok(CheckpointStorage::new(objects))
}

/// What the savepoint in a folder of a storage says of itself.
pub(crate) fn read_manifest(
    storage: &CheckpointStorage,
    folder: &str,
) -> Result<SavepointManifest, JobError> {
    let bytes = storage.read_savepoint(folder).map_err(|error| {
        JobError::Savepoint(match error {
            StorageError::Missing { name } => {
                format!("there is no savepoint: \"{name}\" is missing; give the place of one, which ends in savepoints/NAME")
            }
            error => Failure::user(&error.into()).message,
        })
    })?;
    codec::decode(&bytes).map_err(|error| {
        JobError::Savepoint(format!(
            "the savepoint in {folder} can't be read: {}",
            Failure::from(error).message
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_is_known_for_the_storages_own_however_its_folder_is_spelled() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        for folder in ["state/savepoints/a-1", "state/savepoints/b", "moved"] {
            std::fs::create_dir_all(dir.path().join(folder)).expect("is made");
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(&state, dir.path().join("link")).expect("is linked");
        let place = |path: &str| Savepoint::at(dir.path().join(path)).place(Some(&state));
        let own = Place::Own("a-1".to_owned());
        assert_eq!(place("state/savepoints/a-1"), own);
        assert_eq!(place("state/savepoints/b/../a-1/."), own);
        #[cfg(unix)]
        assert_eq!(place("link/savepoints/a-1"), own);
        assert_eq!(Savepoint::named("a-1").place(Some(&state)), own);
        for elsewhere in ["moved", "state/savepoints/b/../../../moved", "gone"] {
            let found = place(elsewhere);
            assert!(
                matches!(found, Place::Elsewhere(_)),
                "{elsewhere}: {found:?}"
            );
        }
    }
}
