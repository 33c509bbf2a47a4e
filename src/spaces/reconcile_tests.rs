//! Two stores in memory and the machine between them.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    ids::NodeId,
    spaces::{
        name::{SpaceId, SpaceSpec},
        record::Record,
        scribe::Write,
        store::{Outcome, Owner, Parcel, Store},
    },
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The number that was drawn for listings.
const DRAWN: u32 = 77;

fn spec() -> SpaceSpec {
    SpaceSpec::open("notes").unwrap()
}

fn space() -> SpaceId {
    spec().id()
}

fn day(n: u32) -> Moment {
    Moment::after(DAY * (1000 + n))
}

fn node(n: u128) -> Store {
    let owner =
        Owner { id: NodeId::from_u128(n), key: None, rules: Rules::default(), max_bytes: 1 << 30 };
    let mut store = Store::in_memory(owner).unwrap();
    store.join(&spec(), Moment::ZERO).unwrap();
    store
}

fn write(store: &mut Store, key: &str, value: Option<&str>, now: Moment) {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    let own = Write::Own { key: key.into(), value };
    store.commit(vec![(space(), own)], now).unwrap();
}

fn fill(store: &mut Store, keys: impl Iterator<Item = u32>, value: &str, now: Moment) {
    let writes = keys.map(|n| {
        let value = Some(Bytes::copy_from_slice(value.as_bytes()));
        (space(), Write::Own { key: format!("key {n}").into(), value })
    });
    let outcomes = store.commit(writes.collect(), now).unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Taken(_))));
}

fn content(store: &Store) -> BTreeMap<String, Option<Bytes>> {
    let page = |seq| store.changes(&space(), seq, 1000).unwrap();
    let (mut content, mut seq) = (BTreeMap::new(), 0);
    loop {
        let page = page(seq);
        for entry in page.entries {
            seq = entry.seq;
            content.insert(String::from(entry.key), entry.value);
        }
        if !page.more {
            return content;
        }
    }
}

/// What went over, in records and listed items.
#[derive(Debug, Default)]
struct Traffic {
    rounds: usize,
    sums: usize,
    listed: usize,
    records: usize,
}

/// One side asks the other until all is done, or until it is cut off after so many steps.
fn exchange(a: &mut Store, b: &mut Store, now: Moment, steps: usize) -> Traffic {
    let (mine, theirs) = (a.standing(&space(), now), b.standing(&space(), now));
    let mut machine = Reconciler::new(Terms { mine, theirs, rules: a.owner().rules, now });
    let mut traffic = Traffic::default();
    for drawn in 0..u32::try_from(steps).unwrap_or(u32::MAX) {
        traffic.rounds += 1;
        match machine.step() {
            Step::Sums(nodes) => {
                let told = |store: &Store| -> Vec<Vec<ToldSum>> {
                    let sums = store.sums(&space(), &nodes).unwrap();
                    let told =
                        |parts: &Vec<Sum>| parts.iter().map(|s| ToldSum::of(s, drawn)).collect();
                    sums.iter().map(told).collect()
                };
                traffic.sums += nodes.len() * PARTS;
                machine.sums(&nodes, &told(a), &told(b)).unwrap();
            }
            Step::Items(ranges) => {
                let is_away = matches!(mine, Standing::Away(_));
                let own = a.own_items(&space(), &ranges, DRAWN, is_away).unwrap();
                let theirs = b.items(&space(), &ranges, DRAWN).unwrap();
                traffic.listed += theirs.iter().map(|listing| listing.items.len()).sum::<usize>();
                machine.items(&ranges, &own, &theirs).unwrap();
            }
            Step::Get(items) => traffic.records += carry(b, a, &hashes(&items), now),
            Step::Offer(items) => {
                let lacking = b.lacking(&space(), &items, DRAWN).unwrap();
                traffic.records += carry(a, b, &hashes(&lacking), now);
            }
            Step::Forget(items) => drop(a.forget(&space(), &items, DRAWN).unwrap()),
            Step::Done => {
                a.set_in_step(&space(), now).unwrap();
                // Who was away has to ask itself.
                if !matches!(theirs, Standing::Away(_)) {
                    b.set_in_step(&space(), now).unwrap();
                }
                return traffic;
            }
        }
    }
    traffic
}

fn hashes(items: &[Item]) -> Vec<KeyHash> {
    items.iter().map(|item| item.hash).collect()
}

