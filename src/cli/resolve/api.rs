//! Where the control API is served, if it is, and by which secret.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use peerage::control::server::DEFAULT_PORT;

use super::{
    parse::{Wrong, parse_addr, parse_path, parse_switch, wrong},
    pick::pick,
    storage::Storage,
};
use crate::cli::{
    error::UsageError,
    layer::{Layers, Origin, Sourced},
};

/// The file in the data directory with the token.
const TOKEN_FILE: &str = "api.token";

/// What is said about the control API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiSettings {
    /// Where.
    pub(crate) addr: Sourced<SocketAddr>,
    /// Others than this machine may reach it.
    pub(crate) allow_remote: Sourced<bool>,
    /// The file with its token, if it is not to be in the data directory.
    pub(crate) token_file: Sourced<Option<PathBuf>>,
    /// Not at all.
    pub(crate) is_off: Sourced<bool>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            addr: Sourced::by_default((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()),
            allow_remote: Sourced::by_default(false),
            token_file: Sourced::by_default(None),
            is_off: Sourced::by_default(false),
        }
    }
}

impl ApiSettings {
    /// Whether somebody asked for it, and so for this very address.
    pub(crate) fn is_explicit(&self) -> bool {
        self.addr.origin != Origin::Default
    }

    /// The file with the token; `None` if the API is not served.
    pub(crate) fn token_path(&self, storage: &Storage) -> Option<PathBuf> {
        if self.is_off.value {
            return None;
        }
        let in_dir = || Some(storage.data_dir.value.as_deref()?.join(TOKEN_FILE));
        match &self.token_file.value {
            // Without a data directory it is not served unless somebody asks for it.
            Some(_) if storage.data_dir.value.is_none() && !self.is_explicit() => None,
            Some(file) => Some(file.clone()),
            None => in_dir(),
        }
    }
}

/// Merges the layers.
pub(super) fn resolve_api(layers: &Layers, storage: &Storage) -> Result<ApiSettings, UsageError> {
    let default = ApiSettings::default();
    let addr = pick(layers, "api", |layer| layer.api.as_deref(), parse_api)?;
    let allow_remote =
        pick(layers, "api-allow-remote", |layer| layer.api_allow_remote.as_deref(), parse_switch)?;
    let file = |path: &std::path::Path| parse_path(path).map(Some);
    let token_file = pick(layers, "api-token-file", |layer| layer.api_token_file.as_deref(), file)?;
    let is_off = pick(layers, "no-api", |layer| layer.no_api.as_deref(), parse_switch)?;
    let settings = ApiSettings {
        addr: addr.unwrap_or(default.addr),
        allow_remote: allow_remote.unwrap_or(default.allow_remote),
        token_file: token_file.unwrap_or(default.token_file),
        is_off: is_off.unwrap_or(default.is_off),
    };
    let is_wanted = settings.is_explicit() && !settings.is_off.value;
    if is_wanted && settings.token_path(storage).is_none() {
        return Err(UsageError::NoTokenFile);
    }
    Ok(settings)
}

/// An address of this machine: a name would have to be looked up.
fn parse_api(text: &str) -> Result<SocketAddr, Wrong> {
    let local = text.trim().strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let addr = parse_addr(local.as_deref().unwrap_or(text))?;
    match addr.socket_addr() {
        Some(addr) => Ok(addr),
        None => wrong(text, "expected an IP address or localhost, and a port"),
    }
}
