//! What a node is started with, and the start.

use std::{io, path::PathBuf};

use actix::prelude::*;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;
use tokio::sync::watch;

use super::{
    core::{Beginning, Core},
    handle::{Inner, NodeHandle},
};
use crate::{
    actors::session::HelloTemplate,
    address::{Bootstrap, Host, HostPort},
    clock::Clock,
    config::{ConfigError, NodeConfig, Role, Security},
    identity::NodeKey,
    ids::NodeId,
    proto::{
        address_book::BookKey,
        bans::Verdict,
        explorer::{Explorer, ExplorerSetup},
        own_address::{OwnAddress, Settled},
    },
    secure::{Tls, TlsError},
    store::{Kept, Opened, Store, StoreError},
    transport::{Transport, tcp::Tcp},
    wire::{
        ATTACH, INTRODUCE,
        frame::{MAX_FEATURES, check_text},
    },
};

/// Why a node did not start. Nothing was left running.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A hello cannot say this feature.
    #[error("the feature {0:?} is not of 1 to 64 printable bytes")]
    BadFeature(&'static str),
    /// The program has more features than a hello can say.
    #[error("a node has at most {} features besides the core's", MAX_FEATURES - 1)]
    TooManyFeatures,
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
    /// The file of addresses and bans cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
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
        NodeBuilder {
            config,
            transport: Tcp,
            seed,
            clock: None,
            features: Vec::new(),
            proven: Vec::new(),
            key: None,
            store: None,
        }
    }
}

/// A node that has not been started.
#[derive(Debug)]
pub struct NodeBuilder<T = Tcp> {
    config: NodeConfig,
    transport: T,
    seed: Option<u64>,
    clock: Option<Clock>,
    features: Vec<&'static str>,
    proven: Vec<(HostPort, NodeId)>,
    key: Option<NodeKey>,
    store: Option<PathBuf>,
}

impl<T> NodeBuilder<T> {
    /// Replaces the whole configuration.
    #[must_use]
    pub fn config(self, config: NodeConfig) -> Self {
        Self { config, ..self }
    }

    /// What the node is to be there for.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.config.role
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

    /// Keeps in this file what outlives a run: the addresses it knows, so that the node needs no
    /// bootstrap to find its network again, and the bans. It is made if it is missing. Without one
    /// the node touches no disk.
    #[must_use]
    pub fn store(self, path: PathBuf) -> Self {
        Self { store: Some(path), ..self }
    }

    /// Takes all randomness from this seed, the node id included: two nodes of one seed are the
    /// same node. Unless it is given a [`clock`](Self::clock), its own starts at
    /// [`Moment::ZERO`](crate::clock::Moment::ZERO). For simulations; by default all randomness is the
    /// operating system's, and the clock tells the machine's time.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Tells the time by this clock. For simulations, whose nodes are to agree on it.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Says in its hello that it can do this, beyond the core; a peer finds it in
    /// [`PeerInfo::features`](crate::PeerInfo::features). For extensions, whose messages are of use only
    /// to nodes that know them. Printable, and at most 64 bytes; a node says up to 32, of which one is
    /// the core's own. Said twice is said once.
    #[must_use]
    pub fn feature(mut self, feature: &'static str) -> Self {
        if !self.features.contains(&feature) && feature != ATTACH {
            self.features.push(feature);
        }
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
        let Self { config, seed, clock, features, proven, key, store, .. } = self;
        NodeBuilder { config, transport, seed, clock, features, proven, key, store }
    }
}

impl<T: Transport + Unpin> NodeBuilder<T> {
    /// Starts the node's actors in the current actix system.
    ///
    /// # Errors
    /// The configuration cannot work, an address cannot be listened on, the store cannot be used,
    /// or there is no actix system. Nothing was left running.
    pub async fn start(self) -> Result<NodeHandle, StartError> {
        match self.config.role {
            Role::Peer => self.start_saying_so().await,
            Role::Introducer => self.feature(INTRODUCE).start_saying_so().await,
        }
    }

