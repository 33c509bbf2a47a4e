//! How long to wait before something that ended is started again.

use std::time::Duration;

/// Doubles the pause from one failure to the next, up to a longest one; a run that lasted makes up for all
/// failures before it.
#[derive(Debug, Clone)]
pub struct BackOff {
    first: Duration,
    longest: Duration,
    lasting: Duration,
    next: Duration,
}

impl BackOff {
    /// Pauses from `first` to `longest`. A run of `lasting` begins anew.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration, lasting: Duration) -> Self {
        Self { first, longest, lasting, next: first }
    }

    /// The pause after a run of this length.
    pub fn after(&mut self, ran: Duration) -> Duration {
        if ran >= self.lasting {
            self.next = self.first;
        }
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn back_off() -> BackOff {
        BackOff::new(SECOND, 60 * SECOND, 60 * SECOND)
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut back_off = back_off();
        let pauses: Vec<u64> = (0..9).map(|_| back_off.after(Duration::ZERO).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_run_that_lasted_begins_anew_and_a_shorter_one_does_not() {
        let mut back_off = back_off();
        for _ in 0..5 {
            back_off.after(Duration::ZERO);
        }
        assert_eq!(back_off.after(60 * SECOND - Duration::from_nanos(1)), 32 * SECOND);
        assert_eq!(back_off.after(60 * SECOND), SECOND);
        assert_eq!(back_off.after(Duration::ZERO), 2 * SECOND);
    }

    #[test]
    fn a_first_pause_above_the_longest_is_cut() {
        let mut back_off = BackOff::new(Duration::MAX, SECOND, SECOND);
        assert_eq!(back_off.after(Duration::ZERO), SECOND);
        assert_eq!(back_off.after(Duration::ZERO), SECOND);
    }
}
