//! Functions from old forms of state to present ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::compare;
use crate::ids::OperatorUid;
use crate::schema::Schema;
use crate::snapshot::WrittenStates;

/// Makes a value's present form of its old one, both with the names of their fields.
type Migrate = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync;

/// Functions from old forms of state to present ones, by the name of the type, for state of one operator or of all.
#[derive(Clone, Default)]
pub struct Migrations(BTreeMap<(Option<OperatorUid>, String), Vec<Migration>>);

/// A function from one old form to the present one.
#[derive(Clone)]
pub(crate) struct Migration {
    /// The schema of what it takes; one by itself can't be sent.
    pub(super) old: fn() -> Schema,
    /// That of what it gives.
    new: fn() -> Schema,
    migrate: Arc<Migrate>,
}

/// Those for one operator's state, by the type's name; of two for one form the first counts.
pub(crate) type Candidates<'a> = Vec<(&'a str, &'a Migration)>;

/// Those that what was written asks for, by the type's name.
pub(super) type Applying<'a> = BTreeMap<&'a str, &'a Migration>;

/// Names that are shown to whoever has given one that isn't there.
const NAMES_SHOWN: usize = 5;

impl Migration {
    pub(super) fn migrate(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        (self.migrate)(bytes)
    }
}

impl Migrations {
    /// Where a value of the named type was written in the form of `Old`, in one operator's state or in any, `migrate` makes of it what
    /// the program has in its place.
    ///
    /// # Errors
    /// If there is a function for that form already; and if the new form looks as the old one does under the same name: then nothing
    /// could tell which of them was written.
    pub fn add<Old, New>(
        &mut self,
        operator: Option<OperatorUid>,
        type_name: &str,
        migrate: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Result<(), String>
    where
        Old: DeserializeOwned,
        New: Serialize + DeserializeOwned,
    {
        let (old, new) = (Schema::of::<Old>(), Schema::of::<New>());
        let call = call(operator.as_ref(), type_name);
        if new.name() == Some(type_name) && new.is_made_as(&old) {
            return Err(format!(
                "{call}: what was and what is look alike, {new}, and state that was migrated would be once more: give the new \
                 type another name, such as by #[serde(rename = \"..\")]"
            ));
        }
        let change = move |bytes: &[u8]| {
            let old: Old = rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
            rmp_serde::to_vec_named(&migrate(old)).map_err(|error| error.to_string())
        };
        let gives = |new: &Schema, name: &str, old: &Schema| {
            new.name() == Some(name) && new.is_made_as(old)
        };
        let is_chained = |name: &str, other: &Migration| {
            gives(&new, name, &(other.old)()) || gives(&(other.new)(), type_name, &old)
        };
        for ((of, name), functions) in &self.0 {
            // Those of another operator never meet what this one gives.
            let meet = of.is_none() || operator.is_none() || *of == operator;
            if meet && functions.iter().any(|other| is_chained(name, other)) {
                return Err(format!(
                    "{call}: it and the function for {name} would be applied one behind the other, and one is: have both make what \
                     the program has now"
                ));
            }
        }
        let of_name = self.0.entry((operator, type_name.to_owned())).or_default();
        if of_name.iter().any(|other| (other.old)().is_made_as(&old)) {
            return Err(format!(
                "{call}: two functions take {old}: leave one of them out"
            ));
        }
        of_name.push(Migration {
            old: Schema::of::<Old>,
            new: Schema::of::<New>,
            migrate: Arc::new(change),
        });
        Ok(())
    }

    fn functions(&self) -> impl Iterator<Item = (&str, &Migration)> {
        let all = self.0.iter();
        all.flat_map(|((_, name), all)| all.iter().map(|migration| (&**name, migration)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those for an operator's state; one that names it stands before one that doesn't.
    pub(crate) fn of(&self, operator: &OperatorUid) -> Candidates<'_> {
        let of = |wanted: Option<&OperatorUid>| {
            let functions = self.0.iter();
            let own = functions.filter(move |((of, _), _)| of.as_ref() == wanted);
            own.flat_map(|((_, name), all)| all.iter().map(|migration| (&**name, migration)))
                .collect::<Vec<_>>()
        };
        [of(Some(operator)), of(None)].concat()
    }

    /// Refuses functions for types that aren't there, neither as they were nor as they are.
    ///
    /// # Errors
    /// One line that names the function, and what there is.
    pub(crate) fn check(&self, written: &WrittenStates) -> Result<(), String> {
        for ((of, name), functions) in &self.0 {
            let states = written.iter();
            let states = states.filter(|((uid, _), _)| of.as_ref().is_none_or(|of| of == uid));
            let states: Vec<&Schema> = states.flat_map(|(_, schemas)| schemas).collect();
            let names: BTreeSet<String> = states.iter().flat_map(|of| of.names()).collect();
            // What it gives is there, or an older form that becomes the same.
            let named = |function: &Migration| (function.new)().name().map(str::to_owned);
            let is_there = |function: &Migration| {
                named(function).is_some_and(|new| states.iter().any(|of| has(of, &new, function)))
            };
            let new: BTreeSet<String> = functions.iter().filter_map(named).collect();
            let becomes_new = |(older, other): (&str, &Migration)| {
                names.contains(older) && named(other).is_some_and(|name| new.contains(&name))
            };
            if names.contains(name)
                || functions.iter().any(is_there)
                || self.functions().any(becomes_new)
            {
                continue;
            }
            let mut near: Vec<_> = names.iter().map(|n| (distance(name, n), n)).collect();
            near.sort();
            let near = near.iter().take(NAMES_SHOWN);
            let near: Vec<String> = near.map(|(_, name)| format!("\"{name}\"")).collect();
            let state = match of {
                Some(uid) => format!("state of operator \"{uid}\""),
                None => "state".to_owned(),
            };
            let mend = match near.len() {
                0 => "leave it out".to_owned(),
                _ => format!(
                    "name one of those that are there, such as {}",
                    near.join(", ")
                ),
            };
            return Err(format!(
                "{}: no type in {state} of what was written has that name: {mend}",
                call(of.as_ref(), name)
            ));
        }
        Ok(())
    }
}

/// Whether a type of that name is there in what a function gives, or in what is read as that.
fn has(schema: &Schema, name: &str, function: &Migration) -> bool {
    let (form, new) = (schema.of_name(name), (function.new)());
    schema.names().contains(name)
        && compare::value(&form.shape, &new.shape, &Applying::new()).is_ok()
}

/// How a program gives such a function.
fn call(operator: Option<&OperatorUid>, type_name: &str) -> String {
    match operator {
        Some(uid) => format!(".migrate_state_of(\"{uid}\", \"{type_name}\", ..)"),
        None => format!(".migrate(\"{type_name}\", ..)"),
    }
}

/// How many letters are to be put in, taken out or changed to make one name of another.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

impl fmt::Debug for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
