//! First contacts, as the operator names them.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{AddressError, HostPort};
use crate::ids::NodeId;

/// A first contact: an address, and the id of the node that must answer there, if that is known.
/// Written `HOST:PORT` or `HOST:PORT/NODEID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bootstrap {
    /// Where. A name stands for all its addresses.
    pub addr: HostPort,
    /// Who. Another node that answers there is refused as `wrong-node`.
    pub id: Option<NodeId>,
}

/// A text that is no first contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BootstrapError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// What follows the slash is no node id.
    #[error("what follows the / must be a node id, which is a UUID")]
    BadId,
    /// Nothing could prove the id.
    #[error("only an id of version 8 can be asked for, since nothing proves another")]
    Unproven,
}

impl From<HostPort> for Bootstrap {
    fn from(addr: HostPort) -> Self {
        Self { addr, id: None }
    }
}

impl FromStr for Bootstrap {
    type Err = BootstrapError;

    fn from_str(text: &str) -> Result<Self, BootstrapError> {
        let (addr, id) = match text.split_once('/') {
            Some((addr, id)) => (addr, Some(id)),
            None => (text, None),
        };
        let addr = addr.parse()?;
        let id: Option<NodeId> = id.map(str::parse).transpose().or(Err(BootstrapError::BadId))?;
        if id.is_some_and(|id| !id.is_self_certifying()) {
            return Err(BootstrapError::Unproven);
        }
        Ok(Self { addr, id })
    }
}

impl fmt::Display for Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{}/{id}", self.addr),
            None => self.addr.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_bootstrap_reads_as_it_is_written() {
        let id = crate::identity::PublicKey::from_bytes([1; 32]).node_id();
        for text in [format!("seed.example:1/{id}"), "[::1]:1".to_owned()] {
            assert_eq!(text.parse::<Bootstrap>().unwrap().to_string(), text);
        }
        let text = "1.2.3.4:1/0e8bd4d8-9c5d-4a1d-a4ee-16f1ab2c7d0a";
        assert_eq!(text.parse::<Bootstrap>(), Err(BootstrapError::Unproven));
        assert_eq!("1.2.3.4:1/x".parse::<Bootstrap>(), Err(BootstrapError::BadId));
        assert_eq!("1.2.3.4".parse::<Bootstrap>(), Err(AddressError::NoPort.into()));
    }
}
