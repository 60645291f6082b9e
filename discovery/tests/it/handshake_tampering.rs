//! A liar in the middle: frames reordered, replayed, borrowed from another connection or changed never let anybody in.

use std::sync::{Arc, LazyLock};

use weft_discovery::{Handshake, Step};
use weft_protocol::{Admission, AuthFrame, AuthRefusal, Charter, Credential, KeyPair, Role, Signer, Token};

use crate::handshake::{End, Pair, dialer, inviting, joiner, listener, member, nobody};
use crate::world::{Machine, START, certificate, certificate_with, charter_of, keys, node, public};

/// Two members, and `c`, a member too, that would like to be somebody else.
fn members() -> (Machine, Machine, Machine) {
    let own = |letter, role| certificate('a', letter, role);
    let all = [own('a', Role::Admin), own('b', Role::Worker), own('c', Role::Worker)];
    let mut members = ['a', 'b', 'c'].into_iter().zip(&all).map(|(letter, own)| member(letter, own, &all));
    (members.next().unwrap(), members.next().unwrap(), members.next().unwrap())
}

/// Everything both sides of one good connection between `b` and `a` say.
fn overheard(nonces: (u8, u8)) -> (Vec<AuthFrame>, Vec<AuthFrame>) {
    let (a, b, _) = members();
    let mut pair = Pair::new(dialer(&b, 'b', nonces.0, 'a'), listener(&a, 'a', nonces.1, 'b'));
    let ends = pair.run(nobody);
    assert!(matches!(ends, (Some(End::Done(_)), Some(End::Done(_)))));
    (pair.by_dialer, pair.by_listener)
}

/// The good connection that all others are compared with.
static FIRST: LazyLock<(Vec<AuthFrame>, Vec<AuthFrame>)> = LazyLock::new(|| overheard((1, 2)));

/// What was ever said to or by anybody: this connection's frames, those of others, and a joiner's.
fn all_frames() -> Vec<AuthFrame> {
    let (by_dialer, by_listener) = FIRST.clone();
    let (other_dialer, other_listener) = overheard((3, 4));
    let (mut machine, token) = inviting();
    let (admission, _) = machine.admit(1, &token, 'b');
    let mut pair = Pair::new(joiner(&token, 'b', 5, 'a'), listener(&machine, 'a', 6, 'b'));
    pair.run(|_| Ok((*admission).clone()));
    let refused = vec![AuthFrame::Refused(AuthRefusal::NotReady)];
    [by_dialer, by_listener, other_dialer, other_listener, pair.by_dialer, pair.by_listener, refused].concat()
}

fn is_closed(step: &Step) -> bool {
    matches!(step, Step::Refuse { .. } | Step::Refused(_))
}

#[test]
fn a_member_that_listens_takes_each_frame_only_in_its_place() {
    let (right, _) = &*FIRST;
    let [hello, _] = right.as_slice() else { panic!("{right:?}") };
    let (a, _, _) = members();
    for wrong in all_frames() {
        let fresh = || listener(&a, 'a', 2, 'b');
        if !matches!(wrong, AuthFrame::Hello(_)) {
            assert!(is_closed(&fresh().frame_arrived(wrong.clone(), START)), "first {wrong:?}");
        }
        let mut greeted = fresh();
        assert!(matches!(greeted.frame_arrived(hello.clone(), START), Step::Send(_)));
        // The nonces are those of the first connection, so its proof, and only that one, is right.
        let step = greeted.frame_arrived(wrong.clone(), START);
        assert_eq!(matches!(step, Step::Done { .. }), wrong == right[1], "second {wrong:?}");
        assert!(is_closed(&greeted.frame_arrived(right[1].clone(), START)), "after its end nothing is taken");
    }
}

