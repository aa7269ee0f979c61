//! Lines of a web site's access log.

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A page that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct View {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// By whom: an address.
    pub visitor: String,
    /// Which.
    pub page: String,
}

impl View {
    /// Reads `IP - - DD/MM/YYYY:HH:MM:SS +0000 METHOD PATH`.
    pub fn parse(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.splitn(7, ' ').collect();
        let [visitor, "-", "-", time, zone, _method, page] = words[..] else {
            bail!("expected `IP - - TIME ZONE METHOD PATH`");
        };
        let at = Timestamp::strptime("%d/%m/%Y:%H:%M:%S %z", format!("{time} {zone}"))?;
        Ok(Self {
            at: at.as_millisecond(),
            visitor: visitor.to_owned(),
            page: page.to_owned(),
        })
    }
}