    /// Starts, when what the node says of its role is among its features.
    async fn start_saying_so(self) -> Result<NodeHandle, StartError> {
        self.config.validate()?;
        validate_features(&self.features)?;
        System::try_current().ok_or(StartError::NoSystem)?;
        let listeners = self.bind().await?;
        let listening: Vec<HostPort> = listeners.iter().map(|(_, addr)| addr.clone()).collect();
        let Self { config, transport, seed, clock, features, proven, key, store } = self;
        let clock = clock.unwrap_or_else(|| own_clock(seed));
        let mut rng = seed.map_or_else(ChaCha8Rng::from_os_rng, ChaCha8Rng::seed_from_u64);
        let is_keyed = !matches!(config.security, Security::Off);
        let key = is_keyed.then(|| key.unwrap_or_else(|| NodeKey::generate(&mut rng)));
        let me = key.as_ref().map_or_else(|| NodeId::random(&mut rng), NodeKey::node_id);
        let tls = key.as_ref().filter(|_| !T::VOUCHES).map(Tls::new).transpose()?;
        let (store, kept) = open(store, rng.random(), clock).await?;
        let core = Core::start(Beginning {
            me,
            clock,
            config: &config,
            store,
            bans: kept.bans.clone(),
            eviction_key: rng.random(),
        });
        let settled = Settled::new(config.advertise.clone(), &listening);
        let setup = ExplorerSetup {
            me,
            config: config.discovery.clone(),
            dead_after: config.liveness.dead_after,
            security: config.security,
            introduction: (config.role == Role::Introducer).then_some(config.introduction),
            own: OwnAddress::new(settled.clone()),
            book_key: BookKey::new(kept.secret),
            seed: rng.random(),
        };
        let mut explorer = Explorer::new(setup, core.clock.now());
        for ban in &kept.bans {
            // The registry tells the same, but not before the first dials.
            explorer.shun(core.clock.now(), ban.target, ban.until, Verdict::Banned);
        }
        explorer.remember(core.clock.now(), kept.addresses);
        explorer.take_for_proven(core.clock.now(), &proven);
        let hello =
            HelloTemplate::new(me, &config, settled, &features).map_err(ConfigError::Tags)?;
        let tags = hello.tags().clone();
        let (discovery, dialer, launcher) = core.explore(transport, config, explorer, hello, tls);
        let listeners = core.listen::<T>(listeners, &launcher);
        let first = [dialer.clone().recipient(), discovery.clone().recipient()];
        let stop_first = listeners.iter().cloned().map(Addr::recipient).chain(first).collect();
        tracing::debug!(id = %me, "node started");
        Ok(NodeHandle::new(Inner {
            core,
            tags,
            key,
            rng: Mutex::new(ChaCha8Rng::from_rng(&mut rng)),
            listening,
            discovery,
            dialer: dialer.recipient(),
            listeners,
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

/// The clock of a node that was given none: a node with a seed is to repeat itself.
fn own_clock(seed: Option<u64>) -> Clock {
    if seed.is_some() { Clock::start_at_zero() } else { Clock::start() }
}

fn validate_features(features: &[&'static str]) -> Result<(), StartError> {
    if features.len() >= MAX_FEATURES {
        return Err(StartError::TooManyFeatures);
    }
    let is_bad = |text: &&&str| text.is_empty() || check_text(text).is_err();
    features.iter().find(is_bad).map_or(Ok(()), |bad| Err(StartError::BadFeature(bad)))
}

/// Opens the store, if there is to be one, off this thread: a disk may take its time.
async fn open(
    path: Option<PathBuf>,
    secret: [u8; 32],
    clock: Clock,
) -> Result<(Option<Store>, Kept), StartError> {
    let Some(path) = path else {
        return Ok((None, Kept { secret, ..Kept::default() }));
    };
    let now = clock.now();
    let opening = tokio::task::spawn_blocking(move || Store::open(&path, secret, now));
    let Opened { store, kept, set_aside } = opening.await.or(Err(StartError::NoSystem))??;
    if let Some(set_aside) = set_aside {
        tracing::warn!("{set_aside}");
    }
    if kept.skipped > 0 {
        tracing::warn!(skipped = kept.skipped, "some of what was kept makes no sense");
    }
    Ok((Some(store), kept))
}
