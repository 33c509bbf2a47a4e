//! Reading a scenario, and whether its parts fit together.

use std::time::Duration;

use thiserror::Error;

use super::Scenario;

/// The shortest run.
const MIN_TIME: Duration = Duration::from_secs(1);

/// Why a scenario cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScenarioError {
    /// A value or a key is wrong.
    #[error("line {line}, column {column}: {why}")]
    Text {
        /// The line, from one.
        line: usize,
        /// The column, from one, in characters.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// The values are fine one by one, but not together.
    #[error("{0}")]
    Together(String),
}

/// A part of a scenario that takes time.
struct Span {
    /// As it stands in the text.
    name: String,
    from: Duration,
    to: Duration,
}

impl Scenario {
    /// Reads a scenario, without [checking](Self::check) whether its parts fit together: a program
    /// may want to change some first.
    ///
    /// # Errors
    /// [`ScenarioError::Text`]: it is not TOML, has an unknown key, or a value out of its range.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            ScenarioError::Text {
                line: before.matches('\n').count() + 1,
                column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
                why: error.message().trim().to_owned(),
            }
        })
    }

    /// Checks the parts against each other; [`simulate`](crate::sim::simulate) does it, too.
    ///
    /// # Errors
    /// [`ScenarioError::Together`], with the first pair that does not fit.
    pub fn check(&self) -> Result<(), ScenarioError> {
        if self.lasts < MIN_TIME {
            return together(format!("the run must last {} at least", words(MIN_TIME)));
        }
        let partitions = self.partitions();
        let broadcasts = self.broadcasts();
        let others = self.other_spans();
        for span in partitions.iter().chain(&broadcasts).chain(&others) {
            let Span { name, from, to } = span;
            if *to > self.lasts || *from >= self.lasts {
                let (when, end) = (words(*to.max(from)), words(self.lasts));
                return together(format!("{name} goes on until {when}, but the run ends at {end}"));
            }
        }
        apart(&partitions, "the network can be split in two only once at a time")?;
        apart(&broadcasts, "whose copies of a message are whose could not be told")
    }

    fn partitions(&self) -> Vec<Span> {
        let span = |(n, part): (usize, &super::Partition)| Span {
            name: format!("[[partition]] {}", n + 1),
            from: part.at,
            to: part.at.saturating_add(part.lasts),
        };
        self.partition.iter().enumerate().map(span).collect()
    }

    fn broadcasts(&self) -> Vec<Span> {
        let span = |(n, load): (usize, &super::BroadcastLoad)| Span {
            name: format!("[[broadcast]] {}", n + 1),
            from: load.from,
            to: self.end_of(load.from, load.lasts),
        };
        self.broadcast.iter().enumerate().map(span).collect()
    }

    fn other_spans(&self) -> Vec<Span> {
        let churn = self.churn.iter().enumerate().map(|(n, churn)| Span {
            name: format!("[[churn]] {}", n + 1),
            from: churn.from,
            to: self.end_of(churn.from, churn.lasts),
        });
        let kill = self.kill.iter().enumerate().map(|(n, kill)| Span {
            name: format!("[[kill]] {}", n + 1),
            from: kill.at,
            to: kill.at.saturating_add(kill.within),
        });
        let route = self.route.iter().enumerate().map(|(n, load)| Span {
            name: format!("[[route]] {}", n + 1),
            from: load.from,
            to: self.end_of(load.from, load.lasts),
        });
        churn.chain(kill).chain(route).collect()
    }
}

/// Whether no two of these overlap.
fn apart(spans: &[Span], why: &str) -> Result<(), ScenarioError> {
    for (n, a) in spans.iter().enumerate() {
        for b in spans.iter().skip(n + 1) {
            if a.from < b.to && b.from < a.to {
                return together(format!("{} and {} overlap: {why}", a.name, b.name));
            }
        }
    }
    Ok(())
}

fn together<T>(why: String) -> Result<T, ScenarioError> {
    Err(ScenarioError::Together(why))
}

