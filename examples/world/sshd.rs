//! Logs of OpenSSH servers: `Dec 10 06:55:46 HOST sshd[24200]: MESSAGE`, times without a year.

use anyhow::{Context, Result};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// A failed login, or several that syslog wrote as one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failed {
    /// Milliseconds since the epoch, as if the server's time were UTC.
    pub at: i64,
    /// From where.
    pub address: String,
    /// How often.
    pub times: u64,
}

/// What a line says of a failed login, if it is about one.
///
/// The user's name in it is the attacker's choice and may hold anything, ` from 10.0.0.1` included; so the
/// address is looked for from the end.
pub fn failed_login(line: &str, year: i16) -> Result<Option<Failed>> {
    let expected = "expected `Dec 10 06:55:46 HOST PROGRAM: MESSAGE`";
    let (time, rest) = line.split_at_checked(15).context(expected)?;
    let at = DateTime::strptime("%Y %b %d %H:%M:%S", format!("{year} {time}"))?;
    let Some((program, message)) = rest.split_once(": ") else {
        return Ok(None);
    };
    let repeated = message.strip_prefix("message repeated ");
    let (times, message) = repeated
        .and_then(|repeated| repeated.split_once(" times: [ "))
        .unwrap_or(("1", message));
    if !program.contains(" sshd") || !message.starts_with("Failed password for ") {
        return Ok(None);
    }
    let (_, from) = message
        .rsplit_once(" from ")
        .context("expected `Failed password for USER from ADDRESS port PORT`")?;
    Ok(Some(Failed {
        at: at.to_zoned(TimeZone::UTC)?.timestamp().as_millisecond(),
        address: from.split(' ').next().unwrap_or(from).to_owned(),
        times: times.parse().context("expected a number of times")?,
    }))
}

/// A time as the server would show it, with the year.
pub fn text(ms: i64) -> Result<String, jiff::Error> {
    let at = Timestamp::from_millisecond(ms)?.to_zoned(TimeZone::UTC);
    Ok(at.datetime().to_string())
}
