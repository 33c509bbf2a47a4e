//! Whom a person means by the beginning of an id, an address or a subnet.

use std::collections::BTreeSet;

use super::model::{ApiError, Code};
use crate::{HostPort, NodeId, Target};

/// The most ids that are named when several begin so.
const SHOWN: usize = 5;

/// The node whose id begins so. A whole id need not be known.
pub(super) fn find_id(text: &str, known: &BTreeSet<NodeId>) -> Result<NodeId, ApiError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let digits: String =
        text.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("{text:?} is not a node id, nor the beginning of one");
        return Err(ApiError::new(Code::BadRequest, message));
    }
    let matches = |id: &&NodeId| format!("{:032x}", id.as_u128()).starts_with(&digits);
    let found: Vec<&NodeId> = known.iter().filter(matches).take(SHOWN + 1).collect();
    match &found[..] {
        [id] => Ok(**id),
        [] => Err(ApiError::new(Code::NotFound, format!("no known node's id begins with {text}"))),
        several => {
            let mut names: Vec<String> = several.iter().map(ToString::to_string).collect();
            if names.len() > SHOWN {
                names.truncate(SHOWN);
                names.push("more".to_owned());
            }
            let message = format!("several ids begin with {text}: {}", names.join(", "));
            Err(ApiError::new(Code::Ambiguous, message))
        }
    }
}

/// What is to be banned: a node, an address or a subnet.
pub(super) fn find_target(text: &str, known: &BTreeSet<NodeId>) -> Result<Target, ApiError> {
    match text.parse() {
        Ok(target) => Ok(target),
        Err(_) => find_id(text, known).map(Target::Node).map_err(|error| match error.code {
            Code::BadRequest => {
                let message = format!("{text:?} is no node id, IP address or subnet");
                ApiError::new(Code::BadRequest, message)
            }
            _ => error,
        }),
    }
}

/// Whom a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Node(NodeId),
    Addr(HostPort),
}

/// A node or an address.
pub(super) fn find_subject(text: &str, known: &BTreeSet<NodeId>) -> Result<Subject, ApiError> {
    match text.parse::<HostPort>() {
        Ok(addr) => Ok(Subject::Addr(addr)),
        Err(_) => find_id(text, known).map(Subject::Node).map_err(|error| match error.code {
            Code::BadRequest => {
                let message = format!("{text:?} is no node id and no address (host:port)");
                ApiError::new(Code::BadRequest, message)
            }
            _ => error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeSet<NodeId> {
        [0x7a5f_0000, 0x7a5e_0000, 0x1234_0000].map(|n| NodeId::from_u128(n << 96)).into()
    }

    #[test]
    fn an_id_may_be_shortened_as_long_as_it_is_the_only_one() {
        let code = |text: &str| find_id(text, &known()).map_err(|error| error.code);
        assert_eq!(code("7a5f"), Ok(NodeId::from_u128(0x7a5f_0000 << 96)));
        assert_eq!(code("7A5F0000-00"), Ok(NodeId::from_u128(0x7a5f_0000 << 96)));
        assert_eq!(code("1"), Ok(NodeId::from_u128(0x1234_0000 << 96)));
        assert_eq!(code("7a5"), Err(Code::Ambiguous));
        assert_eq!(code("9"), Err(Code::NotFound));
        assert_eq!(code(""), Err(Code::BadRequest));
        assert_eq!(code("hello"), Err(Code::BadRequest));
        let whole = NodeId::from_u128(5);
        assert_eq!(code(&whole.to_string()), Ok(whole), "a whole id need not be known");
        let error = find_id("7a5", &known()).unwrap_err().message;
        assert!(error.contains("7a5e0000-") && error.contains("7a5f0000-"), "{error}");
    }

    #[test]
    fn a_target_is_a_node_an_address_or_a_subnet() {
        let target = |text: &str| find_target(text, &known()).map(|target| target.to_string());
        assert_eq!(target("10.0.0.0/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(target("7a5f").unwrap(), known().last().unwrap().to_string());
        assert_eq!(target("a.example").unwrap_err().code, Code::BadRequest);
    }
}
