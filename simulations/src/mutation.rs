//! Ways to break the world on purpose, so that each check is seen to fail when it must.

use weft_peer::Response;
use weft_protocol::{
    A2aItem, A2aRequest, Batch, COMMIT_LABEL, Fact, Gossip, HeadGossip, Hlc, LeaseAnswer, NodeId, Recovered,
    SignedTick, Signer, SyncResponse, Tick, commit_hash, encode,
};

/// See [`Mutation::BreakTicks`], in microseconds.
const PROMISED_US: u64 = 3_000_000;

/// One defect, as a careless program, operating system or disk would have it. A run with one must not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mutation {
    /// Says that a batch is on disk before it is written.
    AcknowledgeBeforeWrite,
    /// The disk says that it synced and did not.
    LyingDisk,
    /// Writes all groups of a batch but the last.
    DropTail,
    /// Writes a foreign commit with another signature than the one that was checked.
    StoreUnverified,
    /// Signs its own commits wrongly and does not notice.
    SignWrongly,
    /// A start forgets which stamps and message ids were given.
    ForgetReservation,
    /// A start forgets which effects had been intended.
    ForgetIntents,
    /// A start forgets how agents were scored.
    ForgetScores,
    /// A start forgets which messages had been received.
    ForgetMessages,
    /// A start takes what is still to be delivered off the disk when it has read it.
    EmptyOutbox,
    /// Answers do not reach whoever asked.
    SwallowAnswers,
    /// Nothing of the chains is heard from others.
    DeafToSync,
    /// A crash brings back the disk as it was some syncs ago.
    RollBackDisk,
    /// Starts agents that were not asked for.
    StartUnasked,
    /// Hands a message to its agent twice.
    DeliverTwice,
    /// Sends requests that are not encoded as they must be.
    EncodeWrongly,
    /// Does not look at the stamps of messages that arrive.
    IgnoreStamps,
    /// Requests for publications that are missing are not answered.
    RepairNothing,
    /// Hands a publication to its subscription twice.
    NotifyTwice,
    /// Hands no message to any agent.
    DeliverNothing,
    /// Vouches for another commit than the one it holds, under the number of that.
    VouchWrongly,
    /// A start goes on with its chain whatever is remembered, and asks nobody.
    AskNobody,
    /// Calls stable what has not been heard by everybody.
    StableEarly,
    /// Promises in its ticks that nothing follows for three seconds, and writes all the same.
    BreakTicks,
    /// Grants a fence that is somebody else's.
    PromiseTwice,
    /// Does not end an agent whose lease ran out.
    OutliveLease,
    /// A start forgets which fences were granted.
    ForgetFences,
    /// Takes every member for one of the newest version of the wire.
    SpeakNewest,
}

impl Mutation {
    /// What becomes of a batch on its way to the disk.
    pub(crate) fn spoil(self, batch: &mut Batch, own: NodeId) {
        match self {
            Self::DropTail => {
                batch.groups.pop();
            }
            Self::StoreUnverified => {
                let foreign = batch.groups.iter_mut().find(|(chain, _)| chain.node != own);
                if let Some((_, group)) = foreign {
                    group.signed.ed25519[0] ^= 1;
                }
            }
            Self::SignWrongly => {
                let own = batch.groups.iter_mut().find(|(chain, _)| chain.node == own);
                if let Some((_, group)) = own {
                    group.signed.ed25519[0] ^= 1;
                }
            }
            Self::AcknowledgeBeforeWrite
            | Self::LyingDisk
            | Self::ForgetReservation
            | Self::ForgetIntents
            | Self::ForgetScores
            | Self::ForgetMessages
            | Self::EmptyOutbox
            | Self::SwallowAnswers
            | Self::DeafToSync
            | Self::RollBackDisk
            | Self::StartUnasked
            | Self::DeliverTwice
            | Self::EncodeWrongly
            | Self::IgnoreStamps
            | Self::RepairNothing
            | Self::NotifyTwice
            | Self::DeliverNothing
            | Self::VouchWrongly
            | Self::AskNobody
            | Self::StableEarly
            | Self::BreakTicks
            | Self::PromiseTwice
            | Self::OutliveLease
            | Self::ForgetFences
            | Self::SpeakNewest => {}
        }
    }

