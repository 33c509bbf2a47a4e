//! The address book at its limits: 8,192 addresses and 4,096 cold ones.
//!
//! What is asked of it (medians): a selection in 20 µs, an insertion in 10 µs, the start from what
//! an earlier run has left in 100 ms. `cargo bench --bench book`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it is only run by hand, and the group's macro makes public functions"
)]

use std::{net::Ipv4Addr, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use peerage::{
    HostPort, NodeId,
    clock::Moment,
    config::DiscoveryConfig,
    proto::{
        address_book::{AddressBook, BookKey, Queue},
        address_entry::{Hearing, Source},
        address_record::{AddressRecord, Shelf},
    },
};

const WARM: u32 = 8192;
const COLD: u32 = 4096;

fn now() -> Moment {
    Moment::after(Duration::from_secs(1_800_000_000))
}

/// Addresses all over the public network.
fn addr(n: u32) -> HostPort {
    let mixed = n.wrapping_mul(0x9e37_79b1);
    let [a, b, c, d] = mixed.to_be_bytes();
    std::net::SocketAddr::new(Ipv4Addr::new(11 + a % 100, b, c, d).into(), 5999).into()
}

fn heard(n: u32) -> Hearing {
    let from = addr(n.wrapping_mul(7).wrapping_add(3)).ip();
    Hearing { source: Source::Told(NodeId::from_u128(u128::from(n))), from }
}

fn book() -> AddressBook {
    let config = DiscoveryConfig::default();
    AddressBook::new(NodeId::from_u128(1), config, BookKey::new([7; 32]), 7)
}

fn records() -> Vec<AddressRecord> {
    let record = |n: u32| {
        let shelf = match n {
            _ if n >= WARM => Shelf::Cold,
            _ if n.is_multiple_of(4) => Shelf::Tried,
            _ => Shelf::New,
        };
        AddressRecord {
            addr: addr(n),
            id: Some(NodeId::from_u128(u128::from(n) + 2)),
            shelf,
            source: heard(n).source,
            told_from: heard(n).from,
            heard: now(),
            proven: (shelf != Shelf::New).then(now),
            tried: None,
            failures: 0,
        }
    };
    (0..WARM + COLD).map(record).collect()
}

/// A book so full that nothing more finds a place, with all that is in it due.
fn full() -> AddressBook {
    let mut book = book();
    book.remember(now(), records());
    for n in WARM + COLD..20 * WARM {
        let _refused = book.learn(&addr(n), None, heard(n), now());
    }
    book
}

fn selection(c: &mut Criterion) {
    let mut book = full();
    c.bench_function("select, all due", |b| b.iter(|| book.pick(Queue::Known, now()).unwrap()));
    let addrs: Vec<HostPort> = book.iter().map(|(addr, _)| addr.clone()).collect();
    let later = now() + Duration::from_secs(3600);
    for addr in &addrs[10..] {
        book.postpone(addr, later);
    }
    c.bench_function("select, ten due", |b| b.iter(|| book.pick(Queue::Known, now()).unwrap()));
    c.bench_function("select, dial and fail", |b| {
        let mut at = later;
        b.iter(|| {
            at = at + Duration::from_secs(1);
            let addr = book.pick(Queue::Known, at).unwrap();
            book.dialling(&addr, at);
            book.postpone(&addr, at + Duration::from_secs(60));
        });
    });
    c.bench_function("deadline", |b| b.iter(|| book.due_at(Queue::Known)));
}

fn insertion(c: &mut Criterion) {
    let mut book = full();
    let mut n = 20 * WARM;
    c.bench_function("insert, refused by a full bucket", |b| {
        b.iter(|| {
            n += 1;
            book.learn(&addr(n), None, heard(n), now())
        });
    });
    c.bench_function("insert, known", |b| {
        b.iter(|| {
            n += 1;
            book.learn(&addr(n % WARM), None, heard(n), now())
        });
    });
    let mut half = self::book();
    half.remember(now(), records().into_iter().step_by(2).collect());
    let mut fresh = WARM + COLD;
    c.bench_function("insert, taken, and forgotten after three failures", |b| {
        b.iter(|| {
            fresh += 1;
            let taken = half.learn(&addr(fresh), None, heard(fresh), now());
            for _ in 0..3 {
                half.failed(&addr(fresh), now());
            }
            taken
        });
    });
    c.bench_function("prove", |b| {
        b.iter(|| {
            n += 1;
            book.proven(&addr(n % WARM), NodeId::from_u128(u128::from(n % 977) + 2), now())
        });
    });
}

fn start(c: &mut Criterion) {
    let records = records();
    let load = |records| {
        let mut book = book();
        book.remember(now(), records);
        book
    };
    c.bench_function("start with what was kept", |b| {
        b.iter_batched(|| records.clone(), load, BatchSize::LargeInput);
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(2));
    targets = selection, insertion, start
}
criterion_main!(benches);
