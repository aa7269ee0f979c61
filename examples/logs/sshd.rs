//! Logs of OpenSSH servers: `Dec 10 06:55:46 HOST sshd[24200]: MESSAGE`, times without a year.

use jiff::{civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// A failed login, or several that the server's syslog wrote as one line.
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
pub fn parse(line: &str, year: i16) -> Result<Option<Failed>, String> {
    let (time, rest) = line
        .split_at_checked(15)
        .ok_or("expected `Dec 10 06:55:46 HOST PROGRAM: MESSAGE`")?;
    let at = DateTime::strptime("%Y %b %d %H:%M:%S", format!("{year} {time}"))
        .and_then(|at| at.to_zoned(TimeZone::UTC))
        .map_err(|error| error.to_string())?;
    let Some((program, message)) = rest.split_once(": ") else {
        return Ok(None);
    };
    let (times, message) = match message.strip_prefix("message repeated ") {
        Some(repeated) => repeated
            .split_once(" times: [ ")
            .ok_or("expected `message repeated N times: [ MESSAGE]`")?,
        None => ("1", message),
    };
    if !program.contains(" sshd") || !message.starts_with("Failed password for ") {
        return Ok(None);
    }
    let (_, from) = message
        .rsplit_once(" from ")
        .ok_or("expected `Failed password for USER from ADDRESS port PORT`")?;
    Ok(Some(Failed {
        at: at.timestamp().as_millisecond(),
        address: from.split(' ').next().unwrap_or(from).to_owned(),
        times: times
            .parse()
            .map_err(|_| format!("expected a number instead of {times}"))?,
    }))
}
