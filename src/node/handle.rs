//! What a program holds of a running node.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::{sync::watch, time::timeout};

use super::core::Core;
use crate::{
    actors::{
        discovery::{Book, BookEntry, DialError, DialNow, Discovery, Found},
        journal::{Find, Follow},
        knock::{Knock, wait},
        listener::Listener,
        registry::{
            BanList, BanTarget, Disconnect, DiscouragedList, LiftBan, PeerEvent, PeerList, Sent,
            ShutDown, Stop, Subscribe,
        },
        session::{OwnTags, PeerHandle},
        vital::NodeFailure,
    },
    address::HostPort,
    clock::{Clock, Moment},
    extension::{Batch, PeerMessage, Received, RegisterError},
    identity::NodeKey,
    ids::NodeId,
    meters::{NodeStats, OutboxDepth},
    outbox::SendError,
    peer::PeerInfo,
    proto::{
        address_entry::NotTaken,
        bans::{Ban, BanError, Target},
        finder::{Finder, Finding},
        journal::{Decision, JournalQuery},
    },
    reason::CloseReason,
    store::Close,
    wire::{Encoded, Tags, TagsError},
};

/// How long a stopping node waits for its sessions to hand over their last frames. With the time
/// that a process takes to end it stays below two seconds.
const STOP_GRACE: Duration = Duration::from_millis(1500);

/// How long it waits after that for its store to be closed.
const CLOSE_GRACE: Duration = Duration::from_millis(300);

/// How many sessions are asked how long a message waits for them.
const KNOCKED: usize = 8;

/// A running node. Clones are handles of the same node; dropping them all leaves it running.
///
/// Everything is answered by the node's actors, in messages; nothing here blocks a thread. A node
/// that has stopped answers as one that has no peers.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) core: Core,
    pub(super) tags: Arc<OwnTags>,
    pub(super) key: Option<NodeKey>,
    /// Where [`NodeHandle::rng`] comes from.
    pub(super) rng: Mutex<ChaCha8Rng>,
    pub(super) listening: Vec<HostPort>,
    pub(super) discovery: Addr<Discovery>,
    pub(super) dialer: Recipient<Knock>,
    pub(super) listeners: Vec<Addr<Listener>>,
    /// Whatever makes new sessions.
    pub(super) stop_first: Vec<Recipient<Stop>>,
    pub(super) stopped: watch::Sender<bool>,
}

