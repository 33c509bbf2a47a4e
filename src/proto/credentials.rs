//! What the other end of a connection must prove before it is served.
//!
//! The order matters: a connection's key is looked at first, then the hello, and only to whom
//! passes both does this node say anything of itself. Each refusal has a reason of its own.

use std::collections::BTreeSet;

use crate::{
    config::{NodeConfig, Security},
    identity::NetworkKey,
    ids::NodeId,
    peer::{Channel, ChannelSecurity, Direction},
    reason::CloseReason,
    wire::Hello,
};

/// What is known once a connection can carry frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Established {
    /// What it proves about the other end.
    pub channel: Channel,
    /// Known to the two ends of this connection only, if it is encrypted; else all zero.
    pub binding: [u8; 32],
    /// The other side began with TLS, and this node does not speak it.
    pub tls_refused: bool,
}

impl Established {
    /// A connection that nothing more is known of.
    #[must_use]
    pub const fn of(channel: Channel) -> Self {
        Self { channel, binding: [0; 32], tls_refused: false }
    }
}

/// A refusal: the reason, and a detail for a person.
pub type Refusal = (CloseReason, String);

/// Who this node is, and what it asks of others.
#[derive(Debug, Clone)]
pub struct Credentials {
    me: NodeId,
    network: String,
    security: Security,
    allow: Option<BTreeSet<NodeId>>,
    network_key: Option<NetworkKey>,
}

impl Credentials {
    /// The credentials of the node with this id.
    #[must_use]
    pub fn new(me: NodeId, config: &NodeConfig) -> Self {
        Self {
            me,
            network: config.network.clone(),
            security: config.security,
            allow: config.trust.allow.clone(),
            network_key: config.trust.network_key.clone(),
        }
    }

    /// Why a connection is not wanted, whoever says hello on it. `expect` is who was dialled.
    #[must_use]
    pub fn check_channel(
        &self,
        established: &Established,
        expect: Option<NodeId>,
    ) -> Option<Refusal> {
        let channel = &established.channel;
        if established.tls_refused {
            let detail = "this node has encryption off; speak JSON";
            return Some((CloseReason::PlaintextOnly, detail.to_owned()));
        }
        match (channel.security, channel.key.map(|key| key.node_id())) {
            (ChannelSecurity::Encrypted, Some(id)) => self.check_key(id, expect),
            (ChannelSecurity::Vouched, _) => None,
            _ => self.requires_tls().then(|| {
                let detail = "this node talks only encrypted (TLS 1.3, raw public keys)";
                (CloseReason::TlsRequired, detail.to_owned())
            }),
        }
    }

    /// Whether nobody is served without a proof. A private network or a list of allowed nodes means
    /// nothing otherwise.
    #[must_use]
    pub const fn requires_tls(&self) -> bool {
        matches!(self.security, Security::Require)
            || self.allow.is_some()
            || self.network_key.is_some()
    }

    fn check_key(&self, id: NodeId, expect: Option<NodeId>) -> Option<Refusal> {
        if let Some(expected) = expect.filter(|expected| *expected != id) {
            let detail = format!("dialled {expected}, and you are {id}");
            return Some((CloseReason::WrongNode, detail));
        }
        if id != self.me && self.allow.as_ref().is_some_and(|allowed| !allowed.contains(&id)) {
            let detail = format!("{id} is not on this node's list");
            return Some((CloseReason::NotAllowed, detail));
        }
        None
    }

    /// Why this hello is not believed. Nothing has been said to the speaker by then. `by` is the
    /// side that speaks: `Outbound` dialled.
    #[must_use]
    pub fn check_hello(
        &self,
        established: &Established,
        hello: &Hello,
        by: Direction,
    ) -> Option<Refusal> {
        let id = hello.nodeid;
        match established.channel.security {
            ChannelSecurity::Encrypted if !established.channel.proves(id) => {
                let detail = format!("{id} does not follow from your key");
                return Some((CloseReason::IdMismatch, detail));
            }
            // An id that could be proven and is not may be anybody's.
            ChannelSecurity::Plaintext
                if id.is_self_certifying() && self.security != Security::Off =>
            {
                let detail = "a version 8 id must be proven by TLS".to_owned();
                return Some((CloseReason::Unproven, detail));
            }
            _ => {}
        }
        let member = self.network_key.as_ref().is_none_or(|key| {
            let proof = hello.member.as_deref();
            proof.is_some_and(|proof| key.verify(&established.binding, by, proof))
        });
        (!member).then(|| {
            let detail = "this is a private network, and your hello does not prove that you know \
                          its key";
            (CloseReason::NotMember, detail.to_owned())
        })
    }

    /// Why a peer with this hello cannot be one of ours. Asked after the hello has been answered,
    /// so that the peer, too, learns whom it reached.
    #[must_use]
    pub fn objection(&self, hello: &Hello) -> Option<Refusal> {
        if hello.nodeid == self.me {
            return Some((CloseReason::SelfConnection, "this is your own node id".to_owned()));
        }
        match &hello.network {
            Some(network) if *network != self.network => Some((
                CloseReason::WrongNetwork,
                format!("this node is of the network {:?}", self.network),
            )),
            _ => None,
        }
    }

