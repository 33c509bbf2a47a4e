//! Reading: for those who use a space, and for other nodes.

use bytes::Bytes;
use rusqlite::{OptionalExtension as _, params};

use super::{Store, rows, schema};
use crate::{
    ids::NodeId,
    spaces::{
        admission::Amount,
        hlc::Hlc,
        name::SpaceId,
        reconcile::{Item, Listing, MAX_ITEMS, OwnItem, Range},
        record::{Digest, KeyHash, Packing, Record},
        summary::{Node, Sum, sums_of_parts},
    },
    store::StoreError,
};

/// About how much is sent of records at a time, in bytes.
pub const PIECE_BYTES: usize = 256 * 1024;

/// The most records of one page.
pub(in crate::spaces) const MAX_PAGE: usize = 1000;

/// About how many bytes a page has at most; a page has at least one record.
const PAGE_BYTES: u64 = 1 << 20;

/// How many records are read at most to answer one question about sums.
const MAX_SUMMED: usize = 65_536;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Box<str>,
    /// The value; `None` if it was deleted.
    pub value: Option<Bytes>,
    /// When it was written.
    pub time: Hlc,
    /// By whom.
    pub writer: NodeId,
    /// Whether that is proven.
    pub proven: bool,
    /// The number of the change.
    pub seq: u64,
}

/// Some entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In the order that was asked for.
    pub entries: Vec<Entry>,
    /// Whether there are more behind the last.
    pub more: bool,
    /// For changes: whether some before these may have been forgotten.
    pub missed: bool,
}

/// Records on their way to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parcel {
    /// As many as there was room for, packed; and for how many of those asked for this is the answer.
    Records(Bytes, usize),
    /// The first asked for is too long to be sent at once: how long it is, packed.
    Large(usize),
}

impl From<(Record, u64)> for Entry {
    fn from((record, seq): (Record, u64)) -> Self {
        let writer = record.writer();
        let proven = writer.is_self_certifying();
        let Record { key, value, time, .. } = record;
        Self { key, value, time, writer, proven, seq }
    }
}

impl Store {
    /// The value of a key, with who wrote it and when; nothing if it is not there or was deleted.
    ///
    /// # Errors
    /// It could not be read.
    pub fn get(&self, space: &SpaceId, key: &str) -> Result<Option<Entry>, StoreError> {
        let Some(kept) = self.spaces.get(space) else { return Ok(None) };
        let place = schema::place_of(kept.row, key);
        self.read(|tx| {
            let mut select = tx.prepare_cached(schema::SELECT_VALUE)?;
            select.query_row([place], |row| rows::entry(row, key.into(), false)).optional()
        })
    }

    /// The entries whose keys begin with a prefix, by key (in the order of its bytes), behind a key.
    ///
    /// # Errors
    /// They could not be read.
    pub fn list(
        &self,
        space: &SpaceId,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let most = Amount { records: limit as u64, bytes: PAGE_BYTES };
        self.page(space, prefix, after, most)
    }

    /// The same with at most about so many bytes; there is at least one entry, if there are any.
    pub(in crate::spaces) fn page(
        &self,
        space: &SpaceId,
        prefix: &str,
        after: Option<&str>,
        most: Amount,
    ) -> Result<Page, StoreError> {
        let Some(kept) = self.spaces.get(space) else { return Ok(Page::default()) };
        let limit = usize::try_from(most.records).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        let from = schema::place_of(kept.row, after.map_or(prefix, |after| prefix.max(after)));
        self.read(|tx| {
            let mut select = tx.prepare_cached(schema::SELECT_PAGE)?;
            let behind = schema::behind(kept.row);
            let mut found = select.query(params![from, behind, rows_for(limit)])?;
            let mut page = Page::default();
            let mut bytes = 0;
            while let Some(row) = found.next()? {
                let entry = rows::keyed_entry(row)?;
                if after == Some(&*entry.key) {
                    continue;
                }
                if !entry.key.starts_with(prefix) {
                    return Ok(page);
                }
                bytes += entry.len();
                if page.is_full(limit, bytes, most.bytes) {
                    page.more = true;
                    return Ok(page);
                }
                page.entries.push(entry);
            }
            Ok(page)
        })
    }

