//! What is said about shared data: lines, and what is attached to them.

use peerage::spaces::{
    SpaceId, SpaceSpec,
    classic::{GetData, Quit, UpdateAck, UpdateData},
    messages::{
        SpaceAnswer, SpaceAsk, SpaceChange, SpaceHint, Spaces, hash_of, pack_hashes, pack_items,
        pack_listings, pack_ranges, pack_sums, unpack_hashes, unpack_items, unpack_listings,
        unpack_ranges, unpack_sums,
    },
    record::Record,
};
use serde::{Serialize, de::DeserializeOwned};

/// The first byte says what the others are.
pub(crate) fn run(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else { return };
    match what {
        b'r' => records(bytes),
        b'a' => attached(bytes),
        _ => lines(bytes),
    }
}

/// What is a record is packed again as it was, and counts for as much as it has.
fn records(bytes: &[u8]) {
    let Ok(records) = Record::unpack_all(bytes.to_vec().into()) else { return };
    let space = SpaceSpec::open("fuzz").expect("a name").id();
    let mut again = Vec::new();
    for record in &records {
        let before = again.len();
        record.pack(&mut again);
        assert_eq!(again.len() - before, record.packed_len());
        if record.verify(&space).is_err_and(|error| error.code().is_empty()) {
            panic!("a refusal without a code");
        }
        assert_eq!(record.rank(&space).writer, record.writer());
    }
    assert_eq!(again, bytes);
}

/// What is read is what was packed.
fn attached(bytes: &[u8]) {
    let again = |packed: Option<Vec<u8>>| assert!(packed.is_none_or(|packed| packed == bytes));
    let hashes = unpack_hashes(bytes, 100);
    again(hashes.map(|hashes| pack_hashes(&hashes).to_vec()));
    again(unpack_items(bytes.to_vec().into(), 100).map(|items| pack_items(&items).to_vec()));
    again(unpack_sums(bytes.to_vec().into()).map(|sums| pack_sums(&sums).to_vec()));
    again(unpack_listings(bytes.to_vec().into()).map(|all| pack_listings(&all).to_vec()));
    // A range may be said in two ways.
    if let Some(ranges) = unpack_ranges(bytes.to_vec().into(), 100) {
        assert_eq!(unpack_ranges(pack_ranges(&ranges), 100), Some(ranges));
    }
}

fn lines(bytes: &[u8]) {
    said::<GetData>(bytes);
    said::<UpdateData>(bytes);
    said::<UpdateAck>(bytes);
    said::<Quit>(bytes);
    said::<Spaces>(bytes);
    said::<SpaceHint>(bytes);
    said::<SpaceAsk>(bytes);
    said::<SpaceAnswer>(bytes);
    said::<SpaceChange>(bytes);
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = (hash_of(text), text.parse::<SpaceId>());
    }
}

/// What is understood can be said again, and means the same.
fn said<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(message) = serde_json::from_slice::<M>(bytes) else { return };
    let again = serde_json::to_vec(&message).expect("it can be said again");
    assert_eq!(serde_json::from_slice::<M>(&again).expect("and be read"), message);
}
