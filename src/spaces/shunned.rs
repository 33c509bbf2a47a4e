//! Records that came and were refused: they are not got again and again.

use std::{collections::BTreeMap, time::Duration};

use super::{hlc::Hlc, record::KeyHash};
use crate::clock::Moment;

/// How long a refused record is not asked for. Then there may be room, or the clocks may agree.
const SHUNNED_FOR: Duration = Duration::from_secs(600);

/// How many are remembered; further ones are got and refused again.
const MAX_SHUNNED: usize = 4096;

/// The records that were refused, by their keys and times, and until when they are left alone. Others of the
/// same keys are not: nobody can keep a key's good record away by handing out a bad one.
#[derive(Debug, Default)]
pub(super) struct Shunned {
    until: BTreeMap<(KeyHash, Hlc), Moment>,
}

impl Shunned {
    /// A record of this key and time was refused.
    pub(super) fn add(&mut self, now: Moment, hash: KeyHash, time: Hlc) {
        if self.until.len() >= MAX_SHUNNED {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < MAX_SHUNNED {
            self.until.insert((hash, time), now + SHUNNED_FOR);
        }
    }

    /// Whether a record of this key and time is left alone.
    pub(super) fn has(&self, now: Moment, hash: KeyHash, time: Hlc) -> bool {
        self.until.get(&(hash, time)).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_left_alone_for_a_while_and_no_more_is_remembered_than_there_is_room_for()
    {
        let (mut shunned, now) = (Shunned::default(), Moment::ZERO);
        let time = Hlc::from_bits(7);
        let hash = |n: usize| KeyHash((n as u128).to_be_bytes());
        (0..MAX_SHUNNED + 5).for_each(|n| shunned.add(now, hash(n), time));
        assert!(shunned.has(now, hash(0), time) && !shunned.has(now, hash(MAX_SHUNNED), time));
        assert!(!shunned.has(now, hash(0), Hlc::from_bits(8)), "another record");
        let later = now + SHUNNED_FOR;
        assert!(!shunned.has(later, hash(0), time));
        shunned.add(later, hash(MAX_SHUNNED), time);
        assert!(shunned.has(later, hash(MAX_SHUNNED), time) && shunned.until.len() == 1);
    }
}