fn carry(from: &mut Store, to: &mut Store, mut hashes: &[KeyHash], now: Moment) -> usize {
    let mut n = 0;
    while !hashes.is_empty() {
        let Parcel::Records(packed, done) = from.parcel(&space(), hashes).unwrap() else {
            panic!()
        };
        let records = Record::unpack_all(packed).unwrap();
        n += records.len();
        let writes = records.into_iter().map(|record| (space(), Write::Other(record))).collect();
        to.commit(writes, now).unwrap();
        hashes = &hashes[done..];
    }
    n
}

#[test]
fn only_what_differs_travels() {
    let [mut a, mut b] = [node(1), node(2)];
    fill(&mut a, 0..20_000, "the same", day(0));
    let all = exchange(&mut a, &mut b, day(0), usize::MAX);
    assert_eq!((all.records, all.listed), (20_000, 0), "{all:?}");
    let none = exchange(&mut a, &mut b, day(0), usize::MAX);
    assert_eq!((none.rounds, none.sums, none.listed, none.records), (2, 16, 0, 0));
    fill(&mut a, (0..20_000).step_by(200), "by a", day(1));
    fill(&mut b, (100..20_000).step_by(200), "by b", day(1));
    let some = exchange(&mut a, &mut b, day(1), usize::MAX);
    assert_eq!(some.records, 200, "{some:?}");
    assert!(some.listed < 2000 && some.sums < 10_000 && some.rounds < 20, "{some:?}");
    assert_eq!(content(&a), content(&b));
    assert_eq!(a.space(&space()).unwrap().root, b.space(&space()).unwrap().root);
}

#[test]
fn a_newcomer_gets_everything_and_so_does_who_asks_a_newcomer() {
    for turn in [false, true] {
        let [mut a, mut b] = [node(1), node(2)];
        fill(&mut a, 0..5_000, "old", day(0));
        write(&mut a, "key 7", None, day(1));
        let traffic = if turn {
            exchange(&mut b, &mut a, day(200), usize::MAX)
        } else {
            exchange(&mut a, &mut b, day(20), usize::MAX)
        };
        // A deletion that is over goes nowhere.
        assert_eq!(traffic.records, if turn { 4_999 } else { 5_000 });
        assert_eq!(content(&b).values().flatten().count(), 4_999);
    }
}

#[test]
fn who_was_away_too_long_does_not_bring_the_dead_back_and_loses_nothing_of_its_own() {
    let [mut a, mut b, mut c] = [node(1), node(2), node(3)];
    for (key, n) in [("kept", 0), ("deleted", 0)] {
        write(&mut a, key, Some("1"), day(n));
    }
    exchange(&mut a, &mut b, day(0), usize::MAX);
    exchange(&mut b, &mut c, day(0), usize::MAX);
    // c goes away, and writes something there.
    write(&mut c, "by c", Some("2"), day(1));
    write(&mut a, "deleted", None, day(2));
    exchange(&mut a, &mut b, day(2), usize::MAX);
    for store in [&mut a, &mut b] {
        assert_eq!(store.sweep(day(40)).unwrap(), 1);
    }
    exchange(&mut a, &mut b, day(40), usize::MAX);
    assert!(matches!(c.standing(&space(), day(41)), Standing::Away(_)));
    // Asked first, it hands out nothing that may be dead.
    exchange(&mut a, &mut c, day(41), 3);
    assert!(!content(&a).contains_key("deleted"));
    exchange(&mut c, &mut a, day(41), usize::MAX);
    exchange(&mut a, &mut b, day(41), usize::MAX);
    let keys: Vec<_> = content(&b).into_keys().collect();
    assert_eq!(keys, ["by c", "kept"]);
    assert!(content(&a) == content(&b) && content(&b) == content(&c));
}

#[test]
fn two_that_were_away_from_each_other_alone_lose_nothing() {
    let [mut a, mut b] = [node(1), node(2)];
    write(&mut a, "before", Some("1"), day(0));
    exchange(&mut a, &mut b, day(0), usize::MAX);
    write(&mut a, "a", Some("1"), day(1));
    write(&mut b, "b", Some("1"), day(2));
    exchange(&mut a, &mut b, day(90), usize::MAX);
    assert_eq!(content(&a).len(), 3);
    assert_eq!(content(&a), content(&b));
}

