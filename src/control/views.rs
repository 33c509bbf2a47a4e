//! What a node says of itself, read from its actors.

use std::collections::BTreeSet;

use super::{
    Control,
    find::{Subject, find_id, find_subject},
    hub::ListTopics,
    model::{
        Address, Addresses, ApiError, BanEntry, Bans, Code, Discouragement, Entry, Journal,
        NodeInfo, PeerEntry, Peers, Readiness, Why, at, millis,
    },
};
use crate::{BookEntry, HostPort, JournalQuery, Kind, NodeId, PeerInfo, Target, clock::Moment};

/// The most decisions that are told at a time.
pub const MAX_ENTRIES: usize = 1000;

/// The most decisions in an explanation.
const WHY_ENTRIES: usize = 100;

/// Which decisions are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalFilter {
    /// Those about this node: its id, or how no other known one begins.
    pub id: Option<String>,
    /// Those about this address, or about this IP address at any port.
    pub addr: Option<String>,
    /// Those of this kind.
    pub kind: Option<String>,
    /// Those from this time on, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// No more than so many, the latest; [`MAX_ENTRIES`] at most.
    pub limit: Option<usize>,
}

impl Control {
    /// The node itself.
    pub async fn info(&self) -> NodeInfo {
        let node = self.node();
        let (peers, book, bans) = (node.peers().await, node.addresses().await, node.bans().await);
        let now = node.clock().now();
        let about = &self.about;
        NodeInfo {
            id: node.id().to_string(),
            public_key: node.key().map(|key| key.public().to_string()),
            agent: about.agent.clone(),
            network: about.network.clone(),
            role: about.role.clone(),
            security: about.security.clone(),
            listen: node.listen_addrs().iter().map(ToString::to_string).collect(),
            advertise: about.advertise.clone(),
            tags: node.tags(),
            pid: std::process::id(),
            started_ms: at(self.started),
            uptime_ms: millis(now.since(self.started)),
            peers: peers.len(),
            addresses: book.iter().filter(|entry| !entry.own).count(),
            bans: bans.len(),
            topics: self.hub.send(ListTopics).await.unwrap_or_default(),
            journal_lost: node.journal_lost(),
        }
    }

    /// Whether the node can be used.
    pub async fn readiness(&self) -> Readiness {
        let peers = self.node().peers().await.len();
        let listening = !self.about.listens || !self.node().listen_addrs().is_empty();
        let is_first = self.about.is_first;
        Readiness { ready: listening && (peers > 0 || is_first), listening, peers, is_first }
    }

    /// The connected peers.
    pub async fn peers(&self) -> Peers {
        let (peers, now) = (self.node().peers().await, self.node().clock().now());
        Peers { peers: peers.iter().map(|peer| PeerEntry::of(peer, now)).collect() }
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of this id, or several whose ids begin so.
    pub async fn peer(&self, id: &str) -> Result<PeerEntry, ApiError> {
        let peers = self.node().peers().await;
        let id = find_id(id, &peers.iter().map(|peer| peer.id).collect())?;
        let peer = peers.iter().find(|peer| peer.id == id);
        let absent = || ApiError::new(Code::NotFound, format!("{id} is not connected"));
        peer.map(|peer| PeerEntry::of(peer, self.node().clock().now())).ok_or_else(absent)
    }

    /// The known addresses.
    pub async fn addresses(&self) -> Addresses {
        Addresses { addresses: self.node().addresses().await.iter().map(Into::into).collect() }
    }

    /// What the node decided.
    ///
    /// # Errors
    /// The filter names something that does not exist.
    pub async fn journal(&self, filter: &JournalFilter) -> Result<Journal, ApiError> {
        let mut query = JournalQuery {
            since: filter.since_ms.map(|ms| Moment::after(std::time::Duration::from_millis(ms))),
            limit: Some(filter.limit.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES)),
            ..JournalQuery::default()
        };
        if let Some(id) = &filter.id {
            query.peer = Some(find_id(id, &self.known().await)?);
        }
        if let Some(addr) = &filter.addr {
            match (addr.parse::<HostPort>(), addr.parse()) {
                (Ok(addr), _) => query.addr = Some(addr),
                (_, Ok(ip)) => query.ip = Some(ip),
                _ => {
                    let message = format!("{addr:?} is neither host:port nor an IP address");
                    return Err(ApiError::new(Code::BadRequest, message));
                }
            }
        }
        if let Some(kind) = &filter.kind {
            let unknown = || {
                let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
                let message = format!("no kind is called {kind:?}; they are {}", all.join(", "));
                ApiError::new(Code::BadRequest, message)
            };
            query.kind = Some(Kind::from_code(kind).ok_or_else(unknown)?);
        }
        let entries = self.node().journal(query).await;
        let lost = self.node().journal_lost();
        Ok(Journal { entries: entries.iter().map(Into::into).collect(), lost })
    }

