//! An eclipse attack on one node, simulated: how many of its outbound sessions the attacker owns
//! after a restart (Heilman et al. 2015, "Eclipse attacks on Bitcoin's peer-to-peer network").
//!
//! The victim knows 100 honest addresses in 100 groups, told by five honest peers and proven. The
//! attacker has 32 addresses in 2 groups, connects from all of them, and for two hours tells its
//! own addresses and made-up ones again and again; it answers every dial. Then the victim starts
//! again with what it has kept and no first contacts, while the attacker connects and floods on.
//! All over the real machine, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and tells its figures"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use peerage::{
    Channel, CloseReason, Direction, HostPort, LinkId, NodeId, PeerInfo, Security,
    clock::Moment,
    config::DiscoveryConfig,
    proto::{
        address_book::BookKey,
        address_record::{AddressChange, AddressRecord},
        explorer::{DialResult, Explorer, ExplorerSetup, Output, Proof},
        link::Purpose,
        own_address::{OwnAddress, Settled},
    },
    wire::AddrEntry,
};
use rand::{Rng, SeedableRng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;

const HONEST: u8 = 100;
const ATTACKER: u8 = 32;
/// How long the flood lasts, and how often the attacker's sessions tell something.
const FLOOD: Duration = Duration::from_secs(2 * 3600);
const STEP: Duration = Duration::from_secs(60);
/// What one session tells at once, besides the attacker's own addresses.
const HEAP: u32 = 8;
/// How large a book the plain choice is compared with.
const FLAT_BOOK: usize = 8192;

fn at(ip: [u8; 4], port: u16) -> HostPort {
    std::net::SocketAddr::new(Ipv4Addr::from(ip).into(), port).into()
}

fn honest(n: u8) -> HostPort {
    at([20 + n, 7, 7, 7], 5999)
}

fn hostile_ip(n: u8) -> [u8; 4] {
    [200 + n % 2, 66, n, 1]
}

/// Who answers at an address, and whether it is the attacker.
fn who(addr: &HostPort, any_port: bool) -> Option<(NodeId, bool)> {
    let Some(IpAddr::V4(ip)) = addr.ip() else { return None };
    // Spread over all ids, as the hashes of keys are.
    let id = |kind: u128| {
        let bits = kind << 100 | u128::from(u32::from(ip)) << 16 | u128::from(addr.port());
        NodeId::from_u128(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    };
    if (0..HONEST).any(|n| *addr == honest(n)) {
        return Some((id(1), false));
    }
    let is_hostile = (0..ATTACKER).any(|n| hostile_ip(n) == ip.octets());
    (is_hostile && (any_port || addr.port() == 5999)).then(|| (id(2), true))
}

/// The attacker's addresses are its own with one port each, or with all.
#[derive(Clone, Copy)]
struct Attack {
    any_port: bool,
}

struct Victim {
    attack: Attack,
    explorer: Explorer,
    now: Moment,
    out: Vec<Output>,
    rng: ChaCha8Rng,
    dials: BTreeMap<(Moment, u64), (HostPort, Purpose)>,
    n_dials: u64,
    outbound: BTreeMap<NodeId, (PeerInfo, bool)>,
    /// What a book without buckets would have.
    heard: BTreeSet<HostPort>,
}

impl Victim {
    fn start(attack: Attack, seed: u64, target: usize, now: Moment) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = DiscoveryConfig { target_peers: target, ..Default::default() };
        let setup = ExplorerSetup {
            me: NodeId::from_u128(1),
            config,
            dead_after: Duration::from_secs(240),
            introduction: None,
            security: Security::Prefer,
            own: OwnAddress::new(Settled::new(None, &[at([9, 9, 9, 9], 5999)])),
            // The secret is kept over a restart; the other choices are not the same again.
            book_key: BookKey::new([u8::try_from(seed % 251).unwrap(); 32]),
            seed: rng.random::<u64>() ^ now.since_epoch().as_secs(),
        };
        Self {
            attack,
            explorer: Explorer::new(setup, now),
            now,
            out: Vec::new(),
            rng,
            dials: BTreeMap::new(),
            n_dials: 0,
            outbound: BTreeMap::new(),
            heard: BTreeSet::new(),
        }
    }

    fn info(&self, id: NodeId, remote: HostPort, direction: Direction) -> PeerInfo {
        PeerInfo {
            id,
            channel: Channel::PLAINTEXT,
            link: LinkId(0),
            direction,
            remote,
            listen: None,
            observed: None,
            agent: None,
            features: vec![],
            tags: Default::default(),
            since: self.now,
            last_seen: self.now,
            rtt: None,
        }
    }

    fn connects(&mut self, id: u128, ip: [u8; 4]) -> NodeId {
        let info = self.info(NodeId::from_u128(id), at(ip, 40_000), Direction::Inbound);
        self.explorer.peer_up(self.now, &info, &mut self.out);
        info.id
    }

    fn tells(&mut self, by: NodeId, addrs: &[HostPort]) {
        let room = FLAT_BOOK.saturating_sub(self.heard.len());
        self.heard.extend(addrs.iter().take(room).cloned());
        let entry = |addr: &HostPort| AddrEntry { addr: addr.to_string(), id: None };
        let entries: Vec<_> = addrs.iter().map(entry).collect();
        self.explorer.addrs(self.now, by, &entries, &mut self.out);
    }

    /// Five honest peers tell all honest addresses, and each is proven.
    fn meet_the_honest(&mut self) {
        let all: Vec<HostPort> = (0..HONEST).map(honest).collect();
        for n in 0..5 {
            let teller = self.connects(100 + u128::from(n), [20 + n, 7, 7, 7]);
            self.tells(teller, &all);
        }
        self.run(self.now + Duration::from_secs(60), usize::MAX);
        for addr in all {
            let (id, _) = who(&addr, false).unwrap();
            if !self.explorer.is_dialling(&addr) && !self.outbound.contains_key(&id) {
                let end = Some((CloseReason::Feeler, String::new()));
                let proof = Some(Proof { id, proven: true, local: None });
                let result = DialResult { proof, end };
                self.explorer.dialled(self.now, &addr, result, &mut self.out);
            }
        }
    }

    fn hostile_sessions(&mut self) -> Vec<NodeId> {
        let connect = |n: u8| self.connects(200 + u128::from(n), hostile_ip(n));
        (0..ATTACKER).map(connect).collect()
    }

    /// The attacker's sessions tell its own addresses and heaps of others.
    fn flood(&mut self, sessions: &[NodeId]) {
        for session in sessions {
            let mut told: Vec<HostPort> = (0..HEAP)
                .map(|_| {
                    let port = self.rng.random_range(1..u16::MAX);
                    if self.attack.any_port {
                        at(hostile_ip(self.rng.random_range(0..ATTACKER)), port)
                    } else {
                        let [a, b, c] = self.rng.random();
                        at([130 + a % 60, b, c, 1], port)
                    }
                })
                .collect();
            told.push(at(hostile_ip(self.rng.random_range(0..ATTACKER)), 5999));
            self.tells(*session, &told);
        }
    }

    /// Lets time pass; ends early when there are so many outbound sessions.
    fn run(&mut self, until: Moment, enough: usize) {
        loop {
            for output in std::mem::take(&mut self.out) {
                let Output::Dial(plan) = output else { continue };
                let answers = who(&plan.addr, self.attack.any_port).is_some();
                let takes = if answers { 1 } else { 3 };
                let due = self.now + Duration::from_secs(takes);
                self.n_dials += 1;
                self.dials.insert((due, self.n_dials), (plan.addr, plan.purpose));
            }
            let due = self.explorer.deadline(self.now);
            let ended = self.dials.keys().next().map(|(at, _)| *at);
            let next = due.into_iter().chain(ended).min().filter(|next| *next <= until);
            let Some(next) = next.filter(|_| self.outbound.len() < enough) else { break };
            self.now = self.now.max(next);
            match self.dials.first_entry() {
                Some(first) if first.key().0 <= self.now => {
                    let (addr, purpose) = first.remove();
                    self.ended(&addr, purpose);
                }
                _ => self.explorer.tick(self.now, &mut self.out),
            }
        }
        if self.outbound.len() < enough {
            self.now = self.now.max(until);
        }
    }

    fn ended(&mut self, addr: &HostPort, purpose: Purpose) {
        let Some((id, hostile)) = who(addr, self.attack.any_port) else {
            let end = Some((CloseReason::Unreachable, String::new()));
            let result = DialResult { proof: None, end };
            return self.explorer.dialled(self.now, addr, result, &mut self.out);
        };
        let proof = Some(Proof { id, proven: true, local: None });
        let end = if purpose == Purpose::Feeler {
            Some((CloseReason::Feeler, String::new()))
        } else if self.outbound.contains_key(&id) {
            Some((CloseReason::Duplicate, String::new()))
        } else {
            let info = self.info(id, addr.clone(), Direction::Outbound);
            self.explorer.peer_up(self.now, &info, &mut self.out);
            self.outbound.insert(id, (info, hostile));
            None
        };
        self.explorer.dialled(self.now, addr, DialResult { proof, end }, &mut self.out);
    }

    /// One honest outbound session ends, as sessions do.
    fn lose_one(&mut self) {
        let honest = self.outbound.iter().filter(|(_, (_, hostile))| !hostile);
        let Some(id) = honest.map(|(id, _)| *id).choose(&mut self.rng) else { return };
        let (info, _) = self.outbound.remove(&id).unwrap();
        self.explorer.peer_down(self.now, &info, &CloseReason::Gone, &mut self.out);
    }

    fn records(&mut self) -> Vec<AddressRecord> {
        let put = |change| match change {
            AddressChange::Put(record) => Some(*record),
            AddressChange::Gone(_) => None,
        };
        self.explorer.take_changes().into_iter().filter_map(put).collect()
    }
}

struct Figures {
    /// The attacker's share of the outbound sessions after a restart, for each target.
    shares: Vec<f64>,
    /// The share that it would have if addresses were chosen evenly from all that were heard.
    plain: Vec<f64>,
    /// The share of the honest addresses that are kept.
    survived: f64,
}

fn attacked(attack: Attack, seed: u64, targets: &[usize]) -> Figures {
    let mut victim = Victim::start(attack, seed, 64, Moment::after(Duration::from_secs(1)));
    victim.meet_the_honest();
    let sessions = victim.hostile_sessions();
    let end = victim.now + FLOOD;
    let mut step = 0;
    while victim.now < end {
        victim.flood(&sessions);
        victim.run(victim.now + STEP, usize::MAX);
        step += 1;
        if step % 10 == 0 {
            victim.lose_one();
        }
    }
    let records = victim.records();
    let kept: BTreeSet<_> = records.iter().map(|record| record.addr.clone()).collect();
    let n_kept = (0..HONEST).filter(|n| kept.contains(&honest(*n))).count();
    let restarted = |target: &usize| restart(attack, seed, *target, records.clone(), victim.now);
    let plainly = |target: &usize| plain_choice(attack, seed, *target, &victim.heard);
    Figures {
        shares: targets.iter().map(restarted).collect(),
        plain: targets.iter().map(plainly).collect(),
        survived: n_kept as f64 / f64::from(HONEST),
    }
}

fn restart(
    attack: Attack,
    seed: u64,
    target: usize,
    records: Vec<AddressRecord>,
    then: Moment,
) -> f64 {
    let mut victim = Victim::start(attack, seed, target, then + Duration::from_secs(30));
    victim.explorer.remember(victim.now, records);
    victim.explorer.start(victim.now, &[], &mut victim.out);
    let sessions = victim.hostile_sessions();
    // The attacker's sessions are inbound and do not count; they only take room.
    let enough = 8.max(target.saturating_sub(usize::from(ATTACKER)));
    let end = victim.now + Duration::from_secs(1800);
    while victim.outbound.len() < enough && victim.now < end {
        victim.flood(&sessions);
        victim.run(victim.now + STEP, enough);
    }
    assert!(victim.outbound.len() >= enough, "{} outbound sessions", victim.outbound.len());
    let hostile = victim.outbound.values().filter(|(_, hostile)| *hostile).count();
    hostile as f64 / victim.outbound.len() as f64
}

fn plain_choice(attack: Attack, seed: u64, target: usize, heard: &BTreeSet<HostPort>) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let answering = heard.iter().filter_map(|addr| who(addr, attack.any_port));
    let chosen = answering.choose_multiple(&mut rng, target);
    chosen.iter().filter(|(_, hostile)| *hostile).count() as f64 / chosen.len() as f64
}

