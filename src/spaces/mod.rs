//! Shared data: spaces, sets of records that every node that joins them has.

pub mod admission;
pub mod hlc;
pub mod name;
pub mod reconcile;
pub mod record;
pub mod store;
pub mod summary;
