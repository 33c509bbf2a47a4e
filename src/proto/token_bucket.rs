//! How much of something may happen: a burst at once, then a rate.

use std::time::Duration;

use crate::clock::Moment;

/// A token bucket. Starts full.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    burst: u32,
    /// The time one token takes to come back.
    per_token: Duration,
    tokens: u32,
    /// The moment up to which time has been turned into tokens.
    filled: Moment,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens that refills `per_second`. A rate of zero counts as one.
    #[must_use]
    pub fn new(burst: u32, per_second: u32, now: Moment) -> Self {
        let per_token = Duration::from_secs(1) / per_second.max(1);
        Self { burst, per_token, tokens: burst, filled: now }
    }

    /// Takes up to `wanted` tokens; says how many there were.
    pub fn take(&mut self, now: Moment, wanted: u32) -> u32 {
        self.refill(now);
        let taken = wanted.min(self.tokens);
        self.tokens -= taken;
        taken
    }

    /// How many tokens there are. Looks what time has brought only if there seem to be none.
    pub fn tokens(&mut self, now: Moment) -> u32 {
        if self.tokens == 0 {
            self.refill(now);
        }
        self.tokens
    }

    /// Takes so many tokens, as far as there are, without looking what time has brought.
    pub const fn spend(&mut self, n: u32) {
        self.tokens = self.tokens.saturating_sub(n);
    }

    /// Takes a token that may not be there yet: the next ones come later for it.
    pub fn owe(&mut self, now: Moment) {
        self.refill(now);
        match self.tokens.checked_sub(1) {
            Some(left) => self.tokens = left,
            None => self.filled = self.filled + self.per_token,
        }
    }

    /// When the next token will be there; `now` if one is.
    pub fn next_token(&mut self, now: Moment) -> Moment {
        self.refill(now);
        if self.tokens > 0 { now } else { self.filled + self.per_token }
    }

    fn refill(&mut self, now: Moment) {
        let elapsed = now.since(self.filled).as_nanos();
        let new = elapsed / self.per_token.as_nanos().max(1);
        let room = u128::from(self.burst.saturating_sub(self.tokens));
        if new >= room {
            self.tokens = self.burst.max(self.tokens);
            self.filled = now.max(self.filled);
        } else {
            let new = u32::try_from(new).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(new);
            self.filled = self.filled + self.per_token * new;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::after(Duration::from_millis(ms))
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = TokenBucket::new(5, 10, at(0));
        assert_eq!(bucket.take(at(0), 9), 5);
        assert_eq!(bucket.take(at(99), 1), 0);
        assert_eq!(bucket.next_token(at(99)), at(100));
        assert_eq!(bucket.take(at(100), 1), 1);
        assert_eq!(bucket.take(at(100_000), 100), 5);
    }

    #[test]
    fn what_is_owed_is_waited_for() {
        let at = |secs| Moment::after(Duration::from_secs(secs));
        let mut bucket = TokenBucket::new(1, 1, at(0));
        for _ in 0..3 {
            bucket.owe(at(0));
        }
        assert_eq!(bucket.next_token(at(0)), at(3));
        assert_eq!(bucket.take(at(2), 1), 0);
        assert_eq!(bucket.take(at(3), 1), 1);
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate(
            steps in proptest::collection::vec((0u64..500, 0u32..20), 1..60),
        ) {
            let (burst, rate) = (7, 10);
            let mut bucket = TokenBucket::new(burst, rate, at(0));
            let (mut ms, mut taken) = (0, 0u64);
            for (step, wanted) in steps {
                ms += step;
                taken += u64::from(bucket.take(at(ms), wanted));
                prop_assert!(taken <= u64::from(burst) + ms * u64::from(rate) / 1000);
            }
        }
    }
}
