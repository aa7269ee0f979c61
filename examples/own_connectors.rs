//! A source and a sink of one's own: orders come in as files of an inbox, and go out as receipts of an outbox.
//!
//! ```sh
//! cargo run --example own_connectors
//! ```
//!
//! The source finds new files while the job runs, and each is read once; the sink is two-phase, and each receipt is there
//! once, whatever fails. Both keep their contract, which `main` checks before it runs the job.

#[path = "world/screen.rs"]
mod screen;

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rivus::testing::contract;
use rivus::{
    CheckpointId, Committer, Discovered, Event, JobView, KnownSplits, ParallelInstance, ReadStatus,
    Sink, SinkWriter, Source, SourceReader, SplitEnumerator, StreamEnvironment, Timestamp,
    UserError,
};
use serde::{Deserialize, Serialize};

// --- the source --------------------------------------------------------------------------------------

/// Reads the orders in the files of a folder, a line each, until there is a file `closed`.
#[derive(Clone)]
struct Inbox(PathBuf);

/// A file, and how many of its orders have been read: a split carries its own position.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Letter {
    path: PathBuf,
    read: usize,
}

impl Source for Inbox {
    type Out = String;
    type Split = Letter;
    type Reader = Reading;

    /// What is known when the job begins; all of it comes with the first look here.
    fn splits(&self, _parallelism: u32) -> Result<Vec<Letter>, UserError> {
        if !self.0.is_dir() {
            return Err(format!("no folder {}: make it", self.0.display()).into());
        }
        Ok(Vec::new())
    }

    /// Made when the job begins, and by every new leader: the log remembers what was found, not we.
    fn enumerator(
        &self,
        known: KnownSplits<Letter>,
    ) -> Result<Option<Box<dyn SplitEnumerator<Split = Letter>>>, UserError> {
        Ok(Some(Box::new(Postman {
            inbox: self.0.clone(),
            delivered: known.splits.into_iter().map(|letter| letter.path).collect(),
        })))
    }

    fn reader(&self, _instance: ParallelInstance) -> Result<Reading, UserError> {
        Ok(Reading::default())
    }
}

/// Looks for files that are new.
struct Postman {
    inbox: PathBuf,
    delivered: BTreeSet<PathBuf>,
}

impl SplitEnumerator for Postman {
    type Split = Letter;

    fn interval(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn discover(&mut self, _now: Timestamp) -> Result<Discovered<Letter>, UserError> {
        let closed = self.inbox.join("closed");
        // Looked for first: what was there before it is found below.
        let last = closed.exists();
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.inbox)? {
            paths.push(entry?.path());
        }
        paths.sort(); // the same order each time
        paths.retain(|path| *path != closed && !self.delivered.contains(path));
        self.delivered.extend(paths.iter().cloned());
        let letter = |path| Letter { path, read: 0 };
        Ok(Discovered {
            splits: paths.into_iter().map(letter).collect(),
            last,
        })
    }
}

/// Reads letters one after the other.
#[derive(Default)]
struct Reading {
    letters: VecDeque<Letter>,
    /// The orders of the first letter, once it has been opened.
    open: Option<Vec<String>>,
}

impl SourceReader for Reading {
    type Out = String;
    type Split = Letter;

    fn add_split(&mut self, letter: Letter) -> Result<(), UserError> {
        self.letters.push_back(letter);
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<String>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let Some(letter) = self.letters.front_mut() else {
            return Ok(ReadStatus::SplitsDone);
        };
        let orders = match self.open.take() {
            Some(orders) => orders,
            None => fs::read_to_string(&letter.path)?
                .lines()
                .map(str::to_owned)
                .collect(),
        };
        let before = out.len();
        let unread = orders.iter().skip(letter.read).take(max);
        out.extend(unread.map(|order| Event::at(now, order.clone())));
        letter.read += out.len() - before;
        if letter.read == orders.len() {
            // A split that was read to its end is in no snapshot.
            self.letters.pop_front();
        } else {
            self.open = Some(orders);
        }
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<Letter> {
        self.letters.iter().cloned().collect()
    }
}

// --- the sink ----------------------------------------------------------------------------------------

/// Writes a file of receipts per checkpoint and subtask; it appears when the checkpoint is complete.
#[derive(Clone)]
struct Outbox(PathBuf);

/// Receipts that are prepared. They travel in the checkpoint, and so need no file before.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Prepared {
    name: String,
    receipts: Vec<String>,
}

impl Sink for Outbox {
    type In = String;
    /// Between two barriers a writer holds nothing that it would have to know again.
    type State = ();
    type Committable = Prepared;
    type Writer = Writing;

