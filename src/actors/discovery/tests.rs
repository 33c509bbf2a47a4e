//! Discovery, driven by mock sessions and a mock dialer alone.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use parking_lot::Mutex;

use super::*;
use crate::{
    actors::{
        dialer::{Dial, Resolve},
        journal::{Journal, JournalPort},
        registry::{Announce, Peer, PeerEvent, Stop},
        session::Credit,
    },
    address::HostPort,
    clock::Clock,
    config::{DiscoveryConfig, Security},
    ids::NodeId,
    peer::{Direction, PeerInfo},
    proto::{
        address_book::BookKey,
        address_entry::Source,
        address_record::{AddressChange, Shelf},
        bans::{Target, Verdict},
        explorer::{DialResult, Explorer, ExplorerSetup, Proof},
        link::Purpose,
        own_address::{OwnAddress, Settled},
    },
    reason::CloseReason,
    testkit::{FakeSession, Probe, TestRegistry, settle},
    wire::AddrEntry,
};

const ME: u128 = 1;

struct Harness {
    discovery: Addr<Discovery>,
    dials: Probe<Dial>,
    names: Probe<Resolve>,
    announced: Probe<Announce>,
    clock: Clock,
    /// Only there to give the mock sessions somebody to talk to.
    registry: TestRegistry,
}

fn addr(text: &str) -> HostPort {
    text.parse().unwrap()
}

impl Harness {
    fn start(bootstrap: &[&str]) -> Self {
        tokio::time::pause();
        Self::start_on_pause(bootstrap, None)
    }

    /// On a clock that is paused already.
    fn start_on_pause(bootstrap: &[&str], save: Option<Recipient<SaveAddresses>>) -> Self {
        let (dials, names, announced) = (Probe::start(), Probe::start(), Probe::start());
        let clock = Clock::start();
        let listening = [addr("0.0.0.0:5999")];
        let own = OwnAddress::new(Settled::new(None, &listening));
        let dead_after = Duration::from_secs(240);
        let config = DiscoveryConfig::default();
        let save_interval = config.save_interval;
        let setup = ExplorerSetup {
            me: NodeId::from_u128(ME),
            config,
            dead_after,
            introduction: None,
            security: Security::Prefer,
            own,
            book_key: BookKey::new([7; 32]),
            seed: 7,
        };
        let explorer = Explorer::new(setup, clock.now());
        let ports = Ports {
            dial: dials.recipient(),
            resolve: names.recipient(),
            announce: announced.recipient(),
            elsewhere: Probe::start().recipient(),
            bootstrap_resolved: Probe::start().recipient(),
            journal: JournalPort::new(Journal::start(64, None).recipient()),
            save,
        };
        let bootstrap = bootstrap.iter().map(|text| addr(text).into()).collect();
        let discovery =
            Discovery::new(explorer, bootstrap, save_interval, clock, ports, None).start();
        Self { discovery, dials, names, announced, clock, registry: TestRegistry::start(ME) }
    }

    fn info(&self, id: u128, direction: Direction, listen: Option<&str>) -> PeerInfo {
        let now = self.clock.now();
        PeerInfo {
            id: NodeId::from_u128(id),
            channel: crate::Channel::PLAINTEXT,
            link: crate::LinkId(u64::try_from(id).unwrap()),
            direction,
            remote: addr("192.0.2.200:40000"),
            listen: listen.map(addr),
            observed: None,
            agent: None,
            features: vec![],
            tags: Default::default(),
            since: now,
            last_seen: now,
            rtt: None,
        }
    }

    /// A mock session of a peer that came up.
    fn up(&self, id: u128, direction: Direction, listen: Option<&str>) -> (FakeSession, Peer) {
        let link = u64::try_from(id).unwrap();
        let session = FakeSession::open(&self.registry.links(), link, direction);
        let peer = Peer { info: self.info(id, direction, listen), handle: session.peer(id) };
        self.discovery.do_send(PeerEvent::Up(peer.clone()));
        (session, peer)
    }

    async fn dialled(&self) -> Vec<(String, Purpose)> {
        let dials = self.dials.take().await;
        dials.into_iter().map(|dial| (dial.0.addr.to_string(), dial.0.purpose)).collect()
    }

    fn proven(&self, text: &str, id: u128, end: Option<CloseReason>) {
        let local = Some(addr("10.0.0.5:40000"));
        let proof = Some(Proof { id: NodeId::from_u128(id), proven: true, local });
        let end = end.map(|reason| (reason, String::new()));
        self.discovery.do_send(Dialled { addr: addr(text), result: DialResult { proof, end } });
    }

