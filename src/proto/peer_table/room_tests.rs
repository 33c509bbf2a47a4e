//! Limits, evictions, bans and discouragements.

use super::*;
use crate::proto::bans::{Ban, BanChange, BanError, Verdict};

fn kinds(kind: Kind, reason: &str) -> (Kind, String) {
    (kind, reason.to_owned())
}

fn limits(max_inbound: usize) -> LimitsConfig {
    LimitsConfig { max_inbound, ..LimitsConfig::default() }
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn one_connection_too_many_from_an_address_is_told_the_limit() {
    let limits = LimitsConfig { max_per_address: 2, max_per_subnet: 3, ..limits(9) };
    let mut h = Harness::with(ME, limits);
    let first = h.open_from(Direction::Inbound, "8.8.8.8:1");
    h.open_from(Direction::Inbound, "8.8.8.8:2");
    // Connections of our own making do not count.
    h.open_from(Direction::Outbound, "8.8.8.8:5");
    assert_eq!(h.take(), []);
    let third = h.open_from(Direction::Inbound, "8.8.8.8:3");
    let effects = h.take();
    assert!(matches!(&effects[..], [Effect::Close(link, CloseReason::Full, detail)]
        if *link == third && detail.contains("max-per-address")));
    assert_eq!(h.notes[0].numbers.get("connections"), Some(2));
    h.open_from(Direction::Inbound, "8.8.8.9:1");
    assert_eq!(h.take(), []);
    let fourth = h.open_from(Direction::Inbound, "8.8.8.10:1");
    let effects = h.take();
    assert!(matches!(&effects[..], [Effect::Close(link, CloseReason::Full, detail)]
        if *link == fourth && detail.contains("max-per-subnet")));
    // A refused one leaves as it came; one that was counted makes room.
    h.closed(third);
    let again = h.open_from(Direction::Inbound, "8.8.8.8:3");
    assert_eq!(closes(&h.take()), [(again, "full")]);
    h.closed(first);
    h.open_from(Direction::Inbound, "8.8.8.8:3");
    assert_eq!(h.take(), []);
}

#[test]
fn no_more_connections_are_closing_than_may_be_unfinished() {
    let limits = LimitsConfig { max_unfinished: 2, ..limits(0) };
    let mut h = Harness::with(ME, limits);
    let links: Vec<_> = (1..=4).map(|n| h.from("8.8.8.8:1", n).0).collect();
    let (fifth, effects) = h.from("8.8.8.8:1", 5);
    let dropped = Effect::Drop(links[2]);
    assert!(effects.contains(&dropped) && closes(&effects) == [(fifth, "full")], "{effects:?}");
    // Whoever is gone makes room.
    h.closed(fifth);
    let (_, effects) = h.from("8.8.8.8:1", 6);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Drop(_))), "{effects:?}");
    // Nor does a connection of our own making count.
    let (_, effects) = h.session(Direction::Outbound, 7);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Drop(_))), "{effects:?}");
}

#[test]
fn a_newcomer_takes_the_place_of_the_youngest_of_the_largest_group() {
    let mut h = Harness::with(ME, limits(4));
    let crowd: Vec<_> = (1..=4).map(|n| h.from(&format!("8.8.{n}.1:1"), n).0).collect();
    let youngest = crowd[3];
    let (new, effects) = h.from("9.9.9.9:1", 9);
    let down = effects
        .iter()
        .position(|e| matches!(e, Effect::Down(info, CloseReason::Full) if info.link == youngest));
    let up = effects.iter().position(|e| matches!(e, Effect::Up(_)));
    assert!(down.is_some() && down < up, "{effects:?}");
    assert_eq!((closes(&effects), admits(&effects)), (vec![(youngest, "full")], vec![new]));
    let note = h.notes.pop().unwrap();
    assert_eq!((note.kind, note.peer), (Kind::Evicted, Some(NodeId::from_u128(4))));
    assert_eq!(note.numbers.get("group"), Some(4));
    assert_eq!(note.numbers.get("inbound"), Some(4));
    assert!(note.detail.contains("9.9.9.9:1"));
    // One of the same group is refused instead.
    let (like, effects) = h.from("8.8.7.1:1", 10);
    assert_eq!(closes(&effects), [(like, "full")]);
    assert_eq!(h.noted(), [kinds(Kind::Refused, "full")]);
}