#[test]
fn a_member_that_dials_takes_each_frame_only_in_its_place() {
    let (_, right) = &*FIRST;
    let [hello, proof, accepted] = right.as_slice() else { panic!("{right:?}") };
    let (_, b, _) = members();
    for wrong in all_frames() {
        let mut first = dialer(&b, 'b', 1, 'a');
        let step = first.frame_arrived(wrong.clone(), START);
        // A hello of `a` on another connection is well formed; it fails where its proof would be due.
        let of_listener = matches!(&wrong, AuthFrame::Hello(wrong) if wrong.credential == credential(hello));
        assert_eq!(is_closed(&step), !of_listener, "first {wrong:?}");

        let mut second = dialer(&b, 'b', 1, 'a');
        second.frame_arrived(hello.clone(), START);
        let step = second.frame_arrived(wrong.clone(), START);
        assert_eq!(is_closed(&step), wrong != *proof, "second {wrong:?}");

        let mut third = dialer(&b, 'b', 1, 'a');
        third.frame_arrived(hello.clone(), START);
        third.frame_arrived(proof.clone(), START);
        let step = third.frame_arrived(wrong.clone(), START);
        assert_eq!(is_closed(&step), wrong != *accepted, "third {wrong:?}");
    }
}

fn credential(frame: &AuthFrame) -> Credential {
    let AuthFrame::Hello(hello) = frame else { panic!("{frame:?}") };
    hello.credential.clone()
}

#[test]
fn a_joiner_takes_each_frame_only_in_its_place() {
    let (mut machine, token) = inviting();
    let (admission, _) = machine.admit(1, &token, 'b');
    let mut pair = Pair::new(joiner(&token, 'b', 1, 'a'), listener(&machine, 'a', 2, 'b'));
    pair.run(|_| Ok((*admission).clone()));
    let [hello, proof, _] = pair.by_listener.as_slice() else { panic!("{:?}", pair.by_listener) };
    for wrong in [all_frames(), pair.by_listener.clone()].concat() {
        let mut second = joiner(&token, 'b', 1, 'a');
        second.frame_arrived(hello.clone(), START);
        assert_eq!(is_closed(&second.frame_arrived(wrong.clone(), START)), wrong != *proof, "second {wrong:?}");

        let mut third = joiner(&token, 'b', 1, 'a');
        third.frame_arrived(hello.clone(), START);
        third.frame_arrived(proof.clone(), START);
        // Every admission of `b` to this cluster by this inviter is good, whenever it was given.
        let done = matches!(third.frame_arrived(wrong.clone(), START), Step::Done { .. });
        assert_eq!(done, matches!(wrong, AuthFrame::Admitted(_)), "third {wrong:?}");
    }
}

#[test]
fn an_inviter_takes_a_joiners_frames_only_in_their_place() {
    let (machine, token) = inviting();
    let mut pair = Pair::new(joiner(&token, 'b', 1, 'a'), listener(&machine, 'a', 2, 'b'));
    pair.run(|_| Err(AuthRefusal::NotReady));
    let [hello, proof, join] = pair.by_dialer.as_slice() else { panic!("{:?}", pair.by_dialer) };
    for wrong in [all_frames(), pair.by_dialer.clone()].concat() {
        let mut third = listener(&machine, 'a', 2, 'b');
        third.frame_arrived(hello.clone(), START);
        third.frame_arrived(proof.clone(), START);
        let step = third.frame_arrived(wrong.clone(), START);
        assert_eq!(is_closed(&step), !matches!(wrong, AuthFrame::Join(_)), "third {wrong:?}");
    }
    // While discovery decides, nothing more may come; and nobody is asked before the proof.
    let mut asking = listener(&machine, 'a', 2, 'b');
    asking.frame_arrived(hello.clone(), START);
    asking.frame_arrived(proof.clone(), START);
    assert!(matches!(asking.frame_arrived(join.clone(), START), Step::Ask { .. }));
    assert!(is_closed(&asking.frame_arrived(join.clone(), START)));
    assert!(is_closed(&asking.admission_decided(Err(AuthRefusal::NotReady))), "the decision comes too late");
    let mut early = listener(&machine, 'a', 2, 'b');
    early.frame_arrived(hello.clone(), START);
    assert!(is_closed(&early.frame_arrived(join.clone(), START)));
    let mut unasked = listener(&machine, 'a', 2, 'b');
    assert!(is_closed(&unasked.admission_decided(Err(AuthRefusal::NotReady))));
}

