//! A cluster in one hand: keys by letter, machines, and outputs as lines of text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};

use weft_discovery::{
    Answer, AskId, Discovery, DiscoveryConfig, Identity, Input, MemberState, Output, Path, RecordAction, Ticket,
};
use weft_protocol::{
    Admission, Admitted, Advert, AdvertVersion, AgentName, Certificate, ChainId, ChainState, Charter, Fact, Hlc,
    Incarnation, Join, KeyPair, NodeId, NodeName, PlacedFact, ProcessId, PublicKeys, Recovered, RecoveredChain, Role,
    Signed, SignedAdvert, Signer, Timestamp, Token,
};

/// When every test begins.
pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000_000);
/// One second.
pub(crate) const SECOND_US: u64 = 1_000_000;
/// Who takes part; `a` is the founder unless a test says otherwise.
pub(crate) const LETTERS: [char; 8] = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

static KEYS: LazyLock<Vec<Arc<KeyPair>>> = LazyLock::new(|| {
    let mut pairs: Vec<Arc<KeyPair>> = (1..=8).map(|seed| Arc::new(KeyPair::generate([seed; 32]))).collect();
    // So that the order of letters is the order of node ids, which is the order of tables.
    pairs.sort_by_key(|pair| pair.public_keys().node());
    pairs
});

pub(crate) fn keys(letter: char) -> Arc<KeyPair> {
    Arc::clone(&KEYS[LETTERS.iter().position(|other| *other == letter).unwrap()])
}

pub(crate) fn public(letter: char) -> PublicKeys {
    keys(letter).public_keys().clone()
}

pub(crate) fn node(letter: char) -> NodeId {
    keys(letter).public_keys().node()
}

pub(crate) fn letter(node: NodeId) -> char {
    LETTERS.into_iter().find(|letter| self::node(*letter) == node).unwrap_or('?')
}

pub(crate) fn name(letter: char) -> NodeName {
    format!("node-{letter}").parse().unwrap()
}

pub(crate) fn agent(text: &str) -> AgentName {
    text.parse().unwrap()
}

pub(crate) fn process(index: u32) -> ProcessId {
    ProcessId { index, generation: 0 }
}

/// The charter of the cluster that `a` founded.
pub(crate) fn charter() -> Charter {
    charter_of('a', 0)
}

pub(crate) fn charter_of(founder: char, nonce: u8) -> Charter {
    Charter { founder: public(founder), rules: b"default-closed".to_vec().into(), nonce: [nonce; 16].into() }
}

/// What `issuer` says of `subject`; the same bytes whenever it is asked, although ML-DSA signatures are random.
pub(crate) fn certificate(issuer: char, subject: char, role: Role) -> Signed<Certificate> {
    static MADE: Mutex<BTreeMap<(char, char, Role), Signed<Certificate>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    made.entry((issuer, subject, role)).or_insert_with(|| certificate_with(issuer, subject, role, |_| {})).clone()
}

/// The same, with something else in it.
pub(crate) fn certificate_with(
    issuer: char,
    subject: char,
    role: Role,
    change: impl FnOnce(&mut Certificate),
) -> Signed<Certificate> {
    let mut certificate = Certificate {
        cluster: charter().cluster_id(),
        keys: public(subject),
        name: name(subject),
        role,
        grants: Vec::new(),
        issuer: node(issuer),
        issued: START,
        not_after: None,
    };
    change(&mut certificate);
    Signed::new(&certificate, &*keys(issuer))
}

pub(crate) fn identity(letter: char, certificate: Signed<Certificate>) -> Identity {
    Identity {
        name: name(letter),
        charter: charter(),
        certificate,
        incarnation: Incarnation(1),
        build: "weft 0.1.0".into(),
        started: Hlc::from_wall(START),
    }
}

pub(crate) fn admitted(certificate: &Signed<Certificate>) -> Fact {
    Fact::Admitted(Box::new(Admitted { certificate: certificate.clone(), invite: None }))
}

