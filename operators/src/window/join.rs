//! Windows of two streams: joins and co-groups.
//!
//! Both streams' records lie in one window, which fires as any other does. What it gives, the two lists of a key, goes
//! through a second stage of the same operator, which draws the results from it as they are wanted: however many pairs
//! two lists give, neither memory is flooded nor a cancel held up.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Either, Failure, Hashed, Key, OperatorFactory, Outlets, Record,
    SidesRead, StateType, Task, UserError,
};

use super::evicting::MaybeEvictor;
use super::trigger::Trigger;
use super::triggers::EndTrigger;
use super::{Window, WindowFunction, WindowOperator, WindowProcess, Windowed};
use crate::selector::KeySelector;
use crate::stateless::FlatMap;

/// The records of a key in a window, stream by stream.
pub type Grouped<A, B> = (Vec<A>, Vec<B>);

/// Tells the records of a window by their streams.
#[derive(Debug, Clone, Copy)]
pub struct ByStream;

impl<K: Key, A: Record, B: Record> WindowFunction<K, Either<A, B>> for ByStream {
    type Out = Grouped<A, B>;

    fn apply(
        &mut self,
        _key: &K,
        _window: Window,
        values: Vec<Either<A, B>>,
        out: &mut Vec<Grouped<A, B>>,
    ) -> Result<(), UserError> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for value in values {
            match value {
                Either::First(value) => first.push(value),
                Either::Second(value) => second.push(value),
            }
        }
        out.push((first, second));
        Ok(())
    }
}

/// A window that keeps all records of two streams.
pub type CoWindowOperator<A, B, S, G = EndTrigger, E = ()> =
    WindowOperator<Either<A, B>, S, WindowProcess<Either<A, B>, ByStream>, G, E>;

/// Makes stages that gather records of two streams by key and window, and emit what a function makes of both lists.
///
/// ```
/// use rivus_operators::{
///     Paired, WindowAssigner, WindowJoinOperator, WindowOperator, Windowed, by_either, by_value,
/// };
/// use rivus_operators::ByStream;
/// use std::time::Duration;
///
/// let by = by_either(by_value(|order: &(u32, u64)| order.0), by_value(|payment: &u32| *payment));
/// let minutes = WindowAssigner::tumbling(Duration::from_secs(60));
/// let join = WindowJoinOperator::new(WindowOperator::process(by, minutes, ByStream), |group| {
///     let Windowed { key, window, value: (orders, payments) } = group;
///     Paired::inner(orders, payments, |order: &(u32, u64), _: &u32| order.1)
///         .map(move |value| Windowed { key, window, value })
/// });
/// # let _: &dyn rivus_core::OperatorFactory = &join;
/// ```
pub struct WindowJoinOperator<A, B, S, I, F, G = EndTrigger, E = ()> {
    window: CoWindowOperator<A, B, S, G, E>,
    give: F,
    of: PhantomData<fn() -> I>,
}

impl<A, B, S, I, F, G, E> WindowJoinOperator<A, B, S, I, F, G, E>
where
    A: Record,
    B: Record,
    S: KeySelector<Either<A, B>>,
    G: Trigger<Either<A, B>>,
    E: MaybeEvictor<Either<A, B>>,
    I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
    F: Fn(Windowed<S::Key, Grouped<A, B>>) -> I + Clone + Send + Sync + 'static,
{
    /// Of a window, and what is drawn from the two lists of each key.
    pub fn new(window: CoWindowOperator<A, B, S, G, E>, give: F) -> Self {
        Self {
            window,
            give,
            of: PhantomData,
        }
    }
}

