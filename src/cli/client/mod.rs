//! The commands that talk to a running node: each asks its control API, and has the answer printed.

mod data;
mod http;
mod stream;

use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
    thread,
    time::Duration,
};

use peerage::control::model::{
    Addresses, AskRequest, BanEntry, BanRequest, Bans, Changed, Delivered, DialRequest, Dialled,
    DisconnectRequest, Event, NodeInfo, Peers, PublishRequest, Published, SendRequest,
    TargetRequest, Why,
};
use serde::{Serialize, de::DeserializeOwned};

pub(super) use self::http::{Client, dialable};
use super::{
    args::ClientVerb,
    error::{Failure, UsageError},
    print::{self, node as show, paint::Paint, why::why},
};

/// How often `peers --watch` looks.
const WATCH: Duration = Duration::from_secs(2);

/// The longest text that is read from stdin, in bytes: what one message holds.
const MAX_TEXT: u64 = 64 * 1024;

/// Does one command, at the node of this data directory if no other is named.
pub(crate) fn run(verb: ClientVerb, data_dir: PathBuf) -> Result<(), Failure> {
    let node = verb.node();
    let client = Client::to(&data_dir, node.api.as_deref(), node.api_token_file.as_deref())?;
    let asker = Asker { client, is_json: node.json };
    match verb {
        ClientVerb::Peers(args) if args.watch => asker.watch(),
        ClientVerb::Peers(_) => asker.show("/v1/peers", &[], show::peers),
        ClientVerb::Info(_) => asker.show::<NodeInfo>("/v1/node", &[], show::info),
        ClientVerb::Addrs(_) => asker.show::<Addresses>("/v1/addresses", &[], show::addresses),
        ClientVerb::Bans(_) => asker.show::<Bans>("/v1/bans", &[], show::bans),
        ClientVerb::Why(args) => asker.show::<Why>("/v1/why", &[("about", &args.about)], why),
        ClientVerb::Dial(args) => {
            let dial = DialRequest { addr: args.addr };
            asker.tell::<Dialled>("/v1/dial", &dial, |dialled, _| {
                format!("connected to {}\n", dialled.id)
            })
        }
        ClientVerb::Disconnect(args) => {
            let gone = DisconnectRequest { id: args.id };
            asker.tell::<Changed>("/v1/disconnect", &gone, |_, _| "disconnected\n".to_owned())
        }
        ClientVerb::Ban(args) => {
            let seconds = Some(args.lasts.as_secs());
            let ban = BanRequest { target: args.target, seconds, note: args.note };
            asker.tell::<BanEntry>("/v1/ban", &ban, show::banned)
        }
        ClientVerb::Unban(args) => {
            let target = TargetRequest { target: args.target };
            asker.tell::<Changed>("/v1/unban", &target, |done, _| {
                if done.changed { "unbanned\n" } else { "it was not banned\n" }.to_owned()
            })
        }
        ClientVerb::Send(args) => {
            let send = SendRequest { to: args.id, text: text(args.text)? };
            asker.tell::<Delivered>("/v1/send", &send, show::delivered)
        }
        ClientVerb::Publish(args) => {
            let publish = PublishRequest { topic: args.topic, text: text(args.text)? };
            asker.tell::<Published>("/v1/publish", &publish, |sent, _| {
                format!("published {}\n", sent.id)
            })
        }
        ClientVerb::Listen(args) => {
            asker.listen(&[("topics", &args.topic), ("only", "message,missed")], show::message)
        }
        ClientVerb::Events(args) => {
            let mut only = args.only.join(",");
            if only.is_empty() {
                return asker.listen(&[], show::event);
            }
            only.push_str(",missed");
            asker.listen(&[("only", &only)], show::event)
        }
        ClientVerb::Data(args) => data::run(&asker, args.verb),
        // It has the screen to itself.
        ClientVerb::Top(_) => Ok(()),
        ClientVerb::Ask(args) => {
            let limit = u64::try_from(args.limit.as_millis()).unwrap_or(u64::MAX);
            let tags = args.tags.iter().map(|tag| tag_of(tag)).collect::<Result<_, _>>()?;
            asker.ask(&AskRequest { text: text(args.text)?, tags, limit_ms: Some(limit) })
        }
    }
}

/// A tag as it is typed.
fn tag_of(text: &str) -> Result<(String, String), UsageError> {
    let tag = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    tag.ok_or_else(|| UsageError::Arguments(format!("{text:?} is not KEY=VALUE; see --help")))
}

/// The text, or what stdin says in place of `-`, without the newline at its end.
fn text(typed: String) -> Result<String, Failure> {
    if typed != "-" {
        return Ok(typed);
    }
    let failed = |source| Failure::System { what: "read the text from stdin", source };
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_TEXT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_TEXT {
        return Err(UsageError::Arguments("the text is longer than 64 KiB".to_owned()).into());
    }
    let mut text = String::from_utf8(bytes)
        .map_err(|_not_text| UsageError::Arguments("the text is not UTF-8".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// Asks the node, and prints.
struct Asker {
    client: Client,
    is_json: bool,
}

impl Asker {
    fn print<T: Serialize>(
        &self,
        answer: &T,
        show: impl Fn(&T, Paint) -> String,
    ) -> Result<(), Failure> {
        if self.is_json {
            let json = serde_json::to_string(answer).unwrap_or_default();
            return print::stdout(&format!("{json}\n"));
        }
        print::stdout(&show(answer, Paint::stdout()))
    }

    fn show<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        show: impl Fn(&T, Paint) -> String,
    ) -> Result<(), Failure> {
        self.print(&self.client.get::<T>(path, query)?, show)
    }

    fn tell<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        show: impl Fn(&T, Paint) -> String,
    ) -> Result<(), Failure> {
        self.print(&self.client.post::<T>(path, body)?, show)
    }

    fn watch(&self) -> Result<(), Failure> {
        loop {
            let peers: Peers = self.client.get("/v1/peers", &[])?;
            let text = if self.is_json {
                format!("{}\n", serde_json::to_string(&peers).unwrap_or_default())
            } else {
                let is_terminal = std::io::stdout().is_terminal();
                let clear = if is_terminal { print::CLEAR } else { "" };
                format!("{clear}{}", show::peers(&peers, Paint::stdout()))
            };
            if !print::piece(&text)? {
                return Ok(());
            }
            thread::sleep(WATCH);
        }
    }

    /// Prints events until nobody reads, or the node is gone.
    fn listen(
        &self,
        query: &[(&str, &str)],
        show: impl Fn(&Event, Paint) -> String,
    ) -> Result<(), Failure> {
        let paint = Paint::stdout();
        let from = ("/v1/events", query);
        stream::events::<Event>(&self.client, from, None, |json, event| match event {
            _ if self.is_json => print::piece(&format!("{json}\n")),
            Some(event) => print::piece(&show(event, paint)),
            // An event of a later version.
            None => Ok(true),
        })
    }

    fn ask(&self, question: &AskRequest) -> Result<(), Failure> {
        let paint = Paint::stdout();
        stream::ask(&self.client, question, |json, line| {
            print::piece(&if self.is_json {
                format!("{json}\n")
            } else {
                show::answer(&line, paint)
            })
        })
    }
}