    /// What the own commits of a batch say, signed anew: the first head that one vouches for is not the one that it holds.
    pub(crate) fn bend(self, batch: &mut Batch, signer: &dyn Signer) {
        if self != Self::VouchWrongly {
            return;
        }
        let node = signer.public_keys().node();
        for (_, group) in batch.groups.iter_mut().filter(|(chain, _)| chain.node == node) {
            let Ok(mut commit) = group.signed.decode() else { continue };
            let Some(anchor) = commit.anchors.first_mut().filter(|anchor| anchor.commit_no > 0) else { continue };
            anchor.commit_hash = commit.prev_commit;
            let bytes = encode(&commit);
            let signature = signer.sign(COMMIT_LABEL, &commit_hash(&bytes));
            group.signed.commit = bytes.into();
            group.signed.ed25519 = signature.ed25519;
            group.signed.mldsa65 = group.signed.mldsa65.is_some().then_some(signature.mldsa65);
        }
    }

    /// What a tick promises, signed anew: more than its node keeps to.
    pub(crate) fn promise(self, gossip: &Gossip, signer: &dyn Signer) -> Option<Gossip> {
        let Gossip::Head(HeadGossip::Tick(signed)) = gossip else { return None };
        let tick = signed.peek().ok().filter(|_| self == Self::BreakTicks)?;
        let hlc = Hlc::from_wall(tick.hlc.to_wall().after_us(PROMISED_US));
        let signed = SignedTick::new(&Tick { hlc, ..tick }, signer);
        Some(Gossip::Head(HeadGossip::Tick(Box::new(signed))))
    }

    /// What a member answers to whoever asks for a lease.
    pub(crate) fn promise_twice(self, content: &mut Response) {
        if let Response::Sync(SyncResponse::Lease(answers)) = content
            && self == Self::PromiseTwice
        {
            answers.iter_mut().for_each(|answer| *answer = LeaseAnswer::Granted);
        }
    }

    /// What a start does not know any more.
    pub(crate) fn forget(self, own: NodeId, recovered: &mut Recovered) {
        match self {
            Self::ForgetReservation => recovered.reserved = weft_protocol::Reserved::default(),
            Self::ForgetIntents => {
                let own = recovered.chains.iter_mut().filter(|chain| chain.state.chain().node == own);
                own.for_each(|chain| chain.facts.retain(|placed| !matches!(placed.fact, Fact::Intent(_))));
            }
            Self::ForgetScores => {
                let chains = recovered.chains.iter_mut();
                chains.for_each(|chain| chain.facts.retain(|placed| !matches!(placed.fact, Fact::ResourceScored(_))));
            }
            Self::ForgetFences => {
                let granted = |fact: &Fact| matches!(fact, Fact::FenceGranted(_));
                recovered.chains.iter_mut().for_each(|chain| chain.facts.retain(|placed| !granted(&placed.fact)));
            }
            Self::ForgetMessages => recovered.messages.clear(),
            Self::AcknowledgeBeforeWrite
            | Self::LyingDisk
            | Self::DropTail
            | Self::StoreUnverified
            | Self::SignWrongly
            | Self::EmptyOutbox
            | Self::SwallowAnswers
            | Self::DeafToSync
            | Self::RollBackDisk
            | Self::StartUnasked
            | Self::DeliverTwice
            | Self::EncodeWrongly
            | Self::IgnoreStamps
            | Self::RepairNothing
            | Self::NotifyTwice
            | Self::DeliverNothing
            | Self::VouchWrongly
            | Self::AskNobody
            | Self::StableEarly
            | Self::BreakTicks
            | Self::PromiseTwice
            | Self::OutliveLease
            | Self::SpeakNewest => {}
        }
    }

    /// What a start writes as soon as it has read.
    pub(crate) fn tidy_up(self, recovered: &Recovered) -> Option<Batch> {
        let outbox_drop = recovered.outbox.iter().map(|entry| entry.envelope.id).collect();
        (self == Self::EmptyOutbox).then_some(Batch { outbox_drop, ..Batch::default() })
    }

    /// What a request looks like on the wire.
    pub(crate) fn garble(self, bytes: &mut Vec<u8>) {
        if self == Self::EncodeWrongly {
            bytes.push(0xf6);
        }
    }

    /// What is left of a request when it is read.
    pub(crate) fn skim(self, request: &mut A2aRequest) {
        if self != Self::IgnoreStamps {
            return;
        }
        for item in &mut request.items {
            match item {
                A2aItem::Envelope(envelope) => envelope.hlc = Hlc(1),
                A2aItem::Receipt(receipt) => receipt.hlc = Hlc(1),
                A2aItem::LargeEnvelope(large) => large.envelope.hlc = Hlc(1),
                A2aItem::LargeReceipt(large) => large.receipt.hlc = Hlc(1),
                A2aItem::Cancel(_) | A2aItem::Part(_) | A2aItem::PartsTaken(_) | A2aItem::Publication(_) => {}
            }
        }
    }
}
