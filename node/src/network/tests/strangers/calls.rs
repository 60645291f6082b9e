//! What strangers say when they dial: nonsense, certificates, proofs and invites.

use std::sync::Arc;

use serde_bytes::ByteBuf;
use weft_protocol::limits::{AUTH_FRAME_BYTES_MAX, ROTATIONS_MAX};
use weft_protocol::{
    AuthFrame, AuthRefusal, DualSignature, Hello, Join, KeyPair, KeyRotation, Role, RotationFault, Signer as _,
    WIRE_VERSION, encode, hash,
};

use super::super::cluster::Member;
use super::case::{Alter, Answer, Call, Case, Way};
use super::forge::{Mixed, altered, with_ed25519_alone, with_mldsa65_alone};
use super::line::PREFACE;
use super::scene::{EXPIRED, GOOD, REVOKED, Scene, USED_UP, chain_of};

fn refused(name: &'static str, way: Way, refusal: AuthRefusal) -> Case {
    Case { name, way, expected: Answer::Refused(refusal) }
}

fn call(name: &'static str, call: Call, refusal: AuthRefusal) -> Case {
    refused(name, Way::Call(Box::new(call)), refusal)
}

/// Bytes that are no handshake, and frames that have no place where they come.
pub(super) fn nonsense(scene: &Scene) -> Vec<Case> {
    let framed = |body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [PREFACE, length.as_slice(), body].concat()
    };
    let raw = |name, bytes, refusal| refused(name, Way::Raw(bytes), refusal);
    let oversize = [PREFACE, &u32::try_from(AUTH_FRAME_BYTES_MAX + 1).unwrap().to_be_bytes()].concat();
    let accepted = encode(&AuthFrame::Accepted);
    let trailing = [accepted.clone(), vec![0]].concat();
    let join = Join { secret: [GOOD; 16].into(), name: "gamma".parse().unwrap() };
    let proof = scene.worker.keys.sign("auth", &hash("nothing", &[]));
    let max = AUTH_FRAME_BYTES_MAX as u64;
    let of_worker = || Call::new(&scene.worker.keys, scene.hello(scene.worker.certificate.clone()));
    let of_joiner = || joiner(scene, &scene.stranger, GOOD, "gamma");
    let said_twice = Call { then: vec![Some(AuthFrame::Hello(Box::new(of_worker().hello)))], ..of_worker() };
    let no_proof = Call { then: vec![Some(AuthFrame::Join(join.clone()))], ..of_joiner() };
    let proof_twice = Call { then: vec![None, None], ..of_joiner() };
    vec![
        raw("another protocol", b"\x13/multistream/1.0.0\n\x20/meshsub/1.1.0\n".into(), AuthRefusal::OtherProtocol),
        raw("a frame above the bound", oversize, AuthRefusal::FrameTooLarge { max }),
        raw("a frame that is no CBOR", framed(b"\xff\xff"), AuthRefusal::UnreadableFrame),
        raw("a frame with a byte too many", framed(&trailing), AuthRefusal::UnreadableFrame),
        raw("a verdict first", framed(&accepted), AuthRefusal::Protocol),
        raw("a proof first", framed(&encode(&AuthFrame::Proof(proof))), AuthRefusal::Protocol),
        raw("a secret first", framed(&encode(&AuthFrame::Join(join))), AuthRefusal::Protocol),
        call("a second hello in place of the proof", said_twice, AuthRefusal::Protocol),
        call("a secret in place of the proof", no_proof, AuthRefusal::Protocol),
        call("a second proof in place of the secret", proof_twice, AuthRefusal::Protocol),
    ]
}

