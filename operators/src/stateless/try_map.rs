//! `try_map`: a map that can fail, and what happens then.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Event, Failure, OperatorFactory, Outlets, Record, SidesRead,
    SubtaskMetrics, Task, TaskContext, UserError,
};
use serde::{Deserialize, Serialize};

use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::side::{SideOutputTag, SideOutputs, check_only};

/// What happens to a record that a function refuses.
///
/// ```
/// use rivus_operators::{OnError, Rejected, SideOutputTag};
///
/// let strict: OnError<String> = OnError::Fail;
/// let lenient: OnError<String> = OnError::Skip;
/// let refused: SideOutputTag<Rejected<String>> = SideOutputTag::new("refused");
/// let apart = OnError::SideOutput(refused.clone()); // and `stream.side_output(&refused)` reads them
/// ```
#[derive(Debug)]
pub enum OnError<T> {
    /// The attempt fails.
    Fail,
    /// The record is passed over and counted.
    Skip,
    /// The record goes to a side output, with the error. Somebody must read it.
    SideOutput(SideOutputTag<Rejected<T>>),
}

impl<T> Clone for OnError<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Fail => Self::Fail,
            Self::Skip => Self::Skip,
            Self::SideOutput(tag) => Self::SideOutput(tag.clone()),
        }
    }
}

/// A record that a function refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.Rejected")]
pub struct Rejected<T> {
    /// The record as it came.
    pub record: T,
    /// Why, on one line.
    pub error: String,
}

/// Makes one record of another, or fails to.
///
/// ```
/// use rivus_operators::{OnError, TryMap};
///
/// let numbers = TryMap::new(|line: String| line.parse::<u32>(), OnError::Skip);
/// # let _: &dyn rivus_core::OperatorFactory = &numbers;
/// ```
pub struct TryMap<In, Out, E, F> {
    map: F,
    on_error: OnError<In>,
    of: PhantomData<fn() -> (Out, E)>,
}

impl<In: Record, Out: Record, E, F> TryMap<In, Out, E, F>
where
    E: Into<UserError> + 'static,
    F: Fn(In) -> Result<Out, E> + Clone + Send + Sync + 'static,
{
    /// By a function, and what happens if it fails.
    pub fn new(map: F, on_error: OnError<In>) -> Self {
        Self {
            map,
            on_error,
            of: PhantomData,
        }
    }
}

struct TryMapping<In, E, F> {
    map: F,
    on_error: OnError<In>,
    of: PhantomData<fn() -> E>,
}

impl<In: Record, Out: Record, E, F> Work<In> for TryMapping<In, E, F>
where
    E: Into<UserError> + 'static,
    F: Fn(In) -> Result<Out, E> + Clone + Send + Sync + 'static,
{
    type Out = Out;

    const ONE_FOR_ONE: bool = true;

    #[inline]
    fn record(
        &mut self,
        event: Event<In>,
        out: &mut Emitter<Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let ts = event.ts;
        // Only who wants the record back pays for a copy.
        let copy = match &self.on_error {
            OnError::SideOutput(_) => Some(event.value.clone()),
            OnError::Fail | OnError::Skip => None,
        };
        let error = match (self.map)(event.value) {
            Ok(value) => {
                out.emit(ts, value);
                return Ok(());
            }
            Err(error) => Failure::user(&error.into()),
        };
        match (&self.on_error, copy) {
            (OnError::SideOutput(tag), Some(record)) => {
                let error = error.message;
                out.sides
                    .push(tag, Event::at(ts, Rejected { record, error }));
            }
            (OnError::Skip, _) => SubtaskMetrics::add(&cx.metrics.skipped, 1),
            (OnError::Fail | OnError::SideOutput(_), _) => return Err(error),
        }
        Ok(())
    }
}

impl<In: Record, Out: Record, E, F> OperatorFactory for TryMap<In, Out, E, F>
where
    E: Into<UserError> + 'static,
    F: Fn(In) -> Result<Out, E> + Clone + Send + Sync + 'static,
{
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        let written = match &self.on_error {
            OnError::SideOutput(tag) => Some(tag),
            OnError::Fail | OnError::Skip => None,
        };
        check_only(written, read)
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let sides = SideOutputs::new();
        if let OnError::SideOutput(tag) = &self.on_error {
            sides.declare(tag);
        }
        let work: TryMapping<In, E, F> = TryMapping {
            map: self.map.clone(),
            on_error: self.on_error.clone(),
            of: PhantomData,
        };
        let driver: Driver<In, _> = Driver::new(work, cx, outlets, &sides)?;
        Ok(AnyStage::new::<In>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<In>::task(stage)
    }
}
