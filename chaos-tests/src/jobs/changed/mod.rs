//! Jobs that go on as another version of their program. Whatever the shape, two operators with state stand beside it, and read what
//! it reads:
//!
//! | | the earlier version | the later one |
//! |---|---|---|
//! | `gone`, `new` | `gone` numbers each key's records | `new` does |
//! | `kept` | says how many there were, in all and of each kind | the same, from state of another form |
//!
//! So what `gone` and `new` say of a key are its records, each once: the numbers begin anew where the job was stopped.

mod forms;

use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use rivus::{
    DataStream, Event, Keyed, KeyedProcessFunction, Output, SideOutputTag, StreamEnvironment,
    UserError, ValueState,
};

use self::forms::{Counts, earlier, fields, inside, kind, whole};
use super::functions::{Line, fold};
use super::records::Reading;
use super::shelf::Shelf;
use super::world::World;

/// Uid of the operator whose state takes another form.
const KEPT: &str = "kept";

/// Uids of the operator that the later version has no more, and of its sink.
const GONE: [&str; 2] = ["gone", "gone out"];

/// Uids of the operator that only the later version has, and of its sink.
const NEW: [&str; 2] = ["new", "new out"];

/// What is another about the state that the later version keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Fields have come and gone, and numbers have grown wider.
    Fields,
    /// There is a function for a type that stands inside.
    Inside,
    /// There is a function for the whole.
    Whole,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fields, Self::Inside, Self::Whole];
}

/// Which version of a program a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The only one.
    Only,
    /// The one that another comes after.
    Earlier,
    /// That one.
    Later(Change),
}

/// What is in a job's world for the sake of other versions.
pub(super) struct Versions {
    now: Mutex<Version>,
    pub(super) kept: Shelf<Line>,
    pub(super) gone: Shelf<Line>,
    pub(super) new: Shelf<Line>,
}

/// What operators have committed that are there for the sake of other versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versioned {
    /// The one that all versions have.
    pub kept: Vec<Line>,
    /// The earlier version's.
    pub gone: Vec<Line>,
    /// The later version's.
    pub new: Vec<Line>,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            now: Mutex::new(Version::Only),
            kept: Shelf::default(),
            gone: Shelf::default(),
            new: Shelf::default(),
        }
    }
}

impl Versions {
    fn now(&self) -> Version {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn committed(&self) -> Option<Versioned> {
        (self.now() != Version::Only).then(|| Versioned {
            kept: self.kept.values(),
            gone: self.gone.values(),
            new: self.new.values(),
        })
    }
}

impl World {
    /// From now on the job is built as this version of its program.
    pub fn become_version(&self, version: Version) {
        let now = &self.versions.now;
        *now.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// Operators whose state the present version lets go.
    pub fn dropped(&self) -> &'static [&'static str] {
        match self.versions.now() {
            Version::Later(_) => &GONE,
            Version::Only | Version::Earlier => &[],
        }
    }

    /// Writes what the present version has beside the job's shape.
    pub(super) fn write_version(&self, env: &StreamEnvironment, readings: &DataStream<Reading>) {
        let Versions { gone, new, .. } = &self.versions;
        match self.versions.now() {
            Version::Only => {}
            Version::Earlier => {
                let numbered = self.numbered(readings, GONE, gone);
                self.counted::<earlier::Kept>(&numbered);
            }
            Version::Later(Change::Fields) => {
                self.counted::<fields::Kept>(readings);
                let _ = self.numbered(readings, NEW, new);
            }
            Version::Later(Change::Inside) => {
                let numbered = self.numbered(readings, NEW, new);
                self.counted::<inside::Kept>(&numbered);
                env.migrate("Seen", inside::seen);
            }
            Version::Later(Change::Whole) => {
                let numbered = self.numbered(readings, NEW, new);
                self.counted::<whole::Kept>(&numbered);
                env.migrate_state_of(KEPT, "Kept", whole::kept);
            }
        }
    }

    /// Records that have been numbered by key: they themselves.
    fn numbered(
        &self,
        readings: &DataStream<Reading>,
        [uid, out]: [&str; 2],
        shelf: &Shelf<Line>,
    ) -> DataStream<Reading> {
        let numbers = SideOutputTag::new("numbers");
        let numbered = readings
            .key_by(|reading| reading.key)
            .process(Numbering(numbers.clone()))
            .uid(uid)
            .parallelism(self.wide());
        let numbers = numbered.side_output(&numbers);
        let numbers = numbers.sink_to(shelf.sink()).uid(out);
        let _ = numbers.parallelism(self.wide());
        numbered
    }

    fn counted<S: Counts>(&self, readings: &DataStream<Reading>) {
        let counted = readings
            .key_by(|reading| reading.key)
            .process(Counting::<S>::default())
            .uid(KEPT)
            .parallelism(self.wide());
        let counted = counted.sink_to(self.versions.kept.sink()).uid("kept out");
        let _ = counted.parallelism(self.wide());
    }
}

/// Numbers each key's records, and lets them pass.
#[derive(Clone)]
struct Numbering(SideOutputTag<Line>);

impl KeyedProcessFunction<u64, Reading> for Numbering {
    type Out = Reading;
    type State = ValueState<u64>;

    fn process(
        &mut self,
        event: Event<Reading>,
        number: &mut Keyed<'_, u64, ValueState<u64>>,
        out: &mut Output<'_, Reading>,
    ) -> Result<(), UserError> {
        *number.get_or_default() += 1;
        let number = number.get().copied().unwrap_or_default();
        out.side(&self.0, numbered_line(number, &event.value));
        out.emit(event.value);
        Ok(())
    }
}

fn numbered_line(number: u64, reading: &Reading) -> Line {
    (
        reading.key.to_string(),
        format!("{number}: record {}", reading.id),
    )
}

/// Says what there is so far.
struct Counting<S>(PhantomData<fn() -> S>);

impl<S> Default for Counting<S> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<S> Clone for Counting<S> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<S: Counts> KeyedProcessFunction<u64, Reading> for Counting<S> {
    type Out = Line;
    type State = S;

    fn process(
        &mut self,
        event: Event<Reading>,
        state: &mut Keyed<'_, u64, S>,
        out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        let (count, of_kind) = state.count(&event.value)?;
        out.emit(counted_line(count, of_kind, &event.value));
        Ok(())
    }
}

fn counted_line(count: u64, (times, folded): (u64, u64), reading: &Reading) -> Line {
    (
        reading.key.to_string(),
        format!(
            "{count} with {}, {times} of its kind: {folded:x}",
            reading.id
        ),
    )
}

/// What all versions say of a key's records together, made without them. `gone` has numbered so many before the job was stopped.
pub fn versioned(readings: &[&Reading], gone: usize) -> Versioned {
    let mut said = Versioned::default();
    let mut kinds = [(0, 0); 3];
    for (count, reading) in (1..).zip(readings) {
        let (times, folded) = &mut kinds[kind(reading) as usize];
        *times += 1;
        *folded = fold(*folded, reading);
        said.kept
            .push(counted_line(count, (*times, *folded), reading));
        match count.checked_sub(gone as u64) {
            None | Some(0) => said.gone.push(numbered_line(count, reading)),
            Some(number) => said.new.push(numbered_line(number, reading)),
        }
    }
    said
}
