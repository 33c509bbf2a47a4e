//! What `docs/PROTOCOL.md` says about shared data, against the code.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic, also in its helpers"
)]

mod support;

use std::{collections::BTreeMap, fmt::Debug};

use bytes::Bytes;
use peerage::{
    Node, NodeId, NodeKey, PeerMessage,
    overlay::{Overlay, OverlayConfig},
    spaces::{
        Hlc, Keep, SpaceSpec, Spaces, SpacesConfig,
        classic::{Data, GetData, Quit, UpdateAck, UpdateData},
        messages::{self, SpaceAnswer, SpaceAsk, SpaceChange, SpaceHint, pack_items},
        reconcile::Item,
        record::{Author, KeyHash, Record},
        summary::Summary,
    },
    wire::Frame,
};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use support::{Raw, place, quiet};

const DOCUMENT: &str = include_str!("../docs/PROTOCOL.md");

/// The lines of the fenced blocks of this kind.
fn lines(kind: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut lines = DOCUMENT.lines();
    let fence = format!("```{kind}");
    while let Some(line) = lines.next() {
        if line == fence {
            found.extend(lines.by_ref().take_while(|line| *line != "```"));
        }
    }
    assert!(!found.is_empty(), "docs/PROTOCOL.md has no {kind} block");
    found
}

// --- The messages -------------------------------------------------------------------------------

/// Reads an example as this message, and gives what it would be said as.
fn again<M: PeerMessage + Debug>(line: &str) -> Value {
    let read: M = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let said = read.encode().unwrap();
    serde_json::from_slice(said.bytes()).unwrap()
}

#[test]
fn the_examples_of_shared_data_are_its_messages() {
    let mut seen = BTreeMap::new();
    for line in lines("jsonlines") {
        let Ok(Frame::Other { msgtype, .. }) = Frame::parse(line.as_bytes()) else {
            panic!("{line}");
        };
        let said = match &*msgtype {
            "get_data" => again::<GetData>(line),
            "data" => again::<Data>(line),
            "update_data" => again::<UpdateData>(line),
            "update_ack" => again::<UpdateAck>(line),
            "quit" => again::<Quit>(line),
            "spaces" => again::<messages::Spaces>(line),
            "space_hint" => again::<SpaceHint>(line),
            "space_ask" => again::<SpaceAsk>(line),
            "space_answer" => again::<SpaceAnswer>(line),
            "space_change" => again::<SpaceChange>(line),
            other => panic!("{other}: {line}"),
        };
        let mut shown: Map<String, Value> = serde_json::from_str(line).unwrap();
        shown.remove("attach");
        assert_eq!(said, Value::Object(shown));
        *seen.entry(msgtype.to_string()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

// --- A record -----------------------------------------------------------------------------------

/// The key with this secret: in PEM, as any other program would hand it over (RFC 8410).
fn key_of(secret: &[u8]) -> NodeKey {
    use base64::Engine as _;

    let der = [&hex::decode("302e020100300506032b657004220420").unwrap()[..], secret].concat();
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    NodeKey::from_pem(&pem).unwrap()
}

fn packed(record: &Record) -> String {
    let mut bytes = Vec::new();
    record.pack(&mut bytes);
    hex::encode(bytes)
}

#[test]
fn a_record_is_what_the_document_says() {
    let vectors: BTreeMap<_, _> = lines("vectors-record")
        .into_iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, digits)| (name, digits.trim()))
        .collect();
    let bytes = |name: &str| hex::decode(vectors[name]).unwrap();
    let key = key_of(&bytes("secret"));
    let writer = key.node_id();
    assert_eq!(hex::encode(writer.as_u128().to_be_bytes()), vectors["writer"]);
    let open = SpaceSpec::open("notes").unwrap().id();
    let named = SpaceSpec::with_writers("notes", [writer]).unwrap().id();
    assert_eq!((&*open.to_string(), &*named.to_string()), (vectors["space"], vectors["named"]));

    let time = Hlc::from_bits(u64::from_be_bytes(bytes("time").try_into().unwrap()));
    let name = String::from_utf8(bytes("key")).unwrap();
    let what = (&*name, Some(Bytes::from(bytes("value"))));
    let record = Record::write(&open, what, time, (writer, Some(&key))).unwrap();
    assert_eq!(packed(&record), vectors["signed"]);
    assert_eq!(Record::unpack_all(bytes("signed").into()), Ok(vec![record.clone()]));
    assert_eq!(record.verify(&open), Ok(()));
    assert_eq!(hex::encode(record.digest(&open).0), vectors["digest"]);
    let Author::Signed { key, signature } = record.author else { panic!() };
    assert!(key.verify(&bytes("text"), &signature));

    let hash = KeyHash::of(&name);
    assert_eq!(hex::encode(hash.0), vectors["key-hash"]);
    let mut summary = Summary::default();
    summary.add(hash, record.digest(&open));
    assert_eq!(hex::encode(summary.root().hash(0)), vectors["root"]);
    let drawn = 2_882_400_001_u32.to_be_bytes();
    let tie = Sha256::new().chain_update(drawn).chain_update(record.digest(&open).0).finalize();
    let tie = *tie.first_chunk().unwrap();
    let item = Item { hash, time, tie, is_deletion: false };
    assert_eq!(hex::encode(pack_items(&[item])), vectors["item"]);

    let plain: NodeId = "6f1c2a3b-0000-4000-8000-000000000001".parse().unwrap();
    let later = Hlc::from_bits(time.bits() + 1);
    let deletion = Record::write(&open, (&name, None), later, (plain, None)).unwrap();
    assert_eq!(packed(&deletion), vectors["unsigned"]);
    assert_eq!(hex::encode(deletion.digest(&open).0), vectors["unsigned-digest"]);
    assert!(deletion.rank(&open) > record.rank(&open));
}

// --- The transcript -----------------------------------------------------------------------------

/// The same with every time as in the document.
fn timeless(mut message: Value) -> Value {
    fn visit(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if let Some(time) = fields.get_mut("time_ms") {
                    *time = Value::from(1_800_000_000_000_u64);
                }
                fields.values_mut().for_each(visit);
            }
            Value::Array(values) => values.iter_mut().for_each(visit),
            _ => {}
        }
    }
    visit(&mut message);
    message
}

#[actix_rt::test]
async fn the_transcript_of_the_classic_verbs_is_what_a_node_says() {
    let node = Node::builder().config(quiet());
    let overlay = Overlay::start(node, OverlayConfig::default()).await.unwrap();
    let spaces = Spaces::start(&overlay, SpacesConfig::default(), Keep::Memory).await.unwrap();
    spaces.join(&SpaceSpec::open("notes").unwrap()).await.unwrap();
    let mut raw = Raw::connect(&place(overlay.node())).await;
    for line in lines("transcript-data") {
        let (who, line) = line.split_at(2);
        if who == "> " {
            raw.send(format!("{line}\n")).await;
            continue;
        }
        let shown: Value = serde_json::from_str(line).unwrap();
        let said = loop {
            let said = raw.line().await.unwrap();
            let message: Value = serde_json::from_str(&said).unwrap();
            if !["hello", "addr", "getaddr", "ping"].contains(&message["msgtype"].as_str().unwrap())
            {
                break message;
            }
        };
        assert_eq!(timeless(said), shown);
    }
    assert_eq!(raw.line().await, None);
    spaces.stop().await;
    overlay.stop().await;
}
