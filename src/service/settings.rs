//! How a process of a service is set up, whatever its role: what its configuration comes to.

use std::path::PathBuf;
use std::sync::Arc;

use rivus_actors::NodeConfig;
use rivus_core::job::JobOptions;
use rivus_state::{RocksDbBackend, StateBackend};
use rivus_wire::{Credentials, Secret, Tls, TlsError};

use crate::cluster::{ClusterSettings, RuntimeMode};
use crate::config::declared as of;
use crate::config::{Config, ConfigError, Declared, HostPort, Role};
#[cfg(any(feature = "s3", feature = "etcd"))]
use crate::config::{Setting, Value};
use crate::error::JobError;
use crate::jobs::Jobs;
use crate::storage::{Coordination, Storage};
use crate::wire::{Door, WireSettings};

/// A shorter secret can be guessed.
const SECRET_BYTES: usize = 16;

/// How a process is set up.
pub(crate) struct ProcessSettings {
    pub(crate) storage: Storage,
    /// Other candidates on the same storage stand by.
    pub(crate) coordination: Coordination,
    pub(crate) node: NodeConfig,
    pub(crate) workers: usize,
    pub(crate) backend: Option<Arc<dyn StateBackend>>,
    /// Of jobs that have none of their own.
    pub(crate) options: JobOptions,
    /// None for one that is alone.
    pub(crate) wire: Option<WireSettings>,
    /// Where others send commands, if they reach it by another way than its address.
    pub(crate) advertised: Option<HostPort>,
}

impl ProcessSettings {
    /// What a configuration comes to in a role.
    pub(crate) fn of(config: &Config, role: Role) -> Result<Self, ConfigError> {
        let storage = storage(config)?;
        Ok(Self {
            coordination: coordination(config, &storage)?,
            storage,
            node: node(config, role),
            workers: match role {
                Role::JobManager => 1,
                _ => config.get(&of::WORKER_THREADS),
            },
            backend: match role {
                Role::JobManager => None,
                _ => backend(config)?,
            },
            options: options(config),
            wire: wire(config, role)?,
            advertised: match role {
                Role::Cluster | Role::JobManager => config.get(&of::ADVERTISED),
                Role::TaskManager | Role::Command => None,
            },
        })
    }

    /// With the jobs that are compiled into this process.
    pub(crate) fn cluster(self, jobs: &Jobs) -> Result<ClusterSettings, JobError> {
        let checked = match self.wire {
            Some(_) => self.node.check_in_cluster(),
            None => self.node.check(),
        };
        checked.map_err(JobError::Setup)?;
        self.options.check().map_err(JobError::Setup)?;
        Ok(ClusterSettings {
            node: self.node,
            mode: RuntimeMode::Threads {
                workers: self.workers,
            },
            storage: self.storage,
            coordination: self.coordination,
            seed: None,
            starts_at: None,
            probe: jobs.probe.clone(),
            blocking: None,
            backend: self.backend,
            factories: Some(Arc::new(jobs.clone())),
            wire: self.wire,
        })
    }
}

fn node(config: &Config, role: Role) -> NodeConfig {
    let several = NodeConfig::default();
    let heartbeat_timeout = config.get(&of::HEARTBEAT_TIMEOUT);
    // A short timeout needs signs of life that come more often.
    let often = several.heartbeat_interval.min(heartbeat_timeout / 4);
    let name: Option<String> = config.get(&of::NAME);
    let (job_managers, task_managers) = match role {
        Role::JobManager => (1, 0),
        Role::TaskManager => (0, 1),
        Role::Cluster | Role::Command => (several.job_managers, several.task_managers),
    };
    NodeConfig {
        name: match (role, name) {
            (Role::JobManager | Role::TaskManager, Some(name)) => format!("{name}/"),
            _ => String::new(),
        },
        job_managers,
        task_managers,
        slots: config.get(&of::SLOTS).get(),
        lease: config.get(&of::LEASE),
        heartbeat_interval: config.get(&of::HEARTBEAT_INTERVAL).unwrap_or(often),
        heartbeat_timeout,
        collect_timeout: config.get(&of::COLLECT_TIMEOUT),
        task_survival_timeout: config.get(&of::TASK_SURVIVAL_TIMEOUT),
        local_recovery: config.get(&of::LOCAL_RECOVERY),
        ..several
    }
}

