//! One swarm, and the task that it lives in.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, StreamProtocol, Swarm, SwarmBuilder,
    gossipsub::{
        self, AllowAllSubscriptionFilter, IdentTopic, MaxCountSubscriptionFilter,
        MessageAuthenticity, PublishError,
    },
    identify,
    identity::Keypair,
    kad::{self, store::MemoryStore},
    noise,
    swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
    tcp, yamux,
};
use tokio::sync::{mpsc, oneshot};

use super::transform::Counting;
use crate::{Result, drive::Look, tally::Shared};

/// Longer than any run: links are kept, whether the mesh uses them or not.
const KEEP: Duration = Duration::from_secs(24 * 3600);

/// gossipsub as its `new` makes it, but for the counter.
type Gossip =
    gossipsub::Behaviour<Counting, MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) gossip: Gossip,
    pub(crate) kad: Toggle<kad::Behaviour<MemoryStore>>,
    identify: Toggle<identify::Behaviour>,
}

/// What the bench wants of a node.
#[derive(Debug)]
pub(crate) enum Command {
    Publish(Vec<u8>, oneshot::Sender<std::result::Result<(), PublishError>>),
    Look(oneshot::Sender<Look>),
}

/// A swarm that does nothing yet.
pub(crate) fn build(with_kad: bool, copies: &Arc<AtomicU64>) -> Result<Swarm<Behaviour>> {
    let copies = Arc::clone(copies);
    let swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| behaviour(key, with_kad, copies))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(KEEP))
        .build();
    Ok(swarm)
}

fn behaviour(
    key: &Keypair,
    with_kad: bool,
    copies: Arc<AtomicU64>,
) -> std::result::Result<Behaviour, Box<dyn std::error::Error + Send + Sync>> {
    let gossip = Gossip::new_with_subscription_filter_and_transform(
        MessageAuthenticity::Signed(key.clone()),
        gossipsub::Config::default(),
        MaxCountSubscriptionFilter::default(),
        Counting { copies },
    )?;
    let id = key.public().to_peer_id();
    let kad = with_kad.then(|| {
        let config = kad::Config::new(StreamProtocol::new("/compare/kad/1.0.0"));
        let mut kad = kad::Behaviour::with_config(id, MemoryStore::new(id), config);
        kad.set_mode(Some(kad::Mode::Server));
        kad
    });
    let identify = with_kad.then(|| {
        let config = identify::Config::new("/compare/1.0.0".to_owned(), key.public());
        identify::Behaviour::new(config)
    });
    Ok(Behaviour { gossip, kad: kad.into(), identify: identify.into() })
}

/// Has a swarm listen on loopback, and says where it does.
pub(crate) async fn listen(swarm: &mut Swarm<Behaviour>) -> Result<Multiaddr> {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => return Ok(address),
            SwarmEvent::ListenerError { error, .. } => return Err(error.into()),
            SwarmEvent::ListenerClosed { .. } => return Err("a node does not listen".into()),
            _ => {}
        }
    }
}

/// Drives a swarm until the bench gives no more commands.
pub(crate) async fn run(
    number: usize,
    mut swarm: Swarm<Behaviour>,
    topic: IdentTopic,
    mut commands: mpsc::Receiver<Command>,
    tally: Shared,
) {
    loop {
        tokio::select! {
            event = swarm.select_next_some() => hear(number, &mut swarm, event, &tally),
            command = commands.recv() => match command {
                Some(command) => obey(&mut swarm, &topic, command),
                None => return,
            },
        }
    }
}

fn hear(
    number: usize,
    swarm: &mut Swarm<Behaviour>,
    event: SwarmEvent<BehaviourEvent>,
    tally: &Shared,
) {
    match event {
        SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
            message,
            ..
        })) => tally.delivered(number, &message.data),
        SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
            peer_id,
            info,
            ..
        })) => {
            if let Some(kad) = swarm.behaviour_mut().kad.as_mut() {
                for addr in info.listen_addrs {
                    kad.add_address(&peer_id, addr);
                }
            }
        }
        // What goes wrong is seen by what does not arrive.
        _ => {}
    }
}

fn obey(swarm: &mut Swarm<Behaviour>, topic: &IdentTopic, command: Command) {
    // Nobody waits for the answer any more when the run has been given up.
    match command {
        Command::Publish(payload, answer) => {
            let done = swarm.behaviour_mut().gossip.publish(topic.clone(), payload);
            answer.send(done.map(drop)).ok();
        }
        Command::Look(answer) => {
            let links = swarm.connected_peers().count();
            let mesh = swarm.behaviour().gossip.mesh_peers(&topic.hash()).count();
            answer.send(Look { links, mesh: Some(mesh) }).ok();
        }
    }
}
