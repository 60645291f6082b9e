//! Carries datagrams to one node: what another node sends comes out of that node's own address, so that the answer finds back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep_until, timeout};

use super::socket_number::Kind;
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

/// One way that datagrams go: out of a socket, to an address. Those that are late wait in the order in which they came.
#[derive(Debug)]
struct Line {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    late: mpsc::Sender<(Instant, Vec<u8>)>,
}

impl Line {
    fn new(socket: Arc<UdpSocket>, to: SocketAddr) -> Self {
        let (late, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(LATE_MAX);
        let out_of = Arc::clone(&socket);
        tokio::spawn(async move {
            while let Some((at, datagram)) = waiting.recv().await {
                sleep_until(at).await;
                let _lost = out_of.send_to(&datagram, to).await;
            }
        });
        Self { socket, to, late }
    }

    async fn send(&self, delay: Duration, datagram: &[u8]) {
        if delay.is_zero() {
            let _lost = self.socket.send_to(datagram, self.to).await;
        } else {
            let _lost_when_full = self.late.try_send((Instant::now() + delay, datagram.to_vec()));
        }
    }
}

/// A sender that is no listening node: one that joins, or somebody outside.
#[derive(Debug)]
struct Guest {
    party: Party,
    line: Line,
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
        let Some(delay) = way(&between, Party::Node(from), Party::Node(to)) else { continue };
        let Some(sender) = between.ends.get(&from) else { continue };
        let line = || Line::new(Arc::clone(&sender.told), end.place.listens);
        lines.entry(from).or_insert_with(line).send(delay, datagram).await;
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
        let Some(end) = between.ends.get(&to) else { return };
        let party = between.whose(Kind::Udp, source, to);
        let Ok(socket) = UdpSocket::bind((between.seen_at(party), 0)).await else { return };
        let socket = Arc::new(socket);
        let answers = tokio::spawn(answer(Arc::clone(between), to, (party, source), Arc::clone(&socket)));
        guests.insert(source, Guest { party, line: Line::new(socket, end.place.listens), answers });
    }
    let Some(guest) = guests.get(&source) else { return };
    if let Some(delay) = way(between, guest.party, Party::Node(to)) {
        guest.line.send(delay, datagram).await;
    }
}

/// Carries back what the node answers.
async fn answer(between: Arc<Between>, node: SimNode, (party, guest): (Party, SocketAddr), socket: Arc<UdpSocket>) {
    let Some(end) = between.ends.get(&node) else { return };
    let line = Line::new(Arc::clone(&end.told), guest);
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok(Ok((length, source))) = timeout(GUEST_IDLE_MAX, socket.recv_from(&mut buffer)).await {
        if source != end.place.listens {
            continue;
        }
        let Some(delay) = way(&between, Party::Node(node), party) else { continue };
        line.send(delay, buffer.get(..length).unwrap_or_default()).await;
    }
}

fn way(between: &Between, from: Party, to: Party) -> Option<Duration> {
    match between.judge(from, to, Freight::Datagram) {
        Verdict::Carry(delay) => Some(delay),
        Verdict::Lost | Verdict::Cut => None,
    }
}