    /// What this node's hello proves, if its network is a private one. `by` is this node's side.
    #[must_use]
    pub fn proof(&self, established: &Established, by: Direction) -> Option<String> {
        Some(self.network_key.as_ref()?.proof(&established.binding, by))
    }

    /// This node's id.
    #[must_use]
    pub const fn me(&self) -> NodeId {
        self.me
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::TrustConfig, identity::PublicKey, testkit::minimal_hello};

    fn key(n: u8) -> PublicKey {
        PublicKey::from_bytes([n; 32])
    }

    fn encrypted(n: u8) -> Established {
        let channel = Channel { security: ChannelSecurity::Encrypted, key: Some(key(n)) };
        Established { binding: [n; 32], ..Established::of(channel) }
    }

    const PLAIN: Established = Established::of(Channel::PLAINTEXT);
    const VOUCHED: Established =
        Established::of(Channel { security: ChannelSecurity::Vouched, key: None });

    fn credentials(change: impl FnOnce(&mut NodeConfig)) -> Credentials {
        let mut config = NodeConfig::default();
        change(&mut config);
        Credentials::new(key(1).node_id(), &config)
    }

    fn hello_of(id: NodeId) -> Hello {
        Hello { nodeid: id, ..minimal_hello(0) }
    }

    #[track_caller]
    fn refused(refusal: Option<Refusal>, code: Option<&str>) {
        assert_eq!(refusal.as_ref().map(|(reason, _)| reason.code()), code);
    }

    #[test]
    fn plaintext_is_refused_where_proofs_are_needed() {
        let required = credentials(|config| config.security = Security::Require);
        refused(required.check_channel(&PLAIN, None), Some("tls-required"));
        let listed = credentials(|config| config.trust.allow = Some([key(2).node_id()].into()));
        refused(listed.check_channel(&PLAIN, None), Some("tls-required"));
        refused(credentials(|_| {}).check_channel(&PLAIN, None), None);
        refused(required.check_channel(&VOUCHED, None), None);
        let off = credentials(|config| config.security = Security::Off);
        let tls = Established { tls_refused: true, ..PLAIN };
        refused(off.check_channel(&tls, None), Some("plaintext-only"));
    }

    #[test]
    fn who_answers_must_be_who_was_dialled_and_on_the_list() {
        let any = credentials(|_| {});
        refused(any.check_channel(&encrypted(2), Some(key(2).node_id())), None);
        refused(any.check_channel(&encrypted(2), Some(key(3).node_id())), Some("wrong-node"));
        let listed = credentials(|config| config.trust.allow = Some([key(2).node_id()].into()));
        refused(listed.check_channel(&encrypted(2), None), None);
        refused(listed.check_channel(&encrypted(3), None), Some("not-allowed"));
    }

    #[test]
    fn an_id_must_be_the_one_of_the_key_or_prove_nothing() {
        let any = credentials(|_| {});
        let check = |at: &Established, id| any.check_hello(at, &hello_of(id), Direction::Inbound);
        refused(check(&encrypted(2), key(2).node_id()), None);
        refused(check(&encrypted(2), key(3).node_id()), Some("id-mismatch"));
        refused(check(&encrypted(2), NodeId::from_u128(7)), Some("id-mismatch"));
        refused(check(&PLAIN, key(2).node_id()), Some("unproven"));
        refused(check(&PLAIN, NodeId::from_u128(7)), None);
        refused(check(&VOUCHED, key(2).node_id()), None);
        let off = credentials(|config| config.security = Security::Off);
        refused(off.check_hello(&PLAIN, &hello_of(key(2).node_id()), Direction::Inbound), None);
    }

    #[test]
    fn members_of_a_private_network_prove_it_on_this_very_channel() {
        let secret = |text: &[u8]| NetworkKey::new(text).ok();
        let ours = |config: &mut NodeConfig| {
            config.trust =
                TrustConfig { network_key: secret(b"0123456789abcdef"), ..TrustConfig::default() };
        };
        let (us, them) = (credentials(ours), credentials(ours));
        let mut hello = hello_of(key(2).node_id());
        refused(us.check_hello(&encrypted(2), &hello, Direction::Outbound), Some("not-member"));
        hello.member = them.proof(&encrypted(2), Direction::Outbound);
        refused(us.check_hello(&encrypted(2), &hello, Direction::Outbound), None);
        // Neither said back, nor taken to another channel.
        refused(us.check_hello(&encrypted(2), &hello, Direction::Inbound), Some("not-member"));
        let mut elsewhere = encrypted(2);
        elsewhere.binding = [9; 32];
        refused(us.check_hello(&elsewhere, &hello, Direction::Outbound), Some("not-member"));
    }

    #[test]
    fn our_own_id_and_another_network_are_objected_to() {
        let us = credentials(|_| {});
        let with = |id, network: Option<&str>| Hello {
            network: network.map(str::to_owned),
            ..hello_of(id)
        };
        refused(us.objection(&with(us.me(), None)), Some("self"));
        refused(us.objection(&with(key(2).node_id(), Some("other"))), Some("wrong-network"));
        refused(us.objection(&with(key(2).node_id(), Some("main"))), None);
        refused(us.objection(&with(key(2).node_id(), None)), None);
    }
}
