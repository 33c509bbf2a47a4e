//! Where in the network an address is: what it can be reached from, and what it shares a fate with.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use thiserror::Error;

use super::{Host, HostPort};

/// From where an address can be reached at all. Ordered from the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Only from the same machine.
    Loopback,
    /// Only from the same site: private (RFC 1918, RFC 4193), link-local and carrier-grade NAT
    /// (RFC 6598) addresses.
    Private,
    /// From everywhere. Names count as such.
    Public,
}

impl Class {
    /// The class of an IP address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                let shared = a == 100 && b & 0b1100_0000 == 64;
                if ip.is_private() || ip.is_link_local() || shared {
                    Self::Private
                } else {
                    Self::Public
                }
            }
            IpAddr::V6(ip) if ip.is_loopback() => Self::Loopback,
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Self::Private,
            IpAddr::V6(_) => Self::Public,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Public => "public",
        })
    }
}

/// What one owner can easily have many addresses of: an IPv4 /16, an IPv6 /32, all names together.
/// Addresses that are not public cost nobody anything, and form a group each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The first 16 bits of an IPv4 address.
    V4([u8; 2]),
    /// The first 32 bits of an IPv6 address.
    V6([u8; 4]),
    /// Whoever has one name has as many as they like.
    Names,
    /// An address that is not public.
    Near(HostPort),
}

impl Group {
    /// The group of an address.
    #[must_use]
    pub fn of(addr: &HostPort) -> Self {
        match addr.host() {
            Host::Name(_) => Self::Names,
            Host::Ip(ip) if Class::of(*ip) != Class::Public => Self::Near(addr.clone()),
            Host::Ip(IpAddr::V4(ip)) => {
                let [a, b, ..] = ip.octets();
                Self::V4([a, b])
            }
            Host::Ip(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.octets();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// A text that is no address and no subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SubnetError {
    /// The address does not parse.
    #[error("expected an IP address, or one with a prefix length such as 203.0.113.0/24")]
    BadAddress,
    /// The prefix is longer than the address.
    #[error("the prefix length is at most 32 for IPv4 and 128 for IPv6")]
    BadPrefix,
}

/// All addresses with a common beginning. Written `203.0.113.0/24`, or `203.0.113.7` for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    ip: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The subnet of an address with this prefix length; a longer one than the address counts as
    /// its whole length.
    #[must_use]
    pub fn new(ip: IpAddr, prefix: u8) -> Self {
        let (ip, prefix) = match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                (IpAddr::from((u32::from(ip) & mask).to_be_bytes()), prefix)
            }
            IpAddr::V6(ip) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                (IpAddr::V6(Ipv6Addr::from(u128::from(ip) & mask)), prefix)
            }
        };
        Self { ip, prefix }
    }

    /// This address alone.
    #[must_use]
    pub fn host(ip: IpAddr) -> Self {
        Self::new(ip, 128)
    }

    /// The subnet that usually has one owner: IPv4 /24, IPv6 /64.
    #[must_use]
    pub fn site_of(ip: IpAddr) -> Self {
        let prefix = if ip.to_canonical().is_ipv4() { 24 } else { 64 };
        Self::new(ip, prefix)
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.ip.is_ipv4() && Self::new(ip, self.prefix) == *self
    }

    /// How many bits its addresses have in common.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether its addresses are IPv4 ones.
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.ip.is_ipv4()
    }

    fn is_single(&self) -> bool {
        self.prefix == if self.ip.is_ipv4() { 32 } else { 128 }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() { self.ip.fmt(f) } else { write!(f, "{}/{}", self.ip, self.prefix) }
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, p)| (ip, Some(p)));
        let ip: IpAddr = ip.parse().or(Err(SubnetError::BadAddress))?;
        let Some(prefix) = prefix else { return Ok(Self::host(ip)) };
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        match prefix.parse() {
            Ok(prefix) if prefix <= longest => Ok(Self::new(ip, prefix)),
            _ => Err(SubnetError::BadPrefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn classes_follow_the_registered_ranges() {
        for (class, ips) in [
            (Class::Loopback, vec!["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]),
            (
                Class::Private,
                vec!["10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.1.1", "100.64.0.1"],
            ),
            (Class::Private, vec!["fd00::1", "fe80::1", "100.127.255.255"]),
            (Class::Public, vec!["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1"]),
        ] {
            for text in ips {
                assert_eq!(Class::of(ip(text)), class, "{text}");
            }
        }
    }

    #[test]
    fn groups_gather_what_one_owner_has_and_leave_near_addresses_apart() {
        let group = |text: &str| Group::of(&text.parse().unwrap());
        assert_eq!(group("8.8.1.1:1"), group("8.8.2.2:2"));
        assert_ne!(group("8.8.1.1:1"), group("8.9.1.1:1"));
        assert_eq!(group("[2001:db8:1::1]:1"), group("[2001:db8:2::1]:1"));
        assert_eq!(group("a.example:1"), group("b.example:1"));
        assert_ne!(group("127.0.0.1:1"), group("127.0.0.1:2"));
    }

    #[test]
    fn subnets_parse_show_and_contain() {
        let net: Subnet = "203.0.113.77/24".parse().unwrap();
        assert_eq!(net.to_string(), "203.0.113.0/24");
        assert!(net.contains(ip("203.0.113.1")) && !net.contains(ip("203.0.114.1")));
        assert!(net.contains(ip("::ffff:203.0.113.1")));
        let one: Subnet = "2001:db8::7".parse().unwrap();
        assert_eq!(one.to_string(), "2001:db8::7");
        assert!(!one.contains(ip("2001:db8::8")));
        let all: Subnet = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("1.2.3.4")) && !all.contains(ip("::1")));
        assert_eq!("1.2.3.4/33".parse::<Subnet>(), Err(SubnetError::BadPrefix));
        assert_eq!("host/8".parse::<Subnet>(), Err(SubnetError::BadAddress));
    }
}
