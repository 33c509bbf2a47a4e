//! What always holds for the small machines, whatever happens to them. The larger ones have their
//! properties beside their other tests.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{
    NodeConfig, Security,
    address::{Bootstrap, HostPort},
    clock::Moment,
    config::{DiscoveryConfig, LimitsConfig, LivenessConfig, TrustConfig},
    identity::{NetworkKey, PublicKey},
    ids::NodeId,
    peer::{Channel, ChannelSecurity, Direction},
    proto::{
        address_entry::NotTaken,
        admission::{Admission, Spared},
        bootstrap_names::BootstrapNames,
        credentials::{Credentials, Established},
        diversity::Diversity,
        intake::Intake,
        journal::{Decision, JournalQuery, Kind, Ring},
        liveness::{Due, Liveness},
        own_address::{OwnAddress, Settled},
        redial::{Ladder, jittered},
        stall::Stall,
    },
    testkit::minimal_hello,
};

fn after(ms: u64) -> Moment {
    Moment::after(Duration::from_millis(ms))
}

fn addr(n: u8) -> HostPort {
    match n % 4 {
        0 => format!("127.0.0.1:{}", 1000 + u16::from(n)),
        1 => format!("10.0.0.{n}:5999"),
        2 => format!("8.{}.0.{n}:5999", n % 8),
        _ => format!("[2001:db8::{n}]:5999"),
    }
    .parse()
    .unwrap()
}

fn security() -> impl Strategy<Value = Security> {
    prop_oneof![Just(Security::Require), Just(Security::Prefer), Just(Security::Off)]
}

fn established() -> impl Strategy<Value = Established> {
    let key = (0..3u8, any::<[u8; 32]>()).prop_map(|(n, binding)| {
        let key = Some(PublicKey::from_bytes([n; 32]));
        let channel = Channel { security: ChannelSecurity::Encrypted, key };
        Established { binding, ..Established::of(channel) }
    });
    prop_oneof![key, Just(Established::of(Channel::PLAINTEXT))]
}

