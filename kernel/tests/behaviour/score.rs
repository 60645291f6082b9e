//! What the end of a process says of its agent, and what nobody but the operator may say of a resource.

use weft_kernel::{Action, Input, KernelConfig, Ticket};
use weft_protocol::{ExitReason, Fact, Millionths, Observation, Principal, ProcessId, ResourcePath, ResourceScored};

use crate::node::{Node, echo, lines, message};

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

fn scores(node: &Node) -> Vec<ResourceScored> {
    let scored = |fact: Fact| match fact {
        Fact::ResourceScored(scored) => Some(*scored),
        _ => None,
    };
    node.facts().into_iter().filter_map(scored).collect()
}

#[test]
fn a_life_is_scored_once_by_its_end_and_by_the_messages_it_was_handed() {
    let mut node = Node::unborn("alpha", KernelConfig { in_flight_max: 2, ..crate::node::at_once() });
    node.run(Input::Woken);
    node.start_agent(echo("echo"));
    for ask in [1, 2, 3] {
        let asked = node.asked(ask, message("echo", "hi", "executed"));
        let outputs = node.run(asked);
        if let Some(message) = outputs.iter().find_map(delivered) {
            let answer = if ask == 1 { Ok(None) } else { Err("no".to_owned()) };
            node.run(Input::AgentAnswered { process: ECHO, message, answer });
        }
    }
    node.run(Input::AgentExited { process: ECHO, reason: ExitReason::Exited { code: 0 } });
    let [scored] = scores(&node).try_into().expect("one record");
    assert_eq!(scored.path, ResourcePath::of_agent(&"echo".parse().expect("a name"), &node.id()));
    let seen = Observation {
        reliability: Some(Millionths::ONE),
        performance: Some(Millionths::ratio(1, 3)),
        ..Observation::default()
    };
    assert_eq!((scored.seen, scored.weight.to_string().as_str(), scored.by), (seen, "0.3", None));
}

fn delivered(output: &weft_kernel::Output) -> Option<weft_protocol::MessageId> {
    match output {
        weft_kernel::Output::Deliver { delivery, .. } => Some(delivery.message),
        _ => None,
    }
}

#[test]
fn a_failure_is_unreliable_and_the_end_of_the_node_says_nothing() {
    for (reason, reliability) in [
        (ExitReason::Killed { signal: 9 }, Some(Some(Millionths::ZERO))),
        (ExitReason::Exited { code: 1 }, Some(Some(Millionths::ZERO))),
        (ExitReason::Stopped, Some(Some(Millionths::ONE))),
        (ExitReason::NodeStopped, None),
        (ExitReason::Terminated { reason: "another of its group failed".into() }, None),
    ] {
        let mut node = Node::with_agents("alpha", &["echo"]);
        node.run(Input::AgentExited { process: ECHO, reason: reason.clone() });
        let seen = scores(&node).first().map(|scored| scored.seen.reliability);
        assert_eq!(seen, reliability, "{reason}");
    }
}

#[test]
fn only_what_the_operator_says_of_that_resource_is_recorded() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let path: ResourcePath = "/agents".parse().expect("a path");
    let seen = Observation { trust: Some(Millionths::ONE), ..Observation::default() };
    let scored = ResourceScored { path: path.clone(), seen, weight: Millionths::ONE, by: Some(Principal::Operator) };
    let mut give = |by: Principal, scored: ResourceScored| {
        let facts = vec![Fact::ResourceScored(Box::new(scored))];
        let action = Action::Score { path: path.clone() };
        lines(&node.run(Input::FactsGiven { ticket: Ticket(1), by, action, facts })).join("; ")
    };
    assert!(give(Principal::Operator, scored.clone()).contains("facts-recorded 1"));
    let refused = "these facts are not what `score` records";
    let other = ResourceScored { path: ResourcePath::root(), ..scored.clone() };
    assert!(give(Principal::Operator, other).contains(refused));
    let nothing = ResourceScored { seen: Observation::default(), ..scored.clone() };
    assert!(give(Principal::Operator, nothing).contains(refused));
    let unsigned = ResourceScored { by: None, ..scored.clone() };
    assert!(give(Principal::Operator, unsigned).contains(refused));
    let agent = Principal::Agent { agent: "echo".parse().expect("a name"), process: ECHO };
    assert!(give(agent, scored).contains("denied"));
}
