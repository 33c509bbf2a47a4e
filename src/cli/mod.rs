//! The command line: what was typed becomes settings, settings become a running node.
//!
//! Owns: flags, environment, configuration file, start lines, exit status, signals. Not here:
//! anything a node decides; the commands use the public API of the library only.
//!
//! The layers, each with one job: `args` (what was typed) and `file` (what the file says) give a
//! `Layer` each; `resolve` merges them, without input or output, into `Settings`; `print` is the
//! only place that writes; `run` and `devnet` start nodes.

mod args;
mod devnet;
mod error;
mod file;
mod layer;
mod logging;
mod mesh;
mod print;
mod resolve;
mod run;
mod signals;

use std::{ffi::OsString, process::ExitCode};

use args::Invocation;
use error::{Failure, UsageError};
use layer::Layers;
use resolve::Settings;

/// Does what the arguments (the first is the program) ask for. Failures are one line on stderr.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let program = args.first().map_or_else(String::new, |arg| arg.to_string_lossy().into_owned());
    match dispatch(args, &program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print::failure(&failure);
            ExitCode::from(failure.exit_status())
        }
    }
}

/// One command, from its arguments to its end.
fn dispatch(args: Vec<OsString>, program: &str) -> Result<(), Failure> {
    match args::parse(args)? {
        Invocation::Run(typed) => run::run(&settings(*typed)?, program),
        Invocation::Config(typed) => print::stdout(&print::settings_toml(&settings(*typed)?)),
        Invocation::Devnet(options) => devnet::run(&options, program),
        Invocation::Help(text) => print::help(&text),
    }
}

/// Reads the file, if one is named, and merges the layers.
fn settings(typed: args::Typed) -> Result<Settings, UsageError> {
    let file = match &typed.config {
        Some(path) => Some((path.value.clone(), file::read(&path.value)?)),
        None => None,
    };
    resolve::resolve(&Layers { flags: typed.flags, env: typed.env, file }, typed.config)
}
