//! Who is asked for a service that nobody known here advertises, and what becomes of what they say.

use weft_discovery::Path;
use weft_kernel::Registration;
use weft_protocol::{
    Advert, AdvertVersion, AgentSpec, AuditLevel, Backend, BuiltinKind, LocalTarget, Payload, ServiceAdvert,
    SignedAdvert, Target,
};

use super::*;
use crate::config::PARKED_US_MAX;

/// A founder's peer that knows one other member, and everything that it asked of the world since the last look.
struct Pair {
    peer: Peer,
    beta: KeyPair,
    now: Timestamp,
    outputs: Vec<Output>,
}

impl Pair {
    /// The other member is there, and has not said what it runs.
    fn new() -> Self {
        let (keys, beta) = (Arc::new(KeyPair::generate([5; 32])), KeyPair::generate([6; 32]));
        let charter = Charter {
            founder: keys.public_keys().clone(),
            rules: genesis_rules().into(),
            nonce: ByteArray::new([1; 16]),
        };
        let certify = |of: &KeyPair, name: &str, role| {
            let certificate = Certificate {
                cluster: charter.cluster_id(),
                keys: of.public_keys().clone(),
                name: name.parse().expect("a name"),
                role,
                grants: Vec::new(),
                issuer: keys.public_keys().node(),
                issued: NOW,
                not_after: None,
            };
            Signed::new(&certificate, &*keys)
        };
        let founder = keys.public_keys().node();
        let gates = Gates::new(founder, &charter.rules, &charter.rules_hash()).expect("the genesis rules");
        let identity = PeerIdentity {
            name: "alpha".parse().expect("a name"),
            certificate: certify(&keys, "alpha", Role::Admin),
            members: vec![certify(&beta, "beta", Role::Worker)],
            charter,
            incarnation: Incarnation(1),
            disowned: Vec::new(),
            memory: Memory::Fresh,
            build: "test".to_owned(),
            addresses: Vec::new(),
        };
        let mut config = PeerConfig::default();
        let echo = Backend::Builtin(BuiltinKind::Echo);
        config.kernel.boot_agents = vec![AgentSpec::new("echo".parse().expect("a name"), echo)];
        let peer = Peer::new(config, identity, &Recovered::default(), keys, gates, 7, NOW);
        let mut pair = Self { peer, beta, now: NOW, outputs: Vec::new() };
        pair.give(Input::Woken);
        let path = Path { address: "/sim/b".to_owned(), transport: "quic", dialled: true, wire: 2 };
        pair.give(Input::Connected { node: pair.beta(), path });
        pair.outputs.clear();
        pair
    }

    fn beta(&self) -> NodeId {
        self.beta.public_keys().node()
    }

    /// One input, and whatever follows from what it asks for.
    fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let before = self.outputs.len();
            self.peer.handle(input, self.now, &mut self.outputs);
            self.peer.write(self.now, &mut self.outputs);
            inputs.extend(self.outputs[before..].iter().filter_map(|output| match output {
                Output::Persist(_) => Some(Input::Persisted),
                Output::Start { process, .. } => Some(Input::AgentStarted { process: *process, pid: None }),
                _ => None,
            }));
        }
    }

    /// Somebody here calls the service.
    fn call(&mut self, ask: u64) {
        let syscall = Syscall::Send {
            target: Target { node: None, local: LocalTarget::Service(sums()) },
            payload: Payload::Text("1 + 1".to_owned()),
            wants_reply: true,
            level: weft_protocol::Level {
                delivery: weft_protocol::Delivery::Executed,
                durability: weft_protocol::Durability::None,
            },
            deadline_us: 10 * PARKED_US_MAX,
            trace: None,
            cause: Vec::new(),
            idempotent: false,
            parts: false,
        };
        let question = Question::Kernel(Box::new(syscall));
        self.give(Input::Asked { ask: AskId(ask), by: Principal::Operator, question });
    }

    /// Members name somebody.
    fn name(&mut self, nodes: Vec<NodeId>) {
        self.give(Input::ProvidersFound { service: sums(), nodes });
    }

    /// The other member says what it serves, as the answer to this request.
    fn advertise(&mut self, request: OutboundId, services: &[ServiceName]) {
        let advert = Advert {
            node: self.beta(),
            name: "beta".parse().expect("a name"),
            incarnation: Incarnation(1),
            version: AdvertVersion { started: Hlc::from_wall(NOW), version: 1 },
            build: "test".to_owned(),
            agents: Vec::new(),
            topics: Vec::new(),
            subscriptions: Vec::new(),
            labels: BTreeMap::new(),
            services: services.iter().cloned().map(served).collect(),
            addresses: Vec::new(),
            expires: NOW.after_us(300_000_000),
        };
        let content = SyncResponse::Adverts(vec![SignedAdvert::new(&advert, &self.beta)]);
        self.give(Input::ResponseArrived { request, content: Response::Sync(content) });
    }

    /// Which of these the outputs hold since the last look.
    fn take<T>(&mut self, pick: impl FnMut(Output) -> Option<T>) -> Vec<T> {
        std::mem::take(&mut self.outputs).into_iter().filter_map(pick).collect()
    }

    /// The requests for adverts since the last look, with whom they go to.
    fn requests(&mut self) -> Vec<(OutboundId, NodeId)> {
        self.take(|output| match output {
            Output::Request { request, to, content: Request::Sync(SyncRequest::Adverts { .. }) } => Some((request, to)),
            _ => None,
        })
    }
}

