//! The world around a job: its input, its output, and what is committed of it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rivus::connectors::{CollectCommittable, CollectSink, CollectWriter};
use rivus::{Committer, ParallelInstance, Record, Sink, UserError};
use tempfile::TempDir;

use super::functions::Line;
use super::records::Reading;
use super::spec::{JobSpec, Shape};

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
    /// Where its sinks and stores write.
    pub(crate) files: TempDir,
}

/// Takes what a job puts out, in all of its lives: the sink of each writes to the same one.
#[derive(Default)]
pub(super) struct Shelf<T>(Arc<CollectSink<T>>);

impl<T> Shelf<T> {
    pub(super) fn sink(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Record> Sink for Shelf<T> {
    type In = T;
    type State = ();
    type Committable = CollectCommittable<T>;
    type Writer = CollectWriter<T>;

    fn writer(
        &self,
        instance: ParallelInstance,
        state: Option<()>,
    ) -> Result<CollectWriter<T>, UserError> {
        self.0.writer(instance, state)
    }

    fn committer(&self) -> Option<Arc<dyn Committer<CollectCommittable<T>>>> {
        self.0.committer()
    }
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
    /// Records that came too late for their window.
    pub late: Vec<Line>,
    /// What a rolling aggregate said of every record.
    pub serial: Vec<Line>,
    /// The output of the job beside it.
    pub neighbour: Vec<Line>,
}

impl World {
    /// Everything fresh.
    ///
    /// # Errors
    /// If the input files can't be written.
    pub fn new(spec: JobSpec) -> io::Result<Self> {
        let files = files()?;
        let world = Self {
            wide: AtomicU32::new(spec.wide),
            spec,
            emitted: Arc::default(),
            main: Shelf::default(),
            late: Shelf::default(),
            serial: Shelf::default(),
            files,
        };
        if world.spec.shape == Shape::TextFiles {
            world.write_input()?;
        }
        Ok(world)
    }

    /// Subtasks of what is behind the sources, at present.
    pub(super) fn wide(&self) -> u32 {
        self.wide.load(Relaxed)
    }

    /// From now on the job is built with so many subtasks behind its sources; but where files show the order of a key's
    /// records, which they do only while it stays with one writer, or where every subtask gets every record.
    pub fn rescale(&self, wide: u32) {
        if !matches!(self.spec.shape, Shape::MultiStage | Shape::Broadcast) {
            self.wide.store(wide, Relaxed);
        }
    }

    fn write_input(&self) -> io::Result<()> {
        let readings = Reading::all(&self.spec);
        let per_file = readings.len().div_ceil(4).max(1);
        for (number, part) in readings.chunks(per_file).enumerate() {
            let lines: String = part.iter().map(|reading| format!("{reading}\n")).collect();
            std::fs::write(self.files.path().join(format!("in-{number}.csv")), lines)?;
        }
        Ok(())
    }

    pub(super) fn out_dir(&self) -> PathBuf {
        self.files.path().join("out")
    }

    /// What is committed at this moment.
    ///
    /// # Errors
    /// If the output files can't be read.
    pub fn committed(&self) -> io::Result<Committed> {
        let main = match self.spec.shape {
            Shape::MultiStage => self.read_files()?,
            _ => self.main.0.collected().values(),
        };
        Ok(Committed {
            main,
            late: self.late.0.collected().values(),
            serial: self.serial.0.collected().values(),
            neighbour: Vec::new(),
        })
    }

    /// Committed files only, by subtask and number.
    fn read_files(&self) -> io::Result<Vec<Line>> {
        let mut parts = Vec::new();
        for entry in std::fs::read_dir(self.out_dir())? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let numbers = name.and_then(|name| name.strip_prefix("part-")?.split_once('-'));
            if let Some((subtask, sequence)) = numbers
                && let (Ok(subtask), Ok(sequence)) =
                    (subtask.parse::<u32>(), sequence.parse::<u64>())
            {
                parts.push((subtask, sequence, path));
            }
        }
        parts.sort();
        let mut lines = Vec::new();
        for (_, _, path) in parts {
            let text = std::fs::read_to_string(path)?;
            lines.extend(text.lines().map(|line| {
                let (key, value) = line.split_once('\t').unwrap_or((line, ""));
                (key.to_owned(), value.to_owned())
            }));
        }
        Ok(lines)
    }
}
