//! The memory of a process that has a file of records open, by how many those are.

use std::{env, fs, path::Path, process::Command};

use peerage::{clock::Clock, spaces::store::Store};
use tempfile::TempDir;

use crate::{
    Result,
    files::{before, make, owner, spec},
};

pub(crate) fn run(records: u32) -> Result<()> {
    let dir = TempDir::new()?;
    println!(
        "| memory of a process that has the file open | KiB | sums of the ranges | page cache |\n|---|---|---|---|"
    );
    for n in [0, records / 10, records, 5 * records] {
        let path = dir.path().join(format!("{n}.sqlite3"));
        make(&path, 1, n)?;
        let child = Command::new(env::current_exe()?).arg("--memory-of").arg(&path).output()?;
        let kib = String::from_utf8(child.stdout)?;
        println!("| {n} records | {} | at most 3 MiB | at most 64 MiB |", kib.trim());
    }
    println!();
    Ok(())
}

/// Opens the file, reads all of it once, and prints the resident memory.
pub(crate) fn child(path: &Path) -> Result<()> {
    let (store, _) = Store::open(path, owner(1), before(Clock::start().now()))?;
    let id = spec()?.id();
    let mut after = None::<String>;
    loop {
        let page = store.list(&id, "", after.as_deref(), 1000)?;
        match page.entries.last() {
            Some(last) => after = Some(last.key.to_string()),
            None => break,
        }
    }
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    println!("{}", line.split_whitespace().nth(1).unwrap_or("?"));
    Ok(())
}
