//! Programs of different versions of the wire: what two of them agree on, and that nobody between them can make it less.

use std::sync::Arc;

use weft_discovery::{Handshake, HandshakeOutcome, Step};
use weft_protocol::{AuthFrame, AuthRefusal, Hello, Recovered, Role, Token, WireVersions};

use crate::handshake::{End, Pair, inviting, joiner, member, nobody};
use crate::world::{Machine, START, certificate, keys, node};

fn versions(oldest: u16, newest: u16) -> WireVersions {
    WireVersions::between(oldest, newest).unwrap()
}

/// All ranges of the versions 1 to 3.
fn ranges() -> Vec<WireVersions> {
    let pairs = (1..=3).flat_map(|oldest| (oldest..=3).map(move |newest| versions(oldest, newest)));
    pairs.collect()
}

/// The highest version that both speak.
fn highest_common(one: WireVersions, other: WireVersions) -> Option<u16> {
    (1..=3).rev().find(|version| one.contains(*version) && other.contains(*version))
}

fn view_speaking(machine: &Machine, wire: WireVersions) -> Arc<weft_discovery::AdmissionView> {
    Arc::new(weft_discovery::AdmissionView { wire, ..(*machine.discovery.view()).clone() })
}

fn listening(machine: &Machine, wire: WireVersions) -> Handshake {
    Handshake::listener(view_speaking(machine, wire), keys('a'), [2; 32], node('b'))
}

fn dialling(machine: &Machine, wire: WireVersions) -> Handshake {
    Handshake::dialer_member(view_speaking(machine, wire), keys('b'), [1; 32], node('a'))
}

/// Two members: `b` dials, `a` listens.
fn members() -> (Machine, Machine) {
    let all = [certificate('a', 'a', Role::Admin), certificate('a', 'b', Role::Worker)];
    (member('a', &all[0], &all), member('b', &all[1], &all))
}

/// What a dialer comes to that speaks `ours`: it dials once more for as long as there is something else to offer. With how many dials.
fn settled(
    ours: WireVersions,
    mut dial: impl FnMut(u16) -> Result<u16, AuthRefusal>,
) -> (Result<u16, AuthRefusal>, usize) {
    let mut offered = ours.newest();
    for dials in 1..=2 {
        let result = dial(offered);
        let Err(AuthRefusal::WireVersion { ours: theirs, theirs: named }) = result else { return (result, dials) };
        assert_eq!(named, offered, "the refusal names what was offered");
        match ours.after_refusal(offered, theirs) {
            Some(next) => offered = next,
            None => return (result, dials),
        }
    }
    panic!("a third dial");
}

fn check_settled(ours: WireVersions, theirs: WireVersions, (result, dials): (Result<u16, AuthRefusal>, usize)) {
    match highest_common(ours, theirs) {
        Some(common) => {
            assert_eq!(result, Ok(common), "{ours:?} dials {theirs:?}");
            assert_eq!(dials, if common == ours.newest() { 1 } else { 2 }, "{ours:?} dials {theirs:?}");
        }
        None => {
            assert!(matches!(result, Err(AuthRefusal::WireVersion { .. })), "{ours:?} dials {theirs:?}: {result:?}")
        }
    }
}

#[test]
fn two_members_agree_on_the_highest_version_that_both_speak_or_on_none() {
    let (a, b) = members();
    for ours in ranges() {
        for theirs in ranges() {
            let dial = |offered| {
                let mut pair = Pair::new(dialling(&b, ours).offering(offered), listening(&a, theirs));
                match pair.run(nobody) {
                    (
                        Some(End::Done(HandshakeOutcome::Member { wire, .. })),
                        Some(End::Done(HandshakeOutcome::Member { wire: at_listener, .. })),
                    ) => {
                        assert_eq!(wire, at_listener, "both know the same");
                        Ok(wire)
                    }
                    (Some(End::IsRefused(told)), Some(End::Refuses(refusal))) => {
                        assert_eq!(told, refusal);
                        Err(refusal)
                    }
                    ends => panic!("{ends:?}"),
                }
            };
            check_settled(ours, theirs, settled(ours, dial));
        }
    }
}

