//! How two processes prove to each other that they know the same secret.
//!
//! ```text
//! Hello      "rivus" version:u16 nonce:16 about
//! Challenge  nonce:16 proof:32       proof = HMAC-SHA256(secret, "L" dialer's nonce, listener's nonce, about)
//! Proof      proof:32                the same with "D"
//! Welcome    0; or 1 and why not; or 2 and who has the place already
//! ```
//!
//! A proof holds for its two nonces, its role and what the dialer says it comes about, so none can be used again, turned
//! round, or for something else. A peer that doesn't know the secret learns nothing but that it is not let in.
//! Nothing here reads or writes: bytes in, bytes out.

use std::fmt;

use ring::hmac;

use crate::frame::Frame;

/// What a conversation begins with.
const MAGIC: &[u8; 5] = b"rivus";

/// What is spoken, here and on links. Processes that speak different versions don't talk to each other. Whatever changes what is said
/// raises it, once a release speaks this one.
const VERSION: u16 = 1;

const NONCE: usize = 16;
const PROOF: usize = 32;

/// Why two processes don't talk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Somebody else's protocol.
    #[error("the peer doesn't speak Rivus")]
    Stranger,
    /// Another release.
    #[error(
        "the peer speaks version {theirs} of the protocol and this process {VERSION}: run the same release in all"
    )]
    Version {
        /// What the peer speaks.
        theirs: u16,
    },
    /// The peer doesn't know the secret, or another one.
    #[error("the peer has another secret: give all processes the same --secret-file")]
    Secret,
    /// The peer hung up when it had heard this process's proof.
    #[error(
        "the peer hung up before it had proved that it knows the secret: it has another one, perhaps; give all processes the same --secret-file"
    )]
    Unproven,
    /// The peer won't have it.
    #[error("the peer refuses: {0}")]
    Refused(Refusal),
}

/// Why a listener's owner won't have somebody who belongs to us: in one line for people, and of a kind for programs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What whoever comes wants to be, another one is, and will be until it goes.
    #[error("{0}")]
    Taken(String),
    /// For whatever other reason.
    #[error("{0}")]
    Other(String),
}

/// What all processes of a cluster know and nobody else.
#[derive(Clone)]
pub struct Secret {
    key: hmac::Key,
    given: bool,
}

