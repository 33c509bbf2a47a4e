//! The command that joins a node, as it is printed to be pasted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use peerage::{HostPort, NodeConfig, Security};

use crate::cli::resolve::{Settings, TrustFiles};

/// How others can join a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Join {
    /// By this command, from another terminal of the same machine.
    Command(String),
    /// Only if they are on its list, which the fresh id of another node is not.
    OnlyListed,
    /// Not at all: it does not listen.
    Never,
}

impl Join {
    /// How others can join a node of these settings that listens on `listen`, when `program` is how
    /// this process was invoked.
    pub(crate) fn of(program: &str, listen: &[HostPort], settings: &Settings) -> Self {
        if settings.node.trust.allow.is_some() && !listen.is_empty() {
            return Self::OnlyListed;
        }
        let flags = needed_flags(&settings.node, &settings.trust_files);
        join_command(program, listen, &flags).map_or(Self::Never, Self::Command)
    }

    /// The command, if one does it.
    pub(crate) fn command(&self) -> Option<&str> {
        match self {
            Self::Command(command) => Some(command),
            Self::OnlyListed | Self::Never => None,
        }
    }
}

/// What another node must be told too, since it would be refused with the defaults.
fn needed_flags(node: &NodeConfig, files: &TrustFiles) -> Vec<String> {
    let mut flags = Vec::new();
    if node.security == Security::Off {
        flags.extend(["--security", node.security.text()].map(str::to_owned));
    }
    if node.network != NodeConfig::default().network {
        flags.extend(["--network".to_owned(), node.network.clone()]);
    }
    if let Some(path) = &files.network_key {
        flags.extend(["--network-key".to_owned(), path.display().to_string()]);
    }
    flags
}

/// The command that joins a node which listens on `listen`, with these further flags. It is
/// ephemeral, because the data directory may be in use: by the node that it joins.
pub(crate) fn join_command(program: &str, listen: &[HostPort], more: &[String]) -> Option<String> {
    let addr = listen.first()?;
    let addr = match addr.ip() {
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => at(Ipv4Addr::LOCALHOST.into(), addr.port()),
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => at(Ipv6Addr::LOCALHOST.into(), addr.port()),
        _ => addr.clone(),
    };
    let program = if program.is_empty() { "peerage" } else { program };
    let (own, addr) = (addr.with_port(0).to_string(), addr.to_string());
    let words = [program, "run", "--ephemeral", "--listen", &own, "--bootstrap", &addr];
    let more = more.iter().map(String::as_str);
    Some(words.into_iter().chain(more).map(shell_word).collect::<Vec<_>>().join(" "))
}

/// An address from its parts.
fn at(ip: IpAddr, port: u16) -> HostPort {
    SocketAddr::new(ip, port).into()
}

/// The text as one word of a shell.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if cfg!(windows) || (!text.is_empty() && text.chars().all(is_plain)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(addrs: &[&str]) -> Vec<HostPort> {
        addrs.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    #[test]
    fn the_join_command_can_be_dialled_and_pasted() {
        for (program, listen, command) in [
            (
                "peerage",
                "0.0.0.0:5999",
                "peerage run --ephemeral --listen 127.0.0.1:0 --bootstrap 127.0.0.1:5999",
            ),
            (
                "",
                "127.0.0.1:1",
                "peerage run --ephemeral --listen 127.0.0.1:0 --bootstrap 127.0.0.1:1",
            ),
            (
                "/a/b",
                "10.0.0.7:1",
                "/a/b run --ephemeral --listen 10.0.0.7:0 --bootstrap 10.0.0.7:1",
            ),
            (
                "/a b/it's",
                "[::]:1",
                r"'/a b/it'\''s' run --ephemeral --listen '[::1]:0' --bootstrap '[::1]:1'",
            ),
        ] {
            assert_eq!(join_command(program, &listening(&[listen]), &[]).unwrap(), command);
        }
        assert_eq!(join_command("peerage", &[], &[]), None);
    }

    #[test]
    fn the_join_command_says_what_the_other_node_must_know() {
        let listen = listening(&["127.0.0.1:1"]);
        let mut settings = Settings::by_default(None);
        let flags = |settings: &Settings| match Join::of("p", &listen, settings) {
            Join::Command(command) => command.split_once("127.0.0.1:1").unwrap().1.to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(flags(&settings), "");
        settings.node.security = Security::Require;
        assert_eq!(flags(&settings), "");
        settings.node.security = Security::Off;
        settings.node.network = "my net".to_owned();
        assert_eq!(flags(&settings), " --security off --network 'my net'");
        settings.node.security = Security::Prefer;
        settings.trust_files.network_key = Some("a/key".into());
        assert_eq!(flags(&settings), " --network 'my net' --network-key a/key");
        settings.node.trust.allow = Some(Default::default());
        assert_eq!(Join::of("p", &listen, &settings), Join::OnlyListed);
        assert_eq!(Join::of("p", &[], &settings), Join::Never);
    }
}
