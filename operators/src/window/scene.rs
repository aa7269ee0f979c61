//! What happens to one window of one key, at a record or at a time.

use rivus_core::{Failure, Key, Timestamp, ValueState};

use super::Windowed;
use super::contents::Contents;
use super::evictor::EvictorContext;
use super::row::LiveWindow;
use super::trigger::{Trigger, TriggerContext, TriggerResult};
use crate::OwnedOrLent;
use crate::keyed::TimeDomain;
use crate::outlet::Emitter;

/// A key, the clocks, and who decides.
pub(super) struct Scene<'a, K, C: Contents<K>, G> {
    pub(super) key: &'a K,
    pub(super) contents: &'a mut C,
    pub(super) trigger: &'a G,
    /// The clock that ends windows.
    pub(super) domain: Option<TimeDomain>,
    /// As the key's group knows it.
    pub(super) watermark: Timestamp,
    pub(super) now: Timestamp,
    /// Of the record or timer.
    pub(super) ts: Timestamp,
    pub(super) results: &'a mut Vec<C::Out>,
    pub(super) out: &'a mut Emitter<Windowed<K, C::Out>>,
}

impl<K: Key, C: Contents<K>, G: Trigger<C::In>> Scene<'_, K, C, G> {
    fn context<'l>(
        &self,
        live: &'l mut LiveWindow<C::Held, G::State>,
    ) -> TriggerContext<'l, G::State> {
        TriggerContext {
            window: live.window,
            domain: self.domain,
            state: &mut live.state,
            event_timers: &mut live.event_timers,
            processing_timers: &mut live.processing_timers,
            watermark: self.watermark,
            now: self.now,
        }
    }

    /// A record comes into a window.
    pub(super) fn take<V: OwnedOrLent<C::In>>(
        &mut self,
        live: &mut LiveWindow<C::Held, G::State>,
        value: V,
    ) -> Result<(), Failure> {
        let (trigger, ts) = (self.trigger, self.ts);
        let says = trigger.on_record(value.borrow(), ts, &mut self.context(live));
        if live.held.is_empty() {
            live.held.set(self.contents.create());
        }
        if let Some(held) = live.held.get_mut() {
            self.contents.add(held, ts, value);
        }
        self.follow(live, says, false)
    }

    /// The time of a clock has come; `goes` if it is the window's last.
    pub(super) fn strike(
        &mut self,
        live: &mut LiveWindow<C::Held, G::State>,
        domain: TimeDomain,
        goes: bool,
    ) -> Result<(), Failure> {
        let (trigger, ts) = (self.trigger, self.ts);
        let mut says = TriggerResult::Continue;
        if live.timers(domain).remove(ts) {
            let mut cx = self.context(live);
            says = match domain {
                TimeDomain::Event => trigger.on_event_time(ts, &mut cx),
                TimeDomain::Processing => trigger.on_processing_time(ts, &mut cx),
            };
        }
        self.follow(live, says, goes)?;
        if goes {
            trigger.clear(&mut self.context(live));
        }
        Ok(())
    }

    /// A window takes up others that it has met, in order of time.
    pub(super) fn merge(
        &mut self,
        live: &mut LiveWindow<C::Held, G::State>,
        others: impl Iterator<Item = LiveWindow<C::Held, G::State>>,
    ) {
        let mut states = Vec::new();
        for mut other in others {
            live.window = live.window.around(&other.window);
            match (live.held.get_mut(), other.held.take()) {
                (Some(held), Some(later)) => self.contents.merge(held, later),
                (None, Some(later)) => live.held.set(later),
                (_, None) => {}
            }
            states.push(other.state);
        }
        live.event_timers.clear();
        live.processing_timers.clear();
        let trigger = self.trigger;
        trigger.on_merge(states, &mut self.context(live));
    }

    /// Does what a trigger says.
    fn follow(
        &mut self,
        live: &mut LiveWindow<C::Held, G::State>,
        says: TriggerResult,
        goes: bool,
    ) -> Result<(), Failure> {
        if says.fires() {
            let keeps = !goes && !says.purges();
            self.fire(live, keeps)?;
        }
        if says.purges() {
            live.held.clear();
        }
        Ok(())
    }

    fn fire(
        &mut self,
        live: &mut LiveWindow<C::Held, G::State>,
        keeps: bool,
    ) -> Result<(), Failure> {
        let window = live.window;
        let cx = EvictorContext {
            window,
            watermark: self.watermark,
            now: self.now,
        };
        self.finish(&cx, &mut live.held, keeps)?;
        // A window that never ends has no time of its own.
        let ts = match window == super::Window::GLOBAL {
            true => self.ts,
            false => window.last(),
        };
        for value in self.results.drain(..) {
            let key = self.key.clone();
            self.out.emit(ts, Windowed { key, window, value });
        }
        Ok(())
    }

    fn finish(
        &mut self,
        cx: &EvictorContext,
        held: &mut ValueState<C::Held>,
        keeps: bool,
    ) -> Result<(), Failure> {
        let (key, results) = (self.key, &mut *self.results);
        let finished = if keeps {
            let held = held.get_mut();
            held.map(|held| self.contents.fire(key, cx, held, results))
        } else {
            let held = held.take();
            held.map(|held| self.contents.fire_last(key, cx, held, results))
        };
        finished
            .unwrap_or(Ok(()))
            .map_err(|error| Failure::user(&error))
    }
}
