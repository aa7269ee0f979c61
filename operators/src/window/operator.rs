//! The window operator: what can be set on it, and which way of working that calls for.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use rivus_core::{
    AnyStage, BuildContext, Chain, Either, Failure, Hashed, OperatorFactory, Outlets, Record,
    SidesRead, StateType, Task,
};

use super::assigner::WindowKind;
use super::contents::Contents;
use super::evicting::MaybeEvictor;
use super::live::{self, GapOf, LiveSettings, LiveState, LiveWindows};
use super::logic::{WindowAggregate, WindowFunction, WindowLogic, WindowProcess, WindowReduce};
use super::paned::{self, PanedWindows, WindowsState};
use super::partial::{Merging, Partial};
use super::preaggregation::PreAggregation;
use super::trigger::Trigger;
use super::triggers::EndTrigger;
use super::{WindowAssigner, millis};
use crate::driver::{Driver, Work};
use crate::keyed::{AggregateFunction, TimeDomain};
use crate::selector::{KeySelector, by_either, by_ref};
use crate::side::{SideOutputTag, SideOutputs, check_only};

/// Makes stages that gather records by key and window, and emit `Windowed<S::Key, L::Out>`.
///
/// Results have the time of their window's last millisecond; those of global windows, which have none, the time of the
/// record or timer at which they fire.
///
/// ```
/// use rivus_operators::{Count, WindowAssigner, WindowOperator, by_ref};
/// use std::time::Duration;
///
/// let by_page = by_ref::<String, str, _>(|page| page);
/// let views = WindowOperator::aggregate(
///     by_page,
///     WindowAssigner::tumbling(Duration::from_secs(60)),
///     Count::<String>::new(),
/// )
/// .allowed_lateness(Duration::from_secs(10));
/// # let _: &dyn rivus_core::OperatorFactory = &views;
/// ```
pub struct WindowOperator<In, S, L, G = EndTrigger, E = ()> {
    pub(super) windows: Settings<In, S, L>,
    gap_of: Option<GapOf<In>>,
    trigger: G,
    /// Whether it isn't the one that windows have anyway.
    has_trigger: bool,
    evictor: E,
}

/// What is set on windows beside what only those have that work one by one.
#[derive(Clone)]
pub(super) struct Settings<In, S, L> {
    selector: S,
    assigner: WindowAssigner,
    pub(super) logic: L,
    lateness: i64,
    late: Option<SideOutputTag<In>>,
    is_single: bool,
}

impl<In: Record, S: KeySelector<In>, L: WindowLogic<S::Key, In = In>> WindowOperator<In, S, L> {
    fn new(selector: S, assigner: WindowAssigner, logic: L) -> Self {
        Self {
            windows: Settings {
                selector,
                assigner,
                logic,
                lateness: 0,
                late: None,
                is_single: false,
            },
            gap_of: None,
            trigger: EndTrigger,
            has_trigger: false,
            evictor: (),
        }
    }
}

impl<In, S, L, E> WindowOperator<In, S, L, EndTrigger, E> {
    /// Windows fire when a trigger says so, instead of at their end.
    pub fn trigger<G: Trigger<In>>(self, trigger: G) -> WindowOperator<In, S, L, G, E> {
        WindowOperator {
            windows: self.windows,
            gap_of: self.gap_of,
            trigger,
            has_trigger: true,
            evictor: self.evictor,
        }
    }
}

impl<In, S, L, G, E> WindowOperator<In, S, L, G, E> {
    /// Windows keep their records, and an [evictor](super::Evicting) says which of them count; or `()` does, for none.
    pub fn evictor<By: MaybeEvictor<In>>(self, evictor: By) -> WindowOperator<In, S, L, G, By> {
        WindowOperator {
            windows: self.windows,
            gap_of: self.gap_of,
            trigger: self.trigger,
            has_trigger: self.has_trigger,
            evictor,
        }
    }

    /// Sessions stay open after a record for as long as a function of it says.
    pub fn gap_by(mut self, gap: impl Fn(&In) -> Duration + Send + Sync + 'static) -> Self {
        self.gap_of = Some(Arc::new(gap));
        self
    }

    /// A window takes records for this much longer after its end, and fires again for each.
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.windows.lateness = millis(lateness);
        self
    }

    /// Records that are too late for all of their windows go to a side output, which somebody must read;
    /// without one they are counted.
    pub fn late_output(mut self, tag: SideOutputTag<In>) -> Self {
        self.windows.late = Some(tag);
        self
    }

    /// All records are of one key: there can be one subtask only.
    pub fn single(mut self) -> Self {
        self.windows.is_single = true;
        self
    }

    /// Whether its windows neither end nor have a trigger.
    pub(super) fn never_fires(&self) -> bool {
        self.windows.assigner.is_global() && !self.has_trigger
    }
}

