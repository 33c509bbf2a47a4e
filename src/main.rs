//! The `peerage` program: reads the command line, runs it, ends with its exit status.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

/// A node's memory is many small things of much the same sizes, in which this allocator is a fifth faster
/// than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
