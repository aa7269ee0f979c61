//! The asking end of the conversation. It may ask any process: one that doesn't lead says which one does, and is asked again if that one is
//! gone by then. What changes something is named by whoever asks, so that asking twice changes nothing more.

use std::io::ErrorKind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::Refusal;
use crate::config::Addresses;

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
        "no service answers at {addresses}: start one with the command cluster, or give --address ({source})"
    )]
    Unreachable {
        addresses: Addresses,
        source: Box<ureq::Error>,
    },
    /// There is a service, and none that leads.
    #[error("no leader has answered within {patience:?}, by {addresses}: {why}")]
    NoLeader {
        addresses: Addresses,
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
    /// Who is asked, in this order, until one knows.
    addresses: Addresses,
    /// How long a leader is looked for.
    patience: Duration,
    /// How long one that is asked may take to show that it lives.
    look: Duration,
    agent: ureq::Agent,
}

/// What is asked, or to be done.
#[derive(Clone)]
struct Question {
    path: String,
    /// None: it changes nothing.
    body: Option<String>,
}

/// What is answered.
struct Reply {
    status: u16,
    /// Where another one is to be asked.
    location: Option<String>,
    body: String,
}

/// What was heard.
enum Heard {
    /// The answer.
    Answer(String),
    /// Another one leads.
    Elsewhere(String),
    /// Nobody does at present.
    Nobody(String),
    /// Nobody is there.
    NotThere(ureq::Error),
}

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy)]
enum Until {
    After(Duration),
    /// As long as whoever was asked lives: what is asked for may take its time.
    Lives,
}

impl Client {
    pub(crate) fn new(addresses: Addresses, patience: Duration) -> Self {
        let look = LOOK.min(patience);
        // A refusal has a body, which says why.
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(look))
            .build();
        Self {
            addresses,
            patience,
            look,
            agent: config.into(),
        }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If nobody answers, or the service refuses.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(&self.text(path)?)
    }

    /// Asks for text.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn text(&self, path: &str) -> Result<String, ClientError> {
        let path = path.to_owned();
        self.ask(&Question { path, body: None }, Until::After(self.look))
    }

    /// Asks for something to be done, which may take its time, and bears the name of whoever asks: as long as there is a leader
    /// it is waited for, and asked of the next one if that is gone, or stopped, before it has answered.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.say(path, what, Until::Lives)
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
        self.say(path, what, Until::After(self.patience))
    }

    fn say<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &impl Serialize,
        until: Until,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_string(what);
        let body = body.map_err(|error| ClientError::Refused(error.to_string()))?;
        let question = Question {
            path: path.to_owned(),
            body: Some(body),
        };
        self.read(&self.ask(&question, until)?)
    }

    /// Asks who leads, looking for it for as long as one has patience.
    fn ask(&self, question: &Question, until: Until) -> Result<String, ClientError> {
        let mut since = now();
        loop {
            let began = now();
            let (mut not_there, mut nobody) = (None, None);
            for address in &self.addresses.0 {
                match self.ask_by(&address.to_string(), question, until)? {
                    Heard::Answer(body) => return Ok(body),
                    Heard::NotThere(error) => not_there = Some(error),
                    Heard::Nobody(why) => nobody = Some(why),
                    Heard::Elsewhere(leader) => {
                        nobody = Some(format!("it names {leader}, which names others"));
                    }
                }
            }
            if let (Some(source), None) = (not_there, &nobody) {
                return Err(ClientError::Unreachable {
                    addresses: self.addresses.clone(),
                    source: Box::new(source),
                });
            }
            if matches!(until, Until::Lives) && began.elapsed() >= self.patience {
                // It was there all the time; now another one is looked for.
                since = now();
            }
            if since.elapsed() >= self.patience {
                return Err(ClientError::NoLeader {
                    addresses: self.addresses.clone(),
                    patience: self.patience,
                    why: nobody.unwrap_or_default(),
                });
            }
            wait(AGAIN);
        }
    }

    /// Asks one, and whom it names.
    fn ask_by(&self, first: &str, question: &Question, until: Until) -> Result<Heard, ClientError> {
        let (mut at, mut hops) = (first.to_owned(), 0);
        loop {
            let reply = match until {
                Until::After(most) => send(&self.agent, &at, question, Some(most)),
                Until::Lives => self.send_to_the_living(&at, question),
            };
            match reply {
                Ok(reply) => match hear(&at, reply)? {
                    Heard::Elsewhere(leader) if hops < HOPS => {
                        hops += 1;
                        at = leader;
                    }
                    heard => return Ok(heard),
                },
                Err(error) if at == first && !may_come_back(&error) => {
                    return Ok(Heard::NotThere(error));
                }
                Err(error) => {
                    return Ok(Heard::Nobody(format!("{at} has not answered ({error})")));
                }
            }
        }
    }

    /// Asks one for something that may take its time, and whether it lives as long as it hasn't answered: one that is stopped, or cut
    /// off, doesn't say so, and its connection stays open.
    fn send_to_the_living(&self, at: &str, question: &Question) -> Result<Reply, ureq::Error> {
        let (answers, answered) = mpsc::channel();
        let (agent, to, question) = (self.agent.clone(), at.to_owned(), question.clone());
        // It ends with its answer, or with this process.
        std::thread::spawn(move || answers.send(send(&agent, &to, &question, None)));
        let alive = Question {
            path: "leader".to_owned(),
            body: None,
        };
        loop {
            match answered.recv_timeout(self.look) {
                Ok(reply) => return reply,
                Err(RecvTimeoutError::Disconnected) => return Err(ureq::Error::ConnectionFailed),
                // Whatever it says, it lives; if it leads no more, that is its answer.
                Err(RecvTimeoutError::Timeout) => {
                    let lives = send(&self.agent, at, &alive, Some(self.look));
                    if let Err(error) = lives {
                        return answered.try_recv().unwrap_or(Err(error));
                    }
                }
            }
        }
    }

    fn read<T: DeserializeOwned>(&self, body: &str) -> Result<T, ClientError> {
        serde_json::from_str(body).map_err(|error| ClientError::Foreign {
            address: self.addresses.to_string(),
            what: error.to_string(),
        })
    }
}

