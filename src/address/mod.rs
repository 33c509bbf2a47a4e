//! `host:port`, as people type it and as `addr` carries it.
//!
//! Parsing says what is wrong with an address; [`HostPort::check_dialable`] says whether anybody
//! could dial it. Both answers have a stable code, since refused addresses are journalled.

mod bootstrap;
mod place;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

pub use bootstrap::{Bootstrap, BootstrapError};
pub use place::{Class, Group, Subnet, SubnetError};

/// The longest DNS name (RFC 1035, section 2.3.4), and so the longest host we accept.
pub const MAX_HOST: usize = 253;

/// An IP address, or a DNS name that is resolved when it is dialled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A literal address. IPv4-mapped IPv6 addresses are kept as IPv4.
    Ip(IpAddr),
    /// A lower-case DNS name.
    Name(Arc<str>),
}

/// Where a node can be reached: a host and a port. Written `1.2.3.4:5999`, `[::1]:5999` or
/// `node.example:5999`. Port 0 parses (it means "any free port" for listening) but is not
/// dialable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: Host,
    port: u16,
}

/// Why a text is no address, or an address cannot be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[error("{}", self.text())]
pub enum AddressError {
    /// There is no `:port`.
    NoPort,
    /// The port is not a number from 0 to 65535.
    BadPort,
    /// There is nothing before the port.
    EmptyHost,
    /// The host is longer than [`MAX_HOST`].
    LongHost,
    /// The host is neither an address nor a DNS name.
    BadHost,
    /// Port 0 cannot be dialled.
    PortZero,
    /// `0.0.0.0` and `::` name no node.
    Unspecified,
    /// A multicast or broadcast address names no single node.
    Multicast,
}

impl AddressError {
    /// A stable code for the journal.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoPort => "no-port",
            Self::BadPort => "bad-port",
            Self::EmptyHost => "empty-host",
            Self::LongHost => "long-host",
            Self::BadHost => "bad-host",
            Self::PortZero => "port-zero",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
        }
    }

    /// The same for a person.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoPort => "expected HOST:PORT, but there is no port",
            Self::BadPort => "the port must be a number from 0 to 65535",
            Self::EmptyHost => "the host is empty",
            Self::LongHost => "the host is longer than 253 bytes",
            Self::BadHost => "the host is neither an IP address nor a DNS name",
            Self::PortZero => "port 0 cannot be dialled",
            Self::Unspecified => "an unspecified address (0.0.0.0 or ::) names no node",
            Self::Multicast => "a multicast or broadcast address names no single node",
        }
    }
}

impl HostPort {
    /// The host part.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port part.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The IP address, unless the host is a name.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self.host {
            Host::Ip(ip) => Some(ip),
            Host::Name(_) => None,
        }
    }

    /// The socket address, unless the host is a name.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.ip().map(|ip| SocketAddr::new(ip, self.port))
    }

    /// From where it can be reached.
    #[must_use]
    pub fn class(&self) -> Class {
        self.ip().map_or(Class::Public, Class::of)
    }

    /// The same host at another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// Whether a node could be reached there at all.
    ///
    /// # Errors
    /// Port 0, an unspecified, a multicast or a broadcast address.
    pub fn check_dialable(&self) -> Result<(), AddressError> {
        if self.port == 0 {
            return Err(AddressError::PortZero);
        }
        match self.host {
            Host::Ip(ip) if ip.is_unspecified() => Err(AddressError::Unspecified),
            Host::Ip(ip) if ip.is_multicast() => Err(AddressError::Multicast),
            Host::Ip(IpAddr::V4(ip)) if ip.is_broadcast() => Err(AddressError::Multicast),
            Host::Ip(_) | Host::Name(_) => Ok(()),
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(addr: SocketAddr) -> Self {
        Self { host: Host::Ip(addr.ip().to_canonical()), port: addr.port() }
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        if host.is_empty() {
            return Err(AddressError::EmptyHost);
        }
        if host.len() > MAX_HOST + 2 {
            return Err(AddressError::LongHost);
        }
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AddressError::BadPort);
        }
        let port = port.parse().or(Err(AddressError::BadPort))?;
        Ok(Self { host: parse_host(host)?, port })
    }
}

fn parse_host(host: &str) -> Result<Host, AddressError> {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let ip: Ipv6Addr = v6.parse().or(Err(AddressError::BadHost))?;
        return Ok(Host::Ip(IpAddr::V6(ip).to_canonical()));
    }
    if let Ok(ip) = host.parse::<std::net::Ipv4Addr>() {
        return Ok(Host::Ip(IpAddr::V4(ip)));
    }
    if host.len() > MAX_HOST {
        return Err(AddressError::LongHost);
    }
    // RFC 1123, section 2.1: letters, digits and hyphens in labels of 1 to 63; underscores occur
    // in practice. A last label of digits only is a mistyped IPv4 address, not a name.
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let numeric_tail =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if !name.split('.').all(label_ok) || numeric_tail {
        return Err(AddressError::BadHost);
    }
    Ok(Host::Name(name.to_ascii_lowercase().into()))
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl Serialize for HostPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<HostPort, AddressError> {
        text.parse()
    }

    #[test]
    fn what_parses_prints_as_it_was_typed() {
        for text in ["1.2.3.4:5999", "[::1]:1", "[2001:db8::7]:65535", "node.example:5999"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("[::ffff:1.2.3.4]:5").unwrap().to_string(), "1.2.3.4:5");
        assert_eq!(parse("LocalHost:5").unwrap().to_string(), "localhost:5");
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        let long = format!("{}:1", "a".repeat(300));
        for (text, error) in [
            ("1.2.3.4", AddressError::NoPort),
            ("1.2.3.4:70000", AddressError::BadPort),
            ("1.2.3.4:+5", AddressError::BadPort),
            ("1.2.3.4:", AddressError::BadPort),
            (":5999", AddressError::EmptyHost),
            (long.as_str(), AddressError::LongHost),
            ("1.2.3.999:1", AddressError::BadHost),
            ("::1:5999", AddressError::BadHost),
            ("a b:1", AddressError::BadHost),
            ("-a:1", AddressError::BadHost),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn addresses_that_name_no_node_are_not_dialable() {
        for (text, error) in [
            ("1.2.3.4:0", AddressError::PortZero),
            ("0.0.0.0:1", AddressError::Unspecified),
            ("[::]:1", AddressError::Unspecified),
            ("224.0.0.1:1", AddressError::Multicast),
            ("[ff02::1]:1", AddressError::Multicast),
            ("255.255.255.255:1", AddressError::Multicast),
        ] {
            assert_eq!(parse(text).unwrap().check_dialable(), Err(error), "{text}");
        }
        assert_eq!(parse("127.0.0.1:1").unwrap().check_dialable(), Ok(()));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_round_trips(text in "\\PC{0,80}|[0-9a-f:.\\[\\]]{0,40}") {
            if let Ok(addr) = parse(&text) {
                prop_assert_eq!(parse(&addr.to_string()), Ok(addr));
            }
        }
    }
}
