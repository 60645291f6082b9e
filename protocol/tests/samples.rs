//! One fixed value of every type that travels or is stored, with signatures of fixed bytes.

use std::collections::BTreeMap;

use serde_bytes::{ByteArray, ByteBuf};
use weft_protocol::{
    A2aItem, A2aRequest, A2aResponse, Admission, Admitted, Advert, AdvertVersion, AgentSpec, Amendment, Anchor,
    AuditLevel, AuthFrame, AuthRefusal, Backend, Ballot, BlobChunk, BlobRef, BlobRequest, BlobResponse, BondFired,
    BondKind, Bonded, Boot, BootPhase, Booted, Branch, Certificate, ChainId, Charter, ClusterId, Commit, CommitGroup,
    CommitRef, Configured, Contract, ContractPart, ContractRef, ContractRegistered, Credential, CronAdded, CronFired,
    CronId, CronMissed, CronRemoved, CronResult, DeadLetter, DeadLetterRemoved, DeadLetterRetried, DeadLettered,
    Decided, Deferral, DeferralEnded, DeferralId, Delivery, Demonitored, Denial, Digest, DualSignature, Durability,
    EVENT_VERSION, Effect, EffectOutcome, EffectResult, Endorsement, Endpoint, Envelope, Environment, EpochAsked,
    EpochEndorsed, EpochId, EpochPromised, EpochProposed, Escalated, Event, Evidence, ExitReason, Fact, Failover,
    FailoverDeclared, FenceEnd, FenceGranted, FenceHeld, FenceReleased, ForkSeen, GaveUp, Genesis, Gossip, Grant,
    GrantHolder, GrantId, GrantIssued, GrantRef, GrantRevoked, GrantTerms, GrantUsed, HeadGossip, Health,
    HealthChanged, HealthSubject, Hello, Hlc, Incarnation, InclusionProof, InviteBurnt, InviteId, InviteIssued,
    InviteRevoked, IpcScope, Join, KeyRotation, LargeEnvelope, LargeReceipt, LeaseAnswer, LeastEffect, Level, Linked,
    LocalTarget, LoggedPublication, MLDSA65_PUBLIC_KEY_BYTES, MLDSA65_SIGNATURE_BYTES, Matcher, MemberChange,
    MemberChangeWanted, MemberVerb, Membership, MessageBatch, MessageId, MessageRecord, MethodContract, Millionths,
    MissedRule, Monitored, NodeId, Numbered, Observation, Outcome, PartsProof, PartsTaken, Pattern, Payload,
    PhaseRecord, PhaseResult, Principal, ProbeCheck, ProbeKind, ProbeSpec, ProbeTiming, ProcessEnd, ProcessExited,
    ProcessId, PublicKeys, Publication, PublicationsFrom, Receipt, RecordRef, Refusal, Repaired, ReplyPart, Resource,
    ResourceEntry, ResourceKind, ResourceLimits, ResourceScored, ResourceUse, RestartPlanned, RestartPolicy, Role,
    RotationFault, Rule, RuleChange, SUITE, SandboxPolicy, ScopedAgent, Scoring, Sender, ServiceAdvert, ServiceEnd,
    ServiceEnded, ServiceEntry, SettingChange, Severity, Shutdown, Signal, Signed, SignedCommit, SignedTick,
    SignedTickClaim, Signer, Stage, Strategy, StreamHead, Stretch, SwimDetour, SyncRequest, SyncResponse, TailReturned,
    Thousandths, Tick, Timestamp, Token, TopicSubscribed, TopicUnsubscribed, TraceId, TraceRow, TreeClaim,
    TreeNeighbour, TreeProof, TreeSibling, TreeStatement, TreeStep, Unlinked, Warned, Watched, encode, no_children,
    node_hash,
};

pub(crate) fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub(crate) fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}

pub(crate) fn keys() -> PublicKeys {
    PublicKeys::new(node(1), vec![2; MLDSA65_PUBLIC_KEY_BYTES]).unwrap()
}

pub(crate) fn chain() -> ChainId {
    ChainId { node: node(1), incarnation: Incarnation(7) }
}

fn cluster() -> ClusterId {
    ClusterId::from_bytes([3; 32])
}

fn dual() -> DualSignature {
    DualSignature { ed25519: ByteArray::new([4; 64]), mldsa65: ByteBuf::from(vec![5; MLDSA65_SIGNATURE_BYTES]) }
}

fn charter() -> Charter {
    Charter { founder: keys(), rules: ByteBuf::from(b"rules".as_slice()), nonce: ByteArray::new([6; 16]) }
}

pub(crate) fn certificate(keys: PublicKeys) -> Certificate {
    Certificate {
        cluster: cluster(),
        issuer: keys.node(),
        keys,
        name: "alpha".parse().unwrap(),
        role: Role::Admin,
        grants: vec!["call:echo@beta".parse().unwrap()],
        issued: Timestamp(1_700_000_000_000_000),
        not_after: Some(Timestamp(1_800_000_000_000_000)),
    }
}

/// Signs with fixed bytes, so that the encoding is always the same; it verifies nowhere.
#[derive(Debug)]
struct FixedSigner(PublicKeys);

impl Signer for FixedSigner {
    fn public_keys(&self) -> &PublicKeys {
        &self.0
    }

    fn sign_ed25519_bytes(&self, _message: &[u8]) -> [u8; 64] {
        [4; 64]
    }

    fn sign_mldsa65_bytes(&self, _context: &[u8], _message: &[u8]) -> Vec<u8> {
        vec![5; MLDSA65_SIGNATURE_BYTES]
    }
}

pub(crate) fn resource() -> ResourceEntry {
    ResourceEntry {
        path: "/agents/words@here".parse().unwrap(),
        kind: ResourceKind::Agent,
        metadata: BTreeMap::from([("state".to_owned(), "running".to_owned())]),
        scoring: Scoring { trust: Millionths::ONE, ..Scoring::default() },
    }
}

