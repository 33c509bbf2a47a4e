//! What follows from how a dial ended.

use std::time::Duration;

use super::{DialPlan, DialResult, Explorer, Output, Proof, Via, is_code};
use crate::{
    address::HostPort,
    clock::Moment,
    config::Security,
    ids::NodeId,
    proto::{
        address_book::Fate,
        address_entry::Entry,
        journal::{Decision, Kind},
        link::Purpose,
        redial::jittered,
    },
    reason::CloseReason,
};

/// How long an address is left alone when this machine could not dial it.
const LOCAL_PAUSE: Duration = Duration::from_secs(5);

/// The shortest time between two times that all lost addresses are tried again soon.
const RECALL_PAUSE: Duration = Duration::from_secs(60);

/// Over how long these dials are spread.
const RECALL_WITHIN: Duration = Duration::from_secs(10);

/// How long a node that said it is full is left alone.
const FULL_PAUSE: Duration = Duration::from_secs(600);

impl Explorer {
    /// A dial ended.
    pub fn dialled(
        &mut self,
        now: Moment,
        addr: &HostPort,
        result: DialResult,
        out: &mut Vec<Output>,
    ) {
        let plan = self.dials.remove(addr);
        if let Some(DialPlan { purpose: Purpose::Session, .. }) = &plan {
            self.diversity.ended(addr);
        }
        let code = result.end.as_ref().map_or("hello", |(reason, _)| reason.code());
        self.book.outcome(addr, code);
        self.settle(now, addr, plan.as_ref(), result, out);
        self.introducer_dialled(now, addr);
        self.tick(now, out);
    }

    fn settle(
        &mut self,
        now: Moment,
        addr: &HostPort,
        plan: Option<&DialPlan>,
        DialResult { proof, end }: DialResult,
        out: &mut Vec<Output>,
    ) {
        let answered = proof.as_ref().map(|proof| proof.id);
        let end = match proof {
            Some(proof)
                if proof.id == self.me && (proof.proven || !self.me.is_self_certifying()) =>
            {
                return self.met_ourselves(now, addr, out);
            }
            // Nothing proves an id over plaintext that says of itself that it can be proven.
            Some(proof) if !proof.proven && proof.id.is_self_certifying() => {
                if self.prove_next(now, addr, plan, proof.id, out) {
                    return;
                }
                end.or(Some((CloseReason::Unproven, String::new())))
            }
            Some(proof)
                if is_another(end.as_ref()) || self.is_pinned_to_another(addr, proof.id) =>
            {
                // The operator's word stands against whoever answers; hearsay does not.
                if proof.proven {
                    self.book.answered_as(addr, proof.id);
                }
                end.or(Some((CloseReason::WrongNode, String::new())))
            }
            Some(proof) => {
                self.prove(now, addr, &proof, out);
                match end {
                    Some((reason, _)) if is_code(&reason, &CloseReason::Duplicate) => {
                        self.note(now, Kind::Duplicate, &reason, addr, answered, out);
                        None
                    }
                    end => end.filter(|(reason, _)| !is_fair(reason)),
                }
            }
            None if self.falls_back(now, addr, plan, end.as_ref(), out) => return,
            None => end,
        };
        if let Some((reason, detail)) = end {
            self.dial_failed(now, addr, answered, &reason, detail, out);
        }
    }

    fn note(
        &self,
        now: Moment,
        kind: Kind,
        reason: &CloseReason,
        addr: &HostPort,
        peer: Option<NodeId>,
        out: &mut Vec<Output>,
    ) {
        let note = Decision::new(now, kind, reason.word()).peer(peer);
        out.push(Output::Note(note.addr(addr.clone())));
    }

    fn met_ourselves(&mut self, now: Moment, addr: &HostPort, out: &mut Vec<Output>) {
        self.book.own(addr, now);
        self.changed();
        self.note(now, Kind::OwnAddress, &CloseReason::SelfConnection, addr, None, out);
    }

    fn is_pinned_to_another(&self, addr: &HostPort, id: NodeId) -> bool {
        let pinned = self.book.get(addr).and_then(|entry| entry.pinned);
        pinned.is_some_and(|pinned| pinned != id)
    }

    fn prove(&mut self, now: Moment, addr: &HostPort, proof: &Proof, out: &mut Vec<Output>) {
        self.may_have_come_back(now, proof.id);
        let news = self.book.proven(addr, proof.id, now);
        self.changed();
        if let Some(local) = &proof.local {
            self.own.local(local);
            self.announce(now, out);
        }
        if news {
            let note = Decision::new(now, Kind::Proven, "hello").peer(proof.id);
            out.push(Output::Note(note.addr(addr.clone())));
            self.tell(now, addr, proof.id, out);
        }
    }

    /// Who answered in plaintext says that it can prove its id: it is asked to, at once. Whether
    /// that is so; after an encrypted dial, or with encryption off, it is a failure.
    fn prove_next(
        &mut self,
        now: Moment,
        addr: &HostPort,
        plan: Option<&DialPlan>,
        id: NodeId,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(DialPlan { via: Via::Plain, purpose, .. }) = plan else { return false };
        let is_liar = id == self.me || self.is_pinned_to_another(addr, id);
        if self.security == Security::Off || is_liar {
            return false;
        }
        self.book.answered_as(addr, id);
        self.note(now, Kind::DialFailed, &CloseReason::Unproven, addr, Some(id), out);
        self.dial_again(now, addr, *purpose, out);
        true
    }

