//! How requests are made.

use std::time::Duration;

use crate::stateless::OnError;

/// How often a request that failed is made again, and after which waits.
///
/// An error that says of itself that a second try would meet it again
/// ([`Failure::permanent`](rivus_core::Failure::permanent)) is not tried again.
///
/// ```
/// use rivus_operators::Retry;
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let patient = Retry::backoff(5, ms(100), ms(500));
/// let waits = (1..).map_while(|failures| patient.after(failures));
/// assert!(waits.eq([100, 200, 400, 500, 500].map(ms)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    times: u32,
    first: Duration,
    longest: Duration,
}

impl Retry {
    /// Never.
    ///
    /// ```
    /// use rivus_operators::Retry;
    ///
    /// assert_eq!(Retry::none().after(1), None);
    /// ```
    pub fn none() -> Self {
        Self::fixed(0, Duration::ZERO)
    }

    /// So many times, each after the same wait.
    ///
    /// ```
    /// use rivus_operators::Retry;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// let twice = Retry::fixed(2, second);
    /// assert_eq!([1, 2, 3].map(|failures| twice.after(failures)), [Some(second), Some(second), None]);
    /// ```
    pub fn fixed(times: u32, wait: Duration) -> Self {
        Self::backoff(times, wait, wait)
    }

    /// So many times, after waits that double until they are the longest.
    ///
    /// ```
    /// use rivus_operators::Retry;
    /// use std::time::Duration;
    ///
    /// // A service that is started again takes its time, and shouldn't be asked by everybody meanwhile.
    /// let patient = Retry::backoff(20, Duration::from_millis(50), Duration::from_secs(10));
    /// assert_eq!(patient.after(3), Some(Duration::from_millis(200)));
    /// assert_eq!(patient.after(20), Some(Duration::from_secs(10)));
    /// ```
    pub fn backoff(times: u32, first: Duration, longest: Duration) -> Self {
        Self {
            times,
            first,
            longest,
        }
    }

    /// How long to wait after so many failures; none: that was the last try.
    ///
    /// ```
    /// use rivus_operators::Retry;
    /// use std::time::Duration;
    ///
    /// let once = Retry::fixed(1, Duration::from_secs(5));
    /// assert_eq!((once.after(1), once.after(2)), (Some(Duration::from_secs(5)), None));
    /// ```
    pub fn after(&self, failures: u32) -> Option<Duration> {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        (failures <= self.times).then(|| self.first.saturating_mul(doubled).min(self.longest))
    }
}

/// How an asynchronous operator makes its requests.
///
/// ```
/// use rivus_operators::{AsyncRequests, OnError, Retry};
/// use std::time::Duration;
///
/// let requests: AsyncRequests<String> = AsyncRequests::unordered(Duration::from_secs(5))
///     .capacity(20)
///     .retry(Retry::fixed(2, Duration::from_millis(100)))
///     .on_error(OnError::Skip);
/// ```
#[derive(Debug, Clone)]
pub struct AsyncRequests<In> {
    pub(super) ordered: bool,
    pub(super) timeout: Duration,
    pub(super) capacity: usize,
    pub(super) retry: Retry,
    pub(super) on_error: OnError<In>,
}

impl<In> AsyncRequests<In> {
    fn new(ordered: bool, timeout: Duration) -> Self {
        Self {
            ordered,
            timeout,
            capacity: 100,
            retry: Retry::none(),
            on_error: OnError::Fail,
        }
    }

    /// Results come in the order of the records. A record waits `timeout` for its answer at most, retries included.
    ///
    /// ```
    /// use rivus_core::OperatorFactory;
    /// use rivus_operators::{AsyncMap, AsyncOperator, AsyncRequests};
    /// use std::time::Duration;
    ///
    /// let name_of = AsyncMap::new(|id: u32| async move { Ok::<_, String>(format!("customer {id}")) });
    /// let requests: AsyncRequests<u32> = AsyncRequests::ordered(Duration::from_secs(5));
    /// assert_eq!(AsyncOperator::new(name_of, requests).check(&Default::default()), Ok(()));
    /// ```
    pub fn ordered(timeout: Duration) -> Self {
        Self::new(true, timeout)
    }

