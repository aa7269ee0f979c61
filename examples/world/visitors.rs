//! A web site's visitors, and what each of them viewed in the slices of a day.

use rivus::{
    Event, Keyed, KeyedProcessFunction, MapState, Output, SideOutputTag, Timer, UserError,
};

use super::access::View;
use super::days::{Days, Slice};

/// Tells each slice of a day that a visitor viewed something in, when it has ended.
#[derive(Clone)]
pub struct Visitors {
    /// How days are divided.
    pub days: Days,
    /// Where views go whose slice has been told.
    pub too_late: SideOutputTag<View>,
}

impl KeyedProcessFunction<String, View> for Visitors {
    type Out = Slice;
    /// A visitor's views of the day, by the last millisecond of their slice.
    type State = MapState<i64, u64>;

    fn process(
        &mut self,
        view: Event<View>,
        slices: &mut Keyed<'_, String, Self::State>,
        out: &mut Output<'_, Slice>,
    ) -> Result<(), UserError> {
        let last = self.days.last_of_slice(view.ts);
        if last > slices.watermark() {
            *slices.entry(last).or_default() += 1;
            slices.register_event_timer(last);
            slices.register_event_timer(self.days.last_of_day(view.ts));
        } else {
            out.side(&self.too_late, view.value);
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        slices: &mut Keyed<'_, String, Self::State>,
        out: &mut Output<'_, Slice>,
    ) -> Result<(), UserError> {
        if let Some(views) = slices.get(&timer.ts) {
            let is_first = slices.keys().next() == Some(&timer.ts);
            out.emit(self.days.slice(timer.ts, *views, is_first));
        }
        if timer.ts == self.days.last_of_day(timer.ts) {
            slices.retain(|last, _| *last > timer.ts);
        }
        Ok(())
    }
}
