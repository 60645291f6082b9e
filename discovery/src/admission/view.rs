//! What the transport decides by: the members as they were last published, and how a certificate is judged against them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use weft_protocol::limits::ROTATIONS_MAX;
use weft_protocol::{
    AuthRefusal, Certificate, Charter, ClusterId, Digest, KeyRotation, MemberKeys, NodeId, NodeName, PublicKeys, Role,
    RotationFault, SignatureError, Signed, SignedError, Signer, Timestamp, WireVersions, follow_rotations,
};

use super::members::Members;

/// One member as the view knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedMember {
    /// Its keys.
    pub keys: PublicKeys,
    /// The name it goes by.
    pub name: NodeName,
    /// As what it was last admitted.
    pub role: Role,
    /// When its latest certificate was issued.
    pub issued: Timestamp,
    /// When its latest certificate ends; never, without one.
    pub not_after: Option<Timestamp>,
    /// Whether it is cut off.
    pub quarantined: bool,
    /// Until when certificates that it issues count; none when it is no admin.
    pub admits_until: Option<Timestamp>,
    /// Its certificates that are known to count, by hash.
    pub certificates: BTreeSet<Digest>,
}

/// A peer that is a member, as far as what it shows tells.
#[derive(Debug)]
pub(crate) struct Judged {
    /// By which certificate.
    pub(crate) certificate: Certificate,
    /// Its keys of today.
    pub(crate) keys: PublicKeys,
}

/// A value that never changes: whoever holds it decides by it until a newer one is published. Cheap to clone.
#[derive(Clone)]
pub struct AdmissionView {
    /// This node.
    pub node: NodeId,
    /// The program's version, for the hello.
    pub build: String,
    /// Which versions of the wire it speaks.
    pub wire: WireVersions,
    /// Which cluster.
    pub cluster: ClusterId,
    /// What its id is the hash of.
    pub charter: Arc<Charter>,
    /// Hash of the genesis rules.
    pub rules_hash: Digest,
    /// This node's own certificate, which it shows.
    pub certificate: Arc<Signed<Certificate>>,
    /// From the keys of the certificate to those of the signer, which it shows beside it.
    pub rotations: Arc<Vec<KeyRotation>>,
    /// What proves that this node is who it shows to be: it changes together with what is shown.
    pub signer: Arc<dyn Signer>,
    /// All members, this node among them.
    pub members: Arc<BTreeMap<NodeId, AdmittedMember>>,
    /// Nodes that are cut off, members or not.
    pub quarantined: Arc<BTreeSet<NodeId>>,
    /// Those of them that are members no longer, for ever.
    pub evicted: Arc<BTreeSet<NodeId>>,
    /// All keys of those who had several, members or founder.
    pub rotated: Arc<BTreeMap<NodeId, MemberKeys>>,
}

impl AdmissionView {
    /// Whether a node is a member that is not cut off.
    #[must_use]
    pub fn is_active(&self, node: &NodeId) -> bool {
        self.members.contains_key(node) && !self.quarantined.contains(node)
    }

    /// What the fold says now.
    pub(crate) fn new(
        node: NodeId,
        build: &str,
        wire: WireVersions,
        charter: &Arc<Charter>,
        members: &Members,
        signer: &Arc<dyn Signer>,
    ) -> Option<Self> {
        let certificate = Arc::new(members.get(&node)?.signed.clone());
        let certified = certificate.peek().ok()?.keys;
        let admitted = members.iter().map(|(node, member)| {
            let admitted = AdmittedMember {
                keys: member.keys.clone(),
                name: member.name.clone(),
                role: member.role,
                issued: member.issued,
                not_after: member.not_after,
                quarantined: members.is_cut_off(&node),
                admits_until: members.admits_until(&node),
                certificates: members.digests(&node),
            };
            (node, admitted)
        });
        Some(Self {
            node,
            build: build.to_owned(),
            wire,
            cluster: charter.cluster_id(),
            charter: Arc::clone(charter),
            rules_hash: charter.rules_hash(),
            certificate,
            rotations: Arc::new(members.path_between(&certified, signer.public_keys())),
            signer: Arc::clone(signer),
            members: Arc::new(admitted.collect()),
            quarantined: Arc::new(members.cut_off()),
            evicted: Arc::new(members.evicted().clone()),
            rotated: Arc::new(members.rotated().clone()),
        })
    }

    /// That a node is not cut off.
    pub(crate) fn check_cut_off(&self, node: &NodeId) -> Result<(), AuthRefusal> {
        if self.evicted.contains(node) {
            Err(AuthRefusal::Evicted)
        } else if self.quarantined.contains(node) {
            Err(AuthRefusal::Quarantined)
        } else {
            Ok(())
        }
    }

    /// Whether the peer `remote`, authenticated by the transport, is a member by this certificate; its keys, if so. A member
    /// that the view has not heard of yet counts when a known admin signed its certificate. Whether the peer holds the
    /// ML-DSA-65 key is for the handshake's proof to show.
    ///
    /// # Errors
    /// [`AuthRefusal`] with the first check that failed; nothing was changed.
    pub fn judge_member(
        &self,
        remote: NodeId,
        certificate: &Signed<Certificate>,
        now: Timestamp,
    ) -> Result<PublicKeys, AuthRefusal> {
        self.judge(remote, certificate, &[], now).map(|judged| judged.keys)
    }

