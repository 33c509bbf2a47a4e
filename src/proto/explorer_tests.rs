use proptest::prelude::*;

use super::*;
use crate::{
    ids::LinkId,
    peer::{Direction, PeerInfo},
    proto::{finder::Finding, own_address::Settled},
    wire::{AddrEntry, MAX_LINE},
};

const ME: NodeId = NodeId::from_u128(1);

fn at(ms: u64) -> Moment {
    Moment::after(Duration::from_millis(ms))
}

fn addr(n: u32) -> HostPort {
    format!("10.{}.{}.{}:5999", n / 62_500, n / 250 % 250, n % 250 + 1).parse().unwrap()
}

fn explorer(config: DiscoveryConfig) -> Explorer {
    Explorer::new(setup(config), at(0))
}

fn setup(config: DiscoveryConfig) -> ExplorerSetup {
    let own = OwnAddress::new(Settled::new(None, &["10.255.0.1:5999".parse().unwrap()]));
    ExplorerSetup {
        me: ME,
        config,
        dead_after: Duration::from_secs(240),
        introduction: None,
        security: Security::Prefer,
        own,
        book_key: BookKey::new([7; 32]),
        seed: 7,
    }
}

fn info(id: u128, listen: Option<HostPort>) -> PeerInfo {
    PeerInfo {
        id: NodeId::from_u128(id),
        channel: crate::Channel::PLAINTEXT,
        link: LinkId(u64::try_from(id & u128::from(u64::MAX)).unwrap()),
        direction: Direction::Inbound,
        remote: "10.9.9.9:40000".parse().unwrap(),
        listen,
        observed: None,
        agent: None,
        features: vec![],
        tags: Default::default(),
        since: at(0),
        last_seen: at(0),
        rtt: None,
    }
}

fn dials(out: &mut Vec<Output>) -> Vec<(HostPort, Purpose)> {
    let dial = |output| match output {
        Output::Dial(plan) => Some((plan.addr, plan.purpose)),
        _ => None,
    };
    std::mem::take(out).into_iter().filter_map(dial).collect()
}

/// Who is asked, and for addresses around which id.
fn questions(out: &mut Vec<Output>) -> Vec<(NodeId, NodeId)> {
    let question = |output| {
        let Output::Send(to, line) = output else { return None };
        match crate::wire::Frame::parse(line.bytes().trim_ascii_end()) {
            Ok(crate::wire::Frame::GetAddr { near, .. }) => Some((to, near?)),
            _ => None,
        }
    };
    std::mem::take(out).into_iter().filter_map(question).collect()
}

fn notes(out: &mut Vec<Output>) -> Vec<(Kind, String)> {
    let note = |output| {
        if let Output::Note(d) = output { Some((d.kind, d.detail.to_string())) } else { None }
    };
    std::mem::take(out).into_iter().filter_map(note).collect()
}

fn proof(id: u128) -> DialResult {
    DialResult {
        proof: Some(Proof { id: NodeId::from_u128(id), proven: true, local: None }),
        end: None,
    }
}

fn told(addr: &str) -> AddrEntry {
    AddrEntry { addr: addr.to_owned(), id: None }
}

#[test]
fn the_own_address_is_announced_and_never_dialled() {
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
    let own: HostPort = "10.255.0.1:5999".parse().unwrap();
    explorer.start(at(0), &[], &mut out);
    assert_eq!(out, [Output::Announce(Some(own))]);
    explorer.peer_up(at(0), &info(7, None), &mut out);
    out.clear();
    explorer.addrs(at(0), NodeId::from_u128(7), &[told("10.255.0.1:5999")], &mut out);
    assert_eq!(out, []);
}

#[test]
fn impossible_addresses_are_refused_with_their_reasons_in_one_note() {
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
    explorer.peer_up(at(0), &info(7, None), &mut out);
    out.clear();
    let bad = ["1.2.3.4:0", "1.2.3.4:70000", ":5", "0.0.0.0:5", "224.0.0.1:5", "[::]:5", "x"];
    let long = format!("{}:5", "a".repeat(300));
    let entries: Vec<_> = bad.into_iter().chain([long.as_str()]).map(told).collect();
    explorer.addrs(at(0), NodeId::from_u128(7), &entries, &mut out);
    let [(Kind::AddrsRefused, detail)] = &notes(&mut out)[..] else { panic!("one note") };
    let reasons =
        ["port-zero", "bad-port", "empty-host", "unspecified", "multicast", "no-port", "long-host"];
    for reason in reasons {
        assert!(detail.contains(reason), "{reason}: {detail}");
    }
    assert!(explorer.book().is_empty());
}

#[test]
fn unsolicited_addresses_cost_allowance_and_an_answer_does_not() {
    let (mut explorer, mut out) =
        (explorer(DiscoveryConfig { source_buckets: 1000, ..Default::default() }), vec![]);
    explorer.peer_up(at(0), &info(7, None), &mut out);
    let many =
        |from: u32| -> Vec<_> { (from..from + 1000).map(|n| told(&addr(n).to_string())).collect() };
    let id = NodeId::from_u128(7);
    // The first is taken for the answer to the session's first question: 256 are free.
    explorer.addrs(at(0), id, &many(0), &mut out);
    explorer.addrs(at(0), id, &many(1000), &mut out);
    let kept = explorer.book().len();
    assert!((1200..=1256).contains(&kept), "{kept}");
    assert!(notes(&mut out).iter().any(|(_, detail)| detail.contains("rate")));
}