/// A child of `/agents`, of which another child is known by its hash, in a tree with another child of the root.
pub(crate) fn present() -> TreeProof {
    let steps = vec![
        TreeStep { siblings: vec![TreeSibling { bit: 3, hash: digest(1) }], parent: digest(2) },
        TreeStep {
            siblings: vec![TreeSibling { bit: 9, hash: digest(3) }, TreeSibling { bit: 0, hash: digest(4) }],
            parent: digest(5),
        },
    ];
    TreeProof { claim: TreeClaim::Present { resource: resource(), children: no_children() }, steps }
}

/// No child of this name below `/agents`, where another one stands.
pub(crate) fn absent() -> TreeProof {
    let neighbour = TreeNeighbour { name: "words@here".into(), node: digest(1), siblings: Vec::new() };
    let claim = TreeClaim::Absent {
        path: "/agents/nobody@here".parse().unwrap(),
        found: 1,
        above: digest(2),
        neighbour: Some(neighbour),
    };
    TreeProof { claim, steps: vec![TreeStep { siblings: Vec::new(), parent: digest(3) }] }
}

fn statement(proof: TreeProof) -> TreeStatement {
    TreeStatement { cluster: cluster(), vector_root: digest(8), root: proof.root().unwrap(), proof }
}

fn signed_certificate() -> Signed<Certificate> {
    Signed::new(&certificate(keys()), &FixedSigner(keys()))
}

fn message() -> MessageId {
    MessageId { chain: chain(), counter: 65_536 }
}

fn sender() -> Sender {
    let process = ProcessId { index: 12, generation: 3 };
    Sender { node: node(1), principal: Principal::Agent { agent: "caller".parse().unwrap(), process } }
}

fn grant() -> Grant {
    let terms = GrantTerms { spec: "call:echo*".parse().unwrap(), expires: Some(Timestamp(5)), uses: None };
    Grant { depth: 2, ..Grant::root(GrantId(9), terms) }
}

fn durable() -> Level {
    Level { delivery: Delivery::Executed, durability: Durability::Durable }
}

fn envelope() -> Envelope {
    Envelope {
        id: message(),
        hlc: Hlc(1 << 60),
        trace: TraceId(11),
        from: sender(),
        target: LocalTarget::Agent("echo".parse().unwrap()),
        payload: Payload::Text("hi".into()),
        wants_reply: true,
        level: durable(),
        deadline_us: 5_000_000,
        hops: 8,
        grant: Some(grant()),
        cause: vec![digest(8)],
        parts: false,
    }
}

fn receipt() -> Receipt {
    let record = RecordRef { chain: chain(), seq: 4, leaf: digest(9) };
    let reply = Some(Payload::Json("{\"a\":1}".into()));
    Receipt {
        message: message(),
        hlc: Hlc(77),
        outcome: Outcome::Executed { reply },
        record: Some(record),
        parts: None,
    }
}

fn parts_proof() -> PartsProof {
    PartsProof { count: 3, digest: digest(25) }
}

fn publication() -> Publication {
    Publication {
        id: message(),
        hlc: Hlc(78),
        trace: TraceId(12),
        from: Sender { node: node(1), principal: Principal::Operator },
        topic: "jobs.new".parse().unwrap(),
        seq: 3,
        payload: Payload::Binary(ByteBuf::from([0, 255])),
        grant: None,
        prev: 0,
        forgetful: false,
        ed25519: None,
    }
}

fn signed_publication() -> Publication {
    Publication { prev: 2, forgetful: true, ..publication() }.signed(&FixedSigner(keys()))
}

fn invite_issued(certificate_ttl_us: Option<u64>) -> InviteIssued {
    InviteIssued {
        secret_hash: digest(17),
        role: Role::Worker,
        uses: 1,
        expires: Timestamp(1_800_000_000_000_000),
        certificate_ttl_us,
    }
}

fn message_record() -> MessageRecord {
    MessageRecord {
        stage: Stage::Sent,
        message: message(),
        trace: TraceId(11),
        hlc: Hlc(79),
        from: sender(),
        target: "echo@beta".into(),
        peer: node(2),
        rule: "grant#3".into(),
        body_hash: digest(10),
        body_bytes: 2,
        body: Some(Payload::Text("hi".into())),
        parts: None,
    }
}

pub(crate) fn event() -> Event {
    Event {
        version: EVENT_VERSION,
        seq: 4,
        hlc: Hlc(80),
        source: "kernel".into(),
        kind: "node.boot".into(),
        cause: vec![digest(11)],
        payload: ByteBuf::from(b"payload".as_slice()),
        rule: None,
    }
}

pub(crate) fn commit() -> Commit {
    let anchor = Anchor { chain: chain(), commit_no: 2, size: 5, root: digest(12), commit_hash: digest(13) };
    Commit {
        suite: SUITE,
        cluster: cluster(),
        chain: chain(),
        commit_no: 2,
        prev_commit: digest(14),
        first_seq: 4,
        count: 1,
        head_link: digest(15),
        tree_size: 5,
        root: digest(16),
        hlc_first: Hlc(80),
        hlc_last: Hlc(80),
        anchors: vec![anchor],
    }
}

fn evidence() -> Evidence {
    let other = Commit { root: digest(17), anchors: Vec::new(), ..commit() };
    let second = SignedCommit { commit: ByteBuf::from(encode(&other)), ..group().signed };
    Evidence { first: group().signed.into(), second: second.into(), rotations: Vec::new() }
}

fn group() -> CommitGroup {
    let signed = SignedCommit {
        commit: ByteBuf::from(encode(&commit())),
        ed25519: ByteArray::new([4; 64]),
        mldsa65: Some(ByteBuf::from(vec![5; MLDSA65_SIGNATURE_BYTES])),
    };
    CommitGroup { signed, events: vec![ByteBuf::from(event().encode())] }
}

