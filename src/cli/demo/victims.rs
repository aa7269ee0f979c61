//! Who can be killed: a probe that remembers every actor that starts.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use ractor::{ActorCell, ActorStatus};
use rivus::connectors::SplitMix;
use rivus::engine::{ActorKind, Probe};

/// Every actor that has started and isn't known to be dead.
#[derive(Default)]
pub(super) struct Victims(Mutex<Vec<Victim>>);

struct Victim {
    kind: ActorKind,
    label: String,
    actor: ActorCell,
}

impl Probe for Victims {
    fn spawned(&self, kind: ActorKind, label: &dyn Display, actor: ActorCell) {
        let label = label.to_string();
        let victim = Victim { kind, label, actor };
        let mut victims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        victims.push(victim);
    }
}

impl Victims {
    /// Kills an actor of a kind chosen at random, so that the many subtasks don't draw all the fire. The
    /// JobManager has its own turn. Says who it was; nobody if nobody is alive.
    pub(super) fn kill_one(&self, rng: &mut SplitMix) -> Option<(ActorKind, String)> {
        let mut victims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        victims.retain(|victim| victim.actor.get_status() == ActorStatus::Running);
        let mut kinds: Vec<ActorKind> = victims.iter().map(|victim| victim.kind).collect();
        kinds.retain(|kind| *kind != ActorKind::JobManager);
        kinds.sort_unstable();
        kinds.dedup();
        let kind = *rng.pick(&kinds)?;
        let chosen: Vec<&Victim> = victims
            .iter()
            .filter(|victim| victim.kind == kind)
            .collect();
        let victim = rng.pick(&chosen)?;
        victim.actor.kill();
        Some((kind, victim.label.clone()))
    }
}
