//! One connection, from its first byte to its last.

use std::{borrow::Cow, sync::Arc, time::Duration};

use crate::{
    clock::Moment,
    config::LivenessConfig,
    ids::NodeId,
    peer::Direction,
    proto::{
        credentials::{Credentials, Established, Refusal},
        liveness::{Due, Liveness},
        presence::Presence,
        stall::Stall,
        token_bucket::TokenBucket,
    },
    reason::CloseReason,
    wire::{AddrEntry, Bye, Fields, Frame, Hello, MAX_HELLO_LINE, MAX_LINE, Tags, WireError},
};

/// The part of the grace, as a divisor, that a link gets which closes before its hello.
const STRANGER_GRACE: u32 = 8;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be a session.
    Session,
    /// Only to see who answers there.
    Feeler,
}

/// What a link needs to know.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Who this node is, and what it asks of others.
    pub credentials: Arc<Credentials>,
    /// Who dialled.
    pub direction: Direction,
    /// Who was dialled, if that is known.
    pub expect: Option<NodeId>,
    /// What it was dialled for; an inbound link is always for a session as far as we know.
    pub purpose: Purpose,
    /// When the peer's hello must be there.
    pub hello_due: Moment,
    /// How long a closing link may take.
    pub close_grace: Duration,
    /// How long the peer may take nothing.
    pub stall_timeout: Duration,
    /// When to ping, when to give up.
    pub liveness: LivenessConfig,
    /// How many lines are taken at once.
    pub message_burst: u32,
    /// How many lines are taken per second in the long run.
    pub messages_per_second: u32,
}

/// Where the link is in its life. Each state's successors, besides `Closing`, which is one of all.
#[derive(Debug)]
enum State {
    /// It is not known yet whether this is plaintext or TLS, and with whom; if it was dialled, then
    /// as this node. To `AwaitHello`.
    Securing { expect: Option<NodeId> },
    /// No hello yet. To `AwaitVerdict`, `Probed`. Boxed, for it is large, and of no use to the states
    /// after it.
    AwaitHello(Box<Established>),
    /// The peer only wanted to see us; it closes.
    Probed,
    /// The registry decides whether this link stays; nothing is read. To `Up`.
    AwaitVerdict,
    /// A session.
    Up(Liveness),
    /// Only what is queued is still written.
    Closing { due: Moment },
}

/// The one thing to do about one input.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Nothing.
    Nothing,
    /// The peer's hello is good: answer it if it dialled, tell the dialler's owner, and ask the
    /// registry for a verdict. Nothing more may be read before [`Link::admit`].
    Greeted(Box<Hello>),
    /// The same, but the peer only wanted to see us: answer, and wait for it to close.
    Probed,
    /// We only wanted to see the peer, and have: close with [`CloseReason::Feeler`].
    Proven(Box<Hello>),
    /// The hello is not believed: close with this reason and detail, without an answer.
    Refused(Box<(Hello, CloseReason, String)>),
    /// Answer with a pong.
    Pong,
    /// The peer answered our ping after this long.
    Rtt(Duration),
    /// Hand these addresses to discovery.
    Addr(Vec<AddrEntry>),
    /// Hand this question to discovery.
    GetAddr {
        /// Prefer nodes close to this id.
        near: Option<NodeId>,
        /// No more than this many.
        max: Option<usize>,
    },
    /// Tell discovery that the peer could do without the session.
    Spare,
    /// Tell the registry that the peer's tags are these now.
    Presence(Tags),
    /// Hand the line to whoever registered the msgtype.
    Deliver {
        /// The msgtype.
        msgtype: Cow<'a, str>,
        /// The whole line.
        text: &'a str,
        /// How many bytes follow the line, and belong to it.
        attach: usize,
    },
    /// The line means nothing, but so many bytes follow it: skip them.
    Skip(usize),
    /// Send `bye` with this reason and detail, and close.
    Close(CloseReason, Box<str>),
    /// The peer said `bye`: close without one. It may name addresses to try instead.
    PeerBye(Box<(CloseReason, String, Vec<AddrEntry>)>),
}