#[test]
fn a_joiner_and_its_inviter_agree_likewise_and_only_then_the_secret_is_told() {
    let (mut machine, token) = inviting();
    let (admission, _) = machine.admit(1, &token, 'b');
    for ours in ranges() {
        for theirs in ranges() {
            let dial = |offered| {
                let dialer = joiner(&token, 'b', 1, 'a').offering(offered);
                let mut pair = Pair::new(dialer, listening(&machine, theirs));
                match pair.run(|_| Ok((*admission).clone())) {
                    (
                        Some(End::Done(HandshakeOutcome::Admitted(_))),
                        Some(End::Done(HandshakeOutcome::Admitted(_))),
                    ) => Ok(offered),
                    (Some(End::IsRefused(told)), Some(End::Refuses(refusal))) => {
                        assert_eq!(told, refusal);
                        assert!(!pair.by_dialer.iter().any(|frame| matches!(frame, AuthFrame::Join(_))));
                        Err(refusal)
                    }
                    ends => panic!("{ends:?}"),
                }
            };
            check_settled(ours, theirs, settled(ours, dial));
        }
    }
}

#[test]
fn a_joiner_that_was_admitted_in_the_old_version_comes_back_in_the_new_one() {
    let (mut a, token) = inviting();
    let (admission, _) = a.admit(1, &token, 'b');
    let b = Machine::start('b', admission.certificate.clone(), &Recovered::default());
    for (wire, agreed) in [(versions(1, 1), 1), (versions(1, 2), 2)] {
        let ends = Pair::new(dialling(&b, wire), listening(&a, versions(1, 2))).run(nobody);
        let (Some(End::Done(HandshakeOutcome::Member { wire, .. })), Some(End::Done(_))) = ends else {
            panic!("{ends:?}")
        };
        assert_eq!(wire, agreed);
    }
}

/// Somebody between both sides makes the dialer's hello say `said` and the listener's answer `answered`; what the dialer makes of it.
fn tampered(mut dialer: Handshake, mut listener: Handshake, said: u16, answered: u16) -> Option<AuthRefusal> {
    let with = |frame: AuthFrame, wire| {
        let AuthFrame::Hello(hello) = frame else { panic!("{frame:?}") };
        AuthFrame::Hello(Box::new(Hello { wire, ..*hello }))
    };
    let Step::Send(answer) = listener.frame_arrived(with(dialer.start().remove(0), said), START) else {
        panic!("the listener speaks {said}")
    };
    let mut frames = answer.into_iter();
    let hello = with(frames.next().unwrap(), answered);
    std::iter::once(hello).chain(frames).find_map(|frame| match dialer.frame_arrived(frame, START) {
        Step::Send(_) => None,
        Step::Refuse { error, .. } => Some(error),
        step => panic!("{step:?}"),
    })
}

#[test]
fn nobody_in_between_makes_two_sides_agree_on_less_or_on_more() {
    let (a, b) = members();
    let (inviter, token): (Machine, Token) = inviting();
    let both = versions(1, 2);
    for (offered, changed) in [(2, 1), (1, 2)] {
        let dialers = [
            (dialling(&b, both).offering(offered), dialling(&b, both).offering(offered), &a),
            (joiner(&token, 'b', 1, 'a').offering(offered), joiner(&token, 'b', 1, 'a').offering(offered), &inviter),
        ];
        for (first, second, listener) in dialers {
            // The answer shows it at once.
            let seen = tampered(first, listening(listener, both), changed, changed);
            assert_eq!(seen, Some(AuthRefusal::WireVersion { ours: offered, theirs: changed }));
            // When that is changed back, the proof is one of other hellos.
            let seen = tampered(second, listening(listener, both), changed, offered);
            assert_eq!(seen, Some(AuthRefusal::BadProof));
        }
    }
}

#[test]
fn a_listener_does_not_take_the_proof_of_a_dialer_that_heard_another_version() {
    let (a, b) = members();
    let both = versions(1, 2);
    // The dialer offered 1 and heard 1; the listener was made to hear 2 and said so.
    let mut dialer = dialling(&b, both).offering(1);
    let mut listener = listening(&a, both);
    let raised = dialling(&b, both).offering(2).start().remove(0);
    assert!(matches!(listener.frame_arrived(raised, START), Step::Send(_)));
    let mut honest = listening(&a, both);
    let Step::Send(answer) = honest.frame_arrived(dialer.start().remove(0), START) else { panic!("refused") };
    let sent: Vec<AuthFrame> = answer
        .into_iter()
        .flat_map(|frame| match dialer.frame_arrived(frame, START) {
            Step::Send(frames) => frames,
            step => panic!("{step:?}"),
        })
        .collect();
    let [proof] = sent.as_slice() else { panic!("{sent:?}") };
    let error = AuthRefusal::BadProof;
    let refuse = Step::Refuse { send: AuthFrame::Refused(error.clone()), error };
    assert_eq!(listener.frame_arrived(proof.clone(), START), refuse);
}
