//! peerage's side: nodes over TCP with encryption, its defaults wherever there is one.
//!
//! What differs from the defaults: one worker, so that all is on this thread. All nodes but the first
//! have that one as their bootstrap, and know nobody else.

use std::{cell::Cell, rc::Rc};

use actix::prelude::*;
use bytes::Bytes;
use peerage::{
    Node, NodeConfig, PeerEvent, PeerMessage,
    overlay::{Overlay, OverlayConfig, Published, Topic},
};
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    drive::{Look, Network},
    plan::Plan,
    tally::Shared,
};

/// What goes to everybody. The payload goes along with it.
#[derive(Debug, Serialize, Deserialize)]
struct News {}

impl PeerMessage for News {
    const MSGTYPE: &'static str = "news";
}

/// One node, and how many peers it has.
#[derive(Debug)]
struct Member {
    overlay: Overlay,
    peers: Rc<Cell<usize>>,
}

/// Fifty nodes, say, with their overlays.
#[derive(Debug)]
pub(crate) struct Overlays {
    members: Vec<Member>,
    topic: Topic,
    /// Peers that a node looks for, or all the others if they are fewer.
    wanted: usize,
}

impl Overlays {
    /// Starts all nodes, the bootstrap first.
    pub(crate) async fn start(plan: &Plan, tally: &Shared) -> Result<Self> {
        let topic = Topic::new("compare")?;
        let mut config = NodeConfig {
            listen: vec!["127.0.0.1:0".parse()?],
            workers: 1,
            ..NodeConfig::default()
        };
        let wanted = config.discovery.target_peers.min(plan.nodes as usize - 1);
        let mut members = Vec::new();
        for number in 0..plan.nodes as usize {
            let builder = Node::builder().config(config.clone());
            let overlay = Overlay::start(builder, OverlayConfig::default()).await?;
            let peers = Rc::new(Cell::new(0));
            let ear = Ear { number, peers: Rc::clone(&peers), tally: tally.clone() }.start();
            overlay.node().subscribe(ear.clone().recipient()).await;
            overlay.subscribe::<News>(&topic, ear.recipient())?;
            if config.bootstrap.is_empty() {
                let first =
                    overlay.node().listen_addrs().first().ok_or("the first has no address")?;
                config.bootstrap.push(first.clone().into());
            }
            members.push(Member { overlay, peers });
        }
        Ok(Self { members, topic, wanted })
    }
}

impl Network for Overlays {
    async fn look(&self) -> Result<Vec<Look>> {
        let look = |member: &Member| Look { links: member.peers.get(), mesh: None };
        Ok(self.members.iter().map(look).collect())
    }

    fn has_joined(&self, look: &Look) -> bool {
        look.links >= self.wanted
    }

    async fn publish(&self, node: usize, payload: Vec<u8>) -> Result<()> {
        let Member { overlay, .. } = self.members.get(node).ok_or("no such node")?;
        overlay.publish_with(&self.topic, &News {}, Bytes::from(payload)).await?;
        Ok(())
    }

    async fn copies(&self) -> Result<u64> {
        let mut copies = 0;
        for Member { overlay, .. } in &self.members {
            copies += overlay.stats().await.broadcast.gossip.received;
        }
        Ok(copies)
    }
}

/// A node's application.
#[derive(Debug)]
struct Ear {
    number: usize,
    peers: Rc<Cell<usize>>,
    tally: Shared,
}

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<Published<News>> for Ear {
    type Result = ();

    fn handle(&mut self, news: Published<News>, _: &mut Context<Self>) {
        self.tally.delivered(self.number, &news.attachment);
    }
}

impl Handler<PeerEvent> for Ear {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, _: &mut Context<Self>) {
        let peers = self.peers.get();
        match event {
            PeerEvent::Up(_) => self.peers.set(peers + 1),
            PeerEvent::Down { .. } => self.peers.set(peers.saturating_sub(1)),
            PeerEvent::Changed(_) => {}
        }
    }
}
