//! A program of somebody else's, a member whose libp2p encrypts TCP by Noise alone: it is let in where the node takes Noise, and
//! nowhere else.

use std::sync::Arc;

use futures::StreamExt as _;
use libp2p::core::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{ListenerId, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Swarm, noise, ping, tcp, yamux};
use tokio::time::timeout;
use weft_discovery::{AdmissionView, Handshake, HandshakeOutcome};
use weft_peer::Input;
use weft_protocol::AuthRefusal;
use weft_protocol::limits::ADMISSION_FRAME_BYTES_MAX;

use super::cluster::{Cluster, Member, Node, PATIENCE, TCP};
use crate::identity::{peer_id, random, transport_keys};
use crate::network::TcpSecurity;
use crate::network::authenticate::{Bounds, Side, exchange};
use crate::network::transport::Connections;

/// A swarm as libp2p builds it over TCP, Noise and Yamux, behind which stand the handshake that every member makes, and pings.
fn foreign(member: &Member, view: AdmissionView, target: weft_protocol::NodeId) -> Swarm<ping::Behaviour> {
    let keys = transport_keys(&member.keys);
    let (view, signer) = (Arc::new(view), Arc::clone(&member.keys));
    let authenticate = move |(peer, mut muxer), _| {
        let handshake = Handshake::dialer_member(view, signer, random().unwrap(), target);
        Box::pin(async move {
            let bounds = Bounds { frame_bytes_max: ADMISSION_FRAME_BYTES_MAX, may_be_watched: false };
            let nobody_asks = async |_, _, _| Err(AuthRefusal::Protocol);
            let (outcome, _) =
                exchange(&mut muxer, Side::Dialer, handshake, 1, None, bounds, nobody_asks).await.unwrap();
            assert!(matches!(outcome, HandshakeOutcome::Member { .. }), "{outcome:?}");
            Ok::<_, std::io::Error>((peer, muxer))
        })
    };
    let transport = over_noise(&keys).and_then(authenticate).boxed();
    let local = keys.public().to_peer_id();
    Swarm::new(transport, ping::Behaviour::default(), local, libp2p::swarm::Config::with_tokio_executor())
}

/// Connections of a libp2p over TCP, Noise and Yamux, and no more than that.
fn over_noise(keys: &Keypair) -> Connections {
    let transport = tcp::tokio::Transport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(keys).unwrap())
        .multiplex(yamux::Config::default());
    transport.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
}

/// A node that takes so much, and a foreign member that dials it.
async fn called(nonce: u8, security: TcpSecurity) -> (Node, Swarm<ping::Behaviour>) {
    let cluster = Cluster::new(nonce);
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let node = Node::start_with(&alpha, cluster.view(&alpha, &[&beta]), &[TCP], security).await;
    let mut swarm = foreign(&beta, cluster.view(&beta, &[&alpha]), node.node);
    let addresses = node.addresses().await.iter().map(|address| address.parse().unwrap()).collect();
    swarm.dial(DialOpts::peer_id(peer_id(node.node)).addresses(addresses).build()).unwrap();
    (node, swarm)
}

#[tokio::test]
async fn a_member_that_speaks_noise_alone_is_let_in_where_noise_is_taken() {
    let (mut node, mut swarm) = called(1, TcpSecurity::TlsOrNoise).await;
    let pinged = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(ping::Event { result, .. }) => return result,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, pinged).await.expect("a ping comes back").unwrap();
    let path = node.until_input("Connected", |input| match input {
        Input::Connected { path, .. } => Some(path),
        _ => None,
    });
    assert_eq!(path.await.transport, "tcp+noise");
    node.end().await;
}

#[tokio::test]
async fn a_member_that_speaks_noise_alone_is_refused_otherwise() {
    let (mut node, mut swarm) = called(2, TcpSecurity::default()).await;
    let failed = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::OutgoingConnectionError { error: DialError::Transport(errors), .. } => return errors,
                SwarmEvent::ConnectionEstablished { .. } => panic!("it was let in"),
                _ => {}
            }
        }
    };
    let errors = timeout(PATIENCE, failed).await.expect("the dial ends");
    let text = format!("{errors:?}");
    assert!(text.contains("Select(Failed)"), "nothing that both speak: {text}");
    super::cluster::assert_none(&node.rest(), |event| format!("{event:?}").contains("Connected"));
    node.end().await;
}

#[tokio::test]
async fn a_node_that_takes_noise_offers_it_to_nobody() {
    let cluster = Cluster::new(3);
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let view = cluster.view(&alpha, &[&beta]);
    let mut node = Node::start_with(&alpha, view, &[TCP], TcpSecurity::TlsOrNoise).await;
    let mut listener = over_noise(&transport_keys(&beta.keys));
    listener.listen_on(ListenerId::next(), TCP.parse().unwrap()).unwrap();
    let listens = loop {
        if let TransportEvent::NewAddress { listen_addr, .. } = listener.select_next_some().await {
            break listen_addr.to_string();
        }
    };
    let beta = beta.node();
    node.tell(move |network| network.dial(beta, vec![listens]));
    let accept = async {
        loop {
            if let TransportEvent::Incoming { upgrade, .. } = listener.select_next_some().await {
                assert!(upgrade.await.is_err(), "nothing is spoken that both speak");
            }
        }
    };
    tokio::select! {
        reason = node.until_dial_failed(beta) => assert!(reason.contains("upgrade client connection"), "of TLS: {reason}"),
        () = accept => {}
    }
    node.end().await;
}
