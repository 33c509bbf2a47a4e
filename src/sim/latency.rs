//! How far apart hosts are.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::clock::whole_millis;

/// The longest way there is, whatever a distribution's tail says.
const LONGEST: Duration = Duration::from_secs(10);

/// How long bytes take from one host to another. It is drawn once per connection, for both
/// directions, and rounded up to whole milliseconds; nothing takes longer than 10 s.
#[derive(Debug, Clone, PartialEq)]
pub enum Latency {
    /// Evenly from a range.
    Range(RangeInclusive<Duration>),
    /// Log-normal: many short ways and a tail of long ones, as measured on the Internet.
    LogNormal {
        /// Half of all connections are shorter.
        median: Duration,
        /// The standard deviation of the natural logarithm; 0.5 makes one way in six longer than
        /// 1.65 times the median, and one in fifty longer than 2.8 times.
        sigma: f64,
    },
    /// Hosts are dealt out evenly to regions; the way between two regions is drawn once, and to it
    /// comes what each connection needs within its regions.
    Regions {
        /// How many regions; at least one counts.
        regions: u32,
        /// Evenly from this range, for every connection.
        within: RangeInclusive<Duration>,
        /// Evenly from this range, once for each two regions.
        between: RangeInclusive<Duration>,
    },
}

impl Default for Latency {
    /// 10 to 80 ms.
    fn default() -> Self {
        Self::Range(Duration::from_millis(10)..=Duration::from_millis(80))
    }
}

impl From<RangeInclusive<Duration>> for Latency {
    fn from(range: RangeInclusive<Duration>) -> Self {
        Self::Range(range)
    }
}

/// The distances of one network.
#[derive(Debug)]
pub(super) struct Map {
    latency: Latency,
    /// The way from each region to each later one, and zero to itself.
    between: Vec<Duration>,
}

impl Map {
    /// Draws what is drawn once.
    pub(super) fn new(latency: Latency, rng: &mut ChaCha8Rng) -> Self {
        let mut between = Vec::new();
        if let Latency::Regions { regions, between: range, .. } = &latency {
            for a in 0..*regions {
                for b in 0..*regions {
                    let way = if a < b { evenly(range, rng) } else { Duration::ZERO };
                    between.push(way);
                }
            }
        }
        Self { latency, between }
    }

    /// The way of one connection.
    pub(super) fn draw(&self, ends: [IpAddr; 2], rng: &mut ChaCha8Rng) -> Duration {
        let way = match &self.latency {
            Latency::Range(range) => evenly(range, rng),
            Latency::LogNormal { median, sigma } => {
                let seconds = median.as_secs_f64() * (sigma * normal(rng)).exp();
                Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST)
            }
            Latency::Regions { regions, within, .. } => {
                let [a, b] = ends.map(|end| region(end, *regions));
                let cell = a.min(b) * u64::from(*regions) + a.max(b);
                let cell = usize::try_from(cell).unwrap_or(usize::MAX);
                evenly(within, rng) + self.between.get(cell).copied().unwrap_or_default()
            }
        };
        whole_millis(way.min(LONGEST))
    }
}

/// The region of a host.
fn region(host: IpAddr, regions: u32) -> u64 {
    let bits = match host {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => u64::try_from(ip.to_bits() & u128::from(u64::MAX)).unwrap_or_default(),
    };
    bits % u64::from(regions.max(1))
}

fn evenly(range: &RangeInclusive<Duration>, rng: &mut ChaCha8Rng) -> Duration {
    if range.is_empty() { *range.start() } else { rng.random_range(range.clone()) }
}

/// A draw from the standard normal distribution (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    // The logarithm of zero is none.
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::{super::wires::host, *};

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn draws(latency: Latency, ends: [usize; 2]) -> Vec<Duration> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let map = Map::new(latency, &mut rng);
        let mut all: Vec<_> = (0..1000).map(|_| map.draw(ends.map(host), &mut rng)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_range_is_kept_to() {
        let all = draws(Latency::Range(ms(10)..=ms(20)), [0, 1]);
        assert_eq!((all[0], all[999]), (ms(11), ms(20)));
        // A range that holds nothing is its start.
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
        let all = draws(Latency::Range(ms(20)..=ms(10)), [0, 1]);
        assert_eq!((all[0], all[999]), (ms(20), ms(20)));
    }

    #[test]
    fn a_lognormal_has_its_median_and_a_tail_that_ends() {
        let all = draws(Latency::LogNormal { median: ms(40), sigma: 0.5 }, [0, 1]);
        assert!((ms(37)..=ms(44)).contains(&all[500]), "{:?}", all[500]);
        assert!((ms(60)..=ms(75)).contains(&all[840]), "{:?}", all[840]);
        let all = draws(Latency::LogNormal { median: ms(40), sigma: 50.0 }, [0, 1]);
        assert_eq!(all[999], LONGEST);
    }

    #[test]
    fn two_regions_keep_their_distance() {
        let regions =
            Latency::Regions { regions: 3, within: ms(1)..=ms(5), between: ms(50)..=ms(90) };
        let near = draws(regions.clone(), [0, 3]);
        assert_eq!((near[0], near[999]), (ms(2), ms(5)));
        let far = draws(regions.clone(), [0, 1]);
        assert!(far[0] > ms(50) && far[999] - far[0] <= ms(4), "{:?}", (far[0], far[999]));
        assert_eq!(draws(regions, [1, 0]), far);
    }
}
