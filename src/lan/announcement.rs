//! What a node says of itself on the local network, and what it makes of what others say.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    HostPort, NetworkKey, NodeId,
    address::{Class, Host},
    wire::VERSION,
};

/// The service, as RFC 6763 names it.
pub(super) const SERVICE: &str = "_peerage._tcp.local.";

/// How many addresses of one service are looked at.
pub(super) const MAX_ADDRS: usize = 8;

/// How many ports a node announces.
const MAX_SERVICES: usize = 4;

/// The fields of a service's text, which others read.
pub(super) const FIELDS: [&str; 4] = ["v", "id", "network", "sealed"];

/// How far it is looked and announced. Never both: what somebody on the local network says about this
/// machine's own addresses is none of its business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The local network, without this machine's loopback interface.
    Lan,
    /// Loopback alone, for a node that listens only there.
    Loopback,
}

impl Scope {
    /// The scope of a node that listens here.
    pub(super) fn of(listening: &[HostPort]) -> Self {
        let is_near = |addr: &HostPort| addr.class() == Class::Loopback;
        if !listening.is_empty() && listening.iter().all(is_near) {
            Self::Loopback
        } else {
            Self::Lan
        }
    }

    /// Whether an address can be meant for nodes of this scope. Link-local IPv6 addresses say nothing
    /// without their interface, which an address of a node does not have.
    fn takes(self, ip: IpAddr) -> bool {
        let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        !is_link_local && (Class::of(ip) == Class::Loopback) == (self == Self::Loopback)
    }
}

/// The name under which a network is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Realm {
    /// An open one, by its own name.
    Open(String),
    /// A private one, by what only its nodes can know for it.
    Sealed(String),
}

impl Realm {
    pub(super) fn of(network: &str, key: Option<&NetworkKey>) -> Self {
        match key {
            Some(key) => Self::Sealed(key.pseudonym(network)),
            None => Self::Open(network.to_owned()),
        }
    }

    const fn field(&self) -> (&'static str, &String) {
        match self {
            Self::Open(name) => ("network", name),
            Self::Sealed(name) => ("sealed", name),
        }
    }
}

/// Where a service can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// At every IPv4 address of the machine.
    AllV4,
    /// At every address.
    All,
    /// At these.
    Only(Vec<IpAddr>),
}

/// One port on which this node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) port: u16,
    pub(super) at: At,
}

/// What is to be announced of a node that listens here: nothing of loopback on the local network.
pub(super) fn services(listening: &[HostPort], scope: Scope) -> Vec<Service> {
    let mut by_port: BTreeMap<u16, At> = BTreeMap::new();
    for addr in listening {
        let Host::Ip(ip) = addr.host() else { continue };
        let (ip, port) = (*ip, addr.port());
        if !ip.is_unspecified() && !scope.takes(ip) {
            continue;
        }
        let at = by_port.entry(port).or_insert_with(|| At::Only(Vec::new()));
        match (ip.is_unspecified(), ip.is_ipv6(), &mut *at) {
            (_, _, At::All) => {}
            (true, true, _) => *at = At::All,
            (true, false, At::Only(ips)) if ips.iter().all(IpAddr::is_ipv4) => *at = At::AllV4,
            (true, false, At::Only(_)) | (false, true, At::AllV4) => *at = At::All,
            (_, false, At::AllV4) => {}
            (false, _, At::Only(ips)) => ips.push(ip),
        }
    }
    let services = by_port.into_iter().map(|(port, at)| Service { port, at });
    services.take(MAX_SERVICES).collect()
}

/// The text of a node's services.
pub(super) fn text(me: NodeId, realm: &Realm) -> Vec<(&'static str, String)> {
    let (field, name) = realm.field();
    vec![("v", VERSION.to_string()), ("id", me.to_string()), (field, name.clone())]
}

/// A service that somebody announces. None of it is proven.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sighting {
    /// What it is called.
    pub(super) name: String,
    /// The fields of its text that mean something, by [`FIELDS`].
    pub(super) text: BTreeMap<&'static str, String>,
    pub(super) port: u16,
    pub(super) ips: Vec<IpAddr>,
}

