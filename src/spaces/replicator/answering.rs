//! Answers other nodes' questions: one of each node at a time, and beside it one offer: of two that offer to
//! each other, each has to get from the other what it was offered.

use std::time::Duration;

use actix::{fut::wrap_future, prelude::*};
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::Replicator;
use crate::{
    Received,
    clock::Moment,
    ids::NodeId,
    overlay::Routed,
    proto::replay::millis,
    spaces::{
        admission::Standing,
        messages::{
            SpaceAnswer, SpaceAsk, What, hash_of, pack_listings, pack_sums, unpack_hashes,
            unpack_items, unpack_ranges,
        },
        name::SpaceId,
        reconcile::{MAX_ITEMS, MAX_NODES, MAX_RANGES},
        record::KeyHash,
        store::{Parcel, Store},
        sync::{Sync, from_millis, told_sums},
    },
    store::StoreError,
};

/// Of so many nodes questions are answered at a time. Sessions are about as many.
const MAX_ANSWERING: usize = 512;

/// Offers of so many are taken at a time: what comes of them takes room until it is kept.
const MAX_OFFERS: usize = 16;

/// The same of nodes that are no peers.
const MAX_OTHERS: usize = 16;
const MAX_OTHERS_OFFERS: usize = 4;

/// Why there is no answer.
#[derive(Debug, Clone, Copy)]
enum No {
    Space,
    Busy,
    Malformed,
    Failed,
}

impl No {
    const fn code(self) -> &'static str {
        match self {
            Self::Space => "no-such-space",
            Self::Busy => "busy",
            Self::Malformed => "malformed",
            Self::Failed => "failed",
        }
    }
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        tracing::debug!(%error, "a question was not answered");
        Self::Failed
    }
}

impl Replicator {
    /// Answers a question. What it came with is held until then.
    fn answer(
        &mut self,
        from: NodeId,
        ask: SpaceAsk,
        attachment: Bytes,
        held: impl Sized + 'static,
        ctx: &mut Context<Self>,
    ) {
        let (n, is_offer) = (ask.n, matches!(ask.what, What::Offer { .. }));
        let refusal = if !self.members.contains_key(&ask.space) {
            Some(No::Space)
        } else if !self.has_room(from, is_offer) || !self.answering.insert((from, is_offer)) {
            Some(No::Busy)
        } else {
            None
        };
        let (link, sync) = (self.link.clone(), self.sync(ask.space, from, ctx));
        let reading = self.reading.clone();
        let work = async move {
            let answered = match refusal {
                Some(no) => Err(no),
                None => answer(&sync, &reading, ask, attachment).await,
            };
            let (mut answer, bytes) = answered.unwrap_or_else(|no| {
                let refused = Some(no.code().to_owned());
                (SpaceAnswer { refused, ..SpaceAnswer::default() }, Bytes::new())
            });
            answer.n = n;
            drop(held);
            // Whoever asked hears nothing then, and asks again.
            let _refused = link.send(from, &answer, bytes).await;
        };
        ctx.spawn(wrap_future::<_, Self>(work).map(move |(), replicator, _| {
            if refusal.is_none() {
                replicator.answering.remove(&(from, is_offer));
            }
        }));
    }

    /// Whether there is room for one more question. Ids that are no peers are cheap, and cannot take the
    /// places of peers.
    fn has_room(&self, from: NodeId, is_offer: bool) -> bool {
        let is_peer = self.peers.contains_key(&from);
        let is_alike = |node: &NodeId| self.peers.contains_key(node) == is_peer;
        let alike = self.answering.iter().filter(|(node, _)| is_alike(node));
        let (asks, offers) = alike.fold((0, 0), |(asks, offers), (_, is_offer)| {
            (asks + 1, offers + usize::from(*is_offer))
        });
        let (most, most_offers) =
            if is_peer { (MAX_ANSWERING, MAX_OFFERS) } else { (MAX_OTHERS, MAX_OTHERS_OFFERS) };
        asks < most && (!is_offer || offers < most_offers)
    }
}

impl Handler<Received<SpaceAsk>> for Replicator {
    type Result = ();

    fn handle(&mut self, received: Received<SpaceAsk>, ctx: &mut Context<Self>) {
        let (from, ask) = (received.sender(), received.message.clone());
        self.answer(from, ask, received.attachment.clone(), received, ctx);
    }
}

impl Handler<Routed<SpaceAsk>> for Replicator {
    type Result = ();

