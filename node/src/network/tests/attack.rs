//! What arrives on an open port that is no node of ours.

use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::Multiaddr;
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _};
use libp2p::core::transport::{DialOpts, PortUse, Transport as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use weft_protocol::limits::{AUTH_FRAME_BYTES_MAX, AUTH_US_MAX};
use weft_protocol::{AuthFrame, AuthRefusal, Signer as _, encode};

use super::cluster::{Cluster, Node, PATIENCE, QUIC, TCP, assert_none, new_keys};
use crate::identity::{node_id, transport_keys};
use crate::network::frame::{read_frame, write_frame};
use crate::network::transport::{CONNECT_TIME_MAX, bare};
use crate::network::{NetworkEvent, RecentRefusal};

const AUTH_TIME_MAX: Duration = Duration::from_micros(AUTH_US_MAX);
/// What a busy machine may add to a limit.
const SLACK: Duration = Duration::from_secs(5);

async fn victim(nonce: u8, transport: &str) -> (Node, String) {
    let cluster = Cluster::new(nonce);
    let node = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[]), &[transport]).await;
    let address = node.addresses().await[0].clone();
    (node, address)
}

fn socket(address: &str) -> String {
    let port = address.rsplit('/').next().unwrap();
    format!("127.0.0.1:{port}")
}

fn unheard(mut node: Node) {
    assert_none(&node.rest(), |event| !matches!(event, NetworkEvent::Peer(weft_peer::Input::ListenChanged { .. })));
}

#[tokio::test]
async fn garbage_on_a_raw_socket_is_dropped_at_once() {
    let (node, address) = victim(1, TCP).await;
    let mut stream = TcpStream::connect(socket(&address)).await.unwrap();
    stream.write_all(&b"GET / HTTP/1.1\r\nHost: weft\r\n\r\n".repeat(10)).await.unwrap();
    let begun = Instant::now();
    let mut answer = Vec::new();
    let _reset_or_end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is dropped");
    assert!(begun.elapsed() < CONNECT_TIME_MAX, "dropped because it is garbage, not because time ran out");
    unheard(node);
}

#[tokio::test]
async fn a_raw_socket_that_says_nothing_is_dropped_within_the_limit() {
    let (node, address) = victim(2, TCP).await;
    let mut stream = TcpStream::connect(socket(&address)).await.unwrap();
    let begun = Instant::now();
    let mut answer = Vec::new();
    let _reset_or_end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is dropped");
    assert!(begun.elapsed() < CONNECT_TIME_MAX + SLACK, "{:?}", begun.elapsed());
    unheard(node);
}

/// An encrypted connection of somebody with fresh keys, who then does what it likes.
async fn intrude(address: &str) -> StreamMuxerBox {
    let mut transport = bare(&transport_keys(&new_keys())).unwrap();
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let address: Multiaddr = address.parse().unwrap();
    let (_, muxer) = timeout(PATIENCE, transport.dial(address, options).unwrap()).await.unwrap().unwrap();
    muxer
}

/// Writes `bytes` on the first substream; every frame that comes back until the other side closes.
async fn say(muxer: &mut StreamMuxerBox, bytes: &[u8]) -> Vec<AuthFrame> {
    let mut stream = std::future::poll_fn(|context| muxer.poll_outbound_unpin(context)).await.unwrap();
    let talk = async {
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        let mut preface = [0; 21];
        let mut frames = Vec::new();
        if stream.read_exact(&mut preface).await.is_ok() {
            while let Ok(frame) = read_frame(&mut stream, 1 << 20).await {
                frames.push(weft_protocol::decode(&frame, 1 << 20).unwrap());
            }
        }
        frames
    };
    let mut talk = std::pin::pin!(talk);
    let driven = std::future::poll_fn(|context| {
        if let std::task::Poll::Ready(frames) = talk.as_mut().poll(context) {
            return std::task::Poll::Ready(frames);
        }
        match muxer.poll_unpin(context) {
            std::task::Poll::Ready(Err(_)) => talk.as_mut().poll(context),
            _ => std::task::Poll::Pending,
        }
    });
    timeout(PATIENCE, driven).await.expect("the other side closes")
}

