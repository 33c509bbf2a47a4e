//! From a fresh connection to an admitted session: what it is, who is there, and the verdict.

use super::{Origin, Session, ending::Farewell};
use crate::{
    actors::{
        registry::LinkNews,
        session::{launch::Env, messages::PeerHandle},
    },
    address::HostPort,
    clock::Moment,
    config::Security,
    ids::NodeId,
    peer::{Channel, Direction},
    proto::{
        credentials::Established,
        explorer::{FIRST_QUESTION, Proof, Via},
    },
    reason::CloseReason,
    secure::SecureStream,
    transport::Transport,
    wire::{ATTACH, Encoded, Hello},
};

/// What a connection's bytes go through, as its transport, its origin and this node say.
pub(super) fn secure<T: Transport>(
    env: &Env,
    stream: T::Stream,
    origin: &Origin,
) -> SecureStream<T::Stream> {
    match (origin.direction, &env.tls) {
        _ if T::VOUCHES => SecureStream::vouched(stream),
        (Direction::Inbound, tls) => SecureStream::accept(stream, tls.clone()),
        (Direction::Outbound, Some(tls)) if origin.via == Via::Tls => {
            SecureStream::connect(stream, tls)
        }
        (Direction::Outbound, _) => SecureStream::plain(stream),
    }
}

impl Session {
    /// It is known what the connection is. The side that dialled speaks first.
    pub(in crate::actors::session) fn established(
        &mut self,
        now: Moment,
        established: &Established,
    ) {
        self.established = Some(Box::new(*established));
        if let Some((reason, detail)) = self.link.established(established) {
            // Who answered is proven, even if it is another than was dialled.
            let answered = established.channel.key.map(|key| key.node_id());
            let answered = answered.filter(|_| reason == CloseReason::WrongNode);
            self.proof = answered.map(|id| self.proof_of(id));
            return self.close(now, reason, detail);
        }
        if self.origin.direction == Direction::Outbound {
            self.say_hello();
        }
    }

    /// The connection could not be made what it was to be.
    pub(in crate::actors::session) fn not_established(
        &mut self,
        now: Moment,
        error: &std::io::Error,
    ) {
        let by_tls = self.origin.via == Via::Tls;
        let reason = match self.origin.direction {
            Direction::Outbound if by_tls => CloseReason::TlsFailed,
            Direction::Inbound if error.kind() == std::io::ErrorKind::InvalidData => {
                CloseReason::TlsFailed
            }
            _ => CloseReason::Gone,
        };
        self.end(now, reason, error.to_string(), Farewell::None);
    }

    fn say_hello(&mut self) {
        let Origin { purpose, remote, local, .. } = &self.origin;
        let established = self.established.as_deref();
        let member = established.and_then(|known| self.link.proof_of_membership(known));
        let (hello, said) = self.env.hello.encode(*purpose, remote, local.as_ref(), member);
        self.tags_said = said;
        self.reply(&hello);
    }

    pub(super) fn answer_hello(&mut self) {
        if self.origin.direction == Direction::Inbound {
            self.say_hello();
        }
    }

    pub(super) fn greeted(&mut self, now: Moment, hello: Hello) {
        self.answer_hello();
        if let Some((reason, detail)) = self.link.objection(&hello) {
            // Only our own id proves something about the address: that it is ours.
            if reason == CloseReason::SelfConnection {
                self.proof = Some(self.proof_of(hello.nodeid));
            }
            return self.close(now, reason, detail);
        }
        self.proof = Some(self.proof_of(hello.nodeid));
        if hello.features.iter().any(|feature| feature == ATTACH) {
            self.outbox.allow_attachments();
        }
        if let Some(handle) = &self.handle {
            self.peer = Some(PeerHandle::new(hello.nodeid, self.id, handle.clone()));
        }
        // From here on the registry keeps it.
        let channel = self.channel();
        self.established = None;
        self.tell_registry(LinkNews::Greeted(Box::new(hello), channel));
    }

    pub(super) fn proven(&mut self, now: Moment, hello: &Hello) {
        if let Some((reason, detail)) = self.link.objection(hello) {
            return self.close(now, reason, detail);
        }
        self.proof = Some(self.proof_of(hello.nodeid));
        self.close(now, CloseReason::Feeler, String::new());
    }

    pub(super) fn proof_of(&self, id: NodeId) -> Proof {
        // Without encryption a node has no better proof than the word of who answers.
        let off = self.env.config.security == Security::Off;
        let proven = off || self.channel().proves(id);
        Proof { id, proven, local: self.origin.local.clone() }
    }

    fn channel(&self) -> Channel {
        self.established.as_ref().map_or(Channel::PLAINTEXT, |established| established.channel)
    }

    /// Whose key the other end has proven to hold, if it has.
    pub(super) fn proven_id(&self) -> Option<NodeId> {
        self.channel().key.map(|key| key.node_id())
    }

    pub(super) fn admitted(&mut self, now: Moment, announce: Option<&HostPort>) {
        if self.link.is_closing() {
            return;
        }
        self.link.admit(now);
        let question = Encoded::getaddr_near(self.env.me, FIRST_QUESTION);
        let own = announce.map(|addr| Encoded::addr(&[(addr.clone(), self.env.me)]));
        let lines: Vec<Encoded> = own.into_iter().chain([question]).collect();
        self.reply(&Encoded::concat(&lines));
        // From here on the registry's directory has the session, and it hears of changes like all.
        self.env.hello.tags().catch_up(self.tags_said, &self.outbox);
        // The first ping is due at once.
        self.tick(now, false);
        if let Some(dial) = self.origin.dial.take() {
            dial.settle(self.proof.take(), None);
        }
    }
}