pub(crate) fn token() -> Token {
    Token {
        cluster: cluster(),
        inviter: node(1),
        inviter_mldsa65_hash: *keys().mldsa65_hash(),
        inviter_name: "alpha".parse().unwrap(),
        addresses: vec!["/ip4/127.0.0.1/udp/4810/quic-v1".into(), "/ip4/127.0.0.1/tcp/4810".into()],
        secret: ByteArray::new([7; 16]),
        role: Role::Worker,
        expires: Timestamp(1_800_000_000_000_000),
    }
}

fn spec() -> AgentSpec {
    let backend = Backend::Command {
        command: vec!["python3".into(), "words.py".into()],
        environment: BTreeMap::from([("LANG".into(), "C".into())]),
        trusted: false,
    };
    AgentSpec {
        restart: RestartPolicy::Permanent,
        grants: vec!["publish:jobs.*".parse().unwrap()],
        limits: ResourceLimits { memory_bytes: Some(1 << 26), ..ResourceLimits::default() },
        ..AgentSpec::new("words".parse().unwrap(), backend)
    }
}

fn restricted() -> IpcScope {
    let scoped = |agent: &str, node| ScopedAgent { agent: agent.parse().unwrap(), node };
    IpcScope::Restricted(vec![scoped("counts", None), scoped("echo", Some(node(2)))])
}

fn sandbox() -> SandboxPolicy {
    let allowed = ["/data".to_owned(), "/work:rw".to_owned()];
    SandboxPolicy::of(&allowed, &["/etc".to_owned()], false, true).unwrap()
}

fn bonded(agent: &str) -> Bonded {
    Bonded { agent: agent.parse().unwrap(), process: ProcessId { index: 12, generation: 3 } }
}

fn watched() -> Watched {
    Watched { node: node(2), agent: "counts".parse().unwrap(), process: ProcessId { index: 12, generation: 3 } }
}

fn process_end() -> ProcessEnd {
    let Watched { node, agent, process } = watched();
    ProcessEnd { node, agent, process: Some(process), reason: "exited with code 1".into() }
}

fn contract() -> Contract {
    let method = MethodContract { input: Some("{\"type\":\"string\"}".into()), output: None };
    let methods = BTreeMap::from([("count".parse().unwrap(), method)]);
    Contract { service: "words".parse().unwrap(), version: "1.0.0".parse().unwrap(), methods }
}

fn service() -> ServiceEntry {
    ServiceEntry {
        name: "words".parse().unwrap(),
        owner: Principal::Operator,
        endpoint: Endpoint::Agent("wordcount".parse().unwrap()),
        contract: Some(ContractRef { version: "1.0.0".parse().unwrap(), hash: digest(21) }),
        audit_level: AuditLevel::GateOnly,
        registered_at: Timestamp(1_700_000_000_000_000),
    }
}

/// A message to a method, and what its contract or a broadcast makes of one.
fn to_a_service() -> A2aRequest {
    let target = LocalTarget::ServiceMethod { service: "words".parse().unwrap(), method: "count".parse().unwrap() };
    let violated = Refusal::ContractViolated {
        target: target.to_string(),
        version: "1.0.0".into(),
        part: ContractPart::Input,
        path: "/0".into(),
        reason: "5 is not of type \"string\"".into(),
    };
    let receipt = |outcome| A2aItem::Receipt(Box::new(Receipt { outcome, record: None, ..receipt() }));
    let items = vec![
        A2aItem::Envelope(Box::new(Envelope { target, ..envelope() })),
        A2aItem::Envelope(Box::new(Envelope { target: LocalTarget::Broadcast, ..envelope() })),
        A2aItem::Envelope(Box::new(Envelope { target: LocalTarget::Kernel, ..envelope() })),
        receipt(Outcome::Refused(violated)),
        receipt(Outcome::Delivered { count: 3 }),
    ];
    A2aRequest { items }
}

fn labelled_advert() -> Advert {
    Advert { labels: failover().labels, ..advert() }
}

fn advert() -> Advert {
    let ServiceEntry { name: service, endpoint, contract, .. } = service();
    Advert {
        node: node(1),
        name: "alpha".parse().unwrap(),
        incarnation: Incarnation(7),
        version: AdvertVersion { started: Hlc(82), version: 2 },
        build: "0.1.0".into(),
        agents: vec![("wordcount".parse().unwrap(), ProcessId { index: 1, generation: 0 })],
        topics: vec!["jobs.new".parse().unwrap()],
        subscriptions: Vec::new(),
        services: vec![ServiceAdvert { service, agent: endpoint.agent().clone(), contract, load: 8 }],
        addresses: vec!["/ip4/127.0.0.1/tcp/4810".into()],
        expires: Timestamp(1_800_000_000_000_000),
        labels: BTreeMap::new(),
    }
}

fn grant_ref(id: u64) -> GrantRef {
    GrantRef { node: node(1), grant: GrantId(id) }
}

fn issued_grant() -> GrantIssued {
    let grant = Grant { issuer: Some(node(1)), parents: vec![grant_ref(9)], uses: Some(7), ..grant() };
    let to = GrantHolder { node: node(2), agent: "words".parse().unwrap(), process: None };
    GrantIssued { grant, to, by: sender().principal }
}

fn resource_use(resource: Resource) -> ResourceUse {
    let process = ProcessId { index: 12, generation: 3 };
    ResourceUse { process, agent: "words".parse().unwrap(), resource, measured: 900, limit: 1_000 }
}

