//! Writing and reading against plain rusqlite: one table, one transaction for each batch, synced as ours.

use std::{path::Path, time::Instant};

use peerage::{
    clock::Clock,
    spaces::{
        Keep, Spaces, SpacesConfig,
        scribe::{Prepared, Scribe},
        store::{CACHE_BYTES, Outcome, Store},
    },
};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    Result,
    files::{before, key, make, own, owner, spec, value},
    show, spread,
};

/// Batches of these sizes; the last is the largest that a node makes.
const BATCHES: [u32; 3] = [1, 16, 256];

/// About how long one run of writes may take, in records.
const WRITES: u32 = 4096;

/// The same for long runs, in which a store writes its index several times.
const LONG: u32 = 65_536;

/// Some records, of which so many at a time are written.
#[derive(Clone, Copy)]
struct Load {
    count: u32,
    batch: u32,
    /// Whether the keys are in order, which is best for a table of keys.
    in_order: bool,
}

impl Load {
    /// The numbers of the records, batch by batch.
    fn batches(self) -> impl Iterator<Item = impl Iterator<Item = u32>> {
        let Self { count, batch, in_order } = self;
        let number = move |n| if in_order { n } else { scattered(n, count) };
        (0..count).step_by(batch as usize).map(move |first| (first..first + batch).map(number))
    }
}

pub(crate) fn writes(runs: usize) -> Result<()> {
    let dir = TempDir::new()?;
    println!(
        "| writes/s, {runs} runs | store | rusqlite | store / rusqlite | limit |\n|---|---|---|---|---|"
    );
    let short = BATCHES.map(|batch| Load { count: WRITES.min(batch * 256), batch, in_order: true });
    let long = [true, false].map(|in_order| Load { count: LONG, batch: 256, in_order });
    for (row, load) in short.into_iter().chain(long).enumerate() {
        let (mut ours, mut plain, mut ratios) = (vec![], vec![], vec![]);
        for n in 0..runs {
            let path = |name: &str| dir.path().join(format!("{name}-{row}-{n}.sqlite3"));
            let a = store_writes(&path("ours"), load)?;
            let b = plain_writes(&path("plain"), load)?;
            ours.push(a);
            plain.push(b);
            ratios.push(a / b);
        }
        println!(
            "| {} records, batches of {}, keys in {}order | {} | {} | **{}** | 0.5 |",
            load.count,
            load.batch,
            if load.in_order { "" } else { "no " },
            show(spread(ours), 0),
            show(spread(plain), 0),
            show(spread(ratios), 2)
        );
    }
    println!();
    Ok(())
}

/// The same numbers in no order.
fn scattered(n: u32, count: u32) -> u32 {
    (u64::from(n) * 48_271 % u64::from(count)) as u32
}

/// The same through a node: so many tasks that each wait for their write.
pub(crate) fn node_rows(runs: usize) -> Result<()> {
    let dir = TempDir::new()?;
    println!(
        "| writes/s, {runs} runs | node | rusqlite | node / rusqlite | limit |\n|---|---|---|---|---|"
    );
    for tasks in [1u32, 16, 256] {
        let (mut ours, mut plain, mut ratios, mut batches) = (vec![], vec![], vec![], vec![]);
        for n in 0..runs {
            let path = |name: &str| dir.path().join(format!("{name}-api-{tasks}-{n}.sqlite3"));
            let (a, batch) = node_writes(&path("ours"), tasks)?;
            let b = plain_writes(
                &path("plain"),
                Load { count: WRITES / batch * batch, batch, in_order: true },
            )?;
            batches.push(f64::from(batch));
            ours.push(a);
            plain.push(b);
            ratios.push(a / b);
        }
        println!(
            "| acknowledged by a node to {tasks} tasks at a time | {} | {} (as many together: {}) | **{}** | 0.5 |",
            show(spread(ours), 0),
            show(spread(plain), 0),
            show(spread(batches), 0),
            show(spread(ratios), 2)
        );
    }
    signing()?;
    println!();
    Ok(())
}

/// What signing takes of a thread.
fn signing() -> Result<()> {
    let (store, spec) = (Store::in_memory(owner(1))?, spec()?);
    let (scribe, now) = (store.scribe().clone(), Clock::start().now());
    let begin = Instant::now();
    for n in 0..WRITES {
        std::hint::black_box(scribe.prepare(&spec, own(spec.id(), n, 0).1, now));
    }
    let each = begin.elapsed().as_secs_f64() * 1e6 / f64::from(WRITES);
    println!("| signing, µs a record | {each:.1} | | | |");
    Ok(())
}

