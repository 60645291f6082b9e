//! Agent requests between two members on a stream that is kept, and without one.

use tokio::time::timeout;
use weft_peer::{InboundId, Input, OutboundId, Request, Response};
use weft_protocol::{
    A2aItem, A2aRequest, A2aResponse, ChainId, Incarnation, MessageId, Outcome, Receipt, SyncRequest, SyncResponse,
    vector_root,
};

use super::cluster::{Cluster, Node, PATIENCE, QUIC, TCP};
use crate::network::NetworkEvent;

/// Two members, the first of which has a stream to the second.
async fn two(nonce: u8, transport: &str) -> (Node, Node) {
    let cluster = Cluster::new(nonce);
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let mut first = Node::start(&alpha, cluster.view(&alpha, &[&beta]), &[transport]).await;
    let mut second = Node::start(&beta, cluster.view(&beta, &[&alpha]), &[transport]).await;
    first.connect(&mut second).await;
    until_kept(&first, &second).await;
    (first, second)
}

async fn until_kept(first: &Node, second: &Node) {
    let to = second.node;
    let waiting = async { while !first.read(move |network| network.kept.is_open(&to)).await {} };
    timeout(PATIENCE, waiting).await.expect("a stream is opened");
}

fn message(node: weft_protocol::NodeId, counter: u64) -> MessageId {
    MessageId { chain: ChainId { node, incarnation: Incarnation(1) }, counter }
}

fn ask(from: &Node, to: &Node, number: u64) {
    let (message, to) = (message(from.node, number), to.node);
    let content = Request::A2a(A2aRequest { items: vec![A2aItem::Cancel(message)] });
    from.tell(move |network| network.request(OutboundId(number), to, content));
}

/// The next request, and its number.
async fn asked(node: &mut Node) -> (InboundId, u64) {
    match node.until_request().await {
        (request, _, Request::A2a(content)) => match &content.items[..] {
            [A2aItem::Cancel(message)] => (request, message.counter),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn answer(node: &Node, request: InboundId, number: u64) {
    let receipt = Receipt {
        message: message(node.node, number),
        hlc: weft_protocol::Hlc(1),
        outcome: Outcome::Received,
        record: None,
        parts: None,
    };
    let content = Response::A2a(A2aResponse { receipts: vec![receipt] });
    node.tell(move |network| network.respond(request, content));
}

/// The next answer: to which request, and which number it holds.
async fn answered(node: &mut Node) -> (u64, u64) {
    node.until_input("ResponseArrived", |input| match input {
        Input::ResponseArrived { request, content: Response::A2a(content) } => {
            Some((request.0, content.receipts[0].message.counter))
        }
        _ => None,
    })
    .await
}

async fn failed(node: &mut Node) -> u64 {
    node.until_input("RequestFailed", |input| match input {
        Input::RequestFailed { request, .. } => Some(request.0),
        _ => None,
    })
    .await
}

/// A round of another protocol: what was on its way before it began has arrived by its end, as a rule.
async fn hello(first: &mut Node, second: &mut Node) {
    let to = second.node;
    let content = Request::Sync(SyncRequest::Hello { vector_root: vector_root([]) });
    first.tell(move |network| network.request(OutboundId(u64::MAX), to, content));
    let request = second
        .until_input("a hello", |input| match input {
            Input::RequestArrived { request, content: Request::Sync(_), .. } => Some(request),
            Input::RequestArrived { content: Request::A2a(_), .. } => panic!("one more than may be unanswered"),
            _ => None,
        })
        .await;
    second.tell(move |network| network.respond(request, Response::Sync(SyncResponse::Same)));
    first
        .until_input("its answer", |input| {
            matches!(input, Input::ResponseArrived { content: Response::Sync(_), .. }).then_some(())
        })
        .await;
}

#[tokio::test]
async fn requests_share_a_stream_and_are_answered_in_any_order() {
    for transport in [QUIC, TCP] {
        let (mut first, mut second) = two(1, transport).await;
        for number in 0..3 {
            ask(&first, &second, number);
        }
        let mut requests = Vec::new();
        for expected in 0..3 {
            let (request, number) = asked(&mut second).await;
            assert_eq!(number, expected, "they arrive in order");
            requests.push((request, number));
        }
        assert_eq!(first.read(|network| network.requests.len()).await, 0, "none has a stream of its own");
        for (request, number) in requests.into_iter().rev() {
            answer(&second, request, number);
            assert_eq!(answered(&mut first).await, (number, number));
        }
    }
}

#[tokio::test]
async fn whoever_is_not_answered_is_not_read_from() {
    let (mut first, mut second) = two(2, QUIC).await;
    let mut requests = Vec::new();
    for number in 0..32 {
        ask(&first, &second, number);
        requests.push(asked(&mut second).await);
    }
    for number in 32..40 {
        ask(&first, &second, number);
    }
    hello(&mut first, &mut second).await;
    for (request, number) in requests.drain(..8) {
        answer(&second, request, number);
    }
    for expected in 32..40 {
        assert_eq!(asked(&mut second).await.1, expected);
    }
}

#[tokio::test]
async fn a_stream_that_ends_fails_what_it_held_and_the_next_one_follows() {
    let (mut first, mut second) = two(3, QUIC).await;
    ask(&first, &second, 1);
    asked(&mut second).await;
    let to = second.node;
    first.tell(move |network| network.kept.finish(&to));
    assert_eq!(failed(&mut first).await, 1);

    // Until there is another one, a request has a stream of its own.
    ask(&first, &second, 2);
    let (request, number) = asked(&mut second).await;
    answer(&second, request, number);
    assert_eq!(answered(&mut first).await, (2, 2));
    until_kept(&first, &second).await;
    ask(&first, &second, 3);
    let (request, number) = asked(&mut second).await;
    assert_eq!(first.read(|network| network.requests.len()).await, 0);
    answer(&second, request, number);
    assert_eq!(answered(&mut first).await, (3, 3));
}

#[tokio::test]
async fn what_a_lost_member_had_not_answered_fails_at_once() {
    let (mut first, mut second) = two(4, TCP).await;
    ask(&first, &second, 1);
    asked(&mut second).await;
    let (to, gone) = (second.node, first.node);
    second.tell(move |network| network.disconnect(gone));
    assert_eq!(failed(&mut first).await, 1);
    first.until_disconnected(to).await;
    assert!(!first.read(move |network| network.kept.is_open(&to)).await);
    let told = first.rest();
    let again = |event: &NetworkEvent| matches!(event, NetworkEvent::Peer(Input::RequestFailed { .. }));
    assert!(!told.iter().any(again), "once: {told:?}");
}
