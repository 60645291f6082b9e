//! Where a member is, by what others know; and who is not dialled whatever others say.

use tokio::time::timeout;
use weft_peer::Input;

use super::cluster::{Cluster, Member, Node, PATIENCE, QUIC, TCP};
use crate::identity::peer_id;
use crate::network::Network;

/// A founder and two members that are connected to it alone.
pub(super) async fn star(cluster: &Cluster) -> (Node, Node, Node) {
    let (alpha, beta, gamma) = (cluster.founder.clone(), cluster.admit("beta"), cluster.admit("gamma"));
    let start = |member: Member, others: [Member; 2]| async move {
        let view = cluster.view(&member, &[&others[0], &others[1]]);
        Node::start(&member, view, &[QUIC, TCP]).await
    };
    let mut hub = start(alpha.clone(), [beta.clone(), gamma.clone()]).await;
    let mut first = start(beta.clone(), [alpha.clone(), gamma.clone()]).await;
    let mut second = start(gamma, [alpha, beta]).await;
    first.connect(&mut hub).await;
    second.connect(&mut hub).await;
    (hub, first, second)
}

/// Waits until the table of a node holds so many addresses of another.
async fn until_in_table(of: &Node, sought: &Node, count: usize) {
    let peer = peer_id(sought.node);
    let addresses = move |network: &mut Network| {
        let table = &mut network.swarm.behaviour_mut().table;
        let bucket = table.kbucket(peer);
        bucket.map_or(0, |bucket| {
            bucket.iter().filter(|entry| *entry.node.key.preimage() == peer).map(|entry| entry.node.value.len()).sum()
        })
    };
    let waiting = async { while of.read(addresses).await != count {} };
    timeout(PATIENCE, waiting).await.expect("the addresses that it listens at");
}

#[tokio::test]
async fn a_member_is_found_by_whom_it_is_connected_to() {
    let cluster = Cluster::new(1);
    let (hub, first, mut second) = star(&cluster).await;
    until_in_table(&hub, &first, 2).await;
    let (sought, mut expected) = (first.node, first.addresses().await);
    second.tell(move |network| network.look_up(sought));
    let mut found = second
        .until_input("AddressesFound", |input| match input {
            Input::AddressesFound { node, addresses } if node == sought => Some(addresses),
            _ => None,
        })
        .await;
    let bare = |address: &String| address.split("/p2p/").next().unwrap().to_owned();
    found = found.iter().map(bare).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(second.read(|network| network.lookups.count()).await, 0, "it is over");
}

#[tokio::test]
async fn whom_no_certificate_makes_a_member_is_not_dialled_whatever_members_say() {
    let cluster = Cluster::new(2);
    let (hub, _first, second) = star(&cluster).await;
    // Fifty strangers at one address, where somebody counts who comes.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: libp2p::Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let strangers: Vec<_> =
        (0..50).map(|_| peer_id(weft_protocol::Signer::public_keys(&super::cluster::new_keys()).node())).collect();
    let named = strangers.clone();
    hub.tell(move |network| {
        for stranger in named {
            network.swarm.behaviour_mut().table.add_address(&stranger, address.clone());
        }
    });
    let sought = crate::identity::node_id(&strangers[0]).unwrap();
    second.tell(move |network| network.look_up(sought));
    let over = async { while second.read(|network| network.lookups.count()).await != 0 {} };
    timeout(PATIENCE, over).await.expect("a lookup ends");
    let came = timeout(std::time::Duration::from_millis(1), listener.accept()).await;
    assert!(came.is_err(), "somebody was dialled");
}

#[tokio::test]
async fn whoever_is_cut_off_leaves_the_table() {
    let cluster = Cluster::new(3);
    let (hub, first, second) = star(&cluster).await;
    until_in_table(&hub, &first, 2).await;
    until_in_table(&hub, &second, 2).await;
    let gone = first.node;
    hub.tell(move |network| {
        let mut view = (**network.view.borrow()).clone();
        view.quarantined = std::sync::Arc::new([gone].into());
        network.publish_view(std::sync::Arc::new(view));
    });
    until_in_table(&hub, &first, 0).await;
    until_in_table(&hub, &second, 2).await;
}
