//! Messages to nodes that are no peers.

pub mod envelope;