#[test]
fn a_full_node_is_left_alone_for_a_while_but_a_bootstrap_not_for_long() {
    let full = || Some((CloseReason::Peer("full".into()), String::new()));
    for (bootstrap, pause) in [(true, 45..=75), (false, 450..=750)] {
        let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
        let known: Vec<_> = bootstrap.then(|| addr(1).into()).into_iter().collect();
        explorer.start(at(0), &known, &mut out);
        if !bootstrap {
            explorer.dial_now(at(0), &addr(1), &mut out).unwrap();
        }
        assert_eq!(dials(&mut out).len(), 1);
        explorer.dialled(at(0), &addr(1), DialResult { end: full(), ..proof(7) }, &mut out);
        let next = explorer.deadline(at(0)).unwrap().since_epoch().as_secs();
        assert!(pause.contains(&next), "{next}");
    }
}

#[test]
fn a_random_peer_is_asked_again_less_and_less_often() {
    let config = DiscoveryConfig { target_peers: 0, ..Default::default() };
    let (mut explorer, mut out) = (explorer(config), vec![]);
    explorer.peer_up(at(0), &info(7, None), &mut out);
    let mut asked = vec![];
    for secs in 0..600 {
        explorer.tick(at(secs * 1000), &mut out);
        if !questions(&mut out).is_empty() {
            asked.push(secs);
        }
    }
    assert!(asked[0] <= 3 && (12..=20).contains(&asked.len()), "{asked:?}");
}

#[test]
fn an_answer_of_long_names_still_fits_a_line() {
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
    for n in 0..256u128 {
        let label = "a".repeat(60);
        let name: HostPort = format!("{label}.{label}.{label}.n{n:03}:59999").parse().unwrap();
        explorer.dialled(at(0), &name, proof(n + 2), &mut out);
    }
    let reply = explorer.get_addr(at(0), NodeId::from_u128(7), None, None);
    assert!(reply.bytes().len() > 50_000 && reply.bytes().len() <= MAX_LINE);
}

fn plans(out: &mut Vec<Output>) -> Vec<(Via, Option<NodeId>)> {
    let dial = |output| match output {
        Output::Dial(plan) => Some((plan.via, plan.expect)),
        _ => None,
    };
    std::mem::take(out).into_iter().filter_map(dial).collect()
}

fn ended(reason: CloseReason) -> DialResult {
    DialResult { proof: None, end: Some((reason, String::new())) }
}

fn key_id(n: u8) -> NodeId {
    crate::PublicKey::from_bytes([n; 32]).node_id()
}

fn answered_by(id: NodeId, proven: bool, end: Option<CloseReason>) -> DialResult {
    let end = end.map(|reason| (reason, String::new()));
    DialResult { proof: Some(Proof { id, proven, local: None }), end }
}

/// A node that was told of an address by a peer, with this id, and dials it.
fn hearing_of(id: Option<NodeId>) -> (Explorer, Vec<Output>) {
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
    explorer.peer_up(at(0), &info(7, None), &mut out);
    let entries = [AddrEntry { addr: addr(1).to_string(), id }, told(&addr(2).to_string())];
    explorer.dials.insert(addr(2), DialPlan { via: Via::Tls, ..plan_of(addr(2)) });
    out.clear();
    explorer.addrs(at(0), NodeId::from_u128(7), &entries, &mut out);
    out.retain(|output| !matches!(output, Output::Dial(plan) if plan.addr == addr(2)));
    (explorer, out)
}

fn plan_of(addr: HostPort) -> DialPlan {
    let nearest = Class::Loopback;
    DialPlan { addr, purpose: Purpose::Session, via: Via::Plain, expect: None, nearest }
}

#[test]
fn who_does_not_speak_tls_is_dialled_again_in_plaintext_once() {
    let (mut explorer, mut out) = hearing_of(None);
    assert_eq!(plans(&mut out), [(Via::Tls, None)]);
    explorer.dialled(at(0), &addr(1), ended(CloseReason::TlsFailed), &mut out);
    assert_eq!(explorer.book().get(&addr(1)).unwrap().failures, 0);
    assert_eq!(plans(&mut out), [(Via::Plain, None)]);
    explorer.dialled(at(0), &addr(1), ended(CloseReason::Gone), &mut out);
    assert_eq!(explorer.book().get(&addr(1)).unwrap().failures, 1);
    explorer.tick(at(2000), &mut out);
    assert_eq!(plans(&mut out), [(Via::Tls, None)], "the next attempt begins anew");
}