fn store_writes(path: &Path, load: Load) -> Result<f64> {
    let now = Clock::start().now();
    let (mut store, _) = Store::open(path, owner(1), now)?;
    store.join(&spec()?, now)?;
    let id = spec()?.id();
    // A node signs on other threads, while the batch before is being written.
    let (scribe, spec): (Scribe, _) = (store.scribe().clone(), spec()?);
    let sign = |n| (id, scribe.prepare(&spec, own(id, n, 0).1, now));
    let signed: Vec<Vec<(_, Prepared)>> =
        load.batches().map(|batch| batch.map(sign).collect()).collect();
    let begin = Instant::now();
    for writes in signed {
        let outcomes = store.write(writes, now)?;
        if !outcomes.iter().all(|outcome| matches!(outcome, Outcome::Taken(_))) {
            return Err("a record was not taken".into());
        }
    }
    let secs = begin.elapsed().as_secs_f64();
    store.close()?;
    Ok(f64::from(load.count) / secs)
}

/// Writes a second, and how many were committed together on average.
fn node_writes(path: &Path, tasks: u32) -> Result<(f64, u32)> {
    actix_rt::System::new().block_on(async {
        let builder = peerage::Node::builder().key(key(1));
        let overlay = peerage::overlay::Overlay::start(builder, Default::default()).await?;
        let spaces =
            Spaces::start(&overlay, SpacesConfig::default(), Keep::File(path.into())).await?;
        let space = spaces.join(&spec()?).await?;
        let begin = Instant::now();
        let mut all = JoinSet::new();
        for task in 0..tasks {
            let space = space.clone();
            all.spawn_local(async move {
                for n in (task..WRITES).step_by(tasks as usize) {
                    space.set(&format!("key {n:08}"), value(n, 0)).await?;
                }
                Ok::<_, peerage::spaces::SpaceError>(())
            });
        }
        while let Some(done) = all.join_next().await {
            done??;
        }
        let secs = begin.elapsed().as_secs_f64();
        let stats = spaces.stats().await;
        let batch = u32::try_from(stats.writes / stats.commits.max(1))?.max(1);
        spaces.stop().await;
        overlay.stop().await;
        Ok((f64::from(WRITES) / secs, batch))
    })
}

fn plain(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "cache_size", -(CACHE_BYTES as i64 / 1024))?;
    connection.execute_batch(
        "CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    )?;
    Ok(connection)
}

fn put(connection: &mut Connection, numbers: impl Iterator<Item = u32>) -> Result<()> {
    let tx = connection.transaction()?;
    for n in numbers {
        let mut put =
            tx.prepare_cached("INSERT OR REPLACE INTO kv (key, value) VALUES (?1, ?2)")?;
        put.execute(params![format!("key {n:08}"), &value(n, 0)[..]])?;
    }
    tx.commit()?;
    Ok(())
}

fn plain_writes(path: &Path, load: Load) -> Result<f64> {
    let mut connection = plain(path)?;
    let begin = Instant::now();
    for numbers in load.batches() {
        put(&mut connection, numbers)?;
    }
    Ok(f64::from(load.count) / begin.elapsed().as_secs_f64())
}

pub(crate) fn reads(records: u32, runs: usize) -> Result<()> {
    let dir = TempDir::new()?;
    let (ours, theirs) = (dir.path().join("ours.sqlite3"), dir.path().join("plain.sqlite3"));
    make(&ours, 1, records)?;
    let (store, _) = Store::open(&ours, owner(1), before(Clock::start().now()))?;
    let mut connection = plain(&theirs)?;
    put(&mut connection, 0..records)?;
    let id = spec()?.id();
    let (mut a, mut b, mut ratios) = (vec![], vec![], vec![]);
    let numbers: Vec<u32> = (0..records).map(|n| scattered(n, records)).collect();
    for _ in 0..runs {
        let (mut mine, mut plain) = (0.0, 0.0);
        // In turn within a run too, since a machine may be slower for a while.
        for some in numbers.chunks(5_000) {
            let begin = Instant::now();
            for n in some {
                let found = store.get(&id, &format!("key {n:08}"))?;
                let value = found.and_then(|entry| entry.value).ok_or("a record is missing")?;
                std::hint::black_box(value);
            }
            mine += begin.elapsed().as_secs_f64();
            let begin = Instant::now();
            for n in some {
                let mut get = connection.prepare_cached("SELECT value FROM kv WHERE key = ?1")?;
                let value: Vec<u8> = get.query_row([format!("key {n:08}")], |row| row.get(0))?;
                std::hint::black_box(value);
            }
            plain += begin.elapsed().as_secs_f64();
        }
        a.push(f64::from(records) / mine);
        b.push(f64::from(records) / plain);
        ratios.push(plain / mine);
    }
    println!(
        "| reads/s, of {records} records | store | rusqlite | store / rusqlite | limit |\n|---|---|---|---|---|"
    );
    println!(
        "| get, in no order | {} | {} | **{}** | 0.5 |\n",
        show(spread(a), 0),
        show(spread(b), 0),
        show(spread(ratios), 2)
    );
    Ok(())
}