fn words(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Leave, Origins},
        *,
    };

    fn refused(text: &str) -> String {
        let error = Scenario::from_toml(text).and_then(|scenario| scenario.check()).unwrap_err();
        error.to_string()
    }

    #[test]
    fn nothing_is_a_scenario() {
        let scenario = Scenario::from_toml("").unwrap();
        assert_eq!(scenario, Scenario::default());
        assert_eq!(scenario.check(), Ok(()));
    }

    #[test]
    fn every_key_is_read_and_written_as_it_was() {
        let text = r#"
            nodes = 50
            seed = 3
            for = "20m"
            join-rate = 5
            signatures = false
            nat-share = 0.5
            dial-loss = 0.1
            latency = { regions = { count = 4, within = ["1ms", "9ms"], between = ["20ms", "90ms"] } }
            journal-entries = 4096
            [[churn]]
            from = "1m"
            for = "2m"
            share-per-minute = 0.1
            leave = "stop"
            [[kill]]
            at = "4m"
            share = 0.3
            leave = "vanish"
            probes = 10
            within = "2s"
            [[partition]]
            at = "5m"
            for = "1m"
            share = 0.25
            [[route]]
            name = "all day"
            per-minute = 100
            bytes = 1000
            [[broadcast]]
            from = "10m"
            for = "1m"
            per-minute = 6
            origins = "one"
            [[broadcast]]
            from = "11m"
            per-minute = 0.5
        "#;
        let scenario = Scenario::from_toml(text).unwrap();
        assert_eq!(scenario.check(), Ok(()));
        assert_eq!(scenario.churn[0].leave, Leave::Stop);
        assert_eq!(scenario.kill[0].within, Duration::from_secs(2));
        let broadcast = &scenario.broadcast;
        assert_eq!((broadcast[0].origins, broadcast[1].origins), (Origins::One, Origins::Random));
        let end = scenario.end_of(broadcast[1].from, broadcast[1].lasts);
        assert_eq!(end, Duration::from_secs(1200));
        let json = serde_json::to_string(&scenario).unwrap();
        assert!(json.contains(r#""for":"20m""#), "{json}");
        let written = toml::to_string(&scenario).unwrap();
        assert_eq!(Scenario::from_toml(&written).unwrap(), scenario, "{written}");
    }

    #[test]
    fn every_latency_is_read() {
        let ms = Duration::from_millis;
        let latency = |text: &str| Scenario::from_toml(text).unwrap().latency;
        let range = latency("latency = { range = [\"5ms\", \"7ms\"] }");
        assert_eq!(range, (ms(5)..=ms(7)).into());
        let log = latency("[latency]\nlognormal = { median = \"40ms\", sigma = 0.5 }");
        assert_eq!(log, crate::sim::Latency::LogNormal { median: ms(40), sigma: 0.5 });
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, why) in [
            ("nodes = 1", "line 1, column 9: 1 is out of range: expected 2 to 100000"),
            (
                "\nfor = 60",
                "line 2, column 7: invalid type: integer `60`, expected a duration in quotes",
            ),
            ("for = \"60\"", "line 1, column 7: expected a duration such as 80ms, 10m or 1h ("),
            ("for = \"31d\"", "line 1, column 7: 31d is too long: at most 30days"),
            ("nat-share = 30", "line 1, column 13: 30 is no share: expected 0 to 1"),
            ("join-rate = 0", "line 1, column 13: 0 is no rate: expected 0.001 to 1000000"),
            ("join-rate = nan", "line 1, column 13: NaN is no rate"),
            ("node = 5", "line 1, column 1: unknown field `node`, expected one of `nodes`"),
            ("[[kill]]\nat = \"1m\"", "line 1, column 1: missing field `share`"),
            (
                "[[kill]]\nat = \"1m\"\nshare = 0.1\nhow = 1",
                "line 4, column 1: unknown field `how`",
            ),
            (
                "latency = { range = [\"7ms\", \"5ms\"] }",
                "line 1, column 11: the first of two latencies",
            ),
            (
                "[latency]\nlognormal = { median = \"1ms\", sigma = 9 }",
                "line 1, column 1: sigma is 9",
            ),
        ] {
            let told = refused(text);
            assert!(told.starts_with(why), "{text}: {told}");
            assert!(!told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let told = refused("for = \"5m\"\n[[kill]]\nat = \"10m\"\nshare = 0.3");
        assert_eq!(told, "[[kill]] 1 goes on until 10m 1s, but the run ends at 5m");
        let told = refused("for = \"10ms\"");
        assert_eq!(told, "the run must last 1s at least");
        let told = refused("[[churn]]\nfrom = \"2h\"\nshare-per-minute = 0.1");
        assert_eq!(told, "[[churn]] 1 goes on until 2h, but the run ends at 1h");
        let twice =
            "[[partition]]\nat = \"1m\"\nfor = \"2m\"\n[[partition]]\nat = \"2m\"\nfor = \"2m\"";
        assert!(refused(twice).starts_with("[[partition]] 1 and [[partition]] 2 overlap: "));
        let twice = "[[broadcast]]\nper-minute = 1\n[[broadcast]]\nfrom = \"1m\"\nper-minute = 1";
        assert!(refused(twice).starts_with("[[broadcast]] 1 and [[broadcast]] 2 overlap: "));
    }
}
