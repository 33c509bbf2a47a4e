//! The classic verbs over TCP: what a plain peer is answered.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, also in its helpers, and says what it measured"
)]

mod support;

use std::fmt::Write as _;

use peerage::{
    Node, NodeHandle, NodeKey,
    overlay::{Overlay, OverlayConfig},
    spaces::{Amount, Keep, Rules, Space, SpaceSpec, Spaces, SpacesConfig},
};
use serde_json::{Value, json};
use support::{BOUND, Raw, Sealed, new_key, quiet, within};

struct Served {
    overlay: Overlay,
    spaces: Spaces,
    notes: Space,
}

impl Served {
    async fn start() -> Self {
        Self::with(SpacesConfig::default(), Keep::Memory).await
    }

    async fn with(config: SpacesConfig, keep: Keep) -> Self {
        let node = Node::builder().config(quiet()).key(new_key());
        let overlay = Overlay::start(node, OverlayConfig::default()).await.unwrap();
        let spaces = Spaces::start(&overlay, config, keep).await.unwrap();
        let notes = spaces.join(&SpaceSpec::open("notes").unwrap()).await.unwrap();
        Self { overlay, spaces, notes }
    }

    fn node(&self) -> &NodeHandle {
        self.overlay.node()
    }

    async fn stop(self) {
        self.spaces.stop().await;
        self.overlay.stop().await;
    }
}

/// Says something, and gives the next message of this type.
async fn ask(raw: &mut Raw, question: Value, answer: &str) -> Value {
    raw.send(format!("{question}\n")).await;
    raw.expect(answer).await
}

async fn get(raw: &mut Raw, more: Value) -> Value {
    let mut question = json!({"msgtype": "get_data", "space": "notes"});
    question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ask(raw, question, "data").await
}

async fn update(raw: &mut Raw, more: Value) -> Value {
    let mut question = json!({"msgtype": "update_data", "space": "notes"});
    question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ask(raw, question, "update_ack").await
}

#[actix_rt::test]
async fn a_plain_peer_writes_reads_deletes_and_quits() {
    let served = Served::start().await;
    let mut raw = Raw::join(served.node(), 7).await;
    let ack = update(&mut raw, json!({"key": "colour", "value": "green"})).await;
    let kept = served.notes.get("colour").await.unwrap().unwrap();
    assert_eq!(kept.value.as_deref(), Some(&b"green"[..]));
    assert!(kept.writer == support::id(7) && !kept.proven);
    let time = kept.time.millis();
    assert_eq!(
        ack,
        json!({"msgtype": "update_ack", "space": "notes", "key": "colour", "time_ms": time})
    );
    let ack = update(&mut raw, json!({"key": "bytes", "base64": "/wA="})).await;
    let bytes_time = &ack["time_ms"];
    let writer = support::id(7).to_string();
    let colour = json!({"key": "colour", "value": "green", "time_ms": time, "writer": writer});
    let bytes = json!({"key": "bytes", "base64": "/wA=", "time_ms": bytes_time, "writer": writer});
    assert_eq!(
        get(&mut raw, json!({})).await,
        json!({"msgtype": "data", "space": "notes", "records": [bytes, colour]})
    );
    assert_eq!(get(&mut raw, json!({"prefix": "co"})).await["records"], json!([colour]));
    assert_eq!(get(&mut raw, json!({"after": "bytes"})).await["records"], json!([colour]));
    assert_eq!(get(&mut raw, json!({"after": "colour"})).await["records"], json!([]));
    assert!(update(&mut raw, json!({"key": "colour", "delete": true})).await["time_ms"].is_u64());
    let again = update(&mut raw, json!({"key": "colour", "delete": true})).await;
    assert_eq!(again, json!({"msgtype": "update_ack", "space": "notes", "key": "colour"}));
    assert_eq!(get(&mut raw, json!({"prefix": "co"})).await["records"], json!([]));
    raw.send("{\"msgtype\":\"quit\"}\n").await;
    assert_eq!(raw.bye().await, "requested");
    served.stop().await;
}