/// One fact of each kind.
pub(crate) fn facts() -> Vec<Fact> {
    let process = ProcessId { index: 12, generation: 3 };
    let agent = "words".parse().unwrap();
    let spawn = Effect::Spawn { process, spec: spec(), grants: vec![grant()], by: Principal::Operator, from: None };
    let genesis = Genesis {
        suite: SUITE,
        cluster: cluster(),
        keys: keys(),
        governance_hash: charter().rules_hash(),
        charter: Some(charter()),
        previous: None,
    };
    let invite = InviteId::from_bytes([1; 8]);
    let denial =
        Denial { by: sender(), action: "call".into(), resource: "x".into(), rule: "grant#3".into(), message: None };
    let exited = ProcessExited { process, agent, reason: ExitReason::Killed { signal: 9 } };
    vec![
        Fact::Genesis(Box::new(genesis)),
        Fact::Boot(Boot { version: "0.1.0".into(), name: "alpha".parse().unwrap(), counter: None, environment: None }),
        Fact::Shutdown(Shutdown { stopped: 2 }),
        Fact::Intent(Box::new(spawn)),
        Fact::Outcome(EffectOutcome { intent: 4, result: EffectResult::Indeterminate }),
        Fact::Exited(exited),
        Fact::Message(Box::new(message_record())),
        Fact::Batch(MessageBatch { root: digest(18), count: 3 }),
        Fact::Denied(denial),
        Fact::InviteIssued(invite_issued(None)),
        Fact::InviteBurnt(InviteBurnt { invite, node: node(2) }),
        Fact::InviteRevoked(InviteRevoked { invite }),
        Fact::Admitted(Box::new(Admitted { certificate: signed_certificate(), invite: Some(invite) })),
        Fact::ForkSeen(ForkSeen { chain: chain(), commit_no: 3, first: digest(1), second: digest(2) }),
        Fact::Anchored(Box::new(weft_protocol::Anchored {
            backend: weft_protocol::AnchorBackend::OpenTimestamps,
            sha256: digest(31),
            head: commit().head(digest(19)),
            step: weft_protocol::AnchorStep::Attested { height: 358_391 },
            place: "http://calendar.example".to_owned(),
        })),
        Fact::Snapshot(Box::new(weft_protocol::Snapshot {
            size: 6,
            root: digest(32),
            peaks: vec![digest(33), digest(34)],
            state: digest(35),
            fold: 1,
        })),
        Fact::Pruned(weft_protocol::Pruned { from: 2, to: 6, rows: 2, bodies: 1, snapshot: 7 }),
        Fact::TailReturned(TailReturned { chain: chain(), head: commit().head(digest(19)) }),
        Fact::Repaired(Repaired { chain: chain(), first_commit: 3, count: 1, from: node(2) }),
        Fact::ResourceWarned(resource_use(Resource::Memory)),
        Fact::ResourceExceeded(resource_use(Resource::ToolCalls)),
        Fact::CronAdded(Box::new(CronAdded {
            expression: "30 2 * * *".into(),
            timezone: "Europe/Berlin".into(),
            target: "words@beta".parse().unwrap(),
            payload: Payload::Text("hi".into()),
            missed: MissedRule::Once,
            by: Principal::Operator,
            added: Timestamp(1_700_000_000_000_000),
        })),
        Fact::HealthChanged(HealthChanged {
            subject: HealthSubject::Process { process, agent: "words".parse().unwrap(), probe: ProbeKind::Liveness },
            before: Health::Healthy,
            now: Health::Unhealthy { reason: "no answer within 5s".into() },
        }),
        Fact::CronRemoved(CronRemoved { job: CronId(12), by: Principal::Operator }),
        Fact::CronFired(CronFired {
            job: CronId(12),
            intent: 13,
            scheduled: Some(Timestamp(1_700_000_000_000_000)),
            message: Some(message()),
            result: CronResult::Refused { reason: "denied by rule default-closed#4".into() },
        }),
        Fact::CronMissed(CronMissed {
            job: CronId(12),
            first: Timestamp(1_700_000_000_000_000),
            last: Timestamp(1_700_000_060_000_000),
            count: 2,
            run_from: Some(Timestamp(1_700_000_060_000_000)),
        }),
        Fact::RestartPlanned(RestartPlanned {
            agent: "words".parse().unwrap(),
            process,
            group: Some("shop/workers".parse().unwrap()),
            agents: vec!["words".parse().unwrap(), "counts".parse().unwrap()],
            number: 2,
            delay_us: 200_000,
        }),
        Fact::Escalated(Escalated {
            group: "shop/workers".parse().unwrap(),
            to: Some("shop".parse().unwrap()),
            process,
        }),
        Fact::GaveUp(GaveUp { agents: vec!["words".parse().unwrap()], process, reason: "exited with code 1".into() }),
        Fact::DeadLettered(DeadLettered {
            message: message(),
            to: node(2),
            target: "echo@beta".into(),
            reason: "deadline".into(),
        }),
        Fact::DeadLetterRetried(DeadLetterRetried {
            message: message(),
            again: MessageId { counter: 65_537, ..message() },
        }),
        Fact::DeadLetterRemoved(DeadLetterRemoved { message: message(), reason: "operator".into() }),
        Fact::GrantIssued(Box::new(issued_grant())),
        Fact::GrantRevoked(GrantRevoked { grant: grant_ref(10), by: Principal::Operator }),
        Fact::GrantUsed(GrantUsed { grant: grant_ref(10), used: 3 }),
        Fact::Booted(Booted {
            phases: vec![
                PhaseRecord { phase: BootPhase::Init, result: PhaseResult::Done, duration_us: 5 },
                PhaseRecord { phase: BootPhase::ResourceTree, result: PhaseResult::NotBuiltIn, duration_us: 0 },
                PhaseRecord { phase: BootPhase::Agents, result: PhaseResult::Degraded, duration_us: 70_000 },
            ],
        }),
        Fact::Configured(Configured {
            changes: vec![SettingChange { key: "kernel.grace".into(), from: "2s".into(), to: "3s".into() }],
        }),
        Fact::ContractRegistered(Box::new(ContractRegistered {
            contract: contract(),
            hash: digest(21),
            by: Principal::Operator,
        })),
        Fact::ServiceRegistered(service()),
        Fact::ServiceEnded(ServiceEnded {
            name: "words".parse().unwrap(),
            end: ServiceEnd::OwnerEnded { reason: ExitReason::Stopped },
        }),
        Fact::TopicSubscribed(TopicSubscribed { by: listener(), pattern: "jobs.>".parse().unwrap() }),
        Fact::TopicUnsubscribed(TopicUnsubscribed { by: listener(), pattern: "jobs.>".parse().unwrap() }),
        Fact::Linked(Linked { one: bonded("words"), other: bonded("counts"), by: Principal::Operator }),
        Fact::Unlinked(Unlinked { one: bonded("words"), other: bonded("counts"), by: sender().principal }),
        Fact::Monitored(Monitored { watcher: bonded("words"), target: watched(), by: Principal::Operator }),
        Fact::Demonitored(Demonitored { watcher: bonded("words"), target: watched(), by: Principal::Operator }),
        Fact::BondFired(Box::new(BondFired {
            kind: BondKind::Link,
            told: bonded("words"),
            end: process_end(),
            ends: true,
        })),
        Fact::Deferred(Box::new(deferral())),
        Fact::Approved(decided(None)),
        Fact::DeniedBy(decided(Some("not today"))),
        Fact::ApprovalSpent(DeferralEnded { deferral: DeferralId(12) }),
        Fact::DeferralExpired(DeferralEnded { deferral: DeferralId(12) }),
        Fact::Warned(Box::new(Warned {
            by: sender(),
            action: "stop".into(),
            resource: "words".into(),
            rules: vec!["SOP-L003".into(), "SOP-L006".into()],
        })),
        Fact::Amendment(Box::new(Amendment {
            version: 2,
            branch: Branch::Judicial,
            change: RuleChange::Replace(rule()),
            by: Principal::Operator,
        })),
        Fact::Endorsed(Endorsement { amendment: digest(7), version: 2, by: Principal::Operator }),
        Fact::EpochAsked(EpochAsked { epoch: EpochId::first(), ballot: ballot() }),
        Fact::EpochPromised(EpochPromised { epoch: EpochId(digest(30)), ballot: ballot() }),
        Fact::EpochProposed(Box::new(EpochProposed {
            epoch: EpochId(digest(30)),
            ballot: ballot(),
            changes: vec![
                MemberChange::Admit(chain()),
                MemberChange::Suspend(commit_ref()),
                MemberChange::Evict(commit_ref()),
                MemberChange::Resume(chain()),
                MemberChange::Readmit(commit_ref(), ChainId { incarnation: Incarnation(9), ..chain() }),
            ],
            heads: vec![(chain(), 12)],
        })),
        Fact::EpochEndorsed(Box::new(EpochEndorsed {
            epoch: EpochId(digest(30)),
            next: EpochId(digest(31)),
            ballot: ballot(),
            heads: vec![(chain(), 12)],
        })),
        Fact::MemberChangeWanted(MemberChangeWanted {
            verb: MemberVerb::Evict,
            node: node(3),
            by: Principal::Operator,
        }),
        Fact::ResourceScored(Box::new(ResourceScored {
            path: resource().path,
            seen: Observation { reliability: Some("0.8".parse().unwrap()), ..Observation::default() },
            weight: "0.3".parse().unwrap(),
            by: Some(Principal::Operator),
        })),
        Fact::KeyRotated(Box::new(key_rotation())),
        Fact::FailoverDeclared(Box::new(FailoverDeclared {
            spec: AgentSpec { failover: Some(failover()), ..spec() },
            by: Principal::Operator,
            first: Some(node(2)),
        })),
        Fact::FenceGranted(FenceGranted {
            agent: "words".parse().unwrap(),
            fence: 3,
            holder: chain(),
            epoch: EpochId(digest(30)),
        }),
        Fact::FenceHeld(FenceHeld {
            agent: "words".parse().unwrap(),
            fence: 3,
            epoch: EpochId(digest(30)),
            declared: chain(),
        }),
        Fact::FenceReleased(FenceReleased {
            agent: "words".parse().unwrap(),
            fence: 3,
            end: FenceEnd::Superseded { fence: 4, holder: chain() },
        }),
    ]
}

