//! The secret that decides in which bucket an address stands.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    address::{Class, Group, Host, HostPort},
    ids::NodeId,
    proto::{
        address_entry::{Hearing, Source},
        finder::Finder,
    },
};

/// The secret of a book. Whoever knows it can find addresses that all fall into the buckets they
/// want to fill; so it never leaves the node, and is kept with the book, whose places follow from
/// it. HMAC-SHA-256 (RFC 2104) gives the same places on every machine and in every version.
#[derive(Clone)]
pub struct BookKey(Hmac<Sha256>);

impl BookKey {
    /// The key with these bytes, which should be random.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        // A key of any length will do for HMAC, so nothing can fail here.
        let mac = Hmac::<Sha256>::new_from_slice(&secret);
        Self(mac.unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// Which of a source group's buckets takes addresses of a group.
    pub(super) fn of_source(&self, source: &SourceGroup, group: &Group) -> u64 {
        self.hash(b'i', |mac| {
            feed_source(mac, source);
            feed_group(mac, group);
        })
    }

    /// The bucket that is a source group's `n`th.
    pub(super) fn new_bucket(&self, source: &SourceGroup, n: u64) -> u64 {
        self.hash(b'n', |mac| {
            feed_source(mac, source);
            mac.update(&n.to_le_bytes());
        })
    }

    /// Which of its group's buckets takes an address.
    pub(super) fn of_group(&self, addr: &HostPort) -> u64 {
        self.hash(b'j', |mac| feed_addr(mac, addr))
    }

    /// The bucket that is a group's `n`th.
    pub(super) fn tried_bucket(&self, group: &Group, n: u64) -> u64 {
        self.hash(b't', |mac| {
            feed_group(mac, group);
            mac.update(&n.to_le_bytes());
        })
    }

    /// The slot in a bucket that an address prefers.
    pub(super) fn slot(&self, table: u8, bucket: u32, addr: &HostPort) -> u64 {
        self.hash(b's', |mac| {
            mac.update(&[table]);
            mac.update(&bucket.to_le_bytes());
            feed_addr(mac, addr);
        })
    }

    /// Where on the ring an address stands.
    pub(super) fn ring_place(&self, addr: &HostPort) -> u64 {
        self.hash(b'r', |mac| feed_addr(mac, addr))
    }

    /// Where on the ring a group's arc begins in a window.
    pub(super) fn arc_place(&self, group: &Group, window: u64) -> u64 {
        self.hash(b'a', |mac| {
            feed_group(mac, group);
            mac.update(&window.to_le_bytes());
        })
    }

    fn hash(&self, label: u8, feed: impl FnOnce(&mut Hmac<Sha256>)) -> u64 {
        let mut mac = self.0.clone();
        mac.update(&[label]);
        feed(&mut mac);
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        bytes.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }
}

/// What tellers are counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SourceGroup {
    /// The operator, or nobody knows.
    Nobody,
    /// The group of the public address from which it was told.
    Public(Group),
    /// The teller itself, if it is near: addresses that are not public cost nobody anything, so
    /// that counting by them would hold back only the good among the nodes of one machine.
    Near(Option<NodeId>),
    /// The extension that found it, if nobody knows from which public address it has it.
    Finder(Finder),
}

impl SourceGroup {
    pub(super) fn of(hearing: Hearing) -> Self {
        let public = hearing.from.filter(|ip| Class::of(*ip) == Class::Public);
        if let Some(ip) = public {
            return Self::Public(Group::of(&SocketAddr::new(ip, 0).into()));
        }
        match hearing.source {
            Source::Found(by) => Self::Finder(by),
            _ if hearing.from.is_none() => Self::Nobody,
            Source::Told(by) | Source::Declared(by) => Self::Near(Some(by)),
            Source::Bootstrap | Source::Manual => Self::Near(None),
        }
    }
}

fn feed_source(mac: &mut Hmac<Sha256>, source: &SourceGroup) {
    match source {
        SourceGroup::Nobody | SourceGroup::Near(None) => mac.update(b"-"),
        SourceGroup::Public(group) => feed_group(mac, group),
        SourceGroup::Near(Some(id)) => {
            mac.update(b"i");
            mac.update(&id.as_u128().to_be_bytes());
        }
        SourceGroup::Finder(by) => {
            mac.update(b"f");
            mac.update(by.name().as_bytes());
        }
    }
}

fn feed_group(mac: &mut Hmac<Sha256>, group: &Group) {
    match group {
        Group::V4(bytes) => {
            mac.update(b"4");
            mac.update(bytes);
        }
        Group::V6(bytes) => {
            mac.update(b"6");
            mac.update(bytes);
        }
        Group::Names => mac.update(b"n"),
        Group::Near(addr) => {
            mac.update(b"a");
            feed_addr(mac, addr);
        }
    }
}

fn feed_addr(mac: &mut Hmac<Sha256>, addr: &HostPort) {
    match addr.host() {
        Host::Ip(IpAddr::V4(ip)) => {
            mac.update(b"4");
            mac.update(&ip.octets());
        }
        Host::Ip(IpAddr::V6(ip)) => {
            mac.update(b"6");
            mac.update(&ip.octets());
        }
        Host::Name(name) => {
            mac.update(b"n");
            mac.update(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes());
            mac.update(name.as_bytes());
        }
    }
    mac.update(&addr.port().to_le_bytes());
}

impl fmt::Debug for BookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BookKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_same_on_every_machine_and_differ_with_the_secret() {
        let addr: HostPort = "203.0.113.7:5999".parse().unwrap();
        let key = BookKey::new([7; 32]);
        // Were this to change, every kept book would be strewn over other buckets.
        let hash = key.slot(0, 1, &addr);
        assert_eq!(hash, 0xe102_ca62_02f9_cf0d);
        assert_ne!(hash, BookKey::new([8; 32]).slot(0, 1, &addr));
        assert_ne!(hash, key.slot(1, 1, &addr));
        assert_eq!(format!("{key:?}"), "BookKey(..)");
    }
}
