//! What a node counts as it goes, for whoever watches it: nothing is decided by these figures.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    proto::journal::{Decision, Kind},
    traffic::{Amount, OTHER, Traffic},
};

/// The bounds of the buckets of round-trip times: up to each of them, and one beyond the last.
pub const RTT_BOUNDS: [Duration; 13] = {
    let us = Duration::from_micros;
    [
        us(500),
        us(1_000),
        us(2_000),
        us(5_000),
        us(10_000),
        us(20_000),
        us(50_000),
        us(100_000),
        us(200_000),
        us(500_000),
        us(1_000_000),
        us(2_000_000),
        us(5_000_000),
    ]
};

/// How many round trips took how long.
#[derive(Debug, Default)]
pub(crate) struct RoundTrips {
    counts: [AtomicU64; RTT_BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// The same, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RttHistogram {
    /// Those in each bucket of [`RTT_BOUNDS`], and those beyond.
    pub counts: [u64; RTT_BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl RoundTrips {
    pub(crate) fn add(&self, sample: Duration) {
        let bucket = RTT_BOUNDS.iter().position(|bound| sample <= *bound);
        if let Some(count) = self.counts.get(bucket.unwrap_or(RTT_BOUNDS.len())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> RttHistogram {
        let mut counts = [0; RTT_BOUNDS.len() + 1];
        for (count, held) in counts.iter_mut().zip(&self.counts) {
            *count = held.load(Ordering::Relaxed);
        }
        RttHistogram { counts, sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)) }
    }
}

/// How often what was decided, by kind and reason. A reason in words of somebody else's (a peer's, the
/// system's) counts as [`OTHER`], so there are no more of them than the program's own words.
#[derive(Debug, Default)]
pub(crate) struct DecisionCounts(Mutex<BTreeMap<(Kind, &'static str), u64>>);

impl DecisionCounts {
    pub(crate) fn add(&self, decision: &Decision) {
        let reason = match &decision.reason {
            Cow::Borrowed(own) => own,
            Cow::Owned(_) => OTHER,
        };
        *self.0.lock().entry((decision.kind, reason)).or_default() += 1;
    }

    pub(crate) fn read(&self) -> Vec<(Kind, &'static str, u64)> {
        self.0.lock().iter().map(|((kind, reason), n)| (*kind, *reason, *n)).collect()
    }
}

/// What all sessions of a node count together.
#[derive(Debug, Default)]
pub struct Meters {
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) round_trips: RoundTrips,
}

/// What waits in the outboxes of all sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxDepth {
    /// Frames, in all.
    pub frames: usize,
    /// Bytes, in all.
    pub bytes: usize,
    /// Frames in the fullest.
    pub most_frames: usize,
    /// Bytes in the fullest.
    pub most_bytes: usize,
}

/// What a node has counted since its start, and how it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// What came, by msgtype.
    pub received: Vec<Amount>,
    /// What went, by msgtype.
    pub sent: Vec<Amount>,
    /// Round trips that pings measured.
    pub round_trips: RttHistogram,
    /// What was decided how often, by kind and reason; reasons in others' words count as [`OTHER`].
    pub decisions: Vec<(Kind, &'static str, u64)>,
    /// What waits to be written.
    pub outboxes: OutboxDepth,
    /// How long a message waits in an actor's mailbox until it is handled, measured now with one message
    /// each; of the sessions the longest of some. An actor that does not answer for a second is said to
    /// need that long.
    pub latencies: Vec<(&'static str, Duration)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    #[test]
    fn each_round_trip_is_in_one_bucket() {
        let trips = RoundTrips::default();
        for micros in [1, 500, 501, 9_000_000] {
            trips.add(Duration::from_micros(micros));
        }
        let read = trips.read();
        assert_eq!((read.counts[0], read.counts[1], read.counts[RTT_BOUNDS.len()]), (2, 1, 1));
        assert_eq!(read.counts.iter().sum::<u64>(), 4);
        assert_eq!(read.sum, Duration::from_micros(9_001_002));
    }

    #[test]
    fn words_of_others_are_no_label() {
        let counts = DecisionCounts::default();
        let decide = |reason: Cow<'static, str>| {
            counts.add(&Decision::new(Moment::ZERO, Kind::SessionDown, reason))
        };
        decide("timeout".into());
        decide("made up by a peer".to_owned().into());
        decide("and another".to_owned().into());
        assert_eq!(
            counts.read(),
            [(Kind::SessionDown, OTHER, 2), (Kind::SessionDown, "timeout", 1)]
        );
    }
}
