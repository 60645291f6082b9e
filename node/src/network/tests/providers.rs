//! Who serves what, by what members say: hints from members alone, as many as a node may give, and gone with whoever gave them.

use libp2p::kad::RecordKey;
use libp2p::kad::store::RecordStore as _;
use tokio::time::timeout;
use weft_peer::Input;
use weft_protocol::{NodeId, ServiceName};

use super::cluster::{Cluster, Node, PATIENCE, assert_none};
use super::lookup::star;
use crate::network::NetworkEvent;

fn service(number: usize) -> ServiceName {
    format!("service-{number}").parse().unwrap()
}

/// Waits until a node keeps so many services that another one serves.
async fn until_kept(at: &Node, of: NodeId, count: usize) {
    let waiting = async { while at.read(move |network| network.providing.kept(&of)).await != count {} };
    timeout(PATIENCE, waiting).await.expect("what it says");
}

/// Asks for a service; who is named, once somebody is.
async fn named(by: &mut Node, wanted: ServiceName) -> Vec<NodeId> {
    let sought = wanted.clone();
    by.tell(move |network| network.seek_providers(sought));
    by.until_input("ProvidersFound", |input| match input {
        Input::ProvidersFound { service, nodes } if service == wanted => Some(nodes),
        _ => None,
    })
    .await
}

/// Waits until every question is over.
async fn until_over(of: &Node) {
    let over = async { while of.read(|network| network.providing.sought()).await != 0 {} };
    timeout(PATIENCE, over).await.expect("a question ends");
}

#[tokio::test]
async fn a_provider_is_named_by_whom_it_is_connected_to_and_no_more_once_it_is_cut_off() {
    let cluster = Cluster::new(4);
    let (hub, first, mut second) = star(&cluster).await;
    let provider = first.node;
    first.tell(|network| network.provide(vec![service(1), service(2)]));
    until_kept(&hub, provider, 2).await;
    assert_eq!(named(&mut second, service(1)).await, [provider]);
    until_over(&second).await;
    let cut_off = |at: &Node| {
        at.tell(move |network| {
            let mut view = (**network.view.borrow()).clone();
            view.quarantined = std::sync::Arc::new([provider].into());
            network.publish_view(std::sync::Arc::new(view));
        });
    };
    // The hub does not know yet, and names it.
    cut_off(&second);
    until_kept(&second, provider, 0).await;
    second.rest();
    second.tell(|network| network.seek_providers(service(2)));
    until_over(&second).await;
    assert_none(&second.rest(), |event| matches!(event, NetworkEvent::Peer(Input::ProvidersFound { .. })));
    assert_eq!(hub.read(move |network| network.providing.kept(&provider)).await, 2);
    cut_off(&hub);
    until_kept(&hub, provider, 0).await;
}

#[tokio::test]
async fn who_comes_later_is_told_as_well_and_what_is_served_no_more_is_not_said_again() {
    let cluster = Cluster::new(5);
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let start = |member: super::cluster::Member, other: super::cluster::Member| {
        let view = cluster.view(&member, &[&other]);
        async move { Node::start(&member, view, &[super::cluster::QUIC]).await }
    };
    let mut first = start(beta.clone(), alpha.clone()).await;
    // Nobody is there yet whom it could tell.
    first.tell(|network| network.provide(vec![service(1), service(2)]));
    first.tell(|network| network.provide(vec![service(2)]));
    let mut hub = start(alpha, beta).await;
    first.connect(&mut hub).await;
    until_kept(&hub, first.node, 1).await;
    assert_eq!(named(&mut hub, service(2)).await, [first.node]);
}

#[tokio::test]
async fn a_member_that_says_too_much_is_kept_within_what_a_node_may_say() {
    let cluster = Cluster::new(6);
    let (hub, first, second) = star(&cluster).await;
    let (greedy, other) = (first.node, second.node);
    first.tell(|network| {
        let table = &mut network.swarm.behaviour_mut().table;
        for number in 0..100_u8 {
            let _query = table.start_providing(RecordKey::new(&[number; 32])).unwrap();
        }
    });
    until_kept(&hub, greedy, 64).await;
    // Another member still finds room.
    second.tell(|network| network.provide((0..3).map(service).collect()));
    until_kept(&hub, other, 3).await;
    assert_eq!(hub.read(move |network| network.providing.kept(&greedy)).await, 64);
    let stored = hub.read(|network| {
        let table = &mut network.swarm.behaviour_mut().table;
        (0..100_u8).map(|number| table.store_mut().providers(&RecordKey::new(&[number; 32])).len()).sum::<usize>()
    });
    assert_eq!(stored.await, 64);
}
