//! `process` without a key, with state of its own: a list of items for each subtask.
//!
//! ```text
//! snapshot  blob* "items" = { instance, parallelism, first, items }
//! ```
//!
//! At a barrier the function hands out its items, which slices write while it goes on. After a restore they are given
//! back as [`Redistribution`] says.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, Asked, BuildContext, Chain, CheckpointId, Control, Event, Failure, MIN_TIMESTAMP,
    OperatorFactory, OperatorUid, Outlets, ParallelInstance, Record, SidesRead, StateAnswer,
    StateQuery, StateType, Task, TaskContext, Timestamp, UserError, codec,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::output::Output;
use crate::side::SideOutputs;

/// Name of the items in a snapshot.
pub(crate) const STATE: &str = "items";

/// Who gets which items when a job goes on from a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redistribution {
    /// Each item to one subtask: to the one that had it; if there are more subtasks than before, or fewer, to
    /// one after the other, in the order of the subtasks that had them.
    Split,
    /// All items to every subtask, in the order of the subtasks that had them. Each reads what all have
    /// written, so it is for few items.
    Union,
}

/// What a `process` without a key does that has state. The state is the function itself; what must survive of it is
/// handed out as items at each checkpoint, and given back before the first record after a restore.
///
/// ```
/// use rivus_core::{Event, UserError};
/// use rivus_operators::{Output, StatefulProcessFunction};
///
/// /// Makes pairs of records. One that waits for another is its state.
/// #[derive(Clone, Default)]
/// struct Pairs { waiting: Vec<String> }
///
/// impl StatefulProcessFunction<String> for Pairs {
///     type Out = (String, String);
///     type Item = String;
///
///     fn process(&mut self, event: Event<String>, out: &mut Output<'_, (String, String)>) -> Result<(), UserError> {
///         match self.waiting.pop() {
///             Some(first) => out.emit((first, event.value)),
///             None => self.waiting.push(event.value),
///         }
///         Ok(())
///     }
///
///     fn snapshot(&self) -> Vec<String> {
///         self.waiting.clone()
///     }
///
///     fn restore(&mut self, items: Vec<String>) -> Result<(), UserError> {
///         self.waiting = items; // more than one, if there were more subtasks before
///         Ok(())
///     }
/// }
/// ```
pub trait StatefulProcessFunction<In>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;
    /// What its state is made of.
    type Item: Record;

    /// Who gets which items after a restore.
    fn redistribution(&self) -> Redistribution {
        Redistribution::Split
    }

    /// Learns which subtask it works in, before anything else.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn open(&mut self, instance: ParallelInstance) -> Result<(), UserError> {
        let _ = instance;
        Ok(())
    }

    /// Takes a record.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process(
        &mut self,
        event: Event<In>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;

    /// What must survive, as it is at a checkpoint; and what is shown to whoever asks for it meanwhile. Everything waits for it, so
    /// it should be few items.
    fn snapshot(&self) -> Vec<Self::Item>;

    /// Takes items that were handed out at the checkpoint from which the job goes on, maybe none. Not called
    /// where there is no such checkpoint.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn restore(&mut self, items: Vec<Self::Item>) -> Result<(), UserError>;
}

/// Makes stages of a [`StatefulProcessFunction`].
pub struct StatefulProcessOperator<In, P> {
    function: P,
    sides: SideOutputs,
    of: PhantomData<fn(In)>,
}

impl<In: Record, P: StatefulProcessFunction<In>> StatefulProcessOperator<In, P> {
    /// Of a function; `sides` is where its side outputs are, or will be, declared.
    pub fn new(function: P, sides: SideOutputs) -> Self {
        Self {
            function,
            sides,
            of: PhantomData,
        }
    }

    fn restored(&self, cx: &BuildContext<'_>) -> Result<P, Failure> {
        let mut function = self.function.clone();
        let items: Vec<Items<P::Item>> = cx.restored.blobs(cx.uid, STATE)?;
        let instance = cx.instance();
        function
            .open(instance)
            .map_err(|error| Failure::user(&error))?;
        if !items.is_empty() {
            let mine = deal(items, function.redistribution(), instance);
            function
                .restore(mine)
                .map_err(|error| Failure::user(&error))?;
        }
        Ok(function)
    }
}

/// Some of the items that a subtask had.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename = "rivus.Items")]
pub(crate) struct Items<T> {
    /// Which subtask, of how many.
    instance: u32,
    parallelism: u32,
    /// How many others it had before these.
    first: u64,
    items: Vec<T>,
}

impl<T> Items<T> {
    /// Items of one subtask of so many, behind `first` others.
    pub(crate) fn new((instance, parallelism): (u32, u32), first: u64, items: Vec<T>) -> Self {
        Self {
            instance,
            parallelism,
            first,
            items,
        }
    }
}

/// The items of one subtask, of all that were restored.
pub(crate) fn deal<T>(
    mut restored: Vec<Items<T>>,
    how: Redistribution,
    instance: ParallelInstance,
) -> Vec<T> {
    restored.sort_by_key(|items| (items.instance, items.first));
    let rescaled = restored
        .iter()
        .any(|items| items.parallelism != instance.parallelism);
    if how == Redistribution::Split && !rescaled {
        restored.retain(|items| items.instance == instance.index);
    }
    let all = restored.into_iter().flat_map(|items| items.items);
    match how {
        Redistribution::Split if rescaled => all
            .skip(instance.index as usize)
            .step_by(instance.parallelism as usize)
            .collect(),
        _ => all.collect(),
    }
}

