//! Starts sessions, each on the thread whose turn it is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix::prelude::*;
use actix_rt::ArbiterHandle;

use super::{
    actor::{Origin, Session},
    messages::DialTicket,
    tags::OwnTags,
};
use crate::{
    actors::{discovery::FromPeer, journal::JournalPort, registry::LinkEvent},
    address::{HostPort, MAX_HOST},
    clock::{Clock, Moment},
    config::NodeConfig,
    extension::Routes,
    ids::{LinkId, NodeId},
    meters::Meters,
    peer::Direction,
    proto::{
        credentials::Credentials,
        explorer::{DialPlan, Via},
        link::Purpose,
        own_address::Settled,
    },
    reason::CloseReason,
    secure::Tls,
    transport::{Connection, Transport},
    wire::{ATTACH, Encoded, Hello, MAX_HELLO_LINE, Tags, TagsError, VERSION},
};

/// What a node's sessions have in common.
#[derive(Debug)]
pub struct Env {
    /// This node's id.
    pub me: NodeId,
    /// The node's configuration.
    pub config: NodeConfig,
    /// The node's clock.
    pub clock: Clock,
    /// What the node says of itself.
    pub hello: HelloTemplate,
    /// What it asks of others.
    pub credentials: Arc<Credentials>,
    /// What it speaks TLS with; none if it speaks plaintext only.
    pub tls: Option<Tls>,
    /// Who takes messages of other msgtypes than the core's.
    pub routes: Arc<Routes>,
    /// Where links come up and end.
    pub registry: Recipient<LinkEvent>,
    /// Where addresses and questions for them go.
    pub discovery: Recipient<FromPeer>,
    /// Where refusals are kept.
    pub journal: JournalPort,
    /// Where frames and round trips are counted.
    pub meters: Arc<Meters>,
}

/// What a node says of itself in every hello.
#[derive(Debug)]
pub struct HelloTemplate {
    me: NodeId,
    agent: String,
    network: String,
    features: Vec<String>,
    tags: Arc<OwnTags>,
    settled: Settled,
}

impl HelloTemplate {
    /// For a node whose operator settled this much of its address, and whose program can do this
    /// beyond the core.
    ///
    /// # Errors
    /// The node's tags do not fit in with the rest.
    pub fn new(
        me: NodeId,
        config: &NodeConfig,
        settled: Settled,
        features: &[&str],
    ) -> Result<Self, TagsError> {
        let features = [&[ATTACH], features].concat();
        let mut template = Self {
            me,
            agent: config.agent.clone(),
            network: config.network.clone(),
            features: features.into_iter().map(str::to_owned).collect(),
            tags: Arc::new(OwnTags::new(0, 0)),
            settled,
        };
        let others = template.longest_line();
        let room = MAX_HELLO_LINE.saturating_sub(others);
        template.tags = Arc::new(OwnTags::new(room, others));
        template.tags.set(config.tags.clone(), |_no_peers_yet| {})?;
        Ok(template)
    }

    /// The node's tags, which may change.
    #[must_use]
    pub const fn tags(&self) -> &Arc<OwnTags> {
        &self.tags
    }

    /// How long the line of a hello can be on some connection, with the frame of the tags but without
    /// them.
    fn longest_line(&self) -> usize {
        const ADDRESS: usize = MAX_HOST + ":65535".len();
        const MEMBER: &str = r#","member":"","tags":,"feeler":true"#;
        const PROOF: usize = 64;
        let hello = self.hello(None, Tags::new());
        let short = Encoded::hello(&hello).bytes().len();
        let listen = hello.listen.map_or(0, |addr| addr.to_string().len());
        short - listen + 2 * ADDRESS + r#","observed":"""#.len() + MEMBER.len() + PROOF
    }

    /// The hello for one connection, and of which change of the tags it tells. With an unspecific
    /// listening address the node can be reached at least where this connection reaches it.
    pub(super) fn encode(
        &self,
        purpose: Purpose,
        remote: &HostPort,
        local: Option<&HostPort>,
        member: Option<String>,
    ) -> (Encoded, u64) {
        let (tags, change) = self.tags.current();
        let (observed, feeler) = (Some(remote.clone()), purpose == Purpose::Feeler);
        let hello = Hello { observed, member, feeler, ..self.hello(local, tags) };
        (Encoded::hello(&hello), change)
    }

