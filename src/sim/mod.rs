//! A network of real nodes in one process, in memory, under a virtual clock.
//!
//! The actors are the very ones that run over TCP; only the [`Transport`](crate::transport) is
//! another. Time stands still while anything is to be done and jumps when nothing is, so an hour
//! of a thousand nodes takes a minute. All randomness comes from one seed: the same seed gives the
//! same events in the same order.
//!
//! There are two ways to use it. [`run`] gives a test a [`SimNetwork`] to do with as it likes, as
//! below. [`simulate`] runs a whole [`Scenario`] and gives a [`Report`], as `peerage sim` does.
//!
//! ```
//! use std::time::Duration;
//! use peerage::sim::{self, SimConfig};
//!
//! sim::run(SimConfig::seeded(7), async |net| {
//!     let first = net.add(&[]).await;
//!     for _ in 0..4 {
//!         net.add(&[first]).await;
//!     }
//!     net.advance(Duration::from_secs(10)).await;
//!     assert!(net.tables().await.values().all(|peers| peers.len() == 4));
//!
//!     net.kill(first).await;
//!     net.advance(Duration::from_secs(1)).await;
//!     assert!(net.tables().await.values().all(|peers| peers.len() == 3));
//! });
//! ```

mod engine;
mod latency;
mod measure;
mod network;
mod post;
mod record;
pub mod report;
pub mod scenario;
mod stream;
mod wires;

pub use engine::{Progress, simulate};
pub use latency::Latency;
pub use network::{NodeIndex, SimConfig, SimNetwork, run};
pub use record::SimEvent;
pub use report::Report;
pub use scenario::{Scenario, ScenarioError};
pub use stream::SimStream;
pub use wires::{Endpoint, SimListener, Wires};
