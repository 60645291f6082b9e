//! A node without a usable store asks the others for what it lost.

use std::sync::Arc;

use weft_peer::{Request, Response};
use weft_protocol::limits::PAGE_BYTES_MAX;
use weft_protocol::{ChainId, Incarnation, NodeId, SyncRequest, SyncResponse};

use super::cluster::{Cluster, Node, QUIC, TCP};
use crate::network::{FetchError, Fetcher};

#[tokio::test]
async fn pages_come_from_whoever_has_them() {
    let cluster = Cluster::new(1);
    let (beta, gamma) = (cluster.admit("beta"), cluster.admit("gamma"));
    let mut empty = Node::start(&beta, cluster.view(&beta, &[&gamma]), &[QUIC]).await;
    let mut refusing = Node::start(&gamma, cluster.view(&gamma, &[&beta]), &[TCP]).await;
    let members = vec![
        (empty.node, empty.addresses().await),
        (refusing.node, refusing.addresses().await),
        (NodeId::from_bytes([7; 32]), vec![]),
    ];
    let view = Arc::new(cluster.view(&cluster.founder, &[&beta, &gamma]));
    let mut fetcher = Fetcher::connect(Arc::clone(&cluster.founder.keys), view, Vec::new(), members).await.unwrap();

    let chain = ChainId { node: cluster.founder.node(), incarnation: Incarnation(5) };
    let wanted = SyncRequest::Range { chain, from_commit: 3, bytes_max: PAGE_BYTES_MAX as u64 };
    let serve = async |node: &mut Node, answer: SyncResponse| {
        let (request, from, content) = node.until_request().await;
        assert_eq!((from, content), (chain.node, Request::Sync(wanted.clone())));
        node.tell(move |network| network.respond(request, Response::Sync(answer)));
    };
    let (page, (), ()) = tokio::join!(
        fetcher.page(chain, 3),
        serve(&mut empty, SyncResponse::Page { chain, groups: Vec::new() }),
        serve(&mut refusing, SyncResponse::Refused("no".into())),
    );
    assert!(page.unwrap().is_none(), "one holds nothing, the other serves nothing");

    fetcher.distrust(empty.node);
    let (page, ()) = tokio::join!(fetcher.page(chain, 3), serve(&mut refusing, SyncResponse::Same));
    let error = page.unwrap_err();
    assert!(matches!(&error, FetchError::NobodyAnswered { reasons } if reasons.len() == 1), "{error}");
    assert!(error.to_string().contains("it answered something else"), "{error}");
    fetcher.close().await;
    refusing.until_disconnected(chain.node).await;
}

#[tokio::test]
async fn nobody_to_ask_is_said() {
    let cluster = Cluster::new(2);
    let view = Arc::new(cluster.view(&cluster.founder, &[]));
    let none = Fetcher::connect(Arc::clone(&cluster.founder.keys), Arc::clone(&view), Vec::new(), Vec::new()).await;
    assert!(matches!(none, Err(FetchError::NobodyKnown)), "{none:?}");
    let nobody = vec![(NodeId::from_bytes([7; 32]), vec!["/ip4/127.0.0.1/tcp/1".to_owned()])];
    let error = Fetcher::connect(Arc::clone(&cluster.founder.keys), view, Vec::new(), nobody).await.unwrap_err();
    assert!(matches!(error, FetchError::NobodyReached { .. }), "{error}");
    assert!(error.to_string().contains("/ip4/127.0.0.1/tcp/1: Connection refused"), "{error}");
}

/// A member that was only ever heard, and whose address is therefore not known, is heard again.
#[tokio::test]
async fn a_member_without_a_known_address_is_heard() {
    let cluster = Cluster::new(3);
    let beta = cluster.admit("beta");
    let mut member = Node::start(&beta, cluster.view(&beta, &[]), &[]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", free.local_addr().unwrap().port());
    drop(free);
    let view = Arc::new(cluster.view(&cluster.founder, &[&beta]));
    let listen = vec!["/ip4/127.0.0.1/udp/1/quic-v1".to_owned(), address.clone()];
    let fetching = Fetcher::connect(Arc::clone(&cluster.founder.keys), view, listen, Vec::new());
    let founder = cluster.founder.node();
    let dialling = async {
        loop {
            let way = vec![address.clone()];
            member.tell(move |network| network.dial(founder, way));
            let connected = member.until_input("an end of dialling", |input| match input {
                weft_peer::Input::Connected { .. } => Some(true),
                weft_peer::Input::DialFailed { .. } => Some(false),
                _ => None,
            });
            if connected.await {
                return std::future::pending::<()>().await;
            }
        }
    };
    let fetcher = tokio::select! {
        fetcher = fetching => fetcher,
        () = dialling => unreachable!("it only waits"),
    };
    fetcher.unwrap().close().await;
    member.until_disconnected(founder).await;
}
