//! Members that pass connections on: asked, and not wanted any more before they have answered.

use weft_peer::Input;

use super::cluster::{Cluster, Node, QUIC};

/// Each round is another moment between the question and its answer.
const ROUNDS: u64 = 300;

#[tokio::test]
async fn a_relay_that_is_not_wanted_any_more_may_still_answer() {
    let cluster = Cluster::new(9);
    let (alpha, beta) = (cluster.founder.clone(), cluster.admit("beta"));
    let mut relay = Node::start(&alpha, cluster.view(&alpha, &[&beta]), &[QUIC]).await;
    let mut node = Node::start(&beta, cluster.view(&beta, &[&alpha]), &[QUIC]).await;
    let (from, addresses) = (relay.node, relay.addresses().await);
    node.tell(move |network| network.dial(from, addresses));
    node.until_connected(from).await;
    relay.until_connected(node.node).await;
    for round in 0..ROUNDS {
        node.tell(move |network| network.use_relays(vec![from]));
        for _ in 0..round % 60 {
            node.read(|_| ()).await;
        }
        node.tell(|network| network.use_relays(Vec::new()));
        node.read(|_| ()).await;
    }
    // It still runs, and hears what comes back.
    node.until_input("Pinged", |input| matches!(input, Input::Pinged { .. }).then_some(())).await;
}
