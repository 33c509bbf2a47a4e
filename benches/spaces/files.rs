//! Files of records, made without a node.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use peerage::{
    NodeKey,
    clock::Moment,
    spaces::{
        Rules, SpaceId, SpaceSpec,
        scribe::Write,
        store::{Outcome, Owner, Store},
    },
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::Result;

pub(crate) const NAME: &str = "bench";
pub(crate) const VALUE: usize = 100;

pub(crate) fn key(n: u64) -> NodeKey {
    NodeKey::generate(&mut ChaCha8Rng::seed_from_u64(n))
}

pub(crate) fn spec() -> Result<SpaceSpec> {
    Ok(SpaceSpec::open(NAME)?)
}

pub(crate) fn owner(n: u64) -> Owner {
    let key = key(n);
    let rules = Rules {
        per_space: peerage::spaces::Amount { records: 1 << 40, bytes: 1 << 50 },
        per_writer: peerage::spaces::Amount { records: 1 << 40, bytes: 1 << 50 },
        ..Rules::default()
    };
    Owner { id: key.node_id(), key: Some(key), rules, max_bytes: 16 << 30 }
}

/// A moment well before now, so that what is written later is later.
pub(crate) fn before(now: Moment) -> Moment {
    now - Duration::from_secs(3600)
}

pub(crate) fn value(n: u32, round: u32) -> Bytes {
    let text = format!("value {n} of round {round} ");
    text.into_bytes().into_iter().cycle().take(VALUE).collect::<Vec<u8>>().into()
}

pub(crate) fn own(id: SpaceId, n: u32, round: u32) -> (SpaceId, Write) {
    (id, Write::Own { key: format!("key {n:08}").into(), value: Some(value(n, round)) })
}

/// Writes records of these numbers.
pub(crate) fn fill(
    store: &mut Store,
    numbers: impl Iterator<Item = u32>,
    round: u32,
    now: Moment,
) -> Result<usize> {
    let id = spec()?.id();
    let numbers: Vec<u32> = numbers.collect();
    let mut packed = 0;
    for some in numbers.chunks(10_000) {
        let writes = some.iter().map(|n| own(id, *n, round)).collect();
        for outcome in store.commit(writes, now)? {
            let Outcome::Taken(taken) = outcome else {
                return Err("a record was not taken".into());
            };
            packed += taken.record.packed_len();
        }
    }
    Ok(packed)
}

/// A file of so many records by the node of this number.
pub(crate) fn make(path: &Path, n: u64, records: u32) -> Result<()> {
    let now = before(peerage::clock::Clock::start().now());
    let (mut store, _) = Store::open(path, owner(n), now)?;
    store.join(&spec()?, now)?;
    fill(&mut store, 0..records, 0, now)?;
    store.close()?;
    Ok(())
}
