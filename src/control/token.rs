//! The secret that whoever steers a node must know.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use rand::Rng as _;
use subtle::ConstantTimeEq as _;

/// 256 bits, as hex digits. Printed, it shows nothing.
#[derive(Clone)]
pub struct Token(String);

/// Digits of a token.
const DIGITS: usize = 64;

/// The secret cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the token of the control API {}: {source}", path.display())]
pub struct TokenError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Token {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(hex::encode(rand::rng().random::<[u8; 32]>()))
    }

    /// The token in this file, which is made if there is none. A file that others may read, or that
    /// holds no token, is replaced: its secret may be none any more.
    ///
    /// # Errors
    /// The system refuses something.
    pub fn keep(path: &Path) -> Result<Self, TokenError> {
        match Self::read(path) {
            Ok(token) if is_private(path) => return Ok(token),
            Ok(_) => {
                tracing::warn!(file = %path.display(), "others may read the token: made a new one")
            }
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.source.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%error, "made a new one");
            }
            Err(error) => return Err(error),
        }
        let token = Self::random();
        write_private(path, token.0.as_bytes()).map_err(|source| TokenError {
            what: "write",
            path: path.to_path_buf(),
            source,
        })?;
        Ok(token)
    }

    /// The token in this file.
    ///
    /// # Errors
    /// There is none, or the system refuses something.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError { what: "read", path: path.to_path_buf(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(1024).read_to_string(&mut text).map_err(failed)?;
        let digits = text.trim();
        let is_token =
            digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_token {
            Ok(Self(digits.to_owned()))
        } else {
            Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it holds no token")))
        }
    }

    /// Whether somebody knows it. Takes as long for a wrong one, however much of it is right.
    #[must_use]
    pub fn is(&self, said: &str) -> bool {
        self.0.as_bytes().ct_eq(said.as_bytes()).into()
    }

    /// The secret itself.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Puts a file in its place, whole or not at all, readable for this user only.
///
/// # Errors
/// The system refuses something.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    // What a process of the same number has left behind is of no use.
    fs::remove_file(&beside).ok();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        fs::remove_file(&beside).ok();
    }
    written
}

#[cfg(unix)]
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 == 0)
}

/// Elsewhere the directory of the user is private by itself.
#[cfg(not(unix))]
fn is_private(_: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_kept_for_this_user_only() {
        let temp = tempfile::TempDir::new().unwrap();
        let path = temp.path().join("api.token");
        let made = Token::keep(&path).unwrap();
        let again = Token::keep(&path).unwrap();
        assert!(made.is(again.secret()) && made.secret().len() == DIGITS);
        assert!(!made.is("") && !made.is(&made.secret()[1..]));
        assert!(!made.is(Token::random().secret()));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
        assert!(!format!("{made:?}").contains(made.secret()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let new = Token::keep(&path).unwrap();
            assert!(!new.is(made.secret()), "others could read it");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_without_a_token_is_replaced() {
        let temp = tempfile::TempDir::new().unwrap();
        let path = temp.path().join("api.token");
        fs::write(&path, "hello").unwrap();
        assert!(Token::read(&path).unwrap_err().to_string().contains("it holds no token"));
        let made = Token::keep(&path).unwrap();
        assert!(Token::read(&path).unwrap().is(made.secret()));
    }
}
