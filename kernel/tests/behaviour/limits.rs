//! Bounds of processes: told at four fifths, ended or refused at the bound, and the chain says what was measured.

use std::collections::BTreeMap;

use weft_kernel::{AskId, Input, KernelConfig, Measured, ProcessState, Route, Syscall};
use weft_protocol::{
    AgentSpec, Backend, ExitReason, Fact, Principal, ProcessId, Resource, ResourceLimits, ResourceUse, RestartPolicy,
};

use crate::node::{Node, echo, effects, granted, message, name, text};

const PROGRAM: ProcessId = ProcessId { index: 0, generation: 0 };

fn program(limits: ResourceLimits) -> AgentSpec {
    let backend =
        Backend::Command { command: vec!["program".to_owned()], environment: BTreeMap::new(), trusted: false };
    AgentSpec { backend, limits, ..echo("program") }
}

fn bounded() -> ResourceLimits {
    ResourceLimits { memory_bytes: Some(1_000), cpu_us: Some(5_000_000), ..ResourceLimits::default() }
}

fn memory(bytes: u64) -> Input {
    let measured = Measured { memory_bytes: Some(bytes), ..Measured::default() };
    Input::ResourcesMeasured { process: PROGRAM, measured }
}

#[test]
fn a_process_is_warned_at_four_fifths_and_stopped_at_its_bound() {
    let mut node = Node::new("alpha");
    node.start_agent(program(bounded()));
    assert_eq!(effects(&node.run(memory(799))), Vec::<String>::new());
    assert_eq!(effects(&node.run(memory(820))), ["warn #0.0 memory 820 of 1000"]);
    assert_eq!(effects(&node.run(memory(900))), Vec::<String>::new(), "once");
    let over = node.give(memory(1_024));
    assert_eq!(effects(&over), ["advertise []"], "the intent comes first");
    assert_eq!(effects(&node.persist()), ["stop #0.0"]);
    assert_eq!(effects(&node.run(memory(2_000))), Vec::<String>::new(), "it is on its way out");
    node.run(Input::AgentExited { process: PROGRAM, reason: ExitReason::Killed { signal: 9 } });
    let used = |measured| ResourceUse {
        process: PROGRAM,
        agent: name("program"),
        resource: Resource::Memory,
        measured,
        limit: 1_000,
    };
    let facts = node.facts();
    assert!(facts.contains(&Fact::ResourceWarned(used(820))), "{facts:?}");
    assert!(facts.contains(&Fact::ResourceExceeded(used(1_024))), "{facts:?}");
    let reason = ExitReason::OverLimit { resource: Resource::Memory, measured: 1_024, limit: 1_000 };
    let shown = node.kernel.process(PROGRAM).expect("it is remembered");
    assert_eq!(shown.state, ProcessState::Exited(reason.clone()));
    assert_eq!(shown.used[&Resource::Memory], Some(2_000), "what was measured last");
    assert_eq!(shown.used[&Resource::Cpu], None, "nobody measured that");
    assert_eq!(reason.to_string(), "over its memory limit: used 1024 bytes of 1000 bytes");
}

#[test]
fn the_first_bound_that_is_passed_is_named_and_each_warns_for_itself() {
    let mut node = Node::new("alpha");
    node.start_agent(program(bounded()));
    let both = |memory_bytes, cpu_us| {
        let measured = Measured { memory_bytes: Some(memory_bytes), cpu_us: Some(cpu_us), disk_bytes: Some(9) };
        Input::ResourcesMeasured { process: PROGRAM, measured }
    };
    assert_eq!(
        effects(&node.run(both(850, 4_000_000))),
        ["warn #0.0 memory 850 of 1000", "warn #0.0 cpu 4000000 of 5000000"]
    );
    node.run(both(850, 5_000_000));
    node.run(Input::AgentExited { process: PROGRAM, reason: ExitReason::Stopped });
    let reason = ExitReason::OverLimit { resource: Resource::Cpu, measured: 5_000_000, limit: 5_000_000 };
    assert_eq!(node.kernel.process(PROGRAM).expect("remembered").state, ProcessState::Exited(reason));
}

