//! What listeners can rely on, at a node of their own.

use std::{collections::BTreeSet, future::Future, pin::pin, task::Poll, time::Duration};

use tokio::time::{advance, pause, timeout};

use super::{
    hub::{Keep, ListTopics, Release},
    listener::{Listener, Wish},
    messages::Note,
    model::Code,
    topics::{LINGER, MAX_TOPICS},
    *,
};
use crate::{
    Node,
    overlay::{OverlayConfig, Published, Topic},
    testkit::{Probe, settle},
};

struct Site {
    overlay: Overlay,
    control: Control,
}

impl Site {
    /// A node whose time stands still unless it is moved.
    async fn new() -> Self {
        pause();
        let config = NodeConfig { listen: Vec::new(), workers: 1, ..NodeConfig::default() };
        let builder = Node::builder().config(config);
        let overlay = Overlay::start(builder, OverlayConfig::default()).await.unwrap();
        let control = Control::start(&overlay, About::default()).await;
        Self { overlay, control }
    }

    async fn listen(&self, topics: &[&str]) -> Result<Listener, ApiError> {
        let topics = topics.iter().map(|name| topic(name)).collect();
        let wish = Wish { names: BTreeSet::new(), topics };
        Listener::new(&self.control.feed, &self.control.hub, wish, None).await
    }

    async fn topics(&self) -> Vec<String> {
        settle().await;
        self.control.hub.send(ListTopics).await.unwrap()
    }
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

/// Some time passes, and what is due is done.
async fn pass(time: Duration) {
    for _ in 0..time.as_secs() {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
}

#[actix_rt::test]
async fn a_topic_outlives_its_last_listener_by_a_minute() {
    let site = Site::new().await;
    let (first, second) = (site.listen(&["a", "b"]).await, site.listen(&["a"]).await);
    assert_eq!(site.topics().await, ["a", "b"]);
    drop(first);
    pass(LINGER + Duration::from_secs(2)).await;
    assert_eq!(site.topics().await, ["a"], "one still listens to it");
    drop(second);
    pass(LINGER - Duration::from_secs(2)).await;
    assert_eq!(site.topics().await, ["a"]);
    let third = site.listen(&["a"]).await;
    pass(LINGER).await;
    drop(third);
    assert_eq!(site.topics().await, ["a"], "it has been taken on");
    pass(LINGER + Duration::from_secs(2)).await;
    assert!(site.topics().await.is_empty());
}

#[actix_rt::test]
async fn a_listener_that_is_gone_before_it_began_leaves_no_topic_behind() {
    let site = Site::new().await;
    for _ in 0..3 {
        // Its connection ends when the hub has done it, and it has not heard so.
        let mut beginning = pin!(site.listen(&["a"]));
        std::future::poll_fn(|cx| {
            assert!(beginning.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        settle().await;
    }
    assert_eq!(site.topics().await, ["a"], "the hub had heard of it");
    pass(LINGER + Duration::from_secs(2)).await;
    assert!(site.topics().await.is_empty());
    assert_eq!(site.control.feed.listeners(), 0);
}

#[actix_rt::test]
async fn the_topics_of_others_are_left_alone() {
    let first = Node::builder().listen("127.0.0.1:0".parse().unwrap());
    let first = Overlay::start(first, OverlayConfig::default()).await.unwrap();
    let control = Control::start(&first, About::default()).await;
    let second = Overlay::start(Node::builder(), OverlayConfig::default()).await.unwrap();
    second.node().dial(first.node().listen_addrs()[0].clone()).await.unwrap();
    let other = Probe::<Published<Note>>::start();
    first.subscribe::<Note>(&topic("a"), other.recipient()).unwrap();
    assert_eq!(control.hub.send(Keep(topic("a"))).await.unwrap(), Ok(true));
    assert!(control.hub.send(Release(topic("a"))).await.unwrap());
    assert!(control.hub.send(ListTopics).await.unwrap().is_empty());
    let published = second.publish(&topic("a"), &Note { text: "x".to_owned() }).await;
    published.unwrap();
    assert_eq!(other.expect().await.message.text, "x");
    second.stop().await;
    first.stop().await;
}

#[actix_rt::test]
async fn there_are_no_more_topics_and_no_more_listeners_than_there_is_room_for() {
    let site = Site::new().await;
    let names: Vec<String> = (0..=MAX_TOPICS).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let Err(refused) = site.listen(&names).await else { panic!("too many topics were taken") };
    assert_eq!(refused.code, Code::Full);
    let mut all = Vec::new();
    for _ in 0..MAX_LISTENERS {
        all.push(site.listen(&[]).await.unwrap());
    }
    let Err(refused) = site.listen(&[]).await else { panic!("there are too many") };
    assert_eq!((refused.code, site.control.feed.listeners()), (Code::Full, MAX_LISTENERS));
    all.pop();
    assert!(site.listen(&[]).await.is_ok());
}

#[actix_rt::test]
async fn listeners_end_with_the_hub_when_they_have_heard_all() {
    let site = Site::new().await;
    let mut listener = site.listen(&[]).await.unwrap();
    let note = |why: &'static str| {
        let now = site.overlay.node().clock().now();
        site.overlay.node().note(crate::Decision::new(now, crate::Kind::Extension, why));
    };
    note("first");
    assert!(listener.next().await.unwrap().told.json.contains("first"));
    note("last");
    settle().await;
    site.control.stop().await;
    assert!(listener.next().await.unwrap().told.json.contains("last"));
    let end = timeout(Duration::from_secs(60), listener.next()).await;
    assert_eq!(end, Ok(None));
    assert_eq!(site.listen(&["a"]).await.err().map(|error| error.code), Some(Code::Stopped));
}

#[actix_rt::test]
async fn no_two_runs_have_ids_in_common() {
    let site = Site::new().await;
    let again = Control::start(&site.overlay, About::default()).await;
    assert_ne!(site.control.run, again.run, "they began at the same time");
}