    /// Who is not wanted.
    pub async fn bans(&self) -> Bans {
        let (bans, discouraged) = (self.node().bans().await, self.node().discouraged().await);
        Bans {
            bans: bans.iter().map(Into::into).collect(),
            discouraged: discouraged
                .into_iter()
                .map(|(target, until)| Discouragement::of(target, until))
                .collect(),
        }
    }

    /// All that is known and was done about a node or an address.
    ///
    /// # Errors
    /// It is neither, or several ids begin so.
    pub async fn why(&self, subject: &str) -> Result<Why, ApiError> {
        let (peers, book) = (self.node().peers().await, self.node().addresses().await);
        let subject = find_subject(subject, &ids(self.node().id(), &peers, &book))?;
        let (id, addr) = match subject {
            Subject::Node(id) => (Some(id), None),
            Subject::Addr(addr) => {
                let there = book.iter().find(|entry| entry.addr == addr).and_then(|entry| entry.id);
                (there, Some(addr))
            }
        };
        let is_meant = |entry: &&BookEntry| match &addr {
            Some(addr) => entry.addr == *addr,
            None => entry.id == id,
        };
        let addresses: Vec<&BookEntry> = book.iter().filter(is_meant).collect();
        let peer = peers.iter().find(|peer| match &addr {
            Some(addr) => peer.remote == *addr || peer.listen.as_ref() == Some(addr),
            None => Some(peer.id) == id,
        });
        let places = addr.iter().chain(addresses.iter().map(|entry| &entry.addr));
        let ips: BTreeSet<_> =
            places.chain(peer.map(|peer| &peer.remote)).filter_map(HostPort::ip).collect();
        let covers = |target: &Target| {
            target.covers(id, None) || ips.iter().any(|ip| target.covers(None, Some(*ip)))
        };
        let known: Vec<HostPort> = addresses.iter().map(|entry| entry.addr.clone()).collect();
        let entries = self.entries(id, addr.as_ref(), &known).await;
        let now = self.node().clock().now();
        Ok(Why {
            id: id.map(|id| id.to_string()),
            addr: addr.as_ref().map(ToString::to_string),
            is_self: id == Some(self.node().id()) || addresses.iter().any(|entry| entry.own),
            peer: peer.map(|peer| PeerEntry::of(peer, now)),
            addresses: addresses.into_iter().map(Address::from).collect(),
            bans: self
                .node()
                .bans()
                .await
                .iter()
                .filter(|ban| covers(&ban.target))
                .map(BanEntry::from)
                .collect(),
            discouraged: self
                .node()
                .discouraged()
                .await
                .into_iter()
                .filter(|(target, _)| covers(target))
                .map(|(target, until)| Discouragement::of(target, until))
                .collect(),
            entries,
            now_ms: at(now),
        })
    }

    /// The latest decisions about a node or any of its addresses, or about one address.
    async fn entries(
        &self,
        id: Option<NodeId>,
        addr: Option<&HostPort>,
        known: &[HostPort],
    ) -> Vec<Entry> {
        let is_meant = |decision: &crate::Decision| match (addr, &decision.addr) {
            (Some(addr), Some(about)) => about == addr,
            (Some(_), None) => false,
            (None, about) => {
                decision.peer == id && id.is_some()
                    || decision.peer.is_none()
                        && about.as_ref().is_some_and(|about| known.contains(about))
            }
        };
        let all = self.node().journal(JournalQuery::default()).await;
        let mut found: Vec<Entry> = all
            .iter()
            .rev()
            .filter(|decision| is_meant(decision))
            .take(WHY_ENTRIES)
            .map(Entry::from)
            .collect();
        found.reverse();
        found
    }

    /// The ids that a shortened one may stand for.
    pub(super) async fn known(&self) -> BTreeSet<NodeId> {
        let (peers, book) = (self.node().peers().await, self.node().addresses().await);
        ids(self.node().id(), &peers, &book)
    }
}

fn ids(own: NodeId, peers: &[PeerInfo], book: &[BookEntry]) -> BTreeSet<NodeId> {
    let peers = peers.iter().map(|peer| peer.id);
    peers.chain(book.iter().filter_map(|entry| entry.id)).chain([own]).collect()
}
