//! Records that an operator owns, and records that are only lent to it.

use std::borrow::Borrow;

/// A record as an operator gets it: its own, or lent for a look while it stays in its run.
///
/// A run whose records were lent goes back whole to the subtask that made it, and is dropped there: memory
/// that is freed on the core that allocated it costs a fraction of memory that is freed on another.
///
/// ```
/// use rivus_operators::OwnedOrLent;
///
/// fn longer<V: OwnedOrLent<String>>(kept: &mut String, word: V) {
///     if word.borrow().len() > kept.len() {
///         *kept = word.into_owned();
///     }
/// }
///
/// let (mut kept, stays) = (String::from("a"), String::from("abc"));
/// longer(&mut kept, String::from("ab"));
/// longer(&mut kept, &stays);
/// assert_eq!(kept, stays);
/// ```
pub trait OwnedOrLent<T>: Borrow<T> {
    /// The record itself; a copy if it was lent.
    fn into_owned(self) -> T;
}

impl<T> OwnedOrLent<T> for T {
    #[inline]
    fn into_owned(self) -> T {
        self
    }
}

impl<T: Clone> OwnedOrLent<T> for &T {
    #[inline]
    fn into_owned(self) -> T {
        self.clone()
    }
}
