//! Two members talk, over each transport.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_peer::{GossipTopic, Input, OutboundId, Request, Response};
use weft_protocol::limits::FRAME_BYTES_MAX;
use weft_protocol::{
    A2aItem, A2aRequest, A2aResponse, Advert, AdvertVersion, ChainId, Delivery, Durability, Envelope, Gossip, Hlc,
    Incarnation, Level, LocalTarget, MessageId, Payload, Principal, Publication, Sender, SignedAdvert, SyncRequest,
    SyncResponse, Timestamp, TraceId, vector_root,
};

use super::cluster::{Cluster, Member, Node, QUIC, TCP, assert_none};
use crate::network::{Mdns, Network, NetworkConfig, NetworkEvent, TcpSecurity};

async fn two(cluster: &Cluster, listen: &[&str]) -> (Member, Node, Member, Node) {
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let first = Node::start(&alpha, cluster.view(&alpha, &[&beta]), listen).await;
    let second = Node::start(&beta, cluster.view(&beta, &[&alpha]), listen).await;
    (alpha, first, beta, second)
}

fn publication(from: &Member, topic: &str, text: &str) -> Publication {
    let chain = ChainId { node: from.node(), incarnation: Incarnation(1) };
    let id = MessageId { chain, counter: 1 };
    Publication {
        id,
        hlc: Hlc(1),
        trace: TraceId(1),
        from: Sender { node: from.node(), principal: Principal::Operator },
        topic: topic.parse().unwrap(),
        seq: 1,
        payload: Payload::Text(text.to_owned()),
        grant: None,
        prev: 0,
        forgetful: false,
        ed25519: None,
    }
}

fn advert(of: &Member, build: &str) -> SignedAdvert {
    let advert = Advert {
        node: of.node(),
        name: of.name.clone(),
        incarnation: Incarnation(1),
        version: AdvertVersion { started: Hlc(1), version: 1 },
        build: build.to_owned(),
        agents: Vec::new(),
        topics: Vec::new(),
        subscriptions: Vec::new(),
        labels: Default::default(),
        services: Vec::new(),
        addresses: Vec::new(),
        expires: Timestamp(1),
    };
    SignedAdvert::new(&advert, &*of.keys)
}

fn request_of(from: &Member, text: String) -> A2aRequest {
    let Publication { id, hlc, trace, from, .. } = publication(from, "t", "");
    let envelope = Envelope {
        id,
        hlc,
        trace,
        from,
        target: LocalTarget::Agent("echo".parse().unwrap()),
        payload: Payload::Text(text),
        wants_reply: true,
        level: Level { delivery: Delivery::Executed, durability: Durability::None },
        deadline_us: 1_000_000,
        hops: 8,
        grant: None,
        cause: Vec::new(),
        parts: false,
    };
    A2aRequest { items: vec![A2aItem::Envelope(Box::new(envelope))] }
}

