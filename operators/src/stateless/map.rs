//! `map`: a record for a record.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Event, Failure, OperatorFactory, Outlets, Record, Task,
};

use super::{Transform, transforming};

/// Makes one record of another; the run's memory is used again where the layouts allow it.
///
/// ```
/// use rivus_operators::Map;
///
/// let shout = Map::new(|word: String| word.to_uppercase());
/// # let _: &dyn rivus_core::OperatorFactory = &shout;
/// ```
pub struct Map<In, Out, F> {
    map: F,
    of: PhantomData<fn(In) -> Out>,
}

impl<In: Record, Out: Record, F> Map<In, Out, F>
where
    F: Fn(In) -> Out + Clone + Send + Sync + 'static,
{
    /// By a function.
    pub fn new(map: F) -> Self {
        Self {
            map,
            of: PhantomData,
        }
    }
}

impl<In, Out, F: Clone> Clone for Map<In, Out, F> {
    fn clone(&self) -> Self {
        Self {
            map: self.map.clone(),
            of: PhantomData,
        }
    }
}

impl<In: Record, Out: Record, F> Transform<In> for Map<In, Out, F>
where
    F: Fn(In) -> Out + Clone + Send + Sync + 'static,
{
    type Out = Out;

    fn transform(&self, run: Vec<Event<In>>) -> Vec<Event<Out>> {
        run.into_iter().map(|event| event.map(&self.map)).collect()
    }
}

impl<In: Record, Out: Record, F> OperatorFactory for Map<In, Out, F>
where
    F: Fn(In) -> Out + Clone + Send + Sync + 'static,
{
    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        transforming::<In, _>(self, cx, outlets)
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<In>::task(stage)
    }
}
