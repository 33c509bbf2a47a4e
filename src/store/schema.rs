//! The file's tables, and how those of an older version become those of this one.

use rusqlite::{Connection, TransactionBehavior};

use super::{error::Fault, file::Why};

/// Marks the file as one of this program's, in the place that `SQLite` has for that: "peer".
pub(super) const APPLICATION_ID: i32 = 0x7065_6572;

/// The n-th step makes a file of version n one of version n + 1; version 0 is an empty file. A
/// step that was released is never changed: what is to be different is another step.
///
/// Moments are nanoseconds since the Unix epoch. They are unsigned, so that those after the year
/// 2262 (an end that is "never", in effect) are negative numbers here.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE address (
        addr TEXT PRIMARY KEY,
        id BLOB,
        shelf TEXT NOT NULL,
        source TEXT NOT NULL,
        source_id BLOB,
        told_from TEXT,
        heard INTEGER NOT NULL,
        proven INTEGER,
        tried INTEGER,
        failures INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE ban (
        target TEXT PRIMARY KEY,
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        note TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
"];

/// The version of a file; 0 if it is empty. Changes nothing.
pub(super) fn version(connection: &Connection) -> Result<usize, Fault> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if (application, version, objects) == (0, 0, 0) {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(Fault::Foreign(application));
    }
    match usize::try_from(version) {
        Ok(version) if version > MIGRATIONS.len() => {
            Err(Fault::Unusable(Why::Newer { version, known: MIGRATIONS.len() }))
        }
        Ok(version) if version > 0 => Ok(version),
        _ => Err(Fault::Unusable(Why::Damaged(format!("it says that it is of version {version}")))),
    }
}

/// Takes the steps that a file of this version lacks, each as a whole or not at all.
pub(super) fn migrate(
    connection: &mut Connection,
    version: usize,
    steps: &[&str],
) -> rusqlite::Result<()> {
    for (before, step) in steps.iter().enumerate().skip(version) {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", i64::try_from(before + 1).unwrap_or(i64::MAX))?;
        tx.commit()?;
    }
    Ok(())
}
