//! Streams by key and window.

use std::time::Duration;

use rivus_core::Record;
use rivus_operators::{
    AggregateFunction, Count, KeySelector, SideOutputTag, WindowAssigner, WindowFunction,
    WindowLogic, WindowOperator, Windowed,
};

use crate::keyed::KeyedStream;
use crate::stream::DataStream;

/// A stream gathered by key in event-time windows.
///
/// A window emits when the watermark reaches its end, and again for each record that comes within the
/// allowed lateness. What comes later goes to the late side output, or is counted.
pub struct WindowedStream<T, S> {
    keyed: KeyedStream<T, S>,
    assigner: WindowAssigner,
    lateness: Duration,
    late: Option<SideOutputTag<T>>,
}

impl<T: Record, S: KeySelector<T>> WindowedStream<T, S> {
    pub(crate) fn new(keyed: KeyedStream<T, S>, assigner: WindowAssigner) -> Self {
        Self {
            keyed,
            assigner,
            lateness: Duration::ZERO,
            late: None,
        }
    }

    /// For how much longer a window takes records after it has fired.
    #[must_use]
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.lateness = lateness;
        self
    }

    /// Where records go that are too late for all of their windows; it must be read with
    /// [`DataStream::side_output`] on the stream of results.
    #[must_use]
    pub fn late_output(mut self, tag: &SideOutputTag<T>) -> Self {
        self.late = Some(tag.clone());
        self
    }

    fn add<L: WindowLogic<S::Key, In = T>>(
        self,
        operator: WindowOperator<T, S, L>,
    ) -> DataStream<Windowed<S::Key, L::Out>> {
        let mut operator = operator.allowed_lateness(self.lateness);
        if let Some(tag) = self.late {
            operator = operator.late_output(tag);
        }
        self.keyed
            .add("window", operator, |node| node.needs_watermarks = true)
    }

    /// Aggregates each window. Kept by pane, so a sliding window costs per slide, not per window.
    pub fn aggregate<A: AggregateFunction<In = T>>(
        self,
        function: A,
    ) -> DataStream<Windowed<S::Key, A::Out>> {
        let operator =
            WindowOperator::aggregate(self.keyed.selector.clone(), self.assigner, function);
        self.add(operator)
    }

    /// How many records each window has.
    pub fn count(self) -> DataStream<Windowed<S::Key, u64>> {
        self.aggregate(Count::new())
    }

    /// Folds a window's records into the first of them.
    pub fn reduce<F>(self, fold: F) -> DataStream<Windowed<S::Key, T>>
    where
        F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
    {
        let selector = self.keyed.selector.clone();
        let operator = WindowOperator::reduce(selector, self.assigner, fold);
        self.add(operator)
    }

    /// What a [`WindowFunction`] makes of all records of a window, which are kept until it fires.
    pub fn process<P: WindowFunction<S::Key, T>>(
        self,
        function: P,
    ) -> DataStream<Windowed<S::Key, P::Out>> {
        let selector = self.keyed.selector.clone();
        let operator = WindowOperator::process(selector, self.assigner, function);
        self.add(operator)
    }
}
