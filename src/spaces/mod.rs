//! Shared data: spaces, named sets of records that every node that joins them has.
//!
//! An extension: actors on the public API of the crate and on the [overlay](crate::overlay).
//! [`Spaces::start`] adds it to a running node.
//!
//! * Each record has its writer's id, a [hybrid logical clock](hlc) and, from nodes with a key, a
//!   signature. The later record of a key wins, everywhere; of two at one time that of the higher id.
//! * A change is published at once. What was missed is found by [comparing sums](summary) with a peer of
//!   the space when a session comes up, and with a random one now and then; only what differs travels.
//! * What was acknowledged is on the disk ([`store`]).
//! * Deletions are kept for a time ([`Rules::keep_deletions`]), so that those who were away hear of them.
//!   A node that was away for longer takes the others' state.
//!
//! ```
//! use peerage::{
//!     Node,
//!     overlay::{Overlay, OverlayConfig},
//!     spaces::{Keep, SpaceSpec, Spaces, SpacesConfig},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! actix_rt::System::new().block_on(async {
//!     let node = Node::builder().listen("127.0.0.1:0".parse()?);
//!     let overlay = Overlay::start(node, OverlayConfig::default()).await?;
//!     let spaces = Spaces::start(&overlay, SpacesConfig::default(), Keep::Memory).await?;
//!     let notes = spaces.join(&SpaceSpec::open("notes")?).await?;
//!     notes.set("colour", "green").await?;
//!     let entry = notes.get("colour").await?;
//!     assert_eq!(entry.and_then(|entry| entry.value).as_deref(), Some(&b"green"[..]));
//!     spaces.stop().await;
//!     overlay.stop().await;
//!     Ok(())
//! })
//! # }
//! ```

pub mod admission;
pub mod classic;
mod error;
pub mod hlc;
mod keeper;
mod lines;
mod link;
pub mod messages;
pub mod name;
mod put;
pub mod reconcile;
pub mod record;
mod replicator;
mod schedule;
pub mod scribe;
mod shunned;
mod space;
pub mod store;
pub mod summary;
mod sync;
mod watch;

use std::{
    num::NonZero,
    path::PathBuf,
    sync::{Arc, OnceLock},
    thread,
};

use actix::prelude::*;
use tokio::sync::Semaphore;

pub use self::{
    admission::{Amount, Refusal, Rules, Standing},
    error::SpaceError,
    hlc::Hlc,
    lines::{JsonValue, Line, ValueError},
    name::{SpaceId, SpaceName, SpaceSpec, SpecError},
    record::{MAX_KEY, MAX_VALUE},
    replicator::SpacesStats,
    schedule::Times,
    space::{Imported, Space, Version},
    store::{Entry, JoinError, MAX_SPACES, Page, SpaceInfo},
    watch::{Change, Watch},
};
use self::{
    classic::Classic,
    keeper::Keeper,
    replicator::{Count, CountPeers, Find, Join, Leave, Replicator, Stop},
    space::WRITE_ROOM,
    store::{Owner, Store},
};
use crate::{
    overlay::Overlay,
    proto::journal::{Decision, Kind},
    store::StoreError,
};

/// On so many threads at most what is to be written is signed and verified: what these can do, one thread can
/// write.
const MAX_SCRIBES: usize = 4;

/// How spaces work. The defaults are good for most; the rules should be the same on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpacesConfig {
    /// What a space may hold, and for how long it keeps deletions.
    pub rules: Rules,
    /// When others are asked.
    pub times: Times,
    /// The size that the file may have, in bytes.
    pub max_bytes: u64,
}

impl Default for SpacesConfig {
    /// See there; the file may have 16 GiB.
    fn default() -> Self {
        Self { rules: Rules::default(), times: Times::default(), max_bytes: 16 << 30 }
    }
}

/// Where records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// In this file. It is made if it is not there.
    File(PathBuf),
    /// In memory, as long as the node runs.
    Memory,
}

/// The spaces of a running node. Clones are of the same node; dropping them all leaves them running.
#[derive(Debug, Clone)]
pub struct Spaces {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    keeper: Keeper<Store>,
    replicator: Addr<Replicator>,
    /// What may be on its way to be written.
    room: Semaphore,
    /// Joining and leaving are done one after another.
    gate: Semaphore,
    classic: OnceLock<Addr<Classic>>,
}

/// A space, and how many peers are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceState {
    /// The space.
    pub info: SpaceInfo,
    /// How many peers are in it; others may be that are no peers of this node.
    pub peers: usize,
}