#[test]
fn who_can_prove_itself_is_never_dialled_in_plaintext() {
    let (mut explorer, mut out) = hearing_of(Some(key_id(1)));
    assert_eq!(plans(&mut out), [(Via::Tls, Some(key_id(1)))]);
    for failures in 1..3 {
        explorer.dialled(at(0), &addr(1), ended(CloseReason::TlsFailed), &mut out);
        assert_eq!(explorer.book().get(&addr(1)).unwrap().failures, failures);
        assert_eq!(plans(&mut out), []);
        explorer.dials.insert(addr(1), DialPlan { via: Via::Tls, ..plan_of(addr(1)) });
    }
}

#[test]
fn an_id_that_plaintext_cannot_prove_has_to_be_proven_at_once() {
    let (mut explorer, mut out) = hearing_of(Some(NodeId::from_u128(9)));
    assert_eq!(plans(&mut out), [(Via::Tls, None)], "it is only hearsay that it has no key");
    explorer.dialled(at(0), &addr(1), ended(CloseReason::TlsFailed), &mut out);
    assert_eq!(plans(&mut out), [(Via::Plain, None)]);
    let end = Some(CloseReason::Unproven);
    explorer.dialled(at(0), &addr(1), answered_by(key_id(1), false, end.clone()), &mut out);
    assert_eq!(plans(&mut out), [(Via::Tls, Some(key_id(1)))]);
    assert_eq!(explorer.book().get(&addr(1)).unwrap().proven, None);
    explorer.dialled(at(0), &addr(1), answered_by(key_id(1), false, end), &mut out);
    assert_eq!(explorer.book().get(&addr(1)).unwrap().failures, 1);
}

#[test]
fn hearsay_of_a_wrong_id_yields_to_who_answers_but_the_operators_word_does_not() {
    let (mut explorer, mut out) = hearing_of(Some(key_id(1)));
    let wrong = || answered_by(key_id(2), true, Some(CloseReason::WrongNode));
    out.clear();
    explorer.dialled(at(0), &addr(1), wrong(), &mut out);
    let entry = explorer.book().get(&addr(1)).unwrap();
    assert_eq!((entry.id, entry.proven, entry.failures), (Some(key_id(2)), None, 1));
    explorer.tick(at(2000), &mut out);
    assert_eq!(plans(&mut out), [(Via::Tls, Some(key_id(2)))]);

    let (mut explorer, mut out) = (self::explorer(DiscoveryConfig::default()), vec![]);
    let pinned = Bootstrap { addr: addr(1), id: Some(key_id(1)) };
    explorer.start(at(0), &[pinned], &mut out);
    assert_eq!(plans(&mut out), [(Via::Tls, Some(key_id(1)))]);
    explorer.dialled(at(0), &addr(1), wrong(), &mut out);
    assert_eq!(explorer.book().get(&addr(1)).unwrap().proven, None);
    explorer.peer_up(at(0), &info(7, Some(addr(1))), &mut out);
    out.clear();
    explorer.tick(at(2000), &mut out);
    assert_eq!(plans(&mut out), [(Via::Tls, Some(key_id(1)))]);
    explorer.dialled(at(2000), &addr(1), ended(CloseReason::TlsFailed), &mut out);
    assert_eq!(plans(&mut out), [], "no plaintext for one that is pinned");
}

#[test]
fn with_security_off_all_is_plaintext_and_with_require_all_is_tls() {
    for (security, via) in [(Security::Off, Via::Plain), (Security::Require, Via::Tls)] {
        let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
        explorer.security = security;
        explorer.dial_now(at(0), &addr(1), &mut out).unwrap();
        assert_eq!(plans(&mut out), [(via, None)]);
        explorer.dialled(at(0), &addr(1), ended(CloseReason::TlsFailed), &mut out);
        assert_eq!(plans(&mut out), []);
    }
}

fn info_at(id: u128, remote: &str, direction: Direction) -> PeerInfo {
    PeerInfo { remote: remote.parse().unwrap(), direction, ..info(id, None) }
}

#[test]
fn near_addresses_are_told_neither_by_nor_to_those_who_are_farther() {
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
    for (id, remote) in [(7, "8.8.8.8:4000"), (8, "10.9.9.9:4000"), (9, "127.0.0.1:4000")] {
        explorer.peer_up(at(0), &info_at(id, remote, Direction::Inbound), &mut out);
    }
    out.clear();
    let near = ["127.0.0.1:5", "10.0.0.1:5", "9.9.9.9:5"];
    let taken = |explorer: &mut Explorer, by: u128, out: &mut Vec<Output>| {
        let before = explorer.book().len();
        explorer.addrs(at(0), NodeId::from_u128(by), &near.map(told), out);
        explorer.book().len() - before
    };
    assert_eq!(taken(&mut explorer, 7, &mut out), 1);
    let refused = notes(&mut out).iter().any(|(_, detail)| detail == "2 class");
    assert!(refused);
    assert_eq!((taken(&mut explorer, 8, &mut out), taken(&mut explorer, 9, &mut out)), (1, 1));
    out.clear();
    for (n, text) in near.iter().enumerate() {
        explorer.dialled(at(0), &text.parse().unwrap(), proof(20 + n as u128), &mut out);
    }
    for (id, told) in [(7, 1), (8, 2), (9, 3)] {
        let reply = explorer.get_addr(at(0), NodeId::from_u128(id), None, None);
        let reply = String::from_utf8(reply.bytes().to_vec()).unwrap();
        assert_eq!(near.iter().filter(|text| reply.contains(*text)).count(), told, "{reply}");
    }
    for output in &out {
        let Output::Send(to, line) = output else { continue };
        let line = String::from_utf8(line.bytes().to_vec()).unwrap();
        assert!(!line.contains("127.0.0.1") || *to == NodeId::from_u128(9), "{line}");
    }
    explorer.tick(at(10_000), &mut out);
    let elsewhere = out.iter().rev().find_map(|output| match output {
        Output::Elsewhere(given) => Some(given.as_slice()),
        _ => None,
    });
    assert_eq!(elsewhere, Some(&[(near[2].parse().unwrap(), NodeId::from_u128(22))][..]));
}

