//! When to ping a peer, and when to give it up.

use std::time::Duration;

use crate::{clock::Moment, config::LivenessConfig};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// A ping is to be sent; it counts as sent.
    Ping,
    /// The peer has not answered for dead-after.
    Dead,
}

/// The pings of one session. One ping is outstanding at a time, so a pong tells the round trip.
#[derive(Debug, Clone)]
pub struct Liveness {
    config: LivenessConfig,
    /// When the peer last answered.
    answered: Moment,
    /// When the outstanding ping was sent.
    outstanding: Option<Moment>,
    next_ping: Moment,
}

impl Liveness {
    /// A session that comes up now; its first ping is due at once.
    #[must_use]
    pub const fn new(config: LivenessConfig, now: Moment) -> Self {
        Self { config, answered: now, outstanding: None, next_ping: now }
    }

    /// What is due now. A ping that is due counts as sent.
    pub fn tick(&mut self, now: Moment) -> Due {
        if now >= self.answered + self.config.dead_after {
            return Due::Dead;
        }
        if self.outstanding.is_none() && now >= self.next_ping {
            self.outstanding = Some(now);
            self.next_ping = now + self.config.ping_interval;
            return Due::Ping;
        }
        Due::Nothing
    }

    /// A pong came. The round trip, unless nobody asked for it.
    pub fn pong(&mut self, now: Moment) -> Option<Duration> {
        let sent = self.outstanding.take()?;
        self.answered = now;
        Some(now.since(sent))
    }

    /// This node was not listening until now, so the peer's silence proves nothing.
    pub fn excuse(&mut self, now: Moment) {
        self.answered = self.answered.max(now);
    }

    /// When to call [`tick`](Self::tick) next.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        let dead = self.answered + self.config.dead_after;
        if self.outstanding.is_some() { dead } else { dead.min(self.next_ping) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: LivenessConfig = LivenessConfig {
        ping_interval: Duration::from_secs(60),
        dead_after: Duration::from_secs(240),
    };

    fn at(secs: u64) -> Moment {
        Moment::after(Duration::from_secs(secs))
    }

    #[test]
    fn a_peer_that_answers_is_pinged_every_interval() {
        let mut liveness = Liveness::new(CONFIG, at(0));
        for n in 0..100 {
            let now = at(60 * n);
            assert_eq!(liveness.deadline(), now);
            assert_eq!(liveness.tick(now), Due::Ping);
            assert_eq!(liveness.tick(now), Due::Nothing);
            assert_eq!(
                liveness.pong(now + Duration::from_millis(5)),
                Some(Duration::from_millis(5))
            );
        }
    }

    #[test]
    fn a_silent_peer_is_dead_at_the_deadline_and_not_before() {
        let mut liveness = Liveness::new(CONFIG, at(0));
        assert_eq!(liveness.tick(at(0)), Due::Ping);
        assert_eq!(liveness.deadline(), at(240));
        assert_eq!(liveness.tick(at(239)), Due::Nothing);
        assert_eq!(liveness.tick(at(240)), Due::Dead);
    }

    #[test]
    fn a_late_pong_makes_the_overdue_ping_follow_at_once() {
        let mut liveness = Liveness::new(CONFIG, at(0));
        liveness.tick(at(0));
        assert_eq!(liveness.pong(at(100)), Some(Duration::from_secs(100)));
        assert_eq!(liveness.tick(at(100)), Due::Ping);
        assert_eq!(liveness.deadline(), at(340));
    }

    #[test]
    fn a_pong_nobody_asked_for_proves_nothing() {
        let mut liveness = Liveness::new(CONFIG, at(0));
        assert_eq!(liveness.pong(at(10)), None);
        assert_eq!(liveness.tick(at(240)), Due::Dead);
    }

    #[test]
    fn silence_while_we_did_not_listen_is_excused() {
        let mut liveness = Liveness::new(CONFIG, at(0));
        liveness.tick(at(0));
        liveness.excuse(at(239));
        assert_eq!(liveness.tick(at(240)), Due::Nothing);
        assert_eq!(liveness.deadline(), at(479));
    }
}
