//! A member whose keys were rotated proves itself by its certificate and what led from there to the keys that it has.

use std::sync::Arc;

use weft_discovery::{AdmissionView, Handshake, HandshakeOutcome, Input, Output};
use weft_protocol::limits::ROTATIONS_MAX;
use weft_protocol::{
    Admission, AuthRefusal, Certificate, ChainId, Fact, Hlc, Incarnation, KeyPair, KeyRotation, Recovered, Role,
    RotationFault, Signed, Signer,
};

use crate::handshake::{End, Pair, dialer, joiner, listener, member, nobody};
use crate::world::{Machine, START, admitted, certificate, chain, join_asked, keys, name, node};

fn chain_of(letter: char) -> ChainId {
    ChainId { node: node(letter), incarnation: Incarnation(1) }
}

/// New keys of that node, and what makes them follow the old ones.
fn rotation(letter: char, old: &KeyPair) -> (Arc<KeyPair>, KeyRotation) {
    let (seed, _) = keys(letter).secret_parts();
    let next = Arc::new(KeyPair::generate(*seed));
    let rotation = KeyRotation::new(chain_of(letter), old, &*next);
    (next, rotation)
}

/// Its own keys are rotated while it runs.
fn rotate(machine: &mut Machine, letter: char) -> (Arc<KeyPair>, KeyRotation) {
    let (next, rotation) = rotation(letter, &keys(letter));
    let signer: Arc<dyn Signer> = Arc::clone(&next) as _;
    let boxed = Box::new(rotation.clone());
    let outputs = machine.give(Input::OwnKeysRotated { rotation: boxed, signer, hlc: Hlc::from_wall(START) });
    assert!(outputs.iter().any(|output| matches!(output, Output::PublishView(_))), "what is shown changes at once");
    (next, rotation)
}

fn seen(machine: &mut Machine, letter: char, rotation: &KeyRotation) {
    machine.give(Input::KeysRotated { node: node(letter), rotation: Box::new(rotation.clone()) });
}

fn two() -> (Machine, Machine) {
    let (own_a, own_b) = (certificate('a', 'a', Role::Admin), certificate('a', 'b', Role::Worker));
    let admissions = [own_a.clone(), own_b.clone()];
    (member('a', &own_a, &admissions), member('b', &own_b, &admissions))
}

fn dialer_with(view: Arc<AdmissionView>) -> Handshake {
    let signer = Arc::clone(&view.signer);
    Handshake::dialer_member(view, signer, [1; 32], node('a'))
}

#[test]
fn it_is_let_in_by_keys_that_nobody_has_heard_of_and_by_known_ones() {
    let (mut a, mut b) = two();
    let (next, rotation) = rotate(&mut b, 'b');
    for known in [false, true] {
        if known {
            seen(&mut a, 'b', &rotation);
        }
        let ends = Pair::new(dialer_with(b.discovery.view()), listener(&a, 'a', 2, 'b')).run(nobody);
        let Some(End::Done(HandshakeOutcome::Member { keys, .. })) = ends.1 else { panic!("{known}: {ends:?}") };
        assert_eq!(keys, *next.public_keys());
        assert!(matches!(ends.0, Some(End::Done(_))));
    }
    assert_eq!(a.discovery.keys_of(node('b')), Some(next.public_keys()));
}

#[test]
fn the_old_keys_let_nobody_in_once_the_new_ones_are_known() {
    let (mut a, b) = two();
    let (_, rotation) = rotation('b', &keys('b'));
    let ends = Pair::new(dialer(&b, 'b', 1, 'a'), listener(&a, 'a', 2, 'b')).run(nobody);
    assert!(matches!(ends.1, Some(End::Done(_))));
    seen(&mut a, 'b', &rotation);
    let refusal = AuthRefusal::KeysReplaced;
    let ends = Pair::new(dialer(&b, 'b', 1, 'a'), listener(&a, 'a', 2, 'b')).run(nobody);
    assert_eq!(ends, (Some(End::IsRefused(refusal.clone())), Some(End::Refuses(refusal.clone()))));
    let ends = Pair::new(dialer(&a, 'a', 1, 'b'), listener(&b, 'b', 2, 'a')).run(nobody);
    assert_eq!(ends.0, Some(End::Refuses(refusal)), "nor as a listener");
}

#[test]
fn rotations_that_do_not_lead_to_the_keys_that_prove_are_refused() {
    let (a, mut b) = two();
    let (next, rotation) = rotate(&mut b, 'b');
    let view = b.discovery.view();
    let shown = |rotations: Vec<KeyRotation>, signer: Arc<dyn Signer>| {
        let view = AdmissionView { rotations: Arc::new(rotations), signer, ..(*view).clone() };
        Pair::new(dialer_with(Arc::new(view)), listener(&a, 'a', 2, 'b')).run(nobody).1
    };
    let refuses = |refusal| Some(End::Refuses(refusal));
    assert!(matches!(shown(vec![rotation.clone()], Arc::clone(&next) as _), Some(End::Done(_))));
    assert_eq!(shown(Vec::new(), Arc::clone(&next) as _), refuses(AuthRefusal::BadProof));
    assert_eq!(shown(vec![rotation.clone()], keys('b')), refuses(AuthRefusal::BadProof));
    let twice = vec![rotation.clone(), rotation.clone()];
    let fault = RotationFault::OtherKeys;
    assert_eq!(shown(twice, Arc::clone(&next) as _), refuses(AuthRefusal::BadRotation { fault }));
    let forged = KeyRotation::new(chain_of('b'), &KeyPair::generate([77; 32]), &*next);
    assert_eq!(shown(vec![forged], Arc::clone(&next) as _), refuses(AuthRefusal::BadRotation { fault }));
    let many = vec![rotation; ROTATIONS_MAX + 1];
    assert_eq!(shown(many, next), refuses(AuthRefusal::TooManyRotations));
}

