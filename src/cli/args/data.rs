//! The words of `peerage data`.

use clap::{Args, Command, Subcommand};

use super::client::Node;

/// The arguments of `data`. The flags may stand on both sides of the verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: DataVerb,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// What can be done with shared data.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DataVerb {
    /// Give a key a value. It is on the disk of the node when this ends well.
    Set(SetArgs),
    /// Write the value of a key to stdout.
    ///
    /// Byte for byte, unless that is a terminal: there control characters are escaped, and a newline
    /// follows. A key without a value is exit status 1.
    Get(KeyArgs),
    /// List the keys of a space, in the order of their bytes.
    Ls(LsArgs),
    /// Delete keys, on all nodes of the space.
    Rm(RmArgs),
    /// Print the changes of a space until Ctrl-C.
    ///
    /// Goes on where it was when the node is started anew. With --since, also those that came
    /// before.
    Watch(WatchArgs),
    /// Write all of a space to stdout, as JSON lines.
    Export(ExportArgs),
    /// Read JSON lines, as `export` writes them, and write them to a space.
    ///
    /// The node is the writer of all of them, and now is the time. Keys that have the value already
    /// are left as they are.
    Import(ImportArgs),
    /// Show the spaces that the node keeps.
    Spaces,
    /// Join a space: the node holds all of it from now on.
    Join(JoinArgs),
    /// Leave a space. The records stay on the disk, for when it is joined again.
    Leave(LeaveArgs),
}

/// The arguments of `data set`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SetArgs {
    /// The space.
    pub(crate) space: String,
    /// The key: 1 to 1,024 bytes.
    pub(crate) key: String,
    /// The value; `-` reads it from stdin, byte for byte, up to 1 MiB.
    pub(crate) value: String,
}

/// The arguments of `data get`.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArgs {
    /// The space.
    pub(crate) space: String,
    /// The key.
    pub(crate) key: String,
}

/// The arguments of `data ls`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LsArgs {
    /// The space.
    pub(crate) space: String,
    /// Only keys that begin so.
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Show how long the values are, when they were written, and by whom.
    #[arg(long, short)]
    pub(crate) long: bool,
    /// Only keys behind this one.
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
    /// No more than so many. If there are more, stderr says how to go on.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// The arguments of `data rm`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RmArgs {
    /// The space.
    pub(crate) space: String,
    /// The keys.
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// The arguments of `data watch`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WatchArgs {
    /// The space.
    pub(crate) space: String,
    /// Only keys that begin so.
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Begin behind this change, by the number that `--json` shows as `seq`; 0 tells all that the space
    /// holds.
    #[arg(long, value_name = "SEQ")]
    pub(crate) since: Option<u64>,
}

/// The arguments of `data export`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    /// The space.
    pub(crate) space: String,
    /// Only keys that begin so.
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
}

/// The arguments of `data import`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    /// The space.
    pub(crate) space: String,
    /// The file; `-` is stdin.
    #[arg(default_value = "-")]
    pub(crate) file: std::path::PathBuf,
}

/// The arguments of `data join`.
#[derive(Debug, Clone, Args)]
pub(crate) struct JoinArgs {
    /// The space: 1 to 64 bytes, no slash.
    pub(crate) space: String,
    /// A node that may write to it: its id, or how no other known one begins; may be given several times.
    /// Without any, everybody may. All nodes have to name the same.
    #[arg(long = "writer", value_name = "ID")]
    pub(crate) writers: Vec<String>,
}

/// The arguments of `data leave`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LeaveArgs {
    /// The space.
    pub(crate) space: String,
    /// Delete this node's copy of its records, too. Other nodes keep theirs.
    #[arg(long)]
    pub(crate) forget: bool,
}

/// The command, with flags that may stand behind the verbs.
pub(super) fn annotated(command: Command) -> Command {
    command.mut_args(|arg| if arg.get_long().is_some() { arg.global(true) } else { arg })
}
