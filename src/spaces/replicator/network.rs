//! What comes from other nodes.

use actix::prelude::*;
use bytes::Bytes;

use super::{Put, Replicator, Source, commits::Queued};
use crate::{
    CloseReason, Direction, PeerEvent, Received,
    ids::NodeId,
    overlay::{GOSSIP, Published, Routed},
    proto::journal::{Decision, Kind},
    spaces::{
        messages::{SpaceAnswer, SpaceChange, SpaceHint, Spaces},
        name::SpaceId,
        record::Record,
        scribe::Write,
        sync::{Report, SyncError},
    },
};

impl Replicator {
    /// Hints to the peers of a space, or to those nodes that are known, that it has changed.
    pub(super) fn hint(&self, space: SpaceId, except: Option<NodeId>) {
        let Some(member) = self.members.get(&space) else { return };
        let hint = SpaceHint { space, root: hex::encode(member.root) };
        for peer in member.schedule.peers().iter().filter(|peer| Some(**peer) != except) {
            if let Some((peer, ..)) = self.peers.get(peer) {
                // A full outbox: it asks by itself, later.
                let _refused = peer.send(&hint);
            }
        }
        for node in member.schedule.known().filter(|node| Some(*node) != except) {
            let (link, hint) = (self.link.clone(), hint.clone());
            actix_rt::spawn(async move {
                let _refused = link.send(node, &hint, Bytes::new()).await;
            });
        }
    }

    fn hinted(&mut self, from: NodeId, hint: &SpaceHint, ctx: &mut Context<Self>) {
        let now = self.now();
        if let Some(member) = self.members.get_mut(&hint.space) {
            if hint.root == hex::encode(member.root) {
                member.schedule.heard(from);
            } else {
                member.schedule.hinted(now, from, &mut self.rng);
            }
            self.work(ctx);
        }
    }

    /// Somebody looks for others of a space: it is told of this node, if few others look.
    fn looked_for(&mut self, space: SpaceId, from: NodeId) {
        let now = self.now();
        let Some(member) = self.members.get(&space) else { return };
        if self.looks.take(now, 1) == 0 {
            return;
        }
        let hint = SpaceHint { space, root: hex::encode(member.root) };
        let link = self.link.clone();
        actix_rt::spawn(async move {
            let _refused = link.send(from, &hint, Bytes::new()).await;
        });
    }

    /// What came of asking a node.
    pub(super) fn synced(
        &mut self,
        space: SpaceId,
        node: NodeId,
        report: Result<Report, SyncError>,
    ) {
        let now = self.now();
        match report {
            Ok(report) => {
                tracing::debug!(%space, %node, ?report, "brought together");
                if report.forgotten > 0 {
                    let note = Decision::new(now, Kind::Dropped, "away-too-long").peer(node);
                    let note = note.number("records", report.forgotten as u64);
                    self.overlay.node().note(note.detail(format!(
                        "space {space}: this node was away for longer than deletions are kept, and \
                         takes the others' state; what they had no more is in a .forgotten.jsonl"
                    )));
                    tracing::warn!(%space, records = report.forgotten, "this node was away for longer \
                        than deletions are kept: what others did not have any more was dropped");
                }
            }
            Err(error) => {
                let note = Decision::new(now, Kind::Dropped, "not-in-step").peer(node);
                self.note(note.detail(format!("space {space}: {error}")));
                if error.is_fault()
                    && let Some((peer, ..)) = self.peers.get(&node)
                {
                    peer.close(CloseReason::Protocol);
                }
            }
        }
    }
}