#[test]
fn one_public_group_gets_two_of_many_sessions_and_private_ones_any_number() {
    let config = DiscoveryConfig { target_peers: 64, ..Default::default() };
    let (mut explorer, mut out) = (explorer(config), vec![]);
    explorer.peer_up(at(0), &info_at(7, "8.8.8.8:4000", Direction::Inbound), &mut out);
    let of_one: Vec<_> = (1..30).map(|n| told(&format!("20.20.0.{n}:5"))).collect();
    let of_many: Vec<_> = (1..60).map(|n| told(&format!("30.{n}.0.1:5"))).collect();
    let entries = [of_one, of_many].concat();
    explorer.addrs(at(0), NodeId::from_u128(7), &entries, &mut out);
    let (mut dialled, mut sessions) = (dials(&mut out), vec![]);
    while let Some((addr, _)) = dialled.pop() {
        let id = 1000 + sessions.len() as u128;
        let up = info_at(id, &addr.to_string(), Direction::Outbound);
        explorer.peer_up(at(10_000), &up, &mut out);
        explorer.dialled(at(10_000), &addr, proof(id), &mut out);
        sessions.push(addr);
        dialled.extend(dials(&mut out));
    }
    let of_one = sessions.iter().filter(|addr| addr.to_string().starts_with("20.20.")).count();
    assert!(of_one == 2 && sessions.len() > 30, "{of_one} of {}", sessions.len());
}

#[test]
fn who_is_shunned_is_neither_dialled_nor_told_until_that_is_lifted() {
    use crate::{address::Subnet, proto::bans::Target};
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
    let targets =
        [Target::Net(Subnet::host(addr(1).ip().unwrap())), Target::Node(NodeId::from_u128(21))];
    for (target, verdict) in targets.into_iter().zip([Verdict::Discouraged, Verdict::Banned]) {
        explorer.shun(at(0), target, at(3_600_000), verdict);
    }
    explorer.peer_up(at(0), &info(7, None), &mut out);
    explorer.addrs(at(0), NodeId::from_u128(7), &[told(&addr(1).to_string())], &mut out);
    explorer.dialled(at(0), &addr(2), proof(21), &mut out);
    assert_eq!(dials(&mut out), []);
    let reply = explorer.get_addr(at(0), NodeId::from_u128(7), None, None);
    assert!(!reply.bytes().windows(8).any(|part| part == b"10.0.0.3"));
    assert_eq!(explorer.dial_now(at(0), &addr(2), &mut out), Err(NotTaken::Banned));
    assert!(explorer.deadline(at(0)).is_none_or(|due| due > at(0)), "a busy timer");
    explorer.lift(at(1), targets[0], &mut out);
    assert_eq!(dials(&mut out), [(addr(1), Purpose::Feeler)]);
    let (mut explorer, mut out) = (self::explorer(DiscoveryConfig::default()), vec![]);
    explorer.shun(at(0), targets[0], at(3_600_000), Verdict::Discouraged);
    explorer.start(at(0), &[addr(1).into()], &mut out);
    assert_eq!(dials(&mut out).len(), 1, "a first contact is dialled all the same");
}

#[test]
fn with_sessions_enough_a_feeler_goes_out_every_few_minutes() {
    let config = DiscoveryConfig {
        target_peers: 1,
        bucket_sessions: 0,
        outbound_min: 0,
        ..Default::default()
    };
    let (mut explorer, mut out) = (explorer(config), vec![]);
    explorer.peer_up(at(0), &info(7, None), &mut out);
    let many: Vec<_> = (0..100).map(|n| told(&addr(n).to_string())).collect();
    explorer.addrs(at(0), NodeId::from_u128(7), &many, &mut out);
    let mut feelers = 0;
    let mut now = at(0);
    while now < at(3_600_000) {
        for (addr, purpose) in dials(&mut out) {
            assert_eq!(purpose, Purpose::Feeler);
            feelers += 1;
            let end = Some(CloseReason::Feeler);
            let id = NodeId::from_u128(1000 + feelers);
            explorer.dialled(now, &addr, answered_by(id, true, end), &mut out);
        }
        let due = explorer.deadline(now).unwrap();
        assert!(due > now, "a busy timer");
        now = due;
        explorer.tick(now, &mut out);
    }
    assert!((25..=36).contains(&feelers), "{feelers}");
    let tried = explorer.book().iter().filter(|(_, entry)| entry.is_tried()).count();
    assert_eq!(tried as u128, feelers);
}