    fn failed(&self, text: &str) {
        let end = Some((CloseReason::Unreachable, "refused".to_owned()));
        let result = DialResult { proof: None, end };
        self.discovery.do_send(Dialled { addr: addr(text), result });
    }

    fn says(&self, session: &FakeSession, id: u128, question: Question) {
        let from = session.peer(id);
        self.discovery.do_send(FromPeer { from, question, credit: Credit::free() });
    }
}

fn pairs(list: &[(&str, Option<u128>)]) -> Question {
    let entry = |(addr, id): &(&str, Option<u128>)| AddrEntry {
        addr: (*addr).to_owned(),
        id: id.map(NodeId::from_u128),
    };
    Question::Addrs(list.iter().map(entry).collect())
}

#[actix::test]
async fn a_bootstrap_is_dialled_at_once_and_again_with_growing_pauses() {
    let h = Harness::start(&["192.0.2.1:5999"]);
    let mut pauses = Vec::new();
    let mut last = h.clock.now();
    for _ in 0..8 {
        let dial = loop {
            if let Some(dial) = h.dials.take().await.pop() {
                break dial;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(dial.0.purpose, Purpose::Session);
        pauses.push(h.clock.now().since(last).as_secs());
        last = h.clock.now();
        h.failed("192.0.2.1:5999");
    }
    assert!(pauses[0] == 0 && pauses[1] <= 1 && (3..=7).contains(&pauses[2]), "{pauses:?}");
    assert!(pauses[4..].iter().all(|pause| (45..=76).contains(pause)), "{pauses:?}");
}

#[actix::test]
async fn a_bootstrap_name_is_resolved_to_all_its_addresses_again_and_again() {
    let h = Harness::start(&["seed.example:5999"]);
    assert_eq!(h.names.expect().await.0, addr("seed.example:5999"));
    let addrs = Ok(vec![addr("192.0.2.1:5999"), addr("[2001:db8::1]:5999")]);
    h.discovery.do_send(Resolved { name: addr("seed.example:5999"), addrs });
    assert_eq!(h.dialled().await.len(), 2);
    tokio::time::sleep(Duration::from_secs(80)).await;
    assert_eq!(h.names.take().await.len(), 1);
}

#[actix::test]
async fn a_declared_address_is_proven_by_a_feeler_and_told_to_two_others() {
    let h = Harness::start(&[]);
    let others: Vec<_> = (10..15).map(|id| h.up(id, Direction::Outbound, None)).collect();
    let (newcomer, _) = h.up(7, Direction::Inbound, Some("192.0.2.7:5999"));
    assert_eq!(h.dialled().await, [("192.0.2.7:5999".to_owned(), Purpose::Feeler)]);
    h.says(&others[0].0, 10, Question::GetAddr { near: None, max: None });
    settle().await;
    assert_eq!(
        others[0].0.take_sent(),
        ["{\"msgtype\":\"addr\",\"peers\":[]}"],
        "only hearsay yet"
    );

    h.proven("192.0.2.7:5999", 7, Some(CloseReason::Feeler));
    settle().await;
    let news: Vec<_> = others.iter().flat_map(|(session, _)| session.take_sent()).collect();
    assert_eq!(news.len(), 2);
    assert!(news.iter().all(|line| line.contains("192.0.2.7:5999")), "{news:?}");
    assert_eq!(newcomer.take_sent(), Vec::<String>::new(), "it knows its own address");
}

#[actix::test]
async fn an_ephemeral_source_port_is_neither_dialled_nor_told() {
    let h = Harness::start(&[]);
    let (session, _) = h.up(7, Direction::Inbound, None);
    assert_eq!(h.dialled().await, []);
    h.says(&session, 7, Question::GetAddr { near: None, max: None });
    settle().await;
    assert_eq!(session.take_sent(), ["{\"msgtype\":\"addr\",\"peers\":[]}"]);
}

#[actix::test]
async fn getaddr_is_answered_by_nearness_and_up_to_max() {
    let h = Harness::start(&[]);
    for id in 16..24u128 {
        let text = format!("192.0.2.{id}:5999");
        h.up(id, Direction::Outbound, None);
        h.proven(&text, id, None);
    }
    let (asker, _) = h.up(99, Direction::Inbound, None);
    settle().await;
    asker.take_sent();
    let near = Some(NodeId::from_u128(17));
    h.says(&asker, 99, Question::GetAddr { near, max: Some(2) });
    settle().await;
    let [line] = &asker.take_sent()[..] else { panic!("no answer") };
    assert!(line.contains("192.0.2.17:") && line.contains("192.0.2.16:"), "{line}");
    assert!(!line.contains("192.0.2.18:"), "{line}");
}

#[actix::test]
async fn hearsay_is_dialled_while_sessions_are_wanted_but_never_twice_at_once() {
    let h = Harness::start(&[]);
    let (session, _) = h.up(7, Direction::Inbound, None);
    let told = [("192.0.2.1:5", Some(21)), ("192.0.2.2:5", None), ("192.0.2.1:5", Some(21))];
    h.says(&session, 7, pairs(&told));
    let dialled = h.dialled().await;
    let mut addrs: Vec<_> = dialled.iter().map(|(addr, _)| addr.as_str()).collect();
    addrs.sort_unstable();
    assert_eq!(addrs, ["192.0.2.1:5", "192.0.2.2:5"]);
}

#[actix::test]
async fn an_address_that_answers_with_our_own_id_is_never_dialled_again() {
    let h = Harness::start(&["192.0.2.1:5999"]);
    h.dials.expect().await;
    h.proven("192.0.2.1:5999", ME, Some(CloseReason::SelfConnection));
    tokio::time::sleep(Duration::from_secs(7200)).await;
    assert_eq!(h.dialled().await, []);
    let (session, _) = h.up(7, Direction::Inbound, None);
    h.says(&session, 7, pairs(&[("192.0.2.1:5999", Some(44))]));
    assert_eq!(h.dialled().await, []);
}

#[actix::test]
async fn a_lost_peer_is_dialled_again_and_not_told_meanwhile() {
    let h = Harness::start(&[]);
    let (_, peer) = h.up(7, Direction::Outbound, None);
    h.proven("192.0.2.7:5999", 7, None);
    let (other, _) = h.up(8, Direction::Inbound, None);
    h.discovery.do_send(PeerEvent::Down { peer, reason: CloseReason::Gone });
    h.says(&other, 8, Question::GetAddr { near: None, max: None });
    settle().await;
    assert!(other.take_sent().iter().all(|line| !line.contains("192.0.2.7")));
    assert_eq!(h.dialled().await, []);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(h.dialled().await, [("192.0.2.7:5999".to_owned(), Purpose::Session)]);
}

#[actix::test]
async fn a_flood_of_addresses_leads_to_no_storm_of_dials() {
    let h = Harness::start(&[]);
    let (session, _) = h.up(7, Direction::Inbound, None);
    for n in 0..100u32 {
        let text = |m: u32| format!("203.{}.{}.{}:5999", n % 200, m / 250, m % 250 + 1);
        let entries = (0..1000).map(|m| AddrEntry { addr: text(m), id: None }).collect();
        h.says(&session, 7, Question::Addrs(entries));
    }
    settle().await;
    let in_flight = h.dialled().await.len();
    assert!(in_flight <= 16, "{in_flight} dials at once");
    let book = h.discovery.send(Book).await.unwrap();
    assert!(book.len() <= 1300, "{} addresses kept", book.len());
    let mut total = in_flight;
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (text, _) in h.dialled().await {
            total += 1;
            h.failed(&text);
        }
    }
    assert!(total <= 16 + 32 + 600, "{total} dials in a minute");
}

#[actix::test]
async fn somebody_who_asks_for_a_dial_hears_what_came_of_it() {
    let h = Harness::start(&[]);
    let dial = tokio::task::spawn_local(h.discovery.send(DialNow(addr("192.0.2.1:5999"))));
    h.dials.expect().await;
    h.proven("192.0.2.1:5999", 7, None);
    assert_eq!(dial.await.unwrap().unwrap(), Ok(NodeId::from_u128(7)));
    let dial = tokio::task::spawn_local(h.discovery.send(DialNow(addr("192.0.2.2:5999"))));
    h.dials.expect().await;
    h.failed("192.0.2.2:5999");
    let error = dial.await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "unreachable: refused");
    let error = h.discovery.send(DialNow(addr("0.0.0.0:1"))).await.unwrap().unwrap_err();
    assert!(matches!(error, DialError::BadAddress(_)));
}

