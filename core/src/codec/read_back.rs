//! Types that serde reads by the names of their fields, somewhere within: enums that are tagged in another way than usual.
//!
//! Names aren't written, and whether a value can be read without them depends on its variant. So each value of such a type is read
//! as soon as it is written, and refused if it can't be.

use std::any::type_name;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use rmp_serde::{decode, encode};
use serde::de::DeserializeOwned;
use serde::ser::Error;

use crate::schema::is_told_by_names;

type Read = fn(&[u8]) -> Result<(), decode::Error>;

/// How values are read, by the type that is written; none where nothing can go wrong.
static LOOKED_AT: RwLock<BTreeMap<&'static str, Option<Read>>> = RwLock::new(BTreeMap::new());

/// Whether there is any such type. Mostly there is none, and writing costs nothing more.
static ANY: AtomicBool = AtomicBool::new(false);

/// Looks at a type whose values will be written as `W`, and read as `T`.
pub(crate) fn look_at<W: ?Sized, T: DeserializeOwned>() {
    let name = type_name::<W>();
    let known = LOOKED_AT.read().unwrap_or_else(PoisonError::into_inner);
    if known.contains_key(name) {
        return;
    }
    drop(known);
    let read: Read = |bytes| rmp_serde::from_slice::<T>(bytes).map(drop);
    let read = is_told_by_names::<T>().then_some(read);
    let mut known = LOOKED_AT.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(name, read);
    if read.is_some() {
        ANY.store(true, Ordering::Release);
    }
}

/// Reads a value that has been written, if it is of such a type.
pub(super) fn check<W: ?Sized>(bytes: &[u8]) -> Result<(), encode::Error> {
    if !ANY.load(Ordering::Acquire) {
        return Ok(());
    }
    let known = LOOKED_AT.read().unwrap_or_else(PoisonError::into_inner);
    let read = known.get(type_name::<W>()).copied().flatten();
    drop(known);
    read.map_or(Ok(()), |read| read(bytes)).map_err(|error| {
        Error::custom(format!(
            "it could not be read back ({error}): write its enum without #[serde(untagged)] and #[serde(tag, content)], or give each variant one value in parentheses"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};
    use uuid::Uuid;

    use super::*;
    use crate::codec::{decode, encode};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Adjacent {
        Placed { amount: u64 },
        Canceled,
        Moved(u64),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Placed { amount: u64 },
        Named(String),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order<T> {
        id: Uuid,
        happened: BTreeMap<u8, Option<T>>,
    }

    fn order<T>(happened: T) -> Order<T> {
        Order {
            id: Uuid::from_u128(1),
            happened: BTreeMap::from([(1, Some(happened))]),
        }
    }

    /// Refused, or what comes back is what it was.
    fn is_refused<T>(value: T) -> bool
    where
        T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        look_at::<T, T>();
        let Ok(bytes) = encode(&value) else {
            return true;
        };
        assert_eq!(decode::<T>(&bytes).unwrap(), value);
        false
    }

    #[test]
    fn a_variant_that_is_read_by_the_names_of_its_fields_is_refused_wherever_it_stands() {
        assert!(is_refused(Adjacent::Placed { amount: 1 }));
        assert!(is_refused(Adjacent::Canceled));
        assert!(!is_refused(Adjacent::Moved(1)));
        assert!(is_refused(Untagged::Placed { amount: 1 }));
        assert!(!is_refused(Untagged::Named("one".to_owned())));
        assert!(is_refused(order(Adjacent::Canceled)));
        assert!(!is_refused(order(Adjacent::Moved(7))));
        assert!(is_refused(vec![(1, Untagged::Placed { amount: 1 })]));
        assert!(!is_refused(vec![(1, Untagged::Named("one".to_owned()))]));
    }

    #[test]
    fn it_is_said_in_one_line_with_the_mend() {
        look_at::<Adjacent, Adjacent>();
        let refused = encode(&Adjacent::Canceled).unwrap_err();
        let source = std::error::Error::source(&refused).unwrap().to_string();
        assert!(source.contains("could not be read back"), "{source}");
        assert!(source.contains("#[serde(tag, content)]"), "{source}");
    }

    #[test]
    fn types_of_the_usual_form_are_written_once_and_not_looked_at_again() {
        #[derive(Serialize, Deserialize)]
        enum Usual {
            Placed { amount: u64 },
            Moved(Uuid),
        }
        assert!(!is_told_by_names::<Order<Usual>>());
        assert!(!is_told_by_names::<(Vec<Usual>, Uuid)>());
        // What stands behind something that serde can't tell may be anything.
        assert!(is_told_by_names::<(Uuid, Vec<Usual>)>());
        assert!(is_told_by_names::<Order<Untagged>>());
    }
}
