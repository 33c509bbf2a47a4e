//! Whom to dial next, and with what.

use std::{net::IpAddr, time::Duration};

use super::{DialPlan, Explorer, Output, Via};
use crate::{
    address::{Class, Group, HostPort},
    clock::Moment,
    config::Security,
    ids::NodeId,
    proto::{
        address_book::Queue,
        address_entry::Entry,
        bans::{Target, Verdict},
        journal::{Decision, Kind},
        link::Purpose,
        redial::jittered,
    },
    reason::CloseReason,
};

/// How long an address is left alone that is banned or discouraged, before that is looked at again.
const SHUNNED_PAUSE: Duration = Duration::from_secs(600);

/// The part of the dials at the same time, as a divisor, that feelers may take while sessions are
/// wanted.
const FEELER_SHARE: usize = 4;

/// How many shunned addresses are passed over in one go.
const MAX_PASSED_OVER: usize = 64;

impl Explorer {
    /// Somebody is not wanted, or not any more when the time is over: neither dialled nor told to
    /// others. A first contact is dialled in spite of a discouragement.
    pub fn shun(&mut self, now: Moment, target: Target, until: Moment, verdict: Verdict) {
        if until > now {
            self.bans.set(target, until, verdict);
            self.changed();
        }
    }

    /// Nothing is held against it any more, and its addresses may be dialled at once.
    pub fn lift(&mut self, now: Moment, target: Target, out: &mut Vec<Output>) {
        self.bans.lift(target);
        let is_meant = |(addr, entry): &(&HostPort, &Entry)| match target {
            Target::Node(id) => entry.id == Some(id),
            Target::Net(net) => addr.ip().is_some_and(|ip| net.contains(ip)),
        };
        let shunned = [Verdict::Banned, Verdict::Discouraged].map(Verdict::reason);
        let by_us = |(_, entry): &(&HostPort, &Entry)| {
            shunned.iter().any(|reason| entry.outcome.as_deref() == Some(reason.code()))
        };
        let meant = self.book.iter().filter(is_meant).filter(by_us);
        let meant: Vec<HostPort> = meant.map(|(addr, _)| addr.clone()).collect();
        for addr in meant {
            self.book.hasten(&addr, now);
        }
        self.changed();
        self.tick(now, out);
    }

    /// What is held against an address or the node that is known to be there.
    pub(super) fn shunned(&self, now: Moment, addr: &HostPort) -> Option<Verdict> {
        let id = self.book.get(addr).and_then(|entry| entry.id);
        self.verdict(now, id, addr.ip())
    }

    pub(super) fn verdict(
        &self,
        now: Moment,
        id: Option<NodeId>,
        ip: Option<IpAddr>,
    ) -> Option<Verdict> {
        self.bans.verdict(now, id, ip)
    }

    /// Dials what is due, as far as there is room.
    pub(super) fn dial_due(&mut self, now: Moment, out: &mut Vec<Output>) {
        self.spread();
        let mut passed_over = 0;
        while self.dials.len() < self.config.dials_in_flight
            && self.dial_rate.next_token(now) <= now
            && passed_over < MAX_PASSED_OVER
            && let Some((addr, purpose)) = self.next_dial(now)
        {
            if let Some(verdict) = self.shunned(now, &addr)
                && !(verdict == Verdict::Discouraged && self.is_bootstrap(&addr))
            {
                passed_over += 1;
                self.pass_over(now, &addr, &verdict.reason(), out);
                continue;
            }
            self.dial_rate.take(now, 1);
            self.start_dial(now, addr, purpose, out);
            self.spread();
        }
    }

    fn pass_over(
        &mut self,
        now: Moment,
        addr: &HostPort,
        reason: &CloseReason,
        out: &mut Vec<Output>,
    ) {
        let until = now + jittered(SHUNNED_PAUSE, &mut self.rng);
        self.book.outcome(addr, reason.code());
        self.book.postpone(addr, until);
        self.introducer_dialled(now, addr);
        let note = Decision::new(now, Kind::BackOff, reason.word());
        out.push(Output::Note(note.addr(addr.clone())));
    }