/// Certificates that are bad, expired, stolen, foreign or half signed.
pub(super) fn certificates(scene: &Scene) -> Vec<Case> {
    let Scene { worker, stranger, other, foreign, .. } = scene;
    let own = stranger.public_keys();
    let shown = |name, keys: &Arc<KeyPair>, certificate, refusal| {
        call(name, Call::new(keys, scene.hello(certificate)), refusal)
    };
    let changed = |name, change: fn(&mut Hello), refusal| {
        let mut hello = scene.hello(worker.certificate.clone());
        change(&mut hello);
        call(name, Call::new(&worker.keys, hello), refusal)
    };
    let (ours, theirs) = (scene.cluster.charter.cluster_id(), foreign.charter.cluster_id());
    let (our_rules, other_rules) = (scene.cluster.charter.rules_hash(), hash("rules", &[b"other"]));
    let by_founder = |signer: &dyn weft_protocol::Signer| scene.certificate(own, signer, |_| {});
    let by = |issuer: &Member| scene.certificate(own, &*issuer.keys, |it| it.issuer = issuer.node());
    let self_signed = scene.certificate(own, &**stranger, |it| (it.role, it.issuer) = (Role::Admin, own.node()));
    let of_foreign_founder = scene.certificate(own, &*foreign.founder.keys, |it| it.issuer = foreign.founder.node());
    let of_foreign_cluster = scene.certificate(own, &**scene.founder(), |it| it.cluster = theirs);
    let thief = Arc::new(scene.next_keys_of(worker));
    let of_thief = scene.certificate(thief.public_keys(), &*scene.second.keys, |it| it.issuer = scene.second.node());
    let mut other_cluster = scene.hello(worker.certificate.clone());
    other_cluster.cluster = theirs;
    let promoted = altered(&by_founder(&**scene.founder()), |bytes, _| {
        let place = bytes.windows(6).position(|part| part == b"worker").unwrap();
        bytes[place..place + 6].copy_from_slice(b"admin2");
    });
    let renamed = altered(&by_founder(&**scene.founder()), |bytes, _| {
        let place = bytes.windows(8).position(|part| part == b"somebody").unwrap();
        bytes[place..place + 8].copy_from_slice(b"everyone");
    });
    let unsealed = altered(&by_founder(&**scene.founder()), |_, signature| signature.mldsa65 = ByteBuf::new());
    let zeroed = altered(&by_founder(&**scene.founder()), |_, signature| signature.ed25519 = [0; 64].into());
    let former = scene.certificate(own, &*scene.former.keys, |it| it.issuer = scene.former.node());
    let late = scene.certificate(own, &**scene.founder(), |it| it.not_after = Some(scene.now));
    let founder_again = scene.cluster.founder.certificate.clone();
    let foreign_of = |member: &Member| AuthRefusal::ForeignCertificate { of: member.node() };
    vec![
        changed(
            "another version of the wire",
            |hello| hello.wire = 9,
            AuthRefusal::WireVersion { ours: WIRE_VERSION, theirs: 9 },
        ),
        call(
            "a member of another cluster",
            Call::new(&worker.keys, other_cluster),
            AuthRefusal::WrongCluster { ours, theirs },
        ),
        changed("a member without rules", |hello| hello.rules = None, AuthRefusal::NoRules),
        changed(
            "a member under other rules",
            |hello| hello.rules = Some(hash("rules", &[b"other"])),
            AuthRefusal::WrongRules { ours: our_rules, theirs: other_rules },
        ),
        shown(
            "a certificate that is no CBOR",
            stranger,
            altered(&by_founder(&**scene.founder()), |bytes, _| bytes.truncate(40)),
            AuthRefusal::UnreadableCertificate,
        ),
        shown("a certificate with a role that is none", stranger, promoted, AuthRefusal::UnreadableCertificate),
        shown("a stolen certificate", stranger, worker.certificate.clone(), foreign_of(worker)),
        shown("the founder's certificate, stolen", stranger, founder_again.clone(), foreign_of(&scene.cluster.founder)),
        shown("the node's own keys, stolen", scene.founder(), founder_again, AuthRefusal::OwnKey),
        shown(
            "a certificate for another cluster",
            stranger,
            of_foreign_cluster,
            AuthRefusal::WrongCluster { ours, theirs },
        ),
        shown("an evicted member", &scene.gone.keys, scene.gone.certificate.clone(), AuthRefusal::Evicted),
        shown("a quarantined member", &scene.forker.keys, scene.forker.certificate.clone(), AuthRefusal::Quarantined),
        shown(
            "a member's Ed25519 key with an admin's word for another ML-DSA-65 key",
            &thief,
            of_thief,
            AuthRefusal::OtherKeys,
        ),
        shown("a certificate that its holder signed", stranger, self_signed, AuthRefusal::UnknownIssuer),
        shown("a certificate by a foreign founder", stranger, of_foreign_founder, AuthRefusal::UnknownIssuer),
        shown("a certificate by a worker", stranger, by(worker), AuthRefusal::IssuerNoAdmin),
        shown("a certificate by a quarantined admin", stranger, by(&scene.forker), AuthRefusal::IssuerCutOff),
        shown("a certificate by somebody who was an admin", stranger, former, AuthRefusal::IssuerExpired),
        shown("a certificate in the founder's name", stranger, by_founder(&**stranger), AuthRefusal::ForgedCertificate),
        shown("a certificate with another name in it", stranger, renamed, AuthRefusal::ForgedCertificate),
        shown("a certificate with an Ed25519 signature of zeros", stranger, zeroed, AuthRefusal::ForgedCertificate),
        shown(
            "a certificate with the founder's ML-DSA-65 signature alone",
            stranger,
            by_founder(&*with_mldsa65_alone(scene.founder(), other)),
            AuthRefusal::ForgedCertificate,
        ),
        shown(
            "a certificate with the founder's Ed25519 signature alone",
            stranger,
            by_founder(&*with_ed25519_alone(scene.founder(), other)),
            AuthRefusal::HalfCertificate,
        ),
        shown("a certificate without an ML-DSA-65 signature", stranger, unsealed, AuthRefusal::HalfCertificate),
        shown("a certificate that expired", stranger, late, AuthRefusal::CertificateExpired),
        shown(
            "keys that were rotated away",
            &scene.rotated.keys,
            scene.rotated.certificate.clone(),
            AuthRefusal::KeysReplaced,
        ),
    ]
}