#[test]
fn a_node_that_only_others_have_dialled_dials_some_by_itself() {
    let config = DiscoveryConfig { target_peers: 10, ..Default::default() };
    let (mut explorer, mut out) = (explorer(config), vec![]);
    for id in 10..40 {
        explorer.peer_up(at(0), &info_at(id, "8.8.8.8:4000", Direction::Inbound), &mut out);
    }
    let many: Vec<_> = (0..50).map(|n| told(&format!("30.{n}.0.1:5"))).collect();
    explorer.addrs(at(0), NodeId::from_u128(10), &many, &mut out);
    assert_eq!(dials(&mut out).len(), 8);
}

/// An explorer that wants nobody but to fill its buckets, and has one peer in bucket 0.
fn filler(k: usize) -> (Explorer, Vec<Output>) {
    let config = DiscoveryConfig {
        target_peers: 0,
        outbound_min: 0,
        bucket_sessions: k,
        ..Default::default()
    };
    let (mut explorer, mut out) = (explorer(config), vec![]);
    explorer.peer_up(at(0), &info_at(id_in(0, 7), "10.9.9.9:1", Direction::Inbound), &mut out);
    out.clear();
    (explorer, out)
}

/// The n-th id in a bucket of this node's.
fn id_in(bucket: u32, n: u128) -> u128 {
    ME.as_u128() ^ (1 << (127 - bucket)) | n << 4
}

fn told_in(bucket: u32, n: u32) -> AddrEntry {
    let id = NodeId::from_u128(id_in(bucket, n.into()));
    AddrEntry { addr: addr(bucket * 1000 + n).to_string(), id: Some(id) }
}

#[test]
fn each_bucket_is_filled_and_no_further_and_inbound_sessions_count() {
    let (mut explorer, mut out) = filler(4);
    let from = NodeId::from_u128(id_in(0, 7));
    let known: Vec<_> = (0..3).flat_map(|b| (10..20).map(move |n| told_in(b, n))).collect();
    explorer.addrs(at(0), from, &known, &mut out);
    let mut per_bucket = BTreeMap::new();
    let mut dialled = dials(&mut out);
    while let Some((addr, purpose)) = dialled.pop() {
        assert_eq!(purpose, Purpose::Session);
        let id = explorer.book().get(&addr).unwrap().id.unwrap();
        *per_bucket.entry(ME.bucket(id).unwrap()).or_insert(0) += 1;
        let up = info_at(id.as_u128(), &addr.to_string(), Direction::Outbound);
        explorer.peer_up(at(0), &up, &mut out);
        explorer.dialled(at(0), &addr, proof(id.as_u128()), &mut out);
        dialled.extend(dials(&mut out));
    }
    assert_eq!(per_bucket, [(0, 3), (1, 4), (2, 4)].into());
    let gone = info_at(id_in(0, 7), "10.9.9.9:1", Direction::Inbound);
    explorer.peer_down(at(1000), &gone, &CloseReason::Gone, &mut out);
    assert_eq!(dials(&mut out).len(), 1, "one is made good for");
}

#[test]
fn the_emptiest_bucket_is_filled_first() {
    let (mut explorer, mut out) = filler(4);
    let from = NodeId::from_u128(id_in(0, 7));
    let known: Vec<_> = [0, 5, 3].into_iter().map(|bucket| told_in(bucket, 10)).collect();
    explorer.addrs(at(0), from, &known, &mut out);
    let buckets: Vec<_> = dials(&mut out)
        .iter()
        .map(|(addr, _)| ME.bucket(explorer.book().get(addr).unwrap().id.unwrap()).unwrap())
        .collect();
    assert_eq!(buckets, [5, 3, 0]);
}

#[test]
fn buckets_in_which_nobody_is_known_are_asked_about_at_close_peers() {
    let (mut explorer, mut out) = filler(1);
    let peers = [(0, 7), (4, 1), (4, 2), (0, 8), (0, 9)].map(|(bucket, n)| id_in(bucket, n));
    for peer in &peers[1..] {
        explorer.peer_up(at(0), &info_at(*peer, "10.9.9.9:2", Direction::Inbound), &mut out);
    }
    out.clear();
    let (mut asked, mut now) = (BTreeMap::<u8, usize>::new(), at(0));
    for _ in 0..40 {
        now = explorer.deadline(now).unwrap();
        explorer.tick(now, &mut out);
        for (to, near) in questions(&mut out) {
            let mut closest = peers.map(NodeId::from_u128);
            closest.sort_by_key(|id| id.distance(near));
            assert!(closest[..3].contains(&to), "{to} for {near}");
            if let Some(bucket) = ME.bucket(near) {
                *asked.entry(bucket).or_default() += 1;
            }
        }
    }
    // Buckets 0 and 4 have their session, and beyond 4 there may be nobody.
    assert_eq!(asked.keys().copied().collect::<Vec<_>>(), [1, 2, 3], "{asked:?}");
}

