//! Questions about state, asked from outside while a job runs and answered between two turns.
//!
//! The key's whole state is a row, and a row is a struct of named states: one of them is cut out of the row as it is encoded,
//! by its place in the row's [`Schema`]. So no operator knows anything of names.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::event::Timestamp;
use crate::ids::OperatorUid;
use crate::key::{Key, key_hash};
use crate::schema::Schema;

/// Of what is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// All of a key's state.
    Row,
    /// One state of a key's, by its name.
    Field(String),
    /// A key's timers.
    Timers,
    /// The copy of broadcast state that a subtask has; it is asked for without a key.
    Broadcast,
    /// The items of a subtask's operator state; they are asked for without a key.
    Items,
}

/// Asks an operator for state.
#[derive(Debug, Clone)]
pub struct StateQuery {
    /// Whose state.
    pub operator: OperatorUid,
    /// Which.
    pub asked: Asked,
    /// The key's hash, which says who owns it.
    pub hash: u64,
    /// The key, as MessagePack.
    pub key: Vec<u8>,
    /// The Rust type that the state is taken to be.
    pub type_name: String,
    /// Its [`Schema`], as MessagePack.
    pub schema: Vec<u8>,
}

/// The timers of a key, earliest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyTimers {
    /// By event time.
    pub event: Vec<Timestamp>,
    /// By processing time.
    pub processing: Vec<Timestamp>,
}

/// Cuts what was asked for out of a state that has been encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Cut {
    /// The field's place; none for all of it.
    field: Option<usize>,
}

impl Cut {
    /// The bytes of what was asked for.
    ///
    /// # Errors
    /// If these are not the bytes of such a state.
    pub fn out_of(self, encoded: Vec<u8>) -> Result<Vec<u8>, CodecError> {
        let Some(field) = self.field else {
            return Ok(encoded);
        };
        let mut rest = codec::skip_array_header(&encoded)?;
        for _ in 0..field {
            codec::decode_prefix::<IgnoredAny>(&mut rest)?;
        }
        let mut behind = rest;
        codec::decode_prefix::<IgnoredAny>(&mut behind)?;
        Ok(rest[..rest.len() - behind.len()].to_vec())
    }
}

/// What an operator says to a [`StateQuery`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateAnswer {
    /// The key's state, as MessagePack.
    Found(Vec<u8>),
    /// The key has none.
    Missing,
    /// The question doesn't fit the state: one line that says why.
    Refused(String),
}

impl StateQuery {
    /// Asks for the state of a key, taken to be an `S`.
    ///
    /// ```
    /// use rivus_core::{OperatorUid, StateQuery};
    ///
    /// let query = StateQuery::new::<str, u64>(OperatorUid("counts".into()), "ann")?;
    /// assert!(query.key::<String>().is_ok());
    /// assert!(query.key::<u32>().is_err());
    /// assert!(query.wants::<u64>().is_ok());
    /// assert_eq!(query.wants::<String>().unwrap_err(), "the state is String, not u64: ask for that");
    /// # Ok::<(), rivus_core::CodecError>(())
    /// ```
    ///
    /// # Errors
    /// If the key can't be encoded.
    pub fn new<K, S>(operator: OperatorUid, key: &K) -> Result<Self, CodecError>
    where
        K: Serialize + ?Sized,
        S: DeserializeOwned,
    {
        Ok(Self {
            operator,
            asked: Asked::Row,
            hash: key_hash(key),
            key: codec::encode(key)?,
            type_name: std::any::type_name::<S>().to_owned(),
            schema: codec::encode(&Schema::of::<S>())?,
        })
    }

    /// Asks for the copy of broadcast state that the first subtask has, taken to be an `S`.
    ///
    /// # Errors
    /// If the question can't be encoded.
    pub fn of_broadcast<S: DeserializeOwned>(operator: OperatorUid) -> Result<Self, CodecError> {
        let query = Self::new::<(), S>(operator, &())?;
        Ok(Self {
            asked: Asked::Broadcast,
            // Of the first key group, which is the first subtask's.
            hash: 0,
            ..query
        })
    }

