//! `logs`: what has happened to a job.

use super::{At, CommandError, REDRAW, of_job, show};
use crate::service::api::{EventDetails, JobDetails};
use crate::service::client::{self, Client, ClientError};

/// Shows what has happened; and what happens, until the job ends, if that is wanted.
pub(super) fn logs(job: &str, follow: bool, at: &At) -> Result<(), CommandError> {
    let client = at.client()?;
    if !follow {
        let events = after(&client, job, 0)?;
        show::one(at.json, &events, |events| {
            let lines: Vec<String> = events.iter().map(show::event).collect();
            lines.join("\n")
        });
        return Ok(());
    }
    // A name is a running job's: while it is followed, another one of that name may begin.
    let job: JobDetails = client.get(&of_job(job, ""))?;
    let mut last = 0;
    loop {
        let events = after(&client, &job.summary.id, last)?;
        for event in &events {
            show::one(at.json, event, show::event);
        }
        let newest = events.last();
        if newest.is_some_and(EventDetails::is_last) {
            return Ok(());
        }
        last = newest.map_or(last, |event| event.number);
        client::wait(REDRAW);
    }
}

fn after(client: &Client, job: &str, number: u64) -> Result<Vec<EventDetails>, ClientError> {
    client.get(&of_job(job, &format!("/log?after={number}")))
}
