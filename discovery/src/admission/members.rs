//! The set of members as a fold of admissions: the same set in whatever order they arrive.
//!
//! An admission counts when the founder or somebody who was validly admitted as an admin signed it. That is monotone: more
//! admissions never make one invalid, so what arrives before its issuer is known is held and judged again later.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::MEMBERS_MAX;
use weft_protocol::{
    Certificate, ClusterId, Digest, KeyRotation, MemberKeys, NodeId, NodeName, PublicKeys, Role, Signed, Timestamp,
};

/// Most admissions that wait for their issuer to become known: as many as a cluster has members. One more is dropped and
/// counted; it stands on its chain and is judged again at the next start.
const HELD_MAX: usize = MEMBERS_MAX;
/// Most of them by one issuer, so that one node that is no admin cannot fill the place (guess).
const HELD_PER_ISSUER_MAX: usize = 256;
/// Most of the latest certificates of one member that are kept beside those that decide for ever: renewed ones replace what they
/// renewed (guess: few, because whoever joins is told of all certificates by which its issuer is an admin).
const LATEST_CERTIFICATES_MAX: usize = 2;

/// One certificate that counts.
#[derive(Debug, Clone)]
struct Valid {
    certificate: Certificate,
    signed: Signed<Certificate>,
}

/// What became of one admission and of those that had waited for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded {
    /// Nodes that are members now and were not before.
    pub(crate) joined: BTreeSet<NodeId>,
    /// Nodes with a further certificate.
    pub(crate) changed: BTreeSet<NodeId>,
    /// Admissions that will never count, or had no room.
    pub(crate) refused: u64,
}

enum Verdict {
    Counts,
    Waits,
    Never,
}

/// A member as its certificates make it. The earliest one binds its keys, the latest with these keys, or with some that are known
/// to follow them, its name, its role and its end.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    pub(crate) keys: &'a PublicKeys,
    pub(crate) name: &'a NodeName,
    pub(crate) role: Role,
    pub(crate) issued: Timestamp,
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) signed: &'a Signed<Certificate>,
}

/// Invariant: every certificate in `valid` verifies, is of this cluster, and was signed by the founder or by a node with an
/// admin's certificate in `valid`, or is this node's own. `names` has exactly the names in `valid`.
#[derive(Debug)]
pub(crate) struct Members {
    cluster: ClusterId,
    founder: PublicKeys,
    valid: BTreeMap<NodeId, BTreeMap<(Timestamp, Digest), Valid>>,
    /// Who has a certificate with that name, the latest or not.
    names: BTreeMap<NodeName, BTreeSet<NodeId>>,
    /// Of those whose keys gave way to others: all that they had.
    rotated: BTreeMap<NodeId, MemberKeys>,
    held: BTreeMap<NodeId, BTreeMap<Digest, Signed<Certificate>>>,
    quarantined: BTreeSet<NodeId>,
    evicted: BTreeSet<NodeId>,
}

impl Members {
    pub(crate) const fn new(cluster: ClusterId, founder: PublicKeys) -> Self {
        Self {
            cluster,
            founder,
            valid: BTreeMap::new(),
            names: BTreeMap::new(),
            rotated: BTreeMap::new(),
            held: BTreeMap::new(),
            quarantined: BTreeSet::new(),
            evicted: BTreeSet::new(),
        }
    }

    /// Takes the certificate of this very node, which the handshake that admitted it has verified.
    pub(crate) fn trust(&mut self, certificate: Certificate, signed: Signed<Certificate>) {
        let (node, key) = (certificate.keys.node(), (certificate.issued, signed.digest()));
        self.valid.entry(node).or_default().insert(key, Valid { certificate, signed });
        self.name(node);
    }

    /// Folds one admission, as it stands on the chain of `issuer`.
    pub(crate) fn admit(&mut self, issuer: NodeId, signed: Signed<Certificate>) -> Folded {
        let mut folded = Folded::default();
        let mut waiting = vec![(issuer, signed)];
        while let Some((issuer, signed)) = waiting.pop() {
            let Some(certificate) = self.readable(issuer, &signed) else {
                folded.refused += 1;
                continue;
            };
            if self.holds(&certificate, &signed) {
                continue;
            }
            match self.judge(&certificate, &signed) {
                Verdict::Counts => {
                    let node = certificate.keys.node();
                    let admin = certificate.role == Role::Admin;
                    self.insert(certificate, signed, &mut folded);
                    if admin && self.valid.contains_key(&node) {
                        let freed = self.held.remove(&node).unwrap_or_default();
                        waiting.extend(freed.into_values().map(|signed| (node, signed)));
                    }
                }
                Verdict::Waits => self.hold(issuer, signed, &mut folded),
                Verdict::Never => folded.refused += 1,
            }
        }
        folded
    }

