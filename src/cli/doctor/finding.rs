//! What was found, and how bad it is.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// Nothing is wrong, but it is worth knowing.
    Note,
    /// It works, but not as well as it could, or nobody can tell.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at: `node`, `data-dir`, `clock`, `port`, `api`, `bootstrap`, `nat`, `reachable`.
    pub(crate) check: &'static str,
    /// How it is.
    pub(crate) verdict: Verdict,
    /// A stable code of what was found; that of a refusal is the peer's.
    pub(crate) code: String,
    /// Which of several: an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    /// The same for a person.
    pub(crate) text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(
        check: &'static str,
        verdict: Verdict,
        code: &str,
        text: impl Into<String>,
    ) -> Self {
        let (code, text) = (code.to_owned(), text.into());
        Self { check, verdict, code, about: None, text, remedy: None }
    }

    pub(super) fn about(self, about: impl ToString) -> Self {
        Self { about: Some(about.to_string()), ..self }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Nothing fails.
    pub(crate) ok: bool,
    /// The node that runs, if one does and answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// They.
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(node: Option<String>, findings: Vec<Finding>) -> Self {
        let ok = findings.iter().all(|finding| finding.verdict != Verdict::Fail);
        Self { ok, node, findings }
    }

    /// How many are of this sort.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}
