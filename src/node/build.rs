//! Starts the actors in the order in which they need each other.

use std::{io, sync::Arc};

use actix::prelude::*;
use actix_rt::Arbiter;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use super::handle::{Inner, NodeHandle};
use crate::{
    actors::{
        dialer::Dialer,
        discovery::{Discovery, Ports},
        journal::{Journal, JournalPort},
        listener::Listener,
        registry::{Directory, Registry, Subscribe},
        session::{Env, HelloTemplate, Launcher, Workers},
        vital::Watch,
    },
    address::{Host, HostPort},
    clock::Clock,
    config::{ConfigError, NodeConfig},
    extension::Routes,
    ids::NodeId,
    proto::{
        explorer::Explorer,
        own_address::{OwnAddress, Settled},
    },
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
        NodeBuilder { config: NodeConfig::default(), transport: Tcp, seed: rand::random() }
    }
}

/// A node that has not been started.
#[derive(Debug)]
pub struct NodeBuilder<T = Tcp> {
    config: NodeConfig,
    transport: T,
    seed: u64,
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
    pub fn bootstrap(mut self, addr: HostPort) -> Self {
        self.config.bootstrap.push(addr);
        self
    }

    /// Takes all randomness from this seed, the node id included: two nodes of one seed are the
    /// same node. For simulations; by default the seed is random.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Runs over another transport.
    #[must_use]
    pub fn transport<U: Transport>(self, transport: U) -> NodeBuilder<U> {
        NodeBuilder { config: self.config, transport, seed: self.seed }
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
        let Self { config, transport, seed } = self;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let me = NodeId::random(&mut rng);
        let clock = Clock::start();
        let settled = Settled::new(config.advertise.clone(), &listening);
        let explorer = Explorer::new(
            me,
            config.discovery.clone(),
            config.liveness.dead_after,
            OwnAddress::new(settled.clone()),
            rng.random(),
            clock.now(),
        );
        let hello = HelloTemplate::new(me, &config, settled);
        let inner = wire_up(me, clock, config, transport, explorer, hello, listeners, listening);
        tracing::debug!(id = %me, "node started");
        Ok(NodeHandle::new(inner))
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

/// The graph of `actors/mod.rs`. The one cycle, discovery to dialer to session to discovery, is
/// tied by making discovery's context first.
fn wire_up<T: Transport + Unpin>(
    me: NodeId,
    clock: Clock,
    config: NodeConfig,
    transport: T,
    explorer: Explorer,
    hello: HelloTemplate,
    listeners: Vec<(T::Listener, HostPort)>,
    listening: Vec<HostPort>,
) -> Inner {
    let watch = Watch::new();
    let directory = Directory::default();
    let routes = Arc::new(Routes::default());
    let others = (1..config.workers).map(|_| Arbiter::new().handle()).collect();
    let workers = Arc::new(Workers::new(others));

    let journal_addr = Journal::start(config.journal_entries, Some(watch.guard("journal")));
    let journal = JournalPort::new(journal_addr.clone().recipient());
    let vital = Some(watch.guard("registry"));
    let registry =
        Registry::new(me, config.limits, clock, directory.clone(), journal.clone(), vital).start();
    let mut launcher = None;
    let mut dialer_stop = None;
    let discovery = Discovery::create(|ctx| {
        let env = Arc::new(Env {
            me,
            clock,
            hello,
            routes: routes.clone(),
            registry: registry.clone().recipient(),
            discovery: ctx.address().recipient(),
            journal: journal.clone(),
            config: config.clone(),
        });
        let sessions = launcher.insert(Launcher::new(env, workers.clone())).clone();
        let dialer = Dialer::new(
            transport,
            sessions,
            config.discovery.dial_timeout,
            ctx.address().recipient(),
            ctx.address().recipient(),
            Some(watch.guard("dialer")),
        )
        .start();
        dialer_stop = Some(dialer.clone().recipient());
        let ports = Ports {
            dial: dialer.clone().recipient(),
            resolve: dialer.recipient(),
            announce: registry.clone().recipient(),
            journal: journal.clone(),
        };
        Discovery::new(explorer, config.bootstrap, clock, ports, Some(watch.guard("discovery")))
    });
    registry.do_send(Subscribe(discovery.clone().recipient()));

    let mut stop_first = Vec::new();
    if let Some(launcher) = launcher {
        for (listener, addr) in listeners {
            let vital = Some(watch.guard("listener"));
            let listener = Listener::start::<T>(listener, addr, launcher.clone(), vital);
            stop_first.push(listener.recipient());
        }
    }
    stop_first.extend(dialer_stop);
    stop_first.push(discovery.clone().recipient());
    Inner {
        me,
        listening,
        clock,
        watch,
        directory,
        routes,
        registry,
        discovery,
        journal: journal_addr,
        journal_port: journal,
        stop_first,
        workers,
    }
}