fn sums() -> ServiceName {
    "sums".parse().expect("a name")
}

fn served(service: ServiceName) -> ServiceAdvert {
    ServiceAdvert { service, agent: "adder".parse().expect("a name"), contract: None, load: 0 }
}

fn sought(output: Output) -> Option<ServiceName> {
    if let Output::SeekProviders { service } = output { Some(service) } else { None }
}

fn answered(output: Output) -> Option<Result<Reply, Refusal>> {
    if let Output::Answer { answer, .. } = output { Some(answer) } else { None }
}

#[test]
fn whoever_is_named_as_a_provider_is_asked_for_its_advert_and_then_called() {
    let mut pair = Pair::new();
    pair.call(1);
    pair.call(2);
    assert_eq!(pair.take(sought), [sums()], "members are asked once");
    pair.name(vec![NodeId::from_bytes([9; 32]), pair.peer.node(), pair.beta()]);
    let requests = pair.requests();
    assert_eq!(requests.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [pair.beta()], "the member, and no stranger");
    pair.advertise(requests[0].0, &[sums()]);
    let called = pair.take(|output| match output {
        Output::Request { to, content: Request::A2a(_), .. } => Some(to),
        _ => None,
    });
    assert_eq!(called, [pair.beta()], "both calls go in one frame");
}

#[test]
fn a_false_hint_leads_nowhere_and_the_call_has_no_responder_when_it_has_waited() {
    let mut pair = Pair::new();
    pair.call(1);
    pair.name(vec![pair.beta()]);
    let requests = pair.requests();
    pair.now = NOW.after_us(PARKED_US_MAX - 1);
    pair.give(Input::Woken);
    assert!(pair.take(answered).is_empty(), "it still waits");
    pair.now = NOW.after_us(PARKED_US_MAX);
    pair.give(Input::Woken);
    let answers = pair.take(answered);
    assert!(matches!(answers.as_slice(), [Err(Refusal::NoResponder { .. })]), "{answers:?}");
    // The member whose name was given does not serve it, and says so.
    pair.advertise(requests[0].0, &[]);
    pair.call(2);
    let outputs = std::mem::take(&mut pair.outputs);
    assert!(outputs.iter().all(|output| sought(output.clone()).is_none()), "everybody has said what it serves");
    let answers: Vec<_> = outputs.into_iter().filter_map(answered).collect();
    assert!(matches!(answers.as_slice(), [Err(Refusal::NoResponder { .. })]), "at once: {answers:?}");
}

#[test]
fn members_are_asked_again_for_a_call_that_comes_later() {
    let mut pair = Pair::new();
    pair.call(1);
    pair.now = NOW.after_us(PARKED_US_MAX - 1);
    pair.call(2);
    assert_eq!(pair.take(sought), [sums()]);
    pair.now = NOW.after_us(PARKED_US_MAX);
    pair.call(3);
    assert_eq!(pair.take(sought), [sums()]);
}

#[test]
fn what_nobody_asked_for_is_not_looked_at() {
    let mut pair = Pair::new();
    pair.name(vec![pair.beta()]);
    assert_eq!(pair.requests(), []);
}

#[test]
fn members_are_told_what_is_served_whenever_that_changes() {
    let mut pair = Pair::new();
    let register = |service: &str| {
        let service = service.parse().expect("a name");
        let agent = Some("echo".parse().expect("a name"));
        let syscall = Syscall::RegisterService(Box::new(Registration {
            service,
            agent,
            contract: None,
            audit_level: AuditLevel::GateOnly,
        }));
        Question::Kernel(Box::new(syscall))
    };
    let provided = |output| if let Output::Provide { services } = output { Some(services) } else { None };
    pair.give(Input::Asked { ask: AskId(1), by: Principal::Operator, question: register("sums") });
    pair.give(Input::Asked { ask: AskId(2), by: Principal::Operator, question: register("lists") });
    let lists: ServiceName = "lists".parse().expect("a name");
    assert_eq!(pair.take(provided), [vec![sums()], vec![lists.clone(), sums()]]);
    let syscall = Syscall::UnregisterService { service: lists };
    let question = Question::Kernel(Box::new(syscall));
    pair.give(Input::Asked { ask: AskId(3), by: Principal::Operator, question });
    assert_eq!(pair.take(provided), [vec![sums()]]);
}