impl Secret {
    /// A secret. A short one can be guessed by whoever hears a handshake.
    pub fn new(secret: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            given: true,
        }
    }

    /// None: everybody is let in who can connect, which is for one machine only.
    pub fn none() -> Self {
        Self {
            given: false,
            ..Self::new(b"")
        }
    }

    /// Whether there is one.
    pub fn is_given(&self) -> bool {
        self.given
    }

    fn proof(&self, talk: &Talk, role: Role) -> hmac::Tag {
        hmac::sign(&self.key, &talk.said(role))
    }

    fn check(&self, talk: &Talk, role: Role, proof: &[u8]) -> Result<(), HandshakeError> {
        hmac::verify(&self.key, &talk.said(role), proof).map_err(|_| HandshakeError::Secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
enum Role {
    Dialer = b'D' as isize,
    Listener = b'L' as isize,
}

/// What a proof is about.
#[derive(Debug)]
struct Talk {
    dialer: [u8; NONCE],
    listener: [u8; NONCE],
    about: Vec<u8>,
}

impl Talk {
    fn said(&self, role: Role) -> Vec<u8> {
        let role = [role as u8];
        [&role[..], &self.dialer, &self.listener, &self.about].concat()
    }
}

/// The dialer's end, which waits for a challenge.
#[derive(Debug)]
pub struct Dialing {
    secret: Secret,
    talk: Talk,
}

impl Dialing {
    /// Begins. `about` is for the listener's owner: who calls, and what for. The nonce must be one of a kind.
    pub fn begin(secret: &Secret, nonce: u128, about: &[u8]) -> (Self, Frame) {
        let nonce = nonce.to_le_bytes();
        let mut hello = Frame::of(MAGIC);
        hello.body().extend_from_slice(&VERSION.to_le_bytes());
        hello.body().extend_from_slice(&nonce);
        hello.body().extend_from_slice(about);
        let talk = Talk {
            dialer: nonce,
            listener: [0; NONCE],
            about: about.to_vec(),
        };
        let secret = secret.clone();
        (Self { secret, talk }, hello)
    }

    /// The listener's proof is checked and answered.
    ///
    /// # Errors
    /// If it doesn't know the secret.
    pub fn on_challenge(mut self, challenge: &[u8]) -> Result<Frame, HandshakeError> {
        let Some((nonce, proof)) = challenge.split_first_chunk::<NONCE>() else {
            return Err(HandshakeError::Stranger);
        };
        self.talk.listener = *nonce;
        self.secret.check(&self.talk, Role::Listener, proof)?;
        Ok(Frame::of(
            self.secret.proof(&self.talk, Role::Dialer).as_ref(),
        ))
    }
}

/// What the listener says in the end.
///
/// # Errors
/// If the dialer isn't welcome.
pub fn welcomed(welcome: &[u8]) -> Result<(), HandshakeError> {
    // Whatever a peer says is one line here.
    let line = |reason: &[u8]| String::from_utf8_lossy(reason).replace(char::is_control, " ");
    let refusal = match welcome.split_first() {
        Some((0, [])) => return Ok(()),
        Some((1, reason)) => Refusal::Other(line(reason)),
        Some((2, reason)) => Refusal::Taken(line(reason)),
        _ => return Err(HandshakeError::Stranger),
    };
    Err(HandshakeError::Refused(refusal))
}

/// The listener's end, which waits for a hello.
#[derive(Debug)]
pub struct Listening {
    secret: Secret,
    nonce: [u8; NONCE],
}

/// The listener's end, which waits for a proof.
#[derive(Debug)]
pub struct Answering {
    secret: Secret,
    talk: Talk,
}

impl Listening {
    /// Waits for a hello. The nonce must be one of a kind.
    pub fn new(secret: &Secret, nonce: u128) -> Self {
        Self {
            secret: secret.clone(),
            nonce: nonce.to_le_bytes(),
        }
    }

    /// A hello is answered with a challenge.
    ///
    /// # Errors
    /// If it is none, or one of another version.
    pub fn on_hello(self, hello: &[u8]) -> Result<(Answering, Frame), HandshakeError> {
        let rest = hello.strip_prefix(MAGIC);
        let rest = rest.ok_or(HandshakeError::Stranger)?;
        let (version, rest) = rest.split_first_chunk().ok_or(HandshakeError::Stranger)?;
        let theirs = u16::from_le_bytes(*version);
        if theirs != VERSION {
            return Err(HandshakeError::Version { theirs });
        }
        let (nonce, about) = rest.split_first_chunk().ok_or(HandshakeError::Stranger)?;
        let talk = Talk {
            dialer: *nonce,
            listener: self.nonce,
            about: about.to_vec(),
        };
        let mut challenge = Frame::of(&self.nonce);
        let proof = self.secret.proof(&talk, Role::Listener);
        challenge.body().extend_from_slice(proof.as_ref());
        let secret = self.secret;
        Ok((Answering { secret, talk }, challenge))
    }
}

impl Answering {
    /// The dialer's proof is checked. What it comes about is known to be its own word then.
    ///
    /// # Errors
    /// If it doesn't know the secret.
    pub fn on_proof(self, proof: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        if proof.len() != PROOF {
            return Err(HandshakeError::Stranger);
        }
        self.secret.check(&self.talk, Role::Dialer, proof)?;
        Ok(self.talk.about)
    }

    /// The last word of the handshake.
    pub fn welcome(admitted: &Result<(), Refusal>) -> Frame {
        let (kind, reason) = match admitted {
            Ok(()) => (0, ""),
            Err(Refusal::Other(reason)) => (1, reason.as_str()),
            Err(Refusal::Taken(reason)) => (2, reason.as_str()),
        };
        let mut frame = Frame::of(&[kind]);
        frame.body().extend_from_slice(reason.as_bytes());
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(frame: Frame) -> Vec<u8> {
        frame.sealed(1_000).unwrap()[4..].to_vec()
    }

    /// What comes of a talk between two who may have different secrets.
    fn talk(dialer: &Secret, listener: &Secret) -> Result<Vec<u8>, HandshakeError> {
        let (dialing, hello) = Dialing::begin(dialer, 1, b"a job");
        let (answering, challenge) = Listening::new(listener, 2).on_hello(&payload(hello))?;
        let proof = dialing.on_challenge(&payload(challenge))?;
        answering.on_proof(&payload(proof))
    }

    #[test]
    fn who_knows_the_secret_is_let_in_and_nobody_else() {
        let [ours, theirs] = [b"ours", b"them"].map(|secret| Secret::new(secret));
        assert_eq!(talk(&ours, &ours).unwrap(), b"a job");
        assert_eq!(talk(&ours, &theirs), Err(HandshakeError::Secret));
        assert_eq!(talk(&Secret::none(), &ours), Err(HandshakeError::Secret));
        assert_eq!(talk(&Secret::none(), &Secret::none()).unwrap(), b"a job");
    }

    /// An eavesdropper has heard all of one talk, and tries what it heard in another.
    #[test]
    fn what_was_heard_is_of_no_use_another_time_nor_turned_round() {
        let ours = Secret::new(b"ours");
        let (dialing, hello) = Dialing::begin(&ours, 1, b"a job");
        let hello = payload(hello);
        let (_, challenge) = Listening::new(&ours, 2).on_hello(&hello).unwrap();
        let challenge = payload(challenge);
        let proof = payload(dialing.on_challenge(&challenge).unwrap());

        let (again, _) = Listening::new(&ours, 3).on_hello(&hello).unwrap();
        assert_eq!(again.on_proof(&proof), Err(HandshakeError::Secret));
        let (turned, _) = Listening::new(&ours, 2).on_hello(&hello).unwrap();
        assert_eq!(
            turned.on_proof(&challenge[NONCE..]),
            Err(HandshakeError::Secret)
        );
        // For something else than it was said about.
        let mut other = hello.clone();
        *other.last_mut().unwrap() ^= 1;
        let (about, _) = Listening::new(&ours, 2).on_hello(&other).unwrap();
        assert_eq!(about.on_proof(&proof), Err(HandshakeError::Secret));
        let (dialing, _) = Dialing::begin(&ours, 4, b"a job");
        let replayed = dialing.on_challenge(&challenge);
        assert_eq!(replayed.unwrap_err(), HandshakeError::Secret);
    }

    #[test]
    fn another_version_and_another_protocol_are_told_apart() {
        let listening = || Listening::new(&Secret::none(), 1);
        let (_, hello) = Dialing::begin(&Secret::none(), 1, b"");
        let mut hello = payload(hello);
        hello[5] = 9;
        let newer = listening().on_hello(&hello).unwrap_err();
        assert_eq!(newer, HandshakeError::Version { theirs: 9 });
        for nonsense in [&b""[..], b"GET / HTTP/1.1", b"rivus", b"rivus\x01\x00short"] {
            let error = listening().on_hello(nonsense).unwrap_err();
            assert_eq!(error, HandshakeError::Stranger, "{nonsense:?}");
        }
    }

    #[test]
    fn a_reason_arrives_on_one_line_as_what_it_is() {
        let heard = |said: &Result<(), Refusal>| welcomed(&payload(Answering::welcome(said)));
        let error = heard(&Err(Refusal::Other("it doesn't\nlead".into()))).unwrap_err();
        assert_eq!(error.to_string(), "the peer refuses: it doesn't lead");
        assert_eq!(heard(&Ok(())), Ok(()));
        for said in [Refusal::Taken("left".into()), Refusal::Other("left".into())] {
            let refused = HandshakeError::Refused(said.clone());
            assert_eq!(heard(&Err(said)), Err(refused));
        }
        assert_eq!(welcomed(b"\x03left"), Err(HandshakeError::Stranger));
    }
}
