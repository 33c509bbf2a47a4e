//! The numbers that bound what others can make a node do: each with its flag, its range, and the
//! field of the node's configuration that it sets.

use std::ops::RangeInclusive;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, builder::Resettable, error::Error};
use peerage::{NodeConfig, wire::MAX_LINE};

/// One number. Its text is raw until `resolve` looks at it, as that of all flags is.
#[derive(Debug)]
pub(crate) struct Limit {
    /// The name of the flag, and the key of the file.
    pub(crate) key: &'static str,
    /// The environment variable.
    pub(crate) env: &'static str,
    /// The first line of the help.
    pub(crate) help: &'static str,
    /// What happens at the limit, for the long help.
    pub(crate) then: &'static str,
    /// What can be asked for. Where nothing but memory bounds it, the end is a guess at "surely a
    /// typing error".
    pub(crate) range: RangeInclusive<usize>,
    /// Reads it from the configuration.
    pub(crate) get: fn(&NodeConfig) -> usize,
    /// Puts it into the configuration.
    pub(crate) set: fn(&mut NodeConfig, usize),
}

/// The end of a range that nothing else bounds.
const MANY: usize = 1_000_000;

/// All of them, in the order of the help.
pub(crate) const LIMITS: [Limit; 10] = [
    Limit {
        key: "max-inbound",
        env: "PEERAGE_MAX_INBOUND",
        help: "Sessions that others have dialled, at most",
        then: "Beyond it a newcomer takes the place of the least useful one, or gets `bye full`.",
        range: 0..=MANY,
        get: |node| node.limits.max_inbound,
        set: |node, n| node.limits.max_inbound = n,
    },
    Limit {
        key: "max-per-address",
        env: "PEERAGE_MAX_PER_ADDRESS",
        help: "Connections from one address, at most",
        then: "One more is refused as `full`. Loopback is exempt.",
        range: 1..=MANY,
        get: |node| node.limits.max_per_address,
        set: |node, n| node.limits.max_per_address = n,
    },
    Limit {
        key: "max-per-subnet",
        env: "PEERAGE_MAX_PER_SUBNET",
        help: "Connections from one subnet (IPv4 /24, IPv6 /64), at most",
        then: "One more is refused as `full`. Loopback is exempt.",
        range: 1..=MANY,
        get: |node| node.limits.max_per_subnet,
        set: |node, n| node.limits.max_per_subnet = n,
    },
    Limit {
        key: "max-unfinished",
        env: "PEERAGE_MAX_UNFINISHED",
        help: "Inbound connections without a hello yet, at most",
        then: "Beyond it the oldest of them is closed.",
        range: 1..=MANY,
        get: |node| node.limits.max_unfinished,
        set: |node, n| node.limits.max_unfinished = n,
    },
    Limit {
        key: "message-burst",
        env: "PEERAGE_MESSAGE_BURST",
        help: "Messages taken from one peer at once after a quiet time",
        then: "Beyond it the peer is read no faster than messages-per-second; nothing is dropped.",
        range: 1..=1000 * MANY,
        get: |node| as_usize(node.session.message_burst),
        set: |node, n| node.session.message_burst = as_u32(n),
    },
    Limit {
        key: "messages-per-second",
        env: "PEERAGE_MESSAGES_PER_SECOND",
        help: "Messages taken from one peer per second in the long run",
        then: "What comes faster waits in the sender's own buffers.",
        range: 1..=1000 * MANY,
        get: |node| as_usize(node.session.messages_per_second),
        set: |node, n| node.session.messages_per_second = as_u32(n),
    },
    Limit {
        key: "addr-burst",
        env: "PEERAGE_ADDR_BURST",
        help: "Addresses taken unasked from one peer at once",
        then: "Beyond it no more than addrs-per-second are looked at.",
        range: 0..=MANY,
        get: |node| as_usize(node.discovery.addr_burst),
        set: |node, n| node.discovery.addr_burst = as_u32(n),
    },
    Limit {
        key: "addrs-per-second",
        env: "PEERAGE_ADDRS_PER_SECOND",
        help: "Addresses taken unasked from one peer per second in the long run",
        then: "What is beyond is ignored, and noted.",
        range: 1..=MANY,
        get: |node| as_usize(node.discovery.addrs_per_second),
        set: |node, n| node.discovery.addrs_per_second = as_u32(n),
    },
    Limit {
        key: "outbox-frames",
        env: "PEERAGE_OUTBOX_FRAMES",
        help: "Messages waiting for one peer, at most",
        then: "Beyond it sending to the peer is refused; if that lasts, it is closed as `slow`.",
        range: 1..=MANY,
        get: |node| node.session.outbox_frames,
        set: |node, n| node.session.outbox_frames = n,
    },
    Limit {
        key: "outbox-bytes",
        env: "PEERAGE_OUTBOX_BYTES",
        help: "Bytes waiting for one peer, at most",
        then: "Beyond it sending to the peer is refused; if that lasts, it is closed as `slow`.",
        range: MAX_LINE..=1 << 30,
        get: |node| node.session.outbox_bytes,
        set: |node, n| node.session.outbox_bytes = n,
    },
];

/// The number as the configuration counts; no range goes beyond.
fn as_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The number as the table counts.
fn as_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Their flags, for clap. The values stay in the matches, where they are found by their keys.
#[derive(Debug)]
pub(crate) struct LimitArgs;

impl Args for LimitArgs {
    fn augment_args(command: Command) -> Command {
        let arg = |limit: &'static Limit| {
            let arg = Arg::new(limit.key).long(limit.key).env(limit.env).value_name("N");
            arg.help(limit.help).long_help(format!("{}.\n\n{}", limit.help, limit.then))
        };
        // The heading of flags is theirs, and ends with them.
        command
            .next_help_heading("Limits")
            .args(LIMITS.iter().map(arg))
            .next_help_heading(Resettable::Reset)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LimitArgs {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, Error> {
        Ok(Self)
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sets_what_it_reads_and_nothing_else() {
        for limit in &LIMITS {
            let mut node = NodeConfig::default();
            let default = (limit.get)(&node);
            assert!(limit.range.contains(&default), "{}", limit.key);
            for n in [*limit.range.start(), *limit.range.end()] {
                (limit.set)(&mut node, n);
                assert_eq!((limit.get)(&node), n, "{}", limit.key);
                assert_eq!(node.validate(), Ok(()), "{}", limit.key);
            }
            (limit.set)(&mut node, default);
            assert_eq!(node, NodeConfig::default(), "{}", limit.key);
        }
    }
}
