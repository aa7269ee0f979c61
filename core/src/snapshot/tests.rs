//! Snapshots: whole, torn, altered, in pieces.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::codec::{self, CodecError};
use crate::failure::Failure;
use crate::ids::CheckpointId;
use crate::key::KeyGroupRange;
use crate::store::EachPiece;

fn sample() -> (Bytes, u64, Vec<SectionSummary>) {
    let mut builder = SnapshotBuilder::new(CheckpointId(3));
    let section = builder
        .section(&SectionHeader {
            operator: "count".into(),
            state: "rows".into(),
            schema: Some(Schema::of::<u64>()),
            is_rows: true,
        })
        .unwrap();
    builder
        .blob::<u32>(&"source".into(), "splits", &7_u32)
        .unwrap();
    let mut rows = RowFrames::default();
    for hash in [0_u64, u64::MAX / 2, u64::MAX] {
        let encode = |out: &mut Vec<u8>| codec::encode_into(&hash, out);
        rows.row(hash, encode).unwrap();
    }
    rows.seal();
    builder.row_frame(section, &mut rows);
    let end = builder.finish();
    (concat_chunks(end.chunks), end.head, end.sections)
}

#[test]
fn rows_come_back_for_the_key_groups_asked_for() {
    let state = RestoredState::parse(&[sample().0]).unwrap();
    let mut seen = Vec::new();
    let own = Schema::of::<u64>();
    let range = KeyGroupRange {
        start: 64,
        end: 128,
    };
    state
        .rows(&"count".into(), "rows", &own, range, 128, |hash, body| {
            assert_eq!(codec::decode::<u64>(body)?, hash);
            seen.push(hash);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [u64::MAX]);
    let splits: Vec<u32> = state.blobs(&"source".into(), "splits").unwrap();
    assert_eq!(splits, [7]);
}

#[test]
fn a_snapshot_damaged_anywhere_is_refused_and_never_panics() {
    let (whole, ..) = sample();
    for length in 0..whole.len() {
        assert!(RestoredState::parse(&[whole.slice(..length)]).is_err());
    }
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x40;
        assert!(RestoredState::parse(&[bytes.into()]).is_err(), "at {at}");
    }
}

/// A snapshot that comes in pieces of a size.
struct Pieces(Bytes, usize);

impl SnapshotBytes for Pieces {
    fn read(&self, each: EachPiece<'_>) -> Result<(), Failure> {
        self.0.chunks(self.1).try_for_each(each)
    }

    fn damaged(&self, what: CodecError) -> Failure {
        Failure::permanent(what)
    }
}

#[test]
fn rows_that_are_streamed_are_those_that_were_written_whatever_the_pieces() {
    let (whole, head, _) = sample();
    let read = |bytes: Bytes, piece: usize| {
        let mut state = RestoredState::default();
        let bytes: Arc<dyn SnapshotBytes> = Arc::new(Pieces(bytes, piece));
        let head = whole.slice(..head as usize);
        state.add_streamed(&head, &bytes, |_, _| true).unwrap();
        let splits: Vec<u32> = state.blobs(&"source".into(), "splits").unwrap();
        assert_eq!(splits, [7]);
        let (own, mut seen) = (Schema::of::<u64>(), Vec::new());
        let all = KeyGroupRange { start: 0, end: 128 };
        let each = |hash: u64, _: &[u8]| {
            seen.push(hash);
            Ok(())
        };
        let read = state.rows(&"count".into(), "rows", &own, all, 128, each);
        read.map(|()| seen)
    };
    for piece in 1..=whole.len() {
        let rows = read(whole.clone(), piece).unwrap();
        assert_eq!(rows, [0, u64::MAX / 2, u64::MAX], "pieces of {piece}");
    }
    for length in 0..whole.len() {
        assert!(read(whole.slice(..length), 9).is_err(), "torn at {length}");
    }
}

/// A snapshot with rows, and behind them whatever `behind` writes.
fn behind_rows(behind: impl FnOnce(&mut SnapshotBuilder)) -> (Bytes, u64) {
    let mut builder = SnapshotBuilder::new(CheckpointId(3));
    let rows_of = |operator: &str, builder: &mut SnapshotBuilder| {
        let header = SectionHeader {
            operator: operator.into(),
            state: "rows".into(),
            schema: Some(Schema::of::<u64>()),
            is_rows: true,
        };
        let section = builder.section(&header).unwrap();
        let mut rows = RowFrames::default();
        let encode = |out: &mut Vec<u8>| codec::encode_into(&7_u64, out);
        rows.row(7, encode).unwrap();
        rows.seal();
        builder.row_frame(section, &mut rows);
        section
    };
    rows_of("first", &mut builder);
    behind(&mut builder);
    let second = rows_of("second", &mut builder);
    builder.bytes_frame(second, b"last");
    let end = builder.finish();
    (concat_chunks(end.chunks), end.head)
}

