//! A server that sends lines to whoever is connected, as time goes by.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rivus::connectors::{Network, SplitMix};
use tokio::time::Instant;

use super::Deliveries;
use crate::jobs::Reading;

/// Bytes under way on a connection; the server waits with more.
const UNDER_WAY: usize = 256;

/// Each line once: those that it says while nobody is connected nobody hears. Connections break now and then, within a
/// line, and some are refused.
#[derive(Debug)]
pub struct Server(Arc<Mutex<Sending>>);

#[derive(Debug)]
struct Sending {
    readings: Vec<Reading>,
    every: Duration,
    rng: SplitMix,
    /// The next line, and from when on it is sent; from the first connection on.
    next: usize,
    due: Option<Instant>,
    connections: u64,
    deliveries: Deliveries,
}

impl Sending {
    /// Takes the next line, if it is due: its number and what is sent.
    fn take(&mut self, now: Instant) -> Option<&Reading> {
        let due = self.due.get_or_insert(now);
        if *due > now {
            return None;
        }
        let reading = self.readings.get(self.next)?;
        *due += self.every;
        self.next += 1;
        Some(reading)
    }
}

fn lock(sending: &Mutex<Sending>) -> MutexGuard<'_, Sending> {
    sending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Sends these, one after the other, at this distance.
    pub fn new(seed: u64, readings: Vec<Reading>, every: Duration) -> Self {
        Self(Arc::new(Mutex::new(Sending {
            readings,
            every,
            rng: SplitMix::of(seed, 7),
            next: 0,
            due: None,
            connections: 0,
            deliveries: Deliveries::default(),
        })))
    }

    /// What it has handed over.
    pub fn deliveries(&self) -> Deliveries {
        lock(&self.0).deliveries.clone()
    }
}

impl Network for Server {
    fn connect(&self, _address: &str) -> io::Result<Box<dyn Read + Send>> {
        let mut sending = lock(&self.0);
        let now = Instant::now();
        while sending.take(now).is_some() {}
        if sending.rng.below(4) == 0 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        sending.connections += 1;
        let number = sending.connections;
        // Also one over which nothing comes any more.
        sending.deliveries.handed.insert(number, Vec::new());
        let all = sending.readings.len() as u64;
        let lines = 20 + sending.rng.below(all);
        Ok(Box::new(Connection {
            number,
            sending: Arc::clone(&self.0),
            waiting: Vec::new(),
            under_way: Vec::new(),
            lines,
        }))
    }
}

/// What one client hears.
struct Connection {
    number: u64,
    sending: Arc<Mutex<Sending>>,
    /// Bytes that were sent and not yet read.
    waiting: Vec<u8>,
    /// The numbers of their lines, and what is left to read of each.
    under_way: Vec<(u64, usize)>,
    /// Lines until it breaks.
    lines: u64,
}

impl Connection {
    /// Sends what is due.
    fn fill(&mut self, sending: &mut Sending) {
        let now = Instant::now();
        while self.waiting.len() < UNDER_WAY
            && self.lines > 0
            && let Some(reading) = sending.take(now)
        {
            let line = format!("{};{reading}\n", self.number);
            self.lines -= 1;
            if self.lines == 0 {
                // No more than a part of it arrives.
                self.waiting.extend(&line.as_bytes()[..line.len() / 2]);
            } else {
                self.waiting.extend(line.as_bytes());
                self.under_way.push((reading.id, line.len()));
            }
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let sending = Arc::clone(&self.sending);
        let mut sending = lock(&sending);
        self.fill(&mut sending);
        if self.waiting.is_empty() {
            return match (self.lines, sending.next == sending.readings.len()) {
                (0, _) => Err(io::ErrorKind::ConnectionReset.into()),
                (_, true) => Ok(0),
                (_, false) => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let count = self.waiting.len().min(buf.len());
        buf[..count].copy_from_slice(&self.waiting[..count]);
        self.waiting.drain(..count);
        let mut read = count;
        self.under_way.retain_mut(|(id, left)| {
            let of_this = read.min(*left);
            *left -= of_this;
            read -= of_this;
            if *left == 0 {
                let handed = &mut sending.deliveries.handed;
                handed.entry(self.number).or_default().push(*id);
            }
            *left > 0
        });
        Ok(count)
    }
}
