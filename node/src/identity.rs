//! The secret keys of this node in one file, and the one place where node ids and libp2p's peer ids are each other.
//!
//! The file is of one form only: magic, Ed25519 seed, ML-DSA-65 secret key, ML-DSA-65 public key, then the hash of all
//! before it. It is written whole or not at all, and read only when nobody else on the machine can read it.
//!
//! While the keys are rotated two such files lie side by side; which of them is the node's, its chain says: the next one from the
//! moment on in which the record of the rotation is on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use libp2p::PeerId;
use libp2p::identity::Keypair;
use weft_protocol::{
    Fact, KeyPair, MLDSA65_PUBLIC_KEY_BYTES, MLDSA65_SECRET_KEY_BYTES, NodeId, PublicKeys, Recovered, Rotation,
    Signer as _, hash,
};
use zeroize::Zeroizing;

/// The name of the key file inside a home.
pub(crate) const KEY_FILE: &str = "identity.key";

/// The keys that a rotation is to bring; there only between its beginning and its end.
pub(crate) const NEXT_KEY_FILE: &str = "identity.next.key";

const TEMPORARY_FILE: &str = "identity.key.new";
const MAGIC: &[u8; 16] = b"weft-identity-1\n";
const CHECKSUM_LABEL: &str = "identity-file";
const SEED_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 32;
const CONTENT_BYTES: usize = MAGIC.len() + SEED_BYTES + MLDSA65_SECRET_KEY_BYTES + MLDSA65_PUBLIC_KEY_BYTES;
const FILE_BYTES: usize = CONTENT_BYTES + CHECKSUM_BYTES;

/// Why the keys could not be read or written. Nothing was changed, and no new keys were made in place of old ones.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// There is no key file.
    #[error("{}: there is no key file; restore it from a backup, or begin with another home: without its keys this node cannot go on", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is a key file where a new one was to be written.
    #[error("{}: there is a key file already, and it is never overwritten; use another home for another node", path.display())]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// Others on this machine may have read or replaced the keys.
    #[error("{}: {problem}; check who could read it, then repair with: chmod 600", path.display())]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The bytes are not those that were written.
    #[error("{}: the key file is damaged: {problem}; restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// An earlier rotation did not end: nobody but a start can tell whether it counts.
    #[error("{}: an earlier rotation did not end; restart the node, which decides what became of it: weft down, weft up", path.display())]
    Unsettled {
        /// Which file is left of it.
        path: PathBuf,
    },
    /// The node went on with other keys than the file holds.
    #[error("{}: the node's chain says that these keys gave way to others, which are not here; restore the newest key file: without it this node cannot go on", path.display())]
    Replaced {
        /// Which file.
        path: PathBuf,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}; try again")]
    Entropy(getrandom::Error),
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Reads the keys of a home.
///
/// # Errors
/// [`IdentityError`], never with new keys instead.
pub(crate) fn load(home: &Path) -> Result<KeyPair, IdentityError> {
    load_file(home.join(KEY_FILE))
}

/// Keys with the Ed25519 key of `keys` and a new ML-DSA-65 key, written beside the key file of a home. When this returns they are on
/// disk; nothing uses them yet.
///
/// # Errors
/// [`IdentityError::Unsettled`] when such keys are there already, otherwise what the operating system said.
pub(crate) fn create_next(home: &Path, keys: &KeyPair) -> Result<KeyPair, IdentityError> {
    let path = home.join(NEXT_KEY_FILE);
    if fs::symlink_metadata(&path).is_ok() {
        return Err(IdentityError::Unsettled { path });
    }
    let (seed, _) = keys.secret_parts();
    let next = KeyPair::generate(*seed);
    write(home, &path, &render(&next)).map_err(|source| IdentityError::Io { path, source })?;
    Ok(next)
}