/// The refusals, once there are so many.
async fn refusals(node: &Node, count: usize) -> Vec<RecentRefusal> {
    let waiting = async {
        loop {
            let list = node.read(|network| network.refusals().list()).await;
            if list.len() >= count {
                return list;
            }
        }
    };
    timeout(PATIENCE, waiting).await.unwrap()
}

#[tokio::test]
async fn nonsense_in_the_handshake_gets_a_typed_refusal() {
    let preface = [b"/weft/auth/1\n".as_slice(), &[0; 8]].concat();
    let mut oversize = preface.clone();
    oversize.extend(u32::try_from(AUTH_FRAME_BYTES_MAX + 1).unwrap().to_be_bytes());
    let mut undecodable = preface.clone();
    write_frame(&mut undecodable, b"\xff\xff", 2).await.unwrap();
    let mut out_of_order = preface;
    write_frame(&mut out_of_order, &encode(&AuthFrame::Accepted), AUTH_FRAME_BYTES_MAX).await.unwrap();
    let other_protocol = b"\x13/multistream/1.0.0\n\x20/meshsub/1.1.0\n".to_vec();
    for transport in [QUIC, TCP] {
        let (node, address) = victim(3, transport).await;
        for (said, bytes, refusal) in [
            ("an oversize frame", &oversize, AuthRefusal::FrameTooLarge { max: AUTH_FRAME_BYTES_MAX as u64 }),
            ("an undecodable frame", &undecodable, AuthRefusal::UnreadableFrame),
            ("a frame out of order", &out_of_order, AuthRefusal::Protocol),
            ("another protocol", &other_protocol, AuthRefusal::OtherProtocol),
        ] {
            let frames = say(&mut intrude(&address).await, bytes).await;
            assert_eq!(frames, [AuthFrame::Refused(refusal)], "{transport}: {said}");
        }
        let noted = refusals(&node, 4).await;
        assert!(noted.iter().all(|refusal| refusal.by_us && !refusal.refusal.next().is_empty()), "{noted:?}");
        unheard(node);
    }
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_closed_after_two_seconds() {
    for transport in [QUIC, TCP] {
        let (node, address) = victim(4, transport).await;
        let mut muxer = intrude(&address).await;
        let begun = Instant::now();
        // The name of the protocol and half a length: then silence.
        let frames = say(&mut muxer, b"/weft/auth/1\n\0\0\0\0\0\0\0\0\0\0").await;
        assert!(frames.is_empty(), "{frames:?}");
        let took = begun.elapsed();
        assert!(took >= AUTH_TIME_MAX / 2 && took < AUTH_TIME_MAX + SLACK, "{transport}: {took:?}");
        unheard(node);
    }
}

#[tokio::test]
async fn a_flood_of_silent_connections_does_not_keep_a_member_out() {
    let cluster = Cluster::new(5);
    let beta = cluster.admit("beta");
    let view = cluster.view(&cluster.founder, &[&beta]);
    let mut node = Node::start(&cluster.founder, view, &[QUIC, TCP]).await;
    let addresses = node.addresses().await;
    let tcp = addresses.iter().find(|address| address.contains("/tcp/")).unwrap();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(socket(tcp)).await.unwrap());
    }
    let mut member = Node::start(&beta, cluster.view(&beta, &[]), &[]).await;
    // Dropped while there are too many, then let in: dial until then, as the peer does.
    let begun = Instant::now();
    loop {
        let (node, addresses) = (node.node, addresses.clone());
        member.tell(move |network| network.dial(node, addresses));
        let connected = member
            .until_input("Connected or DialFailed", |input| match input {
                weft_peer::Input::Connected { .. } => Some(true),
                weft_peer::Input::DialFailed { .. } => Some(false),
                _ => None,
            })
            .await;
        if connected {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "kept out");
    }
    node.until_connected(member.node).await;
}

#[test]
fn a_key_of_another_kind_is_no_node() {
    let other = libp2p::PeerId::random();
    assert_eq!(node_id(&other), None);
    let keys = Arc::new(new_keys());
    assert_eq!(node_id(&transport_keys(&keys).public().to_peer_id()), Some(keys.public_keys().node()));
}
