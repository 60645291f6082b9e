//! Facts of the other machines: together, judged, and only those that belong to their action.

use weft_kernel::{Action, Input, Ticket};
use weft_protocol::{Fact, InviteBurnt, InviteId, InviteRevoked, Principal, ProcessId, Shutdown};

use crate::node::{Node, lines, name};

fn burnt(node: &Node) -> Fact {
    Fact::InviteBurnt(InviteBurnt { invite: InviteId::from_bytes([1; 8]), node: node.id() })
}

fn given(action: Action, facts: Vec<Fact>) -> Input {
    Input::FactsGiven { ticket: Ticket(5), by: Principal::Operator, action, facts }
}

#[test]
fn facts_are_confirmed_when_they_are_on_disk() {
    let mut node = Node::new("alpha");
    let (action, facts) = (Action::Admit { node: node.id() }, vec![burnt(&node), burnt(&node)]);
    assert_eq!(lines(&node.give(given(action, facts))), ["persist [invite.burnt invite.burnt]"]);
    assert_eq!(lines(&node.persist()), ["announce [invite.burnt invite.burnt]", "facts-recorded 5 at 2"]);
}

#[test]
fn facts_of_one_ticket_share_one_commit() {
    let mut node = Node::new("alpha");
    for count in [1, 200, 100] {
        let (action, facts) = (Action::Admit { node: node.id() }, vec![burnt(&node); count]);
        node.give(given(action, facts));
    }
    while node.writing.is_some() {
        node.persist();
    }
    let sizes = node.disk.groups.iter().map(|group| group.events.len()).collect::<Vec<_>>();
    assert_eq!(sizes, [2, 1, 200, 100]);
}

#[test]
fn what_does_not_belong_to_the_action_is_refused() {
    let mut node = Node::new("alpha");
    let id = node.id();
    let mut refused = |action, facts| lines(&node.run(given(action, facts))).join("; ");
    let revoked = || Fact::InviteRevoked(InviteRevoked { invite: InviteId::from_bytes([1; 8]) });
    assert_eq!(
        refused(Action::Admit { node: id }, vec![revoked()]),
        "facts-refused 5 these facts are not what `admit` records"
    );
    assert_eq!(
        refused(Action::Shutdown, vec![Fact::Shutdown(Shutdown { stopped: 0 })]),
        "facts-refused 5 these facts are not what `shutdown` records"
    );
    assert_eq!(
        refused(Action::RevokeInvite, Vec::new()),
        "facts-refused 5 these facts are not what `revoke-invite` records"
    );
    assert_eq!(
        refused(Action::RevokeInvite, vec![revoked(); 256]),
        "facts-refused 5 these facts do not fit into one commit"
    );
    assert_eq!(node.kinds(), ["genesis", "node.boot"]);
}

#[test]
fn each_action_records_its_own_facts_and_no_others() {
    let mut node = Node::new("alpha");
    let invite = InviteId::from_bytes([1; 8]);
    let digest = weft_protocol::hash("x", &[]);
    let issued = weft_protocol::InviteIssued {
        secret_hash: digest,
        role: weft_protocol::Role::Worker,
        uses: 1,
        expires: weft_protocol::Timestamp(9),
        certificate_ttl_us: None,
    };
    let seen = weft_protocol::ForkSeen { chain: node.chain(), commit_no: 1, first: digest, second: digest };
    let repaired = weft_protocol::Repaired { chain: node.chain(), first_commit: 0, count: 1, from: node.id() };
    let head = node.kernel.chain_state().head().expect("booted");
    let returned = weft_protocol::TailReturned { chain: node.chain(), head };
    let facts = [
        Fact::InviteIssued(issued),
        Fact::InviteRevoked(InviteRevoked { invite }),
        burnt(&node),
        Fact::ForkSeen(seen),
        Fact::Repaired(repaired),
        Fact::TailReturned(returned),
        Fact::Anchored(Box::new(weft_protocol::Anchored {
            backend: weft_protocol::AnchorBackend::File,
            sha256: digest,
            head: node.kernel.chain_state().head().expect("booted"),
            step: weft_protocol::AnchorStep::Intended,
            place: "file".to_owned(),
        })),
        Fact::Snapshot(Box::new(weft_protocol::Snapshot::of(node.kernel.chain_state(), digest))),
        Fact::Pruned(weft_protocol::Pruned { from: 0, to: 3, rows: 1, bodies: 0, snapshot: 5 }),
        Fact::Shutdown(Shutdown { stopped: 0 }),
    ];
    let actions = [
        Action::Invite { role: weft_protocol::Role::Worker },
        Action::RevokeInvite,
        Action::Admit { node: node.id() },
        Action::RecordFork { node: node.id() },
        Action::RecordRepair,
        Action::RecordTail,
        Action::Anchor { place: "file".to_owned() },
        Action::Anchor { place: "elsewhere".to_owned() },
        Action::Snapshot,
        Action::Prune { to: 3 },
        Action::Prune { to: 4 },
        Action::Shutdown,
    ];
    let table = actions.map(|action| {
        let records = facts.iter().map(|fact| {
            let outputs = lines(&node.run(given(action.clone(), vec![fact.clone()])));
            if outputs.iter().any(|line| line.starts_with("facts-recorded")) { '+' } else { '-' }
        });
        records.collect::<String>()
    });
    assert_eq!(
        table,
        [
            "+---------",
            "-+--------",
            "--+-------",
            "---+------",
            "----+-----",
            "-----+----",
            "------+---",
            "----------",
            "-------+--",
            "--------+-",
            "----------",
            "----------"
        ]
    );
}

#[test]
fn an_agent_may_not_admit_anybody() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let by = Principal::Agent { agent: name("echo"), process: ProcessId { index: 0, generation: 0 } };
    let (action, facts) = (Action::Admit { node: node.id() }, vec![burnt(&node)]);
    let outputs = node.run(Input::FactsGiven { ticket: Ticket(5), by, action, facts });
    assert_eq!(
        lines(&outputs),
        ["persist [gate.denied]", "facts-refused 5 denied by rule default-closed#4", "announce [gate.denied]"]
    );
}
