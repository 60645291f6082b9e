//! Rights over time: given, passed on no wider, used up, ended, and taken back here and on every node that has heard of it.

use weft_kernel::{Answer, AskId, Input, Output, Route, Syscall};
use weft_protocol::{
    AgentSpec, Envelope, Fact, GrantId, GrantIssued, GrantRef, GrantTerms, MessageId, NodeId, Principal, RestartPolicy,
    Role, Timestamp,
};

use crate::node::{Node, START, echo, effects, granted, message, name, transmitted};

fn terms(spec: &str) -> GrantTerms {
    GrantTerms { spec: spec.parse().expect("a grant"), expires: None, uses: None }
}

fn grant(to: &str, terms: GrantTerms) -> Syscall {
    Syscall::Grant { to: to.parse().expect("a target"), terms, lasts_us: None }
}

fn ask(node: &mut Node, by: &Principal, syscall: Syscall, route: Route) -> Vec<Output> {
    node.run(Input::Asked { ask: AskId(1), by: by.clone(), syscall: Box::new(syscall), route })
}

fn said(node: &mut Node, by: &Principal, syscall: Syscall) -> String {
    effects(&ask(node, by, syscall, Route::Local)).join("; ")
}

/// Gives a right, which must be possible.
fn give(node: &mut Node, by: &Principal, syscall: Syscall, route: Route) -> GrantIssued {
    let outputs = ask(node, by, syscall, route);
    let answer = outputs.iter().find_map(|output| match output {
        Output::Answer { answer: Ok(Answer::Granted(issued)), .. } => Some(issued.as_ref().clone()),
        _ => None,
    });
    answer.unwrap_or_else(|| panic!("not given: {:?}", effects(&outputs)))
}

fn revoke(node: &mut Node, by: &Principal, grant: GrantId) -> String {
    said(node, by, Syscall::Revoke { grant })
}

fn calls(node: &mut Node, by: &Principal, target: &str) -> bool {
    let said = said(node, by, message(target, "hi", "received"));
    assert!(said.contains("answer 1 sent") || said.contains("denied"), "{said}");
    !said.contains("denied")
}

#[test]
fn a_right_is_given_and_taken_back_and_both_are_events_before_they_are_answers() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let by = node.start_agent(echo("asker"));
    assert!(!calls(&mut node, &by, "echo"));
    let asked = node.asked(7, grant("asker", terms("send:echo")));
    assert_eq!(effects(&node.give(asked)), Vec::<String>::new(), "the record comes first");
    let answered = effects(&node.persist()).join("; ");
    assert!(answered.starts_with("answer 7 Granted("), "{answered}");
    assert!(calls(&mut node, &by, "echo"));
    let issued = node.facts().into_iter().find_map(|fact| match fact {
        Fact::GrantIssued(issued) => Some(issued),
        _ => None,
    });
    let issued = issued.expect("it is recorded");
    assert_eq!((issued.to.agent.as_str(), &issued.by), ("asker", &Principal::Operator));
    assert_eq!(issued.grant.depth, 4);
    let revoked = revoke(&mut node, &Principal::Operator, issued.grant.id);
    assert_eq!(revoked, format!("answer 1 Revoked {{ grant: {:?} }}", issued.grant.id));
    assert!(!calls(&mut node, &by, "echo"));
    assert!(node.kinds().contains(&"grant.revoked".to_owned()));
    let again = revoke(&mut node, &Principal::Operator, issued.grant.id);
    assert!(again.starts_with("answer 1 invalid: no grant g-"), "{again}");
    let nobody = said(&mut node, &Principal::Operator, grant("nobody", terms("send:echo")));
    assert_eq!(nobody, "answer 1 no-responder: no responder: nobody");
}

