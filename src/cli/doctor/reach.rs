//! Whether others can dial the node: is there a NAT in between, and has anybody come through?

use std::{net::IpAddr, time::Duration};

use peerage::{HostPort, NodeId, address::Class};

use super::{
    bootstrap::Answer,
    finding::{Finding, Verdict},
};

/// A node that has run for so long has been dialled, if it can be.
const LONG: Duration = Duration::from_secs(600);

/// Connections that others have made, by where they came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Inbound {
    pub(super) of_this_machine: usize,
    pub(super) of_this_site: usize,
    pub(super) of_elsewhere: usize,
}

/// What a running node has seen.
#[derive(Debug)]
pub(super) struct Experience {
    pub(super) id: NodeId,
    pub(super) uptime: Duration,
    pub(super) inbound: Inbound,
    /// The public addresses at which peers elsewhere see it.
    pub(super) observed: Vec<IpAddr>,
    /// What came of dialling the address that others are told, from here.
    pub(super) outside: Option<(HostPort, Answer)>,
}

/// What tells of how others reach the node.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) listen: Vec<HostPort>,
    pub(super) advertise: Option<HostPort>,
    /// This machine's addresses on its ways to other networks.
    pub(super) local: Vec<IpAddr>,
    pub(super) experience: Option<Experience>,
}

pub(super) fn judge(reach: &Reach) -> Vec<Finding> {
    let listens_only_here =
        reach.listen.iter().all(|addr| addr.class() == Class::Loopback) && !reach.listen.is_empty();
    if reach.listen.is_empty() {
        let text = "it does not listen: it dials others, and nobody can dial it";
        return vec![Finding::new("reachable", Verdict::Note, "not-listening", text)];
    }
    if listens_only_here {
        let text = "it listens on loopback only: nodes of this machine alone can dial it";
        let remedy = "to be dialled by others, --listen 0.0.0.0:5999";
        return vec![Finding::new("reachable", Verdict::Note, "loopback", text).remedy(remedy)];
    }
    vec![nat(reach), reachable(reach)]
}

impl Reach {
    fn port(&self) -> u16 {
        self.listen.first().map_or(5999, HostPort::port)
    }

    /// Those of this machine's addresses at which it listens.
    fn listened(&self) -> Vec<IpAddr> {
        let is_listened = |ip: &IpAddr| {
            self.listen.iter().filter_map(HostPort::ip).any(|at| match at {
                IpAddr::V6(at) if at.is_unspecified() => true,
                at => at == *ip || (at.is_unspecified() && at.is_ipv4() == ip.is_ipv4()),
            })
        };
        self.local.iter().copied().filter(is_listened).collect()
    }

    /// What has to be done on a router.
    fn forwarding(&self, outside: Option<IpAddr>) -> String {
        let port = self.port();
        let local = self.listened();
        let to = local.iter().find(|ip| ip.is_ipv4()).or(local.first());
        let to = to.map_or_else(|| "this machine".to_owned(), |ip| place(*ip, port));
        let outside =
            outside.map_or_else(|| format!("PUBLIC-ADDRESS:{port}"), |ip| place(ip, port));
        format!(
            "forward TCP port {port} of the router to {to} and say --advertise {outside}; without, the node works, but only dials"
        )
    }
}

fn place(ip: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(ip, port).to_string()
}