#[test]
fn when_one_long_lost_node_is_back_the_others_are_tried_soon() {
    let (mut explorer, mut out) = filler(4);
    for n in 1..=3 {
        explorer.dialled(at(0), &addr(n), proof(id_in(1, n.into())), &mut out);
        let up = info_at(id_in(1, n.into()), &addr(n).to_string(), Direction::Outbound);
        explorer.peer_up(at(0), &up, &mut out);
        explorer.peer_down(at(1000), &up, &CloseReason::Timeout, &mut out);
    }
    let mut now = at(1000);
    let unreachable =
        || DialResult { proof: None, end: Some((CloseReason::Unreachable, String::new())) };
    while now < at(200_000) {
        for (addr, _) in dials(&mut out) {
            explorer.dialled(now, &addr, unreachable(), &mut out);
        }
        now = explorer.deadline(now).unwrap();
        explorer.tick(now, &mut out);
    }
    let waits = |explorer: &Explorer, n| explorer.book().get(&addr(n)).unwrap().next_try.since(now);
    assert!((2..=3).all(|n| waits(&explorer, n) > Duration::from_secs(60)), "on the long pauses");
    let back = info_at(id_in(1, 1), "10.8.8.8:40000", Direction::Inbound);
    explorer.peer_up(now, &back, &mut out);
    assert!((2..=3).all(|n| waits(&explorer, n) <= Duration::from_secs(10)));
}

