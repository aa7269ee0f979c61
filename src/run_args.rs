//! The options of a program that runs a job in its own process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rivus_core::JobId;
use rivus_state::{ClaimedJob, JobClaim, JobLog, SAVEPOINTS};
use uuid::Uuid;

use crate::environment::{EnvironmentBuilder, StreamEnvironment};
use crate::error::JobError;
use crate::handle::JobResult;
use crate::savepoint::Savepoint;
use crate::storage::Storage;
use crate::tell;

/// How a program runs its job in its own process: options for its command line, to be put beside its own. With `--state DIR` it
/// can be stopped with a savepoint (`--stop-after 10m`) and go on from one (`--from-savepoint FOLDER`), maybe as another version
/// of itself, or at another `--parallelism`. If it was killed instead, it goes on where it stood with `--resume`, as the same program
/// at the same parallelism.
///
/// ```
/// use clap::Parser;
/// use rivus::RunArgs;
///
/// /// Counts to a number.
/// #[derive(Parser)]
/// struct Cli {
///     to: u32,
///     #[command(flatten)]
///     run: RunArgs,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let arguments = ["count", "3", "--parallelism", "1"];
/// let args = Cli::parse_from(arguments); // in a program of one's own `Cli::parse()`
/// let env = args.run.environment().build();
/// let counted = env.from_collection((0..args.to).collect()).uid("numbers").collect();
/// args.run.execute(&env, "count").await?;
/// assert_eq!(counted.values(), [0, 1, 2]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Subtasks of every operator that doesn't say otherwise.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    parallelism: u32,
    /// A directory for checkpoints and savepoints; without it they are in memory.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Time from one checkpoint's start to the next, such as 500ms or 1m; 10s if it isn't given.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    checkpoint_interval: Option<Duration>,
    /// Go on with the job that an earlier run has left in DIR; if there are several, with the one of this id.
    #[arg(long, value_name = "ID", num_args = 0..=1, require_equals = true, requires = "state", conflicts_with = "from_savepoint")]
    resume: Option<Option<Uuid>>,
    /// Stop with a savepoint after so long, such as 90s or 10m, if the job isn't over by then.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "state")]
    stop_after: Option<Duration>,
    /// The folder of a savepoint to go on from, or of the last checkpoint of a job that has failed.
    #[arg(long, value_name = "FOLDER", requires = "state")]
    from_savepoint: Option<PathBuf>,
    /// Let the state of this operator in the savepoint go; may be given more than once.
    #[arg(long, value_name = "UID", requires = "from_savepoint")]
    drop_state_of: Vec<String>,
}

impl RunArgs {
    /// The environment that was asked for, to be built.
    pub fn environment(&self) -> EnvironmentBuilder {
        let mut builder = StreamEnvironment::builder().parallelism(self.parallelism);
        if let Some(directory) = &self.state {
            builder = builder.storage(Storage::Directory(directory.clone()));
        }
        if let Some(interval) = self.checkpoint_interval {
            builder = builder.checkpoint_interval(interval);
        }
        builder
    }

    /// Runs the program that was written into the environment, until it is over or to be stopped. Then it says on standard error
    /// how to go on. One that is begun anew beside a job of the same name that isn't over says so.
    ///
    /// # Errors
    /// As [`StreamEnvironment::execute`], [`StreamEnvironment::resume`], [`FromSavepoint::start`](crate::FromSavepoint::start) and
    /// [`JobHandle::stop_with_savepoint`](crate::JobHandle::stop_with_savepoint); and if there is not one job to be resumed.
    pub async fn execute(
        &self,
        env: &StreamEnvironment,
        name: &str,
    ) -> Result<JobResult, JobError> {
        let unfinished = match &self.state {
            Some(directory) => Unfinished::find(directory, name)?,
            None => Unfinished::default(),
        };
        let job = match (self.resume, &self.from_savepoint) {
            (Some(wanted), _) => {
                let directory = self.state.as_deref().unwrap_or(Path::new("."));
                let id = unfinished.one_of(wanted.map(JobId), name, directory);
                env.resume(name, id.map_err(JobError::Setup)?).await
            }
            (None, Some(folder)) => {
                let from = env.from_savepoint(&Savepoint::at(folder));
                let uids = self.drop_state_of.iter();
                let from = uids.fold(from, |from, uid| from.drop_state_of(uid));
                from.start(name).await
            }
            (None, None) => {
                if let Some(line) = unfinished.begins_anew(name) {
                    tell::warn(&line);
                }
                env.start(name).await
            }
        }?;
        let end = job.clone().wait();
        let over = match self.stop_after {
            None => Some(end.await),
            Some(stop_after) => tokio::time::timeout(stop_after, end).await.ok(),
        };
        if let Some(over) = over {
            let kept = over.is_err().then(|| job.kept_checkpoint()).flatten();
            if let Some(folder) = kept.as_ref().and_then(Savepoint::path) {
                eprintln!(
                    "when that is mended, go on with --from-savepoint {}",
                    folder.display()
                );
            }
            return over;
        }
        let savepoint = job.stop_with_savepoint().await?;
        if let Some(folder) = savepoint.path() {
            eprintln!("go on with --from-savepoint {}", folder.display());
        }
        job.wait().await
    }
}

/// The jobs of a name that were begun in a directory and aren't over.
#[derive(Debug, Default)]
struct Unfinished {
    /// Whoever ran them is gone.
    left: Vec<JobId>,
    /// Others run them now.
    running: Vec<JobId>,
}

