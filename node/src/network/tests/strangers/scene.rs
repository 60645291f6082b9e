//! A cluster with everybody in it whom a stranger could claim to be: members, admins of today and of yesterday, the cut off.

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_discovery::{Discovery, DiscoveryConfig, Identity, Input};
use weft_protocol::{
    Admitted, Certificate, ChainId, ChainState, Credential, Fact, Hello, Hlc, Incarnation, InviteBurnt, InviteIssued,
    InviteRevoked, KeyPair, KeyRotation, NodeId, PlacedFact, PublicKeys, Recovered, RecoveredChain, Role, Signed,
    Signer as _, Timestamp, Token, WIRE_VERSION, secret_hash,
};

use super::super::cluster::{Cluster, Member, new_keys};
use super::victim::Victim;
use crate::clock;

/// An hour, in microseconds.
pub(super) const HOUR_US: u64 = 3_600_000_000;

/// Secrets of the founder's invites.
pub(super) const GOOD: u8 = 1;
pub(super) const EXPIRED: u8 = 2;
pub(super) const REVOKED: u8 = 3;
pub(super) const USED_UP: u8 = 4;

pub(super) struct Scene {
    pub(super) cluster: Cluster,
    pub(super) now: Timestamp,
    /// A member like any other.
    pub(super) worker: Member,
    /// An admin beside the founder.
    pub(super) second: Member,
    /// An admin whose time was over an hour ago.
    pub(super) former: Member,
    /// An admin that was proven to write two histories.
    pub(super) forker: Member,
    /// A member that was evicted.
    pub(super) gone: Member,
    /// A member whose keys gave way to others.
    pub(super) rotated: Member,
    /// Somebody whom nobody knows, with keys of its own.
    pub(super) stranger: Arc<KeyPair>,
    /// Further keys of the stranger's.
    pub(super) other: Arc<KeyPair>,
    /// Another cluster, of the stranger's own making.
    pub(super) foreign: Cluster,
}

impl Scene {
    pub(super) fn new() -> Self {
        let (cluster, foreign) = (Cluster::new(1), Cluster::new(2));
        let now = clock::wall();
        let admit = |name: &str, role: Role, not_after: Option<Timestamp>| {
            let keys = Arc::new(new_keys());
            let issued = Timestamp(now.0 - 4 * HOUR_US);
            let mut certificate = certificate_of(&cluster, keys.public_keys(), name, issued);
            (certificate.role, certificate.not_after) = (role, not_after);
            let certificate = Signed::new(&certificate, &*cluster.founder.keys);
            Member { keys, name: name.parse().unwrap(), certificate }
        };
        Self {
            now,
            worker: admit("worker", Role::Worker, None),
            second: admit("second", Role::Admin, None),
            former: admit("former", Role::Admin, Some(Timestamp(now.0 - HOUR_US))),
            forker: admit("forker", Role::Admin, None),
            gone: admit("gone", Role::Worker, None),
            rotated: admit("rotated", Role::Worker, None),
            stranger: Arc::new(new_keys()),
            other: Arc::new(new_keys()),
            foreign,
            cluster,
        }
    }

    pub(super) fn founder(&self) -> &Arc<KeyPair> {
        &self.cluster.founder.keys
    }

    /// The founder's node, with all of them on its chain.
    pub(super) async fn victim(&self) -> Victim {
        Victim::start(Arc::clone(self.founder()), self.discovery()).await
    }