#[test]
fn answers_that_cannot_be_meant_are_faults() {
    let terms =
        Terms { mine: Standing::New, theirs: Standing::New, rules: Rules::default(), now: day(0) };
    let sum = |count| vec![ToldSum { hash: [1; 4], count }; PARTS];
    let mut machine = Reconciler::new(terms);
    let Step::Sums(nodes) = machine.step() else { panic!() };
    assert_eq!(machine.sums(&nodes, &[sum(1)], &[]), Err(Fault::Unasked));
    assert_eq!(machine.sums(&nodes, &[sum(1)], &[vec![]]), Err(Fault::Unasked));
    machine.sums(&nodes, &[sum(1)], &[sum(2)]).unwrap();
    let Step::Items(ranges) = machine.step() else { panic!() };
    let mine = vec![Listing { items: vec![], is_whole: true }; ranges.len()];
    let item = |n: u8| Item {
        hash: KeyHash([n; 16]),
        time: Hlc::default(),
        tie: [0; 4],
        is_deletion: false,
    };
    let listing = |items: &[u8], is_whole| {
        vec![Listing { items: items.iter().map(|n| item(*n)).collect(), is_whole }]
    };
    assert_eq!(machine.items(&ranges, &mine, &[]), Err(Fault::Unasked));
    assert_eq!(machine.items(&ranges, &mine, &listing(&[], false)), Err(Fault::Disorder));
    assert_eq!(machine.items(&ranges, &mine, &listing(&[0], false)), Err(Fault::Disorder));
    assert_eq!(machine.items(&ranges, &mine, &listing(&[2, 1], true)), Err(Fault::Disorder));
    assert_eq!(machine.items(&ranges, &mine, &listing(&[1, 1], true)), Err(Fault::Disorder));
    assert_eq!(machine.items(&ranges, &mine, &listing(&[0xff], true)), Err(Fault::Disorder));
    assert_eq!(machine.got(MAX_IN_VAIN), Ok(()));
    assert_eq!(machine.got(1), Err(Fault::InVain));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any order, loss, duplication and partition of exchanges ends in identical spaces.
    #[test]
    fn whatever_happens_on_the_way_all_end_with_the_same(seed: u64, many in 10u32..400) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut nodes: Vec<Store> = (1..=4).map(node).collect();
        let mut told: Vec<Record> = Vec::new();
        for round in 0..many {
            let now = day(0) + Duration::from_secs(u64::from(round));
            let [a, b] = [(); 2].map(|()| rng.random_range(0..nodes.len()));
            match rng.random_range(0..6) {
                0..3 => {
                    let key = format!("key {}", rng.random_range(0..60));
                    let value = rng.random_bool(0.8).then(|| round.to_string());
                    let own = Write::Own {
                        key: key.into(),
                        value: value.map(Bytes::from),
                    };
                    let outcomes = nodes[a].commit(vec![(space(), own)], now).unwrap();
                    if let [Outcome::Taken(taken)] = &outcomes[..] {
                        told.push(taken.record.clone());
                    }
                }
                3 if !told.is_empty() => {
                    // What was published comes late, twice, out of order, or not at all.
                    told.shuffle(&mut rng);
                    let some = told.iter().take(3).cloned();
                    let writes = some.map(|record| (space(), Write::Other(record))).collect();
                    nodes[b].commit(writes, now).unwrap();
                }
                _ if a != b => {
                    // A partition cuts some of them short.
                    let steps = rng.random_range(1..20);
                    let [a, b] = nodes.get_disjoint_mut([a, b]).unwrap();
                    exchange(a, b, now, steps);
                }
                _ => {}
            }
        }
        let now = day(1);
        for _ in 0..2 {
            for n in 1..nodes.len() {
                let [a, b] = nodes.get_disjoint_mut([n - 1, n]).unwrap();
                exchange(a, b, now, usize::MAX);
            }
            for n in (1..nodes.len()).rev() {
                let [a, b] = nodes.get_disjoint_mut([n, n - 1]).unwrap();
                exchange(a, b, now, usize::MAX);
            }
        }
        let first = content(&nodes[0]);
        for store in &nodes[1..] {
            prop_assert_eq!(&content(store), &first);
            prop_assert_eq!(store.space(&space()).unwrap().root, nodes[0].space(&space()).unwrap().root);
            prop_assert_eq!(store.space(&space()).unwrap().holds, nodes[0].space(&space()).unwrap().holds);
        }
    }
}
