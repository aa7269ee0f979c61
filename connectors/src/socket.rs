//! A source that reads lines from a TCP connection.
//!
//! A socket can't be asked again: what was read and is not in a checkpoint is lost with a failure, and so is what
//! the peer sends while nobody listens.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::thread;
use std::time::Duration;

use rivus_core::{
    Event, Failure, MIN_TIMESTAMP, ParallelInstance, ReadStatus, Source, SourceReader, Timestamp,
    UserError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Lines that wait between the socket and the stream.
const WAITING_LINES: usize = 1_024;

/// How long a reader without a line waits before it looks again, in milliseconds.
const POLL_MS: Timestamp = 5;

/// How often the thread looks whether it is still wanted.
const BEAT: Duration = Duration::from_millis(100);

/// The longest line that is taken for a line, unless told otherwise.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Reads the lines that a TCP server sends, as `String`s; bytes that aren't UTF-8 are replaced.
///
/// **At most once**: a socket can't be asked to send again, so lines that were read and are not in a checkpoint are
/// lost with a failure. Where that matters, let something that can replay stand in between, such as files.
///
/// One subtask reads; the others have nothing to do. A connection that is lost or can't be made is made anew, after
/// waits that grow from 100 ms to 10 s, as long as the job runs; a line that it breaks off within is dropped. When the
/// stream is slower than the server, the server is held up by TCP.
///
/// ```no_run
/// use rivus_connectors::SocketSource;
///
/// let log = SocketSource::lines("127.0.0.1:9000"); // for ever
/// let once = SocketSource::lines("127.0.0.1:9000").until_closed();
/// ```
#[derive(Debug, Clone)]
pub struct SocketSource {
    address: String,
    until_closed: bool,
    max_line_bytes: usize,
}

/// An address to read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketSplit {
    /// Host and port.
    pub address: String,
}

/// Takes the lines that a thread reads.
#[derive(Debug)]
pub struct SocketReader {
    source: SocketSource,
    connections: VecDeque<Connection>,
    lines: u64,
}

#[derive(Debug)]
struct Connection {
    split: SocketSplit,
    heard: Receiver<Heard>,
    /// The thread ends when this is dropped.
    _wanted: mpsc::Sender<()>,
}

/// What the thread says.
#[derive(Debug)]
enum Heard {
    Line(String),
    /// The server has closed the connection and that is the end.
    End,
    Failed(SocketError),
}

/// Why a socket can't be read.
#[derive(Debug, Error)]
pub enum SocketError {
    /// An address that is none.
    #[error("{address} is no address: give host:port, such as 127.0.0.1:9000")]
    Address {
        /// As given.
        address: String,
    },
    /// A line without end.
    #[error(
        "{address} sent a line of more than {limit} bytes: is it text? raise max_line_bytes if it is"
    )]
    TooLong {
        /// Who sent it.
        address: String,
        /// The limit.
        limit: usize,
    },
    /// The thread that reads can't be started.
    #[error("cannot start a thread that reads from {address}: check the limits of the process")]
    Thread {
        /// Where from.
        address: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl SocketSource {
    /// Reads from a server, given as `host:port`.
    pub fn lines(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            until_closed: false,
            max_line_bytes: MAX_LINE_BYTES,
        }
    }

    /// Ends when the server closes the connection, instead of connecting anew. A last line needs no line end then.
    pub fn until_closed(mut self) -> Self {
        self.until_closed = true;
        self
    }

    /// Fails at lines longer than this many bytes; 1 MiB unless told otherwise.
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.max_line_bytes = bytes;
        self
    }
}

impl Source for SocketSource {
    type Out = String;
    type Split = SocketSplit;
    type Reader = SocketReader;

    fn splits(&self, _parallelism: u32) -> Result<Vec<SocketSplit>, UserError> {
        let address = self.address.clone();
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(vec![SocketSplit { address }]),
            _ => Err(SocketError::Address { address }.into()),
        }
    }

    fn reader(&self, _instance: ParallelInstance) -> Result<SocketReader, UserError> {
        Ok(SocketReader {
            source: self.clone(),
            connections: VecDeque::new(),
            lines: 0,
        })
    }
}

impl SourceReader for SocketReader {
    type Out = String;
    type Split = SocketSplit;