    fn hello(&self, local: Option<&HostPort>, tags: Tags) -> Hello {
        let here = || self.settled.reached_by(local?.ip()?);
        Hello {
            nodeid: self.me,
            version: Some(VERSION),
            agent: Some(self.agent.clone()),
            listen: self.settled.fixed.clone().or_else(here),
            network: Some(self.network.clone()),
            features: self.features.clone(),
            observed: None,
            member: None,
            tags,
            feeler: false,
        }
    }
}

/// The threads that carry sessions: the caller's own, and more if there are to be more.
#[derive(Debug)]
pub struct Workers {
    others: Vec<ArbiterHandle>,
    turn: AtomicU64,
}

impl Workers {
    /// This thread and these.
    #[must_use]
    pub const fn new(others: Vec<ArbiterHandle>) -> Self {
        Self { others, turn: AtomicU64::new(0) }
    }

    /// Whose turn it is; `None` is the caller's own thread.
    fn next(&self) -> Option<&ArbiterHandle> {
        let n = u64::try_from(self.others.len()).unwrap_or(u64::MAX).saturating_add(1);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % n;
        self.others.get(usize::try_from(turn.checked_sub(1)?).ok()?)
    }

    /// Ends the other threads.
    pub fn stop(&self) {
        for arbiter in &self.others {
            arbiter.stop();
        }
    }
}

/// Starts sessions.
#[derive(Debug, Clone)]
pub struct Launcher {
    env: Arc<Env>,
    workers: Arc<Workers>,
    links: Arc<AtomicU64>,
}

impl Launcher {
    /// A launcher of one node's sessions; its clones share the numbering of links.
    #[must_use]
    pub fn new(env: Arc<Env>, workers: Arc<Workers>) -> Self {
        Self { env, workers, links: Arc::new(AtomicU64::new(1)) }
    }

    /// What the sessions have in common.
    #[must_use]
    pub const fn env(&self) -> &Arc<Env> {
        &self.env
    }

    /// Starts the session of an accepted connection.
    pub fn inbound<T: Transport>(&self, connection: Connection<T::Stream>) {
        let hello_due = self.env.clock.now() + self.env.config.session.handshake_timeout;
        let origin = Origin {
            direction: Direction::Inbound,
            purpose: Purpose::Session,
            via: Via::Tls,
            dial: None,
            hello_due,
            remote: connection.remote.clone(),
            local: connection.local.clone(),
        };
        self.launch::<T>(connection, origin, None);
    }

    /// Starts the session of a dialled connection; the hello is due at `hello_due` at the latest.
    pub fn outbound<T: Transport>(
        &self,
        connection: Connection<T::Stream>,
        plan: &DialPlan,
        dial: DialTicket,
        hello_due: Moment,
    ) {
        let soon = self.env.clock.now() + self.env.config.session.handshake_timeout;
        let origin = Origin {
            direction: Direction::Outbound,
            purpose: plan.purpose,
            via: plan.via,
            dial: Some(dial),
            hello_due: hello_due.min(soon),
            remote: connection.remote.clone(),
            local: connection.local.clone(),
        };
        self.launch::<T>(connection, origin, plan.expect);
    }

    fn launch<T: Transport>(
        &self,
        connection: Connection<T::Stream>,
        mut origin: Origin,
        expect: Option<NodeId>,
    ) {
        let id = LinkId(self.links.fetch_add(1, Ordering::Relaxed));
        let env = self.env.clone();
        let Some(worker) = self.workers.next() else {
            Session::launch::<T>(env, id, connection, origin, expect);
            return;
        };
        let Connection { stream, remote, local } = connection;
        let parked = match T::park(stream) {
            Ok(parked) => parked,
            Err(error) => return give_up(&mut origin, id, &error),
        };
        worker.spawn_fn(move || match T::unpark(parked) {
            Ok(stream) => {
                let connection = Connection { stream, remote, local };
                Session::launch::<T>(env, id, connection, origin, expect);
            }
            Err(error) => give_up(&mut origin, id, &error),
        });
    }
}

fn give_up(origin: &mut Origin, link: LinkId, error: &std::io::Error) {
    tracing::warn!(link = link.0, %error, "a connection could not move to its thread");
    if let Some(dial) = origin.dial.take() {
        dial.settle(None, Some((CloseReason::Unreachable, error.to_string())));
    }
}
