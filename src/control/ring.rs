//! The latest events, numbered, for those who listen and those who come back.
//!
//! Invariants:
//! * E1: no more events, and no more bytes of them, than there is room for; the oldest give way.
//! * E2: numbers go up by one, so whoever knows the last number it has seen knows what it missed.

use std::{collections::VecDeque, sync::Arc};

/// The most events that are held.
pub const MAX_EVENTS: usize = 1024;

/// The most bytes of them. A single event may have more.
pub const MAX_EVENT_BYTES: usize = 8 << 20;

/// One event, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it is.
    pub name: &'static str,
    /// The topic, if it is a message that was published.
    pub topic: Option<Box<str>>,
    /// It as JSON, on one line.
    pub json: Box<str>,
}

impl Told {
    fn size(&self) -> usize {
        self.json.len() + self.topic.as_ref().map_or(0, |topic| topic.len())
    }
}

/// What comes after a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// The event, with its number.
    pub event: Option<(u64, Arc<Told>)>,
    /// How many were between, and are not held any more.
    pub missed: u64,
}

/// The latest events.
#[derive(Debug, Default)]
pub struct Ring {
    events: VecDeque<Arc<Told>>,
    bytes: usize,
    /// The number of the latest; that of the first is 1.
    last: u64,
}

impl Ring {
    /// Holds one more event.
    pub fn push(&mut self, told: Told) {
        self.last += 1;
        self.bytes += told.size();
        self.events.push_back(Arc::new(told));
        while self.events.len() > MAX_EVENTS
            || (self.bytes > MAX_EVENT_BYTES && self.events.len() > 1)
        {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.size();
        }
    }

    /// The number of the latest event; zero before the first.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// The first event after the one of this number, and how many were lost between.
    #[must_use]
    pub fn after(&self, seen: u64) -> After {
        let held = u64::try_from(self.events.len()).unwrap_or(u64::MAX);
        let gone = self.last - held;
        if seen >= self.last {
            return After { event: None, missed: 0 };
        }
        let next = seen.max(gone);
        let event = usize::try_from(next - gone).ok().and_then(|index| self.events.get(index));
        After { event: event.map(|event| (next + 1, event.clone())), missed: next - seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Told {
        Told { name: "message", topic: None, json: text.into() }
    }

    fn text(after: &After) -> Option<(u64, &str)> {
        after.event.as_ref().map(|(n, told)| (*n, &*told.json))
    }

    #[test]
    fn whoever_keeps_up_misses_nothing() {
        let mut ring = Ring::default();
        assert_eq!(ring.after(0), After { event: None, missed: 0 });
        for n in ["a", "b", "c"] {
            ring.push(told(n));
        }
        let mut seen = 0;
        for (n, expected) in [(1, "a"), (2, "b"), (3, "c")] {
            let after = ring.after(seen);
            assert_eq!((text(&after), after.missed), (Some((n, expected)), 0));
            seen = n;
        }
        assert_eq!(text(&ring.after(seen)), None);
    }

    #[test]
    fn whoever_comes_late_learns_how_much_it_missed() {
        let mut ring = Ring::default();
        for n in 0..MAX_EVENTS + 10 {
            ring.push(told(&n.to_string()));
        }
        let after = ring.after(3);
        assert_eq!((text(&after), after.missed), (Some((11, "10")), 7));
        assert_eq!(ring.after(11).missed, 0);
        assert_eq!(
            ring.after(u64::MAX).event,
            None,
            "a number of the future is nothing to wait for"
        );
    }

    #[test]
    fn bytes_are_bounded_too_but_one_event_always_fits() {
        let mut ring = Ring::default();
        ring.push(told("small"));
        ring.push(told(&"x".repeat(MAX_EVENT_BYTES + 1)));
        assert_eq!(ring.events.len(), 1);
        ring.push(told("small"));
        assert_eq!((ring.events.len(), ring.bytes), (1, 5));
        assert_eq!(ring.after(0).missed, 2);
    }
}
