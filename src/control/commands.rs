//! Does what a node is told, whoever tells it: the API and hooks go through here, under the same rules.

use std::time::Duration;

use super::{
    Control,
    find::{find_id, find_target},
    gone,
    hub::{Keep, Release, Say},
    messages::{Inquiry, InquiryReply, Note},
    model::{
        Answered, ApiError, AskEnd, AskLine, AskRequest, BanRequest, Changed, Code, Command,
        Delivered, Dialled, Gathered, InquiryAnswer, Outcome, Published, Refused, SendRequest,
    },
    stopped,
};
use crate::{
    BanError, CloseReason, DialError, HostPort,
    overlay::{
        Account, Answers, Audience, Ending, PublishError, Response, Topic, Unasked, Undelivered,
    },
    proto::bans::DEFAULT_BAN,
};

/// How long a question is open if nothing else is said.
const DEFAULT_LIMIT: Duration = Duration::from_secs(5);

impl Control {
    /// Does it, and says what came of it.
    ///
    /// # Errors
    /// It was not done, and why.
    pub async fn execute(&self, command: Command) -> Result<Outcome, ApiError> {
        match command {
            Command::Dial(dial) => self.dial(&dial.addr).await,
            Command::Disconnect(gone) => self.disconnect(&gone.id).await,
            Command::Ban(ban) => self.ban(ban).await,
            Command::Unban(ban) => {
                let target = find_target(&ban.target, &self.known().await)?;
                Ok(changed(self.node().unban(target).await))
            }
            Command::Send(send) => self.send(send).await,
            Command::Publish(publish) => {
                let (topic, note) = (topic(&publish.topic)?, Note { text: publish.text });
                let published = self.overlay.publish(&topic, &note).await;
                let id = published.map_err(unpublished)?.to_string();
                Ok(Outcome::Published(Published { id }))
            }
            Command::Subscribe(wanted) => {
                let keep = Keep(topic(&wanted.topic)?);
                self.hub.send(keep).await.map_err(gone)?.map(changed)
            }
            Command::Unsubscribe(wanted) => {
                let release = Release(topic(&wanted.topic)?);
                self.hub.send(release).await.map(changed).map_err(gone)
            }
            Command::Ask(ask) => self.gather(&ask).await.map(Outcome::Gathered),
            Command::Answer(answer) => self.answer(answer).await,
        }
    }

    async fn dial(&self, addr: &str) -> Result<Outcome, ApiError> {
        let addr: HostPort = addr.parse().map_err(|error| {
            ApiError::new(Code::BadRequest, format!("{addr:?} is not host:port: {error}"))
        })?;
        let dialled = self.node().dial(addr).await.map_err(|error| {
            let code = match error {
                DialError::BadAddress(_) => Code::BadRequest,
                DialError::Failed { .. } => Code::DialFailed,
                DialError::Stopping => Code::Stopped,
            };
            ApiError::new(code, error.to_string())
        });
        Ok(Outcome::Dialled(Dialled { id: dialled?.to_string() }))
    }

    async fn disconnect(&self, id: &str) -> Result<Outcome, ApiError> {
        let peers = self.node().peers().await;
        let id = find_id(id, &peers.iter().map(|peer| peer.id).collect())?;
        if self.node().disconnect(id, CloseReason::Requested).await {
            Ok(changed(true))
        } else {
            Err(ApiError::new(Code::NotFound, format!("{id} is not connected")))
        }
    }

    async fn ban(&self, ban: BanRequest) -> Result<Outcome, ApiError> {
        let target = find_target(&ban.target, &self.known().await)?;
        let lasts = ban.seconds.map_or(DEFAULT_BAN, Duration::from_secs);
        match self.node().ban(target, lasts, ban.note).await {
            Ok(ban) => Ok(Outcome::Banned((&ban).into())),
            Err(error) => {
                let code = match error {
                    BanError::Own | BanError::Everything | BanError::NoTime => Code::BadRequest,
                    BanError::Full(_) => Code::Full,
                    BanError::NotKept(_) => Code::NotKept,
                    BanError::Stopped => Code::Stopped,
                };
                Err(ApiError::new(code, error.to_string()))
            }
        }
    }

    async fn send(&self, send: SendRequest) -> Result<Outcome, ApiError> {
        let to = find_id(&send.to, &self.known().await)?;
        let delivered =
            self.overlay.send(to, &Note { text: send.text }).await.map_err(undelivered)?;
        Ok(Outcome::Delivered(Delivered {
            to: to.to_string(),
            rtt_us: u64::try_from(delivered.rtt.as_micros()).unwrap_or(u64::MAX),
            hops: delivered.hops,
            sealed: delivered.sealed,
        }))
    }