fn mean(shares: &[f64]) -> f64 {
    shares.iter().sum::<f64>() / shares.len() as f64
}

fn worst(shares: &[f64]) -> f64 {
    shares.iter().copied().fold(0.0, f64::max)
}

/// Runs the attack with many seeds, tells the figures, and holds the means and the worst to bounds.
fn bounded(name: &str, attack: Attack, seeds: u64, bounds: [(f64, f64); 2]) {
    let targets = [8, 64];
    let all: Vec<_> = (0..seeds).map(|seed| attacked(attack, seed, &targets)).collect();
    let survived: Vec<f64> = all.iter().map(|figures| figures.survived).collect();
    let least = survived.iter().copied().fold(1.0, f64::min);
    println!(
        "{name}: of the honest addresses {:.3} are kept, {least:.3} at least",
        mean(&survived)
    );
    assert!(least >= 0.95);
    for (n, target) in targets.iter().enumerate() {
        let shares: Vec<f64> = all.iter().map(|figures| figures.shares[n]).collect();
        let plain: Vec<f64> = all.iter().map(|figures| figures.plain[n]).collect();
        println!(
            "{name}: of {target} sessions wanted, the attacker owns of the outbound ones {:.3} in \
             the mean and {:.3} at worst; by a plain choice {:.3} and {:.3}",
            mean(&shares),
            worst(&shares),
            mean(&plain),
            worst(&plain)
        );
        let (mean_bound, worst_bound) = bounds[n];
        assert!(mean(&shares) <= mean_bound && worst(&shares) <= worst_bound);
    }
}

#[test]
fn an_attacker_with_32_addresses_in_2_groups_owns_few_of_the_outbound_sessions() {
    bounded("one port", Attack { any_port: false }, 100, [(0.08, 0.25), (0.08, 0.125)]);
}

#[test]
fn having_all_ports_of_the_32_addresses_answer_does_not_help_it() {
    bounded("all ports", Attack { any_port: true }, 20, [(0.25, 0.25), (0.125, 0.125)]);
}
