use proptest::prelude::*;

use super::*;
use crate::testkit::minimal_hello as hello;

const ME: u128 = 50;

fn at(secs: u64) -> Moment {
    Moment::after(Duration::from_secs(secs))
}

/// A table with what came out of it, and the two ways a link reaches it.
struct Harness {
    table: PeerTable<()>,
    out: Vec<Effect>,
    n_links: u64,
}

impl Harness {
    fn new(me: u128) -> Self {
        let limits = LimitsConfig { max_inbound: 3, max_unfinished: 2, ..LimitsConfig::default() };
        Self { table: PeerTable::new(NodeId::from_u128(me), limits), out: vec![], n_links: 0 }
    }

    fn open(&mut self, direction: Direction) -> LinkId {
        self.n_links += 1;
        let link = LinkId(self.n_links);
        let remote = "127.0.0.1:1".parse().unwrap();
        self.table.opened(link, direction, remote, (), &mut self.out);
        link
    }

    fn greet(&mut self, link: LinkId, id: u128) -> Vec<Effect> {
        self.table.greeted(at(0), link, hello(id), Channel::PLAINTEXT, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn session(&mut self, direction: Direction, id: u128) -> (LinkId, Vec<Effect>) {
        let link = self.open(direction);
        (link, self.greet(link, id))
    }

    fn closed(&mut self, link: LinkId) -> Vec<Effect> {
        self.table.closed(link, at(1), &CloseReason::Gone, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn active(&self) -> Vec<(u128, LinkId)> {
        self.table.peers().map(|p| (p.id.as_u128(), p.link)).collect()
    }
}

fn admits(effects: &[Effect]) -> Vec<LinkId> {
    effects.iter().filter_map(|e| if let Effect::Admit(l) = e { Some(*l) } else { None }).collect()
}

fn closes(effects: &[Effect]) -> Vec<(LinkId, &str)> {
    let close = |e: &'_ Effect| match e {
        Effect::Close(link, reason, _) => Some((*link, reason.clone())),
        _ => None,
    };
    let found: Vec<_> = effects.iter().filter_map(close).collect();
    found
        .into_iter()
        .map(|(link, reason)| {
            let code = CloseReason::SENT.iter().position(|r| *r == reason).unwrap();
            (link, CLOSE_CODES[code])
        })
        .collect()
}

const CLOSE_CODES: [&str; 12] = [
    "shutdown",
    "self",
    "duplicate",
    "full",
    "wrong-network",
    "protocol",
    "too-large",
    "timeout",
    "slow",
    "feeler",
    "requested",
    "internal",
];

#[test]
fn a_newcomer_is_admitted_and_its_end_is_told() {
    let mut h = Harness::new(ME);
    let (link, effects) = h.session(Direction::Inbound, 7);
    assert!(matches!(&effects[..], [Effect::Up(info), Effect::Admit(l)]
        if *l == link && info.id.as_u128() == 7));
    assert!(matches!(&h.closed(link)[..], [Effect::Down(_, CloseReason::Gone)]));
    assert_eq!(h.table.n_links(), 0);
}

#[test]
fn our_own_id_is_never_a_peer() {
    let mut h = Harness::new(ME);
    let (link, effects) = h.session(Direction::Inbound, ME);
    assert_eq!(closes(&effects), [(link, "self")]);
    assert_eq!(h.active(), []);
}

#[test]
fn of_two_crossing_dials_both_sides_keep_the_one_of_the_lower_id() {
    // The lower node's outbound link is the higher node's inbound one.
    for (me, them, stays) in [(1, 2, Direction::Outbound), (2, 1, Direction::Inbound)] {
        for first in [Direction::Inbound, Direction::Outbound] {
            let second =
                if first == Direction::Inbound { Direction::Outbound } else { Direction::Inbound };
            let mut h = Harness::new(me);
            let (a, _) = h.session(first, them);
            let (b, effects) = h.session(second, them);
            let (kept, closed) = if first == stays { (a, b) } else { (b, a) };
            assert_eq!(closes(&effects), [(closed, "duplicate")], "{me} {first}");
            assert_eq!(h.active(), [(them, kept)], "{me} {first}");
        }
    }
}

#[test]
fn the_newest_of_two_inbound_sessions_wins() {
    let mut h = Harness::new(ME);
    let (old, _) = h.session(Direction::Inbound, 7);
    let (new, effects) = h.session(Direction::Inbound, 7);
    assert_eq!((admits(&effects), closes(&effects)), (vec![new], vec![(old, "duplicate")]));
    assert_eq!(h.active(), [(7, new)]);
    assert_eq!(h.closed(old), []);
}

#[test]
fn the_dialler_of_two_sessions_leaves_the_choice_to_the_dialled() {
    let mut h = Harness::new(ME);
    let (first, _) = h.session(Direction::Outbound, 7);
    let (second, effects) = h.session(Direction::Outbound, 7);
    assert_eq!(effects, []);
    assert_eq!(h.active(), [(7, first)]);
    // The other side kept the second: when the first ends, the second takes its place.
    let effects = h.closed(first);
    assert_eq!(admits(&effects), [second]);
    assert_eq!(h.active(), [(7, second)]);
}

#[test]
fn a_contender_that_nobody_chooses_is_closed_after_a_while() {
    let mut h = Harness::new(ME);
    h.session(Direction::Outbound, 7);
    let (second, _) = h.session(Direction::Outbound, 7);
    assert_eq!(h.table.deadline(), Some(at(5)));
    h.table.tick(at(5), &mut h.out);
    assert_eq!(closes(&std::mem::take(&mut h.out)), [(second, "duplicate")]);
    assert_eq!(h.table.deadline(), None);
}

#[test]
fn inbound_sessions_beyond_the_limit_are_refused_and_outbound_ones_are_not() {
    let mut h = Harness::new(ME);
    for id in 1..=3 {
        h.session(Direction::Inbound, id);
    }
    let (link, effects) = h.session(Direction::Inbound, 4);
    assert_eq!(closes(&effects), [(link, "full")]);
    assert_eq!(admits(&h.session(Direction::Outbound, 5).1).len(), 1);
    // One who is already there may come back even when the table is full.
    assert_eq!(admits(&h.session(Direction::Inbound, 3).1).len(), 1);
}

#[test]
fn the_oldest_unfinished_handshake_makes_room_for_the_newest() {
    let mut h = Harness::new(ME);
    let oldest = h.open(Direction::Inbound);
    h.open(Direction::Inbound);
    h.open(Direction::Inbound);
    assert_eq!(closes(&std::mem::take(&mut h.out)), [(oldest, "full")]);
    assert_eq!(h.greet(oldest, 9), []);
}

#[test]
fn shutdown_closes_all_and_all_that_come_later() {
    let mut h = Harness::new(ME);
    h.session(Direction::Inbound, 1);
    h.open(Direction::Outbound);
    h.table.shut_down(&mut h.out);
    assert_eq!(closes(&std::mem::take(&mut h.out)).len(), 2);
    let late = h.open(Direction::Inbound);
    assert_eq!(closes(&std::mem::take(&mut h.out)), [(late, "shutdown")]);
}

#[derive(Debug, Clone)]
enum Step {
    Open(bool),
    Greet(u64, u128),
    Close(u64),
    Disconnect(u128),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(Step::Open),
        (1u64..30, 48u128..54).prop_map(|(l, id)| Step::Greet(l, id)),
        (1u64..30).prop_map(Step::Close),
        (48u128..54).prop_map(Step::Disconnect),
        (0u64..100).prop_map(Step::Tick),
    ]
}

proptest! {
    #[test]
    fn the_invariants_hold_in_every_order(steps in proptest::collection::vec(step(), 1..120)) {
        let mut h = Harness::new(ME);
        let mut up = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Open(inbound) => {
                    h.open(if inbound { Direction::Inbound } else { Direction::Outbound });
                }
                Step::Greet(link, id) => h.table.greeted(at(0), LinkId(link), hello(id), Channel::PLAINTEXT, &mut h.out),
                Step::Close(link) => h.table.closed(LinkId(link), at(1), &CloseReason::Gone, &mut h.out),
                Step::Disconnect(id) => {
                    h.table.disconnect(NodeId::from_u128(id), &CloseReason::Requested, &mut h.out);
                }
                Step::Tick(secs) => h.table.tick(at(secs), &mut h.out),
            }
            for effect in std::mem::take(&mut h.out) {
                match effect {
                    Effect::Up(info) => prop_assert!(up.insert(info.id), "up twice"),
                    Effect::Down(info, _) => prop_assert!(up.remove(&info.id), "down without up"),
                    _ => {}
                }
            }
            let active: Vec<_> = h.table.peers().map(|p| p.id).collect();
            prop_assert!(!active.contains(&NodeId::from_u128(ME)));
            prop_assert_eq!(&active, &up.iter().copied().collect::<Vec<_>>());
            let inbound = h.table.peers().filter(|p| p.direction == Direction::Inbound).count();
            prop_assert_eq!(inbound, h.table.n_inbound);
            prop_assert!(h.table.greeting.len() <= 2);
        }
    }
}
