//! What was read of snapshots, by operator and state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::SectionHeader;
use super::frame::{FRAME_HEADER, Frame, FrameKind, check_beginning};
use super::rows::split_row;
use super::streamed::{SnapshotBytes, read_rows};
use crate::codec::{self, CodecError};
use crate::evolution::{Evolution, Migrations};
use crate::failure::Failure;
use crate::ids::OperatorUid;
use crate::job::is_of_channels;
use crate::key::{KeyGroup, KeyGroupRange};
use crate::schema::Schema;
use crate::store::StoreImage;

/// The state that an attempt starts from: the snapshots it was given, checked and taken apart.
#[derive(Default)]
pub struct RestoredState {
    /// From old forms of state to those that the program has.
    pub migrations: Migrations,
    /// Whether all that the snapshots allow to be committed has been.
    pub committed: bool,
    sections: BTreeMap<(OperatorUid, String), Vec<RestoredSection>>,
    images: BTreeMap<OperatorUid, Arc<dyn StoreImage>>,
}

/// Rows that lie in files of a store.
pub(crate) struct StoredRows<'a> {
    /// How many.
    pub(crate) rows: u64,
    /// What their orders follow from beside them.
    pub(crate) basis: &'a str,
    /// The files; none if the checkpoint doesn't name them.
    pub(crate) image: Option<&'a Arc<dyn StoreImage>>,
    /// What to do with each row, if its type was another.
    pub(crate) evolution: Option<Evolution<'a>>,
}

/// One state in what was read of snapshots.
#[derive(Debug)]
pub struct StateView<'a> {
    /// Whose state.
    pub operator: &'a OperatorUid,
    /// Which of its states.
    pub state: &'a str,
    /// What it looks like, by each snapshot that has it.
    pub schemas: Vec<&'a Schema>,
    /// Rows that were read.
    pub rows: Option<u64>,
}

struct RestoredSection {
    schema: Option<Schema>,
    is_rows: bool,
    frames: Vec<Bytes>,
    /// Its number in a snapshot that is read when its rows are needed.
    streamed: Option<(Arc<dyn SnapshotBytes>, usize)>,
    /// Rows that lie in files, and what their orders follow from beside them.
    stored: Option<(u64, String)>,
    /// Whether anybody has asked for it.
    taken: AtomicBool,
}

impl RestoredSection {
    /// Hands its rows on, many at a time.
    fn rows(&self, mut each: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        match &self.streamed {
            Some((snapshot, number)) => read_rows(&**snapshot, *number, each),
            None => self.frames.iter().try_for_each(|frame| each(frame)),
        }
    }
}

impl RestoredState {
    /// Takes whole snapshots apart.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] says which part of a snapshot is torn or altered.
    pub fn parse(snapshots: &[Bytes]) -> Result<Self, CodecError> {
        let mut state = Self::default();
        for snapshot in snapshots {
            state.add(snapshot, false, |_, _| true)?;
        }
        Ok(state)
    }

    /// Takes one more snapshot apart, or the head of one: what stands before its first row. Of its sections it keeps those
    /// that are wanted.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] says which part of it is torn or altered.
    pub fn add(
        &mut self,
        snapshot: &Bytes,
        head_only: bool,
        wanted: impl Fn(&OperatorUid, &str) -> bool,
    ) -> Result<(), CodecError> {
        self.add_sections(snapshot, head_only, None, wanted)
    }

    /// Takes a snapshot's head apart, as [`add`](Self::add) does. Its rows are read when somebody takes them.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] says which part of the head is torn or altered.
    pub fn add_streamed(
        &mut self,
        head: &Bytes,
        snapshot: &Arc<dyn SnapshotBytes>,
        wanted: impl Fn(&OperatorUid, &str) -> bool,
    ) -> Result<(), CodecError> {
        self.add_sections(head, true, Some(snapshot), wanted)
    }

