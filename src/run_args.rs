//! The options of a program that runs a job in its own process.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::environment::{EnvironmentBuilder, StreamEnvironment};
use crate::error::JobError;
use crate::handle::JobResult;
use crate::savepoint::Savepoint;
use crate::storage::Storage;

/// How a program runs its job in its own process: options for its command line, to be put beside its own. With `--state DIR` it
/// can be stopped with a savepoint (`--stop-after 10m`) and go on from one (`--from-savepoint FOLDER`), maybe as another version
/// of itself, or at another `--parallelism`.
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
    /// Stop with a savepoint after so long, such as 90s or 10m, if the job isn't over by then.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "state")]
    stop_after: Option<Duration>,
    /// The folder of a savepoint to go on from.
    #[arg(long, value_name = "FOLDER", requires = "state")]
    from_savepoint: Option<PathBuf>,
}

impl RunArgs {
    /// The environment that was asked for, to be built.
    pub fn environment(&self) -> EnvironmentBuilder {
        let builder = StreamEnvironment::builder().parallelism(self.parallelism);
        match &self.state {
            Some(directory) => builder.storage(Storage::Directory(directory.clone())),
            None => builder,
        }
    }

    /// Runs the program that was written into the environment, until it is over or to be stopped. Then it says on standard error
    /// how to go on.
    ///
    /// # Errors
    /// As [`StreamEnvironment::execute`], [`FromSavepoint::start`](crate::FromSavepoint::start) and
    /// [`JobHandle::stop_with_savepoint`](crate::JobHandle::stop_with_savepoint).
    pub async fn execute(
        &self,
        env: &StreamEnvironment,
        name: &str,
    ) -> Result<JobResult, JobError> {
        let job = match &self.from_savepoint {
            Some(folder) => env.from_savepoint(&Savepoint::at(folder)).start(name).await,
            None => env.start(name).await,
        }?;
        let Some(stop_after) = self.stop_after else {
            return job.wait().await;
        };
        if let Ok(over) = tokio::time::timeout(stop_after, job.clone().wait()).await {
            return over;
        }
        let savepoint = job.stop_with_savepoint().await?;
        if let Some(folder) = savepoint.path() {
            eprintln!("go on with --from-savepoint {}", folder.display());
        }
        job.wait().await
    }
}