proptest! {
    /// Over TCP no hello of an id that can prove itself is believed without the proof, and in a
    /// private network none without the proof of membership on this very channel.
    #[test]
    fn nothing_is_believed_that_could_be_proven_and_is_not(
        security in security(),
        established in established(),
        claimed in 0..3u8,
        classic: bool,
        private: bool,
        proof in prop_oneof![Just(0u8), Just(1), Just(2)],
    ) {
        let secret = NetworkKey::new(b"0123456789abcdef").unwrap();
        let mut config = NodeConfig { security, ..NodeConfig::default() };
        config.trust.network_key = private.then(|| secret.clone());
        let us = Credentials::new(NodeId::from_u128(1), &config);
        let key = PublicKey::from_bytes([claimed; 32]);
        let id = if classic { NodeId::from_u128(7) } else { key.node_id() };
        let binding = if proof == 1 { established.binding } else { [9; 32] };
        let member = (proof > 0).then(|| secret.proof(&binding, Direction::Outbound));
        let hello = crate::wire::Hello { nodeid: id, member, ..minimal_hello(0) };
        let believed = us.check_channel(&established, None).is_none()
            && us.check_hello(&established, &hello, Direction::Outbound).is_none();
        if believed {
            prop_assert!(classic || security == Security::Off || established.channel.proves(id));
            prop_assert!(!private || (proof == 1 && established.channel.key.is_some()));
            prop_assert!(security != Security::Require || established.channel.proves(id));
        }
    }

    /// The deadline never lies in the past once what was due is done, pings never come faster than
    /// their interval, and a peer dies only after the whole of dead-after without an answer.
    #[test]
    fn a_peer_is_pinged_in_time_and_dies_only_of_silence(steps in vec((0..90_000u64, any::<bool>()), 1..60)) {
        let config = LivenessConfig::default();
        let mut liveness = Liveness::new(config, after(0));
        let (mut now, mut answered, mut pinged) = (0, 0, None);
        for (wait, answers) in steps {
            now += wait;
            match liveness.tick(after(now)) {
                Due::Dead => {
                    prop_assert!(after(now).since(after(answered)) >= config.dead_after);
                    break;
                }
                Due::Ping => {
                    let earlier = pinged.replace(now);
                    prop_assert!(earlier.is_none_or(|at| now - at >= 60_000));
                }
                Due::Nothing => {}
            }
            prop_assert!(liveness.deadline() > after(now));
            if answers && liveness.pong(after(now)).is_some() {
                answered = now;
            }
        }
    }

    /// Nobody is slow who has taken everything, and nobody before the timeout.
    #[test]
    fn only_who_takes_too_little_for_too_long_is_slow(
        steps in vec((0..3000u64, any::<bool>(), any::<bool>(), any::<bool>()), 1..60),
    ) {
        let mut stall = Stall::new(Duration::from_secs(5));
        let (mut now, mut fine_at) = (0, 0);
        for (wait, taken, pending, refusing) in steps {
            now += wait;
            prop_assert!(!stall.is_slow(after(now)) || now - fine_at >= 5000);
            stall.observe(after(now), taken, pending, refusing);
            if !pending && !refusing {
                fine_at = now;
                prop_assert_eq!(stall.deadline(), None);
            }
        }
    }

    /// Jitter is a quarter at most, and no pause is longer than the longest by more than that.
    #[test]
    fn pauses_stay_within_a_quarter(seed: u64, ms in 1..10_000_000u64, failures in 0..100u32) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pause = Duration::from_millis(ms);
        let got = jittered(pause, &mut rng);
        prop_assert!(got >= pause.mul_f64(0.749) && got <= pause.mul_f64(1.251));
        let ladder = Ladder::new(DiscoveryConfig::default().redial);
        prop_assert!(ladder.pause_for_ever(failures, pause, &mut rng) <= pause.mul_f64(1.251));
    }

    /// Whatever peers report, the port is one that is listened on, one reporter has one voice, and
    /// what the operator settled stands.
    #[test]
    fn reports_never_move_what_is_settled_nor_the_port(
        settled: bool,
        reports in vec((any::<u8>(), any::<u8>()), 0..200),
    ) {
        let listening = [if settled { "20.0.0.1:7" } else { "0.0.0.0:7" }.parse().unwrap()];
        let mut own = OwnAddress::new(Settled::new(None, &listening));
        for (by, n) in reports {
            own.reported(&addr(by), &addr(n));
            let current = own.current();
            prop_assert!(current.as_ref().is_none_or(|addr| addr.port() == 7));
            prop_assert!(!settled || current.as_ref() == listening.first());
        }
    }

    /// A peer's unsolicited addresses never exceed its burst and rate, whatever it tells in how
    /// many lines, and what is refused is counted.
    #[test]
    fn unsolicited_addresses_keep_to_their_rate(lines in vec((0..20_000u64, 0..3000usize), 1..40)) {
        let config = DiscoveryConfig::default();
        let mut intake = Intake::new(&config, after(0));
        let (mut now, mut taken, mut told) = (0, 0, 0);
        for (wait, n) in lines {
            now += wait;
            told += n;
            taken += intake.allow(after(now), n);
        }
        let most = 1000 + now as usize / 100 + config.addr_reply_max;
        prop_assert!(taken <= most, "{} of {}", taken, told);
        let note = intake.note(NodeId::from_u128(1), after(now), true);
        prop_assert_eq!(note.is_some(), taken < told);
        prop_assert!(note.is_none_or(|note| note.reason == NotTaken::Rate.code()));
    }

    /// No more are counted of a group than there are, and the count comes back to nothing.
    #[test]
    fn the_sessions_of_a_group_are_counted_up_and_down(addrs in vec(any::<u8>(), 0..100)) {
        let mut diversity = Diversity::new(64, 64, 2);
        for n in &addrs {
            diversity.begun(&addr(*n));
        }
        let full = diversity.full(1000).count();
        prop_assert!(full <= addrs.len() / 2);
        for n in &addrs {
            diversity.ended(&addr(*n));
        }
        prop_assert_eq!(diversity.full(1000).count(), 0);
    }

    /// A name is never resolved twice at once, nor again before its pause, and its addresses carry
    /// its pin.
    #[test]
    fn names_are_resolved_one_at_a_time(steps in vec((0..100_000u64, 0..4u8), 1..60)) {
        let pin = PublicKey::from_bytes([1; 32]).node_id();
        let name: Bootstrap = format!("seed.example:1/{pin}").parse().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let ladder = Ladder::new(DiscoveryConfig::default().redial);
        let mut names = BootstrapNames::new(Duration::from_secs(60), ladder);
        names.add(after(0), &name);
        let (mut now, mut under_way) = (0, false);
        for (wait, what) in steps {
            now += wait;
            let due = names.due(after(now), &mut rng, |_| false);
            prop_assert!(due.len() <= usize::from(!under_way));
            under_way |= !due.is_empty();
            if under_way && what > 1 {
                under_way = false;
                let found = if what == 2 { Ok(vec![addr(2)]) } else { Err("no".to_owned()) };
                if let Ok(found) = names.resolved(after(now), &name.addr, found, &mut rng) {
                    prop_assert!(found.here.iter().all(|(_, id)| *id == Some(pin)));
                }
                prop_assert!(names.due(after(now), &mut rng, |_| false).is_empty());
            }
        }
    }

    /// The ring keeps no more than it may, in order, and counts every decision it was given.
    #[test]
    fn the_journal_is_bounded_and_counts_everything(
        capacity in 1..40usize,
        notes in vec((0..2000u64, any::<u8>(), any::<bool>()), 0..400),
    ) {
        let mut ring = Ring::new(capacity);
        let mut now = 0;
        for (wait, n, refused) in &notes {
            now += wait;
            let kind = if *refused { Kind::Refused } else { Kind::Proven };
            ring.push(Decision::new(after(now), kind, "full").addr(addr(*n)));
        }
        let kept = ring.find(&JournalQuery::default());
        prop_assert!(kept.len() <= capacity);
        prop_assert!(kept.is_sorted_by_key(|decision| decision.at));
        let all = JournalQuery { limit: Some(3), ..JournalQuery::default() };
        prop_assert!(ring.find(&all).len() <= 3);
    }

    /// Whoever enters is counted until it leaves, and the operator's contacts are never blamed.
    #[test]
    fn the_door_counts_right_and_spares_the_bootstraps(steps in vec((any::<u8>(), 0..3u8), 1..200)) {
        let limits = LimitsConfig { max_per_address: 3, max_per_subnet: 5, ..LimitsConfig::default() };
        let mut door = Admission::new(&limits, &TrustConfig::default());
        let contact = addr(2);
        door.spared = Spared::new(&[contact.clone().into()]);
        let mut inside: Vec<HostPort> = vec![];
        for (n, what) in steps {
            let remote = addr(n);
            match what {
                0 if door.enter(after(0), Direction::Inbound, &remote).is_ok() => inside.push(remote),
                1 if !inside.is_empty() => door.leave(&inside.swap_remove(usize::from(n) % inside.len())),
                2 => {
                    let blamed = door.blame(after(0), Direction::Inbound, &remote, None);
                    prop_assert!(blamed.is_none() || remote.ip() != contact.ip());
                }
                _ => {}
            }
            let of = |remote: &&HostPort| remote.ip() == addr(n).ip();
            let loopback = addr(n).ip().is_some_and(|ip| ip.is_loopback());
            prop_assert!(loopback || inside.iter().filter(of).count() <= 3);
        }
        for remote in inside {
            door.leave(&remote);
        }
        prop_assert_eq!(door.n_counted(), 0);
    }
}
