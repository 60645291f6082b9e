//! What a peer alone does about rows that go: nothing that its own judgement keeps, and what an earlier run began.

use serde_bytes::ByteArray;
use weft_kernel::genesis_rules;
use weft_protocol::{Certificate, Charter, Digest, EventPlace, Incarnation, KeyPair, Pruned, PublicKeys, Signed};

use super::*;
use crate::rates::HOLD_US;
use crate::start::Memory;

mod departures;
mod doorstep;
mod providers;
mod versions;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

/// A founder's peer, and all that it asked to be written.
struct World {
    peer: Peer,
    written: Vec<Batch>,
    answers: Vec<Result<Reply, Refusal>>,
}

impl World {
    fn new(recovered: impl Fn(ChainId) -> Recovered) -> Self {
        Self::among(&[], PeerConfig::default(), recovered)
    }

    /// The same in a cluster with these, each of which has an address.
    fn among(others: &[PublicKeys], config: PeerConfig, recovered: impl Fn(ChainId) -> Recovered) -> Self {
        let keys = Arc::new(KeyPair::generate([5; 32]));
        let founder = keys.public_keys().clone();
        let charter =
            Charter { founder: founder.clone(), rules: genesis_rules().into(), nonce: ByteArray::new([1; 16]) };
        let certify = |subject: &PublicKeys, name: &str, role: Role| {
            let certificate = Certificate {
                cluster: charter.cluster_id(),
                keys: subject.clone(),
                name: name.parse().expect("a name"),
                role,
                grants: Vec::new(),
                issuer: founder.node(),
                issued: NOW,
                not_after: None,
            };
            Signed::new(&certificate, &*keys)
        };
        let certificate = certify(&founder, "alpha", Role::Admin);
        let members =
            (0..).zip(others).map(|(number, it)| certify(it, &format!("other{number}"), Role::Worker)).collect();
        let addresses = others.iter().map(|it| (it.node(), vec![format!("/sim/{}", it.node().short())])).collect();
        let incarnation = Incarnation(1);
        let chain = ChainId { node: founder.node(), incarnation };
        let gates = Gates::new(founder.node(), &charter.rules, &charter.rules_hash()).expect("the genesis rules");
        let identity = PeerIdentity {
            name: "alpha".parse().expect("a name"),
            charter,
            certificate,
            incarnation,
            disowned: Vec::new(),
            memory: Memory::Fresh,
            build: "test".to_owned(),
            members,
            addresses,
        };
        let peer = Peer::new(config, identity, &recovered(chain), keys, gates, 7, NOW);
        let mut world = Self { peer, written: Vec::new(), answers: Vec::new() };
        world.give(Input::Woken);
        world
    }

    /// One input, and whatever follows from the writes it asks for.
    fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            self.peer.handle(input, NOW, &mut outputs);
            self.peer.write(NOW, &mut outputs);
            for output in outputs {
                match output {
                    Output::Persist(batch) => {
                        self.written.push(*batch);
                        inputs.push_back(Input::Persisted);
                    }
                    Output::Answer { answer, .. } => self.answers.push(answer),
                    _ => {}
                }
            }
        }
    }

    fn ask(&mut self, question: Question) {
        self.give(Input::Asked { ask: AskId(1), by: Principal::Operator, question });
    }

    fn kinds(&self) -> Vec<String> {
        let groups = self.written.iter().flat_map(|batch| &batch.groups);
        let events = groups.flat_map(|(_, group)| &group.events);
        events.filter_map(|bytes| Event::kind_of(bytes).map(str::to_owned)).collect()
    }
}

fn rows(chain: ChainId) -> PrunedRows {
    PrunedRows { chain, to: 2, digests: vec![1], bodies: vec![Digest::from_bytes([4; 32])], as_of: 0 }
}

#[test]
fn what_an_earlier_run_said_that_it_deletes_is_deleted_and_nobody_elses() {
    let recovered = |chain: ChainId| {
        let stranger = ChainId { node: NodeId::from_bytes([9; 32]), ..chain };
        Recovered { unpruned: vec![rows(chain), rows(stranger)], ..Recovered::default() }
    };
    let world = World::new(recovered);
    let pruned: Vec<&PrunedRows> = world.written.iter().flat_map(|batch| &batch.pruned).collect();
    assert_eq!(pruned, [&rows(world.peer.chain)]);
}