/// Why a service is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ignored {
    /// It is this node's own.
    Own,
    /// It belongs to another network, which is no fault.
    WrongNetwork,
    /// It speaks another version of the protocol.
    Version,
    /// It has no address that a node here could dial.
    NoAddress,
    /// There is no room for more; see [`Lookout`](super::lookout::Lookout).
    Full,
    /// It says no id, or none that is one, or its name is too long.
    Malformed,
}

impl Ignored {
    /// A stable code.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::WrongNetwork => "wrong-network",
            Self::Version => "version",
            Self::NoAddress => "no-address",
            Self::Full => "full",
            Self::Malformed => "malformed",
        }
    }
}

/// Who is said to be where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) id: NodeId,
    /// In order, each once, at least one and no more than [`MAX_ADDRS`].
    pub(super) addrs: Vec<HostPort>,
}

/// What this node makes of a sighting.
pub(super) fn judge(
    sighting: &Sighting,
    me: NodeId,
    realm: &Realm,
    scope: Scope,
) -> Result<Claim, Ignored> {
    let said = |field| sighting.text.get(field).map(String::as_str);
    // As long as a name can be in DNS.
    if sighting.name.len() > 255 {
        return Err(Ignored::Malformed);
    }
    let (field, name) = realm.field();
    if said(field) != Some(name) {
        return Err(Ignored::WrongNetwork);
    }
    if said("v") != Some(VERSION.to_string().as_str()) {
        return Err(Ignored::Version);
    }
    let id: NodeId = said("id").and_then(|id| id.parse().ok()).ok_or(Ignored::Malformed)?;
    if id == me {
        return Err(Ignored::Own);
    }
    let ips = sighting.ips.iter().map(IpAddr::to_canonical).filter(|ip| scope.takes(*ip));
    let addrs = ips.map(|ip| HostPort::from(std::net::SocketAddr::new(ip, sighting.port)));
    let mut addrs: Vec<HostPort> = addrs.filter(|addr| addr.check_dialable().is_ok()).collect();
    addrs.sort_unstable();
    addrs.dedup();
    addrs.truncate(MAX_ADDRS);
    if addrs.is_empty() { Err(Ignored::NoAddress) } else { Ok(Claim { id, addrs }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: NodeId = NodeId::from_u128(1);

    fn addrs(texts: &[&str]) -> Vec<HostPort> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn open() -> Realm {
        Realm::of("main", None)
    }

    fn sighting(id: NodeId, realm: &Realm, ips: &[&str]) -> Sighting {
        Sighting {
            name: "x".to_owned(),
            text: text(id, realm).into_iter().collect(),
            port: 5999,
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_node_on_loopback_stays_there_and_all_others_leave_loopback_alone() {
        assert_eq!(Scope::of(&addrs(&["127.0.0.1:1", "[::1]:1"])), Scope::Loopback);
        assert_eq!(Scope::of(&addrs(&["127.0.0.1:1", "192.168.0.2:1"])), Scope::Lan);
        assert_eq!(Scope::of(&addrs(&["0.0.0.0:1"])), Scope::Lan);
        assert_eq!(Scope::of(&[]), Scope::Lan);
        let both = addrs(&["127.0.0.1:1", "192.168.0.2:1"]);
        let only = |ip: &str| vec![Service { port: 1, at: At::Only(vec![ip.parse().unwrap()]) }];
        assert_eq!(services(&both, Scope::Lan), only("192.168.0.2"));
        assert_eq!(services(&both[..1], Scope::Loopback), only("127.0.0.1"));
    }

    #[test]
    fn a_port_is_announced_once_with_all_that_it_listens_on() {
        let at = |texts: &[&str]| {
            let services = services(&addrs(texts), Scope::Lan);
            services.into_iter().map(|service| service.at).collect::<Vec<At>>()
        };
        assert_eq!(at(&["0.0.0.0:1"]), [At::AllV4]);
        assert_eq!(at(&["[::]:1"]), [At::All]);
        for both in [["0.0.0.0:1", "[::]:1"], ["[::]:1", "0.0.0.0:1"]] {
            assert_eq!(at(&both), [At::All]);
        }
        for mixed in [["0.0.0.0:1", "[fd00::1]:1"], ["[fd00::1]:1", "0.0.0.0:1"]] {
            assert_eq!(at(&mixed), [At::All]);
        }
        assert_eq!(at(&["0.0.0.0:1", "10.0.0.1:1"]), [At::AllV4]);
        assert_eq!(at(&["10.0.0.1:1", "10.0.0.2:1"]).len(), 1);
        assert_eq!(at(&["0.0.0.0:1", "0.0.0.0:2"]), [At::AllV4, At::AllV4]);
        assert_eq!(at(&["[fe80::1]:1"]), []);
    }

    #[test]
    fn a_node_of_the_network_is_taken_with_what_can_be_dialled() {
        let other = NodeId::from_u128(2);
        let ips =
            ["192.168.0.3", "127.0.0.1", "fe80::1", "::ffff:192.168.0.3", "0.0.0.0", "ff02::1"];
        let claim = judge(&sighting(other, &open(), &ips), ME, &open(), Scope::Lan).unwrap();
        assert_eq!(claim, Claim { id: other, addrs: addrs(&["192.168.0.3:5999"]) });
        let claim = judge(&sighting(other, &open(), &ips), ME, &open(), Scope::Loopback).unwrap();
        assert_eq!(claim.addrs, addrs(&["127.0.0.1:5999"]));
    }

    #[test]
    fn all_else_is_ignored_for_a_reason() {
        let other = NodeId::from_u128(2);
        let good = sighting(other, &open(), &["192.168.0.3"]);
        let with = |field: &'static str, value: &str| {
            let mut changed = good.clone();
            changed.text.insert(field, value.to_owned());
            changed
        };
        for (sighting, why) in [
            (sighting(ME, &open(), &["192.168.0.3"]), Ignored::Own),
            (with("network", "other"), Ignored::WrongNetwork),
            (Sighting::default(), Ignored::WrongNetwork),
            (with("v", "2"), Ignored::Version),
            (with("id", "me"), Ignored::Malformed),
            (Sighting { name: "x".repeat(256), ..good.clone() }, Ignored::Malformed),
            (Sighting { ips: vec![], ..good.clone() }, Ignored::NoAddress),
            (Sighting { port: 0, ..good.clone() }, Ignored::NoAddress),
        ] {
            assert_eq!(judge(&sighting, ME, &open(), Scope::Lan), Err(why), "{sighting:?}");
        }
    }

    #[test]
    fn a_private_network_is_not_named_and_not_taken_for_an_open_one() {
        let key = NetworkKey::new(b"0123456789abcdef").unwrap();
        let sealed = Realm::of("our secret plans", Some(&key));
        let said = format!("{:?}", text(ME, &sealed));
        assert!(!said.contains("secret") && !said.contains("network"), "{said}");
        let other = NodeId::from_u128(2);
        let there = sighting(other, &sealed, &["10.0.0.2"]);
        assert!(judge(&there, ME, &sealed, Scope::Lan).is_ok());
        let Realm::Sealed(name) = &sealed else { unreachable!() };
        // Somebody who has seen the pseudonym can have a network of that name.
        let open = Realm::of(name, None);
        assert_eq!(judge(&there, ME, &open, Scope::Lan), Err(Ignored::WrongNetwork));
    }

    #[test]
    fn the_longest_network_name_fits_a_field() {
        let realm = Realm::of(&"n".repeat(64), None);
        for (field, value) in text(ME, &realm) {
            assert!(FIELDS.contains(&field) && field.len() + 1 + value.len() <= 255);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_announced_what_is_taken_can_be_dialled_in_this_scope(
            ips in prop::collection::vec(any::<IpAddr>(), 0..30),
            near in prop::collection::vec(0_u8..255, 0..12),
            port in any::<u16>(),
            loopback in any::<bool>(),
        ) {
            let scope = if loopback { Scope::Loopback } else { Scope::Lan };
            let near = near.into_iter().map(|n| IpAddr::from([127, 0, 0, n]));
            let ips = ips.into_iter().chain(near).collect();
            let text = text(NodeId::from_u128(2), &open()).into_iter().collect();
            let seen = Sighting { name: "x".to_owned(), text, port, ips };
            if let Ok(claim) = judge(&seen, ME, &open(), scope) {
                prop_assert!((1..=MAX_ADDRS).contains(&claim.addrs.len()));
                for addr in claim.addrs {
                    prop_assert_eq!(addr.check_dialable(), Ok(()));
                    prop_assert_eq!(addr.class() == Class::Loopback, loopback);
                }
            }
        }
    }
}
