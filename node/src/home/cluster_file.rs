//! Which cluster a home belongs to, in one file that is written when the node is founded or admitted.

use std::io;

use serde::{Deserialize, Serialize};
use weft_protocol::{Certificate, Charter, Incarnation, NodeId, NodeName, Signed, Timestamp, decode, encode};

use super::{Home, HomeDir, HomeError, files};

/// Most bytes of the file: a charter, 65 certificates of about 6 KiB, 64 × 16 addresses (an admission is at most 512 KiB).
const BYTES_MAX: usize = 1024 * 1024;

/// The content of `cluster.cbor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterFile {
    /// What the cluster's id is the hash of.
    pub(crate) charter: Charter,
    /// Our own certificate.
    pub(crate) certificate: Signed<Certificate>,
    /// The name we go by.
    pub(crate) name: NodeName,
    /// Which of our chains we write.
    pub(crate) incarnation: Incarnation,
    /// Certificates of members we were told of when we were admitted; none for the founder.
    pub(crate) members: Vec<Signed<Certificate>>,
    /// Where the inviter was when we were admitted; none for the founder.
    pub(crate) addresses: Vec<(NodeId, Vec<String>)>,
    /// Why the present incarnation was chosen; nothing of the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reborn: Option<Reborn>,
    /// Earlier incarnations whose chains as they are here contradict what members hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) disowned: Vec<Incarnation>,
}

/// How a node came to a new incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reborn {
    /// When.
    pub(crate) at: Timestamp,
    /// Why, for people.
    pub(crate) reason: String,
}

impl ClusterFile {
    /// The same node under a new incarnation.
    pub(crate) fn reborn(&self, incarnation: Incarnation, at: Timestamp, reason: String, disown: bool) -> Self {
        let mut next = Self { incarnation, reborn: Some(Reborn { at, reason }), ..self.clone() };
        next.disowned.extend(disown.then_some(self.incarnation));
        next
    }
}

impl HomeDir {
    /// Which cluster this home belongs to; `None` when it has none yet.
    ///
    /// # Errors
    /// [`HomeError::Damaged`] when the file is there and not what was written.
    pub(crate) fn cluster(&self) -> Result<Option<ClusterFile>, HomeError> {
        let path = self.cluster_path();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(HomeError::io(&path, error)),
        };
        match decode(&bytes, BYTES_MAX) {
            Ok(file) => Ok(Some(file)),
            Err(error) => Err(HomeError::Damaged { path, reason: error.to_string() }),
        }
    }

    /// Writes the newest certificate of this node, unless it stands there. For the process that holds the home.
    ///
    /// # Errors
    /// [`HomeError`]; what was there still is.
    pub(crate) fn keep_certificate(&self, certificate: &Signed<Certificate>) -> Result<(), HomeError> {
        match self.cluster()? {
            Some(file) if file.certificate != *certificate => {
                let file = ClusterFile { certificate: certificate.clone(), ..file };
                files::write_private(&self.cluster_path(), &encode(&file))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Home {
    /// Writes which cluster this home belongs to; on disk when this returns.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub(crate) fn write_cluster(&self, file: &ClusterFile) -> Result<(), HomeError> {
        files::write_private(&self.cluster_path(), &encode(file))
    }
}

#[cfg(test)]
mod tests {
    use weft_protocol::{KeyPair, Role, Signer as _};

    use super::*;

    fn cluster_file() -> ClusterFile {
        let keys = KeyPair::generate([1; 32]);
        let charter: Charter = Charter {
            founder: keys.public_keys().clone(),
            rules: b"rules".to_vec().into(),
            nonce: serde_bytes::ByteArray::new([7; 16]),
        };
        let name: NodeName = "alpha".parse().expect("a name");
        let certificate = Certificate {
            cluster: charter.cluster_id(),
            keys: keys.public_keys().clone(),
            name: name.clone(),
            role: Role::Admin,
            grants: Vec::new(),
            issuer: keys.public_keys().node(),
            issued: Timestamp(1),
            not_after: None,
        };
        let certificate = Signed::new(&certificate, &keys);
        let (members, addresses) =
            (vec![certificate.clone()], vec![(keys.public_keys().node(), vec!["/ip4/1".into()])]);
        let incarnation = Incarnation(9);
        ClusterFile { charter, certificate, name, incarnation, members, addresses, reborn: None, disowned: Vec::new() }
    }

    #[test]
    fn what_was_written_is_read_and_one_changed_byte_is_damage() {
        let temporary = tempfile::tempdir().expect("a folder");
        let home = Home::open(HomeDir::new(temporary.path()).expect("a path")).expect("free");
        assert_eq!(home.cluster().expect("none"), None);
        let file = cluster_file();
        home.write_cluster(&file).expect("written");
        assert_eq!(home.cluster().expect("whole"), Some(file.clone()));
        let renewed = Certificate { not_after: Some(Timestamp(7)), ..file.certificate.peek().expect("one") };
        let renewed = Signed::new(&renewed, &KeyPair::generate([1; 32]));
        home.keep_certificate(&renewed).expect("written");
        assert_eq!(home.cluster().expect("whole"), Some(ClusterFile { certificate: renewed, ..file }));
        let path = home.cluster_path();
        let bytes = std::fs::read(&path).expect("there");
        std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("cut");
        assert!(matches!(home.cluster(), Err(HomeError::Damaged { .. })));
    }
}
