//! The processes of a service: all roles in one, or each in its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use signal_hook::flag::register_conditional_shutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{CommandError, show};
use crate::cluster::Cluster;
use crate::command_line::log;
use crate::config::{
    Config, ConfigError, Flags, ForCluster, ForJobManager, ForTaskManager, Role, declared,
};
use crate::jobs::Jobs;
use crate::runtimes::THREAD_KEEP_ALIVE;
use crate::service::server::Service;
use crate::service::settings::ProcessSettings;
use crate::wire::Door;

/// How long a service may take to lead before it says that it stands by.
const PATIENCE: Duration = Duration::from_secs(2);

/// To this a shell adds the number of the signal that has ended a process: its exit code.
const BY_SIGNAL: i32 = 128;

/// How a service runs.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(flatten)]
    flags: Flags<ForCluster>,
}

/// How a JobManager runs.
#[derive(Debug, Args)]
pub struct JobManagerArgs {
    #[command(flatten)]
    flags: Flags<ForJobManager>,
}

/// How a TaskManager runs.
#[derive(Debug, Args)]
pub struct TaskManagerArgs {
    #[command(flatten)]
    flags: Flags<ForTaskManager>,
}

fn failed(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> CommandError {
    let what = what.into();
    move |source| CommandError::Io { what, source }
}

/// What holds; from here on, what there is to be said of it is logged.
fn configured<R>(flags: &Flags<R>) -> Result<Config, ConfigError> {
    let config = Config::read(flags)?;
    let filter = EnvFilter::try_new(config.get(&declared::LOG));
    let filter = filter.map_err(|error| config.refuse(&declared::LOG, error))?;
    log(filter);
    Ok(config)
}

impl ClusterArgs {
    pub(super) fn run(self, jobs: Jobs) -> Result<(), CommandError> {
        let config = configured(&self.flags)?;
        let what = format!("{} slots", config.get(&declared::SLOTS));
        lead(jobs, &config, Role::Cluster, |_| what)
    }
}

impl JobManagerArgs {
    pub(super) fn run(self, jobs: Jobs) -> Result<(), CommandError> {
        let config = configured(&self.flags)?;
        let what = |control: &str| format!("TaskManagers at {control}");
        lead(jobs, &config, Role::JobManager, what)
    }
}

impl TaskManagerArgs {
    pub(super) fn run(self, jobs: Jobs) -> Result<(), CommandError> {
        let config = configured(&self.flags)?;
        let settings = ProcessSettings::of(&config, Role::TaskManager)?;
        runtime()?.block_on(async {
            let cluster = Cluster::start(settings.cluster(&jobs)?).await?;
            show::say(&format!(
                "{} slots; data at {}; storage in {}",
                config.get(&declared::SLOTS),
                cluster.listens(),
                config.get(&declared::STORAGE)
            ));
            told_to_stop().await;
            Ok(())
        })
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()
        .map_err(failed("can't start a runtime"))
}

/// Runs a process that leads, or stands by until it does, and answers for its jobs.
fn lead(
    jobs: Jobs,
    config: &Config,
    role: Role,
    what: impl FnOnce(&str) -> String,
) -> Result<(), CommandError> {
    let mut settings = ProcessSettings::of(config, role)?;
    let address = config.get(&declared::ADDRESS).only();
    let address = address.map_err(|problem| config.refuse(&declared::ADDRESS, problem))?;
    runtime()?.block_on(async {
        let cant_listen = || format!("can't listen on {address}: give another --address");
        let listener = TcpListener::bind(address)
            .await
            .map_err(failed(cant_listen()))?;
        let address = listener.local_addr().map_err(failed(cant_listen()))?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                "commands come to {address} from whoever reaches it: let only your own in, by a firewall or a proxy that knows them"
            );
        }
        let names = jobs.names().collect::<Vec<_>>().join(", ");
        settings.node.commands = told(address, &settings);
        let service = Service::start(jobs, settings).await?;
        let served = Arc::clone(&service).serve(listener, told_to_stop());
        let leading = format!(
            "listening on {address}; storage in {}; {}; jobs: {names}",
            config.get(&declared::STORAGE),
            what(service.listens()),
        );
        tokio::select! {
            served = served => served.map_err(failed("the service failed")),
            () = say_who_leads(&service, address, &leading) => Ok(()),
        }
    })
}

/// Where others find what is listened to here. All of a machine's addresses are none that they could use: if nothing else is said,
/// TaskManagers are told one of them, and commands come there too, at the port that is listened to.
fn told(address: SocketAddr, settings: &ProcessSettings) -> String {
    if let Some(advertised) = &settings.advertised {
        return advertised.0.clone();
    }
    if !address.ip().is_unspecified() {
        return address.to_string();
    }
    let wire = settings.wire.as_ref();
    let control = wire.and_then(|wire| wire.control.as_ref());
    match control {
        Some(Door {
            advertised: Some(advertised),
            ..
        }) => format!("{}:{}", advertised.host(), address.port()),
        Some(Door { listens, .. }) => SocketAddr::new(listens.ip(), address.port()).to_string(),
        None => String::new(),
    }
}

/// Says that the service leads, and that it stands by, whenever that changes; that it doesn't lead yet only if that takes long.
async fn say_who_leads(service: &Service, address: SocketAddr, leading: &str) {
    loop {
        if tokio::time::timeout(PATIENCE, service.leads())
            .await
            .is_err()
        {
            show::say(&format!(
                "standing by at {address}: commands are sent on to the process that leads"
            ));
            service.leads().await;
        }
        show::say(leading);
        service.stands_by().await;
    }
}

/// When the process is told to stop. Its jobs go on in other processes on the same storage. It is told by the operating system, and if that
/// tells it once more, it ends at once, whatever it waits for, as if it were killed.
async fn told_to_stop() {
    if let Ok(mut signals) = Signals::listen() {
        return signals.next().await;
    }
    // It can't be told.
    std::future::pending().await
}

/// What tells a process to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    was_told: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let was_told = Arc::default();
        for signal in [SignalKind::interrupt(), SignalKind::terminate()] {
            let signal = signal.as_raw_value();
            register_conditional_shutdown(signal, BY_SIGNAL + signal, Arc::clone(&was_told))?;
        }
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            was_told,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.was_told.store(true, Ordering::Relaxed);
    }
}
