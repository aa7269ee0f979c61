//! Runs by name: a test makes all that it has, or again the one that `RIVUS_RUN` names.

use std::env;
use std::fmt;

use crate::history::keep_everything;
use crate::jobs::JobSpec;
use crate::plan::Plan;
use crate::simulation::Outcome;
use crate::suite::{References, on_all_cores};

/// Which run is made, if only one is.
const CHOSEN: &str = "RIVUS_RUN";

/// A run that a test makes.
#[derive(Debug, Clone)]
pub struct NamedRun {
    file: &'static str,
    /// What no other run of that file is called.
    pub name: String,
    /// The job.
    pub spec: JobSpec,
    /// What is broken.
    pub plan: Plan,
}

impl NamedRun {
    /// A job under a plan; `file` is the test's `module_path!()`.
    pub fn new(file: &'static str, name: String, spec: JobSpec, plan: Plan) -> Self {
        Self {
            file,
            name,
            spec,
            plan,
        }
    }

    /// A job, and what its seed breaks.
    pub fn of_seed(file: &'static str, spec: JobSpec) -> Self {
        let name = format!("{:?}/{}", spec.shape, spec.seed);
        let plan = Plan::of(spec.seed, &spec);
        Self::new(file, name, spec, plan)
    }

    /// How the run is made again.
    pub fn replay_command(&self) -> String {
        let Self { file, name, .. } = self;
        format!("{CHOSEN}='{name}' cargo test -p rivus-chaos --test {file} -- --nocapture")
    }

    /// Makes the run and judges it.
    fn checked(self, references: &References) -> Result<(Self, Outcome), String> {
        match references.check(&self.spec, &self.plan) {
            Ok(outcome) => Ok((self, outcome)),
            Err(failed) => Err(format!(
                "{}\n{}\n{self}",
                failed.story,
                failed.violations.join("\n")
            )),
        }
    }
}

/// Its name, and how it is made again: for whatever is found wrong with it.
impl fmt::Display for NamedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; replay with: {}", self.name, self.replay_command())
    }
}

/// Whether a single run is made again: it says nothing about how many of all are of some kind.
pub fn one_alone() -> bool {
    env::var_os(CHOSEN).is_some()
}

/// Makes the runs on all cores, all of which go well; or the one that is chosen.
///
/// # Panics
/// If one doesn't, with what is wrong and how that one is made again.
pub fn all_go_well(runs: Vec<NamedRun>) -> Vec<(NamedRun, Outcome)> {
    let chosen = env::var(CHOSEN).ok();
    if chosen.is_some() {
        keep_everything();
    }
    run_all(runs, chosen.as_deref()).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// Makes the runs on all cores, or the one of this name.
///
/// # Errors
/// What is wrong with those that don't go well, and how each is made again.
pub fn run_all(
    runs: Vec<NamedRun>,
    chosen: Option<&str>,
) -> Result<Vec<(NamedRun, Outcome)>, String> {
    let runs = match chosen {
        Some(name) => only(runs, name),
        None => runs,
    };
    let references = References::default();
    let results = on_all_cores(runs, NamedRun::replay_command, |run| {
        run.checked(&references)
    });
    let (went_well, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    match failed.is_empty() {
        true => Ok(went_well.into_iter().flatten().collect()),
        false => Err(failed.join("\n\n")),
    }
}

/// The run of that name. It may be another test's of the same file.
fn only(runs: Vec<NamedRun>, name: &str) -> Vec<NamedRun> {
    let (chosen, others): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.name == name);
    if let (true, Some(other)) = (chosen.is_empty(), others.first()) {
        eprintln!(
            "{CHOSEN}={name}: not a run of this test; one is {}",
            other.name
        );
    }
    chosen
}
