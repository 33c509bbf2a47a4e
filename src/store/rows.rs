//! Records to rows and back.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Kept, MAX_ADDRESSES};
use crate::{
    address::HostPort,
    clock::Moment,
    ids::NodeId,
    proto::{
        address_entry::Source,
        address_record::{AddressRecord, Shelf},
        bans::{Ban, Target},
    },
};

/// The secret's key in the table of what there is one of.
const SECRET: &str = "secret";

/// Reads all of a file. Gives it a secret if it has none, and takes addresses from it if it has too
/// many.
pub(super) fn load(connection: &mut Connection, fresh: &[u8; 32]) -> rusqlite::Result<Kept> {
    let tx = connection.transaction()?;
    let mut skipped = 0;
    let secret = secret(&tx, fresh, &mut skipped)?;
    skipped += prune(&tx, MAX_ADDRESSES)?;
    let addresses = read(&tx, SELECT_ADDRESSES, address, &mut skipped)?;
    let bans = read(&tx, SELECT_BANS, ban, &mut skipped)?;
    tx.commit()?;
    Ok(Kept { secret, addresses, bans, skipped })
}

/// The file's secret; the fresh one takes its place if it makes no sense.
fn secret(tx: &Connection, fresh: &[u8; 32], skipped: &mut usize) -> rusqlite::Result<[u8; 32]> {
    let select = "SELECT value FROM meta WHERE key = ?1";
    let found = tx.query_row(select, [SECRET], |row| Ok(row.get(0).ok())).optional()?;
    if let Some(Some(secret)) = found {
        return Ok(secret);
    }
    *skipped += usize::from(found.is_some());
    tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", params![SECRET, fresh])?;
    Ok(*fresh)
}

/// Forgets the addresses that are more than so many. How many those were.
pub(super) fn prune(tx: &Connection, most: usize) -> rusqlite::Result<usize> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let found: i64 = tx.query_row("SELECT count(*) FROM address", [], |row| row.get(0))?;
    if found <= most {
        return Ok(0);
    }
    let delete = "DELETE FROM address WHERE addr IN (SELECT addr FROM address \
        ORDER BY proven IS NULL, proven DESC, heard DESC, addr LIMIT -1 OFFSET ?1)";
    tx.execute(delete, [most])
}

fn read<T>(
    tx: &Connection,
    select: &str,
    parse: fn(&Row<'_>) -> Option<T>,
    skipped: &mut usize,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = tx.prepare(select)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match parse(row) {
            Some(record) => found.push(record),
            None => *skipped += 1,
        }
    }
    Ok(found)
}

const SELECT_ADDRESSES: &str = "SELECT addr, id, shelf, source, source_id, told_from, heard, \
    proven, tried, failures FROM address";

fn address(row: &Row<'_>) -> Option<AddressRecord> {
    Some(AddressRecord {
        addr: text(row, 0)?.parse().ok()?,
        id: node_id(row, 1)?,
        shelf: shelf(text(row, 2)?)?,
        source: source(text(row, 3)?, node_id(row, 4)?)?,
        told_from: told_from(row, 5)?,
        heard: moment(row, 6)??,
        proven: moment(row, 7)?,
        tried: moment(row, 8)?,
        failures: row.get(9).ok()?,
    })
}

pub(super) fn put_address(tx: &Connection, record: &AddressRecord) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT OR REPLACE INTO address (addr, id, shelf, source, source_id, told_from, heard, \
         proven, tried, failures) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let (source, source_id) = source_parts(&record.source);
    insert.execute(params![
        record.addr.to_string(),
        record.id.map(id_bytes),
        shelf_code(record.shelf),
        source,
        source_id.map(id_bytes),
        record.told_from.map(|ip| ip.to_string()),
        nanos(record.heard),
        record.proven.map(nanos),
        record.tried.map(nanos),
        record.failures,
    ])?;
    Ok(())
}

pub(super) fn delete_address(tx: &Connection, addr: &HostPort) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM address WHERE addr = ?1")?.execute([addr.to_string()])?;
    Ok(())
}

const SELECT_BANS: &str = "SELECT target, since, until, note FROM ban";

fn ban(row: &Row<'_>) -> Option<Ban> {
    Some(Ban {
        target: text(row, 0)?.parse().ok()?,
        since: moment(row, 1)??,
        until: moment(row, 2)??,
        note: text(row, 3)?.to_owned(),
    })
}

pub(super) fn put_ban(tx: &Connection, ban: &Ban) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT OR REPLACE INTO ban (target, since, until, note) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let (since, until) = (nanos(ban.since), nanos(ban.until));
    insert.execute(params![ban.target.to_string(), since, until, ban.note])?;
    Ok(())
}

pub(super) fn delete_ban(tx: &Connection, target: &Target) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM ban WHERE target = ?1")?.execute([target.to_string()])?;
    Ok(())
}

// In what follows the outer `None` is a value that makes no sense, the inner one an empty column.

fn text<'a>(row: &'a Row<'_>, column: usize) -> Option<&'a str> {
    row.get_ref(column).ok()?.as_str().ok()
}

fn node_id(row: &Row<'_>, column: usize) -> Option<Option<NodeId>> {
    let bytes: Option<[u8; 16]> = row.get(column).ok()?;
    Some(bytes.map(|bytes| NodeId::from_u128(u128::from_be_bytes(bytes))))
}

const fn id_bytes(id: NodeId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

fn moment(row: &Row<'_>, column: usize) -> Option<Option<Moment>> {
    let nanos: Option<i64> = row.get(column).ok()?;
    Some(nanos.map(|nanos| Moment::from_nanos(nanos.cast_unsigned())))
}

const fn nanos(moment: Moment) -> i64 {
    moment.as_nanos().cast_signed()
}

fn told_from(row: &Row<'_>, column: usize) -> Option<Option<IpAddr>> {
    let ip = row.get_ref(column).ok()?.as_str_or_null().ok()?;
    ip.map(|ip| ip.parse().ok()).map_or(Some(None), |ip| ip.map(Some))
}

fn shelf(code: &str) -> Option<Shelf> {
    [Shelf::New, Shelf::Tried, Shelf::Cold].into_iter().find(|shelf| shelf_code(*shelf) == code)
}

const fn shelf_code(shelf: Shelf) -> &'static str {
    match shelf {
        Shelf::New => "new",
        Shelf::Tried => "tried",
        Shelf::Cold => "cold",
    }
}

fn source(code: &str, id: Option<NodeId>) -> Option<Source> {
    match (code, id) {
        ("bootstrap", None) => Some(Source::Bootstrap),
        ("manual", None) => Some(Source::Manual),
        ("declared", Some(id)) => Some(Source::Declared(id)),
        ("told", Some(id)) => Some(Source::Told(id)),
        (finder, None) => finder.parse().ok().map(Source::Found),
        _ => None,
    }
}

fn source_parts(source: &Source) -> (&str, Option<NodeId>) {
    match source {
        Source::Bootstrap => ("bootstrap", None),
        Source::Manual => ("manual", None),
        Source::Declared(id) => ("declared", Some(*id)),
        Source::Told(id) => ("told", Some(*id)),
        Source::Found(by) => (by.name(), None),
    }
}