async fn talk(transport: &'static str, listen: &str) {
    let cluster = Cluster::new(1);
    let (alpha, mut first, beta, mut second) = two(&cluster, &[listen]).await;
    let node = first.node;

    let addresses = first.addresses().await;
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    let dialled = addresses.clone();
    second.tell(move |network| network.dial(node, dialled));
    let path = second
        .until_input("Connected", |input| match input {
            Input::Connected { path, .. } => Some(path),
            _ => None,
        })
        .await;
    assert_eq!((path.transport, path.dialled), (transport, true));
    assert!(path.address.starts_with(&addresses[0]), "{path:?}");
    first.until_connected(second.node).await;

    // One request each way, each on its protocol.
    let hello = SyncRequest::Hello { vector_root: vector_root([]) };
    let asked = hello.clone();
    second.tell(move |network| network.request(OutboundId(7), node, Request::Sync(asked)));
    let (request, from, content) = first.until_request().await;
    assert_eq!((from, content), (second.node, Request::Sync(hello)));
    first.tell(move |network| network.respond(request, Response::Sync(SyncResponse::Same)));
    let (answered, content) = second.until_input("ResponseArrived", response).await;
    assert_eq!((answered, content), (OutboundId(7), Response::Sync(SyncResponse::Same)));

    let cancel = A2aRequest { items: vec![A2aItem::Cancel(publication(&alpha, "t", "").id)] };
    let (asked, to) = (cancel.clone(), second.node);
    first.tell(move |network| network.request(OutboundId(8), to, Request::A2a(asked)));
    let (request, from, content) = second.until_request().await;
    assert_eq!((from, content), (first.node, Request::A2a(cancel)));
    let none = A2aResponse { receipts: Vec::new() };
    let sent = none.clone();
    second.tell(move |network| network.respond(request, Response::A2a(sent)));
    assert_eq!(first.until_input("ResponseArrived", response).await, (OutboundId(8), Response::A2a(none)));

    // Gossip reaches whoever follows, once a subscription has made its way; what was said before is not repeated.
    let topic: weft_protocol::TopicName = "news".parse().unwrap();
    let followed = topic.clone();
    first.tell(move |network| network.follow(vec![followed], false));
    let (heard, words) = say_until_heard(&second, &mut first, &beta, &topic).await;
    assert_eq!(heard, (second.node, second.node));
    assert_eq!(words.from.node, second.node);

    // The end is told to the other side, once.
    second.end().await;
    first.until_disconnected(beta.node()).await;
    assert_none(&first.rest(), |event| matches!(event, NetworkEvent::Peer(Input::Connected { .. })));
}

fn response(input: Input) -> Option<(OutboundId, Response)> {
    match input {
        Input::ResponseArrived { request, content } => Some((request, content)),
        _ => None,
    }
}

/// Publishes until the other node has heard something: one message for each ping that comes back.
async fn say_until_heard(
    from: &Node,
    to: &mut Node,
    author: &Member,
    topic: &weft_protocol::TopicName,
) -> ((weft_protocol::NodeId, weft_protocol::NodeId), Publication) {
    let mut number = 0;
    let (author, topic) = (author.clone(), topic.clone());
    let mut say = move || {
        number += 1;
        let publication = publication(&author, topic.as_str(), &number.to_string());
        let gossip = (GossipTopic::Agents(topic.clone()), Gossip::Publication(Box::new(publication)));
        from.tell(move |network| network.gossip(&gossip.0, &gossip.1));
    };
    say();
    to.until_input("Gossiped", |input| match input {
        Input::Gossiped { from, author, content } => match *content {
            Gossip::Publication(publication) => Some(((from, author), *publication)),
            Gossip::Head(_) | Gossip::Advert(_) => None,
        },
        Input::Pinged { .. } => {
            say();
            None
        }
        _ => None,
    })
    .await
}

#[tokio::test]
async fn members_talk_over_quic() {
    talk("quic", QUIC).await;
}

#[tokio::test]
async fn members_talk_over_tcp() {
    talk("tcp", TCP).await;
}

#[tokio::test]
async fn several_addresses_and_both_directions_make_one_member() {
    let cluster = Cluster::new(2);
    let (_, mut first, _, mut second) = two(&cluster, &[QUIC, TCP, QUIC, TCP]).await;
    let (to_first, to_second) = (first.addresses().await, second.addresses().await);
    assert_eq!((to_first.len(), to_second.len()), (4, 4));
    let (first_node, second_node) = (first.node, second.node);
    first.tell(move |network| network.dial(second_node, to_second));
    second.tell(move |network| network.dial(first_node, to_first));
    first.until_connected(second.node).await;
    second.until_connected(first.node).await;

    // They stay connected: a request and two rounds of pings later nobody has been told otherwise.
    let hello = SyncRequest::Hello { vector_root: vector_root([]) };
    first.tell(move |network| network.request(OutboundId(1), second_node, Request::Sync(hello)));
    let (request, ..) = second.until_request().await;
    second.tell(move |network| network.respond(request, Response::Sync(SyncResponse::Same)));
    first.until_input("ResponseArrived", response).await;
    let mut pings = 0;
    first
        .until_input("two pings", |input| match input {
            Input::Pinged { .. } => {
                pings += 1;
                (pings == 2).then_some(())
            }
            Input::Connected { .. } | Input::Disconnected { .. } | Input::DialFailed { .. } => panic!("{input:?}"),
            _ => None,
        })
        .await;
    let events = second.rest();
    assert_none(&events, |event| matches!(event, NetworkEvent::Peer(Input::Connected { .. })));
    assert_none(&events, |event| matches!(event, NetworkEvent::Peer(Input::Disconnected { .. })));
    assert!(first.read(|network| network.refusals().list()).await.is_empty());
    assert_none(&first.rest(), |event| matches!(event, NetworkEvent::Peer(Input::Connected { .. })));
}

