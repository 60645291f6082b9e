//! The home folder of one node: what lies where, who may open it, and that one process at a time uses it.
//!
//! ```text
//! lock            held while a node runs; holds its process number
//! identity.key    the keys (0600); beside it identity.next.key while they are rotated
//! cluster.cbor    charter, certificate, name, incarnation, members told at admission
//! joining         only while an admission has begun and the inviter's chain has not been seen
//! store.redb      chains and everything else
//! listen.json     ports chosen at the first start
//! api.sock, api   the local door (0600), and where it really is
//! operator.token  what the door asks for (0600)
//! config.toml     optional
//! node.log        with --detach
//! poisoned        after a failed write of the store, until `weft doctor --storage` finds it whole
//! agents/NAME/    working folders of child processes
//! ```

mod choose;
mod cluster_file;
mod files;
mod socket;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

pub(crate) use self::files::write_private;
pub(crate) use choose::{Choice, choose, choose_or_create, nodes_folder};
pub(crate) use cluster_file::ClusterFile;

/// How often a lock that is held is tried again before it counts as a running node's (guess: a probe takes microseconds).
const LOCK_TRIES: usize = 4;
/// How long between these.
const LOCK_STEP: std::time::Duration = std::time::Duration::from_millis(5);

/// Why a home cannot be used. Unless it says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    /// Another process uses it.
    #[error("{} is in use by a running node (process {pid})", path.display())]
    Locked {
        /// Which home.
        path: PathBuf,
        /// Who holds the lock, as it wrote itself.
        pid: String,
    },
    /// There is no home there.
    #[error("there is no node in {}", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// No node on this machine.
    #[error("there is no node under {}", folder.display())]
    None {
        /// Where nodes are looked for.
        folder: PathBuf,
    },
    /// More than one, and none was named.
    #[error("several nodes are here: {}", names.join(", "))]
    Several {
        /// Their names.
        names: Vec<String>,
    },
    /// The user's folders cannot be found.
    #[error("neither HOME nor XDG_DATA_HOME is set")]
    NoUserFolder,
    /// A file is not what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl HomeError {
    /// An error of the file system about `path`.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// Where the files of a home are. Says nothing about whether they exist or who uses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HomeDir(PathBuf);

impl HomeDir {
    /// The home in this folder; a relative path is taken from the current folder.
    ///
    /// # Errors
    /// [`HomeError::Io`] when the current folder is gone.
    pub(crate) fn new(path: &Path) -> Result<Self, HomeError> {
        std::path::absolute(path).map(Self).map_err(|error| HomeError::io(path, error))
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The database.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store.redb")
    }

    /// Where `--detach` writes.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("node.log")
    }

    /// Ports chosen at the first start.
    pub(crate) fn listen(&self) -> PathBuf {
        self.0.join("listen.json")
    }

    /// The configuration of this node alone.
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// Whether somebody has begun a node here.
    pub(crate) fn is_begun(&self) -> bool {
        self.0.join(crate::identity::KEY_FILE).exists() || self.cluster_path().exists()
    }

    /// What the lock file says, whether or not it is held.
    pub(crate) fn lock_holder(&self) -> Option<u32> {
        fs::read_to_string(self.0.join("lock")).ok()?.trim().parse().ok()
    }

    /// The operator's token.
    ///
    /// # Errors
    /// [`HomeError::Io`] when there is none or it cannot be read.
    pub(crate) fn operator_token(&self) -> Result<String, HomeError> {
        let path = self.token_path();
        fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(|error| HomeError::io(&path, error))
    }

    /// Which admission has begun and is not complete: the cluster's id in text.
    pub(crate) fn joining(&self) -> Option<String> {
        fs::read_to_string(self.joining_path()).ok().map(|text| text.trim().to_owned())
    }

    /// Why an earlier run could not write its store, when one could not and nobody has checked it since; the reason is empty
    /// when there was no room even for that.
    pub(crate) fn poisoned(&self) -> Option<String> {
        fs::read_to_string(self.poison_path()).ok().map(|reason| reason.trim().to_owned())
    }

    /// Notes that the store could not be written. The file is made first, because a full disk may still have room for a name.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub(crate) fn poison(&self, reason: &str) -> Result<(), HomeError> {
        let path = self.poison_path();
        let mut options = OpenOptions::new();
        let made = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = made.map_err(|error| HomeError::io(&path, error))?;
        let _no_room = file.write_all(reason.as_bytes()).and_then(|()| file.sync_all());
        Ok(())
    }

    /// What an earlier run found damaged in its store while it ran, when nothing has put the store in order since.
    pub(crate) fn damaged(&self) -> Option<String> {
        fs::read_to_string(self.damage_path()).ok().map(|reason| reason.trim().to_owned())
    }

    /// Notes that what is stored is not what was written.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub(crate) fn note_damage(&self, reason: &str) -> Result<(), HomeError> {
        write_private(&self.damage_path(), reason.as_bytes())
    }

    fn damage_path(&self) -> PathBuf {
        self.0.join("damaged")
    }

    fn poison_path(&self) -> PathBuf {
        self.0.join("poisoned")
    }

    fn token_path(&self) -> PathBuf {
        self.0.join("operator.token")
    }

    fn joining_path(&self) -> PathBuf {
        self.0.join("joining")
    }

    fn cluster_path(&self) -> PathBuf {
        self.0.join("cluster.cbor")
    }
}

/// A home that this process alone uses, until it is dropped.
#[derive(Debug)]
pub(crate) struct Home {
    folder: HomeDir,
    _lock: File,
    /// Where the state of this node is kept, when that is not where programs keep theirs.
    state: Option<PathBuf>,
}

