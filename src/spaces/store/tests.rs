#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::PathBuf, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rusqlite::StatementStatus;
use tempfile::TempDir;

use super::*;
use crate::spaces::{
    admission::Refusal,
    reconcile::Range,
    record::{KeyHash, Record},
    scribe::Write,
    summary::Node,
};

fn now() -> Moment {
    Moment::after(Duration::from_secs(1_700_000_000))
}

/// The number before the first change of a space that is joined now.
const FIRST: u64 = 1_700_000_000_000;

fn key(n: u64) -> NodeKey {
    NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(n))
}

fn owner(n: u64) -> Owner {
    let key = key(n);
    Owner { id: key.node_id(), key: Some(key), rules: Rules::default(), max_bytes: 64 << 20 }
}

fn spec() -> SpaceSpec {
    SpaceSpec::open("notes").unwrap()
}

fn id() -> SpaceId {
    spec().id()
}

fn place() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("spaces.sqlite3");
    (dir, path)
}

fn open(path: &Path) -> Store {
    let (mut store, set_aside) = Store::open(path, owner(1), now()).unwrap();
    assert_eq!(set_aside, None);
    store.join(&spec(), now()).unwrap();
    store
}

fn own(key: &str, value: Option<&str>) -> (SpaceId, Write) {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    (id(), Write::Own { key: key.into(), value })
}

fn set(store: &mut Store, key: &str, value: &str) -> Outcome {
    store.commit(vec![own(key, Some(value))], now()).unwrap().remove(0)
}

fn keys(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|entry| &*entry.key).collect()
}

#[test]
fn what_was_committed_is_there_when_it_is_opened_again() {
    let (_dir, path) = place();
    let mut store = open(&path);
    for n in 0..50 {
        let some = (n * 10..n * 10 + 10).map(|n| own(&format!("key {n}"), Some("value")));
        store.commit(some.collect(), now()).unwrap();
    }
    store.commit(vec![own("key 3", None)], now()).unwrap();
    store.set_in_step(&id(), now()).unwrap();
    let before = store.space(&id()).unwrap();
    let time = store.get(&id(), "key 499").unwrap().unwrap().time;
    // As if it had been killed.
    drop(store);
    let mut store = open(&path);
    assert_eq!(store.space(&id()).unwrap(), before);
    assert_eq!(before.seq, FIRST + 501);
    assert_eq!((before.holds.records, before.in_step), (500, Some(now())));
    assert_eq!(store.get(&id(), "key 3").unwrap(), None);
    let entry = store.get(&id(), "key 4").unwrap().unwrap();
    assert!(entry.proven && entry.writer == key(1).node_id());
    // Though the machine's clock has been set back.
    let earlier = Moment::after(now().since_epoch() - Duration::from_secs(60));
    store.commit(vec![own("key 4", Some("x"))], earlier).unwrap();
    let later = store.get(&id(), "key 4").unwrap().unwrap().time;
    assert!(later > time, "times go on where they were");
}

#[test]
fn lists_are_in_order_by_prefix_and_in_pages() {
    let mut store = Store::in_memory(owner(1)).unwrap();
    store.join(&spec(), now()).unwrap();
    for key in ["b/2", "a", "b/1", "b", "c", "b/3", "ü", "b0"] {
        set(&mut store, key, "x");
    }
    store.commit(vec![own("b/2", None)], now()).unwrap();
    let list = |prefix, after, limit| store.list(&id(), prefix, after, limit).unwrap();
    assert_eq!(keys(&list("", None, 100)), ["a", "b", "b/1", "b/3", "b0", "c", "ü"]);
    assert_eq!(keys(&list("b/", None, 100)), ["b/1", "b/3"]);
    let first = list("b", None, 2);
    assert_eq!((keys(&first), first.more), (vec!["b", "b/1"], true));
    let second = list("b", Some("b/1"), 2);
    assert_eq!((keys(&second), second.more), (vec!["b/3", "b0"], false));
    // A key that is not there (any more) is as good to go on from.
    assert_eq!(keys(&list("b", Some("b/2"), 9)), ["b/3", "b0"]);
    assert_eq!(keys(&list("b", Some("a"), 9)), ["b", "b/1", "b/3", "b0"]);
    assert!(list("b", Some("z"), 9).entries.is_empty());
}

