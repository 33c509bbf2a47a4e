//! A chat with rooms and private messages: what you type, everybody in your room sees, wherever in
//! the network they are.
//!
//! `cargo run --example chat -- ann` in one terminal, and in another
//! `cargo run --example chat -- ben 127.0.0.1:PORT` with the port that the first one printed. Then
//! type; `/help` says what else there is.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "an example"
)]

use std::{collections::BTreeMap, env, error::Error};

use actix::prelude::*;
use peerage::{
    Node, NodeId, PeerEvent, PeerMessage,
    overlay::{Overlay, OverlayConfig, Published, Routed, Topic},
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

const HELP: &str = "\
* /join ROOM       go to another room; /leave goes back to the lobby
* /msg WHO TEXT    say something to one alone: a name, or the beginning of an id
* /who             who has been heard of
* /quit            leave";

/// One line of chat, to a room or to one node. On the wire inside of what is signed:
/// `{"msgtype":"chat","name":"ann","text":"hello"}`.
#[derive(Serialize, Deserialize)]
struct Chat {
    name: String,
    text: String,
}

impl PeerMessage for Chat {
    const MSGTYPE: &'static str = "chat";
}

/// Prints what others say, and remembers who they are.
#[derive(Default)]
struct Screen {
    names: BTreeMap<NodeId, String>,
}

impl Screen {
    /// Whatever a stranger sends may hold terminal control codes: print it escaped.
    fn say(&mut self, from: NodeId, how: &str, Chat { name, text }: &Chat) {
        println!("[{how}] {} ({}): {}", name.escape_debug(), from.short(), text.escape_debug());
        self.names.insert(from, name.clone());
    }
}

impl Actor for Screen {
    type Context = Context<Self>;
}

/// What is said in the room.
impl Handler<Published<Chat>> for Screen {
    type Result = ();

    fn handle(&mut self, chat: Published<Chat>, _: &mut Context<Self>) {
        self.say(chat.origin, chat.topic.name(), &chat.message);
    }
}

/// What is said to us alone. Nobody on the way can read it.
impl Handler<Routed<Chat>> for Screen {
    type Result = ();

    fn handle(&mut self, chat: Routed<Chat>, _: &mut Context<Self>) {
        self.say(chat.from, "to you alone", &chat.message);
    }
}

/// Our own sessions, which are only some of the nodes that are there.
impl Handler<PeerEvent> for Screen {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, _: &mut Context<Self>) {
        match event {
            PeerEvent::Up(peer) => println!("* session with {}", peer.info.id.short()),
            PeerEvent::Changed(_) => {}
            PeerEvent::Down { peer, reason } => {
                println!("* no session with {} any more: {reason}", peer.info.id.short());
            }
        }
    }
}

/// Asks who has been heard of.
#[derive(Message)]
#[rtype(result = "Vec<(NodeId, String)>")]
struct Who;

impl Handler<Who> for Screen {
    type Result = Vec<(NodeId, String)>;

    fn handle(&mut self, _: Who, _: &mut Context<Self>) -> Self::Result {
        self.names.iter().map(|(id, name)| (*id, name.clone())).collect()
    }
}

/// Somebody at a keyboard.
struct Chatter {
    overlay: Overlay,
    screen: Addr<Screen>,
    name: String,
    room: Topic,
}

impl Chatter {
    /// Does what was typed. Whether to go on.
    async fn typed(&mut self, line: &str) -> Result<bool, Box<dyn Error>> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "/quit" => return Ok(false),
            "/help" => println!("{HELP}"),
            "/join" => self.go_to(rest)?,
            "/leave" => self.go_to("lobby")?,
            "/who" => {
                for (id, name) in self.screen.send(Who).await? {
                    println!("* {} is {id}", name.escape_debug());
                }
            }
            "/msg" => match rest.split_once(' ') {
                Some((who, text)) => self.whisper(who, text).await?,
                None => println!("* /msg WHO TEXT"),
            },
            _ if line.is_empty() => {}
            _ => {
                if let Err(refused) = self.overlay.publish(&self.room, &self.chat(line)).await {
                    println!("* not said: {refused}");
                }
            }
        }
        Ok(true)
    }

    fn chat(&self, text: &str) -> Chat {
        Chat { name: self.name.clone(), text: text.to_owned() }
    }

    fn go_to(&mut self, room: &str) -> Result<(), Box<dyn Error>> {
        match Topic::new(room) {
            Ok(room) => {
                self.overlay.unsubscribe(&self.room);
                self.room = room;
                let screen = self.screen.clone().recipient::<Published<Chat>>();
                self.overlay.subscribe(&self.room, screen)?;
                println!("* you are in {}", self.room);
            }
            Err(error) => println!("* {error}"),
        }
        Ok(())
    }

    /// Says something to one node, and tells what became of it.
    async fn whisper(&self, who: &str, text: &str) -> Result<(), Box<dyn Error>> {
        let known = self.screen.send(Who).await?;
        let is_meant =
            |(id, name): &&(NodeId, String)| name == who || id.to_string().starts_with(who);
        let id = match who.parse() {
            Ok(id) => id,
            Err(_) => match known.iter().filter(is_meant).collect::<Vec<_>>()[..] {
                [(id, _)] => *id,
                [] => {
                    println!("* nobody has been heard of by that name or id");
                    return Ok(());
                }
                _ => {
                    println!("* that may be several: /who tells their ids");
                    return Ok(());
                }
            },
        };
        match self.overlay.send(id, &self.chat(text)).await {
            Ok(done) => println!("* delivered in {:?}, over {} steps", done.rtt, done.hops),
            Err(why) => println!("* not delivered: {why}"),
        }
        Ok(())
    }
}

async fn chat(name: String, others: Vec<String>) -> Result<(), Box<dyn Error>> {
    let mut builder = Node::builder().listen("127.0.0.1:0".parse()?);
    for other in others {
        builder = builder.bootstrap(other.parse()?);
    }
    let overlay = Overlay::start(builder, OverlayConfig::default()).await?;
    let screen = Screen::default().start();
    overlay.register::<Chat>(screen.clone().recipient())?;
    overlay.node().subscribe(screen.clone().recipient()).await;
    println!("you are {}", overlay.id());
    println!("join with: cargo run --example chat -- NAME {}", overlay.node().listen_addrs()[0]);

    let mut chatter = Chatter { overlay, screen, name, room: Topic::new("lobby")? };
    chatter.go_to("lobby")?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if !chatter.typed(line.trim_end()).await? {
            break;
        }
    }
    chatter.overlay.stop().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "somebody".to_owned());
    actix_rt::System::new().block_on(chat(name, args.collect()))
}
