//! What strangers say when they are dialled: as an inviter to whoever joins, as a member to the node.

use std::sync::Arc;

use weft_protocol::{
    Admission, AuthFrame, AuthRefusal, Charter, Hello, KeyPair, KeyRotation, Role, RotationFault, Signed, Signer as _,
    WIRE_VERSION, hash,
};

use super::case::{Answer, Case, Lie, Way};
use super::forge::{altered, with_ed25519_alone, with_mldsa65_alone};
use super::scene::{Scene, chain_of};

/// Whoever holds the inviter's Ed25519 key, or answers in its name, and what a joiner with these keys makes of it.
pub(super) fn inviters(scene: &Scene, joiner: &Arc<KeyPair>) -> Vec<Case> {
    let (founder, other) = (&scene.cluster.founder, &scene.other);
    let case =
        |name, lie: Lie, refusal| Case { name, way: Way::Inviter(Box::new(lie)), expected: Answer::Refused(refusal) };
    let hello = || scene.hello(founder.certificate.clone());
    let lie = |change: &dyn Fn(&mut Hello)| {
        let mut hello = hello();
        change(&mut hello);
        Lie::new(&founder.keys, hello)
    };
    let (ours, theirs) = (scene.cluster.charter.cluster_id(), scene.foreign.charter.cluster_id());
    let certified = |change: &dyn Fn(&mut weft_protocol::Certificate)| {
        scene.certificate(founder.keys.public_keys(), &*founder.keys, |it| {
            (it.role, it.name) = (Role::Admin, founder.name.clone());
            change(it);
        })
    };
    let unreadable = altered(&founder.certificate, |bytes, _| bytes.truncate(40));
    let thief = Arc::new(scene.next_keys_of(founder));
    let of_thief = scene.certificate(thief.public_keys(), &*thief, |it| it.role = Role::Admin);
    let by_nobody = KeyRotation::new(chain_of(founder.node()), &*thief, &scene.next_keys_of(founder));
    let good = KeyRotation::new(chain_of(founder.node()), &*founder.keys, &*thief);
    let signed = |signer| Lie { signer, ..lie(&|_| {}) };
    let admitting = |change: &dyn Fn(&mut Admission)| {
        let mut admission = scene.cluster.admission(joiner.public_keys(), &"gamma".parse().unwrap());
        change(&mut admission);
        let verdict = Some(AuthFrame::Admitted(Box::new(admission)));
        Lie { verdict, may_hear_the_secret: true, ..lie(&|_| {}) }
    };
    let given = |signer: &KeyPair, change: &dyn Fn(&mut weft_protocol::Certificate)| {
        scene.certificate(joiner.public_keys(), signer, change)
    };
    let keys = &*founder.keys;
    let other_rules = Charter { rules: b"others".to_vec().into(), ..(*scene.cluster.charter).clone() };
    let with_other_rules = other_rules.cluster_id();
    let mut lying_about_rules = admitting(&|_| {});
    lying_about_rules.hello.rules = Some(hash("rules", &[b"other"]));
    let unread = |signed: &Signed<_>| altered(signed, |bytes: &mut Vec<u8>, _| bytes.truncate(40));
    vec![
        case(
            "an inviter of another version",
            lie(&|hello| hello.wire = 9),
            AuthRefusal::WireVersion { ours: WIRE_VERSION, theirs: 9 },
        ),
        case(
            "an inviter of another cluster",
            lie(&|hello| hello.cluster = theirs),
            AuthRefusal::WrongCluster { ours, theirs },
        ),
        case(
            "an inviter that is no member",
            {
                let hello = scene.hello_of_joiner(1, keys.public_keys());
                Lie::new(&founder.keys, hello)
            },
            AuthRefusal::NotAMember,
        ),
        case("an inviter without rules", lie(&|hello| hello.rules = None), AuthRefusal::NoRules),
        case(
            "an inviter with a certificate that is no CBOR",
            Lie::new(&founder.keys, scene.hello(unreadable)),
            AuthRefusal::UnreadableCertificate,
        ),
        case(
            "an inviter with a certificate for another cluster",
            Lie::new(&founder.keys, scene.hello(certified(&|it| it.cluster = theirs))),
            AuthRefusal::WrongCluster { ours, theirs },
        ),
        case(
            "an inviter with a stolen certificate",
            Lie::new(&founder.keys, scene.hello(scene.worker.certificate.clone())),
            AuthRefusal::ForeignCertificate { of: scene.worker.node() },
        ),
        case(
            "an inviter with nine rotations",
            lie(&|hello| hello.rotations = vec![good.clone(); 9]),
            AuthRefusal::TooManyRotations,
        ),
        case(
            "an inviter with a rotation of other keys",
            lie(&|hello| hello.rotations = vec![by_nobody.clone()]),
            AuthRefusal::BadRotation { fault: RotationFault::OtherKeys },
        ),
        case(
            "an inviter with the pinned Ed25519 key alone",
            Lie::new(&thief, scene.hello(of_thief)),
            AuthRefusal::NotTheInvitersKey,
        ),
        case(
            "an inviter that proves its ML-DSA-65 key alone",
            signed(with_mldsa65_alone(&founder.keys, other)),
            AuthRefusal::BadProof,
        ),
        case(
            "an inviter that proves its Ed25519 key alone",
            signed(with_ed25519_alone(&founder.keys, other)),
            AuthRefusal::HalfProof,
        ),
        case(
            "an inviter that accepts a joiner as a member",
            Lie { verdict: Some(AuthFrame::Accepted), ..admitting(&|_| {}) },
            AuthRefusal::Protocol,
        ),
        case(
            "an admission to another cluster",
            admitting(&|admission| admission.charter = (*scene.foreign.charter).clone()),
            AuthRefusal::WrongCluster { ours, theirs },
        ),
        case(
            "an admission under other genesis rules",
            admitting(&|admission| admission.charter = other_rules.clone()),
            AuthRefusal::WrongCluster { ours, theirs: with_other_rules },
        ),
        case(
            "an admission under other rules than those of the hello",
            lying_about_rules,
            AuthRefusal::WrongRules { ours: hash("rules", &[b"other"]), theirs: scene.cluster.charter.rules_hash() },
        ),
        case(
            "an admission that is no CBOR",
            admitting(&|admission| admission.certificate = unread(&admission.certificate)),
            AuthRefusal::UnreadableCertificate,
        ),
        case(
            "an admission of somebody else",
            admitting(&|admission| admission.certificate = scene.worker.certificate.clone()),
            AuthRefusal::AdmissionOfAnother,
        ),
        case(
            "an admission with 65 certificates",
            admitting(&|admission| admission.members = vec![founder.certificate.clone(); 65]),
            AuthRefusal::AdmissionTooLarge,
        ),
        case(
            "an admission with the founder's Ed25519 signature alone",
            admitting(&|admission| {
                let half = with_ed25519_alone(&founder.keys, other);
                admission.certificate = scene.certificate(joiner.public_keys(), &*half, |_| {});
            }),
            AuthRefusal::ForgedCertificate,
        ),
        case(
            "an admission by an admin that nobody vouches for",
            admitting(&|admission| {
                admission.certificate = given(&scene.second.keys, &|it| it.issuer = scene.second.node());
            }),
            AuthRefusal::UnknownIssuer,
        ),
        case(
            "an admission that expired",
            admitting(&|admission| admission.certificate = given(keys, &|it| it.not_after = Some(scene.now))),
            AuthRefusal::CertificateExpired,
        ),
    ]
}