fn failover() -> Failover {
    Failover { labels: [("role".to_owned(), "gpu".to_owned())].into(), fence: Some(3) }
}

fn key_rotation() -> KeyRotation {
    let next = PublicKeys::new(node(1), vec![9; MLDSA65_PUBLIC_KEY_BYTES]).unwrap();
    KeyRotation::new(chain(), &FixedSigner(keys()), &FixedSigner(next))
}

fn ballot() -> Ballot {
    Ballot { number: 4, chain: chain() }
}

fn commit_ref() -> CommitRef {
    CommitRef { chain: chain(), commit_no: 12, commit_hash: digest(32) }
}

fn tick() -> Tick {
    let (hlc, horizon) = (Hlc(7_000_000_000), Hlc(6_000_000_000));
    Tick { cluster: charter().cluster_id(), last: commit_ref(), hlc, horizon, heads: vec![commit_ref()] }
}

fn tick_claim() -> SignedTickClaim {
    SignedTick::new(&tick(), &FixedSigner(keys())).claim(&tick())
}

fn deferral() -> Deferral {
    Deferral {
        by: sender(),
        action: "spawn".into(),
        resource: "words".into(),
        rule: "GOV-006".into(),
        expires: Timestamp(1_700_000_000_000_000),
        message: None,
    }
}

fn decided(why: Option<&str>) -> Decided {
    Decided { deferral: DeferralId(12), name: "Ada".parse().unwrap(), why: why.map(str::to_owned) }
}

