//! Whether the first contacts can be found and answer.

use peerage::{Bootstrap, HostPort, NodeId};

use super::finding::{Finding, Verdict};
use crate::cli::print::node::shorten;

/// What came of dialling an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// This node is there.
    Node(NodeId),
    /// There was no session: the code, and more for a person.
    Refused(String, String),
}

/// What came of one contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contact {
    /// It is where the node itself listens.
    Own,
    /// The name has no address: what the system said.
    Unresolved(String),
    /// What came of each of its addresses.
    Dialled(Vec<(HostPort, Answer)>),
}

impl Contact {
    /// Whether a node can join through it, as far as can be told.
    pub(super) fn answers(&self, pin: Option<NodeId>) -> bool {
        let Self::Dialled(answers) = self else { return false };
        answers.iter().any(|(_, answer)| is_good(answer, pin))
    }
}

/// Refusals by somebody who is there, and whom the real node may well get on with.
fn is_good(answer: &Answer, pin: Option<NodeId>) -> bool {
    match answer {
        Answer::Node(id) => pin.is_none_or(|pin| pin == *id),
        Answer::Refused(code, _) => {
            matches!(code.as_str(), "full" | "duplicate" | "not-allowed" | "introduced")
        }
    }
}

/// How it is with one contact; `is_alone` if no other one answers.
pub(super) fn judge(contact: &Bootstrap, came: &Contact, is_alone: bool) -> Finding {
    let bad = if is_alone { Verdict::Fail } else { Verdict::Warn };
    let found = |verdict, code: &str, text: String| {
        Finding::new("bootstrap", verdict, code, text).about(&contact.addr)
    };
    let answers = match came {
        Contact::Own => {
            return found(Verdict::Note, "own", "it is where this node itself listens".to_owned());
        }
        Contact::Unresolved(why) => {
            let text = format!("its name has no address: {why}");
            let host = contact.addr.to_string();
            let host = host.rsplit_once(':').map_or("", |(host, _)| host);
            let remedy = format!("check the name, and this machine's DNS: `getent hosts {host}`");
            return found(bad, "not-resolved", text).remedy(remedy);
        }
        Contact::Dialled(answers) => answers,
    };
    let bads = answers.iter().filter(|(_, answer)| !is_good(answer, contact.id));
    let good = answers.iter().find(|(_, answer)| is_good(answer, contact.id));
    match (good, bads.clone().next()) {
        (Some((addr, answer)), None) => good_one(contact, addr, answer),
        (Some((addr, _)), Some((other, Answer::Refused(code, _)))) => {
            let text = format!("a node answers at {addr}, but none at {other}: {code}");
            found(Verdict::Warn, code, text).remedy(remedy_of(code, other))
        }
        (Some((addr, _)), Some((other, Answer::Node(id)))) => {
            let text = format!("a node answers at {addr}, but another one at {other}: {id}");
            found(Verdict::Warn, "wrong-node", text).remedy(remedy_of("wrong-node", other))
        }
        (None, Some((addr, Answer::Node(id)))) => {
            let text = format!("another node than the one that is named answers: {id}");
            found(bad, "wrong-node", text).remedy(remedy_of("wrong-node", addr))
        }
        (None, Some((addr, Answer::Refused(code, detail)))) => {
            let more = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
            found(bad, code, format!("no session: {code}{more}")).remedy(remedy_of(code, addr))
        }
        (None, None) => {
            let text = "its name has no address".to_owned();
            found(bad, "not-resolved", text).remedy("check the name")
        }
    }
}

fn good_one(contact: &Bootstrap, addr: &HostPort, answer: &Answer) -> Finding {
    let found = |verdict, code: &str, text: String| {
        Finding::new("bootstrap", verdict, code, text).about(&contact.addr)
    };
    match answer {
        Answer::Node(id) => {
            let at = if *addr == contact.addr { String::new() } else { format!(" at {addr}") };
            found(Verdict::Ok, "answers", format!("node {} answers{at}", shorten(&id.to_string())))
        }
        Answer::Refused(code, _) if code == "not-allowed" => {
            let text = "it answers, and lets in only the nodes on its list; whether this one is there cannot be told from here";
            let remedy = "see that its list has this node's id: `peerage id`";
            found(Verdict::Note, code, text.to_owned()).remedy(remedy)
        }
        Answer::Refused(code, _) if code == "introduced" => {
            let text = "it answers, and introduces others without staying connected".to_owned();
            found(Verdict::Ok, code, text)
        }
        Answer::Refused(code, _) => {
            let text = format!("it answers, but had no room just now ({code}); it names others");
            found(Verdict::Ok, code, text)
        }
    }
}

