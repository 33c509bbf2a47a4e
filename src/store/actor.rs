//! Writes to the file, on a thread of its own: a disk that takes its time must not hold up peers.

use std::thread;

use actix::prelude::*;
use parking_lot::Mutex;

use super::{Close, SaveAddresses, SaveBans, Store, StoreError, Trouble};
use crate::{
    actors::{journal::JournalPort, vital::Vital},
    clock::Clock,
    proto::journal::{Decision, Kind},
};

/// The shell of [`Store`].
///
/// It ends, and closes the file, when all its addresses are dropped. Nobody waits for that: a node
/// that stops sends [`Close`] and awaits the answer.
///
/// A save that fails is noted in the journal and logged as a warning, once for each kind of error
/// until saving works again, which is noted as well: savers try again every few seconds, and the
/// journal has better things to keep.
#[derive(Debug)]
pub struct Keeper {
    /// None once it was closed.
    store: Option<Store>,
    clock: Clock,
    journal: JournalPort,
    trouble: Trouble,
    /// After the store, so that the file is closed by the time that this reports an unexpected end.
    _vital: Option<Vital>,
}

impl Keeper {
    /// Starts the keeper's thread. Must be called inside an actix system.
    #[must_use]
    pub fn start(
        store: Store,
        clock: Clock,
        journal: JournalPort,
        vital: Option<Vital>,
    ) -> Addr<Self> {
        // The arbiter wants to be able to make a second one, but would do so only for an actor that
        // stops itself.
        let parts = Mutex::new(Some((store, vital)));
        let make = move || {
            let (store, vital) = parts.lock().take().unzip();
            let (journal, trouble) = (journal.clone(), Trouble::default());
            Self { store, clock, journal, trouble, _vital: vital.flatten() }
        };
        let thread = || thread::Builder::new().name("peerage-store".to_owned());
        SyncArbiter::start_with_thread_builder(1, thread, make)
    }

    /// Saves by the store, and tells of what fails. Whether it was saved.
    fn save(&mut self, save: impl FnOnce(&mut Store) -> Result<(), StoreError>) -> bool {
        let Some(store) = &mut self.store else {
            tracing::debug!("not kept: the store is closed");
            return false;
        };
        let saved = save(store);
        self.tell(&saved);
        saved.is_ok()
    }

    fn tell(&mut self, saved: &Result<(), StoreError>) {
        let note = match saved {
            Ok(()) => self.trouble.is_over().map(|failed| {
                let detail = format!("{failed} saves had failed");
                Decision::new(self.clock.now(), Kind::StoreRecovered, "saved").detail(detail)
            }),
            Err(error) => self.trouble.is_new(error.code()).then(|| {
                Decision::new(self.clock.now(), Kind::StoreFailed, error.code())
                    .detail(error.to_string())
            }),
        };
        if let Some(note) = note {
            self.journal.note(note);
        }
    }
}

impl Actor for Keeper {
    type Context = SyncContext<Self>;
}

impl Handler<SaveAddresses> for Keeper {
    type Result = bool;

    fn handle(&mut self, SaveAddresses(changes): SaveAddresses, _: &mut Self::Context) -> bool {
        self.save(|store| store.save_addresses(&changes))
    }
}

impl Handler<SaveBans> for Keeper {
    type Result = bool;

    fn handle(&mut self, SaveBans(changes): SaveBans, _: &mut Self::Context) -> bool {
        self.save(|store| store.save_bans(&changes))
    }
}

impl Handler<Close> for Keeper {
    type Result = bool;

    fn handle(&mut self, _: Close, _: &mut Self::Context) -> bool {
        let closed = self.store.take().map_or(Ok(()), Store::close);
        if closed.is_err() {
            self.tell(&closed);
        }
        closed.is_ok()
    }
}
