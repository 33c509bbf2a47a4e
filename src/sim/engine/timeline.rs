//! When what is to be done: a scenario as a sequence of moments.

use std::time::Duration;

use crate::sim::scenario::Scenario;

/// How often the network is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Something to do. Numbers are those of the scenario's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The next node joins.
    Join,
    /// Look at the network.
    Look,
    /// Nodes begin to come and go.
    ChurnBegins,
    /// One goes and one comes.
    Replace(usize),
    /// They no longer do.
    ChurnEnds,
    Kill(usize),
    /// A message between two survivors of that kill.
    Probe(usize),
    Split(usize),
    Heal(usize),
    Route(usize),
    BroadcastBegins(usize),
    Broadcast(usize),
    BroadcastEnds,
    /// The run is over.
    End,
}

/// Something that is done a number of times at a steady rate.
#[derive(Debug)]
struct Series {
    action: Action,
    /// The first time.
    from: Duration,
    every: Duration,
    left: u64,
    done: u32,
}

impl Series {
    const fn once(at: Duration, action: Action) -> Self {
        Self { action, from: at, every: Duration::ZERO, left: 1, done: 0 }
    }

    /// At a rate, from a moment until before another.
    fn rate(action: Action, from: Duration, to: Duration, per_second: f64) -> Self {
        let every = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX);
        let every = every.max(Duration::from_nanos(1));
        let times = to.saturating_sub(from).as_nanos().div_ceil(every.as_nanos());
        Self { action, from, every, left: u64::try_from(times).unwrap_or(u64::MAX), done: 0 }
    }

    /// In whole milliseconds, as the simulated clock goes: more than a thousand a second come several
    /// at a time, and not one in each millisecond for longer than they should.
    fn next(&self) -> Option<Duration> {
        let at = self.from.saturating_add(self.every.saturating_mul(self.done));
        (self.left > 0).then(|| Duration::new(at.as_secs(), at.subsec_millis() * 1_000_000))
    }
}

/// What is still to be done.
#[derive(Debug)]
pub(super) struct Timeline {
    /// At the same moment, the first of these goes first.
    all: Vec<Series>,
}

impl Timeline {
    /// The whole of a scenario; time counts from the first join.
    pub(super) fn new(scenario: &Scenario) -> Self {
        let zero = scenario.joining();
        let mut all = vec![Series {
            action: Action::Join,
            from: Duration::ZERO,
            every: scenario.join_pause(),
            left: u64::try_from(scenario.nodes).unwrap_or(u64::MAX),
            done: 0,
        }];
        for (n, churn) in scenario.churn.iter().enumerate() {
            let (from, to) = (zero + churn.from, zero + scenario.end_of(churn.from, churn.lasts));
            all.push(Series::once(from, Action::ChurnBegins));
            let per_second = churn.share_per_minute * scenario.nodes as f64 / 60.0;
            if per_second > 0.0 {
                all.push(Series::rate(Action::Replace(n), from, to, per_second));
            }
            all.push(Series::once(to, Action::ChurnEnds));
        }
        for (n, kill) in scenario.kill.iter().enumerate() {
            let at = zero + kill.at;
            all.push(Series::once(at, Action::Kill(n)));
            if kill.probes > 0 {
                let every = kill.within / u32::try_from(kill.probes).unwrap_or(u32::MAX);
                let left = u64::try_from(kill.probes).unwrap_or(u64::MAX);
                all.push(Series { action: Action::Probe(n), from: at, every, left, done: 0 });
            }
        }
        for (n, part) in scenario.partition.iter().enumerate() {
            all.push(Series::once(zero + part.at, Action::Split(n)));
            all.push(Series::once(zero + part.at + part.lasts, Action::Heal(n)));
        }
        for (n, load) in scenario.route.iter().enumerate() {
            let (from, to) = (zero + load.from, zero + scenario.end_of(load.from, load.lasts));
            all.push(Series::rate(Action::Route(n), from, to, load.per_minute / 60.0));
        }
        for (n, load) in scenario.broadcast.iter().enumerate() {
            let (from, to) = (zero + load.from, zero + scenario.end_of(load.from, load.lasts));
            all.push(Series::once(from, Action::BroadcastBegins(n)));
            all.push(Series::rate(Action::Broadcast(n), from, to, load.per_minute / 60.0));
            all.push(Series::once(to, Action::BroadcastEnds));
        }
        let end = zero + scenario.lasts;
        all.push(Series::rate(Action::Look, LOOK, end, 1.0 / LOOK.as_secs_f64()));
        all.push(Series::once(end, Action::End));
        // A load ends before another begins at the same moment.
        all.sort_by_key(|series| series.action != Action::BroadcastEnds);
        Self { all }
    }
}

