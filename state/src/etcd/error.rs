//! What can go wrong with etcd, each in one line with the mend.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use etcd_client::Error;

/// What went wrong with a cluster of etcd. Of a write, only [`Refused`](Self::Refused) says that it hasn't happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// The options can't work.
    #[error("etcd can't be used: {problem}")]
    Options {
        /// What is wrong, and the mend.
        problem: String,
    },
    /// A certificate or key can't be read.
    #[error("etcd can't be used: the file {path:?} can't be read")]
    File {
        /// The file as configured.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// No thread could be started to reach it.
    #[error("etcd can't be reached: no thread for it could be started")]
    Threads {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// No endpoint answers.
    #[error("no etcd answers at {endpoints} ({reason}): start it, or give its endpoints")]
    Unreachable {
        /// As configured.
        endpoints: String,
        /// What the connection said.
        reason: String,
    },
    /// Members answer, but they are too few to agree on anything.
    #[error("etcd at {endpoints} has no quorum: start the members that are missing")]
    NoQuorum {
        /// As configured.
        endpoints: String,
    },
    /// There is a quorum, and no answer in time.
    #[error("etcd at {endpoints} did not answer within {timeout:?}")]
    Slow {
        /// As configured.
        endpoints: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// It doesn't know us, or doesn't let us.
    #[error(
        "etcd at {endpoints} refuses {user} ({reason}): check the name, the password and the role"
    )]
    Refused {
        /// As configured.
        endpoints: String,
        /// In whose name it was asked.
        user: String,
        /// What it said.
        reason: String,
    },
    /// It answered with an error.
    #[error("etcd at {endpoints} failed: {reason}")]
    Failed {
        /// As configured.
        endpoints: String,
        /// What it said.
        reason: String,
    },
    /// A value is not what this program writes.
    #[error("{key:?} in etcd can't be understood: delete it, if nothing else is to be there")]
    Content {
        /// The key.
        key: String,
        /// What doesn't fit.
        #[source]
        source: serde_json::Error,
    },
}

impl EtcdError {
    /// Whether it is etcd that isn't there at present, and nothing that is set up wrong, as far as can be seen from here.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoQuorum { .. } | Self::Slow { .. } => true,
            Self::Options { .. }
            | Self::File { .. }
            | Self::Threads { .. }
            | Self::Refused { .. }
            | Self::Failed { .. }
            | Self::Content { .. } => false,
        }
    }
}

// Numbers of gRPC's codes; the client doesn't hand on the type.
const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const PERMISSION_DENIED: i32 = 7;
const FAILED_PRECONDITION: i32 = 9;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// What is at the bottom of an error of the client, whose own words are about its layers.
pub(super) fn reason(error: &Error) -> String {
    let bottom = |top: &dyn std::error::Error| {
        let mut at = top.source()?;
        while let Some(below) = at.source() {
            at = below;
        }
        Some(at.to_string())
    };
    match error {
        Error::TransportError(error) => bottom(error).unwrap_or_else(|| error.to_string()),
        Error::GRpcStatus(status) => bottom(status).unwrap_or_else(|| status.message().to_owned()),
        Error::IoError(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Whether nobody answered, or somebody who can't do anything without the others.
pub(super) fn is_unavailable(error: &Error) -> bool {
    match error {
        Error::TransportError(_) | Error::IoError(_) => true,
        Error::GRpcStatus(status) => {
            matches!(status.code() as i32, UNAVAILABLE | DEADLINE_EXCEEDED)
        }
        _ => false,
    }
}

/// Whether a member knows no leader.
pub(super) fn is_without_leader(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("no leader"))
}

/// Whether it is us who are refused, not what we asked for.
pub(super) fn is_refusal(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else {
        return false;
    };
    let about_us = |message: &str| message.contains("auth") || message.contains("user name");
    match status.code() as i32 {
        UNAUTHENTICATED | PERMISSION_DENIED => true,
        INVALID_ARGUMENT | FAILED_PRECONDITION => about_us(status.message()),
        _ => false,
    }
}
