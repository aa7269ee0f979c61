//! Jobs by name: what a binary that runs as a service can run.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::ErrorKind;

use rivus_actors::{Probe, ProgramFactories};
use rivus_core::job::{JobOptions, ProgramRef};
use rivus_core::{Failure, JobGraph, UserError};

use crate::command_line::{command_line, one_line};
use crate::environment::StreamEnvironment;
use crate::error::JobError;
use crate::service::command::ServiceCommand;

/// Run jobs as a service, and ask one.
#[derive(Debug, Parser)]
#[command(
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no service, leader or etcd answers: try again."
)]
struct Cli {
    #[command(subcommand)]
    command: ServiceCommand,
}

type Factory = Arc<dyn Fn(&StreamEnvironment, &JobArgs) -> Result<(), UserError> + Send + Sync>;

/// A job that can be asked for by name.
#[derive(Clone)]
pub(crate) struct NamedJob {
    pub(crate) about: String,
    /// None: what the service is set up with.
    pub(crate) options: Option<JobOptions>,
    write: Factory,
}

/// The jobs that a binary can run by name. Closures don't travel between processes, names and arguments do: every process
/// of a service has the same jobs compiled in, and builds the same plan from a job's name and arguments.
///
/// ```
/// use rivus::connectors::{FileSink, TextFileSource};
/// use rivus::{JobArgs, Jobs, StreamEnvironment, UserError};
///
/// fn word_count(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
///     let [input, output] = args.exactly()?;
///     env.from_source(TextFileSource::glob(input))
///         .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
///         .key_by_ref(|word| word.as_str())
///         .count()
///         .sink_to(FileSink::csv(output));
///     Ok(())
/// }
///
/// // fn main() -> std::process::ExitCode { jobs().main() }
/// fn jobs() -> Jobs {
///     Jobs::new().job("word_count", "Counts the words of files: INPUT OUTPUT", word_count)
/// }
/// assert_eq!(jobs().names().collect::<Vec<_>>(), ["word_count"]);
/// ```
#[derive(Clone, Default)]
pub struct Jobs {
    jobs: BTreeMap<String, NamedJob>,
    pub(crate) probe: Option<Arc<dyn Probe>>,
}

impl Jobs {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a job: its name, one line about it for people, and the function that writes it. What the function writes may
    /// depend on nothing but its arguments: it is called in every process of a service, and plans are compared.
    ///
    /// # Panics
    /// If there is a job of that name already.
    #[must_use]
    pub fn job<F>(self, name: &str, about: &str, write: F) -> Self
    where
        F: Fn(&StreamEnvironment, &JobArgs) -> Result<(), UserError> + Send + Sync + 'static,
    {
        self.add(name, about, None, write)
    }

    /// The same, with settings of its own instead of those of the service's configuration.
    ///
    /// ```
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    /// use rivus::{JobOptions, Jobs};
    /// use std::time::Duration;
    ///
    /// let each_second = JobOptions { checkpoint_interval: Some(Duration::from_secs(1)), ..JobOptions::default() };
    /// let jobs = Jobs::new().job_with("ticks", "Counts on", each_second, |env, _args| {
    ///     env.from_source(GeneratorSource::new(|n, _| n).rate(10)).sink_to(DiscardSink::new());
    ///     Ok(())
    /// });
    /// # let _ = jobs;
    /// ```
    ///
    /// # Panics
    /// If there is a job of that name already.
    #[must_use]
    pub fn job_with<F>(self, name: &str, about: &str, options: JobOptions, write: F) -> Self
    where
        F: Fn(&StreamEnvironment, &JobArgs) -> Result<(), UserError> + Send + Sync + 'static,
    {
        self.add(name, about, Some(options), write)
    }

    fn add<F>(mut self, name: &str, about: &str, options: Option<JobOptions>, write: F) -> Self
    where
        F: Fn(&StreamEnvironment, &JobArgs) -> Result<(), UserError> + Send + Sync + 'static,
    {
        let job = NamedJob {
            about: about.to_owned(),
            options,
            write: Arc::new(write),
        };
        let other = self.jobs.insert(name.to_owned(), job);
        assert!(
            other.is_none(),
            "two jobs are named {name}: give one another name"
        );
        self
    }

