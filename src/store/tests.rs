use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use actix::prelude::*;
use proptest::{collection::vec, option, prelude::*};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{database::Layout, *};
use crate::{
    actors::{journal::JournalPort, vital::Watch},
    address::{HostPort, Subnet},
    clock::Clock,
    ids::NodeId,
    proto::{
        address_entry::Source,
        address_record::Shelf,
        bans::Target,
        finder::Finder,
        journal::{Decision, Kind},
    },
    testkit::Probe,
};

const SECRET: [u8; 32] = [7; 32];
const NOW: Moment = Moment::from_nanos(1_700_000_000_500_000_000);

/// A directory and the path of a file in it that does not exist.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("peerage.db");
    (dir, path)
}

#[track_caller]
fn open(path: &Path) -> Opened {
    Store::open(path, SECRET, NOW).unwrap()
}

/// Opens a file that must be in order.
#[track_caller]
fn reopen(path: &Path) -> Kept {
    let opened = open(path);
    assert_eq!(opened.set_aside, None);
    opened.kept
}

fn record(n: u32) -> AddressRecord {
    AddressRecord {
        addr: format!("8.{}.{}.{}:5999", n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff).parse().unwrap(),
        id: Some(NodeId::from_u128(u128::from(n))),
        shelf: Shelf::Tried,
        source: Source::Told(NodeId::from_u128(9)),
        told_from: Some("9.9.9.9".parse().unwrap()),
        heard: NOW,
        proven: Some(NOW + Duration::from_secs(u64::from(n))),
        tried: None,
        failures: 0,
    }
}

fn put(n: u32) -> AddressChange {
    AddressChange::Put(Box::new(record(n)))
}

fn ban(target: &str) -> Ban {
    let until = NOW + Duration::from_secs(60);
    Ban { target: target.parse().unwrap(), since: NOW, until, note: "spam".to_owned() }
}

fn names_in(dir: &TempDir) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A file with three addresses and a ban, closed.
fn filled() -> (TempDir, PathBuf) {
    let (dir, path) = place();
    let mut store = open(&path).store;
    store.save_addresses(&[put(1), put(2), put(3)]).unwrap();
    store.save_bans(&[BanChange::Put(ban("203.0.113.0/24"))]).unwrap();
    store.close().unwrap();
    (dir, path)
}

fn any_addr() -> impl Strategy<Value = HostPort> {
    let name = "[a-z]([a-z0-9_-]{0,20}[a-z0-9])?(\\.[a-z]{2,5}){0,3}";
    prop_oneof![
        any::<std::net::SocketAddr>().prop_map(HostPort::from),
        (name, any::<u16>()).prop_map(|(name, port)| format!("{name}:{port}").parse().unwrap()),
    ]
}

fn any_id() -> impl Strategy<Value = NodeId> {
    any::<u128>().prop_map(NodeId::from_u128)
}

fn any_moment() -> impl Strategy<Value = Moment> {
    prop_oneof![Just(0), Just(u64::MAX), Just(1 << 63), any::<u64>()].prop_map(Moment::from_nanos)
}

fn any_source() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::Bootstrap),
        Just(Source::Manual),
        any_id().prop_map(Source::Declared),
        any_id().prop_map(Source::Told),
        "[a-z0-9-]{5,16}".prop_filter_map("another source's name", |name| {
            Some(Source::Found(Finder::new(&name).ok()?))
        }),
    ]
}

prop_compose! {
    fn any_record()(
        addr in any_addr(),
        id in option::of(any_id()),
        shelf in prop_oneof![Just(Shelf::New), Just(Shelf::Tried), Just(Shelf::Cold)],
        source in any_source(),
        told_from in option::of(any::<IpAddr>()),
        heard in any_moment(),
        proven in option::of(any_moment()),
        tried in option::of(any_moment()),
        failures in prop_oneof![Just(u32::MAX), any::<u32>()],
    ) -> AddressRecord {
        AddressRecord { addr, id, shelf, source, told_from, heard, proven, tried, failures }
    }
}

