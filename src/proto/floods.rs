//! How often decisions that strangers cause at will have an entry of their own in the journal.

use std::{borrow::Cow, collections::BTreeMap, ops::Range, time::Duration};

use crate::{
    address::{Class, HostPort, Subnet},
    clock::Moment,
    proto::{
        journal::{Decision, Kind},
        token_bucket::TokenBucket,
    },
};

/// Entries that one subnet causes at once for one reason; then one a second, with what has gathered.
const PER_SUBNET: u32 = 8;

/// Entries that all subnets together cause at once for one reason: whoever has an IPv6 /48 has
/// 65,536 subnets. A sixteenth of the journal as it is by default.
const PER_REASON: u32 = 256;

/// … and then per second.
const PER_REASON_RATE: u32 = 8;

/// Subnets kept in mind. What is over counts for its reason alone.
const MAX_SUBNETS: usize = 1024;

/// Reasons kept in mind; there are fewer codes than that.
const MAX_REASONS: usize = 64;

type Reason = (Kind, Cow<'static, str>);

/// What is to become of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has an entry of its own.
    Keep,
    /// It is counted in the entry of this place.
    CountIn(u64),
}

/// The allowances of subnets and reasons.
#[derive(Debug)]
pub struct Floods {
    subnets: BTreeMap<(Reason, Subnet), Slot>,
    reasons: BTreeMap<Reason, Slot>,
    /// When those that had been quiet were last forgotten.
    swept: Moment,
}

#[derive(Debug)]
struct Slot {
    bucket: TokenBucket,
    /// Where its latest entry is.
    place: u64,
    last: Moment,
}

impl Slot {
    fn new(burst: u32, rate: u32, now: Moment) -> Self {
        Self { bucket: TokenBucket::new(burst, rate, now), place: 0, last: now }
    }

    fn may(&mut self, now: Moment) -> bool {
        self.last = now;
        self.bucket.take(now, 1) > 0
    }
}

impl Floods {
    /// Nobody has caused anything.
    #[must_use]
    pub const fn new() -> Self {
        Self { subnets: BTreeMap::new(), reasons: BTreeMap::new(), swept: Moment::ZERO }
    }

    /// Whether a decision has an entry of its own, which would be at the end of these places.
    pub fn judge(&mut self, decision: &Decision, places: Range<u64>) -> Verdict {
        let now = decision.at;
        self.make_room(now);
        // Why a session ended may be in the peer's own words, of which it has as many as it likes.
        let is_end = decision.kind == Kind::SessionDown;
        let reason = if is_end { "".into() } else { decision.reason.clone() };
        let reason: Reason = (decision.kind, reason);
        // Nodes on this machine are no strangers.
        let ip = decision.addr.as_ref().and_then(HostPort::ip);
        let ip = ip.filter(|ip| Class::of(*ip) != Class::Loopback);
        let subnet = ip.map(Subnet::site_of);
        let new = || Slot::new(PER_SUBNET, 1, now);
        let subnet = subnet
            .and_then(|subnet| slot(&mut self.subnets, (reason.clone(), subnet), MAX_SUBNETS, new));
        let new = || Slot::new(PER_REASON, PER_REASON_RATE, now);
        let reason = slot(&mut self.reasons, reason, MAX_REASONS, new);
        let mut slots = [subnet, reason];
        for slot in slots.iter_mut().flatten() {
            // An entry that was overwritten counts nothing any more.
            if !slot.may(now) && places.contains(&slot.place) {
                return Verdict::CountIn(slot.place);
            }
        }
        for slot in slots.into_iter().flatten() {
            slot.place = places.end;
        }
        Verdict::Keep
    }

    /// Forgets the quiet ones, whose allowance is full again; at most once a second.
    fn make_room(&mut self, now: Moment) {
        let second = Duration::from_secs(1);
        let is_full = self.subnets.len() >= MAX_SUBNETS || self.reasons.len() >= MAX_REASONS;
        if is_full && now.since(self.swept) >= second {
            self.swept = now;
            self.subnets.retain(|_, slot| now.since(slot.last) < second * PER_SUBNET);
            let quiet = second * (PER_REASON / PER_REASON_RATE);
            self.reasons.retain(|_, slot| now.since(slot.last) < quiet);
        }
    }
}

/// The slot of this key; `None` if there is no room for another.
fn slot<K: Ord>(
    slots: &mut BTreeMap<K, Slot>,
    key: K,
    max: usize,
    new: impl FnOnce() -> Slot,
) -> Option<&mut Slot> {
    if slots.len() >= max && !slots.contains_key(&key) {
        return None;
    }
    Some(slots.entry(key).or_insert_with(new))
}

impl Default for Floods {
    fn default() -> Self {
        Self::new()
    }
}
