use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    address::{AddressError, Class},
    proto::{
        address_entry::Source,
        address_record::{AddressChange, AddressRecord},
    },
};

const ME: NodeId = NodeId::from_u128(1);

fn at(secs: u64) -> Moment {
    Moment::after(Duration::from_secs(secs))
}

fn addr(n: u16) -> HostPort {
    format!("10.0.{}.{}:5999", n / 250, n % 250 + 1).parse().unwrap()
}

fn id(n: u128) -> NodeId {
    NodeId::from_u128(n)
}

fn told(
    book: &mut AddressBook,
    near: Option<NodeId>,
    max: usize,
    fresh_since: Moment,
) -> Vec<(HostPort, NodeId)> {
    book.advertised(near, max, fresh_since, |_, _| true)
}

fn book() -> AddressBook {
    let config = DiscoveryConfig { book_entries: 80, cold_entries: 4, ..Default::default() };
    AddressBook::new(ME, config, BookKey::new([7; 32]), 7)
}

#[test]
fn hearsay_is_not_advertised_and_a_proven_address_is() {
    let mut book = book();
    assert_eq!(book.learn(&addr(1), Some(id(2)), Source::Told(id(9)), at(0)), Ok(true));
    assert_eq!(told(&mut book, None, 10, at(0)), []);
    assert!(book.proven(&addr(1), id(2), at(1)));
    assert!(!book.proven(&addr(1), id(2), at(2)));
    assert_eq!(told(&mut book, None, 10, at(0)), [(addr(1), id(2))]);
}

#[test]
fn who_has_not_answered_for_dead_after_is_not_advertised_unless_connected() {
    let mut book = book();
    book.proven(&addr(1), id(2), at(0));
    assert_eq!(told(&mut book, None, 10, at(1)), []);
    book.connected(id(2));
    assert_eq!(told(&mut book, None, 10, at(1000)).len(), 1);
    book.disconnected(id(2), at(1000), Duration::from_secs(1000));
    assert_eq!(told(&mut book, None, 10, at(0)), [], "a lost peer is not told");
    book.proven(&addr(1), id(2), at(1001));
    assert_eq!(told(&mut book, None, 10, at(1001)).len(), 1);
}

#[test]
fn near_gives_the_closest_by_xor() {
    let mut book = book();
    for n in 2..40u16 {
        book.proven(&addr(n), id(u128::from(n)), at(0));
    }
    let near = told(&mut book, Some(id(16)), 3, at(0));
    let ids: Vec<_> = near.iter().map(|(_, id)| id.as_u128()).collect();
    assert_eq!(ids, [16, 17, 18]);
    assert_eq!(told(&mut book, None, 5, at(0)).len(), 5);
}

#[test]
fn own_and_impossible_addresses_are_refused() {
    let mut book = book();
    let told = Source::Told(id(9));
    assert_eq!(book.learn(&addr(1), Some(ME), told, at(0)), Err(NotTaken::Own));
    book.own(&addr(2), at(0));
    assert_eq!(book.learn(&addr(2), Some(id(5)), told, at(0)), Err(NotTaken::Own));
    assert_eq!(book.due_at(Queue::Known), None);
    let zero: HostPort = "10.0.0.1:0".parse().unwrap();
    let refused = Err(NotTaken::Bad(AddressError::PortZero));
    assert_eq!(book.learn(&zero, None, told, at(0)), refused);
}

#[test]
fn an_address_that_never_answered_is_forgotten_after_three_dials() {
    let mut book = book();
    book.learn(&addr(1), None, Source::Told(id(9)), at(0)).unwrap();
    let mut fates = Vec::new();
    for _ in 0..3 {
        book.dialling(&addr(1), at(0));
        fates.push(book.failed(&addr(1), at(0)));
    }
    assert!(matches!(fates[..], [Fate::Retry(_), Fate::Retry(_), Fate::Forgotten]));
    assert!(book.is_empty() && book.new.iter().next().is_none());
}

