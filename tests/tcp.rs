//! Nodes over loopback TCP, in one process.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::time::Duration;

use peerage::{Node, NodeConfig, NodeHandle};

async fn node(bootstrap: &[&NodeHandle]) -> NodeHandle {
    let config = NodeConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        bootstrap: bootstrap.iter().map(|node| node.listen_addrs()[0].clone().into()).collect(),
        workers: 2,
        ..NodeConfig::default()
    };
    Node::builder().config(config).start().await.unwrap()
}

async fn until<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix_rt::test]
async fn ten_nodes_that_know_one_bootstrap_become_a_full_mesh() {
    let first = node(&[]).await;
    let mut nodes = vec![first.clone()];
    for _ in 1..10 {
        nodes.push(node(&[&first]).await);
    }
    until("a full mesh", async || {
        for node in &nodes {
            if node.peers().await.len() != 9 {
                return false;
            }
        }
        true
    })
    .await;
    for node in &nodes {
        node.stop().await;
    }
}
