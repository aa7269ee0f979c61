//! What an operator keeps as the program has it, to be compared with what was written before any of that is read.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::restored::{MIGRATE, refused};
use crate::evolution::{Evolution, Migrations};
use crate::ids::OperatorUid;
use crate::schema::Schema;

/// The forms in which each operator's states were written, by their names.
pub type WrittenStates = BTreeMap<(OperatorUid, String), Vec<Schema>>;

/// One of an operator's states, and the type that the program has for it.
///
/// ```
/// use rivus_core::StateType;
///
/// let counts = StateType::of_rows::<String, u64>("rows");
/// assert_eq!(counts.name(), "rows");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct StateType {
    name: &'static str,
    schema: fn() -> Schema,
    is_rows: bool,
}

impl StateType {
    /// Of rows by key.
    pub fn of_rows<K: DeserializeOwned, V: DeserializeOwned>(name: &'static str) -> Self {
        Self {
            name,
            schema: Schema::of_rows::<K, V>,
            is_rows: true,
        }
    }

    /// Of what is kept without a key.
    pub fn of<T: DeserializeOwned + 'static>(name: &'static str) -> Self {
        Self {
            name,
            schema: Schema::known_of::<T>,
            is_rows: false,
        }
    }

    /// Its name within the operator.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Refuses a form that can't be read as this type.
    ///
    /// # Errors
    /// The line that a restore would fail with.
    pub fn check(
        &self,
        operator: &OperatorUid,
        written: &Schema,
        migrations: &Migrations,
    ) -> Result<(), String> {
        let (own, candidates) = ((self.schema)(), migrations.of(operator));
        let way = match self.is_rows {
            true => Evolution::of_rows(written, &own, candidates),
            false => Evolution::of_value(written, &own, candidates),
        };
        way.map(drop)
            .map_err(|what| refused(operator, self.name, &what, MIGRATE).message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_as_the_type_passes_and_the_rest_is_refused_in_one_line() {
        let check = |own: StateType, written: Schema| {
            own.check(&"counts".into(), &written, &Migrations::default())
        };
        let rows = StateType::of_rows::<String, u64>("rows");
        assert_eq!(check(rows, Schema::of_rows::<String, u64>()), Ok(()));
        assert_eq!(check(rows, Schema::of_rows::<String, u32>()), Ok(()));
        assert_eq!(
            check(rows, Schema::of_rows::<u64, u64>()).unwrap_err(),
            "state \"rows\" of operator counts: its key was u64 and is String, and state is found by its key; give an env.migrate(..) \
             from what it was, or let the state go by .drop_state_of(\"counts\")"
        );
        let items = StateType::of::<Vec<bool>>("items");
        assert_eq!(check(items, Schema::of::<Vec<bool>>()), Ok(()));
        let refused = check(items, Schema::of::<Vec<String>>()).unwrap_err();
        assert!(
            refused.starts_with("state \"items\" of operator counts: it was String and is bool"),
            "{refused}"
        );
    }
}
