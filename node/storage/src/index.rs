//! Where the steps of a message and of a conversation stand: keys that find them without reading a chain.

use weft_protocol::{ChainId, Event, Fact, MessageId, MessageRecord, NewTraces, TraceId};

/// The leaf number that says: the event itself.
pub(crate) const WHOLE_EVENT: u32 = u32::MAX;
/// How an event of a durable message shows its kind: `"kind": "ipc.message"` in CBOR. Only a hint, so that other events are
/// not decoded in vain.
const MESSAGE_HINT: &[u8] = b"\x64kind\x6bipc.message";
/// Kind follows version, seq, stamp and source (at most 128 bytes) in the canonical encoding.
const HINT_WITHIN_BYTES: usize = 256;

/// Where one step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) chain: ChainId,
    pub(crate) seq: u64,
    pub(crate) leaf: u32,
}

fn key(tag: u8, id: &[u8], place: Place) -> Vec<u8> {
    [&[tag], id, &place.chain.to_bytes(), &place.seq.to_be_bytes(), &place.leaf.to_be_bytes()].concat()
}

/// The keys of one step: by its conversation, and by its message unless that began the conversation, whose id then tells.
pub(crate) fn keys(
    new_traces: &mut NewTraces,
    message: MessageId,
    trace: TraceId,
    place: Place,
) -> impl Iterator<Item = Vec<u8>> + use<> {
    let by_message = (new_traces.of(&message) != trace).then(|| key(b'm', &message.to_bytes(), place));
    by_message.into_iter().chain([key(b't', &trace.0.to_be_bytes(), place)])
}

/// The beginning of all keys of a message on one chain.
pub(crate) fn message_prefix(message: MessageId, chain: ChainId) -> Vec<u8> {
    [&b"m"[..], &message.to_bytes(), &chain.to_bytes()].concat()
}

/// The beginning of all keys of a conversation on one chain.
pub(crate) fn trace_prefix(trace: TraceId, chain: ChainId) -> Vec<u8> {
    [&b"t"[..], &trace.0.to_be_bytes(), &chain.to_bytes()].concat()
}

/// The place in a key; `None` for a key of another form.
pub(crate) fn place(key: &[u8]) -> Option<Place> {
    let (rest, leaf) = key.split_last_chunk::<4>()?;
    let (rest, seq) = rest.split_last_chunk::<8>()?;
    let (_, chain) = rest.split_last_chunk::<40>()?;
    let chain = ChainId::from_bytes(chain);
    Some(Place { chain, seq: u64::from_be_bytes(*seq), leaf: u32::from_be_bytes(*leaf) })
}

/// The step that an event of a durable message records; `None` for other events.
pub(crate) fn message_of(event: &[u8]) -> Option<MessageRecord> {
    let beginning = &event[..event.len().min(HINT_WITHIN_BYTES)];
    beginning.windows(MESSAGE_HINT.len()).any(|window| window == MESSAGE_HINT).then_some(())?;
    let event = Event::decode(event).ok()?;
    match Fact::decode(&event.kind, &event.payload) {
        Ok(Fact::Message(record)) => Some(*record),
        _ => None,
    }
}
