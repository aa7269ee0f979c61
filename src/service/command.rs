//! The service's commands: run it, and ask it.

mod configuration;
mod logs;
mod roles;
mod savepoint;
mod show;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

pub use self::configuration::{ConfigCommand, ShowArgs};
pub use self::roles::{ClusterArgs, JobManagerArgs, TaskManagerArgs};
pub use self::savepoint::SavepointCommand;
use super::api::{
    FactoryDetails, JobDetails, JobSummary, RescaleRequest, SavepointMade, SavepointOptions,
    SubmitRequest, Submitted, TaskManagerDetails,
};
use super::client::{self, Client, ClientError};
use crate::config::{Config, ConfigError, Flags, ForCommand, declared};
use crate::error::JobError;
use crate::jobs::Jobs;

/// The exit code of a command that is written wrong, as clap has it.
const USAGE: u8 = 2;

/// The exit code of a command that found no service, or none that leads, and of a process that finds no etcd: later it may.
const UNREACHABLE: u8 = 3;

/// What `status` shows of a job's tasks.
const COLUMNS: &str = "\
Of each task, since its attempt began:
  TASK           vertex, subtask and attempt
  IN, OUT        records that it took and that it passed on
  LATE/SKIPPED   records that came too late, and lines that couldn't be read and were skipped
  BUSY           the share of its time in which it worked
  BACKPRESSURED  the share in which those behind it had no room
  ROWS           keys of which it has state";

/// How often a live table is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);

/// What can be done with a service, and with what it leaves behind: subcommands for a binary of one's own that has other
/// commands too. One that has none calls [`Jobs::main`].
///
/// Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 as far as is known nothing was done, since no service answers, or no
/// leader, or no etcd: try again later. A process that is told to stop twice has 128 and the signal's number, 143 or 130.
///
/// ```
/// use clap::Parser;
/// use rivus::{Jobs, ServiceCommand};
///
/// #[derive(Parser)]
/// enum Cli {
///     /// Say hello
///     Hello,
///     #[command(flatten)]
///     Service(ServiceCommand),
/// }
///
/// fn run(cli: Cli) -> std::process::ExitCode {
///     match cli {
///         Cli::Hello => std::process::ExitCode::SUCCESS,
///         Cli::Service(command) => command.run(Jobs::new()),
///     }
/// }
/// # let _ = run(Cli::parse_from(["mine", "hello"]));
/// ```
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Run a service: all roles in this process, until it is told to stop (SIGINT or SIGTERM)
    Cluster(ClusterArgs),
    /// Lead: run jobs in TaskManagers of other processes, and answer for them; or stand by for who does
    #[command(name = "jobmanager")]
    JobManager(JobManagerArgs),
    /// Run tasks for whoever leads
    #[command(name = "taskmanager")]
    TaskManager(TaskManagerArgs),
    /// Run a job on a service
    Submit(SubmitArgs),
    /// List a service's jobs: those that run, and the last ones that have ended
    List {
        /// Which service
        #[command(flatten)]
        at: At,
    },
    /// Show a job: on a terminal until it ends, drawn anew twice a second
    #[command(after_help = COLUMNS)]
    Status {
        /// The job's id, the beginning of one, or its name
        job: String,
        /// Show it once, on a terminal too
        #[arg(long)]
        once: bool,
        /// Which service
        #[command(flatten)]
        at: At,
    },
    /// Show what has happened to a job: who led it, where its tasks went, what failed and why, its checkpoints, how it ended
    Logs {
        /// The job's id, the beginning of one, or its name
        job: String,
        /// Go on with what happens, until the job ends
        #[arg(long, short)]
        follow: bool,
        /// Which service
        #[command(flatten)]
        at: At,
    },
    /// End a job now; what it has read since its last checkpoint is forgotten
    Cancel {
        /// The job's id, the beginning of one, or its name
        job: String,
        /// Which service
        #[command(flatten)]
        at: At,
    },
    /// End a job with a savepoint: all of its output up to there is visible
    Stop {
        /// The job's id, the beginning of one, or its name
        job: String,
        /// With a savepoint, which it is in any case
        #[arg(long)]
        savepoint: bool,
        /// End event time first: every window and timer fires
        #[arg(long)]
        drain: bool,
        /// Which service
        #[command(flatten)]
        at: At,
    },
    /// Run a job at another parallelism: it stops with a savepoint of its own and goes on from that, under the same id
    Rescale {
        /// The job's id, the beginning of one, or its name
        job: String,
        /// Subtasks of every operator that doesn't say otherwise
        #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..))]
        parallelism: u32,
        /// Which service
        #[command(flatten)]
        at: At,
    },
    /// Make savepoints, and look into them
    #[command(subcommand)]
    Savepoint(SavepointCommand),
    /// Print a job's plan in Graphviz's language, also if the job has ended
    Dot {
        /// The job's id, the beginning of one, or its name
        job: String,
        /// Which service
        #[command(flatten)]
        at: At,
    },
    /// Show how a process would be set up, and what can be set
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List the processes that run tasks: how many slots they have, and which jobs hold them
    #[command(name = "taskmanagers")]
    TaskManagers {
        /// Which service
        #[command(flatten)]
        at: At,
    },
    /// List the jobs that a service can run
    Jobs {
        /// Which service
        #[command(flatten)]
        at: At,
    },
}