/// Asks one, and waits for its answer, and for each part of that, so long at most.
fn send(
    agent: &ureq::Agent,
    at: &str,
    question: &Question,
    most: Option<Duration>,
) -> Result<Reply, ureq::Error> {
    let url = format!("http://{at}/v1/{}", question.path);
    let mut response = match &question.body {
        None => {
            let request = agent.get(url).config().timeout_recv_response(most);
            request.timeout_recv_body(most).build().call()?
        }
        Some(body) => {
            let request = agent.post(url).content_type("application/json").config();
            let request = request.timeout_recv_response(most);
            request.timeout_recv_body(most).build().send(body)?
        }
    };
    let location = response.headers().get("location");
    let location = location.and_then(|place| place.to_str().ok());
    Ok(Reply {
        status: response.status().as_u16(),
        location: location.map(str::to_owned),
        body: response.body_mut().read_to_string()?,
    })
}

fn hear(at: &str, reply: Reply) -> Result<Heard, ClientError> {
    let foreign = |what: String| ClientError::Foreign {
        address: at.to_owned(),
        what,
    };
    match reply.status {
        200..=299 => return Ok(Heard::Answer(reply.body)),
        307 => {
            let place = reply.location.as_deref();
            let place = place.and_then(|place| place.strip_prefix("http://"));
            let leader = place.and_then(|place| place.split('/').next());
            let leader = leader.ok_or_else(|| foreign("it sends on to nowhere".to_owned()))?;
            return Ok(Heard::Elsewhere(leader.to_owned()));
        }
        _ => {}
    }
    match serde_json::from_str::<Refusal>(&reply.body) {
        Ok(refusal) if reply.status == 503 => Ok(Heard::Nobody(refusal.error)),
        Ok(refusal) => Err(ClientError::Refused(refusal.error)),
        Err(_) => Err(foreign(format!("it answers {}", reply.status))),
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