impl Deref for Home {
    type Target = HomeDir;

    fn deref(&self) -> &HomeDir {
        &self.folder
    }
}

impl Home {
    /// Creates the folder when it is missing (0700), and locks it.
    ///
    /// # Errors
    /// [`HomeError::Locked`] with the holder's process number; [`HomeError::Io`].
    pub(crate) fn open(folder: HomeDir) -> Result<Self, HomeError> {
        let failed = |error| HomeError::io(folder.path(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.path()).map_err(failed)?;
        let path = folder.path().join("lock");
        let failed = |error: io::Error| HomeError::io(&path, error);
        let mut options = OpenOptions::new();
        let mut lock =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        if let Err(error) = lock_patiently(&lock) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(failed(error.into()));
            }
            let pid = folder.lock_holder().map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            return Err(HomeError::Locked { path: folder.path().to_owned(), pid });
        }
        let write = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write(&mut lock).map_err(failed)?;
        Ok(Self { folder, _lock: lock, state: None })
    }

    /// The same home, of a node that leaves nothing behind: what is remembered outside of it is kept in this folder.
    #[must_use]
    pub(crate) fn with_state_in(mut self, folder: &Path) -> Self {
        self.state = Some(folder.to_owned());
        self
    }

    /// Where the state of this node is kept, when that is not where programs keep theirs.
    pub(crate) fn state_folder(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    /// Whether nobody uses the home; changes nothing, creates nothing.
    ///
    /// # Errors
    /// [`HomeError::Locked`]; [`HomeError::Io`].
    pub(crate) fn probe(folder: &HomeDir) -> Result<(), HomeError> {
        let path = folder.path().join("lock");
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(HomeError::io(&path, error)),
        };
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = folder.lock_holder().map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                Err(HomeError::Locked { path: folder.path().to_owned(), pid })
            }
            Err(error) => Err(HomeError::io(&path, error.into())),
        }
    }

    /// The operator's token, made now when there is none: 32 random bytes in hexadecimal digits.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    #[expect(
        clippy::disallowed_methods,
        reason = "the token is made of the system's entropy, once in the life of a home"
    )]
    pub(crate) fn operator_token_or_new(&self) -> Result<String, HomeError> {
        let path = self.token_path();
        if path.exists() {
            return self.operator_token();
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| HomeError::io(&path, io::Error::other(error.to_string())))?;
        let token = data_encoding::HEXLOWER.encode(&bytes);
        write_private(&path, token.as_bytes())?;
        Ok(token)
    }

    /// Notes that the store is whole after all.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub(crate) fn clear_poison(&self) -> Result<(), HomeError> {
        files::remove(&self.poison_path())
    }

    /// Notes that the store was put in order.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub(crate) fn clear_damage(&self) -> Result<(), HomeError> {
        files::remove(&self.damage_path())
    }

    /// Notes that an admission to this cluster has begun.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub(crate) fn begin_joining(&self, cluster: &str) -> Result<(), HomeError> {
        write_private(&self.joining_path(), cluster.as_bytes())
    }

    /// Notes that it is complete.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub(crate) fn end_joining(&self) -> Result<(), HomeError> {
        end_joining(&self.folder)
    }
}

/// Takes the lock; a [`Home::probe`] that holds it for a moment is waited for, a node is not.
#[expect(clippy::disallowed_methods, reason = "a lock of the file system cannot be waited for with a bound otherwise")]
fn lock_patiently(lock: &File) -> Result<(), rustix::io::Errno> {
    for _ in 0..LOCK_TRIES {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_STEP),
            result => return result,
        }
    }
    flock(lock, FlockOperation::NonBlockingLockExclusive)
}

/// Notes that the admission is complete; by whoever watches a node that runs.
///
/// # Errors
/// [`HomeError::Io`].
pub(crate) fn end_joining(folder: &HomeDir) -> Result<(), HomeError> {
    files::remove(&folder.joining_path())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> (tempfile::TempDir, HomeDir) {
        let temporary = tempfile::tempdir().expect("a folder");
        let home = HomeDir::new(&temporary.path().join("alpha")).expect("a path");
        (temporary, home)
    }

    #[test]
    fn one_process_at_a_time() {
        let (_temporary, folder) = folder();
        let home = Home::open(folder.clone()).expect("free");
        assert!(matches!(Home::probe(&folder), Err(HomeError::Locked { .. })));
        let error = Home::open(folder.clone()).expect_err("locked");
        let expected =
            format!("{} is in use by a running node (process {})", folder.path().display(), std::process::id());
        assert_eq!(error.to_string(), expected);
        drop(home);
        Home::probe(&folder).expect("free again");
        Home::open(folder).expect("free again");
    }

    #[test]
    fn only_the_owner_may_read() {
        let (_temporary, folder) = folder();
        let home = Home::open(folder).expect("free");
        let token = home.operator_token_or_new().expect("a token");
        assert_eq!(token.len(), 64);
        assert_eq!(home.operator_token_or_new().expect("the same"), token);
        assert_eq!(home.operator_token().expect("the same"), token);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(home.path()), 0o700);
        assert_eq!(mode(&home.token_path()), 0o600);
        assert_eq!(mode(&home.path().join("lock")), 0o600);
    }

    #[test]
    fn a_join_is_noted_until_it_is_complete() {
        let (_temporary, folder) = folder();
        let home = Home::open(folder).expect("free");
        assert_eq!(home.joining(), None);
        home.begin_joining("c0ffee").expect("noted");
        assert_eq!(home.joining().as_deref(), Some("c0ffee"));
        home.end_joining().expect("complete");
        home.end_joining().expect("twice is once");
        assert_eq!(home.joining(), None);
    }
}
