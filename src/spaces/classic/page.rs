//! How many records an answer has room for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::words::{Data, DataRecord};
use crate::{
    extension::PeerMessage as _,
    spaces::{
        lines::{JsonValue, Line},
        store::{Entry, Page},
    },
    wire::MAX_LINE,
};

/// Answers with as many entries of a page as have room in one line. A value that leaves no room for
/// anything else is told by its size; so each answer has at least one record, if there are any.
pub(super) fn answer(empty: Data, page: Page) -> Data {
    let mut records = Vec::new();
    let mut more = page.more;
    let mut answer = Data { records: Some(Vec::new()), more: true, ..empty };
    // The line with nothing in it but the field of the next key.
    let head = json_len(&answer) + Data::MSGTYPE.len() + r#""msgtype":"","after":,"#.len();
    let room = MAX_LINE.saturating_sub(head);
    let mut used = 0;
    for entry in &page.entries {
        let key = json_len(&&*entry.key);
        let (record, len) = told(entry, room.saturating_sub(key));
        if used + len + key > room && !records.is_empty() {
            more = true;
            break;
        }
        // A comma each.
        used += len + 1;
        records.push(record);
    }
    answer.more = more;
    answer.after = records.last().filter(|_| more).map(|record: &DataRecord| record.key.clone());
    answer.records = Some(records);
    answer
}

/// A record as it is told, and its length as JSON: with its value if that has this much room.
fn told(entry: &Entry, room: usize) -> (DataRecord, usize) {
    let Line { key, value, time_ms, writer } = Line::from(entry);
    let (time_ms, writer) = (time_ms.unwrap_or_default(), writer.unwrap_or_default());
    let mut record = DataRecord { key, value, size: None, time_ms, writer };
    let mut len = json_len(&record);
    let bytes = entry.value.as_deref().unwrap_or_default();
    if len > room && record.value.value.is_some() && bytes.len() < room {
        // Text of characters that JSON has to escape is shorter so.
        record.value = JsonValue { value: None, base64: Some(STANDARD.encode(bytes)) };
        len = json_len(&record);
    }
    if len > room {
        record.value = JsonValue::default();
        record.size = Some(bytes.len());
        len = json_len(&record);
    }
    (record, len)
}

/// How long it is as JSON.
fn json_len(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What cannot be written has no length; texts and numbers can.
    let _written = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{ids::NodeId, spaces::hlc::Hlc};

    fn entry(key: &str, value: impl Into<Bytes>) -> Entry {
        Entry {
            key: key.into(),
            value: Some(value.into()),
            time: Hlc::from_bits(1_800_000_000_000 << 16),
            writer: NodeId::from_u128(7),
            proven: false,
            seq: 1,
        }
    }

    fn of(entries: Vec<Entry>, more: bool) -> Data {
        let empty = Data { space: Some("s".repeat(64)), ..Data::default() };
        answer(empty, Page { entries, more, missed: false })
    }

    /// The length of the line, without its end.
    fn line(data: &Data) -> usize {
        data.encode().unwrap().bytes().len() - 1
    }

    fn bytes_of(record: &DataRecord) -> Option<Bytes> {
        record.value.bytes().ok()
    }

    #[test]
    fn what_fits_is_told_and_the_rest_is_behind_its_last_key() {
        let entries: Vec<_> =
            (0..300).map(|n| entry(&format!("k{n:03}"), vec![b'x'; 1000])).collect();
        let page = of(entries, false);
        let records = page.records.as_ref().unwrap();
        assert!(page.more && records.len() > 50, "{}", records.len());
        assert_eq!(page.after, records.last().map(|record| record.key.clone()));
        assert!(line(&page) <= MAX_LINE && line(&page) > MAX_LINE - 1200, "{}", line(&page));
        let all = of(vec![entry("a", "1"), entry("b", "2")], false);
        assert_eq!((all.more, all.after.as_ref(), all.records.unwrap().len()), (false, None, 2));
        let none = of(vec![], false);
        assert_eq!(none.records, Some(vec![]));
        assert_eq!(of(vec![entry("a", "1")], true).after.as_deref(), Some("a"));
    }

    #[test]
    fn a_value_that_is_too_long_is_told_by_its_size() {
        let entries = vec![entry("a", vec![b'x'; MAX_LINE]), entry("b", "2")];
        let page = of(entries, false);
        let [a, b] = &page.records.unwrap()[..] else { panic!() };
        assert_eq!((a.size, bytes_of(a)), (Some(MAX_LINE), None));
        assert_eq!((b.size, b.value.value.as_deref()), (None, Some("2")));
    }

    #[test]
    fn what_came_in_one_line_goes_in_one_line() {
        // Zeros are text that takes six characters each.
        let zeros = vec![0; 48_000];
        let page = of(vec![entry("a", zeros.clone())], false);
        let record = &page.records.as_ref().unwrap()[0];
        assert_eq!((bytes_of(record), record.size), (Some(zeros.into()), None));
        assert!(line(&page) <= MAX_LINE);
    }

    proptest! {
        #[test]
        fn an_answer_is_never_longer_than_a_line_and_never_empty_for_nothing(
            entries in proptest::collection::vec(
                ("[\\PC\u{0}\"]{1,300}", 0usize..90_000, prop_oneof![Just(0u8), Just(b'x'), Just(0xff)]),
                1..12,
            ),
            more: bool,
        ) {
            let entries: Vec<_> =
                entries.into_iter().map(|(key, len, byte)| entry(&key, vec![byte; len])).collect();
            let data = of(entries.clone(), more);
            prop_assert!(line(&data) <= MAX_LINE);
            let records = data.records.unwrap();
            prop_assert!(!records.is_empty());
            prop_assert_eq!(data.more, more || records.len() < entries.len());
            for (record, entry) in records.iter().zip(&entries) {
                prop_assert_eq!(&*record.key, &*entry.key);
                match record.size {
                    Some(size) => prop_assert_eq!(size, entry.value.as_ref().unwrap().len()),
                    None => prop_assert_eq!(bytes_of(record), entry.value.clone()),
                }
            }
        }
    }
}