fn options(config: &Config) -> JobOptions {
    JobOptions {
        checkpoint_interval: config.get(&of::CHECKPOINT_INTERVAL),
        checkpoint_timeout: config.get(&of::CHECKPOINT_TIMEOUT),
        checkpoint_pause: config.get(&of::CHECKPOINT_PAUSE),
        checkpoint_mode: config.get(&of::CHECKPOINT_MODE),
        alignment_timeout: config.get(&of::ALIGNMENT_TIMEOUT),
        unaligned_after: config.get(&of::UNALIGNED_AFTER),
        retained_checkpoints: config.get(&of::RETAINED_CHECKPOINTS).get(),
        tolerable_checkpoint_failures: config.get(&of::TOLERABLE_FAILURES),
        ..JobOptions::default()
    }
}

fn storage(config: &Config) -> Result<Storage, ConfigError> {
    let found = storage_at(config, &config.get(&of::STORAGE))?;
    found.map_err(|problem| config.refuse(&of::STORAGE, problem))
}

/// The storage at a place, reached as a configuration says; or what is wrong with the place.
pub(crate) fn storage_at(
    config: &Config,
    place: &str,
) -> Result<Result<Storage, String>, ConfigError> {
    match place.split_once("://") {
        None => Ok(Ok(Storage::Directory(PathBuf::from(place)))),
        #[cfg(feature = "s3")]
        Some(("s3", bucket)) => s3(config, bucket).map(|options| Ok(Storage::S3(options))),
        Some((kind, _)) => Ok(Err(format!(
            "there is no {kind}:// in this build: give a directory or s3://BUCKET/PREFIX"
        ))),
    }
}

