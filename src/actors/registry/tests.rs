//! The registry, driven by mock sessions alone.

use std::time::Duration;

use actix::prelude::*;

use super::*;
use crate::{
    actors::{discovery::BanNews, session::Control},
    config::LimitsConfig,
    ids::NodeId,
    peer::Direction,
    proto::{
        bans::{Ban, BanChange, BanError, Target, Verdict},
        journal::{Decision, JournalQuery, Kind},
    },
    reason::CloseReason,
    testkit::{FakeSession, Probe, TestRegistry, minimal_hello, settle},
    wire::{Encoded, Hello, Tags},
};

const ME: u128 = 50;

async fn peers(registry: &TestRegistry) -> Vec<(u128, u64)> {
    let peers = registry.addr.send(PeerList).await.unwrap();
    peers.iter().map(|peer| (peer.id.as_u128(), peer.link.0)).collect()
}

#[actix::test]
async fn a_greeted_session_is_admitted_listed_told_and_reachable() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let events = Probe::<PeerEvent>::start();
    registry.subscribe(events.recipient()).await;
    let session = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    assert_eq!(events.take().await.len(), 0, "a connection is no peer yet");
    session.greet(7);
    assert!(session.is_admitted().await);
    assert_eq!(peers(&registry).await, [(7, 1)]);
    assert!(matches!(events.expect().await, PeerEvent::Up(peer) if peer.handle.link().0 == 1));
    let id = NodeId::from_u128(7);
    registry.directory.send(id, &Encoded::PING).unwrap();
    assert_eq!(session.take_sent(), ["{\"msgtype\":\"ping\"}"]);

    session.close(CloseReason::Gone);
    let event = events.expect().await;
    assert!(matches!(event, PeerEvent::Down { reason: CloseReason::Gone, .. }));
    assert_eq!(peers(&registry).await, []);
    assert!(registry.directory.is_empty());
}

#[actix::test]
async fn a_late_subscriber_hears_of_the_peers_that_are_there() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    for n in 1..=3 {
        FakeSession::open(&registry.links(), n, Direction::Inbound).greet(u128::from(n));
    }
    settle().await;
    let events = Probe::<PeerEvent>::start();
    registry.subscribe(events.recipient()).await;
    assert_eq!(events.take().await.len(), 3);
}

#[actix::test]
async fn pongs_move_last_seen_and_rtt() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let session = FakeSession::open(&registry.links(), 1, Direction::Outbound);
    session.greet(7);
    tokio::time::sleep(Duration::from_secs(60)).await;
    session.pong(Duration::from_millis(20));
    settle().await;
    let peer = &registry.addr.send(PeerList).await.unwrap()[0];
    assert!(peer.last_seen.since(peer.since) >= Duration::from_secs(60));
    assert_eq!(peer.rtt.unwrap().last, Duration::from_millis(20));
}

#[actix::test]
async fn subscribers_hear_what_a_peer_says_of_itself_between_its_coming_and_its_going() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let events = Probe::<PeerEvent>::start();
    registry.subscribe(events.recipient()).await;
    let session = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    let tags = |value: &str| Tags::from([("region".to_owned(), value.to_owned())]);
    session.greet_with(Hello { tags: tags("eu"), ..minimal_hello(7) });
    session.say_tags(tags("eu"));
    session.say_tags(tags("us"));
    session.close(CloseReason::Gone);
    session.say_tags(tags("eu"));
    let told = events.take().await.into_iter().map(|event| match event {
        PeerEvent::Up(peer) => ("up", peer.info.tags),
        PeerEvent::Changed(peer) => ("changed", peer.info.tags),
        PeerEvent::Down { peer, .. } => ("down", peer.info.tags),
    });
    let expected = [("up", tags("eu")), ("changed", tags("us")), ("down", tags("us"))];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[actix::test]
async fn crossing_dials_end_with_the_session_of_the_lower_id() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let events = Probe::<PeerEvent>::start();
    registry.subscribe(events.recipient()).await;
    let theirs = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    let ours = FakeSession::open(&registry.links(), 2, Direction::Outbound);
    theirs.greet(99);
    ours.greet(99);
    assert_eq!(theirs.told_to_close().await.as_deref(), Some("duplicate"));
    assert!(ours.is_admitted().await);
    assert_eq!(peers(&registry).await, [(99, 2)]);
    let events = events.take().await;
    assert!(matches!(&events[..], [PeerEvent::Up(_), PeerEvent::Down { .. }, PeerEvent::Up(_)]));
    // The end of the loser changes nothing.
    theirs.close(CloseReason::Duplicate);
    assert_eq!(peers(&registry).await, [(99, 2)]);
}