    /// The certificate, when it is one of this cluster by this issuer, and leaves the founder its own keys.
    fn readable(&self, issuer: NodeId, signed: &Signed<Certificate>) -> Option<Certificate> {
        let certificate = signed.peek().ok()?;
        let founder = certificate.keys.node() == self.founder.node();
        let fits = certificate.cluster == self.cluster
            && certificate.issuer == issuer
            && (!founder || certificate.keys == self.founder);
        fits.then_some(certificate)
    }

    fn holds(&self, certificate: &Certificate, signed: &Signed<Certificate>) -> bool {
        let certificates = self.valid.get(&certificate.keys.node());
        certificates.is_some_and(|certificates| certificates.contains_key(&(certificate.issued, signed.digest())))
    }

    fn judge(&self, certificate: &Certificate, signed: &Signed<Certificate>) -> Verdict {
        let mut known = false;
        for keys in self.keys_to_admit(certificate.issuer, certificate.issued) {
            known = true;
            if signed.verify(keys).is_ok() {
                return Verdict::Counts;
            }
        }
        if known { Verdict::Never } else { Verdict::Waits }
    }

    /// The keys with which `issuer` could admit somebody at that time, by any of its certificates.
    fn keys_to_admit(&self, issuer: NodeId, issued: Timestamp) -> impl Iterator<Item = &PublicKeys> {
        let founder = (issuer == self.founder.node()).then_some(&self.founder);
        let admitted = self.valid.get(&issuer).into_iter().flat_map(BTreeMap::values).filter_map(move |valid| {
            let lasts = valid.certificate.not_after.is_none_or(|end| issued < end);
            (valid.certificate.role == Role::Admin && lasts).then_some(&valid.certificate.keys)
        });
        let certified = founder.into_iter().chain(admitted.filter(move |_| founder.is_none()));
        let mut certified = certified.peekable();
        let rotated = self.rotated.get(&issuer).filter(|_| certified.peek().is_some());
        certified.chain(rotated.into_iter().flat_map(MemberKeys::all))
    }

    /// Learns that the keys of a member gave way to others; whether that is news.
    pub(crate) fn rotate(&mut self, node: NodeId, rotation: &KeyRotation) -> bool {
        let Some(bound) = self.bound(&node).cloned() else { return false };
        let mut keys = self.rotated.get(&node).cloned().unwrap_or_else(|| MemberKeys::new(bound));
        let news = keys.learn(rotation);
        if news {
            self.rotated.insert(node, keys);
        }
        news
    }

    /// The same of whichever node it speaks of.
    pub(crate) fn rotate_any(&mut self, rotation: &KeyRotation) -> bool {
        rotation.rotation.peek().is_ok_and(|claimed| self.rotate(claimed.new.node(), rotation))
    }

    /// The keys that the certificates of a node name.
    fn bound(&self, node: &NodeId) -> Option<&PublicKeys> {
        if *node == self.founder.node() {
            return Some(&self.founder);
        }
        self.get(node).map(|member| member.keys)
    }

    /// All keys that a node is known to have or to have had, the newest last; none of a stranger.
    pub(crate) fn all_keys(&self, node: &NodeId) -> &[PublicKeys] {
        match self.rotated.get(node) {
            Some(keys) => keys.all(),
            None => self.bound(node).map_or(&[], std::slice::from_ref),
        }
    }

    /// What made a node's keys the ones that it has, for whoever knows those of its certificate.
    pub(crate) fn rotations_of(&self, node: &NodeId) -> &[KeyRotation] {
        self.rotated.get(node).map_or(&[], MemberKeys::rotations)
    }

    /// The rotations from the keys that a certificate of a node names to these.
    pub(crate) fn path_between(&self, certified: &PublicKeys, keys: &PublicKeys) -> Vec<KeyRotation> {
        let path = self.rotated.get(&keys.node()).and_then(|known| known.path_to(keys)).unwrap_or_default();
        let makes = |rotation: &KeyRotation| rotation.rotation.peek().is_ok_and(|claimed| claimed.new == *certified);
        let known = path.iter().position(makes).map_or(0, |place| place + 1);
        path.into_iter().skip(known).collect()
    }

