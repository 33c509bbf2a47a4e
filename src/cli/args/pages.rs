//! What is made of the command line's own description: completions and manual pages.

use std::{fs, path::Path};

use crate::cli::{error::Failure, print};

/// What makes a shell complete commands and flags.
pub(crate) fn completions(shell: clap_complete::Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "peerage", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Prints the manual page, or writes all of them into a directory.
pub(crate) fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        let failed = |source| Failure::System { what: "write the manual page", source };
        clap_mangen::Man::new(super::command()).render(&mut page).map_err(failed)?;
        return print::stdout(&String::from_utf8_lossy(&page));
    };
    let failed = |source| Failure::Write { path: dir.to_path_buf(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(super::command(), dir).map_err(failed)
}
