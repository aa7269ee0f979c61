//! Frames from outside, in pieces of any size, sensible or not.

use proptest::prelude::*;
use rivus_wire::{Answering, Dialing, Frame, FrameDecoder, Listening, Secret, welcomed};

const LIMIT: usize = 1_000;

proptest! {
    #[test]
    fn what_is_sent_arrives_however_it_is_cut(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        cuts in prop::collection::vec(1_usize..50, 1..20),
    ) {
        let sent = payloads.iter().map(|payload| Frame::of(payload).sealed(LIMIT).unwrap());
        let wire: Vec<u8> = sent.flatten().collect();
        let mut decoder = FrameDecoder::new(LIMIT);
        let mut arrived = Vec::new();
        let (mut rest, mut cuts) = (&wire[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            rest = after;
            decoder.buffer().extend_from_slice(piece);
            while let Some(payload) = decoder.next_frame().unwrap() {
                arrived.push(payload.to_vec());
            }
        }
        prop_assert_eq!(arrived, payloads);
    }

    #[test]
    fn nonsense_is_refused_and_costs_no_memory(nonsense in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let mut decoder = FrameDecoder::new(LIMIT);
        decoder.buffer().extend_from_slice(&nonsense);
        while let Ok(Some(payload)) = decoder.next_frame() {
            prop_assert!(payload.len() <= LIMIT);
        }
        prop_assert!(decoder.buffer().capacity() <= nonsense.len() + LIMIT + 100);
    }

    #[test]
    fn nobody_is_let_in_by_nonsense(nonsense in prop::collection::vec(any::<u8>(), 0..200)) {
        let secret = Secret::new(b"secret");
        let hello = Listening::new(&secret, 1).on_hello(&nonsense);
        prop_assert!(hello.is_err());
        let (dialing, hello) = Dialing::begin(&secret, 2, b"about");
        prop_assert!(dialing.on_challenge(&nonsense).is_err());
        let hello = hello.sealed(LIMIT).unwrap();
        let (answering, _): (Answering, _) = Listening::new(&secret, 3).on_hello(&hello[4..]).unwrap();
        prop_assert!(answering.on_proof(&nonsense).is_err());
        prop_assert!(welcomed(&nonsense).is_err() || nonsense == [0]);
    }
}

#[test]
fn a_frame_over_the_limit_is_neither_sent_nor_taken() {
    let error = Frame::of(&[7; 11]).sealed(10).unwrap_err();
    assert!(error.to_string().contains("11 bytes, where 10 is the most"));
    let mut decoder = FrameDecoder::new(10);
    let wire = Frame::of(&[7; 11]).sealed(11).unwrap();
    decoder.buffer().extend_from_slice(&wire[..4]);
    assert_eq!(decoder.next_frame(), Err(error));
}