/// Which service, and how its answers are shown.
#[derive(Debug, Args)]
pub struct At {
    #[command(flatten)]
    flags: Flags<ForCommand>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// A job to run.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The job, one of those that the command `jobs` lists
    job: String,
    /// Its arguments; `-- --help` shows what they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
    /// For people; the job's name if it is not given
    #[arg(long)]
    name: Option<String>,
    /// Subtasks of every operator that doesn't say otherwise
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    parallelism: u32,
    /// Time from one checkpoint's start to the next, such as 500ms or 10s
    #[arg(long, value_parser = humantime::parse_duration)]
    checkpoint_interval: Option<Duration>,
    /// The folder of a savepoint to go on from
    #[arg(long)]
    from_savepoint: Option<PathBuf>,
    /// Let the state of an operator go that the savepoint has
    #[arg(long, requires = "from_savepoint")]
    drop_state_of: Vec<String>,
    #[command(flatten)]
    at: At,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{what}: {source}")]
    Io {
        what: String,
        source: std::io::Error,
    },
}

impl ServiceCommand {
    /// Does it. What goes wrong is one line on standard error.
    pub fn run(self, jobs: Jobs) -> ExitCode {
        let done = match self {
            Self::Cluster(args) => args.run(jobs),
            Self::JobManager(args) => args.run(jobs),
            Self::TaskManager(args) => args.run(jobs),
            Self::Submit(args) => submit(args, &jobs),
            Self::List { at } => list(&at),
            Self::Status { job, once, at } => status(&job, once, &at),
            Self::Logs { job, follow, at } => logs::logs(&job, follow, &at),
            Self::Cancel { job, at } => cancel(&job, &at),
            Self::Stop {
                job,
                savepoint: _,
                drain,
                at,
            } => {
                let options = SavepointOptions {
                    stop: true,
                    drain,
                    ..SavepointOptions::default()
                };
                make_savepoint(&job, options, &at)
            }
            Self::Rescale {
                job,
                parallelism,
                at,
            } => rescale(&job, parallelism, &at),
            Self::Savepoint(command) => command.run(),
            Self::Dot { job, at } => dot(&job, &at),
            Self::Config(command) => command.run(),
            Self::TaskManagers { at } => task_managers(&at),
            Self::Jobs { at } => factories(&at),
        };
        let Err(error) = done else {
            return ExitCode::SUCCESS;
        };
        eprintln!("error: {error}");
        match error {
            CommandError::Client(
                ClientError::Unreachable { .. } | ClientError::NoLeader { .. },
            )
            | CommandError::Job(JobError::Unreachable(_)) => ExitCode::from(UNREACHABLE),
            CommandError::Config(error) if error.is_usage() => ExitCode::from(USAGE),
            _ => ExitCode::FAILURE,
        }
    }
}

impl At {
    fn client(&self) -> Result<Client, ConfigError> {
        let config = Config::read(&self.flags)?;
        Ok(Client::new(
            config.get(&declared::ADDRESS),
            config.get(&declared::COMMAND_TIMEOUT),
        ))
    }
}

