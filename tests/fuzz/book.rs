//! The address book and what chooses from it, driven by peers that tell anything, dials that end in
//! any way, bans, restarts, and time.

use std::{collections::BTreeMap, time::Duration};

use arbitrary::{Result, Unstructured};
use peerage::{
    Bootstrap, Channel, CloseReason, Direction, HostPort, LinkId, NodeId, PeerInfo, PublicKey,
    Security, Target,
    address::{Class, Subnet},
    clock::Moment,
    config::{DiscoveryConfig, IntroductionConfig},
    proto::{
        address_book::BookKey,
        address_record::AddressChange,
        bans::Verdict,
        explorer::{DialPlan, DialResult, Explorer, ExplorerSetup, Output, Proof, Via},
        link::Purpose,
        own_address::{OwnAddress, Settled},
    },
    wire::{AddrEntry, Frame},
};

const ENTRIES: usize = 256;
const COLD: usize = 64;
const DIALS: usize = 4;

/// Whose book it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Peer,
    /// A peer whom introducers let go.
    Newcomer,
    Introducer,
}

/// The input is a list of events.
pub(crate) fn run(data: &[u8]) {
    for whose in [Whose::Peer, Whose::Newcomer, Whose::Introducer] {
        // The end of the input is the end of the list.
        let _end = World::new(whose).drive(&mut Unstructured::new(data));
    }
}

/// Half of the ids can prove themselves.
fn id(n: u8) -> NodeId {
    match n % 12 {
        0 => NodeId::from_u128(1),
        n if n % 2 == 0 => PublicKey::from_bytes([n; 32]).node_id(),
        n => NodeId::from_u128(u128::from(n)),
    }
}

fn addr(u: &mut Unstructured<'_>) -> Result<HostPort> {
    let (n, host) = (u.int_in_range(0..=23u8)?, u.int_in_range(0..=5)?);
    let text = match host {
        0 => format!("127.0.0.1:{}", 5000 + u16::from(n)),
        1 => format!("10.0.0.{n}:5999"),
        2 => format!("8.8.{n}.1:5999"),
        3 => format!("{}.7.7.7:5999", 20 + n),
        4 => format!("[2001:db8:{n}::1]:5999"),
        _ => format!("n{n}.example:5999"),
    };
    Ok(text.parse().expect("an address"))
}

struct World {
    whose: Whose,
    explorer: Explorer,
    now: Moment,
    out: Vec<Output>,
    dials: BTreeMap<HostPort, DialPlan>,
    peers: BTreeMap<NodeId, PeerInfo>,
}

impl World {
    fn new(whose: Whose) -> Self {
        let now = Moment::after(Duration::from_secs(1_000_000));
        let peers = BTreeMap::new();
        let explorer = explorer(now, whose);
        let mut world = Self { whose, explorer, now, out: vec![], dials: BTreeMap::new(), peers };
        let contact = Bootstrap::from("20.7.7.7:5999".parse::<HostPort>().expect("an address"));
        world.explorer.start(now, &[contact], &mut world.out);
        world
    }

    fn drive(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        while !u.is_empty() {
            match u.int_in_range(0..=9)? {
                0 => self.peer_up(u)?,
                1 => self.peer_down(u)?,
                2 | 3 => self.addrs(u)?,
                4 | 5 => self.dialled(u)?,
                6 => {
                    self.now = self.now + Duration::from_millis(u.int_in_range(0..=4_000_000)?);
                    self.explorer.tick(self.now, &mut self.out);
                }
                7 => self.shun(u)?,
                8 => self.ask(u)?,
                _ if u.ratio(1, 8)? => self.restart(),
                _ => {}
            }
            self.look();
        }
        Ok(())
    }

    fn peer_up(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let id = id(u.arbitrary()?);
        if id == NodeId::from_u128(1) || self.peers.contains_key(&id) {
            return Ok(());
        }
        let listen = if u.arbitrary()? { Some(addr(u)?) } else { None };
        let info = PeerInfo {
            id,
            channel: Channel::PLAINTEXT,
            link: LinkId(1),
            direction: *u.choose(&[Direction::Inbound, Direction::Outbound])?,
            remote: addr(u)?,
            listen,
            observed: if u.arbitrary()? { Some(addr(u)?) } else { None },
            agent: None,
            features: vec![],
            tags: Default::default(),
            since: self.now,
            last_seen: self.now,
            rtt: None,
        };
        self.explorer.peer_up(self.now, &info, &mut self.out);
        self.peers.insert(id, info);
        Ok(())
    }

    fn peer_down(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let Some(info) = self.peers.remove(&id(u.arbitrary()?)) {
            let full = CloseReason::Peer("full".into());
            let broken = match self.whose {
                Whose::Newcomer => CloseReason::Peer("introduced".into()),
                Whose::Peer | Whose::Introducer => CloseReason::Gone,
            };
            let reason = if u.arbitrary()? { broken } else { full };
            self.explorer.peer_down(self.now, &info, &reason, &mut self.out);
        }
        Ok(())
    }

    fn addrs(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let from = id(u.arbitrary()?);
        let mut entries = Vec::new();
        for _ in 0..u.int_in_range(0..=40)? {
            let addr =
                if u.ratio(1, 16)? { u.arbitrary::<String>()? } else { addr(u)?.to_string() };
            let id = if u.arbitrary()? { Some(id(u.arbitrary()?)) } else { None };
            entries.push(AddrEntry { addr, id });
        }
        self.explorer.addrs(self.now, from, &entries, &mut self.out);
        Ok(())
    }

