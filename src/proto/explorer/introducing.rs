//! What an introducer does in place of keeping sessions: it proves, tells each asker its share, and
//! lets its guests go. And what a node does that an introducer has let go.

use std::time::Duration;

use rand::{
    Rng,
    seq::{IteratorRandom, SliceRandom},
};

use super::{Explorer, Output, is_code};
use crate::{
    address::HostPort,
    clock::Moment,
    ids::NodeId,
    peer::PeerInfo,
    proto::{
        address_book::Queue,
        address_entry::Entry,
        introducer::{Asker, Errand},
        link::Purpose,
        redial::jittered,
    },
    reason::CloseReason,
    wire::Encoded,
};

/// To how many guests who were told of few a newly proven address is told.
const NEWS_FANOUT: usize = 4;

/// How long a proof stands before the same node's next registration is looked into.
const LOOK_PAUSE: Duration = Duration::from_secs(60);

/// How soon a node that has no peers comes back to an introducer.
const ALONE_PAUSE: Duration = Duration::from_secs(15);

/// How soon one that has lost all its peers does.
const LOST_PAUSE: Duration = Duration::from_secs(2);

/// How long one that has peers enough stays away: its address is kept by feelers, but an introducer
/// may have forgotten all.
const REGISTER_AGAIN: Duration = Duration::from_secs(3600);

impl Explorer {
    /// A guest has come.
    pub(super) fn guest_up(&mut self, now: Moment, info: &PeerInfo) {
        if let Some(introducer) = &mut self.introducer {
            introducer.came(now, info.id);
        }
    }

    /// A guest says where it listens: it waits until that is known to be true.
    pub(super) fn guest_declared(&mut self, now: Moment, id: NodeId, addr: &HostPort) {
        let Some(introducer) = &mut self.introducer else { return };
        if self.book.look_again(addr, id, now, LOOK_PAUSE) {
            introducer.awaits(now, id, addr);
        }
    }

    /// A guest is gone. That says little about its address, unless it said that it stops.
    pub(super) fn guest_down(&mut self, now: Moment, info: &PeerInfo, reason: &CloseReason) {
        if let Some(introducer) = &mut self.introducer {
            introducer.went(info.id);
        }
        if is_code(reason, &CloseReason::Shutdown) {
            self.book.disconnected(info.id, now, now.since(info.since));
        } else {
            self.book.parted(info.id);
        }
    }

    /// A dial of an introducer has ended, and what is known of the address is in the book. It is
    /// dialled again when its proof has grown old.
    pub(super) fn introducer_dialled(&mut self, now: Moment, addr: &HostPort) {
        let Some(introducer) = &mut self.introducer else { return };
        if self.dials.contains_key(addr) {
            return;
        }
        introducer.settled(now, addr);
        let renew = introducer.config().renew;
        if self.book.get(addr).is_some_and(|entry| entry.proven == Some(now) && !entry.lost) {
            let until = now + jittered(renew, &mut self.rng);
            self.book.renewed(addr, until);
        }
    }

    /// What an introducer dials next: feelers, and nothing else.
    pub(super) fn next_feeler(&mut self, now: Moment) -> Option<(HostPort, Purpose)> {
        let [known, newcomer, hearsay] =
            [Errand::Known, Errand::Newcomer, Errand::Hearsay].map(|errand| self.may_dial(errand));
        let may_feel = newcomer && self.feeler_rate.next_token(now) <= now;
        let hearsay_first = self.rng.random::<bool>();
        let mut found = known.then(|| self.book.pick(Queue::Bootstrap, now)).flatten();
        let mut errand = Errand::Known;
        if found.is_none() && may_feel {
            (found, errand) = (self.book.pick_newcomer(now), Errand::Newcomer);
            self.feeler_rate.take(now, u32::from(found.is_some()));
        }
        for is_hearsay in [hearsay_first, !hearsay_first] {
            if found.is_none() && is_hearsay && hearsay {
                (found, errand) = (self.book.pick(Queue::Hearsay, now), Errand::Hearsay);
            } else if found.is_none() && !is_hearsay && known {
                (found, errand) = (self.book.pick(Queue::Proven, now), Errand::Known);
            }
        }
        let addr = found?;
        if let Some(introducer) = &mut self.introducer {
            introducer.dialling(&addr, errand);
        }
        Some((addr, Purpose::Feeler))
    }

    /// When an introducer dials next, if there is room.
    pub(super) fn next_feeler_at(&mut self, now: Moment) -> Option<Moment> {
        let due = |queue, errand| self.book.due_at(queue).filter(|_| self.may_dial(errand));
        let newcomer = due(Queue::Feeler, Errand::Newcomer);
        let others = [
            due(Queue::Bootstrap, Errand::Known),
            due(Queue::Proven, Errand::Known),
            due(Queue::Hearsay, Errand::Hearsay),
        ];
        let newcomer = newcomer.map(|at| at.max(self.feeler_rate.next_token(now)));
        others.into_iter().chain([newcomer]).flatten().min()
    }

