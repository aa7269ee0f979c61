//! What the words of a test's pictures are to its records.

use std::fmt::Debug;
use std::sync::Arc;

use rivus_core::Record;
use rivus_operators::testing::Show;

type Read<'a, In> = dyn Fn(&str) -> In + 'a;

/// How words become records, and records words.
pub(super) struct Words<'a, In, Out> {
    pub(super) read: Option<Box<Read<'a, In>>>,
    pub(super) show: Show<Out>,
}

impl<'a, In: 'a, Out: Record> Words<'a, In, Out> {
    /// Nobody reads them, and records are shown in debug form.
    pub(super) fn new() -> Self {
        Self {
            read: None,
            show: Arc::new(in_debug_form),
        }
    }

    /// Makes a record of a word.
    ///
    /// # Panics
    /// If the test doesn't say how.
    #[track_caller]
    pub(super) fn reader(&self) -> &Read<'a, In> {
        let Some(read) = &self.read else {
            panic!("who reads the picture's records? say it by .reads(|word| ..)");
        };
        read
    }
}

/// In debug form, without blanks: a picture's words have none.
pub(super) fn in_debug_form<T: Debug>(value: &T) -> String {
    format!("{value:?}").replace(' ', "")
}

/// The methods by which a test from `In` to `Out` says what it has in a field of [`Words`].
macro_rules! reads_and_shows {
    ($($words:ident).+) => {
        /// How a picture's word, what stands before the `@`, becomes a record.
        #[must_use]
        pub fn reads(mut self, read: impl Fn(&str) -> In + 'a) -> Self {
            self.$($words).+.read = Some(Box::new(read));
            self
        }

        /// How a record that came out becomes a picture's word; in debug form without blanks, unless this says otherwise.
        #[must_use]
        pub fn shows(mut self, show: impl Fn(&Out) -> String + Send + Sync + 'static) -> Self {
            self.$($words).+.show = std::sync::Arc::new(show);
            self
        }
    };
}

pub(super) use reads_and_shows;
