use proptest::prelude::*;

use super::*;
use crate::{peer::ChannelSecurity, proto::bans::Target, testkit::minimal_hello as hello};

const ME: u128 = 50;

fn at(secs: u64) -> Moment {
    Moment::after(Duration::from_secs(secs))
}

/// A table with what came out of it, and the two ways a link reaches it.
struct Harness {
    table: PeerTable<()>,
    out: Vec<Effect>,
    /// What was noted, apart from the rest.
    notes: Vec<Decision>,
    n_links: u64,
}

const LOCAL: &str = "127.0.0.1:1";

const PROVEN: Channel = Channel { security: ChannelSecurity::Vouched, key: None };

impl Harness {
    fn new(me: u128) -> Self {
        let limits = LimitsConfig { max_inbound: 3, max_unfinished: 2, ..LimitsConfig::default() };
        Self::with(me, limits)
    }

    fn with(me: u128, limits: LimitsConfig) -> Self {
        let trust = TrustConfig { max_bans: 2, ..TrustConfig::default() };
        let table = PeerTable::new(NodeId::from_u128(me), limits, &trust, 1);
        Self { table, out: vec![], notes: vec![], n_links: 0 }
    }

    fn open(&mut self, direction: Direction) -> LinkId {
        self.open_from(direction, LOCAL)
    }

    fn open_from(&mut self, direction: Direction, remote: &str) -> LinkId {
        self.n_links += 1;
        let link = LinkId(self.n_links);
        let remote = remote.parse().unwrap();
        self.table.opened(at(self.n_links), link, direction, remote, (), &mut self.out);
        link
    }

    fn greet(&mut self, link: LinkId, id: u128) -> Vec<Effect> {
        self.greet_over(link, id, Channel::PLAINTEXT)
    }

    fn greet_over(&mut self, link: LinkId, id: u128, channel: Channel) -> Vec<Effect> {
        self.table.greeted(at(link.0), link, hello(id), channel, &mut self.out);
        self.take()
    }

    fn session(&mut self, direction: Direction, id: u128) -> (LinkId, Vec<Effect>) {
        let link = self.open(direction);
        (link, self.greet(link, id))
    }

    /// An inbound session from somewhere.
    fn from(&mut self, remote: &str, id: u128) -> (LinkId, Vec<Effect>) {
        let link = self.open_from(Direction::Inbound, remote);
        (link, self.greet(link, id))
    }

    fn closed(&mut self, link: LinkId) -> Vec<Effect> {
        self.table.closed(link, at(1), &CloseReason::Gone, &mut self.out);
        self.take()
    }

    /// What came out, without the notes.
    fn take(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for effect in std::mem::take(&mut self.out) {
            match effect {
                Effect::Note(decision) => self.notes.push(decision),
                other => effects.push(other),
            }
        }
        effects
    }

    fn noted(&mut self) -> Vec<(Kind, String)> {
        self.notes.drain(..).map(|note| (note.kind, note.reason.into_owned())).collect()
    }

    fn active(&self) -> Vec<(u128, LinkId)> {
        self.table.peers().map(|p| (p.id.as_u128(), p.link)).collect()
    }

    fn n_inbound(&self) -> usize {
        self.table.peers().filter(|p| p.direction == Direction::Inbound).count()
    }
}

fn admits(effects: &[Effect]) -> Vec<LinkId> {
    effects.iter().filter_map(|e| if let Effect::Admit(l) = e { Some(*l) } else { None }).collect()
}

fn closes(effects: &[Effect]) -> Vec<(LinkId, &str)> {
    let mut closes = Vec::new();
    for effect in effects {
        if let Effect::Close(link, reason, _) = effect {
            closes.push((*link, reason.code()));
        }
    }
    closes
}

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
fn new_tags_are_told_while_there_is_a_session_and_the_same_ones_are_not() {
    let mut h = Harness::new(ME);
    let tags = Tags::from([("k".to_owned(), "v".to_owned())]);
    let link = h.open(Direction::Inbound);
    let say = |h: &mut Harness| {
        h.table.presence(link, tags.clone(), &mut h.out);
        h.take()
    };
    assert_eq!(say(&mut h), [], "before the hello");
    h.greet(link, 7);
    assert!(matches!(&say(&mut h)[..], [Effect::Changed(info)] if info.tags == tags));
    assert_eq!(say(&mut h), []);
    assert_eq!(h.table.peers().next().unwrap().tags, tags);
    h.table.closing(link, at(1), &CloseReason::Gone, &mut h.out);
    h.table.presence(link, Tags::new(), &mut h.out);
    assert!(matches!(&h.take()[..], [Effect::Down(info, _)] if info.tags == tags));
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
    assert_eq!(h.table.deadline(), Some(at(7)));
    h.table.tick(at(7), &mut h.out);
    assert_eq!(closes(&h.take()), [(second, "duplicate")]);
    assert_eq!(h.table.deadline(), None);
    assert_eq!(h.noted(), [(Kind::Duplicate, "not-chosen".to_owned())]);
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
    assert_eq!(closes(&h.take()), [(oldest, "full")]);
    assert_eq!(h.greet(oldest, 9), []);
}

