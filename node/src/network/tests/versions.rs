//! A member that speaks an older version of the wire is dialled again in that one, and its next run is asked for the newest.

use weft_discovery::AdmissionView;
use weft_protocol::{NodeId, WireVersions};

use super::cluster::{Cluster, Node, TCP};

impl Node {
    /// Dials that member, and waits for the version of the wire that both are told of.
    async fn agree(&mut self, other: &mut Self) -> u16 {
        let (node, addresses) = (other.node, other.addresses().await);
        self.tell(move |network| network.dial(node, addresses));
        let agreed = self.until_wire(other.node).await;
        assert_eq!(other.until_wire(self.node).await, agreed, "both are told the same");
        agreed
    }

    async fn until_wire(&mut self, node: NodeId) -> u16 {
        self.until_input("Connected", |input| match input {
            weft_peer::Input::Connected { node: connected, path } if connected == node => Some(path.wire),
            _ => None,
        })
        .await
    }
}

#[tokio::test]
async fn an_older_member_is_dialled_again_at_once_and_its_next_run_is_asked_for_the_newest() {
    let cluster = Cluster::new(90);
    let member = cluster.admit("beta");
    let view = |wire| AdmissionView { wire, ..cluster.view(&member, &[]) };
    let older = WireVersions::between(1, 1).unwrap();
    let mut alpha = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[&member]), &[TCP]).await;

    let mut beta = Node::start(&member, view(older), &[TCP]).await;
    assert_eq!(alpha.agree(&mut beta).await, 1);
    assert_eq!(alpha.count_seen("DialFailed"), 0, "whoever asked for the dial hears of no failure");
    let refusals = alpha.read(|network| network.refusals().list()).await;
    assert!(refusals.is_empty(), "a version is no fault: {refusals:?}");
    beta.end().await;
    alpha.until_disconnected(member.node()).await;

    // The next run of it is not offered what the last one asked for.
    let mut beta = Node::start(&member, view(WireVersions::default()), &[TCP]).await;
    let (node, addresses) = (beta.node, beta.addresses().await);
    alpha.tell(move |network| network.dial(node, addresses));
    assert!(alpha.until_dial_failed(node).await.contains("started again"));
    assert_eq!(alpha.agree(&mut beta).await, 2);
}

#[tokio::test]
async fn an_older_member_that_dials_is_answered_in_its_version() {
    let cluster = Cluster::new(90);
    let member = cluster.admit("beta");
    let older = WireVersions::between(1, 1).unwrap();
    let view = AdmissionView { wire: older, ..cluster.view(&member, &[]) };
    let mut alpha = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[&member]), &[TCP]).await;
    let mut beta = Node::start(&member, view, &[TCP]).await;
    assert_eq!(beta.agree(&mut alpha).await, 1);
    assert_eq!(beta.count_seen("DialFailed"), 0);
}

#[tokio::test]
async fn a_member_without_a_common_version_is_told_so() {
    let cluster = Cluster::new(90);
    let member = cluster.admit("beta");
    let newer = WireVersions::between(3, 4).unwrap();
    let view = AdmissionView { wire: newer, ..cluster.view(&member, &[]) };
    let mut alpha = Node::start(&cluster.founder, cluster.view(&cluster.founder, &[&member]), &[TCP]).await;
    let beta = Node::start(&member, view, &[TCP]).await;
    let (node, addresses) = (beta.node, beta.addresses().await);
    alpha.tell(move |network| network.dial(node, addresses));
    let reason = alpha.until_dial_failed(node).await;
    assert!(reason.contains("wire version 2 is not 4") && reason.contains("network.wire_version_max"), "{reason}");
}