    fn add_sections(
        &mut self,
        snapshot: &Bytes,
        head_only: bool,
        rest: Option<&Arc<dyn SnapshotBytes>>,
        wanted: impl Fn(&OperatorUid, &str) -> bool,
    ) -> Result<(), CodecError> {
        let damaged = |what| Err(CodecError::Damaged { what });
        let mut at = check_beginning(snapshot)?;
        let mut open: Vec<((OperatorUid, String), RestoredSection)> = Vec::new();
        loop {
            if head_only && at == snapshot.len() {
                break;
            }
            let Some(frame) = Frame::begin(&snapshot[at..]) else {
                return damaged("a snapshot's end; it is torn");
            };
            at += FRAME_HEADER;
            if snapshot.len() - at < frame.length() {
                return damaged("a snapshot's frame; it is torn");
            }
            let payload = snapshot.slice(at..at + frame.length());
            at += frame.length();
            frame.check(&payload)?;
            match frame.kind()? {
                FrameKind::End => break,
                FrameKind::Section => {
                    let header: SectionHeader = codec::decode(&payload)?;
                    let streamed = rest.map(|rest| (Arc::clone(rest), open.len()));
                    let section = RestoredSection {
                        schema: header.schema,
                        is_rows: header.is_rows,
                        frames: Vec::new(),
                        streamed,
                        stored: None,
                        taken: AtomicBool::new(false),
                    };
                    open.push(((header.operator, header.state), section));
                }
                FrameKind::Stored => {
                    let rows = payload.split_first_chunk::<8>();
                    match (open.get_mut(frame.section()), rows) {
                        (Some((_, section)), Some((rows, basis))) => {
                            let basis = String::from_utf8_lossy(basis).into_owned();
                            section.stored = Some((u64::from_le_bytes(*rows), basis));
                        }
                        _ => return damaged("a snapshot's frame; its rows were never counted"),
                    }
                }
                FrameKind::Rows | FrameKind::Blob => match open.get_mut(frame.section()) {
                    Some((_, section)) => section.frames.push(payload),
                    None => return damaged("a snapshot's frame; its section was never opened"),
                },
            }
        }
        let wanted = open
            .into_iter()
            .filter(|((operator, state), _)| wanted(operator, state));
        for (name, section) in wanted {
            self.sections.entry(name).or_default().push(section);
        }
        Ok(())
    }

    fn sections(&self, operator: &OperatorUid, state: &str) -> &[RestoredSection] {
        let sections = self.sections.get(&(operator.clone(), state.to_owned()));
        let sections = sections.map_or(&[][..], Vec::as_slice);
        for section in sections {
            section.taken.store(true, Relaxed);
        }
        sections
    }

    /// An operator's state that nobody has asked for, if there is one: its operator, and its name.
    pub fn untaken(&self) -> Option<(&OperatorUid, &str)> {
        let is_untaken = |section: &RestoredSection| !section.taken.load(Relaxed);
        self.sections
            .iter()
            .filter(|((_, state), _)| !is_of_channels(state))
            .find(|(_, sections)| sections.iter().any(is_untaken))
            .map(|((operator, state), _)| (operator, &**state))
    }

