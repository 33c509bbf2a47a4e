//! The flags of `peerage doctor`.

use clap::{ArgMatches, Args};

use super::{Typed, node::NodeArgs};

/// The flags of `run`, since it looks at what `run` would need, and how to print.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    node: NodeArgs,

    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

impl DoctorArgs {
    /// Sorts the values by the layer they come from.
    pub(super) fn by_layer(self, matches: &ArgMatches) -> Typed {
        self.node.by_layer(matches)
    }
}
