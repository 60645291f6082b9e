//! Two handshakes in one hand: who is let in, and what both sides know then.

use std::sync::Arc;

use weft_discovery::{Handshake, HandshakeOutcome, Step};
use weft_protocol::{
    Admission, AuthFrame, AuthRefusal, Certificate, KeyPair, NodeName, Recovered, Role, Signed, Signer, Timestamp,
    Token, secret_hash,
};

use crate::world::{
    Machine, START, admitted, certificate, certificate_with, chain, charter, charter_of, join_asked, keys, name, node,
    public,
};

/// How one side ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Done(HandshakeOutcome),
    Refuses(AuthRefusal),
    IsRefused(AuthRefusal),
}

/// Both sides of one connection, and every frame that crossed it.
pub(crate) struct Pair {
    pub(crate) dialer: Handshake,
    pub(crate) listener: Handshake,
    pub(crate) now: Timestamp,
    pub(crate) by_dialer: Vec<AuthFrame>,
    pub(crate) by_listener: Vec<AuthFrame>,
}

impl Pair {
    pub(crate) fn new(dialer: Handshake, listener: Handshake) -> Self {
        Self { dialer, listener, now: START, by_dialer: Vec::new(), by_listener: Vec::new() }
    }

    /// Lets both talk until neither says more. `decide` is the inviter's discovery.
    pub(crate) fn run(
        &mut self,
        decide: impl Fn(&Step) -> Result<Admission, AuthRefusal>,
    ) -> (Option<End>, Option<End>) {
        let (mut dialer_end, mut listener_end) = (None, None);
        let mut to_listener = self.dialer.start();
        while !to_listener.is_empty() {
            let mut to_dialer = Vec::new();
            for frame in std::mem::take(&mut to_listener) {
                self.by_dialer.push(frame.clone());
                if listener_end.is_some() {
                    continue;
                }
                let mut step = self.listener.frame_arrived(frame, self.now);
                if matches!(step, Step::Ask { .. }) {
                    let decision = decide(&step);
                    step = self.listener.admission_decided(decision);
                }
                settle(step, &mut to_dialer, &mut listener_end);
            }
            for frame in to_dialer {
                self.by_listener.push(frame.clone());
                if dialer_end.is_some() {
                    continue;
                }
                settle(self.dialer.frame_arrived(frame, self.now), &mut to_listener, &mut dialer_end);
            }
        }
        (dialer_end, listener_end)
    }
}

fn settle(step: Step, send: &mut Vec<AuthFrame>, end: &mut Option<End>) {
    let ended = match step {
        Step::Send(frames) => {
            send.extend(frames);
            return;
        }
        Step::Done { send: frames, outcome } => {
            send.extend(frames);
            End::Done(outcome)
        }
        Step::Refuse { send: frame, error } => {
            assert_eq!(frame, AuthFrame::Refused(error.clone()), "the other side is told the same");
            send.push(frame);
            End::Refuses(error)
        }
        Step::Refused(refusal) => End::IsRefused(refusal),
        Step::Ask { .. } => panic!("only the listener asks"),
    };
    assert_eq!(end.replace(ended), None, "a side ends once");
}

/// A member as it starts with the founder's chain, on which these admissions stand.
pub(crate) fn member(letter: char, certificate: &Signed<Certificate>, admissions: &[Signed<Certificate>]) -> Machine {
    let facts = admissions.iter().map(admitted).collect();
    let recovered = Recovered { chains: vec![chain('a', facts)], ..Recovered::default() };
    let mut machine = Machine::start(letter, certificate.clone(), &recovered);
    machine.give(crate::world::listening());
    machine
}

pub(crate) fn dialer(machine: &Machine, own: char, nonce: u8, remote: char) -> Handshake {
    Handshake::dialer_member(machine.discovery.view(), keys(own), [nonce; 32], node(remote))
}

pub(crate) fn listener(machine: &Machine, own: char, nonce: u8, remote: char) -> Handshake {
    Handshake::listener(machine.discovery.view(), keys(own), [nonce; 32], node(remote))
}

pub(crate) fn joiner(token: &Token, own: char, nonce: u8, remote: char) -> Handshake {
    Handshake::dialer_joiner(token.clone(), keys(own), name(own), "weft 0.1.0".into(), [nonce; 32], node(remote))
}

pub(crate) fn nobody(_: &Step) -> Result<Admission, AuthRefusal> {
    panic!("no joiner here")
}

fn outcome(letter: char, role: Role, certificate: &Signed<Certificate>) -> End {
    let certificate = Box::new(certificate.clone());
    End::Done(HandshakeOutcome::Member { node: node(letter), keys: public(letter), role, certificate, wire: 2 })
}