    /// What has changed since a change, by number: of each key its latest change, deletions included.
    ///
    /// # Errors
    /// It could not be read.
    pub fn changes(&self, space: &SpaceId, since: u64, limit: usize) -> Result<Page, StoreError> {
        let Some(kept) = self.spaces.get(space) else { return Ok(Page::default()) };
        let limit = limit.clamp(1, MAX_PAGE);
        self.read(|tx| {
            let mut select = tx.prepare_cached(schema::SELECT_CHANGES)?;
            let (since_id, behind) = (schema::id_of(kept.row, since), schema::before(kept.row + 1));
            let mut found = select.query(params![since_id, behind, rows_for(limit)])?;
            let mut page = Page { missed: since > 0 && since < kept.forgotten, ..Page::default() };
            let mut bytes = 0;
            while let Some(row) = found.next()? {
                let entry = rows::keyed_entry(row)?;
                bytes += entry.len();
                if page.is_full(limit, bytes, PAGE_BYTES) {
                    page.more = true;
                    return Ok(page);
                }
                page.entries.push(entry);
            }
            Ok(page)
        })
    }

    /// The sums of the parts of ranges. Of ranges that the summary does not divide 65,536 records in
    /// all are read at most, which is far more than they hold unless somebody has chosen keys for it: the
    /// sums are of those then.
    ///
    /// # Errors
    /// They could not be read.
    pub fn sums(&self, space: &SpaceId, nodes: &[Node]) -> Result<Vec<Vec<Sum>>, StoreError> {
        let mut room = MAX_SUMMED;
        nodes.iter().map(|node| self.sums_of(space, *node, &mut room)).collect()
    }

    fn sums_of(
        &self,
        space: &SpaceId,
        node: Node,
        room: &mut usize,
    ) -> Result<Vec<Sum>, StoreError> {
        let Some(kept) = self.spaces.get(space) else {
            return Ok(node.parts().map(|_| Sum::default()).collect());
        };
        let known: Option<Vec<Sum>> = node.parts().map(|part| kept.summary.get(part)).collect();
        if let Some(known) = known {
            return Ok(known);
        }
        // A range that the summary does not divide holds few records.
        let entries = self.indexed(kept, node.bounds(), *room)?;
        *room -= entries.len();
        Ok(sums_of_parts(node, entries.iter().map(|entry| (entry.hash, entry.digest))))
    }

    /// What is in ranges, for as many of them as there is room for in one answer, to somebody who has drawn
    /// this number.
    ///
    /// # Errors
    /// It could not be read.
    pub fn items(
        &self,
        space: &SpaceId,
        ranges: &[Range],
        drawn: u32,
    ) -> Result<Vec<Listing<Item>>, StoreError> {
        let mut listings = Vec::new();
        let mut room = MAX_ITEMS;
        let Some(kept) = self.spaces.get(space) else {
            let empty = Listing { items: Vec::new(), is_whole: true };
            return Ok(vec![empty; ranges.len()]);
        };
        for range in ranges {
            if room == 0 {
                break;
            }
            let entries = self.indexed(kept, (range.from, range.last()), room + 1)?;
            let is_whole = entries.len() <= room;
            let items: Vec<_> = entries.iter().take(room).map(|it| it.as_item(drawn)).collect();
            room -= items.len();
            listings.push(Listing { items, is_whole });
        }
        Ok(listings)
    }

    /// The same with which of them this node wrote, which only who was away has to know.
    ///
    /// # Errors
    /// It could not be read.
    pub fn own_items(
        &self,
        space: &SpaceId,
        ranges: &[Range],
        drawn: u32,
        with_writers: bool,
    ) -> Result<Vec<Listing<OwnItem>>, StoreError> {
        let mut listings = Vec::new();
        for Listing { items, is_whole } in self.items(space, ranges, drawn)? {
            let mut own = Vec::with_capacity(items.len());
            for item in items {
                let is_own = with_writers && self.is_own(space, item.hash)?;
                own.push(OwnItem { item, is_own });
            }
            listings.push(Listing { items: own, is_whole });
        }
        Ok(listings)
    }

