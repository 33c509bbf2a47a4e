use std::{collections::BTreeSet, time::Duration};

use super::*;

fn at(ms: u64) -> Moment {
    Moment::after(Duration::from_millis(ms))
}

fn refusal(ms: u64, addr: &str) -> Decision {
    let addr: HostPort = addr.parse().unwrap();
    Decision::new(at(ms), Kind::Refused, "full").addr(addr)
}

fn more(ring: &Ring) -> u64 {
    let all = ring.find(&JournalQuery::default());
    all.iter().map(|decision| decision.more).sum()
}

#[test]
fn the_ring_keeps_the_latest_and_finds_by_peer_and_kind() {
    let mut ring = Ring::new(3);
    for n in 0..5u128 {
        let kind = if n % 2 == 0 { Kind::SessionUp } else { Kind::SessionDown };
        ring.push(Decision::new(at(n as u64), kind, "x").peer(NodeId::from_u128(n)));
    }
    assert_eq!(ring.find(&JournalQuery::default()).len(), 3);
    assert_eq!(ring.overwritten(), 2);
    let peer = Some(NodeId::from_u128(4));
    assert_eq!(ring.find(&JournalQuery { peer, ..Default::default() }).len(), 1);
    let kind = Some(Kind::SessionDown);
    assert_eq!(ring.find(&JournalQuery { kind, ..Default::default() }).len(), 1);
    let latest = ring.find(&JournalQuery { limit: Some(2), ..Default::default() });
    assert_eq!(latest.iter().map(|d| d.at).collect::<Vec<_>>(), [at(3), at(4)]);
}

#[test]
fn an_address_is_found_exactly_and_an_ip_at_all_its_ports() {
    let mut ring = Ring::new(9);
    for addr in ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "a.example:1"] {
        ring.push(refusal(0, addr));
    }
    let addr = Some("192.0.2.1:2".parse().unwrap());
    assert_eq!(ring.find(&JournalQuery { addr, ..Default::default() }).len(), 1);
    let ip = Some("::ffff:192.0.2.1".parse().unwrap());
    assert_eq!(ring.find(&JournalQuery { ip, ..Default::default() }).len(), 2);
}

#[test]
fn a_flood_from_one_subnet_is_counted_and_the_rest_stays() {
    let mut ring = Ring::new(64);
    ring.push(Decision::new(at(0), Kind::SessionUp, "inbound"));
    for n in 0..10_000u64 {
        ring.push(refusal(n, &format!("192.0.2.{}:{}", n % 200, 1000 + n % 5000)));
    }
    // Eight at once, one a second in ten seconds, and everything is accounted for.
    let refused = JournalQuery { kind: Some(Kind::Refused), ..Default::default() };
    let n = ring.find(&refused).len();
    assert!((17..=18).contains(&n), "{n}");
    assert_eq!(more(&ring) + u64::try_from(n).unwrap(), 10_000);
    let up = JournalQuery { kind: Some(Kind::SessionUp), ..Default::default() };
    assert_eq!(ring.find(&up).len(), 1);
    // Another subnet and another reason have their own allowance.
    ring.push(refusal(9_999, "198.51.100.1:1"));
    ring.push(Decision { reason: "banned".into(), ..refusal(9_999, "192.0.2.1:1") });
    assert_eq!(ring.find(&refused).len(), n + 2);
}

#[test]
fn a_flood_from_all_over_takes_a_part_of_the_ring_only() {
    let mut ring = Ring::new(4096);
    for n in 0..60_000u32 {
        ring.push(refusal(u64::from(n / 60), &format!("[2001:db8:0:{:x}::1]:1", n % 60_000)));
    }
    let n = ring.find(&JournalQuery::default()).len();
    assert!(n <= 256 + 8, "{n}");
    assert_eq!(more(&ring) + u64::try_from(n).unwrap(), 60_000);
}

#[test]
fn an_entry_is_at_most_a_kilobyte() {
    let long = "\u{e4}".repeat(1000);
    let note = Decision::new(at(0), Kind::Dropped, long.clone()).detail(long);
    assert_eq!((note.reason.len(), note.detail.len()), (64, 256));
    let odd = Decision::new(at(0), Kind::Dropped, "x").detail("a".to_owned() + &note.detail);
    assert_eq!(odd.detail.len(), 255);
    let texts = MAX_REASON + MAX_DETAIL + crate::address::MAX_HOST;
    assert!(size_of::<Decision>() + texts <= 1024, "{}", size_of::<Decision>());
}

#[test]
fn numbers_are_few_and_named() {
    let note = Decision::new(at(0), Kind::Evicted, "full").count("group", 3).number("group", 4);
    assert_eq!(note.number("inbound", 9).numbers.to_string(), "group=4 inbound=9");
    let mut numbers = Numbers::default();
    for name in ["a", "b", "c", "d", "e", "f"] {
        numbers.set(name, 1);
    }
    assert_eq!(numbers.iter().count(), MAX_NUMBERS);
    assert_eq!(numbers.get("f"), None);
}

#[test]
fn every_kind_has_a_code_of_its_own() {
    let codes: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(codes.len(), Kind::ALL.len());
    assert_eq!(Kind::from_code("went-cold"), Some(Kind::WentCold));
}
