//! The node's side: peerage itself, built from the crate's public API and set up for the benchmark.

use std::{future::pending, time::Duration};

use actix::prelude::*;
use peerage::{HostPort, Node, NodeConfig, NodeHandle, NodeId, PeerMessage, Received};
use serde::{Deserialize, Serialize};

use crate::{Result, wire};

/// Sessions and unfinished handshakes above what any load opens.
const ROOM: usize = 20_000;

#[derive(Debug, Serialize, Deserialize)]
struct Fan {
    text: String,
}

impl PeerMessage for Fan {
    const MSGTYPE: &'static str = "fan";
}

/// Sends what a peer says to all others, as an extension would.
struct Fanner {
    node: NodeHandle,
}

impl Actor for Fanner {
    type Context = Context<Self>;
}

impl Handler<Received<Fan>> for Fanner {
    type Result = ();

    fn handle(&mut self, fan: Received<Fan>, _: &mut Context<Self>) {
        match fan.message.encode() {
            Ok(line) => drop(self.node.send_encoded(&line, Some(fan.sender()))),
            Err(error) => tracing::error!(%error, "not encoded"),
        }
    }
}

/// Lines that a session may bring at once, and in a second. The bucket is asked for every line as it always
/// is, but never runs dry.
const LINE_BURST: u32 = 1_000_000;
const LINES_PER_SECOND: u32 = 100_000_000;

/// Runs a node as a server child until stdin closes. Its limits are above what the loads use; it
/// knows [`wire::book`] and dials nothing.
pub(crate) fn serve(workers: usize) -> Result<()> {
    wire::exit_when_stdin_closes()?;
    let mut config =
        NodeConfig { listen: vec!["127.0.0.1:0".parse()?], workers, ..NodeConfig::default() };
    config.limits.max_inbound = ROOM;
    config.limits.max_unfinished = ROOM;
    config.session.message_burst = LINE_BURST;
    config.session.messages_per_second = LINES_PER_SECOND;
    config.discovery.target_peers = 0;
    config.discovery.spare_interval = Duration::ZERO;
    config.liveness.dead_after = Duration::from_secs(3600);
    let book = wire::book().into_iter();
    let book = book.map(|(addr, id)| (HostPort::from(addr), NodeId::from_u128(id.as_u128())));
    actix_rt::System::new().block_on(async {
        let node = Node::builder().config(config).proven(book.collect()).start().await?;
        let fanner = Fanner { node: node.clone() }.start();
        node.register(fanner.recipient())?;
        let listen = node.listen_addrs().iter().find_map(HostPort::socket_addr);
        wire::announce(listen.ok_or("the node does not listen")?)?;
        pending::<Result<()>>().await
    })
}