#[test]
fn a_proof_is_worth_nothing_on_another_connection() {
    let (a, _, _) = members();
    let (replayed, _) = &*FIRST;
    let mut listener = listener(&a, 'a', 7, 'b');
    assert!(matches!(listener.frame_arrived(replayed[0].clone(), START), Step::Send(_)));
    let error = AuthRefusal::BadProof;
    let refuse = Step::Refuse { send: AuthFrame::Refused(error.clone()), error };
    assert_eq!(listener.frame_arrived(replayed[1].clone(), START), refuse);
}

#[test]
fn somebody_elses_certificate_opens_nothing() {
    let (a, b, _) = members();
    // `c` shows what `b` shows: the transport says that it is `c`.
    let step = listener(&a, 'a', 2, 'c').frame_arrived(dialer(&b, 'b', 1, 'a').start().remove(0), START);
    let error = AuthRefusal::ForeignCertificate { of: node('b') };
    assert_eq!(step, Step::Refuse { send: AuthFrame::Refused(error.clone()), error });
}

#[test]
fn a_relay_that_passes_frames_on_is_not_let_in() {
    // `b` dials `c`, and `c` passes everything to `a` and back, hoping that `a` takes it for `b`.
    let (a, b, _) = members();
    let from_b = dialer(&b, 'b', 1, 'c').start().remove(0);
    let step = listener(&a, 'a', 2, 'c').frame_arrived(from_b, START);
    assert!(is_closed(&step));
    // Nor does `b` take `a`'s hello for `c`'s.
    let (_, by_a) = &*FIRST;
    assert!(is_closed(&dialer(&b, 'b', 1, 'c').frame_arrived(by_a[0].clone(), START)));
}

#[test]
fn our_own_frames_sent_back_to_us_open_nothing() {
    let (a, _, _) = members();
    let own = dialer(&a, 'a', 1, 'b').start().remove(0);
    assert!(is_closed(&listener(&a, 'a', 2, 'b').frame_arrived(own.clone(), START)));
    assert!(is_closed(&listener(&a, 'a', 2, 'a').frame_arrived(own.clone(), START)));
    assert!(is_closed(&dialer(&a, 'a', 1, 'b').frame_arrived(own, START)));
}

#[test]
fn both_keys_must_sign() {
    let (a, b, _) = members();
    // Somebody holds `b`'s Ed25519 key, but not its ML-DSA-65 key.
    let (ed25519, _) = keys('b').secret_parts();
    let half: Arc<dyn Signer> = Arc::new(KeyPair::generate(*ed25519));
    let thief = Handshake::dialer_member(b.discovery.view(), half, [1; 32], node('a'));
    let ends = Pair::new(thief, listener(&a, 'a', 2, 'b')).run(nobody);
    assert_eq!(ends, (Some(End::IsRefused(AuthRefusal::BadProof)), Some(End::Refuses(AuthRefusal::BadProof))));
}

#[test]
fn a_changed_hello_breaks_the_proofs() {
    let (a, b, _) = members();
    let changes: [fn(&mut weft_protocol::Hello); 2] =
        [|hello| hello.build.push('x'), |hello| hello.nonce = [9; 32].into()];
    for change in changes {
        let (mut dialer, mut listener) = (dialer(&b, 'b', 1, 'a'), listener(&a, 'a', 2, 'b'));
        let AuthFrame::Hello(mut hello) = dialer.start().remove(0) else { panic!("no hello") };
        change(&mut hello);
        let Step::Send(answer) = listener.frame_arrived(AuthFrame::Hello(hello), START) else { panic!("refused") };
        assert!(matches!(dialer.frame_arrived(answer[0].clone(), START), Step::Send(_)));
        let error = AuthRefusal::BadProof;
        let refuse = Step::Refuse { send: AuthFrame::Refused(error.clone()), error };
        assert_eq!(dialer.frame_arrived(answer[1].clone(), START), refuse);
    }
}

/// Gives a joiner an admission that a liar changed.
fn check_admission(change: impl FnOnce(&mut Admission), refusal: AuthRefusal) {
    let (mut machine, token) = inviting();
    let (mut admission, _) = machine.admit(1, &token, 'b');
    change(&mut admission);
    let mut pair = Pair::new(joiner(&token, 'b', 1, 'a'), listener(&machine, 'a', 2, 'b'));
    let ends = pair.run(|_| Ok((*admission).clone()));
    assert_eq!(ends.0, Some(End::Refuses(refusal)));
}