#[test]
fn a_proven_address_climbs_the_ladder_and_goes_cold_but_stays() {
    let mut book = book();
    book.proven(&addr(1), id(2), at(0));
    for n in 1..=5 {
        let fate = book.failed(&addr(1), at(0));
        assert!(matches!(fate, Fate::Retry(_)), "{n}: {fate:?}");
    }
    for _ in 0..10 {
        assert!(matches!(book.failed(&addr(1), at(0)), Fate::Cold(_)));
    }
    assert!(book.proven(&addr(1), id(2), at(9)), "coming back from the cold is news");
}

#[test]
fn the_cold_tier_keeps_those_heard_from_last() {
    let mut book = book();
    for n in 1..=6u16 {
        book.proven(&addr(n), id(u128::from(n) + 1), at(u64::from(n)));
        for _ in 0..6 {
            book.failed(&addr(n), at(100));
        }
    }
    let left: Vec<_> = book.iter().map(|(addr, _)| addr.clone()).collect();
    assert_eq!(left, [addr(3), addr(4), addr(5), addr(6)]);
}

#[test]
fn a_bootstrap_is_retried_for_ever_and_never_later_than_its_cap() {
    let mut book = book();
    book.learn(&addr(1), None, Source::Bootstrap, at(0)).unwrap();
    for _ in 0..100 {
        let Fate::Retry(next) = book.failed(&addr(1), at(0)) else { panic!("given up") };
        assert!(next <= at(75));
    }
    assert!(book.due_at(Queue::Bootstrap).is_some());
}

#[test]
fn a_connected_nodes_addresses_are_not_dialled_but_its_own_word_is_checked() {
    let mut book = book();
    book.learn(&addr(1), Some(id(2)), Source::Told(id(9)), at(0)).unwrap();
    book.connected(id(2));
    assert_eq!(book.due_at(Queue::Known), None);
    book.learn(&addr(2), Some(id(2)), Source::Declared(id(2)), at(0)).unwrap();
    assert_eq!(book.pick(Queue::Feeler, at(0)), Some(addr(2)));
    book.proven(&addr(2), id(2), at(1));
    assert_eq!(book.due_at(Queue::Feeler), None);
    book.disconnected(id(2), at(5), Duration::from_secs(100));
    assert!(book.due_at(Queue::Known).is_some_and(|when| when > at(5)));
}

#[test]
fn a_node_whose_sessions_end_soon_is_dialled_less_and_less_often() {
    let mut book = book();
    let mut pauses = vec![];
    let mut now = at(0);
    for _ in 0..5 {
        book.proven(&addr(1), id(2), now);
        book.connected(id(2));
        book.disconnected(id(2), now, Duration::from_secs(1));
        let next = book.due_at(Queue::Known).unwrap();
        pauses.push(next.since(now).as_secs());
        now = next;
    }
    assert!(pauses[0] <= 1 && (3..=6).contains(&pauses[1]) && pauses[4] >= 450, "{pauses:?}");
    book.proven(&addr(1), id(2), now);
    book.connected(id(2));
    book.disconnected(id(2), now, Duration::from_secs(61));
    assert!(book.due_at(Queue::Known).unwrap().since(now).as_secs() <= 1);
}

#[test]
fn a_place_that_another_node_claims_is_felt_out() {
    let mut book = book();
    book.proven(&addr(1), id(2), at(0));
    book.connected(id(3));
    book.learn(&addr(1), Some(id(3)), Source::Declared(id(3)), at(59)).unwrap();
    assert_eq!(book.due_at(Queue::Feeler), None, "the proof is fresh");
    book.learn(&addr(1), Some(id(3)), Source::Declared(id(3)), at(60)).unwrap();
    assert_eq!(book.pick(Queue::Feeler, at(60)), Some(addr(1)));
    assert!(book.proven(&addr(1), id(3), at(61)));
    assert_eq!(book.due_at(Queue::Feeler), None);
}

fn public(n: u16) -> HostPort {
    format!("20.{}.{}.1:5999", n / 250, n % 250 + 1).parse().unwrap()
}

fn told_from(ip: &str, by: u128) -> Hearing {
    Hearing { source: Source::Told(id(by)), from: Some(ip.parse().unwrap()) }
}

fn full_book(config: DiscoveryConfig) -> AddressBook {
    AddressBook::new(ME, config, BookKey::new([9; 32]), 7)
}

