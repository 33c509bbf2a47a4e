//! Two nodes over loopback TCP with encryption: one has changed some of many records, and so has the
//! other. Against a third that has none and is sent all of them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_rt::System;
use peerage::{
    Node, NodeConfig, Security,
    overlay::{Overlay, OverlayConfig},
    spaces::{Keep, Space, Spaces, SpacesConfig, Times, store::Store},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::sleep,
};

use crate::{
    Result,
    files::{fill, key, make, owner, spec},
    show, spread,
};

/// The longest that one run may take.
const BOUND: Duration = Duration::from_secs(300);

struct Run {
    secs: f64,
    bytes: u64,
}

pub(crate) fn run(records: u32, differ: u32, runs: usize) -> Result<()> {
    let dir = TempDir::new()?;
    let base = dir.path().join("base.sqlite3");
    make(&base, 1, records)?;
    let (mut some, mut all, mut ratios, mut bytes) = (vec![], vec![], vec![], vec![]);
    let mut differing = 0;
    for n in 0..runs {
        let [a, b] = ["a", "b"].map(|name| dir.path().join(format!("{name}{n}.sqlite3")));
        fs::copy(&base, &a)?;
        fs::copy(&base, &b)?;
        // Scattered: the records that differ have nothing else in common.
        let step = records / differ;
        differing = change(&a, 1, (0..records).step_by(2 * step as usize))?
            + change(&b, 2, (step..records).step_by(2 * step as usize))?;
        let few = together(&a, &b)?;
        let empty = dir.path().join(format!("c{n}.sqlite3"));
        let whole = together(&a, &empty)?;
        some.push(few.secs * 1000.0);
        all.push(whole.secs * 1000.0);
        ratios.push(few.secs / whole.secs);
        bytes.push(few.bytes as f64);
        for path in [a, b, empty] {
            fs::remove_file(path)?;
        }
    }
    let limit = differing as f64 * 1.5 + 256.0 * 1024.0;
    let (median, least, greatest) = spread(bytes);
    println!("{records} records of 100 bytes, {differ} of them different, {runs} runs");
    println!("| bringing together | figure | limit |\n|---|---|---|");
    println!("| differing records, packed | {differing} B | |");
    println!(
        "| bytes on the wire, both ways | {median:.0} B ({least:.0}..{greatest:.0}) | {limit:.0} B |"
    );
    println!("| time, ms | {} | |", show(spread(some), 1));
    println!("| time to send all, ms | {} | |", show(spread(all), 1));
    println!("| ratio | **{}** | 0.2 |\n", show(spread(ratios), 3));
    Ok(())
}

fn change(path: &Path, n: u64, numbers: impl Iterator<Item = u32>) -> Result<usize> {
    let now = peerage::clock::Clock::start().now();
    let (mut store, _) = Store::open(path, owner(n), now)?;
    let packed = fill(&mut store, numbers, 1, now)?;
    store.close()?;
    Ok(packed)
}

/// Starts both nodes, has the second dial the first through a counter, and waits until both are equal.
fn together(first: &Path, second: &Path) -> Result<Run> {
    let (ready, started) = std::sync::mpsc::channel();
    let (over, stop) = tokio::sync::oneshot::channel::<()>();
    let first = first.to_owned();
    let other = std::thread::spawn(move || {
        let system = System::new();
        system.block_on(async {
            match side(1, first).await {
                Ok((overlay, spaces, space)) => {
                    for at in overlay.node().listen_addrs() {
                        let _gone = ready.send((at.to_string(), space.clone()));
                    }
                    let _over = stop.await;
                    spaces.stop().await;
                    overlay.stop().await;
                }
                Err(error) => println!("failed: {error}"),
            }
        });
    });
    let (at, theirs) = started.recv()?;
    let run = System::new().block_on(async {
        let (overlay, spaces, mine) = side(2, second.to_owned()).await?;
        let (relay, count) = counter(at.parse()?).await?;
        let begin = Instant::now();
        overlay.node().dial(relay.to_string().parse()?).await?;
        while mine.info().await?.root != theirs.info().await?.root {
            if begin.elapsed() > BOUND {
                return Err("they did not come together".into());
            }
            sleep(Duration::from_millis(1)).await;
        }
        let run = Run { secs: begin.elapsed().as_secs_f64(), bytes: count.load(Ordering::Relaxed) };
        spaces.stop().await;
        overlay.stop().await;
        Ok(run)
    });
    let _gone = over.send(());
    other.join().or(Err("a node has panicked"))?;
    run
}

async fn side(n: u64, path: PathBuf) -> Result<(Overlay, Spaces, Space)> {
    let mut config = NodeConfig {
        listen: vec!["127.0.0.1:0".parse()?],
        workers: 1,
        security: Security::Require,
        ..NodeConfig::default()
    };
    config.discovery.target_peers = 0;
    config.discovery.bucket_sessions = 0;
    let builder = Node::builder().config(config).key(key(n));
    let overlay = Overlay::start(builder, OverlayConfig::default()).await?;
    let times = Times { soon: Duration::ZERO, ..Times::default() };
    let config = SpacesConfig { rules: owner(n).rules, times, ..SpacesConfig::default() };
    let spaces = Spaces::start(&overlay, config, Keep::File(path)).await?;
    let space = spaces.join(&spec()?).await?;
    Ok((overlay, spaces, space))
}

/// Passes one connection on, and counts its bytes in both directions.
async fn counter(to: SocketAddr) -> Result<(SocketAddr, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (at, count) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
    let counted = count.clone();
    actix_rt::spawn(async move {
        if let (Ok((inner, _)), Ok(outer)) = (listener.accept().await, TcpStream::connect(to).await)
        {
            let _ = (inner.set_nodelay(true), outer.set_nodelay(true));
            let ((a, b), (c, d)) = (inner.into_split(), outer.into_split());
            actix_rt::spawn(pass(a, d, counted.clone()));
            actix_rt::spawn(pass(c, b, counted));
        }
    });
    Ok((at, count))
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, count: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(n as u64, Ordering::Relaxed);
        if to.write_all(buffer.get(..n).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}