impl Handler<PeerEvent> for Replicator {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, ctx: &mut Context<Self>) {
        match event {
            PeerEvent::Up(peer) => {
                // Those are nodes of this kind; others would not know what it is about.
                let is_one = peer.info.features.iter().any(|feature| feature == GOSSIP);
                if is_one && peer.handle.takes_attachments() {
                    // It may have said its own before this node listened.
                    let _refused = peer.handle.send(&Spaces { ask: true, ..self.told_spaces() });
                    let is_dialled = peer.info.direction == Direction::Outbound;
                    self.peers.insert(
                        peer.info.id,
                        (peer.handle, is_dialled, std::collections::BTreeSet::new()),
                    );
                }
            }
            PeerEvent::Changed(_) => {}
            PeerEvent::Down { peer, .. } => {
                let id = peer.info.id;
                self.peers.remove(&id);
                self.link.lost(id);
                self.members.values_mut().for_each(|member| member.schedule.left(id));
                self.work(ctx);
            }
        }
    }
}

impl Handler<Received<Spaces>> for Replicator {
    type Result = ();

    fn handle(&mut self, received: Received<Spaces>, ctx: &mut Context<Self>) {
        let (now, from) = (self.now(), received.sender());
        if received.message.ask {
            let _refused = received.reply(&self.told_spaces());
        }
        let Some((_, is_dialled, spaces)) = self.peers.get_mut(&from) else { return };
        let is_dialled = *is_dialled;
        *spaces = received.message.first().collect();
        let spaces = spaces.clone();
        for (id, member) in &mut self.members {
            if spaces.contains(id) {
                let is_first = is_dialled || member.was_away;
                member.schedule.joined(now, from, is_first, &mut self.rng);
            } else {
                member.schedule.left(from);
            }
        }
        self.work(ctx);
    }
}

impl Handler<Received<SpaceHint>> for Replicator {
    type Result = ();

    fn handle(&mut self, received: Received<SpaceHint>, ctx: &mut Context<Self>) {
        self.hinted(received.sender(), &received.message, ctx);
    }
}

impl Handler<Routed<SpaceHint>> for Replicator {
    type Result = ();

    fn handle(&mut self, routed: Routed<SpaceHint>, ctx: &mut Context<Self>) {
        self.hinted(routed.from, &routed.message, ctx);
    }
}

impl Handler<Received<SpaceAnswer>> for Replicator {
    type Result = ();

    fn handle(&mut self, received: Received<SpaceAnswer>, _: &mut Context<Self>) {
        let from = received.sender();
        self.link.answered(from, received.message, received.attachment);
    }
}

impl Handler<Routed<SpaceAnswer>> for Replicator {
    type Result = ();

    fn handle(&mut self, routed: Routed<SpaceAnswer>, _: &mut Context<Self>) {
        self.link.answered(routed.from, routed.message, routed.attachment);
    }
}

impl Handler<Published<SpaceChange>> for Replicator {
    type Result = ();

    fn handle(&mut self, published: Published<SpaceChange>, ctx: &mut Context<Self>) {
        let (now, origin) = (self.now(), published.origin);
        let id = published.topic.name().strip_prefix("space/").and_then(|id| id.parse().ok());
        let Some(space) = id.filter(|id| self.members.contains_key(id)) else { return };
        if published.message.who {
            return self.looked_for(space, origin);
        }
        match Record::unpack_all(published.attachment.clone()) {
            Ok(records) => {
                let Some(member) = self.members.get_mut(&space) else { return };
                member.schedule.heard(origin);
                let n = u32::try_from(records.len()).unwrap_or(u32::MAX);
                if member.intake.take(now, n) < n {
                    let note = Decision::new(now, Kind::Dropped, "rate").peer(origin);
                    let detail =
                        format!("more is published in space {space} than is taken at once");
                    return self.note(note.detail(detail).number("records", u64::from(n)));
                }
                let writes = records.into_iter().map(Write::Other).collect();
                let put = Put { space, writes, source: Source::Published(origin) };
                self.enqueue(Queued { put, answer: None, _place: Some(published) }, ctx);
            }
            Err(error) => {
                let note = Decision::new(now, Kind::Dropped, error.code()).peer(origin);
                self.note(note.detail(format!("published in space {space}: {error}")));
            }
        }
    }
}