#[test]
fn what_is_passed_on_is_never_wider_and_the_refusal_names_both() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let boss = node.start_agent(echo("boss"));
    node.start_agent(echo("helper"));
    let held = GrantTerms { expires: Some(Timestamp(START.0 + 9_000_000)), uses: Some(10), ..terms("send:echo*") };
    let held = give(&mut node, &Principal::Operator, grant("boss", held), Route::Local).grant;
    let id = held.id;
    let until = format!("until {}.000000", START.0 / 1_000_000 + 9);
    let nearest = format!("is wider than what is held: {id} send:echo* 10 times {until}");
    let late = GrantTerms { expires: Some(Timestamp(START.0 + 9_000_001)), ..terms("send:echo") };
    let much = GrantTerms { uses: Some(11), ..terms("send:echo") };
    let cases = [
        (terms("send:e*"), format!("send:e* {nearest}")),
        (late, format!("send:echo until {}.000001 {nearest}", START.0 / 1_000_000 + 9)),
        (much, format!("send:echo 11 times {nearest}")),
        (terms("call:echo"), "call:echo is wider than what is held: no call at all".to_owned()),
    ];
    for (asked, expected) in cases {
        assert_eq!(said(&mut node, &boss, grant("helper", asked)), format!("answer 1 wider: {expected}"));
    }
    let denials = node.facts().into_iter().filter(|fact| matches!(fact, Fact::Denied(one) if one.action == "grant"));
    assert_eq!(denials.count(), 4, "each is an event");
    let passed_on = give(&mut node, &boss, grant("helper", terms("send:echo")), Route::Local).grant;
    assert_eq!((passed_on.expires, passed_on.uses, passed_on.depth), (held.expires, Some(10), 3));
    assert_eq!(passed_on.parents, [GrantRef { node: node.id(), grant: id }]);
}

#[test]
fn a_right_is_passed_on_four_times_and_no_further() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let agents: Vec<Principal> = (0..6).map(|number| node.start_agent(echo(&format!("agent-{number}")))).collect();
    give(&mut node, &Principal::Operator, grant("agent-0", terms("send:echo")), Route::Local);
    for number in 0..4 {
        let to = format!("agent-{}", number + 1);
        give(&mut node, &agents[number], grant(&to, terms("send:echo")), Route::Local);
        assert!(calls(&mut node, &agents[number + 1], "echo"));
    }
    let refused = said(&mut node, &agents[4], grant("agent-5", terms("send:echo")));
    assert!(refused.ends_with("send:echo not to be passed on"), "{refused}");
}

#[test]
fn what_was_passed_on_falls_with_its_parent_and_whoever_passed_it_on_may_take_it_back() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let boss = node.start_agent(granted("boss", &["send:echo", "subscribe:jobs"]));
    let [helper, other] = ["helper", "other"].map(|agent| node.start_agent(echo(agent)));
    let first = give(&mut node, &boss, grant("helper", terms("send:echo")), Route::Local).grant;
    let second = give(&mut node, &helper, grant("other", terms("send:echo")), Route::Local).grant;
    give(&mut node, &boss, grant("helper", terms("subscribe:jobs")), Route::Local);
    let pattern = "jobs".parse().expect("a topic");
    said(&mut node, &helper, Syscall::Subscribe { pattern, start: weft_kernel::Start::Now });
    assert!(calls(&mut node, &helper, "echo") && calls(&mut node, &other, "echo"));
    let refused = revoke(&mut node, &helper, first.id);
    assert_eq!(refused, "answer 1 denied: denied by rule grant#3", "who holds it did not give it");
    assert!(revoke(&mut node, &helper, second.id).contains("Revoked"));
    assert!(calls(&mut node, &helper, "echo") && !calls(&mut node, &other, "echo"));
    give(&mut node, &helper, grant("other", terms("send:echo")), Route::Local);
    assert!(revoke(&mut node, &boss, first.id).contains("Revoked"));
    assert!(!calls(&mut node, &helper, "echo") && !calls(&mut node, &other, "echo"), "the whole line falls");
    let process = node.kernel.agent(&name("boss")).expect("it lives");
    let listening = node.kernel.process(process).expect("it lives").grants;
    let listening = listening.into_iter().find(|grant| grant.spec.to_string() == "subscribe:jobs").expect("held");
    let outputs = revoke(&mut node, &Principal::Operator, listening.id);
    assert!(outputs.contains("follow []"), "the helper's subscription ends with its right: {outputs}");
}