    fn writer(&self, instance: ParallelInstance, _state: Option<()>) -> Result<Writing, UserError> {
        // Whatever an earlier attempt had written after its last barrier died with it.
        Ok(Writing {
            subtask: instance.index,
            receipts: Vec::new(),
        })
    }

    fn committer(&self) -> Option<Arc<dyn Committer<Prepared>>> {
        Some(Arc::new(self.clone()))
    }
}

struct Writing {
    subtask: u32,
    receipts: Vec<String>,
}

impl SinkWriter for Writing {
    type In = String;
    type State = ();
    type Committable = Prepared;

    fn write(&mut self, run: Vec<Event<String>>) -> Result<(), UserError> {
        self.receipts
            .extend(run.into_iter().map(|event| event.value));
        Ok(())
    }

    /// The first phase, at a barrier. A checkpoint's id is never used twice, so the name is this commit's own.
    fn prepare_commit(
        &mut self,
        checkpoint: CheckpointId,
        _last: bool,
    ) -> Result<Vec<Prepared>, UserError> {
        let receipts = std::mem::take(&mut self.receipts);
        let name = format!("{:08}-{}", checkpoint.0, self.subtask);
        Ok(match receipts.is_empty() {
            true => Vec::new(),
            false => vec![Prepared { name, receipts }],
        })
    }

    fn snapshot(&mut self) -> Result<(), UserError> {
        Ok(())
    }
}

impl Committer<Prepared> for Outbox {
    /// The second phase, when the checkpoint is durable; and again after a recovery, so it must change nothing then.
    fn commit(&self, prepared: &Prepared) -> Result<(), UserError> {
        let place = self.0.join(&prepared.name);
        if place.exists() {
            return Ok(());
        }
        let draft = self.0.join(format!(".{}", prepared.name));
        let mut file = fs::File::create(&draft)?;
        file.write_all((prepared.receipts.join("\n") + "\n").as_bytes())?;
        // Whoever looks sees all of it, or nothing; after a power cut too, since the checkpoint forgets it now.
        file.sync_all()?;
        fs::rename(draft, place)?;
        Ok(fs::File::open(&self.0)?.sync_all()?)
    }
}

// --- both at work ------------------------------------------------------------------------------------

/// What lies in an outbox, in order.
fn receipts(outbox: &Path) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(outbox)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let texts = paths.iter().map(fs::read_to_string);
    let texts = texts.collect::<io::Result<Vec<String>>>()?;
    Ok(texts
        .iter()
        .flat_map(|text| text.lines())
        .map(str::to_owned)
        .collect())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    own_connectors().await
}

/// Checks both contracts, and runs the job.
pub async fn own_connectors() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("rivus-own-connectors-{}", std::process::id()));
    let (inbox, outbox) = (dir.join("in"), dir.join("out"));
    fs::create_dir_all(&inbox)?;
    fs::create_dir_all(&outbox)?;
    fs::write(inbox.join("monday"), "tea\ncoffee\n")?;
    fs::write(inbox.join("tuesday"), "water\n")?;

    // Each keeps its contract: if not, this panics and names the clause.
    contract::source(|| Inbox(inbox.clone()))
        .yields(["tea", "coffee", "water"].map(str::to_owned))
        .check();
    let trials = Cell::new(0);
    let fresh = || {
        trials.set(trials.get() + 1);
        let outbox = dir.join(format!("trial-{}", trials.get()));
        fs::create_dir_all(&outbox).expect("the temporary directory can be written");
        let seen = outbox.clone();
        (Outbox(outbox), move || {
            receipts(&seen).expect("the outbox can be read")
        })
    };
    contract::sink(fresh, |number| number.to_string())
        .cases(20)
        .check();

    let env = StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(200))
        .build();
    env.from_source(Inbox(inbox.clone()))
        .map(|order| format!("one {order}, with thanks"))
        .sink_to(Outbox(outbox.clone()));
    let mut job = env.start("orders").await?;
    // This one comes while the job runs; and at last the inbox is closed.
    let read = |view: &JobView| {
        view.subtasks
            .iter()
            .map(|s| s.figures.records_in)
            .sum::<u64>()
    };
    job.wait_until(|view| read(view) >= 3).await?;
    fs::write(dir.join("wednesday"), "juice\n")?;
    fs::rename(dir.join("wednesday"), inbox.join("wednesday"))?;
    fs::write(inbox.join("closed"), "")?;
    job.wait().await?;

    let mut receipts = receipts(&outbox)?;
    receipts.sort();
    screen::show(&receipts)?;
    fs::remove_dir_all(&dir)?;
    let expected = ["coffee", "juice", "tea", "water"].map(|o| format!("one {o}, with thanks"));
    match receipts == expected {
        true => Ok(()),
        false => Err("an order is missing, or was served twice".into()),
    }
}
