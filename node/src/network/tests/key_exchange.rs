//! Which group two members agree on for their keys, read from what passes between them on loopback: X25519MLKEM768, over QUIC
//! and over TCP.
//!
//! A forwarder stands between them and keeps what it saw. Over TCP the first words of TLS are in the clear; over QUIC they are
//! encrypted by keys that everybody can derive from the first packet (RFC 9001, section 5.2).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{Keys, Version};
use rustls::{Side, SupportedCipherSuite};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::cluster::{Cluster, Node, QUIC, TCP};
use crate::network::TcpSecurity;

/// X25519MLKEM768 among the named groups of TLS (draft-kwiatkowski-tls-ecdhe-mlkem).
const X25519_MLKEM768: u16 = 0x11ec;
/// What the server answers with in it: a ciphertext of ML-KEM-768 and a point of X25519.
const SERVER_SHARE_BYTES: usize = 1_088 + 32;
/// What the client offers: a key of ML-KEM-768 and a point.
const CLIENT_SHARE_BYTES: usize = 1_184 + 32;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const KEY_SHARE: u16 = 51;
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// What passed, in pieces as they came: from the client and from the server.
type Seen = Arc<Mutex<[Vec<Vec<u8>>; 2]>>;

/// A cursor over bytes that were captured.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> usize {
        self.take(bytes).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    /// A number of QUIC: its length is in its first two bits (RFC 9000, section 16).
    fn variable(&mut self) -> usize {
        let first = self.0[0];
        self.number(1 << (first >> 6)) & !(0b11 << ((8 << (first >> 6)) - 2))
    }

    /// What stands behind its own length.
    fn counted(&mut self, bytes: usize) -> &'a [u8] {
        let count = self.number(bytes);
        self.take(count)
    }
}

/// The first key share of a hello of TLS 1.3: its group and its length.
fn key_share(handshake: &[u8], kind: u8) -> (u16, usize) {
    let mut reader = Reader(handshake);
    assert_eq!(reader.number(1), usize::from(kind), "the kind of the message");
    let mut hello = Reader(reader.counted(3));
    hello.take(2 + 32);
    hello.counted(1);
    if kind == CLIENT_HELLO {
        hello.counted(2);
        hello.counted(1);
    } else {
        hello.take(2 + 1);
    }
    let mut extensions = Reader(hello.counted(2));
    while !extensions.0.is_empty() {
        let extension = extensions.number(2);
        let mut content = Reader(extensions.counted(2));
        if extension == usize::from(KEY_SHARE) {
            let mut shares = if kind == CLIENT_HELLO { Reader(content.counted(2)) } else { content };
            let group = u16::try_from(shares.number(2)).unwrap();
            return (group, shares.counted(2).len());
        }
    }
    panic!("no key share");
}

fn assert_post_quantum(client_hello: &[u8], server_hello: &[u8]) {
    assert_eq!(key_share(client_hello, CLIENT_HELLO), (X25519_MLKEM768, CLIENT_SHARE_BYTES), "what is offered first");
    assert_eq!(key_share(server_hello, SERVER_HELLO), (X25519_MLKEM768, SERVER_SHARE_BYTES), "what is agreed on");
}

/// The first handshake messages of a stream of TLS records, behind the words in which both sides agree on TLS.
fn tls_handshake(stream: &[u8]) -> Vec<u8> {
    const HANDSHAKE: usize = 22;
    let mut reader = Reader(stream);
    // Each of those words is counted by one byte, and none is as long as the kind of a record.
    while usize::from(reader.0[0]) != HANDSHAKE {
        reader.counted(1);
    }
    let mut handshake = Vec::new();
    while !reader.0.is_empty() && usize::from(reader.0[0]) == HANDSHAKE {
        reader.take(3);
        handshake.extend_from_slice(reader.counted(2));
    }
    handshake
}

/// The handshake messages in the initial packets of one side, and the connection id that the first one was sent to.
fn quic_handshake(datagrams: &[Vec<u8>], side: Side, keyed_by: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256;
    let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut keyed_by = keyed_by.map(<[u8]>::to_vec);
    for datagram in datagrams {
        let mut reader = Reader(datagram);
        while reader.0.first().is_some_and(|first| first & 0xb0 == 0x80) {
            let whole = reader.0;
            reader.take(1);
            assert_eq!(reader.number(4), 1, "QUIC, version 1");
            let destination = reader.counted(1);
            reader.counted(1);
            let token = reader.variable();
            reader.take(token);
            let length = reader.variable();
            let start = whole.len() - reader.0.len();
            let packet = &whole[..start + length];
            reader.take(length);
            let key = keyed_by.get_or_insert_with(|| destination.to_vec());
            let keys = Keys::initial(Version::V1, suite, suite.quic.unwrap(), key, side);
            frames(&opened(packet, start, &keys), &mut pieces);
        }
    }
    pieces.sort();
    let mut handshake = Vec::new();
    for (offset, piece) in pieces {
        if offset <= handshake.len() {
            let known = handshake.len() - offset;
            handshake.extend_from_slice(piece.get(known..).unwrap_or_default());
        }
    }
    (handshake, keyed_by.expect("there was an initial packet"))
}