/// A stored chain with these facts.
pub(crate) fn chain(letter: char, facts: Vec<Fact>) -> RecoveredChain {
    let chain = ChainId { node: node(letter), incarnation: Incarnation(1) };
    let place = |(seq, fact)| PlacedFact { seq, hlc: Hlc::from_wall(START.after_us(seq)), fact };
    RecoveredChain {
        anchors: Vec::new(),
        state: ChainState::new(chain, charter().cluster_id(), public(letter)),
        facts: (0..).zip(facts).map(place).collect(),
    }
}

/// One machine and the time it is fed with.
pub(crate) struct Machine {
    pub(crate) discovery: Discovery,
    pub(crate) now: Timestamp,
}

impl Machine {
    /// The founder, listening at one address, its first advert out.
    pub(crate) fn founder() -> Self {
        let mut machine = Self::founder_silent();
        machine.give(listening());
        machine
    }

    pub(crate) fn founder_silent() -> Self {
        Self::start('a', certificate('a', 'a', Role::Admin), &Recovered::default())
    }

    /// The founder with these members, whose chains it holds, at no known address.
    pub(crate) fn with_members(members: &[char]) -> Self {
        let facts = members.iter().map(|member| admitted(&certificate('a', *member, Role::Worker))).collect();
        let recovered = Recovered { chains: vec![chain('a', facts)], ..Recovered::default() };
        Self::start('a', certificate('a', 'a', Role::Admin), &recovered)
    }

    pub(crate) fn start(letter: char, certificate: Signed<Certificate>, recovered: &Recovered) -> Self {
        Self::start_run(identity(letter, certificate), recovered)
    }

    pub(crate) fn start_run(identity: Identity, recovered: &Recovered) -> Self {
        Self::start_with(identity, recovered, DiscoveryConfig::default())
    }

    pub(crate) fn start_with(identity: Identity, recovered: &Recovered, config: DiscoveryConfig) -> Self {
        let letter = letter(identity.certificate.peek().unwrap().keys.node());
        let signer: Arc<dyn Signer> = keys(letter);
        Self { discovery: Discovery::new(config, identity, Vec::new(), recovered, signer, 7, START), now: START }
    }

    /// Feeds one input and says what came out.
    pub(crate) fn give(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.discovery.handle(input, self.now, &mut outputs);
        outputs
    }

    /// The same as lines, without the packets of SWIM, which have tests of their own.
    pub(crate) fn lines(&mut self, input: Input) -> Vec<String> {
        let outputs = self.give(input);
        outputs.iter().filter(|output| !matches!(output, Output::SendSwim { .. })).map(line).collect()
    }

    pub(crate) fn wait(&mut self, duration_us: u64) {
        self.now = self.now.after_us(duration_us);
    }

    /// Moves on to the next deadline that is not before `now`, and wakes it.
    pub(crate) fn wake(&mut self) -> Vec<String> {
        self.now = self.discovery.next_wakeup().unwrap().max(self.now);
        self.lines(Input::Woken)
    }

