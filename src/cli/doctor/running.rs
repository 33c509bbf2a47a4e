//! Asking the node that runs, if one does.

use std::{net::IpAddr, path::Path, time::Duration};

use peerage::{
    HostPort, NodeId, Role,
    address::Class,
    control::{
        About,
        model::{Configuration, Entry, Journal, NodeInfo, PeerEntry, Peers},
    },
};

use super::{
    finding::{Finding, Verdict},
    reach::Inbound,
};
use crate::cli::{
    client::Client,
    error::Failure,
    file,
    layer::Layers,
    print::node::age,
    resolve::{self, Machine, Settings},
};

/// A node that has run for so long has found others, if it can.
const JOINED: Duration = Duration::from_secs(30);

/// What it says.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) info: NodeInfo,
    pub(super) id: NodeId,
    pub(super) peers: Vec<PeerEntry>,
    /// Why it cannot keep what it learns, if it cannot.
    pub(super) store_failed: Option<Entry>,
    settings: String,
}

/// Whether there is one.
#[derive(Debug)]
pub(super) enum Seen {
    /// No.
    None,
    /// Yes, but it cannot be asked, and why.
    Hidden(String),
    /// Yes.
    Node(Box<Running>),
}

/// Looks for the node that these settings name.
pub(super) fn look(settings: &Settings) -> Seen {
    let dir = settings.storage.data_dir.value.as_deref();
    let token_file = settings.api.token_file.value.as_deref();
    let client = match (dir, token_file) {
        (Some(dir), _) => Client::to(dir, None, None),
        (None, Some(file)) if settings.api.is_explicit() => {
            Client::to(Path::new(""), Some(&settings.api.addr.value.to_string()), Some(file))
        }
        (None, _) => return Seen::None,
    };
    // What does not answer may have ended without a word.
    let is_in_use = dir.is_some_and(|dir| peerage::DataDir::is_in_use(dir).unwrap_or(false));
    match client.and_then(|client| ask(&client)) {
        Ok(running) => Seen::Node(Box::new(running)),
        Err(Failure::NoNode(_) | Failure::Unreachable { .. } | Failure::Token(_)) if !is_in_use => {
            Seen::None
        }
        Err(Failure::NoNode(_)) => Seen::Hidden("it serves no control API".to_owned()),
        Err(failure) => Seen::Hidden(failure.to_string()),
    }
}

fn ask(client: &Client) -> Result<Running, Failure> {
    let info: NodeInfo = client.get("/v1/node", &[])?;
    let peers: Peers = client.get("/v1/peers", &[])?;
    let settings: Configuration = client.get("/v1/config", &[])?;
    let latest = |kind| -> Result<Option<Entry>, Failure> {
        let mut journal: Journal = client.get("/v1/journal", &[("kind", kind), ("limit", "1")])?;
        Ok(journal.entries.pop())
    };
    let recovered = latest("store-recovered")?.map_or(0, |entry| entry.at_ms);
    let store_failed = latest("store-failed")?.filter(|entry| entry.at_ms > recovered);
    let id = info.id.parse().map_err(|_not_an_id| Failure::Answer("it has no id".to_owned()))?;
    Ok(Running { info, id, peers: peers.peers, store_failed, settings: settings.toml })
}

impl Running {
    /// The settings that it runs with.
    pub(super) fn settings(&self, machine: &Machine) -> Result<Settings, Failure> {
        let path = Path::new("the node's settings");
        let layer = file::parse(path, &self.settings)?;
        let layers = Layers { file: Some((path.to_path_buf(), layer)), ..Layers::default() };
        Ok(resolve::resolve(&layers, None, machine)?)
    }

    pub(super) fn uptime(&self) -> Duration {
        Duration::from_millis(self.info.uptime_ms)
    }

    pub(super) fn listen(&self) -> Vec<HostPort> {
        self.info.listen.iter().filter_map(|addr| addr.parse().ok()).collect()
    }

    /// The sessions that others dialled, by where they are.
    pub(super) fn inbound(&self) -> Inbound {
        let mut inbound = Inbound::default();
        for peer in self.peers.iter().filter(|peer| peer.direction == "inbound") {
            match class_of(&peer.remote) {
                Some(Class::Loopback) => inbound.of_this_machine += 1,
                Some(Class::Private) => inbound.of_this_site += 1,
                Some(Class::Public) => inbound.of_elsewhere += 1,
                None => {}
            }
        }
        inbound
    }

    /// The public addresses at which peers elsewhere see it.
    pub(super) fn observed(&self) -> Vec<IpAddr> {
        let elsewhere =
            self.peers.iter().filter(|peer| class_of(&peer.remote) == Some(Class::Public));
        let seen = elsewhere.filter_map(|peer| peer.observed.as_ref()?.parse::<HostPort>().ok());
        let mut ips: Vec<IpAddr> = seen.filter_map(|addr| addr.ip()).collect();
        ips.retain(|ip| Class::of(*ip) == Class::Public);
        ips.sort_unstable();
        ips.dedup();
        ips
    }
}

fn class_of(addr: &str) -> Option<Class> {
    addr.parse::<HostPort>().ok().map(|addr| addr.class())
}

/// How it is with the node itself.
pub(super) fn judge(seen: &Seen, settings: &Settings) -> Finding {
    let found = |verdict, code, text: String| Finding::new("node", verdict, code, text);
    let running = match seen {
        Seen::None => {
            return found(
                Verdict::Note,
                "stopped",
                "none runs: this is about one that would".to_owned(),
            );
        }
        Seen::Hidden(why) => {
            let text = format!("one runs, but cannot be asked: {why}");
            let remedy = "without its word, less can be told; ask as the user that runs it, and without --no-api";
            return found(Verdict::Warn, "not-asked", text).remedy(remedy);
        }
        Seen::Node(running) => running,
    };
    let (pid, uptime, n) = (running.info.pid, running.info.uptime_ms, running.peers.len());
    let text = format!("it runs (process {pid}, for {})", age(uptime));
    let is_first = About::of(&settings.node, String::new()).is_first;
    match n {
        _ if settings.node.role == Role::Introducer => {
            let text = format!("{text} and introduces others: {n} are with it now");
            found(Verdict::Ok, "introducer", text)
        }
        0 if is_first => {
            let text = format!("{text} and waits: it has no peer, and nobody to join through");
            let remedy = "have others join it, or give it a first contact: --bootstrap HOST:PORT";
            found(Verdict::Note, "alone", text).remedy(remedy)
        }
        0 if running.uptime() < JOINED => {
            found(Verdict::Note, "joining", format!("{text} and has no peer yet"))
        }
        0 => found(Verdict::Fail, "no-peers", format!("{text}, but has no peer")).remedy(
            "what is said of the first contacts tells why; `peerage events` shows what it tries",
        ),
        1 => found(Verdict::Ok, "running", format!("{text} and has 1 peer")),
        _ => found(Verdict::Ok, "running", format!("{text} and has {n} peers")),
    }
}
