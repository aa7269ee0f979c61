//! Who answers: the process that leads. Another one that is asked says at once where that is, or that nobody leads at present; so it
//! holds nothing back that it would do when it leads itself, when nobody wants it any more.
//!
//! A process that was stopped and wakes up believes that it leads, until it learns of the next one. So before anything is changed the
//! election is asked; a job's log would refuse an old leader, but a job that is submitted has no log yet.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rivus_actors::Standing;
use rivus_core::Failure;
use tokio::time::timeout;

use super::api::Refusal;
use super::server::Service;

/// How long it is waited for a new leader to have looked which jobs there are, before whoever asks is told to ask again.
const LOOKS: Duration = Duration::from_secs(1);

/// Who answers.
#[derive(Debug, PartialEq)]
pub(super) enum Answering {
    /// This process, which leads in a term.
    Here(u64),
    /// The one that listens here.
    At(String),
    /// Nobody at present, for this reason.
    Nobody(String),
    /// A leader that takes no commands.
    Never(String),
}

/// Lets a request in where this process leads, and sends on whoever comes otherwise.
pub(super) async fn answering(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let changes = request.method() != Method::GET;
    match service.answering(changes).await {
        Answering::Here(term) => {
            let uri = request.uri().clone();
            tokio::select! {
                biased;
                response = next.run(request) => response,
                () = service.leads_no_more(term) => {
                    elsewhere(service.answering(changes).await, &uri)
                }
            }
        }
        other => elsewhere(other, request.uri()),
    }
}

fn elsewhere(answering: Answering, uri: &Uri) -> Response {
    let refusal = |status, error| (status, Json(Refusal { error })).into_response();
    match answering {
        Answering::At(address) => {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            let place = HeaderValue::try_from(format!("http://{address}{path}"));
            let mut response = refusal(
                StatusCode::TEMPORARY_REDIRECT,
                format!("this process doesn't lead, the one at {address} does"),
            );
            match place {
                Ok(place) => {
                    response.headers_mut().insert(header::LOCATION, place);
                    response
                }
                Err(_) => refusal(
                    StatusCode::CONFLICT,
                    format!("the leader's address {address:?} is none"),
                ),
            }
        }
        // It led a moment ago, and does again.
        Answering::Here(_) => nobody("another leader has just begun here".to_owned()),
        Answering::Nobody(reason) => nobody(reason),
        Answering::Never(reason) => refusal(StatusCode::CONFLICT, reason),
    }
}

/// Nothing has been done; whoever asks may ask again in a moment.
fn nobody(error: String) -> Response {
    let refusal = (StatusCode::SERVICE_UNAVAILABLE, Json(Refusal { error }));
    ([(header::RETRY_AFTER, "1")], refusal).into_response()
}

impl Service {
    /// Who answers a request, which changes something or only looks.
    async fn answering(&self, changes: bool) -> Answering {
        let mut standing = self.standing();
        let is_known = |standing: &Standing| !matches!(standing, Standing::Looking { .. });
        let known = timeout(LOOKS, standing.wait_for(is_known)).await;
        let known = known.map(|known| known.map(|standing| *standing));
        let standing = match known {
            Ok(Ok(standing)) => standing,
            Ok(Err(_)) => return Answering::Nobody("this process is ending".to_owned()),
            Err(_) => {
                let looks = "the leader still looks which jobs there are in the storage";
                return Answering::Nobody(looks.to_owned());
            }
        };
        if let Standing::Leading { term } = standing
            && !changes
        {
            return Answering::Here(term);
        }
        let leader = match self.elected().await {
            Ok(Some(leader)) => leader,
            Ok(None) => return Answering::Nobody("nobody leads at present".to_owned()),
            Err(error) => {
                let why = Failure::user(&error.into()).message;
                return Answering::Nobody(format!("it can't be learned who leads: {why}"));
            }
        };
        let (term, candidate) = (leader.term, leader.candidate);
        match standing {
            Standing::Leading { term: own } if own == term => Answering::Here(term),
            _ if candidate.commands.is_empty() => Answering::Never(format!(
                "the leader {} takes no commands: it runs inside a program, or listens at no address of its own",
                candidate.name
            )),
            // Elected, and not at work yet; or deposed, and another of its candidates is.
            _ if candidate.commands == self.commands() => {
                Answering::Nobody("this process is about to lead".to_owned())
            }
            _ => Answering::At(candidate.commands),
        }
    }

    /// Over when this process doesn't lead in a term any more.
    async fn leads_no_more(&self, term: u64) {
        let mut standing = self.standing();
        let changed = standing.wait_for(|now| *now != Standing::Leading { term });
        // It ends with the process.
        let _ = changed.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_sent_on_is_told_where_to_and_what_for() {
        let uri: Uri = "/v1/jobs/a%20job?x=1".parse().unwrap();
        let place = |answering| {
            let response = elsewhere(answering, &uri);
            let place = response.headers().get(header::LOCATION);
            let place = place.map(|place| place.to_str().unwrap().to_owned());
            (response.status().as_u16(), place)
        };
        let there = "http://10.0.0.1:7878/v1/jobs/a%20job?x=1".to_owned();
        assert_eq!(
            place(Answering::At("10.0.0.1:7878".into())),
            (307, Some(there))
        );
        assert_eq!(place(Answering::At("\n".into())), (409, None));
        assert_eq!(place(Answering::Nobody("yet".into())), (503, None));
        assert_eq!(place(Answering::Never("so".into())), (409, None));
    }
}
