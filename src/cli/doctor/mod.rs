//! `peerage doctor`: looks at what a node needs, running or not, and says what is wrong and what to do.
//!
//! What is found out (`probe`, `running`, `machine`) and what that means (`judge` in `port`, `bootstrap`,
//! `clock` and `reach`, which are pure) are kept apart. It changes nothing.

mod bootstrap;
mod clock;
mod finding;
mod machine;
mod port;
mod probe;
mod reach;
mod running;

use std::{io, net::SocketAddr, time::Duration};

use peerage::{
    HostPort, NodeId,
    address::Class,
    clock::Clock,
    transport::{Transport as _, tcp::Tcp},
};
use tokio::time::timeout;

pub(crate) use self::finding::{Finding, Report, Verdict};
use self::{
    bootstrap::{Answer, Contact},
    clock::Clocks,
    port::Port,
    probe::Probe,
    reach::{Experience, Reach},
    running::{Running, Seen},
};
use super::{
    client::dialable,
    error::Failure,
    print,
    resolve::{Machine, Settings},
    run::on_system,
};

/// How long the system may take for a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what uses a port may take to say that it is a node.
const NAME_TIMEOUT: Duration = Duration::from_secs(1);

/// First contacts that are looked at; those beyond are not.
const MAX_CONTACTS: usize = 32;

/// Peers of a running node whose clocks are asked for, if no first contact says.
const MAX_PEERS: usize = 3;

/// Addresses of one name that are dialled.
const MAX_ADDRS: usize = 4;

/// Looks at everything, and prints it. A failure if something does not work.
pub(crate) fn run(typed: Settings, is_json: bool, machine: &Machine) -> Result<(), Failure> {
    let seen = running::look(&typed);
    let mut findings = Vec::new();
    // A running node is judged by what it was told.
    let settings = match &seen {
        Seen::Node(running) => running.settings(machine).unwrap_or_else(|failure| {
            let text = format!(
                "its settings cannot be read here, so those of this command count: {failure}"
            );
            findings.push(
                Finding::new("node", Verdict::Warn, "settings", text)
                    .remedy("ask from the directory in which it was started"),
            );
            typed.clone()
        }),
        Seen::None | Seen::Hidden(_) => typed.clone(),
    };
    let settings = Settings { storage: typed.storage, api: typed.api, ..settings };
    findings.insert(0, running::judge(&seen, &settings));
    findings.push(machine::data_dir(&settings, &seen));
    let mut looked = Vec::new();
    on_system(async {
        looked = look(&settings, &seen).await?;
        Ok(())
    })?;
    findings.extend(looked);
    let node = match seen {
        Seen::Node(running) => Some(running.info.id),
        Seen::None | Seen::Hidden(_) => None,
    };
    let report = Report::new(node, findings);
    print::stdout(&print::doctor::report(&report, is_json))?;
    match report.count(Verdict::Fail) {
        0 => Ok(()),
        failed => Err(Failure::Unwell { failed, of: report.findings.len() }),
    }
}

/// What the network says.
async fn look(settings: &Settings, seen: &Seen) -> Result<Vec<Finding>, Failure> {
    let running = match seen {
        Seen::Node(running) => Some(&**running),
        Seen::None | Seen::Hidden(_) => None,
    };
    let listen = running.map_or_else(|| settings.node.listen.clone(), Running::listen);
    let bound = if running.is_none() { bind(&listen).await } else { Vec::new() };
    let probe = Probe::start(&settings.node).await?;
    let mut ports = Vec::new();
    for (addr, bound) in bound {
        ports.push(port::judge(&addr, free_or_taken(&probe, &addr, bound).await));
    }
    if let Some(running) = running {
        for addr in &listen {
            let there = probe.dial(&within(addr)).await;
            ports.push(port::judge(addr, Port::Dialled(running.id, there)));
        }
    }
    let (contacts, mut agree) = contacts(&probe, settings, &listen, running).await;
    if let (Some(running), true) = (running, agree.is_empty()) {
        agree = agreeing_peers(&probe, running).await;
    }
    let experience = match running {
        Some(running) => Some(experience(&probe, running, settings).await),
        None => None,
    };
    probe.stop().await;
    let dir = settings.storage.data_dir.value.as_deref();
    let now = Clock::start().now().since_epoch();
    let clocks = Clocks { now, newest_file: dir.and_then(machine::newest_file), agree };
    let advertise = settings.node.advertise.clone();
    let reach = Reach { listen, advertise, local: machine::local_addrs(), experience };
    let mut findings = vec![clock::judge(&clocks)];
    // While one runs that cannot be asked, its own places are taken, as they should be.
    if !matches!(seen, Seen::Hidden(_)) {
        findings.append(&mut ports);
    }
    findings.extend(machine::api(settings, seen));
    findings.extend(contacts);
    findings.extend(reach::judge(&reach));
    Ok(findings)
}

/// Takes the places to listen, and gives them back at once.
async fn bind(listen: &[HostPort]) -> Vec<(HostPort, io::Result<()>)> {
    let mut results = Vec::new();
    let mut held = Vec::new();
    for addr in listen {
        let is_v4 = |addr: &HostPort| addr.ip().is_some_and(|ip| ip.is_ipv4());
        let exclusive_v6 = listen.iter().any(|other| is_v4(other) && other.port() == addr.port());
        let bound = Tcp.bind(addr, exclusive_v6).await;
        results.push((addr.clone(), bound.map(|listener| held.push(listener))));
    }
    results
}

