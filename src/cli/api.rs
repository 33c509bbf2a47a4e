//! The control API of a running node: where it is served, and how others find it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use peerage::control::{
    Control,
    server::{Place, ServeError, Serving},
    token::{Token, write_private},
};
use serde::{Deserialize, Serialize};

use super::{error::Failure, resolve::Settings};

/// The file in the data directory that says where the API is.
const API_FILE: &str = "api.json";

/// Where the API of the node of a data directory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiPlace {
    /// Its address.
    pub(crate) addr: SocketAddr,
    /// The process.
    pub(crate) pid: u32,
    /// The node.
    pub(crate) id: String,
    /// The file with the token.
    pub(crate) token_file: PathBuf,
}

impl ApiPlace {
    /// What the node of a data directory says; `None` if none runs there, or none with an API.
    pub(crate) fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(data_dir.join(API_FILE)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).map(Some)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// An address that is taken, and the secret.
pub(crate) struct Prepared {
    place: Place,
    token: Token,
    token_file: PathBuf,
    data_dir: Option<PathBuf>,
}

/// Takes the address before the node is started, so that what is wrong is known early. `None` if no API is
/// wanted.
pub(crate) fn prepare(settings: &Settings) -> Result<Option<Prepared>, Failure> {
    let api = &settings.api;
    let Some(token_file) = api.token_path(&settings.storage) else { return Ok(None) };
    let wanted = api.addr.value;
    let place = match Place::take(wanted, api.allow_remote.value) {
        Err(ServeError::Bind { source, .. })
            if source.kind() == io::ErrorKind::AddrInUse && !api.is_explicit() =>
        {
            let place = Place::take((Ipv4Addr::LOCALHOST, 0).into(), false)?;
            tracing::info!(%wanted, got = %place.addr(), "the control API is at another port, since its own is in use");
            place
        }
        taken => taken?,
    };
    let token = Token::keep(&token_file)?;
    let data_dir = settings.storage.data_dir.value.clone();
    Ok(Some(Prepared { place, token, token_file, data_dir }))
}

impl Prepared {
    /// Where it is going to be.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.place.addr()
    }

    /// The file with the token.
    pub(crate) fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// Serves it, and says in the data directory where.
    pub(crate) fn serve(self, control: &Control) -> Result<Served, Failure> {
        let place = ApiPlace {
            addr: self.place.addr(),
            pid: std::process::id(),
            id: control.node().id().to_string(),
            // Whoever reads it may stand in another directory.
            token_file: std::path::absolute(&self.token_file).unwrap_or(self.token_file),
        };
        let serving = self.place.serve(control, self.token)?;
        let file = self.data_dir.map(|dir| Notice(dir.join(API_FILE)));
        if let Some(Notice(path)) = &file {
            let text = serde_json::to_vec(&place).unwrap_or_default();
            write_private(path, &text)
                .map_err(|source| Failure::Write { path: path.clone(), source })?;
        }
        Ok(Served { serving, _notice: file })
    }
}

/// It is being served.
pub(crate) struct Served {
    serving: Serving,
    _notice: Option<Notice>,
}

/// The file that says where it is, as long as it is true.
struct Notice(PathBuf);

impl Drop for Notice {
    fn drop(&mut self) {
        // If it stays, whoever reads it finds nobody there, and says so.
        std::fs::remove_file(&self.0).ok();
    }
}

impl Served {
    /// Ends it.
    pub(crate) async fn stop(self) {
        self.serving.stop().await;
    }
}