impl<A, B, S, I, F, G, E> OperatorFactory for WindowJoinOperator<A, B, S, I, F, G, E>
where
    A: Record,
    B: Record,
    S: KeySelector<Either<A, B>>,
    G: Trigger<Either<A, B>>,
    E: MaybeEvictor<Either<A, B>>,
    I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
    F: Fn(Windowed<S::Key, Grouped<A, B>>) -> I + Clone + Send + Sync + 'static,
{
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        if self.window.never_fires() {
            return Err(
                "two streams are joined when a window fires, and a global one never does: give it a size, a session's gap or a \
                 .trigger(..)"
                    .to_owned(),
            );
        }
        self.window.check(read)
    }

    fn states(&self) -> Vec<StateType> {
        self.window.states()
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let Outlets { main, sides } = outlets;
        let main = FlatMap::new(self.give.clone()).within(cx, main)?;
        self.window.stage(cx, Outlets { main, sides })
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Hashed<Either<A, B>>>::task(stage)
    }
}

/// Which records without a partner a join gives too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpaired {
    /// Those of the first stream.
    pub first: bool,
    /// Those of the second stream.
    pub second: bool,
}

/// What a function makes of each pair of two lists: for each of the first, in order, all of the second.
pub struct Paired<A, B, F> {
    first: Vec<A>,
    second: Vec<B>,
    join: F,
    next: usize,
    /// Pairs in all; a list that stands for a missing partner counts as one.
    pairs: usize,
}

impl<A, B, F> Paired<A, B, F> {
    /// Pairs in which one may be missing, if `unpaired` says so.
    pub fn outer<R>(first: Vec<A>, second: Vec<B>, unpaired: Unpaired, join: F) -> Self
    where
        F: Fn(Option<&A>, Option<&B>) -> R,
    {
        let pairs = match (first.len(), second.len()) {
            (records, 0) if unpaired.first => records,
            (0, records) if unpaired.second => records,
            (firsts, seconds) => firsts.saturating_mul(seconds),
        };
        Self {
            first,
            second,
            join,
            next: 0,
            pairs,
        }
    }
}

impl<A, B> Paired<A, B, ()> {
    /// Pairs of which none is missing.
    pub fn inner<R, F>(first: Vec<A>, second: Vec<B>, join: F) -> impl Iterator<Item = R>
    where
        F: Fn(&A, &B) -> R,
    {
        let unpaired = Unpaired {
            first: false,
            second: false,
        };
        let join = move |first: Option<&A>, second: Option<&B>| Some(join(first?, second?));
        Paired::outer(first, second, unpaired, join).flatten()
    }
}

impl<A, B, R, F: Fn(Option<&A>, Option<&B>) -> R> Iterator for Paired<A, B, F> {
    type Item = R;

    #[inline]
    fn next(&mut self) -> Option<R> {
        if self.next == self.pairs {
            return None;
        }
        let seconds = self.second.len().max(1);
        let (first, second) = (self.next / seconds, self.next % seconds);
        self.next += 1;
        Some((self.join)(self.first.get(first), self.second.get(second)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of two lists of numbers; `-` stands for a missing one.
    fn paired(first: &str, second: &str, unpaired: (bool, bool)) -> String {
        let unpaired = Unpaired {
            first: unpaired.0,
            second: unpaired.1,
        };
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let show = |one: Option<&String>| one.map_or("-", String::as_str).to_owned();
        let join = |a: Option<&String>, b: Option<&String>| show(a) + &show(b);
        let pairs = Paired::outer(list(first), list(second), unpaired, join);
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn joins_in_pictures() {
        let table = [
            ("1 2", "7 8 9", (false, false), "17 18 19 27 28 29"),
            ("1 2", "", (false, true), ""),
            ("1 2", "", (true, false), "1- 2-"),
            ("", "7 8", (true, false), ""),
            ("", "7 8", (true, true), "-7 -8"),
            ("1", "7", (true, true), "17"),
            ("", "", (true, true), ""),
            ("1", "7 8", (false, true), "17 18"),
        ];
        for (first, second, unpaired, expected) in table {
            assert_eq!(paired(first, second, unpaired), expected);
        }
    }
}
