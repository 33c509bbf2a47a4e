//! Nodes that find each other on the local network: two processes in two network namespaces with a cable
//! between them where those can be made, else over loopback multicast where that works, else not at all.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and says why it was skipped"
)]
#![cfg(unix)]

mod program;
mod support;

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use peerage::{
    Finder, Finding, JournalQuery, NetworkKey, Node, NodeConfig, NodeHandle,
    lan::{FINDER, Lan, LanConfig},
    proto::address_entry::Source,
};
use program::{BOUND, PEERAGE, Running, STOP_BOUND, clean, id_of, start};
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use support::{quiet, until};
use tempfile::TempDir;

// ---------------------------------------------------------------- two machines

/// A network namespace: it is there as long as the process in it.
struct Namespace(Running);

/// Two machines with a cable between them, without root. What is made in them goes with their processes.
struct Cable {
    dir: TempDir,
    machines: [Namespace; 2],
}

impl Namespace {
    fn pid(&self) -> String {
        self.0.child.id().to_string()
    }
}

/// Runs a helper of the system, which must end well.
fn run(command: &mut Command) -> Result<(), String> {
    let out = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    if out.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
}

/// Starts `cat`, which ends with its parent's pipe, behind these words, and waits until it runs.
fn hold(dir: &TempDir, words: &[&str]) -> Result<Namespace, String> {
    let mut command = clean(words[0], dir.path());
    command.args(&words[1..]).args(["sh", "-c", "echo here; exec cat"]).stdin(Stdio::piped());
    let mut held = start(command);
    let deadline = Instant::now() + BOUND;
    loop {
        match held.try_line() {
            Some(line) if line == "here" => return Ok(Namespace(held)),
            Some(line) => return Err(line),
            None if held.child.try_wait().unwrap().is_some() => {
                return Err(format!("{} ended", words[0]));
            }
            None if Instant::now() > deadline => return Err(format!("{} hangs", words[0])),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Cable {
    /// Or why there is none.
    fn lay() -> Result<Self, String> {
        let dir = TempDir::new().unwrap();
        let first = hold(&dir, &["unshare", "--user", "--map-root-user", "--net"])?;
        let pid = first.pid();
        let inside = ["nsenter", "--preserve-credentials", "-U", "-n", "-t", &pid];
        let second = hold(&dir, &[&inside[..], &["unshare", "--net"]].concat())?;
        let cable = Self { dir, machines: [first, second] };
        let peer = cable.machines[1].pid();
        cable.ip(
            0,
            &["link", "add", "eth", "type", "veth", "peer", "name", "eth", "netns", &peer],
        )?;
        for (n, addr) in ["10.77.0.1/24", "10.77.0.2/24"].into_iter().enumerate() {
            cable.ip(n, &["addr", "add", addr, "dev", "eth"])?;
            cable.ip(n, &["link", "set", "eth", "up"])?;
            cable.ip(n, &["link", "set", "lo", "up"])?;
        }
        Ok(cable)
    }

    /// A program on one of the machines.
    fn command(&self, machine: usize, program: &str) -> Command {
        let mut command = clean("nsenter", self.dir.path());
        let pid = self.machines[machine].pid();
        command.args(["--preserve-credentials", "-U", "-n", "-t", &pid, program]);
        command
    }

    fn ip(&self, machine: usize, args: &[&str]) -> Result<(), String> {
        run(self.command(machine, "ip").args(args))
    }

    fn node(&self, machine: usize, more: &[&str]) -> Running {
        let mut command = self.command(machine, PEERAGE);
        command.args(["run", "--ephemeral", "--lan", "--log", "peerage=debug"]).args(more);
        start(command)
    }
}

/// A session came up of a node with this one, as the log has it.
fn is_up(line: &str, with: &str) -> bool {
    line.contains("session-up") && line.contains(with)
}

#[test]
fn two_machines_find_each_other_and_part_with_a_goodbye() {
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(why) => return println!("skipped: no network namespaces here: {why}"),
    };
    let mut a = cable.node(0, &["--no-api", "--listen", "0.0.0.0:0"]);
    let mut b = cable.node(1, &["--no-api", "--listen", "0.0.0.0:0"]);
    let mut stranger = cable.node(1, &["--no-api", "--listen", "0.0.0.0:0", "--network", "other"]);
    // What listens on loopback alone is not for others, not even of the same machine.
    let mut hermit = cable.node(1, &["--no-api", "--listen", "127.0.0.1:0"]);
    let ids = [id_of(&mut a), id_of(&mut b), id_of(&mut stranger), id_of(&mut hermit)];
    a.line("a session with b", |line| is_up(line, &ids[1]).then_some(()));
    b.line("a session with a", |line| is_up(line, &ids[0]).then_some(()));
    // Whoever comes later, and listens at one address alone, finds those who are there.
    let mut late = cable.node(0, &["--no-api", "--listen", "10.77.0.1:0"]);
    let late_id = id_of(&mut late);
    b.line("a session with who came late", |line| is_up(line, &late_id).then_some(()));
    b.signal("TERM");
    a.line("the goodbye", |line| {
        (line.contains("gone from the local network") && line.contains(&ids[1])).then_some(())
    });
    for node in [&mut a, &mut stranger, &mut late, &mut hermit] {
        node.signal("TERM");
    }
    for node in [&mut a, &mut b, &mut stranger, &mut late, &mut hermit] {
        assert_eq!(node.exit(STOP_BOUND + Duration::from_secs(1)).code(), Some(0));
    }
    for node in [&a, &b, &late] {
        let met = |id: &String| node.seen.iter().any(|(_, line)| is_up(line, id));
        assert!(!met(&ids[2]) && !met(&ids[3]), "{:#?}", node.seen);
    }
    for node in [&stranger, &hermit] {
        assert!(node.seen.iter().all(|(_, line)| !line.contains("session-up")), "{:#?}", node.seen);
    }
}

#[test]
fn a_machine_without_multicast_says_so_and_goes_on() {
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(why) => return println!("skipped: no network namespaces here: {why}"),
    };
    cable.ip(0, &["link", "set", "eth", "down"]).unwrap();
    let mut silent = cable.node(0, &["--no-api", "--listen", "0.0.0.0:0"]);
    silent.contains("reason=\"lan-silent\"");
    // Nobody shares the port.
    let mut holder = cable.command(0, "python3");
    let bind = "import socket,sys\ns=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)\n\
                s.bind(('::',5353))\nprint('here',flush=True)\nsys.stdin.read()";
    holder.args(["-c", bind]).stdin(Stdio::piped());
    silent.signal("TERM");
    assert_eq!(silent.exit(STOP_BOUND + Duration::from_secs(1)).code(), Some(0));
    if !program::has_python() {
        return;
    }
    let mut holder = start(holder);
    holder.contains("here");
    let mut deaf = cable.node(0, &["--no-api", "--listen", "127.0.0.1:0"]);
    deaf.contains("reason=\"lan-no-socket\"");
    let place = deaf.after("listening on ");
    let joining = ["--no-api", "--listen", "127.0.0.1:0", "--bootstrap", &place];
    let mut other = cable.node(0, &joining);
    let id = id_of(&mut other);
    deaf.line("a session all the same", |line| is_up(line, &id).then_some(()));
}

// ---------------------------------------------------------------- one machine

/// Whether what is sent to the multicast group on loopback comes back; or why not.
fn loopback_multicast() -> Result<(), String> {
    let group = Ipv4Addr::new(224, 0, 0, 251);
    let heard = || -> std::io::Result<()> {
        let receiver = UdpSocket::bind("0.0.0.0:0")?;
        receiver.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
        receiver.set_read_timeout(Some(Duration::from_secs(2)))?;
        let sender = socket2::Socket::from(UdpSocket::bind("127.0.0.1:0")?);
        sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        let to = SocketAddrV4::new(group, receiver.local_addr()?.port());
        sender.send_to(b"x", &to.into())?;
        receiver.recv(&mut [0; 8]).map(drop)
    };
    heard().map_err(|error| error.to_string())
}

/// A port that nobody else uses for multicast DNS, so that tests are among themselves.
fn own_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

async fn node() -> NodeHandle {
    Node::builder().config(quiet()).start().await.unwrap()
}

fn knows(node: &NodeHandle, other: &NodeHandle) -> bool {
    node.peer(other.id()).is_some()
}

#[actix_rt::test]
async fn nodes_of_one_machine_find_those_of_their_network_on_loopback() {
    if let Err(why) = loopback_multicast() {
        return println!("skipped: no multicast on loopback here: {why}");
    }
    let port = own_port();
    let open = LanConfig { port, ..LanConfig::of(&NodeConfig::default()) };
    let key = NetworkKey::new(b"0123456789abcdef").unwrap();
    let sealed = LanConfig { key: Some(key), ..open.clone() };
    let (a, b, c) = (node().await, node().await, node().await);
    let lans = [Lan::start(&a, &open), Lan::start(&b, &open), Lan::start(&c, &sealed)];
    until("they find each other", async || knows(&a, &b) && knows(&b, &a)).await;
    // Whoever is announced in another network is passed over; what passes here is read in order.
    let d = node().await;
    let last = Lan::start(&d, &open);
    until("they find the last", async || knows(&a, &d) && knows(&b, &d)).await;
    assert!(!knows(&c, &a) && !knows(&c, &b) && !knows(&c, &d));
    assert_eq!(c.addresses().await.len(), 1, "its own");
    for lan in lans.into_iter().chain([last]) {
        let stopped = Instant::now();
        lan.stop().await;
        assert!(stopped.elapsed() < Duration::from_secs(1));
    }
    for node in [a, b, c, d] {
        node.stop().await;
    }
}

#[actix_rt::test]
async fn what_is_announced_and_is_not_so_is_not_believed() {
    if let Err(why) = loopback_multicast() {
        return println!("skipped: no multicast on loopback here: {why}");
    }
    let config = LanConfig { port: own_port(), ..LanConfig::of(&NodeConfig::default()) };
    let (a, b, victim) = (node().await, node().await, node().await);
    let lan = Lan::start(&a, &config);
    // Somebody announces that b is where another node listens.
    let mdns = mdns_sd::ServiceDaemon::new_with_port(config.port).unwrap();
    mdns.disable_interface(mdns_sd::IfKind::All).unwrap();
    mdns.enable_interface(mdns_sd::IfKind::LoopbackV4).unwrap();
    let text = [("v", "1".to_owned()), ("id", b.id().to_string()), ("network", "main".to_owned())];
    let place = victim.listen_addrs()[0].clone();
    let service = mdns_sd::ServiceInfo::new(
        "_peerage._tcp.local.",
        "liar",
        "liar.local.",
        "127.0.0.1",
        place.port(),
        &text[..],
    );
    mdns.register(service.unwrap()).unwrap();
    until("it is dialled, and another answers", async || {
        let told = a.journal(JournalQuery::default()).await;
        told.iter().any(|d| d.reason == "wrong-node" && d.addr.as_ref() == Some(&place))
    })
    .await;
    assert!(!knows(&a, &b) && !knows(&a, &victim));
    let entry = a.addresses().await.into_iter().find(|entry| entry.addr == place).unwrap();
    assert_eq!((entry.proven, entry.source), (None, Source::Found(Finder::new(FINDER).unwrap())));
    lan.stop().await;
    mdns.shutdown().unwrap().recv_async().await.unwrap();
    for node in [a, b, victim] {
        node.stop().await;
    }
}

#[actix_rt::test]
async fn packets_that_are_none_and_services_that_make_no_sense_end_nothing() {
    if let Err(why) = loopback_multicast() {
        return println!("skipped: no multicast on loopback here: {why}");
    }
    let config = LanConfig { port: own_port(), ..LanConfig::of(&NodeConfig::default()) };
    let (a, b) = (node().await, node().await);
    let first = Lan::start(&a, &config);
    let junk = socket2::Socket::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    junk.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    let to = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), config.port);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for n in 0..2000_usize {
        let mut packet = vec![0; n % 400];
        rng.fill_bytes(&mut packet);
        // Half of them begin as an answer with some records does.
        if let Some(head) = packet.get_mut(..12).filter(|_| n % 2 == 0) {
            head.copy_from_slice(&[0, 0, 0x84, 0, 0, 0, 0, 3, 0, 0, 0, 1]);
        }
        // What the system has no room for is lost, as packets are.
        let _sent = junk.send_to(&packet, &to.into());
    }
    let mdns = mdns_sd::ServiceDaemon::new_with_port(config.port).unwrap();
    mdns.disable_interface(mdns_sd::IfKind::All).unwrap();
    mdns.enable_interface(mdns_sd::IfKind::LoopbackV4).unwrap();
    for n in 0..20 {
        let long = "x".repeat(n * 10);
        let text = [("v", "1"), ("id", long.as_str()), ("network", "main")];
        let (kind, host) = ("_peerage._tcp.local.", format!("h{n}.local."));
        let service =
            mdns_sd::ServiceInfo::new(kind, &format!("s{n}"), &host, "127.0.0.1", 9, &text[..]);
        mdns.register(service.unwrap()).unwrap();
    }
    let second = Lan::start(&b, &config);
    until("they find each other all the same", async || knows(&a, &b)).await;
    let ended = a.journal(JournalQuery::default()).await;
    assert!(ended.iter().all(|d| !d.reason.starts_with("lan-")), "{ended:?}");
    assert_eq!(a.addresses().await.len(), 2, "its own, and that of b");
    mdns.shutdown().unwrap().recv_async().await.unwrap();
    for lan in [first, second] {
        lan.stop().await;
    }
    for node in [a, b] {
        node.stop().await;
    }
}

