//! A new chain of a node that had one: what its operator made stands on it again, and what only the old one may close stays open.

use weft_kernel::{Answer, AskId, CronSpec, Input, Output, Syscall};
use weft_protocol::{AgentSpec, CronId, Fact, MissedRule, Principal, ProcessId, RestartPolicy, Role};

use crate::node::{Node, echo, effects, granted, message, name, text, transmitted};
use crate::pair::Pair;

fn permanent(spec: AgentSpec) -> AgentSpec {
    AgentSpec { restart: RestartPolicy::Permanent, ..spec }
}

fn jobs(node: &mut Node) -> Vec<(CronId, String)> {
    let asked = node.asked(7, Syscall::CronList);
    let outputs = node.run(asked);
    let listed = outputs.into_iter().find_map(|output| match output {
        Output::Answer { ask: AskId(7), answer: Ok(Answer::CronJobs(jobs)) } => Some(jobs),
        _ => None,
    });
    listed.expect("a list").into_iter().map(|job| (job.id, job.added.expression)).collect()
}

fn add_job(node: &mut Node, expression: &str) {
    let spec = CronSpec {
        expression: expression.to_owned(),
        timezone: "UTC".to_owned(),
        target: "echo".parse().expect("a target"),
        payload: text("tick"),
        missed: MissedRule::Skip,
    };
    let asked = node.asked(8, Syscall::CronAdd { spec: Box::new(spec) });
    node.run(asked);
}

#[test]
fn what_was_made_on_the_old_chain_stands_on_the_new_one() {
    let mut node = Node::new("alpha");
    node.start_agent(permanent(granted("echo", &["send:*"])));
    add_job(&mut node, "0 0 * * *");
    add_job(&mut node, "30 2 * * *");
    let head = node.kernel.chain_state().head();
    let old = node.kernel.process(ProcessId { index: 0, generation: 0 }).expect("it lives");

    node.crash_into_new_chain(8);
    let outputs = effects(&node.run(Input::Woken));
    assert_eq!(outputs, ["start echo#0.65536"], "its number is none that the lost end of the old chain may hold");
    let Some(Fact::Genesis(genesis)) = node.facts().into_iter().next() else { panic!("a chain begins with a genesis") };
    assert_eq!(genesis.previous, head);
    assert_eq!(node.kinds()[..3], ["genesis", "node.boot", "process.exited"]);
    let process = node.kernel.agent(&name("echo")).expect("it lives again");
    assert_eq!(node.kernel.process(process).expect("it lives").grants, old.grants);
    node.run(Input::AgentStarted { process, pid: None });
    let again = jobs(&mut node);
    let expressions: Vec<&str> = again.iter().map(|(_, expression)| expression.as_str()).collect();
    assert_eq!(expressions, ["0 0 * * *", "30 2 * * *"]);

    node.crash();
    node.run(Input::Woken);
    assert_eq!(jobs(&mut node), again, "once is enough");
    assert_eq!(node.kinds().iter().filter(|kind| *kind == "cron.added").count(), 2);
}

#[test]
fn an_intent_of_the_old_chain_is_not_closed_on_the_new_one() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, Syscall::Spawn { spec: Box::new(echo("echo")) });
    node.give(asked);
    let batch = node.writing.clone().expect("the intent is being written");
    node.disk.write(&batch);
    node.crash_into_new_chain(8);
    node.run(Input::Woken);
    assert_eq!(node.kinds(), ["genesis", "node.boot", "process.exited"]);
    node.crash();
    node.run(Input::Woken);
    assert_eq!(node.kinds()[3..], ["node.boot"], "and its process ends once");
}

#[test]
fn a_copy_of_a_message_that_the_old_chain_answered_is_answered_by_its_record() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "durable"));
    let [alpha, beta] = &mut pair.nodes;
    let (from, role, envelope) = (alpha.id(), Role::Worker, Box::new(transmitted(&alpha.give(asked))));
    let (process, id) = (ProcessId { index: 0, generation: 0 }, envelope.id);
    let arrived = Input::EnvelopeArrived { from, role, envelope };
    beta.run(arrived.clone());
    let answered = beta.run(Input::AgentAnswered { process, message: id, answer: Ok(Some(text("ho"))) });
    let receipt = effects(&answered);
    assert_eq!(receipt, ["acknowledge m0 executed `ho` #5"]);
    beta.crash_into_new_chain(8);
    beta.run(Input::Woken);
    assert_eq!(effects(&beta.run(arrived)), receipt, "its record stands on the old chain");
}