#[test]
fn one_source_group_fills_only_its_buckets_however_many_it_speaks_through() {
    let mut book = full_book(DiscoveryConfig::default());
    let mut refused = BTreeSet::new();
    for n in 0..20_000u32 {
        let addr: HostPort =
            format!("{}.{}.{}.1:1", 20 + n / 62_500, n / 250 % 250, n % 250).parse().unwrap();
        let from = format!("8.8.{}.{}", n % 7, n % 250);
        if let Err(why) = book.learn(&addr, None, told_from(&from, u128::from(n)), at(0)) {
            refused.insert(why);
        }
    }
    let buckets: BTreeSet<u32> =
        book.new.iter().map(|(slot, _)| book.new.bucket_of(slot)).collect();
    assert!(book.len() <= 512 && buckets.len() <= 16, "{} in {}", book.len(), buckets.len());
    assert_eq!(refused, BTreeSet::from([NotTaken::SourceFull]));
    // Others find room all the same.
    let taken = (0..200u16).filter(|n| {
        let from = format!("{}.7.0.1", 30 + n);
        book.learn(&public(*n), None, told_from(&from, 5), at(0)).is_ok()
    });
    assert!(taken.count() >= 170);
}

#[test]
fn one_group_of_addresses_fills_only_its_buckets_of_proven_ones_and_its_share_of_the_cold() {
    let mut book = full_book(DiscoveryConfig::default());
    for n in 0..3000u16 {
        let addr: HostPort = format!("20.20.{}.{}:1", n / 250, n % 250 + 1).parse().unwrap();
        let from = format!("{}.{}.0.1", 30 + n / 250, n % 250);
        if book.learn(&addr, None, told_from(&from, 5), at(0)).is_ok() {
            book.proven(&addr, id(u128::from(n) + 10), at(u64::from(n)));
        }
    }
    let tried: Vec<_> = book.tried.iter().map(|(slot, _)| book.tried.bucket_of(slot)).collect();
    assert!(tried.len() <= 128 && BTreeSet::from_iter(tried).len() <= 4);
    let addrs: Vec<HostPort> = book.iter().map(|(addr, _)| addr.clone()).collect();
    for addr in addrs {
        for _ in 0..6 {
            book.failed(&addr, at(3000));
        }
    }
    assert!(book.cold.len() <= 256, "{}", book.cold.len());
}

/// Two proven addresses that want the same place in a table of proven ones with room for one.
fn contended() -> AddressBook {
    let mut book = full_book(DiscoveryConfig { book_entries: 4, ..Default::default() });
    for (n, from) in [(1, "8.8.8.8"), (2, "9.9.9.9")] {
        book.learn(&public(n), None, told_from(from, 9), at(0)).unwrap();
        book.proven(&public(n), id(u128::from(n) + 10), at(u64::from(n)));
    }
    book
}

#[test]
fn who_is_at_a_contended_place_stays_if_it_answers() {
    let mut book = contended();
    assert!(book.get(&public(1)).unwrap().is_tried() && !book.get(&public(2)).unwrap().is_tried());
    assert_eq!(book.pick(Queue::Feeler, at(2)), Some(public(1)));
    book.dialling(&public(1), at(2));
    book.proven(&public(1), id(11), at(2));
    assert!(book.get(&public(1)).unwrap().is_tried() && !book.get(&public(2)).unwrap().is_tried());
    assert_eq!(book.due_at(Queue::Feeler), None);
    // The other is kept and dialled as any.
    assert!(book.due_at(Queue::Known).is_some());
}

#[test]
fn who_is_at_a_contended_place_gives_way_if_it_does_not_answer_but_is_not_forgotten() {
    let mut book = contended();
    book.dialling(&public(1), at(2));
    let Fate::GaveWay(again, newcomer) = book.failed(&public(1), at(2)) else { panic!("stayed") };
    assert!(newcomer == public(2) && again > at(2000));
    assert!(book.get(&public(1)).unwrap().is_cold() && book.get(&public(2)).unwrap().is_tried());
}