impl Spaces {
    /// Opens the store and begins to bring together what it holds with what others have. Takes the
    /// msgtypes `spaces`, `space_hint`, `space_ask`, `space_answer` and `space_change`; and `get_data`,
    /// `update_data` and `quit`, by which plain peers read and write ([`classic`]).
    ///
    /// # Errors
    /// The store cannot be opened. Nothing was started.
    pub async fn start(
        overlay: &Overlay,
        config: SpacesConfig,
        keep: Keep,
    ) -> Result<Self, StoreError> {
        let node = overlay.node();
        let owner = Owner {
            id: node.id(),
            key: node.key().cloned(),
            rules: config.rules,
            max_bytes: config.max_bytes,
        };
        let now = node.clock().now();
        let (keeper, scribe, set_aside) = match keep {
            Keep::Memory => {
                let store = Store::in_memory(owner)?;
                let scribe = Keeper::here(store.scribe().clone());
                (Keeper::here(store), scribe, None)
            }
            Keep::File(path) => {
                // A disk may take its time.
                let open = {
                    let path = path.clone();
                    tokio::task::spawn_blocking(move || Store::open(&path, owner, now))
                };
                let stopped =
                    |_| StoreError::Other { path, cause: "the node is stopping".to_owned() };
                let (store, set_aside) = open.await.map_err(stopped)??;
                let cores = thread::available_parallelism().map_or(1, NonZero::get);
                let scribe = store.scribe().clone();
                let scribe = Keeper::on_threads(scribe, "peerage-scribe", cores.min(MAX_SCRIBES));
                (Keeper::on_thread(store, "peerage-spaces"), scribe, set_aside)
            }
        };
        if let Some(set_aside) = set_aside {
            tracing::warn!("{set_aside}");
            let note = Decision::new(now, Kind::StoreFailed, "set-aside");
            node.note(note.detail(set_aside.to_string()));
        }
        let spaces = keeper.call(|store| store.spaces()).await.unwrap_or_default();
        let replicator = Replicator::new(overlay, (keeper.clone(), scribe), config, spaces).start();
        node.subscribe(replicator.clone().recipient()).await;
        let room = Semaphore::new(WRITE_ROOM);
        let classic = OnceLock::new();
        let gate = Semaphore::new(1);
        let spaces = Self { inner: Arc::new(Inner { keeper, replicator, room, gate, classic }) };
        spaces.inner.classic.get_or_init(|| Classic::start(spaces.clone(), node));
        Ok(spaces)
    }

    /// Joins a space, or joins it again with what it held; a space that this node is in already is
    /// only handed out.
    ///
    /// # Errors
    /// It was not joined, and why.
    pub async fn join(&self, spec: &SpaceSpec) -> Result<Space, JoinError> {
        let _turn = self.inner.gate.acquire().await.or(Err(JoinError::Stopped))?;
        let joined = self.inner.replicator.send(Join(spec.clone())).await;
        let latest = joined.unwrap_or(Err(JoinError::Stopped))?;
        Ok(Space::new(self, spec.clone(), latest))
    }

    /// Leaves a space: it is not brought together with others any more. Its records stay on the disk, for
    /// when it is joined again, unless they are to be forgotten. Whether there was anything to leave.
    ///
    /// # Errors
    /// It was not left, and why.
    pub async fn leave(&self, name: &str, forget: bool) -> Result<bool, SpaceError> {
        let _turn = self.inner.gate.acquire().await.or(Err(SpaceError::Stopped))?;
        let Some(info) = self.find(name).await? else { return Ok(false) };
        let left = self.inner.replicator.send(Leave(info.spec.id(), forget)).await;
        Ok(left.unwrap_or(Ok(false))?)
    }

    /// A space that this node is in.
    ///
    /// # Errors
    /// It is in none of that name.
    pub async fn space(&self, name: &str) -> Result<Space, SpaceError> {
        let info = self.find(name).await?.ok_or(SpaceError::NoSuchSpace)?;
        let latest = self.inner.replicator.send(Find(info.spec.id())).await;
        let latest = latest.or(Err(SpaceError::Stopped))?.ok_or(SpaceError::NoSuchSpace)?;
        Ok(Space::new(self, info.spec, latest))
    }

    /// All spaces that are kept, also those that this node has left, by name.
    pub async fn all(&self) -> Vec<SpaceState> {
        let inner = &self.inner;
        let infos = inner.keeper.call(|store| store.spaces()).await.unwrap_or_default();
        let peers = inner.replicator.send(CountPeers).await.unwrap_or_default();
        let state = |info: SpaceInfo| {
            let peers = peers.get(&info.spec.id()).copied().unwrap_or_default();
            SpaceState { info, peers }
        };
        infos.into_iter().map(state).collect()
    }

    /// What was done so far. All zeros when it has stopped.
    pub async fn stats(&self) -> SpacesStats {
        self.inner.replicator.send(Count).await.unwrap_or_default()
    }

    async fn find(&self, name: &str) -> Result<Option<SpaceInfo>, SpaceError> {
        let name = name.to_owned();
        Ok(self.inner.keeper.call(move |store| store.named(&name)).await?)
    }

    /// Ends what [`start`](Self::start) began, and closes the store; what is being written is written
    /// first. The node itself runs on.
    pub async fn stop(&self) {
        if let Err(gone) = self.inner.replicator.send(Stop).await {
            tracing::debug!(%gone, "already ended");
        }
        if let Ok(Err(error)) = self.inner.keeper.close().await {
            tracing::warn!(%error, "the spaces' file was not closed");
        }
        // Last, so that those whose writes were not kept are told.
        if let Some(classic) = self.inner.classic.get()
            && let Err(gone) = classic.send(classic::Stop).await
        {
            tracing::debug!(%gone, "already ended");
        }
    }
}