#[test]
fn shutdown_closes_all_and_all_that_come_later() {
    let mut h = Harness::new(ME);
    h.session(Direction::Inbound, 1);
    h.open(Direction::Outbound);
    h.table.shut_down(&mut h.out);
    assert_eq!(closes(&h.take()).len(), 2);
    let late = h.open(Direction::Inbound);
    assert_eq!(closes(&h.take()), [(late, "shutdown")]);
}

#[derive(Debug, Clone)]
enum Step {
    Open(bool, u8),
    Greet(u64, u128, bool),
    Close(u64, bool),
    Disconnect(u128),
    Ban(u128, u8, bool),
    Unban(u128),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 0u8..6).prop_map(|(inbound, from)| Step::Open(inbound, from)),
        4 => (1u64..40, 48u128..56, any::<bool>()).prop_map(|(l, id, p)| Step::Greet(l, id, p)),
        2 => (1u64..40, any::<bool>()).prop_map(|(l, bad)| Step::Close(l, bad)),
        1 => (48u128..56).prop_map(Step::Disconnect),
        1 => (48u128..56, 0u8..6, any::<bool>()).prop_map(|(id, n, net)| Step::Ban(id, n, net)),
        1 => (48u128..56).prop_map(Step::Unban),
        1 => (0u64..5000).prop_map(Step::Tick),
    ]
}

/// Six places: two of one address, one beside it, two elsewhere, one on this machine.
fn place(n: u8) -> &'static str {
    let all = ["8.8.8.1:1", "8.8.8.1:2", "8.8.8.2:1", "9.9.9.9:1", "[2001:db8::1]:1", LOCAL];
    all[usize::from(n)]
}

impl Harness {
    fn step(&mut self, now: &mut u64, step: Step) {
        let moment = at(*now);
        match step {
            Step::Open(inbound, from) => {
                let direction = if inbound { Direction::Inbound } else { Direction::Outbound };
                self.open_from(direction, place(from));
            }
            Step::Greet(link, id, proven) => {
                let channel = if proven { PROVEN } else { Channel::PLAINTEXT };
                self.table.greeted(moment, LinkId(link), hello(id), channel, &mut self.out);
            }
            Step::Close(link, bad) => {
                let reason = if bad { CloseReason::Protocol } else { CloseReason::Gone };
                self.table.closed(LinkId(link), moment, &reason, &mut self.out);
            }
            Step::Disconnect(id) => {
                let id = NodeId::from_u128(id);
                self.table.disconnect(id, &CloseReason::Requested, &mut self.out);
            }
            Step::Ban(id, n, net) => {
                let ip = place(n).parse::<HostPort>().unwrap().ip().unwrap();
                let id = Target::Node(NodeId::from_u128(id));
                let target = if net { Target::of_ip(ip) } else { id };
                let lasts = Duration::from_secs(100);
                let _may_be_full =
                    self.table.ban(moment, target, lasts, String::new(), &mut self.out);
            }
            Step::Unban(id) => {
                self.table.unban(moment, Target::Node(NodeId::from_u128(id)), &mut self.out);
            }
            Step::Tick(secs) => {
                *now += secs;
                self.table.tick(at(*now), &mut self.out);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_invariants_hold_in_every_order(steps in proptest::collection::vec(step(), 1..150)) {
        let limits = LimitsConfig {
            max_inbound: 3,
            max_unfinished: 2,
            max_per_address: 2,
            max_per_subnet: 3,
        };
        let (mut h, mut now) = (Harness::with(ME, limits), 0);
        let mut up = std::collections::BTreeSet::new();
        for step in steps {
            h.step(&mut now, step);
            for effect in h.take() {
                match effect {
                    Effect::Up(info) => prop_assert!(up.insert(info.id), "up twice"),
                    Effect::Down(info, _) => prop_assert!(up.remove(&info.id), "down without up"),
                    _ => {}
                }
            }
            let active: Vec<_> = h.table.peers().map(|p| p.id).collect();
            prop_assert!(!active.contains(&NodeId::from_u128(ME)));
            prop_assert_eq!(&active, &up.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(h.n_inbound(), h.table.n_inbound);
            prop_assert!(h.n_inbound() <= 3);
            prop_assert!(h.table.greeting.len() <= 2);
            for ban in h.table.bans().filter(|ban| ban.until > at(now)) {
                let is_banned = |p: &PeerInfo| ban.target.covers(Some(p.id), p.remote.ip());
                prop_assert!(!h.table.peers().any(is_banned), "a banned peer");
            }
        }
        for link in 1..=h.n_links {
            h.table.closed(LinkId(link), at(now), &CloseReason::Gone, &mut h.out);
        }
        prop_assert_eq!((h.table.n_links(), h.table.admission.n_counted()), (0, 0));
    }
}

#[path = "peer_table/room_tests.rs"]
mod room;