/// What to do about it.
fn remedy_of(code: &str, addr: &HostPort) -> String {
    match code {
        "unreachable" | "timeout" | "gone" | "slow" => format!(
            "see that a node runs and listens there, and that firewalls on the way let TCP port {} through",
            addr.port()
        ),
        "wrong-network" => "its network has another name: say that with --network".to_owned(),
        "not-member" => {
            "its network has a secret: name the file with it, --network-key FILE".to_owned()
        }
        "tls-required" | "plaintext-only" | "tls-failed" | "unproven" => {
            "the two differ in --security: `prefer` talks with both".to_owned()
        }
        "wrong-node" | "id-mismatch" => {
            "see whether the node there has a new key, and correct or leave out the id behind the /"
                .to_owned()
        }
        "banned" | "discouraged" => {
            "ask its operator: `peerage bans` there shows why, `peerage unban` ends it".to_owned()
        }
        "protocol" | "too-large" => {
            "what answers there is no peerage node, or one of another version".to_owned()
        }
        _ => format!("ask its operator what {code} is about"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> NodeId {
        text.parse().unwrap()
    }

    const ONE: &str = "c60148b1-a516-8314-8961-8751ed893ce1";
    const OTHER: &str = "7f16ad79-c3e6-893b-bb25-2fd9ea819a52";

    fn refused(code: &str) -> Answer {
        Answer::Refused(code.to_owned(), String::new())
    }

    fn judged(contact: &str, answers: &[Answer], is_alone: bool) -> Finding {
        let contact: Bootstrap = contact.parse().unwrap();
        let at = |n: usize| format!("192.0.2.{n}:5999").parse().unwrap();
        let answers = answers.iter().cloned().enumerate().map(|(n, answer)| (at(n), answer));
        let finding = judge(&contact, &Contact::Dialled(answers.collect()), is_alone);
        let is_bad = matches!(finding.verdict, Verdict::Warn | Verdict::Fail);
        assert!(!is_bad || finding.remedy.is_some(), "{finding:?}");
        finding
    }

    fn verdict(contact: &str, answers: &[Answer]) -> (Verdict, String) {
        let finding = judged(contact, answers, true);
        (finding.verdict, finding.code)
    }

    #[test]
    fn who_answers_is_good_unless_it_is_another_than_was_named() {
        let there = Answer::Node(id(ONE));
        let expect = |verdict, code: &str| (verdict, code.to_owned());
        assert_eq!(verdict("a:1", std::slice::from_ref(&there)), expect(Verdict::Ok, "answers"));
        let pinned = format!("a:1/{ONE}");
        assert_eq!(verdict(&pinned, std::slice::from_ref(&there)), expect(Verdict::Ok, "answers"));
        let pinned = format!("a:1/{OTHER}");
        assert_eq!(verdict(&pinned, &[there]), expect(Verdict::Fail, "wrong-node"));
        assert_eq!(verdict("a:1", &[refused("full")]), expect(Verdict::Ok, "full"));
        assert_eq!(verdict("a:1", &[refused("not-allowed")]), expect(Verdict::Note, "not-allowed"));
    }

    #[test]
    fn one_that_does_not_answer_fails_only_if_no_other_does() {
        for code in ["unreachable", "wrong-network", "not-member", "tls-required", "banned", "odd"]
        {
            assert_eq!(verdict("a:1", &[refused(code)]), (Verdict::Fail, code.to_owned()));
            assert_eq!(judged("a:1", &[refused(code)], false).verdict, Verdict::Warn);
        }
        let mixed = [refused("unreachable"), Answer::Node(id(ONE))];
        assert_eq!(verdict("a:1", &mixed), (Verdict::Warn, "unreachable".to_owned()));
        let contact = "seed.example:5999".parse().unwrap();
        let finding = judge(&contact, &Contact::Unresolved("no such name".to_owned()), true);
        assert_eq!((finding.verdict, finding.code.as_str()), (Verdict::Fail, "not-resolved"));
        assert!(finding.remedy.unwrap().contains("getent hosts seed.example"));
    }
}
