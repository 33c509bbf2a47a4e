use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;

fn ground(n: u8) -> Ground {
    Ground::of(&format!("9.{n}.0.1:1").parse().unwrap())
}

/// A session from the n-th group that came up at this second.
fn session(link: u64, group: u8, since: u64) -> Candidate {
    let ground = ground(group);
    let rank = ground.rank(7);
    Candidate {
        link: LinkId(link),
        since: Moment::after(Duration::from_secs(since)),
        rtt_min: None,
        ground,
        rank,
        proven: true,
        discouraged: false,
    }
}

fn with_rtt(candidate: Candidate, ms: u128) -> Candidate {
    Candidate { rtt_min: Some(ms), ..candidate }
}

#[test]
fn grounds_are_groups_of_public_addresses_and_subnets_of_others() {
    let of = |text: &str| Ground::of(&text.parse().unwrap());
    assert_eq!(of("8.8.1.1:1"), of("8.8.9.9:2"));
    assert_ne!(of("8.8.1.1:1"), of("8.9.1.1:1"));
    assert_eq!(of("10.0.0.1:1"), of("10.0.0.2:2"));
    assert_ne!(of("10.0.0.1:1"), of("10.0.1.1:1"));
    assert_eq!(of("127.0.0.1:1"), of("127.0.0.1:2"));
    assert_ne!(of("8.8.1.1:1").rank(1), of("8.8.1.1:1").rank(2));
}

#[test]
fn the_youngest_of_the_largest_group_gives_way() {
    let mut all: Vec<_> = (1..=8).map(|n| session(n, n as u8, n)).collect();
    all.extend((9..=16).map(|n| session(n, 99, 100 + n)));
    let choice = choose(all, &ground(50), 16);
    assert_eq!(choice, Choice { evicted: Some(LinkId(16)), group: 8, protected: 8 });
}

#[test]
fn a_newcomer_of_the_largest_group_or_of_one_as_large_is_refused() {
    let mut all: Vec<_> = (1..=8).map(|n| session(n, n as u8, n)).collect();
    all.extend((9..=16).map(|n| session(n, 99, 100 + n)));
    assert_eq!(choose(all.clone(), &ground(99), 16).evicted, None);
    let singles: Vec<_> = (1..=16).map(|n| session(n, n as u8, n)).collect();
    assert_eq!(choose(singles, &ground(50), 16).evicted, None);
}

#[test]
fn the_near_and_the_long_connected_are_protected_though_their_group_is_large() {
    let mut all: Vec<_> = (1..=6).map(|n| session(n, 99, n)).collect();
    // The youngest, but the nearest.
    all[5] = with_rtt(all[5].clone(), 1);
    // One protected for its group, one for being near, half of the other four.
    let choice = choose(all, &ground(50), 6);
    assert_eq!(choice, Choice { evicted: Some(LinkId(5)), group: 6, protected: 4 });
}

#[test]
fn nobody_unprotected_means_that_the_newcomer_is_refused() {
    assert_eq!(choose(vec![session(1, 1, 1)], &ground(50), 1).evicted, None);
    assert_eq!(choose(vec![], &ground(50), 0).evicted, None);
}

#[test]
fn the_discouraged_go_first_whatever_else_speaks_for_them() {
    let mut all: Vec<_> = (1..=8).map(|n| with_rtt(session(n, n as u8, n), n.into())).collect();
    all[0].discouraged = true;
    assert_eq!(choose(all, &ground(2), 8).evicted, Some(LinkId(1)));
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (0u8..12, 0u64..50, proptest::option::of(1u128..100), any::<bool>(), 0u8..20);
    proptest::collection::vec(one, 0..60).prop_map(|list| {
        let all = list.into_iter().zip(1..).map(|((group, since, rtt_min, proven, d), link)| {
            let discouraged = d == 0;
            Candidate { rtt_min, proven, discouraged, ..session(link, group, since) }
        });
        all.collect()
    })
}

/// The sum of the squared sizes of all groups.
fn crowding(all: &[Candidate], also: Option<&Ground>) -> usize {
    let grounds = all.iter().map(|c| &c.ground).chain(also);
    let mut sizes: BTreeMap<&Ground, usize> = BTreeMap::new();
    for ground in grounds {
        *sizes.entry(ground).or_default() += 1;
    }
    sizes.values().map(|n| n * n).sum()
}

proptest! {
    #[test]
    fn the_order_of_the_candidates_does_not_matter(all in candidates(), group in 0u8..14) {
        let max = all.len();
        let mut turned = all.clone();
        turned.reverse();
        let ground = ground(group);
        prop_assert_eq!(choose(all, &ground, max), choose(turned, &ground, max));
    }

    /// Every eviction but that of a discouraged one makes the sessions more diverse.
    #[test]
    fn an_eviction_makes_the_sessions_more_diverse(all in candidates(), group in 0u8..14) {
        let (max, new) = (all.len(), ground(group));
        let before = crowding(&all, None);
        let is_any_discouraged = all.iter().any(|c| c.discouraged);
        if let Some(link) = choose(all.clone(), &new, max).evicted {
            let (gone, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|c| c.link == link);
            prop_assert_eq!(gone.len(), 1);
            if is_any_discouraged {
                prop_assert!(gone[0].discouraged);
            } else {
                prop_assert!(crowding(&rest, Some(&new)) < before);
            }
        }
    }

    /// The oldest of all is never evicted: it is protected for its age, or before that for another
    /// reason; neither are the nearest.
    #[test]
    fn the_nearest_and_the_oldest_stay(all in candidates(), group in 0u8..14) {
        let all: Vec<_> =
            all.into_iter().map(|c| Candidate { discouraged: false, ..c }).collect();
        let max = all.len();
        let evicted = choose(all.clone(), &ground(group), max).evicted;
        let mut by_age = all.clone();
        by_age.sort_by_key(|c| (c.since, c.link));
        // Those protected for other reasons are at most an eighth and two.
        let others = 2 * max.div_ceil(16);
        let oldest = by_age.iter().take(max.saturating_sub(others) / 2);
        let mut near: Vec<_> = all.iter().filter(|c| c.rtt_min.is_some()).collect();
        near.sort_by_key(|c| (c.rtt_min, c.since, c.link));
        let nearest = near.into_iter().take(max.div_ceil(16));
        let stay: BTreeSet<_> = oldest.chain(nearest).map(|c| Some(c.link)).collect();
        prop_assert!(evicted.is_none() || !stay.contains(&evicted));
    }
}