#[actix_rt::test]
async fn every_refusal_has_a_code_and_the_session_goes_on() {
    let few = Amount { records: 3, bytes: 1 << 20 };
    let two = Amount { records: 2, bytes: 1000 };
    let rules = Rules { per_space: few, per_writer: two, ..Rules::default() };
    let config = SpacesConfig { rules, ..SpacesConfig::default() };
    let served = Served::with(config, Keep::Memory).await;
    let named = SpaceSpec::with_writers("news", [served.overlay.id()]).unwrap();
    served.spaces.join(&named).await.unwrap();
    let mut raw = Raw::join(served.node(), 7).await;
    let long = "k".repeat(1025);
    let refused = [
        (json!({"space": "none", "key": "a", "value": "1"}), "no-such-space"),
        (json!({"space": "n".repeat(5000), "key": "a", "value": "1"}), "no-such-space"),
        (json!({"space": "news", "key": "a", "value": "1"}), "not-a-writer"),
        (json!({"space": "news", "key": "a"}), "bad-value"),
        (json!({"key": "", "value": "1"}), "bad-key"),
        (json!({"key": long, "value": "1"}), "bad-key"),
        (json!({"key": "k".repeat(60_000), "value": "1"}), "bad-key"),
        (json!({"key": "a", "value": "1", "base64": "MQ=="}), "bad-value"),
        (json!({"key": "a", "base64": "MQ"}), "bad-value"),
        (json!({"key": "a", "value": "1", "delete": true}), "bad-value"),
        (json!({"key": "a", "value": "x".repeat(1000)}), "writer-full"),
    ];
    for (what, code) in refused {
        let ack = update(&mut raw, what.clone()).await;
        assert_eq!(ack["refused"], *code, "{what}: {ack}");
        assert!(ack["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{ack}");
        assert!(ack["time_ms"].is_null(), "{ack}");
    }
    for key in ["a", "b"] {
        assert!(update(&mut raw, json!({"key": key, "value": "1"})).await["refused"].is_null());
    }
    let ack = update(&mut raw, json!({"key": "c", "value": "1"})).await;
    assert_eq!(ack["refused"], "writer-full");
    served.notes.set("d", "1").await.unwrap();
    let mut other = Raw::join(served.node(), 8).await;
    let ack = update(&mut other, json!({"key": "e", "value": "1"})).await;
    assert_eq!(ack["refused"], "space-full");
    let data = get(&mut raw, json!({"space": "none"})).await;
    assert_eq!((&data["refused"], &data["space"]), (&json!("no-such-space"), &json!("none")));
    assert!(data["records"].is_null());
    assert_eq!(get(&mut raw, json!({})).await["records"].as_array().unwrap().len(), 3);
    served.stop().await;
}

#[actix_rt::test]
async fn what_is_no_question_ends_the_session() {
    let served = Served::start().await;
    for (n, bad) in [
        r#"{"msgtype":"get_data"}"#,
        r#"{"msgtype":"get_data","space":7}"#,
        r#"{"msgtype":"get_data","space":"notes","after":3}"#,
        r#"{"msgtype":"update_data","space":"notes","value":"1"}"#,
        r#"{"msgtype":"update_data","space":"notes","key":"a","value":1}"#,
        r#"{"msgtype":"update_data","space":"notes","key":"a","key":"b","value":"1"}"#,
    ]
    .iter()
    .enumerate()
    {
        let mut raw = Raw::join(served.node(), 100 + n as u128).await;
        raw.send(format!("{bad}\n")).await;
        assert_eq!(raw.bye().await, "protocol", "{bad}");
    }
    served.stop().await;
}

#[actix_rt::test]
async fn a_peer_with_a_key_is_told_to_sign() {
    let served = Served::start().await;
    let key: NodeKey = new_key();
    let mut sealed = Sealed::enter(served.node(), &key).await;
    sealed
        .send("{\"msgtype\":\"update_data\",\"space\":\"notes\",\"key\":\"a\",\"value\":\"1\"}\n")
        .await;
    assert_eq!(sealed.expect("update_ack").await["refused"], "not-signed");
    sealed.send("{\"msgtype\":\"get_data\",\"space\":\"notes\"}\n").await;
    assert_eq!(sealed.expect("data").await["records"], json!([]));
    served.stop().await;
}

#[actix_rt::test]
async fn all_of_a_space_is_read_page_by_page() {
    let served = Served::start().await;
    for n in 0..500 {
        served.notes.set(&format!("key {n:03}"), "x".repeat(400)).await.unwrap();
    }
    served.notes.set("key 250 is long", vec![7; 100_000]).await.unwrap();
    let mut raw = Raw::join(served.node(), 7).await;
    let (mut keys, mut after, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let data = get(&mut raw, json!({"prefix": "key ", "after": after})).await;
        assert!(data.to_string().len() <= 65_536);
        for record in data["records"].as_array().unwrap() {
            let key = record["key"].as_str().unwrap().to_owned();
            if key == "key 250 is long" {
                assert!(record["size"] == 100_000 && record["value"].is_null(), "{record}");
            } else {
                assert_eq!(record["value"].as_str().unwrap().len(), 400);
            }
            keys.push(key);
        }
        pages += 1;
        if data["more"] != true {
            assert!(data["after"].is_null());
            break;
        }
        assert_eq!(data["after"], *keys.last().unwrap());
        after = data["after"].clone();
    }
    assert!(keys.len() == 501 && keys.is_sorted() && pages < 15, "{} in {pages}", keys.len());
    served.stop().await;
}

/// More than may be in work, without taking any answer meanwhile, and then the end of its side.
#[actix_rt::test]
async fn a_flood_of_writes_is_slowed_down_and_none_is_lost() {
    const WRITES: usize = 5000;
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep::File(dir.path().join("spaces.sqlite3"));
    let served = Served::with(SpacesConfig::default(), keep).await;
    let mut raw = Raw::join(served.node(), 7).await;
    let mut text = String::new();
    for n in 0..WRITES {
        let padding = "x".repeat(200);
        writeln!(
            text,
            r#"{{"msgtype":"update_data","space":"notes","key":"{:04}","value":"{n} {padding}"}}"#,
            n % 100
        )
        .unwrap();
    }
    let began = tokio::time::Instant::now();
    within(BOUND * 4, "all is taken", raw.send(text)).await;
    raw.close_writing().await;
    let mut acks = 0;
    while let Some(message) = raw.message().await {
        if message["msgtype"] == "bye" {
            assert_eq!(message["reason"], "requested");
            break;
        }
        if message["msgtype"] == "update_ack" {
            assert_eq!(message["key"], format!("{:04}", acks % 100), "{message}");
            assert!(message["time_ms"].is_u64(), "{message}");
            acks += 1;
        }
    }
    assert_eq!(acks, WRITES);
    println!("{WRITES} writes, acknowledged after their commits: {:?}", began.elapsed());
    // The last of each key has won.
    let page = served.notes.list("", None, 1000).await.unwrap();
    assert_eq!(page.entries.len(), 100);
    for (n, entry) in page.entries.iter().enumerate() {
        let value = entry.value.as_ref().unwrap();
        assert!(value.starts_with(format!("{} ", WRITES - 100 + n).as_bytes()));
    }
    served.stop().await;
}

#[actix_rt::test]
async fn a_full_store_refuses_and_names_no_files_to_strangers() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep::File(dir.path().join("spaces.sqlite3"));
    let config = SpacesConfig { max_bytes: 512 * 1024, ..SpacesConfig::default() };
    let served = Served::with(config, keep).await;
    let mut raw = Raw::join(served.node(), 7).await;
    let mut kept = 0;
    let refused = loop {
        let ack =
            update(&mut raw, json!({"key": kept.to_string(), "value": "x".repeat(30_000)})).await;
        if !ack["refused"].is_null() {
            break ack;
        }
        kept += 1;
    };
    assert!(refused["refused"] == "full" && kept > 5, "{refused} after {kept}");
    assert!(!refused["detail"].as_str().unwrap().contains('/'), "{refused}");
    let (mut keys, mut after) = (0, Value::Null);
    loop {
        let data = get(&mut raw, json!({"after": after})).await;
        keys += data["records"].as_array().unwrap().len();
        after = data["after"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(keys, kept);
    served.stop().await;
}

#[actix_rt::test]
async fn what_a_plain_peer_writes_comes_to_the_other_nodes() {
    let served = Served::start().await;
    let mut config = quiet();
    config.bootstrap = vec![support::place(served.node()).into()];
    let node = Node::builder().config(config).key(new_key());
    let overlay = Overlay::start(node, OverlayConfig::default()).await.unwrap();
    let spaces = Spaces::start(&overlay, SpacesConfig::default(), Keep::Memory).await.unwrap();
    let notes = spaces.join(&SpaceSpec::open("notes").unwrap()).await.unwrap();
    let mut raw = Raw::join(served.node(), 7).await;
    update(&mut raw, json!({"key": "colour", "value": "green"})).await;
    support::until("it is there", async || notes.get("colour").await.unwrap().is_some()).await;
    let entry = notes.get("colour").await.unwrap().unwrap();
    assert!(entry.writer == support::id(7) && !entry.proven);
    // And can be changed from there.
    notes.set("colour", "blue").await.unwrap();
    support::until("the change", async || {
        get(&mut raw, json!({})).await["records"][0]["value"] == "blue"
    })
    .await;
    spaces.stop().await;
    overlay.stop().await;
    served.stop().await;
}