    fn add_split(&mut self, split: SocketSplit) -> Result<(), UserError> {
        let (says, heard) = mpsc::sync_channel(WAITING_LINES);
        let (wanted, unwanted) = mpsc::channel();
        let listener = Listener {
            address: split.address.clone(),
            source: self.source.clone(),
            says,
            unwanted,
        };
        let spawned = thread::Builder::new()
            .name(format!("socket {}", split.address))
            .spawn(move || listener.run());
        spawned.map_err(|source| SocketError::Thread {
            address: split.address.clone(),
            source,
        })?;
        self.connections.push_back(Connection {
            split,
            heard,
            _wanted: wanted,
        });
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<String>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let mut left = max;
        let mut ended = false;
        for connection in &mut self.connections {
            while left > 0 {
                match connection.heard.try_recv() {
                    Ok(Heard::Line(line)) => {
                        out.push(Event::at(MIN_TIMESTAMP, line));
                        self.lines += 1;
                        left -= 1;
                    }
                    Ok(Heard::Failed(error)) => return Err(Failure::permanent(error).into()),
                    Err(TryRecvError::Empty) => break,
                    Ok(Heard::End) | Err(TryRecvError::Disconnected) => {
                        connection.split.address.clear();
                        ended = true;
                        break;
                    }
                }
            }
        }
        if ended {
            self.connections
                .retain(|open| !open.split.address.is_empty());
        }
        Ok(if self.connections.is_empty() {
            ReadStatus::SplitsDone
        } else if left == 0 {
            ReadStatus::More
        } else {
            ReadStatus::Later(now + POLL_MS)
        })
    }

    fn snapshot(&self) -> Vec<SocketSplit> {
        let open = self.connections.iter();
        open.map(|connection| connection.split.clone()).collect()
    }

    fn position(&self) -> Option<String> {
        let lines = self.lines;
        (lines > 0).then(|| format!("{}, line {lines} of this attempt", self.source.address))
    }
}

/// The thread's half.
struct Listener {
    address: String,
    source: SocketSource,
    says: SyncSender<Heard>,
    /// Closed when nobody listens any more.
    unwanted: Receiver<()>,
}

/// How a connection ended.
enum Closed {
    /// The server has closed it.
    ByPeer,
    /// It broke, or could not be made.
    Broken,
    /// Nobody listens any more.
    Unwanted,
}

/// Waits before a connection is made anew.
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (self.0 * 2).min(Self::LONGEST);
        wait
    }
}

impl Listener {
    fn run(self) {
        let mut backoff = Backoff(Backoff::FIRST);
        loop {
            match self.listen(&mut backoff) {
                Closed::Unwanted => return,
                Closed::ByPeer if self.source.until_closed => {
                    self.say(Heard::End);
                    return;
                }
                Closed::ByPeer | Closed::Broken => {}
            }
            if !self.wait(backoff.next()) {
                return;
            }
        }
    }

    /// Reads one connection to its end.
    fn listen(&self, backoff: &mut Backoff) -> Closed {
        let Some(stream) = self.connect() else {
            return Closed::Broken;
        };
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            let room = (self.source.max_line_bytes + 2).saturating_sub(line.len());
            let read = (&mut stream).take(room as u64).read_until(b'\n', &mut line);
            match read {
                Err(error) if is_pause(&error) => {
                    if !self.wait(Duration::ZERO) {
                        return Closed::Unwanted;
                    }
                    continue;
                }
                Err(_) => return Closed::Broken,
                Ok(0) if line.is_empty() || !self.source.until_closed => return Closed::ByPeer,
                Ok(_) => {}
            }
            let whole = line.ends_with(b"\n");
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.len() > self.source.max_line_bytes {
                self.say(Heard::Failed(SocketError::TooLong {
                    address: self.address.clone(),
                    limit: self.source.max_line_bytes,
                }));
                return Closed::Unwanted;
            }
            let last = self.source.until_closed && matches!(read, Ok(0));
            if !(whole || last) {
                // The end of the line is on its way, or the connection's.
                continue;
            }
            let said = self.say(Heard::Line(String::from_utf8_lossy(text).into_owned()));
            line.clear();
            backoff.0 = Backoff::FIRST;
            match said {
                true if whole => {}
                true => return Closed::ByPeer,
                false => return Closed::Unwanted,
            }
        }
    }

    fn connect(&self) -> Option<TcpStream> {
        let addresses = self.address.to_socket_addrs().ok()?;
        let mut connected = addresses.filter_map(|address| {
            TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()
        });
        let stream = connected.next()?;
        // So that it is noticed when nobody listens any more.
        stream.set_read_timeout(Some(BEAT)).ok()?;
        Some(stream)
    }

    /// Hands something over, when there is room; false if nobody listens any more.
    fn say(&self, heard: Heard) -> bool {
        let mut heard = heard;
        loop {
            match self.says.try_send(heard) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => heard = back,
            }
            if !self.wait(Duration::from_millis(POLL_MS as u64)) {
                return false;
            }
        }
    }

    /// Waits; false if nobody listens any more.
    fn wait(&self, time: Duration) -> bool {
        matches!(
            self.unwanted.recv_timeout(time),
            Err(RecvTimeoutError::Timeout)
        )
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