fn submit(args: SubmitArgs, jobs: &Jobs) -> Result<(), CommandError> {
    if let Some(help) = jobs.help(&args.job, &args.args) {
        show::one(false, &help, |help| help.trim_end().to_owned());
        return Ok(());
    }
    let request = SubmitRequest {
        id: Some(new_id()),
        job: args.job,
        args: args.args,
        name: args.name,
        parallelism: args.parallelism,
        checkpoint_interval_ms: args
            .checkpoint_interval
            .map(|every| every.as_millis() as u64),
        from_savepoint: args
            .from_savepoint
            .map(|path| absolute(path).display().to_string()),
        drop_state_of: args.drop_state_of,
    };
    let submitted: Submitted = args.at.client()?.post("jobs", &request)?;
    show::one(args.at.json, &submitted, |submitted| submitted.id.clone());
    Ok(())
}

/// The service has another directory than this process.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn list(at: &At) -> Result<(), CommandError> {
    let jobs: Vec<JobSummary> = at.client()?.get("jobs")?;
    show::one(at.json, &jobs, |jobs| show::jobs(jobs));
    Ok(())
}

fn status(job: &str, once: bool, at: &At) -> Result<(), CommandError> {
    let client = at.client()?;
    let path = of_job(job, "");
    let ask = || client.get::<JobDetails>(&path);
    if once || at.json || !std::io::stdout().is_terminal() {
        show::one(at.json, &ask()?, show::job);
        return Ok(());
    }
    let mut table = show::Live::default();
    loop {
        let details = ask()?;
        table.draw(&show::job(&details));
        if details.summary.is_over() {
            return Ok(());
        }
        client::wait(REDRAW);
    }
}

/// Where a job is asked about, whatever its name.
fn of_job(job: &str, what: &str) -> String {
    format!("jobs/{}{what}", utf8_percent_encode(job, NON_ALPHANUMERIC))
}

/// Names what is asked for: if it is asked for twice, because there was no answer, it is one.
#[allow(clippy::disallowed_methods)]
fn new_id() -> Uuid {
    Uuid::new_v4()
}

fn cancel(job: &str, at: &At) -> Result<(), CommandError> {
    let path = of_job(job, "/cancel");
    let summary: JobSummary = at.client()?.post_now(&path, &())?;
    show::one(at.json, &summary, |summary| match summary.is_over() {
        true => format!("{} is over: {}", summary.id, summary.status),
        false => format!("{} is being canceled", summary.id),
    });
    Ok(())
}

fn make_savepoint(job: &str, options: SavepointOptions, at: &At) -> Result<(), CommandError> {
    let client = at.client()?;
    // A name is a running job's: if this one ends with the savepoint before it is answered, it has its id still.
    let job: JobDetails = client.get(&of_job(job, ""))?;
    let options = SavepointOptions {
        token: Some(new_id()),
        ..options
    };
    let path = of_job(&job.summary.id, "/savepoints");
    let made: SavepointMade = client.post(&path, &options)?;
    show::one(at.json, &made, |made| {
        made.path.clone().unwrap_or_else(|| made.name.clone())
    });
    Ok(())
}

fn rescale(job: &str, parallelism: u32, at: &At) -> Result<(), CommandError> {
    let request = RescaleRequest {
        parallelism,
        token: Some(new_id()),
    };
    let path = of_job(job, "/rescale");
    let summary: JobSummary = at.client()?.post(&path, &request)?;
    show::one(at.json, &summary, |summary| {
        format!("{} goes on with parallelism {parallelism}", summary.id)
    });
    Ok(())
}

fn dot(job: &str, at: &At) -> Result<(), CommandError> {
    let drawn = at.client()?.text(&of_job(job, "/graph"))?;
    show::one(at.json, &drawn, |drawn| drawn.trim_end().to_owned());
    Ok(())
}

fn task_managers(at: &At) -> Result<(), CommandError> {
    let all: Vec<TaskManagerDetails> = at.client()?.get("taskmanagers")?;
    show::one(at.json, &all, |all| show::task_managers(all));
    Ok(())
}

fn factories(at: &At) -> Result<(), CommandError> {
    let all: Vec<FactoryDetails> = at.client()?.get("factories")?;
    show::one(at.json, &all, |all| show::factories(all));
    Ok(())
}