#[test]
fn a_page_has_about_a_mebibyte_at_most() {
    let mut store = Store::in_memory(owner(1)).unwrap();
    store.join(&spec(), now()).unwrap();
    let large = "x".repeat(400_000);
    for key in ["a", "b", "c", "d"] {
        set(&mut store, key, &large);
    }
    let page = store.list(&id(), "", None, 100).unwrap();
    assert_eq!((keys(&page), page.more), (vec!["a", "b"], true));
    let changes = store.changes(&id(), 0, 100).unwrap();
    assert_eq!((changes.entries.len(), changes.more), (2, true));
}

#[test]
fn changes_are_told_from_any_number_on_and_what_was_forgotten_is_missed() {
    let mut store = Store::in_memory(owner(1)).unwrap();
    store.join(&spec(), now()).unwrap();
    for key in ["a", "b", "c", "a"] {
        set(&mut store, key, "x");
    }
    let all = store.changes(&id(), 0, 100).unwrap();
    assert_eq!((keys(&all), all.missed), (vec!["b", "c", "a"], false));
    assert_eq!(keys(&store.changes(&id(), FIRST + 3, 100).unwrap()), ["a"]);
    store.commit(vec![own("c", None)], now()).unwrap();
    let later = now() + store.owner().rules.keep_deletions + Duration::from_secs(1);
    assert_eq!(store.sweep(now()).unwrap(), 0);
    assert_eq!(store.sweep(later).unwrap(), 1);
    let missed = store.changes(&id(), FIRST + 4, 100).unwrap();
    assert_eq!((keys(&missed), missed.missed), (vec![], true));
    assert!(!store.changes(&id(), FIRST + 5, 100).unwrap().missed);
    assert_eq!(store.space(&id()).unwrap().holds.records, 2);
}

