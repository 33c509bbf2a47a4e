//! The actors of a node, started in the order in which they need each other.

use std::sync::Arc;

use actix::prelude::*;
use actix_rt::Arbiter;

use crate::{
    actors::{
        dialer::Dialer,
        discovery::{Discovery, Ports, SaveAddresses},
        journal::{Journal, JournalPort},
        listener::Listener,
        registry::{Directory, Registry, RegistrySetup, ReportBans, Subscribe},
        session::{Env, HelloTemplate, Launcher, Workers},
        vital::Watch,
    },
    address::HostPort,
    clock::Clock,
    config::NodeConfig,
    extension::Routes,
    ids::NodeId,
    meters::Meters,
    proto::{bans::Ban, credentials::Credentials, explorer::Explorer},
    secure::Tls,
    store::{Keeper, Store},
    transport::Transport,
};

/// What the actors start with.
pub(super) struct Beginning<'a> {
    pub(super) me: NodeId,
    pub(super) clock: Clock,
    pub(super) config: &'a NodeConfig,
    /// The store that is open, if there is one.
    pub(super) store: Option<Store>,
    /// The bans of earlier runs.
    pub(super) bans: Vec<Ban>,
    /// Which groups of addresses an eviction spares.
    pub(super) eviction_key: u64,
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
    pub(super) keeper: Option<Addr<Keeper>>,
    pub(super) journal: Addr<Journal>,
    pub(super) journal_port: JournalPort,
    pub(super) meters: Arc<Meters>,
}

impl Core {
    pub(super) fn start(beginning: Beginning<'_>) -> Self {
        let Beginning { me, clock, config, store, bans, eviction_key } = beginning;
        let watch = Watch::new();
        let directory = Directory::default();
        let others = (1..config.workers).map(|_| Arbiter::new().handle()).collect();
        let journal = Journal::start(config.journal_entries, Some(watch.guard("journal")));
        let journal_port = JournalPort::new(journal.clone().recipient());
        let keeper = store.map(|store| {
            Keeper::start(store, clock, journal_port.clone(), Some(watch.guard("keeper")))
        });
        let meters = Arc::new(Meters::default());
        let (table, notes) = (directory.clone(), journal_port.clone());
        let registry = Registry::new(RegistrySetup {
            limits: config.limits,
            trust: config.trust.clone(),
            bootstrap: config.bootstrap.clone(),
            bans,
            key: eviction_key,
            store: keeper.clone().map(Addr::recipient),
            vital: Some(watch.guard("registry")),
            ..RegistrySetup::new(me, clock, table, notes)
        })
        .start();
        Self {
            me,
            clock,
            watch,
            directory,
            routes: Arc::new(Routes::counted(meters.traffic.clone())),
            workers: Arc::new(Workers::new(others)),
            registry,
            keeper,
            journal,
            journal_port,
            meters,
        }
    }

    /// Starts discovery and its dialer, and makes the launcher of sessions. They form the graph's
    /// one cycle (discovery to dialer to session to discovery), which is tied by making
    /// discovery's context first.
    pub(super) fn explore<T: Transport + Unpin>(
        &self,
        transport: T,
        config: NodeConfig,
        explorer: Explorer,
        hello: HelloTemplate,
        tls: Option<Tls>,
    ) -> (Addr<Discovery>, Addr<Dialer<T>>, Launcher) {
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
            meters: self.meters.clone(),
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
            bootstrap_resolved: self.registry.clone().recipient(),
            journal: self.journal_port.clone(),
            save: self.keeper.clone().map(Addr::recipient::<SaveAddresses>),
        };
        let vital = Some(self.watch.guard("discovery"));
        ctx.run(Discovery::new(explorer, bootstrap, save_interval, self.clock, ports, vital));
        self.registry.do_send(Subscribe(discovery.clone().recipient()));
        self.registry.do_send(ReportBans(discovery.clone().recipient()));
        (discovery, dialer, launcher)
    }

    pub(super) fn listen<T: Transport>(
        &self,
        listeners: Vec<(T::Listener, HostPort)>,
        launcher: &Launcher,
    ) -> Vec<Addr<Listener>> {
        let start = |(listener, addr)| {
            let vital = Some(self.watch.guard("listener"));
            Listener::start::<T>(listener, addr, launcher.clone(), vital)
        };
        listeners.into_iter().map(start).collect()
    }
}
