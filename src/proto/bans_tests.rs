use proptest::prelude::*;

use super::*;

fn at(secs: u64) -> Moment {
    Moment::after(Duration::from_secs(secs))
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn ban(text: &str, until: u64) -> Ban {
    Ban { target: target(text), since: at(0), until: at(until), note: String::new() }
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn a_ban_holds_for_its_id_and_its_net_until_it_ends() {
    let mut bans = Bans::default();
    let id = NodeId::from_u128(7);
    bans.ban(at(0), ban(&id.to_string(), 10)).unwrap();
    bans.ban(at(0), ban("203.0.113.0/24", 20)).unwrap();
    bans.ban(at(0), ban("2001:db8::/32", 30)).unwrap();
    assert_eq!(bans.verdict(at(9), Some(id), None), Some(Verdict::Banned));
    assert_eq!(bans.verdict(at(10), Some(id), None), None);
    assert_eq!(bans.verdict(at(10), Some(id), ip("::ffff:203.0.113.9")), Some(Verdict::Banned));
    assert_eq!(bans.verdict(at(10), None, ip("203.0.114.9")), None);
    assert_eq!(bans.verdict(at(29), None, ip("2001:db8:7::1")), Some(Verdict::Banned));
    assert_eq!(bans.deadline(), Some(at(10)));
    assert_eq!(bans.tick(at(20)).len(), 2);
    assert_eq!(bans.deadline(), Some(at(30)));
}

#[test]
fn a_discouragement_leaves_a_ban_as_it_is_and_outlives_it() {
    let mut bans = Bans::default();
    bans.ban(at(0), ban("192.0.2.1", 10)).unwrap();
    bans.discourage(target("192.0.2.1"), at(20));
    bans.discourage(target("192.0.2.1"), at(15));
    assert_eq!(bans.verdict(at(1), None, ip("192.0.2.1")), Some(Verdict::Banned));
    assert_eq!(bans.tick(at(10)), [(target("192.0.2.1"), Verdict::Banned)]);
    assert_eq!(bans.verdict(at(19), None, ip("192.0.2.1")), Some(Verdict::Discouraged));
    assert!(bans.lift_only(target("192.0.2.1"), Verdict::Discouraged));
    assert!(!bans.lift(target("192.0.2.1")));
}

#[test]
fn one_ban_too_many_is_refused_and_one_discouragement_too_many_drops_the_first_to_end() {
    let mut bans = Bans::new(1, 2);
    bans.ban(at(0), ban("192.0.2.1", 10)).unwrap();
    assert_eq!(bans.ban(at(0), ban("192.0.2.2", 10)), Err(BanError::Full(1)));
    bans.ban(at(0), ban("192.0.2.1", 12)).unwrap();
    // What has ended needs no room.
    bans.ban(at(12), ban("192.0.2.2", 20)).unwrap();
    for (n, until) in [(1, 30), (2, 20), (3, 40)] {
        bans.discourage(target(&format!("198.51.100.{n}")), at(until));
    }
    let left: Vec<_> = bans.discouraged().map(|(target, _)| target.to_string()).collect();
    assert_eq!(left, ["198.51.100.1", "198.51.100.3"]);
}

#[test]
fn an_ipv6_address_stands_for_its_subnet() {
    assert_eq!(Target::of_ip("2001:db8::7".parse().unwrap()), target("2001:db8::/64"));
    assert_eq!(Target::of_ip("::ffff:192.0.2.7".parse().unwrap()), target("192.0.2.7"));
}

#[derive(Debug, Clone)]
enum Step {
    Ban(u8, u8, u64),
    Discourage(u8, u8, u64),
    Lift(u8, u8),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<u8>(), 0u8..34, 0u64..50).prop_map(|(a, p, t)| Step::Ban(a, p, t)),
        (any::<u8>(), 0u8..34, 0u64..50).prop_map(|(a, p, t)| Step::Discourage(a, p, t)),
        (any::<u8>(), 0u8..34).prop_map(|(a, p)| Step::Lift(a, p)),
        (0u64..50).prop_map(Step::Tick),
    ]
}

/// A few targets that overlap: subnets of one address space, or ids.
fn nth(a: u8, prefix: u8) -> Target {
    match prefix {
        33 => Target::Node(NodeId::from_u128(u128::from(a % 4))),
        _ => Target::Net(Subnet::new(IpAddr::from([10, 0, a % 2, a]), prefix)),
    }
}

proptest! {
    /// The index gives what looking at every target would, and the bounds hold.
    #[test]
    fn the_index_agrees_with_looking_at_all(steps in proptest::collection::vec(step(), 1..80)) {
        let (mut bans, mut now) = (Bans::new(8, 8), 0);
        for step in steps {
            match step {
                Step::Ban(a, p, t) => {
                    let ban = Ban { target: nth(a, p), ..ban("1.1.1.1", now + t) };
                    let _may_be_full = bans.ban(at(now), ban);
                }
                Step::Discourage(a, p, t) => bans.discourage(nth(a, p), at(now + t)),
                Step::Lift(a, p) => { bans.lift(nth(a, p)); }
                Step::Tick(secs) => {
                    now += secs;
                    bans.tick(at(now));
                    prop_assert!(bans.deadline().is_none_or(|due| due > at(now)));
                }
            }
            prop_assert!(bans.bans().count() <= 8 && bans.discouraged().count() <= 8);
            for last in 0..=40u8 {
                let (id, ip) = (NodeId::from_u128(u128::from(last)), IpAddr::from([10, 0, 0, last]));
                let covers = |target: &Target| target.covers(Some(id), Some(ip));
                let banned = bans.bans().any(|ban| covers(&ban.target) && ban.until > at(now));
                let other = bans.discouraged().any(|(t, until)| covers(&t) && until > at(now));
                let expected = match (banned, other) {
                    (true, _) => Some(Verdict::Banned),
                    (false, true) => Some(Verdict::Discouraged),
                    (false, false) => None,
                };
                prop_assert_eq!(bans.verdict(at(now), Some(id), Some(ip)), expected);
            }
        }
    }
}
