//! Access logs: `IP - - DD/MM/YYYY:HH:MM:SS +0000 METHOD PATH`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A line of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// The page with its query.
    pub path: String,
}

/// Reads a line.
pub fn parse(line: &str) -> Result<Request, String> {
    let expected = || "expected `IP - - TIME ZONE METHOD PATH`".to_owned();
    let (_, rest) = line.split_once(" - - ").ok_or_else(expected)?;
    let words: Vec<&str> = rest.splitn(4, ' ').collect();
    let [time, zone, _method, path] = words[..] else {
        return Err(expected());
    };
    let at = Timestamp::strptime("%d/%m/%Y:%H:%M:%S %z", format!("{time} {zone}"))
        .map_err(|error| error.to_string())?;
    Ok(Request {
        at: at.as_millisecond(),
        path: path.to_owned(),
    })
}
