//! How processes of Rivus speak to each other: frames over TCP, a handshake that proves a shared secret on both ends, and
//! links that notice at once when the peer is gone, and after a while when it is silent.
//!
//! ```text
//!   dialer                                   listener
//!     | ---- Hello: version, nonce, about ----> |
//!     | <--- Challenge: nonce, proof ---------- |   each proves that it knows the secret,
//!     | ---- Proof ---------------------------> |   for these two nonces only
//!     | <--- Welcome, or why not -------------- |
//!     | <=== frames, and heartbeats ==========> |   until one end goes, or is silent too long
//! ```
//!
//! What frames hold is no concern of this crate, nor who connects to whom: it knows no job and no actor. What comes in is
//! bounded and checked before anything is made of it. A peer that speaks nonsense costs one line of the log and
//! its connection.
//!
//! The secret proves who speaks when a connection begins. It doesn't hide what is said, nor keep somebody who sits on the
//! path from changing it. For that, and for networks that others share, there is [`Tls`]: then all of this goes on within
//! it, and who has no certificate of the cluster's authority doesn't come as far as a Hello.

mod connect;
mod frame;
mod handshake;
mod link;
mod refusals;
mod tls;

pub use connect::{Call, ConnectError, Connection, Credentials, Door, Listener};
pub use frame::{Frame, FrameDecoder, FrameError};
pub use handshake::{Answering, Dialing, HandshakeError, Listening, Refusal, Secret, welcomed};
pub use link::{Limits, Link, Outbox, Receive, link};
pub use tls::{Tls, TlsError};