    async fn answer(&self, answer: InquiryAnswer) -> Result<Outcome, ApiError> {
        let said = match (answer.text, answer.refuse) {
            (Some(text), None) => Ok(text),
            (None, Some(why)) => Err(why),
            _ => {
                let message = "an answer has a text, or the reason for there being none";
                return Err(ApiError::new(Code::BadRequest, message));
            }
        };
        let say = Say { inquiry: answer.inquiry, said };
        if self.hub.send(say).await.map_err(gone)?? {
            Ok(changed(true))
        } else {
            let message = format!("question {} is not open (any more)", answer.inquiry);
            Err(ApiError::new(Code::NotFound, message))
        }
    }

    /// Asks, and hands over what comes back as it comes.
    pub(super) fn ask(&self, ask: &AskRequest) -> Answers<Inquiry> {
        let limit = ask.limit_ms.map_or(DEFAULT_LIMIT, Duration::from_millis);
        let audience = Audience::from(ask.tags.clone());
        self.overlay.ask(&Inquiry { text: ask.text.clone() }, audience, limit)
    }

    async fn gather(&self, ask: &AskRequest) -> Result<Gathered, ApiError> {
        let (mut answers, mut refusals, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut coming = self.ask(ask);
        while let Some(response) = coming.next().await {
            match line_of(response) {
                AskLine::Answer(answer) if bytes < MAX_GATHERED => {
                    bytes += answer.text.len() + LINE_OVERHEAD;
                    answers.push(answer);
                }
                AskLine::Refusal(refusal) if bytes < MAX_GATHERED => {
                    bytes += refusal.why.len() + LINE_OVERHEAD;
                    refusals.push(refusal);
                }
                AskLine::Answer(_) | AskLine::Refusal(_) => {}
                AskLine::End(end) => return Ok(Gathered { answers, refusals, end }),
                AskLine::Error(error) => return Err(error),
            }
        }
        Err(stopped())
    }
}

/// What comes back to a question, as it is told.
pub(super) fn line_of(response: Response<InquiryReply>) -> AskLine {
    match response {
        Response::Reply(reply) => AskLine::Answer(Answered {
            from: reply.from.to_string(),
            text: reply.answer.text,
            proven: reply.proven,
        }),
        Response::Refusal(refusal) => AskLine::Refusal(Refused {
            from: refusal.from.to_string(),
            why: refusal.why.into(),
            proven: refusal.proven,
        }),
        Response::End(account) => ended(account).map_or_else(AskLine::Error, AskLine::End),
    }
}

/// The most bytes of answers and refusals that are gathered; the account at the end counts all.
const MAX_GATHERED: usize = 4 << 20;

/// What each takes beside its text.
const LINE_OVERHEAD: usize = 128;

/// How a question ended, or why it was not asked.
fn ended(account: Account) -> Result<AskEnd, ApiError> {
    let Account { ending, asked, answered, refused, timed_out, dropped, .. } = account;
    if let Ending::NotAsked(why) = ending {
        let code = match why {
            Unasked::NotEncodable | Unasked::Audience(_) | Unasked::Limit => Code::BadRequest,
            Unasked::TooLarge => Code::TooLarge,
            Unasked::Busy => Code::Busy,
            Unasked::Rate => Code::Rate,
            Unasked::Stopped => Code::Stopped,
        };
        return Err(ApiError::new(code, why.to_string()));
    }
    Ok(AskEnd { asked, answered, refused, timed_out, dropped })
}

fn changed(changed: bool) -> Outcome {
    Outcome::Changed(Changed { changed })
}

/// The topic of this name.
pub(super) fn topic(name: &str) -> Result<Topic, ApiError> {
    let topic = Topic::new(name);
    topic.map_err(|error| ApiError::new(Code::BadRequest, error.to_string()))
}

fn unpublished(error: PublishError) -> ApiError {
    let code = match error {
        PublishError::Rate => Code::Rate,
        PublishError::TooLarge => Code::TooLarge,
        PublishError::NotEncodable => Code::BadRequest,
        PublishError::Stopped => Code::Stopped,
    };
    ApiError::new(code, error.to_string())
}

fn undelivered(error: Undelivered) -> ApiError {
    let code = match &error {
        Undelivered::NoRoute => Code::NoRoute,
        Undelivered::Timeout => Code::Timeout,
        Undelivered::Refused(_) => Code::Refused,
        Undelivered::TooLarge => Code::TooLarge,
        Undelivered::Busy => Code::Busy,
        Undelivered::NotEncodable => Code::BadRequest,
        Undelivered::Stopped => Code::Stopped,
    };
    ApiError::new(code, error.to_string())
}