fn any_ban() -> impl Strategy<Value = Ban> {
    let target = prop_oneof![
        any_id().prop_map(Target::Node),
        (any::<IpAddr>(), any::<u8>()).prop_map(|(ip, n)| Target::Net(Subnet::new(ip, n))),
    ];
    (target, any_moment(), any_moment(), any::<String>())
        .prop_map(|(target, since, until, note)| Ban { target, since, until, note })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn everything_is_read_as_it_was_saved(
        mut records in vec(any_record(), 0..40),
        mut bans in vec(any_ban(), 0..20),
    ) {
        let (_dir, path) = place();
        let mut store = open(&path).store;
        let puts: Vec<_> = records.iter().cloned().map(Box::new).map(AddressChange::Put).collect();
        store.save_addresses(&puts).unwrap();
        store.save_bans(&bans.iter().cloned().map(BanChange::Put).collect::<Vec<_>>()).unwrap();
        store.close().unwrap();

        // The later of two about the same stays.
        records.reverse();
        records.sort_by(|a, b| a.addr.cmp(&b.addr));
        records.dedup_by(|a, b| a.addr == b.addr);
        bans.reverse();
        bans.sort_by_key(|ban| ban.target);
        bans.dedup_by_key(|ban| ban.target);
        let mut kept = reopen(&path);
        kept.addresses.sort_by(|a, b| a.addr.cmp(&b.addr));
        kept.bans.sort_by_key(|ban| ban.target);
        prop_assert_eq!(kept.addresses, records);
        prop_assert_eq!(kept.bans, bans);
        prop_assert_eq!(kept.skipped, 0);
    }
}

#[test]
fn a_later_change_replaces_and_what_is_gone_stays_gone() {
    let (_dir, path) = filled();
    let mut store = open(&path).store;
    let changed = AddressRecord { failures: 4, shelf: Shelf::Cold, ..record(2) };
    let gone = AddressChange::Gone(record(1).addr);
    store.save_addresses(&[AddressChange::Put(Box::new(changed.clone())), gone]).unwrap();
    store.save_bans(&[BanChange::Lifted(ban("203.0.113.0/24").target)]).unwrap();
    drop(store);
    let kept = reopen(&path);
    assert_eq!(kept.addresses, [changed, record(3)]);
    assert_eq!(kept.bans, []);
}

#[test]
fn the_secret_is_made_once_and_never_shown() {
    let (_dir, path) = place();
    assert_eq!(open(&path).kept.secret, SECRET);
    let kept = Store::open(&path, [8; 32], NOW).unwrap().kept;
    assert_eq!(kept.secret, SECRET);
    assert!(!format!("{kept:?}").contains("secret"));
}

#[test]
fn bans_that_have_ended_are_still_read() {
    let (_dir, path) = place();
    let ended = Ban { until: Moment::ZERO, ..ban("203.0.113.7") };
    open(&path).store.save_bans(&[BanChange::Put(ended.clone())]).unwrap();
    assert_eq!(reopen(&path).bans, [ended]);
}

/// What a killed process leaves: the files as they are at that moment, the log not copied back and
/// possibly with half of a save at its end.
#[test]
fn a_file_of_a_killed_node_has_every_save_and_none_by_halves() {
    let (dir, path) = place();
    let mut store = open(&path).store;
    let log = dir.path().join("peerage.db-wal");
    let mut ends = vec![fs::metadata(&log).unwrap().len()];
    for n in 0..4 {
        store.save_addresses(&[put(2 * n), put(2 * n + 1)]).unwrap();
        ends.push(fs::metadata(&log).unwrap().len());
    }
    let whole = *ends.last().unwrap();
    for cut in (0..=whole).rev().step_by(1009) {
        let (_dir, copy) = place();
        fs::copy(&path, &copy).unwrap();
        let kept_log = &fs::read(&log).unwrap()[..usize::try_from(cut).unwrap()];
        fs::write(copy.with_file_name("peerage.db-wal"), kept_log).unwrap();
        if cut < ends[0] {
            // Nothing says that there ever was a table: only a lost log does that, not a kill.
            Store::open(&copy, SECRET, NOW).unwrap();
            continue;
        }
        let saves = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(reopen(&copy).addresses.len(), 2 * saves, "cut at {cut} of {whole}");
    }
}

#[test]
fn a_save_that_fails_changes_nothing_and_says_what_to_do() {
    let (_dir, path) = filled();
    let mut store = open(&path).store;
    store.database.connection().pragma_update(None, "max_page_count", 1).unwrap();
    let many: Vec<_> = (10..2000).map(put).collect();
    let error = store.save_addresses(&many).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("Make room"));
    drop(store);
    assert_eq!(reopen(&path).addresses.len(), 3);
}