impl<In, S, L, E> WindowOperator<In, S, L, EndTrigger, E>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
    E: MaybeEvictor<In>,
{
    /// The operator in two: what gathers records by pane or session before the exchange, and what takes those and records behind it,
    /// whose state is what it is without. None where records have to come one by one; `asked` says that the program asks for it.
    pub fn pre_aggregated(
        &self,
        asked: bool,
    ) -> Option<(
        PreAggregation<In, S, L>,
        impl OperatorFactory + use<In, S, L, E>,
    )> {
        let Settings {
            selector,
            assigner,
            logic,
            lateness,
            late,
            is_single,
        } = self.windows.clone();
        // Not all that is too late is so before the exchange: a side output for it wants every record.
        if late.is_some() || !logic.can_pre_aggregate(asked) {
            return None;
        }
        // A fold for which the order of merging counts could tell.
        let sessions = self.sessions().filter(|_| asked);
        let before = match sessions {
            Some(gap) => PreAggregation::of_sessions(selector.clone(), logic.clone(), gap),
            None if self.is_by_panes() => {
                let panes = assigner.panes().ok()?;
                PreAggregation::of_panes(selector.clone(), logic.clone(), panes, asked)
            }
            None => return None,
        };
        let by_key = by_either(selector, by_ref(Partial::<S::Key, L::Acc>::key));
        let mut behind = WindowOperator::new(by_key, assigner, Merging(logic));
        behind.windows.lateness = lateness;
        behind.windows.is_single = is_single;
        behind.gap_of = sessions.map(|gap| -> GapOf<_> {
            Arc::new(
                move |value: &Either<In, Partial<S::Key, L::Acc>>| match value {
                    Either::First(_) => whole_millis(gap),
                    Either::Second(partial) => whole_millis(gap.saturating_add(partial.span)),
                },
            )
        });
        Some((before, behind))
    }
}

