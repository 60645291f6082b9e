//! A node behind a port forward tells others where that begins, and nothing of where it listens.

use tokio::time::timeout;

use super::cluster::{Cluster, Node, PATIENCE, QUIC, TCP};

/// Where nobody needs to listen: what is told is looked at, not dialled.
const TOLD: [&str; 2] = ["/ip4/127.9.9.9/udp/4001/quic-v1", "/ip4/127.9.9.9/tcp/4001"];

#[tokio::test]
async fn what_is_announced_is_told_instead_of_where_a_node_listens() {
    let cluster = Cluster::new(5);
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let first = Node::start_announcing(&alpha, cluster.view(&alpha, &[&beta]), &[QUIC, TCP], &TOLD).await;
    let mut second = Node::start(&beta, cluster.view(&beta, &[&alpha]), &[QUIC, TCP]).await;
    assert_eq!(first.addresses().await, TOLD);

    let (node, listens) = (
        first.node,
        first.read(|network| network.listeners.iter().filter_map(|one| one.bound.clone()).collect::<Vec<_>>()).await,
    );
    let listens: Vec<String> = listens.iter().map(ToString::to_string).collect();
    assert!(listens.iter().all(|address| !TOLD.contains(&address.as_str())), "{listens:?}");
    second.tell(move |network| network.dial(node, listens));
    second.until_connected(node).await;
    let told = async {
        loop {
            let told = second.read(move |network| network.watches.addresses_of(&node)).await;
            if !told.is_empty() {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = timeout(PATIENCE, told).await.unwrap();
    assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), TOLD[1..]);

    // One that is seen where it says that it is has nobody between it and others who changes addresses.
    let seen = TOLD[0].parse().unwrap();
    let translated = first.read(move |network| {
        network.seen_at(&seen);
        network.translated
    });
    assert_eq!(translated.await, Some(false), "it is where it says");
}
