//! Questions to other nodes of a space, and their answers: over the session with a peer, and through the
//! overlay to nodes that are none.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use super::{
    messages::{SpaceAnswer, SpaceAsk, What},
    name::SpaceId,
};
use crate::{extension::PeerMessage, ids::NodeId, overlay::Overlay};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// … and one to an offer, before which the other side gets what it lacks.
const OFFER_ANSWER: Duration = Duration::from_secs(60);

/// How often one that is busy is asked again, and after what time.
const BUSY_TRIES: usize = 3;
const BUSY: Duration = Duration::from_millis(300);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum AskError {
    /// The question could not be sent.
    #[error("the question could not be sent: {0}")]
    NotSent(String),
    /// There was none in time, or the session has ended.
    #[error("there was no answer in time")]
    NoAnswer,
    /// The other side refused, and why.
    #[error("refused: {0}")]
    Refused(String),
}

type Answered = (SpaceAnswer, Bytes);

/// The questions that wait for an answer.
#[derive(Debug, Default)]
struct Open {
    next: u32,
    /// Whose turn it is with each node: it answers one question at a time, and one offer.
    turns: BTreeMap<(NodeId, bool), Arc<Semaphore>>,
    waiting: BTreeMap<(NodeId, u32), oneshot::Sender<Answered>>,
}

impl Open {
    fn turn(&mut self, name: (NodeId, bool)) -> Arc<Semaphore> {
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        self.turns.entry(name).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
    }
}

/// Asks other nodes. Clones share the open questions; of those there is one for each sync.
#[derive(Debug, Clone)]
pub(super) struct Link {
    overlay: Overlay,
    open: Arc<Mutex<Open>>,
}

impl Link {
    pub(super) fn new(overlay: Overlay) -> Self {
        Self { overlay, open: Arc::default() }
    }

    /// Asks a node, and waits for its answer.
    pub(super) async fn ask(
        &self,
        node: NodeId,
        (space, what, in_step): (SpaceId, What, Option<u64>),
        attachment: Bytes,
    ) -> Result<Answered, AskError> {
        let is_offer = matches!(what, What::Offer { .. });
        let turn = self.open.lock().turn((node, is_offer));
        let _turn = turn.acquire().await.or(Err(AskError::NoAnswer))?;
        for _ in 0..BUSY_TRIES {
            let again = (space, what.clone(), in_step);
            match self.ask_once(node, again, attachment.clone()).await {
                Err(AskError::Refused(reason)) if reason == "busy" => sleep(BUSY).await,
                answered => return answered,
            }
        }
        self.ask_once(node, (space, what, in_step), attachment).await
    }

    async fn ask_once(
        &self,
        node: NodeId,
        (space, what, in_step): (SpaceId, What, Option<u64>),
        attachment: Bytes,
    ) -> Result<Answered, AskError> {
        let (answer, answered) = oneshot::channel();
        let is_offer = matches!(what, What::Offer { .. });
        let limit = if is_offer { OFFER_ANSWER } else { ANSWER };
        let n = {
            let mut open = self.open.lock();
            open.next = open.next.wrapping_add(1);
            let n = open.next;
            open.waiting.insert((node, n), answer);
            n
        };
        let _closed_at_the_end = Closing { link: self, name: (node, n) };
        self.send(node, &SpaceAsk { space, n, in_step, what }, attachment).await?;
        match timeout(limit, answered).await {
            Ok(Ok((answer, attachment))) => match answer.refused {
                Some(reason) => Err(AskError::Refused(reason.chars().take(64).collect())),
                None => Ok((answer, attachment)),
            },
            _ => Err(AskError::NoAnswer),
        }
    }

    /// An answer has come.
    pub(super) fn answered(&self, from: NodeId, answer: SpaceAnswer, attachment: Bytes) {
        let waiting = self.open.lock().waiting.remove(&(from, answer.n));
        if let Some(waiting) = waiting {
            // Whoever asked may have given up.
            let _gone = waiting.send((answer, attachment));
        }
    }

    /// A session has ended: no answer will come by it.
    pub(super) fn lost(&self, node: NodeId) {
        self.open.lock().waiting.retain(|(asked, _), _| *asked != node);
    }

    /// Sends a message to a node, wherever it is.
    pub(super) async fn send<M: PeerMessage>(
        &self,
        node: NodeId,
        message: &M,
        attachment: Bytes,
    ) -> Result<(), AskError> {
        if self.overlay.node().peer(node).is_some() {
            let sent = self.overlay.node().send_with(node, message, attachment);
            return sent.map_err(|error| AskError::NotSent(error.to_string()));
        }
        let sent = self.overlay.send_with(node, message, attachment).await;
        sent.map(drop).map_err(|error| AskError::NotSent(error.to_string()))
    }
}

/// Takes a question back when nobody waits for its answer any more.
struct Closing<'a> {
    link: &'a Link,
    name: (NodeId, u32),
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.link.open.lock().waiting.remove(&self.name);
    }
}