/// One rule with each condition there is.
fn rule() -> Rule {
    let patterns = |text: &str| vec![Pattern::try_from(text.to_owned()).unwrap()];
    let effect = LeastEffect { dimension: "risk".parse().unwrap(), at_least: Thousandths(500) };
    Rule {
        id: "GOV-001".parse().unwrap(),
        description: "what is risky".into(),
        branch: Branch::Judicial,
        severity: Severity::Blocking,
        when: vec![
            Matcher::Action(patterns("cron-*")),
            Matcher::ActionExcept(patterns("cron-list")),
            Matcher::Agent(patterns("*")),
            Matcher::Operator,
            Matcher::Role(vec![Role::Worker]),
            Matcher::Resource(patterns("personal.*")),
            Matcher::Environment(vec![Environment::Staging, Environment::Production]),
            Matcher::Effect(effect),
            Matcher::OverThreshold,
        ],
    }
}

fn listener() -> Principal {
    Principal::Agent { agent: "words".parse().unwrap(), process: ProcessId { index: 1, generation: 2 } }
}

fn probes() -> Vec<ProbeSpec> {
    let timing = ProbeTiming { interval_us: 2_000_000, timeout_us: 500_000, failures: 3, successes: 1 };
    vec![
        ProbeSpec { kind: ProbeKind::Liveness, check: ProbeCheck::Message, timing },
        ProbeSpec { kind: ProbeKind::Readiness, check: ProbeCheck::Process, timing: ProbeTiming::default() },
    ]
}

fn hello() -> Hello {
    Hello {
        wire: weft_protocol::WIRE_VERSION_MIN,
        build: "0.1.0".into(),
        cluster: cluster(),
        rules: Some(charter().rules_hash()),
        nonce: ByteArray::new([8; 32]),
        credential: Credential::Member(signed_certificate()),
        rotations: Vec::new(),
    }
}