#[test]
fn a_token_from_before_the_rotation_lets_a_joiner_in_and_its_certificate_counts_everywhere() {
    let own_a = certificate('a', 'a', Role::Admin);
    let mut a = member('a', &own_a, std::slice::from_ref(&own_a));
    let token = a.invite(9, 1);
    let (next, rotation) = rotate(&mut a, 'a');
    let ticket = crate::world::ticket(&a.give(join_asked(1, &token, 'b')));
    let admission = crate::world::admission(&a.give(Input::Recorded { ticket }));
    let certificate: Certificate = admission.certificate.verify(next.public_keys()).expect("signed by the new keys");
    assert_eq!(certificate.name, name('b'));

    let listening = || Handshake::listener(a.discovery.view(), Arc::clone(&next) as _, [2; 32], node('b'));
    let ends = Pair::new(joiner(&token, 'b', 1, 'a'), listening()).run(|_| Ok((*admission).clone()));
    assert_eq!(ends.0, Some(End::Done(HandshakeOutcome::Admitted(admission.clone()))));
    // Without the rotation nobody could tell that these keys may admit.
    let bare = Admission { rotations: Vec::new(), ..(*admission).clone() };
    let ends = Pair::new(joiner(&token, 'b', 1, 'a'), listening()).run(|_| Ok(bare.clone()));
    assert_eq!(ends.0, Some(End::Refuses(AuthRefusal::ForgedCertificate)));

    // A third one believes it once it holds the rotation.
    let own_c = crate::world::certificate('a', 'c', Role::Worker);
    let mut c = member('c', &own_c, std::slice::from_ref(&own_a));
    let judge = |c: &Machine| c.discovery.view().judge_member(node('b'), &admission.certificate, START);
    assert_eq!(judge(&c), Err(AuthRefusal::ForgedCertificate));
    seen(&mut c, 'a', &rotation);
    assert!(judge(&c).is_ok());
}

#[test]
fn after_a_start_the_same_is_known_from_the_chains_in_any_order() {
    let own_a = certificate('a', 'a', Role::Admin);
    let (next, first) = rotation('a', &keys('a'));
    let by_new = |subject: char| -> Signed<Certificate> {
        let certificate = Certificate { issued: START, ..certificate('a', subject, Role::Worker).peek().unwrap() };
        Signed::new(&certificate, &*next)
    };
    let facts = vec![admitted(&own_a), Fact::KeyRotated(Box::new(first)), admitted(&by_new('b'))];
    let mut reversed = facts.clone();
    reversed.reverse();
    let own_c = certificate('a', 'c', Role::Worker);
    for facts in [facts, reversed] {
        let recovered = Recovered { chains: vec![chain('a', facts)], ..Recovered::default() };
        let machine = Machine::start('c', own_c.clone(), &recovered);
        assert!(machine.discovery.role_of(node('b')).is_some());
        assert_eq!(machine.discovery.keys_of(node('a')), Some(next.public_keys()));
        assert_eq!(machine.discovery.all_keys_of(node('a')).len(), 2);
    }
}

#[test]
fn a_renewed_certificate_names_the_keys_of_today_and_needs_no_rotation_beside_it() {
    let own_a = certificate('a', 'a', Role::Admin);
    let ending = crate::world::certificate_with('a', 'b', Role::Worker, |certificate| {
        certificate.not_after = Some(START.after_us(64_000_000));
    });
    let admissions = [own_a.clone(), ending.clone()];
    let (mut a, mut b) = (member('a', &own_a, &admissions), member('b', &ending, &admissions));
    let (next, rotation) = rotate(&mut b, 'b');
    seen(&mut a, 'b', &rotation);
    assert_eq!(b.discovery.view().rotations.len(), 1);

    a.wait(32_000_000);
    let outputs = a.give(Input::Woken);
    let renewed = outputs.iter().find_map(|output| match output {
        Output::Record { facts, .. } => match facts.as_slice() {
            [Fact::Admitted(admitted)] => Some(admitted.certificate.clone()),
            _ => None,
        },
        _ => None,
    });
    let renewed = renewed.expect("it is renewed");
    assert_eq!(renewed.peek().unwrap().keys, *next.public_keys());
    a.give(Input::Recorded { ticket: crate::world::ticket(&outputs) });
    b.give(Input::AdmissionSeen { issuer: node('a'), certificate: Box::new(renewed.clone()), invite: None });
    let view = b.discovery.view();
    assert_eq!((view.certificate.digest(), view.rotations.len()), (renewed.digest(), 0));
    let ends = Pair::new(dialer_with(view), listener(&a, 'a', 2, 'b')).run(nobody);
    assert!(matches!(ends, (Some(End::Done(_)), Some(End::Done(_)))), "{ends:?}");
    // Whoever does not know yet that these keys follow those it knows believes no admin about them.
    let stranger = member('a', &own_a, &admissions);
    let judged = stranger.discovery.view().judge_member(node('b'), &renewed, START);
    assert_eq!(judged, Err(AuthRefusal::OtherKeys));
}
