//! A whole node: builds the actors, ties them together, and gives a handle to it.

mod build;
mod core;
mod handle;

pub use build::{Node, NodeBuilder, StartError};
pub use handle::NodeHandle;

#[cfg(test)]
mod tests;