#[actix::test]
async fn the_own_address_is_announced_when_it_becomes_known() {
    let h = Harness::start(&["192.0.2.1:5999"]);
    assert_eq!(h.announced.take().await.len(), 0);
    h.proven("192.0.2.1:5999", 7, None);
    assert_eq!(h.announced.expect().await.0, Some(addr("10.0.0.5:5999")));
    for id in [8, 9] {
        let (_, mut peer) = h.up(id, Direction::Outbound, None);
        // Neighbours would have one voice.
        peer.info.remote = addr(&format!("20{id}.0.2.1:40000"));
        peer.info.observed = Some(addr("198.51.100.1:41000"));
        h.discovery.do_send(PeerEvent::Up(peer));
    }
    assert_eq!(h.announced.expect().await.0, Some(addr("198.51.100.1:5999")));
}

/// A store that keeps what it is told, or cannot, or does not answer.
struct Store {
    kept: Arc<Mutex<Vec<Vec<AddressChange>>>>,
    can: Arc<Mutex<bool>>,
    answers_after: Duration,
}

impl Actor for Store {
    type Context = Context<Self>;
}

impl Handler<SaveAddresses> for Store {
    type Result = ResponseFuture<bool>;

    fn handle(
        &mut self,
        SaveAddresses(changes): SaveAddresses,
        _: &mut Context<Self>,
    ) -> Self::Result {
        self.kept.lock().push(changes);
        let (can, pause) = (*self.can.lock(), self.answers_after);
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            can
        })
    }
}

