//! Questions about keyed state, asked from outside while a job runs and answered between two turns.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError};
use crate::ids::OperatorUid;
use crate::key::{Key, key_hash};
use crate::schema::Schema;

/// Asks an operator for a key's state.
#[derive(Debug, Clone)]
pub struct StateQuery {
    /// Whose state.
    pub operator: OperatorUid,
    /// The key's hash, which says who owns it.
    pub hash: u64,
    /// The key, as MessagePack.
    pub key: Vec<u8>,
    /// The Rust type that the state is taken to be.
    pub type_name: String,
    /// Its [`Schema`], as MessagePack.
    pub schema: Vec<u8>,
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
            hash: key_hash(key),
            key: codec::encode(key)?,
            type_name: std::any::type_name::<S>().to_owned(),
            schema: codec::encode(&Schema::of::<S>())?,
        })
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

    /// Refuses to show an `S` to whoever takes it for something else.
    ///
    /// # Errors
    /// One line that names both.
    pub fn wants<S: DeserializeOwned>(&self) -> Result<(), String> {
        // The usual case; to look into a type costs more.
        if self.type_name == std::any::type_name::<S>() {
            return Ok(());
        }
        let schema = Schema::of::<S>();
        let asked: Schema = codec::decode(&self.schema).map_err(|error| error.to_string())?;
        if schema.reads_as(&asked) {
            return Ok(());
        }
        Err(format!("the state is {schema}, not {asked}: ask for that"))
    }
}
