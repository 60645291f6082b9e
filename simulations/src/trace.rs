//! The hash over everything that happened in a run, in order and without signatures, and the last lines of it in words.

use std::collections::VecDeque;
use std::fmt::Arguments;

use weft_peer::{GossipTopic, Input, Output, Question, Request, Response};
use weft_protocol::{
    A2aItem, Batch, BlobResponse, CommitGroup, Digest, Gossip, HeadGossip, SignedCommit, Statement, SyncRequest,
    SyncResponse, hash,
};

/// Lines that are kept to be shown when a run fails.
const LINES_KEPT: usize = 64;

/// Two runs of one scenario and seed have the same hash, whatever machine they ran on.
#[derive(Debug)]
pub(crate) struct Trace {
    digest: Digest,
    last: VecDeque<String>,
}

impl Trace {
    /// An empty trace of this run.
    pub(crate) fn new(scenario: &str, seed: u64) -> Self {
        let digest = hash("sim-trace", &[scenario.as_bytes(), &seed.to_be_bytes()]);
        Self { digest, last: VecDeque::with_capacity(LINES_KEPT) }
    }

    /// Adds one line.
    pub(crate) fn add(&mut self, now_us: u64, node: Option<usize>, words: Arguments<'_>) {
        let line = match node {
            Some(node) => format!("{now_us:>11} #{node} {words}"),
            None => format!("{now_us:>11}    {words}"),
        };
        self.digest = hash("sim-trace", &[self.digest.as_bytes(), line.as_bytes()]);
        if self.last.len() == LINES_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The hash over all lines so far.
    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// The last lines, oldest first.
    pub(crate) fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }
}

/// An input in words.
pub(crate) fn input(input: &Input) -> String {
    match input {
        Input::Asked { ask, by, question } => format!("asked {} by {by}: {}", ask.0, words_of_question(question)),
        Input::PartsTaken { ask, count } => format!("parts-taken {} {count}", ask.0),
        Input::Withdrawn { ask } => format!("withdrawn {}", ask.0),
        Input::JoinAsked { ask, keys, invite, join } => {
            format!("join-asked {} {} {invite} {}", ask.0, keys.node().short(), join.name)
        }
        Input::Connected { node, path } => format!("connected {} dialled {}", node.short(), path.dialled),
        Input::Disconnected { node } => format!("disconnected {}", node.short()),
        Input::AddressesFound { node, addresses } => format!("addresses-found {} {addresses:?}", node.short()),
        Input::ProvidersFound { service, nodes } => {
            let nodes: Vec<String> = nodes.iter().map(|node| node.short().to_string()).collect();
            format!("providers-found {service} {}", nodes.join(" "))
        }
        Input::DialFailed { node, reason } => format!("dial-failed {} {reason}", node.short()),
        Input::Pinged { node, rtt_us } => format!("pinged {} {rtt_us}", node.short()),
        Input::PingFailed { node } => format!("ping-failed {}", node.short()),
        Input::SwimArrived { from, packet } => format!("swim-arrived {} {}", from.short(), packet.len()),
        Input::TranslationSeen { translated } => format!("translation-seen {translated}"),
        Input::PathChanged { node, path } => format!("path-changed {} {}", node.short(), path.transport),
        Input::WatchEnded { node } => format!("watch-ended {}", node.short()),
        Input::ListenChanged { addresses } => format!("listen-changed {addresses:?}"),
        Input::RequestArrived { request, from, content } => {
            format!("request-arrived {} {} {}", request.0, from.short(), request_words(content))
        }
        Input::ResponseArrived { request, content } => {
            format!("response-arrived {} {}", request.0, response_words(content))
        }
        Input::RequestFailed { request, reason } => format!("request-failed {} {reason}", request.0),
        Input::Gossiped { from, author, content } => {
            format!("gossiped {} {} {}", from.short(), author.short(), gossip_words(content))
        }
        Input::AgentStarted { process, pid } => format!("agent-started {process} {pid:?}"),
        Input::AgentSuspended { process } => format!("agent-suspended {process}"),
        Input::AgentResumed { process } => format!("agent-resumed {process}"),
        Input::AgentExited { process, reason } => format!("agent-exited {process} {reason}"),
        Input::ResourcesMeasured { process, measured } => format!("resources-measured {process} {measured:?}"),
        Input::AgentAnswered { process, message, answer } => format!("agent-answered {process} {message} {answer:?}"),
        Input::Persisted => "persisted".to_owned(),
        Input::PersistFailed => "persist-failed".to_owned(),
        Input::ChainDamaged { chain, from_commit } => format!("chain-damaged {} {from_commit}", chain.node.short()),
        Input::Mended { chain, from, outcome } => {
            format!("mended {} by {}: {outcome:?}", chain.node.short(), from.short())
        }
        Input::RangeRead { request, chain, groups } => {
            format!("range-read {} {} {}", request.0, chain.node.short(), groups.len())
        }
        Input::CommitRead { chain, held, other } => {
            let held = held.as_ref().map(|held| header_words(held));
            format!("commit-read {} {held:?} {}", chain.node.short(), statement_words(other))
        }
        Input::HashesRead { chain, hashes } => format!("hashes-read {} {}", chain.node.short(), hashes.len()),
        Input::ChainRead { chain, state, .. } => {
            format!("chain-read {} {:?}", chain.node.short(), state.as_ref().map(|state| state.commits()))
        }
        Input::TraceRead { request, rows, pruned: _ } => format!("trace-read {} {}", request.0, rows.len()),
        Input::Verified(verdict) => {
            let refused = verdict.error().is_some();
            format!("verified {} good {} refused {refused}", verdict.chain().node.short(), verdict.good())
        }
        Input::ProbeAnswered { number, answer } => format!("probe-answered {number} {answer:?}"),
        Input::Woken => "woken".to_owned(),
    }
}