#[test]
fn two_members_let_each_other_in() {
    let (own_a, own_b) = (certificate('a', 'a', Role::Admin), certificate('a', 'b', Role::Worker));
    let admissions = [own_a.clone(), own_b.clone()];
    let (a, b) = (member('a', &own_a, &admissions), member('b', &own_b, &admissions));
    let mut pair = Pair::new(dialer(&b, 'b', 1, 'a'), listener(&a, 'a', 2, 'b'));
    let ends = pair.run(nobody);
    assert_eq!(ends, (Some(outcome('a', Role::Admin, &own_a)), Some(outcome('b', Role::Worker, &own_b))));
}

#[test]
fn a_member_that_is_not_known_yet_is_let_in_by_its_certificate() {
    let (own_a, own_b, own_c) =
        (certificate('a', 'a', Role::Admin), certificate('a', 'b', Role::Admin), certificate('b', 'c', Role::Worker));
    let a = member('a', &own_a, std::slice::from_ref(&own_b));
    let c = member('c', &own_c, std::slice::from_ref(&own_b));
    let ends = Pair::new(dialer(&c, 'c', 1, 'a'), listener(&a, 'a', 2, 'c')).run(nobody);
    assert_eq!(ends, (Some(outcome('a', Role::Admin, &own_a)), Some(outcome('c', Role::Worker, &own_c))));

    // Without the certificate of the admin in between nobody can tell, and it may try again later.
    let a = member('a', &own_a, &[]);
    let ends = Pair::new(dialer(&c, 'c', 1, 'a'), listener(&a, 'a', 2, 'c')).run(nobody);
    let refusal = AuthRefusal::UnknownIssuer;
    assert!(refusal.retry());
    assert_eq!(ends, (Some(End::IsRefused(refusal.clone())), Some(End::Refuses(refusal))));
}

/// `b` shows `own_b` to `a`, which holds `admissions`.
fn check_refused(own_b: &Signed<Certificate>, a: &Machine, refusal: AuthRefusal) {
    let b = member('b', own_b, &[]);
    let ends = Pair::new(dialer(&b, 'b', 1, 'a'), listener(a, 'a', 2, 'b')).run(nobody);
    assert_eq!(ends, (Some(End::IsRefused(refusal.clone())), Some(End::Refuses(refusal.clone()))));
    assert_eq!(a.discovery.view().judge_member(node('b'), own_b, START), Err(refusal));
}

#[test]
fn certificates_that_do_not_count_are_refused_each_with_its_reason() {
    let own_a = certificate('a', 'a', Role::Admin);
    let a = || member('a', &own_a, &[]);
    let good = certificate('a', 'b', Role::Worker);

    let expired = certificate_with('a', 'b', Role::Worker, |certificate| certificate.not_after = Some(START));
    check_refused(&expired, &a(), AuthRefusal::CertificateExpired);
    let forged = certificate_with('b', 'b', Role::Admin, |certificate| certificate.issuer = node('a'));
    check_refused(&forged, &a(), AuthRefusal::ForgedCertificate);
    check_refused(&certificate('b', 'b', Role::Admin), &a(), AuthRefusal::UnknownIssuer);
    let by_worker = certificate('c', 'b', Role::Worker);
    check_refused(&by_worker, &member('a', &own_a, &[certificate('a', 'c', Role::Worker)]), AuthRefusal::IssuerNoAdmin);

    let mut quarantining = a();
    quarantining.give(weft_discovery::Input::ForkProven { node: node('b') });
    check_refused(&good, &quarantining, AuthRefusal::Quarantined);

    let theirs = charter_of('a', 1).cluster_id();
    let foreign = certificate_with('a', 'b', Role::Worker, |certificate| certificate.cluster = theirs);
    let ours = charter().cluster_id();
    let wrong = AuthRefusal::WrongCluster { ours, theirs };
    assert_eq!(a().discovery.view().judge_member(node('b'), &foreign, START), Err(wrong));
    assert_eq!(
        a().discovery.view().judge_member(node('c'), &good, START),
        Err(AuthRefusal::ForeignCertificate { of: node('b') })
    );
}

#[test]
fn a_quarantined_admin_vouches_for_nobody_new() {
    let (own_a, own_b) = (certificate('a', 'a', Role::Admin), certificate('a', 'b', Role::Admin));
    let mut a = member('a', &own_a, &[own_b]);
    a.give(weft_discovery::Input::AdmissionSeen {
        issuer: node('b'),
        certificate: Box::new(certificate('b', 'c', Role::Worker)),
        invite: None,
    });
    a.give(weft_discovery::Input::ForkProven { node: node('b') });
    let view = a.discovery.view();
    assert_eq!(
        view.judge_member(node('d'), &certificate('b', 'd', Role::Worker), START),
        Err(AuthRefusal::IssuerCutOff)
    );
    assert!(
        view.judge_member(node('c'), &certificate('b', 'c', Role::Worker), START).is_ok(),
        "who was in before stays"
    );
}

