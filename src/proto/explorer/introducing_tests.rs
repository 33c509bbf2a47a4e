//! An introducer's explorer, with guests and addresses that a test makes up.

use std::collections::BTreeSet;

use super::*;
use crate::{
    Channel, Direction, LinkId, Security,
    config::{NodeConfig, Role},
    proto::{
        address_book::BookKey,
        address_record::AddressChange,
        explorer::{DialResult, ExplorerSetup, Proof},
        own_address::{OwnAddress, Settled},
    },
    wire::{AddrEntry, Frame},
};

/// An introducer, and what it wants done.
struct World {
    explorer: Explorer,
    now: Moment,
    out: Vec<Output>,
    dialled: Vec<(HostPort, Purpose)>,
    /// What was sent to whom.
    sent: Vec<(NodeId, Encoded)>,
    let_go: Vec<NodeId>,
}

fn id(n: u32) -> NodeId {
    // Spread over all ids, as the hashes of keys are.
    NodeId::from_u128(u128::from(n + 2).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// The nth node's address, in one of 2,000 groups.
fn home(n: u32) -> HostPort {
    let group = n % 2000;
    let text =
        format!("{}.{}.{}.{}:5999", 20 + group / 250, group % 250, n / 250_000, n / 2000 % 250 + 1);
    text.parse().unwrap()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl World {
    fn new() -> Self {
        let config = NodeConfig::for_role(Role::Introducer);
        let setup = ExplorerSetup {
            me: NodeId::from_u128(1),
            config: config.discovery,
            dead_after: config.liveness.dead_after,
            security: Security::Prefer,
            introduction: Some(config.introduction),
            own: OwnAddress::new(Settled::new(None, &["9.9.9.9:5999".parse().unwrap()])),
            book_key: BookKey::new([7; 32]),
            seed: 7,
        };
        // When a day begins, and with it a window.
        let now = Moment::after(secs(12 * 86_400));
        let mut explorer = Explorer::new(setup, now);
        let mut out = Vec::new();
        explorer.start(now, &[], &mut out);
        let (dialled, sent, let_go) = Default::default();
        Self { explorer, now, out, dialled, sent, let_go }
    }

    fn info(&self, id: NodeId, from: &str, listen: Option<HostPort>) -> PeerInfo {
        PeerInfo {
            id,
            channel: Channel::PLAINTEXT,
            link: LinkId(0),
            direction: Direction::Inbound,
            remote: from.parse().unwrap(),
            listen,
            observed: None,
            agent: None,
            features: vec![],
            tags: Default::default(),
            since: self.now,
            last_seen: self.now,
            rtt: None,
        }
    }

    /// A guest comes from an address.
    fn comes(&mut self, id: NodeId, from: &str, listen: Option<HostPort>) -> PeerInfo {
        let info = self.info(id, from, listen);
        self.explorer.peer_up(self.now, &info, &mut self.out);
        self.note();
        info
    }

    fn goes(&mut self, info: &PeerInfo, reason: CloseReason) {
        self.explorer.peer_down(self.now, info, &reason, &mut self.out);
        self.note();
    }

    fn note(&mut self) {
        for output in self.out.drain(..) {
            match output {
                Output::Dial(plan) => self.dialled.push((plan.addr, plan.purpose)),
                Output::Send(to, line) => self.sent.push((to, line)),
                Output::Close(id, reason) => {
                    assert_eq!(reason, CloseReason::Introduced);
                    self.let_go.push(id);
                }
                _ => {}
            }
        }
    }

    /// What comes of the dials: this node answers there, or nobody.
    fn answers(&mut self, who: impl Fn(&HostPort) -> Option<NodeId>) {
        while let Some((addr, purpose)) = self.dialled.pop() {
            assert_eq!(purpose, Purpose::Feeler, "{addr}");
            let result = match who(&addr) {
                Some(id) => DialResult {
                    proof: Some(Proof { id, proven: true, local: None }),
                    end: Some((CloseReason::Feeler, String::new())),
                },
                None => {
                    DialResult { proof: None, end: Some((CloseReason::Unreachable, String::new())) }
                }
            };
            self.explorer.dialled(self.now, &addr, result, &mut self.out);
            self.note();
        }
    }

    /// Lets time pass, second by second.
    fn pass(&mut self, time: u64, who: impl Fn(&HostPort) -> Option<NodeId>) {
        for _ in 0..time {
            self.now = self.now + secs(1);
            self.explorer.tick(self.now, &mut self.out);
            self.note();
            self.answers(&who);
        }
    }

    /// Many nodes register, and all are there. As many as are dialled in a second come in one.
    fn registered(&mut self, n: u32) {
        for n in 0..n {
            let at = home(n);
            let guest = self.comes(id(n), &at.with_port(40_000).to_string(), Some(at));
            self.answers(everybody);
            self.goes(&guest, CloseReason::Introduced);
            if n % 60 == 59 {
                self.pass(1, everybody);
            }
        }
        self.pass(5, everybody);
    }

    fn asks(&mut self, guest: NodeId, near: Option<NodeId>, max: Option<usize>) -> Vec<HostPort> {
        let answer = self.explorer.get_addr(self.now, guest, near, max);
        self.note();
        told(&answer)
    }
}

/// Whoever says that it is somewhere is there.
fn everybody(addr: &HostPort) -> Option<NodeId> {
    let std::net::IpAddr::V4(ip) = addr.ip()? else { return None };
    let [a, b, c, d] = ip.octets().map(u32::from);
    let n = a.checked_sub(20)? * 250 + b + d.checked_sub(1)? * 2000 + c * 250_000;
    (n < 12_000 && home(n) == *addr).then(|| id(n))
}

fn told(line: &Encoded) -> Vec<HostPort> {
    match Frame::parse(line.bytes().trim_ascii_end()) {
        Ok(Frame::Addr(entries)) => {
            entries.iter().map(|entry| entry.addr.parse().unwrap()).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_newcomer_is_told_to_others_when_a_feeler_has_met_it_and_not_before() {
    let mut world = World::new();
    let asker = world.comes(id(1), "203.0.113.1:40000", None);
    world.comes(id(2), "198.51.100.2:40000", Some(home(2)));
    assert_eq!(world.dialled, [(home(2), Purpose::Feeler)]);
    assert!(world.asks(asker.id, None, None).is_empty(), "only hearsay yet");
    world.answers(everybody);
    let news: Vec<_> = world.sent.drain(..).map(|(to, line)| (to, told(&line))).collect();
    assert_eq!(news, [(asker.id, vec![home(2)])]);
    assert_eq!(world.asks(asker.id, None, None), [home(2)]);
    // Whoever says so of an address where another is found tells nothing.
    world.comes(id(3), "198.51.100.3:40000", Some(home(4)));
    world.answers(everybody);
    let named = world.explorer.book().get(&home(4)).unwrap();
    assert_eq!((named.id, named.proven), (Some(id(4)), Some(world.now)));
}

#[test]
fn guests_are_let_go_and_none_is_dialled_for_a_session() {
    let mut world = World::new();
    world.registered(40);
    world.let_go.clear();
    let served = world.comes(id(100), "203.0.113.1:40000", None);
    let silent = world.comes(id(101), "198.51.100.2:40000", None);
    assert_eq!(world.asks(served.id, Some(served.id), Some(20)).len(), 20);
    world.pass(2, everybody);
    assert_eq!(world.let_go, [served.id]);
    world.goes(&served, CloseReason::Introduced);
    world.pass(20, everybody);
    assert_eq!(world.let_go, [served.id, silent.id]);
    world.goes(&silent, CloseReason::Introduced);
    // `answers` has seen that every dial was a feeler.
    world.pass(4000, everybody);
}

#[test]
fn one_asker_sees_its_share_and_many_see_all() {
    let mut world = World::new();
    world.registered(2000);
    let share = 2000 / 8;
    let mut seen = BTreeSet::new();
    // A new id each time, from all over its network, for half a day.
    for n in 0..500u32 {
        let from = format!("203.0.{}.{}:{}", n % 250, n / 250 + 1, 40_000 + n);
        let guest = world.comes(id(20_000 + n), &from, None);
        for question in 0..10 {
            let near = (question % 2 == 0).then(|| id(n * 10 + question));
            seen.extend(world.asks(guest.id, near, None));
        }
        world.goes(&guest, CloseReason::Requested);
        seen.extend(world.sent.drain(..).flat_map(|(_, line)| told(&line)));
        world.pass(if n % 20 == 0 { 1000 } else { 0 }, everybody);
    }
    assert!(seen.len() <= share, "{} of {share}", seen.len());
    assert!(seen.len() >= share * 9 / 10, "{} of {share}", seen.len());
    // The same id from everywhere.
    let mut by_id = BTreeSet::new();
    for n in 0..200u32 {
        let guest = world.comes(id(30_000), &format!("{}.7.0.1:40000", 20 + n), None);
        by_id.extend(world.asks(guest.id, None, None));
        world.goes(&guest, CloseReason::Requested);
    }
    assert!(by_id.len() <= share, "{} of {share}", by_id.len());
    let mut all = BTreeSet::new();
    for n in 0..400u32 {
        let from = format!("{}.{}.0.1:40000", 100 + n / 250, n % 250);
        let guest = world.comes(id(40_000 + n), &from, None);
        all.extend((0..8).flat_map(|_| world.asks(guest.id, None, None)));
        world.goes(&guest, CloseReason::Requested);
    }
    assert_eq!(all.len(), 2000);
}

#[test]
fn ten_thousand_registrations_are_held_and_told_a_day_later() {
    let mut world = World::new();
    world.registered(10_000);
    let proven = |world: &World| {
        let book = world.explorer.book();
        book.iter().filter(|(_, entry)| entry.proven.is_some() && entry.failures == 0).count()
    };
    assert_eq!(proven(&world), 10_000);
    assert_eq!(world.explorer.book().n_on_ring(), 10_000);
    // They are proven again and again, by no more dials than that takes.
    world.pass(3600, everybody);
    let oldest = world.explorer.book().iter().filter_map(|(_, entry)| entry.proven).min().unwrap();
    assert_eq!(proven(&world), 10_000);
    assert!(world.now.since(oldest) <= secs(1200), "{:?}", world.now.since(oldest));
    let guest = world.comes(id(50_000), "203.0.113.1:40000", None);
    assert_eq!(world.asks(guest.id, None, None).len(), 256);
    let all = world.share_len(guest.id);
    assert_eq!(all, 1250);
}

impl World {
    fn share_len(&mut self, guest: NodeId) -> usize {
        self.explorer.share_of(self.now, guest).len()
    }
}

#[test]
fn after_a_restart_nobody_is_told_that_was_not_met_again() {
    let mut before = World::new();
    before.registered(500);
    let kept = before.explorer.take_changes().into_iter().filter_map(|change| match change {
        AddressChange::Put(record) => Some(*record),
        AddressChange::Gone(_) => None,
    });
    let mut world = World::new();
    world.explorer.remember(world.now, kept.collect());
    let guest = world.comes(id(9000), "203.0.113.1:40000", None);
    assert!(world.asks(guest.id, None, None).is_empty());
    // Half of them have gone meanwhile.
    world.pass(30, |addr| everybody(addr).filter(|found| (0..250).any(|n| id(n) == *found)));
    assert_eq!(world.explorer.book().n_on_ring(), 250);
    let guest = world.comes(id(9001), "203.0.113.1:40000", None);
    assert_eq!(world.asks(guest.id, None, None).len(), 64);
}

#[test]
fn who_stops_is_told_no_more_and_who_comes_back_is_at_once() {
    let mut world = World::new();
    world.registered(1);
    let guest = world.comes(id(0), "20.0.0.1:40000", Some(home(0)));
    world.goes(&guest, CloseReason::Peer("shutdown".into()));
    let asker = world.comes(id(9), "203.0.113.1:40000", None);
    assert!(world.asks(asker.id, None, None).is_empty());
    // Nobody is there for a day, and then again.
    world.pass(86_400, |_| None);
    let guest = world.comes(id(0), "20.0.0.1:40000", Some(home(0)));
    world.answers(everybody);
    world.goes(&guest, CloseReason::Introduced);
    let asker = world.comes(id(10), "203.0.113.1:40000", None);
    assert_eq!(world.asks(asker.id, None, None), [home(0)]);
    // One whose session just breaks off may be there still; a feeler finds out.
    world.pass(1200, |_| None);
    assert_eq!(world.asks(asker.id, None, None), [] as [HostPort; 0]);
}

/// A network that declares addresses where nobody answers, as fast as it is let in, and tells heaps
/// of others, does not keep an honest newcomer or those who are known from being proven.
#[test]
fn a_flood_of_false_addresses_delays_others_by_seconds() {
    let mut world = World::new();
    world.registered(300);
    let (mut hanging, mut guests, mut waited) = (Vec::new(), Vec::new(), Vec::new());
    let mut coming: Option<(Moment, u32, PeerInfo)> = None;
    for second in 0..1300u32 {
        for guest in guests.drain(..) {
            world.goes(&guest, CloseReason::Requested);
        }
        world.attacked(second, &mut guests);
        if coming.is_none() {
            let n = 2000 + second;
            let from = home(n).with_port(40_000).to_string();
            let guest = world.comes(id(n), &from, Some(home(n)));
            coming = Some((world.now, n, guest));
        }
        world.slowly(&mut hanging);
        let is_proven = |n: &u32| {
            world.explorer.book().get(&home(*n)).is_some_and(|entry| entry.proven.is_some())
        };
        if let Some((since, _, guest)) = coming.take_if(|(_, n, _)| is_proven(n)) {
            waited.push(world.now.since(since).as_secs());
            world.goes(&guest, CloseReason::Introduced);
        }
        world.now = world.now + secs(1);
        world.explorer.tick(world.now, &mut world.out);
        world.note();
    }
    waited.sort_unstable();
    assert!(waited.len() >= 200, "{waited:?}");
    assert!(waited[waited.len() / 2] <= 5 && waited[waited.len() - 1] <= 20, "{waited:?}");
    let is_old = |n: &u32| {
        let entry = world.explorer.book().get(&home(*n));
        entry.is_none_or(|e| world.now.since(e.proven.unwrap()) > secs(1200) || e.failures > 0)
    };
    assert_eq!((0..300).filter(is_old).count(), 0);
}

impl World {
    /// Guests of one network come, with five addresses each and heaps of hearsay.
    fn attacked(&mut self, second: u32, guests: &mut Vec<PeerInfo>) {
        for n in 0..32 {
            let place = |k: u32| format!("200.66.{n}.{}:{}", k + 1, 1 + second);
            let from = format!("200.66.{n}.9:40000");
            let guest = self.comes(id(100_000 + n), &from, Some(place(0).parse().unwrap()));
            let mine = (1..5).map(|k| AddrEntry { addr: place(k), id: Some(guest.id) });
            let others = (0..10).map(|k| AddrEntry {
                addr: format!("{}.{}.{k}.{n}:1", 140 + second % 50, second % 250),
                id: None,
            });
            let told: Vec<AddrEntry> = mine.chain(others).collect();
            self.explorer.addrs(self.now, guest.id, &told, &mut self.out);
            guests.push(guest);
        }
        self.note();
    }

    /// Who is there answers at once, and where nobody is a dial takes all the time it may.
    fn slowly(&mut self, hanging: &mut Vec<(Moment, HostPort)>) {
        loop {
            let dialled = std::mem::take(&mut self.dialled);
            let (there, nowhere): (Vec<_>, Vec<_>) =
                dialled.into_iter().partition(|(addr, _)| everybody(addr).is_some());
            hanging.extend(nowhere.into_iter().map(|(addr, _)| (self.now + secs(5), addr)));
            if there.is_empty() {
                break;
            }
            self.dialled = there;
            let (addr, purpose) = self.dialled.pop().unwrap();
            assert_eq!(purpose, Purpose::Feeler);
            let proof = everybody(&addr).map(|id| Proof { id, proven: true, local: None });
            let end = Some((CloseReason::Feeler, String::new()));
            self.explorer.dialled(self.now, &addr, DialResult { proof, end }, &mut self.out);
            self.note();
        }
        let ended: Vec<_> = hanging.extract_if(.., |(due, _)| *due <= self.now).collect();
        for (_, addr) in ended {
            let end = Some((CloseReason::Unreachable, String::new()));
            let result = DialResult { proof: None, end };
            self.explorer.dialled(self.now, &addr, result, &mut self.out);
        }
        self.note();
    }
}

/// A node that an introducer has let go.
mod of_others {
    use super::*;
    use crate::config::DiscoveryConfig;

    fn introduced() -> CloseReason {
        CloseReason::Peer("introduced".into())
    }

    /// A node with so many peers, whose first contact has let it go.
    fn let_go(n_peers: u32) -> (Explorer, Moment, Vec<Output>) {
        let now = Moment::after(secs(1_000_000));
        let setup = ExplorerSetup {
            me: NodeId::from_u128(1),
            config: DiscoveryConfig::default(),
            dead_after: secs(240),
            security: Security::Prefer,
            introduction: None,
            own: OwnAddress::new(Settled::new(None, &["9.9.9.9:5999".parse().unwrap()])),
            book_key: BookKey::new([7; 32]),
            seed: 7,
        };
        let (mut explorer, mut out) = (Explorer::new(setup, now), Vec::new());
        explorer.start(now, &[home(0).into()], &mut out);
        for n in 1..=n_peers {
            explorer.peer_up(now, &info(now, id(n), home(n)), &mut out);
        }
        meet(&mut explorer, now, &mut out);
        (explorer, now, out)
    }

    fn info(now: Moment, id: NodeId, remote: HostPort) -> PeerInfo {
        let mut info = World::new().info(id, "192.0.2.1:1", None);
        (info.remote, info.since, info.direction) = (remote, now, Direction::Outbound);
        info
    }

    /// The introducer answers and lets this node go.
    fn meet(explorer: &mut Explorer, now: Moment, out: &mut Vec<Output>) {
        let guest = info(now, id(0), home(0));
        explorer.peer_up(now, &guest, out);
        let proof = Some(Proof { id: id(0), proven: true, local: None });
        explorer.dialled(now, &home(0), DialResult { proof, end: None }, out);
        explorer.peer_down(now + secs(2), &guest, &introduced(), out);
        out.clear();
    }

    /// After how many seconds the introducer is dialled.
    fn comes_back(explorer: &mut Explorer, now: Moment, out: &mut Vec<Output>) -> u64 {
        let is_it = |output: &Output| matches!(output, Output::Dial(plan) if plan.addr == home(0));
        (0..10_000)
            .find(|n| {
                explorer.tick(now + secs(*n), out);
                out.drain(..).any(|output| is_it(&output))
            })
            .unwrap()
    }

    #[test]
    fn it_comes_back_when_it_needs_to() {
        for (n_peers, from, to) in [(0, 11, 21), (3, 45, 78), (20, 2700, 4503)] {
            let (mut explorer, now, mut out) = let_go(n_peers);
            let entry = explorer.book().get(&home(0)).unwrap();
            assert!(entry.proven.is_some() && entry.failures == 0 && !entry.lost, "{entry:?}");
            let after = comes_back(&mut explorer, now, &mut out);
            assert!((from..=to).contains(&after), "{n_peers} peers: after {after} s");
        }
    }

    #[test]
    fn one_that_stays_small_comes_back_ever_later_and_one_that_is_left_alone_at_once() {
        let (mut explorer, mut now, mut out) = let_go(3);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let after = comes_back(&mut explorer, now, &mut out);
            pauses.push(after);
            now = now + secs(after);
            meet(&mut explorer, now, &mut out);
        }
        assert!(pauses[1] > 85 && pauses[3] > 350 && pauses[7] > 2600, "{pauses:?}");
        now = now + secs(100);
        for n in 1..=3 {
            let peer = info(now, id(n), home(n));
            explorer.peer_down(now, &peer, &CloseReason::Gone, &mut out);
        }
        out.clear();
        assert!(comes_back(&mut explorer, now, &mut out) <= 3);
    }
}