fn nat(reach: &Reach) -> Finding {
    let found = |verdict, code, text: String| Finding::new("nat", verdict, code, text);
    let local = reach.listened();
    let observed = reach.experience.as_ref().map_or(&[][..], |seen| &seen.observed);
    if let Some(ip) = observed.iter().find(|ip| local.contains(ip)) {
        return found(
            Verdict::Ok,
            "none",
            format!("none: others see this machine at its own address {ip}"),
        );
    }
    let shown = |ips: &[IpAddr]| {
        let all: Vec<String> = ips.iter().map(ToString::to_string).collect();
        all.join(", ")
    };
    let here = shown(&local);
    let (public, private): (Vec<IpAddr>, Vec<IpAddr>) =
        local.iter().partition(|ip| Class::of(**ip) == Class::Public);
    match (observed.first(), &reach.advertise) {
        (Some(ip), Some(addr)) => {
            let text = format!(
                "there is one: this machine is {here}, and others see {ip}; the node tells them {addr}"
            );
            found(Verdict::Note, "advertised", text)
        }
        (Some(ip), None) => {
            let text = format!("there is one: this machine is {here}, and others see {ip}");
            found(Verdict::Warn, "nat", text).remedy(reach.forwarding(Some(*ip)))
        }
        (None, _) if local.is_empty() => {
            let text = "this machine has no way to other networks".to_owned();
            found(Verdict::Note, "no-route", text)
        }
        (None, _) if private.is_empty() => {
            let text = format!("none, it seems: this machine has the public address {here}");
            found(Verdict::Ok, "public", text)
        }
        (None, None) if !public.is_empty() => {
            let text = format!(
                "none for its public address {}, it seems; through {} nodes elsewhere reach it by a NAT, if at all",
                shown(&public),
                shown(&private)
            );
            found(Verdict::Note, "partly", text).remedy(reach.forwarding(None))
        }
        (None, advertise) => {
            let text = format!(
                "this machine has only private addresses ({here}): nodes elsewhere reach it through a NAT, if at all"
            );
            match advertise {
                Some(addr) => {
                    found(Verdict::Note, "advertised", format!("{text}; it tells them {addr}"))
                }
                None => found(Verdict::Note, "private", text).remedy(reach.forwarding(None)),
            }
        }
    }
}