    /// Asks for the items of operator state that a subtask has, each taken to be an `S`.
    ///
    /// # Errors
    /// If the question can't be encoded.
    pub fn of_items<S: DeserializeOwned>(operator: OperatorUid) -> Result<Self, CodecError> {
        Ok(Self::new::<(), S>(operator, &())?.asking(Asked::Items))
    }

    /// Asks for something else of the key.
    #[must_use]
    pub fn asking(mut self, asked: Asked) -> Self {
        self.asked = asked;
        self
    }

    /// The key, if it is a `K`: one that reads as such but hashes differently was another type.
    ///
    /// # Errors
    /// One line that says what keys are.
    pub fn key<K: Key>(&self) -> Result<K, String> {
        let key = codec::decode::<K>(&self.key).ok();
        key.filter(|key| key_hash(key) == self.hash).ok_or_else(|| {
            let keys = std::any::type_name::<K>();
            format!("its keys are {keys}, and this is none: ask with such a key")
        })
    }

    /// How to cut what was asked for out of an `S`. Refuses to show it to whoever takes it for something else.
    ///
    /// # Errors
    /// One line that names both.
    pub fn wants<S: DeserializeOwned + 'static>(&self) -> Result<Cut, String> {
        let whole = Cut { field: None };
        let (schema, cut) = match &self.asked {
            // The usual case; to look into a type costs more.
            Asked::Row | Asked::Broadcast | Asked::Items
                if self.type_name == std::any::type_name::<S>() =>
            {
                return Ok(whole);
            }
            Asked::Field(name) => {
                let (place, field) = Schema::known_of::<S>().field(name)?;
                (field, Cut { field: Some(place) })
            }
            _ => (Schema::known_of::<S>(), whole),
        };
        let asked: Schema = codec::decode(&self.schema).map_err(|error| error.to_string())?;
        if schema.reads_as(&asked) {
            return Ok(cut);
        }
        Err(format!("the state is {schema}, not {asked}: ask for that"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Visit {
        pages: Vec<String>,
        times: u32,
        by_hour: BTreeMap<u8, Hour>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Hour {
        times: u32,
    }

    fn asks<S: DeserializeOwned>(name: &str) -> StateQuery {
        let query = StateQuery::new::<str, S>(OperatorUid("visits".into()), "ann").unwrap();
        query.asking(Asked::Field(name.to_owned()))
    }

    #[test]
    fn a_state_is_cut_out_of_its_row_by_name() {
        let visit = Visit {
            pages: vec!["/".into(), "/about".into()],
            times: 70_000,
            by_hour: BTreeMap::from([(7, Hour { times: 2 })]),
        };
        let row = codec::encode(&visit).unwrap();
        let cut = |cut: Result<Cut, String>| cut.unwrap().out_of(row.clone()).unwrap();
        let pages = cut(asks::<Vec<String>>("pages").wants::<Visit>());
        assert_eq!(codec::decode::<Vec<String>>(&pages).unwrap(), visit.pages);
        let times = cut(asks::<u32>("times").wants::<Visit>());
        assert_eq!(codec::decode::<u32>(&times).unwrap(), visit.times);
        let hours = cut(asks::<BTreeMap<u8, Hour>>("by_hour").wants::<Visit>());
        let hours: BTreeMap<u8, Hour> = codec::decode(&hours).unwrap();
        assert_eq!(hours, visit.by_hour);
    }

    #[test]
    fn a_name_that_is_not_there_and_a_type_that_does_not_fit_are_refused_with_what_there_is() {
        let refused = |query: StateQuery| query.wants::<Visit>().unwrap_err();
        assert_eq!(
            refused(asks::<u32>("time")),
            "it has no state \"time\": ask for one of pages, times, by_hour"
        );
        assert_eq!(
            refused(asks::<String>("times")),
            "the state is u32, not String: ask for that"
        );
        let whole = asks::<u32>("times").wants::<u32>().unwrap_err();
        assert_eq!(
            whole,
            "its state is u32, without names: ask for it as a whole"
        );
    }
}
