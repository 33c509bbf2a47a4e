//! A chat: what you type, every connected node sees.
//!
//! `cargo run --example chat -- ann` in one terminal, and in another
//! `cargo run --example chat -- ben 127.0.0.1:PORT` with the port that the first one printed.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "an example"
)]

use std::{env, error::Error};

use actix::prelude::*;
use peerage::{Node, NodeHandle, PeerEvent, PeerMessage, Received};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// One line of chat. On the wire: `{"msgtype":"chat","name":"ann","text":"hello"}`.
#[derive(Serialize, Deserialize)]
struct Chat {
    name: String,
    text: String,
}

impl PeerMessage for Chat {
    const MSGTYPE: &'static str = "chat";
}

/// Prints what others say, and who comes and goes.
struct Screen;

impl Actor for Screen {
    type Context = Context<Self>;
}

impl Handler<Received<Chat>> for Screen {
    type Result = ();

    fn handle(&mut self, chat: Received<Chat>, _: &mut Context<Self>) {
        // Whatever a stranger sends may hold terminal control codes: print it escaped.
        let Chat { name, text } = &chat.message;
        println!("{} ({}): {}", name.escape_debug(), chat.sender().short(), text.escape_debug());
    }
}

impl Handler<PeerEvent> for Screen {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, _: &mut Context<Self>) {
        match event {
            PeerEvent::Up(peer) => println!("* {} is here", peer.info.id.short()),
            PeerEvent::Changed(_) => {}
            PeerEvent::Down { peer, reason } => {
                println!("* {} left: {reason}", peer.info.id.short())
            }
        }
    }
}

async fn chat(name: String, others: Vec<String>) -> Result<(), Box<dyn Error>> {
    let mut builder = Node::builder().listen("127.0.0.1:0".parse()?);
    for other in others {
        builder = builder.bootstrap(other.parse()?);
    }
    let node: NodeHandle = builder.start().await?;
    let screen = Screen.start();
    node.register::<Chat>(screen.clone().recipient())?;
    node.subscribe(screen.recipient()).await;
    println!("join with: cargo run --example chat -- NAME {}", node.listen_addrs()[0]);

    let mut lines = BufReader::new(stdin()).lines();
    while let Some(text) = lines.next_line().await? {
        let sent = node.send_all(&Chat { name: name.clone(), text })?;
        if sent.refused > 0 {
            println!("* {} nodes are too slow and did not get it", sent.refused);
        }
    }
    node.stop().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "somebody".to_owned());
    actix_rt::System::new().block_on(chat(name, args.collect()))
}
