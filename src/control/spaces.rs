//! The spaces of a node, as the control API speaks of them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Control,
    find::find_id,
    model::{
        ApiError, Changed, Code, JoinRequest, KeyEntry, KeyPage, LeaveRequest, SpaceEntry,
        SpaceList, Written,
    },
    stopped,
};
use crate::{
    spaces::{
        Entry, JoinError, Refusal, Space, SpaceError, SpaceSpec, SpaceState, Spaces, SpacesStats,
        SpecError, record::RecordError,
    },
    store::StoreError,
};

/// The most watches and exports at a time. Each holds some MiB while nobody takes them.
pub const MAX_DATA_STREAMS: usize = 64;

/// The most imports and values of up to 1 MiB that come in at a time.
pub const MAX_UPLOADS: usize = 16;

/// The spaces, and who is served with them.
#[derive(Debug)]
pub(super) struct Desk {
    spaces: Spaces,
    streams: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

impl Desk {
    fn new(spaces: Spaces) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_DATA_STREAMS));
        Self { spaces, streams, uploads: Arc::new(Semaphore::new(MAX_UPLOADS)) }
    }
}

/// Keys that are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Those that begin so.
    pub prefix: String,
    /// Those behind this one.
    pub after: Option<String>,
    /// No more than so many; 1,000 at most.
    pub limit: Option<usize>,
}

impl Control {
    /// Offers the spaces of the node too.
    #[must_use]
    pub fn with_spaces(mut self, spaces: Spaces) -> Self {
        self.desk = Some(Arc::new(Desk::new(spaces)));
        self
    }

    /// All spaces that the node keeps, by name.
    ///
    /// # Errors
    /// Nothing here keeps spaces.
    pub async fn spaces(&self) -> Result<SpaceList, ApiError> {
        let now = self.node().clock().now();
        let all = self.desk()?.spaces.all().await;
        Ok(SpaceList { spaces: all.iter().map(|state| SpaceEntry::of(state, now)).collect() })
    }

    /// Joins a space.
    ///
    /// # Errors
    /// It was not joined, and why.
    pub async fn join_space(&self, join: JoinRequest) -> Result<SpaceEntry, ApiError> {
        let desk = self.desk()?;
        let known = self.known().await;
        let writers =
            join.writers.iter().map(|id| find_id(id, &known)).collect::<Result<Vec<_>, _>>()?;
        let spec = SpaceSpec::with_writers(&join.name, writers).map_err(no_spec)?;
        desk.spaces.join(&spec).await.map_err(not_joined)?;
        let all = desk.spaces.all().await;
        let found = all.iter().find(|state| state.info.spec == spec);
        // It may have been left again already.
        let found = found.ok_or(SpaceError::NoSuchSpace).map_err(refused)?;
        Ok(SpaceEntry::of(found, self.node().clock().now()))
    }

    /// Leaves a space.
    ///
    /// # Errors
    /// It was not left, and why.
    pub async fn leave_space(&self, leave: &LeaveRequest) -> Result<Changed, ApiError> {
        let left = self.desk()?.spaces.leave(&leave.name, leave.forget).await;
        left.map(|changed| Changed { changed }).map_err(refused)
    }

    /// Keys, and how long their values are.
    ///
    /// # Errors
    /// They cannot be told, and why.
    pub async fn keys(&self, space: &str, filter: &KeyFilter) -> Result<KeyPage, ApiError> {
        let space = self.space(space).await?;
        let limit = filter.limit.unwrap_or(usize::MAX);
        let page = space.list(&filter.prefix, filter.after.as_deref(), limit).await;
        let page = page.map_err(refused)?;
        Ok(KeyPage { keys: page.entries.iter().map(KeyEntry::from).collect(), more: page.more })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// There is none, or it cannot be told, and why.
    pub async fn value(&self, space: &str, key: &str) -> Result<Entry, ApiError> {
        let found = self.space(space).await?.get(key).await.map_err(refused)?;
        found.ok_or_else(|| ApiError::new(Code::NotFound, "there is no such key"))
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// It was not written, and why.
    pub async fn set(&self, space: &str, key: &str, value: Bytes) -> Result<Written, ApiError> {
        let written = self.space(space).await?.set(key, value).await;
        written.map(Written::from).map_err(refused)
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// It was not deleted, and why.
    pub async fn delete(&self, space: &str, key: &str) -> Result<Changed, ApiError> {
        let deleted = self.space(space).await?.delete(key).await.map_err(refused)?;
        Ok(Changed { changed: deleted.is_some() })
    }

    /// A space that the node is in.
    pub(super) async fn space(&self, name: &str) -> Result<Space, ApiError> {
        self.desk()?.spaces.space(name).await.map_err(refused)
    }

    /// A place for a watch or an export.
    pub(super) fn data_stream(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        place(&self.desk()?.streams, Code::Full, "there are too many watches and exports")
    }

    /// A place for an import or a long value.
    pub(super) fn upload(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        place(&self.desk()?.uploads, Code::Busy, "too many values come in at once: try again")
    }

    /// The spaces that the node keeps, for its figures.
    pub(super) async fn space_figures(&self) -> (Vec<SpaceState>, SpacesStats) {
        match &self.desk {
            Some(desk) => (desk.spaces.all().await, desk.spaces.stats().await),
            None => <_>::default(),
        }
    }

    fn desk(&self) -> Result<&Desk, ApiError> {
        let none = || ApiError::new(Code::NoSpaces, "this node keeps no spaces");
        self.desk.as_deref().ok_or_else(none)
    }
}

fn place(
    places: &Arc<Semaphore>,
    code: Code,
    message: &str,
) -> Result<OwnedSemaphorePermit, ApiError> {
    places.clone().try_acquire_owned().or(Err(ApiError::new(code, message)))
}

fn no_spec(error: SpecError) -> ApiError {
    ApiError::new(Code::BadRequest, error.to_string())
}

fn not_joined(error: JoinError) -> ApiError {
    let code = match &error {
        JoinError::OtherWriters => Code::OtherWriters,
        JoinError::TooMany => Code::Full,
        JoinError::Store(error) => of_store(error),
        JoinError::Stopped => return stopped(),
    };
    ApiError::new(code, error.to_string())
}

/// Why something with a space was not done.
pub(super) fn refused(error: SpaceError) -> ApiError {
    let code = match &error {
        SpaceError::NoSuchSpace => Code::NoSuchSpace,
        SpaceError::Refused(refusal) | SpaceError::LineRefused { refusal, .. } => {
            of_refusal(*refusal)
        }
        SpaceError::Store(error) => of_store(error),
        SpaceError::Line { .. } => Code::BadRequest,
        SpaceError::Stopped => return stopped(),
    };
    ApiError::new(code, error.to_string())
}

const fn of_refusal(refusal: Refusal) -> Code {
    match refusal {
        Refusal::Record(RecordError::Key) => Code::BadRequest,
        Refusal::Record(RecordError::TooLarge) => Code::TooLarge,
        Refusal::NotAWriter => Code::NotAWriter,
        Refusal::SpaceFull => Code::SpaceFull,
        Refusal::WriterFull => Code::WriterFull,
        Refusal::Future => Code::ClockWrong,
        // What this node writes itself is none of these.
        Refusal::Record(
            RecordError::Malformed | RecordError::BadSignature | RecordError::NotSigned,
        )
        | Refusal::Expired => Code::Internal,
    }
}

const fn of_store(error: &StoreError) -> Code {
    match error {
        StoreError::Full { .. } => Code::DiskFull,
        _ => Code::StoreFailed,
    }
}