#[actix::test]
async fn a_second_outbound_session_waits_and_is_closed_if_nobody_chooses_it() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let first = FakeSession::open(&registry.links(), 1, Direction::Outbound);
    let second = FakeSession::open(&registry.links(), 2, Direction::Outbound);
    first.greet(7);
    second.greet(7);
    assert_eq!(second.control.take().await.len(), 0);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(second.told_to_close().await.as_deref(), Some("duplicate"));
    assert!(first.is_admitted().await);
}

#[actix::test]
async fn our_own_id_and_one_too_many_are_told_to_close() {
    tokio::time::pause();
    let limits = LimitsConfig { max_inbound: 1, max_unfinished: 1, ..LimitsConfig::default() };
    let registry = TestRegistry::with_limits(ME, limits);
    let me = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    me.greet(ME);
    assert_eq!(me.told_to_close().await.as_deref(), Some("self"));
    FakeSession::open(&registry.links(), 2, Direction::Inbound).greet(2);
    let late = FakeSession::open(&registry.links(), 3, Direction::Inbound);
    late.greet(3);
    assert_eq!(late.told_to_close().await.as_deref(), Some("full"));
    let silent = FakeSession::open(&registry.links(), 4, Direction::Inbound);
    let _newer = FakeSession::open(&registry.links(), 5, Direction::Inbound);
    assert_eq!(silent.told_to_close().await.as_deref(), Some("full"));
}

#[actix::test]
async fn disconnecting_ends_the_session_with_the_given_reason() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let session = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    session.greet(7);
    let disconnect = |id| Disconnect { id: NodeId::from_u128(id), reason: CloseReason::Requested };
    assert!(!registry.addr.send(disconnect(8)).await.unwrap());
    assert!(registry.addr.send(disconnect(7)).await.unwrap());
    assert_eq!(session.told_to_close().await.as_deref(), Some("requested"));
    assert_eq!(peers(&registry).await, []);
}

#[actix::test]
async fn shutting_down_waits_for_the_last_link() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let session = FakeSession::open(&registry.links(), 1, Direction::Inbound);
    session.greet(7);
    let unfinished = FakeSession::open(&registry.links(), 2, Direction::Inbound);
    let down = tokio::task::spawn_local(registry.addr.send(ShutDown));
    assert_eq!(session.told_to_close().await.as_deref(), Some("shutdown"));
    assert_eq!(unfinished.told_to_close().await.as_deref(), Some("shutdown"));
    assert!(!down.is_finished());
    session.close(CloseReason::Shutdown);
    unfinished.close(CloseReason::Shutdown);
    assert!(down.await.unwrap().is_ok());
}

// --- Who is not wanted ----------------------------------------------------------------------

/// A store that keeps what it is told, as long as it can.
#[derive(Default, Clone)]
struct Store {
    kept: std::sync::Arc<parking_lot::Mutex<Vec<BanChange>>>,
    is_broken: bool,
}

impl Actor for Store {
    type Context = Context<Self>;
}

impl Handler<SaveBans> for Store {
    type Result = bool;

    fn handle(&mut self, SaveBans(changes): SaveBans, _: &mut Context<Self>) -> bool {
        if !self.is_broken {
            self.kept.lock().extend(changes);
        }
        !self.is_broken
    }
}

fn net(text: &str) -> Target {
    text.parse().unwrap()
}

fn ban_of(text: &str) -> BanTarget {
    BanTarget { target: net(text), lasts: Duration::from_secs(60), note: "why".to_owned() }
}

fn from(registry: &TestRegistry, link: u64, remote: &str) -> FakeSession {
    let remote = remote.parse().unwrap();
    FakeSession::open_from(&registry.links(), link, Direction::Inbound, remote)
}

async fn noted(registry: &TestRegistry, kind: Kind) -> Vec<Decision> {
    registry.journal(JournalQuery { kind: Some(kind), ..JournalQuery::default() }).await
}

