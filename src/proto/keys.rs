//! Whose public key is known, and who waits for one that was asked for.
//!
//! Invariants:
//! * K1: for each id there is at most one question under way.
//! * K2: whoever waits is handed back exactly once: when the key is learnt, or when there is none to
//!   be had, or when its time is up and the question ends.

use std::collections::BTreeMap;

use super::recent::Recent;
use crate::{clock::Moment, identity::PublicKey, ids::NodeId};

/// The known keys. `W` is what waits for one.
#[derive(Debug)]
pub struct Keys<W> {
    known: Recent<NodeId, PublicKey>,
    asked: BTreeMap<NodeId, Vec<(Moment, W)>>,
}

/// What follows from a question that was not answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Unanswered<W> {
    /// These get no key.
    pub given_up: Vec<W>,
    /// There are others, who can wait until then: ask again.
    pub ask_until: Option<Moment>,
}

impl<W> Keys<W> {
    /// None yet, with room for so many. The one used longest ago is forgotten beyond that.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { known: Recent::new(capacity), asked: BTreeMap::new() }
    }

    /// The key that an id follows from, if it is known.
    pub fn find(&mut self, id: NodeId) -> Option<PublicKey> {
        self.known.get(&id).copied()
    }

    /// Somebody waits for a key that is not known, until `due`. Whether it is to be asked for now.
    pub fn wait(&mut self, id: NodeId, due: Moment, waiter: W) -> bool {
        let waiting = self.asked.entry(id).or_default();
        waiting.push((due, waiter));
        waiting.len() == 1
    }

    /// A key was told. Those who waited for it.
    pub fn learn(&mut self, key: PublicKey) -> Vec<(Moment, W)> {
        let id = key.node_id();
        self.known.insert(id, key);
        self.asked.remove(&id).unwrap_or_default()
    }

    /// The question for a key ended without one. If it only took too long, those whose time is not up
    /// go on waiting.
    pub fn unanswered(&mut self, now: Moment, id: NodeId, is_late: bool) -> Unanswered<W> {
        let waiting = self.asked.remove(&id).unwrap_or_default();
        let (patient, over): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(due, _)| is_late && *due > now);
        let ask_until = patient.iter().map(|(due, _)| *due).min();
        if ask_until.is_some() {
            self.asked.insert(id, patient);
        }
        Unanswered { given_up: over.into_iter().map(|(_, waiter)| waiter).collect(), ask_until }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::after(Duration::from_secs(secs))
    }

    fn key(n: u8) -> PublicKey {
        PublicKey::from_bytes([n; 32])
    }

    #[test]
    fn one_question_serves_all_who_wait() {
        let mut keys = Keys::new(10);
        let id = key(1).node_id();
        assert_eq!(keys.find(id), None);
        assert!(keys.wait(id, at(10), 'a'));
        assert!(!keys.wait(id, at(11), 'b'));
        assert!(keys.wait(key(2).node_id(), at(11), 'c'));
        assert_eq!(keys.learn(key(1)), [(at(10), 'a'), (at(11), 'b')]);
        assert_eq!((keys.find(id), keys.learn(key(1))), (Some(key(1)), vec![]));
    }

    #[test]
    fn no_answer_ends_all_waiting_and_a_late_one_those_whose_time_is_up() {
        let mut keys = Keys::new(10);
        let id = key(1).node_id();
        for (secs, name) in [(10, 'a'), (12, 'b'), (11, 'c')] {
            keys.wait(id, at(secs), name);
        }
        let late = Unanswered { given_up: vec!['a'], ask_until: Some(at(11)) };
        assert_eq!(keys.unanswered(at(10), id, true), late);
        assert!(!keys.wait(id, at(15), 'd'), "the question is asked again");
        let none = Unanswered { given_up: vec!['b', 'c', 'd'], ask_until: None };
        assert_eq!(keys.unanswered(at(10), id, false), none);
        assert!(keys.wait(id, at(15), 'e'));
    }
}
