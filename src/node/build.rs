//! Starts the actors in the order in which they need each other.

use std::{io, sync::Arc};

use actix::prelude::*;
use actix_rt::Arbiter;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;
use tokio::sync::watch;

use super::handle::{Inner, NodeHandle};
use crate::{
    actors::{
        dialer::Dialer,
        discovery::{Discovery, Ports},
        journal::{Journal, JournalPort},
        listener::Listener,
        registry::{Directory, Registry, RegistrySetup, Stop, Subscribe},
        session::{Env, HelloTemplate, Launcher, Workers},
        vital::Watch,
    },
    address::{Bootstrap, Host, HostPort},
    clock::Clock,
    config::{ConfigError, NodeConfig, Security},
    extension::Routes,
    identity::NodeKey,
    ids::NodeId,
    proto::{
        address_book::BookKey,
        credentials::Credentials,
        explorer::{Explorer, ExplorerSetup},
        own_address::{OwnAddress, Settled},
    },
    secure::{Tls, TlsError},
    transport::{Transport, tcp::Tcp},
};

/// Why a node did not start. Nothing was left running.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on: the port is in use, or the address is not this machine's.
    #[error("cannot listen on {addr}: {}", in_words(.source))]
    Listen {
        /// The address.
        addr: HostPort,
        /// The operating system's reason.
        source: io::Error,
    },
    /// TLS could not be set up with the node's key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no actix system on this thread to start actors in.
    #[error("a node must be started inside an actix system (actix_rt::System)")]
    NoSystem,
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not allowed (ports below 1024 need a privilege)".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The way in: [`Node::builder`].
#[derive(Debug)]
pub struct Node;

impl Node {
    /// A node over TCP, to be configured and started.
    #[must_use]
    pub fn builder() -> NodeBuilder<Tcp> {
        let (config, seed) = (NodeConfig::default(), None);
        NodeBuilder { config, transport: Tcp, seed, proven: Vec::new(), key: None }
    }
}

/// A node that has not been started.
#[derive(Debug)]
pub struct NodeBuilder<T = Tcp> {
    config: NodeConfig,
    transport: T,
    seed: Option<u64>,
    proven: Vec<(HostPort, NodeId)>,
    key: Option<NodeKey>,
}

impl<T> NodeBuilder<T> {
    /// Replaces the whole configuration.
    #[must_use]
    pub fn config(self, config: NodeConfig) -> Self {
        Self { config, ..self }
    }

    /// Listens on one more address; port 0 picks a free one.
    #[must_use]
    pub fn listen(mut self, addr: HostPort) -> Self {
        self.config.listen.push(addr);
        self
    }

    /// Has one more first contact.
    #[must_use]
    pub fn bootstrap(mut self, contact: Bootstrap) -> Self {
        self.config.bootstrap.push(contact);
        self
    }

    /// Has this key, and so the id that follows from it. Without one the node makes a fresh key, and
    /// has a new id on each start. A node with [`Security::Off`] uses none.
    #[must_use]
    pub fn key(self, key: NodeKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Takes all randomness from this seed, the node id included: two nodes of one seed are the
    /// same node. Its clock starts at [`Moment::ZERO`](crate::clock::Moment::ZERO). For simulations;
    /// by default the seed is random, and the clock tells the machine's time.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts with addresses that an earlier run has proven, so that the node needs no bootstrap to
    /// find its network again. They are told to others until dead-after has passed, as if they had
    /// been proven at the start; addresses that nobody could dial are left out.
    #[must_use]
    pub fn proven(self, proven: Vec<(HostPort, NodeId)>) -> Self {
        Self { proven, ..self }
    }

    /// Runs over another transport.
    #[must_use]
    pub fn transport<U: Transport>(self, transport: U) -> NodeBuilder<U> {
        let Self { config, seed, proven, key, .. } = self;
        NodeBuilder { config, transport, seed, proven, key }
    }
}

impl<T: Transport + Unpin> NodeBuilder<T> {
    /// Starts the node's actors in the current actix system.
    ///
    /// # Errors
    /// The configuration cannot work, an address cannot be listened on, or there is no actix
    /// system. Nothing was left running.
    pub async fn start(self) -> Result<NodeHandle, StartError> {
        self.config.validate()?;
        System::try_current().ok_or(StartError::NoSystem)?;
        let listeners = self.bind().await?;
        let listening: Vec<HostPort> = listeners.iter().map(|(_, addr)| addr.clone()).collect();
        let Self { config, transport, seed, proven, key } = self;
        let clock = if seed.is_some() { Clock::start_at_zero() } else { Clock::start() };
        let mut rng = ChaCha8Rng::seed_from_u64(seed.unwrap_or_else(rand::random));
        let key = match config.security {
            Security::Off => None,
            _ => Some(key.unwrap_or_else(|| NodeKey::generate(&mut rng))),
        };
        let me = key.as_ref().map_or_else(|| NodeId::random(&mut rng), NodeKey::node_id);
        let tls = key.filter(|_| !T::VOUCHES).map(|key| Tls::new(&key)).transpose()?;
        // From a stream of its own, so that what else is random does not depend on it.
        let mut secret = rng.clone();
        secret.set_stream(1);
        let core = Core::start(me, clock, &config, secret.random());
        let settled = Settled::new(config.advertise.clone(), &listening);
        let setup = ExplorerSetup {
            me,
            config: config.discovery.clone(),
            dead_after: config.liveness.dead_after,
            security: config.security,
            own: OwnAddress::new(settled.clone()),
            book_key: BookKey::new(rng.random()),
            seed: rng.random(),
        };
        let mut explorer = Explorer::new(setup, core.clock.now());
        explorer.take_for_proven(core.clock.now(), &proven);
        let hello = HelloTemplate::new(me, &config, settled);
        let (discovery, dialer, launcher) = core.explore(transport, config, explorer, hello, tls);
        let mut stop_first = core.listen::<T>(listeners, &launcher);
        stop_first.extend([dialer, discovery.clone().recipient()]);
        tracing::debug!(id = %me, "node started");
        Ok(NodeHandle::new(Inner {
            core,
            listening,
            discovery,
            stop_first,
            stopped: watch::Sender::new(false),
        }))
    }