#[test]
fn a_session_that_would_become_an_inbound_one_needs_room_like_any_other() {
    // The lower id's dial stays: here that of the other side.
    let mut h = Harness::with(ME, limits(1));
    h.session(Direction::Inbound, 60);
    let (ours, _) = h.session(Direction::Outbound, 7);
    let (theirs, effects) = h.session(Direction::Inbound, 7);
    assert_eq!(closes(&effects), [(theirs, "full")]);
    assert_eq!(h.active(), [(7, ours), (60, LinkId(1))]);
}

#[test]
fn duplicates_are_noted_with_the_rule_that_chose() {
    let mut h = Harness::new(ME);
    h.session(Direction::Inbound, 7);
    let (newer, _) = h.session(Direction::Inbound, 7);
    assert_eq!(h.notes[0].numbers.get("stays"), Some(newer.0));
    assert_eq!(h.noted(), [kinds(Kind::Duplicate, "newer-stays")]);
    h.session(Direction::Outbound, 7);
    assert_eq!(h.noted(), [kinds(Kind::Duplicate, "lower-id-stays")]);
}

#[test]
fn who_only_says_to_be_a_node_does_not_take_the_place_of_who_proves_it() {
    for direction in [Direction::Inbound, Direction::Outbound] {
        let mut h = Harness::new(ME);
        let link = h.open(Direction::Inbound);
        h.greet_over(link, 7, PROVEN);
        let (liar, effects) = h.session(direction, 7);
        assert_eq!(closes(&effects), [(liar, "duplicate")]);
        assert_eq!(h.noted(), [kinds(Kind::Duplicate, "proven-stays")]);
        assert_eq!(h.active(), [(7, link)]);
    }
}

#[test]
fn a_violation_of_a_proven_node_keeps_it_out_for_an_hour() {
    let mut h = Harness::new(ME);
    let id = Target::Node(NodeId::from_u128(7));
    let link = h.open_from(Direction::Inbound, "8.8.8.8:1");
    h.greet_over(link, 7, PROVEN);
    h.table.closing(link, at(10), &CloseReason::TooLarge, &mut h.out);
    h.table.closed(link, at(10), &CloseReason::TooLarge, &mut h.out);
    let until = Some(at(3610));
    let standing = Standing { target: id, verdict: Verdict::Discouraged, until };
    let effects = h.take();
    assert!(matches!(&effects[..], [Effect::Down(..), Effect::Standing(s)] if *s == standing));
    assert_eq!(h.noted(), [kinds(Kind::Discouraged, "too-large")], "once");
    for direction in [Direction::Inbound, Direction::Outbound] {
        let again = h.open_from(direction, "9.9.9.9:1");
        let effects = h.greet_over(again, 7, PROVEN);
        assert_eq!(closes(&effects), [(again, "discouraged")]);
    }
    assert_eq!(h.table.deadline(), until);
    h.table.tick(at(3610), &mut h.out);
    assert_eq!(h.take(), [Effect::Standing(Standing { until: None, ..standing })]);
}

#[test]
fn what_a_peer_says_or_suffers_is_no_violation_of_its_own() {
    let mut h = Harness::new(ME);
    for reason in [CloseReason::Peer("protocol".into()), CloseReason::Slow, CloseReason::Gone] {
        let (link, _) = h.from("8.8.8.8:1", 7);
        h.table.closed(link, at(10), &reason, &mut h.out);
    }
    h.take();
    assert_eq!(h.table.discouraged().count(), 0);
}

#[test]
fn a_waiting_connection_of_a_node_that_broke_the_protocol_does_not_take_its_place() {
    let mut h = Harness::new(ME);
    let first = h.open_from(Direction::Outbound, "8.8.8.8:1");
    h.greet_over(first, 7, PROVEN);
    let second = h.open_from(Direction::Outbound, "8.8.8.8:2");
    h.greet_over(second, 7, PROVEN);
    h.table.closing(first, at(10), &CloseReason::Protocol, &mut h.out);
    assert_eq!(closes(&h.take()), [(second, "discouraged")]);
    assert_eq!(h.active(), []);
}