/// The content of an initial packet, whose number stands at `start`.
fn opened(packet: &[u8], start: usize, keys: &Keys) -> Vec<u8> {
    let mut header = packet.to_vec();
    let sample = packet[start + 4..start + 4 + keys.remote.header.sample_len()].to_vec();
    let (first, rest) = header.split_at_mut(1);
    keys.remote.header.decrypt_in_place(&sample, &mut first[0], &mut rest[start - 1..start + 3]).unwrap();
    let number_bytes = usize::from(header[0] & 0b11) + 1;
    let mut content = header.split_off(start + number_bytes);
    // What follows the number was decrypted as if it belonged to it.
    content.copy_from_slice(&packet[start + number_bytes..]);
    let number = Reader(&header[start..]).number(number_bytes);
    keys.remote.packet.decrypt_in_place(number as u64, &header, &mut content).unwrap().to_vec()
}

/// The pieces of the handshake in the frames of a packet.
fn frames(content: &[u8], pieces: &mut Vec<(usize, Vec<u8>)>) {
    let mut reader = Reader(content);
    while !reader.0.is_empty() {
        match reader.number(1) {
            0 | 1 => {}
            2 => {
                reader.variable();
                reader.variable();
                let ranges = reader.variable();
                reader.variable();
                for _ in 0..2 * ranges {
                    reader.variable();
                }
            }
            6 => {
                let (offset, length) = (reader.variable(), reader.variable());
                pieces.push((offset, reader.take(length).to_vec()));
            }
            other => panic!("frame {other} in an initial packet"),
        }
    }
}

/// Two members who are connected through a forwarder, which stays until the test ends.
async fn connected_through(
    nonce: u8,
    transport: &str,
    security: TcpSecurity,
    through: impl AsyncFnOnce(&str) -> String,
) {
    let cluster = Cluster::new(nonce);
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let mut first = Node::start_with(&alpha, cluster.view(&alpha, &[&beta]), &[transport], security).await;
    let mut second = Node::start_with(&beta, cluster.view(&beta, &[&alpha]), &[transport], security).await;
    let listens = second.addresses().await.remove(0);
    let (node, forwarder) = (second.node, through(&listens).await);
    first.tell(move |network| network.dial(node, vec![forwarder]));
    first.until_connected(second.node).await;
    second.until_connected(first.node).await;
}

/// The socket of a multiaddress on loopback.
fn socket(address: &str) -> SocketAddr {
    let port = address.split('/').nth(4).unwrap().parse().unwrap();
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn over_tcp_members_agree_on_a_post_quantum_group() {
    agree_over_tcp(1, TcpSecurity::Tls).await;
}

#[tokio::test]
async fn members_that_take_noise_agree_on_it_all_the_same() {
    agree_over_tcp(3, TcpSecurity::TlsOrNoise).await;
}

async fn agree_over_tcp(nonce: u8, security: TcpSecurity) {
    let seen: Seen = Arc::default();
    let keep = Arc::clone(&seen);
    connected_through(nonce, TCP, security, async |listens: &str| {
        let (listener, to) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), socket(listens));
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(to).await.unwrap();
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::join!(
                pass_on(from_client, to_server, Arc::clone(&keep), 0),
                pass_on(from_server, to_client, Arc::clone(&keep), 1)
            );
        });
        format!("/ip4/127.0.0.1/tcp/{port}")
    })
    .await;
    // Whoever could take away what is offered in the clear would find nothing to leave.
    let offered = String::from_utf8_lossy(&seen.lock().unwrap()[0].concat()).into_owned();
    assert!(offered.contains("/tls/1.0.0") && !offered.contains("/noise"), "whoever dials offers TLS alone");
    let [client, server] = seen.lock().unwrap().each_ref().map(|pieces| tls_handshake(&pieces.concat()));
    assert_post_quantum(&client, &server);
}

async fn pass_on(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    seen: Seen,
    side: usize,
) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        seen.lock().unwrap()[side].push(buffer[..count].to_vec());
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn over_quic_members_agree_on_a_post_quantum_group() {
    let seen: Seen = Arc::default();
    let keep = Arc::clone(&seen);
    connected_through(2, QUIC, TcpSecurity::Tls, async |listens: &str| {
        let (here, there) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let port = here.local_addr().unwrap().port();
        there.connect(socket(listens)).await.unwrap();
        tokio::spawn(async move {
            let (mut from_client, mut from_server) = (vec![0; DATAGRAM_BYTES_MAX], vec![0; DATAGRAM_BYTES_MAX]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((count, from)) = here.recv_from(&mut from_client) => {
                        client = Some(from);
                        keep.lock().unwrap()[0].push(from_client[..count].to_vec());
                        let _lost_as_datagrams_are = there.send(&from_client[..count]).await;
                    }
                    Ok(count) = there.recv(&mut from_server) => {
                        keep.lock().unwrap()[1].push(from_server[..count].to_vec());
                        if let Some(client) = client {
                            let _lost_as_datagrams_are = here.send_to(&from_server[..count], client).await;
                        }
                    }
                }
            }
        });
        format!("/ip4/127.0.0.1/udp/{port}/quic-v1")
    })
    .await;
    let seen = seen.lock().unwrap();
    let (client, key) = quic_handshake(&seen[0], Side::Server, None);
    let (server, _) = quic_handshake(&seen[1], Side::Client, Some(&key));
    assert_post_quantum(&client, &server);
}