#[test]
fn who_is_connected_is_not_asked_to_give_way() {
    let mut book = contended();
    book.connected(id(11));
    assert_eq!(book.due_at(Queue::Feeler), None);
    book.proven(&public(2), id(12), at(3));
    assert_eq!(book.due_at(Queue::Feeler), None);
    assert!(book.get(&public(1)).unwrap().is_tried());
}

#[test]
fn terrible_hearsay_gives_way_and_other_hearsay_does_not() {
    let mut book = full_book(DiscoveryConfig { book_entries: 2, ..Default::default() });
    let hear =
        |book: &mut AddressBook, n, now| book.learn(&public(n), None, told_from("8.8.8.8", 9), now);
    assert_eq!(hear(&mut book, 1, at(0)), Ok(true));
    assert_eq!(hear(&mut book, 2, at(0)), Err(NotTaken::SourceFull));
    let other = book.learn(&public(2), None, told_from("9.9.9.9", 9), at(0));
    assert_eq!(other, Err(NotTaken::PlaceTaken));
    book.failed(&public(1), at(0));
    book.failed(&public(1), at(0));
    assert_eq!(hear(&mut book, 2, at(0)), Ok(true));
    let month = 30 * 24 * 3600;
    assert_eq!(hear(&mut book, 3, at(month)), Ok(true));
    assert_eq!(book.len(), 1);
}

#[test]
fn an_address_that_a_name_leads_to_no_longer_goes_to_its_bucket() {
    let mut book = full_book(DiscoveryConfig::default());
    book.learn(&public(1), None, Source::Bootstrap, at(0)).unwrap();
    book.learn(&public(2), None, Source::Bootstrap, at(0)).unwrap();
    book.proven(&public(2), id(12), at(0));
    book.demote(&public(1));
    book.demote(&public(2));
    assert!(matches!(book.get(&public(1)).unwrap().place, Place::New(_)));
    assert!(matches!(book.get(&public(2)).unwrap().place, Place::Tried(_)));
}

#[test]
fn what_is_kept_comes_back_and_is_not_told_before_it_is_proven_again() {
    let mut book = full_book(DiscoveryConfig::default());
    book.learn(&public(1), None, told_from("8.8.8.8", 9), at(0)).unwrap();
    book.learn(&public(2), None, Source::Bootstrap, at(0)).unwrap();
    book.proven(&public(2), id(12), at(5));
    book.learn(&public(3), None, Source::Bootstrap, at(0)).unwrap();
    book.own(&public(4), at(0));
    let records: Vec<AddressRecord> = book.take_changes().into_iter().map(put).collect();
    let addrs: Vec<_> = records.iter().map(|record| record.addr.clone()).collect();
    assert_eq!(addrs, [public(1), public(2)], "not what only the operator said, nor our own");
    assert_eq!(book.take_changes(), []);

    let mut later = full_book(DiscoveryConfig::default());
    assert_eq!(later.remember(at(3), records.clone()), 0);
    assert_eq!(later.get(&public(2)).unwrap().proven, Some(at(3)), "nothing is in the future");
    assert!(later.get(&public(2)).unwrap().is_tried());
    assert_eq!(told(&mut later, None, 9, at(0)), []);
    later.connected(id(12));
    assert_eq!(told(&mut later, None, 9, at(0)), [], "it may be elsewhere now");
    assert!(later.proven(&public(2), id(12), at(4)), "that is news");
    assert_eq!(told(&mut later, None, 9, at(0)).len(), 1);
}

fn put(change: AddressChange) -> AddressRecord {
    let AddressChange::Put(record) = change else { panic!("{change:?}") };
    *record
}

#[test]
fn changes_that_were_not_kept_come_again_and_what_was_never_kept_leaves_no_trace() {
    let mut book = full_book(DiscoveryConfig::default());
    book.learn(&public(1), None, told_from("8.8.8.8", 9), at(0)).unwrap();
    let changes = book.take_changes();
    book.put_back(changes.clone());
    assert_eq!(book.take_changes(), changes);
    for n in [1, 2] {
        let _known = book.learn(&public(n), None, told_from("8.8.8.8", 9), at(0));
        for _ in 0..3 {
            book.failed(&public(n), at(0));
        }
    }
    assert_eq!(book.take_changes(), [AddressChange::Gone(public(1))]);
}

