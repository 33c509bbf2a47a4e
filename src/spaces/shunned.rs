//! Records that came and were refused: they are not got again and again.

use std::{collections::BTreeMap, time::Duration};

use super::record::KeyHash;
use crate::clock::Moment;

/// How long a refused record is not asked for. Then there may be room, or the clocks may agree.
const SHUNNED_FOR: Duration = Duration::from_secs(600);

/// How many are remembered; further ones are got and refused again.
const MAX_SHUNNED: usize = 4096;

/// The keys of records that were refused, and until when they are left alone.
#[derive(Debug, Default)]
pub(super) struct Shunned {
    until: BTreeMap<KeyHash, Moment>,
}

impl Shunned {
    /// A record of this key was refused.
    pub(super) fn add(&mut self, now: Moment, hash: KeyHash) {
        if self.until.len() >= MAX_SHUNNED {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < MAX_SHUNNED {
            self.until.insert(hash, now + SHUNNED_FOR);
        }
    }

    /// Whether a record of this key is left alone.
    pub(super) fn has(&self, now: Moment, hash: &KeyHash) -> bool {
        self.until.get(hash).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_left_alone_for_a_while_and_no_more_is_remembered_than_there_is_room_for()
    {
        let (mut shunned, now) = (Shunned::default(), Moment::ZERO);
        let hash = |n: usize| KeyHash((n as u128).to_be_bytes());
        (0..MAX_SHUNNED + 5).for_each(|n| shunned.add(now, hash(n)));
        assert!(shunned.has(now, &hash(0)) && !shunned.has(now, &hash(MAX_SHUNNED)));
        let later = now + SHUNNED_FOR;
        assert!(!shunned.has(later, &hash(0)));
        shunned.add(later, hash(MAX_SHUNNED));
        assert!(shunned.has(later, &hash(MAX_SHUNNED)) && shunned.until.len() == 1);
    }
}
