//! How many inbound connections there are from one address and from one subnet.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    address::{Class, HostPort, Subnet},
    config::LimitsConfig,
};

/// The counts. An address or subnet without a connection has none.
///
/// Loopback is exempt: many nodes on one machine are a test, and whoever can connect from there
/// needs no network to do harm.
#[derive(Debug, Clone)]
pub struct Crowd {
    max_per_address: usize,
    max_per_subnet: usize,
    addresses: BTreeMap<IpAddr, usize>,
    subnets: BTreeMap<Subnet, usize>,
}

/// The limit that another connection would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// As many connections from its address as there may be: so many.
    Address(usize),
    /// As many connections from its subnet as there may be: so many.
    Subnet(usize),
}

impl Crowded {
    /// The same for a person.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Address(_) => "too many connections from your address (max-per-address)",
            Self::Subnet(_) => "too many connections from your subnet (max-per-subnet)",
        }
    }

    /// How many connections there are.
    #[must_use]
    pub const fn n(self) -> usize {
        match self {
            Self::Address(n) | Self::Subnet(n) => n,
        }
    }
}

impl Crowd {
    /// Nobody.
    #[must_use]
    pub const fn new(limits: &LimitsConfig) -> Self {
        Self {
            max_per_address: limits.max_per_address,
            max_per_subnet: limits.max_per_subnet,
            addresses: BTreeMap::new(),
            subnets: BTreeMap::new(),
        }
    }

    /// Counts a connection.
    ///
    /// # Errors
    /// There are as many as may be. It was not counted.
    pub fn enter(&mut self, remote: &HostPort) -> Result<(), Crowded> {
        let Some((ip, subnet)) = counted(remote) else { return Ok(()) };
        let n = self.addresses.get(&ip).copied().unwrap_or(0);
        if n >= self.max_per_address {
            return Err(Crowded::Address(n));
        }
        let n = self.subnets.get(&subnet).copied().unwrap_or(0);
        if n >= self.max_per_subnet {
            return Err(Crowded::Subnet(n));
        }
        *self.addresses.entry(ip).or_default() += 1;
        *self.subnets.entry(subnet).or_default() += 1;
        Ok(())
    }

    /// A connection that was counted is gone.
    pub fn leave(&mut self, remote: &HostPort) {
        if let Some((ip, subnet)) = counted(remote) {
            one_less(&mut self.addresses, ip);
            one_less(&mut self.subnets, subnet);
        }
    }

    /// How many addresses have a count.
    #[cfg(test)]
    pub(super) fn n_addresses(&self) -> usize {
        self.addresses.len()
    }

    /// The most connections that an address and a subnet have.
    #[cfg(test)]
    pub(super) fn most(&self) -> (usize, usize) {
        let most = |n: Option<&usize>| n.copied().unwrap_or(0);
        (most(self.addresses.values().max()), most(self.subnets.values().max()))
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(n) = counts.get_mut(&key) {
        *n = n.saturating_sub(1);
        if *n == 0 {
            counts.remove(&key);
        }
    }
}

fn counted(remote: &HostPort) -> Option<(IpAddr, Subnet)> {
    let ip = remote.ip().filter(|ip| Class::of(*ip) != Class::Loopback)?.to_canonical();
    Some((ip, Subnet::site_of(ip)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crowd() -> Crowd {
        let limits =
            LimitsConfig { max_per_address: 2, max_per_subnet: 3, ..LimitsConfig::default() };
        Crowd::new(&limits)
    }

    fn addr(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn one_too_many_is_told_which_limit_it_breaks() {
        let mut crowd = crowd();
        let mapped =
            HostPort::from(std::net::SocketAddr::new("::ffff:192.0.2.1".parse().unwrap(), 9));
        assert_eq!(crowd.enter(&addr("192.0.2.1:1")), Ok(()));
        assert_eq!(crowd.enter(&mapped), Ok(()));
        assert_eq!(crowd.enter(&addr("192.0.2.1:2")), Err(Crowded::Address(2)));
        assert_eq!(crowd.enter(&addr("192.0.2.2:1")), Ok(()));
        assert_eq!(crowd.enter(&addr("192.0.2.3:1")), Err(Crowded::Subnet(3)));
        assert_eq!(crowd.enter(&addr("192.0.3.3:1")), Ok(()));
        crowd.leave(&mapped);
        assert_eq!(crowd.enter(&addr("192.0.2.3:1")), Ok(()));
        for n in 1..=3 {
            assert_eq!(crowd.enter(&addr(&format!("[2001:db8::{n}]:1"))), Ok(()));
        }
        assert_eq!(crowd.enter(&addr("[2001:db8::4]:1")), Err(Crowded::Subnet(3)));
        assert_eq!(crowd.enter(&addr("[2001:db8:0:1::4]:1")), Ok(()));
    }

    #[test]
    fn loopback_is_not_counted() {
        let mut crowd = crowd();
        for port in 1..100 {
            assert_eq!(crowd.enter(&addr(&format!("127.0.0.1:{port}"))), Ok(()));
            assert_eq!(crowd.enter(&addr(&format!("[::1]:{port}"))), Ok(()));
        }
        assert_eq!(crowd.n_addresses(), 0);
    }

    proptest! {
        #[test]
        fn limits_hold_and_whoever_is_gone_leaves_nothing(
            steps in proptest::collection::vec((any::<bool>(), 0u8..3, 0u8..4), 0..200),
        ) {
            let (mut crowd, mut inside) = (crowd(), Vec::new());
            for (enters, net, host) in steps {
                if enters {
                    let addr = addr(&format!("10.0.{net}.{host}:1"));
                    if crowd.enter(&addr).is_ok() {
                        inside.push(addr);
                    }
                } else if let Some(addr) = inside.pop() {
                    crowd.leave(&addr);
                }
                let (address, subnet) = crowd.most();
                prop_assert!(address <= 2 && subnet <= 3);
            }
            for addr in inside {
                crowd.leave(&addr);
            }
            prop_assert_eq!((crowd.n_addresses(), crowd.subnets.len()), (0, 0));
        }
    }
}
