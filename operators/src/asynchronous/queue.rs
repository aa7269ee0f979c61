//! Which results may be handed on.
//!
//! Requests stand in groups. Within a group, results are handed on as they come; a group begins only when the one
//! before it is through. Between two groups stands what was told in between: a watermark, idleness. Unordered, a group
//! reaches from one watermark to the next; ordered, each request is a group of its own.

use std::collections::{BTreeMap, VecDeque};

use rivus_core::{Control, Event, RunningFuture, Timestamp};

use super::request::Answer;

struct Asked<In> {
    event: Event<In>,
    _running: RunningFuture,
}

struct Answered<In, Out> {
    id: u64,
    event: Event<In>,
    answer: Answer<Out>,
}

struct Group<In, Out> {
    asked: BTreeMap<u64, Asked<In>>,
    answered: VecDeque<Answered<In, Out>>,
    /// What was told behind its records.
    watermark: Option<Timestamp>,
    idle: bool,
}

impl<In, Out> Group<In, Out> {
    fn new() -> Self {
        Self {
            asked: BTreeMap::new(),
            answered: VecDeque::new(),
            watermark: None,
            idle: false,
        }
    }

    fn is_closed(&self) -> bool {
        self.watermark.is_some() || self.idle
    }
}

/// What is next.
pub(super) enum Ready<In, Out> {
    Answer(Event<In>, Answer<Out>),
    Control(Control),
}

/// Requests under way, and results that have not been handed on.
pub(super) struct Queue<In, Out> {
    ordered: bool,
    groups: VecDeque<Group<In, Out>>,
    /// Groups by the number of their first request; parallel to `groups`.
    firsts: VecDeque<u64>,
    requests: usize,
    next_id: u64,
}

impl<In: Clone, Out> Queue<In, Out> {
    pub(super) fn new(ordered: bool) -> Self {
        Self {
            ordered,
            groups: VecDeque::new(),
            firsts: VecDeque::new(),
            requests: 0,
            next_id: 0,
        }
    }

    /// Records whose results have not been handed on.
    pub(super) fn len(&self) -> usize {
        self.requests
    }

    /// The number of the next request.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    fn begin_group(&mut self) {
        self.groups.push_back(Group::new());
        self.firsts.push_back(self.next_id);
    }

    /// Takes a request that has been made.
    pub(super) fn ask(&mut self, event: Event<In>, running: RunningFuture) {
        let joins = self.groups.back().is_some_and(|group| !group.is_closed());
        if self.ordered || !joins {
            self.begin_group();
        }
        let asked = Asked {
            event,
            _running: running,
        };
        if let Some(group) = self.groups.back_mut() {
            group.asked.insert(self.next_id, asked);
        }
        self.next_id += 1;
        self.requests += 1;
    }

    /// Takes a watermark or idleness: told when all records before it have been handed on.
    pub(super) fn tell(&mut self, control: Control) {
        if self.groups.is_empty() {
            self.begin_group();
        }
        let Some(group) = self.groups.back_mut() else {
            return;
        };
        match control {
            Control::Watermark(watermark) => {
                group.watermark = Some(watermark);
                group.idle = false;
            }
            _ => group.idle = true,
        }
    }

    /// Takes an answer.
    pub(super) fn answer(&mut self, id: u64, answer: Answer<Out>) {
        let at = self.firsts.partition_point(|first| *first <= id);
        let group = at.checked_sub(1).and_then(|at| self.groups.get_mut(at));
        if let Some(group) = group
            && let Some(Asked { event, .. }) = group.asked.remove(&id)
        {
            group.answered.push_back(Answered { id, event, answer });
        }
    }

    /// What may be handed on next.
    pub(super) fn ready(&mut self) -> Option<Ready<In, Out>> {
        loop {
            let group = self.groups.front_mut()?;
            if let Some(Answered { event, answer, .. }) = group.answered.pop_front() {
                self.requests -= 1;
                return Some(Ready::Answer(event, answer));
            }
            if !group.asked.is_empty() {
                return None;
            }
            if let Some(watermark) = group.watermark.take() {
                return Some(Ready::Control(Control::Watermark(watermark)));
            }
            if std::mem::take(&mut group.idle) {
                return Some(Ready::Control(Control::Idle));
            }
            self.groups.pop_front();
            self.firsts.pop_front();
        }
    }

    /// The records whose results have not been handed on, in their order.
    pub(super) fn records(&self) -> Vec<Event<In>> {
        let mut records: Vec<(u64, &Event<In>)> = Vec::with_capacity(self.requests);
        for group in &self.groups {
            records.extend(group.asked.iter().map(|(id, asked)| (*id, &asked.event)));
            records.extend(group.answered.iter().map(|done| (done.id, &done.event)));
        }
        records.sort_by_key(|(id, _)| *id);
        records
            .into_iter()
            .map(|(_, event)| event.clone())
            .collect()
    }
}