fn words_of_question(question: &Question) -> String {
    match question {
        Question::Kernel(syscall) => format!("{syscall:?}"),
        Question::Invite { role, ttl_us, uses, secret: _, certificate_ttl_us: _ } => {
            format!("invite {role} {ttl_us} {uses}")
        }
        Question::RevokeInvite { invite } => format!("revoke {invite}"),
        Question::RecordRepair { repaired } => format!("record-repair {}", repaired.len()),
        Question::RotateKeys { next } => format!("rotate-keys {}", next.public_keys().node()),
        Question::Score { scored } => format!("score {}", scored.path),
        Question::RecordBoot { phases } => format!("record-boot {}", phases.len()),
        Question::ChangeMember { node, verb } => format!("{} {node}", verb.name()),
        Question::RecordAnchor { anchored } => format!("record-anchor {:?}", anchored.step),
        Question::Prune { prune } => format!("prune below {}", prune.pruned.to),
        Question::Failover { declared } => format!("failover {}", declared.spec.agent),
        Question::Drain => "drain".to_owned(),
        Question::TakeSnapshot => "take-snapshot".to_owned(),
        Question::Configure { changes, .. } => format!("configure {}", changes.len()),
        Question::Trace { node, trace } => format!("trace {trace} of {}", node.short()),
    }
}

/// An output in words.
pub(crate) fn output(output: &Output) -> String {
    match output {
        Output::Persist(batch) => format!("persist {}", batch_words(batch)),
        Output::Answer { ask, answer } => format!("answer {} {}", ask.0, answer_words(answer)),
        Output::AnswerJoin { ask, answer } => {
            let answer = answer.as_ref().map(|admission| admission.members.len());
            format!("answer-join {} {answer:?}", ask.0)
        }
        Output::Notify { ask, cursor, publication } => format!("notify {} {} {cursor}", ask.0, publication.id),
        Output::UseRelays { nodes } => format!("use-relays {}", nodes.len()),
        Output::SendSwim { to, packet } => format!("send-swim {} {}", to.short(), packet.len()),
        Output::LookUp { node } => format!("look-up {}", node.short()),
        Output::SeekProviders { service } => format!("seek-providers {service}"),
        Output::Provide { services } => format!("provide {}", services.len()),
        Output::Dial { node, addresses } => format!("dial {} {addresses:?}", node.short()),
        Output::KeepLinks { to } => format!("keep-links {:?}", to.as_ref().map(std::collections::BTreeSet::len)),
        Output::Disconnect { node } => format!("disconnect {}", node.short()),
        Output::Request { request, to, content } => {
            format!("request {} {} {}", request.0, to.short(), request_words(content))
        }
        Output::Respond { request, content } => format!("respond {} {}", request.0, response_words(content)),
        Output::Gossip { topic, content } => format!("gossip {} {}", topic_words(topic), gossip_words(content)),
        Output::Follow { topics, wildcards } => format!("follow {topics:?} wildcards {wildcards}"),
        Output::Start { process, spec } => format!("start {process} {} {}", spec.agent, spec.backend),
        Output::Deliver { process, delivery } => format!("deliver {process} {}", delivery.message),
        Output::DeliverPublication { process, publication } => {
            format!("deliver-publication {process} {}", publication.id)
        }
        Output::AnswerPart { ask, number, .. } => format!("answer-part {number} to {}", ask.0),
        Output::CancelDelivery { process, message } => format!("cancel-delivery {process} {message}"),
        Output::Warn { process, resource, measured, limit } => {
            format!("warn {process} {resource} {measured} {limit}")
        }
        Output::Probe { number, target } => format!("probe {number} {target:?}"),
        Output::Suspend { process } => format!("suspend {process}"),
        Output::Resume { process } => format!("resume {process}"),
        Output::Signal { process, signal, .. } => format!("signal {process} {signal}"),
        Output::Stop { process, grace_us } => format!("stop {process} {grace_us}"),
        Output::ReadRange { request, chain, from_commit, bytes_max } => {
            format!("read-range {} {} from {from_commit} at most {bytes_max}", request.0, chain.node.short())
        }
        Output::ReadCommit { chain, commit_no, other } => {
            format!("read-commit {} {commit_no} {}", chain.node.short(), statement_words(other))
        }
        Output::ReadHashes { chain, commit_nos } => format!("read-hashes {} {commit_nos:?}", chain.node.short()),
        Output::Mend { chain, from, groups } => {
            format!("mend {} by {} {}", chain.node.short(), from.short(), groups.len())
        }
        Output::ReadChain { chain } => format!("read-chain {}", chain.node.short()),
        Output::ReadTrace { request, trace } => format!("read-trace {} {trace}", request.0),
        Output::Verify(job) => format!("verify {} {}", job.chain().node.short(), job.len()),
        Output::PublishView(view) => format!("publish-view of {} members", view.members.len()),
        Output::Halt => "halt".to_owned(),
        Output::StartOver(over) => format!("start-over {over:?}"),
    }
}

