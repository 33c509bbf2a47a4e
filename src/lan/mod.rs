//! Finds the nodes of the same network on the local network, and is found by them: an extension, on the
//! public crate API alone.
//!
//! It announces where this node listens by multicast DNS (RFC 6762, RFC 6763) as `_peerage._tcp.local.`, and
//! looks for others that do. Whatever anybody announces there is hearsay: it goes into the address book with
//! the source [`FINDER`], is dialled as any other, and is believed and told to others only when the node has
//! proven itself. `docs/OPERATIONS.md` says what others can see.
//!
//! `announcement` is what is said and how what others say is judged; `lookout` is what is handed over when, and
//! all bounds. Both are pure. `daemon` is the thread of mdns-sd.

mod announcement;
mod daemon;
mod lookout;

use std::time::Duration;

use actix_rt::task::JoinHandle;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use self::{
    announcement::{Realm, Scope, Service, services, text},
    daemon::{Daemon, Heard, Trouble},
    lookout::Lookout,
};
use crate::{
    Decision, Finder, Kind, NetworkKey, NodeConfig, NodeHandle, NotTaken, clock::Moment,
    proto::back_off::BackOff,
};

/// The source, in the address book, of what was found here.
pub const FINDER: &str = "lan";

/// The UDP port of multicast DNS.
pub const MDNS_PORT: u16 = 5353;

/// The pause after a first failure, after which it is tried again. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// After a search of this length failures are forgotten.
const LASTING: Duration = Duration::from_secs(600);

/// How long it may take to announce something before that is noted.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked how much mdns-sd remembers.
const LOOK: Duration = Duration::from_secs(5);

/// With more records than this, mdns-sd is ended and started anew after a pause: it has no bound of its own
/// for what others announce.
const MAX_RECORDS: u64 = 16_384;

/// How long [`Lan::stop`] waits.
const STOP: Duration = Duration::from_secs(1);

/// Of which network the nodes are that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanConfig {
    /// The name of the network.
    pub network: String,
    /// The key of a private one. What is announced then names the network only to those who have it.
    pub key: Option<NetworkKey>,
    /// The UDP port: [`MDNS_PORT`], but for tests, which want to be among themselves.
    pub port: u16,
}

impl LanConfig {
    /// That of a node which is started with this.
    #[must_use]
    pub fn of(config: &NodeConfig) -> Self {
        let key = config.trust.network_key.clone();
        Self { network: config.network.clone(), key, port: MDNS_PORT }
    }
}

/// A search on the local network that goes on. To drop it ends it.
#[derive(Debug)]
pub struct Lan {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Lan {
    /// Searches for a node, and announces it if it listens. Nodes that listen on loopback alone search and are
    /// announced only there; all others leave loopback alone. What goes wrong is logged, and noted in the
    /// node's journal as `extension` with a reason that begins with `lan-`; it is tried again, less and less often.
    ///
    /// Must be called in an actix system. [`stop`](Self::stop) it before the node, or at the same time.
    #[must_use]
    pub fn start(node: &NodeHandle, config: &LanConfig) -> Self {
        let (stop, stopped) = watch::channel(false);
        let listening = node.listen_addrs();
        let scope = Scope::of(listening);
        let realm = Realm::of(&config.network, config.key.as_ref());
        let search = Search {
            port: config.port,
            scope,
            services: services(listening, scope),
            text: text(node.id(), &realm),
            lookout: Lookout::new(node.id(), realm, scope, node.clock().now()),
            node: node.clone(),
            stop: stopped,
        };
        Self { stop, task: actix_rt::spawn(search.keep()) }
    }

    /// Says goodbye for what was announced, so that others need not find out, and ends the search.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if timeout(STOP, self.task).await.is_err() {
            tracing::warn!("the search on the local network did not end in time");
        }
    }
}

struct Search {
    node: NodeHandle,
    port: u16,
    scope: Scope,
    services: Vec<Service>,
    text: Vec<(&'static str, String)>,
    lookout: Lookout,
    stop: watch::Receiver<bool>,
}

impl Search {
    async fn keep(mut self) {
        let mut back_off = BackOff::new(FIRST_PAUSE, LONGEST_PAUSE, LASTING);
        loop {
            let began = self.now();
            let Err(trouble) = self.run().await else { return };
            let pause = back_off.after(self.now().since(began));
            tracing::warn!(again_in = ?pause, "no search on the local network: {}", trouble.detail);
            let seconds = pause.as_secs();
            let note = Decision::new(self.now(), Kind::Extension, trouble.code);
            self.node.note(note.detail(trouble.detail).number("again_in_s", seconds));
            tokio::select! {
                () = sleep(pause) => {}
                () = no_longer_wanted(&mut self.stop) => return,
            }
        }
    }

