//! What the table does about those who are not wanted.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{Effect, PeerTable, State};
use crate::{
    address::HostPort,
    clock::Moment,
    ids::LinkId,
    proto::{
        bans::{Ban, BanChange, BanError, MAX_NOTE, Standing, Target, Verdict},
        journal::{Decision, Kind, cut},
    },
    reason::CloseReason,
};

impl<H> PeerTable<H> {
    /// Takes up the bans of an earlier run. Those that have ended are dropped, and those there is
    /// no room for.
    pub fn take_up(&mut self, now: Moment, bans: Vec<Ban>, out: &mut Vec<Effect>) {
        for ban in bans {
            let (target, until) = (ban.target, ban.until);
            let error = match until > now {
                true => self.admission.bans.ban(now, ban).err(),
                false => {
                    out.push(note(now, Kind::BanExpired, "expired", target, None));
                    out.push(Effect::Keep(BanChange::Lifted(target)));
                    continue;
                }
            };
            match error {
                None => self.tell_standing(target, Verdict::Banned, out),
                // It is kept for a run that has room for it.
                Some(_full) => out.push(note(now, Kind::Dropped, "max-bans", target, None)),
            }
        }
    }

    /// Bans a target, or has its ban end at another time, and closes what it has here.
    ///
    /// # Errors
    /// Nothing was banned, and why.
    pub fn ban(
        &mut self,
        now: Moment,
        target: Target,
        lasts: Duration,
        words: String,
        out: &mut Vec<Effect>,
    ) -> Result<Ban, BanError> {
        match target {
            Target::Node(id) if id == self.me => return Err(BanError::Own),
            Target::Net(net) if net.prefix() == 0 => return Err(BanError::Everything),
            Target::Node(_) | Target::Net(_) if lasts.is_zero() => return Err(BanError::NoTime),
            Target::Node(_) | Target::Net(_) => {}
        }
        let words = cut(Cow::Owned(words), MAX_NOTE).into_owned();
        let ban = Ban { target, since: now, until: now + lasts, note: words };
        self.admission.bans.ban(now, ban.clone())?;
        let closed = self.close_all_of(target, out);
        let secs = Some(lasts.as_secs());
        if let Effect::Note(decision) = note(now, Kind::Banned, "operator", target, secs) {
            out.push(Effect::Note(decision.count("connections", closed)));
        }
        out.push(Effect::Keep(BanChange::Put(ban.clone())));
        self.tell_standing(target, Verdict::Banned, out);
        Ok(ban)
    }

    /// Takes back what is held against a target, a discouragement included. Whether there was
    /// anything.
    pub fn unban(&mut self, now: Moment, target: Target, out: &mut Vec<Effect>) -> bool {
        let was_banned = self.admission.bans.lift_only(target, Verdict::Banned);
        let was_discouraged = self.admission.bans.lift_only(target, Verdict::Discouraged);
        if was_banned {
            out.push(Effect::Keep(BanChange::Lifted(target)));
            self.tell_standing(target, Verdict::Banned, out);
        }
        if was_discouraged {
            self.tell_standing(target, Verdict::Discouraged, out);
        }
        if was_banned || was_discouraged {
            out.push(note(now, Kind::Unbanned, "operator", target, None));
        }
        was_banned || was_discouraged
    }

    /// The bans, by target.
    pub fn bans(&self) -> impl Iterator<Item = &Ban> {
        self.admission.bans.bans()
    }

    /// Who is discouraged until when, by target.
    pub fn discouraged(&self) -> impl Iterator<Item = (Target, Moment)> {
        self.admission.bans.discouraged()
    }

    /// What is held against whom now: for somebody who has heard of nothing yet.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        let banned = self.bans().map(|ban| (ban.target, Verdict::Banned, ban.until));
        let others =
            self.discouraged().map(|(target, until)| (target, Verdict::Discouraged, until));
        let standing = |(target, verdict, until)| Standing { target, verdict, until: Some(until) };
        banned.chain(others).map(standing)
    }

    /// A link of ours ends for what its peer did wrong.
    pub(super) fn blame(
        &mut self,
        now: Moment,
        link: LinkId,
        reason: &CloseReason,
        out: &mut Vec<Effect>,
    ) {
        let Some(row) = self.links.get_mut(&link).filter(|row| !row.is_blamed) else { return };
        row.is_blamed = true;
        let blamed = self.admission.blame(now, row.direction, &row.remote, row.info.as_ref());
        let Some(standing) = blamed else { return };
        let secs = standing.until.map_or(0, |until| until.since(now).as_secs());
        let decision = Decision::new(now, Kind::Discouraged, reason.word());
        let decision = decision.detail(standing.target.to_string()).number("secs", secs);
        out.extend(self.note(link, decision));
        self.tell_standing(standing.target, Verdict::Discouraged, out);
    }

    pub(super) fn end_bans(&mut self, now: Moment, out: &mut Vec<Effect>) {
        for (target, verdict) in self.admission.bans.tick(now) {
            if verdict == Verdict::Banned {
                out.push(note(now, Kind::BanExpired, "expired", target, None));
                out.push(Effect::Keep(BanChange::Lifted(target)));
            }
            self.tell_standing(target, verdict, out);
        }
    }

    /// What changed is held or not held against a target. Whoever is told that something is not
    /// held any more may forget all of that target, so what else holds is told again.
    fn tell_standing(&self, target: Target, changed: Verdict, out: &mut Vec<Effect>) {
        let now_held = self.admission.bans.standing(target);
        if now_held.is_none_or(|held| held.verdict != changed) {
            out.push(Effect::Standing(Standing { target, verdict: changed, until: None }));
        }
        out.extend(now_held.map(Effect::Standing));
    }

    /// Tells all links of a target to close. How many there were.
    fn close_all_of(&mut self, target: Target, out: &mut Vec<Effect>) -> usize {
        let is_meant = |row: &super::Row<H>| {
            let id = row.info.as_ref().map(|info| info.id);
            row.state != State::Closing && target.covers(id, row.remote.ip())
        };
        let links = self.links.iter().filter(|(_, row)| is_meant(row));
        let links: Vec<LinkId> = links.map(|(link, _)| *link).collect();
        for link in &links {
            self.greeting.remove(link);
            self.contending.retain(|_, contender| contender != link);
            self.retire(*link, &CloseReason::Banned, out);
            self.tell_close(*link, CloseReason::Banned, "banned by this node's operator", out);
        }
        links.len()
    }
}

/// A decision about a target.
fn note(
    now: Moment,
    kind: Kind,
    reason: &'static str,
    target: Target,
    secs: Option<u64>,
) -> Effect {
    let decision = Decision::new(now, kind, reason).detail(target.to_string());
    let decision = match secs {
        Some(secs) => decision.number("secs", secs),
        None => decision,
    };
    Effect::Note(match target {
        Target::Node(id) => decision.peer(id),
        // One address is found by asking for it; a subnet stands in the detail.
        Target::Net(net) => {
            let ip: Option<IpAddr> = net.to_string().parse().ok();
            decision.addr(ip.map(|ip| HostPort::from(SocketAddr::new(ip, 0))))
        }
    })
}
