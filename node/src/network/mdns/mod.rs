//! Members on the same LAN, found by multicast DNS (RFC 6762) when they are missed: hints of where to dial, never truth.
//!
//! Nobody is announced. A node that misses a member asks the LAN for it by its alias, and the one with that alias answers; so on a
//! LAN where everybody is connected nothing is sent, and a stranger cannot find out which machines run a node. Only an answer about
//! a member that is sought comes out of this folder. It runs as a task beside the thread of the mesh, takes so many packets in a
//! second and leaves the rest in the socket's buffer, which the operating system bounds.
//!
//! Modules in reading order: `packet` (what is said), `seeking` (who is asked for and who is answered), `socket`, `places` (where),
//! `task` (all of it together) and `board` (what is shown of it).

mod board;
mod packet;
mod places;
mod seeking;
mod socket;
mod task;

use libp2p::Multiaddr;
use tokio::sync::{mpsc, watch};
use weft_protocol::{ClusterId, NodeId};

pub(crate) use self::board::MdnsBoard;

use self::places::Places;
use self::task::Task;

/// Members that wait to be asked for, and answers that wait for the mesh; what is more is dropped, and sought again (guess).
const WAITING_MAX: usize = 16;

/// Where a missed member says it listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The member.
    pub(super) node: NodeId,
    /// Addresses of the machine that answered.
    pub(super) addresses: Vec<String>,
}

/// The mesh's side of it.
#[derive(Debug)]
pub(crate) struct Mdns {
    places: watch::Sender<Places>,
    missed: mpsc::Sender<NodeId>,
    found: mpsc::Receiver<Found>,
}

impl Mdns {
    /// Begins it, when it is wanted.
    pub(crate) fn begin_if(wanted: bool, cluster: ClusterId, node: NodeId) -> (Self, MdnsBoard) {
        if wanted { Self::begin(cluster, node) } else { (Self::off(), MdnsBoard::default()) }
    }

    /// Begins the task on the current runtime; it ends with what is returned.
    fn begin(cluster: ClusterId, node: NodeId) -> (Self, MdnsBoard) {
        let (places, placed) = watch::channel(Places::default());
        let (missed, misses) = mpsc::channel(WAITING_MAX);
        let (finds, found) = mpsc::channel(WAITING_MAX);
        let board = MdnsBoard::default();
        board.note(|report| report.state = "idle".to_owned());
        tokio::spawn(Task::new(cluster, node, placed, misses, finds, board.clone()).run());
        (Self { places, missed, found }, board)
    }

    /// One that asks and answers nothing.
    pub(crate) fn off() -> Self {
        let (places, _) = watch::channel(Places::default());
        let ((missed, _), (_, found)) = (mpsc::channel(1), mpsc::channel(1));
        Self { places, missed, found }
    }

    /// Where the node listens now.
    pub(super) fn listen_at<'a>(&self, addresses: impl Iterator<Item = &'a Multiaddr>) {
        let places = Places::of(addresses);
        self.places.send_if_modified(|known| {
            let changed = *known != places;
            *known = places;
            changed
        });
    }

    /// A member is missed.
    pub(super) fn seek(&self, node: NodeId) {
        if self.missed.try_send(node).is_err() {
            tracing::trace!(%node, "it is not asked for on the LAN");
        }
    }

    /// The next answer; none, when it is off. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Found> {
        self.found.recv().await
    }
}