#[test]
fn a_ban_closes_what_there_is_and_refuses_what_comes_until_it_ends() {
    let mut h = Harness::with(ME, limits(9));
    let (first, _) = h.from("8.8.8.8:1", 1);
    let unfinished = h.open_from(Direction::Inbound, "8.8.8.9:1");
    let (other, _) = h.from("9.9.9.9:1", 2);
    let net = target("8.8.8.0/24");
    let ban = h.table.ban(at(100), net, HOUR, "spam".to_owned(), &mut h.out).unwrap();
    assert_eq!((ban.until, &*ban.note), (at(3700), "spam"));
    let effects = h.take();
    assert_eq!(closes(&effects), [(first, "banned"), (unfinished, "banned")]);
    assert!(effects.contains(&Effect::Keep(BanChange::Put(ban))));
    assert_eq!(h.active(), [(2, other)]);
    assert_eq!(h.notes[0].numbers.get("connections"), Some(2));
    assert_eq!(h.noted(), [kinds(Kind::Banned, "operator")]);
    for direction in [Direction::Inbound, Direction::Outbound] {
        let link = h.open_from(direction, "8.8.8.7:1");
        assert_eq!(closes(&h.take()), [(link, "banned")]);
    }
    let id = Target::Node(NodeId::from_u128(3));
    h.table.ban(at(100), id, HOUR, String::new(), &mut h.out).unwrap();
    let (link, effects) = h.from("7.7.7.7:1", 3);
    assert!(closes(&effects).contains(&(link, "banned")));
    assert_eq!(h.table.deadline(), Some(at(3700)));
    h.table.tick(at(3700), &mut h.out);
    assert!(h.take().contains(&Effect::Keep(BanChange::Lifted(net))));
    assert_eq!(h.noted().iter().filter(|(kind, _)| *kind == Kind::BanExpired).count(), 2);
    h.table.opened(
        at(3700),
        LinkId(99),
        Direction::Inbound,
        "8.8.8.7:1".parse().unwrap(),
        (),
        &mut h.out,
    );
    assert_eq!(h.take(), []);
}

#[test]
fn bans_that_make_no_sense_are_refused_with_the_reason() {
    let mut h = Harness::new(ME);
    let mut ban = |text: &str, lasts| {
        let now = at(0);
        h.table.ban(now, target(text), lasts, String::new(), &mut h.out).err()
    };
    assert_eq!(ban(&NodeId::from_u128(ME).to_string(), HOUR), Some(BanError::Own));
    assert_eq!(ban("0.0.0.0/0", HOUR), Some(BanError::Everything));
    assert_eq!(ban("::/0", HOUR), Some(BanError::Everything));
    assert_eq!(ban("8.8.8.8", Duration::ZERO), Some(BanError::NoTime));
    assert_eq!(ban("8.8.8.8", HOUR), None);
    assert_eq!(ban("8.8.8.9", Duration::MAX), None);
    assert_eq!(ban("8.8.8.10", HOUR), Some(BanError::Full(2)));
}

#[test]
fn a_lifted_ban_lets_its_target_in_and_tells_what_else_is_held_against_it() {
    let mut h = Harness::new(ME);
    let (link, _) = h.from("8.8.8.8:1", 1);
    h.table.closed(link, at(10), &CloseReason::Protocol, &mut h.out);
    let ip = target("8.8.8.8");
    h.table.ban(at(10), ip, HOUR, String::new(), &mut h.out).unwrap();
    h.take();
    h.table.tick(at(10) + HOUR, &mut h.out);
    h.table.ban(at(20), ip, HOUR, String::new(), &mut h.out).unwrap();
    h.take();
    h.noted();
    assert!(h.table.unban(at(20), ip, &mut h.out));
    assert!(h.take().contains(&Effect::Keep(BanChange::Lifted(ip))));
    assert_eq!(h.noted(), [kinds(Kind::Unbanned, "operator")]);
    assert!(!h.table.unban(at(20), ip, &mut h.out));
    assert_eq!(admits(&h.from("8.8.8.8:1", 1).1).len(), 1);
}

