//! `process` without a key: full control over what is emitted, no state, no timers.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Event, Failure, MIN_TIMESTAMP, OperatorFactory,
    Outlets, Record, SidesRead, Task, TaskContext, Timestamp, UserError,
};

use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::output::Output;
use crate::side::{Declared, SideOutputTag, SideOutputs};

/// What a `process` on a stream without a key does. Timers need a key, so there are none here.
///
/// ```
/// use rivus_core::{Event, UserError};
/// use rivus_operators::{Output, ProcessFunction, SideOutputTag};
///
/// #[derive(Clone)]
/// struct SplitByLength { long: SideOutputTag<String> }
///
/// impl ProcessFunction<String> for SplitByLength {
///     type Out = String;
///     fn process(&mut self, event: Event<String>, out: &mut Output<'_, String>) -> Result<(), UserError> {
///         if event.value.len() > 80 {
///             out.side(&self.long, event.value);
///         } else {
///             out.emit(event.value);
///         }
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `ProcessFunction<{In}>`, which `.process(..)` on a stream without a key takes",
    label = "no `ProcessFunction` of this stream's records",
    note = "a `KeyedProcessFunction` is for a stream that has a key: `.key_by(..)` before `.process(..)`"
)]
pub trait ProcessFunction<In>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;

    /// Takes a record.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process(
        &mut self,
        event: Event<In>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;
}

/// Makes stages of a [`ProcessFunction`].
pub struct ProcessOperator<In, P> {
    function: P,
    sides: SideOutputs,
    /// A side output that is sure to be written to.
    written: Option<Box<dyn Declared>>,
    of: PhantomData<fn(In)>,
}

impl<In: Record, P: ProcessFunction<In>> ProcessOperator<In, P> {
    /// Of a function; `sides` is where its side outputs are, or will be, declared.
    pub fn new(function: P, sides: SideOutputs) -> Self {
        Self {
            function,
            sides,
            written: None,
            of: PhantomData,
        }
    }

    /// The function is sure to write to this side output: a program that doesn't read it is refused.
    pub fn writing_to<S: Record>(mut self, tag: &SideOutputTag<S>) -> Self {
        self.written = Some(Box::new(tag.clone()));
        self
    }
}

struct Processing<P> {
    function: P,
    watermark: Timestamp,
}

impl<In: Record, P: ProcessFunction<In>> Work<In> for Processing<P> {
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
        if let Control::Watermark(watermark) = control {
            self.watermark = self.watermark.max(watermark);
        }
        Ok(true)
    }
}

impl<In: Record, P: ProcessFunction<In>> OperatorFactory for ProcessOperator<In, P> {
    /// The function may write to any tag.
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        match &self.written {
            Some(tag) => tag.check(read),
            None => Ok(()),
        }
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let work = Processing {
            function: self.function.clone(),
            watermark: MIN_TIMESTAMP,
        };
        let driver: Driver<In, _> = Driver::new(work, cx, outlets, &self.sides)?;
        Ok(AnyStage::new::<In>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<In>::task(stage)
    }
}
