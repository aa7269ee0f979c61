//! The world around a job: its input, its output, and what is committed of it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rivus::connectors::{CollectCommittable, CollectSink, CollectWriter, Compression};
use rivus::{Committer, ParallelInstance, Record, Sink, UserError};
use tempfile::TempDir;

use crate::arrivals::Arrivals;

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
    /// Input that comes while it runs.
    pub(super) arrivals: Arc<Arrivals>,
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
        let mut world = Self {
            wide: AtomicU32::new(spec.wide),
            spec,
            emitted: Arc::default(),
            main: Shelf::default(),
            late: Shelf::default(),
            serial: Shelf::default(),
            arrivals: Arc::default(),
            files,
        };
        match world.spec.shape {
            Shape::TextFiles => world.write_input()?,
            Shape::Watched => world.arrivals = Arc::new(world.hide_input()?),
            _ => {}
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
        if !matches!(
            self.spec.shape,
            Shape::MultiStage | Shape::Broadcast | Shape::Packed
        ) {
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

    /// Writes files that are to come into the inbox, every other one packed, and what ends the watch.
    fn hide_input(&self) -> io::Result<Arrivals> {
        let inbox = self.inbox();
        std::fs::create_dir(&inbox)?;
        let readings = Reading::all(&self.spec);
        let per_file = readings.len().div_ceil(6).max(1);
        let mut files = Vec::new();
        for (number, part) in readings.chunks(per_file).enumerate() {
            let rows: String = part.iter().map(|reading| format!("{reading}\n")).collect();
            let text = format!("id,key,ts,value\n{rows}");
            let (name, bytes) = match number % 2 {
                0 => (format!("in-{number}.csv"), text.into_bytes()),
                _ => {
                    let mut packer = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    packer.write_all(text.as_bytes())?;
                    (format!("in-{number}.csv.gz"), packer.finish()?)
                }
            };
            let hidden = inbox.join(format!(".{name}"));
            std::fs::write(&hidden, bytes)?;
            files.push((hidden, inbox.join(name)));
        }
        let hidden = inbox.join(".done");
        std::fs::write(&hidden, "")?;
        files.push((hidden, self.done()));
        Ok(Arrivals::new(files, self.spec.lasts() / 8))
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
            Shape::MultiStage | Shape::Packed => self.read_files()?,
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
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.and_then(|name| name.split('.').next());
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
            let text = text(&path)?;
            lines.extend(text.lines().map(|line| {
                let (key, value) = line.split_once('\t').unwrap_or((line, ""));
                (key.to_owned(), value.to_owned())
            }));
        }
        Ok(lines)
    }
}

/// A file's text, unpacked by what others unpack with.
fn text(path: &Path) -> io::Result<String> {
    let file = std::fs::File::open(path)?;
    let mut text = String::new();
    match Compression::of(path) {
        None => std::io::BufReader::new(file).read_to_string(&mut text)?,
        Some(Compression::Gzip) => MultiGzDecoder::new(file).read_to_string(&mut text)?,
        Some(Compression::Zstd) => zstd::Decoder::new(file)?.read_to_string(&mut text)?,
    };
    Ok(text)
}