    fn is_bootstrap(&self, addr: &HostPort) -> bool {
        self.book.get(addr).is_some_and(Entry::is_bootstrap)
    }

    fn next_dial(&mut self, now: Moment) -> Option<(HostPort, Purpose)> {
        if self.introducer.is_some() {
            return self.next_feeler(now);
        }
        if let Some(addr) = self.book.pick(Queue::Bootstrap, now) {
            return Some((addr, Purpose::Session));
        }
        if self.book.due_at(Queue::Feeler).is_some_and(|at| at <= now)
            && self.may_feel_at(now).is_some_and(|at| at <= now)
            && let Some(addr) = self.book.pick(Queue::Feeler, now)
        {
            self.feeler_rate.take(now, 1);
            return Some((addr, Purpose::Feeler));
        }
        if self.wants_any()
            && let Some(addr) = self.book.pick(Queue::Known, now)
        {
            return Some((addr, Purpose::Session));
        }
        if let Some(bucket) = self.bucket_to_fill(now) {
            return Some((self.book.pick_in(bucket, now)?, Purpose::Session));
        }
        // With enough sessions, hearsay is proven now and then all the same, so that the book is
        // full of addresses that answer when they are needed (Heilman et al. 2015,
        // countermeasure 4, "feeler connections").
        if self.next_feeler > now {
            return None;
        }
        let addr = self.book.pick(Queue::Hearsay, now)?;
        self.next_feeler = now + jittered(self.config.feeler_interval, &mut self.rng);
        Some((addr, Purpose::Feeler))
    }

    /// When a feeler may be sent; not before a dial ends, if there is no time. While sessions are
    /// wanted, feelers have only a share of the dials and of their rate: whoever declares addresses
    /// where nobody answers would otherwise keep all others from being dialled.
    fn may_feel_at(&mut self, now: Moment) -> Option<Moment> {
        if !self.wants_sessions() {
            return Some(now);
        }
        let is_feeler = |plan: &&DialPlan| plan.purpose == Purpose::Feeler;
        let under_way = self.dials.values().filter(is_feeler).count();
        let most = (self.config.dials_in_flight / FEELER_SHARE).max(1);
        (under_way < most).then(|| self.feeler_rate.next_token(now))
    }

    /// When the next dial is due, if there is room for one.
    pub(super) fn dial_deadline(&mut self, now: Moment) -> Option<Moment> {
        if self.dials.len() >= self.config.dials_in_flight {
            return None;
        }
        let token = self.dial_rate.next_token(now);
        if self.introducer.is_some() {
            return self.next_feeler_at(now).map(|at| at.max(token));
        }
        let feeler = self.book.due_at(Queue::Feeler);
        let feeler = feeler.and_then(|at| self.may_feel_at(now).map(|may| at.max(may)));
        let at_once = [self.book.due_at(Queue::Bootstrap), feeler];
        let any = self.wants_any().then(|| self.book.due_at(Queue::Known)).flatten();
        let hearsay = self.book.due_at(Queue::Hearsay).map(|at| at.max(self.next_feeler));
        let bucket = self.lacking().map(|(_, at)| at).min();
        let times = at_once.into_iter().chain([any, hearsay, bucket]);
        times.flatten().min().map(|at| at.max(token))
    }

    pub(super) fn start_dial(
        &mut self,
        now: Moment,
        addr: HostPort,
        purpose: Purpose,
        out: &mut Vec<Output>,
    ) {
        let plan = self.plan(addr, purpose);
        let addr = plan.addr.clone();
        self.book.dialling(&addr, now);
        // One that was forgotten while it was dialled, and heard of again, is dialled already.
        if self.dials.contains_key(&addr) {
            return;
        }
        if purpose == Purpose::Session {
            self.diversity.begun(&addr);
        }
        let purpose = if purpose == Purpose::Feeler { "feeler" } else { "session" };
        let via = if plan.via == Via::Tls { "tls" } else { "plaintext" };
        let note = Decision::new(now, Kind::Dialled, purpose).detail(via).peer(plan.expect);
        out.push(Output::Note(note.addr(addr.clone())));
        self.dials.insert(addr, plan.clone());
        out.push(Output::Dial(plan));
    }