#[test]
fn what_others_wrote_is_verified_and_counted_to_them() {
    let mut store = Store::in_memory(owner(1)).unwrap();
    store.join(&spec(), now()).unwrap();
    let other = key(2);
    let by = (other.node_id(), Some(&other));
    let what = ("a", Some(Bytes::from_static(b"from 2")));
    let good = Record::write(&id(), what, Hlc::at(now()), by).unwrap();
    let mut forged = good.clone();
    forged.value = Some(Bytes::from_static(b"from 3"));
    let writes = [forged.clone(), good.clone(), good.clone()].map(|r| (id(), Write::Other(r)));
    let outcomes = store.commit(writes.into(), now()).unwrap();
    assert!(matches!(outcomes[0], Outcome::Refused(Refusal::Record(_))));
    assert!(matches!(&outcomes[1], Outcome::Taken(taken) if taken.record == good));
    assert_eq!(outcomes[2], Outcome::Old);
    // This node's own comes later than what it has seen, whatever its clock says.
    let Outcome::Taken(taken) = set(&mut store, "a", "mine") else { panic!() };
    assert!(taken.record.time > good.time);
    let usage: Vec<(Vec<u8>, i64)> = {
        let sql = "SELECT writer, records FROM usage";
        let mut select = store.database.connection().prepare(sql).unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    assert_eq!(usage, [(key(1).node_id().as_u128().to_be_bytes().to_vec(), 1)]);
}

#[test]
fn what_was_written_while_the_clock_was_wrong_holds_up_nothing_that_is_written_later() {
    let (_dir, path) = place();
    let mut store = open(&path);
    let year = now() + Duration::from_secs(365 * 24 * 3600);
    store.commit(vec![own("a", Some("wrong"))], year).unwrap();
    drop(store);
    let mut store = open(&path);
    let time = |store: &Store, key| store.get(&id(), key).unwrap().unwrap().time;
    let wrong = time(&store, "a");
    assert!(matches!(set(&mut store, "b", "right"), Outcome::Taken(_)));
    assert!(time(&store, "b") < wrong);
    assert!(matches!(set(&mut store, "a", "right"), Outcome::Taken(_)));
    assert!(time(&store, "a") > wrong && time(&store, "b") < wrong);
    assert!(matches!(set(&mut store, "c", "right"), Outcome::Taken(_)));
    assert!(time(&store, "c") < wrong);
}

#[test]
fn a_space_that_was_forgotten_and_joined_again_has_later_numbers() {
    let mut store = Store::in_memory(owner(1)).unwrap();
    store.join(&spec(), now()).unwrap();
    for n in 0..50 {
        set(&mut store, &n.to_string(), "x");
    }
    let seen = store.space(&id()).unwrap().seq;
    store.leave(&id(), true).unwrap();
    store.join(&spec(), now() + Duration::from_secs(1)).unwrap();
    set(&mut store, "new", "x");
    let changes = store.changes(&id(), seen, 9).unwrap();
    assert!(changes.missed && keys(&changes) == ["new"]);
    assert!(!store.changes(&id(), 0, 9).unwrap().missed, "who begins has missed nothing");
}

#[test]
fn quotas_hold_within_one_batch_too() {
    let mut owner = owner(1);
    owner.rules.per_writer = Amount { records: 3, bytes: 1000 };
    let mut store = Store::in_memory(owner).unwrap();
    store.join(&spec(), now()).unwrap();
    let batch = ["a", "b", "c", "d"].map(|key| own(key, Some("x")));
    let outcomes = store.commit(batch.into(), now()).unwrap();
    assert_eq!(outcomes[3], Outcome::Refused(Refusal::WriterFull));
    assert!(matches!(set(&mut store, "a", "again"), Outcome::Taken(_)));
    assert_eq!(set(&mut store, "e", "x"), Outcome::Refused(Refusal::WriterFull));
    assert_eq!(set(&mut store, "a", &"x".repeat(999)), Outcome::Refused(Refusal::WriterFull));
}

#[test]
fn spaces_are_joined_left_and_forgotten() {
    let (_dir, path) = place();
    let mut store = open(&path);
    set(&mut store, "a", "1");
    assert!(!store.join(&spec(), now()).unwrap());
    assert!(store.leave(&id(), false).unwrap());
    assert!(!store.leave(&id(), false).unwrap());
    let other = SpaceSpec::with_writers("notes", [key(3).node_id()]).unwrap();
    assert!(matches!(store.join(&other, now()), Err(JoinError::OtherWriters)));
    drop(store);
    let (mut store, _) = Store::open(&path, owner(1), now()).unwrap();
    assert!(!store.space(&id()).unwrap().is_joined);
    assert!(store.join(&spec(), now()).unwrap());
    assert!(store.get(&id(), "a").unwrap().is_some());
    assert!(store.leave(&id(), true).unwrap());
    assert!(store.join(&other, now()).unwrap());
    assert_eq!(store.space(&other.id()).unwrap().holds.records, 0);
    for n in 1..MAX_SPACES {
        store.join(&SpaceSpec::open(&n.to_string()).unwrap(), now()).unwrap();
    }
    let one_more = store.join(&SpaceSpec::open("more").unwrap(), now());
    assert!(matches!(one_more, Err(JoinError::TooMany)));
}

#[test]
fn a_full_disk_loses_nothing_that_was_kept_and_says_what_to_do() {
    let (_dir, path) = place();
    let mut store = open(&path);
    set(&mut store, "kept", "x");
    let before = store.space(&id()).unwrap();
    let pages: i64 = {
        let connection = store.database.connection();
        connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
    };
    store.database.connection().pragma_update(None, "max_page_count", pages + 2).unwrap();
    let batch = vec![own("small", Some("x")), own("large", Some(&"x".repeat(100_000)))];
    let error = store.commit(batch, now()).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("Make room"), "{error}");
    assert_eq!(store.space(&id()).unwrap(), before, "nothing has changed");
    assert_eq!(store.get(&id(), "small").unwrap(), None);
    // It goes on as soon as there is room.
    store.database.connection().pragma_update(None, "max_page_count", 10_000).unwrap();
    assert!(matches!(set(&mut store, "large", &"x".repeat(100_000)), Outcome::Taken(_)));
    drop(store);
    let store = open(&path);
    assert!(store.get(&id(), "kept").unwrap().is_some());
    assert!(store.get(&id(), "small").unwrap().is_none());
}

