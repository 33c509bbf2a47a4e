//! The file's tables, and how those of an older version become those of this one.

use rusqlite::{Connection, TransactionBehavior};

use super::{MAX_BYTES, database::Layout, error::Fault, file::Why};

/// The node's own file. Its application id reads "peer".
pub(super) const LAYOUT: Layout = Layout {
    application_id: 0x7065_6572,
    migrations: MIGRATIONS,
    max_bytes: MAX_BYTES,
    check_bytes: MAX_BYTES,
};

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
pub(super) fn version(connection: &Connection, layout: &Layout) -> Result<usize, Fault> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if (application, version, objects) == (0, 0, 0) {
        return Ok(0);
    }
    if application != layout.application_id {
        return Err(Fault::Foreign(application));
    }
    match usize::try_from(version) {
        Ok(version) if version > layout.migrations.len() => {
            Err(Fault::Unusable(Why::Newer { version, known: layout.migrations.len() }))
        }
        Ok(version) if version > 0 => Ok(version),
        _ => Err(Fault::Unusable(Why::Damaged(format!("it says that it is of version {version}")))),
    }
}

/// Takes the steps that a file of this version lacks, each as a whole or not at all.
pub(super) fn migrate(
    connection: &mut Connection,
    layout: &Layout,
    version: usize,
) -> rusqlite::Result<()> {
    for (before, step) in layout.migrations.iter().enumerate().skip(version) {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "application_id", layout.application_id)?;
        tx.pragma_update(None, "user_version", i64::try_from(before + 1).unwrap_or(i64::MAX))?;
        tx.commit()?;
    }
    Ok(())
}