    /// Runs until `until`, with every line and how long after the start of this run it came.
    pub(crate) fn run(&mut self, duration_us: u64) -> Vec<(u64, String)> {
        let (begin, end) = (self.now, self.now.after_us(duration_us));
        let mut lines = Vec::new();
        while let Some(next) = self.discovery.next_wakeup().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            let at = self.now.since_us(begin);
            lines.extend(self.lines(Input::Woken).into_iter().map(|line| (at, line)));
        }
        self.now = end;
        lines
    }

    pub(crate) fn state(&self, letter: char) -> MemberState {
        self.discovery.state_of(&node(letter))
    }

    /// An invite for workers that lives for an hour, as its token.
    pub(crate) fn invite(&mut self, secret: u8, uses: u32) -> Token {
        self.invite_as(Role::Worker, secret, uses)
    }

    pub(crate) fn invite_as(&mut self, role: Role, secret: u8, uses: u32) -> Token {
        self.invite_for(role, secret, uses, None)
    }

    /// One whose certificates last for so long, in microseconds.
    pub(crate) fn invite_for(&mut self, role: Role, secret: u8, uses: u32, certificate_ttl_us: Option<u64>) -> Token {
        let (ask, ttl_us, secret) = (AskId(900), 3_600 * SECOND_US, [secret; 16].into());
        let asked = Input::InviteAsked { ask, role, ttl_us, uses, secret, certificate_ttl_us };
        let ticket = ticket(&self.give(asked));
        let outputs = self.give(Input::Recorded { ticket });
        let Some(Output::Answer { answer: Ok(Answer::Invited { token, .. }), .. }) = outputs.first() else {
            panic!("no invite: {outputs:?}")
        };
        token.parse().unwrap()
    }

    /// Admits a joiner and returns what it is told and what was recorded.
    pub(crate) fn admit(&mut self, ask: u64, token: &Token, letter: char) -> (Box<Admission>, Vec<Fact>) {
        let outputs = self.give(join_asked(ask, token, letter));
        let [Output::Record { ticket, facts, .. }] = outputs.as_slice() else { panic!("no record: {outputs:?}") };
        let outputs = self.give(Input::Recorded { ticket: *ticket });
        (admission(&outputs), facts.clone())
    }
}

pub(crate) fn join_asked(ask: u64, token: &Token, letter: char) -> Input {
    let join = Join { secret: token.secret, name: name(letter) };
    Input::JoinAsked { ask: AskId(ask), keys: public(letter), invite: token.invite(), join }
}

pub(crate) fn listening() -> Input {
    Input::ListenChanged { addresses: vec!["/ip4/127.0.0.1/tcp/1".into(), "/ip4/10.0.0.1/tcp/1".into()] }
}

pub(crate) fn connected(letter: char) -> Input {
    Input::Connected { node: node(letter), path: path(letter, false) }
}

pub(crate) fn path(letter: char, dialled: bool) -> Path {
    Path { address: format!("/sim/{letter}"), transport: "tcp", dialled, wire: 2 }
}

/// The advert of `letter` in its run that began `started` seconds after the start.
pub(crate) fn advert(letter: char, started: u64, version: u64, agents: &[&str]) -> Advert {
    Advert {
        node: node(letter),
        name: name(letter),
        incarnation: Incarnation(1),
        version: AdvertVersion { started: Hlc::from_wall(START.after_us(started * SECOND_US)), version },
        build: "weft 0.1.0".into(),
        agents: (1..).zip(agents).map(|(index, agent)| (self::agent(agent), process(index))).collect(),
        topics: Vec::new(),
        subscriptions: Vec::new(),
        labels: Default::default(),
        services: Vec::new(),
        addresses: vec![format!("/sim/{letter}")],
        expires: START.after_us(300 * SECOND_US),
    }
}

pub(crate) fn arrived(advert: &Advert) -> Input {
    let letter = letter(advert.node);
    Input::AdvertArrived { advert: Box::new(SignedAdvert::new(advert, &*keys(letter))) }
}

pub(crate) fn ticket(outputs: &[Output]) -> Ticket {
    let found =
        outputs.iter().find_map(|output| if let Output::Record { ticket, .. } = output { Some(*ticket) } else { None });
    found.expect("something is to be recorded")
}

