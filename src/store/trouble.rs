//! Telling of failures without repeating oneself.

use std::collections::BTreeSet;

/// What has failed since saving last worked, so that each kind of failure is told once.
#[derive(Debug, Default)]
pub struct Trouble {
    /// The codes of errors that were told: at most as many as there are codes.
    told: BTreeSet<&'static str>,
    failed: u64,
}

impl Trouble {
    /// Counts a failure. Whether it is the first of its kind.
    pub fn is_new(&mut self, code: &'static str) -> bool {
        self.failed += 1;
        self.told.insert(code)
    }

    /// Forgets everything. How many failed, if any did.
    pub fn is_over(&mut self) -> Option<u64> {
        let over = std::mem::take(self);
        (over.failed > 0).then_some(over.failed)
    }
}