#[test]
fn a_damaged_file_is_set_aside_with_a_clear_message() {
    let (dir, path) = place();
    let mut store = open(&path);
    let many = (0..2000).map(|n| own(&format!("key {n}"), Some("some value of some length")));
    store.commit(many.collect(), now()).unwrap();
    store.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20_000].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let (store, set_aside) = Store::open(&path, owner(1), now()).unwrap();
    let set_aside = set_aside.unwrap();
    assert!(store.spaces().is_empty());
    assert!(set_aside.to_string().contains("renamed") && set_aside.to.exists(), "{set_aside}");
    assert!(fs::read_dir(dir.path()).unwrap().count() >= 2);
}

#[test]
fn the_sums_know_how_deep_they_go() {
    let mut store = Store::in_memory(owner(1)).unwrap();
    store.join(&spec(), now()).unwrap();
    for n in 0..3000 {
        set(&mut store, &format!("key {n}"), "x");
    }
    let kept = store.spaces.get(&id()).unwrap();
    assert_eq!(kept.summary.depth(), 3);
    // Ranges below are summed up from the records, and say the same.
    let deep = Node::new(3, 0x123).unwrap();
    let parts = store.sums(&id(), &[deep]).unwrap().remove(0);
    let count: u32 = parts.iter().map(crate::spaces::summary::Sum::count).sum();
    assert_eq!(count, kept.summary.get(deep).unwrap().count());
}

/// What other nodes find by hash is what is there, wherever its index entries are.
fn check_index(store: &Store) {
    let all = store.changes(&id(), 0, 1000).unwrap();
    let mut found: Vec<_> = all.entries.iter().map(|entry| KeyHash::of(&entry.key)).collect();
    found.sort_unstable();
    let listed = store.items(&id(), &[Range::whole(Node::ROOT)], 7).unwrap().remove(0);
    assert_eq!(listed.items.iter().map(|item| item.hash).collect::<Vec<_>>(), found);
    for entry in &all.entries {
        let hash = KeyHash::of(&entry.key);
        let item = store.item(&id(), hash, 7).unwrap().unwrap();
        assert_eq!((item.time, item.is_deletion), (entry.time, entry.value.is_none()));
        let (record, seq) = store.by_hash(&id(), &hash).unwrap().unwrap();
        assert_eq!(Entry::from((record, seq)), *entry);
    }
    assert_eq!(store.space(&id()).unwrap().holds.records, found.len() as u64);
    let kept = store.spaces.get(&id()).unwrap();
    let connection = store.database.connection();
    let (summary, total) = index::sum_up(connection, kept.row, &kept.unflushed, drop).unwrap();
    assert_eq!((summary.root(), total), (kept.summary.root(), kept.total));
}

#[derive(Debug, Clone)]
enum Step {
    /// Keys, and whether they are set.
    Write(Vec<(u8, bool)>),
    Forget(u8),
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec((0u8..12, proptest::bool::weighted(0.8)), 1..6).prop_map(Step::Write),
        2 => (0u8..12).prop_map(Step::Forget),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_index_is_that_of_the_records_whenever_it_is_flushed(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let (_dir, path) = place();
        let mut store = open(&path);
        for step in steps {
            match step {
                Step::Write(some) => {
                    let value = |is_set| if is_set { Some("x") } else { None };
                    let writes = some.iter().map(|(n, is_set)| own(&n.to_string(), value(*is_set)));
                    store.commit(writes.collect(), now()).unwrap();
                }
                Step::Forget(n) => {
                    store.forget_keys(&id(), &[n.to_string()]).unwrap();
                }
                Step::Flush => store.flush().unwrap(),
                Step::Reopen => {
                    let before = store.space(&id()).unwrap();
                    drop(store);
                    store = open(&path);
                    prop_assert_eq!(store.space(&id()).unwrap(), before);
                }
            }
            check_index(&store);
        }
    }
}

