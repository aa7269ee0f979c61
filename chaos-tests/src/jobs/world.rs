//! The world around a job: its input, its output, and what is committed of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rivus::CheckpointId;
use tempfile::TempDir;

use crate::outside::{Application, Arrivals, Deliveries, Folder, Server};

use super::asking::Asked;
use super::changed::{Versioned, Versions};
use super::functions::Line;
use super::records::Reading;
use super::shape::Shape;
use super::shelf::Shelf;
use super::spec::JobSpec;

/// What one run of a job is made of beside the job: outputs, files, a count of what was read. Survives a
/// crash of the simulated process, as the outside world does.
pub struct World {
    /// The job.
    pub spec: JobSpec,
    /// Subtasks of what is behind the sources, at present.
    wide: AtomicU32,
    /// Records read so far by all sources, repeats included.
    pub emitted: Arc<AtomicU64>,
    pub(super) main: Shelf<Line>,
    pub(super) late: Shelf<Line>,
    pub(super) serial: Shelf<Line>,
    pub(super) came: Shelf<Line>,
    /// Which version of its program it is, and what goes with that.
    pub(super) versions: Versions,
    /// Input that comes while it runs.
    pub(super) arrivals: Arc<Arrivals>,
    /// Who feeds it and hears of it.
    pub(crate) application: Arc<Application>,
    /// Whom requests go to.
    pub(super) asked: Asked,
    /// Who sends lines.
    pub(super) server: Arc<Server>,
    /// Where its input is and its stores write.
    pub(crate) files: TempDir,
    /// Where its files go.
    pub(crate) out: Folder,
}

/// A directory that is in memory where the system has one: sinks sync every file, and disks are slow.
fn files() -> io::Result<TempDir> {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())
}

/// What a run has committed, in the order in which it can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The job's output.
    pub main: Vec<Line>,
    /// What of it is in files, in the order in which those appeared.
    pub appeared: Vec<Line>,
    /// Records that came too late for their window.
    pub late: Vec<Line>,
    /// What a rolling aggregate said of every record.
    pub serial: Vec<Line>,
    /// Records that came from outside, by the delivery that they came with.
    pub came: Vec<Line>,
    /// What the world outside says of that.
    pub outside: Deliveries,
    /// What stands beside it if its program becomes another.
    pub versions: Option<Versioned>,
    /// The output of the job beside it.
    pub neighbour: Vec<Line>,
    /// What a job has committed that was started from a savepoint of this one, which went on; and this one, up to that savepoint.
    pub begun_again: Option<Box<Committed>>,
}

impl World {
    /// Everything fresh.
    ///
    /// # Errors
    /// If the input files can't be written.
    pub fn new(spec: JobSpec) -> io::Result<Self> {
        let files = files()?;
        // One subtask hears all lines, and reads as fast as it reads anything else.
        let every = spec.pace.every / spec.pace.burst as u32;
        let mut world = Self {
            server: Arc::new(Server::new(spec.seed, Reading::all(&spec), every)),
            wide: AtomicU32::new(spec.wide),
            spec,
            emitted: Arc::default(),
            main: Shelf::default(),
            late: Shelf::default(),
            serial: Shelf::default(),
            came: Shelf::default(),
            versions: Versions::default(),
            arrivals: Arc::default(),
            application: Arc::default(),
            asked: Asked::default(),
            out: Folder::alone(files.path().join("out")),
            files,
        };
        match world.spec.shape {
            Shape::TextFiles | Shape::Straight => world.write_input()?,
            Shape::Parquet => world.write_columns()?,
            Shape::Watched => world.arrivals = Arc::new(world.hide_input()?),
            _ => {}
        }
        Ok(world)
    }

    /// The world of the job that runs beside this one. If this one writes files, so does that, into the same folder.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn beside(&self, spec: JobSpec) -> io::Result<Self> {
        let beside = Self::new(spec)?;
        Ok(match self.spec.shape.writes_files() {
            true => Self {
                out: self.out.beside(),
                ..beside
            },
            false => beside,
        })
    }

    /// Whether its output is in files.
    pub(super) fn writes_files(&self) -> bool {
        self.spec.shape.writes_files() || self.out.is_beside()
    }

    /// Subtasks of what is behind the sources, at present.
    pub(super) fn wide(&self) -> u32 {
        self.wide.load(Relaxed)
    }

    /// From now on the job is built with so many subtasks behind its sources; but where files show the order of a key's
    /// records, which they do only while it stays with one writer, or where every subtask gets every record.
    pub fn rescale(&self, wide: u32) {
        if !self.spec.shape.writes_files() && self.spec.shape != Shape::Broadcast {
            self.wide.store(wide, Relaxed);
        }
    }

    pub(super) fn inbox(&self) -> PathBuf {
        self.files.path().join("inbox")
    }

    /// What ends the watch.
    pub(super) fn done(&self) -> PathBuf {
        self.inbox().join("_DONE")
    }

    pub(super) fn out_dir(&self) -> &Path {
        self.out.path()
    }

    /// What is committed at this moment.
    ///
    /// # Errors
    /// If the output files can't be read.
    pub fn committed(&self) -> io::Result<Committed> {
        let main = match self.writes_files() {
            true => self.read_files()?,
            false => self.main.values(),
        };
        Ok(Committed {
            main,
            appeared: Vec::new(),
            late: self.late.values(),
            serial: self.serial.values(),
            came: self.came.values(),
            outside: match self.spec.shape {
                Shape::Socket => self.server.deliveries(),
                _ => self.application.deliveries(),
            },
            versions: self.versions.committed(),
            neighbour: Vec::new(),
            begun_again: None,
        })
    }

    /// This is of a job that began at a savepoint: adds what the one of which that is has committed of what it wrote for earlier
    /// checkpoints.
    pub fn add_before(&self, savepoint: CheckpointId, before: &Self) {
        for (own, before) in [
            (&self.main, &before.main),
            (&self.late, &before.late),
            (&self.serial, &before.serial),
            (&self.versions.kept, &before.versions.kept),
            (&self.versions.gone, &before.versions.gone),
        ] {
            own.add_before(savepoint, before);
        }
    }
}
