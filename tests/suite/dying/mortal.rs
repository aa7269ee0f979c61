//! A process that dies at the step that it is told, and tells which it has taken.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{env, fs};

use rivus::engine::core::job::LogEntry;
use rivus::engine::core::{CheckpointId, CheckpointKind};
use rivus::engine::{ActorKind, Fault, Probe, Step};

/// The file that says at which step the next process is to die that takes it.
pub(super) const DEATH: &str = "TEST_DYING_DEATH";

/// The directory in which each process tells the steps that it has taken, in a file of its own.
pub(super) const STEPS: &str = "TEST_DYING_STEPS";

/// What is beside the file of a death when a savepoint is to be lost that its job has stopped with.
pub(super) const LOST: &str = "lost";

/// Dies where it is told to, if nobody else has, and tells where it has been.
struct Mortal {
    death: PathBuf,
    steps: PathBuf,
    life: Mutex<Life>,
}

struct Life {
    /// What it leads the job for, as in the table.
    who: &'static str,
    entry: String,
    /// The last checkpoint that it has completed, and what that was for.
    completed: Option<(CheckpointId, &'static str)>,
    taken: BTreeSet<String>,
}

/// What a checkpoint is for, if not for itself.
fn what_for(kind: CheckpointKind) -> &'static str {
    match kind {
        CheckpointKind::Stop { .. } => " to stop",
        CheckpointKind::Final => " at last",
        _ => "",
    }
}

impl Life {
    fn name(&mut self, entry: &LogEntry) -> String {
        let whole = format!("{entry:?}");
        let word: String = whole.chars().take_while(|c| c.is_alphanumeric()).collect();
        let what_for = match entry {
            LogEntry::CheckpointTriggered { kind, .. } => what_for(*kind),
            LogEntry::CheckpointCompleted { id, kind, .. } => {
                self.completed = Some((*id, what_for(*kind)));
                what_for(*kind)
            }
            LogEntry::CheckpointCommitted { id } => match self.completed {
                Some((completed, what_for)) if completed == *id => what_for,
                _ => "",
            },
            _ => "",
        };
        word + what_for
    }
}

impl Mortal {
    /// Loses what a savepoint says of itself, if it is to be. A job's own checkpoints have nothing there.
    fn lose(&self, savepoint: &str) {
        if self.death.with_file_name(LOST).exists() {
            let savepoint = format!("storage/savepoints/{savepoint}/savepoint");
            let _ = fs::remove_file(self.death.with_file_name(savepoint));
        }
    }
}

impl Probe for Mortal {
    fn entry(&self, job: &dyn Display, entry: &LogEntry) {
        if let LogEntry::CheckpointCommitted { id } = entry {
            self.lose(&format!("{job}-{id}"));
        }
        let mut life = self.life.lock().expect("whole");
        life.entry = life.name(entry);
    }

    fn at(&self, _kind: ActorKind, _label: &dyn Display, step: Step) -> Option<Fault> {
        let mut life = self.life.lock().expect("whole");
        match step {
            Step::Recover => life.who = "takes over",
            Step::Submit => life.who = "submitted",
            _ => {}
        }
        let here = match step {
            Step::BeforeAppend | Step::AfterAppend => {
                format!("{}: {step:?} {}", life.who, life.entry)
            }
            _ => format!("{}: {step:?}", life.who),
        };
        if step == Step::AfterAppend && life.entry == "Rescaled" {
            life.who = "rescaled";
        }
        let is_it = fs::read_to_string(&self.death).is_ok_and(|death| death == here);
        if is_it && fs::remove_file(&self.death).is_ok() {
            std::process::abort();
        }
        if life.taken.insert(here) {
            let taken: Vec<&str> = life.taken.iter().map(String::as_str).collect();
            let _ = fs::write(&self.steps, taken.join("\n"));
        }
        None
    }
}

/// What a process of these tests has in it.
pub(crate) fn probe() -> Option<Arc<dyn Probe>> {
    let (death, steps) = (env::var_os(DEATH)?, env::var_os(STEPS)?);
    Some(Arc::new(Mortal {
        death: death.into(),
        steps: Path::new(&steps).join(std::process::id().to_string()),
        life: Mutex::new(Life {
            who: "takes over",
            entry: String::new(),
            completed: None,
            taken: BTreeSet::new(),
        }),
    }))
}