    /// The same of a peer that shows how the keys of its certificate gave way to those that it has.
    pub(crate) fn judge(
        &self,
        remote: NodeId,
        signed: &Signed<Certificate>,
        rotations: &[KeyRotation],
        now: Timestamp,
    ) -> Result<Judged, AuthRefusal> {
        if rotations.len() > ROTATIONS_MAX {
            return Err(AuthRefusal::TooManyRotations);
        }
        let certificate = signed.peek().map_err(|_| AuthRefusal::UnreadableCertificate)?;
        if certificate.keys.node() != remote {
            return Err(AuthRefusal::ForeignCertificate { of: certificate.keys.node() });
        }
        if remote == self.node {
            return Err(AuthRefusal::OwnKey);
        }
        if certificate.cluster != self.cluster {
            return Err(AuthRefusal::WrongCluster { ours: self.cluster, theirs: certificate.cluster });
        }
        self.check_cut_off(&remote)?;
        if self.keys_of(&remote).is_some_and(|keys| !self.all_keys(&remote, keys).contains(&certificate.keys)) {
            return Err(AuthRefusal::OtherKeys);
        }
        let known = self.members.get(&remote).is_some_and(|member| member.certificates.contains(&signed.digest()));
        if !known {
            check_signed(signed, self.admin_keys(certificate.issuer, certificate.issued)?)?;
        }
        if self.end_of(&certificate).is_some_and(|end| now >= end) {
            return Err(AuthRefusal::CertificateExpired);
        }
        let mut shown = follow_rotations(&certificate.keys, rotations)
            .map_err(|error| AuthRefusal::BadRotation { fault: RotationFault::from(&error) })?;
        let keys = shown.pop().unwrap_or_else(|| certificate.keys.clone());
        if self.rotated.get(&remote).is_some_and(|known| known.is_replaced(&keys)) {
            return Err(AuthRefusal::KeysReplaced);
        }
        Ok(Judged { certificate, keys })
    }

    /// When the certificate that a member shows ends. It may not have heard yet that an admin renewed it.
    fn end_of(&self, shown: &Certificate) -> Option<Timestamp> {
        match self.members.get(&shown.keys.node()) {
            Some(known) if known.issued > shown.issued => known.not_after,
            Some(_) | None => shown.not_after,
        }
    }

    /// The keys by which a certificate of `issuer` is checked, or why it may not admit anybody.
    fn admin_keys(&self, issuer: NodeId, issued: Timestamp) -> Result<&[PublicKeys], AuthRefusal> {
        if self.quarantined.contains(&issuer) {
            return Err(AuthRefusal::IssuerCutOff);
        }
        if issuer == self.charter.founder.node() {
            return Ok(self.all_keys(&issuer, &self.charter.founder));
        }
        let member = self.members.get(&issuer).ok_or(AuthRefusal::UnknownIssuer)?;
        let until = member.admits_until.ok_or(AuthRefusal::IssuerNoAdmin)?;
        if issued >= until {
            return Err(AuthRefusal::IssuerExpired);
        }
        Ok(self.all_keys(&issuer, &member.keys))
    }

    fn all_keys<'a>(&'a self, node: &NodeId, certified: &'a PublicKeys) -> &'a [PublicKeys] {
        self.rotated.get(node).map_or(std::slice::from_ref(certified), MemberKeys::all)
    }

    fn keys_of(&self, node: &NodeId) -> Option<&PublicKeys> {
        if *node == self.charter.founder.node() {
            return Some(&self.charter.founder);
        }
        self.members.get(node).map(|member| &member.keys)
    }

    /// As what a node takes part: as the view knows it, or else as its certificate says.
    pub(crate) fn role(&self, certificate: &Certificate) -> Role {
        self.members.get(&certificate.keys.node()).map_or(certificate.role, |member| member.role)
    }
}

/// That both signatures of the certificate are by one of these pairs of its issuer.
fn check_signed(signed: &Signed<Certificate>, issuer: &[PublicKeys]) -> Result<(), AuthRefusal> {
    let mut refusal = AuthRefusal::ForgedCertificate;
    for keys in issuer {
        match signed.verify(keys) {
            Ok(_) => return Ok(()),
            Err(SignedError::Decode(_) | SignedError::Signature(SignatureError::Ed25519)) => {}
            Err(SignedError::Signature(SignatureError::MlDsa65 | SignatureError::MlDsa65Missing)) => {
                refusal = AuthRefusal::HalfCertificate;
            }
        }
    }
    Err(refusal)
}

impl fmt::Debug for AdmissionView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&NodeName> = self.members.values().map(|member| &member.name).collect();
        let mut debug = formatter.debug_struct("AdmissionView");
        debug.field("node", &self.node).field("members", &names).field("quarantined", &self.quarantined).finish()
    }
}
