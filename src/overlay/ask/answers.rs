//! What comes back to whoever asked.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use actix::Addr;
use futures_core::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    asked::Question,
    messages::{End, code},
    pollster::Pollster,
};
use crate::{
    ids::{MessageId, NodeId},
    overlay::inbox::{Inbox, Permit},
    proto::survey::{Account, Ending, Said, Unasked},
};

/// What a node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<A> {
    /// The answer.
    pub answer: A,
    /// Whose it is.
    pub from: NodeId,
    /// Whether that is proven. It always is, unless the asking node has no key itself: then anybody
    /// on the way may have made it up.
    pub proven: bool,
}

/// A node that would not answer, or could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why: what its actor said, or a code of the overlay. `nobody` there answers such questions, its
    /// actor is `busy`, to it the question is a `bad-payload`, it has `dropped` the question without
    /// a word, or its answer was `too-large` or `not-encodable`; and `bad-answer` if what it
    /// answered is not understood here.
    pub why: Box<str>,
    /// Whose it is.
    pub from: NodeId,
    /// As in [`Reply`].
    pub proven: bool,
}

/// What comes back to a question, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response<A> {
    /// A node answers.
    Reply(Reply<A>),
    /// A node does not.
    Refusal(Refusal),
    /// No more comes.
    End(Account),
}

/// What comes back to a question as it comes, in the end an [`Account`]. A [`Stream`], or call
/// [`next`](Self::next). Dropping it ends the question.
///
/// Nobody knows how many nodes there are, so it does not end by itself before its limit.
pub struct Answers<Q: Question> {
    parcels: UnboundedReceiver<Parcel<Q::Answer>>,
    /// The question, while it may be open.
    open: Option<(MessageId, Addr<Pollster>)>,
    is_over: bool,
}

type Parcel<A> = (Response<A>, Option<Permit>);

impl<Q: Question> Answers<Q> {
    /// The two ends of a question.
    pub(super) fn open(
        id: MessageId,
        pollster: Addr<Pollster>,
        room: Inbox,
        place: Permit,
    ) -> (Self, TypedSink<Q>) {
        let (sender, parcels) = unbounded_channel();
        let sink = TypedSink { parcels: sender, room, place };
        (Self { parcels, open: Some((id, pollster)), is_over: false }, sink)
    }

    /// Of a question that is not asked.
    pub(super) fn none(why: Unasked) -> Self {
        let (sender, parcels) = unbounded_channel();
        let end = Response::End(Account::empty(Ending::NotAsked(why)));
        // The receiver is there.
        let _sent = sender.send((end, None));
        Self { parcels, open: None, is_over: false }
    }

    /// The next answer or refusal, or at last the account; then nothing. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Response<Q::Answer>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Hears no more, and says how it stands. What has come and was not taken is counted in it.
    pub async fn finish(mut self) -> Account {
        if let Some((id, pollster)) = &self.open {
            pollster.do_send(End(*id, Ending::Finished));
        }
        self.rest(|_| {}).await
    }

    /// All answers, and how it stands at the end.
    pub async fn all(mut self) -> (Vec<Reply<Q::Answer>>, Account) {
        let mut replies = Vec::new();
        let account = self.rest(|reply| replies.push(reply)).await;
        (replies, account)
    }

    async fn rest(&mut self, mut each: impl FnMut(Reply<Q::Answer>)) -> Account {
        while let Some(response) = self.next().await {
            match response {
                Response::Reply(reply) => each(reply),
                Response::Refusal(_) => {}
                Response::End(account) => return account,
            }
        }
        // It was taken before.
        Account::empty(Ending::Finished)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Response<Q::Answer>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let parcel = std::task::ready!(self.parcels.poll_recv(cx));
        // Without a word, the pollster has stopped.
        let stopped = || Response::End(Account::empty(Ending::Stopped));
        let response = parcel.map_or_else(stopped, |(response, _)| response);
        if matches!(response, Response::End(_)) {
            (self.is_over, self.open) = (true, None);
        }
        Poll::Ready(Some(response))
    }
}

impl<Q: Question> Stream for Answers<Q> {
    type Item = Response<Q::Answer>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}

impl<Q: Question> Drop for Answers<Q> {
    fn drop(&mut self) {
        if let Some((id, pollster)) = self.open.take() {
            pollster.do_send(End(id, Ending::Finished));
        }
    }
}

impl<Q: Question> fmt::Debug for Answers<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("waiting", &self.parcels.len()).finish_non_exhaustive()
    }
}

/// What became of something that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pushed {
    /// How it counts.
    pub(super) said: Said,
    /// Whether there was room for it.
    pub(super) is_handed_over: bool,
}

/// Where the answers to a question go, whatever their type.
pub(super) trait Sink: Send {
    /// A node's answer, by its line.
    fn answer(&mut self, line: &[u8], from: NodeId, proven: bool) -> Pushed;

    /// A node's refusal.
    fn refusal(&mut self, why: &str, from: NodeId, proven: bool) -> Pushed;

    /// The end.
    fn end(self: Box<Self>, account: Account);
}

/// [`Sink`] of the answers to a question of one type.
pub(super) struct TypedSink<Q: Question> {
    parcels: UnboundedSender<Parcel<Q::Answer>>,
    /// What bounds the parcels that nobody has taken.
    room: Inbox,
    /// The question's place among those that are open.
    #[expect(dead_code, reason = "held for its drop")]
    place: Permit,
}

impl<Q: Question> TypedSink<Q> {
    fn push(&self, response: Response<Q::Answer>, bytes: usize) -> bool {
        let Some(permit) = self.room.admit(bytes) else { return false };
        // If nobody takes it any more, the question ends soon.
        self.parcels.send((response, Some(permit))).is_ok()
    }
}

impl<Q: Question> Sink for TypedSink<Q> {
    fn answer(&mut self, line: &[u8], from: NodeId, proven: bool) -> Pushed {
        match serde_json::from_slice(line) {
            Ok(answer) => {
                let reply = Response::Reply(Reply { answer, from, proven });
                let is_handed_over = self.push(reply, line.len());
                Pushed { said: Said::Answered, is_handed_over }
            }
            Err(_) => self.refusal("bad-answer", from, proven),
        }
    }

    fn refusal(&mut self, why: &str, from: NodeId, proven: bool) -> Pushed {
        let refusal = Response::Refusal(Refusal { why: code(why), from, proven });
        let is_handed_over = self.push(refusal, why.len());
        Pushed { said: Said::Refused, is_handed_over }
    }

    fn end(self: Box<Self>, account: Account) {
        // It may be that nobody wants to know.
        let _sent = self.parcels.send((Response::End(account), None));
    }
}