#[test]
fn bans_of_an_earlier_run_hold_and_those_that_ended_are_dropped_for_good() {
    let mut h = Harness::new(ME);
    let ban = |n: u8, until| Ban {
        target: target(&format!("8.8.8.{n}")),
        since: at(0),
        until: at(until),
        note: String::new(),
    };
    let bans = vec![ban(1, 50), ban(2, 200), ban(3, 200), ban(4, 200)];
    h.table.take_up(at(100), bans, &mut h.out);
    assert_eq!(h.take()[0], Effect::Keep(BanChange::Lifted(target("8.8.8.1"))));
    let held: Vec<_> = h.table.bans().map(|ban| ban.target.to_string()).collect();
    assert_eq!(held, ["8.8.8.2", "8.8.8.3"]);
    assert_eq!(h.noted(), [kinds(Kind::BanExpired, "expired"), kinds(Kind::Dropped, "max-bans")]);
}

#[test]
fn a_discouraged_address_goes_first_and_then_does_not_come_back_while_room_is_scarce() {
    let mut h = Harness::with(ME, limits(4));
    let (oldest, _) = h.from("8.8.8.8:1", 1);
    for n in 2..=4 {
        h.from(&format!("{n}.1.1.1:1"), n);
    }
    let bad = h.open_from(Direction::Inbound, "8.8.8.8:2");
    h.table.closed(bad, at(10), &CloseReason::Protocol, &mut h.out);
    h.take();
    let (new, effects) = h.from("5.1.1.1:1", 5);
    assert_eq!((closes(&effects), admits(&effects)), (vec![(oldest, "full")], vec![new]));
    let (again, effects) = h.from("8.8.8.8:3", 1);
    assert_eq!(closes(&effects), [(again, "discouraged")]);
}

#[derive(Debug, Clone)]
struct Attack {
    group: u8,
    host: u8,
    leaves: bool,
}

fn attacks() -> impl Strategy<Value = Vec<Attack>> {
    let one = (0u8..3, any::<u8>(), any::<bool>());
    let one = one.prop_map(|(group, host, leaves)| Attack { group, host, leaves });
    proptest::collection::vec(one, 0..300)
}

proptest! {
    /// Whoever comes from three groups, however often, gets what is free and what others have too
    /// much of: the honest who are alone in their groups all stay, and of four from one group at
    /// most two go.
    #[test]
    fn a_flood_from_a_few_groups_displaces_nobody_who_is_diverse(
        attacks in attacks(),
        n_honest in 1u128..12,
    ) {
        let mut h = Harness::with(ME, limits(16));
        for n in 1..=n_honest {
            h.from(&format!("{}.1.1.1:1", 10 + n), 1000 + n);
        }
        for n in 1..=4u128 {
            h.from(&format!("70.1.{n}.1:1"), 2000 + n);
        }
        for (n, attack) in (1u128..).zip(attacks) {
            let Attack { group, host, leaves } = attack;
            let remote = format!("200.{group}.{host}.1:{}", 1 + n);
            let (link, _) = h.from(&remote, 10_000 + n);
            if leaves {
                h.closed(link);
            }
            prop_assert!(h.n_inbound() <= 16);
        }
        let here: Vec<u128> = h.active().into_iter().map(|(id, _)| id).collect();
        for n in 1..=n_honest {
            prop_assert!(here.contains(&(1000 + n)), "{n} was displaced");
        }
        let n_grouped = here.iter().filter(|id| (2001..=2004).contains(*id)).count();
        prop_assert!(n_grouped >= 2, "{n_grouped} left");
    }

    /// When attackers have filled the table from a few groups, every honest newcomer from elsewhere
    /// still gets in.
    #[test]
    fn the_honest_get_into_a_table_that_attackers_have_filled(n_honest in 1u128..6) {
        let mut h = Harness::with(ME, limits(32));
        for n in 1..=40u128 {
            h.from(&format!("200.{}.{n}.1:1", n % 3), 10_000 + n);
        }
        for n in 1..=n_honest {
            let (_, effects) = h.from(&format!("{}.1.1.1:1", 10 + n), 1000 + n);
            prop_assert_eq!(admits(&effects).len(), 1);
            prop_assert_eq!(h.n_inbound(), 32);
        }
    }
}
