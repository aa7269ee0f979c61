//! The wire by itself: what comes in pieces, who is let in, who is dropped.

#[path = "../../../state/tests/suite/certificates.rs"]
mod certificates;
mod frames;
mod live;
mod tls;
