//! The machines: everything that can be decided wrongly, as plain structs.
//!
//! Nothing in here knows actix, tokio, a socket, a clock or a source of entropy: time comes in as
//! a [`Moment`](crate::clock::Moment), randomness as a seeded generator, and what is to be done
//! comes out as data. Collections are ordered, so that the same inputs give the same outputs in
//! the same order; `tests/tidy.rs` holds this module to it.
//!
//! One connection is a [`link`]; who is connected is the [`peer_table`]; what is known of
//! addresses is the [`address_book`]; whom to dial, ask and tell is decided by the [`explorer`].
//! Where a message to a node that is no peer goes next is decided by [`routing`], and to whom one to
//! everybody is handed by [`plumtree`]; what became of a question to many is kept by [`survey`], and
//! what is owed to those who asked by [`owed`].

pub mod address_book;
pub mod address_entry;
pub mod address_record;
pub mod admission;
pub mod back_off;
pub mod bans;
pub mod bootstrap_names;
pub mod buckets;
pub mod by_message;
pub mod credentials;
pub mod crowd;
pub mod diversity;
pub mod eviction;
pub mod explorer;
pub mod finder;
pub mod floods;
pub mod intake;
pub mod introducer;
pub mod journal;
pub mod keys;
pub mod link;
pub mod liveness;
pub mod owed;
pub mod own_address;
pub mod peer_table;
pub mod plumtree;
pub mod presence;
pub mod recent;
pub mod redial;
pub mod replay;
pub mod routing;
pub mod stall;
pub mod survey;
pub mod token_bucket;

#[cfg(test)]
mod properties;
