//! What peers do: come, go, and tell addresses.

use super::{Explorer, MAX_FINDERS, Output, Peer, is_code};
use crate::{
    address::HostPort,
    clock::Moment,
    ids::NodeId,
    peer::{Direction, PeerInfo},
    proto::{
        address_entry::{Hearing, NotTaken, Source},
        finder::{Finder, Finding},
        intake::Intake,
        journal::{Decision, Kind},
    },
    reason::CloseReason,
    wire::AddrEntry,
};

impl Explorer {
    /// A session came up.
    pub fn peer_up(&mut self, now: Moment, info: &PeerInfo, out: &mut Vec<Output>) {
        if self.peers.is_empty() {
            self.refresh.next = self.refresh.next.max(now + self.config.refresh_min);
        }
        let intake = Intake::new(&self.config, now);
        let is_dialled = info.direction == Direction::Outbound;
        let (class, remote) = (info.remote.class(), info.remote.clone());
        let peer = Peer { intake, class, remote, is_dialled };
        let is_new = self.peers.insert(info.id, peer).is_none();
        if is_new {
            self.buckets.began(info.id);
        }
        if is_new && is_dialled {
            self.n_outbound += 1;
            self.diversity.begun(&info.remote);
        }
        self.may_have_come_back(now, info.id);
        self.guest_up(now, info);
        self.book.connected(info.id);
        self.changed();
        if let Some(observed) = &info.observed {
            self.own.reported(&info.remote, observed);
            self.announce(now, out);
        }
        if let Some(listen) = &info.listen {
            self.declared(now, info, listen, out);
        }
        self.tick(now, out);
    }

    /// A session ended.
    pub fn peer_down(
        &mut self,
        now: Moment,
        info: &PeerInfo,
        reason: &CloseReason,
        out: &mut Vec<Output>,
    ) {
        if let Some(mut peer) = self.peers.remove(&info.id) {
            out.extend(peer.intake.note(info.id, now, true).map(Output::Note));
            self.buckets.ended(info.id);
            if info.direction == Direction::Outbound {
                self.n_outbound = self.n_outbound.saturating_sub(1);
                self.diversity.ended(&info.remote);
            }
        }
        let is_surplus = is_code(reason, &CloseReason::Surplus);
        self.spared(info.id, is_surplus);
        if self.introducer.is_some() {
            self.guest_down(now, info, reason);
        } else if is_surplus {
            self.parted(now, info.id);
        } else if is_code(reason, &CloseReason::Introduced) {
            self.introduced(now, info.id);
        } else {
            self.book.disconnected(info.id, now, now.since(info.since));
            self.ask_introducers(now);
        }
        // A full node answers the hello first, so that its refusal ends what was a session.
        if info.direction == Direction::Outbound && is_code(reason, &CloseReason::Full) {
            for addr in self.book.addresses_of(info.id) {
                self.turned_away(now, &addr);
            }
        }
        self.changed();
        self.refresh_soon(now);
        self.tick(now, out);
    }

    /// A peer told addresses.
    pub fn addrs(
        &mut self,
        now: Moment,
        from: NodeId,
        entries: &[AddrEntry],
        out: &mut Vec<Output>,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let intake = &mut peer.intake;
        let alone = entries.len() == 1;
        let allowed = intake.allow(now, entries.len());
        let mut news = false;
        let mut declared = Vec::new();
        for entry in entries.iter().take(allowed) {
            let taken = entry.addr.parse::<HostPort>().map_err(NotTaken::Bad).and_then(|addr| {
                // A classic peer announces itself by a bare address; should it be another's, the
                // proof will say so.
                addr.check_dialable().map_err(NotTaken::Bad)?;
                let told = |source| Hearing { source, from: peer.remote.ip() };
                if entry.id.or(alone.then_some(from)) == Some(from) && intake.may_declare(&addr) {
                    let source = told(Source::Declared(from));
                    let learnt = self.book.learn(&addr, Some(from), source, now);
                    declared.extend(learnt.is_ok().then_some(addr));
                    return learnt;
                }
                self.book.learn(&addr, entry.id, told(Source::Told(from)), now)
            });
            match taken {
                Ok(new) => news |= new,
                // Hearing one's own address from others is how the network works, not a fault.
                Err(NotTaken::Own) => {}
                Err(why) => intake.refuse(why),
            }
        }
        out.extend(intake.note(from, now, false).map(Output::Note));
        for addr in declared {
            self.guest_declared(now, from, &addr);
        }
        if news {
            self.refresh_soon(now);
        }
        self.tick(now, out);
    }

    /// An extension has found an address. Whether it is new. What is found is hearsay, and each finder
    /// has the allowance of a peer that tells addresses unasked.
    ///
    /// # Errors
    /// It was not taken, and why.
    pub fn found(
        &mut self,
        now: Moment,
        by: Finder,
        finding: &Finding,
        out: &mut Vec<Output>,
    ) -> Result<bool, NotTaken> {
        if self.finders.len() >= MAX_FINDERS && !self.finders.contains_key(&by) {
            return Err(NotTaken::Finders);
        }
        let new_intake = || Intake::new(&self.config, now);
        let intake = self.finders.entry(by).or_insert_with(new_intake);
        let Finding { addr, id, from } = finding;
        let hearing = Hearing { source: Source::Found(by), from: *from };
        let taken = match intake.allow(now, 1) {
            0 => Err(NotTaken::Rate),
            _ => self.book.learn(addr, *id, hearing, now).inspect_err(|why| {
                if *why != NotTaken::Own {
                    intake.refuse(*why);
                }
            }),
        };
        out.extend(intake.note(None, now, false).map(|note| {
            let detail = format!("{by}: {}", note.detail);
            Output::Note(note.detail(detail))
        }));
        if taken == Ok(true) {
            self.refresh_soon(now);
        }
        self.tick(now, out);
        taken
    }

    fn declared(&mut self, now: Moment, by: &PeerInfo, addr: &HostPort, out: &mut Vec<Output>) {
        let hearing = Hearing { source: Source::Declared(by.id), from: by.remote.ip() };
        match self.book.learn(addr, Some(by.id), hearing, now) {
            Ok(_) => self.guest_declared(now, by.id, addr),
            Err(NotTaken::Own) => {}
            Err(why) => {
                let note = Decision::new(now, Kind::AddrsRefused, why.code()).peer(by.id);
                out.push(Output::Note(note.addr(addr.clone())));
            }
        }
    }
}
