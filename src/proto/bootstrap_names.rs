//! The operator's first contacts: which addresses, which names, and who must answer there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::Rng;

use crate::{
    address::{Bootstrap, Host, HostPort},
    clock::Moment,
    ids::NodeId,
    proto::redial::{Ladder, jittered},
};

#[derive(Debug)]
struct Name {
    pin: Option<NodeId>,
    next_try: Moment,
    failures: u32,
    resolving: bool,
    addrs: Vec<HostPort>,
}

/// The first contacts. Each name is resolved again and again, since what it leads to may change.
#[derive(Debug)]
pub struct BootstrapNames {
    /// The longest pause between two resolutions.
    retry_max: Duration,
    ladder: Ladder,
    names: BTreeMap<HostPort, Name>,
    /// First contacts that were given as addresses, and who must answer there.
    fixed: BTreeMap<HostPort, Option<NodeId>>,
}

/// What came of resolving a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The addresses that it leads to, and who must answer at each of them.
    pub here: Vec<(HostPort, Option<NodeId>)>,
    /// Those that no name leads to any more, and that were not given as addresses.
    pub gone: Vec<HostPort>,
}

impl BootstrapNames {
    /// None yet.
    #[must_use]
    pub const fn new(retry_max: Duration, ladder: Ladder) -> Self {
        Self { retry_max, ladder, names: BTreeMap::new(), fixed: BTreeMap::new() }
    }

    /// One more first contact. An address may be dialled as it is; a name is to be resolved.
    pub fn add(&mut self, now: Moment, Bootstrap { addr, id }: &Bootstrap) {
        match addr.host() {
            Host::Name(_) => {
                let name =
                    Name { pin: *id, next_try: now, failures: 0, resolving: false, addrs: vec![] };
                let pin = self.names.insert(addr.clone(), name).and_then(|old| old.pin);
                if let Some(name) = self.names.get_mut(addr) {
                    name.pin = pin.or(name.pin);
                }
            }
            Host::Ip(_) => {
                let pin = self.fixed.entry(addr.clone()).or_default();
                *pin = pin.or(*id);
            }
        }
    }

    /// The first contacts that were given as addresses, and who must answer there.
    pub fn fixed(&self) -> impl Iterator<Item = (&HostPort, Option<NodeId>)> {
        self.fixed.iter().map(|(addr, pin)| (addr, *pin))
    }

    /// The names to be resolved now. One that leads to a connected node can wait.
    pub fn due(
        &mut self,
        now: Moment,
        rng: &mut impl Rng,
        is_connected: impl Fn(&HostPort) -> bool,
    ) -> Vec<HostPort> {
        let mut due = Vec::new();
        for (addr, name) in &mut self.names {
            if name.resolving || name.next_try > now {
                continue;
            }
            if name.addrs.iter().any(&is_connected) {
                name.next_try = now + jittered(self.retry_max, rng);
                continue;
            }
            name.resolving = true;
            due.push(addr.clone());
        }
        due
    }

    /// A name was resolved, or not.
    ///
    /// # Errors
    /// The resolver's words; the name is resolved again after a pause.
    pub fn resolved(
        &mut self,
        now: Moment,
        addr: &HostPort,
        found: Result<Vec<HostPort>, String>,
        rng: &mut impl Rng,
    ) -> Result<Found, String> {
        let nothing = Found { here: Vec::new(), gone: Vec::new() };
        let Some(name) = self.names.get_mut(addr) else { return Ok(nothing) };
        name.resolving = false;
        let found = match found {
            Ok(found) if !found.is_empty() => found,
            failed => {
                name.failures = name.failures.saturating_add(1);
                let pause = self.ladder.pause_for_ever(name.failures, self.retry_max, rng);
                name.next_try = now + pause;
                return Err(failed.err().unwrap_or_else(|| "no addresses".to_owned()));
            }
        };
        name.failures = 0;
        name.next_try = now + jittered(self.retry_max, rng);
        let pin = name.pin;
        let before = std::mem::replace(&mut name.addrs, found.clone());
        let still: BTreeSet<&HostPort> =
            self.names.values().flat_map(|name| &name.addrs).chain(self.fixed.keys()).collect();
        let gone = before.into_iter().filter(|addr| !still.contains(addr)).collect();
        Ok(Found { here: found.into_iter().map(|addr| (addr, pin)).collect(), gone })
    }

    /// When the next name is to be resolved.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.names.values().filter(|name| !name.resolving).map(|name| name.next_try).min()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn an_address_is_gone_only_when_nobody_names_it_any_more_and_keeps_its_pin() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let ladder = Ladder::new(vec![Duration::from_secs(1)]);
        let mut names = BootstrapNames::new(Duration::from_secs(60), ladder);
        let pin = crate::identity::PublicKey::from_bytes([1; 32]).node_id();
        let at = |text: &str| text.parse::<HostPort>().unwrap();
        names.add(Moment::ZERO, &Bootstrap { addr: at("seed.example:1"), id: Some(pin) });
        names.add(Moment::ZERO, &at("192.0.2.1:1").into());
        assert_eq!(names.due(Moment::ZERO, &mut rng, |_| false), [at("seed.example:1")]);
        assert!(names.due(Moment::ZERO, &mut rng, |_| false).is_empty(), "it is under way");
        let mut resolve = |found: &[&str]| {
            let found = Ok(found.iter().map(|text| at(text)).collect());
            names.resolved(Moment::ZERO, &at("seed.example:1"), found, &mut rng)
        };
        let found = resolve(&["192.0.2.1:1", "192.0.2.2:1"]).unwrap();
        assert_eq!(found.here, [(at("192.0.2.1:1"), Some(pin)), (at("192.0.2.2:1"), Some(pin))]);
        let found = resolve(&["192.0.2.3:1"]).unwrap();
        assert_eq!(found.gone, [at("192.0.2.2:1")]);
        assert!(resolve(&[]).is_err());
    }
}