pub(crate) fn admission(outputs: &[Output]) -> Box<Admission> {
    let found = outputs.iter().find_map(|output| match output {
        Output::AnswerJoin { answer: Ok(admission), .. } => Some(admission.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("nobody is admitted: {outputs:?}"))
}

/// One output as a line, without what is random in it.
pub(crate) fn line(output: &Output) -> String {
    match output {
        Output::LookUp { node } => format!("look-up {}", letter(*node)),
        Output::Dial { node, addresses } => format!("dial {} {}", letter(*node), addresses.join(" ")),
        Output::KeepLinks { to } => {
            let letters = |to: &BTreeSet<NodeId>| to.iter().map(|node| letter(*node)).collect::<String>();
            format!("keep {}", to.as_ref().map_or_else(|| "all".to_owned(), letters))
        }
        Output::NotReached { node } => format!("not reached {}", letter(*node)),
        Output::UseRelays { nodes } => format!("relays {}", nodes.iter().map(|node| letter(*node)).collect::<String>()),
        Output::SendSwim { to, packet } => format!("swim {} {}", letter(*to), packet.len()),
        Output::Disconnect { node } => format!("disconnect {}", letter(*node)),
        Output::RequestAdverts { to, held } => {
            let held: String =
                held.iter().map(|(node, version)| format!(" {}{}", letter(*node), version.version)).collect();
            format!("request adverts of {}, hold{held}", letter(*to))
        }
        Output::GossipAdvert(signed) => {
            let advert = signed.verify(&public(letter(signed.node))).unwrap();
            let agents: String = advert.agents.iter().map(|(agent, _)| format!(" {agent}")).collect();
            format!("gossip {}{}{agents}", letter(advert.node), advert.version.version)
        }
        Output::Record { ticket, action, facts } => {
            let facts: Vec<String> = facts.iter().map(fact_line).collect();
            format!("record {} {}: {}", ticket.0, action_line(action), facts.join(", "))
        }
        Output::Answer { ask, answer } => match answer {
            Ok(Answer::Invited { invite, .. }) => format!("answer {}: invited {}", ask.0, invite.role),
            Ok(Answer::Revoked { .. }) => format!("answer {}: revoked", ask.0),
            Err(refusal) => format!("answer {}: {}", ask.0, refusal.code()),
        },
        Output::AnswerJoin { ask, answer } => match answer {
            Ok(admission) => {
                let certificate = admission.certificate.peek().unwrap();
                let told: String =
                    admission.members.iter().map(|told| letter(told.peek().unwrap().keys.node())).collect();
                format!("join {}: {} as {}, told {told}", ask.0, certificate.name, certificate.role)
            }
            Err(refusal) => format!("join {}: {}", ask.0, refusal.code()),
        },
        Output::PublishView(view) => {
            let members: String = view.members.keys().map(|node| letter(*node)).collect();
            let cut: String = view.quarantined.iter().map(|node| letter(*node)).collect();
            if cut.is_empty() { format!("view {members}") } else { format!("view {members} without {cut}") }
        }
        Output::LearnMember { keys } => format!("learn {}", letter(keys.node())),
        Output::Quarantine { node } => format!("quarantine {}", letter(*node)),
        Output::DirectoryChanged => "directory changed".into(),
        Output::ReportReachability { node, reachable } => format!("reachable {} {reachable}", letter(*node)),
        Output::RememberAddresses { node, addresses } => format!("remember {} {}", letter(*node), addresses.join(" ")),
    }
}

fn action_line(action: &RecordAction) -> String {
    match action {
        RecordAction::Invite { role } => format!("invite {role}"),
        RecordAction::RevokeInvite => "revoke".into(),
        RecordAction::Admit { node } => format!("admit {}", letter(*node)),
        RecordAction::Renew { node } => format!("renew {}", letter(*node)),
    }
}

fn fact_line(fact: &Fact) -> String {
    match fact {
        Fact::InviteIssued(issued) => format!("issued {} uses {}", issued.role, issued.uses),
        Fact::InviteBurnt(burnt) => format!("burnt on {}", letter(burnt.node)),
        Fact::InviteRevoked(_) => "revoked".into(),
        Fact::Admitted(admitted) => {
            let certificate = admitted.certificate.peek().unwrap();
            format!("admitted {} as {}", letter(certificate.keys.node()), certificate.role)
        }
        other => other.kind().to_owned(),
    }
}
