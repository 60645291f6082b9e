//! Packets of SWIM between members, and the idle connection that ends with the process at its other end.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::core::Endpoint;
use libp2p::core::transport::{DialOpts, PortUse, Transport as _};
use tokio::time::timeout;
use weft_peer::Input;
use weft_protocol::NodeId;
use weft_protocol::limits::SWIM_PACKET_BYTES_MAX;

use super::cluster::{Cluster, Node, PATIENCE, QUIC, TCP, assert_none, new_keys};
use crate::identity::transport_keys;
use crate::network::NetworkEvent;
use crate::network::authenticate::{Side, driving, open};
use crate::network::transport::bare_tcp;
use crate::network::watched::WATCH;

/// Two members that listen on QUIC and TCP, the first of which dialled the second over QUIC.
async fn two(nonce: u8) -> (Node, Node) {
    let cluster = Cluster::new(nonce);
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let mut first = Node::start(&alpha, cluster.view(&alpha, &[&beta]), &[QUIC, TCP]).await;
    let mut second = Node::start(&beta, cluster.view(&beta, &[&alpha]), &[QUIC, TCP]).await;
    first.connect(&mut second).await;
    (first, second)
}

/// Until the second, which was dialled, has the idle connection of the first.
async fn until_watched(first: &Node, second: &Node) {
    let one = first.node;
    let held = async { while !second.read(move |network| network.watches.has_taken(&one)).await {} };
    timeout(PATIENCE, held).await.expect("the idle connection is held");
}

async fn until_watch_ended(node: &mut Node, of: NodeId) {
    node.until_input("WatchEnded", |input| match input {
        Input::WatchEnded { node } if node == of => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_packet_arrives_as_it_was_sent_and_one_that_is_too_long_does_not() {
    for (nonce, transport) in [(1, QUIC), (2, TCP)] {
        let cluster = Cluster::new(nonce);
        let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
        let mut first = Node::start(&alpha, cluster.view(&alpha, &[&beta]), &[transport]).await;
        let mut second = Node::start(&beta, cluster.view(&beta, &[&alpha]), &[transport]).await;
        first.connect(&mut second).await;
        let to = second.node;
        let packets = [vec![7; SWIM_PACKET_BYTES_MAX], vec![8; SWIM_PACKET_BYTES_MAX + 1], vec![9; 3]];
        first.tell(move |network| packets.into_iter().for_each(|packet| network.send_swim(to, packet)));
        let mut arrived = Vec::new();
        while arrived.last() != Some(&(first.node, 9, 3)) {
            let packet = second.until_input("SwimArrived", |input| match input {
                Input::SwimArrived { from, packet } => Some((from, packet[0], packet.len())),
                _ => None,
            });
            arrived.push(packet.await);
        }
        assert_eq!(arrived, [(first.node, 7, SWIM_PACKET_BYTES_MAX), (first.node, 9, 3)]);
    }
}

#[tokio::test]
async fn the_end_of_the_idle_connection_is_told_and_it_is_made_anew() {
    let (mut first, mut second) = two(3).await;
    until_watched(&first, &second).await;
    let (one, other) = (first.node, second.node);
    for _ in 0..3 {
        second.tell(move |network| network.watches.drop_taken(&one));
        until_watch_ended(&mut first, other).await;
        until_watched(&first, &second).await;
    }
    first.tell(move |network| network.watches.drop_dialled(&other));
    until_watch_ended(&mut second, one).await;
    for (node, of) in [(&mut first, other), (&mut second, one)] {
        assert!(node.read(move |network| network.links.is_open(&of)).await, "the connection itself is untouched");
        assert_none(&node.rest(), |event| matches!(event, NetworkEvent::Peer(Input::Disconnected { .. })));
    }
}

#[tokio::test]
async fn when_nobody_listens_there_any_more_the_other_connections_are_closed() {
    let (mut first, second) = two(4).await;
    until_watched(&first, &second).await;
    let (one, other) = (first.node, second.node);
    // As when its process is killed: what listened is gone, the idle connection ends, and over QUIC nothing is said.
    second.tell(move |network| {
        for listener in &network.listeners {
            network.swarm.remove_listener(listener.id);
        }
    });
    let address = first.read(move |network| network.watches.addresses_of(&other)).await[0].clone();
    let port = address.to_string().rsplit('/').next().unwrap().to_owned();
    let closed = async { while tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.is_ok() {} };
    timeout(PATIENCE, closed).await.expect("nobody listens");
    second.tell(move |network| network.watches.drop_taken(&one));
    until_watch_ended(&mut first, other).await;
    first.until_disconnected(other).await;
}

#[tokio::test]
async fn a_member_to_which_no_link_is_kept_is_not_watched() {
    let cluster = Cluster::new(7);
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let mut first = Node::start(&alpha, cluster.view(&alpha, &[&beta]), &[QUIC, TCP]).await;
    let second = Node::start(&beta, cluster.view(&beta, &[&alpha]), &[QUIC, TCP]).await;
    let (node, addresses) = (second.node, second.addresses().await);
    first.tell(move |network| {
        network.keep_links(Some(std::collections::BTreeSet::new()));
        network.dial(node, addresses);
    });
    first.until_connected(node).await;
    // By then each has said where it listens, after which a watch begins at once.
    for _ in 0..2 {
        let pinged = |input| if let Input::Pinged { .. } = input { Some(()) } else { None };
        first.until_input("Pinged", pinged).await;
    }
    assert!(!first.read(move |network| network.watches.addresses_of(&node)).await.is_empty(), "it knows where");
    assert_eq!((first.read(|it| it.watches.count()).await, second.read(|it| it.watches.count()).await), (0, 0));
}

#[tokio::test]
async fn strangers_watch_nobody() {
    let cluster = Cluster::new(6);
    let alpha = cluster.founder.clone();
    let mut node = Node::start(&alpha, cluster.view(&alpha, &[]), &[TCP]).await;
    let address = node.addresses().await[0].parse().unwrap();
    let mut transport = bare_tcp(&transport_keys(&new_keys())).unwrap();
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let (_, mut muxer) = transport.dial(address, options).unwrap().await.unwrap();
    let mut stream = open(&mut muxer, Side::Dialer).await.unwrap();
    let talk = async {
        stream.write_all(WATCH).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        let _closed = stream.read_to_end(&mut answer).await;
        answer
    };
    let answer = timeout(PATIENCE, driving(&mut muxer, talk)).await.expect("it is answered");
    assert!(!answer.is_ok_and(|answer| answer.ends_with(WATCH)), "nobody agrees");
    assert_eq!(node.read(|network| network.watches.count()).await, 0);
    assert_none(&node.rest(), |event| matches!(event, NetworkEvent::Peer(Input::WatchEnded { .. })));
}
