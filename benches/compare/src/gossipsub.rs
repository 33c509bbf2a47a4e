//! rust-libp2p's side: swarms with gossipsub over TCP, Noise and yamux, its defaults wherever there is one.
//!
//! What differs from the defaults: idle links are kept (gossipsub keeps only those of its mesh, and closes
//! the others after ten seconds), and nodes with Kademlia serve its queries from the start, since nobody
//! could find out by dialling back that they are reachable on loopback.

mod node;
mod transform;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use libp2p::{
    Multiaddr, PeerId, Swarm,
    gossipsub::{Config, IdentTopic},
    swarm::dial_opts::DialOpts,
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_local,
};

use self::node::{Behaviour, Command};
use crate::{
    Result,
    drive::{Look, Network},
    plan::Plan,
    tally::Shared,
};

/// Commands that wait for a node. The bench gives one at a time.
const COMMANDS: usize = 16;

/// How the nodes come to know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Each dials this many others, chosen at random; two nodes never dial each other.
    Handful(usize),
    /// Of any two nodes, one dials the other.
    All,
    /// All dial the first; Kademlia finds the others.
    Bootstrap,
}

/// Fifty swarms, say, each in a task of its own.
#[derive(Debug)]
pub(crate) struct Swarms {
    nodes: Vec<mpsc::Sender<Command>>,
    copies: Arc<AtomicU64>,
    mesh_n_low: usize,
}

impl Swarms {
    /// Has all nodes listen, then dial whom they are to.
    pub(crate) async fn start(plan: &Plan, links: Links, tally: &Shared) -> Result<Self> {
        let copies = Arc::new(AtomicU64::new(0));
        let topic = IdentTopic::new("compare");
        let with_kad = links == Links::Bootstrap;
        let mut swarms = Vec::new();
        for _ in 0..plan.nodes {
            let mut swarm = node::build(with_kad, &copies)?;
            swarm.behaviour_mut().gossip.subscribe(&topic)?;
            swarms.push(swarm);
        }
        let mut places = Vec::new();
        for swarm in &mut swarms {
            places.push((*swarm.local_peer_id(), node::listen(swarm).await?));
        }
        for (from, to) in pairs(plan, links) {
            if let (Some(swarm), Some(place)) = (swarms.get_mut(from), places.get(to)) {
                dial(swarm, place)?;
            }
        }
        let mut nodes = Vec::new();
        for (number, swarm) in swarms.into_iter().enumerate() {
            let (tell, told) = mpsc::channel(COMMANDS);
            spawn_local(node::run(number, swarm, topic.clone(), told, tally.clone()));
            nodes.push(tell);
        }
        Ok(Self { nodes, copies, mesh_n_low: Config::default().mesh_n_low() })
    }

    /// Gives a node a command and waits for the answer.
    async fn ask<A>(
        &self,
        node: usize,
        command: impl FnOnce(oneshot::Sender<A>) -> Command,
    ) -> Result<A> {
        let (answer, answered) = oneshot::channel();
        let node = self.nodes.get(node).ok_or("no such node")?;
        node.send(command(answer)).await.map_err(|_full| "a node has ended")?;
        Ok(answered.await?)
    }
}

impl Network for Swarms {
    async fn look(&self) -> Result<Vec<Look>> {
        let mut looks = Vec::new();
        for node in 0..self.nodes.len() {
            looks.push(self.ask(node, Command::Look).await?);
        }
        Ok(looks)
    }

    fn has_joined(&self, look: &Look) -> bool {
        look.mesh >= Some(self.mesh_n_low)
    }

    async fn publish(&self, node: usize, payload: Vec<u8>) -> Result<()> {
        Ok(self.ask(node, |answer| Command::Publish(payload, answer)).await??)
    }

    async fn copies(&self) -> Result<u64> {
        Ok(self.copies.load(Ordering::Relaxed))
    }
}

/// Who dials whom.
fn pairs(plan: &Plan, links: Links) -> Vec<(usize, usize)> {
    let nodes = plan.nodes as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    match links {
        Links::Bootstrap => (1..nodes).map(|from| (from, 0)).collect(),
        Links::All => {
            let mut pairs = Vec::new();
            for to in 0..nodes {
                for from in to + 1..nodes {
                    // gossipsub wants some of its mesh to be nodes that it has dialled itself.
                    pairs.push(if rng.random() { (from, to) } else { (to, from) });
                }
            }
            pairs
        }
        Links::Handful(dials) => {
            let mut pairs = BTreeSet::new();
            for from in 0..nodes {
                let mut others: Vec<usize> =
                    (0..nodes).filter(|&to| to != from && !pairs.contains(&(to, from))).collect();
                others.shuffle(&mut rng);
                pairs.extend(others.into_iter().take(dials).map(|to| (from, to)));
            }
            pairs.into_iter().collect()
        }
    }
}

fn dial(swarm: &mut Swarm<Behaviour>, (peer, addr): &(PeerId, Multiaddr)) -> Result<()> {
    if let Some(kad) = swarm.behaviour_mut().kad.as_mut() {
        kad.add_address(peer, addr.clone());
        kad.bootstrap()?;
    }
    Ok(swarm.dial(DialOpts::peer_id(*peer).addresses(vec![addr.clone()]).build())?)
}
