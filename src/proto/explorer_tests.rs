use proptest::prelude::*;

use super::*;
use crate::{ids::LinkId, proto::own_address::Settled, wire::MAX_LINE};

const ME: NodeId = NodeId::from_u128(1);

fn at(ms: u64) -> Moment {
    Moment::after(Duration::from_millis(ms))
}

fn addr(n: u32) -> HostPort {
    format!("10.{}.{}.{}:5999", n / 62_500, n / 250 % 250, n % 250 + 1).parse().unwrap()
}

fn explorer(config: DiscoveryConfig) -> Explorer {
    let own = OwnAddress::new(Settled::new(None, &["10.255.0.1:5999".parse().unwrap()]));
    let setup = ExplorerSetup {
        me: ME,
        config,
        dead_after: Duration::from_secs(240),
        security: Security::Prefer,
        own,
        book_key: BookKey::new([7; 32]),
        seed: 7,
    };
    Explorer::new(setup, at(0))
}

fn info(id: u128, listen: Option<HostPort>) -> PeerInfo {
    PeerInfo {
        id: NodeId::from_u128(id),
        channel: crate::Channel::PLAINTEXT,
        link: LinkId(u64::try_from(id).unwrap()),
        direction: Direction::Inbound,
        remote: "10.9.9.9:40000".parse().unwrap(),
        listen,
        observed: None,
        agent: None,
        features: vec![],
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
    assert!((1000..=1025).contains(&kept), "{kept}");
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
        let sends = |output: &Output| matches!(output, Output::Send(_, frame) if *frame == Encoded::GETADDR);
        if std::mem::take(&mut out).iter().any(sends) {
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