    fn discovery(&self) -> Discovery {
        let founder = &self.cluster.founder;
        let members = [&self.worker, &self.second, &self.former, &self.forker, &self.gone, &self.rotated];
        let admitted = members
            .map(|member| Fact::Admitted(Box::new(Admitted { certificate: member.certificate.clone(), invite: None })));
        let invites = [(GOOD, HOUR_US), (EXPIRED, 0), (REVOKED, HOUR_US), (USED_UP, HOUR_US)].map(|(secret, lasts)| {
            let (role, uses, expires) = (Role::Worker, 1, self.now.after_us(lasts));
            Fact::InviteIssued(InviteIssued {
                secret_hash: secret_hash(&[secret; 16]),
                role,
                uses,
                expires,
                certificate_ttl_us: None,
            })
        });
        let revoked = Fact::InviteRevoked(InviteRevoked { invite: self.token(REVOKED).invite() });
        let burnt = InviteBurnt { invite: self.token(USED_UP).invite(), node: self.worker.node() };
        let spent = [revoked, Fact::InviteBurnt(burnt)];
        let facts = admitted.into_iter().chain(invites).chain(spent);
        let place = |(seq, fact)| PlacedFact { seq, hlc: Hlc::from_wall(self.now), fact };
        let chain = ChainId { node: founder.node(), incarnation: Incarnation(1) };
        let cluster = self.cluster.charter.cluster_id();
        let own = RecoveredChain {
            anchors: Vec::new(),
            state: ChainState::new(chain, cluster, founder.keys.public_keys().clone()),
            facts: (0..).zip(facts).map(place).collect(),
        };
        let recovered = Recovered { chains: vec![own], ..Recovered::default() };
        let identity = Identity {
            name: founder.name.clone(),
            charter: (*self.cluster.charter).clone(),
            certificate: founder.certificate.clone(),
            incarnation: Incarnation(1),
            build: "test".to_owned(),
            started: Hlc::from_wall(self.now),
        };
        let config = DiscoveryConfig::default();
        let mut discovery =
            Discovery::new(config, identity, Vec::new(), &recovered, Arc::clone(&founder.keys) as _, 7, self.now);
        let rotation = Box::new(self.rotation_of(&self.rotated));
        for input in [
            Input::ForkProven { node: self.forker.node() },
            Input::MembersEvicted { nodes: BTreeSet::from([self.gone.node()]) },
            Input::KeysRotated { node: self.rotated.node(), rotation },
        ] {
            discovery.handle(input, self.now, &mut Vec::new());
        }
        discovery
    }

    /// How the keys of a member give way to new ones, as it should be.
    pub(super) fn rotation_of(&self, member: &Member) -> KeyRotation {
        KeyRotation::new(chain_of(member.node()), &*member.keys, &self.next_keys_of(member))
    }

    /// A new ML-DSA-65 key beside the Ed25519 key of a member.
    pub(super) fn next_keys_of(&self, member: &Member) -> KeyPair {
        let (seed, _) = member.keys.secret_parts();
        KeyPair::generate(*seed)
    }

    pub(super) fn token(&self, secret: u8) -> Token {
        Token { secret: [secret; 16].into(), ..self.cluster.token(Vec::new()) }
    }

    /// A certificate for these keys as the founder would give it, changed and signed by somebody.
    pub(super) fn certificate(
        &self,
        keys: &PublicKeys,
        signer: &dyn weft_protocol::Signer,
        change: impl FnOnce(&mut Certificate),
    ) -> Signed<Certificate> {
        let mut certificate = certificate_of(&self.cluster, keys, "somebody", self.now);
        change(&mut certificate);
        Signed::new(&certificate, signer)
    }

    /// What a member says first that shows this certificate.
    pub(super) fn hello(&self, certificate: Signed<Certificate>) -> Hello {
        self.hello_of(Credential::Member(certificate))
    }

    /// What a joiner says first.
    pub(super) fn hello_of_joiner(&self, secret: u8, keys: &PublicKeys) -> Hello {
        let invite = self.token(secret).invite();
        Hello { rules: None, ..self.hello_of(Credential::Joiner { invite, keys: keys.clone() }) }
    }

    fn hello_of(&self, credential: Credential) -> Hello {
        Hello {
            wire: WIRE_VERSION,
            build: "test".to_owned(),
            cluster: self.cluster.charter.cluster_id(),
            rules: Some(self.cluster.charter.rules_hash()),
            nonce: [5; 32].into(),
            credential,
            rotations: Vec::new(),
        }
    }
}

pub(super) fn chain_of(node: NodeId) -> ChainId {
    ChainId { node, incarnation: Incarnation(1) }
}

fn certificate_of(cluster: &Cluster, keys: &PublicKeys, name: &str, issued: Timestamp) -> Certificate {
    Certificate {
        cluster: cluster.charter.cluster_id(),
        keys: keys.clone(),
        name: name.parse().unwrap(),
        role: Role::Worker,
        grants: Vec::new(),
        issuer: cluster.founder.node(),
        issued,
        not_after: None,
    }
}