/// What is derived (tables, lines, counts, indices) equals what the entries say: each address
/// stands in exactly one place.
fn check(book: &AddressBook) -> Result<(), TestCaseError> {
    let mut queued = 0;
    let (mut n_new, mut n_tried, mut n_given, mut n_cold) = (0, 0, 0, 0);
    for (addr, entry) in book.iter() {
        if let Some(line) = book.line_of(addr, entry) {
            let waits = book
                .queues
                .get(&line)
                .is_some_and(|waiting| waiting.contains(&(entry.next_try, addr.clone())));
            if !waits {
                prop_assert!(matches!(line, Line::New | Line::Tried) && entry.next_try <= book.now);
            }
            queued += 1;
        }
        if let Some(id) = entry.id {
            prop_assert!(book.by_id[&id].contains(addr));
        }
        match entry.place {
            Place::New(slot) => {
                prop_assert_eq!(book.new.at(slot), Some(addr));
                n_new += 1;
            }
            Place::Tried(slot) => {
                prop_assert_eq!(book.tried.at(slot), Some(addr));
                prop_assert!(entry.proven.is_some());
                n_tried += 1;
            }
            Place::Given => n_given += 1,
            Place::Cold => {
                prop_assert!(book.cold.contains(&(entry.proven.unwrap(), addr.clone())));
                n_cold += 1;
            }
        }
    }
    prop_assert_eq!(
        queued,
        book.queues.values().map(BTreeSet::len).sum::<usize>()
            + book.new.n_ready()
            + book.tried.n_ready()
    );
    let counted = (book.new.iter().count(), book.tried.iter().count(), book.n_given);
    prop_assert_eq!((n_new, n_tried, n_given), counted);
    prop_assert_eq!(n_cold, book.cold.len());
    prop_assert_eq!(n_cold, book.cold_groups.values().map(BTreeSet::len).sum::<usize>());
    let public = book.iter().filter(|(addr, _)| addr.class() == Class::Public).count();
    prop_assert_eq!(public, book.groups.values().map(BTreeSet::len).sum::<usize>());
    prop_assert!(n_cold <= book.config.cold_entries);
    let tested = book.iter().filter(|(_, entry)| entry.tested).count();
    prop_assert!(tested == book.tests.len() && tested <= book.config.pending_tests);
    Ok(())
}

