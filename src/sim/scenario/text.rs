//! How the values of a scenario are written, and what is said of those that are not.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Error as _},
};

use super::{MAX_BYTES, MAX_NODES, MAX_TIME};

/// The most that can happen per second or minute.
const MAX_RATE: f64 = 1_000_000.0;

/// A number, whole or not.
struct Number;

impl de::Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
        // Whatever is too large to be exact is out of every range here.
        Ok(value as f64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }
}

/// A share of all.
pub(super) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = from.deserialize_any(Number)?;
    match value {
        0.0..=1.0 => Ok(value),
        _ => Err(D::Error::custom(format_args!("{value} is no share: expected 0 to 1"))),
    }
}

/// How often something happens.
pub(super) fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = from.deserialize_any(Number)?;
    match value {
        0.001..=MAX_RATE => Ok(value),
        _ => {
            Err(D::Error::custom(format_args!("{value} is no rate: expected 0.001 to {MAX_RATE}")))
        }
    }
}

fn count<'de, D: Deserializer<'de>>(
    from: D,
    range: &RangeInclusive<usize>,
) -> Result<usize, D::Error> {
    let value = i64::deserialize(from)?;
    match usize::try_from(value) {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => {
            let (start, end) = (range.start(), range.end());
            let why = format_args!("{value} is out of range: expected {start} to {end}");
            Err(D::Error::custom(why))
        }
    }
}

/// How many nodes.
pub(super) fn nodes<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    count(from, &(2..=MAX_NODES))
}

/// How many decisions.
pub(super) fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    count(from, &(1..=1_000_000))
}

/// How many messages.
pub(super) fn probes<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    count(from, &(0..=1_000_000))
}

/// How much a message carries.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    count(from, &(0..=MAX_BYTES))
}

/// A duration as text; a bare number is refused with an example of what to write.
struct Time;

impl de::Visitor<'_> for Time {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, such as \"10m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        let time = humantime::parse_duration(text.trim()).map_err(|error| {
            E::custom(format_args!("expected a duration such as 80ms, 10m or 1h ({error})"))
        })?;
        if time > MAX_TIME {
            let most = humantime::format_duration(MAX_TIME);
            return Err(E::custom(format_args!("{text} is too long: at most {most}")));
        }
        Ok(time)
    }
}

/// A duration.
pub(super) mod time {
    use serde::Serializer;

    use super::{Deserializer, Duration, Time};

    pub(in super::super) fn deserialize<'de, D>(from: D) -> Result<Duration, D::Error>
    where
        D: Deserializer<'de>,
    {
        from.deserialize_str(Time)
    }

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*time))
    }
}

/// A duration that may be missing.
pub(super) mod some_time {
    use serde::{Serialize as _, Serializer};

    use super::{Deserializer, Duration, Time};

    pub(in super::super) fn deserialize<'de, D>(from: D) -> Result<Option<Duration>, D::Error>
    where
        D: Deserializer<'de>,
    {
        from.deserialize_str(Time).map(Some)
    }

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| humantime::format_duration(time).to_string()).serialize(to)
    }
}

/// How far apart nodes are: a table with one of three keys.
pub(super) mod latency {
    use serde::{Deserialize, Serialize, Serializer, de::Error as _};

    use super::{Deserializer, Duration, RangeInclusive, time};
    use crate::sim::latency::Latency;

    /// The most regions.
    const MAX_REGIONS: u32 = 100;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Written {
        Range([Way; 2]),
        Lognormal(LogNormal),
        Regions(Regions),
    }

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct LogNormal {
        median: Way,
        sigma: f64,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Regions {
        count: u32,
        within: [Way; 2],
        between: [Way; 2],
    }

    #[derive(Clone, Copy, Serialize, Deserialize)]
    #[serde(transparent)]
    struct Way(#[serde(with = "time")] Duration);

    fn range<E: serde::de::Error>([from, to]: [Way; 2]) -> Result<RangeInclusive<Duration>, E> {
        if from.0 > to.0 {
            return Err(E::custom("the first of two latencies must not be the longer one"));
        }
        Ok(from.0..=to.0)
    }

    fn ends(range: &RangeInclusive<Duration>) -> [Way; 2] {
        [Way(*range.start()), Way(*range.end())]
    }

    pub(in super::super) fn deserialize<'de, D>(from: D) -> Result<Latency, D::Error>
    where
        D: Deserializer<'de>,
    {
        match Written::deserialize(from)? {
            Written::Range(ends) => Ok(Latency::Range(range(ends)?)),
            Written::Lognormal(LogNormal { median, sigma }) => match sigma {
                0.0..=3.0 => Ok(Latency::LogNormal { median: median.0, sigma }),
                _ => Err(D::Error::custom(format_args!("sigma is {sigma}: expected 0 to 3"))),
            },
            Written::Regions(Regions { count, within, between }) => match count {
                1..=MAX_REGIONS => {
                    let (within, between) = (range(within)?, range(between)?);
                    Ok(Latency::Regions { regions: count, within, between })
                }
                _ => Err(D::Error::custom(format_args!(
                    "{count} regions: expected 1 to {MAX_REGIONS}"
                ))),
            },
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(
        latency: &Latency,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match latency {
            Latency::Range(range) => Written::Range(ends(range)),
            Latency::LogNormal { median, sigma } => {
                Written::Lognormal(LogNormal { median: Way(*median), sigma: *sigma })
            }
            Latency::Regions { regions, within, between } => {
                let (within, between) = (ends(within), ends(between));
                Written::Regions(Regions { count: *regions, within, between })
            }
        }
        .serialize(to)
    }
}
