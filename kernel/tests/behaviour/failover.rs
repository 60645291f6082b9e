//! An agent that runs for the time of a lease: begun and ended by it, judged by whose it is, left alone by a restart.

use weft_kernel::{Input, Leased, Output, check_failover};
use weft_protocol::{
    AgentSpec, Backend, Effect, ExitReason, Fact, Failover, NodeId, Principal, ProcessId, RestartPolicy, Role, Sender,
};

use crate::node::{Node, echo, effects};

/// More than half granted fence 3 of this agent, which that node's operator declared.
pub(crate) fn gained(by: NodeId, agent: &str, role: Option<Role>) -> Input {
    let spec = AgentSpec { restart: RestartPolicy::Permanent, failover: Some(Failover::default()), ..echo(agent) };
    let by = Sender { node: by, principal: Principal::Operator };
    Input::LeaseGained(Box::new(Leased { spec, fence: 3, by, role, ask: None }))
}

fn lost() -> Input {
    Input::LeaseLost { agent: "roamer".parse().expect("a name"), reason: "the lease ran out".into(), at_once: true }
}

const FIRST: ProcessId = ProcessId { index: 0, generation: 0 };

#[test]
fn it_is_started_under_its_fence_and_ended_without_grace() {
    let mut node = Node::new("alpha");
    let own = node.id();
    assert_eq!(effects(&node.run(gained(own, "roamer", None))), ["start roamer#0.0"]);
    let fences = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Intent(effect) => match *effect {
            Effect::Spawn { spec, .. } => spec.failover.and_then(|failover| failover.fence),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(fences.collect::<Vec<_>>(), [3]);
    node.run(Input::AgentStarted { process: FIRST, pid: None });
    let outputs = node.run(lost());
    assert!(outputs.contains(&Output::Stop { process: FIRST, grace_us: 0 }), "{outputs:?}");
    node.run(Input::AgentExited { process: FIRST, reason: ExitReason::Killed { signal: 9 } });
    let exit = node.facts().into_iter().find_map(|fact| match fact {
        Fact::Exited(exited) => Some(exited.reason),
        _ => None,
    });
    assert_eq!(exit, Some(ExitReason::Terminated { reason: "the lease ran out".into() }));
    assert!(!node.kernel.is_named(&"roamer".parse().expect("a name")), "permanent or not, it does not come back");
}

#[test]
fn a_restart_of_the_node_leaves_it_to_its_lease() {
    let mut node = Node::new("alpha");
    let own = node.id();
    node.run(gained(own, "roamer", None));
    node.run(Input::AgentStarted { process: FIRST, pid: None });
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), Vec::<String>::new());
}

#[test]
fn a_lease_that_is_lost_between_two_lives_ends_the_next_one_before_it_begins() {
    let mut node = Node::new("alpha");
    let own = node.id();
    node.run(gained(own, "roamer", None));
    node.run(Input::AgentStarted { process: FIRST, pid: None });
    node.run(Input::AgentExited { process: FIRST, reason: ExitReason::Exited { code: 1 } });
    assert!(node.kernel.is_named(&"roamer".parse().expect("a name")), "it waits for its next life");
    node.run(lost());
    assert!(!node.kernel.is_named(&"roamer".parse().expect("a name")));
    node.now = node.now.after_us(60_000_000);
    assert_eq!(effects(&node.run(Input::Woken)), Vec::<String>::new(), "nothing is due any more");
}

#[test]
fn what_another_node_declared_is_judged_as_a_start_from_there() {
    let mut node = Node::new("alpha");
    let there = NodeId::from_bytes([9; 32]);
    assert_eq!(effects(&node.run(gained(there, "roamer", Some(Role::Admin)))), ["start roamer#0.0"]);
    let denied = effects(&node.run(gained(there, "other", Some(Role::Worker))));
    assert_eq!(denied, ["lease-unused other 3 denied by rule member-role#2"]);
}

#[test]
fn who_cannot_move_is_told_so() {
    let trusted = Backend::Command { command: vec!["x".into()], environment: Default::default(), trusted: true };
    assert!(check_failover(&AgentSpec::new("a".parse().expect("a name"), trusted)).is_err());
    assert!(check_failover(&AgentSpec { needs: vec!["s".parse().expect("a name")], ..echo("a") }).is_err());
    assert!(check_failover(&echo("a")).is_ok());
}
