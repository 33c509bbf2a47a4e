//! Whether this machine's clock is right: messages between nodes say when they were made, and one that is
//! more than five minutes off is refused.

use std::time::Duration;

use super::finding::{Finding, Verdict};
use crate::cli::print::node::{age, moment};

/// No clock that is right shows an earlier time: the beginning of 2026, in seconds since the Unix epoch.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// How far a file may seem to be from the future, since other machines' disks have clocks of their own.
const SLACK: Duration = Duration::from_secs(300);

/// What tells of the clock. Times are since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// What it shows.
    pub(super) now: Duration,
    /// When the node's newest file was written.
    pub(super) newest_file: Option<Duration>,
    /// Whether the clocks of nodes that were asked are within five minutes of it.
    pub(super) agree: Vec<bool>,
}

const REMEDY: &str = "set it, and have it kept: `timedatectl set-ntp true`, or chrony";

pub(super) fn judge(clocks: &Clocks) -> Finding {
    let Clocks { now, newest_file, agree } = clocks;
    let shown = moment(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let found = |verdict, code, text: String| Finding::new("clock", verdict, code, text);
    if *now < EARLIEST {
        let text = format!("it shows {shown}, which is long past");
        return found(Verdict::Fail, "past", text).remedy(REMEDY);
    }
    let agreeing = agree.iter().filter(|agrees| **agrees).count();
    match (agreeing, agree.len() - agreeing) {
        (0, 0) => {}
        (0, others) => {
            let whose = if others == 1 { "the node that was" } else { "all nodes that were" };
            let text = format!(
                "it shows {shown}; {whose} asked has another time, by more than 5 minutes: messages between them are refused as `stale`"
            );
            return found(Verdict::Fail, "stale", text).remedy(REMEDY);
        }
        (some, 0) => {
            let nodes = if some == 1 { "a node" } else { "nodes" };
            let text = format!("it shows {shown}; {some} {nodes} agree within 5 minutes");
            return found(Verdict::Ok, "agreed", text.replace("1 a node agree", "a node agrees"));
        }
        (some, others) => {
            let text = format!(
                "it shows {shown}; {some} of {} nodes agree within 5 minutes, so others' clocks seem wrong",
                some + others
            );
            return found(Verdict::Note, "disputed", text);
        }
    }
    match newest_file {
        Some(written) if *written > *now + SLACK => {
            let ahead = u64::try_from((*written - *now).as_millis()).unwrap_or(u64::MAX);
            let text = format!(
                "it shows {shown}, but the node's files were written {} after that: one of the two was wrong",
                age(ahead)
            );
            found(Verdict::Warn, "set-back", text).remedy(REMEDY)
        }
        _ => {
            let text = format!("it shows {shown}; no node could be asked whether that is right");
            found(Verdict::Note, "unasked", text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(now: u64, newest: Option<u64>, agree: &[bool]) -> (Verdict, String) {
        let newest_file = newest.map(Duration::from_secs);
        let clocks = Clocks { now: Duration::from_secs(now), newest_file, agree: agree.to_vec() };
        let finding = judge(&clocks);
        let is_bad = matches!(finding.verdict, Verdict::Warn | Verdict::Fail);
        assert_eq!(finding.remedy.is_some(), is_bad, "{finding:?}");
        (finding.verdict, finding.code)
    }

    #[test]
    fn the_word_of_others_decides_and_without_it_what_cannot_be() {
        let now = 1_795_000_000;
        let expect = |verdict, code: &str| (verdict, code.to_owned());
        assert_eq!(code(0, None, &[true]), expect(Verdict::Fail, "past"));
        assert_eq!(code(now, None, &[]), expect(Verdict::Note, "unasked"));
        assert_eq!(code(now, Some(now + 200), &[]), expect(Verdict::Note, "unasked"));
        assert_eq!(code(now, Some(now + 301), &[]), expect(Verdict::Warn, "set-back"));
        assert_eq!(code(now, Some(now + 301), &[true]), expect(Verdict::Ok, "agreed"));
        assert_eq!(code(now, None, &[false, false]), expect(Verdict::Fail, "stale"));
        assert_eq!(code(now, None, &[false, true]), expect(Verdict::Note, "disputed"));
    }
}