    fn handle(&mut self, routed: Routed<SpaceAsk>, ctx: &mut Context<Self>) {
        let (from, ask) = (routed.from, routed.message.clone());
        self.answer(from, ask, routed.attachment.clone(), routed, ctx);
    }
}

type Answer = (SpaceAnswer, Bytes);

async fn answer(
    sync: &Sync,
    reading: &Semaphore,
    ask: SpaceAsk,
    bytes: Bytes,
) -> Result<Answer, No> {
    let sync = &Reading { sync, reading };
    let space = ask.space;
    match ask.what {
        What::Sums { drawn } => {
            let ranges = unpack_ranges(bytes, MAX_NODES).ok_or(No::Malformed)?;
            let nodes: Vec<_> = ranges.iter().map(|range| range.node).collect();
            if !nodes.is_sorted_by(|a, b| a < b) {
                // Each may be work, so none is asked for twice.
                return Err(No::Malformed);
            }
            read(sync, move |store| {
                let info = store.space(&space).ok_or(No::Space)?;
                let sums = told_sums(store, &space, &nodes, drawn)?;
                let in_step = info.in_step.map(millis);
                Ok((SpaceAnswer { in_step, ..SpaceAnswer::default() }, pack_sums(&sums)))
            })
            .await
        }
        What::Items { drawn } => {
            let ranges = unpack_ranges(bytes, MAX_RANGES).ok_or(No::Malformed)?;
            read(sync, move |store| {
                let listings = store.items(&space, &ranges, drawn)?;
                Ok((SpaceAnswer::default(), pack_listings(&listings)))
            })
            .await
        }
        What::Get => {
            let hashes = unpack_hashes(&bytes, MAX_ITEMS).ok_or(No::Malformed)?;
            read(sync, move |store| records(store, &space, &hashes)).await
        }
        What::Piece { hash, offset } => {
            let hash = hash_of(&hash).ok_or(No::Malformed)?;
            read(sync, move |store| piece(store, &space, &hash, offset)).await
        }
        What::Offer { drawn } => {
            let items = unpack_items(bytes, MAX_ITEMS).ok_or(No::Malformed)?;
            let done = sync.sync.take_offer(items, drawn).await.or(Err(No::Failed))?;
            Ok((SpaceAnswer { done: Some(done), ..SpaceAnswer::default() }, Bytes::new()))
        }
        What::Done { took } => {
            let theirs = ask.in_step.map(from_millis);
            in_step(sync, space, theirs, Duration::from_millis(took)).await
        }
    }
}

fn records(store: &Store, space: &SpaceId, hashes: &[KeyHash]) -> Result<Answer, No> {
    Ok(match store.parcel(space, hashes)? {
        Parcel::Records(packed, done) => {
            (SpaceAnswer { done: Some(done), ..SpaceAnswer::default() }, packed)
        }
        Parcel::Large(len) => {
            (SpaceAnswer { long: Some(len), ..SpaceAnswer::default() }, Bytes::new())
        }
    })
}

fn piece(store: &Store, space: &SpaceId, hash: &KeyHash, offset: usize) -> Result<Answer, No> {
    Ok(match store.piece(space, hash, offset)? {
        None => (SpaceAnswer::default(), Bytes::new()),
        Some((piece, len, digest)) => {
            let (long, digest) = (Some(len), Some(hex::encode(digest.0)));
            (SpaceAnswer { long, digest, ..SpaceAnswer::default() }, piece.into())
        }
    })
}

/// The asking side says that this node has all that it had so long ago. A node that was away for too long
/// has to ask itself, and from one that was nobody comes to be in step.
async fn in_step(
    sync: &Reading<'_>,
    space: SpaceId,
    theirs: Option<Moment>,
    took: Duration,
) -> Result<Answer, No> {
    let now = sync.sync.clock.now();
    let was_away = matches!(Standing::of(theirs, &sync.sync.rules, now), Standing::Away(_));
    let then = now - took;
    read(sync, move |store| {
        if !was_away && !matches!(store.standing(&space, now), Standing::Away(_)) {
            store.set_in_step(&space, then)?;
        }
        Ok((SpaceAnswer::default(), Bytes::new()))
    })
    .await
}

/// The store, when it is this question's turn.
struct Reading<'a> {
    sync: &'a Sync,
    reading: &'a Semaphore,
}

async fn read(
    Reading { sync, reading }: &Reading<'_>,
    read: impl FnOnce(&mut Store) -> Result<Answer, No> + Send + 'static,
) -> Result<Answer, No> {
    let _turn = reading.acquire().await.or(Err(No::Failed))?;
    sync.keeper.call(read).await.unwrap_or(Err(No::Failed))
}