    /// Has a probe look in on every process of the binary, where it may break things: for a test that starts processes of its own.
    ///
    /// ```
    /// use std::fmt::Display;
    /// use std::sync::Arc;
    ///
    /// use rivus::Jobs;
    /// use rivus::engine::{ActorKind, Fault, Probe, Step};
    ///
    /// /// The leader's process is gone as soon as a checkpoint is complete, and before anybody knows.
    /// struct Mortal;
    ///
    /// impl Probe for Mortal {
    ///     fn at(&self, _kind: ActorKind, _label: &dyn Display, step: Step) -> Option<Fault> {
    ///         if step == Step::Announce {
    ///             std::process::abort();
    ///         }
    ///         None
    ///     }
    /// }
    ///
    /// let jobs = Jobs::new().probe(Arc::new(Mortal));
    /// # let _ = jobs;
    /// ```
    #[must_use]
    pub fn probe(mut self, probe: Arc<dyn Probe>) -> Self {
        self.probe = Some(probe);
        self
    }

    /// A whole binary: runs these jobs as a service, and asks one; see [`ServiceCommand`]. `RUST_LOG` says what of the engine's
    /// doings goes to standard error.
    pub fn main(self) -> ExitCode {
        match command_line() {
            Ok(Cli { command }) => command.run(self),
            Err(code) => code,
        }
    }

    /// The jobs' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.jobs.keys().map(String::as_str)
    }

    /// A job, or one line that names those that there are.
    pub(crate) fn get(&self, name: &str) -> Result<&NamedJob, Failure> {
        self.jobs.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            let there = match names.is_empty() {
                true => "this binary registers none".to_owned(),
                false => format!("there are: {}", names.join(", ")),
            };
            Failure::job(format!("there is no job named {name:?}: {there}"))
        })
    }

    /// What a job of this binary says of its arguments, if they ask for that.
    pub(crate) fn help(&self, name: &str, args: &[String]) -> Option<String> {
        let job = self.jobs.get(name)?;
        if !args.iter().any(|arg| arg == "--help" || arg == "-h") {
            return None;
        }
        let asked = JobArgs::new(name, args.iter().cloned());
        let refused = (job.write)(&StreamEnvironment::default(), &asked).err();
        let help = refused
            .as_ref()
            .and_then(|error| error.downcast_ref::<Help>());
        Some(match help {
            Some(help) => help.text.clone(),
            None => format!("{name}: {}", job.about),
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &NamedJob)> {
        self.jobs.iter().map(|(name, job)| (name.as_str(), job))
    }
}

impl ProgramFactories for Jobs {
    fn build(&self, program: &ProgramRef) -> Result<JobGraph, Failure> {
        let job = self.get(&program.factory)?;
        let env = StreamEnvironment::builder()
            .parallelism(program.parallelism)
            .build();
        let args = JobArgs {
            job: program.factory.clone(),
            args: program.args.clone(),
        };
        let refused = |failure: Failure| Failure {
            message: format!("job {}: {}", program.factory, failure.message),
            ..failure
        };
        (job.write)(&env, &args).map_err(|error| refused(Failure::user(&error)))?;
        env.plan()
            .map_err(|error: JobError| refused(Failure::job(error.to_string())))
    }
}

/// What a job was submitted with, as on a command line.
///
/// ```
/// use rivus::JobArgs;
///
/// let args = JobArgs::new("word_count", ["in.txt", "out"]);
/// let [input, output] = args.exactly()?;
/// assert_eq!((input, output), ("in.txt", "out"));
/// assert_eq!(args.exactly::<1>().unwrap_err().to_string(), "takes 1 argument, and was given 2");
/// # Ok::<(), rivus::UserError>(())
/// ```
///
/// With flags of their own, jobs read them as a binary would:
///
/// ```
/// use clap::Parser;
/// use rivus::JobArgs;
///
/// #[derive(Parser)]
/// struct Args {
///     #[arg(long, default_value_t = 10)]
///     top: usize,
/// }
///
/// let args: Args = JobArgs::new("top_pages", ["--top", "3"]).parse()?;
/// assert_eq!(args.top, 3);
/// let mistyped = JobArgs::new("top_pages", ["--tpo", "3"]).parse::<Args>().err().unwrap();
/// assert_eq!(mistyped.to_string(), "unexpected argument '--tpo' found");
/// # Ok::<(), rivus::UserError>(())
/// ```
#[derive(Debug, Clone)]
pub struct JobArgs {
    job: String,
    args: Vec<String>,
}

impl JobArgs {
    /// Arguments of a job.
    pub fn new<A: Into<String>>(job: &str, args: impl IntoIterator<Item = A>) -> Self {
        Self {
            job: job.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
        }
    }

    /// The arguments as they were given.
    pub fn all(&self) -> &[String] {
        &self.args
    }

    /// So many arguments, no more and no fewer.
    ///
    /// # Errors
    /// One line that says how many there are.
    pub fn exactly<const N: usize>(&self) -> Result<[&str; N], UserError> {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let given = args.len();
        args.try_into().map_err(|_| {
            let s = if N == 1 { "" } else { "s" };
            format!("takes {N} argument{s}, and was given {given}").into()
        })
    }

    /// The arguments, read by `clap`. `submit JOB -- --help` shows what it says of them.
    ///
    /// # Errors
    /// The first paragraph of what `clap` says, on one line.
    pub fn parse<A: clap::Parser>(&self) -> Result<A, UserError> {
        let words = std::iter::once(&self.job).chain(&self.args);
        A::try_parse_from(words).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp => Help {
                line: one_line(&error),
                text: error.to_string(),
            }
            .into(),
            _ => {
                let line = one_line(&error);
                line.strip_prefix("error: ").unwrap_or(&line).into()
            }
        })
    }
}