/// Rotations of keys that lead nowhere.
pub(super) fn rotations(scene: &Scene) -> Vec<Case> {
    let Scene { worker, other, stranger, .. } = scene;
    let next = Arc::new(scene.next_keys_of(worker));
    let chain = chain_of(worker.node());
    let good = KeyRotation::new(chain, &*worker.keys, &*next);
    let with = |name, rotation: KeyRotation, fault| {
        let hello = Hello { rotations: vec![rotation], ..scene.hello(worker.certificate.clone()) };
        let call = Call { signer: Arc::clone(&next) as _, ..Call::new(&worker.keys, hello) };
        self::call(name, call, AuthRefusal::BadRotation { fault })
    };
    let mixed = |public: &Arc<KeyPair>, ed25519: &Arc<KeyPair>, mldsa65: &Arc<KeyPair>| Mixed {
        public: public.public_keys().clone(),
        ed25519: Arc::clone(ed25519),
        mldsa65: Arc::clone(mldsa65),
    };
    let cut = KeyRotation { rotation: altered(&good.rotation, |bytes, _| bytes.truncate(40)), ..good.clone() };
    let many = Hello { rotations: vec![good.clone(); ROTATIONS_MAX + 1], ..scene.hello(worker.certificate.clone()) };
    let by_nobody = KeyRotation::new(chain, &*next, &scene.next_keys_of(worker));
    let old = |signer: Mixed| KeyRotation::new(chain, &signer, &*next);
    let new = |signer: Mixed| KeyRotation::new(chain, &*worker.keys, &signer);
    vec![
        call("nine rotations", Call::new(&worker.keys, many), AuthRefusal::TooManyRotations),
        with("a rotation that is no CBOR", cut, RotationFault::Unreadable),
        with("a rotation of other keys than the certificate's", by_nobody, RotationFault::OtherKeys),
        with(
            "a rotation to the keys of somebody else",
            KeyRotation::new(chain, &*worker.keys, &**stranger),
            RotationFault::NotNew,
        ),
        with(
            "a rotation on the chain of somebody else",
            KeyRotation::new(chain_of(stranger.public_keys().node()), &*worker.keys, &*next),
            RotationFault::OtherChain,
        ),
        with(
            "a rotation without the old Ed25519 key",
            old(mixed(&worker.keys, other, &worker.keys)),
            RotationFault::OldEd25519,
        ),
        with(
            "a rotation without the old ML-DSA-65 key",
            old(mixed(&worker.keys, &worker.keys, other)),
            RotationFault::OldMlDsa65,
        ),
        with("a rotation without the Ed25519 key's yes", new(mixed(&next, other, &next)), RotationFault::NewEd25519),
        with(
            "a rotation without the new ML-DSA-65 key's yes",
            new(mixed(&next, &next, other)),
            RotationFault::NewMlDsa65,
        ),
    ]
}