#[test]
fn a_budget_is_counted_for_the_whole_line_and_over_a_crash() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let permanent = |agent: &str| AgentSpec { restart: RestartPolicy::Permanent, ..echo(agent) };
    let [boss, helper] = ["boss", "helper"].map(|agent| node.start_agent(permanent(agent)));
    let held = GrantTerms { uses: Some(3), ..terms("send:echo") };
    give(&mut node, &Principal::Operator, grant("boss", held), Route::Local);
    let passed_on = GrantTerms { uses: Some(2), ..terms("send:echo") };
    let passed_on = give(&mut node, &boss, grant("helper", passed_on), Route::Local).grant;
    assert!(calls(&mut node, &helper, "echo") && calls(&mut node, &helper, "echo"));
    let spent = said(&mut node, &helper, message("echo", "hi", "received"));
    assert_eq!(spent, format!("answer 1 denied: denied by rule grant#3 used up {}", passed_on.id));
    node.crash();
    node.run(Input::Woken);
    let lives = ["boss", "helper"].map(|agent| {
        let process = node.kernel.agent(&name(agent)).expect("it lives again");
        node.run(Input::AgentStarted { process, pid: None });
        Principal::Agent { agent: name(agent), process }
    });
    node.start_agent(echo("echo"));
    assert!(!calls(&mut node, &lives[1], "echo"), "still used up");
    assert!(calls(&mut node, &lives[0], "echo"), "the third of three");
    assert!(!calls(&mut node, &lives[0], "echo"), "the helper's count for it too");
}