#[derive(Debug, Clone)]
enum Step {
    Tell(u128, u32, u128),
    Up(u128, Option<u32>),
    Down(u128),
    Proven(u128),
    Fail,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (2u128..8, 0u32..30, 1u128..12).prop_map(|(by, n, id)| Step::Tell(by, n, id)),
        (2u128..8, proptest::option::of(0u32..30)).prop_map(|(id, n)| Step::Up(id, n)),
        (2u128..8).prop_map(Step::Down),
        (1u128..12).prop_map(Step::Proven),
        Just(Step::Fail),
        (0u64..30_000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: dials in flight stay below their limit, no address is dialled twice at
    /// once, none that is our own, and dials never come faster than their rate.
    #[test]
    fn dialling_stays_within_its_limits(steps in proptest::collection::vec(step(), 1..150)) {
        let config = DiscoveryConfig { dials_in_flight: 4, dial_burst: 5, dials_per_second: 1, ..Default::default() };
        let (mut explorer, mut out) = (explorer(config), vec![]);
        explorer.start(at(0), &[addr(100).into()], &mut out);
        let mut under_way: Vec<HostPort> = vec![];
        let mut up = std::collections::BTreeSet::new();
        let mut own = std::collections::BTreeSet::new();
        let (mut ms, mut total) = (0, 0u64);
        for step in steps {
            let now = at(ms);
            match step {
                Step::Tell(by, n, id) => {
                    let entry = AddrEntry { addr: addr(n).to_string(), id: Some(NodeId::from_u128(id)) };
                    explorer.addrs(now, NodeId::from_u128(by), &[entry], &mut out);
                }
                Step::Up(id, n) => if up.insert(id) {
                    explorer.peer_up(now, &info(id, n.map(addr)), &mut out);
                },
                Step::Down(id) => if up.remove(&id) {
                    explorer.peer_down(now, &info(id, None), &CloseReason::Gone, &mut out);
                },
                Step::Proven(id) => if let Some(addr) = under_way.pop() {
                    if NodeId::from_u128(id) == ME {
                        own.insert(addr.clone());
                    }
                    explorer.dialled(now, &addr, proof(id), &mut out);
                },
                Step::Fail => if let Some(addr) = under_way.pop() {
                    let end = Some((CloseReason::Unreachable, String::new()));
                    explorer.dialled(now, &addr, DialResult { proof: None, end }, &mut out);
                },
                Step::Wait(more) => {
                    ms += more;
                    explorer.tick(at(ms), &mut out);
                }
            }
            for (addr, _) in dials(&mut out) {
                prop_assert!(!under_way.contains(&addr) && !own.contains(&addr), "{}", addr);
                under_way.push(addr);
                total += 1;
            }
            prop_assert!(under_way.len() <= 4);
            prop_assert!(total <= 5 + ms / 1000);
        }
    }
}

// --- Attacks that worked once -------------------------------------------------------------------

#[test]
fn whoever_says_our_own_id_without_a_proof_does_not_make_an_address_ours() {
    let mut config = setup(DiscoveryConfig::default());
    config.me = key_id(1);
    let (mut explorer, mut out) = (Explorer::new(config, at(0)), vec![]);
    let contact: HostPort = "8.8.8.8:5999".parse().unwrap();
    explorer.start(at(0), &[contact.clone().into()], &mut out);
    explorer.dialled(at(1000), &contact, ended(CloseReason::TlsFailed), &mut out);
    let proof = Some(Proof { id: key_id(1), proven: false, local: None });
    let end = Some((CloseReason::Unproven, String::new()));
    explorer.dialled(at(2000), &contact, DialResult { proof, end }, &mut out);
    assert!(!explorer.book().get(&contact).unwrap().own);
    out.clear();
    for secs in 3..600 {
        explorer.tick(at(secs * 1000), &mut out);
        for (addr, _) in dials(&mut out) {
            explorer.dialled(at(secs * 1000), &addr, ended(CloseReason::Unreachable), &mut out);
        }
    }
    assert!(explorer.book().get(&contact).unwrap().failures > 3, "it is still dialled");
}

#[test]
fn black_holes_that_peers_declare_leave_most_dials_to_others() {
    let config = DiscoveryConfig { target_peers: 64, ..Default::default() };
    let (mut explorer, mut out) = (explorer(config), vec![]);
    let record = |n: u8| AddressRecord {
        addr: format!("{}.1.1.1:5999", 20 + n).parse().unwrap(),
        id: None,
        shelf: crate::proto::address_record::Shelf::Tried,
        source: Source::Told(NodeId::from_u128(5)),
        told_from: None,
        heard: at(0),
        proven: Some(at(0)),
        tried: None,
        failures: 0,
    };
    explorer.remember(at(0), (0..100).map(record).collect());
    for n in 0..16u128 {
        let remote = format!("166.6.6.6:{}", 40_000 + n).parse().unwrap();
        explorer.peer_up(at(0), &PeerInfo { remote, ..info(7000 + n, None) }, &mut out);
    }
    let (mut black, mut honest) = (0, 0);
    let mut under_way: Vec<(u64, HostPort)> = vec![];
    for secs in 0..300 {
        for n in 0..16u128 {
            let from = NodeId::from_u128(7000 + n);
            let own = |k: u128| AddrEntry { addr: format!("166.6.{n}.{k}:1"), id: Some(from) };
            explorer.addrs(at(secs * 1000), from, &(1..5).map(own).collect::<Vec<_>>(), &mut out);
        }
        // Nobody answers anywhere, which takes ten seconds each.
        let over: Vec<_> = under_way.extract_if(.., |(begun, _)| *begun + 10 <= secs).collect();
        for (_, addr) in over {
            explorer.dialled(at(secs * 1000), &addr, ended(CloseReason::Timeout), &mut out);
        }
        explorer.tick(at(secs * 1000), &mut out);
        for (addr, purpose) in dials(&mut out) {
            black += usize::from(purpose == Purpose::Feeler);
            honest += usize::from(purpose == Purpose::Session);
            under_way.push((secs, addr));
        }
    }
    assert!(honest > 2 * black && honest > 200, "{honest} honest dials, {black} into black holes");
}

#[test]
fn a_claim_to_an_unproven_address_neither_changes_who_is_expected_nor_makes_it_plaintext() {
    let (mut explorer, mut out) =
        (explorer(DiscoveryConfig { target_peers: 1, ..Default::default() }), vec![]);
    let remote: HostPort = "9.9.9.9:1".parse().unwrap();
    for id in [7, 8] {
        explorer.peer_up(at(0), &PeerInfo { remote: remote.clone(), ..info(id, None) }, &mut out);
    }
    let there: HostPort = "8.8.4.4:5999".parse().unwrap();
    let entry = |id| AddrEntry { addr: there.to_string(), id: Some(id) };
    let more = AddrEntry { addr: "8.7.4.4:5999".to_owned(), id: None };
    explorer.addrs(at(0), NodeId::from_u128(7), &[entry(key_id(2)), more], &mut out);
    explorer.dialled(at(0), &there, ended(CloseReason::Unreachable), &mut out);
    out.clear();
    explorer.addrs(at(1000), NodeId::from_u128(8), &[entry(NodeId::from_u128(8))], &mut out);
    explorer.tick(at(9000), &mut out);
    let plan = plans(&mut out);
    assert_eq!(plan, [(Via::Tls, None)], "whoever is there is to prove itself");
    assert_eq!(explorer.book().get(&there).unwrap().id, Some(key_id(2)));
    explorer.dialled(at(9000), &there, ended(CloseReason::TlsFailed), &mut out);
    assert!(plans(&mut out).iter().all(|(via, _)| *via == Via::Tls));
}

#[test]
fn a_name_that_a_public_peer_tells_may_not_lead_into_this_network() {
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
    let remote: HostPort = "9.9.9.9:1".parse().unwrap();
    explorer.peer_up(at(0), &PeerInfo { remote, ..info(7, None) }, &mut out);
    explorer.addrs(
        at(0),
        NodeId::from_u128(7),
        &[told("localhost:6379"), told("a.example:1")],
        &mut out,
    );
    let nearest = |output: &Output| match output {
        Output::Dial(plan) => Some(plan.nearest),
        _ => None,
    };
    let nearest: Vec<_> = out.iter().filter_map(nearest).collect();
    assert_eq!(nearest, [Class::Public; 2]);
}

#[test]
fn questions_that_cost_a_look_through_the_book_have_a_rate() {
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), vec![]);
    explorer.take_for_proven(at(0), &[(addr(1), NodeId::from_u128(9))]);
    explorer.peer_up(at(0), &info(7, None), &mut out);
    let mut ask = |secs: u64| {
        let near = Some(NodeId::from_u128(3));
        explorer.get_addr(at(secs * 1000), NodeId::from_u128(7), near, None).bytes().len()
    };
    let answers: Vec<_> = (0..20).map(|_| ask(0)).collect::<Vec<_>>();
    assert_eq!(answers.iter().filter(|len| **len > 40).count(), 16);
    assert!(ask(1) > 40 && ask(1) < 40);
}

