//! Networks of nodes in one process, which is measured as a whole. They are real ones: TCP on loopback, with
//! encryption on.

pub(crate) mod broadcast;
pub(crate) mod hops;

use std::process;

use actix_rt::System;
use peerage::{
    Node, NodeConfig, NodeKey,
    overlay::{Overlay, OverlayConfig},
};
use serde::Serialize;

use crate::Result;

/// Bytes that go along with every message.
const BODY: usize = 1024;

/// Runs a network, and prints what was found in it.
fn run<T: Serialize>(network: impl Future<Output = Result<T>>) -> Result<()> {
    let found = System::new().block_on(network)?;
    println!("{}", serde_json::to_string(&found)?);
    // Without the orderly end of the nodes, which nobody waits for.
    process::exit(0);
}

async fn start(key: NodeKey, config: NodeConfig) -> Result<Overlay> {
    let node = Node::builder().config(config).key(key);
    Ok(Overlay::start(node, OverlayConfig::default()).await?)
}
