//! What a start knows again from the stored chains, whatever their order.

use proptest::prelude::*;
use weft_discovery::MemberState;
use weft_protocol::{
    ChainId, Commit, Digest, Evidence, Fact, Hlc, Incarnation, InviteIssued, InviteRevoked, MLDSA65_PUBLIC_KEY_BYTES,
    NodeId, PublicKeys, Recovered, Role, SignedCommit, encode, invite_id, secret_hash,
};

use crate::world::{LETTERS, Machine, SECOND_US, START, admitted, certificate, certificate_with, chain, charter, node};

#[test]
fn members_are_known_in_whatever_order_the_chains_are_stored() {
    let chains = || {
        vec![
            chain('c', vec![admitted(&certificate('c', 'd', Role::Worker))]),
            chain('b', vec![admitted(&certificate('b', 'c', Role::Admin))]),
            chain(
                'a',
                vec![admitted(&certificate('a', 'a', Role::Admin)), admitted(&certificate('a', 'b', Role::Admin))],
            ),
        ]
    };
    proptest!(|(chains in Just(chains()).prop_shuffle())| {
        let recovered = Recovered { chains, ..Recovered::default() };
        let machine = Machine::start('a', certificate('a', 'a', Role::Admin), &recovered);
        let known: Vec<char> = LETTERS.into_iter().filter(|one| machine.discovery.role_of(node(*one)).is_some()).collect();
        prop_assert_eq!(known, ['a', 'b', 'c', 'd']);
        prop_assert_eq!(machine.discovery.member_keys().len(), 4);
        prop_assert_eq!(machine.discovery.view().members.len(), 4);
        prop_assert_eq!(machine.discovery.held_admissions(), 0);
    });
}

#[test]
fn an_admin_admits_more_than_can_wait_and_all_are_known_again() {
    let many = (0..300_u64).map(|number| {
        let numbered = NodeId::from_bytes([number.to_be_bytes(); 4].concat().try_into().unwrap());
        let keys = PublicKeys::new(numbered, vec![0; MLDSA65_PUBLIC_KEY_BYTES]).unwrap();
        admitted(&certificate_with('b', 'c', Role::Worker, |certificate| certificate.keys = keys))
    });
    let chains = vec![chain('b', many.collect()), chain('a', vec![admitted(&certificate('a', 'b', Role::Admin))])];
    let recovered = Recovered { chains, ..Recovered::default() };
    let machine = Machine::start('a', certificate('a', 'a', Role::Admin), &recovered);
    assert_eq!(machine.discovery.members().count(), 302);
}

#[test]
fn invites_of_our_own_chain_are_known_again_and_those_of_others_are_not_ours() {
    let issued = |secret: u8| {
        let expires = START.after_us(SECOND_US);
        Fact::InviteIssued(InviteIssued {
            secret_hash: secret_hash(&[secret; 16]),
            role: Role::Worker,
            uses: 1,
            expires,
            certificate_ttl_us: None,
        })
    };
    let id = |secret: u8| invite_id(&secret_hash(&[secret; 16]));
    let revoked = Fact::InviteRevoked(InviteRevoked { invite: id(2) });
    let chains = vec![chain('b', vec![issued(3)]), chain('a', vec![issued(1), issued(2), revoked])];
    let recovered = Recovered { chains, ..Recovered::default() };
    let machine = Machine::start('a', certificate('a', 'a', Role::Admin), &recovered);
    let known: std::collections::BTreeMap<_, _> =
        machine.discovery.invites().map(|invite| (invite.invite, invite.revoked)).collect();
    assert_eq!(known, [(id(1), false), (id(2), true)].into());
}

#[test]
fn a_node_is_a_member_by_its_own_certificate_before_it_holds_any_chain() {
    let machine = Machine::start('c', certificate('b', 'c', Role::Worker), &Recovered::default());
    assert_eq!(machine.discovery.role_of(node('c')), Some(Role::Worker));
    assert_eq!(machine.discovery.members().count(), 1);
}

#[test]
fn evidence_keeps_a_node_cut_off_over_a_restart() {
    let chain_id = ChainId { node: node('b'), incarnation: Incarnation(1) };
    let zero = Digest::from_bytes([0; 32]);
    let commit = |root: u8| {
        let commit = Commit {
            suite: weft_protocol::SUITE,
            cluster: charter().cluster_id(),
            chain: chain_id,
            commit_no: 4,
            prev_commit: zero,
            first_seq: 0,
            count: 1,
            head_link: zero,
            tree_size: 1,
            root: Digest::from_bytes([root; 32]),
            hlc_first: Hlc(1),
            hlc_last: Hlc(1),
            anchors: Vec::new(),
        };
        SignedCommit { commit: encode(&commit).into(), ed25519: [0; 64].into(), mldsa65: None }.into()
    };
    let evidence = vec![Evidence { first: commit(1), second: commit(2), rotations: Vec::new() }];
    let chains = vec![chain('a', vec![admitted(&certificate('a', 'b', Role::Worker))])];
    let recovered = Recovered { chains, evidence, ..Recovered::default() };
    let machine = Machine::start('a', certificate('a', 'a', Role::Admin), &recovered);
    assert_eq!(machine.state('b'), MemberState::Quarantined);
    let refusal = weft_protocol::AuthRefusal::Quarantined;
    let judged = machine.discovery.view().judge_member(node('b'), &certificate('a', 'b', Role::Worker), START);
    assert_eq!(judged, Err(refusal));
}
