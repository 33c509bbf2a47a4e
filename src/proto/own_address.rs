//! Which address this node tells others to dial.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crate::address::{Group, HostPort};

/// How many peers' reports are kept; the oldest reporter's is dropped.
const MAX_REPORTS: usize = 32;

/// How many peers must report the same address before it is believed over the local one: one
/// liar, or one peer behind the same NAT, is not enough.
const QUORUM: usize = 2;

/// What the operator settled about the node's address: all of it, or only ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// What is advertised, else a specific listening address.
    pub fixed: Option<HostPort>,
    /// The unspecific listening addresses.
    wildcards: Vec<HostPort>,
}

impl Settled {
    /// From what the operator advertises and the addresses that are listened on.
    #[must_use]
    pub fn new(advertise: Option<HostPort>, listening: &[HostPort]) -> Self {
        let is_specific = |addr: &&HostPort| addr.check_dialable().is_ok();
        let fixed = advertise.or_else(|| listening.iter().find(is_specific).cloned());
        let wildcards = listening.iter().filter(|addr| !is_specific(addr)).cloned().collect();
        Self { fixed, wildcards }
    }

    /// Where the node is reached by this address of its machine: at the wildcard of its family, or
    /// for IPv4 at `[::]`, which takes both unless there is one for IPv4 beside it.
    #[must_use]
    pub fn reached_by(&self, ip: IpAddr) -> Option<HostPort> {
        let of_family = |v4: bool| {
            self.wildcards.iter().find(|addr| addr.ip().is_some_and(|ip| ip.is_ipv4() == v4))
        };
        let wildcard = of_family(ip.is_ipv4()).or_else(|| of_family(false))?;
        Some(SocketAddr::new(ip, wildcard.port()).into())
    }
}

/// Collects what is known about this node's own address. In order: what the operator advertises;
/// a specific listening address; the address that most peers report, if at least two do; the
/// local address of an outbound connection. The port is always the listening one, since the port
/// that a peer sees of an outbound connection is ephemeral.
#[derive(Debug)]
pub struct OwnAddress {
    settled: Settled,
    local: Option<IpAddr>,
    /// By the group of who reports: ids and neighbouring addresses cost nothing.
    reports: BTreeMap<Group, (u64, IpAddr)>,
    n_reports: u64,
}

impl OwnAddress {
    /// From what the operator settled.
    #[must_use]
    pub const fn new(settled: Settled) -> Self {
        Self { settled, local: None, reports: BTreeMap::new(), n_reports: 0 }
    }

    /// Whether the operator has settled the whole address; else it is what others see.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled.fixed.is_some()
    }

    /// An outbound connection left from this address.
    pub fn local(&mut self, addr: &HostPort) {
        self.local = addr.ip().or(self.local);
    }

    /// A peer at an address says that it sees this node at another.
    pub fn reported(&mut self, by: &HostPort, addr: &HostPort) {
        let usable = addr.with_port(1).check_dialable().is_ok();
        if let Some(ip) = addr.ip().filter(|_| usable) {
            self.reports.insert(Group::of(by), (self.n_reports, ip));
            self.n_reports += 1;
        }
        if self.reports.len() > MAX_REPORTS
            && let Some(oldest) =
                self.reports.iter().min_by_key(|(_, (n, _))| *n).map(|(by, _)| by.clone())
        {
            self.reports.remove(&oldest);
        }
    }

    /// The address to tell others; none if nothing listens or nothing is known.
    #[must_use]
    pub fn current(&self) -> Option<HostPort> {
        if self.settled.fixed.is_some() {
            return self.settled.fixed.clone();
        }
        let mut votes = BTreeMap::<IpAddr, usize>::new();
        for (_, ip) in self.reports.values() {
            *votes.entry(*ip).or_default() += 1;
        }
        let voted = votes.into_iter().max_by_key(|(_, n)| *n).filter(|(_, n)| *n >= QUORUM);
        let ip = voted.map(|(ip, _)| ip).or(self.local)?;
        self.settled.reached_by(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    fn settled_on(advertise: Option<HostPort>, listening: &[HostPort]) -> OwnAddress {
        OwnAddress::new(Settled::new(advertise, listening))
    }

    fn by(n: u32) -> HostPort {
        addr(&format!("{}.{}.0.1:1", 20 + n / 250, n % 250))
    }

    #[test]
    fn what_the_operator_says_comes_first_then_a_specific_listening_address() {
        let listening = [addr("0.0.0.0:5999"), addr("192.0.2.1:6000")];
        let own = settled_on(Some(addr("node.example:1")), &listening);
        assert_eq!(own.current(), Some(addr("node.example:1")));
        assert_eq!(settled_on(None, &listening).current(), Some(addr("192.0.2.1:6000")));
    }

    #[test]
    fn two_reports_beat_the_local_address_and_one_does_not() {
        let mut own = settled_on(None, &[addr("0.0.0.0:5999")]);
        assert_eq!(own.current(), None);
        own.local(&addr("10.0.0.7:40000"));
        own.reported(&addr("203.0.113.1:1"), &addr("198.51.100.9:40000"));
        own.reported(&addr("203.0.200.2:1"), &addr("198.51.100.9:40001"));
        assert_eq!(own.current(), Some(addr("10.0.0.7:5999")));
        own.reported(&addr("192.0.2.1:1"), &addr("198.51.100.9:40002"));
        assert_eq!(own.current(), Some(addr("198.51.100.9:5999")));
    }

    #[test]
    fn each_family_is_reached_at_its_own_port() {
        let both = Settled::new(None, &[addr("0.0.0.0:1"), addr("[::]:2")]);
        let at = |settled: &Settled, ip: &str| settled.reached_by(ip.parse().unwrap());
        assert_eq!(at(&both, "10.0.0.7"), Some(addr("10.0.0.7:1")));
        assert_eq!(at(&both, "2001:db8::1"), Some(addr("[2001:db8::1]:2")));
        let dual = Settled::new(None, &[addr("[::]:2")]);
        assert_eq!(at(&dual, "10.0.0.7"), Some(addr("10.0.0.7:2")));
        let v4 = Settled::new(None, &[addr("0.0.0.0:1")]);
        assert_eq!(at(&v4, "2001:db8::1"), None);
    }

    #[test]
    fn nonsense_reports_and_floods_are_bounded() {
        let mut own = settled_on(None, &[addr("[::]:5999")]);
        for n in 0..1000 {
            own.reported(&by(n), &addr("0.0.0.0:5"));
            own.reported(&by(n), &addr(&format!("10.0.{}.1:5", n % 250)));
        }
        assert!(own.reports.len() <= MAX_REPORTS);
    }

    #[test]
    fn a_node_that_does_not_listen_has_no_address() {
        let mut own = settled_on(None, &[]);
        own.local(&addr("10.0.0.7:40000"));
        assert_eq!(own.current(), None);
    }
}
