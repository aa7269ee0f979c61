//! A cluster of etcd: where logs lie and leaders are elected that must outlive any single machine.
//!
//! [`Etcd`] is a connection to one, with a runtime of its own that its clones share. It makes one call at a time for whoever asks,
//! each within [`EtcdOptions::timeout`]; nothing goes on in the background. Each endpoint has a channel of its own: a
//! call goes to the one that answered last, and to the next if that can't be reached. So a call may be made twice, and
//! one that failed may have happened; who writes must be able to tell its own (the log's nonce, the election's lease).
//!
//! What is wrong is found out when something is: a call that fails for want of an answer asks every member whether it
//! lives and knows a leader, so that *nobody is there* and *there is no quorum* are told apart.

mod error;
mod options;
mod store;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use futures::future::join_all;
use tokio::time::timeout;

use crate::drive::Drive;
use crate::network::NetworkRuntime;

pub use error::EtcdError;
pub use options::EtcdOptions;
pub(crate) use store::EtcdStore;

/// A connection to a cluster of etcd. Cheap to clone; every clone shares it.
///
/// ```no_run
/// use rivus_state::{Etcd, EtcdElection, EtcdOptions, JobLog, ObjectStorage};
/// use std::time::Duration;
///
/// let members = ["https://a.example:2379", "https://b.example:2379", "https://c.example:2379"];
/// let options = EtcdOptions::new(members).user("rivus", "secret").ca("ca.pem").prefix("rivus/production");
/// let etcd = Etcd::new(options)?;
/// let checkpoints = ObjectStorage::directory("/mnt/shared")?;
/// let log = JobLog::new(ObjectStorage::etcd(&etcd)?).with_large(checkpoints, Etcd::VALUE_BYTES);
/// let election = EtcdElection::new(etcd, Duration::from_secs(10));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Etcd {
    shared: Arc<Shared>,
    pub(crate) drive: Drive,
}

struct Shared {
    options: EtcdOptions,
    connect: ConnectOptions,
    channels: Mutex<Channels>,
}

/// A client for each endpoint, once it was needed.
struct Channels {
    clients: Vec<Option<Client>>,
    /// The one to be asked next.
    current: usize,
}

impl Etcd {
    /// What is certain to have room in one value: with its key, etcd takes 1.5 MiB unless it is told otherwise.
    pub const VALUE_BYTES: usize = 1 << 20;

    /// Reads the certificates, if there are any. Nothing is sent before the first call.
    ///
    /// # Errors
    /// An option that can't work, named with the mend.
    pub fn new(options: EtcdOptions) -> Result<Self, EtcdError> {
        let connect = options.check()?;
        let runtime = NetworkRuntime::start().map_err(|source| EtcdError::Threads { source })?;
        let channels = Channels {
            clients: vec![None; options.endpoints.len()],
            current: 0,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                connect,
                channels: Mutex::new(channels),
            }),
            drive: Drive::Network(runtime),
        })
    }

    /// As configured, separated by commas.
    pub(crate) fn endpoints(&self) -> String {
        self.shared.options.endpoints.join(", ")
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.shared.options.prefix
    }

    /// Runs calls to their end, on a thread that may block.
    pub(crate) fn run<T: Send>(
        &self,
        calls: impl Future<Output = Result<T, EtcdError>> + Send,
    ) -> Result<T, EtcdError> {
        let failed = |source| EtcdError::Threads { source };
        self.drive.run(calls).map_err(failed)?
    }

    /// Makes one call, at the next endpoint if one can't be reached.
    pub(crate) async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let shared = &*self.shared;
        let mut at = shared.current();
        let everywhere = async {
            let mut tries = shared.options.endpoints.len();
            loop {
                at = shared.current();
                let called = match shared.client(at).await {
                    Ok(client) => call(client).await,
                    Err(error) => Err(error),
                };
                tries -= 1;
                match called {
                    Err(error) if error::is_unavailable(&error) => {
                        shared.pass_over(at);
                        if tries == 0 {
                            return Err(error);
                        }
                    }
                    called => return called,
                }
            }
        };
        match timeout(shared.options.timeout, everywhere).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(shared.explain(Some(error)).await),
            Err(_elapsed) => {
                shared.pass_over(at);
                Err(shared.explain(None).await)
            }
        }
    }
}

impl Shared {
    fn channels<T>(&self, with: impl FnOnce(&mut Channels) -> T) -> T {
        // Single assignments: a panic leaves nothing half done.
        with(&mut self.channels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn current(&self) -> usize {
        self.channels(|channels| channels.current)
    }

    /// An endpoint can't be reached, or doesn't answer: others go to the next.
    fn pass_over(&self, at: usize) {
        self.channels(|channels| {
            if channels.current == at {
                channels.current = (at + 1) % channels.clients.len();
            }
        });
    }

    async fn client(&self, at: usize) -> Result<Client, Error> {
        if let Some(client) = self.channels(|channels| channels.clients[at].clone()) {
            return Ok(client);
        }
        let endpoint = [&self.options.endpoints[at]];
        let client = Client::connect(endpoint, Some(self.connect.clone())).await?;
        self.channels(|channels| channels.clients[at] = Some(client.clone()));
        Ok(client)
    }

    /// Finds out what is behind a call that got no answer, or a refusal.
    async fn explain(&self, error: Option<Error>) -> EtcdError {
        let endpoints = self.options.endpoints.join(", ");
        let error = match error {
            Some(error) if error::is_refusal(&error) => {
                return EtcdError::Refused {
                    endpoints,
                    user: self.options.user_name(),
                    reason: error::reason(&error),
                };
            }
            Some(error) if !error::is_unavailable(&error) => {
                let reason = error::reason(&error);
                return EtcdError::Failed { endpoints, reason };
            }
            other => other,
        };
        let members = 0..self.options.endpoints.len();
        let health = join_all(members.map(|at| self.health(at))).await;
        if health.contains(&Health::HasLeader) {
            let timeout = self.options.timeout;
            match error {
                // Between the call and the question it may have come back.
                Some(error) => EtcdError::Failed {
                    endpoints,
                    reason: error::reason(&error),
                },
                None => EtcdError::Slow { endpoints, timeout },
            }
        } else if health.contains(&Health::WithoutLeader) {
            EtcdError::NoQuorum { endpoints }
        } else {
            let reason = error.as_ref().map(error::reason);
            EtcdError::Unreachable {
                endpoints,
                reason: reason.unwrap_or_else(|| format!("in {:?}", self.options.timeout)),
            }
        }
    }

    /// Whether a member is there, and knows a leader.
    async fn health(&self, at: usize) -> Health {
        let status = async { self.client(at).await?.status().await };
        match timeout(HEALTH_TIMEOUT, status).await {
            Ok(Ok(status)) if status.leader() != 0 => Health::HasLeader,
            Ok(Ok(_)) => Health::WithoutLeader,
            Ok(Err(error)) if error::is_without_leader(&error) => Health::WithoutLeader,
            Ok(Err(_)) | Err(_) => Health::Gone,
        }
    }
}

/// A member answers for itself, without asking the others.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    HasLeader,
    WithoutLeader,
    Gone,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Etcd").field(&self.shared.options).finish()
    }
}
