//! Whether the node can listen where it is to, and whether it answers there.

use std::io;

use peerage::{HostPort, NodeId, StartError};

use super::{
    bootstrap::Answer,
    finding::{Finding, Verdict},
};

/// What came of a place to listen.
#[derive(Debug)]
pub(super) enum Port {
    /// Nobody uses it, and this user may.
    Free,
    /// It cannot be had, and a peerage node answers there if one was met.
    Taken(io::Error, Option<NodeId>),
    /// The node runs: what came of dialling it there.
    Dialled(NodeId, Answer),
}

pub(super) fn judge(addr: &HostPort, port: Port) -> Finding {
    let found =
        |verdict, code: &str, text: String| Finding::new("port", verdict, code, text).about(addr);
    match port {
        Port::Free => found(Verdict::Ok, "free", "it is free".to_owned()),
        Port::Taken(source, other) => {
            let (code, remedy) = remedy_of(&source, addr, other);
            let text = match other {
                Some(id) => format!("node {id} uses it already"),
                None => StartError::Listen { addr: addr.clone(), source }.to_string(),
            };
            found(Verdict::Fail, code, text).remedy(remedy)
        }
        Port::Dialled(me, Answer::Node(there)) if me == there => {
            found(Verdict::Ok, "answers", "the node answers there".to_owned())
        }
        Port::Dialled(_, Answer::Node(other)) => {
            let text = format!("another node answers there: {other}");
            found(Verdict::Fail, "wrong-node", text)
                .remedy("stop one of the two, or have it --listen on another port")
        }
        // It is there, and does what it is told.
        Port::Dialled(_, Answer::Refused(code, _))
            if ["not-allowed", "full", "duplicate"].contains(&code.as_str()) =>
        {
            let text = format!("the node answers there, and refuses a stranger: {code}");
            found(Verdict::Ok, &code, text)
        }
        Port::Dialled(_, Answer::Refused(code, detail)) => {
            let text = format!("the node does not answer there: {code} {detail}");
            found(Verdict::Fail, &code, text.trim_end().to_owned())
                .remedy("see its log, and that no firewall of this machine is in the way")
        }
    }
}

fn remedy_of(error: &io::Error, addr: &HostPort, other: Option<NodeId>) -> (&'static str, String) {
    let port = addr.port();
    match error.kind() {
        io::ErrorKind::AddrInUse if other.is_some() => (
            "in-use",
            "stop it, or have this node --listen on another port; `--data-dir DIR` if that one was meant".to_owned(),
        ),
        io::ErrorKind::AddrInUse => (
            "in-use",
            format!(
                "`ss -ltnp 'sport = :{port}'` shows the program: stop it, or --listen on another port"
            ),
        ),
        io::ErrorKind::AddrNotAvailable => (
            "no-such-address",
            format!("--listen 0.0.0.0:{port} is every IPv4 address of this machine"),
        ),
        io::ErrorKind::PermissionDenied => {
            ("not-permitted", "--listen on a port above 1023".to_owned())
        }
        _ => ("refused", "--listen on another address or port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_fail_has_its_code_and_its_remedy() {
        let addr: HostPort = "0.0.0.0:5999".parse().unwrap();
        let me: NodeId = "c60148b1-a516-8314-8961-8751ed893ce1".parse().unwrap();
        let other: NodeId = "7f16ad79-c3e6-893b-bb25-2fd9ea819a52".parse().unwrap();
        let taken = |kind: io::ErrorKind, by| Port::Taken(kind.into(), by);
        for (port, code, needed) in [
            (taken(io::ErrorKind::AddrInUse, None), "in-use", "ss -ltnp 'sport = :5999'"),
            (taken(io::ErrorKind::AddrInUse, Some(other)), "in-use", "another port"),
            (taken(io::ErrorKind::AddrNotAvailable, None), "no-such-address", "0.0.0.0:5999"),
            (taken(io::ErrorKind::PermissionDenied, None), "not-permitted", "above 1023"),
            (Port::Dialled(me, Answer::Node(other)), "wrong-node", "another port"),
            (
                Port::Dialled(me, Answer::Refused("timeout".to_owned(), String::new())),
                "timeout",
                "firewall",
            ),
        ] {
            let finding = judge(&addr, port);
            assert_eq!((finding.verdict, finding.code.as_str()), (Verdict::Fail, code));
            let remedy = finding.remedy.unwrap();
            assert!(remedy.contains(needed), "{remedy}");
        }
        for port in [Port::Free, Port::Dialled(me, Answer::Node(me))] {
            assert_eq!(judge(&addr, port).verdict, Verdict::Ok);
        }
    }
}
