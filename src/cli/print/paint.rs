//! Colours, where they are wanted.

use std::io::IsTerminal as _;

/// Paints, or leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    /// For stdout: on if that is a terminal and NO_COLOR (<https://no-color.org>) is not set.
    pub(crate) fn stdout() -> Self {
        Self { is_on: std::io::stdout().is_terminal() && !is_unwanted() }
    }

    /// Without colours.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { is_on: false }
    }

    /// What the eye should find first.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// What is wrong.
    pub(crate) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What is as it should be.
    pub(crate) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What could be better.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whether the user wants no colours anywhere.
pub(crate) fn is_unwanted() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_paints_only_if_it_is_on() {
        assert_eq!(Paint::plain().red("x"), "x");
        assert_eq!(Paint { is_on: true }.red("x"), "\x1b[31mx\x1b[0m");
    }
}
