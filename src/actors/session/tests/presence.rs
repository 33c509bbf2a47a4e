//! What the two ends say of themselves.

use super::*;
use crate::{
    HostPort,
    wire::{MAX_HELLO_LINE, Tags, TagsError},
};

fn tags(value: &str) -> Tags {
    [("region".to_owned(), value.to_owned())].into()
}

#[actix::test]
async fn a_peers_new_tags_go_to_the_registry_and_of_many_the_last() {
    tokio::time::pause();
    let mut h = Harness::up().await;
    h.say(r#"{"msgtype":"pong"}"#).await;
    h.registry.take().await;
    for value in ["eu", "us", "as"] {
        h.say(&format!(r#"{{"msgtype":"presence","tags":{{"region":"{value}"}}}}"#)).await;
    }
    h.say(r#"{"msgtype":"presence"}"#).await;
    let told = h.registry.take().await;
    assert!(
        matches!(&told[..], [LinkEvent { news: LinkNews::Presence(t), .. }] if *t == tags("eu"))
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = h.registry.take().await;
    assert!(matches!(&told[..], [LinkEvent { news: LinkNews::Presence(t), .. }] if t.is_empty()));
}

#[actix::test]
async fn a_hello_says_the_tags_of_its_time_and_what_changed_before_the_verdict_follows_it() {
    tokio::time::pause();
    let mut h = Harness::inbound();
    h.tags.set(tags("eu"), |_| {}).unwrap();
    h.say(HELLO).await;
    assert!(h.hear().await.unwrap().contains(r#""tags":{"region":"eu"}"#));
    // The registry does not know the session as a peer yet.
    h.tags.set(tags("us"), |_| {}).unwrap();
    h.admit();
    assert!(h.hear().await.unwrap().contains("getaddr"));
    assert_eq!(h.hear().await.unwrap(), r#"{"msgtype":"presence","tags":{"region":"us"}}"#);

    let mut h = Harness::inbound();
    h.say(HELLO).await;
    assert!(!h.hear().await.unwrap().contains("tags"));
    h.admit();
    for verb in ["getaddr", "ping"] {
        assert!(h.hear().await.unwrap().contains(verb), "nothing has changed");
    }
}

#[test]
fn the_longest_hello_fits_its_line() {
    let long = |n: usize, text: &str| format!("{n}{}", text.repeat(62));
    let config = NodeConfig {
        agent: "a".repeat(64),
        network: "n".repeat(64),
        tags: (10..26).map(|n| (long(n, "k"), long(n, "v"))).collect(),
        ..NodeConfig::default()
    };
    let place: HostPort =
        format!("{}:65535", ["x".repeat(62).as_str(); 4].join(".")).parse().unwrap();
    let hello = |features: &[&str], config: &NodeConfig| {
        let settled = Settled::new(Some(place.clone()), &[]);
        HelloTemplate::new(NodeId::from_u128(1), config, settled, features)
    };
    let names: Vec<String> = (10..40).map(|n| long(n, "f")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    while hello(&names, &config).is_err() {
        names.pop();
    }
    assert!(names.len() > 4, "{}", names.len());
    let template = hello(&names, &config).unwrap();
    let proof = Some("0".repeat(64));
    let (line, _) = template.encode(Purpose::Feeler, &place, None, proof);
    let len = line.bytes().len() - 1;
    assert!((MAX_HELLO_LINE - 64..=MAX_HELLO_LINE).contains(&len), "{len}");
    let quotes = |n: usize| (format!("{n}{}", "\"".repeat(62)), "\"".repeat(64));
    let config = NodeConfig { tags: (10..26).map(quotes).collect(), ..config };
    assert!(matches!(hello(&[], &config), Err(TagsError::TooLong(_))));
}
