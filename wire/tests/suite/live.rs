//! A listener on loopback, those who may come in and those who may not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rivus_wire::{
    Call, ConnectError, Connection, Credentials, Door, Frame, Limits, Listener, Outbox, Receive,
    Refusal, Secret, Tls, link,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What was heard on a link: its frames, and in the end why there are no others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Frame(String),
    Closed(String),
}

struct Ear(UnboundedSender<Heard>);

impl Receive for Ear {
    fn frame(&mut self, payload: Bytes) -> Result<(), String> {
        let text = String::from_utf8(payload.to_vec()).map_err(|_| "no text".to_owned())?;
        self.0.send(Heard::Frame(text)).map_err(|_| "deaf".into())
    }

    fn closed(&mut self, reason: &str) {
        let _ = self.0.send(Heard::Closed(reason.to_owned()));
    }
}

fn ear() -> (Ear, UnboundedReceiver<Heard>) {
    let (hear, heard) = unbounded_channel();
    (Ear(hear), heard)
}

/// Lets in whoever comes about "echo", and says everything again.
struct Echoes(UnboundedSender<Heard>);

struct Echo {
    ear: Ear,
    outbox: Outbox,
}

impl Receive for Echo {
    fn frame(&mut self, payload: Bytes) -> Result<(), String> {
        self.outbox.send(Frame::of(&payload));
        self.ear.frame(payload)
    }

    fn closed(&mut self, reason: &str) {
        self.ear.closed(reason);
    }
}

impl Door for Echoes {
    fn admit(&self, about: &[u8]) -> Result<(), Refusal> {
        match about {
            b"echo" => Ok(()),
            _ => Err(Refusal::Other("there is only an echo here".into())),
        }
    }

    fn connected(&self, connection: Connection) {
        let (outbox, echoing) = link(&limits());
        let ear = Ear(self.0.clone());
        echoing.run(connection, Echo { ear, outbox });
    }
}

/// A secret, with a certificate or without.
pub(crate) trait IntoCredentials {
    fn into_credentials(self) -> Credentials;
}

impl IntoCredentials for Secret {
    fn into_credentials(self) -> Credentials {
        self.into()
    }
}

impl IntoCredentials for (Secret, Tls) {
    fn into_credentials(self) -> Credentials {
        (self.0, Some(self.1)).into_credentials()
    }
}

impl IntoCredentials for (Secret, Option<Tls>) {
    fn into_credentials(self) -> Credentials {
        let (secret, tls) = self;
        Credentials { secret, tls }
    }
}

fn limits() -> Limits {
    Limits {
        frame_bytes: 1_000,
        heartbeat: Duration::from_millis(50),
        silence: Duration::from_millis(500),
        handshake: Duration::from_millis(500),
        ..Limits::default()
    }
}

/// A listener, and what it hears.
pub(crate) async fn listen(
    credentials: impl IntoCredentials,
) -> (SocketAddr, UnboundedReceiver<Heard>) {
    let loopback = "127.0.0.1:0".parse().expect("is an address");
    let listener = Listener::bind(loopback, credentials.into_credentials(), limits())
        .await
        .expect("listens");
    let address = listener.address();
    let (hear, heard) = unbounded_channel();
    tokio::spawn(listener.serve(|| 7, Arc::new(Echoes(hear))));
    (address, heard)
}

pub(crate) fn calling(
    address: SocketAddr,
    credentials: impl IntoCredentials,
    about: &[u8],
) -> Call {
    Call {
        address: address.to_string(),
        credentials: credentials.into_credentials(),
        nonce: 3,
        about: about.to_vec(),
    }
}

pub(crate) async fn dial(call: Call) -> Result<Connection, String> {
    call.dial(&limits()).await.map_err(|error| error.line())
}

/// A frame comes back to whoever sends it.
pub(crate) async fn echoed(call: Call, text: &str) {
    let (outbox, link) = link(&limits());
    let (ear, mut heard) = ear();
    link.run(dial(call).await.expect("comes in"), ear);
    assert!(outbox.send(Frame::of(text.as_bytes())));
    assert_eq!(heard.recv().await, Some(Heard::Frame(text.to_owned())));
}

async fn call(address: SocketAddr, secret: &[u8], about: &[u8]) -> Result<Connection, String> {
    dial(calling(address, Secret::new(secret), about)).await
}

/// A link to whoever says everything again.
async fn to_echo(address: SocketAddr) -> (Outbox, UnboundedReceiver<Heard>) {
    let (outbox, calling) = link(&limits());
    let (ear, heard) = ear();
    let connection = call(address, b"ours", b"echo").await.expect("comes in");
    calling.run(connection, ear);
    (outbox, heard)
}