proptest! {
    /// What is derived (lines, counts, indices) always equals what the entries say.
    #[test]
    fn the_indices_agree_with_the_entries(ops in proptest::collection::vec((0u8..8, 0u16..12, 0u128..5), 1..150)) {
        let mut book = book();
        for (n, (op, a, who)) in ops.into_iter().enumerate() {
            let (now, a, who) = (at(n as u64), addr(a), id(who + 2));
            match op {
                0 => drop(book.learn(&a, Some(who), Source::Told(id(90)), now)),
                1 => drop(book.learn(&a, Some(who), Source::Declared(who), now)),
                2 => drop(book.learn(&a, None, Source::Bootstrap, now)),
                3 => book.dialling(&a, now),
                4 => drop(book.proven(&a, who, now)),
                5 => drop(book.failed(&a, now)),
                6 => book.connected(who),
                _ => book.disconnected(who, now, Duration::ZERO),
            }
            check(&book)?;
            prop_assert_eq!(book.by_id.values().map(BTreeSet::len).sum::<usize>(),
                book.iter().filter(|(_, e)| e.id.is_some()).count());
            prop_assert!(book.cold.len() <= 4);
        }
    }

    /// Whatever happens to a small book of public addresses, the caps hold, each address is in one
    /// place, and only what is due is chosen.
    #[test]
    fn the_caps_hold_and_only_what_is_due_is_chosen(
        ops in proptest::collection::vec((0u8..10, 0u16..300, 0u8..6, 0u64..100), 1..300),
    ) {
        let config = DiscoveryConfig {
            book_entries: 256, cold_entries: 40, source_buckets: 2, group_buckets: 1,
            pending_tests: 3, ..Default::default()
        };
        let mut book = full_book(config);
        let mut now = at(0);
        for (op, n, by, secs) in ops {
            let a: HostPort = format!("20.{}.0.{}:1", n % 7, n + 1).replace(".0.2", ".2.").parse()
                .unwrap_or_else(|_| public(n));
            let who = id(u128::from(n % 40) + 10);
            now = now + Duration::from_secs(secs);
            match op {
                0..=3 => drop(book.learn(&a, None, told_from(&format!("{}.1.1.1", 40 + by), 9), now)),
                4 | 5 => if book.get(&a).is_some() { book.proven(&a, who, now); },
                6 => drop(book.failed(&a, now)),
                7 => book.connected(who),
                8 => book.disconnected(who, now, Duration::ZERO),
                _ => book.hold(&Group::of(&a), by % 2 == 0),
            }
            check(&book)?;
            for queue in [Queue::Bootstrap, Queue::Feeler, Queue::Known, Queue::Hearsay] {
                let Some(picked) = book.pick(queue, now) else {
                    prop_assert!(book.due_at(queue).is_none_or(|due| due > now));
                    continue;
                };
                let entry = book.get(&picked).unwrap();
                prop_assert!(entry.next_try <= now && !entry.own);
                prop_assert!(!entry.id.is_some_and(|id| queue == Queue::Known && book.connected.contains(&id)));
            }
            let by_source = |source: u8| {
                let from = Some(format!("{}.1.1.1", 40 + source).parse().unwrap());
                let theirs = |(slot, addr): (u32, &HostPort)| {
                    (book.entries[addr].told_from == from).then(|| book.new.bucket_of(slot))
                };
                BTreeSet::from_iter(book.new.iter().filter_map(theirs)).len()
            };
            prop_assert!((0..6).all(|source| by_source(source) <= 2));
            let mut groups = BTreeMap::<Group, BTreeSet<u32>>::new();
            for (slot, addr) in book.tried.iter() {
                groups.entry(Group::of(addr)).or_default().insert(book.tried.bucket_of(slot));
            }
            prop_assert!(groups.values().all(|buckets| buckets.len() <= 1));
        }
    }

    /// While there is room, nothing that was proven is ever lost, and all of it comes back.
    #[test]
    fn nothing_proven_is_lost_and_records_come_back(
        ops in proptest::collection::vec((0u8..6, 0u16..60), 1..400),
        flood in 0u32..400,
    ) {
        let config = DiscoveryConfig { book_entries: 128, ..Default::default() };
        let mut book = full_book(config.clone());
        let mut proven = BTreeSet::new();
        for (n, (op, a)) in ops.into_iter().enumerate() {
            let now = at(n as u64);
            let a = public(a);
            match op {
                0 | 1 => drop(book.learn(&a, None, told_from("8.8.8.8", 9), now)),
                2 => if book.get(&a).is_some() {
                    book.proven(&a, id(50), now);
                    proven.insert(a);
                },
                3 | 4 => drop(book.failed(&a, now)),
                _ => for n in 0..flood {
                    let trash = format!("50.{}.{}.1:1", n / 250, n % 250).parse().unwrap();
                    let _taken = book.learn(&trash, None, told_from(&format!("{}.9.9.9", 100 + n % 90), 9), now);
                },
            }
            prop_assert!(proven.iter().all(|addr| book.get(addr).is_some_and(|e| e.proven.is_some())));
        }
        let records: Vec<_> = book.take_changes().into_iter().filter_map(put_of).collect();
        prop_assert_eq!(records.len(), book.len());
        let mut later = full_book(config);
        let dropped = later.remember(at(10_000), records.clone());
        check(&later)?;
        prop_assert_eq!(later.len() + dropped, records.len());
        for record in records.iter().filter(|record| record.proven.is_some()) {
            let entry = later.get(&record.addr).unwrap();
            prop_assert_eq!((entry.id, entry.proven, entry.failures), (record.id, record.proven, record.failures));
            prop_assert_eq!((entry.source, entry.told_from, entry.heard), (record.source, record.told_from, record.heard));
        }
    }
}

fn put_of(change: AddressChange) -> Option<AddressRecord> {
    if let AddressChange::Put(record) = change { Some(*record) } else { None }
}