#[test]
fn what_stands_behind_rows_is_in_the_head_of_a_streamed_snapshot_whatever_it_is() {
    let (whole, head) = behind_rows(|builder| {
        let section = builder
            .section(&SectionHeader {
                operator: "first".into(),
                state: "elements".into(),
                schema: None,
                is_rows: false,
            })
            .unwrap();
        builder.bytes_frame(section, b"one");
        builder.blob::<u32>(&"first".into(), "own", &7_u32).unwrap();
    });
    for piece in [1, 7, whole.len()] {
        let bytes: Arc<dyn SnapshotBytes> = Arc::new(Pieces(whole.clone(), piece));
        let read = read_head(&*bytes).unwrap();
        for head in [whole.slice(..head as usize), read] {
            let mut state = RestoredState::default();
            state.add_streamed(&head, &bytes, |_, _| true).unwrap();
            let first = "first".into();
            let elements: Vec<&[u8]> = state.frames(&first, "elements").collect();
            assert_eq!(elements, [b"one"]);
            assert_eq!(state.blobs::<u32>(&first, "own").unwrap(), [7]);
            for operator in ["first", "second"] {
                let (own, mut rows) = (Schema::of::<u64>(), 0);
                let all = KeyGroupRange { start: 0, end: 128 };
                let each = |_, _: &[u8]| {
                    rows += 1;
                    Ok(())
                };
                let name = operator.into();
                state.rows(&name, "rows", &own, all, 128, each).unwrap();
                assert_eq!(rows, 1, "rows of {operator} in pieces of {piece}");
            }
        }
    }
    for length in 0..whole.len() {
        assert!(read_head(&Pieces(whole.slice(..length), 9)).is_err());
    }
}

#[test]
fn the_head_of_a_snapshot_holds_the_operators_own_state_and_no_row() {
    let (whole, head, sections) = sample();
    let mut state = RestoredState::default();
    state
        .add(&whole.slice(..head as usize), true, |_, _| true)
        .unwrap();
    let splits: Vec<u32> = state.blobs(&"source".into(), "splits").unwrap();
    assert_eq!(splits, [7]);
    let all = KeyGroupRange { start: 0, end: 128 };
    let none = |_, _: &[u8]| panic!("a row in the head");
    let own = Schema::of::<u64>();
    state
        .rows(&"count".into(), "rows", &own, all, 128, none)
        .unwrap();
    let counted: Vec<_> = sections.iter().map(|s| (&*s.state, s.rows)).collect();
    assert_eq!(counted, [("rows", Some(3)), ("splits", None)]);
    // Torn inside the head, it is refused.
    let torn = state.add(&whole.slice(..head as usize - 1), true, |_, _| true);
    assert!(torn.is_err());
    let mut state = RestoredState::default();
    let counts = |operator: &OperatorUid, _: &str| operator.0 == "count";
    state.add(&whole, false, counts).unwrap();
    assert_eq!(state.operators().collect::<Vec<_>>(), [&"count".into()]);
}

#[test]
fn what_has_no_key_follows_its_type_or_is_refused_as_rows_are() {
    mod before {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub struct Rule {
            pub id: uuid::Uuid,
            pub name: String,
            pub above: u32,
        }
    }
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Rule {
        above: u64,
        id: Uuid,
        #[serde(default)]
        note: String,
    }
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Narrow {
        above: u8,
    }
    let (uid, mut builder) = ("rules".into(), SnapshotBuilder::new(CheckpointId(3)));
    for above in [7, 8] {
        let (id, name) = (Uuid::from_u128(above.into()), "a rule".to_owned());
        let rules = vec![before::Rule { id, name, above }];
        builder
            .blob::<Vec<before::Rule>>(&uid, "broadcast", &rules)
            .unwrap();
    }
    let end = builder.finish();
    assert_eq!(end.sections.len(), 1, "one schema is enough for both");
    let state = RestoredState::parse(&[concat_chunks(end.chunks)]).unwrap();
    let seen = state.states().unwrap();
    let seen: Vec<_> = seen
        .iter()
        .map(|s| (s.schemas[0].to_string(), s.rows))
        .collect();
    // What serde can't tell, it can't tell of that part only.
    let known = "[Rule { id: Uuid, name: String, above: u32 }]";
    assert_eq!(seen, [(known.to_owned(), None)]);
    let rule = |above: u64| {
        let (id, note) = (Uuid::from_u128(above.into()), String::new());
        vec![Rule { above, id, note }]
    };
    let read: Vec<Vec<Rule>> = state.blobs(&uid, "broadcast").unwrap();
    assert_eq!(read, [rule(7), rule(8)]);
    let refused = state.blobs::<Vec<Narrow>>(&uid, "broadcast").unwrap_err();
    assert_eq!(
        refused.message,
        "state \"broadcast\" of operator rules: field \"above\" of Rule was u32 and is u8; give an env.migrate(..) from what it \
         was, or let the state go by .drop_state_of(\"rules\")"
    );
}
