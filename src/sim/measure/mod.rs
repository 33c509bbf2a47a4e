//! The accounts of a simulation: what happened, counted. Pure, like the machines of
//! [`proto`](crate::proto): times and events come in, figures go out.

mod bits;
mod census;
mod coverage;
mod delivery;
mod distribution;
mod weather;

pub use distribution::{Distribution, Summary};
pub use weather::Condition;

pub(super) use bits::Bits;
pub(super) use census::Census;
pub(super) use coverage::{Arrival, Coverage, Published, Row as CoverageRow, SETTLE};
pub(super) use delivery::{Deliveries, Outcome, Row as DeliveryRow, share};
pub(super) use distribution::ratio;
pub(super) use weather::Weather;