#[test]
fn a_joiner_checks_what_it_is_given() {
    check_admission(
        |admission| admission.certificate = certificate('a', 'c', Role::Worker),
        AuthRefusal::AdmissionOfAnother,
    );
    let forged = certificate_with('b', 'b', Role::Admin, |certificate| certificate.issuer = node('a'));
    check_admission(|admission| admission.certificate = forged, AuthRefusal::ForgedCertificate);
    check_admission(|admission| admission.certificate = certificate('c', 'b', Role::Admin), AuthRefusal::UnknownIssuer);
    let short = certificate_with('a', 'b', Role::Worker, |certificate| certificate.not_after = Some(START));
    check_admission(|admission| admission.certificate = short, AuthRefusal::CertificateExpired);
    let other = charter_of('a', 1);
    let theirs = other.cluster_id();
    let ours = crate::world::charter().cluster_id();
    let foreign = certificate_with('a', 'b', Role::Worker, |certificate| certificate.cluster = theirs);
    check_admission(|admission| admission.certificate = foreign, AuthRefusal::ForgedCertificate);
    check_admission(|admission| admission.charter = other, AuthRefusal::WrongCluster { ours, theirs });
    // The founder's keys are part of the cluster's id, so nobody can put theirs in.
    let usurped = Charter { founder: public('c'), ..crate::world::charter() };
    let theirs = usurped.cluster_id();
    check_admission(|admission| admission.charter = usurped, AuthRefusal::WrongCluster { ours, theirs });
    check_admission(
        |admission| admission.members = vec![admission.members[0].clone(); 65],
        AuthRefusal::AdmissionTooLarge,
    );
}

#[test]
fn rules_that_are_not_those_of_the_charter_are_found_out() {
    let (mut machine, token) = inviting();
    let (admission, _) = machine.admit(1, &token, 'b');
    let claimed = weft_protocol::hash("rules", &[b"other"]);
    let view = weft_discovery::AdmissionView { rules_hash: claimed, ..(*machine.discovery.view()).clone() };
    let lying = Handshake::listener(Arc::new(view), keys('a'), [2; 32], node('b'));
    let ends = Pair::new(joiner(&token, 'b', 1, 'a'), lying).run(|_| Ok((*admission).clone()));
    let theirs = crate::world::charter().rules_hash();
    assert_eq!(ends.0, Some(End::Refuses(AuthRefusal::WrongRules { ours: claimed, theirs })));
}

#[test]
fn a_joiner_is_who_the_transport_says_it_is() {
    let (machine, token) = inviting();
    let borrowed = joiner(&token, 'c', 1, 'a').start().remove(0);
    let error = AuthRefusal::ForeignKeys { of: node('c') };
    let refuse = Step::Refuse { send: AuthFrame::Refused(error.clone()), error };
    assert_eq!(listener(&machine, 'a', 2, 'b').frame_arrived(borrowed, START), refuse);
}

#[test]
fn the_inviter_is_the_one_that_the_token_names() {
    // `c` is a member and shows a good certificate, but the token was made by `a`.
    let (_, _, c) = members();
    let (_, token) = inviting();
    let mut pair = Pair::new(joiner(&token, 'b', 1, 'c'), listener(&c, 'c', 2, 'b'));
    let ends = pair.run(|_| panic!("the secret was told"));
    assert_eq!(
        ends,
        (Some(End::Refuses(AuthRefusal::NotTheInviter)), Some(End::IsRefused(AuthRefusal::NotTheInviter)))
    );
    for (half, refusal) in [
        (Token { inviter: node('c'), ..token.clone() }, AuthRefusal::NotTheInvitersKey),
        (Token { inviter_mldsa65_hash: *public('c').mldsa65_hash(), ..token }, AuthRefusal::NotTheInviter),
    ] {
        let mut pair = Pair::new(joiner(&half, 'b', 1, 'c'), listener(&c, 'c', 2, 'b'));
        let ends = pair.run(|_| panic!("the secret was told"));
        assert_eq!(ends.0, Some(End::Refuses(refusal)), "one pin of two is not enough");
    }
}
