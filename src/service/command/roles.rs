//! The processes of a service: all roles in one, or each in its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rivus_actors::NodeConfig;
use rivus_state::{RocksDbBackend, StateBackend};
use rivus_wire::Secret;
use tokio::net::TcpListener;

use super::{CommandError, show};
use crate::cluster::Cluster;
use crate::error::JobError;
use crate::jobs::Jobs;
use crate::service::server::{ADDRESS, Service};
use crate::service::settings::ProcessSettings;
use crate::storage::{Coordination, Storage};
use crate::wire::WireSettings;

/// How long a service may take to lead before it says that it stands by.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where processes listen for one another, unless they are told otherwise: on this machine, at any free port, which the
/// election makes known.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A shorter secret can be guessed.
const SECRET_BYTES: usize = 16;

/// Where everything lies that must not be lost, and who leads.
#[derive(Debug, Args)]
struct StorageArgs {
    /// Where job logs, checkpoints and savepoints lie: a directory, or s3://BUCKET/PREFIX
    #[arg(long, env = "RIVUS_STORAGE", default_value = "rivus-storage")]
    storage: String,
    /// Who elects the leader: a directory of one machine, or etcd://HOST:PORT,.. which then has the logs too. A storage that is a
    /// directory has one in it
    #[arg(long, env = "RIVUS_COORDINATION")]
    coordination: Option<String>,
    /// How long a leader is waited for that can't renew its lease
    #[arg(long, env = "RIVUS_LEASE", default_value = "3s", value_parser = humantime::parse_duration)]
    lease: Duration,
    /// After how long a silence another process is given up whose connection is not closed
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    heartbeat_timeout: Duration,
}

/// What runs tasks.
#[derive(Debug, Args)]
struct TasksArgs {
    /// Subtasks of the widest operators that can run at the same time in this process, of all jobs together
    #[arg(long, env = "RIVUS_SLOTS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// Threads that subtasks run on; 0: one per core
    #[arg(long, env = "RIVUS_WORKERS", default_value_t = 0)]
    workers: usize,
    /// Keep state in RocksDB below this directory, instead of in memory
    #[arg(long, env = "RIVUS_ROCKSDB")]
    rocksdb: Option<PathBuf>,
    /// MiB of memory for all state in RocksDB
    #[arg(long, default_value_t = 256, requires = "rocksdb")]
    rocksdb_memory: usize,
}

/// What keeps strangers out.
#[derive(Debug, Args)]
struct SecretArgs {
    /// A file with what all processes know and nobody else; needed to listen to other machines
    #[arg(long, env = "RIVUS_SECRET_FILE")]
    secret_file: Option<PathBuf>,
}

/// How a service runs.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "RIVUS_ADDRESS", default_value_t = ADDRESS)]
    address: SocketAddr,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    tasks: TasksArgs,
}

/// How a JobManager runs.
#[derive(Debug, Args)]
pub struct JobManagerArgs {
    /// Where to listen for commands; port 0 takes a free one
    #[arg(long, env = "RIVUS_ADDRESS", default_value_t = ADDRESS)]
    address: SocketAddr,
    /// Where to listen for TaskManagers, who learn it from the election
    #[arg(long, env = "RIVUS_CONTROL_ADDRESS", default_value_t = ANYWHERE)]
    control_address: SocketAddr,
    /// Its name among the others; one that no other process has
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    secret: SecretArgs,
}

/// How a TaskManager runs.
#[derive(Debug, Args)]
pub struct TaskManagerArgs {
    /// Where to listen for records of other TaskManagers, who learn it from the leader
    #[arg(long, env = "RIVUS_DATA_ADDRESS", default_value_t = ANYWHERE)]
    data_address: SocketAddr,
    /// Its name among the others; one that no other process has. The same in its next life
    #[arg(long)]
    name: Option<String>,
    /// How long tasks go on without a leader
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    task_survival_timeout: Duration,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    tasks: TasksArgs,
    #[command(flatten)]
    secret: SecretArgs,
}

fn setup(message: String) -> CommandError {
    CommandError::Job(JobError::Setup(message))
}

