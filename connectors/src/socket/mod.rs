//! A source that reads lines from a TCP connection.
//!
//! A socket can't be asked again: what was read and is not in a checkpoint is lost with a failure, and so is what
//! the peer sends while nobody listens.

mod listener;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use rivus_core::{
    Event, Failure, MIN_TIMESTAMP, ParallelInstance, ReadStatus, Source, SourceReader, Timestamp,
    UserError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::listener::{Heard, Listener, Next, Tcp, listen};

/// Lines that wait between the socket and the stream.
const WAITING_LINES: usize = 1_024;

/// How long a reader without a line waits before it looks again, in milliseconds.
const POLL_MS: Timestamp = 5;

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
    /// None is the system's.
    network: Option<Arc<dyn Network>>,
}

/// A network other than the system's, such as a simulation's: see [`SocketSource::over`].
pub trait Network: fmt::Debug + Send + Sync {
    /// Connects to an address. What is read must not wait: as long as there is nothing, it fails with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    /// If nobody answers there. It is tried again.
    fn connect(&self, address: &str) -> io::Result<Box<dyn Read + Send>>;
}

/// An address to read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.SocketSplit")]
pub struct SocketSplit {
    /// Host and port.
    pub address: String,
}

/// Takes the lines that are heard.
pub struct SocketReader {
    source: SocketSource,
    connections: VecDeque<Connection>,
    lines: u64,
}

struct Connection {
    split: SocketSplit,
    ear: Ear,
}

/// Who reads.
enum Ear {
    /// A thread, which ends when `wanted` is dropped.
    Thread {
        heard: Receiver<Heard>,
        _wanted: mpsc::Sender<()>,
    },
    /// The subtask, in its turns: nothing waits.
    Turns {
        listener: Listener,
        again: Timestamp,
    },
}

impl Ear {
    /// What has come by now. A thread that is gone without a word has failed: the end it would have told.
    fn hear(&mut self, now: Timestamp) -> Result<Option<Heard>, ThreadGone> {
        match self {
            Self::Thread { heard, .. } => match heard.try_recv() {
                Ok(heard) => Ok(Some(heard)),
                Err(TryRecvError::Empty) => Ok(None),
                Err(TryRecvError::Disconnected) => Err(ThreadGone),
            },
            Self::Turns { again, .. } if now < *again => Ok(None),
            Self::Turns { listener, again } => Ok(match listener.next() {
                Next::Heard(heard) => Some(heard),
                Next::Nothing(pause) => {
                    *again = now + pause.as_millis() as Timestamp;
                    None
                }
            }),
        }
    }
}

/// The thread has panicked, and the next attempt begins another.
#[derive(Debug, Error)]
#[error("the thread that reads the socket has ended; this is a defect in Rivus")]
struct ThreadGone;

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
            network: None,
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

    /// Connects over another network than the system's, and reads in the turns of the subtask, without a thread: what a
    /// test with a clock of its own does.
    ///
    /// ```
    /// use std::io::{self, Cursor, Read};
    /// use std::sync::Arc;
    /// use rivus_connectors::{Network, SocketSource};
    ///
    /// #[derive(Debug)]
    /// struct Greeting;
    ///
    /// impl Network for Greeting {
    ///     fn connect(&self, address: &str) -> io::Result<Box<dyn Read + Send>> {
    ///         Ok(Box::new(Cursor::new(format!("hello from {address}\n"))))
    ///     }
    /// }
    ///
    /// let greeted = SocketSource::lines("nowhere:1").over(Arc::new(Greeting)).until_closed();
    /// ```
    pub fn over(mut self, network: Arc<dyn Network>) -> Self {
        self.network = Some(network);
        self
    }

    fn listener(&self, address: String, network: Arc<dyn Network>) -> Listener {
        Listener::new(address, network, self.until_closed, self.max_line_bytes)
    }
}

impl Source for SocketSource {
    type Out = String;
    type Split = SocketSplit;
    type Reader = SocketReader;

    fn check(&self) -> Result<(), UserError> {
        let address = self.address.clone();
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(()),
            _ => Err(SocketError::Address { address }.into()),
        }
    }

    fn splits(&self, _parallelism: u32) -> Result<Vec<SocketSplit>, UserError> {
        let address = self.address.clone();
        Ok(vec![SocketSplit { address }])
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
        let address = split.address.clone();
        let ear = match &self.source.network {
            Some(network) => Ear::Turns {
                listener: self.source.listener(address, Arc::clone(network)),
                again: Timestamp::MIN,
            },
            None => on_a_thread(self.source.listener(address, Arc::new(Tcp)), &split.address)?,
        };
        self.connections.push_back(Connection { split, ear });
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
                match connection.ear.hear(now)? {
                    Some(Heard::Line(line)) => {
                        out.push(Event::at(MIN_TIMESTAMP, line));
                        self.lines += 1;
                        left -= 1;
                    }
                    Some(Heard::Failed(error)) => return Err(Failure::permanent(error).into()),
                    None => break,
                    Some(Heard::End) => {
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

fn on_a_thread(listener: Listener, address: &str) -> Result<Ear, SocketError> {
    let (says, heard) = mpsc::sync_channel(WAITING_LINES);
    let (wanted, unwanted) = mpsc::channel();
    let spawned = thread::Builder::new()
        .name(format!("socket {address}"))
        .spawn(move || listen(listener, &says, &unwanted));
    match spawned {
        Ok(_) => Ok(Ear::Thread {
            heard,
            _wanted: wanted,
        }),
        Err(source) => Err(SocketError::Thread {
            address: address.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_without_a_word_fails_the_attempt_and_not_the_job() {
        let (says, heard) = mpsc::channel();
        let mut ear = Ear::Thread {
            heard,
            _wanted: mpsc::channel().0,
        };
        says.send(Heard::Line("a".to_owned())).unwrap();
        drop(says);
        assert!(matches!(ear.hear(0), Ok(Some(Heard::Line(_)))));
        let gone: UserError = ear.hear(0).unwrap_err().into();
        assert_eq!(
            Failure::user(&gone).scope,
            rivus_core::FailureScope::Attempt
        );
    }
}