#[tokio::test]
async fn the_end_of_a_program_is_told_before_it_is_gone() {
    for transport in [QUIC, TCP] {
        let cluster = Cluster::new(7);
        let beta = cluster.admit("beta");
        let view = cluster.view(&cluster.founder, &[&beta]);
        let mut stays = Node::start(&cluster.founder, view, &[transport]).await;
        let (node, addresses) = (stays.node, stays.addresses().await);
        let view = Arc::new(cluster.view(&beta, &[]));
        let (keys, tcp_security) = (Arc::clone(&beta.keys), TcpSecurity::Tls);
        let config =
            NetworkConfig { keys, listen: Vec::new(), announce: Vec::new(), tcp_security, view, mdns: Mdns::off() };
        // A runtime of its own that ends with it: nothing of it runs on.
        let ends = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut network = Network::new(config).await.unwrap();
                network.dial(node, addresses);
                let connected = |event| matches!(event, NetworkEvent::Peer(Input::Connected { .. }));
                while !connected(network.next().await) {}
                network.shutdown().await;
            });
        });
        stays.until_connected(beta.node()).await;
        ends.await.unwrap();
        let begun = Instant::now();
        stays.until_disconnected(beta.node()).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{transport}: found out by a timeout: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_new_life_of_a_member_ends_its_old_one() {
    let cluster = Cluster::new(3);
    let (_, mut first, beta, mut second) = two(&cluster, &[QUIC]).await;
    second.connect(&mut first).await;
    let mut reborn = Node::start(&beta, cluster.view(&beta, &[&cluster.founder]), &[QUIC]).await;
    let (node, addresses) = (first.node, first.addresses().await);
    reborn.tell(move |network| network.dial(node, addresses));
    first.until_disconnected(beta.node()).await;
    first.until_connected(beta.node()).await;
    reborn.until_connected(first.node).await;

    // Gossip works at once, though the other side had told its subscriptions to the old life.
    let topic: weft_protocol::TopicName = "news".parse().unwrap();
    let followed = topic.clone();
    first.tell(move |network| network.follow(vec![followed], false));
    say_until_heard(&reborn, &mut first, &beta, &topic).await;
}

#[tokio::test]
async fn words_in_another_members_name_are_not_heard() {
    let cluster = Cluster::new(4);
    let (alpha, mut first, beta, mut second) = two(&cluster, &[QUIC]).await;
    second.connect(&mut first).await;
    let topic: weft_protocol::TopicName = "news".parse().unwrap();
    let followed = topic.clone();
    first.tell(move |network| network.follow(vec![followed], false));
    say_until_heard(&second, &mut first, &beta, &topic).await;

    let forged = Gossip::Publication(Box::new(publication(&alpha, "news", "forged")));
    let misplaced = Gossip::Advert(advert(&beta, "misplaced"));
    let other_topic = Gossip::Publication(Box::new(publication(&beta, "other", "misplaced")));
    let honest = Gossip::Publication(Box::new(publication(&beta, "news", "honest")));
    let said = [forged, misplaced, other_topic, honest.clone()];
    let on = GossipTopic::Agents(topic);
    second.tell(move |network| said.iter().for_each(|gossip| network.gossip(&on, gossip)));
    let heard = first
        .until_input("Gossiped", |input| match input {
            Input::Gossiped { content, .. } => match &*content {
                Gossip::Publication(publication) if publication.payload == Payload::Text("honest".into()) => {
                    Some(content)
                }
                Gossip::Publication(publication) => {
                    assert_eq!(publication.from.node, beta.node());
                    assert_ne!(publication.payload, Payload::Text("misplaced".into()));
                    None
                }
                other => panic!("{other:?}"),
            },
            _ => None,
        })
        .await;
    assert_eq!(*heard, honest);
    let relayed = Gossip::Advert(advert(&alpha, "relayed"));
    let sent = relayed.clone();
    second.tell(move |network| network.gossip(&GossipTopic::Directory, &sent));
    let author = first
        .until_input("an advert of somebody else", |input| match input {
            Input::Gossiped { author, content, .. } if *content == relayed => Some(author),
            _ => None,
        })
        .await;
    assert_eq!(author, beta.node(), "who passes an advert on need not have signed it");
}

