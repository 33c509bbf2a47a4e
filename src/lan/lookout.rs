//! Which of the nodes that announce themselves are handed to discovery, and when.
//!
//! Everybody on the local network can announce anything, so all of it is bounded:
//! * LO1: no more than [`MAX_KNOWN`] services are known, with [`MAX_ADDRS`](super::announcement::MAX_ADDRS)
//!   addresses each. One more takes the place of that which was handed over longest ago; while none has been,
//!   it is ignored as `full`.
//! * LO2: services are handed over [`BURST`] at once and then one a second, which is within what discovery takes
//!   from one finder. One that is still announced is handed over again every [`AGAIN`], since the book may have
//!   given it up.
//! * LO3: what mdns-sd tells, two events for a service, is read [`EVENTS`] at once and then
//!   [`EVENTS_PER_SECOND`]. What comes faster waits in its channel, and if that is full the search ends and
//!   begins anew after a pause.
//! * LO4: what was ignored is counted, and noted once in [`NOTE_PAUSE`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::announcement::{Claim, Ignored, Realm, Scope, Sighting, judge};
use crate::{Decision, Finding, Kind, NodeId, clock::Moment, proto::token_bucket::TokenBucket};

/// How many services are known at once.
pub(super) const MAX_KNOWN: usize = 256;

/// How many services are handed over at once; then one a second.
const BURST: u32 = 32;

/// How long after it was handed over a service is again.
const AGAIN: Duration = Duration::from_secs(600);

/// How many events are read at once.
const EVENTS: u32 = 512;

/// How many are read per second after that.
const EVENTS_PER_SECOND: u32 = 128;

/// How often it is noted at most what was ignored.
const NOTE_PAUSE: Duration = Duration::from_secs(60);

/// One service.
#[derive(Debug)]
struct Known {
    claim: Claim,
    /// It has been handed over.
    told: bool,
    /// When it is to be handed over.
    next: Moment,
}

/// What is known of the nodes that announce themselves.
#[derive(Debug)]
pub(super) struct Lookout {
    me: NodeId,
    realm: Realm,
    scope: Scope,
    known: BTreeMap<String, Known>,
    /// The same by the time at which they are handed over.
    due: BTreeSet<(Moment, String)>,
    rate: TokenBucket,
    events: TokenBucket,
    /// How often what was ignored, since it was last noted.
    ignored: BTreeMap<Ignored, u64>,
    next_note: Moment,
}

impl Lookout {
    pub(super) fn new(me: NodeId, realm: Realm, scope: Scope, now: Moment) -> Self {
        Self {
            me,
            realm,
            scope,
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            rate: TokenBucket::new(BURST, 1, now),
            events: TokenBucket::new(EVENTS, EVENTS_PER_SECOND, now),
            ignored: BTreeMap::new(),
            next_note: now + NOTE_PAUSE,
        }
    }

    /// An event was read, whatever it is.
    pub(super) fn read(&mut self, now: Moment) {
        self.events.owe(now);
    }

    /// Somebody announces a service.
    pub(super) fn seen(&mut self, now: Moment, sighting: Sighting) {
        match judge(&sighting, self.me, &self.realm, self.scope) {
            Ok(claim) => self.take(now, sighting.name, claim),
            Err(why) => {
                // It may have been one of ours before.
                self.forget(&sighting.name);
                self.ignore(why);
            }
        }
    }

    /// A service is announced no more. Whether it was known. What the book has of it stays: whether the node
    /// is there is found out by dialling.
    pub(super) fn gone(&mut self, name: &str) -> bool {
        self.forget(name)
    }

    /// When the next event may be read.
    pub(super) fn may_read_at(&mut self, now: Moment) -> Moment {
        self.events.next_token(now)
    }