    /// Results come as soon as they are there, but none over a watermark. A record waits `timeout` for its answer at
    /// most, retries included.
    ///
    /// ```
    /// use rivus_core::OperatorFactory;
    /// use rivus_operators::{AsyncMap, AsyncOperator, AsyncRequests};
    /// use std::time::Duration;
    ///
    /// let name_of = AsyncMap::new(|id: u32| async move { Ok::<_, String>(format!("customer {id}")) });
    /// let hasty: AsyncRequests<u32> = AsyncRequests::unordered(Duration::ZERO);
    /// let refused = AsyncOperator::new(name_of, hasty).check(&Default::default()).unwrap_err();
    /// assert_eq!(refused, "a timeout of 0 leaves no time for an answer: give a longer Duration");
    /// ```
    pub fn unordered(timeout: Duration) -> Self {
        Self::new(false, timeout)
    }

    /// For how many records of a subtask there may be requests at a time; 100 unless told. More wait.
    ///
    /// ```
    /// use rivus_core::OperatorFactory;
    /// use rivus_operators::{AsyncMap, AsyncOperator, AsyncRequests};
    /// use std::time::Duration;
    ///
    /// let name_of = AsyncMap::new(|id: u32| async move { Ok::<_, String>(format!("customer {id}")) });
    /// let of_so_many = |capacity| {
    ///     let requests = AsyncRequests::<u32>::ordered(Duration::from_secs(5)).capacity(capacity);
    ///     AsyncOperator::new(name_of.clone(), requests).check(&Default::default())
    /// };
    /// assert_eq!(of_so_many(20), Ok(()));
    /// assert_eq!(of_so_many(0).unwrap_err(), "a capacity of 0 lets no request through: give at least 1");
    /// ```
    #[must_use]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// What happens to a request that fails: nothing more unless told.
    ///
    /// ```
    /// use rivus_operators::{AsyncRequests, Retry};
    /// use std::time::Duration;
    ///
    /// let timeout = Duration::from_secs(5);
    /// let retry = Retry::backoff(4, Duration::from_millis(100), Duration::from_secs(1));
    /// // All tries have to be made within the timeout.
    /// let waits: Duration = (1..).map_while(|failures| retry.after(failures)).sum();
    /// assert!(waits < timeout / 2);
    /// let requests: AsyncRequests<u32> = AsyncRequests::ordered(timeout).retry(retry);
    /// ```
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// What happens to a record whose last try has failed: the attempt fails unless told.
    ///
    /// ```
    /// use rivus_core::OperatorFactory;
    /// use rivus_operators::{AsyncMap, AsyncOperator, AsyncRequests, OnError, SideOutputTag};
    /// use std::time::Duration;
    ///
    /// let name_of = AsyncMap::new(|id: u32| async move { Ok::<_, String>(format!("customer {id}")) });
    /// let aside = OnError::SideOutput(SideOutputTag::new("unknown"));
    /// let requests = AsyncRequests::<u32>::ordered(Duration::from_secs(5)).on_error(aside);
    /// // Somebody must read what goes aside.
    /// let refused = AsyncOperator::new(name_of, requests).check(&Default::default()).unwrap_err();
    /// assert!(refused.starts_with("side output \"unknown\" is written to, but nobody reads it"));
    /// ```
    #[must_use]
    pub fn on_error(mut self, on_error: OnError<In>) -> Self {
        self.on_error = on_error;
        self
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.capacity == 0 {
            return Err("a capacity of 0 lets no request through: give at least 1".to_owned());
        }
        if self.timeout.is_zero() {
            return Err(
                "a timeout of 0 leaves no time for an answer: give a longer Duration".into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_they_are_the_longest_and_end_after_the_last_try() {
        let ms = Duration::from_millis;
        let waits = |retry: Retry| (1..).map_while(|n| retry.after(n)).collect::<Vec<_>>();
        assert_eq!(waits(Retry::none()), []);
        assert_eq!(waits(Retry::fixed(2, ms(7))), [ms(7), ms(7)]);
        let backoff = Retry::backoff(4, ms(100), ms(300));
        assert_eq!(waits(backoff), [ms(100), ms(200), ms(300), ms(300)]);
        // However many there are, nothing overflows.
        let late = Retry::backoff(u32::MAX, ms(1), ms(9));
        assert_eq!(late.after(u32::MAX), Some(ms(9)));
    }
}
