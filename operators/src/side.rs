//! Side outputs: what an operator emits beside its main stream, by typed tags.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use rivus_core::{AnyStage, Failure, Record, SideTag};

use crate::outlet::{Side, Sides, TypedSide, unwritten};

/// Names a side output of an operator and the type of its records.
///
/// ```
/// use rivus_operators::SideOutputTag;
///
/// let late: SideOutputTag<String> = SideOutputTag::new("late");
/// assert_eq!(late.name(), "late");
/// ```
pub struct SideOutputTag<S> {
    name: Arc<str>,
    of: PhantomData<fn() -> S>,
}

impl<S> SideOutputTag<S> {
    /// A tag; two of the same name and type are the same.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            of: PhantomData,
        }
    }

    /// Its name within the operator.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<S> Clone for SideOutputTag<S> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            of: PhantomData,
        }
    }
}

impl<S> fmt::Debug for SideOutputTag<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SideOutputTag").field(&self.name).finish()
    }
}

/// Knows a side output's type.
trait Declared: Send + Sync {
    fn side(&self, stage: AnyStage) -> Result<Box<dyn Side>, Failure>;
}

impl<S: Record> Declared for SideOutputTag<S> {
    fn side(&self, stage: AnyStage) -> Result<Box<dyn Side>, Failure> {
        Ok(Box::new(TypedSide::new(self.clone(), stage)?))
    }
}

/// The side outputs that somebody reads. Clones share one list, so that a tag can be declared on the
/// stream after its operator was made.
///
/// Whoever declares a tag must also put a [`TypedOutput`](rivus_core::TypedOutput) of the same name into
/// the operator's [`StreamNode::sides`](rivus_core::StreamNode::sides).
#[derive(Clone, Default)]
pub struct SideOutputs {
    declared: Arc<Mutex<BTreeMap<SideTag, Box<dyn Declared>>>>,
}

impl SideOutputs {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tag; declaring it again changes nothing.
    pub fn declare<S: Record>(&self, tag: &SideOutputTag<S>) {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.insert(tag.name().to_owned(), Box::new(tag.clone()));
    }

    /// The buffers, in front of the stages that take them.
    pub(crate) fn build(&self, outlets: BTreeMap<SideTag, AnyStage>) -> Result<Sides, Failure> {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let sides = outlets
            .into_iter()
            .map(|(name, stage)| match declared.get(&name) {
                Some(tag) => tag.side(stage),
                None => Err(unwritten(&name)),
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Sides::new(sides))
    }
}

impl fmt::Debug for SideOutputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(declared.keys()).finish()
    }
}
