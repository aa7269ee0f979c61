//! The asking end of the conversation. It may ask any process: one that doesn't lead says which one does, and is asked again if that one is
//! gone by then. What changes something is named by whoever asks, so that asking twice changes nothing more.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::{LeaderDetails, Refusal};

/// Wait before one asks again who has found no leader.
const AGAIN: Duration = Duration::from_millis(200);

/// How long a leader may take to answer a question: one that is stopped is left for the next.
const LOOK: Duration = Duration::from_secs(3);

/// Leaders that one is sent on to without a wait: two that take each other for it are asked no more often than others.
const HOPS: u32 = 2;

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
    /// There is a service, and none that leads.
    #[error("no leader has answered within {patience:?}, by {address}: {why}")]
    NoLeader {
        address: SocketAddr,
        patience: Duration,
        why: String,
    },
    /// The service has refused.
    #[error("{0}")]
    Refused(String),
    /// What answers is no service of ours.
    #[error("what answers at {address} is no Rivus: {what}")]
    Foreign { address: String, what: String },
}

/// Asks the one that leads.
pub(crate) struct Client {
    /// Who is asked first.
    address: SocketAddr,
    /// How long a leader is looked for.
    patience: Duration,
    agent: ureq::Agent,
}

type Response = ureq::http::Response<ureq::Body>;

/// What was heard.
enum Heard {
    /// The answer.
    Answer(String),
    /// Another one leads.
    Elsewhere(String),
    /// Nobody does at present.
    Nobody(String),
}

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy)]
enum Until {
    After(Duration),
    /// As long as the connection is there: what is asked for may take its time.
    Closed,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, patience: Duration) -> Self {
        // A refusal has a body, which says why.
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(LOOK))
            .build();
        Self {
            address,
            patience,
            agent: config.into(),
        }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If nobody answers, or the service refuses.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(self.text(path)?)
    }

    /// Asks for text.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn text(&self, path: &str) -> Result<String, ClientError> {
        self.ask(path, Until::After(LOOK), |url, most| {
            let request = self.agent.get(url).config().timeout_recv_response(most);
            request.build().call()
        })
    }

    /// Asks for something to be done, which takes its time: as long as the connection is there, it is waited for.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.read(self.say(path, what, Until::Closed)?)
    }

    /// Asks for something that is done at once, by a leader that can.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn post_now<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.read(self.say(path, what, Until::After(self.patience))?)
    }

    /// Asks for something to be done that survives its leader: as long as there is one, it is waited for.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn post_for_long<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &impl Serialize,
    ) -> Result<T, ClientError> {
        loop {
            match self.say(path, what, Until::After(self.patience)) {
                // One that is stopped would not say so.
                Err(ClientError::NoLeader { .. }) => self.get::<LeaderDetails>("leader")?,
                other => return self.read(other?),
            };
        }
    }

    fn say(&self, path: &str, what: &impl Serialize, until: Until) -> Result<String, ClientError> {
        self.ask(path, until, |url, most| {
            let request = self.agent.post(url).config().timeout_recv_response(most);
            request.build().send_json(what)
        })
    }

    /// Asks who leads, looking for it for as long as one has patience.
    fn ask(
        &self,
        path: &str,
        until: Until,
        call: impl Fn(String, Option<Duration>) -> Result<Response, ureq::Error>,
    ) -> Result<String, ClientError> {
        let own = self.address.to_string();
        let most = match until {
            Until::After(most) => Some(most),
            Until::Closed => None,
        };
        let (mut at, mut hops, mut since) = (own.clone(), 0, now());
        loop {
            let began = now();
            let heard = call(format!("http://{at}/v1/{path}"), most);
            let why = match heard.and_then(|mut response| {
                let body = response.body_mut().read_to_string()?;
                Ok((response, body))
            }) {
                Ok((response, body)) => match hear(&at, &response, body)? {
                    Heard::Answer(body) => return Ok(body),
                    Heard::Elsewhere(leader) => {
                        hops += 1;
                        let why = format!("it names {leader}, which names others");
                        at = leader;
                        if hops <= HOPS {
                            continue;
                        }
                        why
                    }
                    Heard::Nobody(why) => {
                        at = own.clone();
                        why
                    }
                },
                Err(error) if at == own && !may_come_back(&error) => {
                    return Err(ClientError::Unreachable {
                        address: self.address,
                        source: Box::new(error),
                    });
                }
                Err(error) => {
                    let why = format!("{at} has not answered ({error})");
                    at = own.clone();
                    why
                }
            };
            if matches!(until, Until::Closed) && began.elapsed() >= self.patience {
                // It was there all the time; now another one is looked for.
                since = now();
            }
            if since.elapsed() >= self.patience {
                return Err(ClientError::NoLeader {
                    address: self.address,
                    patience: self.patience,
                    why,
                });
            }
            hops = 0;
            wait(AGAIN);
        }
    }

    fn read<T: DeserializeOwned>(&self, body: String) -> Result<T, ClientError> {
        serde_json::from_str(&body).map_err(|error| ClientError::Foreign {
            address: self.address.to_string(),
            what: error.to_string(),
        })
    }
}

fn hear(at: &str, response: &Response, body: String) -> Result<Heard, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(Heard::Answer(body));
    }
    let foreign = |what: String| ClientError::Foreign {
        address: at.to_owned(),
        what,
    };
    if status.as_u16() == 307 {
        let location = response.headers().get("location");
        let place = location.and_then(|place| place.to_str().ok()?.strip_prefix("http://"));
        let leader = place.and_then(|place| place.split('/').next());
        let leader = leader.ok_or_else(|| foreign("it sends on to nowhere".to_owned()))?;
        return Ok(Heard::Elsewhere(leader.to_owned()));
    }
    match serde_json::from_str::<Refusal>(&body) {
        Ok(refusal) if status.as_u16() == 503 => Ok(Heard::Nobody(refusal.error)),
        Ok(refusal) => Err(ClientError::Refused(refusal.error)),
        Err(_) => Err(foreign(format!("it answers {status}"))),
    }
}

/// Whether somebody is there who may answer in a moment.
fn may_come_back(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() != ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(_) => true,
        _ => false,
    }
}

/// A person waits, by the clock on their wall.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// Nothing else happens in this process meanwhile.
#[allow(clippy::disallowed_methods)]
pub(super) fn wait(time: Duration) {
    std::thread::sleep(time);
}
