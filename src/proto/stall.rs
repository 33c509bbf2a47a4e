//! When a peer counts as slow.

use std::time::Duration;

use crate::clock::Moment;

/// Watches one outbox. A peer is slow if it takes nothing for the whole of the timeout while
/// something waits, or if its outbox refuses frames for as long without ever becoming half empty.
#[derive(Debug, Clone)]
pub struct Stall {
    timeout: Duration,
    /// Since when something has waited without a byte being taken.
    waiting: Option<Moment>,
    /// Since when the outbox has been refusing.
    full: Option<Moment>,
}

impl Stall {
    /// Nothing waits yet.
    #[must_use]
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout, waiting: None, full: None }
    }

    /// How the outbox stands after an attempt to write: whether the peer took anything, whether
    /// something still waits, whether the outbox is refusing.
    pub fn observe(&mut self, now: Moment, taken: bool, pending: bool, refusing: bool) {
        if !pending {
            self.waiting = None;
        } else if taken || self.waiting.is_none() {
            self.waiting = Some(now);
        }
        self.full = if refusing { self.full.or(Some(now)) } else { None };
    }

    /// Whether the peer is slow.
    #[must_use]
    pub fn is_slow(&self, now: Moment) -> bool {
        self.deadline().is_some_and(|due| now >= due)
    }

    /// When the peer will be slow unless something changes.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        [self.waiting, self.full].into_iter().flatten().min().map(|since| since + self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::after(Duration::from_secs(secs))
    }

    #[test]
    fn a_peer_that_takes_nothing_is_slow_after_the_timeout() {
        let mut stall = Stall::new(Duration::from_secs(5));
        stall.observe(at(1), false, true, false);
        stall.observe(at(3), false, true, false);
        assert_eq!(stall.deadline(), Some(at(6)));
        assert!(!stall.is_slow(at(5)) && stall.is_slow(at(6)));
    }

    #[test]
    fn progress_and_an_empty_outbox_start_over() {
        let mut stall = Stall::new(Duration::from_secs(5));
        stall.observe(at(1), false, true, false);
        stall.observe(at(4), true, true, false);
        assert_eq!(stall.deadline(), Some(at(9)));
        stall.observe(at(5), true, false, false);
        assert_eq!(stall.deadline(), None);
    }

    #[test]
    fn a_trickle_does_not_save_a_peer_whose_outbox_stays_full() {
        let mut stall = Stall::new(Duration::from_secs(5));
        for secs in 0..5 {
            stall.observe(at(secs), true, true, true);
            assert!(!stall.is_slow(at(secs)));
        }
        assert!(stall.is_slow(at(5)));
        stall.observe(at(5), true, true, false);
        assert!(!stall.is_slow(at(5)));
    }
}