/// A founder that has made this token, and what it decides of whoever asks.
pub(crate) fn inviting() -> (Machine, Token) {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    (machine, token)
}

/// Runs a join of `b` against `a`'s discovery.
pub(crate) fn join(machine: Machine, token: &Token) -> (Option<End>, Option<End>) {
    let pair = &mut Pair::new(joiner(token, 'b', 1, 'a'), listener(&machine, 'a', 2, 'b'));
    let machine = std::cell::RefCell::new(machine);
    let secret = token.secret;
    pair.run(|step| {
        let Step::Ask { keys, invite, join } = step else { panic!("{step:?}") };
        assert_eq!((keys, &join.name), (&public('b'), &name('b')));
        assert!(join.secret == secret && *invite == weft_protocol::invite_id(&secret_hash(&secret)));
        let asked = weft_discovery::Input::JoinAsked {
            ask: weft_discovery::AskId(1),
            keys: keys.clone(),
            invite: *invite,
            join: join.clone(),
        };
        let mut machine = machine.borrow_mut();
        let outputs = machine.give(asked);
        match &outputs[..] {
            [weft_discovery::Output::AnswerJoin { answer: Err(refusal), .. }] => Err(refusal.clone()),
            [weft_discovery::Output::AnswerJoin { answer: Ok(admission), .. }] => Ok((**admission).clone()),
            outputs => {
                let ticket = crate::world::ticket(outputs);
                let outputs = machine.give(weft_discovery::Input::Recorded { ticket });
                Ok(*crate::world::admission(&outputs))
            }
        }
    })
}

#[test]
fn a_joiner_is_admitted_and_comes_back_as_a_member() {
    let (mut a, token) = inviting();
    let (admission, _) = a.admit(1, &token, 'b');
    let ends = join(a, &token);
    let admitted = End::Done(HandshakeOutcome::Admitted(admission.clone()));
    assert_eq!(ends, (Some(admitted.clone()), Some(admitted)));

    let (mut a, token) = inviting();
    let (admission, _) = a.admit(1, &token, 'b');
    let b = Machine::start('b', admission.certificate.clone(), &Recovered::default());
    let ends = Pair::new(dialer(&b, 'b', 3, 'a'), listener(&a, 'a', 4, 'b')).run(nobody);
    let founders = certificate_of(&a);
    assert_eq!(
        ends,
        (Some(outcome('a', Role::Admin, &founders)), Some(outcome('b', Role::Worker, &admission.certificate)))
    );
}

fn certificate_of(machine: &Machine) -> Signed<Certificate> {
    (*machine.discovery.view().certificate).clone()
}

fn check_join_refused(machine: Machine, token: &Token, refusal: AuthRefusal) {
    let ends = join(machine, token);
    assert_eq!(ends, (Some(End::IsRefused(refusal.clone())), Some(End::Refuses(refusal))));
}

#[test]
fn each_useless_token_is_refused_with_its_own_reason() {
    let (a, token) = inviting();
    let theirs = charter_of('a', 1).cluster_id();
    let foreign = Token { cluster: theirs, ..token.clone() };
    check_join_refused(a, &foreign, AuthRefusal::WrongCluster { ours: charter().cluster_id(), theirs });

    let (a, token) = inviting();
    let unknown = Token { secret: [8; 16].into(), ..token };
    check_join_refused(a, &unknown, AuthRefusal::UnknownInvite);

    let (mut a, token) = inviting();
    a.admit(1, &token, 'c');
    check_join_refused(a, &token, AuthRefusal::InviteUsedUp);

    let (mut a, token) = inviting();
    a.wait(3_600 * crate::world::SECOND_US);
    a.give(weft_discovery::Input::Woken);
    check_join_refused(a, &token, AuthRefusal::InviteExpired);

    let (mut a, token) = inviting();
    a.give(weft_discovery::Input::InviteRevokeAsked { ask: weft_discovery::AskId(2), invite: token.invite() });
    a.give(weft_discovery::Input::Recorded { ticket: weft_discovery::Ticket(1) });
    check_join_refused(a, &token, AuthRefusal::InviteRevoked);

    let (mut a, token) = inviting();
    a.give(weft_discovery::Input::ForkProven { node: node('b') });
    check_join_refused(a, &token, AuthRefusal::Quarantined);
}

