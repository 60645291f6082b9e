//! Agent requests on kept streams: each side opens one to a member for all it asks, so that no request opens a stream of its own.
//!
//! A stream carries frames with a number each (`Numbered`); the other side answers in whatever order answers are there. Where
//! there is no such stream (not yet, not any more, or the member does not speak it) requests go by libp2p's request-response,
//! one stream each. Reading and writing happen in one task for each stream; it ends with the stream.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;
use futures::io::{AsyncReadExt as _, BufReader, ReadHalf, WriteHalf};
use libp2p::{Stream, StreamProtocol};
use libp2p_stream::{Control, OpenStreamError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use weft_peer::OutboundId;
use weft_protocol::limits::FRAME_BYTES_MAX;
use weft_protocol::{A2aRequest, A2aResponse, NodeId, Numbered, decode, encode};

use super::frame::{append_frame, read_frame};
use super::newest::serve_newest;
use crate::identity::peer_id;

/// The protocol of agent messages on a kept stream.
pub(super) const KEPT: StreamProtocol = StreamProtocol::new("/weft/a2a-kept/1");

/// Requests of one side that the other has not answered yet. Whoever sends more is not read from until some are answered; our
/// own peer keeps to less (guess: as many as libp2p's request-response may have open).
const UNANSWERED_MAX: usize = 32;
/// What streams have brought and the event loop has not taken yet; beyond it they are not read from.
const ARRIVED_MAX: usize = 256;
/// Frames that are there together leave together, up to about so many bytes.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// What is read from a stream at once, for frames that came together.
const READ_BYTES: usize = 16 * 1024;
/// How long a request may take before it has failed: as on a stream of its own.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// How soon after a stream ended the next one is opened to the same member.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// Where the response to a request goes.
#[derive(Debug)]
pub(super) struct Reply {
    number: u64,
    responses: mpsc::Sender<Numbered<A2aResponse>>,
    /// Given back when the request is answered: then one more is read.
    _place: OwnedSemaphorePermit,
}

impl Reply {
    pub(super) fn is_open(&self) -> bool {
        !self.responses.is_closed()
    }

    /// Whether somebody still waits for it.
    pub(super) fn send(self, content: A2aResponse) -> bool {
        // There is room for as many as may be unanswered.
        self.responses.try_send(Numbered { number: self.number, content }).is_ok()
    }
}

/// What a stream has to say.
#[derive(Debug)]
pub(super) enum Arrived {
    /// Our stream to a member is open.
    Opened { node: NodeId, way: u64, requests: mpsc::Sender<Numbered<A2aRequest>> },
    /// A member asks.
    Asked { from: NodeId, content: A2aRequest, reply: Reply },
    /// A member answered.
    Answered { node: NodeId, way: u64, response: Numbered<A2aResponse> },
    /// A request was not sent.
    Unsent { node: NodeId, way: u64, number: u64, reason: String },
    /// Our stream to a member ended, or was never opened; `again` when one may be opened anew.
    Ended { node: NodeId, way: u64, reason: String, again: bool },
}

/// What is to be told of a request.
#[derive(Debug)]
pub(super) enum Told {
    Asked { from: NodeId, content: A2aRequest, reply: Reply },
    Answered { request: OutboundId, content: A2aResponse },
    Failed { request: OutboundId, reason: String },
}

/// Our stream to one member.
#[derive(Debug)]
struct Way {
    /// Tells this stream from an earlier one to the same member.
    way: u64,
    /// None until it is open.
    requests: Option<mpsc::Sender<Numbered<A2aRequest>>>,
    next: u64,
    waiting: BTreeMap<u64, (OutboundId, Instant)>,
    task: AbortHandle,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The kept streams of this node. Invariant: `ways` has members with an open connection alone.
pub(super) struct Kept {
    control: Control,
    ways: BTreeMap<NodeId, Way>,
    next_way: u64,
    /// When to look for requests that have waited for too long: not after the first of them has.
    look_at: Option<Instant>,
    sender: mpsc::Sender<Arrived>,
    arrived: mpsc::Receiver<Arrived>,
    accepting: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Kept {
    /// Serves the streams of members from here on.
    pub(super) fn new(mut control: Control) -> Self {
        let (sender, arrived) = mpsc::channel(ARRIVED_MAX);
        let incoming = control.accept(KEPT).expect("BUG: this protocol is accepted once");
        let arriving = sender.clone();
        let serving = serve_newest(incoming, move |from, stream| serve(from, stream, arriving.clone()));
        let accepting = tokio::spawn(serving).abort_handle();
        Self { control, ways: BTreeMap::new(), next_way: 0, look_at: None, sender, arrived, accepting }
    }

    /// Opens a stream to a member with an open connection.
    pub(super) fn open(&mut self, node: NodeId) {
        self.open_at(node, Instant::now());
    }

    fn open_at(&mut self, node: NodeId, when: Instant) {
        let way = self.next_way;
        self.next_way += 1;
        let run = ask(node, way, self.control.clone(), when, self.sender.clone());
        let task = tokio::spawn(run).abort_handle();
        self.ways.insert(node, Way { way, requests: None, next: 0, waiting: BTreeMap::new(), task });
    }

    /// No connection to that node is open any more; what it had not answered.
    pub(super) fn close(&mut self, node: NodeId) -> Vec<OutboundId> {
        self.ways.remove(&node).map_or_else(Vec::new, |way| way.waiting.values().map(|(request, _)| *request).collect())
    }

    /// Whether what this member is asked goes by a kept stream.
    #[cfg(test)]
    pub(super) fn is_open(&self, node: &NodeId) -> bool {
        self.ways.get(node).is_some_and(|way| way.requests.is_some())
    }

    /// Ends the stream to a member; the next one follows.
    #[cfg(test)]
    pub(super) fn finish(&mut self, node: &NodeId) {
        if let Some(way) = self.ways.get_mut(node) {
            way.requests = None;
        }
    }

    /// Asks a member on the stream to it; gives the request back when there is none.
    ///
    /// # Errors
    /// The request.
    pub(super) fn ask(&mut self, request: OutboundId, to: NodeId, content: A2aRequest) -> Result<(), A2aRequest> {
        let Some(way) = self.ways.get_mut(&to) else { return Err(content) };
        let Some(requests) = &way.requests else { return Err(content) };
        let number = way.next;
        match requests.try_send(Numbered { number, content }) {
            Ok(()) => {
                let now = Instant::now();
                way.next += 1;
                way.waiting.insert(number, (request, now));
                self.look_at.get_or_insert(now + ANSWER_TIME_MAX);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(frame) | mpsc::error::TrySendError::Closed(frame)) => {
                Err(frame.content)
            }
        }
    }

    /// What streams brought next, or what has waited for too long. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Vec<Told> {
        let overdue = async {
            match self.look_at {
                Some(when) => sleep_until(when).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(arrived) = self.arrived.recv() => self.take(arrived),
            () = overdue => self.give_up(Instant::now()),
        }
    }

    fn take(&mut self, arrived: Arrived) -> Vec<Told> {
        match arrived {
            Arrived::Asked { from, content, reply } => vec![Told::Asked { from, content, reply }],
            Arrived::Opened { node, way, requests } => {
                if let Some(known) = self.ways.get_mut(&node).filter(|known| known.way == way) {
                    known.requests = Some(requests);
                }
                Vec::new()
            }
            Arrived::Answered { node, way, response } => {
                let known = self.ways.get_mut(&node).filter(|known| known.way == way);
                let waiting = known.and_then(|known| known.waiting.remove(&response.number));
                // One that was given up may still be answered.
                waiting.map(|(request, _)| Told::Answered { request, content: response.content }).into_iter().collect()
            }
            Arrived::Unsent { node, way, number, reason } => {
                let known = self.ways.get_mut(&node).filter(|known| known.way == way);
                let waiting = known.and_then(|known| known.waiting.remove(&number));
                waiting.map(|(request, _)| Told::Failed { request, reason }).into_iter().collect()
            }
            Arrived::Ended { node, way, reason, again } => self.ended(node, way, &reason, again),
        }
    }

    fn ended(&mut self, node: NodeId, way: u64, reason: &str, again: bool) -> Vec<Told> {
        let Some(known) = self.ways.get_mut(&node).filter(|known| known.way == way) else { return Vec::new() };
        tracing::debug!(%node, reason, again, "the stream to a member ended");
        known.requests = None;
        let waiting = std::mem::take(&mut known.waiting);
        if again {
            self.open_at(node, Instant::now() + REOPEN_AFTER);
        }
        waiting.into_values().map(|(request, _)| Told::Failed { request, reason: reason.to_owned() }).collect()
    }

    /// Requests that have waited for too long have failed, and with them all else on their stream: what brought no answer for so long is
    /// not asked on again, whatever its connection says.
    fn give_up(&mut self, now: Instant) -> Vec<Told> {
        let overdue = |way: &Way| way.waiting.values().any(|(_, since)| *since + ANSWER_TIME_MAX <= now);
        let silent: Vec<NodeId> = self.ways.iter().filter(|(_, way)| overdue(way)).map(|(node, _)| *node).collect();
        let mut told = Vec::new();
        for node in silent {
            tracing::debug!(%node, "the stream to a member is given up");
            let failed = self.close(node).into_iter();
            let reason = "the member did not answer in time";
            told.extend(failed.map(|request| Told::Failed { request, reason: reason.to_owned() }));
            self.open_at(node, now + REOPEN_AFTER);
        }
        let first = self.ways.values().filter_map(|way| way.waiting.values().next()).map(|(_, since)| *since).min();
        self.look_at = first.map(|since| since + ANSWER_TIME_MAX);
        told
    }
}

/// Opens a stream, then asks on it until it or the network ends.
async fn ask(node: NodeId, way: u64, mut control: Control, when: Instant, arrived: mpsc::Sender<Arrived>) {
    sleep_until(when).await;
    let stream = match control.open_stream(peer_id(node), KEPT).await {
        Ok(stream) => stream,
        Err(error) => {
            let again = !matches!(error, OpenStreamError::UnsupportedProtocol(_));
            let _network_ended = arrived.send(Arrived::Ended { node, way, reason: error.to_string(), again }).await;
            return;
        }
    };
    let (requests, waiting) = mpsc::channel(UNANSWERED_MAX);
    if arrived.send(Arrived::Opened { node, way, requests }).await.is_err() {
        return;
    }
    let (reader, writer) = stream.split();
    let answers = async {
        let mut reader = BufReader::with_capacity(READ_BYTES, reader);
        loop {
            let response = read(&mut reader).await?;
            if arrived.send(Arrived::Answered { node, way, response }).await.is_err() {
                return Ok(());
            }
        }
    };
    // What is not taken down here is given up in time.
    let unsent = |number, error: io::Error| {
        let _ = arrived.try_send(Arrived::Unsent { node, way, number, reason: error.to_string() });
        Ok(())
    };
    let ended: io::Result<()> = tokio::select! {
        ended = answers => ended,
        ended = write_all_of(waiting, writer, unsent) => ended,
    };
    let reason = ended.map_or_else(|error| error.to_string(), |()| "the network ended".to_owned());
    let _network_ended = arrived.send(Arrived::Ended { node, way, reason, again: true }).await;
}

/// Takes requests of a member, no more than may be unanswered, and writes what they are answered.
async fn serve(from: NodeId, stream: Stream, arrived: mpsc::Sender<Arrived>) {
    let (responses, waiting) = mpsc::channel(UNANSWERED_MAX);
    let places = Arc::new(Semaphore::new(UNANSWERED_MAX));
    let (reader, writer) = stream.split();
    let requests = async {
        let mut reader: BufReader<ReadHalf<Stream>> = BufReader::with_capacity(READ_BYTES, reader);
        loop {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            let Numbered { number, content } = read(&mut reader).await?;
            let reply = Reply { number, responses: responses.clone(), _place: place };
            if arrived.send(Arrived::Asked { from, content, reply }).await.is_err() {
                return Ok(());
            }
        }
    };
    let ended: io::Result<()> = tokio::select! {
        ended = requests => ended,
        ended = write_all_of(waiting, writer, |_, error| Err(error)) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%from, %error, "the stream of a member ended");
    }
}

async fn read<T: Serialize + DeserializeOwned>(reader: &mut BufReader<ReadHalf<Stream>>) -> io::Result<Numbered<T>> {
    let bytes = read_frame(reader, FRAME_BYTES_MAX).await?;
    decode(&bytes, FRAME_BYTES_MAX).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes frames until there are no more to come; those that are there together leave together. Of one that is too large `unsent`
/// is told, and may end it all.
async fn write_all_of<T: Serialize>(
    mut frames: mpsc::Receiver<Numbered<T>>,
    mut writer: WriteHalf<Stream>,
    mut unsent: impl FnMut(u64, io::Error) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(first) = frames.recv().await {
        let mut next = Some(first);
        while let Some(frame) = next {
            let added = append_frame(&mut buffer, &encode(&frame), FRAME_BYTES_MAX);
            added.or_else(|error| unsent(frame.number, error))?;
            next = if buffer.len() < WRITE_BYTES_MAX { frames.try_recv().ok() } else { None };
        }
        writer.write_all(&buffer).await?;
        writer.flush().await?;
        buffer.clear();
        buffer.shrink_to(WRITE_BYTES_MAX);
    }
    writer.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([1; 32]);

    /// A stream to one member is open; what is asked on it goes into the channel.
    fn opened() -> (Kept, mpsc::Receiver<Numbered<A2aRequest>>) {
        let mut kept = Kept::new(libp2p_stream::Behaviour::new().new_control());
        kept.open(NODE);
        let written = open_way(&mut kept, 0);
        (kept, written)
    }

    fn open_way(kept: &mut Kept, way: u64) -> mpsc::Receiver<Numbered<A2aRequest>> {
        let (requests, written) = mpsc::channel(UNANSWERED_MAX);
        assert!(kept.take(Arrived::Opened { node: NODE, way, requests }).is_empty());
        written
    }

    fn ask(kept: &mut Kept, number: u64) -> Result<(), A2aRequest> {
        kept.ask(OutboundId(number), NODE, A2aRequest { items: Vec::new() })
    }

    #[tokio::test]
    async fn what_is_not_answered_in_time_fails_and_its_answer_comes_too_late() {
        let (mut kept, _written) = opened();
        let begun = Instant::now();
        for number in 0..2 {
            ask(&mut kept, number).expect("there is a stream");
        }
        let due = kept.look_at.expect("somebody waits");
        assert!(due >= begun + ANSWER_TIME_MAX);
        let answer = |number| Numbered { number, content: A2aResponse { receipts: Vec::new() } };
        let told = kept.take(Arrived::Answered { node: NODE, way: 0, response: answer(0) });
        assert!(matches!(told[..], [Told::Answered { request: OutboundId(0), .. }]), "{told:?}");

        assert!(kept.give_up(begun).is_empty());
        assert!(kept.look_at >= Some(due), "the second was asked no sooner");
        let told = kept.give_up(Instant::now() + ANSWER_TIME_MAX);
        assert!(matches!(told[..], [Told::Failed { request: OutboundId(1), .. }]), "{told:?}");
        assert_eq!(kept.look_at, None, "nobody waits");
        assert!(kept.take(Arrived::Answered { node: NODE, way: 0, response: answer(1) }).is_empty());
    }

    #[tokio::test]
    async fn a_stream_that_brought_no_answer_in_time_is_given_up_with_all_that_was_asked_on_it() {
        let (mut kept, _written) = opened();
        ask(&mut kept, 0).expect("there is a stream");
        let first = kept.look_at.expect("somebody waits");
        ask(&mut kept, 1).expect("there is a stream");
        // The second was asked a moment later and is not late.
        let told = kept.give_up(first);
        assert!(matches!(told[..], [Told::Failed { request: OutboundId(0), .. }, Told::Failed { .. }]), "{told:?}");
        assert!(ask(&mut kept, 2).is_err(), "the next stream is not open yet");
        let _written = open_way(&mut kept, 1);
        ask(&mut kept, 2).expect("it is another one");
    }
}