#[test]
fn rows_that_make_no_sense_are_skipped_and_counted() {
    let (_dir, path) = filled();
    let store = open(&path).store;
    for damage in [
        "UPDATE address SET addr = 'no address' WHERE addr = '8.0.0.1:5999'",
        "UPDATE address SET shelf = 'top' WHERE addr = '8.0.0.2:5999'",
        "INSERT INTO address SELECT 'a.example:1', id, shelf, 'rumour', source_id, told_from, heard,
            proven, tried, failures FROM address LIMIT 1",
        "INSERT INTO address SELECT 'b.example:1', x'00', shelf, source, source_id, told_from,
            heard, proven, tried, failures FROM address LIMIT 1",
        "INSERT INTO address SELECT 'c.example:1', id, shelf, source, NULL, told_from, heard,
            proven, tried, failures FROM address LIMIT 1",
        "INSERT INTO address SELECT 'd.example:1', id, shelf, source, source_id, 'here', heard,
            proven, tried, failures FROM address LIMIT 1",
        "INSERT INTO address SELECT 'e.example:1', id, shelf, source, source_id, told_from, heard,
            proven, tried, -1 FROM address LIMIT 1",
        "INSERT INTO ban VALUES ('everybody', 0, 0, '')",
        "UPDATE meta SET value = x'0102'",
    ] {
        store.database.connection().execute_batch(damage).unwrap();
    }
    drop(store);
    let kept = Store::open(&path, [8; 32], NOW).unwrap().kept;
    assert_eq!(kept.addresses, [record(3)]);
    assert_eq!(kept.bans, [ban("203.0.113.0/24")]);
    assert_eq!((kept.skipped, kept.secret), (9, [8; 32]));
}

#[test]
fn of_too_many_addresses_those_proven_last_are_kept() {
    let (_dir, path) = place();
    let mut store = open(&path).store;
    let unproven = AddressRecord { proven: None, ..record(9) };
    let mut changes: Vec<_> = (0..5).map(put).collect();
    changes.push(AddressChange::Put(Box::new(unproven)));
    store.save_addresses(&changes).unwrap();
    assert_eq!(rows::prune(store.database.connection(), 6).unwrap(), 0);
    assert_eq!(rows::prune(store.database.connection(), 2).unwrap(), 4);
    drop(store);
    assert_eq!(reopen(&path).addresses, [record(3), record(4)]);
}

/// Opens a file that must give way, and checks that it was kept as it was.
#[track_caller]
fn assert_set_aside(dir: &TempDir, path: &Path, ending: &str) -> SetAside {
    let before = fs::read(path).unwrap();
    let opened = open(path);
    let aside = opened.set_aside.unwrap();
    assert_eq!(aside.to, dir.path().join(format!("peerage.db{ending}")));
    assert_eq!(fs::read(&aside.to).unwrap(), before);
    assert!(opened.kept.addresses.is_empty() && opened.kept.bans.is_empty());
    drop(opened.store);
    assert_eq!(reopen(path).secret, SECRET);
    aside
}

#[test]
fn garbage_of_any_length_is_set_aside() {
    for length in [1, 10, 99, 100, 511, 512, 4096, 10_000] {
        let (dir, path) = place();
        fs::write(&path, vec![b'x'; length]).unwrap();
        let aside = assert_set_aside(&dir, &path, ".corrupt-1700000000");
        let shown = aside.to_string();
        assert!(shown.contains("peerage.db.corrupt-1700000000"), "{shown}");
        assert!(shown.contains("not a database"), "{shown}");
    }
}

#[test]
fn a_file_cut_short_or_scribbled_over_is_set_aside() {
    let (_kept, path) = filled();
    let whole = fs::read(&path).unwrap();
    let mut wrong = vec![
        whole[..whole.len() - 4096].to_vec(),
        whole[..whole.len() - 100].to_vec(),
        whole[..1000].to_vec(),
        whole[..50].to_vec(),
    ];
    for page in 0..whole.len() / 4096 {
        let mut scribbled = whole.clone();
        scribbled[page * 4096 + usize::from(page == 0) * 100..][..16].fill(0xff);
        wrong.push(scribbled);
    }
    for bytes in wrong {
        let (dir, path) = place();
        fs::write(&path, &bytes).unwrap();
        assert_set_aside(&dir, &path, ".corrupt-1700000000");
    }
}

