//! Questions to many: one is published to all, and each node that is meant answers whoever asked, by a
//! message to one.
//!
//! The pollster asks: it owns the [`Surveys`](crate::proto::survey::Surveys) machine and gives what
//! comes back to whoever asked. The respondent has the questions of others answered by the actors that
//! are registered for them: it owns the [`Owed`](crate::proto::owed::Owed) machine. Neither knows how
//! their messages travel ([`Carrier`]).

mod answers;
mod asked;
mod audience;
mod messages;
mod pollster;
mod respondent;

use std::{pin::Pin, sync::Arc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;

pub use self::{
    answers::{Answers, Refusal, Reply, Response},
    asked::{Asked, Question, Said},
    audience::Audience,
    messages::{AnsweringStats, AskStats, AskingStats},
};
use self::{
    asked::Responders,
    messages::{Ask, Begin, CountAnswering, CountAsking, Stop, Told},
    pollster::Pollster,
    respondent::Respondent,
};
use super::{
    Delivery, Overlay, OverlayConfig, PublishError, Topic,
    config::AskConfig,
    gossip,
    inbox::{Inbox, InboxLimits},
    routing,
};
use crate::{
    NodeHandle, RegisterError,
    ids::{MessageId, NodeId},
    proto::survey::{MAX_LIMIT, Unasked},
    wire::EncodeError,
};

/// Something that ends later.
type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// How questions and answers travel.
trait Carrier {
    /// To all: a question, and its type's line.
    fn publish(&self, ask: Ask, question: Bytes) -> Later<Result<(), Unasked>>;

    /// To one: the line of a [`Told`], and that of the answer's type.
    fn send(&self, to: NodeId, line: Bytes, answer: Bytes) -> Later<Delivery>;
}

/// The way to both actors.
#[derive(Debug)]
pub(super) struct Handle {
    pollster: Addr<Pollster>,
    respondent: Addr<Respondent>,
    responders: Arc<Responders>,
    /// What the open questions have room in.
    open: Inbox,
    /// What may wait in one question's [`Answers`].
    buffer: InboxLimits,
    inbox: InboxLimits,
}

impl Handle {
    fn start(
        node: &NodeHandle,
        config: &OverlayConfig,
        carriers: (Box<dyn Carrier>, Box<dyn Carrier>),
    ) -> Self {
        let OverlayConfig { ask, inbox, .. } = config;
        let responders = Arc::new(Responders::default());
        let pollster = Pollster::new(node.clone(), carriers.0, ask).start();
        let respondent = Respondent::new(node.clone(), carriers.1, responders.clone(), ask).start();
        // Their bytes are bounded by what a question may have.
        let open = Inbox::new(InboxLimits { messages: ask.open, bytes: usize::MAX });
        Self { pollster, respondent, responders, open, buffer: ask.buffer, inbox: *inbox }
    }

    pub(super) async fn asking(&self) -> AskingStats {
        self.pollster.send(CountAsking).await.unwrap_or_default()
    }

    pub(super) async fn answering(&self) -> AnsweringStats {
        self.respondent.send(CountAnswering).await.unwrap_or_default()
    }

    pub(super) async fn stop(&self) {
        for stopped in [self.pollster.send(Stop).await, self.respondent.send(Stop).await] {
            if let Err(gone) = stopped {
                tracing::debug!(%gone, "already ended");
            }
        }
    }

    fn ask<Q: Question>(
        &self,
        node: &NodeHandle,
        question: &Q,
        audience: &Audience,
        limit: Duration,
    ) -> Result<Answers<Q>, Unasked> {
        audience.check()?;
        if limit.is_zero() || limit > MAX_LIMIT {
            return Err(Unasked::Limit);
        }
        let encoded = question.encode().map_err(|error| match error {
            EncodeError::TooLarge(_) | EncodeError::AttachmentTooLarge(_) => Unasked::TooLarge,
            EncodeError::NotAnObject(_) => Unasked::NotEncodable,
        })?;
        let place = self.open.admit(0).ok_or(Unasked::Busy)?;
        if !self.pollster.connected() {
            return Err(Unasked::Stopped);
        }
        let id = MessageId::random(&mut node.rng());
        let room = Inbox::new(self.buffer);
        let (answers, sink) = Answers::open(id, self.pollster.clone(), room, place);
        self.pollster.do_send(Begin {
            id,
            tags: audience.tags().clone(),
            limit,
            question: encoded.inner_line(),
            sink: Box::new(sink),
        });
        Ok(answers)
    }
}

/// Over the overlay itself.
struct Overland {
    routing: routing::Handle,
    gossip: gossip::Handle,
}

impl Carrier for Overland {
    fn publish(&self, ask: Ask, question: Bytes) -> Later<Result<(), Unasked>> {
        let gossip = self.gossip.clone();
        Box::pin(async move {
            let published = gossip.publish(&topic(), &ask, question).await;
            published.map(drop).map_err(|error| match error {
                PublishError::Rate => Unasked::Rate,
                PublishError::TooLarge => Unasked::TooLarge,
                PublishError::NotEncodable => Unasked::NotEncodable,
                PublishError::Stopped => Unasked::Stopped,
            })
        })
    }

    fn send(&self, to: NodeId, line: Bytes, answer: Bytes) -> Later<Delivery> {
        let routing = self.routing.clone();
        Box::pin(async move { routing.send(to, line, answer).await })
    }
}

/// What questions are published on.
pub(super) fn topic() -> Topic {
    Topic::reserved("peerage/ask")
}

impl Handle {
    /// Starts both actors over what carries messages.
    pub(super) fn over(
        node: &NodeHandle,
        config: &OverlayConfig,
        routing: &routing::Handle,
        gossip: &gossip::Handle,
    ) -> Self {
        let carrier = || Box::new(Overland { routing: routing.clone(), gossip: gossip.clone() });
        let handle = Self::start(node, config, (carrier(), carrier()));
        // An overlay that has just been started has no other actors for these.
        if let Err(error) = routing.register::<Told>(handle.pollster.clone().recipient()) {
            tracing::error!(%error, "answers to questions are not heard");
        }
        if let Err(error) = gossip.subscribe::<Ask>(&topic(), handle.respondent.clone().recipient())
        {
            tracing::error!(%error, "questions are not heard");
        }
        handle
    }
}

impl Overlay {
    /// Has the questions of type `Q` that other nodes ask answered by an actor, from now on. What
    /// waits for it is bounded by [`OverlayConfig::inbox`]; who asks more is told `busy`. A node
    /// without an actor for a question refuses it as `nobody`.
    ///
    /// # Errors
    /// The msgtype belongs to the core or has an actor already, or its name is not usable.
    pub fn answer<Q: Question>(&self, actor: Recipient<Asked<Q>>) -> Result<(), RegisterError> {
        let Handle { responders, inbox, .. } = &self.inner.ask;
        responders.register(actor, *inbox)
    }

    /// Asks all other nodes, or those of an audience, and gives what they answer as it comes. After
    /// `limit` (10 minutes at most) the question ends, and the last thing that comes is an
    /// [`Account`](crate::proto::survey::Account): how many nodes are known to have got it, and how it
    /// ended with each of them. It also says if the question was not asked at all.
    ///
    /// Nobody counts the nodes of a network: one that did not get the question, or whose word got
    /// lost, is not in the account.
    ///
    /// ```
    /// use actix::prelude::*;
    /// use peerage::{
    ///     Node, PeerMessage,
    ///     overlay::{Asked, Audience, Overlay, OverlayConfig, Question, Response},
    /// };
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct FreeSpace {}
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Space {
    ///     bytes: u64,
    /// }
    ///
    /// impl PeerMessage for FreeSpace {
    ///     const MSGTYPE: &'static str = "free-space";
    /// }
    ///
    /// impl PeerMessage for Space {
    ///     const MSGTYPE: &'static str = "space";
    /// }
    ///
    /// impl Question for FreeSpace {
    ///     type Answer = Space;
    /// }
    ///
    /// struct Disk;
    ///
    /// impl Actor for Disk {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// impl Handler<Asked<FreeSpace>> for Disk {
    ///     type Result = ();
    ///
    ///     fn handle(&mut self, asked: Asked<FreeSpace>, _: &mut Context<Self>) {
    ///         if let Err(error) = asked.answer(&Space { bytes: 1 << 30 }) {
    ///             eprintln!("not answered: {error}");
    ///         }
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// actix_rt::System::new().block_on(async {
    ///     let first = Node::builder().listen("127.0.0.1:0".parse()?);
    ///     let first = Overlay::start(first, OverlayConfig::default()).await?;
    ///     first.answer::<FreeSpace>(Disk.start().recipient())?;
    ///
    ///     let contact = first.node().listen_addrs()[0].clone();
    ///     let second = Overlay::start(Node::builder(), OverlayConfig::default()).await?;
    ///     second.node().dial(contact).await?;
    ///
    ///     let limit = std::time::Duration::from_secs(2);
    ///     let mut answers = second.ask(&FreeSpace {}, Audience::everybody(), limit);
    ///     while let Some(response) = answers.next().await {
    ///         match response {
    ///             Response::Reply(reply) => println!("{}: {}", reply.from, reply.answer.bytes),
    ///             Response::Refusal(refusal) => println!("{}: {}", refusal.from, refusal.why),
    ///             Response::End(account) => assert_eq!((account.asked, account.answered), (1, 1)),
    ///         }
    ///     }
    ///     second.stop().await;
    ///     first.stop().await;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn ask<Q: Question>(
        &self,
        question: &Q,
        audience: Audience,
        limit: Duration,
    ) -> Answers<Q> {
        let asked = self.inner.ask.ask(self.node(), question, &audience, limit);
        asked.unwrap_or_else(Answers::none)
    }
}

#[cfg(test)]
mod tests;
