use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::address::{AddressError, Class};

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

/// What is derived (tables, lines, counts, indices) equals what the entries say: each address
/// stands in exactly one place.
fn check(book: &AddressBook) -> Result<(), TestCaseError> {
    let mut queued = 0;
    let (mut n_new, mut n_tried, mut n_given, mut n_cold) = (0, 0, 0, 0);
    for (addr, entry) in book.iter() {
        if let Some(line) = book.line_of(addr, entry) {
            let waits = book.queues.contains(&(line, entry.next_try, addr.clone()));
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
    prop_assert_eq!(queued, book.queues.len() + book.new.n_ready() + book.tried.n_ready());
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
}