/// Whoever answers at the address of a member that the node dials.
pub(super) fn members(scene: &Scene) -> Vec<Case> {
    let (worker, other) = (&scene.worker, &scene.other);
    let case =
        |name, lie: Lie, refusal| Case { name, way: Way::Member(Box::new(lie)), expected: Answer::Refused(refusal) };
    let hello = |change: &dyn Fn(&mut Hello)| {
        let mut hello = scene.hello(worker.certificate.clone());
        change(&mut hello);
        Lie::new(&worker.keys, hello)
    };
    let (ours, theirs) = (scene.cluster.charter.cluster_id(), scene.foreign.charter.cluster_id());
    let late = scene.certificate(worker.keys.public_keys(), &**scene.founder(), |it| {
        (it.name, it.not_after) = (worker.name.clone(), Some(scene.now));
    });
    let admission = scene.cluster.admission(worker.keys.public_keys(), &worker.name);
    vec![
        case(
            "a member dialled, of another version",
            hello(&|hello| hello.wire = 9),
            AuthRefusal::WireVersion { ours: WIRE_VERSION, theirs: 9 },
        ),
        case(
            "a member dialled, of another cluster",
            hello(&|hello| hello.cluster = theirs),
            AuthRefusal::WrongCluster { ours, theirs },
        ),
        case("a member dialled, without rules", hello(&|hello| hello.rules = None), AuthRefusal::NoRules),
        case(
            "a member dialled, that shows an invite",
            hello(&|hello| hello.credential = scene.hello_of_joiner(1, worker.keys.public_keys()).credential),
            AuthRefusal::NotAMember,
        ),
        case(
            "a member dialled, with a certificate that expired",
            Lie::new(&worker.keys, scene.hello(late)),
            AuthRefusal::CertificateExpired,
        ),
        case(
            "a member dialled, by its ML-DSA-65 key alone",
            Lie { signer: with_mldsa65_alone(&worker.keys, other), ..hello(&|_| {}) },
            AuthRefusal::BadProof,
        ),
        case(
            "a member dialled, by its Ed25519 key alone",
            Lie { signer: with_ed25519_alone(&worker.keys, other), ..hello(&|_| {}) },
            AuthRefusal::HalfProof,
        ),
        case(
            "a member dialled, that admits in place of accepting",
            Lie { verdict: Some(AuthFrame::Admitted(Box::new(admission))), ..hello(&|_| {}) },
            AuthRefusal::Protocol,
        ),
    ]
}
