//! A cluster of a test: keys, certificates, views made by hand, and networks that run in tasks of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use weft_discovery::{AdmissionView, AdmittedMember};
use weft_peer::{Input, Request};
use weft_protocol::{
    Admission, Certificate, Charter, KeyPair, NodeId, NodeName, PublicKeys, Role, Signed, Signer as _, Timestamp, Token,
};

use crate::clock;
use crate::identity::random;
use crate::network::{Mdns, Network, NetworkConfig, NetworkEvent, TcpSecurity};

/// How long anything may take before a test has failed: far beyond what it takes on the slowest machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// More than any test causes without looking.
const QUEUED_MAX: usize = 4_096;
pub(super) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(super) const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// One who is a member, or claims to be.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) keys: Arc<KeyPair>,
    pub(super) name: NodeName,
    pub(super) certificate: Signed<Certificate>,
}

impl Member {
    pub(super) fn node(&self) -> NodeId {
        self.keys.public_keys().node()
    }

    fn admitted(&self) -> AdmittedMember {
        let Certificate { role, issued, .. } = self.certificate.peek().unwrap();
        AdmittedMember {
            keys: self.keys.public_keys().clone(),
            name: self.name.clone(),
            role,
            issued,
            not_after: None,
            quarantined: false,
            admits_until: (role == Role::Admin).then_some(Timestamp(u64::MAX)),
            certificates: BTreeSet::from([self.certificate.digest()]),
        }
    }
}

pub(super) struct Cluster {
    pub(super) charter: Arc<Charter>,
    pub(super) founder: Member,
}

impl Cluster {
    pub(super) fn new(nonce: u8) -> Self {
        let keys = Arc::new(new_keys());
        let charter =
            Charter { founder: keys.public_keys().clone(), rules: b"rules".to_vec().into(), nonce: [nonce; 16].into() };
        let certificate = certify(&charter, keys.public_keys(), "alpha", Role::Admin, None, &keys);
        let founder = Member { keys, name: "alpha".parse().unwrap(), certificate };
        Self { charter: Arc::new(charter), founder }
    }

    pub(super) fn admit(&self, name: &str) -> Member {
        self.admit_until(name, None)
    }

    pub(super) fn admit_until(&self, name: &str, not_after: Option<Timestamp>) -> Member {
        let keys = Arc::new(new_keys());
        let certificate = self.certify(keys.public_keys(), name, not_after);
        Member { keys, name: name.parse().unwrap(), certificate }
    }

    pub(super) fn certify(&self, keys: &PublicKeys, name: &str, not_after: Option<Timestamp>) -> Signed<Certificate> {
        certify(&self.charter, keys, name, Role::Worker, not_after, &self.founder.keys)
    }

    /// What `own` sees when it knows these others.
    pub(super) fn view(&self, own: &Member, others: &[&Member]) -> AdmissionView {
        let all = others.iter().copied().chain([own, &self.founder]);
        let members: BTreeMap<NodeId, AdmittedMember> = all.map(|member| (member.node(), member.admitted())).collect();
        AdmissionView {
            node: own.node(),
            build: "test".to_owned(),
            wire: weft_protocol::WireVersions::default(),
            cluster: self.charter.cluster_id(),
            charter: Arc::clone(&self.charter),
            rules_hash: self.charter.rules_hash(),
            certificate: Arc::new(own.certificate.clone()),
            rotations: Arc::default(),
            signer: own.keys.clone(),
            members: Arc::new(members),
            quarantined: Arc::default(),
            evicted: Arc::default(),
            rotated: Arc::default(),
        }
    }

    pub(super) fn token(&self, addresses: Vec<String>) -> Token {
        Token {
            cluster: self.charter.cluster_id(),
            inviter: self.founder.node(),
            inviter_mldsa65_hash: *self.founder.keys.public_keys().mldsa65_hash(),
            inviter_name: self.founder.name.clone(),
            addresses,
            secret: [9; 16].into(),
            role: Role::Worker,
            expires: Timestamp(u64::MAX),
        }
    }

    pub(super) fn admission(&self, keys: &PublicKeys, name: &NodeName) -> Admission {
        Admission {
            certificate: self.certify(keys, name.as_str(), None),
            charter: (*self.charter).clone(),
            members: vec![self.founder.certificate.clone()],
            rotations: Vec::new(),
        }
    }
}

fn certify(
    charter: &Charter,
    keys: &PublicKeys,
    name: &str,
    role: Role,
    not_after: Option<Timestamp>,
    issuer: &KeyPair,
) -> Signed<Certificate> {
    let certificate = Certificate {
        cluster: charter.cluster_id(),
        keys: keys.clone(),
        name: name.parse().unwrap(),
        role,
        grants: Vec::new(),
        issuer: issuer.public_keys().node(),
        issued: clock::wall(),
        not_after,
    };
    Signed::new(&certificate, issuer)
}

pub(super) fn new_keys() -> KeyPair {
    KeyPair::generate(random().unwrap())
}

type Command = Box<dyn FnOnce(&mut Network) + Send>;

/// A network that runs by itself until it is told to end.
pub(super) struct Node {
    pub(super) node: NodeId,
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<NetworkEvent>,
    seen: Vec<String>,
    ended: oneshot::Receiver<()>,
}

