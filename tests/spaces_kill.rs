//! The real process is killed at random moments while it is written to: what it had acknowledged is there
//! when it runs again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and says what it did"
)]

mod program;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use program::{BOUND, Running, node_with_a_disk, three::Api};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How often the process is killed.
const KILLS: usize = 50;

/// Each has keys of its own, so that what a key was last given is known.
const WRITERS: usize = 4;

const KEYS: usize = 25;

/// What was tried last with a key, and what was acknowledged last: numbers that grow.
#[derive(Debug, Clone, Copy, Default)]
struct Key {
    tried: u64,
    acknowledged: u64,
}

type Ledger = Arc<Mutex<BTreeMap<String, Key>>>;

/// Writes until the node is gone.
fn write(api: &Api, writer: usize, ledger: &Ledger, acknowledged: &AtomicUsize) {
    for n in 0.. {
        let key = format!("{writer}/{}", n % KEYS);
        let tried = {
            let mut ledger = ledger.lock().unwrap();
            let entry = ledger.entry(key.clone()).or_default();
            entry.tried += 1;
            entry.tried
        };
        let body = json!({ "key": key, "value": tried.to_string() }).to_string();
        if post(api, "/v1/spaces/load/value", &body) != Some(200) {
            return;
        }
        ledger.lock().unwrap().get_mut(&key).unwrap().acknowledged = tried;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// The status of the answer, if there is one.
fn post(api: &Api, path: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(api.host()).ok()?;
    stream.set_read_timeout(Some(BOUND)).ok()?;
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Authorization: {}\r\nContent-Length: {}\r\n\r\n{body}",
        api.authorization,
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1)?.parse().ok()
}

/// What there is: the number that each key has.
fn there(api: &Api) -> BTreeMap<String, u64> {
    let mut there = BTreeMap::new();
    for writer in 0..WRITERS {
        for n in 0..KEYS {
            let key = format!("{writer}/{n}");
            let path = format!("/v1/spaces/load/value?key={writer}%2F{n}");
            let answer = api.raw("GET", &path, &[("Authorization", &api.authorization)], "");
            if answer.status == 200 {
                let entry: Value = answer.json();
                there.insert(key, entry["value"].as_str().unwrap().parse().unwrap());
            }
        }
    }
    there
}

fn run(dir: &TempDir) -> (Running, Api) {
    let mut node = node_with_a_disk(dir, &["--data-dir", "a", "--api", "127.0.0.1:0"]);
    node.after("control API on ");
    (node, Api::of(&dir.path().join("a")))
}

#[test]
fn nothing_that_was_acknowledged_is_lost_by_a_kill() {
    let dir = TempDir::new().unwrap();
    let (ledger, acknowledged) = (Ledger::default(), Arc::new(AtomicUsize::new(0)));
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut node, mut api) = run(&dir);
    assert_eq!(post(&api, "/v1/spaces/join", r#"{"name":"load"}"#), Some(200));
    for round in 0..KILLS {
        let shared = Arc::new(api);
        let before = acknowledged.load(Ordering::Relaxed);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (api, ledger) = (shared.clone(), ledger.clone());
                let acknowledged = acknowledged.clone();
                thread::spawn(move || write(&api, writer, &ledger, &acknowledged))
            })
            .collect();
        let deadline = Instant::now() + BOUND;
        while acknowledged.load(Ordering::Relaxed) < before + 3 {
            assert!(Instant::now() < deadline, "nothing is acknowledged");
            thread::sleep(Duration::from_millis(1));
        }
        // The moment is what is random here.
        thread::sleep(Duration::from_micros(rng.random_range(0..150_000)));
        node.child.kill().unwrap();
        node.child.wait().unwrap();
        for writer in writers {
            writer.join().unwrap();
        }
        (node, api) = run(&dir);
        let there = there(&api);
        for (key, Key { tried, acknowledged }) in ledger.lock().unwrap().iter() {
            let has = there.get(key).copied().unwrap_or_default();
            assert!(
                (*acknowledged..=*tried).contains(&has),
                "round {round}: {key} has {has}; acknowledged {acknowledged}, tried {tried}"
            );
        }
    }
    println!("{KILLS} kills, {} writes acknowledged", acknowledged.load(Ordering::Relaxed));
}