    /// What is to be handed over now.
    pub(super) fn due(&mut self, now: Moment) -> Vec<Finding> {
        let mut findings = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now)
            && self.rate.take(now, 1) > 0
            && let Some((_, name)) = self.due.pop_first()
        {
            let Some(known) = self.known.get_mut(&name) else { continue };
            (known.told, known.next) = (true, now + AGAIN);
            self.due.insert((known.next, name));
            let Claim { id, addrs } = &known.claim;
            let finding =
                |addr: &crate::HostPort| Finding { addr: addr.clone(), id: Some(*id), from: None };
            findings.extend(addrs.iter().map(finding));
        }
        findings
    }

    /// What was ignored, if it is time to say so.
    pub(super) fn note(&mut self, now: Moment) -> Option<Decision> {
        if now < self.next_note {
            return None;
        }
        self.next_note = now + NOTE_PAUSE;
        let ignored = std::mem::take(&mut self.ignored);
        let worst = ignored.keys().next_back()?.code();
        let n_ignored = ignored.values().sum();
        let counts: Vec<String> =
            ignored.into_iter().map(|(why, n)| format!("{n} {}", why.code())).collect();
        let note = Decision::new(now, Kind::AddrsRefused, worst).number("services", n_ignored);
        Some(note.detail(format!("announced on the local network: {}", counts.join(", "))))
    }

    /// When there is something to do next.
    pub(super) fn deadline(&mut self, now: Moment) -> Option<Moment> {
        let token = self.rate.next_token(now);
        let due = self.due.first().map(|(at, _)| (*at).max(token));
        let note = (!self.ignored.is_empty()).then_some(self.next_note);
        due.into_iter().chain(note).min()
    }

    fn take(&mut self, now: Moment, name: String, claim: Claim) {
        if self.known.get(&name).is_some_and(|known| known.claim == claim) {
            return;
        }
        self.forget(&name);
        if self.known.len() >= MAX_KNOWN && !self.make_room() {
            self.ignore(Ignored::Full);
            return;
        }
        self.due.insert((now, name.clone()));
        self.known.insert(name, Known { claim, told: false, next: now });
    }

    /// Forgets what was handed over longest ago. Whether there was any.
    fn make_room(&mut self) -> bool {
        let is_told = |name: &String| self.known.get(name).is_some_and(|known| known.told);
        let oldest = self.due.iter().map(|(_, name)| name).find(|name| is_told(name)).cloned();
        if let Some(name) = &oldest {
            self.forget(name);
        }
        oldest.is_some()
    }

    /// Whether it was known.
    fn forget(&mut self, name: &str) -> bool {
        let Some((name, known)) = self.known.remove_entry(name) else { return false };
        self.due.remove(&(known.next, name))
    }

    fn ignore(&mut self, why: Ignored) {
        // Every node sees what it announces itself.
        if why != Ignored::Own {
            *self.ignored.entry(why).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lan::announcement::text;

    fn at(secs: u64) -> Moment {
        Moment::after(Duration::from_secs(secs))
    }

    fn realm() -> Realm {
        Realm::of("main", None)
    }

    fn lookout() -> Lookout {
        Lookout::new(NodeId::from_u128(1), realm(), Scope::Lan, at(0))
    }

    fn sighting(n: u32, realm: &Realm, last: u8) -> Sighting {
        Sighting {
            name: format!("n{n}"),
            text: text(NodeId::from_u128(u128::from(n) + 2), realm).into_iter().collect(),
            port: 5999,
            ips: vec![[10, 0, 0, last].into()],
        }
    }

    fn ids(findings: &[Finding]) -> Vec<u128> {
        findings.iter().map(|finding| finding.id.unwrap().as_u128()).collect()
    }

    #[test]
    fn a_node_is_handed_over_once_and_again_while_it_is_announced() {
        let mut lookout = lookout();
        assert_eq!(lookout.deadline(at(0)), None);
        lookout.seen(at(0), sighting(0, &realm(), 1));
        lookout.seen(at(0), sighting(0, &realm(), 1));
        assert_eq!(lookout.deadline(at(0)), Some(at(0)));
        let findings = lookout.due(at(0));
        assert_eq!(ids(&findings), [2]);
        assert_eq!(findings[0].addr, "10.0.0.1:5999".parse().unwrap());
        lookout.seen(at(1), sighting(0, &realm(), 1));
        assert_eq!(lookout.due(at(1)), []);
        assert_eq!(lookout.deadline(at(1)), Some(at(600)));
        assert_eq!(ids(&lookout.due(at(600))), [2]);
        // A new address is news.
        lookout.seen(at(601), sighting(0, &realm(), 2));
        assert_eq!(ids(&lookout.due(at(601))), [2]);
        assert!(lookout.gone("n0") && !lookout.gone("n0"));
        assert_eq!((lookout.deadline(at(602)), lookout.known.len()), (None, 0));
    }

    #[test]
    fn many_are_handed_over_one_a_second() {
        let mut lookout = lookout();
        for n in 0..40 {
            lookout.seen(at(0), sighting(n, &realm(), 1));
        }
        assert_eq!(lookout.due(at(0)).len(), 32);
        assert_eq!(lookout.deadline(at(0)), Some(at(1)));
        assert_eq!(lookout.due(at(3)).len(), 3);
    }

    #[test]
    fn who_was_handed_over_gives_way_and_who_waits_does_not() {
        let mut lookout = lookout();
        for n in 0..u32::try_from(MAX_KNOWN).unwrap() {
            lookout.seen(at(0), sighting(n, &realm(), 1));
        }
        lookout.seen(at(0), sighting(900, &realm(), 1));
        assert_eq!(lookout.known.len(), MAX_KNOWN);
        let first = ids(&lookout.due(at(0)));
        lookout.seen(at(1), sighting(901, &realm(), 1));
        assert_eq!(lookout.known.len(), MAX_KNOWN);
        assert!(!lookout.known.values().any(|known| known.claim.id.as_u128() == first[0]));
        let note = lookout.note(at(60)).unwrap();
        assert_eq!(
            (&*note.reason, &*note.detail),
            ("full", "announced on the local network: 1 full")
        );
    }

    #[test]
    fn what_is_ignored_is_noted_once_a_minute_and_the_own_service_never() {
        let mut lookout = lookout();
        let other = Realm::of("other", None);
        for n in 0..1000 {
            lookout.seen(at(0), sighting(n, &other, 1));
        }
        lookout.seen(
            at(0),
            Sighting {
                text: text(lookout.me, &realm()).into_iter().collect(),
                ..sighting(0, &realm(), 1)
            },
        );
        assert_eq!(lookout.note(at(59)), None);
        assert_eq!(lookout.deadline(at(59)), Some(at(60)));
        let note = lookout.note(at(60)).unwrap();
        assert_eq!((&*note.reason, note.numbers.get("services")), ("wrong-network", Some(1000)));
        assert_eq!((lookout.note(at(200)), lookout.deadline(at(200))), (None, None));
    }

    #[test]
    fn one_that_changes_its_network_is_forgotten() {
        let mut lookout = lookout();
        lookout.seen(at(0), sighting(0, &realm(), 1));
        lookout.seen(at(0), sighting(0, &Realm::of("other", None), 1));
        assert_eq!((lookout.due(at(0)), lookout.known.len()), (vec![], 0));
    }

    #[test]
    fn events_are_read_at_a_pace() {
        let mut lookout = lookout();
        for _ in 0..EVENTS {
            assert_eq!(lookout.may_read_at(at(0)), at(0));
            lookout.read(at(0));
        }
        let wait = lookout.may_read_at(at(0)).since(at(0));
        assert_eq!(wait, Duration::from_secs(1) / EVENTS_PER_SECOND);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nothing_grows_and_what_is_due_is_known(
            steps in prop::collection::vec((0_u32..600, 0_u8..4, 0_u64..30), 0..1200),
        ) {
            let (mut lookout, mut now, mut handed) = (lookout(), 0, 0);
            for (n, what, wait) in steps {
                match what {
                    0 => drop(lookout.gone(&format!("n{n}"))),
                    1 => lookout.seen(at(now), sighting(n, &Realm::of("other", None), 1)),
                    last => lookout.seen(at(now), sighting(n, &realm(), last)),
                }
                if n % 5 == 0 {
                    now += wait;
                    handed += u64::try_from(lookout.due(at(now)).len()).unwrap();
                    let _noted = lookout.note(at(now));
                }
                prop_assert!(lookout.known.len() <= MAX_KNOWN);
                prop_assert_eq!(lookout.due.len(), lookout.known.len());
                for (at, name) in &lookout.due {
                    prop_assert_eq!(lookout.known[name].next, *at);
                }
                prop_assert!(handed <= u64::from(BURST) + now);
            }
        }
    }
}
