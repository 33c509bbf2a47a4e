//! Hybrid logical clocks: times that follow a node's clock and what it has seen of others'
//! (Kulkarni and others, "Logical Physical Clocks", 2014).

use std::{fmt, time::Duration};

use crate::{clock::Moment, proto::replay};

/// How far ahead of this node's clock a record may be made: what two nodes' clocks may be apart
/// ([`MAX_SKEW`](crate::proto::replay::MAX_SKEW)).
pub const MAX_AHEAD: Duration = replay::MAX_SKEW;

/// When a record was made, in the order in which records replace each other: milliseconds since the Unix
/// epoch in the upper 48 bits, and a counter in the lower 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Hlc(u64);

impl Hlc {
    /// The first time of this moment.
    #[must_use]
    pub fn at(moment: Moment) -> Self {
        Self(replay::millis(moment).min(u64::MAX >> 16) << 16)
    }

    /// The time with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The time right after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The moment at which it was, by its maker's clock.
    #[must_use]
    pub const fn moment(self) -> Moment {
        // 48 bits of milliseconds in nanoseconds may be more than 64 bits hold.
        Moment::from_nanos((self.0 >> 16).saturating_mul(1_000_000))
    }

    /// Its milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// Whether it is further ahead of now than two clocks may be apart.
    #[must_use]
    pub fn is_ahead(self, now: Moment) -> bool {
        self.moment() > now + MAX_AHEAD
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// Gives out the times of one node.
///
/// Invariant: each time that [`tick`](Self::tick) gives is later than all that it gave and all that were
/// [`seen`](Self::seen) before, whatever the node's clock does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ticker {
    last: Hlc,
}

impl Ticker {
    /// The next time.
    pub fn tick(&mut self, now: Moment) -> Hlc {
        // The counter runs over into the milliseconds, which is as good.
        self.last = self.last.next().max(Hlc::at(now));
        self.last
    }

    /// Somebody has given this time; those that are too far [ahead](Hlc::is_ahead) must not come here, or
    /// one wrong clock would carry all along.
    pub fn seen(&mut self, time: Hlc) {
        self.last = self.last.max(time);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_only_grow(steps in proptest::collection::vec((any::<bool>(), 0u64..5_000), 1..200)) {
            let mut ticker = Ticker::default();
            let mut last = Hlc::default();
            for (is_tick, ms) in steps {
                let moment = Moment::after(Duration::from_millis(ms));
                if is_tick {
                    let next = ticker.tick(moment);
                    prop_assert!(next > last && next >= Hlc::at(moment));
                    last = next;
                } else {
                    ticker.seen(Hlc::at(moment));
                    last = last.max(Hlc::at(moment));
                }
            }
        }
    }

    #[test]
    fn a_time_knows_its_moment_and_whether_it_is_ahead() {
        let now = Moment::after(Duration::from_secs(1_000_000));
        let mut ticker = Ticker::default();
        let time = ticker.tick(now);
        assert_eq!((time.moment(), time.to_string()), (now, "1000000000.0".to_owned()));
        assert_eq!(ticker.tick(now).to_string(), "1000000000.1");
        assert!(!Hlc::at(now + MAX_AHEAD).is_ahead(now));
        assert!(Hlc::at(now + MAX_AHEAD + Duration::from_millis(1)).is_ahead(now));
        assert!(Hlc::from_bits(u64::MAX).is_ahead(now));
    }
}
