//! The thread of mdns-sd, which speaks multicast DNS, from its start to its goodbye.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use mdns_sd::{
    DaemonEvent, IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use socket2::{Domain, Socket, Type};
use tokio::time::timeout;

use super::announcement::{At, FIELDS, SERVICE, Scope, Service, Sighting};

/// How many addresses of one announcement are kept for the judgement.
const MAX_IPS: usize = 64;

/// How long the thread has to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// How long it has to say goodbye. A node promises to stop within two seconds.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why there is no search, or no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// A stable code for the journal.
    pub(super) code: &'static str,
    /// In words.
    pub(super) detail: String,
}

impl Trouble {
    pub(super) fn new(code: &'static str, detail: impl ToString) -> Self {
        Self { code, detail: detail.to_string() }
    }
}

/// What the thread tells.
#[derive(Debug)]
pub(super) enum Heard {
    /// Somebody announces a service, or says something new of it.
    Seen(Sighting),
    /// A service is gone.
    Gone(String),
    /// This node's own was announced.
    Announced,
    /// Nothing that matters.
    Nothing,
    /// There will be no more.
    Over,
}

/// A search, and what is announced meanwhile.
pub(super) struct Daemon {
    mdns: ServiceDaemon,
    services: Receiver<ServiceEvent>,
    own: Receiver<DaemonEvent>,
}

impl Daemon {
    /// Begins to search, and announces these services with this text.
    pub(super) fn start(
        port: u16,
        scope: Scope,
        name: &str,
        services: &[Service],
        text: &[(&'static str, String)],
    ) -> Result<Self, Trouble> {
        check_socket(port)?;
        let failed = |error| Trouble::new("lan-not-started", error);
        let mdns = ServiceDaemon::new_with_port(port).map_err(failed)?;
        let started = Self::begin(&mdns, scope, name, services, text);
        match started {
            Ok((found, own)) => Ok(Self { mdns, services: found, own }),
            Err(error) => {
                // The thread ends by itself after that.
                let _ending = mdns.shutdown();
                Err(failed(error))
            }
        }
    }

    fn begin(
        mdns: &ServiceDaemon,
        scope: Scope,
        name: &str,
        services: &[Service],
        text: &[(&'static str, String)],
    ) -> mdns_sd::Result<(Receiver<ServiceEvent>, Receiver<DaemonEvent>)> {
        let loopback = vec![IfKind::LoopbackV4, IfKind::LoopbackV6];
        match scope {
            Scope::Lan => mdns.disable_interface(loopback)?,
            Scope::Loopback => {
                mdns.disable_interface(IfKind::All)?;
                mdns.enable_interface(loopback)?;
            }
        }
        let own = mdns.monitor()?;
        for service in services {
            mdns.register(info(service, name, text)?)?;
        }
        Ok((mdns.browse(SERVICE)?, own))
    }

    /// What comes next. Nothing is lost if it is not waited for.
    pub(super) async fn next(&self) -> Heard {
        tokio::select! {
            event = self.services.recv_async() => match event {
                Ok(ServiceEvent::ServiceResolved(service)) => Heard::Seen(sighting(&service)),
                Ok(ServiceEvent::ServiceRemoved(_, name)) => Heard::Gone(name),
                Ok(ServiceEvent::SearchStopped(_)) | Err(_) => Heard::Over,
                Ok(_) => Heard::Nothing,
            },
            event = self.own.recv_async() => match event {
                Ok(DaemonEvent::Announce(..)) => Heard::Announced,
                Ok(DaemonEvent::Error(error)) => {
                    tracing::debug!(%error, "mdns-sd");
                    Heard::Nothing
                }
                Ok(_) => Heard::Nothing,
                Err(_) => Heard::Over,
            },
        }
    }

    /// How many records it remembers; `None` if it does not answer.
    pub(super) async fn remembered(&self) -> Option<u64> {
        let asked = self.mdns.get_metrics().ok()?;
        let metrics = timeout(ANSWER, asked.recv_async()).await.ok()?.ok()?;
        let cached = metrics.iter().filter(|(name, _)| name.starts_with("cached-"));
        Some(cached.map(|(_, n)| u64::try_from(*n).unwrap_or(0)).sum())
    }

    /// Says goodbye for what was announced, and ends.
    pub(super) async fn stop(self) {
        let Ok(ended) = self.mdns.shutdown() else { return };
        if timeout(GOODBYE, ended.recv_async()).await.is_err() {
            tracing::debug!("mdns-sd did not end in time");
        }
    }
}

/// mdns-sd tells nobody that it has no socket; so one is tried before.
fn check_socket(port: u16) -> Result<(), Trouble> {
    let bind = |addr: SocketAddr| {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        #[cfg(all(unix, not(target_os = "solaris")))]
        socket.set_reuse_port(true)?;
        socket.bind(&addr.into())
    };
    let v4 = bind((Ipv4Addr::UNSPECIFIED, port).into());
    let v6 = bind((Ipv6Addr::UNSPECIFIED, port).into());
    match (v4, v6) {
        (Err(error), Err(_)) => {
            let detail = format!("cannot open the multicast socket at UDP port {port}: {error}");
            Err(Trouble::new("lan-no-socket", detail))
        }
        _ => Ok(()),
    }
}

fn info(
    service: &Service,
    name: &str,
    text: &[(&'static str, String)],
) -> mdns_sd::Result<ServiceInfo> {
    let ips: &[std::net::IpAddr] = match &service.at {
        At::Only(ips) => ips,
        At::All | At::AllV4 => &[],
    };
    // Another port may be reached at other addresses, which a host's name says.
    let name = format!("{name}-{}", service.port);
    let host = format!("{name}.local.");
    let mut info = ServiceInfo::new(SERVICE, &name, &host, ips, service.port, text)?;
    // The names have the node's id in them.
    info.set_requires_probe(false);
    Ok(match service.at {
        At::Only(_) => info,
        At::All => info.enable_addr_auto(),
        At::AllV4 => {
            info.set_interfaces(vec![IfKind::IPv4]);
            info.enable_addr_auto()
        }
    })
}

fn sighting(service: &ResolvedService) -> Sighting {
    let said = |field| Some((field, service.get_property_val_str(field)?.to_owned()));
    let mut ips: Vec<_> = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect();
    ips.sort_unstable();
    ips.truncate(MAX_IPS);
    Sighting {
        name: service.fullname.clone(),
        text: FIELDS.into_iter().filter_map(said).collect(),
        port: service.port,
        ips,
    }
}
