//! Functions from old forms of state to present ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::OperatorUid;
use crate::schema::Schema;

/// Makes a value's present form of its old one, both with the names of their fields.
type Migrate = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync;

/// Functions from old forms of state to present ones, by the name of the type, for state of one operator or of all.
#[derive(Clone, Default)]
pub struct Migrations(BTreeMap<(Option<OperatorUid>, String), Arc<Migrate>>);

/// Those for one operator's state.
pub(crate) type Applying<'a> = BTreeMap<&'a str, &'a Migrate>;

/// Names that are shown to whoever has given one that isn't there.
const NAMES_SHOWN: usize = 5;

impl Migrations {
    /// Where a value of the named type was written in another form than the program's type of that name has, in one operator's
    /// state or in any, it is read as `Old`, and `migrate` makes of it what the program has in its place.
    ///
    /// # Errors
    /// If both forms look alike: then nothing could tell which of them was written.
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
        let forms = (Schema::of::<Old>(), Schema::of::<New>());
        if forms.0.reads_as(&forms.1) {
            return Err(format!(
                "{}: what was and what is look alike, {}, and state that was migrated would be once more: give the new type \
                 another name, such as by #[serde(rename = \"..\")]",
                call(operator.as_ref(), type_name),
                forms.1
            ));
        }
        let change = move |bytes: &[u8]| {
            let old: Old = rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
            rmp_serde::to_vec_named(&migrate(old)).map_err(|error| error.to_string())
        };
        let name = type_name.to_owned();
        self.0.insert((operator, name), Arc::new(change));
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those for an operator's state; one that names it goes before one that doesn't.
    pub(crate) fn of(&self, operator: &OperatorUid) -> Applying<'_> {
        let functions = self.0.iter();
        let own = functions.filter(|((of, _), _)| of.is_none() || of.as_ref() == Some(operator));
        own.map(|((_, name), migrate)| (&**name, &**migrate))
            .collect()
    }

    /// Refuses functions for types that aren't there; `named` are those with names in each operator's state.
    ///
    /// # Errors
    /// One line that names the function, and what there is.
    pub fn check(&self, named: &BTreeMap<OperatorUid, BTreeSet<String>>) -> Result<(), String> {
        for (of, name) in self.0.keys() {
            let states = named.iter();
            let states = states.filter(|(uid, _)| of.as_ref().is_none_or(|of| of == *uid));
            let names: BTreeSet<&String> = states.flat_map(|(_, names)| names).collect();
            if names.contains(name) {
                continue;
            }
            let mut near: Vec<_> = names.into_iter().map(|n| (distance(name, n), n)).collect();
            near.sort();
            let near = near.iter().take(NAMES_SHOWN);
            let near: Vec<String> = near.map(|(_, name)| format!("\"{name}\"")).collect();
            let (call, state) = match of {
                Some(uid) => (
                    call(of.as_ref(), name),
                    format!("state of operator \"{uid}\""),
                ),
                None => (call(None, name), "state".to_owned()),
            };
            let mend = match near.len() {
                0 => "leave it out".to_owned(),
                _ => format!(
                    "name one of those that are there, such as {}",
                    near.join(", ")
                ),
            };
            return Err(format!(
                "{call}: no type in {state} of the savepoint has that name: {mend}"
            ));
        }
        Ok(())
    }
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
