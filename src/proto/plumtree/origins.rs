//! How much each origin may say to everybody.

use crate::{
    clock::Moment,
    ids::NodeId,
    proto::{recent::Recent, token_bucket::TokenBucket},
};

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// By itself.
    Pushed,
    /// Since this node asked for it.
    Asked,
}

/// The allowances of those that have sent something lately.
#[derive(Debug)]
pub(super) struct Origins {
    by_id: Recent<NodeId, Allowance>,
    burst: u32,
    per_second: u32,
    /// How many may have been missed and come at once.
    backlog: u32,
}

#[derive(Debug)]
struct Allowance {
    pushed: TokenBucket,
    /// Whoever was away asks for what minutes have brought, all at once.
    asked: TokenBucket,
    is_noted: bool,
}

impl Allowance {
    const fn bucket(&mut self, came: Came) -> &mut TokenBucket {
        match came {
            Came::Pushed => &mut self.pushed,
            Came::Asked => &mut self.asked,
        }
    }
}

impl Origins {
    pub(super) const fn new(max: usize, burst: u32, per_second: u32, backlog: u32) -> Self {
        Self { by_id: Recent::new(max), burst, per_second, backlog }
    }

    /// Whether an origin may have one more message taken. Nothing is taken from its allowance yet:
    /// whether the message is its own is found out later.
    pub(super) fn may(&mut self, now: Moment, origin: NodeId, came: Came) -> bool {
        let allowance = self.by_id.get(&origin);
        allowance.is_none_or(|allowance| allowance.bucket(came).tokens(now) > 0)
    }

    /// A message of an origin has been taken. For a new one whoever was quiet longest is forgotten.
    pub(super) fn took(&mut self, now: Moment, origin: NodeId, came: Came) {
        if let Some(allowance) = self.by_id.get(&origin) {
            allowance.is_noted &= allowance.bucket(came).take(now, 1) == 0;
            return;
        }
        let mut allowance = Allowance {
            pushed: TokenBucket::new(self.burst, self.per_second, now),
            asked: TokenBucket::new(self.backlog, self.per_second, now),
            is_noted: false,
        };
        allowance.bucket(came).take(now, 1);
        self.by_id.insert(origin, allowance);
    }

    /// Whether it is news that an origin is over its rate.
    pub(super) fn is_news(&mut self, origin: NodeId) -> bool {
        let allowance = self.by_id.get(&origin);
        allowance.is_some_and(|allowance| !std::mem::replace(&mut allowance.is_noted, true))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::after(Duration::from_millis(ms))
    }

    fn take(origins: &mut Origins, ms: u64, origin: u128, came: Came) -> bool {
        let origin = NodeId::from_u128(origin);
        let may = origins.may(at(ms), origin, came);
        if may {
            origins.took(at(ms), origin, came);
        }
        may
    }

    #[test]
    fn an_origin_over_its_rate_is_refused_and_others_are_not() {
        let mut origins = Origins::new(10, 3, 10, 5);
        let taken = [7; 5].map(|origin| take(&mut origins, 0, origin, Came::Pushed));
        assert_eq!(taken, [true, true, true, false, false]);
        assert!(take(&mut origins, 0, 8, Came::Pushed));
        let id = NodeId::from_u128(7);
        assert_eq!([(); 2].map(|()| origins.is_news(id)), [true, false]);
        assert!(
            take(&mut origins, 100, 7, Came::Pushed) && !take(&mut origins, 100, 7, Came::Pushed)
        );
        assert!(origins.is_news(id));
    }

    #[test]
    fn what_was_asked_for_has_an_allowance_of_its_own() {
        let mut origins = Origins::new(10, 1, 10, 3);
        assert!(take(&mut origins, 0, 7, Came::Pushed) && !take(&mut origins, 0, 7, Came::Pushed));
        let taken = [7; 4].map(|origin| take(&mut origins, 0, origin, Came::Asked));
        assert_eq!(taken, [true, true, true, false]);
    }

    #[test]
    fn the_one_that_was_quiet_longest_is_forgotten() {
        let mut origins = Origins::new(2, 1, 1, 1);
        assert!(take(&mut origins, 0, 1, Came::Pushed) && take(&mut origins, 0, 2, Came::Pushed));
        assert!(!take(&mut origins, 0, 1, Came::Pushed));
        assert!(take(&mut origins, 0, 3, Came::Pushed));
        assert!(!take(&mut origins, 0, 1, Came::Pushed) && take(&mut origins, 0, 2, Came::Pushed));
    }
}
