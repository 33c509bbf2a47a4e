//! Which of two connections with one node stays, and who gives way when the table is full.

use std::time::Duration;

use super::{Effect, PeerTable, Row, State};
use crate::{
    clock::Moment,
    ids::{LinkId, NodeId},
    peer::Direction,
    proto::{
        eviction::{self, Candidate},
        journal::{Decision, Kind},
    },
    reason::CloseReason,
};

/// How long the dialler of two sessions to one node waits for the other side to choose between
/// them, before it drops the newer one itself.
const CONTENDER_PATIENCE: Duration = Duration::from_secs(5);

/// Which of two connections with one node stays: a code, and words for the peer.
type Rule = (&'static str, &'static str);

const NEWER: Rule = ("newer-stays", "a newer session of yours took its place");
const LOWER_ID: Rule = ("lower-id-stays", "the session dialled by the lower id stays");
const NEWER_CONTENDER: Rule = ("newer-waits", "a newer connection waits in its place");
const PROVEN_STAYS: Rule = ("proven-stays", "the session there is proven to be of that node");
const NOT_CHOSEN: Rule = ("not-chosen", "there is already a session");

impl<H> PeerTable<H> {
    /// Two links to the same node. Dialled by different sides: the one dialled by the lower id
    /// stays, which both sides know. Dialled by the same side: the side that was dialled lets the
    /// newest win (the older may be dead without knowing), and the dialler waits for that choice,
    /// since it may have seen the two hellos in another order. Whoever only says to be a node that
    /// is proven to be here takes no place of it.
    pub(super) fn choose(
        &mut self,
        now: Moment,
        old: LinkId,
        new: LinkId,
        id: NodeId,
        out: &mut Vec<Effect>,
    ) {
        let direction = |link| self.links.get(&link).map(|row: &Row<H>| row.direction);
        let (Some(old_direction), Some(new_direction)) = (direction(old), direction(new)) else {
            return;
        };
        if self.is_proven(old) && !self.is_proven(new) {
            return self.drop_duplicate(now, new, old, PROVEN_STAYS, out);
        }
        let preferred = if self.me < id { Direction::Outbound } else { Direction::Inbound };
        match (old_direction, new_direction) {
            (Direction::Inbound, Direction::Inbound) => self.replace(now, old, new, NEWER, out),
            (Direction::Outbound, Direction::Outbound) => {
                if let Some(previous) = self.contending.insert(id, new) {
                    self.drop_duplicate(now, previous, new, NEWER_CONTENDER, out);
                }
                if let Some(row) = self.links.get_mut(&new) {
                    row.state = State::Contending { due: now + CONTENDER_PATIENCE };
                }
            }
            (_, Direction::Inbound) if preferred == Direction::Inbound => {
                // An outbound session becomes an inbound one, for which there must be room.
                if self.make_room(now, new, out) {
                    self.replace(now, old, new, LOWER_ID, out);
                }
            }
            (_, new_direction) if new_direction == preferred => {
                self.replace(now, old, new, LOWER_ID, out);
            }
            _ => self.drop_duplicate(now, new, old, LOWER_ID, out),
        }
    }

    fn is_proven(&self, link: LinkId) -> bool {
        let info = self.links.get(&link).and_then(|row| row.info.as_ref());
        info.is_some_and(|info| info.channel.proves(info.id))
    }

    fn replace(
        &mut self,
        now: Moment,
        old: LinkId,
        new: LinkId,
        rule: Rule,
        out: &mut Vec<Effect>,
    ) {
        self.retire(old, &CloseReason::Duplicate, out);
        self.drop_duplicate(now, old, new, rule, out);
        self.activate(now, new, out);
    }

    fn drop_duplicate(
        &mut self,
        now: Moment,
        gone: LinkId,
        stays: LinkId,
        (code, detail): Rule,
        out: &mut Vec<Effect>,
    ) {
        let note = Decision::new(now, Kind::Duplicate, code).number("stays", stays.0);
        out.extend(self.note(gone, note));
        self.tell_close(gone, CloseReason::Duplicate, detail, out);
    }

    /// Nobody has chosen the contenders whose time is up.
    pub(super) fn end_contenders(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let overdue: Vec<NodeId> = self
            .contending
            .iter()
            .filter(|(_, link)| self.contender_due(**link).is_some_and(|due| now >= due))
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            if let Some(link) = self.contending.remove(&id) {
                let stays = self.active.get(&id).copied().unwrap_or(link);
                self.drop_duplicate(now, link, stays, NOT_CHOSEN, out);
            }
        }
    }

    pub(super) fn contender_due(&self, link: LinkId) -> Option<Moment> {
        match self.links.get(&link)?.state {
            State::Contending { due } => Some(due),
            _ => None,
        }
    }

    /// A link is closing, and its peer has some time to hear why. That many may be in it as may be
    /// unfinished, or whoever is refused could have more connections than anybody may by not closing
    /// them; beyond it the one that has had the most time is dropped. A node that stops gives it to
    /// all.
    pub(super) fn linger(&mut self, link: LinkId, out: &mut Vec<Effect>) {
        let is_new =
            |row: &&mut Row<H>| row.direction == Direction::Inbound && row.ending.is_none();
        let Some(row) = self.links.get_mut(&link).filter(is_new) else { return };
        row.ending = Some(self.n_ended);
        self.ending.insert(self.n_ended, link);
        self.n_ended += 1;
        if self.ending.len() > self.limits.max_unfinished
            && !self.stopping
            && let Some((_, longest)) = self.ending.pop_first()
        {
            out.push(Effect::Drop(longest));
        }
    }

    /// Whether there is room for an inbound newcomer, or somebody gives way; else it is refused.
    pub(super) fn make_room(
        &mut self,
        now: Moment,
        newcomer: LinkId,
        out: &mut Vec<Effect>,
    ) -> bool {
        if self.n_inbound < self.limits.max_inbound {
            return true;
        }
        let Some((ground, _)) = self.links.get(&newcomer).and_then(|row| row.ground.clone()) else {
            return false;
        };
        let choice = eviction::choose(self.candidates(now), &ground, self.limits.max_inbound);
        let figures = |note: Decision| {
            let note = note.count("group", choice.group).count("protected", choice.protected);
            note.count("inbound", self.n_inbound)
        };
        let Some(link) = choice.evicted else {
            let note = figures(Decision::new(now, Kind::Refused, "full"));
            out.extend(self.note(newcomer, note.detail("nobody gives way to it")));
            self.tell_close(newcomer, CloseReason::Full, "no room for another session", out);
            return false;
        };
        let note = figures(Decision::new(now, Kind::Evicted, "full"));
        let whom = self.links.get(&newcomer).and_then(|row| row.info.as_ref());
        let whom =
            whom.map_or_else(String::new, |info| format!("for {} at {}", info.id, info.remote));
        let since = self.links.get(&link).and_then(|row| row.info.as_ref()).map(|info| info.since);
        let secs = since.map_or(0, |since| now.since(since).as_secs());
        out.extend(self.note(link, note.detail(whom).number("secs", secs)));
        self.retire(link, &CloseReason::Full, out);
        self.tell_close(link, CloseReason::Full, "you gave way to a newcomer", out);
        true
    }

    fn candidates(&self, now: Moment) -> Vec<Candidate> {
        let candidate = |link: &LinkId| {
            let row = self.links.get(link)?;
            let ((ground, rank), info) = (row.ground.clone()?, row.info.as_ref()?);
            let is_discouraged = self.admission.is_discouraged(now, info);
            Some(Candidate::new(info, ground, rank, is_discouraged))
        };
        self.active.values().filter_map(candidate).collect()
    }
}
