//! Records that an operator owns, and records that it only looks at.

use std::borrow::Borrow;

/// A record as an operator gets it: its own, or a look at one that stays in its run.
///
/// A run whose records are only looked at goes back whole to the subtask that made it, and is dropped there: memory
/// that is freed on the core that allocated it costs a fraction of memory that is freed on another.
///
/// ```
/// use rivus_operators::Taken;
///
/// fn longer<V: Taken<String>>(kept: &mut String, word: V) {
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
pub trait Taken<T>: Borrow<T> {
    /// The record itself; a copy if it was only looked at.
    fn into_owned(self) -> T;
}

impl<T> Taken<T> for T {
    #[inline]
    fn into_owned(self) -> T {
        self
    }
}

impl<T: Clone> Taken<T> for &T {
    #[inline]
    fn into_owned(self) -> T {
        self.clone()
    }
}
