//! Who is let in, who is not, and what both sides are told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use weft_protocol::{
    AuthRefusal, Certificate, Join, KeyPair, NodeId, PublicKeys, Role, Signed, Signer as _, Timestamp, Token,
    WireVersions,
};

use super::cluster::{Cluster, Member, Node, PATIENCE, QUIC, TCP, assert_none, new_keys};
use crate::clock;
use crate::network::join::AttemptFailure;
use crate::network::{Attempt, JoinError, NetworkEvent, RecentRefusal, join};

/// How soon whoever is refused must know it.
const REFUSAL_TIME_MAX: Duration = Duration::from_millis(100);

/// Dials a member as somebody who must not get in; what it is told, and how soon in the best of some attempts (the machine
/// may be busy with other tests).
async fn refused(transport: &str, member: &mut Node, stranger: &mut Node) -> String {
    let mut fastest = Duration::MAX;
    let mut reason = String::new();
    for _ in 0..10 {
        let (node, addresses) = (member.node, member.addresses().await);
        let begun = Instant::now();
        stranger.tell(move |network| network.dial(node, addresses));
        reason = stranger.until_dial_failed(member.node).await;
        fastest = fastest.min(begun.elapsed());
        if fastest < REFUSAL_TIME_MAX {
            break;
        }
    }
    assert!(fastest < REFUSAL_TIME_MAX, "{transport}: refused only after {fastest:?}");
    let heard = |event: &NetworkEvent| matches!(event, NetworkEvent::Peer(weft_peer::Input::Connected { .. }));
    assert_none(&member.rest(), heard);
    assert_none(&stranger.rest(), heard);
    reason
}

/// The last refusal, once there is one: the refuser notes it when the other side has heard it.
async fn noted(node: &Node) -> RecentRefusal {
    let waiting = async {
        loop {
            if let Some(refusal) = node.read(|network| network.refusals().list()).await.first() {
                return refusal.clone();
            }
        }
    };
    timeout(PATIENCE, waiting).await.unwrap()
}

/// That both sides remember the refusal, and which of them refused.
async fn assert_noted(refuser: &Node, refused: &Node, refusal: &AuthRefusal) {
    let (ours, theirs) = (noted(refuser).await, noted(refused).await);
    assert_eq!((ours.node, ours.by_us, &ours.refusal), (refused.node, true, refusal), "{ours:?}");
    assert_eq!((theirs.node, theirs.by_us, &theirs.refusal), (refuser.node, false, refusal), "{theirs:?}");
}

#[tokio::test]
async fn a_stranger_is_refused_at_once_and_never_heard_of() {
    for transport in [QUIC, TCP] {
        let cluster = Cluster::new(1);
        let mut member = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[]), &[transport]).await;
        // It knows the charter and has made itself an admin's certificate.
        let keys = Arc::new(new_keys());
        let certificate = Certificate {
            cluster: cluster.charter.cluster_id(),
            keys: keys.public_keys().clone(),
            name: "stranger".parse().unwrap(),
            role: Role::Admin,
            grants: Vec::new(),
            issuer: keys.public_keys().node(),
            issued: clock::wall(),
            not_after: None,
        };
        let certificate = Signed::new(&certificate, &*keys);
        let stranger = Member { keys, name: "stranger".parse().unwrap(), certificate };
        let mut stranger = Node::start(&stranger, cluster.view(&stranger, &[]), &[]).await;
        let reason = refused(transport, &mut member, &mut stranger).await;
        assert!(
            reason.contains("refused by that node: the certificate's issuer is not a known admin; wait until"),
            "{reason}"
        );
        assert_noted(&member, &stranger, &AuthRefusal::UnknownIssuer).await;
    }
}

#[tokio::test]
async fn a_certificate_that_ended_is_refused() {
    let cluster = Cluster::new(2);
    let late = cluster.admit_until("late", Some(Timestamp(clock::wall().0 - 1)));
    let mut member = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[&late]), &[QUIC]).await;
    let mut late = Node::start(&late, cluster.view(&late, &[]), &[]).await;
    let reason = refused(QUIC, &mut member, &mut late).await;
    assert!(reason.contains("refused by that node: the certificate has expired; weft invite"), "{reason}");
    assert_noted(&member, &late, &AuthRefusal::CertificateExpired).await;
}