impl Node {
    pub(super) async fn start(member: &Member, view: AdmissionView, listen: &[&str]) -> Self {
        Self::start_with(member, view, listen, TcpSecurity::Tls).await
    }

    /// One that tells others these addresses instead of where it listens.
    pub(super) async fn start_announcing(
        member: &Member,
        view: AdmissionView,
        listen: &[&str],
        announce: &[&str],
    ) -> Self {
        Self::start_as(member, view, listen, announce, TcpSecurity::Tls).await
    }

    pub(super) async fn start_with(
        member: &Member,
        view: AdmissionView,
        listen: &[&str],
        tcp_security: TcpSecurity,
    ) -> Self {
        Self::start_as(member, view, listen, &[], tcp_security).await
    }

    async fn start_as(
        member: &Member,
        view: AdmissionView,
        listen: &[&str],
        announce: &[&str],
        tcp_security: TcpSecurity,
    ) -> Self {
        let announce = announce.iter().map(|&address| address.to_owned()).collect();
        let listen = listen.iter().map(|&address| address.to_owned()).collect();
        let (keys, view) = (Arc::clone(&member.keys), Arc::new(view));
        let config = NetworkConfig { keys, listen, announce, tcp_security, view, mdns: Mdns::off() };
        let mut network = Network::new(config).await.unwrap();
        let (commands, mut incoming) = mpsc::channel::<Command>(QUEUED_MAX);
        let (outgoing, events) = mpsc::channel(QUEUED_MAX);
        let (end, ended) = oneshot::channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    command = incoming.recv() => match command {
                        Some(command) => command(&mut network),
                        None => break,
                    },
                    event = network.next() => {
                        let _test_has_ended = outgoing.send(event).await;
                    }
                }
            }
            network.shutdown().await;
            let _nobody_waits = end.send(());
        });
        Self { node: member.node(), commands, events, seen: Vec::new(), ended }
    }

    pub(super) fn tell(&self, command: impl FnOnce(&mut Network) + Send + 'static) {
        assert!(self.commands.try_send(Box::new(command)).is_ok(), "the network runs");
    }

    pub(super) async fn read<T: Send + 'static>(&self, read: impl FnOnce(&mut Network) -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        self.tell(move |network| {
            let _nobody_waits = answer.send(read(network));
        });
        answered.await.unwrap()
    }

    pub(super) async fn addresses(&self) -> Vec<String> {
        self.read(|network| network.listening.clone()).await
    }

    /// Waits for an event that `pick` takes.
    pub(super) async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(NetworkEvent) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                self.seen.push(format!("{event:?}"));
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        let picked = timeout(PATIENCE, waiting).await;
        picked.unwrap_or_else(|_| panic!("{} waited in vain for {what}; it saw {:#?}", self.node, self.seen))
    }

    pub(super) async fn until_input<T>(&mut self, what: &str, mut pick: impl FnMut(Input) -> Option<T>) -> T {
        self.until(what, |event| match event {
            NetworkEvent::Peer(input) => pick(input),
            NetworkEvent::JoinAttempt { .. } => None,
        })
        .await
    }

    pub(super) async fn until_connected(&mut self, node: NodeId) {
        self.until_input("Connected", |input| match input {
            Input::Connected { node: connected, .. } if connected == node => Some(()),
            _ => None,
        })
        .await;
    }

    pub(super) async fn until_disconnected(&mut self, node: NodeId) {
        self.until_input("Disconnected", |input| match input {
            Input::Disconnected { node: gone } if gone == node => Some(()),
            _ => None,
        })
        .await;
    }

    pub(super) async fn until_dial_failed(&mut self, node: NodeId) -> String {
        self.until_input("DialFailed", |input| match input {
            Input::DialFailed { node: failed, reason } if failed == node => Some(reason),
            _ => None,
        })
        .await
    }

    pub(super) async fn until_request(&mut self) -> (weft_peer::InboundId, NodeId, Request) {
        self.until_input("RequestArrived", |input| match input {
            Input::RequestArrived { request, from, content } => Some((request, from, content)),
            _ => None,
        })
        .await
    }

    /// How many of the events that were waited through read like this.
    pub(super) fn count_seen(&self, text: &str) -> usize {
        self.seen.iter().filter(|event| event.contains(text)).count()
    }

    /// Everything that happened and was not waited for, so far.
    pub(super) fn rest(&mut self) -> Vec<NetworkEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    pub(super) async fn end(self) {
        drop(self.commands);
        timeout(PATIENCE, self.ended).await.unwrap().unwrap();
    }

    /// Connects to another node at the addresses of one transport.
    pub(super) async fn connect(&mut self, other: &mut Self) {
        let (node, addresses) = (other.node, other.addresses().await);
        self.tell(move |network| network.dial(node, addresses));
        self.until_connected(other.node).await;
        other.until_connected(self.node).await;
    }
}

/// That a list of events holds none of a kind.
pub(super) fn assert_none<T: Debug>(events: &[T], unwanted: impl Fn(&T) -> bool) {
    assert!(!events.iter().any(unwanted), "{events:#?}");
}
