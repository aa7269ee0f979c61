//! All settings there are. The sentence above each is what people read of it, wherever they do.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use rivus_core::job::CheckpointMode;

use super::setting::Role::{self, Cluster, Command, JobManager, TaskManager};
use super::setting::{Declared, Setting};
use super::value::{Addresses, HostPort, Size};

/// Processes.
const ALL_ROLES: &[Role] = &[Cluster, JobManager, TaskManager];
/// Who leads.
const LEADERS: &[Role] = &[Cluster, JobManager];
/// Who runs tasks.
const WORKERS: &[Role] = &[Cluster, TaskManager];
/// Who speaks with other processes.
const SEVERAL: &[Role] = &[JobManager, TaskManager];

macro_rules! settings {
    ($($(#[doc = $about:literal])+ $name:ident: $values:ty = $key:literal $(.$with:ident($($what:expr)?))+;)+) => {
        $(
            $(#[doc = $about])+
            pub(crate) static $name: Setting<$values> =
                Setting::new($key, concat!($($about),+))$(.$with($($what)?))+;
        )+

        /// All of them, in the order in which they are listed.
        pub(crate) static ALL: &[&dyn Declared] = &[$(&$name),+];
    };
}

settings! {
    /// Where job logs, checkpoints and savepoints lie: a directory, or s3://BUCKET/PREFIX
    STORAGE: String = "storage".default("rivus-storage").roles(ALL_ROLES);
    /// Who elects the leader: a directory of one machine, or etcd://HOST:PORT,.. which then has the logs too. A storage that is a
    /// directory has one in it
    COORDINATION: Option<String> = "coordination".roles(ALL_ROLES);
    /// How long a leader is waited for that can't renew its lease
    LEASE: Duration = "lease".default("3s").roles(ALL_ROLES);
    /// After how long a silence another process is given up whose connection is not closed
    HEARTBEAT_TIMEOUT: Duration = "heartbeat_timeout".default("10s").roles(ALL_ROLES);
    /// How often processes tell each other that they live; a quarter of heartbeat_timeout if nothing is given, and a second at most
    HEARTBEAT_INTERVAL: Option<Duration> = "heartbeat_interval".roles(ALL_ROLES);

    /// What is logged on standard error: a level, or levels by module as in rivus_wire=debug,warn. RUST_LOG goes before it
    LOG: String = "log".default("warn").roles(ALL_ROLES);

    /// The name among the others, which no other process has. The same in its next life
    NAME: Option<String> = "name".roles(SEVERAL);
    /// A file with what all processes know and nobody else; needed to listen to other machines
    SECRET_FILE: Option<PathBuf> = "secret_file".roles(SEVERAL);
    /// The same by itself, instead of a file with it
    SECRET: Option<String> = "secret".roles(SEVERAL).secret();

    /// A PEM file with the certificate that this process shows to others, and what lies between it and the authority; with it, what
    /// processes say to each other is encrypted
    TLS_CERTIFICATE: Option<PathBuf> = "tls.certificate".roles(SEVERAL);
    /// A PEM file with the key of tls.certificate
    TLS_KEY: Option<PathBuf> = "tls.key".roles(SEVERAL);
    /// A PEM file with the authority that the others' certificates must be signed by; one that signs for nobody else
    TLS_CA: Option<PathBuf> = "tls.ca".roles(SEVERAL);

    /// Where to listen for commands, and where commands go, to a leader or one that stands by: to several, A,B,.., in this order, until
    /// one answers; port 0 takes a free one
    ADDRESS: Addresses = "address".default("127.0.0.1:7878").roles(&[Cluster, JobManager, Command]);
    /// Where commands are sent on to when this process leads, if not to the address that is listened to: through a forwarded port,
    /// or by a name
    ADVERTISED: Option<HostPort> = "advertised".roles(LEADERS);
    /// How long a command looks for a leader that answers
    COMMAND_TIMEOUT: Duration = "command_timeout".default("10s").roles(&[Command]);
    /// Where to listen for TaskManagers, who learn it from the election
    CONTROL_ADDRESS: SocketAddr = "control_address".default("127.0.0.1:0").roles(&[JobManager]);
    /// Where TaskManagers reach that, if not by the address that is listened to: through a forwarded port, or by a name
    CONTROL_ADVERTISED: Option<HostPort> = "control_advertised".roles(&[JobManager]);
    /// How long a new leader waits for reports of TaskManagers
    COLLECT_TIMEOUT: Duration = "collect_timeout".default("5s").roles(LEADERS);

    /// Where to listen for records of other TaskManagers, who learn it from the leader
    DATA_ADDRESS: SocketAddr = "data_address".default("127.0.0.1:0").roles(&[TaskManager]);
    /// Where other TaskManagers reach that, if not by the address that is listened to: through a forwarded port, or by a name
    DATA_ADVERTISED: Option<HostPort> = "data_advertised".roles(&[TaskManager]);
    /// How long tasks go on without a leader
    TASK_SURVIVAL_TIMEOUT: Duration = "task_survival_timeout".default("5m").roles(&[TaskManager]);
    /// Subtasks of the widest operators that can run at the same time in this process, of all jobs together
    SLOTS: NonZeroU32 = "slots".default("8").roles(WORKERS);
    /// Threads that subtasks run on; 0: one per core
    WORKER_THREADS: usize = "workers".default("0").roles(WORKERS);
    /// Whether files of the last checkpoint are kept on this process's disk, for a restart to begin with
    LOCAL_RECOVERY: bool = "local_recovery".default("true").roles(WORKERS);
    /// Keep state in RocksDB below this directory, instead of in memory
    ROCKSDB_DIRECTORY: Option<PathBuf> = "rocksdb.directory".roles(WORKERS);
    /// Memory for all state in RocksDB
    ROCKSDB_MEMORY: Size = "rocksdb.memory".default("256MiB").roles(WORKERS);

    /// Time from one checkpoint's start to the next; none: only the last one, of a job that ends. As all of checkpoint, for jobs
    /// that say nothing else, from their start on
    CHECKPOINT_INTERVAL: Option<Duration> = "checkpoint.interval".default("10s").roles(LEADERS);
    /// A checkpoint that takes longer is given up
    CHECKPOINT_TIMEOUT: Duration = "checkpoint.timeout".default("10m").roles(LEADERS);
    /// Least time from one checkpoint's end to the next one's start
    CHECKPOINT_PAUSE: Duration = "checkpoint.pause".default("0s").roles(LEADERS);
    /// What a restart may do to records: exactly_once, or at_least_once, where no barrier is waited for
    CHECKPOINT_MODE: CheckpointMode = "checkpoint.mode".default("exactly_once").roles(LEADERS);
    /// A subtask that waits longer for the last barrier declines the checkpoint
    ALIGNMENT_TIMEOUT: Duration = "checkpoint.alignment_timeout".default("1m").roles(LEADERS);
    /// A barrier that is held up longer overtakes what is queued before it; none: it waits
    UNALIGNED_AFTER: Option<Duration> = "checkpoint.unaligned_after".roles(LEADERS);
    /// How many completed checkpoints are kept
    RETAINED_CHECKPOINTS: NonZeroUsize = "checkpoint.retained".default("1").roles(LEADERS);
    /// How many checkpoints in a row may fail before the job does; none: any number
    TOLERABLE_FAILURES: Option<u32> = "checkpoint.tolerable_failures".roles(LEADERS);

    /// The server of an s3:// storage, if it isn't Amazon's
    S3_ENDPOINT: Option<String> = "s3.endpoint".roles(ALL_ROLES);
    /// Where its bucket is
    S3_REGION: Option<String> = "s3.region".roles(ALL_ROLES);
    /// The id of the key to it; without one, credentials are found as Amazon's own tools find them
    S3_ACCESS_KEY: Option<String> = "s3.access_key".roles(ALL_ROLES);
    /// What goes with s3.access_key
    S3_SECRET_KEY: Option<String> = "s3.secret_key".roles(ALL_ROLES).secret();

    /// What all keys in etcd begin with. Who shares it shares logs and leader
    ETCD_PREFIX: String = "etcd.prefix".default("rivus").roles(ALL_ROLES);
    /// How long a call to etcd may take; a third of the lease at most
    ETCD_TIMEOUT: Duration = "etcd.timeout".default("1s").roles(ALL_ROLES);
    /// Who we are to etcd
    ETCD_USER: Option<String> = "etcd.user".roles(ALL_ROLES);
    /// What goes with etcd.user
    ETCD_PASSWORD: Option<String> = "etcd.password".roles(ALL_ROLES).secret();
    /// A PEM file with the authorities that sign etcd's certificates; with one, etcd is spoken to by TLS
    ETCD_CA: Option<PathBuf> = "etcd.ca".roles(ALL_ROLES);
    /// A PEM file with our certificate for etcd, if it wants one
    ETCD_CERTIFICATE: Option<PathBuf> = "etcd.certificate".roles(ALL_ROLES);
    /// A PEM file with the key of etcd.certificate
    ETCD_KEY: Option<PathBuf> = "etcd.key".roles(ALL_ROLES);
}
