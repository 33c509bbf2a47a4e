//! Messages that neighbours have and this node has not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{clock::Moment, ids::MessageId};

/// Neighbours that are kept in mind for one message; others that have it too are not needed.
const MAX_HOLDERS: usize = 6;

/// How often a message is asked for. After that nobody seems to have it any more.
const MAX_TRIES: u8 = 12;

/// What has been announced and has not come yet. Neighbours go by their distance.
#[derive(Debug)]
pub(super) struct Missing {
    by_id: BTreeMap<MessageId, Wanted>,
    due: BTreeSet<(Moment, MessageId)>,
    max: usize,
    /// How long a message that was announced has to come by itself.
    patience: Duration,
    /// How long an answer may take.
    retry: Duration,
}

#[derive(Debug)]
struct Wanted {
    holders: Vec<u128>,
    tries: u8,
    due: Moment,
}

impl Missing {
    pub(super) const fn new(max: usize, patience: Duration, retry: Duration) -> Self {
        Self { by_id: BTreeMap::new(), due: BTreeSet::new(), max, patience, retry }
    }

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.by_id.contains_key(id)
    }

    /// A neighbour has this message. Whether there is room to keep that in mind: if there is not, a
    /// later announcement has to do.
    pub(super) fn announced(&mut self, now: Moment, id: MessageId, holder: u128) -> bool {
        if let Some(wanted) = self.by_id.get_mut(&id) {
            if wanted.holders.len() < MAX_HOLDERS && !wanted.holders.contains(&holder) {
                wanted.holders.push(holder);
            }
            return true;
        }
        if self.by_id.len() >= self.max {
            return false;
        }
        let due = now + self.patience;
        self.by_id.insert(id, Wanted { holders: vec![holder], tries: 0, due });
        self.due.insert((due, id));
        true
    }

    /// It is not missing any more, or not wanted. Whether it was.
    pub(super) fn forget(&mut self, id: &MessageId) -> bool {
        let Some(wanted) = self.by_id.remove(id) else { return false };
        self.due.remove(&(wanted.due, *id));
        true
    }

    /// Whom to ask for what now, given who is there.
    pub(super) fn due(
        &mut self,
        now: Moment,
        is_there: impl Fn(u128) -> bool,
    ) -> BTreeMap<u128, Vec<MessageId>> {
        let mut asks: BTreeMap<u128, Vec<MessageId>> = BTreeMap::new();
        while let Some((due, id)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            let Some(wanted) = self.by_id.get_mut(&id) else { continue };
            wanted.holders.retain(|holder| is_there(*holder));
            // What several have is not asked of one alone, and not of the same one again.
            let turn = usize::from(id.as_bytes()[0]).wrapping_add(usize::from(wanted.tries));
            let holder = turn.checked_rem(wanted.holders.len());
            let holder = holder.and_then(|turn| wanted.holders.get(turn));
            match holder {
                Some(holder) if wanted.tries < MAX_TRIES => {
                    asks.entry(*holder).or_default().push(id);
                    wanted.tries = wanted.tries.saturating_add(1);
                    wanted.due = now + self.retry;
                    self.due.insert((wanted.due, id));
                }
                _ => drop(self.by_id.remove(&id)),
            }
        }
        asks
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::after(Duration::from_millis(ms))
    }

    fn id(n: u8) -> MessageId {
        MessageId::from_bytes([n; 16])
    }

    fn missing(max: usize) -> Missing {
        Missing::new(max, Duration::from_millis(1000), Duration::from_millis(500))
    }

    #[test]
    fn a_message_is_asked_for_when_it_does_not_come_and_then_of_another() {
        let mut missing = missing(10);
        assert!(missing.announced(at(0), id(0), 7) && missing.announced(at(1), id(0), 8));
        assert_eq!(missing.deadline(), Some(at(1000)));
        assert_eq!(missing.due(at(999), |_| true), [].into());
        assert_eq!(missing.due(at(1000), |_| true), [(7, vec![id(0)])].into());
        assert_eq!(missing.due(at(1499), |_| true), [].into());
        assert_eq!(missing.due(at(1500), |_| true), [(8, vec![id(0)])].into());
        assert_eq!(missing.due(at(2000), |who| who == 8), [(8, vec![id(0)])].into());
        assert!(missing.forget(&id(0)) && !missing.forget(&id(0)));
        assert_eq!((missing.deadline(), missing.len()), (None, 0));
    }

    #[test]
    fn what_nobody_has_any_more_is_given_up() {
        let mut missing = missing(10);
        missing.announced(at(0), id(0), 7);
        missing.announced(at(0), id(1), 8);
        assert_eq!(missing.due(at(1000), |who| who == 7), [(7, vec![id(0)])].into());
        assert!(!missing.contains(&id(1)));
        let mut asked = 1;
        for step in 1..100 {
            asked += missing.due(at(1000 + step * 500), |_| true).len();
        }
        assert_eq!((asked, missing.len()), (usize::from(MAX_TRIES), 0));
    }

    #[test]
    fn what_several_have_is_not_asked_of_one_alone_and_there_is_room_for_so_many() {
        let mut missing = missing(4);
        for n in 0..5 {
            assert_eq!(missing.announced(at(0), id(n), 7), n < 4);
            assert_eq!(missing.announced(at(0), id(n), 8), n < 4);
        }
        let asks = missing.due(at(1000), |_| true);
        assert_eq!(asks, [(7, vec![id(0), id(2)]), (8, vec![id(1), id(3)])].into());
    }
}
