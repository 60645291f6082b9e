//! Carries datagrams to one node: what another node sends comes out of that node's own address, so that the answer finds back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep_until, timeout};

use super::owner::Table;
use super::{Between, Freight, Party, SimNode, Verdict};

/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams between two that wait until they are late enough; one more is lost, as in a real queue (guess: two seconds of a
/// busy connection).
const LATE_MAX: usize = 4_096;
/// Senders that are no listening node, at once: joining nodes use one each; one more is not heard.
const GUESTS_MAX: usize = 256;
/// How long such a sender is answered after the node last said something (guess: longer than an idle QUIC connection lives).
const GUEST_IDLE_MAX: Duration = Duration::from_secs(30);

/// Datagrams that are late, in the order in which they came.
#[derive(Debug)]
struct Line(mpsc::Sender<(Instant, Vec<u8>)>);

impl Line {
    /// From this node's address to where that one listens.
    fn new(between: Arc<Between>, out_of: SimNode, to: SocketAddr) -> Self {
        let (sender, mut late) = mpsc::channel::<(Instant, Vec<u8>)>(LATE_MAX);
        tokio::spawn(async move {
            while let Some((at, datagram)) = late.recv().await {
                sleep_until(at).await;
                if let Some(end) = between.ends.get(&out_of) {
                    let _lost = end.told.send_to(&datagram, to).await;
                }
            }
        });
        Self(sender)
    }
}

/// A sender that is no listening node: one that joins, or somebody outside.
#[derive(Debug)]
struct Guest {
    party: Party,
    socket: Arc<UdpSocket>,
    answers: JoinHandle<()>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// Carries everything that comes to the address of `to`, for ever.
pub(super) async fn carry(between: Arc<Between>, to: SimNode) {
    let Some(end) = between.ends.get(&to) else { return };
    let mut lines: BTreeMap<SimNode, Line> = BTreeMap::new();
    let mut guests: BTreeMap<SocketAddr, Guest> = BTreeMap::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, source)) = end.told.recv_from(&mut buffer).await else {
            yield_now().await;
            continue;
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        let Some(from) = between.listener_at(source) else {
            from_guest(&between, to, source, &mut guests, datagram).await;
            continue;
        };
        match between.judge(Party::Node(from), Party::Node(to), Freight::Datagram) {
            Verdict::Cut | Verdict::Lost => {}
            Verdict::Carry(Duration::ZERO) => {
                if let Some(sender) = between.ends.get(&from) {
                    let _lost = sender.told.send_to(datagram, end.place.listens).await;
                }
            }
            Verdict::Carry(delay) => {
                let line = || Line::new(Arc::clone(&between), from, end.place.listens);
                let line = lines.entry(from).or_insert_with(line);
                let _lost_when_full = line.0.try_send((Instant::now() + delay, datagram.to_vec()));
            }
        }
    }
}

async fn from_guest(
    between: &Arc<Between>,
    to: SimNode,
    source: SocketAddr,
    guests: &mut BTreeMap<SocketAddr, Guest>,
    datagram: &[u8],
) {
    guests.retain(|_, guest| !guest.answers.is_finished());
    if !guests.contains_key(&source) {
        if guests.len() >= GUESTS_MAX {
            return;
        }
        let party = between.owners().find(Table::Udp, source, Instant::now());
        let Ok(socket) = UdpSocket::bind((between.seen_at(party), 0)).await else { return };
        let socket = Arc::new(socket);
        let answers = tokio::spawn(answer(Arc::clone(between), to, (party, source), Arc::clone(&socket)));
        guests.insert(source, Guest { party, socket, answers });
    }
    let (Some(guest), Some(end)) = (guests.get(&source), between.ends.get(&to)) else { return };
    if let Some(delay) = way(between, guest.party, Party::Node(to)) {
        send_after(delay, Arc::clone(&guest.socket), datagram.to_vec(), end.place.listens).await;
    }
}

/// Carries back what the node answers.
async fn answer(between: Arc<Between>, node: SimNode, (party, guest): (Party, SocketAddr), socket: Arc<UdpSocket>) {
    let Some(end) = between.ends.get(&node) else { return };
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok(Ok((length, source))) = timeout(GUEST_IDLE_MAX, socket.recv_from(&mut buffer)).await {
        if source != end.place.listens {
            continue;
        }
        let Some(delay) = way(&between, Party::Node(node), party) else { continue };
        let datagram = buffer.get(..length).unwrap_or_default();
        tokio::time::sleep(delay).await;
        let _lost = end.told.send_to(datagram, guest).await;
    }
}

fn way(between: &Between, from: Party, to: Party) -> Option<Duration> {
    match between.judge(from, to, Freight::Datagram) {
        Verdict::Carry(delay) => Some(delay),
        Verdict::Lost | Verdict::Cut => None,
    }
}

async fn send_after(delay: Duration, socket: Arc<UdpSocket>, datagram: Vec<u8>, to: SocketAddr) {
    if delay.is_zero() {
        let _lost = socket.send_to(&datagram, to).await;
        return;
    }
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let _lost = socket.send_to(&datagram, to).await;
    });
}
