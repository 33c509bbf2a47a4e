//! The shell of one [`Link`].

mod ending;
mod handshake;
mod incoming;

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::Semaphore;

pub(super) use self::incoming::Incoming;
use self::{
    ending::{EndGuard, Farewell},
    handshake::secure,
    incoming::Open,
};
use super::{
    launch::Env,
    messages::{Control, Credit, DialTicket, PeerHandle, SessionHandle},
    pipe::Pipe,
};
use crate::{
    actors::{
        discovery::{FromPeer, Question},
        registry::{LinkEvent, LinkNews},
    },
    address::HostPort,
    clock::Moment,
    ids::{LinkId, NodeId},
    outbox::{Outbox, SendError, Status},
    peer::Direction,
    proto::{
        credentials::Established,
        explorer::{Proof, Via},
        journal::{Decision, Kind},
        link::{Action, Link, LinkConfig, LinkDue, Purpose},
    },
    reason::CloseReason,
    transport::{Connection, Transport},
    wire::{Encoded, Fields, MAX_LINE, encoded::MAX_PONGS},
};

/// What the smallest message counts against its session's credit, in bytes: about what it takes on
/// its way.
pub(super) const MESSAGE_COST: usize = 128;

/// What a question counts: its answer is much longer than itself.
const QUESTION_COST: usize = 16 * 1024;

/// The shortest time for which a peer that sends faster than it may is not read.
const THROTTLE_PAUSE: Duration = Duration::from_millis(20);

/// A pong with its newline.
const PONG_BYTES: usize = 19;

/// Bytes of answers that a peer may ask for while it leaves earlier ones lying: 16 questions, or
/// some ten thousand pings.
const MAX_CROWDING: usize = 256 * 1024;

/// How a session came to be.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) direction: Direction,
    pub(super) purpose: Purpose,
    /// With what it was dialled.
    pub(super) via: Via,
    pub(super) dial: Option<DialTicket>,
    pub(super) hello_due: Moment,
    pub(super) remote: HostPort,
    pub(super) local: Option<HostPort>,
}

/// One connection's actor.
#[derive(Debug)]
pub struct Session {
    // The machine.
    link: Link,
    // Who and where.
    id: LinkId,
    origin: Origin,
    peer: Option<PeerHandle>,
    established: Option<Box<Established>>,
    proof: Option<Proof>,
    // The ways out.
    pub(super) env: Arc<Env>,
    handle: Option<Arc<SessionHandle>>,
    pub(super) outbox: Arc<Outbox>,
    end: EndGuard,
    // What is under way.
    pub(super) credits: Arc<Semaphore>,
    /// Where messages of the latest msgtype go.
    open: Option<Open>,
    /// Pings that have not been answered yet.
    owed_pongs: usize,
    /// Bytes of answers asked for while the outbox was crowded.
    crowding: usize,
    /// When the next line may be read, if the peer sends faster than it may.
    throttled: Option<Moment>,
    /// How often it did.
    throttlings: u64,
    /// Messages of msgtypes that nobody registered.
    unknown: u64,
    /// The change of the node's tags that the hello told of.
    tags_said: u64,
    /// It closes since it was told to; whoever told it has noted why.
    is_told: bool,
}

impl Session {
    /// Starts a session on this thread.
    pub(super) fn launch<T: Transport>(
        env: Arc<Env>,
        id: LinkId,
        connection: Connection<T::Stream>,
        origin: Origin,
        expect: Option<NodeId>,
    ) -> Addr<Self> {
        let config = &env.config;
        let link = LinkConfig {
            credentials: env.credentials.clone(),
            direction: origin.direction,
            expect,
            purpose: origin.purpose,
            hello_due: origin.hello_due,
            close_grace: config.session.close_grace,
            stall_timeout: config.session.stall_timeout,
            liveness: config.liveness,
            message_burst: config.session.message_burst,
            messages_per_second: config.session.messages_per_second,
        };
        let link = Link::new(link, env.clock.now());
        let outbox = Outbox::new(config.session.outbox_frames, config.session.outbox_bytes);
        let outbox = Arc::new(outbox.counted(env.meters.traffic.clone()));
        let credits = Arc::new(Semaphore::new(config.session.undelivered_bytes));
        // Until somebody says otherwise, it ended because something in here broke.
        let reason = CloseReason::Internal;
        let end = EndGuard { env: env.clone(), link: id, reason, outbox: outbox.clone() };
        let stream = secure::<T>(&env, connection.stream, &origin);
        Self::create(move |ctx| {
            ctx.spawn(Pipe::new(stream));
            Self {
                link,
                id,
                origin,
                peer: None,
                established: None,
                proof: None,
                env,
                handle: None,
                outbox,
                end,
                credits,
                open: None,
                owed_pongs: 0,
                crowding: 0,
                throttled: None,
                throttlings: 0,
                unknown: 0,
                tags_said: 0,
                is_told: false,
            }
        })
    }

