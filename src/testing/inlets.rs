//! Where a test puts records in: sources that read nothing.

use std::sync::Arc;

use rivus_core::{
    Batch, BuildContext, Chain, Either, EncodedSplit, Event, Failure, Operator, Outlets, Record,
    Rows, SourceFactory, Task, UserError,
};

use crate::program::{NewNode, Program};
use crate::stream::DataStream;

/// A source whose records are handed to it.
struct Inlet<T>(std::marker::PhantomData<fn() -> T>);

impl<T: Record> SourceFactory for Inlet<T> {
    fn splits(&self, _parallelism: u32) -> Result<Vec<EncodedSplit>, UserError> {
        Ok(Vec::new())
    }

    fn task(&self, _cx: &BuildContext<'_>, outlets: Outlets) -> Result<Box<dyn Task>, Failure> {
        Chain::<T>::task(outlets.main)
    }
}

/// A stream that comes out of an inlet. Its watermarks are said by the test.
pub(super) fn inlet<T: Record>(program: &Program) -> DataStream<T> {
    let operator = Operator::Source(Arc::new(Inlet::<T>(std::marker::PhantomData)));
    let mut node = NewNode::new("input", operator, Vec::new());
    node.assigns_watermarks = true;
    let origin = program.add::<T>(node);
    DataStream::new(program.clone(), vec![origin])
}

/// Records on their way to an inlet, counted from the first.
pub(super) type ToInlet = (usize, Box<dyn Batch>);

/// Puts a run into the one inlet there is.
pub(super) fn to_one<T: Record>(run: Vec<Event<T>>) -> Vec<ToInlet> {
    vec![(0, Box::new(Rows::Owned(run)))]
}

/// Deals a run to two inlets, in the order of its records.
pub(super) fn to_two<A: Record, B: Record>(run: Vec<Event<Either<A, B>>>) -> Vec<ToInlet> {
    let mut dealt: Vec<ToInlet> = Vec::new();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for Event { ts, value } in run {
        match value {
            Either::First(value) => {
                put(&mut dealt, 1, &mut second);
                first.push(Event::at(ts, value));
            }
            Either::Second(value) => {
                put(&mut dealt, 0, &mut first);
                second.push(Event::at(ts, value));
            }
        }
    }
    put(&mut dealt, 0, &mut first);
    put(&mut dealt, 1, &mut second);
    dealt
}

fn put<T: Record>(dealt: &mut Vec<ToInlet>, inlet: usize, run: &mut Vec<Event<T>>) {
    if !run.is_empty() {
        dealt.push((inlet, Box::new(Rows::Owned(std::mem::take(run)))));
    }
}
