//! One connection after the other, and the lines that come over them.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::Duration;

use super::{Network, POLL_MS, SocketError};

/// How often a thread that reads looks whether it is still wanted.
const BEAT: Duration = Duration::from_millis(100);

/// What a listener says.
#[derive(Debug)]
pub(super) enum Heard {
    Line(String),
    /// The server has closed the connection and that is the end.
    End,
    Failed(SocketError),
}

/// What comes next.
pub(super) enum Next {
    Heard(Heard),
    /// Nothing yet: look again after so long.
    Nothing(Duration),
}

/// The network of the system. What is read waits for a beat at most.
#[derive(Debug)]
pub(super) struct Tcp;

impl Network for Tcp {
    fn connect(&self, address: &str) -> io::Result<Box<dyn Read + Send>> {
        let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
                Ok(stream) => {
                    // So that it is noticed when nobody listens any more.
                    stream.set_read_timeout(Some(BEAT))?;
                    return Ok(Box::new(stream));
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// Waits before a connection is made anew.
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    fn next(&mut self) -> Duration {
        let longer = (self.0 * 2).min(Self::LONGEST);
        mem::replace(&mut self.0, longer)
    }
}

/// Connects, reads lines, and connects again.
pub(super) struct Listener {
    address: String,
    network: Arc<dyn Network>,
    until_closed: bool,
    max_line_bytes: usize,
    open: Option<BufReader<Box<dyn Read + Send>>>,
    /// What has come of the line.
    line: Vec<u8>,
    backoff: Backoff,
    /// What was said last was the last line.
    over: bool,
}

impl Listener {
    pub fn new(
        address: String,
        network: Arc<dyn Network>,
        until_closed: bool,
        max_line_bytes: usize,
    ) -> Self {
        Self {
            address,
            network,
            until_closed,
            max_line_bytes,
            open: None,
            line: Vec::new(),
            backoff: Backoff(Backoff::FIRST),
            over: false,
        }
    }

    /// Reads on until there is a line, or nothing for now. Waits as long as the network's reads do.
    pub fn next(&mut self) -> Next {
        if self.over {
            return Next::Heard(Heard::End);
        }
        let Some(mut stream) = self.connected() else {
            return Next::Nothing(self.backoff.next());
        };
        loop {
            let longest = self.max_line_bytes.saturating_add(2);
            let room = longest.saturating_sub(self.line.len());
            let read = (&mut stream)
                .take(room as u64)
                .read_until(b'\n', &mut self.line);
            match read {
                Err(error) if is_pause(&error) => {
                    self.open = Some(stream);
                    return Next::Nothing(Duration::ZERO);
                }
                Ok(0) if self.until_closed && self.line.is_empty() => {
                    return Next::Heard(Heard::End);
                }
                Ok(0) if self.until_closed => self.over = true,
                Ok(0) | Err(_) => return Next::Nothing(self.backoff.next()),
                Ok(_) => {}
            }
            let text = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.len() > self.max_line_bytes {
                return Next::Heard(Heard::Failed(SocketError::TooLong {
                    address: self.address.clone(),
                    limit: self.max_line_bytes,
                }));
            }
            // Otherwise the end of the line is on its way, or the connection's.
            if self.over || self.line.ends_with(b"\n") {
                let text = String::from_utf8_lossy(text).into_owned();
                self.line.clear();
                self.backoff = Backoff(Backoff::FIRST);
                self.open = Some(stream);
                return Next::Heard(Heard::Line(text));
            }
        }
    }

    /// The connection there is, or a new one, on which a line begins anew.
    fn connected(&mut self) -> Option<BufReader<Box<dyn Read + Send>>> {
        self.open.take().or_else(|| {
            self.line.clear();
            self.network.connect(&self.address).ok().map(BufReader::new)
        })
    }
}

/// Says what is heard, on a thread of its own, until nobody listens any more.
pub(super) fn listen(mut listener: Listener, says: &SyncSender<Heard>, unwanted: &Receiver<()>) {
    loop {
        let go_on = match listener.next() {
            Next::Heard(heard) => {
                let last = !matches!(heard, Heard::Line(_));
                say(heard, says, unwanted) && !last
            }
            Next::Nothing(pause) => wait(pause, unwanted),
        };
        if !go_on {
            return;
        }
    }
}

/// Hands something over, when there is room; false if nobody listens any more.
fn say(mut heard: Heard, says: &SyncSender<Heard>, unwanted: &Receiver<()>) -> bool {
    loop {
        match says.try_send(heard) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) => heard = back,
        }
        if !wait(Duration::from_millis(POLL_MS as u64), unwanted) {
            return false;
        }
    }
}

/// Waits; false if nobody listens any more.
fn wait(time: Duration, unwanted: &Receiver<()>) -> bool {
    matches!(unwanted.recv_timeout(time), Err(RecvTimeoutError::Timeout))
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
