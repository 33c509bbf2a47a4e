//! One layer of settings, as raw text: the shape that flags, environment and file share.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// Which layer a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Typed on the command line.
    Flag,
    /// An environment variable.
    Env,
    /// The configuration file at this path.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl Origin {
    /// The name under which this layer knows the setting `key`, for error messages.
    pub(crate) fn of(&self, key: &str) -> String {
        match self {
            Self::Flag => format!("--{key}"),
            Self::Env => env_name(key),
            Self::File(path) => format!("\"{key}\" in {}", path.display()),
            Self::Default => format!("the default of {key}"),
        }
    }

    /// Where the setting `key` was found: `flag --x`, `env PEERAGE_X`, `file PATH`, `default`.
    pub(crate) fn describe(&self, key: &str) -> String {
        match self {
            Self::Flag => format!("flag --{key}"),
            Self::Env => format!("env {}", env_name(key)),
            Self::File(path) => format!("file {}", path.display()),
            Self::Default => "default".to_owned(),
        }
    }
}

/// The environment variable of a setting: `ping-interval` is `PEERAGE_PING_INTERVAL`.
pub(crate) fn env_name(key: &str) -> String {
    format!("PEERAGE_{}", key.to_uppercase().replace('-', "_"))
}

/// A value, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

impl<T> Sourced<T> {
    /// A value nobody asked for.
    pub(crate) const fn by_default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }
}

/// What one layer says, unparsed; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    /// peer or introducer.
    pub(crate) role: Option<String>,
    /// Addresses to listen on.
    pub(crate) listen: Option<Vec<String>>,
    /// The address others should dial.
    pub(crate) advertise: Option<String>,
    /// First contacts.
    pub(crate) bootstrap: Option<Vec<String>>,
    /// Find others on the local network.
    pub(crate) lan: Option<String>,
    /// What the node says of itself.
    pub(crate) tag: Option<Vec<String>>,
    /// Time between pings.
    pub(crate) ping_interval: Option<String>,
    /// Silence after which a peer is dead.
    pub(crate) dead_after: Option<String>,
    /// Time for a hello.
    pub(crate) handshake_timeout: Option<String>,
    /// off, prefer or require.
    pub(crate) security: Option<String>,
    /// The name of the network.
    pub(crate) network: Option<String>,
    /// The file with the secret of a private network.
    pub(crate) network_key: Option<PathBuf>,
    /// The file with the ids that may be peers.
    pub(crate) allow: Option<PathBuf>,
    /// The ids that may be peers; only a file has room for them.
    pub(crate) allowed: Option<Vec<String>>,
    /// How long a peer that broke the protocol is discouraged.
    pub(crate) discourage_for: Option<String>,
    /// Where to keep things.
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep nothing.
    pub(crate) ephemeral: Option<String>,
    /// Where to serve the control API.
    pub(crate) api: Option<String>,
    /// Others than this machine may reach it.
    pub(crate) api_allow_remote: Option<String>,
    /// Where its token is kept.
    pub(crate) api_token_file: Option<PathBuf>,
    /// No control API.
    pub(crate) no_api: Option<String>,
    /// The operator's program.
    pub(crate) hooks: HookLayer,
    /// Log filter.
    pub(crate) log: Option<String>,
    /// text or json.
    pub(crate) log_format: Option<String>,
    /// Threads that carry sessions.
    pub(crate) workers: Option<String>,
    /// The numbers of `limits`, by their keys.
    pub(crate) limits: BTreeMap<&'static str, String>,
}

/// What is said about a hook; only a file has room for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HookLayer {
    /// The program and its arguments.
    pub(crate) program: Option<Vec<String>>,
    /// The events that it is told.
    pub(crate) only: Option<Vec<String>>,
    /// The topics that are taken for it.
    pub(crate) topics: Option<Vec<String>>,
}

/// All layers, strongest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    /// The command line.
    pub(crate) flags: Layer,
    /// The environment.
    pub(crate) env: Layer,
    /// The file and its path, if one was named.
    pub(crate) file: Option<(PathBuf, Layer)>,
}

impl Layers {
    /// The layers with their origins, strongest first.
    pub(crate) fn strongest_first(&self) -> impl Iterator<Item = (Origin, &Layer)> {
        let file = self.file.iter().map(|(path, layer)| (Origin::File(path.clone()), layer));
        [(Origin::Flag, &self.flags), (Origin::Env, &self.env)].into_iter().chain(file)
    }
}