/// The next keys take the place of those of the home when they are the ones that the node has.
///
/// # Errors
/// Those of [`load`] and [`promote_next`].
pub(crate) fn finish_next(home: &Path, current: &PublicKeys) -> Result<(), IdentityError> {
    match load_file(home.join(NEXT_KEY_FILE)) {
        Ok(next) if next.public_keys() == current => promote_next(home),
        Ok(_) | Err(IdentityError::Missing { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The next keys take the place of those of the home, whose secrets are gone with that.
///
/// # Errors
/// What the operating system said; the next start does it.
pub(crate) fn promote_next(home: &Path) -> Result<(), IdentityError> {
    let path = home.join(NEXT_KEY_FILE);
    let promoted = fs::rename(&path, home.join(KEY_FILE)).and_then(|()| File::open(home)?.sync_all());
    promoted.map_err(|source| IdentityError::Io { path, source })
}

/// The next keys are not wanted: their rotation was refused, or never recorded.
///
/// # Errors
/// What the operating system said; the next start does it.
pub(crate) fn discard_next(home: &Path) -> Result<(), IdentityError> {
    let path = home.join(NEXT_KEY_FILE);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(IdentityError::Io { path, source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Which keys are the node's, and whether they lie in the file of the next ones: of a rotation that was under way when a run
/// ended, the chain says whether it counts. Nothing is changed.
///
/// # Errors
/// [`IdentityError::Replaced`] when the chain went on with keys that are not here, and those of [`load`].
pub(crate) fn current(home: &Path, keys: KeyPair, recovered: &Recovered) -> Result<(KeyPair, Next), IdentityError> {
    let rotations = rotations_of(keys.public_keys().node(), recovered);
    let path = home.join(NEXT_KEY_FILE);
    let next = match load_file(path) {
        Err(IdentityError::Missing { .. }) => None,
        next => Some(next?),
    };
    let (keys, found) = match next {
        None => (keys, Next::Absent),
        Some(next) if rotations.iter().any(|rotation| rotation.new == *next.public_keys()) => (next, Next::Counts),
        Some(_) => (keys, Next::Unrecorded),
    };
    if is_replaced(keys.public_keys(), recovered) {
        return Err(IdentityError::Replaced { path: home.join(KEY_FILE) });
    }
    Ok((keys, found))
}

/// Whether the chains of a node say that these keys of it gave way to others.
pub(crate) fn is_replaced(keys: &PublicKeys, recovered: &Recovered) -> bool {
    let digest = keys.digest();
    rotations_of(keys.node(), recovered).iter().any(|rotation| rotation.old == digest)
}

fn rotations_of(node: NodeId, recovered: &Recovered) -> Vec<Rotation> {
    let chains = recovered.chains_of(node);
    let rotations = chains.iter().flat_map(|chain| &chain.facts).filter_map(|placed| match &placed.fact {
        Fact::KeyRotated(rotation) => rotation.rotation.peek().ok(),
        _ => None,
    });
    rotations.collect()
}

/// What the file of the next keys is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is not there.
    Absent,
    /// It holds the node's keys: their rotation is on the chain.
    Counts,
    /// Its keys were never recorded.
    Unrecorded,
}

/// Brings the files of a home to what its chain says, and gives the node's keys. Only whoever holds the home's lock may do that.
///
/// # Errors
/// Those of [`current`], and what the operating system said.
pub(crate) fn settle(home: &Path, keys: KeyPair, recovered: &Recovered) -> Result<(KeyPair, Next), IdentityError> {
    let (keys, next) = current(home, keys, recovered)?;
    match next {
        Next::Absent => {}
        Next::Counts => promote_next(home)?,
        Next::Unrecorded => discard_next(home)?,
    }
    Ok((keys, next))
}

fn load_file(path: PathBuf) -> Result<KeyPair, IdentityError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing { path: path.clone() },
        _ => IdentityError::Io { path: path.clone(), source },
    };
    let mut file = File::open(&path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let refused = |problem| Err(IdentityError::Permissions { path: path.clone(), problem });
    if !metadata.is_file() {
        return refused("it is not a regular file".to_owned());
    }
    if metadata.mode() & 0o077 != 0 {
        return refused(format!("its mode {:o} lets others read or write the keys", metadata.mode() & 0o7777));
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return refused(format!("it belongs to user {}, not {user}", metadata.uid()));
    }

    let damaged = |problem| IdentityError::Damaged { path: path.clone(), problem };
    if metadata.len() != FILE_BYTES as u64 {
        return Err(damaged("it has another length"));
    }
    let mut bytes = Zeroizing::new(vec![0; FILE_BYTES]);
    file.read_exact(&mut bytes).map_err(failed)?;
    parse(&bytes).map_err(damaged)
}

/// Makes new keys and writes them into a home that has none. When this returns they are on disk.
///
/// # Errors
/// [`IdentityError::Exists`] when the home has keys, otherwise what the operating system said.
pub(crate) fn create(home: &Path) -> Result<KeyPair, IdentityError> {
    let path = home.join(KEY_FILE);
    if fs::symlink_metadata(&path).is_ok() {
        return Err(IdentityError::Exists { path });
    }
    let seed = Zeroizing::new(random::<SEED_BYTES>().map_err(IdentityError::Entropy)?);
    let keys = KeyPair::generate(*seed);
    write(home, &path, &render(&keys)).map_err(|source| IdentityError::Io { path, source })?;
    Ok(keys)
}

/// The keys of a home, made now when it has none.
///
/// # Errors
/// Those of [`load`] and [`create`].
pub(crate) fn load_or_create(home: &Path) -> Result<KeyPair, IdentityError> {
    match load(home) {
        Err(IdentityError::Missing { .. }) => create(home),
        known => known,
    }
}

/// Fresh random bytes: the one reading of the operating system's entropy.
///
/// # Errors
/// What the operating system said.
pub(crate) fn random<const BYTES: usize>() -> Result<[u8; BYTES], getrandom::Error> {
    let mut bytes = [0; BYTES];
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads entropy")]
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// The same Ed25519 key as libp2p wants it.
pub(crate) fn transport_keys(keys: &KeyPair) -> Keypair {
    let (mut seed, _) = keys.secret_parts();
    Keypair::ed25519_from_bytes(seed.as_mut_slice()).expect("BUG: an Ed25519 seed of 32 bytes was refused")
}

/// The peer id of a node.
pub(crate) fn peer_id(node: NodeId) -> PeerId {
    PeerId::from_bytes(&node.to_peer_id_bytes()).expect("BUG: the bytes of a node id are those of a peer id")
}

/// The node behind a peer id; `None` when it is not an Ed25519 key.
pub(crate) fn node_id(peer: &PeerId) -> Option<NodeId> {
    NodeId::from_peer_id_bytes(&peer.to_bytes())
}

fn render(keys: &KeyPair) -> Zeroizing<Vec<u8>> {
    let (seed, secret) = keys.secret_parts();
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(seed.as_slice());
    bytes.extend_from_slice(secret);
    bytes.extend_from_slice(keys.public_keys().mldsa65());
    let checksum = hash(CHECKSUM_LABEL, &[&bytes]);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Result<KeyPair, &'static str> {
    let (content, checksum) = bytes.split_at_checked(CONTENT_BYTES).ok_or("it is cut")?;
    if hash(CHECKSUM_LABEL, &[content]).as_bytes().as_slice() != checksum {
        return Err("its checksum does not match");
    }
    let keys = content.strip_prefix(MAGIC).ok_or("it was written by another version")?;
    let (seed, keys) = keys.split_first_chunk::<SEED_BYTES>().ok_or("it is cut")?;
    let (secret, public) = keys.split_at_checked(MLDSA65_SECRET_KEY_BYTES).ok_or("it is cut")?;
    KeyPair::from_parts(seed, secret, public).ok_or("its keys do not belong together")
}

/// Temporary file, sync, rename, sync of the folder: after a crash at any point there is no key file or a whole one.
fn write(home: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = home.join(TEMPORARY_FILE);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(home)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_survive_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let created = load_or_create(home.path()).unwrap();
        let loaded = load_or_create(home.path()).unwrap();
        assert_eq!(created.public_keys(), loaded.public_keys());
        assert_eq!(created.secret_parts(), loaded.secret_parts());
        let names: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [KEY_FILE], "no temporary file stays");
        let mode = fs::metadata(home.path().join(KEY_FILE)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn what_a_crash_left_behind_does_not_hinder() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(TEMPORARY_FILE), b"half").unwrap();
        create(home.path()).unwrap();
        load(home.path()).unwrap();
    }

    #[test]
    fn a_missing_file_is_said_to_be_missing_and_an_existing_one_is_kept() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(load(home.path()), Err(IdentityError::Missing { .. })));
        let keys = create(home.path()).unwrap();
        assert!(matches!(create(home.path()), Err(IdentityError::Exists { .. })));
        assert_eq!(load(home.path()).unwrap().public_keys(), keys.public_keys());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        create(home.path()).unwrap();
        let path = home.path().join(KEY_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = load(home.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Permissions { .. }));
        assert!(error.to_string().contains("its mode 640 lets others"), "{error}");
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        create(home.path()).unwrap();
        let path = home.path().join(KEY_FILE);
        let whole = fs::read(&path).unwrap();
        for offset in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
            let mut damaged = whole.clone();
            damaged[offset] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(matches!(load(home.path()), Err(IdentityError::Damaged { .. })), "byte {offset}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(matches!(load(home.path()), Err(IdentityError::Damaged { problem: "it has another length", .. })));
    }

    #[test]
    fn a_node_and_its_peer_are_each_other() {
        let keys = KeyPair::generate([7; 32]);
        let node = keys.public_keys().node();
        let peer = transport_keys(&keys).public().to_peer_id();
        assert_eq!(peer, peer_id(node));
        assert_eq!(node_id(&peer), Some(node));
        assert_eq!(peer.to_string(), node.to_string());
    }
}
