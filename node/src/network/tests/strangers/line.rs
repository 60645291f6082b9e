//! The first substream of a connection in the hands of somebody who says what it likes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::Multiaddr;
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, Transport as _, TransportEvent};
use tokio::time::timeout;
use weft_protocol::{AuthFrame, KeyPair, decode, encode};

use super::super::cluster::PATIENCE;
use crate::identity::transport_keys;
use crate::network::frame::{read_frame, write_frame};
use crate::network::transport::{Connections, bare};

/// The largest frame that either side writes.
const FRAME_MAX: usize = 1 << 20;
/// The name of the protocol and the number of a run.
pub(super) const PREFACE: &[u8] = b"/weft/auth/1\n\0\0\0\0\0\0\0\x07";

pub(super) struct Line {
    stream: SubstreamBox,
}

impl Line {
    /// Writes these bytes as they are. That the other side has closed meanwhile is no matter: what it said can still be read.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes).await;
        let _closed = self.stream.flush().await;
    }

    pub(super) async fn send(&mut self, frame: &AuthFrame) {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &encode(frame), FRAME_MAX).await.unwrap();
        self.write(&bytes).await;
    }

    /// The other side's preface, before its first frame.
    pub(super) async fn preface(&mut self) {
        let mut preface = vec![0; PREFACE.len()];
        let _closed = self.stream.read_exact(&mut preface).await;
    }

    /// The next frame, until the other side closes.
    pub(super) async fn read(&mut self) -> Option<AuthFrame> {
        let frame = read_frame(&mut self.stream, FRAME_MAX).await.ok()?;
        Some(decode(&frame, FRAME_MAX).expect("an honest node says what can be read"))
    }
}

/// Dials as the holder of `keys` and talks on the first substream.
pub(super) async fn dialled<T>(keys: &KeyPair, address: &str, talk: impl AsyncFnOnce(&mut Line) -> T) -> T {
    let mut transport = bare(&transport_keys(keys)).unwrap();
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let address: Multiaddr = address.parse().unwrap();
    let (_, mut muxer) = timeout(PATIENCE, transport.dial(address, options).unwrap()).await.unwrap().unwrap();
    let stream = poll_fn(|context| muxer.poll_outbound_unpin(context)).await.unwrap();
    conversation(muxer, stream, talk).await
}

/// Listens as the holder of some keys.
pub(super) struct Door {
    transport: Connections,
    pub(super) address: String,
}

impl Door {
    pub(super) async fn open(keys: &KeyPair) -> Self {
        let mut transport = bare(&transport_keys(keys)).unwrap();
        transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        loop {
            let event = timeout(PATIENCE, transport.next()).await.unwrap().unwrap();
            if let TransportEvent::NewAddress { listen_addr, .. } = event {
                return Self { transport, address: listen_addr.to_string() };
            }
        }
    }

    /// Talks on the first substream of the first connection.
    pub(super) async fn answered<T>(mut self, talk: impl AsyncFnOnce(&mut Line) -> T) -> T {
        let (_, mut muxer) = loop {
            let event = timeout(PATIENCE, self.transport.next()).await.unwrap().unwrap();
            if let TransportEvent::Incoming { upgrade, .. } = event {
                break timeout(PATIENCE, upgrade).await.unwrap().unwrap();
            }
        };
        let stream = poll_fn(|context| muxer.poll_inbound_unpin(context)).await.unwrap();
        conversation(muxer, stream, talk).await
    }
}

async fn conversation<T>(mut muxer: StreamMuxerBox, stream: SubstreamBox, talk: impl AsyncFnOnce(&mut Line) -> T) -> T {
    let mut line = Line { stream };
    let said = {
        let mut talk = pin!(talk(&mut line));
        let mut over = false;
        let driven = poll_fn(|context| {
            if let Poll::Ready(said) = talk.as_mut().poll(context) {
                return Poll::Ready(said);
            }
            if !over && matches!(muxer.poll_unpin(context), Poll::Ready(Err(_))) {
                over = true;
                return talk.as_mut().poll(context);
            }
            Poll::Pending
        });
        timeout(PATIENCE, driven).await.expect("the other side closes")
    };
    // In order, so that the other side reads an end and no reset.
    let closing = async {
        let _closed = line.stream.close().await;
        let _closed = poll_fn(|context| muxer.poll_close_unpin(context)).await;
    };
    let _closed = timeout(PATIENCE, closing).await;
    said
}