#[test]
fn spaces_side_by_side_have_nothing_in_common() {
    let (_dir, path) = place();
    let mut store = open(&path);
    let specs: Vec<_> = (1..MAX_SPACES).map(|n| SpaceSpec::open(&n.to_string()).unwrap()).collect();
    for spec in &specs {
        store.join(spec, now()).unwrap();
    }
    let all: Vec<_> = specs.iter().map(SpaceSpec::id).chain([id()]).collect();
    // The first and the last of all, and neighbours.
    let some: Vec<_> = [id(), all[0], all[1], all[62]].into();
    let own = |space: SpaceId, key: &str, value: Option<String>| {
        (space, Write::Own { key: key.into(), value: value.map(Bytes::from) })
    };
    for (n, space) in some.iter().enumerate() {
        let value = |key: &str| own(*space, key, Some(format!("{key} {n}")));
        store.commit(["a", "b", "z~", "\u{10ffff}"].map(value).into(), now()).unwrap();
        if n == 1 {
            store.flush().unwrap();
        }
    }
    store.commit(vec![own(some[1], "b", None)], now()).unwrap();
    let check = |store: &Store| {
        for (n, space) in some.iter().enumerate() {
            let page = store.list(space, "", None, 100).unwrap();
            let gone = n == 1;
            assert_eq!(page.entries.len(), if gone { 3 } else { 4 });
            let is_own = |entry: &Entry| entry.value == Some(format!("{} {n}", entry.key).into());
            assert!(page.entries.iter().all(is_own), "{page:?}");
            assert_eq!(store.get(space, "b").unwrap().is_none(), gone);
            assert!(store.list(space, "", Some("\u{10ffff}"), 9).unwrap().entries.is_empty());
            assert_eq!(store.changes(space, 0, 100).unwrap().entries.len(), 4);
            let items = store.items(space, &[Range::whole(Node::ROOT)], 7).unwrap().remove(0);
            assert_eq!(items.items.len(), 4);
        }
    };
    check(&store);
    drop(store);
    let mut store = open(&path);
    check(&store);
    // What is forgotten of one leaves the others as they were, also in its place.
    assert_eq!(store.forget_keys(&some[2], &["a".to_owned()]).unwrap(), 1);
    let later = now() + store.owner().rules.keep_deletions + Duration::from_secs(1);
    assert_eq!(store.sweep(later).unwrap(), 1);
    store.leave(&all[1], true).unwrap();
    store.join(&specs[1], now()).unwrap();
    let left = some.iter().map(|space| store.list(space, "", None, 9).unwrap().entries.len());
    assert_eq!(left.collect::<Vec<_>>(), [4, 3, 0, 4]);
    let items = store.items(&all[1], &[Range::whole(Node::ROOT)], 7).unwrap().remove(0);
    assert!(items.items.is_empty());
}

#[test]
fn a_full_file_takes_what_makes_room_though_its_index_cannot_be_written() {
    let (_dir, path) = place();
    let mut store = open(&path);
    let large = "x".repeat(100_000);
    set(&mut store, "large", &large);
    store.commit((0..200).map(|n| own(&n.to_string(), Some("x"))).collect(), now()).unwrap();
    let connection = store.database.connection();
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    connection.pragma_update(None, "max_page_count", pages).unwrap();
    store.flush_at = 100;
    assert!(matches!(store.flush(), Err(StoreError::Full { .. })));
    let gone = store.commit(vec![own("large", None)], now()).unwrap().remove(0);
    assert!(matches!(gone, Outcome::Taken(_)));
    assert!(store.flush_at > 200, "it is not tried again at each write");
    check_index(&store);
    // With the room that there is now it is written.
    store.flush().unwrap();
    check_index(&store);
}

