//! The only place that reads a clock.
//!
//! Everything that decides takes a [`Moment`] as an argument, so it runs the same under the paused
//! clock of a simulation.

use std::{
    ops::{Add, Sub},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// A point in time: nanoseconds since the Unix epoch, as the machine's clock had it when the node's
/// [`Clock`] was made, and monotonic from there. So it can be kept and read by a later run, but is
/// not moved by a machine's clock that is set while the node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The Unix epoch; also the moment at which a clock of a simulation starts.
    pub const ZERO: Self = Self(0);

    /// The moment this long after the Unix epoch.
    #[must_use]
    pub fn after(since_epoch: Duration) -> Self {
        Self(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The time from the Unix epoch to this moment.
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// The moment this many nanoseconds after the Unix epoch; undoes [`as_nanos`](Self::as_nanos).
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds from the Unix epoch to this moment: all that it is, to be kept on disk.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since an earlier moment; zero if that one is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    /// The moment this long before, or [`Moment::ZERO`] if there is none.
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Tells the time of one node. Copies tell the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    epoch: Moment,
}

impl Clock {
    /// A clock that starts now, at what the machine's clock says (or at the Unix epoch if that is
    /// set to an earlier time).
    #[must_use]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), epoch: Moment::after(wall) }
    }

    /// A clock that starts now and calls that [`Moment::ZERO`]: for simulations, in which
    /// everything repeats.
    #[must_use]
    pub fn start_at_zero() -> Self {
        Self { origin: Instant::now(), epoch: Moment::ZERO }
    }

    /// The moment it is.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.epoch + self.origin.elapsed()
    }

    /// The time from the clock's start to a moment.
    #[must_use]
    pub const fn since_start(&self, moment: Moment) -> Duration {
        moment.since(self.epoch)
    }

    /// The runtime's name for a moment, to set a timer to: rounded up to whole milliseconds.
    ///
    /// That is the resolution of tokio's timers anyway, but it rounds from the moment at which the
    /// runtime was started. Without this, the fraction of a millisecond at which a simulation
    /// happens to begin would decide which of two timers fires first.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + whole_millis(self.since_start(moment))
    }

    /// How long from now until a moment, for a timer; rounded as in [`instant`](Self::instant).
    #[must_use]
    pub fn until(&self, moment: Moment) -> Duration {
        self.instant(moment).saturating_duration_since(Instant::now())
    }
}

/// A duration, rounded up to whole milliseconds.
pub(crate) fn whole_millis(duration: Duration) -> Duration {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_moment_is_before_the_first() {
        let second = Duration::from_secs(1);
        let later = Moment::ZERO + second;
        assert_eq!((later + second - second, later - second), (later, Moment::ZERO));
        assert_eq!(later - Duration::MAX, Moment::ZERO);
    }
}
