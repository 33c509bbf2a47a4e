//! What the network is going through, which every message is filed under.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a network was going through when a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// All have joined, but not every node had all sessions that it should have yet.
    Settling,
    /// Every node had them, and nothing was going on.
    Steady,
    /// Nodes were coming and going.
    Churn,
    /// Many nodes had gone at once, within the time that the scenario gives.
    JustKilled,
    /// After a kill or churn, until every node had all sessions that it should have again.
    Mending,
    /// The network was split, and the message was for the sender's own side of it.
    Partitioned,
    /// The network was split, and the message was for the other side.
    Across,
    /// After a partition, until the network was one again.
    Healing,
}

impl Condition {
    /// As reports have it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Settling => "settling",
            Self::Steady => "steady",
            Self::Churn => "churn",
            Self::JustKilled => "just-killed",
            Self::Mending => "mending",
            Self::Partitioned => "partitioned",
            Self::Across => "across",
            Self::Healing => "healing",
        }
    }
}

/// Follows what is done to the network and how it recovers.
#[derive(Debug, Default)]
pub(in crate::sim) struct Weather {
    /// How many times of churn are going on.
    n_churns: usize,
    /// The end of the time right after the latest kill.
    just_killed: Option<Duration>,
    is_split: bool,
    /// It was split, and is not one again yet.
    is_healing: bool,
    /// It has been complete once.
    has_settled: bool,
    /// Something was done to it, and it has not been complete since.
    is_mending: bool,
}

impl Weather {
    pub(in crate::sim) const fn churn_began(&mut self) {
        self.n_churns += 1;
    }

    pub(in crate::sim) const fn churn_ended(&mut self) {
        self.n_churns = self.n_churns.saturating_sub(1);
        self.is_mending = true;
    }

    /// Many nodes have gone; until then it counts as just now.
    pub(in crate::sim) fn killed(&mut self, until: Duration) {
        self.just_killed = self.just_killed.max(Some(until));
        self.is_mending = true;
    }

    pub(in crate::sim) const fn split(&mut self) {
        self.is_split = true;
    }

    pub(in crate::sim) const fn healed(&mut self) {
        self.is_split = false;
        self.is_healing = true;
        self.is_mending = true;
    }

    /// The network is one, by its sessions and by messages across the former border.
    pub(in crate::sim) const fn is_one(&mut self) {
        self.is_healing = false;
    }

    /// Every node has all sessions that it should have.
    pub(in crate::sim) const fn is_complete(&mut self) {
        // While it is split or nodes come and go, that says nothing for long.
        if !self.is_split && self.n_churns == 0 {
            self.has_settled = true;
            self.is_mending = false;
        }
    }

    /// Whether the network is split now.
    pub(in crate::sim) const fn splits(&self) -> bool {
        self.is_split
    }

    /// What a message is filed under that is sent now, to the other side or not. If several things
    /// are going on, the one that does the most harm.
    pub(in crate::sim) fn of(&self, now: Duration, across: bool) -> Condition {
        if self.is_split {
            return if across { Condition::Across } else { Condition::Partitioned };
        }
        if self.just_killed.is_some_and(|until| now < until) {
            Condition::JustKilled
        } else if self.n_churns > 0 {
            Condition::Churn
        } else if self.is_healing {
            Condition::Healing
        } else if !self.has_settled {
            Condition::Settling
        } else if self.is_mending {
            Condition::Mending
        } else {
            Condition::Steady
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_network_settles_once_and_mends_after_what_is_done_to_it() {
        let mut weather = Weather::default();
        assert_eq!(weather.of(at(1), false), Condition::Settling);
        weather.is_complete();
        assert_eq!(weather.of(at(2), false), Condition::Steady);
        weather.killed(at(4));
        assert_eq!(weather.of(at(3), false), Condition::JustKilled);
        assert_eq!(weather.of(at(4), false), Condition::Mending);
        weather.is_complete();
        assert_eq!(weather.of(at(5), false), Condition::Steady);
    }

    #[test]
    fn churn_lasts_as_long_as_any_of_it_and_then_mends() {
        let mut weather = Weather::default();
        weather.is_complete();
        weather.churn_began();
        weather.churn_began();
        weather.churn_ended();
        // Complete for a moment.
        weather.is_complete();
        assert_eq!(weather.of(at(1), false), Condition::Churn);
        weather.churn_ended();
        assert_eq!(weather.of(at(1), false), Condition::Mending);
        weather.is_complete();
        assert_eq!(weather.of(at(1), false), Condition::Steady);
    }

    #[test]
    fn a_partition_has_two_sides_and_heals_until_the_network_is_one() {
        let mut weather = Weather::default();
        weather.is_complete();
        weather.split();
        assert!(weather.splits());
        let both = [false, true].map(|across| weather.of(at(1), across));
        assert_eq!(both, [Condition::Partitioned, Condition::Across]);
        weather.healed();
        weather.is_complete();
        assert_eq!(weather.of(at(2), false), Condition::Healing);
        weather.is_one();
        assert_eq!(weather.of(at(2), false), Condition::Steady);
    }
}