#[test]
fn an_empty_file_is_a_fresh_one() {
    let (dir, path) = place();
    fs::write(&path, "").unwrap();
    assert_eq!(reopen(&path).addresses, []);
    assert_eq!(names_in(&dir), ["peerage.db"]);
}

#[test]
fn a_file_of_a_newer_version_is_set_aside_and_named_so() {
    let (dir, path) = filled();
    let store = open(&path).store;
    store.database.connection().pragma_update(None, "user_version", 7).unwrap();
    drop(store);
    let aside = assert_set_aside(&dir, &path, ".newer-7-1700000000");
    assert_eq!(aside.why, Why::Newer { version: 7, known: 1 });
    assert!(aside.to_string().contains("a newer peerage wrote it"), "{aside}");
}

#[test]
fn a_file_that_lacks_what_its_version_has_is_set_aside() {
    for damage in
        ["DROP TABLE ban", "ALTER TABLE address DROP COLUMN tried", "PRAGMA user_version = -1"]
    {
        let (dir, path) = filled();
        let store = open(&path).store;
        store.database.connection().execute_batch(damage).unwrap();
        drop(store);
        assert_set_aside(&dir, &path, ".corrupt-1700000000");
    }
}

#[test]
fn what_is_set_aside_takes_its_log_along_and_no_other_files_name() {
    let (dir, path) = place();
    for garbage in ["one", "two", "three"] {
        fs::write(&path, garbage).unwrap();
        fs::write(dir.path().join("peerage.db-wal"), garbage).unwrap();
        drop(open(&path));
    }
    let aside = |ending: &str| format!("peerage.db.corrupt-1700000000{ending}");
    for (ending, garbage) in [("", "one"), ("-2", "two"), ("-3", "three")] {
        for beside in ["", "-wal"] {
            let name = aside(&format!("{ending}{beside}"));
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), garbage);
        }
    }
}

#[test]
fn a_file_that_cannot_be_renamed_is_an_error_with_cause_and_remedy() {
    let (_dir, path) = place();
    let why = Why::Damaged("file is not a database".to_owned());
    let error = file::set_aside(&path, why, NOW).unwrap_err();
    assert!(matches!(error, StoreError::NotSetAside { .. }));
    let shown = error.to_string();
    for part in ["peerage.db", "not a database", "cannot be renamed", "Move it away"] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn the_database_of_another_program_is_refused_and_left_alone() {
    for mark in ["PRAGMA application_id = 42", "PRAGMA application_id = 0"] {
        let (dir, path) = place();
        let foreign = Connection::open(&path).unwrap();
        foreign.execute_batch("CREATE TABLE letters (text TEXT)").unwrap();
        foreign.execute_batch(mark).unwrap();
        drop(foreign);
        let before = fs::read(&path).unwrap();
        let error = Store::open(&path, SECRET, NOW).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(names_in(&dir), ["peerage.db"]);
    }
}

#[test]
fn a_directory_in_the_way_and_a_missing_directory_are_told_apart() {
    let (dir, path) = place();
    fs::create_dir(&path).unwrap();
    let error = Store::open(&path, SECRET, NOW).unwrap_err();
    assert!(matches!(error, StoreError::NotAFile { .. }), "{error:?}");
    assert_eq!(names_in(&dir), ["peerage.db"]);

    let error = Store::open(&dir.path().join("none/peerage.db"), SECRET, NOW).unwrap_err();
    assert!(matches!(error, StoreError::NoFile { .. }), "{error:?}");
    assert!(error.to_string().contains("must exist"), "{error}");
}

#[test]
fn a_second_open_is_refused_and_does_not_disturb_the_first() {
    let (_dir, path) = filled();
    let mut first = open(&path).store;
    for _ in 0..2 {
        let error = Store::open(&path, SECRET, NOW).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
        assert!(error.to_string().contains("another node"), "{error}");
    }
    first.save_addresses(&[put(4)]).unwrap();
    drop(first);
    assert_eq!(reopen(&path).addresses.len(), 4);
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_the_file_and_its_log() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, path) = place();
    let mut store = open(&path).store;
    store.save_addresses(&[put(1)]).unwrap();
    assert_eq!(names_in(&dir), ["peerage.db", "peerage.db-wal"]);
    for name in names_in(&dir) {
        let mode = fs::metadata(dir.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    store.close().unwrap();
    assert_eq!(names_in(&dir), ["peerage.db"]);
}

#[cfg(unix)]
#[test]
fn a_read_only_directory_is_an_error_with_cause_and_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, path) = filled();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(dir.path().join("probe"), "").is_ok() {
        eprintln!("skipped: this user (root?) may write to a read-only directory");
        return;
    }
    let error = Store::open(&path, SECRET, NOW).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
    let error = Store::open(&dir.path().join("other.db"), SECRET, NOW).unwrap_err();
    assert!(matches!(error, StoreError::NoFile { .. }), "{error:?}");
}