    /// One run of mdns-sd, until this is not wanted any more.
    async fn run(&mut self) -> Result<(), Trouble> {
        let name = self.node.id().to_string();
        let daemon = Daemon::start(self.port, self.scope, &name, &self.services, &self.text)?;
        let ended = self.listen(&daemon).await;
        daemon.stop().await;
        ended
    }

    async fn listen(&mut self, daemon: &Daemon) -> Result<(), Trouble> {
        let mut look_at = self.now() + LOOK;
        let mut announced_by = (!self.services.is_empty()).then(|| self.now() + ANNOUNCED_WITHIN);
        loop {
            if !self.hand_over().await? {
                return Ok(());
            }
            let now = self.now();
            if announced_by.is_some_and(|by| by <= now) {
                announced_by = None;
                self.say_that_nobody_hears();
            }
            if look_at <= now {
                look_at = now + LOOK;
                check(daemon.remembered().await)?;
            }
            let may_read_at = self.lookout.may_read_at(now);
            let is_fast = may_read_at > now;
            let times = [self.lookout.deadline(now), announced_by, is_fast.then_some(may_read_at)];
            let wake = times.into_iter().flatten().fold(look_at, Moment::min);
            tokio::select! {
                heard = daemon.next(), if !is_fast => {
                    let now = self.now();
                    self.lookout.read(now);
                    match heard {
                        Heard::Seen(sighting) => self.lookout.seen(now, sighting),
                        Heard::Gone(name) if self.lookout.gone(&name) => {
                            tracing::debug!(name, "gone from the local network");
                        }
                        Heard::Announced => announced_by = None,
                        Heard::Gone(_) | Heard::Nothing => {}
                        Heard::Over => {
                            return Err(Trouble::new("lan-ended", "mdns-sd has ended, or was flooded"));
                        }
                    }
                }
                () = sleep(wake.since(now)) => {}
                () = no_longer_wanted(&mut self.stop) => return Ok(()),
            }
        }
    }

    /// Hands over what is due. What is not taken discovery notes. Whether there is still a node to hand it to.
    async fn hand_over(&mut self) -> Result<bool, Trouble> {
        let finder = Finder::new(FINDER).map_err(|error| Trouble::new("lan-not-started", error))?;
        let now = self.now();
        for finding in self.lookout.due(now) {
            match self.node.found(finder, finding.clone()).await {
                Ok(is_new) => {
                    tracing::debug!(addr = %finding.addr, is_new, "found on the local network")
                }
                Err(NotTaken::Stopping) => return Ok(false),
                Err(why) => {
                    tracing::debug!(addr = %finding.addr, why = why.code(), "found and not taken");
                }
            }
        }
        if let Some(note) = self.lookout.note(now) {
            self.node.note(note);
        }
        Ok(true)
    }

    fn say_that_nobody_hears(&self) {
        let detail =
            "nothing was announced yet: no network interface of this machine takes multicast";
        tracing::warn!("{detail}");
        self.node.note(Decision::new(self.now(), Kind::Extension, "lan-silent").detail(detail));
    }

    fn now(&self) -> Moment {
        self.node.clock().now()
    }
}

/// Whether mdns-sd lives, and remembers no more than it should.
fn check(remembered: Option<u64>) -> Result<(), Trouble> {
    match remembered {
        None => Err(Trouble::new("lan-ended", "mdns-sd does not answer")),
        Some(n) if n > MAX_RECORDS => Err(Trouble::new(
            "lan-flooded",
            format!("{n} records were announced; all were forgotten"),
        )),
        Some(_) => Ok(()),
    }
}

/// Resolves when nobody wants the search any more.
async fn no_longer_wanted(stop: &mut watch::Receiver<bool>) {
    // Nobody holds it any more: that says the same.
    let _dropped = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_silent_or_remembers_too_much_is_ended() {
        assert_eq!(check(Some(MAX_RECORDS)), Ok(()));
        let code = |remembered| check(remembered).unwrap_err().code;
        assert_eq!([code(None), code(Some(MAX_RECORDS + 1))], ["lan-ended", "lan-flooded"]);
    }

    #[test]
    fn the_source_has_a_name_that_the_book_takes() {
        assert_eq!(Finder::new(FINDER).unwrap().name(), FINDER);
    }
}