/// What is due on a link.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkDue {
    /// Nothing.
    Nothing,
    /// Send a ping.
    Ping,
    /// Tell the registry that the peer's tags are these now.
    Presence(Tags),
    /// Send `bye` with this reason and detail, and close.
    Close(CloseReason, &'static str),
    /// The grace is over: drop the connection as it is.
    Drop,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    credentials: Arc<Credentials>,
    direction: Direction,
    purpose: Purpose,
    hello_due: Moment,
    close_grace: Duration,
    liveness: LivenessConfig,
    state: State,
    stall: Stall,
    lines: TokenBucket,
    presence: Presence,
}

impl Link {
    /// A link whose first byte has yet to come.
    #[must_use]
    pub fn new(config: LinkConfig, now: Moment) -> Self {
        Self {
            credentials: config.credentials,
            direction: config.direction,
            purpose: config.purpose,
            hello_due: config.hello_due,
            close_grace: config.close_grace,
            liveness: config.liveness,
            state: State::Securing { expect: config.expect },
            stall: Stall::new(config.stall_timeout),
            lines: TokenBucket::new(config.message_burst, config.messages_per_second, now),
            presence: Presence::default(),
        }
    }

    /// It is known what the connection is: the side that dialled now says hello. Or why not.
    pub fn established(&mut self, established: &Established) -> Option<Refusal> {
        let State::Securing { expect } = self.state else { return None };
        self.state = State::AwaitHello(Box::new(*established));
        self.credentials.check_channel(established, expect)
    }

    /// What this node's hello proves on this link, if its network is a private one.
    #[must_use]
    pub fn proof_of_membership(&self, established: &Established) -> Option<String> {
        self.credentials.proof(established, self.direction)
    }

    /// How many lines may be looked at now; if none, the link is read on when
    /// [`next_turn`](Self::next_turn) has come.
    pub fn turns(&mut self, now: Moment) -> u32 {
        self.lines.tokens(now)
    }

    /// So many lines were looked at.
    pub const fn took_turns(&mut self, n: u32) {
        self.lines.spend(n);
    }

    /// When the next line may be looked at, if the peer has sent faster than it may.
    #[must_use]
    pub fn next_turn(&mut self, now: Moment) -> Option<Moment> {
        Some(self.lines.next_token(now)).filter(|next| *next > now)
    }

    /// The longest line allowed now.
    #[must_use]
    pub const fn line_limit(&self) -> usize {
        match self.state {
            State::Up(_) => MAX_LINE,
            _ => MAX_HELLO_LINE,
        }
    }

    /// Whether what the peer sends may be looked at now.
    #[must_use]
    pub const fn is_reading(&self) -> bool {
        !matches!(self.state, State::Securing { .. } | State::AwaitVerdict | State::Closing { .. })
    }

