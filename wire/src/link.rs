//! A link: frames both ways between two processes, until one end goes or is silent for too long.
//!
//! What is sent waits in the link's outbox, in order, until the socket takes it. An outbox that grows beyond its limit
//! belongs to a peer that doesn't read: the link is given up. Each end says now and then that it lives, so silence means something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::connect::{Call, Connection};
use crate::frame::{Frame, FrameDecoder};

/// What is allowed on a link, and how long one waits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest frame.
    pub frame_bytes: usize,
    /// Bytes that may wait for a peer to take them.
    pub queue_bytes: usize,
    /// After how long without anything to say an end says that it lives.
    pub heartbeat: Duration,
    /// After how long a silence the peer is given up.
    pub silence: Duration,
    /// How long connecting may take, the handshake included.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 64 << 20,
            queue_bytes: 256 << 20,
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(10),
            handshake: Duration::from_secs(5),
        }
    }
}

/// Whoever hears what comes over a link.
pub trait Receive: Send + 'static {
    /// A frame has come.
    ///
    /// # Errors
    /// If it makes no sense: then the peer is dropped, with this line.
    fn frame(&mut self, payload: Bytes) -> Result<(), String>;

    /// No frame will come any more. Said once.
    fn closed(&mut self, reason: &str);
}

/// The sending end of a link. When all of its clones are gone the link is closed, behind what they have sent.
#[derive(Clone)]
pub struct Outbox {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    shared: Arc<Shared>,
}

struct Shared {
    queued: AtomicUsize,
    closed: AtomicBool,
    close: Notify,
    limits: Limits,
}

/// Frames up to this size are put together before they are written.
const SMALL: usize = 16 << 10;

impl Outbox {
    /// Sends a frame, behind all others. Returns whether the link is still open; that doesn't mean that the frame arrives.
    pub fn send(&self, frame: Frame) -> bool {
        let Shared { queued, limits, .. } = &*self.shared;
        if self.is_closed() {
            return false;
        }
        let sealed = match frame.sealed(limits.frame_bytes) {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::warn!(%error, "a link is given up: it can't carry what is to be sent");
                self.close();
                return false;
            }
        };
        let waiting = queued.fetch_add(sealed.len(), Ordering::Relaxed) + sealed.len();
        if waiting > limits.queue_bytes {
            tracing::warn!(
                waiting,
                "a link is given up: its peer doesn't take what is sent"
            );
            self.close();
            return false;
        }
        self.frames.send(sealed).is_ok()
    }

    /// The longest frame that it carries.
    pub fn frame_bytes(&self) -> usize {
        self.shared.limits.frame_bytes
    }

    /// Closes the link now; what has not been written yet is dropped.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.close.notify_one();
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }
}

/// A link that is yet to be connected. What is sent meanwhile waits.
pub struct Link {
    waiting: mpsc::UnboundedReceiver<Vec<u8>>,
    shared: Arc<Shared>,
}

/// A link, and where to put what it is to carry.
pub fn link(limits: &Limits) -> (Outbox, Link) {
    let (frames, waiting) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        queued: AtomicUsize::new(0),
        closed: AtomicBool::new(false),
        close: Notify::new(),
        limits: limits.clone(),
    });
    let outbox = Outbox {
        frames,
        shared: Arc::clone(&shared),
    };
    (outbox, Link { waiting, shared })
}

impl Link {
    /// Runs over a connection, on the current runtime, until it is closed.
    pub fn run(self, connection: Connection, mut receive: impl Receive) {
        tokio::spawn(async move { self.drive(connection, &mut receive).await });
    }

    /// Connects to a listener and runs, on the current runtime. If there is no connection, it is closed with the reason.
    pub fn dial(self, call: Call, mut receive: impl Receive) {
        tokio::spawn(async move {
            match call.dial(&self.shared.limits).await {
                Ok(connection) => self.drive(connection, &mut receive).await,
                Err(error) => {
                    self.shared.closed.store(true, Ordering::Relaxed);
                    receive.closed(&error.line());
                }
            }
        });
    }

    async fn drive(mut self, connection: Connection, receive: &mut impl Receive) {
        let Connection {
            stream,
            mut decoder,
            ..
        } = connection;
        let shared = &*self.shared;
        decoder.set_limit(shared.limits.frame_bytes);
        // Both halves are driven by this task, so neither waits for the other.
        let (read, write) = tokio::io::split(stream);
        let reason = tokio::select! {
            reason = reading(read, decoder, &shared.limits, receive) => reason,
            reason = writing(write, &mut self.waiting, shared) => reason,
            () = shared.close.notified() => "it was closed at this end".to_owned(),
        };
        shared.closed.store(true, Ordering::Relaxed);
        receive.closed(&reason);
    }
}

async fn reading(
    mut read: impl AsyncRead + Unpin,
    mut decoder: FrameDecoder,
    limits: &Limits,
    receive: &mut impl Receive,
) -> String {
    loop {
        loop {
            match decoder.next_frame() {
                Ok(Some(payload)) if payload.is_empty() => {}
                Ok(Some(payload)) => {
                    if let Err(nonsense) = receive.frame(payload) {
                        return nonsense;
                    }
                }
                Ok(None) => break,
                Err(error) => return error.to_string(),
            }
        }
        match timeout(limits.silence, read.read_buf(decoder.buffer())).await {
            Ok(Ok(0)) => return "the peer has closed it".to_owned(),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("the peer has been silent for {:?}", limits.silence),
        }
    }
}

async fn writing(
    mut write: impl AsyncWrite + Unpin,
    waiting: &mut mpsc::UnboundedReceiver<Vec<u8>>,
    shared: &Shared,
) -> String {
    let mut small = Vec::new();
    loop {
        small.clear();
        let mut large = None;
        match timeout(shared.limits.heartbeat, waiting.recv()).await {
            Ok(Some(frame)) if frame.len() > SMALL => large = Some(frame),
            Ok(Some(frame)) => {
                small = frame;
                while small.len() <= SMALL
                    && let Ok(frame) = waiting.try_recv()
                {
                    if frame.len() > SMALL {
                        large = Some(frame);
                        break;
                    }
                    small.extend_from_slice(&frame);
                }
            }
            Ok(None) => {
                let _ = write.shutdown().await;
                return "nobody at this end speaks any more".to_owned();
            }
            // Nothing to say but that one lives: a frame without a payload.
            Err(_) => small.extend_from_slice(&[0; 4]),
        }
        let large = large.unwrap_or_default();
        for bytes in [&small, &large] {
            if let Err(error) = write.write_all(bytes).await {
                return error.to_string();
            }
        }
        if let Err(error) = write.flush().await {
            return error.to_string();
        }
        let written = small.len() + large.len();
        let take = |queued: usize| Some(queued.saturating_sub(written));
        let _ = shared
            .queued
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
    }
}