    /// All that is known of the keys of those who had several.
    pub(crate) const fn rotated(&self) -> &BTreeMap<NodeId, MemberKeys> {
        &self.rotated
    }

    fn insert(&mut self, certificate: Certificate, signed: Signed<Certificate>, folded: &mut Folded) {
        let node = certificate.keys.node();
        let key = (certificate.issued, signed.digest());
        let room = self.valid.len() < MEMBERS_MAX;
        self.unname(node);
        match self.valid.get_mut(&node) {
            Some(certificates) => {
                certificates.insert(key, Valid { certificate, signed });
                forget_renewed(certificates);
                if certificates.contains_key(&key) {
                    folded.changed.insert(node);
                }
            }
            None if room => {
                self.valid.insert(node, BTreeMap::from([(key, Valid { certificate, signed })]));
                folded.joined.insert(node);
            }
            None => folded.refused += 1,
        }
        self.name(node);
    }

    fn name(&mut self, node: NodeId) {
        for valid in self.valid.get(&node).into_iter().flat_map(BTreeMap::values) {
            self.names.entry(valid.certificate.name.clone()).or_default().insert(node);
        }
    }

    fn unname(&mut self, node: NodeId) {
        for valid in self.valid.get(&node).into_iter().flat_map(BTreeMap::values) {
            let name = &valid.certificate.name;
            if self.names.get_mut(name).is_some_and(|nodes| nodes.remove(&node) && nodes.is_empty()) {
                self.names.remove(name);
            }
        }
    }

    fn hold(&mut self, issuer: NodeId, signed: Signed<Certificate>, folded: &mut Folded) {
        let by_issuer = self.held.get(&issuer);
        if by_issuer.is_some_and(|held| held.contains_key(&signed.digest())) {
            return;
        }
        if self.held_count() >= HELD_MAX || by_issuer.is_some_and(|held| held.len() >= HELD_PER_ISSUER_MAX) {
            folded.refused += 1;
        } else {
            self.held.entry(issuer).or_default().insert(signed.digest(), signed);
        }
    }

    /// Cuts a node off; whether that is new.
    pub(crate) fn quarantine(&mut self, node: NodeId) -> bool {
        self.quarantined.len() < MEMBERS_MAX && self.quarantined.insert(node)
    }

    /// Takes a node back that was cut off; whether it was.
    pub(crate) fn pardon(&mut self, node: &NodeId) -> bool {
        self.quarantined.remove(node)
    }

    /// These nodes are members no longer; returns those of which that is new.
    pub(crate) fn evict(&mut self, nodes: BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let new = nodes.difference(&self.evicted).copied().collect();
        self.evicted.extend(nodes);
        new
    }

    pub(crate) fn is_evicted(&self, node: &NodeId) -> bool {
        self.evicted.contains(node)
    }

    pub(crate) fn is_cut_off(&self, node: &NodeId) -> bool {
        self.quarantined.contains(node) || self.evicted.contains(node)
    }

    /// All that are quarantined or evicted.
    pub(crate) fn cut_off(&self) -> BTreeSet<NodeId> {
        self.quarantined.union(&self.evicted).copied().collect()
    }

    pub(crate) const fn evicted(&self) -> &BTreeSet<NodeId> {
        &self.evicted
    }

    /// Admissions whose issuer is not known as an admin yet.
    pub(crate) fn held_count(&self) -> usize {
        self.held.values().map(BTreeMap::len).sum()
    }

    pub(crate) fn contains(&self, node: &NodeId) -> bool {
        self.valid.contains_key(node)
    }

