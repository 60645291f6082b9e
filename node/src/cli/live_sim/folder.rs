//! What a live simulation leaves on the disk while it runs, and how all of it goes, also after one that was killed.
//!
//! ```text
//! weft/.sim/lock          held while a simulation runs; holds its process number
//! weft/.sim/control.sock  what faults are asked for at
//! weft/.sim/log           with --detach
//! weft/.sim/state/        what its nodes remember outside of their homes
//! weft/n1/simulated       says that this home belongs to a simulation: no other is ever touched
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::forward::Place;
use super::name::SimNode;
use crate::cli::CliError;
use crate::home::{Home, HomeDir, HomeError, nodes_folder, write_private};

/// The file that says that a home belongs to a simulation.
const MARK: &str = "simulated";
/// How long a process that was killed may take to be gone, and its files to go (guess).
const GONE_MAX: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Where simulations of this user are.
///
/// # Errors
/// Without a folder of the user's.
pub(crate) fn sim_folder() -> Result<PathBuf, CliError> {
    Ok(nodes_folder()?.join(".sim"))
}

/// The folder of the simulation that runs now: there is one at a time, and it is this process's.
#[derive(Debug)]
pub(crate) struct SimFolder {
    folder: PathBuf,
    nodes: PathBuf,
    _lock: File,
}

impl SimFolder {
    /// Takes the folder, and removes what a simulation that was killed has left.
    ///
    /// # Errors
    /// `locked` when a simulation runs; `conflict` when a node of the user's own has one of the names.
    pub(crate) fn claim(count: u8) -> Result<Self, CliError> {
        let (folder, nodes) = (sim_folder()?, nodes_folder()?);
        let failed = |error: io::Error| CliError::new("failed", format!("{}: {error}", folder.display()));
        let lock = loop {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
            match lock_of(&folder) {
                Ok(Some(lock)) => break lock,
                Ok(None) => {}
                Err(error) => return Err(not_locked(&folder, &error)),
            }
        };
        let claimed = Self { folder, nodes, _lock: lock };
        claimed.remove_homes()?;
        for node in SimNode::first(count) {
            let home = claimed.home(node);
            if home.exists() {
                let message = format!("{node} is a node of your own, in {}, and is left alone", home.display());
                let elsewhere =
                    "simulate elsewhere: XDG_DATA_HOME=$(mktemp -d) weft sim up N, and the same for other commands";
                claimed.remove_folder();
                return Err(CliError::new("conflict", message).hint(elsewhere));
            }
        }
        Ok(claimed)
    }

    /// Where a simulation in the background writes, when none runs yet.
    ///
    /// # Errors
    /// `locked` when a simulation runs.
    pub(crate) fn log() -> Result<PathBuf, CliError> {
        let folder = sim_folder()?;
        let failed = |error: io::Error| CliError::new("failed", format!("{}: {error}", folder.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let _free = lock_of(&folder).map_err(|error| not_locked(&folder, &error))?;
        Ok(folder.join("log"))
    }

    /// The home of a node.
    pub(crate) fn home(&self, node: SimNode) -> PathBuf {
        self.nodes.join(node.to_string())
    }

    /// Where the simulation's own socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// Where nodes keep what they remember outside of their homes.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Makes the home of a node, with its mark and its configuration.
    ///
    /// # Errors
    /// What the file system said.
    pub(crate) fn make_home(&self, node: SimNode, place: Place) -> Result<(), CliError> {
        // Made beside, so that no home is ever there without its mark.
        let home = self.folder.join(node.to_string());
        let failed = |error: io::Error| CliError::new("failed", format!("{}: {error}", home.display()));
        fs::DirBuilder::new().mode(0o700).create(&home).map_err(failed)?;
        write_private(&home.join(MARK), b"this home belongs to weft sim up, and goes with it\n")?;
        let [listen, announce] = [place.listens, place.told].map(|at| quoted(&Place::multiaddrs(at)));
        let config = format!(
            "# Of a simulated node: what it is told at is carried to where it listens by weft sim up.\n\
             listen = {listen}\n\n[network]\nannounce = {announce}\nmdns = false\n"
        );
        write_private(&home.join("config.toml"), config.as_bytes())?;
        fs::rename(&home, self.home(node)).map_err(failed)
    }

    /// Ends whatever still uses a simulated home, and removes them all.
    fn remove_homes(&self) -> Result<(), CliError> {
        for node in SimNode::first(super::name::NODES_MAX) {
            let home = self.home(node);
            if home.join(MARK).exists() {
                remove_home(&home)?;
            }
        }
        Ok(())
    }

    fn remove_folder(&self) {
        let _gone_already = fs::remove_dir_all(&self.folder);
        // Where nodes live goes as well, when no other lives there.
        let _others_are_there = fs::remove_dir(&self.nodes);
    }

    /// Removes everything.
    ///
    /// # Errors
    /// What could not be removed; the next start tries again.
    pub(crate) fn remove(self) -> Result<(), CliError> {
        self.remove_homes()?;
        self.remove_folder();
        Ok(())
    }
}

fn quoted(addresses: &[String]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn not_locked(folder: &Path, error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::AlreadyExists => CliError::new("locked", error.to_string()).hint("weft sim down, which ends it"),
        _ => CliError::new("failed", format!("{}: {error}", folder.display())),
    }
}

/// The lock of this folder; none when the folder went while it was taken.
fn lock_of(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut lock = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            let message = format!("a simulation runs already (process {})", pid.trim());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        result => result?,
    }
    // Whoever held it before may have removed it at its end.
    let same = |one: &fs::Metadata, other: &fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    match fs::metadata(&path) {
        Ok(there) if same(&there, &lock.metadata()?) => {}
        Ok(_) | Err(_) => return Ok(None),
    }
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(Some(lock))
}

/// Ends the process that uses this home, and removes it with its door.
#[expect(clippy::disallowed_methods, reason = "the end of a process that is no child cannot be waited for otherwise")]
fn remove_home(path: &Path) -> Result<(), CliError> {
    let dir = HomeDir::new(path)?;
    let begun = Instant::now();
    let home = loop {
        match Home::open(dir.clone()) {
            Ok(home) => break home,
            // The lock is held, so the number in it is that of the holder.
            Err(HomeError::Locked { .. }) if begun.elapsed() < GONE_MAX => {
                let holder = dir.lock_holder().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
                let _gone_already = holder.map(|pid| kill_process(pid, Signal::KILL));
            }
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(LOOK);
    };
    home.remove_api_socket();
    // Agents of a node that was killed end a moment later, and may still write.
    loop {
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if begun.elapsed() > GONE_MAX => {
                return Err(CliError::new("failed", format!("{}: {error}", path.display())).changed().retry());
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// A path to a socket that is never too long: through a descriptor of its folder, which must stay open meanwhile.
///
/// # Errors
/// When there is no such folder.
pub(crate) fn short_path(socket: &Path) -> io::Result<(File, PathBuf)> {
    let folder = File::open(socket.parent().unwrap_or_else(|| Path::new("/")))?;
    let through = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let path = Path::new(&through).join(socket.file_name().unwrap_or_default());
    Ok((folder, path))
}