#[tokio::test]
async fn what_is_too_large_or_nowhere_to_send_fails_and_says_so() {
    let cluster = Cluster::new(5);
    let (_, mut first, beta, mut second) = two(&cluster, &[TCP]).await;
    let hello = SyncRequest::Hello { vector_root: vector_root([]) };
    let node = first.node;
    second.tell(move |network| network.request(OutboundId(1), node, Request::Sync(hello)));
    let failure = |input| match input {
        Input::RequestFailed { request, reason } => Some((request, reason)),
        _ => None,
    };
    let nowhere = second.until_input("RequestFailed", failure).await;
    assert_eq!(nowhere, (OutboundId(1), "no connection to that member is open".to_owned()));
    second.tell(move |network| network.dial(node, Vec::new()));
    assert_eq!(second.until_dial_failed(node).await, "no address of it is known");
    let own = second.node;
    second.tell(move |network| network.dial(own, vec![TCP.into()]));
    assert_eq!(second.until_dial_failed(own).await, "this is the node itself");

    second.connect(&mut first).await;
    let refused = SyncResponse::Refused("x".repeat(FRAME_BYTES_MAX));
    let large = request_of(&beta, "x".repeat(FRAME_BYTES_MAX));
    second.tell(move |network| network.request(OutboundId(2), node, Request::A2a(large)));
    let (request, reason) = second.until_input("RequestFailed", failure).await;
    assert_eq!(request, OutboundId(2));
    assert!(reason.contains("too-large: a frame of "), "{reason}");

    let hello = SyncRequest::Hello { vector_root: vector_root([]) };
    second.tell(move |network| network.request(OutboundId(3), node, Request::Sync(hello)));
    let (request, _, content) = first.until_request().await;
    assert!(matches!(content, Request::Sync(_)), "the large request never arrived");
    first.tell(move |network| network.respond(request, Response::Sync(refused)));
    assert_eq!(second.until_input("RequestFailed", failure).await.0, OutboundId(3), "neither does a large response");

    // The largest that fits arrives.
    let fits = request_of(&beta, "y".repeat(FRAME_BYTES_MAX - 2_048));
    let sent = fits.clone();
    second.tell(move |network| network.request(OutboundId(4), node, Request::A2a(sent)));
    assert!(matches!(first.until_request().await.2, Request::A2a(content) if content == fits));
}

#[tokio::test]
async fn a_dial_that_reaches_another_node_says_so_and_is_no_connection() {
    let cluster = Cluster::new(6);
    let (_, mut first, _, mut second) = two(&cluster, &[QUIC]).await;
    let wanted = cluster.admit("gamma").node();
    let (node, addresses) = (first.node, first.addresses().await);
    second.tell(move |network| network.dial(wanted, addresses));
    let reason = second.until_dial_failed(wanted).await;
    assert!(reason.ends_with(&format!("another node answers there: {node}")), "{reason}");

    // Whatever that node had heard of it, it would have heard before this.
    let addresses = first.addresses().await;
    second.tell(move |network| network.dial(node, addresses));
    second.until_connected(node).await;
    let hello = SyncRequest::Hello { vector_root: vector_root([]) };
    second.tell(move |network| network.request(OutboundId(1), node, Request::Sync(hello)));
    first.until_request().await;
    assert_eq!(first.count_seen("Connected {"), 1);
    assert!(first.read(|network| network.refusals().list()).await.is_empty());
}
