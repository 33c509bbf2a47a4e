//! The file between processes, and how long it takes at the size of a full address book. The times
//! are printed, not judged: `cargo test --release --test store -- --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "the times are what it is for")]

use std::{
    env,
    io::{BufRead, BufReader},
    net::Ipv6Addr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use peerage::{
    HostPort, NodeId,
    clock::Moment,
    proto::{
        address_entry::Source,
        address_record::{AddressChange, AddressRecord, Shelf},
        bans::{Ban, BanChange, Target},
    },
    store::{Store, StoreError},
};

/// Default limits: 8,192 addresses in the book, 4,096 in its cold tier.
const WARM: u32 = 8_192;
const COLD: u32 = 4_096;

fn now() -> Moment {
    Moment::after(Duration::from_secs(1_700_000_000))
}

/// An address as the book may have it, with every field in use; every third one is a name.
fn record(n: u32) -> AddressRecord {
    let addr: HostPort = if n.is_multiple_of(3) {
        format!("node-{n}.some-provider.example:5999").parse().unwrap()
    } else {
        let ip = Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(n.wrapping_mul(0x9e37_79b9)));
        format!("[{ip}]:5999").parse().unwrap()
    };
    AddressRecord {
        addr,
        id: Some(NodeId::from_u128(u128::from(n) << 64 | 1)),
        shelf: if n < WARM { Shelf::Tried } else { Shelf::Cold },
        source: Source::Told(NodeId::from_u128(u128::from(n) << 64 | 2)),
        told_from: Some("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".parse().unwrap()),
        heard: now(),
        proven: Some(now() + Duration::from_secs(u64::from(n))),
        tried: Some(now()),
        failures: n % 5,
    }
}

fn changes(of: std::ops::Range<u32>) -> Vec<AddressChange> {
    of.map(record).map(Box::new).map(AddressChange::Put).collect()
}

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = act();
    eprintln!("{what}: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    done
}

/// Tells the process that this test starts which file it is to write to.
const CHILD: &str = "PEERAGE_TEST_STORE_CHILD";

/// Saves two addresses at a time, and says so each time, until it is killed.
fn save_for_ever(path: &Path) {
    let mut store = Store::open(path, [1; 32], now()).unwrap().store;
    for n in (0..u32::MAX - 1).step_by(2) {
        store.save_addresses(&changes(n..n + 2)).unwrap();
        println!("\nsaved {}", n + 2);
    }
}

#[test]
fn a_process_has_the_file_alone_and_loses_nothing_saved_when_it_is_killed() {
    if let Some(path) = env::var_os(CHILD) {
        return save_for_ever(Path::new(&path));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("peerage.db");
    let mut least = 0;
    for round in 1..=3 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("a_process_has_the_file_alone_and_loses_nothing_saved_when_it_is_killed")
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut saved = lines.filter_map(|line| line.strip_prefix("saved ")?.parse().ok());
        let said: usize = saved.nth(20 * round).unwrap();
        let second = Store::open(&path, [2; 32], now()).unwrap_err();
        assert!(matches!(second, StoreError::InUse { .. }), "{second:?}");
        child.kill().unwrap();
        let said = saved.last().unwrap_or(said);
        child.wait().unwrap();

        let opened = Store::open(&path, [2; 32], now()).unwrap();
        assert_eq!(opened.set_aside, None);
        let found = opened.kept.addresses.len();
        least = least.max(said);
        assert!(found >= least && found.is_multiple_of(2), "{found} of {least}");
        assert_eq!((opened.kept.secret, opened.kept.skipped), ([1; 32], 0));
    }
}

#[test]
fn a_full_book_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("peerage.db");
    let open = || Store::open(&path, [1; 32], now()).unwrap();

    let mut store = timed("make a file", open).store;
    let all = changes(0..WARM + COLD);
    timed("save 12,288 addresses", || store.save_addresses(&all).unwrap());
    // Changes that change something: what is the same already is not written. Spread over the whole
    // file, as in life.
    let failed = |n: u32| {
        let record = AddressRecord { failures: 9, ..record(n) };
        AddressChange::Put(Box::new(record))
    };
    let thousand: Vec<_> = (0..1_000).map(|n| failed(n * 12)).collect();
    timed("save 1,000 changes", || store.save_addresses(&thousand).unwrap());
    timed("save 1 change", || store.save_addresses(&[failed(7)]).unwrap());
    store.save_addresses(&all).unwrap();
    let ban = |n: u32| Ban {
        target: Target::Node(NodeId::from_u128(n.into())),
        since: now(),
        until: now() + Duration::from_secs(86_400),
        note: "a reason of some length, as operators write it".to_owned(),
    };
    let bans: Vec<_> = (0..1_000).map(ban).map(BanChange::Put).collect();
    timed("save 1,000 bans, synced", || store.save_bans(&bans).unwrap());
    timed("save 1 ban, synced", || store.save_bans(&[BanChange::Put(ban(1_000))]).unwrap());
    timed("close", || store.close().unwrap());
    eprintln!("size: {} KiB", std::fs::metadata(&path).unwrap().len() >> 10);

    let kept = timed("read it again", open).kept;
    let mut addresses = kept.addresses;
    let mut expected: Vec<_> = (0..WARM + COLD).map(record).collect();
    addresses.sort_by(|a, b| a.addr.cmp(&b.addr));
    expected.sort_by(|a, b| a.addr.cmp(&b.addr));
    assert!(addresses == expected, "what was read is not what was saved");
    assert_eq!((kept.bans.len(), kept.skipped), (1_001, 0));
}
