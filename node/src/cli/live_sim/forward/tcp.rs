//! Carries TCP connections to one node: bytes are never lost, they wait while there is no way, or come later.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::socket_number::Kind;
use super::{Between, Freight, Party, SimNode, Verdict};

/// Connections to one node at once: some for each other node; one more waits to be taken.
const CONNECTIONS_MAX: usize = 512;
/// Bytes that are read at once.
const PIECE_BYTES_MAX: usize = 16 * 1_024;
/// Pieces of one connection, each way, that wait until they are late enough; then nothing more is read.
const PIECES_MAX: usize = 64;
/// How long a listener that cannot take a connection waits (guess: no file was left, and one may be soon).
const PAUSE: Duration = Duration::from_millis(100);

/// What is carried one way.
enum Piece {
    Bytes(Instant, Vec<u8>),
    End(Instant),
}

/// Takes connections to `to`, until the task is ended; those that it took live on, as they would without it.
pub(super) async fn carry(between: Arc<Between>, to: SimNode, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, source)) => {
                let between = Arc::clone(&between);
                tokio::spawn(async move {
                    let from = between.whose(Kind::Tcp, source, to);
                    let _how_it_ended = connect(&between, (from, to), stream).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Connects both ends as soon as there is a way, and carries what they say until both have ended.
async fn connect(between: &Between, (from, to): (Party, SimNode), near: TcpStream) -> io::Result<()> {
    let Some(end) = between.ends.get(&to) else { return Ok(()) };
    let to = Party::Node(to);
    let delay = passed(between, from, to).await;
    tokio::time::sleep(delay).await;
    let far = match from_there(between.seen_at(from), end.place.listens).await {
        Ok(far) => far,
        Err(error) => {
            // Not in order: whoever dialled sees that this is no end of a talk.
            near.set_zero_linger()?;
            return Err(error);
        }
    };
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::join!(
        one_way(between, (from, to), near_read, far_write),
        one_way(between, (to, from), far_read, near_write)
    );
    Ok(())
}

async fn from_there(seen_at: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((seen_at, 0).into())?;
    socket.connect(to).await
}

async fn one_way(between: &Between, (from, to): (Party, Party), read: OwnedReadHalf, write: OwnedWriteHalf) {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    tokio::join!(take(between, (from, to), read, sender), give(write, pieces));
}

/// Reads until the end, or until nobody takes it any more.
async fn take(between: &Between, (from, to): (Party, Party), read: OwnedReadHalf, pieces: mpsc::Sender<Piece>) {
    let mut last = Instant::now();
    loop {
        if read.readable().await.is_err() {
            return;
        }
        let mut bytes = vec![0; PIECE_BYTES_MAX];
        let length = match read.try_read(&mut bytes) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // As good as an end: the other side must not wait for more.
            Err(_) => 0,
        };
        bytes.truncate(length);
        let delay = passed(between, from, to).await;
        // What came later leaves later, whatever each was delayed by.
        last = last.max(Instant::now() + delay);
        let (piece, is_last) =
            if bytes.is_empty() { (Piece::End(last), true) } else { (Piece::Bytes(last, bytes), false) };
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

async fn give(mut write: OwnedWriteHalf, mut pieces: mpsc::Receiver<Piece>) {
    while let Some(piece) = pieces.recv().await {
        let given = match piece {
            Piece::Bytes(at, bytes) => {
                sleep_until(at).await;
                write.write_all(&bytes).await
            }
            Piece::End(at) => {
                sleep_until(at).await;
                write.shutdown().await
            }
        };
        if given.is_err() {
            return;
        }
    }
}

/// Waits until there is a way; how late it is then.
async fn passed(between: &Between, from: Party, to: Party) -> Duration {
    let mut changes = between.changed.subscribe();
    loop {
        match between.judge(from, to, Freight::Stream) {
            Verdict::Carry(delay) => return delay,
            // A stream loses nothing.
            Verdict::Lost => return Duration::ZERO,
            Verdict::Cut => {}
        }
        while between.rules().is_cut(from, to) {
            if changes.changed().await.is_err() {
                return Duration::ZERO;
            }
        }
    }
}
