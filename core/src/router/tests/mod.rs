//! What routers send, seen from both of their ends.

mod bench;
mod driven;
mod pictures;

pub(crate) use self::bench::{Bench, Seen, by_key, info};
pub(crate) use self::driven::{check_channel, drive, givens};