/// Items on their way into a snapshot.
pub(crate) struct Frozen<T> {
    checkpoint: CheckpointId,
    written: u64,
    rest: std::vec::IntoIter<T>,
}

impl<T: Serialize + DeserializeOwned + 'static> Frozen<T> {
    pub(crate) fn new(checkpoint: CheckpointId, items: Vec<T>) -> Self {
        Self {
            checkpoint,
            written: 0,
            rest: items.into_iter(),
        }
    }

    /// Lets go of the items of a checkpoint that was given up.
    pub(crate) fn aborted(frozen: &mut Option<Self>, checkpoint: CheckpointId) {
        frozen.take_if(|frozen| frozen.checkpoint == checkpoint);
    }

    /// Writes a slice, if there is something to write. Returns whether all is written.
    pub(crate) fn slice(
        own: &mut Option<Self>,
        uid: &OperatorUid,
        rows: usize,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        let (Some(frozen), Some(snapshot)) = (own.as_mut(), &mut cx.snapshot) else {
            *own = None;
            return Ok(true);
        };
        if frozen.checkpoint != snapshot.checkpoint() {
            *own = None;
            return Ok(true);
        }
        let items: Vec<T> = frozen.rest.by_ref().take(rows.max(1)).collect();
        let place = (cx.info.attempt.subtask.index, cx.info.parallelism);
        let some = Items::new(place, frozen.written, items);
        // Also where there is none: that too is to be restored.
        snapshot.blob::<Items<T>>(uid, STATE, &some)?;
        frozen.written += some.items.len() as u64;
        let done = frozen.rest.len() == 0;
        if done {
            *own = None;
        }
        Ok(done)
    }
}

struct StatefulProcessing<In, P: StatefulProcessFunction<In>> {
    function: P,
    watermark: Timestamp,
    uid: OperatorUid,
    frozen: Option<Frozen<P::Item>>,
}

impl<In: Record, P: StatefulProcessFunction<In>> Work<In> for StatefulProcessing<In, P> {
    type Out = P::Out;

    #[inline]
    fn record(
        &mut self,
        event: Event<In>,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let mut output = Output::new(event.ts, self.watermark, cx.now(), out);
        self.function
            .process(event, &mut output)
            .map_err(|error| Failure::user(&error))
    }

    fn control(
        &mut self,
        control: Control,
        _out: &mut Emitter<P::Out>,
        _cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        match control {
            Control::Watermark(watermark) => self.watermark = self.watermark.max(watermark),
            Control::Barrier(barrier) => {
                self.frozen = Some(Frozen::new(barrier.id, self.function.snapshot()));
            }
            Control::Aborted(checkpoint) => Frozen::aborted(&mut self.frozen, checkpoint),
            _ => {}
        }
        Ok(true)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        Frozen::slice(&mut self.frozen, &self.uid, rows, cx)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        _now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        if query.operator != self.uid {
            return Ok(None);
        }
        let refused = match query.asked {
            Asked::Items => query.wants::<P::Item>().err(),
            _ => Some("its state has no key: ask for its items".to_owned()),
        };
        Ok(Some(match refused {
            None => StateAnswer::Found(codec::encode(&self.function.snapshot())?),
            Some(refused) => StateAnswer::Refused(refused),
        }))
    }
}

impl<In: Record, P: StatefulProcessFunction<In>> OperatorFactory
    for StatefulProcessOperator<In, P>
{
    /// The function may write to any tag.
    fn check(&self, _read: &SidesRead) -> Result<(), String> {
        Ok(())
    }

    fn restores_all(&self) -> bool {
        self.function.redistribution() == Redistribution::Union
    }

    fn states(&self) -> Vec<StateType> {
        vec![StateType::of::<Items<P::Item>>(STATE)]
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let work: StatefulProcessing<In, P> = StatefulProcessing {
            function: self.restored(cx)?,
            watermark: MIN_TIMESTAMP,
            uid: cx.uid.clone(),
            frozen: None,
        };
        let driver: Driver<In, _> = Driver::new(work, cx, outlets, &self.sides)?;
        Ok(AnyStage::new::<In>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<In>::task(stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_dealt_so_that_each_has_one_owner_or_all_have_each() {
        // Three subtasks wrote 0 to 5; the first of them in two pieces, which come in any order.
        let written = |parallelism| {
            let piece = |instance, first, items: &[u8]| Items {
                instance,
                parallelism,
                first,
                items: items.to_vec(),
            };
            vec![
                piece(2, 0, &[4, 5]),
                piece(0, 2, &[2]),
                piece(1, 0, &[3]),
                piece(0, 0, &[0, 1]),
            ]
        };
        let all: &[u8] = &[0, 1, 2, 3, 4, 5];
        let table: [(Redistribution, u32, &[&[u8]]); 6] = [
            (Redistribution::Split, 3, &[&[0, 1, 2], &[3], &[4, 5]]),
            (Redistribution::Split, 2, &[&[0, 2, 4], &[1, 3, 5]]),
            (Redistribution::Split, 1, &[all]),
            (Redistribution::Split, 4, &[&[0, 4], &[1, 5], &[2], &[3]]),
            (Redistribution::Union, 3, &[all; 3]),
            (Redistribution::Union, 2, &[all; 2]),
        ];
        for (how, parallelism, expected) in table {
            for (index, expected) in expected.iter().enumerate() {
                let instance = ParallelInstance {
                    index: index as u32,
                    parallelism,
                    ..ParallelInstance::ALONE
                };
                let mine = deal(written(3), how, instance);
                assert_eq!(mine, *expected, "{how:?}, {index} of {parallelism}");
            }
        }
    }
}