    // --- What the pipe asks -----------------------------------------------------------------

    /// The longest line allowed now.
    pub(super) const fn line_limit(&self) -> usize {
        self.link.line_limit()
    }

    /// Whether the peer's next line may be looked at now.
    pub(super) fn may_read(&self) -> bool {
        let is_affordable = self.credits.available_permits() >= MAX_LINE + self.gathered();
        self.link.is_reading() && !self.is_put_off() && is_affordable
    }

    /// Whether the peer asks for more answers than it takes: it is not read until it has taken some.
    /// Only questions and pings count, so that two nodes that send each other much go on reading.
    pub(super) const fn is_put_off(&self) -> bool {
        self.crowding + self.owed_pongs * PONG_BYTES >= MAX_CROWDING
    }

    pub(super) const fn is_reading(&self) -> bool {
        self.link.is_reading()
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.link.is_closing()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        // Who is not read for another reason need not be woken for this one.
        let next_turn = self.throttled.filter(|_| self.may_read());
        [self.link.deadline(), next_turn].into_iter().flatten().min()
    }

    /// How many lines the peer may say now; none if it has sent faster than it may. What it sent is
    /// not lost: it waits here, and then in the peer's own buffers.
    pub(super) fn turns(&mut self, now: Moment) -> u32 {
        let turns = self.link.turns(now);
        if turns > 0 {
            self.throttled = None;
        } else if self.throttled.is_none() {
            // Not for every single line.
            self.throttled = self.link.next_turn(now).map(|next| next.max(now + THROTTLE_PAUSE));
            self.throttlings += 1;
            if self.throttlings == 1 {
                self.note_throttled(now);
            }
        }
        turns
    }

    /// The peer said so many lines.
    pub(super) const fn took_turns(&mut self, n: u32) {
        self.link.took_turns(n);
    }

    fn note_throttled(&self, now: Moment) {
        let rate = self.env.config.session.messages_per_second;
        let note = Decision::new(now, Kind::Throttled, "rate").addr(self.origin.remote.clone());
        self.note(note.number("lines-per-second", rate.into()));
    }

    /// Has a decision about this link, and its peer if it has one, kept.
    fn note(&self, decision: Decision) {
        let peer = self.peer.as_ref().map(PeerHandle::id);
        // Of whom is refused before its hello is believed, the key tells.
        let peer = peer.or_else(|| self.proven_id());
        self.env.journal.note(decision.link(self.id).peer(peer));
    }

    /// Whether this node itself keeps the peer waiting.
    pub(super) const fn is_throttled(&self) -> bool {
        self.throttled.is_some()
    }

    // --- What the pipe tells ----------------------------------------------------------------

    /// A line came; `None` if it is over the limit. What belongs to it is taken out of `rest`, which was
    /// read behind it, or returned if it has not come whole. What is read of the line's fields is put into
    /// `fields`.
    pub(super) fn line(
        &mut self,
        now: Moment,
        line: Option<&[u8]>,
        fields: &mut Fields,
        rest: &mut &[u8],
    ) -> Option<Box<Incoming>> {
        let len = line.map_or(0, <[u8]>::len);
        let action = self.link.line_noting(now, line, fields);
        // What came before this goes before it.
        if !matches!(action, Action::Deliver { .. } | Action::Pong | Action::Nothing) {
            self.hand_over(now);
        }
        match action {
            Action::Nothing => {}
            Action::Pong => self.owed_pongs += 1,
            Action::Rtt(sample) => {
                self.env.meters.round_trips.add(sample);
                self.tell_registry(LinkNews::Pong(sample));
            }
            Action::Presence(tags) => self.tell_registry(LinkNews::Presence(tags)),
            Action::Addr(entries) => self.ask(Question::Addrs(entries), len),
            Action::Spare => self.ask(Question::Spare, len),
            Action::GetAddr { near, max } => {
                self.crowding += usize::from(self.outbox.status().crowded) * QUESTION_COST;
                self.ask(Question::GetAddr { near, max }, QUESTION_COST);
            }
            Action::Deliver { msgtype, text, attach: 0 } => {
                self.deliver(now, &msgtype, text, fields, Bytes::new());
            }
            Action::Deliver { msgtype, text, attach } => {
                return self.deliver_with(now, (&msgtype, text), fields, attach, rest);
            }
            Action::Skip(n) => return Incoming::skip(n, rest),
            Action::Greeted(hello) => self.greeted(now, *hello),
            Action::Probed => self.answer_hello(),
            Action::Proven(hello) => self.proven(now, &hello),
            Action::Refused(refused) => {
                let (hello, reason, detail) = *refused;
                // Of who is refused nothing is kept but that a classic node's place is taken by one that
                // can prove itself.
                if reason == CloseReason::Unproven {
                    self.proof = Some(self.proof_of(hello.nodeid));
                }
                self.close(now, reason, detail);
            }
            Action::Close(reason, detail) => self.close(now, reason, detail.into()),
            Action::PeerBye(farewell) => {
                let (reason, detail, peers) = *farewell;
                if !peers.is_empty() {
                    self.ask(Question::Addrs(peers), len);
                }
                self.end(now, reason, detail, Farewell::None);
            }
        }
        None
    }