#[test]
fn whatever_the_store_was_read_for_nothing_goes_that_nobody_vouches_for() {
    let mut world = World::new(|_| Recovered::default());
    world.ask(Question::TakeSnapshot);
    assert_eq!(world.kinds().last().map(String::as_str), Some("chain.snapshot"));
    let (snapshot, taken) = world.peer.replication.snapshot().cloned().expect("on disk");
    assert!(taken.size > 1 && taken.size <= snapshot);
    let pruned = Pruned { from: 1, to: 2, rows: 1, bodies: 1, snapshot };
    let last = EventPlace { seq: 1, hlc: Hlc(1), commit_no: 0 };
    let rows = rows(world.peer.chain);
    let prune = Prune { pruned, last, until: Hlc(u64::MAX), refuted: Vec::new(), rows };
    world.ask(Question::Prune { prune: Box::new(prune) });
    assert!(matches!(world.answers.last(), Some(Err(Refusal::Invalid { .. }))), "{:?}", world.answers);
    assert!(!world.kinds().contains(&"chain.pruned".to_owned()), "nothing is said of what does not go");
    assert!(world.written.iter().all(|batch| batch.pruned.is_empty()));
}

/// A request of a member with so many plain messages, numbered from there on.
fn messages_of(from: NodeId, request: u64, count: u64) -> Input {
    let chain = ChainId { node: from, incarnation: Incarnation(1) };
    let envelope = |number| weft_protocol::Envelope {
        id: MessageId { chain, counter: request * 100 + number },
        hlc: Hlc::from_wall(NOW),
        trace: weft_protocol::TraceId(1),
        from: weft_protocol::Sender { node: from, principal: Principal::Operator },
        target: weft_protocol::LocalTarget::Agent("echo".parse().expect("a name")),
        payload: weft_protocol::Payload::Text("x".to_owned()),
        wants_reply: true,
        level: weft_protocol::Level {
            delivery: weft_protocol::Delivery::Executed,
            durability: weft_protocol::Durability::None,
        },
        deadline_us: 1_000_000,
        hops: 8,
        grant: None,
        cause: Vec::new(),
        parts: false,
    };
    let items = (0..count).map(|number| A2aItem::Envelope(Box::new(envelope(number)))).collect();
    Input::RequestArrived { request: InboundId(request), from, content: Request::A2a(A2aRequest { items }) }
}

/// The refusals in the responses of these outputs.
fn refused(outputs: &[Output]) -> Vec<Refusal> {
    let responses = outputs.iter().filter_map(|output| match output {
        Output::Respond { content: Response::A2a(response), .. } => Some(response),
        _ => None,
    });
    let receipts = responses.flat_map(|response| &response.receipts);
    let refusals = receipts.filter_map(|receipt| match &receipt.outcome {
        weft_protocol::Outcome::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    });
    refusals.collect()
}

#[test]
fn a_member_over_its_rate_is_told_when_to_come_again_and_answered_late() {
    let mut world = World::new(|_| Recovered::default());
    let (flooding, calm) = (NodeId::from_bytes([8; 32]), NodeId::from_bytes([9; 32]));
    let mut give = |input, now| {
        let mut outputs = Vec::new();
        world.peer.handle(input, now, &mut outputs);
        outputs
    };
    // Nobody knows these two as members, and that is what they hear as long as they keep to their rate.
    let not_known = Refusal::Busy { retry_after_us: 200_000 };
    let mut request = 0;
    let late = loop {
        request += 1;
        let outputs = give(messages_of(flooding, request, 64), NOW);
        if outputs.iter().all(|output| !matches!(output, Output::Respond { .. })) {
            break request;
        }
        assert_eq!(refused(&outputs), vec![not_known.clone(); 64], "request {request}");
        assert!(request < 1_000, "there is no end to what a member may send");
    };
    assert_eq!(late, 40_000 / 64 + 1, "the burst that a member has");
    let outputs = give(messages_of(calm, 1_000_000, 64), NOW);
    assert_eq!(refused(&outputs), vec![not_known.clone(); 64], "another member is answered at once");

    let outputs = give(Input::Woken, NOW.after_us(HOLD_US - 1));
    assert_eq!(refused(&outputs), Vec::new(), "the answer is held back");
    let outputs = give(Input::Woken, NOW.after_us(HOLD_US));
    let refusals = refused(&outputs);
    assert_eq!(refusals.len(), 64, "each is answered");
    let over = refusals.iter().filter(|refusal| **refusal != not_known).collect::<Vec<_>>();
    assert_eq!(over, vec![&Refusal::Busy { retry_after_us: 50 }; 64], "what was over is told so, and when");
    assert_eq!(world.peer.over_rate(), 64);
}
