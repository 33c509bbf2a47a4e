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

/// About how many buckets is asked at once.
const AT_ONCE: usize = 3;

/// One question in so many is about this node's own neighbourhood, in which newcomers matter most.
const OWN_SHARE: u32 = 4;

impl Explorer {
    /// Asks around what is due to be asked: about buckets that lack sessions and in which nobody is
    /// known to be dialled; else about any.
    pub(super) fn refresh_due(&mut self, now: Moment, out: &mut Vec<Output>) {
        if now < self.refresh.next || self.peers.is_empty() {
            return;
        }
        self.refresh.pause = (self.refresh.pause * 2).min(self.config.refresh_max);
        self.refresh.next = now + jittered(self.refresh.pause, &mut self.rng);
        // Who wants anybody asks anybody, for whomever they know.
        if self.wants_any()
            && let Some((id, peer)) = self.peers.iter_mut().choose(&mut self.rng)
        {
            peer.intake.asked();
            out.push(Output::Send(*id, Encoded::GETADDR));
        }
        let nearest = self.buckets.nearest().unwrap_or(0);
        let known: Vec<u8> = self.book.due_in_buckets().map(|(bucket, _)| bucket).collect();
        let is_dry = |bucket: &u8| self.buckets.lacks(*bucket, 0) && !known.contains(bucket);
        let mut dry: Vec<u8> = (0..=nearest).filter(is_dry).collect();
        dry.sort_by_key(|bucket| self.buckets.urgency(*bucket));
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

    /// Asks the peer closest to an id for others that are close to it.
    fn ask_around(&mut self, target: NodeId, out: &mut Vec<Output>) {
        let closest = self.peers.keys().min_by_key(|id| id.distance(target)).copied();
        if let Some((id, peer)) = closest.and_then(|id| Some((id, self.peers.get_mut(&id)?))) {
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
