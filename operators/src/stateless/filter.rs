//! `filter`: some of the records.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Event, Failure, OperatorFactory, Outlets, Record, Task,
};

use super::{Transform, transforming};

/// Keeps the records that a function says to keep, in place.
///
/// ```
/// use rivus_operators::Filter;
///
/// let words = Filter::new(|word: &String| !word.is_empty());
/// # let _: &dyn rivus_core::OperatorFactory = &words;
/// ```
pub struct Filter<T, F> {
    keep: F,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Record, F> Filter<T, F>
where
    F: Fn(&T) -> bool + Clone + Send + Sync + 'static,
{
    /// By a function.
    pub fn new(keep: F) -> Self {
        Self {
            keep,
            of: PhantomData,
        }
    }
}

impl<T, F: Clone> Clone for Filter<T, F> {
    fn clone(&self) -> Self {
        Self {
            keep: self.keep.clone(),
            of: PhantomData,
        }
    }
}

impl<T: Record, F> Transform<T> for Filter<T, F>
where
    F: Fn(&T) -> bool + Clone + Send + Sync + 'static,
{
    type Out = T;

    fn transform(&self, mut run: Vec<Event<T>>) -> Vec<Event<T>> {
        run.retain(|event| (self.keep)(&event.value));
        run
    }
}

impl<T: Record, F> OperatorFactory for Filter<T, F>
where
    F: Fn(&T) -> bool + Clone + Send + Sync + 'static,
{
    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        transforming::<T, _>(self, cx, outlets)
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<T>::task(stage)
    }
}