    /// Calls `each` with the hash and body of every row whose key group is in `range`. Rows of another schema than `own`
    /// are written anew, with the names of their fields.
    ///
    /// # Errors
    /// If a row is torn, or its schema is one that can't be read; and whatever `each` returns.
    pub fn rows(
        &self,
        operator: &OperatorUid,
        state: &str,
        own: &Schema,
        range: KeyGroupRange,
        max_parallelism: u32,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for section in self.sections(operator, state) {
            let evolution = self.evolution(operator, state, section, own)?;
            let mut each = |hash: u64, body: &[u8]| match &evolution {
                None => each(hash, body),
                Some(evolution) => evolve(evolution, operator, state, body, |row| each(hash, row)),
            };
            section.rows(|frame| {
                let mut rest = frame;
                while !rest.is_empty() {
                    let (hash, body, after) = split_row(rest)?;
                    if range.contains(KeyGroup::of(hash, max_parallelism)) {
                        each(hash, body)?;
                    }
                    rest = after;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Rows of a state that lie in files, if they do.
    ///
    /// # Errors
    /// If their schema is one that can't be read.
    pub(crate) fn stored(
        &self,
        operator: &OperatorUid,
        state: &str,
        own: &Schema,
    ) -> Result<Option<StoredRows<'_>>, Failure> {
        for section in self.sections(operator, state) {
            if let Some((rows, basis)) = &section.stored {
                return Ok(Some(StoredRows {
                    rows: *rows,
                    basis,
                    image: self.images.get(operator),
                    evolution: self.evolution(operator, state, section, own)?,
                }));
            }
        }
        Ok(None)
    }

    /// Adds the files in which an operator's rows lie.
    pub fn add_image(&mut self, operator: OperatorUid, image: Arc<dyn StoreImage>) {
        self.images.insert(operator, image);
    }

    /// What is to be done with rows of a section that were of another type.
    fn evolution<'a>(
        &'a self,
        operator: &OperatorUid,
        state: &str,
        section: &'a RestoredSection,
        own: &Schema,
    ) -> Result<Option<Evolution<'a>>, Failure> {
        let Some(written) = &section.schema else {
            return Ok(None);
        };
        Evolution::of_rows(written, own, self.migrations.of(operator))
            .map_err(|what| refused(operator, state, &what, MIGRATE))
    }

    /// What an operator has kept without a key, in the order in which it was written. Where its type was another one, it is
    /// written anew, with the names of its fields.
    ///
    /// # Errors
    /// If something can't be read as a `T`: no restart can mend that.
    pub fn blobs<T: DeserializeOwned + 'static>(
        &self,
        operator: &OperatorUid,
        state: &str,
    ) -> Result<Vec<T>, Failure> {
        let sections = self.sections(operator, state);
        if sections.is_empty() {
            return Ok(Vec::new());
        }
        let own = Schema::known_of::<T>();
        let mut blobs = Vec::new();
        for section in sections {
            let evolution = match &section.schema {
                Some(written) => Evolution::of_value(written, &own, self.migrations.of(operator))
                    .map_err(|what| refused(operator, state, &what, MIGRATE))?,
                None => None,
            };
            for frame in &section.frames {
                blobs.push(match &evolution {
                    None => codec::decode(frame).map_err(|error| {
                        let (own, why) = (std::any::type_name::<T>(), Failure::from(error).message);
                        let what = format!("it can't be read as {own} ({why})");
                        refused(
                            operator,
                            state,
                            &what,
                            "go on with the program that wrote it",
                        )
                    })?,
                    Some(evolution) => {
                        let decoded = evolution.value(frame).and_then(|bytes| {
                            codec::decode(&bytes).map_err(|error| Failure::from(error).message)
                        });
                        decoded.map_err(|what| refused(operator, state, &what, NEW_FIELDS))?
                    }
                });
            }
        }
        Ok(blobs)
    }

    /// The frames of a section that only their owner understands, in order.
    pub fn frames(&self, operator: &OperatorUid, state: &str) -> impl Iterator<Item = &[u8]> {
        let sections = self.sections(operator, state).iter();
        sections
            .flat_map(|section| &section.frames)
            .map(|frame| &frame[..])
    }

    /// Every state here: its operator, its name, the schemas that it was written with, and its rows, each looked at; no
    /// number where it has no key.
    ///
    /// # Errors
    /// If a row is torn, or rows that are streamed can't be read.
    pub fn states(&self) -> Result<Vec<StateView<'_>>, Failure> {
        let mut states = Vec::new();
        for ((operator, state), sections) in &self.sections {
            let mut rows = 0;
            for section in sections.iter().filter(|section| section.is_rows) {
                section.rows(|frame| {
                    let mut rest = frame;
                    while !rest.is_empty() {
                        rest = split_row(rest)?.2;
                        rows += 1;
                    }
                    Ok(())
                })?;
            }
            let schemas: Vec<&Schema> = sections
                .iter()
                .filter_map(|section| section.schema.as_ref())
                .collect();
            states.push(StateView {
                operator,
                state,
                rows: sections
                    .iter()
                    .any(|section| section.is_rows)
                    .then_some(rows),
                schemas,
            });
        }
        Ok(states)
    }

    /// Uids of all operators that have state here.
    pub fn operators(&self) -> impl Iterator<Item = &OperatorUid> {
        self.sections.keys().map(|(operator, _)| operator)
    }
}

/// Hands a row of another type on, written anew.
pub(crate) fn evolve(
    evolution: &Evolution<'_>,
    operator: &OperatorUid,
    state: &str,
    row: &[u8],
    each: impl FnOnce(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let evolved = evolution.row(row);
    let taken = evolved.and_then(|row| each(&row).map_err(|failure| failure.message));
    taken.map_err(|what| refused(operator, state, &what, NEW_FIELDS))
}

/// What to do about a type that was another one.
pub(super) const MIGRATE: &str = "give an env.migrate(..) from what it was";

/// What to do about something that isn't read as it was written anew.
const NEW_FIELDS: &str =
    "give a new field #[serde(default)], or an env.migrate(..) from what it was";

/// State that can't be read, in one line.
pub(super) fn refused(operator: &OperatorUid, state: &str, what: &str, mend: &str) -> Failure {
    Failure::job(format!(
        "state \"{state}\" of operator {operator}: {what}; {mend}, or let the state go by .drop_state_of(\"{operator}\")"
    ))
}