/// The canonical bytes of one value of each type, by name.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let refused = AuthFrame::Refused(AuthRefusal::WrongCluster { ours: cluster(), theirs: cluster() });
    let admission = Admission {
        certificate: signed_certificate(),
        charter: charter(),
        members: vec![signed_certificate()],
        rotations: Vec::new(),
    };
    let joiner = Credential::Joiner { invite: InviteId::from_bytes([1; 8]), keys: keys() };
    let row = TraceRow {
        record: message_record(),
        seq: 9,
        inclusion: Some(InclusionProof { index: 1, size: 2, path: vec![digest(3)] }),
    };
    let head = commit().head(digest(19));
    let refusal = Receipt {
        message: message(),
        hlc: Hlc(81),
        outcome: Outcome::Refused(Refusal::Busy { retry_after_us: 5 }),
        record: None,
        parts: None,
    };
    let mut all = vec![
        ("event".to_owned(), event().encode()),
        ("probes".to_owned(), encode(&probes())),
        ("commit".to_owned(), encode(&commit())),
        ("group".to_owned(), encode(&group())),
        ("certificate".to_owned(), encode(&signed_certificate())),
        ("charter".to_owned(), encode(&charter())),
        ("token".to_owned(), encode(&token())),
        ("auth-hello".to_owned(), encode(&AuthFrame::Hello(Box::new(hello())))),
        ("auth-hello-wire-2".to_owned(), encode(&AuthFrame::Hello(Box::new(Hello { wire: 2, ..hello() })))),
        ("auth-joiner".to_owned(), encode(&joiner)),
        ("auth-proof".to_owned(), encode(&AuthFrame::Proof(dual()))),
        (
            "auth-join".to_owned(),
            encode(&AuthFrame::Join(Join { secret: ByteArray::new([7; 16]), name: "beta".parse().unwrap() })),
        ),
        ("auth-accepted".to_owned(), encode(&AuthFrame::Accepted)),
        ("auth-admitted".to_owned(), encode(&AuthFrame::Admitted(Box::new(admission)))),
        ("auth-refused".to_owned(), encode(&refused)),
        ("a2a-request".to_owned(), {
            let items = vec![
                A2aItem::Envelope(Box::new(envelope())),
                A2aItem::Receipt(Box::new(receipt())),
                A2aItem::Cancel(message()),
            ];
            encode(&A2aRequest { items })
        }),
        ("a2a-large".to_owned(), {
            let body = BlobRef { address: digest(21), bytes: 700_000 };
            let items = vec![
                A2aItem::LargeEnvelope(Box::new(LargeEnvelope { envelope: envelope(), body })),
                A2aItem::LargeReceipt(Box::new(LargeReceipt { receipt: receipt(), body })),
            ];
            encode(&A2aRequest { items })
        }),
        ("a2a-parts".to_owned(), {
            let part = ReplyPart { message: message(), number: 2, payload: Payload::Text("and".into()) };
            let taken = PartsTaken { message: message(), count: 3 };
            let cancelled = Outcome::Refused(Refusal::Cancelled { maybe_executed: true });
            let items = vec![
                A2aItem::Envelope(Box::new(Envelope { parts: true, ..envelope() })),
                A2aItem::Part(Box::new(part)),
                A2aItem::PartsTaken(taken),
                A2aItem::Receipt(Box::new(Receipt { parts: Some(parts_proof()), ..receipt() })),
                A2aItem::Receipt(Box::new(Receipt { outcome: cancelled, ..receipt() })),
            ];
            encode(&A2aRequest { items })
        }),
        ("a2a-publication".to_owned(), {
            encode(&A2aRequest { items: vec![A2aItem::Publication(Box::new(signed_publication()))] })
        }),
        ("refusal-broken-off".to_owned(), {
            encode(&Refusal::BrokenOff { parts: 2, reason: "3 parts were sent".into() })
        }),
        ("leaf-with-parts".to_owned(), {
            MessageRecord { parts: Some(parts_proof()), body: None, ..message_record() }.pack(chain())
        }),
        ("message-record-with-parts".to_owned(), {
            encode(&MessageRecord { parts: Some(parts_proof()), ..message_record() })
        }),
        ("invite-issued-certificate-ttl".to_owned(), { encode(&invite_issued(Some(2_592_000_000_000))) }),
        ("blob-request".to_owned(), encode(&BlobRequest { address: digest(21), chunk: 2 })),
        ("blob-chunk".to_owned(), {
            let (content, path) = (ByteBuf::from(vec![1, 2, 3]), vec![digest(22)]);
            encode(&BlobResponse::Chunk(BlobChunk { content, path }))
        }),
        ("leaf".to_owned(), message_record().pack(chain())),
        ("leaf-of-another".to_owned(), message_record().pack(ChainId { node: node(9), ..chain() })),
        ("a2a-response".to_owned(), encode(&A2aResponse { receipts: vec![receipt(), refusal] })),
        ("a2a-kept-request".to_owned(), encode(&Numbered { number: 7, content: to_a_service() })),
        (
            "a2a-kept-response".to_owned(),
            encode(&Numbered { number: 7, content: A2aResponse { receipts: vec![receipt()] } }),
        ),
        ("sync-hello".to_owned(), encode(&SyncRequest::Hello { vector_root: digest(20) })),
        ("sync-range".to_owned(), encode(&SyncRequest::Range { chain: chain(), from_commit: 3, bytes_max: 1_024 })),
        ("sync-same".to_owned(), encode(&SyncResponse::Same)),
        ("sync-heads".to_owned(), encode(&SyncResponse::Heads(vec![head]))),
        ("sync-stretch".to_owned(), {
            let (from, until) = (chain(), Some(ChainId { node: node(9), ..chain() }));
            encode(&SyncRequest::Stretch { from, until, vector_root: digest(23) })
        }),
        ("sync-stretches".to_owned(), {
            encode(&SyncResponse::Stretches(vec![Stretch { from: chain(), vector_root: digest(24) }]))
        }),
        ("sync-ask-evidence".to_owned(), encode(&SyncRequest::Evidence { chain: chain() })),
        ("sync-evidence".to_owned(), encode(&SyncResponse::Evidence(Some(Box::new(evidence()))))),
        ("gossip-tick".to_owned(), {
            encode(&Gossip::Head(HeadGossip::Tick(Box::new(SignedTick::new(&tick(), &FixedSigner(keys()))))))
        }),
        ("gossip-fork".to_owned(), encode(&Gossip::Head(HeadGossip::Fork(Box::new(evidence()))))),
        ("sync-page".to_owned(), encode(&SyncResponse::Page { chain: chain(), groups: vec![group()] })),
        ("sync-trace".to_owned(), encode(&SyncResponse::Trace(vec![row]))),
        ("sync-pruned-trace".to_owned(), {
            let pruned = vec![weft_protocol::PrunedStep { seq: 5, leaf: 1 }];
            encode(&SyncResponse::PrunedTrace { rows: Vec::new(), pruned })
        }),
        ("gossip-group".to_owned(), encode(&Gossip::Head(HeadGossip::Group(group())))),
        ("a2a-service".to_owned(), encode(&to_a_service())),
        ("advert-services".to_owned(), encode(&advert())),
        ("gossip-publication".to_owned(), encode(&Gossip::Publication(Box::new(publication())))),
        ("gossip-publication-signed".to_owned(), encode(&Gossip::Publication(Box::new(signed_publication())))),
        ("sync-ask-streams".to_owned(), {
            let after = Some(("jobs.new".parse().unwrap(), chain()));
            encode(&SyncRequest::Streams { patterns: vec!["jobs.*".parse().unwrap(), ">".parse().unwrap()], after })
        }),
        ("sync-ask-publications".to_owned(), {
            let (topic, from) = ("jobs.new".parse().unwrap(), PublicationsFrom::After(2));
            encode(&SyncRequest::Publications { topic, chain: chain(), from })
        }),
        ("sync-ask-head".to_owned(), encode(&SyncRequest::Head { chain: chain() })),
        (
            "swim-detour".to_owned(),
            encode(&SwimDetour { from: node(1), to: node(2), packet: ByteBuf::from(vec![7; 3]) }),
        ),
        ("sync-ask-witness".to_owned(), encode(&SyncRequest::Witness { places: vec![(chain(), 5)] })),
        ("level-witnessed".to_owned(), encode(&"executed+witnessed(2)".parse::<Level>().unwrap())),
        (
            "refusal-not-witnessed".to_owned(),
            encode(&Refusal::NotWitnessed { delivery: Delivery::Executed, vouching: 1, wanted: 2 }),
        ),
        ("sync-streams".to_owned(), {
            let head = StreamHead { topic: "jobs.new".parse().unwrap(), chain: chain(), last: 3 };
            encode(&SyncResponse::Streams { streams: vec![head], more: true })
        }),
        ("sync-publications".to_owned(), {
            encode(&SyncResponse::Publications { publications: vec![signed_publication()], more: false })
        }),
        ("logged-publication".to_owned(), {
            encode(&LoggedPublication { place: Hlc(82), fetched: true, publication: signed_publication() })
        }),
        ("dead-letter".to_owned(), {
            encode(&DeadLetter {
                envelope: envelope(),
                to: node(2),
                target: "echo@beta".into(),
                reason: "deadline".into(),
                at: Timestamp(5),
                event: digest(21),
            })
        }),
    ];
    let (process, agent, by) = (ProcessId { index: 12, generation: 3 }, "words".parse().unwrap(), Principal::Operator);
    let effects = [
        Effect::Spawn {
            process,
            spec: AgentSpec {
                restart: RestartPolicy::Transient,
                group: Some(Membership {
                    group: "shop/workers".parse().unwrap(),
                    strategy: Some(Strategy::RestForOne),
                }),
                ..spec()
            },
            grants: Vec::new(),
            by: by.clone(),
            from: None,
        },
        Effect::Restart { process, agent, by: by.clone(), from: None },
        Effect::Terminate { process, agent: "words".parse().unwrap(), reason: "one-for-all".into() },
        Effect::Suspend { process, agent: "words".parse().unwrap(), by: by.clone(), from: None },
        Effect::Resume { process, agent: "words".parse().unwrap(), by: by.clone(), from: None },
        Effect::Stop { process, agent: "words".parse().unwrap(), by: by.clone(), from: Some(node(2)) },
        Effect::Spawn {
            process,
            spec: AgentSpec { traps_exits: true, ..spec() },
            grants: Vec::new(),
            by: by.clone(),
            from: None,
        },
        Effect::Spawn {
            process,
            spec: AgentSpec { ipc_scope: Some(restricted()), ..spec() },
            grants: Vec::new(),
            by: by.clone(),
            from: None,
        },
        Effect::Spawn {
            process,
            spec: AgentSpec { sandbox: Some(sandbox()), ..spec() },
            grants: Vec::new(),
            by,
            from: None,
        },
    ];
    let names = [
        "spawn-in-group",
        "restart",
        "terminate",
        "suspend",
        "resume",
        "stop-from-another-node",
        "spawn-trapping",
        "spawn-scoped",
        "spawn-sandboxed",
    ];
    all.extend(names.iter().zip(&effects).map(|(name, effect)| (format!("effect-{name}"), encode(effect))));
    let end =
        ProcessEnd { node: node(2), agent: "words".parse().unwrap(), process: Some(process), reason: "gone".into() };
    let signals = vec![
        Signal::UserDefined(7),
        Signal::LinkExit(end.clone()),
        Signal::MonitorDown(ProcessEnd { process: None, ..end }),
        Signal::ResourceWarning { resource: Resource::Memory, measured: 9, limit: 10 },
        Signal::ReloadConfig,
    ];
    all.push(("signals".to_owned(), encode(&signals)));
    let restarting = Refusal::Restarting { agent: "words".parse().unwrap(), retry_after_us: 5 };
    let backend =
        Refusal::BackendNotAvailable { backend: "wasm".into(), reason: "no engine".into(), instead: "--exec".into() };
    all.push(("refusal-backend-not-available".to_owned(), encode(&backend)));
    all.push(("refusal-restarting".to_owned(), encode(&restarting)));
    let out_of_scope =
        Refusal::OutOfScope { agent: "words".parse().unwrap(), scope: restricted().to_string(), what: "counts".into() };
    all.push(("refusal-out-of-scope".to_owned(), encode(&out_of_scope)));
    let too_old = Refusal::PeerTooOld { node: node(1), wire: 1, needed: 2 };
    all.push(("refusal-peer-too-old".to_owned(), encode(&too_old)));
    all.push(("refusal-unenforceable".to_owned(), encode(&Refusal::Unenforceable { reason: "no Landlock".into() })));
    let (rule_id, expires) = ("GOV-006".into(), Timestamp(1_700_000_000_000_000));
    let deferred = Refusal::Deferred { rule: rule_id, deferral: DeferralId(12), expires };
    all.push(("refusal-deferred".to_owned(), encode(&deferred)));
    let ruled = Event { rule: Some("operator-local#1 approved d12".into()), ..event() };
    all.push(("event-ruled".to_owned(), ruled.encode()));
    all.push(("rule".to_owned(), encode(&rule())));
    let name = "alpha".parse().unwrap();
    let boot = Boot { version: "0.1.0".into(), name, counter: None, environment: Some(Environment::Production) };
    all.push(("boot-in-environment".to_owned(), encode(&boot)));
    let rotations = vec![key_rotation()];
    all.push(("auth-hello-rotated".to_owned(), encode(&Hello { rotations: rotations.clone(), ..hello() })));
    all.push(("evidence-rotated".to_owned(), encode(&Evidence { rotations, ..evidence() })));
    all.push(("sync-ask-last-tick".to_owned(), encode(&SyncRequest::LastTick { chain: chain() })));
    all.push(("sync-last-tick".to_owned(), encode(&SyncResponse::LastTick(Some(Box::new(tick_claim()))))));
    all.push(("advert-labelled".to_owned(), encode(&labelled_advert())));
    let fences = vec![("words".parse().unwrap(), 3)];
    let lease = SyncRequest::Lease { holder: chain(), epoch: EpochId(digest(30)), fences };
    all.push(("sync-ask-lease".to_owned(), encode(&lease)));
    let answers = vec![
        LeaseAnswer::Granted,
        LeaseAnswer::NotYet { wait_us: 5_000_000 },
        LeaseAnswer::Taken { fence: 4, holder: chain() },
        LeaseAnswer::OtherEpoch,
        LeaseAnswer::Unknown,
    ];
    all.push(("sync-lease".to_owned(), encode(&SyncResponse::Lease(answers))));
    let ends = [FenceEnd::HandedOver, FenceEnd::Ended, FenceEnd::Unfit("no such program".into()), FenceEnd::Abandoned];
    all.push(("fence-ends".to_owned(), encode(&ends.to_vec())));
    let broken = Evidence { first: tick_claim().into(), ..evidence() };
    all.push(("evidence-tick".to_owned(), encode(&broken)));
    all.push(("auth-keys-replaced".to_owned(), encode(&AuthRefusal::KeysReplaced)));
    let fault = RotationFault::OldMlDsa65;
    let refusal = AuthFrame::Refused(AuthRefusal::BadRotation { fault });
    all.push(("auth-bad-rotation".to_owned(), encode(&refusal)));
    all.push(("auth-half-proof".to_owned(), encode(&AuthFrame::Refused(AuthRefusal::HalfProof))));
    all.push(("blob-busy".to_owned(), encode(&BlobResponse::Busy { retry_after_us: 250_000 })));
    all.push(("resource".to_owned(), encode(&resource())));
    all.push(("resource-hash".to_owned(), node_hash(&resource().hash(), &no_children()).as_bytes().to_vec()));
    all.push(("tree-present".to_owned(), encode(&statement(present()))));
    all.push(("tree-absent".to_owned(), encode(&statement(absent()))));
    all.push(("exit-unenforceable".to_owned(), encode(&ExitReason::Unenforceable { reason: "no Landlock".into() })));
    for fact in facts() {
        all.push((format!("fact-{}", fact.kind().replace('.', "-")), fact.encode()));
    }
    all
}
