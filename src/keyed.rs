//! Streams by key.

use std::marker::PhantomData;
use std::sync::Arc;

use rivus_core::{Operator, OperatorFactory, Record, StreamEdge};
use rivus_operators::{
    AggregateFunction, Count, KeySelector, KeyedProcessFunction, KeyedProcessOperator,
    RollingOperator, SideOutputs, WindowAssigner,
};

use crate::program::{NewNode, Program};
use crate::stream::DataStream;
use crate::windowed::WindowedStream;

/// A stream whose records of one key all go to one subtask, which keeps state by key.
pub struct KeyedStream<T, S> {
    program: Program,
    edges: Vec<StreamEdge>,
    pub(crate) selector: S,
    of: PhantomData<fn() -> T>,
}

impl<T: Record, S: KeySelector<T>> KeyedStream<T, S> {
    pub(crate) fn new(program: Program, edges: Vec<StreamEdge>, selector: S) -> Self {
        Self {
            program,
            edges,
            selector,
            of: PhantomData,
        }
    }

    pub(crate) fn add<Out: Record>(
        &self,
        name: &'static str,
        operator: impl OperatorFactory + 'static,
        change: impl FnOnce(&mut NewNode),
    ) -> DataStream<Out> {
        let operator = Operator::Transform(Arc::new(operator));
        let mut node = NewNode::new(name, operator, self.edges.clone());
        change(&mut node);
        let origin = self.program.add::<Out>(node);
        DataStream::new(self.program.clone(), vec![origin])
    }

    /// Folds each record into the first of its key, and emits what has been gathered, for every record.
    pub fn reduce<F>(&self, fold: F) -> DataStream<(S::Key, T)>
    where
        F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
    {
        let operator = RollingOperator::reduce(self.selector.clone(), fold);
        self.add("reduce", operator, |_| {})
    }

    /// Aggregates by key, and emits what has been gathered, for every record.
    pub fn aggregate<A: AggregateFunction<In = T>>(
        &self,
        function: A,
    ) -> DataStream<(S::Key, A::Out)> {
        let operator = RollingOperator::aggregate(self.selector.clone(), function);
        self.add("aggregate", operator, |_| {})
    }

    /// How many records of its key there have been, for every record.
    pub fn count(&self) -> DataStream<(S::Key, u64)> {
        self.aggregate(Count::new())
    }

    /// What a [`KeyedProcessFunction`] makes of records, its state and its timers.
    pub fn process<P: KeyedProcessFunction<S::Key, T>>(&self, function: P) -> DataStream<P::Out> {
        let sides = SideOutputs::new();
        let operator = KeyedProcessOperator::new(self.selector.clone(), function, sides.clone());
        self.add("process", operator, |node| node.declared = sides)
    }

    /// Gathers records by key in event-time windows.
    pub fn window(self, assigner: WindowAssigner) -> WindowedStream<T, S> {
        WindowedStream::new(self, assigner)
    }
}
