//! What the node needs of this machine: its directory, and a place for its control API.

use std::{fs, io, net::IpAddr, path::Path, time::Duration};

use peerage::{
    DataDirError, Security, StoredKey,
    control::server::{Place, ServeError},
};

use super::{
    finding::{Finding, Verdict},
    running::Seen,
};
use crate::cli::{api::ApiPlace, print::node::shorten, resolve::Settings};

/// The data directory and the key in it.
pub(super) fn data_dir(settings: &Settings, seen: &Seen) -> Finding {
    let found = |verdict, code, text: String| Finding::new("data-dir", verdict, code, text);
    let Some(dir) = &settings.storage.data_dir.value else {
        let text = "none: it keeps nothing, and has a new id on each start";
        return found(Verdict::Note, "ephemeral", text.to_owned());
    };
    let found = |verdict, code, text: String| found(verdict, code, text).about(dir.display());
    if let Seen::Node(running) = seen
        && let Some(entry) = &running.store_failed
    {
        let why = if entry.detail.is_empty() { &entry.reason } else { &entry.detail };
        let text = format!("the node cannot keep there what it learns: {why}");
        return found(Verdict::Fail, "store-failed", text)
            .remedy("see that the disk has room and that the directory can be written; it tries again by itself");
    }
    if settings.node.security == Security::Off {
        let text = "its key is not used: without encryption the node has a random id".to_owned();
        return found(Verdict::Note, "key-unused", text);
    }
    match StoredKey::read(dir) {
        Ok(stored) => {
            let id = stored.key.node_id().to_string();
            found(
                Verdict::Ok,
                "key",
                format!("the key of node {} is there, and only you can read it", shorten(&id)),
            )
        }
        Err(DataDirError::NoKey(_)) => found(
            Verdict::Note,
            "no-key",
            "there is no key yet: the first start makes it".to_owned(),
        ),
        // Its words say what to do.
        Err(error) => {
            let text = error.to_string();
            let parts = text.rsplit_once("; ").or_else(|| text.rsplit_once(": "));
            let (text, remedy) = parts.unwrap_or((&text, "use another: --data-dir DIR"));
            found(Verdict::Fail, "key-unusable", text.to_owned()).remedy(remedy)
        }
    }
}

/// When the newest file in it was written.
pub(super) fn newest_file(dir: &Path) -> Option<Duration> {
    let written = |entry: io::Result<fs::DirEntry>| {
        let modified = entry.ok()?.metadata().ok()?.modified().ok()?;
        modified.duration_since(std::time::UNIX_EPOCH).ok()
    };
    fs::read_dir(dir).ok()?.filter_map(written).max()
}

/// The control API.
pub(super) fn api(settings: &Settings, seen: &Seen) -> Option<Finding> {
    let found = |verdict, code, text: String| Finding::new("api", verdict, code, text);
    let api = &settings.api;
    match seen {
        Seen::Hidden(_) => return None,
        Seen::Node(_) => {
            let dir = settings.storage.data_dir.value.as_deref();
            let place = dir.and_then(|dir| ApiPlace::read(dir).ok().flatten());
            let addr = place.map_or(api.addr.value, |place| place.addr);
            let text = "it answers, and knows the token".to_owned();
            return Some(found(Verdict::Ok, "answers", text).about(addr));
        }
        Seen::None => {}
    }
    if api.token_path(&settings.storage).is_none() {
        let text = "none will be served: the commands that talk to a node will not reach it";
        return Some(found(Verdict::Note, "off", text.to_owned()));
    }
    let wanted = api.addr.value;
    let finding = match Place::take(wanted, api.allow_remote.value) {
        Ok(_) => found(Verdict::Ok, "free", "its port is free".to_owned()),
        Err(ServeError::Bind { source, .. })
            if source.kind() == io::ErrorKind::AddrInUse && !api.is_explicit() =>
        {
            let text = "its port is in use: the node will take a free one".to_owned();
            found(Verdict::Note, "in-use", text)
        }
        Err(error) => {
            let remedy = "--api 127.0.0.1:0 picks a free port; --no-api serves none";
            found(Verdict::Fail, "refused", error.to_string()).remedy(remedy)
        }
    };
    Some(finding.about(wanted))
}

/// This machine's addresses on its ways to other networks. Nothing is sent: a datagram socket that is
/// connected only chooses its own address. The far ends are reserved for documentation.
pub(super) fn local_addrs() -> Vec<IpAddr> {
    let way = |here: &str, there: &str| -> io::Result<IpAddr> {
        let socket = std::net::UdpSocket::bind(here)?;
        socket.connect(there)?;
        Ok(socket.local_addr()?.ip())
    };
    let ways = [way("0.0.0.0:0", "192.0.2.1:9"), way("[::]:0", "[2001:db8::1]:9")];
    ways.into_iter().flatten().filter(|ip| !ip.is_unspecified() && !ip.is_loopback()).collect()
}