/// An answer that says that there are many services, each of another name.
fn many_services(from: u32) -> Vec<u8> {
    let mut packet = vec![0, 0, 0x84, 0, 0, 0, 0, 50, 0, 0, 0, 0];
    for n in from..from + 50 {
        // The type stands at byte 12, and later is pointed to.
        match n == from {
            true => packet.extend(b"\x08_peerage\x04_tcp\x05local\x00"),
            false => packet.extend([0xC0, 12]),
        }
        let name = format!("f{n}");
        let len = u8::try_from(name.len()).unwrap();
        packet.extend([0, 12, 0, 1, 0, 0, 0x11, 0x94, 0, len + 3, len]);
        packet.extend(name.bytes().chain([0xC0, 12]));
    }
    packet
}

#[actix_rt::test]
async fn a_flood_ends_the_search_for_a_while_and_not_the_node() {
    if let Err(why) = loopback_multicast() {
        return println!("skipped: no multicast on loopback here: {why}");
    }
    let config = LanConfig { port: own_port(), ..LanConfig::of(&NodeConfig::default()) };
    let (a, b) = (node().await, node().await);
    let lan = Lan::start(&a, &config);
    let flood = socket2::Socket::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    flood.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    let to = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), config.port);
    let mut n = 0;
    until("the search has ended", async || {
        let _sent = flood.send_to(&many_services(n), &to.into());
        n += 50;
        let told = a.journal(JournalQuery::default()).await;
        told.iter().any(|d| d.reason == "lan-ended" || d.reason == "lan-flooded")
    })
    .await;
    assert_eq!(a.addresses().await.len(), 1, "its own");
    assert_eq!(a.dial(b.listen_addrs()[0].clone()).await, Ok(b.id()));
    lan.stop().await;
    for node in [a, b] {
        node.stop().await;
    }
}

#[actix_rt::test]
async fn an_extension_of_ones_own_can_find_addresses() {
    let (a, b) = (node().await, node().await);
    let finder = Finder::new("my-finder").unwrap();
    let finding = Finding { addr: b.listen_addrs()[0].clone(), id: None, from: None };
    assert_eq!(a.found(finder, finding.clone()).await, Ok(true));
    until("it is dialled", async || knows(&a, &b)).await;
    assert_eq!(a.found(finder, finding.clone()).await, Ok(false));
    a.stop().await;
    let stopped = a.found(finder, finding).await.unwrap_err();
    assert_eq!(stopped.code(), "stopping");
    b.stop().await;
}