fn reachable(reach: &Reach) -> Finding {
    let found = |verdict, code, text: String| Finding::new("reachable", verdict, code, text);
    let Some(Experience { id, uptime, inbound, outside, .. }) = &reach.experience else {
        let text = "whether others can dial it shows only when it runs".to_owned();
        return found(Verdict::Note, "not-running", text)
            .remedy("start it (`peerage run`), and ask again after some minutes");
    };
    let Inbound { of_elsewhere, of_this_site, .. } = inbound;
    if *of_elsewhere > 0 {
        let text = format!("yes: {of_elsewhere} of its sessions were dialled by nodes elsewhere");
        return found(Verdict::Ok, "dialled", text);
    }
    // What a machine dials at its own address does not leave it, and meets no firewall.
    let is_through = |addr: &HostPort| addr.ip().is_some_and(|ip| !reach.local.contains(&ip));
    if let Some((addr, Answer::Node(there))) = outside
        && there == id
        && is_through(addr)
    {
        let text = format!("it seems so: dialled through {addr}, as others do, it answers");
        return found(Verdict::Ok, "answers", text);
    }
    if *of_this_site > 0 {
        let text = format!(
            "yes, for nodes of this site, of which {of_this_site} dialled it; none elsewhere has yet"
        );
        return found(Verdict::Ok, "dialled-near", text);
    }
    let port = reach.port();
    let remedy = format!(
        "see that the firewall of this machine lets TCP port {port} in, and that a router forwards it"
    );
    match outside {
        Some((addr, Answer::Node(other))) if other != id => {
            let text = format!("another node answers at {addr}, which others are told: {other}");
            let remedy = format!(
                "see where the router forwards TCP port {port} to, and what --advertise says"
            );
            found(Verdict::Fail, "wrong-node", text).remedy(remedy)
        }
        _ if *uptime < LONG => {
            let text = "nobody has dialled it yet, and it has not run for long".to_owned();
            found(Verdict::Note, "not-yet", text).remedy("ask again after some minutes")
        }
        _ => {
            let text = "nobody has dialled it since its start: most likely nobody can".to_owned();
            found(Verdict::Warn, "undialled", text).remedy(remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "c60148b1-a516-8314-8961-8751ed893ce1";

    fn reach(local: &[&str], experience: Option<Experience>) -> Reach {
        let local = local.iter().map(|ip| ip.parse().unwrap()).collect();
        let listen = vec!["0.0.0.0:5999".parse().unwrap()];
        Reach { listen, advertise: None, local, experience }
    }

    fn seen(observed: &[&str], inbound: Inbound, minutes: u64) -> Option<Experience> {
        let observed = observed.iter().map(|ip| ip.parse().unwrap()).collect();
        let uptime = Duration::from_secs(60 * minutes);
        Some(Experience { id: ID.parse().unwrap(), uptime, inbound, observed, outside: None })
    }

    fn codes(reach: &Reach) -> Vec<(Verdict, String)> {
        let findings = judge(reach);
        for finding in &findings {
            let is_bad = matches!(finding.verdict, Verdict::Warn | Verdict::Fail);
            assert!(!is_bad || finding.remedy.is_some(), "{finding:?}");
        }
        findings.into_iter().map(|finding| (finding.verdict, finding.code)).collect()
    }

    fn expect<const N: usize>(of: [(Verdict, &str); N]) -> Vec<(Verdict, String)> {
        of.map(|(verdict, code)| (verdict, code.to_owned())).into()
    }

    #[test]
    fn who_does_not_listen_or_only_here_is_not_dialled_by_others() {
        let mut here = reach(&["192.168.1.5"], None);
        here.listen = vec!["127.0.0.1:5999".parse().unwrap(), "[::1]:5999".parse().unwrap()];
        assert_eq!(codes(&here), expect([(Verdict::Note, "loopback")]));
        here.listen.clear();
        assert_eq!(codes(&here), expect([(Verdict::Note, "not-listening")]));
    }

    #[test]
    fn before_the_start_only_the_machine_s_own_addresses_tell() {
        let later = (Verdict::Note, "not-running");
        let of = |local: &[&str]| codes(&reach(local, None));
        assert_eq!(of(&["192.168.1.5"]), expect([(Verdict::Note, "private"), later]));
        assert_eq!(of(&["8.8.8.8"]), expect([(Verdict::Ok, "public"), later]));
        assert_eq!(of(&["10.0.0.1", "2001:db8::1"]), expect([(Verdict::Note, "private"), later]));
        let mut both = reach(&["10.0.0.1", "2001:db8::1"], None);
        both.listen = vec!["[::]:5999".parse().unwrap()];
        assert_eq!(codes(&both), expect([(Verdict::Note, "partly"), later]));
        assert_eq!(of(&[]), expect([(Verdict::Note, "no-route"), later]));
    }

    #[test]
    fn what_others_see_tells_a_nat_and_what_to_forward() {
        let none = Inbound::default();
        let mut behind = reach(&["192.168.1.5"], seen(&["203.0.113.7"], none, 60));
        assert_eq!(codes(&behind), expect([(Verdict::Warn, "nat"), (Verdict::Warn, "undialled")]));
        let remedy = judge(&behind)[0].remedy.clone().unwrap();
        assert!(
            remedy.contains("to 192.168.1.5:5999 and say --advertise 203.0.113.7:5999"),
            "{remedy}"
        );
        behind.advertise = Some("203.0.113.7:5999".parse().unwrap());
        assert_eq!(codes(&behind)[0], (Verdict::Note, "advertised".to_owned()));
        let open = reach(&["203.0.113.7"], seen(&["203.0.113.7"], none, 1));
        assert_eq!(codes(&open), expect([(Verdict::Ok, "none"), (Verdict::Note, "not-yet")]));
    }

    #[test]
    fn sessions_that_others_dialled_and_an_answer_from_outside_prove_it() {
        let local = &["192.168.1.5"][..];
        let second = |inbound, outside: Option<&str>| {
            let mut experience = seen(&["203.0.113.7"], inbound, 60).unwrap();
            let addr: HostPort = "203.0.113.7:5999".parse().unwrap();
            experience.outside = outside.map(|id| (addr, Answer::Node(id.parse().unwrap())));
            codes(&reach(local, Some(experience))).pop().unwrap()
        };
        let far = Inbound { of_elsewhere: 2, ..Inbound::default() };
        let near = Inbound { of_this_site: 1, ..Inbound::default() };
        let other = "7f16ad79-c3e6-893b-bb25-2fd9ea819a52";
        let none = Inbound::default();
        assert_eq!(second(far, None), (Verdict::Ok, "dialled".to_owned()));
        assert_eq!(second(near, None), (Verdict::Ok, "dialled-near".to_owned()));
        assert_eq!(second(none, Some(ID)), (Verdict::Ok, "answers".to_owned()));
        let mut experience = seen(&["203.0.113.7"], none, 60).unwrap();
        let addr: HostPort = "203.0.113.7:5999".parse().unwrap();
        experience.outside = Some((addr, Answer::Node(ID.parse().unwrap())));
        let itself = codes(&reach(&["203.0.113.7"], Some(experience)));
        assert_eq!(itself[1], (Verdict::Warn, "undialled".to_owned()), "that proves nothing");
        assert_eq!(second(none, Some(other)), (Verdict::Fail, "wrong-node".to_owned()));
    }
}
