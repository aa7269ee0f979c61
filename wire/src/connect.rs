//! Dialing and listening: from an address to a link with a peer that is known.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::frame::{Frame, FrameDecoder, FrameError};
use crate::handshake::{Answering, Dialing, HandshakeError, Listening, Secret, welcomed};
use crate::link::Limits;

/// The longest frame of a handshake: whoever hasn't proved anything yet gets no more memory than that.
const HANDSHAKE_BYTES: usize = 4 << 10;

/// Handshakes that may be under way at a listener; whoever comes then waits.
const HANDSHAKES: usize = 64;

/// Wait before a listener tries again that could not accept, as when there are no files left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The operating system has none.
    #[error("no connection")]
    Io(#[from] io::Error),
    /// A frame of the handshake is none.
    #[error("no handshake")]
    Frame(#[from] FrameError),
    /// The two don't talk.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// It took too long.
    #[error("no handshake within {0:?}")]
    Slow(Duration),
    /// Others could connect.
    #[error(
        "{0} can be reached from other machines, and there is no secret: give all processes the same --secret-file, or bind to 127.0.0.1"
    )]
    Open(SocketAddr),
}

impl ConnectError {
    /// With its cause, in one line.
    pub fn line(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

/// A connection with a peer that has proved that it knows the secret.
pub struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) decoder: FrameDecoder,
    /// What the dialer came about.
    pub about: Vec<u8>,
}

/// Whom to connect to.
#[derive(Debug, Clone)]
pub struct Call {
    /// A host and a port.
    pub address: String,
    /// What both ends know.
    pub secret: Secret,
    /// One of a kind.
    pub nonce: u128,
    /// Who calls, and what for: for the listener's owner.
    pub about: Vec<u8>,
}

struct Talking {
    stream: TcpStream,
    decoder: FrameDecoder,
}

impl Talking {
    fn new(stream: TcpStream) -> io::Result<Self> {
        // Small frames matter here, and large ones fill packets anyway.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            decoder: FrameDecoder::new(HANDSHAKE_BYTES),
        })
    }

    async fn say(&mut self, frame: Frame) -> Result<(), ConnectError> {
        let sealed = frame.sealed(HANDSHAKE_BYTES)?;
        Ok(self.stream.write_all(&sealed).await?)
    }

    async fn hear(&mut self) -> Result<bytes::Bytes, ConnectError> {
        loop {
            if let Some(payload) = self.decoder.next_frame()? {
                return Ok(payload);
            }
            if self.stream.read_buf(self.decoder.buffer()).await? == 0 {
                return Err(HandshakeError::Stranger.into());
            }
        }
    }

    fn connection(self, about: Vec<u8>) -> Connection {
        Connection {
            stream: self.stream,
            decoder: self.decoder,
            about,
        }
    }
}

impl Call {
    /// Connects to a listener.
    ///
    /// # Errors
    /// If nobody answers, the two don't know the same secret, or the listener's owner refuses.
    pub async fn dial(self, limits: &Limits) -> Result<Connection, ConnectError> {
        let Self {
            address,
            secret,
            nonce,
            about,
        } = self;
        let talk = async {
            let mut talking = Talking::new(TcpStream::connect(address).await?)?;
            let (dialing, hello) = Dialing::begin(&secret, nonce, &about);
            talking.say(hello).await?;
            let proof = dialing.on_challenge(&talking.hear().await?)?;
            talking.say(proof).await?;
            welcomed(&talking.hear().await?)?;
            Ok(talking.connection(about))
        };
        match timeout(limits.handshake, talk).await {
            Ok(done) => done,
            Err(_) => Err(ConnectError::Slow(limits.handshake)),
        }
    }
}

/// Whoever decides who comes in.
pub trait Door: Send + Sync + 'static {
    /// Whether somebody who knows the secret may come in.
    ///
    /// # Errors
    /// Why not, in one line that is told to the peer.
    fn admit(&self, about: &[u8]) -> Result<(), String>;

    /// Somebody has come in.
    fn connected(&self, connection: Connection);
}

/// Where others connect.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    secret: Secret,
    limits: Limits,
}

impl Listener {
    /// Listens. Port 0 takes a free one.
    ///
    /// # Errors
    /// If it can't; and if other machines could connect, and there is no secret.
    pub async fn bind(
        address: SocketAddr,
        secret: Secret,
        limits: Limits,
    ) -> Result<Self, ConnectError> {
        if !secret.is_given() && !address.ip().is_loopback() {
            return Err(ConnectError::Open(address));
        }
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            secret,
            limits,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets peers in, for ever. Nonces must be one of a kind. Whoever speaks nonsense is dropped, with one line in the log.
    pub async fn serve(
        self,
        nonce: impl Fn() -> u128 + Send + Sync + 'static,
        door: Arc<impl Door>,
    ) {
        let turns = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            // Never closed.
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                return;
            };
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "nobody can connect at present");
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let listening = Listening::new(&self.secret, nonce());
            let (limits, door) = (self.limits.clone(), Arc::clone(&door));
            tokio::spawn(async move {
                let _turn = turn;
                let greeting = greet(stream, listening, &*door);
                let refused = match timeout(limits.handshake, greeting).await {
                    Ok(Ok(connection)) => return door.connected(connection),
                    Ok(Err(error)) => error.line(),
                    Err(_) => ConnectError::Slow(limits.handshake).line(),
                };
                tracing::warn!(%peer, refused, "a peer is dropped");
            });
        }
    }
}

async fn greet(
    stream: TcpStream,
    listening: Listening,
    door: &impl Door,
) -> Result<Connection, ConnectError> {
    let mut talking = Talking::new(stream)?;
    let (answering, challenge) = listening.on_hello(&talking.hear().await?)?;
    talking.say(challenge).await?;
    let about = answering.on_proof(&talking.hear().await?)?;
    let admitted = door.admit(&about);
    talking.say(Answering::welcome(&admitted)).await?;
    match admitted {
        Ok(()) => Ok(talking.connection(about)),
        Err(reason) => Err(HandshakeError::Refused(reason).into()),
    }
}
