//! Replays the corpora of the fuzz targets, so that what a fuzzer found once is tried by every run.
//! CONTRIBUTING.md tells how to run a fuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and say at what"
)]

use std::{fs, path::Path};

#[path = "fuzz/address.rs"]
mod address;
#[path = "fuzz/book.rs"]
mod book;
#[path = "fuzz/link.rs"]
mod link;
#[path = "fuzz/spaces.rs"]
mod spaces;
#[path = "fuzz/wire.rs"]
mod wire;

/// Runs every file of a corpus; the name of the one that fails is in the output.
fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "the corpus of {target} is there");
    for file in files {
        println!("{}", file.display());
        run(&fs::read(&file).unwrap());
    }
}

#[test]
fn wire() {
    replay("wire", wire::run);
}

#[test]
fn link() {
    replay("link", link::run);
}

#[test]
fn address() {
    replay("address", address::run);
}

#[test]
fn book() {
    replay("book", book::run);
}

#[test]
fn spaces() {
    replay("spaces", spaces::run);
}