/// What a job says of its arguments.
#[derive(Debug, thiserror::Error)]
#[error("{line}")]
struct Help {
    line: String,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_is_asked_for_help_says_what_its_arguments_are() {
        /// Ranks pages
        #[derive(Parser)]
        struct Args {
            /// How many
            #[arg(long)]
            top: Option<usize>,
        }
        let jobs = Jobs::new()
            .job("pages", "Popular pages", |_, args| {
                args.parse::<Args>()?;
                Ok(())
            })
            .job("lines", "Copies lines: INPUT OUTPUT", |_, args| {
                args.exactly::<2>()?;
                Ok(())
            });
        let help = |job: &str, args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            jobs.help(job, &args)
        };
        let pages = help("pages", &["--help"]).expect("is asked for");
        assert!(
            pages.starts_with("Ranks pages") && pages.contains("How many"),
            "{pages}"
        );
        assert_eq!(
            help("lines", &["-h"]).as_deref(),
            Some("lines: Copies lines: INPUT OUTPUT")
        );
        assert_eq!(help("pages", &["--top", "3"]), None);
        assert_eq!(help("no such job", &["--help"]), None);
    }

    fn read(words: &[&str]) -> Result<ServiceCommand, String> {
        let words = std::iter::once("mine").chain(words.iter().copied());
        let read = Cli::try_parse_from(words);
        read.map(|cli| cli.command)
            .map_err(|error| one_line(&error))
    }

    #[test]
    fn a_binary_of_ones_own_takes_every_setting_of_its_roles_and_no_other() {
        let file = ["--config", "rivus.toml"];
        let tasks = read(
            &[
                &["taskmanager", "--slots", "4", "--tls-ca", "ca.pem"],
                &file[..],
            ]
            .concat(),
        );
        assert!(matches!(tasks, Ok(ServiceCommand::TaskManager(_))));
        let shown = read(
            &[
                &["config", "show", "jobmanager", "--lease", "1s"],
                &file[..],
            ]
            .concat(),
        );
        assert!(matches!(shown, Ok(ServiceCommand::Config(_))));
        let other = read(&["jobmanager", "--slots", "4"]).err();
        let other = other.expect("is refused");
        assert!(
            other.starts_with("error: unexpected argument '--slots' found"),
            "{other}"
        );
        let mistyped = read(&["taskmanager", "--slot", "4"]).err();
        let mistyped = mistyped.expect("is refused");
        assert!(
            mistyped.ends_with("found: did you mean --slots?"),
            "{mistyped}"
        );
    }
}