/// Everything of an answer but the token of an invite, which names no signature but a secret that helps nobody here.
fn answer_words(answer: &Result<weft_peer::Reply, weft_protocol::Refusal>) -> String {
    match answer {
        Ok(weft_peer::Reply::Trace { rows, pruned: _ }) => format!("{} steps", rows.len()),
        Ok(reply) => format!("{reply:?}"),
        Err(refusal) => format!("refused: {}", refusal.code()),
    }
}

fn batch_words(batch: &Batch) -> String {
    let groups: Vec<String> = batch.groups.iter().map(|(_, group)| group_words(group)).collect();
    format!(
        "[{}] digests {} outbox +{} -{} reserved {:?} evidence {} addresses {}",
        groups.join(", "),
        batch.digests.len(),
        batch.outbox_put.len(),
        batch.outbox_drop.len(),
        batch.reserved,
        batch.evidence.len(),
        batch.addresses.len(),
    )
}

fn group_words(group: &CommitGroup) -> String {
    let kinds: Vec<String> = group
        .events
        .iter()
        .filter_map(|bytes| weft_protocol::Event::decode(bytes).ok())
        .map(|event| format!("{}@{}", event.kind, event.hlc))
        .collect();
    format!("{} {}", header_words(&group.signed), kinds.join(" "))
}

/// A commit by its number, stamps and whether it is a checkpoint: no root, since roots cover signatures of certificates.
fn header_words(signed: &SignedCommit) -> String {
    match signed.decode() {
        Ok(commit) => {
            let (node, seal) = (commit.chain.node.short(), if signed.is_checkpoint() { "sealed" } else { "open" });
            format!("{node}/{} {}+{} {} {seal}", commit.commit_no, commit.first_seq, commit.count, commit.hlc_last)
        }
        Err(_) => "a malformed commit".to_owned(),
    }
}

fn statement_words(statement: &Statement) -> String {
    match statement {
        Statement::Commit(signed) => header_words(signed),
        Statement::Tick(signed) => match signed.decode() {
            Ok(claim) => format!("tick {}/{} {}", claim.last.chain.node.short(), claim.last.commit_no, claim.hlc),
            Err(_) => "a malformed tick".to_owned(),
        },
    }
}

fn request_words(request: &Request) -> String {
    match request {
        Request::A2a(request) => {
            let items: Vec<String> = request.items.iter().map(item_words).collect();
            format!("a2a [{}]", items.join(", "))
        }
        Request::Sync(SyncRequest::Hello { .. }) => "hello".to_owned(),
        Request::Sync(SyncRequest::Stretch { from, .. }) => format!("stretch from {}", from.node.short()),
        Request::Sync(SyncRequest::Range { chain, from_commit, bytes_max }) => {
            format!("range {} from {from_commit} at most {bytes_max}", chain.node.short())
        }
        Request::Sync(SyncRequest::Lease { fences, .. }) => format!("lease of {fences:?}"),
        Request::Sync(SyncRequest::LastTick { chain }) => format!("last tick of {}", chain.node.short()),
        Request::Sync(SyncRequest::Head { chain }) => format!("head of {}", chain.node.short()),
        Request::Sync(SyncRequest::Adverts { held }) => format!("adverts beyond {}", held.len()),
        Request::Sync(SyncRequest::Trace { trace }) => format!("trace {trace}"),
        Request::Blob(request) => format!("chunk {} of {}", request.chunk, request.address),
        Request::Sync(SyncRequest::Streams { patterns, after }) => format!("streams {patterns:?} after {after:?}"),
        Request::Sync(SyncRequest::Evidence { chain }) => format!("evidence against {}", chain.node.short()),
        Request::Sync(SyncRequest::Witness { places }) => format!("witness {} places", places.len()),
        Request::Sync(SyncRequest::Publications { topic, chain, from }) => {
            format!("publications {topic} {} {from:?}", chain.node.short())
        }
    }
}