    /// Whether the link has begun to close.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. })
    }

    /// A line came. `None` is a line over the limit.
    pub fn line<'a>(&mut self, now: Moment, line: Option<&'a [u8]>) -> Action<'a> {
        self.line_noting(now, line, &mut Fields::default())
    }

    /// The same; of a flat line that is to be delivered it is noted where its fields are.
    pub fn line_noting<'a>(
        &mut self,
        now: Moment,
        line: Option<&'a [u8]>,
        fields: &mut Fields,
    ) -> Action<'a> {
        let Some(line) = line else {
            let detail = format!("a line is longer than {} bytes", self.line_limit());
            return Action::Close(CloseReason::TooLarge, detail.into());
        };
        // Netcat users press return; an empty line says nothing and costs nothing.
        if line.is_empty() {
            return Action::Nothing;
        }
        match Frame::parse_noting(line, fields) {
            Ok(frame) => self.frame(now, frame),
            Err(error @ (WireError::NotUtf8 | WireError::Malformed(_))) => {
                Action::Close(CloseReason::Protocol, error.to_string().into())
            }
            Err(error @ WireError::AttachmentTooLarge(_)) => {
                Action::Close(CloseReason::TooLarge, error.to_string().into())
            }
        }
    }

    fn frame<'a>(&mut self, now: Moment, frame: Frame<'a>) -> Action<'a> {
        if let Frame::Bye(bye) = frame {
            let Bye { reason, detail, peers } = *bye;
            let reason: String = reason.chars().filter(|c| !c.is_control()).take(64).collect();
            let detail = detail.unwrap_or_default();
            let detail = detail.chars().filter(|c| !c.is_control()).take(200).collect();
            let farewell = (CloseReason::Peer(reason.into()), detail, peers);
            return Action::PeerBye(Box::new(farewell));
        }
        let liveness = match &mut self.state {
            State::Up(liveness) => liveness,
            State::AwaitHello(established) => {
                let established = **established;
                return self.hello(frame, &established);
            }
            State::Securing { .. }
            | State::Probed
            | State::AwaitVerdict
            | State::Closing { .. } => {
                return match frame {
                    Frame::Other { attach, .. } if attach > 0 => Action::Skip(attach),
                    _ => Action::Nothing,
                };
            }
        };
        match frame {
            Frame::Ping => Action::Pong,
            Frame::Pong => liveness.pong(now).map_or(Action::Nothing, Action::Rtt),
            Frame::Addr(entries) => Action::Addr(entries),
            Frame::Spare => Action::Spare,
            Frame::GetAddr { near, max } => Action::GetAddr { near, max },
            Frame::Presence(tags) => {
                self.presence.hear(now, tags).map_or(Action::Nothing, Action::Presence)
            }
            Frame::Other { msgtype, text, attach } => Action::Deliver { msgtype, text, attach },
            Frame::Hello(_) => Action::Close(CloseReason::Protocol, "a second hello".into()),
            // Handled above, for it means the same in every state.
            Frame::Bye(_) => Action::Nothing,
        }
    }

    fn hello<'a>(&mut self, frame: Frame<'a>, established: &Established) -> Action<'a> {
        let Frame::Hello(hello) = frame else {
            return Action::Close(CloseReason::Protocol, "the first line must be hello".into());
        };
        let credentials = &self.credentials;
        let by = self.direction.opposite();
        if let Some((reason, detail)) = credentials.check_hello(established, &hello, by) {
            return Action::Refused(Box::new((*hello, reason, detail)));
        }
        let is_other = hello.nodeid != credentials.me();
        if self.purpose == Purpose::Feeler && is_other {
            return Action::Proven(hello);
        }
        if hello.feeler && is_other {
            self.state = State::Probed;
            return Action::Probed;
        }
        self.state = State::AwaitVerdict;
        Action::Greeted(hello)
    }

    /// Why a peer with this hello cannot be one of ours. The shell asks after it has answered the
    /// hello, so that the peer, too, learns whom it reached.
    #[must_use]
    pub fn objection(&self, hello: &Hello) -> Option<Refusal> {
        self.credentials.objection(hello)
    }

    /// The registry lets the link be a session.
    pub fn admit(&mut self, now: Moment) {
        if matches!(self.state, State::AwaitVerdict) {
            self.state = State::Up(Liveness::new(self.liveness, now));
        }
    }

    /// The link begins to close.
    pub fn close(&mut self, now: Moment) {
        if !self.is_closing() {
            // Who has not even said hello has little to lose, and there may be many of them.
            let is_stranger = matches!(self.state, State::Securing { .. } | State::AwaitHello(_));
            let grace =
                if is_stranger { self.close_grace / STRANGER_GRACE } else { self.close_grace };
            self.state = State::Closing { due: now + grace };
        }
    }

    /// A link that is closing has no more time for it.
    pub fn end_grace(&mut self, now: Moment) {
        if let State::Closing { due } = &mut self.state {
            *due = now;
        }
    }

    /// How the outbox stands after an attempt to write; see [`Stall::observe`].
    pub fn observe_outbox(&mut self, now: Moment, taken: bool, pending: bool, refusing: bool) {
        self.stall.observe(now, taken, pending, refusing);
    }

    /// What is due. `paused` says that this node has not been reading, so that the peer's silence
    /// is ours.
    pub fn tick(&mut self, now: Moment, paused: bool) -> LinkDue {
        if !self.is_closing() && self.stall.is_slow(now) {
            return LinkDue::Close(CloseReason::Slow, "you do not read what you are sent");
        }
        let dialled = self.direction == Direction::Outbound;
        match &mut self.state {
            State::Securing { .. } if now >= self.hello_due && dialled => {
                LinkDue::Close(CloseReason::TlsFailed, "no TLS handshake in time")
            }
            State::Securing { .. } | State::AwaitHello(_) if now >= self.hello_due => {
                LinkDue::Close(CloseReason::Timeout, "no hello in time")
            }
            State::Probed if now >= self.hello_due => {
                LinkDue::Close(CloseReason::Timeout, "a feeler must close by itself")
            }
            State::Up(liveness) => {
                if paused {
                    liveness.excuse(now);
                }
                match liveness.tick(now) {
                    Due::Nothing => {
                        self.presence.tick(now).map_or(LinkDue::Nothing, LinkDue::Presence)
                    }
                    Due::Ping => LinkDue::Ping,
                    Due::Dead => LinkDue::Close(CloseReason::Timeout, "no pong in time"),
                }
            }
            State::Closing { due } if now >= *due => LinkDue::Drop,
            _ => LinkDue::Nothing,
        }
    }

    /// When to call [`tick`](Self::tick) next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let own = match &self.state {
            State::Securing { .. } | State::AwaitHello(_) | State::Probed => Some(self.hello_due),
            State::AwaitVerdict => None,
            State::Up(liveness) => Some(liveness.deadline()),
            State::Closing { due } => return Some(*due),
        };
        [own, self.stall.deadline(), self.presence.deadline()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{NodeConfig, Security, peer::Channel};

    const ME: NodeId = NodeId::from_u128(1);
    const PLAIN: Established = Established::of(Channel::PLAINTEXT);

    fn at(secs: u64) -> Moment {
        Moment::after(Duration::from_secs(secs))
    }

    fn link(purpose: Purpose) -> Link {
        let mut link = securing(purpose, Direction::Inbound);
        assert_eq!(link.established(&PLAIN), None);
        link
    }

    fn securing(purpose: Purpose, direction: Direction) -> Link {
        let config = LinkConfig {
            credentials: Arc::new(Credentials::new(ME, &NodeConfig::default())),
            direction,
            expect: None,
            purpose,
            hello_due: at(5),
            close_grace: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(5),
            liveness: LivenessConfig::default(),
            message_burst: 10,
            messages_per_second: 2,
        };
        Link::new(config, at(0))
    }

    fn hello(id: u128, more: &str) -> String {
        format!(r#"{{"msgtype":"hello","nodeid":"{}"{more}}}"#, NodeId::from_u128(id))
    }

    fn up() -> Link {
        let mut link = link(Purpose::Session);
        let text = hello(2, "");
        assert!(matches!(link.line(at(0), Some(text.as_bytes())), Action::Greeted(_)));
        link.admit(at(0));
        link
    }

    fn closes_with(action: &Action<'_>, code: &str) -> bool {
        matches!(action, Action::Close(reason, _) if reason.code() == code)
    }

    #[test]
    fn anything_before_hello_is_a_protocol_error() {
        for line in ["{\"msgtype\":\"ping\"}", "{\"msgtype\":\"x\"}", "nonsense", "[]"] {
            let action = link(Purpose::Session).line(at(0), Some(line.as_bytes()));
            assert!(closes_with(&action, "protocol"), "{line}: {action:?}");
        }
    }

    #[test]
    fn empty_lines_are_nothing_in_every_state() {
        assert_eq!(link(Purpose::Session).line(at(0), Some(b"")), Action::Nothing);
        assert_eq!(up().line(at(0), Some(b"")), Action::Nothing);
    }

    #[test]
    fn a_second_hello_is_a_protocol_error() {
        let text = hello(2, "");
        assert!(closes_with(&up().line(at(1), Some(text.as_bytes())), "protocol"));
    }

    #[test]
    fn no_hello_in_time_closes_with_timeout() {
        let mut link = link(Purpose::Session);
        assert_eq!(link.deadline(), Some(at(5)));
        assert_eq!(link.tick(at(4), false), LinkDue::Nothing);
        assert!(matches!(link.tick(at(5), false), LinkDue::Close(CloseReason::Timeout, _)));
    }

    #[test]
    fn a_refused_connection_says_why_and_hello_is_not_read_before_it_is_known_what_it_is() {
        let mut link = securing(Purpose::Session, Direction::Inbound);
        assert!(!link.is_reading());
        assert_eq!(link.established(&PLAIN), None);
        assert!(link.is_reading());
        let mut link = securing(Purpose::Session, Direction::Inbound);
        let required = NodeConfig { security: Security::Require, ..NodeConfig::default() };
        link.credentials = Arc::new(Credentials::new(ME, &required));
        let (reason, _) = link.established(&PLAIN).unwrap();
        assert_eq!(reason, CloseReason::TlsRequired);
    }

    #[test]
    fn a_dialler_that_gets_no_tls_in_time_knows_that_it_was_that() {
        for (direction, expected) in [
            (Direction::Outbound, CloseReason::TlsFailed),
            (Direction::Inbound, CloseReason::Timeout),
        ] {
            let mut link = securing(Purpose::Session, direction);
            assert_eq!(link.deadline(), Some(at(5)));
            assert!(
                matches!(link.tick(at(5), false), LinkDue::Close(reason, _) if reason == expected)
            );
        }
    }

    #[test]
    fn a_hello_that_is_not_believed_is_refused_without_an_answer() {
        let id = crate::PublicKey::from_bytes([3; 32]).node_id();
        let text = format!(r#"{{"msgtype":"hello","nodeid":"{id}"}}"#);
        let mut link = link(Purpose::Session);
        let action = link.line(at(0), Some(text.as_bytes()));
        assert!(matches!(&action, Action::Refused(refused) if refused.1 == CloseReason::Unproven));
    }

    #[test]
    fn whoever_sends_faster_than_it_may_is_read_more_slowly() {
        let mut link = up();
        for _ in 1..10 {
            assert!(link.turns(at(0)) > 0);
            assert_eq!(link.next_turn(at(0)), None);
            link.took_turns(1);
        }
        link.took_turns(1);
        assert_eq!(link.turns(at(0)), 0);
        let next = link.next_turn(at(0)).unwrap();
        assert_eq!(next, Moment::after(Duration::from_millis(500)));
        assert_eq!(link.turns(next), 1);
    }

    #[test]
    fn lines_are_short_before_the_session_is_up() {
        assert_eq!(link(Purpose::Session).line_limit(), MAX_HELLO_LINE);
        assert_eq!(up().line_limit(), MAX_LINE);
        assert!(closes_with(&up().line(at(0), None), "too-large"));
    }

    #[test]
    fn nothing_is_read_until_the_registry_has_decided() {
        let mut link = link(Purpose::Session);
        let text = hello(2, "");
        link.line(at(0), Some(text.as_bytes()));
        assert!(!link.is_reading());
        assert_eq!(link.deadline(), None);
        link.admit(at(1));
        assert!(link.is_reading());
    }

    #[test]
    fn a_feeler_proves_and_is_proven() {
        let text = hello(2, "");
        let action = link(Purpose::Feeler).line(at(0), Some(text.as_bytes()));
        assert!(matches!(action, Action::Proven(_)));
        let mut probed = link(Purpose::Session);
        let text = hello(2, r#","feeler":true"#);
        assert_eq!(probed.line(at(0), Some(text.as_bytes())), Action::Probed);
        assert!(matches!(probed.tick(at(5), false), LinkDue::Close(CloseReason::Timeout, _)));
    }

    #[test]
    fn what_follows_a_line_is_told_with_it_and_skipped_where_nothing_is_served() {
        let text = r#"{"msgtype":"zebra","attach":7}"#;
        let expected = Action::Deliver { msgtype: "zebra".into(), text, attach: 7 };
        assert_eq!(up().line(at(0), Some(text.as_bytes())), expected);
        let mut probed = link(Purpose::Session);
        let feeler = hello(2, r#","feeler":true"#);
        assert_eq!(probed.line(at(0), Some(feeler.as_bytes())), Action::Probed);
        assert_eq!(probed.line(at(0), Some(text.as_bytes())), Action::Skip(7));
        let too_large = r#"{"msgtype":"zebra","attach":1048577}"#;
        assert!(closes_with(&up().line(at(0), Some(too_large.as_bytes())), "too-large"));
        let core = r#"{"msgtype":"ping","attach":1}"#;
        assert!(closes_with(&up().line(at(0), Some(core.as_bytes())), "protocol"));
        assert!(size_of::<Action<'_>>() <= 48);
    }

    #[test]
    fn new_tags_are_told_at_once_but_not_too_often() {
        let mut link = up();
        link.tick(at(0), false);
        let said = |n| format!(r#"{{"msgtype":"presence","tags":{{"n":"{n}"}}}}"#);
        let tags = |n: u8| Tags::from([("n".to_owned(), n.to_string())]);
        assert_eq!(link.line(at(1), Some(said(1).as_bytes())), Action::Presence(tags(1)));
        assert_eq!(link.line(at(1), Some(said(2).as_bytes())), Action::Nothing);
        assert_eq!(link.line(at(1), Some(said(3).as_bytes())), Action::Nothing);
        assert_eq!(link.deadline(), Some(at(2)));
        assert_eq!(link.tick(at(2), false), LinkDue::Presence(tags(3)));
        assert_eq!(link.deadline(), Some(at(240)), "the pong that is missing");
    }

    #[test]
    fn a_silent_peer_is_dropped_at_dead_after_unless_we_were_the_deaf_one() {
        let mut link = up();
        assert_eq!(link.tick(at(0), false), LinkDue::Ping);
        assert_eq!(link.tick(at(239), true), LinkDue::Nothing);
        assert_eq!(link.tick(at(240), false), LinkDue::Nothing);
        assert!(matches!(link.tick(at(479), false), LinkDue::Close(CloseReason::Timeout, _)));
    }

    #[test]
    fn a_closing_link_is_dropped_after_its_grace() {
        let mut link = up();
        link.close(at(7));
        assert_eq!(link.deadline(), Some(at(8)));
        assert_eq!(link.tick(at(7), false), LinkDue::Nothing);
        assert_eq!(link.tick(at(8), false), LinkDue::Drop);
    }

    #[test]
    fn a_peers_bye_is_kept_short_and_printable() {
        let text = format!(r#"{{"msgtype":"bye","reason":"a\u001b[31m{}"}}"#, "x".repeat(500));
        let Action::PeerBye(bye) = up().line(at(0), Some(text.as_bytes())) else {
            panic!("no bye")
        };
        let reason = bye.0;
        assert!(reason.code().len() <= 64 && reason.code().starts_with("a[31m"));
    }

    proptest! {
        /// Whatever a stranger says, only a hello gets further than the first state.
        #[test]
        fn only_a_hello_opens_the_door(lines in proptest::collection::vec(
            "\\{\"msgtype\":\"(ping|pong|addr|getaddr|x)\"\\}|[a-z{}\"]{0,20}", 0..20,
        )) {
            let mut link = link(Purpose::Session);
            for line in &lines {
                match link.line(at(0), Some(line.as_bytes())) {
                    Action::Nothing => prop_assert!(line.is_empty()),
                    Action::Close(..) => break,
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
