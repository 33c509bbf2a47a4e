//! The command line: what was typed becomes settings, settings become a running node.
//!
//! Owns: flags, environment, configuration file, start lines, exit status, signals. Not here:
//! anything a node decides; the commands use the public API of the library only.
//!
//! The layers, each with one job: `args` (what was typed) and `file` (what the file says) give a
//! `Layer` each; `resolve` merges them, without input or output, into `Settings`; `files` reads what
//! settings name; `print` is the only place that writes; `api` serves the control
//! API of a running node, `descriptors` lets it have connections enough; `run`, `devnet` and `sim` start nodes; `doctor` looks at what one needs. `limits` is
//! the table of the numbers that each of these layers goes through.

mod api;
mod args;
mod client;
mod descriptors;
mod devnet;
mod doctor;
mod error;
mod file;
mod files;
mod layer;
mod limits;
mod logging;
mod mesh;
mod plot;
mod print;
mod resolve;
mod run;
mod signals;
mod sim;
mod top;

use std::{ffi::OsString, process::ExitCode};

use peerage::{DataDir, StoredKey};

use args::{ClientVerb, IdOptions, Invocation};
use error::{Failure, UsageError};
use layer::Layers;
use resolve::{Machine, Settings};

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
        Invocation::Sim(settings) => sim::run(&settings),
        Invocation::Id(typed, options) => id(*typed, options),
        Invocation::Client(typed, verb) => {
            let data_dir = resolve::resolve_data_dir(&layers(*typed)?, &machine())?;
            match *verb {
                ClientVerb::Top(args) => top::run(&args, data_dir),
                verb => client::run(verb, data_dir),
            }
        }
        Invocation::Doctor(typed, is_json) => doctor::run(settings(*typed)?, is_json, &machine()),
        Invocation::Completions(shell) => print::stdout(&args::completions(shell)),
        Invocation::Man(dir) => args::man(dir.as_deref()),
        Invocation::Help(text) => print::help(&text),
    }
}

/// Shows who the node of a data directory is, after it has been given a key if that is asked for.
fn id(typed: args::Typed, options: IdOptions) -> Result<(), Failure> {
    let dir = resolve::resolve_data_dir(&layers(typed)?, &machine())?;
    let stored = if options.is_new { StoredKey::make(&dir)? } else { StoredKey::read(&dir)? };
    print::stdout(&print::identity(&stored, options.is_json))
}

/// Merges the layers.
fn settings(typed: args::Typed) -> Result<Settings, UsageError> {
    let config = typed.config.clone();
    resolve::resolve(&layers(typed)?, config, &machine())
}

/// What was typed, and what the configuration file says, if one is named.
fn layers(typed: args::Typed) -> Result<Layers, UsageError> {
    let file = match typed.config {
        Some(path) => Some((path.value.clone(), file::read(&path.value)?)),
        None => None,
    };
    Ok(Layers { flags: typed.flags, env: typed.env, file })
}

/// This machine, for this user.
fn machine() -> Machine<'static> {
    Machine { data_dir: DataDir::default_path(), read: &files::read }
}