fn failed(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> CommandError {
    let what = what.into();
    move |source| CommandError::Io { what, source }
}

impl StorageArgs {
    fn storage(&self) -> Result<Storage, CommandError> {
        match self.storage.split_once("://") {
            None => Ok(Storage::Directory(PathBuf::from(&self.storage))),
            #[cfg(feature = "s3")]
            Some(("s3", bucket)) => {
                let (bucket, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
                let options = rivus_state::S3Options::new(bucket).prefix(prefix);
                Ok(Storage::S3(options))
            }
            Some((kind, _)) => Err(setup(format!(
                "--storage {}: there is no {kind}:// in this build: give a directory or s3://BUCKET/PREFIX",
                self.storage
            ))),
        }
    }

    fn coordination(&self) -> Result<Coordination, CommandError> {
        let Some(wanted) = &self.coordination else {
            return match self.storage()? {
                Storage::Directory(path) => Ok(Coordination::Directory(path.join("leaders"))),
                _ => Err(setup(format!(
                    "--storage {} can't elect a leader: give --coordination, a directory of this machine or \
                     etcd://HOST:PORT",
                    self.storage
                ))),
            };
        };
        match wanted.split_once("://") {
            None => Ok(Coordination::Directory(PathBuf::from(wanted))),
            #[cfg(feature = "etcd")]
            Some(("etcd", endpoints)) => {
                let endpoints = endpoints.split(',').map(|at| format!("http://{at}"));
                let options = rivus_state::EtcdOptions::new(endpoints);
                Ok(Coordination::Etcd(options))
            }
            Some((kind, _)) => Err(setup(format!(
                "--coordination {wanted}: there is no {kind}:// in this build: give a directory or etcd://HOST:PORT,.."
            ))),
        }
    }

    /// A process's settings but for its role.
    fn settings(&self, wire: Option<WireSettings>) -> Result<ProcessSettings, CommandError> {
        // A short timeout needs signs of life that come more often.
        let interval = NodeConfig::default().heartbeat_interval;
        Ok(ProcessSettings {
            storage: self.storage()?,
            coordination: self.coordination()?,
            node: NodeConfig {
                lease: self.lease,
                heartbeat_interval: interval.min(self.heartbeat_timeout / 4),
                heartbeat_timeout: self.heartbeat_timeout,
                ..NodeConfig::default()
            },
            workers: 1,
            backend: None,
            wire,
        })
    }
}

impl TasksArgs {
    fn apply(&self, settings: &mut ProcessSettings) -> Result<(), CommandError> {
        settings.node.slots = self.slots;
        settings.workers = self.workers;
        if let Some(directory) = &self.rocksdb {
            let opened = RocksDbBackend::new(directory).map_err(failed("--rocksdb"))?;
            let backend = opened.memory(self.rocksdb_memory << 20);
            settings.backend = Some(Arc::new(backend) as Arc<dyn StateBackend>);
        }
        Ok(())
    }
}

impl SecretArgs {
    fn secret(&self) -> Result<Secret, CommandError> {
        match &self.secret_file {
            None => Ok(Secret::none()),
            Some(path) => read_secret(path),
        }
    }
}

fn read_secret(path: &Path) -> Result<Secret, CommandError> {
    let what = || format!("--secret-file {}", path.display());
    let secret = std::fs::read(path).map_err(failed(what()))?;
    let secret = secret.trim_ascii();
    if secret.len() < SECRET_BYTES {
        return Err(setup(format!(
            "{}: {} bytes can be guessed: give {SECRET_BYTES} or more, as `openssl rand -base64 32` does",
            what(),
            secret.len()
        )));
    }
    Ok(Secret::new(secret))
}

fn named(name: Option<String>) -> String {
    name.map_or_else(String::new, |name| format!("{name}/"))
}

impl ClusterArgs {
    pub(super) fn run(self, jobs: Jobs) -> Result<(), CommandError> {
        let mut settings = self.storage.settings(None)?;
        self.tasks.apply(&mut settings)?;
        let what = format!("{} slots", self.tasks.slots);
        lead(jobs, settings, self.address, &self.storage.storage, |_| {
            what
        })
    }
}

impl JobManagerArgs {
    pub(super) fn run(self, jobs: Jobs) -> Result<(), CommandError> {
        let wire = WireSettings {
            secret: self.secret.secret()?,
            control: Some(self.control_address),
            data: None,
        };
        let mut settings = self.storage.settings(Some(wire))?;
        settings.node.name = named(self.name);
        settings.node.task_managers = 0;
        settings.node.job_managers = 1;
        let what = |control: &str| format!("TaskManagers at {control}");
        lead(jobs, settings, self.address, &self.storage.storage, what)
    }
}

impl TaskManagerArgs {
    pub(super) fn run(self, jobs: Jobs) -> Result<(), CommandError> {
        let wire = WireSettings {
            secret: self.secret.secret()?,
            control: None,
            data: Some(self.data_address),
        };
        let mut settings = self.storage.settings(Some(wire))?;
        settings.node.name = named(self.name);
        settings.node.job_managers = 0;
        settings.node.task_survival_timeout = self.task_survival_timeout;
        self.tasks.apply(&mut settings)?;
        runtime()?.block_on(async {
            let cluster = Cluster::start(settings.cluster(&jobs)?).await?;
            show::say(&format!(
                "{} slots; data at {}; storage in {}",
                self.tasks.slots,
                cluster.data_address(),
                self.storage.storage
            ));
            told_to_stop().await;
            Ok(())
        })
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("can't start a runtime"))
}

/// Runs a process that leads, or stands by until it does, and answers for its jobs.
fn lead(
    jobs: Jobs,
    settings: ProcessSettings,
    address: SocketAddr,
    storage: &str,
    what: impl FnOnce(&str) -> String,
) -> Result<(), CommandError> {
    runtime()?.block_on(async {
        let cant_listen = || format!("can't listen on {address}: give another --address");
        let listener = TcpListener::bind(address)
            .await
            .map_err(failed(cant_listen()))?;
        let address = listener.local_addr().map_err(failed(cant_listen()))?;
        let names = jobs.names().collect::<Vec<_>>().join(", ");
        let Some(service) = until_leading(Service::start(jobs, settings)).await? else {
            return Ok(());
        };
        show::say(&format!(
            "listening on {address}; storage in {storage}; {}; jobs: {names}",
            what(service.control_address()),
        ));
        let served = service.serve(listener, told_to_stop()).await;
        served.map_err(failed("the service failed"))
    })
}

/// Waits until the service leads; none if it is told to stop before.
async fn until_leading(
    starting: impl Future<Output = Result<Arc<Service>, JobError>>,
) -> Result<Option<Arc<Service>>, JobError> {
    let mut starting = std::pin::pin!(starting);
    tokio::select! {
        started = &mut starting => return started.map(Some),
        () = tokio::time::sleep(PATIENCE) => {}
    }
    show::say("standing by: another process serves this storage");
    tokio::select! {
        started = starting => started.map(Some),
        () = told_to_stop() => Ok(None),
    }
}

/// When the process is told to stop. Its jobs go on in other processes on the same storage.
async fn told_to_stop() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
