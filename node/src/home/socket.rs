//! Where the local door is: in the home, or in the runtime folder when the home's path is too long for a socket.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{Home, HomeDir, HomeError, files};

/// Longest path of a Unix socket in bytes: `sun_path` has 108 with its terminating zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl HomeDir {
    /// Where a running node's door is, as the node wrote it.
    pub(crate) fn api_socket(&self) -> PathBuf {
        match fs::read_to_string(self.api_path()) {
            Ok(text) if !text.trim().is_empty() => PathBuf::from(text.trim()),
            Ok(_) | Err(_) => self.path().join("api.sock"),
        }
    }

    fn api_path(&self) -> PathBuf {
        self.path().join("api")
    }
}

impl Home {
    /// Chooses where the door is, removes what an earlier run left there, and writes the place into the home.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub(crate) fn place_api_socket(&self) -> Result<PathBuf, HomeError> {
        let inside = self.path().join("api.sock");
        let socket = if inside.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            inside
        } else {
            let folder = runtime_folder()?;
            let name = weft_protocol::hash("api-socket", &[self.path().as_os_str().as_bytes()]).to_string();
            folder.join(format!("{}.sock", name.get(..16).unwrap_or(&name)))
        };
        files::remove(&socket)?;
        files::write_private(&self.api_path(), socket.as_os_str().as_bytes())?;
        Ok(socket)
    }

    /// Removes the door at the end of a run; what is gone already is no error.
    pub(crate) fn remove_api_socket(&self) {
        for path in [self.api_socket(), self.api_path()] {
            if let Err(error) = files::remove(&path) {
                tracing::debug!(%error, "the door was not removed");
            }
        }
    }
}

/// `$XDG_RUNTIME_DIR/weft`, or a folder of this user among the temporary files; mode 0700, ours.
fn runtime_folder() -> Result<PathBuf, HomeError> {
    let user = rustix::process::geteuid().as_raw();
    let folder = match crate::config::variable("XDG_RUNTIME_DIR") {
        Some(folder) if Path::new(&folder).is_absolute() => PathBuf::from(folder).join("weft"),
        Some(_) | None => std::env::temp_dir().join(format!("weft-{user}")),
    };
    let failed = |error| HomeError::io(&folder, error);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
    let metadata = fs::symlink_metadata(&folder).map_err(failed)?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
        return Err(failed(io::Error::other("not a folder that only this user may open")));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_path_stays_and_a_long_one_moves_and_is_named() {
        let temporary = tempfile::tempdir().expect("a folder");
        let short = Home::open(HomeDir::new(&temporary.path().join("a")).expect("a path")).expect("free");
        assert_eq!(short.place_api_socket().expect("placed"), short.path().join("api.sock"));
        assert_eq!(short.api_socket(), short.path().join("api.sock"));

        let long = temporary.path().join("x".repeat(120));
        let long = Home::open(HomeDir::new(&long).expect("a path")).expect("free");
        let socket = long.place_api_socket().expect("placed");
        assert!(socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
        assert!(!socket.starts_with(long.path()));
        assert_eq!(long.api_socket(), socket);
        fs::write(&socket, b"").expect("a file in its place");
        long.remove_api_socket();
        assert!(!socket.exists() && !long.path().join("api").exists());
    }
}
