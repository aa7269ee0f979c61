//! The wire by itself: what comes in pieces, who is let in, who is dropped.

mod frames;
mod live;
