use super::*;
use crate::{
    ids::LinkId,
    peer::{Channel, ChannelSecurity},
    proto::bans::Ban,
};

const VOUCHED: Channel = Channel { security: ChannelSecurity::Vouched, key: None };

fn at(secs: u64) -> Moment {
    Moment::after(Duration::from_secs(secs))
}

fn addr(text: &str) -> HostPort {
    text.parse().unwrap()
}

fn peer(id: u128, direction: Direction, remote: &str, channel: Channel) -> PeerInfo {
    PeerInfo {
        id: NodeId::from_u128(id),
        channel,
        link: LinkId(1),
        direction,
        remote: addr(remote),
        listen: None,
        observed: None,
        agent: None,
        features: Vec::new(),
        tags: Default::default(),
        since: at(0),
        last_seen: at(0),
        rtt: None,
    }
}

fn admission(bootstrap: &[&str]) -> Admission {
    let limits = LimitsConfig { max_inbound: 10, ..LimitsConfig::default() };
    let mut admission = Admission::new(&limits, &TrustConfig::default());
    let contacts: Vec<Bootstrap> = bootstrap.iter().map(|text| text.parse().unwrap()).collect();
    admission.spared = Spared::new(&contacts);
    admission
}

/// Whom a violation of this peer discourages.
fn blamed(admission: &mut Admission, info: &PeerInfo) -> Option<String> {
    let standing = admission.blame(at(0), info.direction, &info.remote, Some(info))?;
    Some(standing.target.to_string())
}

fn reason(admission: &Admission, info: &PeerInfo, n_inbound: usize) -> Option<CloseReason> {
    admission.objection(at(1), info, n_inbound).map(|refusal| refusal.reason)
}

const IN: Direction = Direction::Inbound;
const OUT: Direction = Direction::Outbound;

#[test]
fn a_proven_node_is_to_blame_itself_and_nobody_else_at_its_address() {
    let mut admission = admission(&[]);
    let bad = peer(7, IN, "8.8.8.8:1", VOUCHED);
    assert_eq!(blamed(&mut admission, &bad), Some(bad.id.to_string()));
    assert_eq!(reason(&admission, &bad, 0), Some(CloseReason::Discouraged));
    assert_eq!(
        reason(&admission, &PeerInfo { direction: OUT, ..bad.clone() }, 0),
        Some(CloseReason::Discouraged)
    );
    assert_eq!(reason(&admission, &peer(8, IN, "8.8.8.8:1", VOUCHED), 9), None);
    // Whoever only says to be that node is not refused for it, or anybody could have it refused.
    assert_eq!(reason(&admission, &peer(7, IN, "9.9.9.9:1", Channel::PLAINTEXT), 9), None);
    assert!(admission.objection(at(3600), &bad, 9).is_none(), "it ends by itself");
}

#[test]
fn a_discouraged_address_is_refused_only_while_room_is_scarce() {
    let mut admission = admission(&[]);
    let bad = peer(7, IN, "8.8.8.8:1", Channel::PLAINTEXT);
    assert_eq!(blamed(&mut admission, &bad).as_deref(), Some("8.8.8.8"));
    let other = peer(8, IN, "8.8.8.8:2", VOUCHED);
    assert_eq!(reason(&admission, &other, 4), None);
    assert!(admission.is_discouraged(at(1), &other), "but it goes first");
    assert_eq!(reason(&admission, &other, 5), Some(CloseReason::Discouraged));
    assert_eq!(reason(&admission, &peer(8, OUT, "8.8.8.8:2", VOUCHED), 9), None);
}

#[test]
fn loopback_and_hearsay_and_what_the_operator_named_are_not_to_blame() {
    let mut admission = admission(&["8.8.4.4:1", "seed.example:1", "127.0.0.1:5000"]);
    admission.spared.resolved(&addr("seed.example:1"), ["9.9.9.9".parse().unwrap()]);
    admission.spared.resolved(&addr("other.example:1"), ["9.9.9.8".parse().unwrap()]);
    for (info, spared) in [
        (peer(7, IN, "127.0.0.1:9", Channel::PLAINTEXT), true),
        (peer(7, IN, "127.0.0.1:9", VOUCHED), false),
        (peer(8, OUT, "127.0.0.1:5000", VOUCHED), true),
        (peer(9, OUT, "8.8.4.4:1", VOUCHED), true),
        (peer(9, IN, "8.8.4.4:7", Channel::PLAINTEXT), true),
        (peer(9, OUT, "9.9.9.9:1", Channel::PLAINTEXT), true),
        (peer(9, OUT, "9.9.9.8:1", Channel::PLAINTEXT), false),
    ] {
        assert_eq!(blamed(&mut admission, &info).is_none(), spared, "{} {}", info.remote, info.id);
    }
    assert_eq!(admission.blame(at(0), OUT, &addr("1.1.1.1:22"), None), None);
    assert!(admission.blame(at(0), IN, &addr("1.1.1.1:22"), None).is_some());
}

#[test]
fn a_contact_is_dialled_though_its_id_is_discouraged_and_not_if_it_is_banned() {
    let mut admission = admission(&["8.8.4.4:1"]);
    assert!(blamed(&mut admission, &peer(7, IN, "7.7.7.7:1", VOUCHED)).is_some());
    let contact = peer(7, OUT, "8.8.4.4:1", VOUCHED);
    assert_eq!(reason(&admission, &contact, 9), None);
    let target = Target::Node(contact.id);
    let ban = Ban { target, since: at(0), until: at(9), note: String::new() };
    admission.bans.ban(at(0), ban).unwrap();
    assert_eq!(reason(&admission, &contact, 9), Some(CloseReason::Banned));
}

#[test]
fn a_banned_address_may_not_even_connect() {
    let mut admission = admission(&[]);
    let target = "8.8.0.0/16".parse().unwrap();
    let ban = Ban { target, since: at(0), until: at(9), note: String::new() };
    admission.bans.ban(at(0), ban).unwrap();
    for direction in [IN, OUT] {
        let refused = admission.enter(at(1), direction, &addr("8.8.8.8:1")).unwrap_err();
        assert_eq!(refused.reason, CloseReason::Banned);
        assert_eq!(admission.enter(at(9), direction, &addr("8.8.8.8:1")), Ok(()));
    }
}