#[test]
fn a_step_that_fails_leaves_the_version_before_it() {
    let (_dir, path) = filled();
    let mut store = open(&path).store;
    // What the first step was does not matter any more.
    let migrations =
        &["", "CREATE TABLE later (a)", "CREATE TABLE last (a); CREATE TABLE later (a)"];
    let layout = Layout { migrations, ..schema::LAYOUT };
    schema::migrate(store.database.connection_mut(), &layout, 1).unwrap_err();
    let version: i32 = store
        .database
        .connection()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    let tables = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema ORDER BY name)";
    let tables: String =
        store.database.connection().query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!((version, tables.as_str()), (2, "address,ban,later,meta"));
}

/// A keeper of a fresh file, and its journal.
fn keeper(path: &Path, watch: Option<&Watch>) -> (Addr<Keeper>, Probe<Decision>) {
    let journal = Probe::start();
    let port = JournalPort::new(journal.recipient());
    let vital = watch.map(|watch| watch.guard("keeper"));
    (Keeper::start(open(path).store, Clock::start(), port, vital), journal)
}

#[actix::test]
async fn the_keeper_saves_until_it_is_closed() {
    let (dir, path) = place();
    let (keeper, journal) = keeper(&path, None);
    assert!(keeper.send(SaveAddresses(vec![put(1)])).await.unwrap());
    assert!(keeper.send(SaveBans(vec![BanChange::Put(ban("203.0.113.7"))])).await.unwrap());
    // What was sent before is saved before.
    keeper.do_send(SaveAddresses(vec![put(2)]));
    assert!(keeper.send(Close).await.unwrap());
    assert_eq!(names_in(&dir), ["peerage.db"]);
    assert!(!keeper.send(SaveAddresses(vec![put(3)])).await.unwrap());
    assert!(keeper.send(Close).await.unwrap(), "closing twice is no error");
    let kept = reopen(&path);
    assert_eq!((kept.addresses.len(), kept.bans.len()), (2, 1));
    assert_eq!(journal.take().await, []);
}

#[actix::test]
async fn a_keeper_that_nobody_knows_any_more_closes_the_file() {
    let (dir, path) = place();
    let watch = Watch::new();
    let (keeper, _journal) = keeper(&path, Some(&watch));
    keeper.do_send(SaveAddresses(vec![put(1)]));
    drop(keeper);
    assert_eq!(watch.failed().await.actor, "keeper");
    assert_eq!(names_in(&dir), ["peerage.db"]);
    assert_eq!(reopen(&path).addresses.len(), 1);
}

#[actix::test]
async fn a_failing_save_is_told_once_and_so_is_its_end() {
    let (_dir, path) = place();
    let opened = open(&path);
    opened.store.database.connection().pragma_update(None, "max_page_count", 1).unwrap();
    let journal = Probe::start();
    let port = JournalPort::new(journal.recipient());
    let keeper = Keeper::start(opened.store, Clock::start(), port, None);

    let many: Vec<_> = (0..2000).map(put).collect();
    for _ in 0..3 {
        assert!(!keeper.send(SaveAddresses(many.clone())).await.unwrap());
    }
    let failed = journal.expect().await;
    assert_eq!((failed.kind, &*failed.reason), (Kind::StoreFailed, "full"));
    assert!(failed.detail.contains("Make room"), "{}", failed.detail);

    assert!(keeper.send(SaveAddresses(vec![put(1)])).await.unwrap());
    let recovered = journal.expect().await;
    assert_eq!(recovered.kind, Kind::StoreRecovered);
    assert_eq!(recovered.detail, "3 saves had failed");
    assert_eq!(journal.take().await, []);
}
