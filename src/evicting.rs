//! Whether windows have an evictor, told by their type: a program is compiled with evictors only where it has some.

use std::sync::Arc;

use rivus_core::Record;
use rivus_operators::{Evictor, KeySelector, Trigger, WindowLogic, WindowOperator};

/// What windows are that have an evictor.
pub struct Evicting<T>(Arc<dyn Evictor<T>>);

impl<T> Evicting<T> {
    pub(crate) fn by(evictor: impl Evictor<T>) -> Self {
        Self(Arc::new(evictor))
    }
}

/// An evictor, or `()` for none.
pub trait MaybeEvictor<T>: Sized {
    /// Sets it on an operator.
    fn set_on<S, L, G>(self, operator: WindowOperator<T, S, L, G>) -> WindowOperator<T, S, L, G>
    where
        T: Record,
        S: KeySelector<T>,
        L: WindowLogic<S::Key, In = T>,
        G: Trigger<T>;
}

impl<T> MaybeEvictor<T> for () {
    fn set_on<S, L, G>(self, operator: WindowOperator<T, S, L, G>) -> WindowOperator<T, S, L, G>
    where
        T: Record,
        S: KeySelector<T>,
        L: WindowLogic<S::Key, In = T>,
        G: Trigger<T>,
    {
        operator
    }
}

impl<T> MaybeEvictor<T> for Evicting<T> {
    fn set_on<S, L, G>(self, operator: WindowOperator<T, S, L, G>) -> WindowOperator<T, S, L, G>
    where
        T: Record,
        S: KeySelector<T>,
        L: WindowLogic<S::Key, In = T>,
        G: Trigger<T>,
    {
        operator.evictor(self.0)
    }
}
