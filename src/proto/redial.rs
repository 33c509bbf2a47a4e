//! The pauses between dials of one address.

use std::time::Duration;

use rand::Rng;

/// How many quarters of the pause the jitter spans on each side: 25 %.
const JITTER: f64 = 0.25;

/// A ladder of pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Vec<Duration>);

impl Ladder {
    /// The pauses after the first, second, … failure.
    #[must_use]
    pub const fn new(steps: Vec<Duration>) -> Self {
        Self(steps)
    }

    /// The pause after this many failures in a row, with jitter so that nodes that lost the same
    /// peer at the same time do not come back together. `None`: the ladder is used up.
    pub fn pause(&self, failures: u32, rng: &mut impl Rng) -> Option<Duration> {
        let step = usize::try_from(failures).unwrap_or(usize::MAX).checked_sub(1)?;
        self.0.get(step).map(|pause| jittered(*pause, rng))
    }

    /// The same, but the ladder's last step no longer than `max` repeats for ever.
    pub fn pause_for_ever(&self, failures: u32, max: Duration, rng: &mut impl Rng) -> Duration {
        let step = usize::try_from(failures).unwrap_or(usize::MAX).saturating_sub(1);
        let pause = self.0.get(step).or(self.0.last()).copied().unwrap_or(max);
        jittered(pause.min(max), rng)
    }
}

/// A duration, a quarter longer or shorter at random.
pub fn jittered(pause: Duration, rng: &mut impl Rng) -> Duration {
    pause.mul_f64(rng.random_range(1.0 - JITTER..=1.0 + JITTER))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn each_pause_is_within_a_quarter_of_its_step_and_the_ladder_ends() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let ladder = Ladder::new([1, 5, 15].map(Duration::from_secs).to_vec());
        for (failures, secs) in [(1, 1.0), (2, 5.0), (3, 15.0)] {
            for _ in 0..100 {
                let pause = ladder.pause(failures, &mut rng).unwrap().as_secs_f64();
                assert!((secs * 0.75..=secs * 1.25).contains(&pause), "{pause}");
            }
        }
        assert_eq!(ladder.pause(4, &mut rng), None);
        let pause = ladder.pause_for_ever(1000, Duration::from_secs(10), &mut rng);
        assert!(pause <= Duration::from_millis(12_500) && pause >= Duration::from_millis(7_500));
    }
}