fn item_words(item: &A2aItem) -> String {
    match item {
        A2aItem::Envelope(envelope) => format!("envelope {} {}", envelope.id, envelope.hlc),
        A2aItem::Receipt(receipt) => format!("receipt {} {} {:?}", receipt.message, receipt.hlc, receipt.outcome),
        A2aItem::Cancel(message) => format!("cancel {message}"),
        A2aItem::Part(part) => format!("part {} of {}", part.number, part.message),
        A2aItem::Publication(publication) => format!("publication {} {}", publication.id, publication.hlc),
        A2aItem::PartsTaken(taken) => format!("taken {} parts of {}", taken.count, taken.message),
        A2aItem::LargeEnvelope(large) => {
            format!("envelope {} {} by {}", large.envelope.id, large.envelope.hlc, large.body.address)
        }
        A2aItem::LargeReceipt(large) => {
            format!("receipt {} {} by {}", large.receipt.message, large.receipt.hlc, large.body.address)
        }
    }
}

fn response_words(response: &Response) -> String {
    match response {
        Response::A2a(response) => {
            let receipts: Vec<String> = response
                .receipts
                .iter()
                .map(|receipt| format!("{} {} {:?}", receipt.message, receipt.hlc, receipt.outcome))
                .collect();
            format!("a2a [{}]", receipts.join(", "))
        }
        Response::Sync(SyncResponse::Same) => "same".to_owned(),
        Response::Sync(SyncResponse::Heads(heads)) => {
            let heads: Vec<String> =
                heads.iter().map(|head| format!("{}/{}", head.chain.node.short(), head.commit_no)).collect();
            format!("heads {}", heads.join(" "))
        }
        Response::Sync(SyncResponse::Stretches(stretches)) => format!("{} stretches", stretches.len()),
        Response::Sync(SyncResponse::Page { chain, groups }) => {
            format!("page {} {}", chain.node.short(), groups.len())
        }
        Response::Sync(SyncResponse::Adverts(adverts)) => format!("{} adverts", adverts.len()),
        Response::Sync(SyncResponse::Trace(rows) | SyncResponse::PrunedTrace { rows, pruned: _ }) => {
            format!("{} steps", rows.len())
        }
        Response::Sync(SyncResponse::Refused(reason)) => format!("refused {reason}"),
        Response::Blob(BlobResponse::Chunk(chunk)) => format!("chunk of {} bytes", chunk.content.len()),
        Response::Blob(BlobResponse::Unknown) => "no such body".to_owned(),
        Response::Blob(BlobResponse::Busy { retry_after_us }) => format!("busy for {retry_after_us} us"),
        Response::Sync(SyncResponse::Streams { streams, more }) => format!("{} streams, more {more}", streams.len()),
        Response::Sync(SyncResponse::Lease(answers)) => format!("leases {answers:?}"),
        Response::Sync(SyncResponse::LastTick(tick)) => format!("last tick {}", tick.is_some()),
        Response::Sync(SyncResponse::Evidence(evidence)) => format!("evidence {}", evidence.is_some()),
        Response::Sync(SyncResponse::Publications { publications, more }) => {
            format!("{} publications, more {more}", publications.len())
        }
    }
}

fn topic_words(topic: &GossipTopic) -> String {
    match topic {
        GossipTopic::Heads => "heads".to_owned(),
        GossipTopic::Directory => "directory".to_owned(),
        GossipTopic::Wildcards => "wildcards".to_owned(),
        GossipTopic::Agents(topic) => format!("agents/{topic}"),
    }
}

fn gossip_words(gossip: &Gossip) -> String {
    match gossip {
        Gossip::Head(HeadGossip::Group(group)) => format!("group {}", header_words(&group.signed)),
        Gossip::Head(HeadGossip::Head(signed)) => format!("head {}", header_words(signed)),
        Gossip::Head(HeadGossip::Tick(tick)) => match tick.peek() {
            Ok(tick) => format!("tick {} {} {}", tick.last.chain, tick.last.commit_no, tick.heads.len()),
            Err(_) => "a broken tick".to_owned(),
        },
        Gossip::Head(HeadGossip::Fork(evidence)) => {
            format!("fork {} {}", statement_words(&evidence.first), statement_words(&evidence.second))
        }
        Gossip::Advert(advert) => format!("advert of {}", advert.node.short()),
        Gossip::Publication(publication) => format!("publication {} {}", publication.id, publication.hlc),
    }
}