#[test]
fn a_program_has_the_nodes_bounds_where_its_spawn_is_silent() {
    let limits = ResourceLimits { memory_bytes: Some(100), disk_bytes: Some(200), ..ResourceLimits::default() };
    let mut node = Node::unborn("alpha", KernelConfig { limits, ..crate::node::at_once() });
    node.run(Input::Woken);
    let asked = ResourceLimits { disk_bytes: Some(ResourceLimits::UNBOUNDED), ..ResourceLimits::default() };
    node.start_agent(program(asked));
    node.start_agent(echo("inside"));
    let shown = |place| {
        let process = ProcessId { index: place, generation: 0 };
        node.kernel.process(process).expect("it lives").limits
    };
    assert_eq!((shown(0).bound(Resource::Memory), shown(0).bound(Resource::Disk)), (Some(100), None));
    assert_eq!(shown(1), ResourceLimits::default(), "a built-in agent has none");
    let measured = Measured { disk_bytes: Some(1 << 40), ..Measured::default() };
    assert_eq!(effects(&node.run(Input::ResourcesMeasured { process: PROGRAM, measured })), Vec::<String>::new());
    assert_eq!(effects(&node.run(memory(100))), ["advertise [inside#1.0]", "stop #0.0"]);
}

#[test]
fn bounds_that_nobody_could_keep_are_refused() {
    let mut node = Node::new("alpha");
    let mut refused = |spec: AgentSpec| {
        let asked = node.asked(1, Syscall::Spawn { spec: Box::new(spec) });
        effects(&node.run(asked)).join("; ")
    };
    let inside = AgentSpec { limits: bounded(), ..echo("inside") };
    assert_eq!(
        refused(inside),
        "answer 1 invalid: a built-in agent runs inside the node, so its memory cannot be measured: limit messages or \
         tool-calls"
    );
    let nothing = ResourceLimits { messages: Some(0), ..ResourceLimits::default() };
    assert_eq!(refused(program(nothing)), "answer 1 invalid: a messages limit of 0 lets nothing run");
}

#[test]
fn messages_and_tool_calls_are_counted_and_the_one_beyond_is_refused() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let limits = ResourceLimits { messages: Some(5), tool_calls: Some(1), ..ResourceLimits::default() };
    let by = node.start_agent(AgentSpec { limits, ..granted("asker", &["send:echo", "publish:jobs"]) });
    let mut ask = |by: &Principal, syscall: Syscall| {
        let asked = Input::Asked { ask: AskId(1), by: by.clone(), syscall: Box::new(syscall), route: Route::Local };
        effects(&node.run(asked)).join("; ")
    };
    let send = || message("echo", "hi", "received");
    for _ in 0..3 {
        assert!(ask(&by, send()).contains("answer 1 sent"));
    }
    assert!(ask(&by, message("secret", "hi", "received")).contains("denied"), "what is denied is not counted");
    let publish = Syscall::Publish { topic: "jobs".parse().expect("a topic"), payload: text("x"), trace: None };
    assert!(ask(&by, publish.clone()).starts_with("warn #1.0 messages 4 of 5; publish jobs"));
    assert!(ask(&by, send()).contains("answer 1 sent"));
    let refused = "answer 1 limit-reached: the limit of 5 messages is reached";
    assert_eq!(ask(&by, send()), refused);
    assert_eq!(ask(&by, publish), refused);
    assert!(ask(&Principal::Operator, send()).contains("answer 1 sent"), "an operator's are not counted");
    let tool = || Syscall::CallTool { name: "fs.read".to_owned() };
    assert_eq!(ask(&by, tool()), "answer 1 unsupported: not supported: the tool fs.read");
    assert_eq!(ask(&by, tool()), "answer 1 limit-reached: the limit of 1 tool calls is reached");
    let shown = node.kernel.agent(&name("asker")).and_then(|process| node.kernel.process(process)).expect("it lives");
    assert_eq!((shown.used[&Resource::Messages], shown.used[&Resource::ToolCalls]), (Some(5), Some(1)));
    let denials = node.facts().into_iter().filter(|fact| {
        matches!(fact, Fact::Denied(denial) if denial.rule == "limit messages=5" && denial.resource == "messages")
    });
    assert_eq!(denials.count(), 2);
}

#[test]
fn a_permanent_agent_that_passed_its_bound_lives_again_after_a_restart_and_counts_from_zero() {
    let mut node = Node::new("alpha");
    node.start_agent(AgentSpec { restart: RestartPolicy::Permanent, ..program(bounded()) });
    node.run(memory(1_000));
    node.run(Input::AgentExited { process: PROGRAM, reason: ExitReason::Stopped });
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start program#0.1"]);
    let again = node.kernel.process(ProcessId { index: 0, generation: 1 }).expect("it lives");
    assert_eq!(again.used[&Resource::Memory], None);
}
