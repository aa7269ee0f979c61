//! The window operator behind an exchange before which records are gathered: there is no other way of working than by panes.

use rivus_core::{
    AnyStage, BuildContext, Chain, Failure, Hashed, OperatorFactory, Outlets, Record, SidesRead,
    StateType, Task,
};

use super::WindowAssigner;
use super::live::{self, LiveState};
use super::logic::WindowLogic;
use super::operator::{refuse_other, staged};
use super::paned::PanedWindows;
use crate::selector::KeySelector;
use crate::side::{SideOutputTag, check_only};

/// What works by panes, and what is set on it.
#[derive(Clone)]
pub(super) struct ByPanes<In, S, L> {
    pub(super) selector: S,
    pub(super) assigner: WindowAssigner,
    pub(super) logic: L,
    pub(super) lateness: i64,
    pub(super) late: Option<SideOutputTag<In>>,
    pub(super) is_single: bool,
}

impl<In, S, L> OperatorFactory for ByPanes<In, S, L>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
{
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        self.logic.check()?;
        check_only(self.late.as_ref(), read)
    }

    fn is_single(&self) -> bool {
        self.is_single
    }

    fn states(&self) -> Vec<StateType> {
        PanedWindows::<In, S, L>::states()
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let written: Vec<LiveState> = cx.restored.blobs(cx.uid, live::STATE)?;
        refuse_other(written.is_empty(), cx)?;
        let late = (self.lateness, self.late.clone());
        let (selector, logic) = (self.selector.clone(), self.logic.clone());
        let work = PanedWindows::new(selector, logic, &self.assigner, late, cx)?;
        staged(work, self.late.as_ref(), cx, outlets)
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Hashed<In>>::task(stage)
    }
}