#[actix::test]
async fn a_ban_closes_refuses_is_kept_and_ends() {
    tokio::time::pause();
    let store = Store::default();
    let recipient = store.clone().start().recipient();
    let registry = TestRegistry::with(ME, |setup| setup.store = Some(recipient));
    let news = Probe::<BanNews>::start();
    registry.addr.do_send(ReportBans(news.recipient()));
    let session = from(&registry, 1, "8.8.8.8:1");
    session.greet(7);
    let ban = registry.addr.send(ban_of("8.8.8.0/24")).await.unwrap().unwrap();
    assert_eq!(session.told_to_close().await.as_deref(), Some("banned"));
    assert_eq!(peers(&registry).await, []);
    assert_eq!(registry.addr.send(BanList).await.unwrap(), std::slice::from_ref(&ban));
    assert_eq!(*store.kept.lock(), [BanChange::Put(ban.clone())]);
    assert_eq!(news.expect().await.until, Some(ban.until));
    assert_eq!(from(&registry, 2, "8.8.8.9:1").told_to_close().await.as_deref(), Some("banned"));

    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(*store.kept.lock(), [BanChange::Put(ban.clone()), BanChange::Lifted(ban.target)]);
    assert_eq!(news.expect().await.until, None);
    let later = from(&registry, 3, "8.8.8.8:1");
    later.greet(7);
    assert!(later.is_admitted().await);
    assert_eq!(noted(&registry, Kind::Banned).await.len(), 1);
    assert_eq!(noted(&registry, Kind::BanExpired).await.len(), 1);
    let refused = noted(&registry, Kind::Refused).await;
    assert_eq!(refused[0].addr, Some("8.8.8.9:1".parse().unwrap()));
}

#[actix::test]
async fn a_ban_that_is_taken_back_holds_no_longer() {
    tokio::time::pause();
    let store = Store::default();
    let recipient = store.clone().start().recipient();
    let registry = TestRegistry::with(ME, |setup| setup.store = Some(recipient));
    registry.addr.send(ban_of("8.8.8.8")).await.unwrap().unwrap();
    assert!(!registry.addr.send(LiftBan(net("8.8.8.9"))).await.unwrap());
    assert!(registry.addr.send(LiftBan(net("8.8.8.8"))).await.unwrap());
    assert_eq!(store.kept.lock().last(), Some(&BanChange::Lifted(net("8.8.8.8"))));
    let session = from(&registry, 1, "8.8.8.8:1");
    session.greet(7);
    assert!(session.is_admitted().await);
    assert_eq!(noted(&registry, Kind::Unbanned).await.len(), 1);
    let ip = Some("8.8.8.8".parse().unwrap());
    let why = registry.journal(JournalQuery { ip, ..JournalQuery::default() }).await;
    let why: Vec<_> = why.iter().map(|decision| decision.kind).collect();
    assert_eq!(why, [Kind::Banned, Kind::Unbanned, Kind::SessionUp]);
}

#[actix::test]
async fn a_ban_that_cannot_be_kept_holds_for_this_run_and_says_so() {
    tokio::time::pause();
    let recipient = Store { is_broken: true, ..Store::default() }.start().recipient();
    let registry = TestRegistry::with(ME, |setup| setup.store = Some(recipient));
    let answer = registry.addr.send(ban_of("8.8.8.8")).await.unwrap();
    assert!(matches!(answer, Err(BanError::NotKept(ban)) if ban.target == net("8.8.8.8")));
    assert_eq!(from(&registry, 1, "8.8.8.8:1").told_to_close().await.as_deref(), Some("banned"));
    assert_eq!(noted(&registry, Kind::StoreFailed).await.len(), 1);
}

#[actix::test]
async fn bans_of_an_earlier_run_hold_and_what_has_ended_is_dropped_from_the_store() {
    tokio::time::pause();
    let store = Store::default();
    let recipient = store.clone().start().recipient();
    let registry = TestRegistry::with(ME, |setup| {
        let (now, note) = (setup.clock.now(), String::new());
        let ban = |text, until| Ban { target: net(text), since: now, until, note: note.clone() };
        setup.bans = vec![ban("8.8.8.8", now), ban("9.9.9.9", now + Duration::from_secs(9))];
        setup.store = Some(recipient);
    });
    settle().await;
    assert_eq!(*store.kept.lock(), [BanChange::Lifted(net("8.8.8.8"))]);
    assert_eq!(from(&registry, 1, "9.9.9.9:1").told_to_close().await.as_deref(), Some("banned"));
    let news = Probe::<BanNews>::start();
    registry.addr.do_send(ReportBans(news.recipient()));
    assert_eq!(news.take().await.len(), 1, "who listens late hears what holds");
}