    pub(crate) fn len(&self) -> usize {
        self.valid.len()
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<Member<'_>> {
        self.valid.get(node).and_then(|certificates| projected(certificates, self.rotated.get(node)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, Member<'_>)> {
        self.valid
            .iter()
            .filter_map(|(node, certificates)| Some((*node, projected(certificates, self.rotated.get(node))?)))
    }

    /// Those who go by that name.
    pub(crate) fn named(&self, name: &NodeName) -> Vec<NodeId> {
        let once = self.names.get(name).into_iter().flatten().copied();
        once.filter(|node| self.get(node).is_some_and(|member| member.name == name)).collect()
    }

    /// All certificates of a member, by hash.
    pub(crate) fn digests(&self, node: &NodeId) -> BTreeSet<Digest> {
        self.valid.get(node).into_iter().flat_map(BTreeMap::keys).map(|(_, digest)| *digest).collect()
    }

    /// When the latest certificate of a member was issued.
    pub(crate) fn last_issued(&self, node: &NodeId) -> Option<Timestamp> {
        self.valid.get(node)?.keys().map(|(issued, _)| *issued).max()
    }

    /// Whether an admission by this node could count now.
    pub(crate) fn knows_admin(&self, node: &NodeId) -> bool {
        let certificates = self.valid.get(node).into_iter().flat_map(BTreeMap::values);
        *node == self.founder.node() || certificates.into_iter().any(|valid| valid.certificate.role == Role::Admin)
    }

    /// Until when a member may admit others by the keys it is bound to; none when it may not.
    pub(crate) fn admits_until(&self, node: &NodeId) -> Option<Timestamp> {
        let keys = self.all_keys(node);
        let certificates = self.valid.get(node)?.values().map(|valid| &valid.certificate);
        certificates
            .filter(|certificate| certificate.role == Role::Admin && keys.contains(&certificate.keys))
            .map(end_of)
            .max()
    }

    /// Every member that is or was an admin, from when on by its earliest certificate as one, and until when by the last.
    pub(crate) fn admins(&self) -> impl Iterator<Item = (NodeId, Timestamp, Timestamp)> {
        self.valid.iter().filter_map(|(node, certificates)| {
            let admin = || certificates.values().map(|valid| &valid.certificate).filter(|one| one.role == Role::Admin);
            let since = admin().map(|one| one.issued).min()?;
            let until = admin().map(end_of).max()?;
            Some((*node, since, until))
        })
    }

    /// The certificates by which `node` can be traced back to the founder, its own first.
    pub(crate) fn lineage(&self, node: NodeId) -> Vec<&Signed<Certificate>> {
        let mut lineage = Vec::new();
        let mut seen = BTreeSet::new();
        let mut waiting = vec![node];
        while let Some(node) = waiting.pop() {
            if !seen.insert(node) {
                continue;
            }
            for valid in self.valid.get(&node).into_iter().flat_map(BTreeMap::values) {
                lineage.push(&valid.signed);
                waiting.push(valid.certificate.issuer);
            }
        }
        lineage
    }
}

fn projected<'a>(
    certificates: &'a BTreeMap<(Timestamp, Digest), Valid>,
    rotated: Option<&MemberKeys>,
) -> Option<Member<'a>> {
    let keys = &certificates.values().next()?.certificate.keys;
    let follows = |named: &PublicKeys| rotated.is_some_and(|known| known.all().contains(named));
    let belongs = |valid: &&Valid| valid.certificate.keys == *keys || follows(&valid.certificate.keys);
    let latest = certificates.values().rev().find(belongs)?;
    let Certificate { name, role, issued, not_after, .. } = &latest.certificate;
    Some(Member { keys, name, role: *role, issued: *issued, not_after: *not_after, signed: &latest.signed })
}

/// Keeps the earliest certificate, which binds the keys, the earliest by which its node may admit others, the one by which it may
/// for the longest time, and the latest ones. Each is the first or the last of all that ever came, so the order in which they came
/// does not matter.
fn forget_renewed(certificates: &mut BTreeMap<(Timestamp, Digest), Valid>) {
    let earliest = certificates.keys().next().copied();
    let mut admins = certificates.iter().filter(|(_, valid)| valid.certificate.role == Role::Admin).peekable();
    let promotes = admins.peek().map(|(key, _)| **key);
    let admits = admins.max_by_key(|(key, valid)| (end_of(&valid.certificate), **key)).map(|(key, _)| *key);
    let latest: BTreeSet<_> = certificates.keys().rev().take(LATEST_CERTIFICATES_MAX).copied().collect();
    certificates.retain(|key, _| [earliest, promotes, admits].contains(&Some(*key)) || latest.contains(key));
}

/// When a certificate ends; the end of all time, when it does not.
fn end_of(certificate: &Certificate) -> Timestamp {
    certificate.not_after.unwrap_or(Timestamp(u64::MAX))
}