impl NodeHandle {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.inner.core.me
    }

    /// The key that the node's id follows from, to sign with; none with
    /// [`Security::Off`](crate::Security::Off).
    #[must_use]
    pub fn key(&self) -> Option<&NodeKey> {
        self.inner.key.as_ref()
    }

    /// A source of randomness of the caller's own, different on each call. It comes from the node's
    /// seed: with [`NodeBuilder::seed`](crate::NodeBuilder::seed) the first call always gives the same
    /// one, and so do the second and the others.
    #[must_use]
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_rng(&mut *self.inner.rng.lock())
    }

    /// Has a decision of an extension's own kept in the journal, with those of the node.
    pub fn note(&self, decision: Decision) {
        self.inner.core.journal_port.note(decision);
    }

    /// What the node says of itself for others to choose by.
    #[must_use]
    pub fn tags(&self) -> Tags {
        self.inner.tags.get()
    }

    /// Changes that: every peer is told, and later ones hear it in the hello. To a peer that has no
    /// room for it now the latest is told when it has.
    ///
    /// # Errors
    /// The node cannot have these tags, and why; it goes on saying what it said.
    pub fn set_tags(&self, tags: Tags) -> Result<(), TagsError> {
        let directory = &self.inner.core.directory;
        self.inner.tags.set(tags, |news| directory.tell_latest(news))
    }

    /// The addresses that the node listens on, with the ports it got.
    #[must_use]
    pub fn listen_addrs(&self) -> &[HostPort] {
        &self.inner.listening
    }

    /// The node's clock, to read the moments in its answers.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.inner.core.clock
    }

    /// The connected peers, by id.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.inner.core.registry.send(PeerList).await.unwrap_or_default()
    }

    /// What is known of addresses.
    pub async fn addresses(&self) -> Vec<BookEntry> {
        self.inner.discovery.send(Book).await.unwrap_or_default()
    }

    /// What the node decided and why, oldest first.
    pub async fn journal(&self, query: JournalQuery) -> Vec<Decision> {
        self.inner.core.journal.send(Find(query)).await.unwrap_or_default()
    }

    /// Has every later decision that gets an entry of its own in the journal sent to an actor, as long as
    /// it lives: what is only counted in an earlier entry is not. What its full mailbox refuses it
    /// misses. Whether there was room for it: [`MAX_FOLLOWERS`](crate::actors::journal::MAX_FOLLOWERS)
    /// can follow.
    pub async fn follow_journal(&self, follower: Recipient<Decision>) -> bool {
        self.inner.core.journal.send(Follow(follower)).await.unwrap_or(false)
    }

    /// How many decisions the journal was too busy to keep.
    #[must_use]
    pub fn journal_lost(&self) -> u64 {
        self.inner.core.journal_port.lost()
    }

    /// What the node has counted, and how it stands. Measures the mailboxes on the way, which takes as
    /// long as the slowest of them, a second at most.
    pub async fn stats(&self) -> NodeStats {
        let core = &self.inner.core;
        let peers = core.directory.all();
        let mut outboxes = OutboxDepth::default();
        for peer in &peers {
            let (frames, bytes) = peer.outbox().depth();
            outboxes.frames += frames;
            outboxes.bytes += bytes;
            outboxes.most_frames = outboxes.most_frames.max(frames);
            outboxes.most_bytes = outboxes.most_bytes.max(bytes);
        }
        let clock = core.clock;
        let mut latencies = vec![
            ("registry", wait(clock, core.registry.send(Knock)).await),
            ("discovery", wait(clock, self.inner.discovery.send(Knock)).await),
            ("dialer", wait(clock, self.inner.dialer.send(Knock)).await),
            ("journal", wait(clock, core.journal.send(Knock)).await),
        ];
        if let Some(keeper) = &core.keeper {
            latencies.push(("keeper", wait(clock, keeper.send(Knock)).await));
        }
        let mut slowest = None;
        for listener in &self.inner.listeners {
            slowest = slowest.max(Some(wait(clock, listener.send(Knock)).await));
        }
        latencies.extend(slowest.map(|slowest| ("listener", slowest)));
        slowest = None;
        // All sessions of a worker share its thread, so a few tell how it is.
        for peer in peers.iter().take(KNOCKED) {
            slowest = slowest.max(Some(wait(clock, peer.knock()).await));
        }
        latencies.extend(slowest.map(|slowest| ("session", slowest)));
        NodeStats {
            received: core.meters.traffic.all_received(),
            sent: core.meters.traffic.all_sent(),
            round_trips: core.meters.round_trips.read(),
            decisions: core.journal_port.counts(),
            outboxes,
            latencies,
        }
    }

    /// Has every later [`PeerEvent`] sent to an actor, after an `Up` for each peer there is now.
    pub async fn subscribe(&self, subscriber: Recipient<PeerEvent>) {
        if self.inner.core.registry.send(Subscribe(subscriber)).await.is_err() {
            tracing::debug!("subscribed to a node that has stopped");
        }
    }

    /// Has the messages of type `M` that peers send handed to an actor, from now on.
    ///
    /// # Errors
    /// The msgtype belongs to the core or has an actor already, or its name is not usable.
    pub fn register<M: PeerMessage>(
        &self,
        actor: Recipient<Received<M>>,
    ) -> Result<(), RegisterError> {
        self.inner.core.routes.register(actor)
    }

    /// The same for an actor that is to get what came at once as one [`Batch`]: for messages that come by
    /// the hundred thousand. A msgtype has one actor, of either kind.
    ///
    /// # Errors
    /// Those of [`register`](Self::register).
    pub fn register_batches<M: PeerMessage>(
        &self,
        actor: Recipient<Batch<M>>,
    ) -> Result<(), RegisterError> {
        self.inner.core.routes.register_batches(actor)
    }

    /// The way to a peer, to keep and send by; `None` if it is not connected.
    #[must_use]
    pub fn peer(&self, id: NodeId) -> Option<PeerHandle> {
        self.inner.core.directory.get(id)
    }

    /// Sends a message to a peer. Never blocks; accepted means that it will be written unless the
    /// connection fails first.
    ///
    /// # Errors
    /// The message was not accepted, and why.
    pub fn send<M: PeerMessage>(&self, to: NodeId, message: &M) -> Result<(), SendError> {
        let encoded = message.encode().or(Err(SendError::NotEncodable))?;
        self.inner.core.directory.send(to, &encoded)
    }

    /// Sends a message to a peer, with bytes that go along with it. Never blocks.
    ///
    /// # Errors
    /// The message was not accepted, and why.
    pub fn send_with<M: PeerMessage>(
        &self,
        to: NodeId,
        message: &M,
        attachment: Bytes,
    ) -> Result<(), SendError> {
        let encoded = message.encode_with(attachment).or(Err(SendError::NotEncodable))?;
        self.inner.core.directory.send(to, &encoded)
    }

    /// Sends a message to every connected peer, encoded once. Never blocks.
    ///
    /// # Errors
    /// [`SendError::NotEncodable`]; a peer that refuses is only counted.
    pub fn send_all<M: PeerMessage>(&self, message: &M) -> Result<Sent, SendError> {
        let encoded = message.encode().or(Err(SendError::NotEncodable))?;
        Ok(self.send_encoded(&encoded, None))
    }

    /// Sends what is already encoded to every connected peer but one. Never blocks.
    #[must_use]
    pub fn send_encoded(&self, message: &Encoded, except: Option<NodeId>) -> Sent {
        self.inner.core.directory.send_all(message, except)
    }

    /// Dials an address now, and tells who is there once there is a session.
    ///
    /// # Errors
    /// There is no session, and why.
    pub async fn dial(&self, addr: HostPort) -> Result<NodeId, DialError> {
        self.inner.discovery.send(DialNow(addr)).await.unwrap_or(Err(DialError::Stopping))
    }

    /// Takes in an address that an extension has found by other means than a peer's word. Whether it is
    /// new. It is hearsay, with the finder's name for its source: dialled as any other, and believed and
    /// told to others only when a node has proven itself there. All that one finder finds fills only a
    /// part of the book, and it is taken at the pace at which a peer may tell addresses unasked (see
    /// [`DiscoveryConfig::addrs_per_second`](crate::config::DiscoveryConfig::addrs_per_second)).
    ///
    /// # Errors
    /// It was not taken, and why; what is not taken for its address is also noted in the journal.
    pub async fn found(&self, by: Finder, finding: Finding) -> Result<bool, NotTaken> {
        self.inner.discovery.send(Found { by, finding }).await.unwrap_or(Err(NotTaken::Stopping))
    }

    /// Ends the session with a peer, with `bye` and this reason (or `requested`, if it is not one
    /// that a node says). Whether there was one. The node may meet the peer again.
    pub async fn disconnect(&self, id: NodeId, reason: CloseReason) -> bool {
        let is_sent = CloseReason::SENT.contains(&reason);
        let reason = if is_sent { reason } else { CloseReason::Requested };
        self.inner.core.registry.send(Disconnect { id, reason }).await.unwrap_or(false)
    }

    /// Bans an id, an address or a subnet: what it has here is closed with `banned`, and it is
    /// refused until the time has passed ([`DEFAULT_BAN`](crate::proto::bans::DEFAULT_BAN) is a
    /// good one), also after a restart if there is a store. Whoever is banned already is banned for
    /// this time from now. The note is for you; what is beyond
    /// [`MAX_NOTE`](crate::proto::bans::MAX_NOTE) bytes is cut off.
    ///
    /// # Errors
    /// Nothing was banned, and why; or ([`BanError::NotKept`]) the ban holds for this run only.
    pub async fn ban(
        &self,
        target: Target,
        lasts: Duration,
        note: String,
    ) -> Result<Ban, BanError> {
        let ban = BanTarget { target, lasts, note };
        self.inner.core.registry.send(ban).await.unwrap_or(Err(BanError::Stopped))
    }

    /// Takes back a ban, and a discouragement of the same target. Whether there was one.
    pub async fn unban(&self, target: Target) -> bool {
        self.inner.core.registry.send(LiftBan(target)).await.unwrap_or(false)
    }

    /// The bans that hold, by target.
    pub async fn bans(&self) -> Vec<Ban> {
        self.inner.core.registry.send(BanList).await.unwrap_or_default()
    }

    /// Who broke the protocol and is not wanted until when, by target.
    pub async fn discouraged(&self) -> Vec<(Target, Moment)> {
        self.inner.core.registry.send(DiscouragedList).await.unwrap_or_default()
    }

    /// Resolves when an actor that the node cannot do without has died. The node should then be
    /// stopped.
    pub async fn failed(&self) -> NodeFailure {
        self.inner.core.watch.failed().await
    }

    /// Ends the registry behind the node's back, as a bug might.
    #[cfg(test)]
    pub(super) fn end_registry(&self) {
        self.inner.core.registry.do_send(Stop);
    }

    /// Stops the node: no new sessions, `bye shutdown` to all peers, everything written, all
    /// actors ended. Takes at most about one and a half seconds. Whoever calls it, however often,
    /// returns when the node has stopped.
    pub async fn stop(&self) {
        let inner = &self.inner;
        if !inner.core.watch.stopping() {
            // Somebody else stops it; the sender lives as long as this handle.
            let mut stopped = inner.stopped.subscribe();
            let _never = stopped.wait_for(|stopped| *stopped).await;
            return;
        }
        let stopping = async {
            for maker in &inner.stop_first {
                end(maker.send(Stop)).await;
            }
            end(inner.core.registry.send(ShutDown)).await;
            end(inner.core.registry.send(Stop)).await;
        };
        let closing = async {
            if let Some(keeper) = &inner.core.keeper {
                // What could not be kept has been noted.
                let _is_kept = keeper.send(Close).await;
            }
        };
        if timeout(STOP_GRACE, stopping).await.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
        if timeout(CLOSE_GRACE, closing).await.is_err() {
            tracing::warn!("the store was not closed in time; what it answered for is kept");
        }
        inner.core.workers.stop();
        inner.stopped.send_replace(true);
        tracing::debug!(id = %inner.core.me, "node stopped");
    }
}

/// An actor that is gone has ended already.
async fn end<F: Future<Output = Result<(), MailboxError>>>(stop: F) {
    if let Err(gone) = stop.await {
        tracing::debug!(%gone, "already ended");
    }
}