    fn may_dial(&self, errand: Errand) -> bool {
        let most = self.config.dials_in_flight;
        self.introducer.as_ref().is_some_and(|introducer| introducer.may_dial(errand, most))
    }

    /// An introducer's answer: from the asker's share of the book, the nodes closest to an id or any.
    pub(super) fn introduce(
        &mut self,
        now: Moment,
        from: NodeId,
        near: Option<NodeId>,
        max: usize,
    ) -> Option<Vec<(HostPort, NodeId)>> {
        let introducer = self.introducer.as_ref()?;
        let may_ask = introducer.may_ask(from)
            && self.peers.get_mut(&from).is_some_and(|peer| peer.intake.may_ask(now));
        if !may_ask {
            return Some(Vec::new());
        }
        let mut share = self.share_of(now, from);
        match near {
            Some(near) => share.sort_by_key(|(_, id)| id.distance(near)),
            None => share.shuffle(&mut self.rng),
        }
        share.truncate(max);
        super::telling::fit_line(&mut share);
        if let Some(introducer) = &mut self.introducer {
            introducer.answered(now, from, share.iter().filter(|(_, id)| *id != from).count());
        }
        Some(share)
    }

    /// All that a guest may be told in this window.
    fn share_of(&mut self, now: Moment, guest: NodeId) -> Vec<(HostPort, NodeId)> {
        let Some(introducer) = &mut self.introducer else { return Vec::new() };
        let Some(peer) = self.peers.get(&guest) else { return Vec::new() };
        let asker = introducer.asker(now, guest, &peer.remote);
        let class = peer.class;
        self.arc(now, &asker, |addr| addr.class() >= class)
    }

    /// What one asker may be told.
    pub(super) fn arc(
        &self,
        now: Moment,
        asker: &Asker,
        can_reach: impl Fn(&HostPort) -> bool,
    ) -> Vec<(HostPort, NodeId)> {
        let Some(introducer) = &self.introducer else { return Vec::new() };
        let told_for = introducer.config().renew * 2;
        let fresh_since = Moment::ZERO + now.since(Moment::ZERO + told_for);
        let allowed = |addr: &HostPort, id: NodeId| {
            can_reach(addr) && self.verdict(now, Some(id), addr.ip()).is_none()
        };
        let begin = self.book.arc_of(&asker.group, asker.window);
        self.book.arc(begin, introducer.share(self.book.n_on_ring()), fresh_since, allowed)
    }

    /// Tells some guests who have heard of few about a newcomer, as far as it is in their shares.
    pub(super) fn tell_guests(
        &mut self,
        now: Moment,
        addr: &HostPort,
        id: NodeId,
        out: &mut Vec<Output>,
    ) {
        let Some(introducer) = &self.introducer else { return };
        let others = introducer.hungry().filter(|guest| *guest != id);
        let chosen = others.choose_multiple(&mut self.rng, NEWS_FANOUT);
        let news = (addr.clone(), id);
        for guest in chosen {
            if self.share_of(now, guest).contains(&news) {
                out.push(Output::Send(guest, Encoded::addr(std::slice::from_ref(&news))));
                if let Some(introducer) = &mut self.introducer {
                    introducer.told_news(now, guest);
                }
            }
        }
    }

    /// Tells those guests to go who have what they came for, or have had their time.
    pub(super) fn guests_due(&mut self, now: Moment, out: &mut Vec<Output>) {
        let Some(introducer) = &mut self.introducer else { return };
        let leaving = introducer.leaving(now).into_iter();
        out.extend(leaving.map(|id| Output::Close(id, CloseReason::Introduced)));
    }

    /// An introducer has let this node go. Nothing speaks against it, and it is come back to only
    /// when that is needed: soon by a node that has no peers, and rather late by one that has enough.
    pub(super) fn introduced(&mut self, now: Moment, id: NodeId) {
        self.book.parted(id);
        for addr in self.book.addresses_of(id) {
            let times = self.book.introduced(&addr);
            let few = self.peers.len() < self.config.target_peers;
            let doubled = 2u32.saturating_pow(times.saturating_sub(1));
            let pause = match self.book.get(&addr).is_some_and(Entry::is_bootstrap) && few {
                true if self.peers.is_empty() => ALONE_PAUSE,
                true => self.config.bootstrap_retry_max.saturating_mul(doubled).min(REGISTER_AGAIN),
                false => REGISTER_AGAIN,
            };
            let until = now + jittered(pause, &mut self.rng);
            self.book.postpone(&addr, until);
        }
    }

    /// The last peer is gone: whoever introduced this node is asked again.
    pub(super) fn ask_introducers(&mut self, now: Moment) {
        if self.peers.is_empty() {
            let at = now + jittered(LOST_PAUSE, &mut self.rng);
            self.book.recall_introducers(at, ALONE_PAUSE);
        }
    }
}

#[cfg(test)]
#[path = "introducing_tests.rs"]
mod tests;
