//! Dialing and listening: from an address to a link with a peer that is known.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::frame::{Frame, FrameDecoder, FrameError};
use crate::handshake::{Answering, Dialing, HandshakeError, Listening, Refusal, Secret, welcomed};
use crate::link::Limits;
use crate::refusals::Refusals;
use crate::tls::{self, Tls};

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
    Io(#[source] io::Error),
    /// A frame of the handshake is none.
    #[error("no handshake")]
    Frame(#[source] FrameError),
    /// One of the two doesn't speak TLS, or has a certificate that the other doesn't take.
    #[error("{0}")]
    Tls(String),
    /// The two don't talk.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// It took too long.
    #[error("no handshake within {0:?}")]
    Slow(Duration),
    /// Others could connect.
    #[error(
        "{0} can be reached from other machines, and there is no secret: give all processes the same --secret-file or TLS, or bind to 127.0.0.1"
    )]
    Open(SocketAddr),
}

impl ConnectError {
    /// Whether somebody is there who won't have it, rather than nobody: it is no use to try again soon.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Frame(_) | Self::Tls(_) | Self::Handshake(_))
    }

    /// What the listener's owner says, if it is that who won't have it.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Handshake(HandshakeError::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// With its cause, in one line.
    pub fn line(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(of_tls) => Self::Tls(tls::why(of_tls)),
            None => Self::Io(error),
        }
    }
}

impl From<FrameError> for ConnectError {
    fn from(error: FrameError) -> Self {
        // A record of TLS, an alert or a greeting, that is taken for a length.
        match error.len & 0xffff {
            0x0315 | 0x0316 => Self::Tls(
                "the peer speaks TLS, and this process doesn't: give all processes tls settings, or none"
                    .to_owned(),
            ),
            _ => Self::Frame(error),
        }
    }
}

/// How a process proves that it belongs to the others, and they to it: a secret that all of them know, certificates of one
/// authority, or both.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// What all of them know.
    pub secret: Secret,
    /// Its certificate. Without one what is said isn't encrypted.
    pub tls: Option<Tls>,
}

impl From<Secret> for Credentials {
    fn from(secret: Secret) -> Self {
        Self { secret, tls: None }
    }
}

impl Credentials {
    fn are_given(&self) -> bool {
        self.secret.is_given() || self.tls.is_some()
    }
}

/// What frames travel on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection with a peer that has proved that it belongs to us.
pub struct Connection {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) decoder: FrameDecoder,
    /// The other end.
    pub peer: SocketAddr,
    /// What the dialer came about.
    pub about: Vec<u8>,
}

/// Whom to connect to.
#[derive(Debug, Clone)]
pub struct Call {
    /// A host and a port.
    pub address: String,
    /// What both ends prove themselves with.
    pub credentials: Credentials,
    /// One of a kind.
    pub nonce: u128,
    /// Who calls, and what for: for the listener's owner.
    pub about: Vec<u8>,
}

struct Talking {
    stream: Box<dyn Stream>,
    decoder: FrameDecoder,
    peer: SocketAddr,
}

impl Talking {
    async fn dialed(stream: TcpStream, tls: Option<&Tls>) -> io::Result<Self> {
        // Small frames matter here, and large ones fill packets anyway.
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        let stream = match tls {
            Some(tls) => tls.connect(stream).await?,
            None => Box::new(stream),
        };
        Ok(Self::over(stream, peer))
    }

    async fn accepted(stream: TcpStream, tls: Option<&Tls>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        let stream = match tls {
            Some(tls) => tls.accept(stream).await?,
            None => Box::new(stream),
        };
        Ok(Self::over(stream, peer))
    }

    fn over(stream: Box<dyn Stream>, peer: SocketAddr) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::new(HANDSHAKE_BYTES),
            peer,
        }
    }

    async fn say(&mut self, frame: Frame) -> Result<(), ConnectError> {
        let sealed = frame.sealed(HANDSHAKE_BYTES)?;
        self.stream.write_all(&sealed).await?;
        Ok(self.stream.flush().await?)
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
            peer: self.peer,
            about,
        }
    }
}