fn saved(changes: &[AddressChange]) -> Vec<String> {
    let put = |change: &AddressChange| match change {
        AddressChange::Put(record) => record.addr.to_string(),
        AddressChange::Gone(addr) => format!("-{addr}"),
    };
    changes.iter().map(put).collect()
}

#[actix::test]
async fn changes_are_kept_every_ten_seconds_again_if_they_were_not_and_once_more_at_the_end() {
    tokio::time::pause();
    let (kept, can) = (Arc::default(), Arc::new(Mutex::new(false)));
    let store = Store { kept: Arc::clone(&kept), can: can.clone(), answers_after: Duration::ZERO };
    let h = Harness::start_on_pause(&["192.0.2.1:5999"], Some(store.start().recipient()));
    h.proven("192.0.2.1:5999", 7, None);
    tokio::time::sleep(Duration::from_secs(11)).await;
    *can.lock() = true;
    tokio::time::sleep(Duration::from_secs(40)).await;
    let batches = std::mem::take(&mut *kept.lock());
    let batches: Vec<_> = batches.iter().map(|changes| saved(changes)).collect();
    assert_eq!(batches, [["192.0.2.1:5999"], ["192.0.2.1:5999"]], "the first was not kept");
    h.proven("192.0.2.2:5999", 8, None);
    h.discovery.send(Stop).await.unwrap();
    let batches = kept.lock().iter().map(|changes| saved(changes)).collect::<Vec<_>>();
    assert_eq!(batches, [["192.0.2.2:5999"]]);
}

#[actix::test]
async fn a_store_that_does_not_answer_keeps_a_node_from_stopping_for_a_second_at_most() {
    tokio::time::pause();
    let (kept, can) = (Arc::default(), Arc::default());
    let store = Store { kept: Arc::clone(&kept), can, answers_after: Duration::from_secs(3600) };
    let h = Harness::start_on_pause(&[], Some(store.start().recipient()));
    h.proven("192.0.2.1:5999", 7, None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(kept.lock().len(), 1, "one batch is under way at most");
    let begun = h.clock.now();
    h.discovery.send(Stop).await.unwrap();
    assert!(h.clock.now().since(begun) <= Duration::from_millis(1010));
    assert_eq!(saved(&kept.lock()[1]), ["192.0.2.1:5999"], "what was not answered for goes again");
}

#[actix::test]
async fn who_is_banned_is_not_dialled_until_the_ban_is_lifted() {
    let h = Harness::start(&[]);
    let target = Target::Node(NodeId::from_u128(21));
    let news = |until| BanNews { target, verdict: Verdict::Banned, until };
    h.discovery.do_send(news(Some(h.clock.now() + Duration::from_secs(86_400))));
    let (session, _) = h.up(7, Direction::Inbound, None);
    h.says(&session, 7, pairs(&[("192.0.2.1:5", Some(21))]));
    assert_eq!(h.dialled().await, []);
    h.discovery.do_send(news(None));
    assert_eq!(h.dialled().await.len(), 1);
    let book = h.discovery.send(Book).await.unwrap();
    let entry = &book[0];
    assert_eq!((entry.shelf, entry.outcome.as_deref()), (Shelf::New, Some("banned")));
    assert_eq!(entry.told_from, addr("192.0.2.200:1").ip());
    assert!(matches!(entry.source, Source::Told(by) if by == NodeId::from_u128(7)) && !entry.given);
}
