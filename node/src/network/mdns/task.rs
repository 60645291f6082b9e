//! The task that hears and speaks multicast DNS for one node.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use weft_peer::{Bucket, Rate};
use weft_protocol::{ClusterId, NodeId, Timestamp};

use super::Found;
use super::board::MdnsBoard;
use super::packet::{Alias, PACKET_BYTES_MAX, Packet, answer, parse, question};
use super::places::Places;
use super::seeking::Seeking;
use super::socket::{GROUP, MdnsError, Opened, open, send};
use crate::clock;

/// Packets that are read: a flood of 150,000 in a second then costs 4 % of a core (measured, without optimisation), and a LAN of a
/// hundred machines says less (guess).
const PACKETS: Rate = Rate { per_s: 200, burst: 400 };
/// After which a socket that could not be opened is tried again (guess: as often as a lookup of one member).
const RETRY: Duration = Duration::from_secs(60);
/// Pause after the operating system refused to read (guess).
const TROUBLE: Duration = Duration::from_secs(1);

/// Everything it works with.
pub(super) struct Task {
    seeking: Seeking,
    places: watch::Receiver<Places>,
    missed: mpsc::Receiver<NodeId>,
    finds: mpsc::Sender<Found>,
    board: MdnsBoard,
    bucket: Bucket,
    socket: Option<UdpSocket>,
    /// When it is opened again that could not be, or failed.
    retry: Option<Instant>,
}

impl Task {
    /// It has no socket yet.
    pub(super) fn new(
        cluster: ClusterId,
        node: NodeId,
        places: watch::Receiver<Places>,
        missed: mpsc::Receiver<NodeId>,
        finds: mpsc::Sender<Found>,
        board: MdnsBoard,
    ) -> Self {
        let bucket = Bucket::new(PACKETS, clock::wall());
        Self { seeking: Seeking::new(cluster, node), places, missed, finds, board, bucket, socket: None, retry: None }
    }

    /// Goes on until the mesh is gone.
    pub(super) async fn run(mut self) {
        let mut buffer = [0; PACKET_BYTES_MAX];
        loop {
            let now = clock::wall();
            let due = self.seeking.next_due().map(|due| Duration::from_micros(due.since_us(now)));
            let pause = Duration::from_micros(self.bucket.wait_us(PACKETS, 1, now));
            tokio::select! {
                changed = self.places.changed() => match changed {
                    Ok(()) => self.open(),
                    Err(_) => return,
                },
                Some(node) = self.missed.recv() => self.seeking.seek(node, clock::wall()),
                () = sleep(due.unwrap_or_default()), if due.is_some() => self.ask(clock::wall()).await,
                () = sleep_until(self.retry.unwrap_or_else(Instant::now)), if self.retry.is_some() => self.open(),
                (length, from) = heard(self.socket.as_ref(), pause, &mut buffer) => {
                    let _taken = self.bucket.take(PACKETS, 1, clock::wall());
                    self.hear(from, &buffer[..length], clock::wall()).await;
                }
            }
        }
    }

    /// Opens the socket at the interfaces that there are now.
    fn open(&mut self) {
        let places = self.places.borrow_and_update().clone();
        (self.socket, self.retry) = (None, None);
        if places.is_empty() {
            return self.board.note(|report| report.state = "idle".to_owned());
        }
        let at: Vec<String> = places.iter().map(|(ip, _)| ip.to_string()).collect();
        match open(places.iter().map(|(ip, _)| ip)) {
            Ok(Opened { socket, refused }) => {
                tracing::debug!(?at, ?refused, "members that are missed are asked for on the LAN");
                self.socket = Some(socket);
                self.board.note(|report| {
                    report.state = "on".to_owned();
                    report.reason = refused.map(|error| error.to_string());
                    report.places = at;
                });
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &MdnsError) {
        let reason = error.to_string();
        if self.board.report().reason.as_ref() != Some(&reason) {
            tracing::warn!(
                "members on this LAN are not found by multicast: {reason}; network.mdns = false does without"
            );
        }
        (self.socket, self.retry) = (None, Some(Instant::now() + RETRY));
        self.board.note(|report| {
            report.state = "failed".to_owned();
            report.reason = Some(reason);
        });
    }

    /// Asks for whoever is due.
    async fn ask(&mut self, now: Timestamp) {
        let due = self.seeking.take_due(now);
        if due.is_empty() || self.socket.is_none() {
            return;
        }
        if let Some(packet) = question(&due) {
            self.board.note(|report| report.asked += due.len() as u64);
            self.say(|_| Some(packet.clone())).await;
        }
    }

    /// Says at each interface what is to be said there. It has failed when it can be said nowhere.
    async fn say(&mut self, packet: impl Fn(&[String]) -> Option<Vec<u8>>) {
        let places = self.places.borrow().clone();
        let (mut said, mut refused) = (false, None);
        for (place, addresses) in places.iter() {
            let (Some(packet), Some(socket)) = (packet(addresses), &self.socket) else { continue };
            match send(socket, place, &packet).await {
                Ok(()) => said = true,
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if said => self.board.note(|report| report.reason = Some(error.to_string())),
            Some(error) => self.failed(&error),
            None => {}
        }
    }

    async fn hear(&mut self, from: SocketAddr, packet: &[u8], now: Timestamp) {
        // Whoever does not speak from the group's port does not speak this protocol (RFC 6762, 6 and 11).
        let SocketAddr::V4(from) = from else { return };
        if from.port() != GROUP.port() {
            return;
        }
        if !self.places.borrow().has(*from.ip()) {
            self.board.note(|report| report.heard += 1);
        }
        match parse(packet) {
            Some(Packet::Question(aliases)) if self.seeking.question_heard(&aliases, now) => {
                let own = self.seeking.own();
                self.board.note(|report| report.answered += 1);
                self.say(|addresses| answer(own, addresses)).await;
            }
            Some(Packet::Answer(answers)) => {
                for (alias, texts) in answers {
                    self.answer_heard(*from.ip(), alias, &texts);
                }
            }
            Some(Packet::Question(_)) | None => {}
        }
    }

    fn answer_heard(&mut self, from: Ipv4Addr, alias: Alias, texts: &[String]) {
        let Some((node, addresses)) = self.seeking.answer_heard(from, alias, texts) else { return };
        tracing::debug!(%node, ?addresses, "a member that is missed answers on the LAN");
        self.board.note(|report| report.found += 1);
        if self.finds.try_send(Found { node, addresses }).is_err() {
            tracing::debug!(%node, "the mesh has no time for it");
        }
    }
}

/// The next packet, not before the pause is over; never, without a socket. Nothing is lost when the future is dropped.
async fn heard(socket: Option<&UdpSocket>, pause: Duration, buffer: &mut [u8]) -> (usize, SocketAddr) {
    let Some(socket) = socket else { return std::future::pending().await };
    if !pause.is_zero() {
        sleep(pause).await;
    }
    loop {
        match socket.recv_from(buffer).await {
            Ok(heard) => return heard,
            // An interface that is gone says so once, and the mesh then says where it listens now.
            Err(error) => {
                tracing::debug!(%error, "multicast was not heard");
                sleep(TROUBLE).await;
            }
        }
    }
}
