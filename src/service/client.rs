//! The asking end of the conversation.

use std::fmt::Display;
use std::net::SocketAddr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::Refusal;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answers there.
    #[error(
        "no service answers at {address}: start one with the command cluster, or give --address ({source})"
    )]
    Unreachable {
        address: SocketAddr,
        source: Box<ureq::Error>,
    },
    /// The service has refused.
    #[error("{0}")]
    Refused(String),
    /// What answers is no service of ours.
    #[error("what answers at {address} is no Rivus: {what}")]
    Foreign { address: SocketAddr, what: String },
}

/// Asks one service.
pub(crate) struct Client {
    address: SocketAddr,
    agent: ureq::Agent,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        // A refusal has a body, which says why.
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build();
        Self {
            address,
            agent: config.into(),
        }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If nobody answers, or the service refuses.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(self.agent.get(self.url(path)).call())
    }

    /// Asks for text.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn text(&self, path: &str) -> Result<String, ClientError> {
        self.body(self.agent.get(self.url(path)).call())
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.read(self.agent.post(self.url(path)).send_json(what))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v1/{path}", self.address)
    }

    fn foreign(&self, what: impl Display) -> ClientError {
        ClientError::Foreign {
            address: self.address,
            what: what.to_string(),
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let body = self.body(response)?;
        serde_json::from_str(&body).map_err(|error| self.foreign(error))
    }

    fn body(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<String, ClientError> {
        let mut response = response.map_err(|source| ClientError::Unreachable {
            address: self.address,
            source: Box::new(source),
        })?;
        let body = response
            .body_mut()
            .read_to_string()
            .map_err(|error| self.foreign(error))?;
        if response.status().is_success() {
            return Ok(body);
        }
        match serde_json::from_str::<Refusal>(&body) {
            Ok(refusal) => Err(ClientError::Refused(refusal.error)),
            Err(_) => Err(self.foreign(format!("it answers {}", response.status()))),
        }
    }
}