#[test]
fn a_file_of_the_first_version_becomes_one_of_this() {
    let (_dir, path) = place();
    let mut store = open(&path);
    set(&mut store, "a", "1");
    set(&mut store, "b", "2");
    store.commit(vec![own("b", None)], now()).unwrap();
    let before = store.space(&id()).unwrap();
    store.close().unwrap();
    {
        // As the first version had it.
        let old = rusqlite::Connection::open(&path).unwrap();
        old.execute_batch(
            "ALTER TABLE record RENAME TO new; ALTER TABLE space RENAME TO new_space;
            ALTER TABLE usage RENAME TO new_usage; DROP INDEX deletion; DROP INDEX record_by_place;",
        )
        .unwrap();
        old.execute_batch(schema::layout(0).migrations[0]).unwrap();
        let hash = |key: &str| KeyHash::of(key).0;
        for (key, hash) in [("a", hash("a")), ("b", hash("b"))] {
            let copy = "INSERT INTO record SELECT id, id >> 48, ?1, ?2, time, writer, digest, \
                deleted, author, value FROM new WHERE place = '!' || ?1";
            assert_eq!(old.execute(copy, params![key, hash]).unwrap(), 1);
        }
        let seq = before.seq.cast_signed();
        let space = "INSERT INTO space SELECT id, name, writers, joined, in_step, ?1, forgotten \
            FROM new_space";
        old.execute(space, [seq]).unwrap();
        old.execute_batch(
            "INSERT INTO usage SELECT * FROM new_usage; DROP TABLE new; DROP TABLE new_space;
            DROP TABLE new_usage; DROP TABLE by_hash; PRAGMA user_version = 1;",
        )
        .unwrap();
    }
    let mut store = open(&path);
    assert_eq!(store.space(&id()).unwrap(), before);
    assert_eq!(store.get(&id(), "a").unwrap().unwrap().value, Some(Bytes::from_static(b"1")));
    check_index(&store);
    let Outcome::Taken(taken) = set(&mut store, "b", "3") else { panic!() };
    assert_eq!(taken.seq, before.seq + 1);
    check_index(&store);
}

#[test]
fn statements_are_prepared_once_whatever_they_are_about() {
    let (_dir, path) = place();
    for mut store in [open(&path), Store::in_memory(owner(1)).unwrap()] {
        store.join(&spec(), now()).unwrap();
        for key in ["a", "b", "c"] {
            store.item(&id(), KeyHash::of(key), 7).unwrap();
            store.list(&id(), key, None, 9).unwrap();
        }
        for sql in [schema::SELECT_RANGE, schema::SELECT_PAGE] {
            let select = store.database.connection().prepare_cached(sql).unwrap();
            assert!(select.get_status(StatementStatus::Run) >= 3);
            assert_eq!(select.get_status(StatementStatus::RePrepare), 0);
        }
    }
}

#[test]
fn index_entries_are_flushed_before_they_are_too_many() {
    let mut store = Store::in_memory(Owner { key: None, ..owner(1) }).unwrap();
    store.join(&spec(), now()).unwrap();
    let plain = |n: usize| {
        let writer = NodeId::from_u128(7);
        (id(), Write::Plain { writer, key: n.to_string().into(), value: Some(Bytes::new()) })
    };
    for batch in 0..=index::MAX_UNFLUSHED / 1024 {
        let some = (batch * 1024..(batch + 1) * 1024).map(plain);
        store.commit(some.collect(), now()).unwrap();
    }
    let kept = store.spaces.get(&id()).unwrap();
    assert_eq!(kept.unflushed.len(), 1024);
    let item = |n: usize| store.item(&id(), KeyHash::of(&n.to_string()), 7).unwrap();
    assert!(item(0).is_some() && item(index::MAX_UNFLUSHED).is_some());
}

#[test]
fn what_is_forgotten_leaves_a_copy() {
    let (_dir, path) = place();
    let mut store = open(&path);
    set(&mut store, "a", "1");
    set(&mut store, "b", "2");
    let item = |store: &Store, key| store.item(&id(), KeyHash::of(key), 7).unwrap().unwrap();
    let listed = [item(&store, "a"), item(&store, "b")];
    // What has been written since stays.
    set(&mut store, "b", "3");
    assert_eq!(store.forget(&id(), &listed, 7).unwrap(), 1);
    assert_eq!(store.forget(&id(), &listed, 7).unwrap(), 0);
    assert_eq!(keys(&store.list(&id(), "", None, 9).unwrap()), ["b"]);
    let copy = fs::read_to_string(store.forgotten_place().unwrap()).unwrap();
    assert!(
        copy.starts_with(r#"{"space":"notes","key":"a","value":"1","#) && copy.lines().count() == 1,
        "{copy}"
    );
}

#[test]
#[cfg(unix)]
fn only_the_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let (_dir, path) = place();
    drop(open(&path));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