/// Proofs of keys that their holder does not hold.
pub(super) fn proofs(scene: &Scene, overheard: DualSignature) -> Vec<Case> {
    let Scene { worker, other, stranger, .. } = scene;
    let of_worker = || Call::new(&worker.keys, scene.hello(worker.certificate.clone()));
    let by = |signer| Call { signer, ..of_worker() };
    let altered = |alter: Alter| Call { alter, ..of_worker() };
    let thief = Arc::new(scene.next_keys_of(worker));
    let half_joiner = Call { signer: with_ed25519_alone(stranger, other), ..joiner(scene, stranger, GOOD, "gamma") };
    let forged_joiner = Call { signer: with_mldsa65_alone(stranger, other), ..joiner(scene, stranger, GOOD, "gamma") };
    vec![
        call(
            "a proof from another connection",
            altered(Box::new(move |_, _| overheard.clone())),
            AuthRefusal::BadProof,
        ),
        call("the node's own proof sent back", altered(Box::new(|_, theirs| theirs.clone())), AuthRefusal::BadProof),
        call("a proof by a stolen Ed25519 key and a new ML-DSA-65 key", by(thief as _), AuthRefusal::BadProof),
        call("a proof by the ML-DSA-65 key alone", by(with_mldsa65_alone(&worker.keys, other)), AuthRefusal::BadProof),
        call("a proof by the Ed25519 key alone", by(with_ed25519_alone(&worker.keys, other)), AuthRefusal::HalfProof),
        call(
            "a proof without an ML-DSA-65 signature",
            altered(Box::new(|proof, _| DualSignature { mldsa65: ByteBuf::new(), ..proof })),
            AuthRefusal::HalfProof,
        ),
        call("a joiner without its Ed25519 key", forged_joiner, AuthRefusal::BadProof),
        call("a joiner without its ML-DSA-65 key", half_joiner, AuthRefusal::HalfProof),
    ]
}

/// Invites that are unknown, spent, over, or somebody else's.
pub(super) fn invites(scene: &Scene) -> Vec<Case> {
    let Scene { worker, stranger, .. } = scene;
    let thief = Arc::new(scene.next_keys_of(worker));
    let with = |name, secret, refusal| call(name, joiner(scene, stranger, secret, "gamma"), refusal);
    let mut guessed = joiner(scene, stranger, GOOD, "gamma");
    guessed.then = vec![None, Some(AuthFrame::Join(Join { secret: [77; 16].into(), name: "gamma".parse().unwrap() }))];
    let mut borrowed = joiner(scene, stranger, GOOD, "gamma");
    borrowed.keys = Arc::clone(&scene.other);
    let of = stranger.public_keys().node();
    let taken = AuthRefusal::NameTaken { name: "worker".parse().unwrap() };
    vec![
        with("an invite that was never made", 99, AuthRefusal::UnknownInvite),
        with("an invite that expired", EXPIRED, AuthRefusal::InviteExpired),
        with("an invite that was revoked", REVOKED, AuthRefusal::InviteRevoked),
        with("a token that somebody else used before", USED_UP, AuthRefusal::InviteUsedUp),
        call("a guessed secret", guessed, AuthRefusal::WrongSecret),
        call("a member's name", joiner(scene, stranger, GOOD, "worker"), taken),
        call("a joiner with the keys of somebody else", borrowed, AuthRefusal::ForeignKeys { of }),
        call("a joiner with the node's own key", joiner(scene, scene.founder(), GOOD, "gamma"), AuthRefusal::OwnKey),
        call("a joiner that was evicted", joiner(scene, &scene.gone.keys, GOOD, "gamma"), AuthRefusal::Evicted),
        call(
            "a joiner that is quarantined",
            joiner(scene, &scene.forker.keys, GOOD, "gamma"),
            AuthRefusal::Quarantined,
        ),
        call("a member's Ed25519 key with a token", joiner(scene, &thief, GOOD, "gamma"), AuthRefusal::OtherKeys),
    ]
}

/// Who is let in: without them the others might be refused for no reason.
pub(super) fn good(scene: &Scene) -> Vec<Case> {
    let worker = Call::new(&scene.worker.keys, scene.hello(scene.worker.certificate.clone()));
    let accepted = |name, call| Case { name, way: Way::Call(Box::new(call)), expected: Answer::Accepted };
    vec![
        accepted("(a member)", worker),
        accepted("(a joiner)", joiner(scene, &Arc::new(super::super::cluster::new_keys()), GOOD, "delta")),
    ]
}

fn joiner(scene: &Scene, keys: &Arc<KeyPair>, secret: u8, name: &str) -> Call {
    let join = Join { secret: [secret; 16].into(), name: name.parse().unwrap() };
    let hello = scene.hello_of_joiner(secret, keys.public_keys());
    Call { then: vec![None, Some(AuthFrame::Join(join))], ..Call::new(keys, hello) }
}