#[test]
fn a_joiner_of_an_admin_that_was_admitted_itself_checks_up_to_the_founder() {
    let (own_b, own_c) = (certificate('a', 'b', Role::Admin), certificate('b', 'c', Role::Admin));
    let mut c = member('c', &own_c, &[certificate('a', 'a', Role::Admin), own_b.clone()]);
    c.give(weft_discovery::Input::AdmissionSeen { issuer: node('b'), certificate: Box::new(own_c), invite: None });
    let token = c.invite(9, 1);
    let ticket = crate::world::ticket(&c.give(join_asked(1, &token, 'd')));
    let admission = crate::world::admission(&c.give(weft_discovery::Input::Recorded { ticket }));
    let mut pair = Pair::new(joiner(&token, 'd', 1, 'c'), listener(&c, 'c', 2, 'd'));
    let ends = pair.run(|_| Ok((*admission).clone()));
    assert_eq!(ends.0, Some(End::Done(HandshakeOutcome::Admitted(admission.clone()))));

    // The one in between is not told: the joiner cannot know that `c` may admit anybody.
    let shortened =
        Admission { members: admission.members.iter().filter(|told| **told != own_b).cloned().collect(), ..*admission };
    let mut pair = Pair::new(joiner(&token, 'd', 1, 'c'), listener(&c, 'c', 2, 'd'));
    let ends = pair.run(|_| Ok(shortened.clone()));
    assert_eq!(ends.0, Some(End::Refuses(AuthRefusal::UnknownIssuer)));
}

#[test]
fn keys_that_only_half_match_the_pins_never_hear_the_secret() {
    let (a, token) = inviting();
    // Somebody holds `a`'s Ed25519 key, as a broken one would let them, but not its ML-DSA-65 key.
    let (ed25519, _) = keys('a').secret_parts();
    let half = KeyPair::generate(*ed25519);
    assert_eq!(half.public_keys().node(), node('a'));
    let own = Certificate { keys: half.public_keys().clone(), ..certificate_of(&a).peek().unwrap() };
    let signed = Signed::new(&own, &half);
    let view = weft_discovery::AdmissionView { certificate: Arc::new(signed), ..(*a.discovery.view()).clone() };
    let listener = Handshake::listener(Arc::new(view), Arc::new(half), [2; 32], node('b'));
    let mut pair = Pair::new(joiner(&token, 'b', 1, 'a'), listener);
    let ends = pair.run(nobody);
    assert_eq!(
        ends,
        (Some(End::Refuses(AuthRefusal::NotTheInvitersKey)), Some(End::IsRefused(AuthRefusal::NotTheInvitersKey)))
    );
    assert!(!pair.by_dialer.iter().any(|frame| matches!(frame, AuthFrame::Join(_))));
}

#[test]
fn another_wire_version_and_other_rules_are_refused_with_both_values() {
    let (own_a, own_b) = (certificate('a', 'a', Role::Admin), certificate('a', 'b', Role::Worker));
    let (a, b) = (member('a', &own_a, &[]), member('b', &own_b, &[]));
    let hello = |change: fn(&mut weft_protocol::Hello)| {
        let Some(AuthFrame::Hello(mut hello)) = dialer(&b, 'b', 1, 'a').start().pop() else { panic!("no hello") };
        change(&mut hello);
        listener(&a, 'a', 2, 'b').frame_arrived(AuthFrame::Hello(hello), START)
    };
    let refuse = |error: AuthRefusal| Step::Refuse { send: AuthFrame::Refused(error.clone()), error };
    assert_eq!(hello(|hello| hello.wire = 9), refuse(AuthRefusal::WireVersion { ours: 2, theirs: 9 }));
    let theirs = weft_protocol::hash("rules", &[b"other"]);
    let ours = charter().rules_hash();
    assert_eq!(
        hello(|hello| hello.rules = Some(weft_protocol::hash("rules", &[b"other"]))),
        refuse(AuthRefusal::WrongRules { ours, theirs })
    );
    assert_eq!(hello(|hello| hello.rules = None), refuse(AuthRefusal::NoRules));
}

#[test]
fn a_name_of_a_joiner_is_its_own_choice() {
    let wanted: NodeName = "elsewhere".parse().unwrap();
    let (a, token) = inviting();
    let dialer = Handshake::dialer_joiner(token, keys('b'), wanted.clone(), "weft 0.1.0".into(), [1; 32], node('a'));
    let mut pair = Pair::new(dialer, listener(&a, 'a', 2, 'b'));
    let asked = std::cell::Cell::new(false);
    pair.run(|step| {
        asked.set(matches!(step, Step::Ask { join, .. } if join.name == wanted));
        Err(AuthRefusal::NotReady)
    });
    assert!(asked.get());
}
