//! What a restart makes of what ran before it: every intent has an outcome, every process an end or a new life.

use weft_kernel::{AgentRef, Input, KernelConfig, Syscall};
use weft_protocol::{AgentSpec, EffectResult, ExitReason, Fact, ProcessId, RestartPolicy};

use crate::node::{Node, echo, effects, granted, message, name};

fn permanent(spec: AgentSpec) -> AgentSpec {
    AgentSpec { restart: RestartPolicy::Permanent, ..spec }
}

fn outcomes(node: &Node) -> Vec<(u64, EffectResult)> {
    let facts = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Outcome(outcome) => Some((outcome.intent, outcome.result)),
        _ => None,
    });
    facts.collect()
}

#[test]
fn an_intent_without_an_outcome_is_indeterminate_once() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, Syscall::Spawn { spec: Box::new(echo("echo")) });
    node.give(asked);
    let batch = node.writing.clone().expect("the intent is being written");
    node.disk.write(&batch);
    node.crash();
    node.run(Input::Woken);
    assert_eq!(outcomes(&node), [(2, EffectResult::Indeterminate)]);
    assert_eq!(node.kinds()[3..], ["node.boot", "effect.outcome", "process.exited"]);
    node.crash();
    node.run(Input::Woken);
    assert_eq!(outcomes(&node).len(), 1, "recovery twice is recovery once");
    assert_eq!(node.kinds()[6..], ["node.boot"]);
}

#[test]
fn an_intent_that_never_reached_the_disk_had_no_effect() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, Syscall::Spawn { spec: Box::new(echo("echo")) });
    let outputs = effects(&node.give(asked));
    assert_eq!(outputs, Vec::<String>::new());
    node.crash();
    node.run(Input::Woken);
    assert_eq!(node.kinds(), ["genesis", "node.boot", "node.boot"]);
}

#[test]
fn a_permanent_agent_lives_again_as_another_process_with_its_grants() {
    let mut node = Node::new("alpha");
    node.start_agent(permanent(granted("asker", &["call:echo"])));
    node.start_agent(echo("echo"));
    let before = node.kernel.process(ProcessId { index: 0, generation: 0 }).expect("it lives");
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start asker#0.1"]);
    let after = node.kernel.process(ProcessId { index: 0, generation: 1 }).expect("it starts");
    assert_eq!((after.grants, after.restarts, before.restarts), (before.grants, 1, 0));
    let asked = node.asked(1, message("#0.0", "hi", "executed"));
    assert_eq!(effects(&node.run(asked)), ["answer 1 gone: gone: #0.0"]);
    let asked = node.asked(1, message("#1.0", "hi", "executed"));
    assert_eq!(effects(&node.run(asked)), ["answer 1 gone: gone: #1.0"]);
    let ends = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Exited(exited) => Some((exited.agent, exited.reason)),
        _ => None,
    });
    let expected = [(name("asker"), ExitReason::NodeStopped), (name("echo"), ExitReason::NodeStopped)];
    assert_eq!(ends.collect::<Vec<_>>(), expected);
}

#[test]
fn an_agent_that_was_stopped_stays_stopped() {
    for reason in [ExitReason::Stopped, ExitReason::Killed { signal: 9 }] {
        let mut node = Node::new("alpha");
        node.start_agent(permanent(echo("echo")));
        let asked = node.asked(1, Syscall::Stop { agent: AgentRef::Name(name("echo")) });
        node.run(asked);
        node.run(Input::AgentExited { process: ProcessId { index: 0, generation: 0 }, reason });
        node.crash();
        assert_eq!(effects(&node.run(Input::Woken)), Vec::<String>::new());
    }
}

#[test]
fn an_agent_that_went_down_with_an_orderly_end_of_its_node_lives_again() {
    let mut node = Node::new("alpha");
    node.start_agent(permanent(echo("echo")));
    let asked = node.asked(1, Syscall::Shutdown);
    node.run(asked);
    let process = ProcessId { index: 0, generation: 0 };
    let ended = node.run(Input::AgentExited { process, reason: ExitReason::Stopped });
    assert_eq!(effects(&ended), ["advertise []", "answer 1 shutting-down [echo#0.0]", "halt"][1..]);
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start echo#0.1"]);
}

#[test]
fn a_configured_agent_is_started_unless_one_of_its_name_lives_again() {
    let config = KernelConfig { boot_agents: vec![echo("echo"), echo("other")], ..crate::node::at_once() };
    let mut node = Node::unborn("alpha", config);
    node.config.boot_agents = vec![permanent(echo("echo"))];
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start echo#0.0"]);
    node.config.boot_agents = vec![echo("echo"), echo("other")];
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start echo#0.1", "start other#1.0"]);
}