#[tokio::test]
async fn the_dialler_judges_too() {
    let cluster = Cluster::new(3);
    let late = cluster.admit_until("late", Some(Timestamp(clock::wall().0 - 1)));
    let mut listener = Node::start(&late, cluster.view(&late, &[]), &[TCP]).await;
    let mut dialler = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[&late]), &[]).await;
    let reason = refused(TCP, &mut listener, &mut dialler).await;
    assert!(reason.contains("refused by this node: the certificate has expired; weft invite"), "{reason}");
    assert_noted(&dialler, &listener, &AuthRefusal::CertificateExpired).await;
}

#[tokio::test]
async fn another_cluster_is_refused_with_both_names() {
    let (ours, theirs) = (Cluster::new(4), Cluster::new(5));
    let mut member = Node::start(&ours.founder, ours.view(&ours.founder, &[]), &[QUIC]).await;
    let mut other = Node::start(&theirs.founder, theirs.view(&theirs.founder, &[]), &[]).await;
    let reason = refused(QUIC, &mut member, &mut other).await;
    let (ours, theirs) = (ours.charter.cluster_id(), theirs.charter.cluster_id());
    assert!(reason.contains(&ours.to_string()) && reason.contains(&theirs.to_string()), "{reason}");
    assert_noted(&member, &other, &AuthRefusal::WrongCluster { ours, theirs }).await;
}

#[tokio::test]
async fn a_member_that_is_cut_off_meanwhile_is_refused_from_then_on() {
    let cluster = Cluster::new(6);
    let evil = cluster.admit("evil");
    let view = cluster.view(&cluster.founder, &[&evil]);
    let mut member = Node::start(&cluster.founder, view.clone(), &[QUIC]).await;
    let mut cut_off = Node::start(&evil, cluster.view(&evil, &[]), &[QUIC]).await;
    cut_off.connect(&mut member).await;
    let mut next = view;
    next.quarantined = Arc::new(BTreeSet::from([evil.node()]));
    let node = evil.node();
    member.tell(move |network| {
        network.publish_view(Arc::new(next));
        network.disconnect(node);
    });
    member.until_disconnected(node).await;
    cut_off.until_disconnected(member.node).await;
    let reason = refused(QUIC, &mut member, &mut cut_off).await;
    assert!(reason.contains("refused by that node: quarantined; "), "{reason}");
}

/// Runs a join against a founder that answers it with `decide`.
async fn joined(
    cluster: &Cluster,
    listen: &[&str],
    keys: &Arc<KeyPair>,
    decide: impl FnOnce(PublicKeys, Join) -> Result<weft_protocol::Admission, AuthRefusal>,
) -> (Result<(weft_protocol::Admission, String), JoinError>, Vec<Attempt>, Duration) {
    let mut inviter = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[]), listen).await;
    let token = cluster.token(inviter.addresses().await);
    let mut attempts = Vec::new();
    let begun = Instant::now();
    let name = "gamma".parse().unwrap();
    let wire = WireVersions::default();
    let joining = join(keys, &token, &name, wire, |attempt: &Attempt| attempts.push(attempt.clone()));
    let answering = inviter.until("JoinAttempt", |event| match event {
        NetworkEvent::JoinAttempt { keys, invite, join, answer } => Some((keys, invite, join, answer)),
        NetworkEvent::Peer(_) => None,
    });
    let (result, ()) = tokio::join!(joining, async {
        let (keys, invite, join, answer) = answering.await;
        assert_eq!(invite, token.invite());
        assert_eq!(join.secret, token.secret);
        answer.send(decide(keys, join).map(Box::new)).unwrap();
    });
    let took = begun.elapsed();
    assert_none(&inviter.rest(), |event| !matches!(event, NetworkEvent::Peer(weft_peer::Input::ListenChanged { .. })));
    (result, attempts, took)
}