impl Unfinished {
    /// Only jobs that somebody claimed and never settled are looked at: of a job that is over, and of a service's, no log is read.
    fn find(directory: &Path, name: &str) -> Result<Self, JobError> {
        let log = JobLog::new(Storage::Directory(directory.to_owned()).open()?);
        let mut found = Self::default();
        for ClaimedJob { job, is_held } in log.claimed_jobs().map_err(JobError::setup)? {
            match rivus_actors::replay(&log, job) {
                // Its process ended before it had let go of the claim.
                Ok(state) if state.outcome.is_some() => {
                    let claim = log.claim_job(job).map_err(JobError::setup)?;
                    claim.into_iter().for_each(JobClaim::settle);
                }
                Ok(state) if state.name != name => {}
                Ok(_) if is_held => found.running.push(job),
                Ok(_) => found.left.push(job),
                Err(failure) => tell::warn(&format!("job {job} is left alone: {failure}")),
            }
        }
        Ok(found)
    }

    /// The job that is to be gone on with; or a line that says what there is.
    fn one_of(&self, wanted: Option<JobId>, name: &str, state: &Path) -> Result<JobId, String> {
        let directory = state.display();
        let running = match wanted {
            None => self.running.first().filter(|_| self.left.is_empty()),
            Some(wanted) => self.running.iter().find(|job| **job == wanted),
        };
        if let Some(job) = running {
            return Err(format!(
                "job {job}, \"{name}\" in {directory}, is being run by another process: wait until that has ended"
            ));
        }
        match (self.left.as_slice(), wanted) {
            (left, Some(wanted)) if left.contains(&wanted) => Ok(wanted),
            ([], _) => {
                let or = match has_savepoints(state) {
                    true => format!(
                        "; a job that was stopped goes on with --from-savepoint {directory}/{SAVEPOINTS}/NAME"
                    ),
                    false => String::new(),
                };
                Err(format!(
                    "no job \"{name}\" in {directory} is to be gone on with: leave --resume out, and one is begun{or}"
                ))
            }
            ([one], None) => Ok(*one),
            (several, None) => Err(format!(
                "{} jobs \"{name}\" in {directory} aren't over: pick one, {}",
                several.len(),
                options(several)
            )),
            (others, Some(wanted)) => Err(format!(
                "job {wanted} isn't one \"{name}\" in {directory} that isn't over: pick one, {}",
                options(others)
            )),
        }
    }

    /// What somebody should know who begins a job and perhaps didn't mean to.
    fn begins_anew(&self, name: &str) -> Option<String> {
        let go_on = match (self.left.as_slice(), self.running.is_empty()) {
            ([], true) => return None,
            ([], false) => {
                return Some(format!(
                    "a job \"{name}\" is being run by another process, and this is another one beside it"
                ));
            }
            ([_], _) => "--resume".to_owned(),
            (several, _) => options(several),
        };
        Some(format!(
            "a job \"{name}\" that was begun before isn't over, and this is another one that begins anew: to go on with that one, {go_on}"
        ))
    }
}

/// Whether savepoints lie below a directory.
fn has_savepoints(state: &Path) -> bool {
    let folders = std::fs::read_dir(state.join(SAVEPOINTS));
    folders.is_ok_and(|mut folders| folders.next().is_some())
}

fn options(jobs: &[JobId]) -> String {
    let options = jobs.iter().map(|job| format!("--resume={job}"));
    options.collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u128) -> JobId {
        JobId(Uuid::from_u128(number))
    }

    fn unfinished(left: &[JobId], running: &[JobId]) -> Unfinished {
        let [left, running] = [left, running].map(<[JobId]>::to_vec);
        Unfinished { left, running }
    }

    #[test]
    fn whoever_resumes_is_told_what_there_is_unless_there_is_one() {
        let (one, two) = (job(1), job(2));
        let pick = |left: &[JobId], running: &[JobId], wanted| {
            unfinished(left, running).one_of(wanted, "count", Path::new("state"))
        };
        assert_eq!(pick(&[one], &[], None), Ok(one));
        assert_eq!(pick(&[one], &[two], None), Ok(one));
        assert_eq!(pick(&[one, two], &[], Some(two)), Ok(two));
        let refused = |left: &[JobId], running: &[JobId], wanted| {
            pick(left, running, wanted).expect_err("is refused")
        };
        assert_eq!(
            refused(&[], &[], None),
            "no job \"count\" in state is to be gone on with: leave --resume out, and one is begun"
        );
        assert_eq!(
            refused(&[one, two], &[], None),
            format!(
                "2 jobs \"count\" in state aren't over: pick one, --resume={one} or --resume={two}"
            )
        );
        assert_eq!(
            refused(&[one], &[], Some(two)),
            format!(
                "job {two} isn't one \"count\" in state that isn't over: pick one, --resume={one}"
            )
        );
        for (left, wanted) in [(&[][..], None), (&[one], Some(two))] {
            assert_eq!(
                refused(left, &[two], wanted),
                format!(
                    "job {two}, \"count\" in state, is being run by another process: wait until that has ended"
                )
            );
        }
    }

    #[test]
    fn whoever_begins_anew_is_told_of_what_is_left_and_of_what_runs() {
        let (one, two) = (job(1), job(2));
        let told = |left: &[JobId], running: &[JobId]| {
            let told = unfinished(left, running).begins_anew("count");
            told.map(|told| told.rsplit([':', ',']).next().map(str::to_owned))
        };
        let ends = |end: &str| Some(Some(end.to_owned()));
        assert_eq!(told(&[], &[]), None);
        assert_eq!(told(&[one], &[two]), ends(" --resume"));
        let either = format!(" --resume={one} or --resume={two}");
        assert_eq!(told(&[one, two], &[]), ends(&either));
        assert_eq!(
            told(&[], &[one]),
            ends(" and this is another one beside it")
        );
    }
}
