//! Which record it was.

use std::fmt::Debug;

use rivus_core::{Event, Failure};

/// Gives a record to the function that takes it. In debug builds, where the copy may cost what it does, the record
/// is named in whatever goes wrong with it.
#[inline]
pub(crate) fn naming<T: Clone + Debug, O>(
    event: Event<T>,
    take: impl FnOnce(Event<T>) -> Result<O, Failure>,
) -> Result<O, Failure> {
    if !cfg!(debug_assertions) {
        return take(event);
    }
    let record = event.value.clone();
    Failure::caught(|| take(event)).map_err(|failure| failure.with_record(&record))
}

/// The same for a record that stays where it is.
#[inline]
pub(crate) fn naming_lent<T: Debug, O>(
    event: &Event<T>,
    take: impl FnOnce(&Event<T>) -> Result<O, Failure>,
) -> Result<O, Failure> {
    if !cfg!(debug_assertions) {
        return take(event);
    }
    Failure::caught(|| take(event)).map_err(|failure| failure.with_record(&event.value))
}