fn found(addr: HostPort, id: u128) -> Finding {
    Finding { addr, id: Some(NodeId::from_u128(id)), from: None }
}

fn lan() -> Finder {
    Finder::new("lan").unwrap()
}

#[test]
fn what_an_extension_finds_is_dialled_and_told_only_when_proven_and_never_to_who_is_farther_away() {
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), Vec::new());
    assert_eq!(explorer.found(at(0), lan(), &found(addr(3), 3), &mut out), Ok(true));
    assert_eq!(explorer.found(at(0), lan(), &found(addr(3), 3), &mut out), Ok(false));
    assert_eq!(explorer.book().get(&addr(3)).unwrap().source, Source::Found(lan()));
    assert_eq!(dials(&mut out), [(addr(3), Purpose::Session)]);
    let public = PeerInfo { remote: "203.0.113.7:40000".parse().unwrap(), ..info(7, None) };
    explorer.peer_up(at(0), &public, &mut out);
    explorer.peer_up(at(0), &info(8, None), &mut out);
    let told = |explorer: &mut Explorer, ms, to| {
        let reply = explorer.get_addr(at(ms), NodeId::from_u128(to), None, None);
        String::from_utf8(reply.bytes().to_vec()).unwrap().contains(&addr(3).to_string())
    };
    assert_eq!([7, 8].map(|to| told(&mut explorer, 0, to)), [false, false]);
    out.clear();
    let proof = Proof { id: NodeId::from_u128(3), proven: true, local: None };
    explorer.dialled(at(10), &addr(3), DialResult { proof: Some(proof), end: None }, &mut out);
    let there = PeerInfo { direction: Direction::Outbound, remote: addr(3), ..info(3, None) };
    explorer.peer_up(at(10), &there, &mut out);
    let sent: Vec<NodeId> = out
        .iter()
        .filter_map(|output| match output {
            Output::Send(to, line) => {
                let text = String::from_utf8(line.bytes().to_vec()).unwrap();
                text.contains(&addr(3).to_string()).then_some(*to)
            }
            _ => None,
        })
        .collect();
    assert_eq!(sent, [NodeId::from_u128(8)]);
    assert_eq!([7, 8].map(|to| told(&mut explorer, 2000, to)), [false, true]);
}

#[test]
fn an_extension_is_held_to_a_peers_allowance_and_to_its_part_of_the_book() {
    let config = DiscoveryConfig::default();
    let entries = config.book_entries;
    let (mut explorer, mut out) = (explorer(config), Vec::new());
    let mut refused = BTreeMap::new();
    for n in 0..3000 {
        let finding = found(addr(n + 300), u128::from(n) + 300);
        if let Err(why) = explorer.found(at(0), lan(), &finding, &mut out) {
            *refused.entry(why.code()).or_insert(0) += 1;
        }
    }
    assert_eq!(refused.get("rate"), Some(&2000), "{refused:?}");
    let notes = notes(&mut out);
    assert!(
        notes
            .iter()
            .any(|(kind, detail)| *kind == Kind::AddrsRefused && detail.starts_with("lan: "))
    );
    // Whatever the time, one finder's share of the book is bounded.
    for n in 0..20_000 {
        let finding = found(addr(n + 4000), u128::from(n) + 4000);
        let _taken = explorer.found(at(u64::from(n) * 100), lan(), &finding, &mut out);
    }
    assert!(explorer.book().len() < entries / 2, "{} of {entries}", explorer.book().len());
}

#[test]
fn there_are_only_so_many_finders_and_each_says_who_it_is() {
    let (mut explorer, mut out) = (explorer(DiscoveryConfig::default()), Vec::new());
    for n in 0..=u32::try_from(MAX_FINDERS).unwrap() {
        let by = Finder::new(&format!("f{n}")).unwrap();
        let taken = explorer.found(at(0), by, &found(addr(n + 3), 3), &mut out);
        let is_over = n == u32::try_from(MAX_FINDERS).unwrap();
        assert_eq!(taken, if is_over { Err(NotTaken::Finders) } else { Ok(true) });
    }
    let own = Finding { id: Some(ME), ..found(addr(90), 3) };
    assert_eq!(
        explorer.found(at(0), Finder::new("f0").unwrap(), &own, &mut out),
        Err(NotTaken::Own)
    );
    let public = Some("203.0.113.7".parse().unwrap());
    let far = Finding { from: public, ..found(addr(91), 3) };
    assert_eq!(
        explorer.found(at(0), Finder::new("f0").unwrap(), &far, &mut out),
        Err(NotTaken::Class)
    );
}