    /// Answers the pings of a batch together, as far as the outbox has room; the rest are owed until
    /// it has. Whether any were answered.
    pub(super) fn answer_pings(&mut self) -> bool {
        let owed = self.owed_pongs;
        while self.owed_pongs > 0 {
            let n = self.owed_pongs.min(MAX_PONGS);
            match self.outbox.push_own(&Encoded::pongs(n)) {
                Ok(crowded) => {
                    self.owed_pongs -= n;
                    self.crowding += usize::from(crowded) * n * PONG_BYTES;
                }
                Err(SendError::OutboxFull) => break,
                Err(_closing) => self.owed_pongs = 0,
            }
        }
        self.owed_pongs < owed
    }

    /// The peer has closed its side. What it asked before is answered by now.
    pub(super) fn peer_closed(&mut self, now: Moment) {
        let farewell = if self.peer.is_some() { Farewell::Bye } else { Farewell::None };
        self.end(now, CloseReason::Gone, String::new(), farewell);
    }

    /// The connection failed.
    pub(super) fn failed(&mut self, now: Moment, error: &std::io::Error) {
        self.end(now, CloseReason::Gone, error.to_string(), Farewell::None);
    }

    /// The outbox was written as far as the peer takes it. Whether there is something to do that
    /// had waited for that.
    pub(super) fn wrote(
        &mut self,
        now: Moment,
        taken: bool,
        pending: bool,
        status: Status,
    ) -> bool {
        self.link.observe_outbox(now, taken, pending, status.refusing);
        let was_put_off = self.is_put_off();
        if !status.crowded {
            self.crowding = 0;
        }
        self.answer_pings() || (was_put_off && !self.is_put_off())
    }

    /// Does what is due. Whether the connection is to be dropped as it is.
    pub(super) fn tick(&mut self, now: Moment, paused: bool) -> bool {
        match self.link.tick(now, paused) {
            LinkDue::Nothing => {}
            LinkDue::Ping => self.reply(&Encoded::PING),
            LinkDue::Presence(tags) => self.tell_registry(LinkNews::Presence(tags)),
            LinkDue::Close(reason, detail) => self.close(now, reason, detail.to_owned()),
            LinkDue::Drop => return true,
        }
        false
    }

    // --- The ways out -----------------------------------------------------------------------

    /// Tells the peer something of the session's own.
    fn reply(&self, frame: &Encoded) {
        self.outbox.push_control(frame);
    }

    fn tell_registry(&self, news: LinkNews) {
        self.env.registry.do_send(LinkEvent { link: self.id, news });
    }

    fn ask(&self, question: Question, len: usize) {
        if let Some(from) = self.peer.clone() {
            self.env.discovery.do_send(FromPeer {
                from,
                question,
                credit: credit(&self.credits, len),
            });
        }
    }
}

/// What a message of this length, attachment included, is to hold. There is credit for a whole line, or
/// the pipe would not have handed it over; a longer message takes at most all there is.
fn credit(credits: &Arc<Semaphore>, len: usize) -> Credit {
    let cost = len.max(MESSAGE_COST).min(credits.available_permits());
    let cost = u32::try_from(cost).unwrap_or(u32::MAX);
    credits.clone().try_acquire_many_owned(cost).map_or(Credit::free(), Credit::of)
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let control = ctx.address().recipient();
        let handle = Arc::new(SessionHandle { control, outbox: self.outbox.clone() });
        self.handle = Some(handle.clone());
        let Origin { direction, remote, .. } = &self.origin;
        let (direction, remote) = (*direction, remote.clone());
        self.tell_registry(LinkNews::Opened { direction, remote, handle });
    }
}

impl Handler<Control> for Session {
    type Result = ();

    fn handle(&mut self, control: Control, _: &mut Context<Self>) {
        let now = self.env.clock.now();
        match control {
            Control::Admit { announce } => self.admitted(now, announce.as_ref()),
            Control::Close { reason, detail, elsewhere } => {
                self.is_told = !self.link.is_closing();
                // Whom this node serves only with a proof is told of others only after it.
                let trusted = self.peer.is_some() || !self.env.credentials.requires_tls();
                let farewell = if trusted { Farewell::Elsewhere(elsewhere) } else { Farewell::Bye };
                self.end(now, reason, detail.to_owned(), farewell);
            }
            Control::Knock => {}
            Control::Drop => self.link.end_grace(now),
        }
    }
}
