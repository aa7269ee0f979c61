//! Joins two keyed streams by how far apart their records are in event time.
//!
//! ```text
//! snapshot  rows "rows"           key -> records of each stream by time
//!           blob "watermark"
//! ```
//!
//! A record of the first stream at time *t* meets those of the second from *t + lower* to *t + upper*. Each is kept until
//! the watermark says that no partner can come any more, and each pair is given when the later of the two comes. A
//! record's pairs are given a few at a time, so that one with a million partners holds nobody up.

mod kept;
mod operator;

pub use operator::IntervalJoinOperator;

use rivus_core::{Event, Record, Timestamp, UserError};

use crate::output::Output;

/// What an interval join does with each pair.
///
/// ```
/// use rivus_core::{Event, UserError};
/// use rivus_operators::{IntervalJoinFunction, Output};
///
/// /// How long after a click the purchase came.
/// #[derive(Clone)]
/// struct Delay;
///
/// impl IntervalJoinFunction<String, u64> for Delay {
///     type Out = i64;
///
///     fn join(
///         &mut self, click: Event<&String>, purchase: Event<&u64>, out: &mut Output<'_, i64>,
///     ) -> Result<(), UserError> {
///         out.emit(purchase.ts - click.ts);
///         Ok(())
///     }
/// }
/// ```
pub trait IntervalJoinFunction<A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;

    /// Takes a pair. What it emits has the later one's time, unless it says otherwise.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn join(
        &mut self,
        first: Event<&A>,
        second: Event<&B>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;
}

/// One record for each pair, by a function of both.
#[derive(Debug, Clone)]
pub struct EachPair<F>(pub F);

impl<A, B, R, F> IntervalJoinFunction<A, B> for EachPair<F>
where
    R: Record,
    F: Fn(&A, &B) -> R + Clone + Send + Sync + 'static,
{
    type Out = R;

    #[inline]
    fn join(
        &mut self,
        first: Event<&A>,
        second: Event<&B>,
        out: &mut Output<'_, R>,
    ) -> Result<(), UserError> {
        out.emit((self.0)(first.value, second.value));
        Ok(())
    }
}

/// How much later than a record of the first stream its partners in the second are, in milliseconds; both ends included.
///
/// ```
/// use rivus_operators::Interval;
///
/// let ten_seconds_after = Interval::between(0, 10_000).lower_bound_exclusive();
/// let around = Interval::between(-500, 500);
/// # let _ = (ten_seconds_after, around);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    lower: Timestamp,
    upper: Timestamp,
}

impl Interval {
    /// From one to the other; negative is earlier.
    pub fn between(lower: Timestamp, upper: Timestamp) -> Self {
        Self { lower, upper }
    }

    /// The lower bound itself is out.
    #[must_use]
    pub fn lower_bound_exclusive(mut self) -> Self {
        self.lower = self.lower.saturating_add(1);
        self
    }

    /// The upper bound itself is out.
    #[must_use]
    pub fn upper_bound_exclusive(mut self) -> Self {
        self.upper = self.upper.saturating_sub(1);
        self
    }

    fn check(self) -> Result<(), String> {
        match self.lower <= self.upper {
            true => Ok(()),
            false => Err(format!(
                "no time lies from {} to {} ms after a record: give .between(..) its lower bound first",
                self.lower, self.upper
            )),
        }
    }

    /// For how long after its own time a record of the first stream may still meet one.
    fn first_waits(self) -> i64 {
        self.upper.max(0)
    }

    fn second_waits(self) -> i64 {
        self.lower.saturating_neg().max(0)
    }
}