#[tokio::test]
async fn frames_come_back_in_order_and_a_quiet_link_stays_open() {
    let (address, mut there) = listen(Secret::new(b"ours")).await;
    let (outbox, mut here) = to_echo(address).await;
    for n in 0..100 {
        assert!(outbox.send(Frame::of(n.to_string().as_bytes())));
    }
    for n in 0..100 {
        assert_eq!(here.recv().await, Some(Heard::Frame(n.to_string())));
    }
    // Longer than a silence that would end it.
    tokio::time::sleep(Duration::from_millis(800)).await;
    outbox.send(Frame::of(b"still there?"));
    assert_eq!(here.recv().await, Some(Heard::Frame("still there?".into())));
    drop(outbox);
    let mut last = None;
    while let Some(heard) = there.recv().await {
        last = Some(heard);
        if matches!(last, Some(Heard::Closed(_))) {
            break;
        }
    }
    assert_eq!(last, Some(Heard::Closed("the peer has closed it".into())));
}

#[tokio::test]
async fn who_may_not_come_in_is_told_why_only_if_it_knows_the_secret() {
    let (address, _there) = listen(Secret::new(b"ours")).await;
    let refused = |called: Result<Connection, String>| called.err().unwrap();
    let other = refused(call(address, b"ours", b"a job").await);
    assert_eq!(other, "the peer refuses: there is only an echo here");
    let wrong = refused(call(address, b"theirs", b"echo").await);
    assert!(wrong.contains("--secret-file"), "{wrong}");
}

#[tokio::test]
async fn nonsense_is_dropped_and_nobody_else_notices() {
    let (address, mut there) = listen(Secret::new(b"ours")).await;
    let (outbox, mut here) = to_echo(address).await;

    let long = [0xff; 100];
    let silent = [];
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x05\0\0\0rivus",
        b"\0\0\0\0\0\0\0\0",
        &long,
        &silent,
    ] {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        stranger.write_all(nonsense).await.unwrap();
        let mut said = Vec::new();
        // Closed, or reset with bytes of it unread; it never gets anything to hear.
        let _ = stranger.read_to_end(&mut said).await;
        assert_eq!(said, b"", "{nonsense:?}");
    }
    // One that has been let in may speak nonsense, too.
    let (stranger, mut strange) = to_echo(address).await;
    stranger.send(Frame::of(&[0xff, 0xfe]));
    assert_eq!(there.recv().await, Some(Heard::Closed("no text".into())));
    assert!(matches!(strange.recv().await, Some(Heard::Closed(_))));

    outbox.send(Frame::of(b"all well"));
    assert_eq!(here.recv().await, Some(Heard::Frame("all well".into())));
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up() {
    let (address, mut there) = listen(Secret::none()).await;
    // Connected, and then nobody drives it: as a process that is stopped.
    let stopped = calling(address, Secret::none(), b"echo")
        .dial(&limits())
        .await;
    let silent = "the peer has been silent for 500ms".to_owned();
    assert_eq!(there.recv().await, Some(Heard::Closed(silent)));
    drop(stopped);
}

#[tokio::test]
async fn what_is_too_much_for_a_link_closes_it_and_a_link_to_nobody_says_so() {
    let (address, _there) = listen(Secret::new(b"ours")).await;
    let (outbox, mut here) = to_echo(address).await;
    assert!(!outbox.send(Frame::of(&[b'a'; 1_001])));
    assert!(outbox.is_closed() && !outbox.send(Frame::of(b"a")));
    assert!(matches!(here.recv().await, Some(Heard::Closed(_))));

    // A port that nobody listens at: one that was free a moment ago.
    let other = TcpStream::connect(address).await.unwrap();
    let free = other.local_addr().unwrap();
    let (outbox, calling_nobody) = link(&limits());
    let (ear, mut here) = ear();
    calling_nobody.dial(calling(free, Secret::new(b"ours"), b"echo"), ear);
    outbox.send(Frame::of(b"anybody?"));
    assert!(
        matches!(here.recv().await, Some(Heard::Closed(reason)) if reason.contains("no connection"))
    );
    assert!(!outbox.send(Frame::of(b"anybody?")));
}

#[tokio::test]
async fn without_a_secret_nobody_listens_to_other_machines() {
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let open = Listener::bind(everywhere, Secret::none().into_credentials(), limits()).await;
    let error = open.err().unwrap();
    assert!(matches!(error, ConnectError::Open(_)));
    assert!(error.line().contains("--secret-file"), "{error}");
}