async fn free_or_taken(probe: &Probe, addr: &HostPort, bound: io::Result<()>) -> Port {
    match bound {
        Ok(()) => Port::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let there = match timeout(NAME_TIMEOUT, probe.dial(&within(addr))).await {
                Ok(Answer::Node(id)) => Some(id),
                // Another program, or a node that wants no stranger.
                Ok(Answer::Refused(..)) | Err(_) => None,
            };
            Port::Taken(error, there)
        }
        Err(error) => Port::Taken(error, None),
    }
}

/// Where to dial on this machine what listens there.
fn within(addr: &HostPort) -> HostPort {
    addr.socket_addr().map_or_else(|| addr.clone(), |addr| dialable(addr).into())
}

/// The first contacts, and whether the clocks there agree with this one.
async fn contacts(
    probe: &Probe,
    settings: &Settings,
    listen: &[HostPort],
    running: Option<&Running>,
) -> (Vec<Finding>, Vec<bool>) {
    let all = &settings.node.bootstrap;
    let me = running.map(|running| running.id);
    // Side by side: each may take seconds.
    let looks = all.iter().take(MAX_CONTACTS).map(|contact| {
        let is_own = listen.contains(&contact.addr) || settings.node.listen.contains(&contact.addr);
        let (probe, addr) = (probe.clone(), contact.addr.clone());
        actix_rt::spawn(async move {
            if is_own { (Contact::Own, None) } else { dial_contact(&probe, &addr, me).await }
        })
    });
    let looks: Vec<_> = looks.collect();
    let mut came = Vec::new();
    let mut agree = Vec::new();
    for (contact, look) in all.iter().zip(looks) {
        let died = |_| (Contact::Dialled(Vec::new()), None);
        let (what, agrees) = look.await.unwrap_or_else(died);
        came.push((contact, what));
        agree.extend(agrees);
    }
    let answering = came.iter().filter(|(contact, what)| what.answers(contact.id)).count();
    let findings =
        came.iter().map(|(contact, what)| bootstrap::judge(contact, what, answering == 0));
    let mut findings: Vec<Finding> = findings.collect();
    if all.is_empty() && running.is_none() {
        let text = "none: it waits until others join it";
        findings.push(
            Finding::new("bootstrap", Verdict::Note, "none", text)
                .remedy("to join a network: --bootstrap HOST:PORT, where HOST is any node of it"),
        );
    }
    if let Some(beyond) = all.len().checked_sub(MAX_CONTACTS).filter(|n| *n > 0) {
        let text = format!("{beyond} more were not looked at");
        findings.push(Finding::new("bootstrap", Verdict::Note, "too-many", text));
    }
    (findings, agree)
}

async fn dial_contact(
    probe: &Probe,
    addr: &HostPort,
    me: Option<NodeId>,
) -> (Contact, Option<bool>) {
    let addrs: Vec<SocketAddr> = match timeout(RESOLVE_TIMEOUT, Tcp.resolve(addr)).await {
        Ok(Ok(addrs)) => addrs,
        Ok(Err(error)) => return (Contact::Unresolved(error.to_string()), None),
        Err(_) => return (Contact::Unresolved("no answer in 5 s".to_owned()), None),
    };
    let mut answers = Vec::new();
    let mut agrees = None;
    for addr in addrs.into_iter().take(MAX_ADDRS).map(HostPort::from) {
        let answer = probe.dial(&addr).await;
        if let Answer::Node(id) = answer {
            if me == Some(id) {
                return (Contact::Own, None);
            }
            if agrees.is_none() {
                agrees = probe.agrees(id).await;
            }
        }
        answers.push((addr, answer));
    }
    (Contact::Dialled(answers), agrees)
}

/// Whether the clocks of some peers agree with this one.
async fn agreeing_peers(probe: &Probe, running: &Running) -> Vec<bool> {
    let listening = running.peers.iter().filter_map(|peer| peer.listen.as_ref()?.parse().ok());
    let mut agree = Vec::new();
    for addr in listening.take(MAX_PEERS) {
        if let Answer::Node(id) = probe.dial(&addr).await {
            agree.extend(probe.agrees(id).await);
        }
    }
    agree
}

/// What the running node has seen, and what comes of dialling it as others would.
async fn experience(probe: &Probe, running: &Running, settings: &Settings) -> Experience {
    let observed = running.observed();
    let listen = running.listen();
    let wildcard = listen.iter().find(|addr| addr.check_dialable().is_err());
    let seen_at = || {
        let place = SocketAddr::new(*observed.first()?, wildcard?.port());
        Some(HostPort::from(place))
    };
    let told = settings.node.advertise.clone().or_else(seen_at);
    let is_outside = |addr: &HostPort| addr.class() != Class::Loopback;
    let outside = match told.filter(is_outside) {
        Some(addr) => match timeout(RESOLVE_TIMEOUT, Tcp.resolve(&addr)).await {
            Ok(Ok(addrs)) if !addrs.is_empty() => {
                let addr = addrs.first().map_or(addr, |addr| HostPort::from(*addr));
                let answer = probe.dial(&addr).await;
                Some((addr, answer))
            }
            Ok(_) | Err(_) => None,
        },
        None => None,
    };
    let (id, uptime, inbound) = (running.id, running.uptime(), running.inbound());
    Experience { id, uptime, inbound, observed, outside }
}
