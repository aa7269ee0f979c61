//! What a process listens at for others of its cluster.

use std::net::SocketAddr;
use std::sync::Arc;

use ractor::ActorRef;
use rivus_actors::{ControlDoor, DataDoor, NodeConfig, NodeContext, NodeMessage, Remote};
use rivus_state::StorageIdentity;
use rivus_wire::{ConnectError, Credentials, Limits, Listener};
use tokio::runtime::Handle;

use crate::config::HostPort;
use crate::error::JobError;

/// How a process speaks with others.
#[derive(Clone)]
pub(crate) struct WireSettings {
    /// What they prove themselves with.
    pub(crate) credentials: Credentials,
    /// Where TaskManagers come to its leaders, if it has candidates.
    pub(crate) control: Option<Door>,
    /// Where others send data, if it has TaskManagers.
    pub(crate) data: Option<Door>,
}

/// Where others come in.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) listens: SocketAddr,
    /// Where they are told to come, if they reach it by another way.
    pub(crate) advertised: Option<HostPort>,
}

/// A door that is listened at, and what others are told of it.
struct Open {
    listener: Listener,
    told: String,
}

/// Listeners, before there is anybody to let in.
pub(crate) struct Wire {
    remote: Option<Remote>,
    control: Option<Open>,
    data: Option<Open>,
    control_runtime: Handle,
    runtime: Handle,
}

impl Wire {
    /// Listens. What the election is to tell of the address goes into `config`.
    pub(crate) async fn listen(
        settings: WireSettings,
        config: &mut NodeConfig,
        storage: StorageIdentity,
        control_runtime: Handle,
        runtime: Handle,
    ) -> Result<Self, JobError> {
        let limits = Limits {
            heartbeat: config.heartbeat_interval,
            silence: config.heartbeat_timeout,
            ..Limits::default()
        };
        let WireSettings {
            credentials,
            control,
            data,
        } = settings;
        let control = bind(control, &credentials, &limits, &control_runtime).await?;
        let data = bind(data, &credentials, &limits, &runtime).await?;
        let told = |open: &Option<Open>| {
            let open = open.as_ref();
            open.map_or_else(String::new, |open| open.told.clone())
        };
        config.address = told(&control);
        let remote = Remote::new(credentials, limits, storage, told(&data), runtime.clone());
        Ok(Self {
            remote: Some(remote),
            control,
            data,
            control_runtime,
            runtime,
        })
    }

    /// Where it listens, for people.
    pub(crate) fn listens(&self) -> String {
        let open = self.control.as_ref().or(self.data.as_ref());
        open.map_or_else(String::new, |Open { listener, told }| {
            let address = listener.address().to_string();
            match *told == address {
                true => address,
                false => format!("{address}, which others reach at {told}"),
            }
        })
    }

    /// What the actors have of it.
    pub(crate) fn remote(&mut self) -> Option<Remote> {
        self.remote.take()
    }

    /// Lets others in.
    pub(crate) fn serve(self, node: &Arc<NodeContext>, root: &ActorRef<NodeMessage>) {
        let nonces = || {
            let node = Arc::clone(node);
            move || node.seed.nonce()
        };
        if let Some(control) = self.control {
            let door = Arc::new(ControlDoor::new(Arc::clone(node), root.clone()));
            self.control_runtime
                .spawn(control.listener.serve(nonces(), door));
        }
        if let Some(data) = self.data {
            let door = Arc::new(DataDoor::new(Arc::clone(node)));
            self.runtime.spawn(data.listener.serve(nonces(), door));
        }
    }
}

async fn bind(
    door: Option<Door>,
    credentials: &Credentials,
    limits: &Limits,
    runtime: &Handle,
) -> Result<Option<Open>, JobError> {
    let Some(Door {
        listens: address,
        advertised,
    }) = door
    else {
        return Ok(None);
    };
    if address.ip().is_unspecified() && advertised.is_none() {
        return Err(JobError::Setup(format!(
            "others can't connect to {address}: give the address of this machine that they reach"
        )));
    }
    let (credentials, limits) = (credentials.clone(), limits.clone());
    let bound = runtime
        .spawn(Listener::bind(address, credentials, limits))
        .await;
    match bound {
        Ok(Ok(listener)) => {
            let told = advertised.map_or_else(
                || listener.address().to_string(),
                |HostPort(advertised)| advertised,
            );
            Ok(Some(Open { listener, told }))
        }
        Ok(Err(error @ ConnectError::Open(_))) => Err(JobError::Setup(error.line())),
        Ok(Err(error)) => Err(JobError::Setup(format!(
            "can't listen on {address}: {}",
            error.line()
        ))),
        Err(_) => Err(JobError::NodeStopped),
    }
}
