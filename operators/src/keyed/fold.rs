//! Folding records into a value of another type.

use std::fmt;
use std::marker::PhantomData;

use rivus_core::Record;

use super::{AggregateFunction, Rolling};
use crate::OwnedOrLent;

/// Folds records into a value that begins as a given one.
///
/// By key it needs nothing more. A window's panes are folded each by itself, so there it must be said how two of them
/// become one: [`merged_by`](Self::merged_by).
///
/// ```
/// use rivus_operators::{AggregateFunction, Fold};
///
/// let path = Fold::new(String::new(), |path: &mut String, page: &String| *path += page)
///     .merged_by(|path, later| *path += &later);
/// let mut acc = path.create();
/// path.add(&mut acc, &"/a".to_owned());
/// path.add(&mut acc, &"/b".to_owned());
/// assert_eq!(path.result(&acc), "/a/b");
/// ```
///
/// ```compile_fail
/// # use rivus_operators::{AggregateFunction, Fold};
/// let path = Fold::new(String::new(), |path: &mut String, page: &String| *path += page);
/// path.create(); // no aggregate function: say how two are merged
/// ```
pub struct Fold<T, A, F, M = ()> {
    initial: A,
    fold: F,
    merge: M,
    of: PhantomData<fn(&T)>,
}

impl<T, A, F> Fold<T, A, F>
where
    T: Record,
    A: Record,
    F: Fn(&mut A, &T) + Clone + Send + Sync + 'static,
{
    /// What a key begins with, and how a record changes it.
    pub fn new(initial: A, fold: F) -> Self {
        Self {
            initial,
            fold,
            merge: (),
            of: PhantomData,
        }
    }

    /// How a value takes in another that was folded from other records, often later ones. Both began with the
    /// initial value.
    pub fn merged_by<M>(self, merge: M) -> Fold<T, A, F, M>
    where
        M: Fn(&mut A, A) + Clone + Send + Sync + 'static,
    {
        Fold {
            initial: self.initial,
            fold: self.fold,
            merge,
            of: PhantomData,
        }
    }
}

impl<T, A: Clone, F: Clone, M: Clone> Clone for Fold<T, A, F, M> {
    fn clone(&self) -> Self {
        Self {
            initial: self.initial.clone(),
            fold: self.fold.clone(),
            merge: self.merge.clone(),
            of: PhantomData,
        }
    }
}

impl<T, A: fmt::Debug, F, M> fmt::Debug for Fold<T, A, F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fold").field(&self.initial).finish()
    }
}

impl<T, A, F, M> AggregateFunction for Fold<T, A, F, M>
where
    T: Record,
    A: Record,
    F: Fn(&mut A, &T) + Clone + Send + Sync + 'static,
    M: Fn(&mut A, A) + Clone + Send + Sync + 'static,
{
    type In = T;
    type Acc = A;
    type Out = A;

    fn create(&self) -> A {
        self.initial.clone()
    }

    #[inline]
    fn add(&self, acc: &mut A, value: &T) {
        (self.fold)(acc, value);
    }

    fn merge(&self, acc: &mut A, other: A) {
        (self.merge)(acc, other);
    }

    fn result(&self, acc: &A) -> A {
        acc.clone()
    }
}

impl<T, A, F, M> Rolling<T> for Fold<T, A, F, M>
where
    T: Record,
    A: Record,
    F: Fn(&mut A, &T) + Clone + Send + Sync + 'static,
    M: Clone + Send + Sync + 'static,
{
    type Acc = A;
    type Out = A;

    fn create(&self) -> A {
        self.initial.clone()
    }

    #[inline]
    fn roll<V: OwnedOrLent<T>>(&self, acc: &mut A, value: V) -> Option<A> {
        (self.fold)(acc, value.borrow());
        Some(acc.clone())
    }
}