#[tokio::test]
async fn a_joiner_is_admitted_and_comes_back_as_a_member() {
    for transport in [QUIC, TCP] {
        let cluster = Cluster::new(7);
        let keys = Arc::new(new_keys());
        let (result, attempts, _) = joined(&cluster, &[transport], &keys, |proven, join| {
            assert_eq!(&proven, keys.public_keys());
            Ok(cluster.admission(&proven, &join.name))
        })
        .await;
        let (admission, address) = result.unwrap();
        assert_eq!(admission.certificate.peek().unwrap().keys, *keys.public_keys());
        let [attempt] = attempts.as_slice() else { panic!("{attempts:?}") };
        assert_eq!((&attempt.address, &attempt.result), (&address, &Ok(())));

        let gamma = Member { keys, name: "gamma".parse().unwrap(), certificate: admission.certificate };
        // The founder has not heard of it yet: its certificate speaks for it.
        let mut founder = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[]), &[transport]).await;
        let mut member = Node::start(&gamma, cluster.view(&gamma, &[]), &[transport]).await;
        member.connect(&mut founder).await;
    }
}

#[tokio::test]
async fn a_token_that_is_worth_nothing_any_more_is_answered_at_once() {
    for refusal in [
        AuthRefusal::UnknownInvite,
        AuthRefusal::InviteExpired,
        AuthRefusal::InviteUsedUp,
        AuthRefusal::InviteRevoked,
        AuthRefusal::NameTaken { name: "gamma".parse().unwrap() },
    ] {
        let cluster = Cluster::new(8);
        let keys = Arc::new(new_keys());
        let mut fastest = Duration::MAX;
        for _ in 0..5 {
            let answer = refusal.clone();
            let (result, attempts, took) = joined(&cluster, &[QUIC, TCP], &keys, |_, _| Err(answer)).await;
            assert_eq!(result, Err(JoinError::Refused(refusal.clone())));
            assert_eq!(attempts.last().unwrap().result, Err(AttemptFailure::Refused(refusal.clone())));
            fastest = fastest.min(took);
            if fastest < REFUSAL_TIME_MAX {
                break;
            }
        }
        assert!(fastest < REFUSAL_TIME_MAX, "{refusal}: only after {fastest:?}");
    }
}

async fn join_with(token: &Token) -> JoinError {
    let keys = Arc::new(new_keys());
    join(&keys, token, &"gamma".parse().unwrap(), WireVersions::default(), |_| {}).await.unwrap_err()
}

#[tokio::test]
async fn a_token_for_another_cluster_or_inviter_tells_no_secret() {
    let cluster = Cluster::new(9);
    let mut inviter = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[]), &[QUIC]).await;
    let addresses = inviter.addresses().await;
    let token = cluster.token(addresses.clone());

    let other = Cluster::new(10);
    let (ours, theirs) = (cluster.charter.cluster_id(), other.charter.cluster_id());
    let of_another = Token { cluster: theirs, ..token.clone() };
    assert_eq!(join_with(&of_another).await, JoinError::Refused(AuthRefusal::WrongCluster { ours, theirs }));

    let expected: NodeId = other.founder.node();
    let by_another = Token { inviter: expected, ..token.clone() };
    let found = inviter.node.to_string();
    let address = addresses[0].clone();
    assert_eq!(join_with(&by_another).await, JoinError::OtherNode { address: address.clone(), expected, found });

    let other_mldsa = *other.founder.keys.public_keys().mldsa65_hash();
    let half = Token { inviter_mldsa65_hash: other_mldsa, ..token };
    let refusal = AuthRefusal::NotTheInvitersKey;
    assert_eq!(join_with(&half).await, JoinError::NotBelieved { address, refusal });
    assert_none(&inviter.rest(), |event| matches!(event, NetworkEvent::JoinAttempt { .. }));
}

#[tokio::test]
async fn an_admission_to_something_else_is_not_believed() {
    let (cluster, other) = (Cluster::new(11), Cluster::new(12));
    let keys = Arc::new(new_keys());
    let (result, ..) = joined(&cluster, &[QUIC], &keys, |proven, join| Ok(other.admission(&proven, &join.name))).await;
    let Err(JoinError::NotBelieved { refusal: AuthRefusal::WrongCluster { .. }, .. }) = result else {
        panic!("{result:?}")
    };
}

#[tokio::test]
async fn nobody_there_is_said_with_every_address() {
    let cluster = Cluster::new(13);
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let token = cluster.token(vec![address.clone(), "nonsense".into(), "/ip4/127.0.0.1/udp/9".into()]);
    let error = join_with(&token).await;
    let JoinError::NotReached { attempts } = &error else { panic!("{error:?}") };
    assert_eq!(attempts.len(), 2, "what does not parse is no address: {attempts:?}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(error.to_string().contains("not an address of a transport that is spoken here"), "{error}");
}