    async fn bind(&self) -> Result<Vec<(T::Listener, HostPort)>, StartError> {
        let mut bound = Vec::new();
        for addr in &self.config.listen {
            let failed = |source| StartError::Listen { addr: addr.clone(), source };
            let exclusive_v6 = self.shares_port_with_v4(addr);
            let listener = self.transport.bind(addr, exclusive_v6).await.map_err(failed)?;
            let addr = T::local_addr(&listener).map_err(failed)?;
            bound.push((listener, addr));
        }
        Ok(bound)
    }

    /// `[::]` alone takes IPv4 as well; beside an IPv4 address of the same port it must not.
    fn shares_port_with_v4(&self, addr: &HostPort) -> bool {
        let is_v4 = |addr: &HostPort| matches!(addr.host(), Host::Ip(ip) if ip.is_ipv4());
        self.config.listen.iter().any(|other| is_v4(other) && other.port() == addr.port())
    }
}

/// What a node has before it finds anybody: the actors that all others report to.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) me: NodeId,
    pub(super) clock: Clock,
    pub(super) watch: Watch,
    pub(super) directory: Directory,
    pub(super) routes: Arc<Routes>,
    pub(super) workers: Arc<Workers>,
    pub(super) registry: Addr<Registry>,
    pub(super) journal: Addr<Journal>,
    pub(super) journal_port: JournalPort,
}

impl Core {
    fn start(me: NodeId, clock: Clock, config: &NodeConfig, key: u64) -> Self {
        let watch = Watch::new();
        let directory = Directory::default();
        let others = (1..config.workers).map(|_| Arbiter::new().handle()).collect();
        let journal = Journal::start(config.journal_entries, Some(watch.guard("journal")));
        let journal_port = JournalPort::new(journal.clone().recipient());
        let (table, notes) = (directory.clone(), journal_port.clone());
        let registry = Registry::new(RegistrySetup {
            limits: config.limits,
            trust: config.trust.clone(),
            bootstrap: config.bootstrap.clone(),
            key,
            vital: Some(watch.guard("registry")),
            ..RegistrySetup::new(me, clock, table, notes)
        })
        .start();
        Self {
            me,
            clock,
            watch,
            directory,
            routes: Arc::default(),
            workers: Arc::new(Workers::new(others)),
            registry,
            journal,
            journal_port,
        }
    }

    /// Starts discovery and its dialer, and makes the launcher of sessions. They form the graph's
    /// one cycle (discovery to dialer to session to discovery), which is tied by making
    /// discovery's context first.
    fn explore<T: Transport + Unpin>(
        &self,
        transport: T,
        config: NodeConfig,
        explorer: Explorer,
        hello: HelloTemplate,
        tls: Option<Tls>,
    ) -> (Addr<Discovery>, Recipient<Stop>, Launcher) {
        let ctx = Context::new();
        let discovery: Addr<Discovery> = ctx.address();
        let bootstrap = config.bootstrap.clone();
        let timeout = config.discovery.dial_timeout;
        let save_interval = config.discovery.save_interval;
        let env = Arc::new(Env {
            me: self.me,
            credentials: Arc::new(Credentials::new(self.me, &config)),
            tls,
            config,
            clock: self.clock,
            hello,
            routes: self.routes.clone(),
            registry: self.registry.clone().recipient(),
            discovery: discovery.clone().recipient(),
            journal: self.journal_port.clone(),
        });
        let launcher = Launcher::new(env, self.workers.clone());
        let dialer = Dialer::new(
            transport,
            launcher.clone(),
            timeout,
            discovery.clone().recipient(),
            discovery.clone().recipient(),
            Some(self.watch.guard("dialer")),
        )
        .start();
        let ports = Ports {
            dial: dialer.clone().recipient(),
            resolve: dialer.clone().recipient(),
            announce: self.registry.clone().recipient(),
            elsewhere: self.registry.clone().recipient(),
            journal: self.journal_port.clone(),
            save: None,
        };
        let vital = Some(self.watch.guard("discovery"));
        ctx.run(Discovery::new(explorer, bootstrap, save_interval, self.clock, ports, vital));
        self.registry.do_send(Subscribe(discovery.clone().recipient()));
        (discovery, dialer.recipient(), launcher)
    }

    fn listen<T: Transport>(
        &self,
        listeners: Vec<(T::Listener, HostPort)>,
        launcher: &Launcher,
    ) -> Vec<Recipient<Stop>> {
        let start = |(listener, addr)| {
            let vital = Some(self.watch.guard("listener"));
            Listener::start::<T>(listener, addr, launcher.clone(), vital).recipient()
        };
        listeners.into_iter().map(start).collect()
    }
}
