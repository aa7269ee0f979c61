//! `flat_map`: any number of records for one.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Event, Failure, OperatorFactory, Outlets, Record, Task,
    TaskContext, Timestamp,
};

use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::side::SideOutputs;

/// Makes any number of records of one. What a function returns is drawn from lazily, a batch at a time:
/// one record that gives a million neither floods memory nor holds up a cancel.
///
/// ```
/// use rivus_operators::FlatMap;
///
/// let words = FlatMap::new(|line: String| {
///     line.split(' ').map(str::to_owned).collect::<Vec<_>>()
/// });
/// # let _: &dyn rivus_core::OperatorFactory = &words;
/// ```
pub struct FlatMap<In, I, F> {
    map: F,
    of: PhantomData<fn(In) -> I>,
}

impl<In: Record, I, F> FlatMap<In, I, F>
where
    I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
    F: Fn(In) -> I + Clone + Send + Sync + 'static,
{
    /// By a function.
    pub fn new(map: F) -> Self {
        Self {
            map,
            of: PhantomData,
        }
    }
}

/// Records taken from an iterator between two looks at the buffer and the clock.
const STEP: usize = 64;

struct FlatMapping<I: IntoIterator, F> {
    map: F,
    /// The last record's time and what it has still to give.
    current: Option<(Timestamp, I::IntoIter)>,
}

impl<In: Record, I, F> Work<In> for FlatMapping<I, F>
where
    I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
    F: Fn(In) -> I + Clone + Send + Sync + 'static,
{
    type Out = I::Item;

    const ONE_FOR_ONE: bool = true;

    #[inline]
    fn record(
        &mut self,
        event: Event<In>,
        _out: &mut Emitter<I::Item>,
        _cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        self.current = Some((event.ts, (self.map)(event.value).into_iter()));
        Ok(())
    }

    #[inline]
    fn more(&mut self, out: &mut Emitter<I::Item>, _cx: &mut TaskContext) -> Result<bool, Failure> {
        let Some((ts, values)) = &mut self.current else {
            return Ok(true);
        };
        for _ in 0..STEP {
            match values.next() {
                Some(value) => out.emit(*ts, value),
                None => {
                    self.current = None;
                    return Ok(true);
                }
            }
            if out.is_full() {
                break;
            }
        }
        Ok(false)
    }
}

impl<In: Record, I, F> FlatMap<In, I, F>
where
    I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
    F: Fn(In) -> I + Clone + Send + Sync + 'static,
{
    fn driver(
        &self,
        cx: &BuildContext<'_>,
        outlets: Outlets,
    ) -> Result<Driver<In, FlatMapping<I, F>>, Failure> {
        let work = FlatMapping {
            map: self.map.clone(),
            current: None,
        };
        Driver::new(work, cx, outlets, &SideOutputs::new())
    }

    /// A stage inside of an operator that has others before it.
    pub(crate) fn within(
        &self,
        cx: &BuildContext<'_>,
        main: AnyStage,
    ) -> Result<AnyStage, Failure> {
        let sides = BTreeMap::new();
        let driver = self.driver(cx, Outlets { main, sides })?.within();
        Ok(AnyStage::new::<In>(Box::new(driver)))
    }
}

impl<In: Record, I, F> OperatorFactory for FlatMap<In, I, F>
where
    I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
    F: Fn(In) -> I + Clone + Send + Sync + 'static,
{
    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let driver = self.driver(cx, outlets)?;
        Ok(AnyStage::new::<In>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<In>::task(stage)
    }
}