    fn dialled(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let n = u.int_in_range(0..=DIALS)?;
        let Some(addr) = self.dials.keys().nth(n).cloned() else { return Ok(()) };
        let plan = self.dials.remove(&addr).expect("it is there");
        let id = id(u.arbitrary()?);
        // What a session would say: over TLS the key has proven the id.
        let proven = plan.via == Via::Tls && id.is_self_certifying();
        let answered = u.arbitrary()? && (plan.via == Via::Plain || proven);
        let local = Some("20.1.1.1:40000".parse().expect("an address"));
        let proof = answered.then_some(Proof { id, proven, local });
        let reasons = [
            CloseReason::TlsFailed,
            CloseReason::Unreachable,
            CloseReason::WrongNode,
            CloseReason::Feeler,
            CloseReason::Timeout,
            CloseReason::Internal,
            CloseReason::Peer("full".into()),
            CloseReason::Peer("duplicate".into()),
        ];
        let end = (!answered || u.arbitrary()?)
            .then(|| u.choose(&reasons).map(|reason| (reason.clone(), String::new())))
            .transpose()?;
        self.explorer.dialled(self.now, &addr, DialResult { proof, end }, &mut self.out);
        Ok(())
    }

    fn shun(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let ip = addr(u)?.ip();
        let target = match ip {
            Some(ip) if u.arbitrary()? => Target::Net(Subnet::site_of(ip)),
            _ => Target::Node(id(u.arbitrary()?)),
        };
        if u.arbitrary()? {
            let verdict = *u.choose(&[Verdict::Banned, Verdict::Discouraged])?;
            let until = self.now + Duration::from_secs(3600);
            self.explorer.shun(self.now, target, until, verdict);
        } else {
            self.explorer.lift(self.now, target, &mut self.out);
        }
        Ok(())
    }

    fn ask(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let from = id(u.arbitrary()?);
        let max: Option<u8> = u.arbitrary()?;
        let near = if u.arbitrary()? { Some(id(u.arbitrary()?)) } else { None };
        let reply = self.explorer.get_addr(self.now, from, near, max.map(usize::from));
        let line = reply.bytes().strip_suffix(b"\n").expect("a line ends");
        let Ok(Frame::Addr(entries)) = Frame::parse(line) else { panic!("no answer") };
        let class = self.peers.get(&from).map_or(Class::Public, |info| info.remote.class());
        for entry in entries {
            let addr: HostPort = entry.addr.parse().expect("what is told parses");
            assert!(addr.class() >= class, "{addr} is told to a {class} peer");
            let known = self.explorer.book().get(&addr).expect("what is told is known");
            assert!(known.proven.is_some() && !known.own);
        }
        Ok(())
    }

    /// What is kept is enough to start again from, and nothing of it is lost on the way.
    fn restart(&mut self) {
        let changes = self.explorer.take_changes();
        self.explorer.put_back(changes.clone());
        assert_eq!(self.explorer.take_changes().len(), changes.len());
        let records = changes.into_iter().filter_map(|change| match change {
            AddressChange::Put(record) => Some(*record),
            AddressChange::Gone(_) => None,
        });
        let mut again = explorer(self.now, self.whose);
        again.remember(self.now, records.collect());
        assert!(again.book().len() <= ENTRIES + COLD);
    }

    /// What holds after every event.
    fn look(&mut self) {
        let outputs = std::mem::take(&mut self.out);
        for output in outputs {
            if let Output::Dial(plan) = output {
                let known = self.explorer.book().get(&plan.addr);
                let known = known.and_then(|entry| entry.id);
                let must_prove = known.is_some_and(NodeId::is_self_certifying);
                assert!(plan.via == Via::Tls || !must_prove, "no plaintext to {known:?}");
                assert!(plan.addr.check_dialable().is_ok());
                let is_feeler = plan.purpose == Purpose::Feeler;
                assert!(is_feeler || self.whose != Whose::Introducer, "an introducer stays alone");
                let twice = self.dials.insert(plan.addr.clone(), plan);
                assert!(twice.is_none(), "dialled twice at once: {twice:?}");
            }
        }
        // A dial that falls back takes the place of the one that failed.
        assert!(self.dials.len() <= DIALS);
        let named = 64;
        assert!(self.explorer.book().len() <= ENTRIES + COLD + named);
        // Whatever is due has been done, so that a timer is never set to the past for ever.
        if let Some(due) = self.explorer.deadline(self.now)
            && due <= self.now
        {
            self.explorer.tick(self.now, &mut self.out);
            let again = self.explorer.deadline(self.now);
            assert!(!self.out.is_empty() || again.is_none_or(|at| at > self.now), "{again:?}");
        }
    }
}

fn explorer(now: Moment, whose: Whose) -> Explorer {
    let config = DiscoveryConfig {
        book_entries: ENTRIES,
        cold_entries: COLD,
        dials_in_flight: DIALS,
        target_peers: 6,
        ..DiscoveryConfig::default()
    };
    let setup = ExplorerSetup {
        me: NodeId::from_u128(1),
        config,
        dead_after: Duration::from_secs(240),
        introduction: (whose == Whose::Introducer).then(IntroductionConfig::default),
        security: Security::Prefer,
        own: OwnAddress::new(Settled::new(None, &[])),
        book_key: BookKey::new([7; 32]),
        seed: 7,
    };
    Explorer::new(setup, now)
}