#[actix::test]
async fn a_full_registry_lets_a_newcomer_from_elsewhere_in() {
    tokio::time::pause();
    let limits = LimitsConfig { max_inbound: 4, ..LimitsConfig::default() };
    let registry = TestRegistry::with_limits(ME, limits);
    let events = Probe::<PeerEvent>::start();
    registry.subscribe(events.recipient()).await;
    let addrs = std::sync::Arc::from([("7.7.7.7:7".parse().unwrap(), NodeId::from_u128(70))]);
    registry.addr.do_send(Elsewhere(addrs));
    let mut sessions = Vec::new();
    for n in 1..=4u64 {
        let session = from(&registry, n, &format!("8.8.{n}.1:1"));
        session.greet_proven(u128::from(n));
        assert!(session.is_admitted().await);
        sessions.push(session);
    }
    assert_eq!(events.take().await.len(), 4);
    let newcomer = from(&registry, 9, "9.9.9.9:1");
    newcomer.greet(9);
    assert!(newcomer.is_admitted().await);
    let told = sessions[3].control.take().await;
    assert!(matches!(&told[..], [Control::Close { reason: CloseReason::Full, elsewhere, .. }]
        if elsewhere.len() == 1));
    let events = events.take().await;
    assert!(matches!(&events[..],
        [PeerEvent::Down { reason: CloseReason::Full, .. }, PeerEvent::Up(up)]
        if up.info.id.as_u128() == 9));
    let evicted = &noted(&registry, Kind::Evicted).await[0];
    assert_eq!(evicted.peer, Some(NodeId::from_u128(4)));
    assert_eq!(evicted.numbers.get("group"), Some(4));
}

#[actix::test]
async fn who_breaks_the_protocol_is_not_wanted_for_an_hour() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    let news = Probe::<BanNews>::start();
    registry.addr.do_send(ReportBans(news.recipient()));
    let session = from(&registry, 1, "8.8.8.8:1");
    session.greet_proven(7);
    session.closing(CloseReason::Protocol);
    session.close(CloseReason::Protocol);
    let told = news.expect().await;
    assert_eq!(
        (told.target, told.verdict),
        (Target::Node(NodeId::from_u128(7)), Verdict::Discouraged)
    );
    assert_eq!(registry.addr.send(DiscouragedList).await.unwrap().len(), 1);
    let again = from(&registry, 2, "9.9.9.9:1");
    again.greet_proven(7);
    assert_eq!(again.told_to_close().await.as_deref(), Some("discouraged"));
    again.close(CloseReason::Discouraged);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let later = from(&registry, 3, "9.9.9.9:1");
    later.greet_proven(7);
    assert!(later.is_admitted().await);
    assert_eq!(noted(&registry, Kind::Discouraged).await[0].reason, "protocol");
}

#[actix::test]
async fn a_bootstrap_is_not_discouraged_by_itself() {
    tokio::time::pause();
    let registry = TestRegistry::with(ME, |setup| {
        setup.bootstrap =
            ["8.8.8.8:1", "seed.example:1"].map(|text| text.parse().unwrap()).to_vec();
    });
    let name = "seed.example:1".parse().unwrap();
    registry.addr.do_send(BootstrapResolved { name, addrs: vec!["9.9.9.9:1".parse().unwrap()] });
    for (link, remote) in [(1, "8.8.8.8:1"), (2, "9.9.9.9:1")] {
        let remote = remote.parse().unwrap();
        let links = registry.links();
        let session = FakeSession::open_from(&links, link, Direction::Outbound, remote);
        session.greet_proven(u128::from(link));
        session.close(CloseReason::Protocol);
    }
    assert_eq!(registry.addr.send(DiscouragedList).await.unwrap(), []);
}

#[actix::test]
async fn a_flood_of_refused_connections_leaves_the_journal_readable() {
    tokio::time::pause();
    let registry = TestRegistry::start(ME);
    registry.addr.send(ban_of("8.8.8.0/24")).await.unwrap().unwrap();
    for link in 1..=2000 {
        let session = from(&registry, link, &format!("8.8.8.{}:1", link % 250));
        session.close(CloseReason::Banned);
        if link % 100 == 0 {
            settle().await;
        }
    }
    assert_eq!(noted(&registry, Kind::Banned).await.len(), 1);
    let refused = noted(&registry, Kind::Refused).await;
    let counted: u64 = refused.iter().map(|decision| decision.more + 1).sum();
    assert_eq!((refused.len(), counted), (8, 2000));
    let ip = Some("8.8.8.1".parse().unwrap());
    assert_eq!(registry.journal(JournalQuery { ip, ..JournalQuery::default() }).await.len(), 1);
}