    fn is_own(&self, space: &SpaceId, hash: KeyHash) -> Result<bool, StoreError> {
        let Some(kept) = self.spaces.get(space) else { return Ok(false) };
        let Some(entry) = self.indexed_one(kept, hash)? else { return Ok(false) };
        let writer: Option<[u8; 16]> = self.read(|tx| {
            let mut select = tx.prepare_cached(schema::SELECT_WRITER)?;
            select.query_row([entry.id], |row| row.get(0)).optional()
        })?;
        Ok(writer == Some(self.owner.id.as_u128().to_be_bytes()))
    }

    /// Records for another node, from the first asked for on.
    ///
    /// # Errors
    /// They could not be read.
    pub fn parcel(&self, space: &SpaceId, hashes: &[KeyHash]) -> Result<Parcel, StoreError> {
        let mut packed = Packing::default();
        for (done, hash) in hashes.iter().enumerate() {
            let Some((record, _)) = self.by_hash(space, hash)? else { continue };
            let len = record.packed_len();
            if done == 0 && len > PIECE_BYTES {
                return Ok(Parcel::Large(len));
            }
            if packed.len() + len > PIECE_BYTES {
                return Ok(Parcel::Records(packed.finish(), done));
            }
            packed.add(&record);
        }
        Ok(Parcel::Records(packed.finish(), hashes.len()))
    }

    /// A piece of a long record, packed, from a byte on, with its whole length and its digest; nothing if
    /// there is no such record.
    ///
    /// # Errors
    /// It could not be read.
    pub fn piece(
        &self,
        space: &SpaceId,
        hash: &KeyHash,
        offset: usize,
    ) -> Result<Option<(Vec<u8>, usize, Digest)>, StoreError> {
        let Some((record, _)) = self.by_hash(space, hash)? else { return Ok(None) };
        let mut packed = Vec::with_capacity(record.packed_len());
        record.pack(&mut packed);
        let (len, digest) = (packed.len(), record.digest(space));
        let piece = packed.into_iter().skip(offset).take(PIECE_BYTES).collect();
        Ok(Some((piece, len, digest)))
    }

    /// Which of these this node has no record of, or an older one. Their ties are by this number.
    ///
    /// # Errors
    /// It could not be read.
    pub fn lacking(
        &self,
        space: &SpaceId,
        items: &[Item],
        drawn: u32,
    ) -> Result<Vec<Item>, StoreError> {
        let mut lacking = Vec::new();
        for item in items {
            let present = self.item(space, item.hash, drawn)?;
            let is_lacking = present.is_none_or(|present| {
                item.time > present.time || (item.time == present.time && item.tie != present.tie)
            });
            if is_lacking {
                lacking.push(*item);
            }
        }
        Ok(lacking)
    }

    /// The record whose key has this hash, as it is listed.
    pub(super) fn item(
        &self,
        space: &SpaceId,
        hash: KeyHash,
        drawn: u32,
    ) -> Result<Option<Item>, StoreError> {
        let Some(kept) = self.spaces.get(space) else { return Ok(None) };
        Ok(self.indexed_one(kept, hash)?.map(|entry| entry.as_item(drawn)))
    }
}

impl Page {
    fn is_full(&self, limit: usize, bytes: u64, most: u64) -> bool {
        self.entries.len() >= limit || (bytes > most && !self.entries.is_empty())
    }
}

impl Entry {
    fn len(&self) -> u64 {
        (self.key.len() + self.value.as_ref().map_or(0, Bytes::len)) as u64
    }
}

/// How many rows a page of so many takes: one that is passed over, and one that shows that there are more.
fn rows_for(limit: usize) -> i64 {
    i64::try_from(limit + 2).unwrap_or(i64::MAX)
}
