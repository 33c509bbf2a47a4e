//! Whom to ask for addresses, and of which part of the network.
//!
//! Each session asks once, when it comes up, for the nodes closest to this one; so a joiner that
//! dials whom it is told walks towards its own neighbourhood until nothing closer appears. What is
//! asked here fills the other buckets, at growing pauses.

use rand::{Rng, seq::IteratorRandom};

use super::{Explorer, Output};
use crate::{clock::Moment, ids::NodeId, proto::redial::jittered, wire::Encoded};

/// How many addresses a session asks for when it comes up: the whole of a small network, and of a
/// large one more than the few buckets nearest to this node have.
pub const FIRST_QUESTION: usize = 20;

/// How many addresses are asked for around one id.
const AROUND: usize = 16;

/// Among how many of the closest peers the one to ask is chosen.
const AMONG: usize = 3;

/// About how many buckets is asked at once.
const AT_ONCE: usize = 3;

/// By how much the longest pause is shorter while a bucket is empty.
const EMPTY_HASTE: u32 = 10;

/// One question in so many is about this node's own neighbourhood, in which newcomers matter most.
const OWN_SHARE: u32 = 4;

impl Explorer {
    /// Asks around what is due to be asked: about buckets that lack sessions and in which nobody is
    /// known to be dialled; else about any.
    pub(super) fn refresh_due(&mut self, now: Moment, out: &mut Vec<Output>) {
        if now < self.refresh.next || self.peers.is_empty() {
            return;
        }
        // Who wants anybody asks anybody, for whomever they know.
        if self.wants_any()
            && let Some((id, peer)) = self.peers.iter_mut().choose(&mut self.rng)
        {
            peer.intake.asked();
            out.push(Output::Send(*id, Encoded::GETADDR));
        }
        let nearest = self.buckets.nearest().unwrap_or(0);
        let known: Vec<u8> = self.book.buckets_to_dial().collect();
        let is_dry = |bucket: &u8| self.buckets.lacks(*bucket, 0) && !known.contains(bucket);
        let mut dry: Vec<u8> = (0..=nearest).filter(is_dry).collect();
        dry.sort_by_key(|bucket| self.buckets.urgency(*bucket));
        // Where there is no session at all some nodes may be out of reach.
        let is_empty = dry.first().is_some_and(|bucket| self.buckets.sessions(*bucket) == 0);
        let longest = self.config.refresh_max / if is_empty { EMPTY_HASTE } else { 1 };
        self.refresh.pause = (self.refresh.pause * 2).min(longest);
        self.refresh.next = now + jittered(self.refresh.pause, &mut self.rng);
        dry.truncate(AT_ONCE);
        if dry.is_empty() {
            dry.extend((0..=nearest).choose(&mut self.rng));
        }
        for bucket in dry {
            let target = if self.rng.random_ratio(1, OWN_SHARE) {
                self.me
            } else {
                self.buckets.any_id_in(bucket, &mut self.rng)
            };
            self.ask_around(target, out);
        }
    }

    /// Asks one of the few peers closest to an id for others that are close to it. Not always the
    /// closest: what that one does not know it will not know the next time either.
    fn ask_around(&mut self, target: NodeId, out: &mut Vec<Output>) {
        let mut closest: Vec<NodeId> = self.peers.keys().copied().collect();
        closest.sort_unstable_by_key(|id| id.distance(target));
        let chosen = closest.into_iter().take(AMONG).choose(&mut self.rng);
        if let Some((id, peer)) = chosen.and_then(|id| Some((id, self.peers.get_mut(&id)?))) {
            peer.intake.asked();
            out.push(Output::Send(id, Encoded::getaddr_near(target, AROUND)));
        }
    }

    /// Something changed: ask around again soon, if sessions are wanted.
    pub(super) fn refresh_soon(&mut self, now: Moment) {
        if self.wants_sessions() {
            self.refresh.pause = self.config.refresh_min;
            let soon = now + jittered(self.config.refresh_min, &mut self.rng);
            self.refresh.next = self.refresh.next.min(soon);
        }
    }
}