    /// With what an address is dialled, and who must answer.
    fn plan(&self, addr: HostPort, purpose: Purpose) -> DialPlan {
        let entry = self.book.get(&addr);
        let via = match self.security {
            Security::Off => Via::Plain,
            Security::Require => Via::Tls,
            Security::Prefer => match entry {
                Some(entry) if entry.must_prove() => Via::Tls,
                Some(entry) if entry.plain => Via::Plain,
                // The node there had no key when it was last met; if it does not answer so any
                // more, it may have got one.
                Some(entry) if entry.proven.is_some() && entry.failures == 0 => Via::Plain,
                Some(_) | None => Via::Tls,
            },
        };
        let expect = entry.and_then(Entry::expected).filter(|_| via == Via::Tls);
        let nearest = entry.map_or(Class::Public, Entry::nearest);
        DialPlan { addr, purpose, via, expect, nearest }
    }

    /// Whether sessions are to be dialled.
    pub(super) fn wants_sessions(&self) -> bool {
        if self.introducer.is_some() {
            return false;
        }
        self.wants_any() || self.lacking().next().is_some()
    }

    /// Whether a session with anybody is wanted: there are fewer than that, or of the few that are
    /// there too many came in by themselves, as an attacker's would.
    pub(super) fn wants_any(&self) -> bool {
        let dials = self.session_dials().count();
        let (target, outbound) = (self.config.target_peers, self.n_outbound + dials);
        self.peers.len() + dials < target || outbound < self.config.outbound_min.min(target)
    }

    fn session_dials(&self) -> impl Iterator<Item = &HostPort> {
        let is_session = |plan: &&DialPlan| plan.purpose == Purpose::Session;
        self.dials.values().filter(is_session).map(|plan| &plan.addr)
    }

    /// The buckets that lack sessions and in which somebody is known who may be dialled, and from
    /// when on.
    fn lacking(&self) -> impl Iterator<Item = (u8, Moment)> {
        let bucket_of = |addr: &HostPort| self.buckets.of(self.book.get(addr)?.id?);
        let dialled: Vec<u8> = self.session_dials().filter_map(bucket_of).collect();
        let under_way = move |bucket| dialled.iter().filter(|found| **found == bucket).count();
        let lacks = move |bucket| self.buckets.lacks(bucket, under_way(bucket));
        // Most buckets lack none, and what waits in them is not looked at.
        let lacking = self.book.buckets_to_dial().filter(move |bucket| lacks(*bucket));
        lacking.filter_map(|bucket| Some((bucket, self.book.due_in(bucket)?)))
    }

    /// The bucket in which a session is most wanted of those in which one may be dialled now.
    fn bucket_to_fill(&self, now: Moment) -> Option<u8> {
        let due = self.lacking().filter(|(_, at)| *at <= now).map(|(bucket, _)| bucket);
        due.min_by_key(|bucket| self.buckets.urgency(*bucket))
    }

    /// Has the book leave alone the groups that have as many sessions as they may.
    fn spread(&mut self) {
        // In a network of private addresses there is nothing to spread.
        if self.book.n_groups() == 0 {
            return;
        }
        let full: Vec<Group> = self.diversity.full(self.book.n_groups()).cloned().collect();
        let now_free: Vec<Group> =
            self.book.held().filter(|group| !full.contains(group)).cloned().collect();
        for group in now_free {
            self.book.hold(&group, false);
        }
        for group in full {
            self.book.hold(&group, true);
        }
    }
}