    /// TLS found no taker at an address that may be a classic node's: it is dialled again at once,
    /// in plaintext. Never where a node is known that can prove itself, or whoever is on the way
    /// could make every connection a plain one.
    fn falls_back(
        &mut self,
        now: Moment,
        addr: &HostPort,
        plan: Option<&DialPlan>,
        end: Option<&(CloseReason, String)>,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some((CloseReason::TlsFailed, detail)) = end else { return false };
        let Some(DialPlan { via: Via::Tls, purpose, .. }) = plan else { return false };
        let must_prove = self.book.get(addr).is_none_or(Entry::must_prove);
        if self.security != Security::Prefer || must_prove {
            return false;
        }
        let code = CloseReason::TlsFailed.word();
        let detail = format!("{detail}; plaintext is tried next");
        let note = Decision::new(now, Kind::DialFailed, code).detail(detail);
        out.push(Output::Note(note.addr(addr.clone())));
        self.book.try_plain(addr);
        self.dial_again(now, addr, *purpose, out);
        true
    }

    /// Dials an address that was just dialled. It does not wait for the rate of dials, but the next
    /// ones do so for it.
    fn dial_again(
        &mut self,
        now: Moment,
        addr: &HostPort,
        purpose: Purpose,
        out: &mut Vec<Output>,
    ) {
        self.dial_rate.owe(now);
        self.start_dial(now, addr.clone(), purpose, out);
    }

    fn dial_failed(
        &mut self,
        now: Moment,
        addr: &HostPort,
        answered: Option<NodeId>,
        reason: &CloseReason,
        detail: String,
        out: &mut Vec<Output>,
    ) {
        let code = reason.word();
        let note = Decision::new(now, Kind::DialFailed, code.clone()).detail(detail);
        let note = note.addr(addr.clone()).peer(answered);
        // The operator, who named it, will want to know.
        let bootstrap = self.book.get(addr).is_some_and(Entry::is_bootstrap);
        out.push(Output::Note(if bootstrap { note.number("bootstrap", 1) } else { note }));
        if answered.is_some() && is_code(reason, &CloseReason::Full) {
            return self.turned_away(now, addr);
        }
        // So quickly that the session had not begun.
        if let Some(id) = answered.filter(|_| is_code(reason, &CloseReason::Introduced)) {
            return self.introduced(now, id);
        }
        // What this machine lacks says nothing about the address.
        if answered.is_none() && *reason == CloseReason::Internal {
            return self.book.postpone(addr, now + jittered(LOCAL_PAUSE, &mut self.rng));
        }
        let fate = self.book.failed(addr, now);
        let failures = self.book.get(addr).map_or(0, |entry| entry.failures);
        let note = |kind| Decision::new(now, kind, code).number("failures", failures.into());
        let note = match fate {
            Fate::Forgotten => note(Kind::Forgotten),
            Fate::Cold(_) => {
                self.changed();
                note(Kind::WentCold)
            }
            Fate::GaveWay(_, newcomer) => {
                self.changed();
                note(Kind::AddressEvicted).detail(format!("its place goes to {newcomer}"))
            }
            Fate::Retry(at) => {
                let pause = at.since(now).as_millis();
                note(Kind::BackOff).number("pause-ms", u64::try_from(pause).unwrap_or(u64::MAX))
            }
            Fate::Unknown => return,
        };
        out.push(Output::Note(note.addr(addr.clone())));
    }

    /// A node that could not be reached for a while is there again. If it was a part of the network
    /// that was cut off, and not only that node, then others are as well: all that were lost may be
    /// dialled soon, in place of after the long pauses that they had come to.
    pub(super) fn may_have_come_back(&mut self, now: Moment, id: NodeId) {
        if now >= self.next_recall && self.book.is_long_lost(id) {
            self.next_recall = now + RECALL_PAUSE;
            self.book.recall_lost(now, RECALL_WITHIN);
            self.refresh.pause = self.config.refresh_min;
            self.refresh.next = self.refresh.next.min(now + self.config.refresh_min);
        }
    }

    /// A session ended that neither side needs. Nothing speaks against the node, but there is no hurry
    /// to meet it again.
    pub(super) fn parted(&mut self, now: Moment, id: NodeId) {
        self.book.parted(id);
        for addr in self.book.addresses_of(id) {
            let until = now + jittered(FULL_PAUSE, &mut self.rng);
            self.book.postpone(&addr, until);
        }
    }

    /// The node there has no room: it is left alone for a while. A first contact that is needed is
    /// asked again sooner; a network whose nodes all ask the same one would be its heaviest load.
    pub(super) fn turned_away(&mut self, now: Moment, addr: &HostPort) {
        let bootstrap = self.book.get(addr).is_some_and(Entry::is_bootstrap);
        let is_needed = bootstrap && self.peers.len() < self.config.target_peers;
        let pause = if is_needed { self.config.bootstrap_retry_max } else { FULL_PAUSE };
        let until = now + jittered(pause, &mut self.rng);
        self.book.postpone(addr, until);
    }
}

/// Whether this node refused who answered, since it expected another.
fn is_another(end: Option<&(CloseReason, String)>) -> bool {
    matches!(end, Some((CloseReason::WrongNode, _)))
}

/// Whether an answered dial that ended so did what it was made for.
fn is_fair(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Feeler | CloseReason::Shutdown | CloseReason::Requested)
}