fn whole_millis(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

impl<S, A> WindowOperator<A::In, S, WindowAggregate<A>>
where
    A: AggregateFunction,
    S: KeySelector<A::In>,
{
    /// By an aggregate function; emits `Windowed<S::Key, A::Out>`.
    pub fn aggregate(selector: S, assigner: WindowAssigner, function: A) -> Self {
        Self::new(selector, assigner, WindowAggregate(function))
    }
}

impl<T, S, F> WindowOperator<T, S, WindowReduce<T, F>>
where
    T: Record,
    S: KeySelector<T>,
    F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
{
    /// By a function that folds a record into what was gathered, in the order in which they come; emits
    /// `Windowed<S::Key, T>`.
    pub fn reduce(selector: S, assigner: WindowAssigner, fold: F) -> Self {
        let logic = WindowReduce {
            fold,
            is_associative: false,
            of: PhantomData,
        };
        Self::new(selector, assigner, logic)
    }

    /// What was folded may be folded in turn: windows that overlap share panes.
    pub fn associative(mut self) -> Self {
        self.windows.logic.is_associative = true;
        self
    }
}

impl<T, S, P> WindowOperator<T, S, WindowProcess<T, P>>
where
    T: Record,
    S: KeySelector<T>,
    P: WindowFunction<S::Key, T>,
{
    /// By a function of all records of a window; emits `Windowed<S::Key, P::Out>`.
    pub fn process(selector: S, assigner: WindowAssigner, function: P) -> Self {
        let logic = WindowProcess {
            function,
            of: PhantomData,
        };
        Self::new(selector, assigner, logic)
    }
}

impl<In, S, L, G, E> WindowOperator<In, S, L, G, E>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
    G: Trigger<In>,
    E: MaybeEvictor<In>,
{
    /// Whether nothing but event time and an assigner decides on its windows.
    fn is_plain(&self) -> bool {
        self.windows.assigner.domain() == Some(TimeDomain::Event)
            && !self.has_trigger
            && self.gap_of.is_none()
            && !E::IS_SET
    }

    /// Whether panes are enough.
    fn is_by_panes(&self) -> bool {
        let windows = &self.windows;
        let panes = windows.assigner.panes();
        self.is_plain()
            && panes.is_ok_and(|panes| panes.per_window == 1 || windows.logic.can_merge_panes())
    }

    /// The gap of plain sessions.
    fn sessions(&self) -> Option<i64> {
        match self.windows.assigner.kind() {
            WindowKind::Session { gap } if gap > 0 && self.is_plain() => Some(gap),
            _ => None,
        }
    }

    fn by_panes(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let written: Vec<LiveState> = cx.restored.blobs(cx.uid, live::STATE)?;
        refuse_other(written.is_empty(), cx)?;
        let windows = &self.windows;
        let late = (windows.lateness, windows.late.clone());
        let (selector, logic) = (windows.selector.clone(), windows.logic.clone());
        let work = PanedWindows::new(selector, logic, &windows.assigner, late, cx)?;
        staged(work, windows.late.as_ref(), cx, outlets)
    }

    fn check_windows(&self) -> Result<(), String> {
        let Settings {
            assigner,
            lateness,
            late,
            ..
        } = &self.windows;
        let kind = assigner.kind();
        match kind {
            WindowKind::Sliced { .. } => {
                assigner.panes().map_err(|failure| failure.message)?;
            }
            WindowKind::Session { gap: 0 } if self.gap_of.is_none() => {
                return Err(
                    "a session's gap must be at least one millisecond: give a longer Duration"
                        .to_owned(),
                );
            }
            WindowKind::Session { .. } if !self.trigger.can_merge() => {
                return Err(
                    "sessions become one when they meet, and the trigger can't follow: let it implement can_merge and \
                     on_merge, or take windows of a fixed size"
                        .to_owned(),
                );
            }
            WindowKind::Session { .. } | WindowKind::Global => {}
        }
        if self.gap_of.is_some() && !matches!(kind, WindowKind::Session { .. }) {
            return Err(
                "only sessions have a gap: leave .gap_by(..) out, or take WindowAssigner::session(..)"
                    .to_owned(),
            );
        }
        if assigner.domain() != Some(TimeDomain::Event) {
            if *lateness > 0 {
                return Err(
                    "only windows by event time can be late: leave .allowed_lateness(..) out"
                        .to_owned(),
                );
            }
            if late.is_some() {
                return Err(
                    "only windows by event time can be late: leave .late_output(..) out".to_owned(),
                );
            }
        }
        Ok(())
    }

    pub(super) fn live<C: Contents<S::Key, In = In>>(
        &self,
        contents: C,
        cx: &BuildContext<'_>,
        outlets: Outlets,
    ) -> Result<AnyStage, Failure> {
        let written: Vec<WindowsState> = cx.restored.blobs(cx.uid, paned::STATE)?;
        refuse_other(written.is_empty(), cx)?;
        let windows = &self.windows;
        let settings = LiveSettings {
            assigner: windows.assigner,
            gap_of: self.gap_of.clone(),
            contents,
            trigger: self.trigger.clone(),
            lateness: windows.lateness,
            late: windows.late.clone(),
        };
        let work = LiveWindows::new(windows.selector.clone(), settings, cx)?;
        staged(work, windows.late.as_ref(), cx, outlets)
    }
}

/// A stage that does the work, and has a side output for what is late.
fn staged<In: Record, W: Work<Hashed<In>> + 'static>(
    work: W,
    late: Option<&SideOutputTag<In>>,
    cx: &BuildContext<'_>,
    outlets: Outlets,
) -> Result<AnyStage, Failure> {
    let sides = SideOutputs::new();
    if let Some(tag) = late {
        sides.declare(tag);
    }
    let driver = Driver::new(work, cx, outlets, &sides)?;
    Ok(AnyStage::new::<Hashed<In>>(Box::new(driver)))
}

/// What was written by panes can't be read one by one, nor the other way round.
fn refuse_other(is_none: bool, cx: &BuildContext<'_>) -> Result<(), Failure> {
    if is_none {
        return Ok(());
    }
    Err(Failure::job(format!(
        "windows of operator {} got or lost a trigger, an evictor or another kind: give the operator another uid",
        cx.uid
    )))
}

impl<In, S, L, G, E> OperatorFactory for WindowOperator<In, S, L, G, E>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
    G: Trigger<In>,
    E: MaybeEvictor<In>,
{
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        self.check_windows()?;
        self.windows.logic.check()?;
        self.trigger.check(&self.windows.assigner)?;
        self.evictor.check()?;
        check_only(self.windows.late.as_ref(), read)
    }

    fn is_single(&self) -> bool {
        self.windows.is_single
    }

    fn states(&self) -> Vec<StateType> {
        match self.is_by_panes() {
            true => PanedWindows::<In, S, L>::states(),
            false => E::states::<S, L, G>(),
        }
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        if self.is_by_panes() {
            return self.by_panes(cx, outlets);
        }
        self.evictor.stage(self, cx, outlets)
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Hashed<In>>::task(stage)
    }
}
