//! Texts that may be addresses: read, judged, shown, and read again.

use peerage::{
    Bootstrap, HostPort,
    address::{Class, Group, Subnet},
    proto::bans::Target,
};

/// The input is a text.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<HostPort>() {
        Ok(addr) => {
            assert_eq!(addr.to_string().parse(), Ok(addr.clone()), "it reads as it is shown");
            let json = serde_json::to_string(&addr).expect("an address is a text");
            assert_eq!(serde_json::from_str::<HostPort>(&json).ok(), Some(addr.clone()));
            judge(&addr);
        }
        Err(error) => assert!(!error.code().is_empty() && !error.text().is_empty()),
    }
    if let Ok(contact) = text.parse::<Bootstrap>() {
        assert_eq!(contact.to_string().parse(), Ok(contact));
    }
    if let Ok(net) = text.parse::<Subnet>() {
        assert_eq!(net.to_string().parse(), Ok(net));
    }
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string().parse(), Ok(target));
    }
}

fn judge(addr: &HostPort) {
    let (class, group) = (addr.class(), Group::of(addr));
    assert_eq!(matches!(group, Group::Near(_)), class != Class::Public);
    if let Some(ip) = addr.ip() {
        assert!(Subnet::host(ip).contains(ip) && Subnet::site_of(ip).contains(ip));
        assert_eq!(Class::of(ip), class);
    }
    if addr.check_dialable().is_ok() {
        assert_ne!(addr.port(), 0);
    }
}