#[cfg(feature = "s3")]
fn s3(config: &Config, bucket: &str) -> Result<rivus_state::S3Options, ConfigError> {
    use rivus_state::{S3Credentials, S3Options};

    let (bucket, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
    let mut options = S3Options::new(bucket).prefix(prefix);
    if let Some(endpoint) = config.get(&of::S3_ENDPOINT) {
        options = options.endpoint(endpoint);
    }
    if let Some(region) = config.get(&of::S3_REGION) {
        options = options.region(region);
    }
    match together(config, &of::S3_ACCESS_KEY, &of::S3_SECRET_KEY)? {
        false => Ok(options),
        true => Ok(options.credentials(S3Credentials::Given {
            key: config.get(&of::S3_ACCESS_KEY).unwrap_or_default(),
            secret: config.get(&of::S3_SECRET_KEY).unwrap_or_default(),
            token: None,
        })),
    }
}

/// Whether two settings that mean nothing without each other are given.
#[cfg(any(feature = "s3", feature = "etcd"))]
fn together<T: Value>(
    config: &Config,
    first: &'static Setting<Option<T>>,
    second: &'static Setting<Option<T>>,
) -> Result<bool, ConfigError> {
    let missing = |given: &dyn Declared, missing: &dyn Declared| {
        Err(config.refuse(
            given,
            format!("it needs {} beside it: give that too", missing.key()),
        ))
    };
    match (config.get(first), config.get(second)) {
        (Some(_), Some(_)) => Ok(true),
        (None, None) => Ok(false),
        (Some(_), None) => missing(first, second),
        (None, Some(_)) => missing(second, first),
    }
}

fn coordination(config: &Config, storage: &Storage) -> Result<Coordination, ConfigError> {
    let Some(wanted) = config.get(&of::COORDINATION) else {
        return match storage {
            Storage::Directory(path) => Ok(Coordination::Directory(path.join("leaders"))),
            _ => Err(config.refuse(
                &of::STORAGE,
                "it can't elect a leader: give coordination too, a directory of this machine or etcd://HOST:PORT",
            )),
        };
    };
    match wanted.split_once("://") {
        None => Ok(Coordination::Directory(PathBuf::from(wanted))),
        #[cfg(feature = "etcd")]
        Some(("etcd", endpoints)) => etcd(config, endpoints).map(Coordination::Etcd),
        Some((kind, _)) => Err(config.refuse(
            &of::COORDINATION,
            format!("there is no {kind}:// in this build: give a directory or etcd://HOST:PORT,.."),
        )),
    }
}

#[cfg(feature = "etcd")]
fn etcd(config: &Config, endpoints: &str) -> Result<rivus_state::EtcdOptions, ConfigError> {
    let ca = config.get(&of::ETCD_CA);
    let scheme = if ca.is_some() { "https" } else { "http" };
    let endpoints = endpoints.split(',').map(|at| format!("{scheme}://{at}"));
    let mut options = rivus_state::EtcdOptions::new(endpoints)
        .prefix(config.get(&of::ETCD_PREFIX))
        .timeout(config.get(&of::ETCD_TIMEOUT));
    if let Some(ca) = ca {
        options = options.ca(ca);
    }
    if together(config, &of::ETCD_USER, &of::ETCD_PASSWORD)? {
        let user = config.get(&of::ETCD_USER).unwrap_or_default();
        options = options.user(user, config.get(&of::ETCD_PASSWORD).unwrap_or_default());
    }
    if together(config, &of::ETCD_CERTIFICATE, &of::ETCD_KEY)? {
        let certificate = config.get(&of::ETCD_CERTIFICATE).unwrap_or_default();
        options = options.certificate(certificate, config.get(&of::ETCD_KEY).unwrap_or_default());
    }
    Ok(options)
}

fn backend(config: &Config) -> Result<Option<Arc<dyn StateBackend>>, ConfigError> {
    let Some(directory) = config.get(&of::ROCKSDB_DIRECTORY) else {
        return Ok(None);
    };
    let opened = RocksDbBackend::new(directory);
    let opened = opened.map_err(|error| config.refuse(&of::ROCKSDB_DIRECTORY, error))?;
    let backend: Arc<dyn StateBackend> = Arc::new(opened.memory(config.get(&of::ROCKSDB_MEMORY).0));
    let checked = backend.check();
    checked.map_err(|problem| config.refuse(&of::ROCKSDB_MEMORY, problem))?;
    Ok(Some(backend))
}

fn wire(config: &Config, role: Role) -> Result<Option<WireSettings>, ConfigError> {
    let (address, advertised) = match role {
        Role::Cluster | Role::Command => return Ok(None),
        Role::JobManager => (&of::CONTROL_ADDRESS, &of::CONTROL_ADVERTISED),
        Role::TaskManager => (&of::DATA_ADDRESS, &of::DATA_ADVERTISED),
    };
    let door = Some(Door {
        listens: config.get(address),
        advertised: config.get(advertised),
    });
    let (control, data) = match role {
        Role::JobManager => (door, None),
        _ => (None, door),
    };
    Ok(Some(WireSettings {
        credentials: Credentials {
            secret: secret(config)?,
            tls: tls(config)?,
        },
        control,
        data,
    }))
}

fn tls(config: &Config) -> Result<Option<Tls>, ConfigError> {
    let files = [&of::TLS_CERTIFICATE, &of::TLS_KEY, &of::TLS_CA];
    let [Some(certificate), Some(key), Some(authority)] = files.map(|file| config.get(file)) else {
        let given = files.iter().find(|file| config.get(file).is_some());
        let missing = files.iter().find(|file| config.get(file).is_none());
        return match (given, missing) {
            (Some(given), Some(missing)) => {
                let problem = format!("it needs {} beside it: give that too", missing.key());
                Err(config.refuse(*given, problem))
            }
            _ => Ok(None),
        };
    };
    let read = Tls::read(&certificate, &key, &authority);
    read.map(Some).map_err(|error| match error {
        TlsError::Certificate(problem) => config.refuse(&of::TLS_CERTIFICATE, problem),
        TlsError::Key(problem) => config.refuse(&of::TLS_KEY, problem),
        TlsError::Authority(problem) => config.refuse(&of::TLS_CA, problem),
    })
}

fn secret(config: &Config) -> Result<Secret, ConfigError> {
    let (text, setting): (Vec<u8>, &dyn Declared) =
        match (config.get(&of::SECRET_FILE), config.get(&of::SECRET)) {
            (None, None) => return Ok(Secret::none()),
            (None, Some(secret)) => (secret.into_bytes(), &of::SECRET),
            (Some(path), None) => {
                let read = std::fs::read(&path);
                let refused = |error| config.refuse(&of::SECRET_FILE, error);
                (read.map_err(refused)?, &of::SECRET_FILE)
            }
            (Some(_), Some(_)) => {
                let problem = "there is a secret_file too: leave one of them out";
                return Err(config.refuse(&of::SECRET, problem));
            }
        };
    let secret = text.trim_ascii();
    if secret.len() < SECRET_BYTES {
        return Err(config.refuse(
            setting,
            format!(
                "{} bytes can be guessed: give {SECRET_BYTES} or more, as `openssl rand -base64 32` does",
                secret.len()
            ),
        ));
    }
    Ok(Secret::new(secret))
}