impl Iterator for Timeline {
    type Item = (Duration, Action);

    fn next(&mut self) -> Option<(Duration, Action)> {
        let all = self.all.iter_mut().filter_map(|series| Some((series.next()?, series)));
        let (at, series) = all.min_by_key(|(at, _)| *at)?;
        series.left -= 1;
        series.done = series.done.saturating_add(1);
        Some((at, series.action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn all(text: &str) -> Vec<(Duration, Action)> {
        let scenario = Scenario::from_toml(text).unwrap();
        Timeline::new(&scenario).filter(|(_, action)| *action != Action::Look).collect()
    }

    #[test]
    fn nodes_join_at_their_rate_and_the_rest_counts_from_the_last() {
        let all = all("nodes = 3\njoin-rate = 2\nfor = \"10s\"");
        let join = |n| (ms(n), Action::Join);
        assert_eq!(all, [join(0), join(500), join(1000), (ms(11_000), Action::End)]);
    }

    #[test]
    fn it_is_looked_at_each_second() {
        let scenario = Scenario::from_toml("nodes = 2\njoin-rate = 1\nfor = \"9s\"").unwrap();
        let looks = Timeline::new(&scenario).filter(|(_, action)| *action == Action::Look);
        assert!(looks.map(|(at, _)| at).eq((1..10).map(Duration::from_secs)));
    }

    #[test]
    fn loads_are_spread_and_end_before_the_next_begins() {
        let text = "nodes = 2\njoin-rate = 1000\nfor = \"10s\"\n\
            [[broadcast]]\nfor = \"4s\"\nper-minute = 30\n\
            [[broadcast]]\nfrom = \"4s\"\nfor = \"1s\"\nper-minute = 60\n\
            [[route]]\nfor = \"1s\"\nper-minute = 120";
        let seen: Vec<_> = all(text).into_iter().skip(2).collect();
        let (begins, one, ends) =
            (Action::BroadcastBegins, Action::Broadcast, Action::BroadcastEnds);
        let expected = [
            (ms(1), Action::Route(0)),
            (ms(1), begins(0)),
            (ms(1), one(0)),
            (ms(501), Action::Route(0)),
            (ms(2001), one(0)),
            (ms(4001), ends),
            (ms(4001), begins(1)),
            (ms(4001), one(1)),
            (ms(5001), ends),
            (ms(10_001), Action::End),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_befalls_the_network_comes_at_its_time() {
        // All have joined after 118 microseconds, which is not yet a millisecond.
        let text = "nodes = 60\njoin-rate = 500000\nfor = \"10s\"\n\
            [[churn]]\nfrom = \"1s\"\nfor = \"2s\"\nshare-per-minute = 1\n\
            [[kill]]\nat = \"4s\"\nshare = 0.5\nprobes = 2\n\
            [[partition]]\nat = \"6s\"\nfor = \"1s\"";
        let seen: Vec<_> = all(text).into_iter().skip(60).collect();
        let expected = [
            (ms(1000), Action::ChurnBegins),
            (ms(1000), Action::Replace(0)),
            (ms(2000), Action::Replace(0)),
            (ms(3000), Action::ChurnEnds),
            (ms(4000), Action::Kill(0)),
            (ms(4000), Action::Probe(0)),
            (ms(4500), Action::Probe(0)),
            (ms(6000), Action::Split(0)),
            (ms(7000), Action::Heal(0)),
            (ms(10_000), Action::End),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn five_thousand_probes_are_sent_within_the_second_after_a_kill() {
        let text = "nodes = 2\njoin-rate = 1000\nfor = \"9s\"\n\
            [[kill]]\nat = \"4s\"\nshare = 0.5\nprobes = 5000";
        let probes: Vec<_> = all(text)
            .into_iter()
            .filter_map(|(at, action)| (action == Action::Probe(0)).then_some(at))
            .collect();
        assert_eq!(probes.len(), 5000);
        for (n, at) in probes.into_iter().enumerate() {
            assert_eq!(at, ms(4001 + n as u64 / 5));
        }
    }
}
