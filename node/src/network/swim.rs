//! The packets by which members watch each other, on a stream of their own to each member: what does not fit is lost, as such
//! packets may be, and no request stands before them.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use futures::io::{AsyncReadExt as _, BufReader};
use libp2p::{Stream, StreamProtocol};
use libp2p_stream::{Control, OpenStreamError};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use weft_protocol::NodeId;
use weft_protocol::limits::SWIM_PACKET_BYTES_MAX;

use super::frame::{read_frame, write_frame};
use super::newest::serve_newest;
use crate::identity::peer_id;

/// The protocol of SWIM between members.
const SWIM: StreamProtocol = StreamProtocol::new("/weft/swim/1");
/// Packets to one member that wait for their stream: two periods of everybody's probes in a full mesh (guess).
const WAITING_MAX: usize = 64;
/// Packets that came and the event loop has not taken yet (guess: some of each member of a full mesh).
const ARRIVED_MAX: usize = 256;
/// How soon after a stream ended the next one is opened to the same member.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// A packet and whom it came from.
type Arrived = (NodeId, Vec<u8>);

/// Our stream to one member.
#[derive(Debug)]
struct Way {
    packets: mpsc::Sender<Vec<u8>>,
    task: AbortHandle,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The streams of all members. Invariant: `ways` has members with an open connection alone.
pub(super) struct Packets {
    control: Control,
    ways: BTreeMap<NodeId, Way>,
    arrived: mpsc::Receiver<Arrived>,
    accepting: AbortHandle,
}

impl Drop for Packets {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Packets {
    /// Takes in the packets of members from here on.
    pub(super) fn new(mut control: Control) -> Self {
        let (sender, arrived) = mpsc::channel(ARRIVED_MAX);
        let incoming = control.accept(SWIM).expect("BUG: this protocol is accepted once");
        let serving = serve_newest(incoming, move |from, stream| read_packets(from, stream, sender.clone()));
        let accepting = tokio::spawn(serving).abort_handle();
        Self { control, ways: BTreeMap::new(), arrived, accepting }
    }

    /// A connection to that member is open.
    pub(super) fn open(&mut self, node: NodeId) {
        let (packets, waiting) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(send_all(node, self.control.clone(), waiting)).abort_handle();
        self.ways.insert(node, Way { packets, task });
    }

    /// No connection to it is open any more.
    pub(super) fn close(&mut self, node: NodeId) {
        self.ways.remove(&node);
    }

    /// Sends a packet, unless there is no way or too many wait.
    pub(super) fn send(&self, to: NodeId, packet: Vec<u8>) {
        let sent = self.ways.get(&to).map(|way| way.packets.try_send(packet).is_ok());
        if sent != Some(true) {
            tracing::trace!(node = %to, "a packet of SWIM was not sent");
        }
    }

    /// The next packet that came. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Arrived {
        match self.arrived.recv().await {
            Some(arrived) => arrived,
            None => std::future::pending().await,
        }
    }
}

/// Writes what is to be sent to one member, on one stream after another.
async fn send_all(node: NodeId, mut control: Control, mut waiting: mpsc::Receiver<Vec<u8>>) {
    loop {
        match control.open_stream(peer_id(node), SWIM).await {
            Ok(stream) => match write_packets(stream, &mut waiting).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%node, %error, "the stream of SWIM to a member ended"),
            },
            Err(OpenStreamError::UnsupportedProtocol(_)) => {
                tracing::debug!(%node, "a member that takes no part in SWIM");
                return;
            }
            Err(error) => tracing::debug!(%node, %error, "no stream of SWIM to a member"),
        }
        sleep(REOPEN_AFTER).await;
    }
}

async fn write_packets(mut stream: Stream, waiting: &mut mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(packet) = waiting.recv().await {
        write_frame(&mut stream, &packet, SWIM_PACKET_BYTES_MAX).await?;
    }
    Ok(())
}

async fn read_packets(from: NodeId, stream: Stream, arrived: mpsc::Sender<Arrived>) {
    let (reader, _nothing_is_answered_here) = stream.split();
    let mut reader = BufReader::new(reader);
    while let Ok(packet) = read_frame(&mut reader, SWIM_PACKET_BYTES_MAX).await {
        if let Err(mpsc::error::TrySendError::Closed(_)) = arrived.try_send((from, packet)) {
            return;
        }
    }
}
