//! Whether windows have an evictor, told by their type: a program is compiled with evictors only where it has some.

use std::sync::Arc;

use rivus_core::{AnyStage, BuildContext, Failure, Outlets, Record, StateType};

use super::contents::{Evicted, Folded};
use super::evictor::Evictor;
use super::live::LiveWindows;
use super::logic::WindowLogic;
use super::operator::WindowOperator;
use super::trigger::Trigger;
use crate::selector::KeySelector;

/// What windows are that have an [`Evictor`]: their records are kept until they end.
///
/// ```
/// use rivus_operators::{CountEvictor, Evicting, MaybeEvictor};
///
/// let last_two = Evicting::by(CountEvictor::keep(2));
/// assert!(MaybeEvictor::<u64>::check(&last_two).is_ok());
/// ```
pub struct Evicting<In>(Arc<dyn Evictor<In>>);

impl<In> Evicting<In> {
    /// By an evictor.
    pub fn by(evictor: impl Evictor<In>) -> Self {
        Self(Arc::new(evictor))
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for () {}
    impl<In> Sealed for super::Evicting<In> {}
}

/// Whether windows have an evictor: [`Evicting`], or `()` for none. There are no others.
pub trait MaybeEvictor<In>: sealed::Sealed + Send + Sync + Sized + 'static {
    /// Whether there is one.
    const IS_SET: bool;

    /// Says what is wrong with it, if anything is.
    ///
    /// # Errors
    /// One line with the mend.
    fn check(&self) -> Result<(), String>;

    /// What windows one by one keep.
    #[doc(hidden)]
    fn states<S, L, G>() -> Vec<StateType>
    where
        In: Record,
        S: KeySelector<In>,
        L: WindowLogic<S::Key, In = In>,
        G: Trigger<In>;

    /// The stage of windows one by one.
    #[doc(hidden)]
    fn stage<S, L, G>(
        &self,
        operator: &WindowOperator<In, S, L, G, Self>,
        cx: &BuildContext<'_>,
        outlets: Outlets,
    ) -> Result<AnyStage, Failure>
    where
        In: Record,
        S: KeySelector<In>,
        L: WindowLogic<S::Key, In = In>,
        G: Trigger<In>;
}

impl<In> MaybeEvictor<In> for () {
    const IS_SET: bool = false;

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn states<S, L, G>() -> Vec<StateType>
    where
        In: Record,
        S: KeySelector<In>,
        L: WindowLogic<S::Key, In = In>,
        G: Trigger<In>,
    {
        LiveWindows::<In, S, Folded<L>, G>::states()
    }

    fn stage<S, L, G>(
        &self,
        operator: &WindowOperator<In, S, L, G>,
        cx: &BuildContext<'_>,
        outlets: Outlets,
    ) -> Result<AnyStage, Failure>
    where
        In: Record,
        S: KeySelector<In>,
        L: WindowLogic<S::Key, In = In>,
        G: Trigger<In>,
    {
        operator.live(Folded(operator.windows.logic.clone()), cx, outlets)
    }
}

impl<In: 'static> MaybeEvictor<In> for Evicting<In> {
    const IS_SET: bool = true;

    fn check(&self) -> Result<(), String> {
        self.0.check()
    }

    fn states<S, L, G>() -> Vec<StateType>
    where
        In: Record,
        S: KeySelector<In>,
        L: WindowLogic<S::Key, In = In>,
        G: Trigger<In>,
    {
        LiveWindows::<In, S, Evicted<In, L>, G>::states()
    }

    fn stage<S, L, G>(
        &self,
        operator: &WindowOperator<In, S, L, G, Self>,
        cx: &BuildContext<'_>,
        outlets: Outlets,
    ) -> Result<AnyStage, Failure>
    where
        In: Record,
        S: KeySelector<In>,
        L: WindowLogic<S::Key, In = In>,
        G: Trigger<In>,
    {
        let (logic, evictor) = (operator.windows.logic.clone(), Arc::clone(&self.0));
        operator.live(Evicted { logic, evictor }, cx, outlets)
    }
}
