//! What is told to others: answers to questions for addresses, news, and where else to go.

use std::time::Duration;

use rand::seq::IteratorRandom;

use super::{Explorer, Output};
use crate::{
    address::{Class, Host, HostPort},
    clock::Moment,
    ids::NodeId,
    wire::{Encoded, MAX_LINE},
};

/// To how many peers a newly proven address is passed on.
const NEWS_FANOUT: usize = 2;

/// How long an encoded answer to a plain `getaddr` may be given again. It also keeps one asker
/// from seeing more of the book by asking faster.
const REPLY_KEPT: Duration = Duration::from_secs(1);

/// How many addresses are given to those for whom this node has no room.
const ELSEWHERE: usize = 8;

/// How often these are chosen anew at most.
const ELSEWHERE_PAUSE: Duration = Duration::from_secs(10);

/// Where those may go for whom this node has no room.
#[derive(Debug, Default)]
pub(super) struct ElsewhereState {
    given: Vec<(HostPort, NodeId)>,
    /// When it may be looked at again.
    next: Moment,
    /// What is known has changed since it was looked at.
    pub(super) stale: bool,
}

impl Explorer {
    /// A peer asks for addresses. It is told only those that it can be meant to reach: a peer on
    /// the public network learns nothing of private addresses. Who asks faster than it may for
    /// those near an id, or for few, is told none.
    pub fn get_addr(
        &mut self,
        now: Moment,
        from: NodeId,
        near: Option<NodeId>,
        max: Option<usize>,
    ) -> Encoded {
        let class = self.peers.get(&from).map_or(Class::Public, |peer| peer.class);
        let limit = self.config.addr_reply_max;
        let max = max.map_or(limit, |max| max.min(limit));
        if let Some(introduced) = self.introduce(now, from, near, max) {
            return Encoded::addr(&introduced);
        }
        let plain = near.is_none() && max == limit;
        if let Some((made, reply)) = self.replies.get(&class)
            && plain
            && now.since(*made) < REPLY_KEPT
        {
            return reply.clone();
        }
        // A plain answer is kept for all; any other costs a look through the book.
        if !plain && !self.peers.get_mut(&from).is_none_or(|peer| peer.intake.may_ask(now)) {
            return Encoded::addr(&[]);
        }
        let mut peers = self.proven_for(now, class, near, max);
        fit_line(&mut peers);
        let reply = Encoded::addr(&peers);
        if plain {
            self.replies.insert(class, (now, reply.clone()));
        }
        reply
    }

    fn proven_for(
        &mut self,
        now: Moment,
        class: Class,
        near: Option<NodeId>,
        max: usize,
    ) -> Vec<(HostPort, NodeId)> {
        let fresh_since = Moment::ZERO + now.since(Moment::ZERO + self.dead_after);
        let bans = &self.bans;
        let allowed = |addr: &HostPort, id: NodeId| {
            addr.class() >= class && bans.verdict(now, Some(id), addr.ip()).is_none()
        };
        self.book.advertised(near, max, fresh_since, allowed)
    }

    /// Passes a newly proven address on to some who can reach it.
    pub(super) fn tell(&mut self, now: Moment, addr: &HostPort, id: NodeId, out: &mut Vec<Output>) {
        if self.verdict(now, Some(id), addr.ip()).is_some() {
            return;
        }
        if self.introducer.is_some() {
            return self.tell_guests(now, addr, id, out);
        }
        let line = Encoded::addr(&[(addr.clone(), id)]);
        let can_reach =
            |(peer, known): &(&NodeId, &super::Peer)| **peer != id && addr.class() >= known.class;
        let others = self.peers.iter().filter(can_reach).map(|(peer, _)| *peer);
        for peer in others.choose_multiple(&mut self.rng, NEWS_FANOUT) {
            out.push(Output::Send(peer, line.clone()));
        }
    }

    /// What may be told has changed.
    pub(super) fn changed(&mut self) {
        self.replies.clear();
        self.elsewhere.stale = true;
    }

    /// Chooses anew where those may go for whom there is no room: to public addresses, or in a
    /// network that has none to any.
    pub(super) fn elsewhere_due(&mut self, now: Moment, out: &mut Vec<Output>) {
        if !self.elsewhere.stale || self.elsewhere.next > now {
            return;
        }
        let mut given = self.elsewhere_for(now, Class::Public);
        if given.is_empty() {
            given = self.elsewhere_for(now, Class::Loopback);
        }
        self.elsewhere.stale = false;
        if !given.is_empty() {
            self.elsewhere.next = now + ELSEWHERE_PAUSE;
        }
        if given != self.elsewhere.given {
            self.elsewhere.given.clone_from(&given);
            out.push(Output::Elsewhere(given));
        }
    }

    fn elsewhere_for(&mut self, now: Moment, class: Class) -> Vec<(HostPort, NodeId)> {
        let Some(introducer) = &self.introducer else {
            return self.proven_for(now, class, None, ELSEWHERE);
        };
        // Who is turned away again and again would see all of the book, a few at a time.
        let mut given = self.arc(now, &introducer.anybody(now), |addr| addr.class() >= class);
        given.truncate(ELSEWHERE);
        given
    }

    pub(super) fn elsewhere_deadline(&self) -> Option<Moment> {
        self.elsewhere.stale.then_some(self.elsewhere.next)
    }
}

/// Keeps an `addr` line within the limit even if every host is a long name.
pub(super) fn fit_line(peers: &mut Vec<(HostPort, NodeId)>) {
    const ENVELOPE: usize = 64;
    const PER_ENTRY: usize = 36 + 8 + 6;
    let mut room = MAX_LINE - ENVELOPE;
    let fits = |(addr, _): &(HostPort, NodeId)| {
        let host = if let Host::Name(name) = addr.host() { name.len() } else { 41 };
        let rest = room.checked_sub(host + PER_ENTRY);
        room = rest.unwrap_or(0);
        rest.is_some()
    };
    let n = peers.iter().map(fits).take_while(|fits| *fits).count();
    peers.truncate(n);
}
