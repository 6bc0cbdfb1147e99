//! The socket in the data folder: made for its owner alone, and never in place of one that somebody answers on.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::UnixListener;

/// Its name in the data folder.
pub(crate) const SOCKET_FILE: &str = "admin.sock";
/// Longest path of a socket that every system takes (`sun_path` has 104 bytes on some, with the end mark).
const PATH_BYTES_MAX: usize = 103;

/// Why there is no socket.
#[derive(Debug, Error)]
pub(crate) enum NotBound {
    /// Another process answers on it.
    #[error("somebody answers on it")]
    Answered,
    /// The system has no room for the path.
    #[error("its path is too long")]
    TooLong,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A socket of ours; its file is removed when this is dropped, unless it is another's by then.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    path: PathBuf,
    identity: (u64, u64),
}

impl AdminSocket {
    /// Makes the socket. It is bound in a folder that only its owner may enter, and moved from there: at no time can anybody
    /// else connect.
    pub(crate) fn bind(path: &Path) -> Result<(Self, UnixListener), NotBound> {
        let folder = path.parent().unwrap_or(Path::new("."));
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(NotBound::TooLong);
        }
        if UnixStream::connect(path).is_ok() {
            return Err(NotBound::Answered);
        }
        let private = tempfile::Builder::new().prefix(".a").rand_bytes(6).tempdir_in(folder)?;
        fs::set_permissions(private.path(), fs::Permissions::from_mode(0o700))?;
        let draft = private.path().join("s");
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
        let made = fs::symlink_metadata(&draft)?;
        // What was there, and did not answer, is replaced.
        fs::rename(&draft, path)?;
        Ok((Self { path: path.to_owned(), identity: (made.dev(), made.ino()) }, listener))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_its_owners_alone_and_goes_with_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_FILE);
        let (socket, _listener) = AdminSocket::bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_answers_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_FILE);
        let (first, listener) = AdminSocket::bind(&path).unwrap();
        assert!(matches!(AdminSocket::bind(&path), Err(NotBound::Answered)));
        // As after a crash: the file is there, and nobody behind it.
        drop(listener);
        let (second, _listener) = AdminSocket::bind(&path).unwrap();
        // The one that went does not take its successor's file along.
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_that_no_socket_can_have_is_said_to_be_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(PATH_BYTES_MAX)).join(SOCKET_FILE);
        assert!(matches!(AdminSocket::bind(&path), Err(NotBound::TooLong)));
    }
}