#[test]
fn what_was_given_and_taken_back_is_so_after_a_crash() {
    let mut node = Node::new("alpha");
    node.start_agent(AgentSpec { restart: RestartPolicy::Permanent, ..granted("asker", &["call:first"]) });
    let keep = give(&mut node, &Principal::Operator, grant("asker", terms("call:keep")), Route::Local).grant;
    let gone = give(&mut node, &Principal::Operator, grant("asker", terms("call:gone")), Route::Local).grant;
    revoke(&mut node, &Principal::Operator, gone.id);
    for _ in 0..2 {
        node.crash();
        let started = node.run(Input::Woken);
        let held = |node: &Node| {
            let process = node.kernel.agent(&name("asker")).expect("it lives again");
            let grants = node.kernel.process(process).expect("it lives").grants;
            grants.into_iter().map(|grant| grant.spec.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(held(&node), ["call:first", "call:keep"]);
        let told = started.iter().find_map(|output| match output {
            Output::Start { spec, .. } => Some(spec.grants.len()),
            _ => None,
        });
        assert_eq!(told, Some(2), "and it is told of both");
    }
    revoke(&mut node, &Principal::Operator, keep.id);
    assert!(!node.kernel.grants().iter().any(|one| one.grant.id == keep.id));
}

#[test]
fn a_right_ends_by_itself() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let by = node.start_agent(echo("asker"));
    let lasting =
        Syscall::Grant { to: "asker".parse().expect("a target"), terms: terms("send:echo"), lasts_us: Some(1_000_000) };
    give(&mut node, &Principal::Operator, lasting, Route::Local);
    node.pass(999_999);
    assert!(calls(&mut node, &by, "echo"));
    node.pass(1);
    assert!(!calls(&mut node, &by, "echo"));
}

/// alpha gives beta's agent a right towards alpha and gamma; all three know what alpha recorded.
struct Three {
    alpha: Node,
    beta: Node,
    gamma: Node,
    worker: Principal,
    issued: GrantIssued,
    /// How many messages were sent: each needs an id of its own.
    sent: u64,
}

impl Three {
    fn new(spec: &str, uses: Option<u64>) -> Self {
        let (mut alpha, mut beta) = (Node::with_agents("alpha", &["echo"]), Node::with_agents("beta", &["echo"]));
        let mut gamma = Node::with_agents("gamma", &["echo"]);
        let worker = beta.start_agent(echo("worker"));
        let asked = grant("worker@beta", GrantTerms { uses, ..terms(spec) });
        let issued = give(&mut alpha, &Principal::Operator, asked, Route::Remote(beta.id()));
        for other in [&mut beta, &mut gamma] {
            other.run(Input::GrantLearned { issuer: alpha.id(), issued: Box::new(issued.clone()) });
        }
        Self { alpha, beta, gamma, worker, issued, sent: 0 }
    }

    /// What beta transmits when its worker calls echo on that node.
    fn transmit(&mut self, to: NodeId, target: &str) -> Result<Envelope, String> {
        let outputs = ask(&mut self.beta, &self.worker, message(target, "hi", "received"), Route::Remote(to));
        let said = effects(&outputs).join("; ");
        if said.starts_with("transmit") { Ok(transmitted(&outputs)) } else { Err(said) }
    }

    /// What a node makes of this message under a new id: a node that has not heard, or does not want to, sends it again.
    fn arrive(&mut self, at: fn(&mut Self) -> &mut Node, envelope: &Envelope) -> String {
        self.sent += 1;
        let id = MessageId { counter: 40_000 + self.sent, ..envelope.id };
        let (from, envelope) = (self.beta.id(), Box::new(Envelope { id, ..envelope.clone() }));
        let said = effects(&at(self).run(Input::EnvelopeArrived { from, role: Role::Worker, envelope }));
        said.join("; ").replace(&format!("m{}", 40_000 + self.sent), "m")
    }

    fn alpha(&mut self) -> &mut Node {
        &mut self.alpha
    }

    fn gamma(&mut self) -> &mut Node {
        &mut self.gamma
    }
}

#[test]
fn a_revocation_counts_on_every_node_that_has_heard_of_it_whatever_the_sender_says() {
    let mut three = Three::new("send:echo@*", None);
    let (alpha, gamma, id) = (three.alpha.id(), three.gamma.id(), three.issued.grant.id);
    let to_alpha = three.transmit(alpha, "echo@alpha").expect("permitted");
    let to_gamma = three.transmit(gamma, "echo@gamma").expect("permitted");
    let delivered = "acknowledge m received; deliver m to #0.0 `hi`";
    assert_eq!(three.arrive(Three::alpha, &to_alpha), delivered);
    assert_eq!(three.arrive(Three::gamma, &to_gamma), delivered);
    assert!(revoke(&mut three.alpha, &Principal::Operator, id).contains("Revoked"));
    let refused = format!("acknowledge m denied: denied by rule grant#3 revoked {id}");
    assert_eq!(three.arrive(Three::alpha, &to_alpha), refused, "whoever took it back knows at once");
    assert_eq!(three.arrive(Three::gamma, &to_gamma), delivered, "gamma has not heard");
    let grant = GrantRef { node: alpha, grant: id };
    let learned = || Input::RevocationLearned { issuer: alpha, grant };
    three.gamma.run(learned());
    assert_eq!(three.arrive(Three::gamma, &to_gamma), refused);
    let given_up = effects(&three.beta.run(learned())).join("; ");
    assert_eq!(given_up.matches(&format!("denied by rule grant#3 revoked {id}")).count(), 2, "{given_up}");
    let denied = three.transmit(gamma, "echo@gamma").expect_err("it is gone");
    assert_eq!(denied, "answer 1 denied: denied by rule default-closed#4");
    let issued = Box::new(three.issued.clone());
    three.gamma.run(Input::GrantLearned { issuer: alpha, issued });
    assert_eq!(three.arrive(Three::gamma, &to_gamma), refused, "what was taken back does not come again");
}

#[test]
fn only_its_giver_takes_a_grant_back_for_others() {
    let mut three = Three::new("send:echo@*", None);
    let (alpha, beta, gamma) = (three.alpha.id(), three.beta.id(), three.gamma.id());
    let to_gamma = three.transmit(gamma, "echo@gamma").expect("permitted");
    let grant = GrantRef { node: alpha, grant: three.issued.grant.id };
    three.gamma.run(Input::RevocationLearned { issuer: beta, grant });
    assert!(three.arrive(Three::gamma, &to_gamma).contains("deliver"), "beta cannot speak for alpha");
    let local = three.alpha.start_agent(granted("local", &["send:echo"]));
    let held = three.alpha.kernel.grants().into_iter().find(|one| one.agent == name("local")).expect("held").grant;
    let grant_of_alpha = GrantRef { node: alpha, grant: held.id };
    three.alpha.run(Input::RevocationLearned { issuer: beta, grant: grant_of_alpha });
    assert!(calls(&mut three.alpha, &local, "echo"), "nor for what alpha's own agents hold");
    assert!(revoke(&mut three.gamma, &Principal::Operator, grant.grant).contains("no grant"), "not gamma's business");
    assert!(
        revoke(&mut three.beta, &Principal::Operator, grant.grant).contains("Revoked"),
        "its own agent it may bind"
    );
    assert!(three.transmit(gamma, "echo@gamma").is_err());
}

#[test]
fn a_grant_that_its_giver_did_not_give_like_this_is_not_accepted() {
    let mut three = Three::new("send:echo@*", None);
    let gamma = three.gamma.id();
    let to_gamma = three.transmit(gamma, "echo@gamma").expect("permitted");
    let id = three.issued.grant.id;
    let changed = |change: fn(&mut weft_protocol::Grant)| {
        let mut envelope = to_gamma.clone();
        change(envelope.grant.as_mut().expect("a grant"));
        envelope
    };
    let unknown = |id| format!("acknowledge m denied: denied by rule grant#3 unknown {id}");
    let wider = changed(|grant| grant.spec = "send:*".parse().expect("a grant"));
    assert_eq!(three.arrive(Three::gamma, &wider), unknown(id));
    let another = changed(|grant| grant.id = GrantId(7));
    assert_eq!(three.arrive(Three::gamma, &another), unknown(GrantId(7)));
    let longer =
        changed(|grant| grant.parents = vec![GrantRef { node: NodeId::from_bytes([9; 32]), grant: GrantId(1) }; 5]);
    assert_eq!(three.arrive(Three::gamma, &longer), unknown(id));
    let mut other_node = to_gamma;
    other_node.id.chain.node = three.alpha.id();
    other_node.from.node = three.alpha.id();
    let (from, envelope) = (three.alpha.id(), Box::new(other_node));
    let said = effects(&three.gamma.run(Input::EnvelopeArrived { from, role: Role::Worker, envelope })).join("; ");
    assert!(said.contains("deliver"), "alpha itself may say what it likes of its own agents: {said}");
}

#[test]
fn what_another_node_gave_counts_for_nothing_at_home() {
    let mut three = Three::new("send:*", None);
    let local = said(&mut three.beta, &three.worker.clone(), message("echo", "hi", "received"));
    assert_eq!(local, "answer 1 denied: denied by rule default-closed#4");
    three.beta.start_agent(echo("friend"));
    let worker = three.worker.clone();
    let passed_on = give(&mut three.beta, &worker, grant("friend", terms("send:echo@*")), Route::Local);
    let process = passed_on.to.process.expect("it is here");
    let friend = Principal::Agent { agent: name("friend"), process };
    let local = said(&mut three.beta, &friend, message("echo@beta", "hi", "received"));
    assert_eq!(local, "answer 1 denied: denied by rule default-closed#4");
    let gamma = three.gamma.id();
    let outputs = ask(&mut three.beta, &friend, message("echo@gamma", "hi", "received"), Route::Remote(gamma));
    let envelope = transmitted(&outputs);
    assert!(three.arrive(Three::gamma, &envelope).contains("deliver"));
    let id = three.issued.grant.id;
    three.gamma.run(Input::RevocationLearned {
        issuer: three.alpha.id(),
        grant: GrantRef { node: three.alpha.id(), grant: id },
    });
    let refused = three.arrive(Three::gamma, &envelope);
    assert_eq!(
        refused,
        format!("acknowledge m denied: denied by rule grant#3 revoked {id}"),
        "it falls with its parent"
    );
    let wrong = ask(&mut three.alpha, &Principal::Operator, grant("x@beta", terms("publish:*")), Route::Remote(gamma));
    assert_eq!(
        effects(&wrong),
        ["answer 1 invalid: an agent of another node can be given send, call and rights over agents, not publish"]
    );
}

#[test]
fn a_receiver_counts_uses_for_itself() {
    let mut three = Three::new("send:echo@*", Some(2));
    let alpha = three.alpha.id();
    let envelope = three.transmit(alpha, "echo@alpha").expect("permitted");
    assert!(three.arrive(Three::alpha, &envelope).contains("deliver"));
    assert!(three.arrive(Three::alpha, &envelope).contains("deliver"));
    let id = three.issued.grant.id;
    let refused = format!("acknowledge m denied: denied by rule grant#3 used up {id}");
    assert_eq!(three.arrive(Three::alpha, &envelope), refused);
    three.alpha.crash();
    three.alpha.run(Input::Woken);
    three.alpha.start_agent(echo("echo"));
    assert_eq!(three.arrive(Three::alpha, &envelope), refused, "it remembers");
}

#[test]
fn of_a_member_that_revokes_without_end_nothing_is_accepted() {
    let mut three = Three::new("send:echo@*", None);
    let (alpha, gamma) = (three.alpha.id(), three.gamma.id());
    let envelope = three.transmit(gamma, "echo@gamma").expect("permitted");
    for number in 0..4_096 {
        let grant = GrantRef { node: alpha, grant: GrantId(number) };
        three.gamma.run(Input::RevocationLearned { issuer: alpha, grant });
    }
    assert!(three.arrive(Three::gamma, &envelope).contains("deliver"));
    for number in [5_000, 5_001] {
        let grant = GrantRef { node: alpha, grant: GrantId(number) };
        three.gamma.run(Input::RevocationLearned { issuer: alpha, grant });
    }
    let refused = three.arrive(Three::gamma, &envelope);
    assert!(refused.contains("denied by rule grant#3 revoked"), "what was forgotten must not come back: {refused}");
}