impl Call {
    /// Connects to a listener.
    ///
    /// # Errors
    /// If nobody answers, the two don't know the same secret, one of them doesn't take the other's certificate, or the
    /// listener's owner refuses.
    pub async fn dial(self, limits: &Limits) -> Result<Connection, ConnectError> {
        let talk = async {
            let stream = TcpStream::connect(&self.address).await?;
            let is_secure = self.credentials.tls.is_some();
            let talked = self.talk(stream).await;
            talked.map_err(|error| match error {
                // A listener that doesn't take our certificate says so, and closes; which of both arrives is chance.
                ConnectError::Io(_) | ConnectError::Handshake(HandshakeError::Stranger)
                    if is_secure =>
                {
                    ConnectError::Tls(tls::BROKEN_OFF.to_owned())
                }
                other => other,
            })
        };
        match timeout(limits.handshake, talk).await {
            Ok(done) => done,
            Err(_) => Err(ConnectError::Slow(limits.handshake)),
        }
    }

    async fn talk(self, stream: TcpStream) -> Result<Connection, ConnectError> {
        let Credentials { secret, tls } = &self.credentials;
        let mut talking = Talking::dialed(stream, tls.as_ref()).await?;
        let (dialing, hello) = Dialing::begin(secret, self.nonce, &self.about);
        talking.say(hello).await?;
        let proof = dialing.on_challenge(&talking.hear().await?)?;
        talking.say(proof).await?;
        welcomed(&talking.hear().await?)?;
        Ok(talking.connection(self.about))
    }
}

/// Whoever decides who comes in.
pub trait Door: Send + Sync + 'static {
    /// Whether somebody who belongs to us may come in.
    ///
    /// # Errors
    /// Why not, in one line that is told to the peer.
    fn admit(&self, about: &[u8]) -> Result<(), Refusal>;

    /// Somebody has come in.
    fn connected(&self, connection: Connection);
}

/// Where others connect.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    credentials: Credentials,
    limits: Limits,
}

impl Listener {
    /// Listens. Port 0 takes a free one.
    ///
    /// # Errors
    /// If it can't; and if other machines could connect, and nothing tells friends from strangers.
    pub async fn bind(
        address: SocketAddr,
        credentials: Credentials,
        limits: Limits,
    ) -> Result<Self, ConnectError> {
        if !credentials.are_given() && !address.ip().is_loopback() {
            return Err(ConnectError::Open(address));
        }
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            credentials,
            limits,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets peers in, for ever. Nonces must be one of a kind. Whoever speaks nonsense, or doesn't
    /// belong to us, is dropped, with one line in the log; one more each minute if it goes on.
    pub async fn serve(
        self,
        nonce: impl Fn() -> u128 + Send + Sync + 'static,
        door: Arc<impl Door>,
    ) {
        let turns = Arc::new(Semaphore::new(HANDSHAKES));
        let (began, refusals) = (Instant::now(), Arc::new(Mutex::new(Refusals::default())));
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
            let Credentials { secret, tls } = &self.credentials;
            let listening = Listening::new(secret, nonce());
            let (tls, limits, door) = (tls.clone(), self.limits.clone(), Arc::clone(&door));
            let refusals = Arc::clone(&refusals);
            tokio::spawn(async move {
                let _turn = turn;
                let greeting = greet(stream, tls.as_ref(), listening, &*door);
                let refused = match timeout(limits.handshake, greeting).await {
                    Ok(Ok(connection)) => return door.connected(connection),
                    Ok(Err(error)) => error.line(),
                    Err(_) => ConnectError::Slow(limits.handshake).line(),
                };
                let mut refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner);
                match refusals.tell(peer.ip(), &refused, began.elapsed()) {
                    Some(0) => tracing::warn!(%peer, refused, "a peer is dropped"),
                    Some(before) => {
                        tracing::warn!(%peer, refused, before, "a peer is dropped again")
                    }
                    None => {}
                }
            });
        }
    }
}

async fn greet(
    stream: TcpStream,
    tls: Option<&Tls>,
    listening: Listening,
    door: &impl Door,
) -> Result<Connection, ConnectError> {
    let mut talking = Talking::accepted(stream, tls).await?;
    let (answering, challenge) = listening.on_hello(&talking.hear().await?)?;
    talking.say(challenge).await?;
    let proof = talking.hear().await.map_err(|error| match error {
        ConnectError::Handshake(HandshakeError::Stranger) => HandshakeError::Unproven.into(),
        other => other,
    })?;
    let about = answering.on_proof(&proof)?;
    let admitted = door.admit(&about);
    talking.say(Answering::welcome(&admitted)).await?;
    match admitted {
        Ok(()) => Ok(talking.connection(about)),
        Err(refusal) => Err(HandshakeError::Refused(refusal).into()),
    }
}
