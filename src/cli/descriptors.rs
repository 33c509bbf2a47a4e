//! How many files and connections the process may have open.

/// What is asked for, as far as the system lets a process have it.
#[cfg(unix)]
const WANTED: u64 = 65_536;

/// What sessions, listeners of the control API and all else may take together.
#[cfg(unix)]
const NEEDED: u64 = 4096;

/// Raises the bound: the usual one of 1,024 is less than the control API may have listeners, and when it is
/// reached no session can be made. What the node starts has the same bound.
#[cfg(unix)]
pub(crate) fn raise() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    let reachable = limit.maximum.map_or(WANTED, |most| most.min(WANTED));
    // No bound is more than any.
    if limit.current.is_none_or(|now| now >= reachable) {
        return warn_of_few(limit.current);
    }
    let before = limit.current;
    limit.current = Some(reachable);
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => warn_of_few(limit.current),
        Err(error) => {
            tracing::debug!(%error, "the number of open files stays as it is");
            warn_of_few(before);
        }
    }
}

#[cfg(unix)]
fn warn_of_few(limit: Option<u64>) {
    if let Some(files) = limit.filter(|files| *files < NEEDED) {
        tracing::warn!(
            files,
            "few files may be open at a time: many sessions and listeners would use them up; raise the hard limit (ulimit -Hn)"
        );
    }
}

/// Nothing is known to bound it here.
#[cfg(not(unix))]
pub(crate) const fn raise() {}
