//! Side outputs: what an operator emits beside its main stream, by typed tags.

use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use rivus_core::{AnyStage, Failure, Record, SideTag, SidesRead, SubtaskInfo, no_side_outputs};

use crate::outlet::{Side, Sides, TypedSide};

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
pub(crate) trait Declared: Send + Sync {
    /// Refuses a program in which nobody reads the side output, or reads it as something else.
    fn check(&self, read: &SidesRead) -> Result<(), String>;

    fn side(&self, stage: AnyStage, info: &SubtaskInfo) -> Result<Box<dyn Side>, Failure>;
}

impl<S: Record> Declared for SideOutputTag<S> {
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        let (name, written) = (self.name(), type_name::<S>());
        match read.get(name) {
            Some(output) if output.carries() == written => Ok(()),
            Some(output) => Err(format!(
                "side output \"{name}\" is read as {} and written as {written}: \
                 use clones of one tag",
                output.carries(),
            )),
            None => Err(format!(
                "side output \"{name}\" is written to, but nobody reads it: \
                 call .side_output(..) with the same tag on the operator's stream"
            )),
        }
    }

    fn side(&self, stage: AnyStage, info: &SubtaskInfo) -> Result<Box<dyn Side>, Failure> {
        Ok(Box::new(TypedSide::new(self.clone(), stage, info)?))
    }
}

/// Refuses a program in which an operator's only side output isn't read, or another is; it may have none.
pub(crate) fn check_only<S: Record>(
    written: Option<&SideOutputTag<S>>,
    read: &SidesRead,
) -> Result<(), String> {
    let Some(written) = written else {
        return no_side_outputs(read);
    };
    let mut others = read.clone();
    others.remove(written.name());
    no_side_outputs(&others)?;
    written.check(read)
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
    pub(crate) fn build(
        &self,
        outlets: BTreeMap<SideTag, AnyStage>,
        info: &SubtaskInfo,
    ) -> Result<Sides, Failure> {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let sides = outlets
            .into_iter()
            .map(|(name, stage)| match declared.get(&name) {
                Some(tag) => tag.side(stage, info),
                None => Err(Failure::job(format!(
                    "side output \"{name}\" has no type; this is a defect in Rivus"
                ))),
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
