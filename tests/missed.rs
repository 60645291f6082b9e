//! Four nodes of whom one is killed or stopped: all others miss it, one that only slept comes back, and nobody else is missed.

use crate::cluster::{BOUND, Node, signal, wait_for};

/// What everybody but `of` says of it.
fn said(nodes: &[Node], of: &str) -> Vec<String> {
    let others = nodes.iter().filter(|node| node.name != of);
    others.map(|node| node.state_of(of).unwrap_or_default()).collect()
}

fn wait_said(nodes: &[Node], of: &str, state: &str) {
    wait_for(&format!("all say that {of} is {state}"), BOUND, || {
        said(nodes, of).iter().all(|said| said == state).then_some(())
    });
}

#[test]
fn all_miss_who_is_killed_or_stopped_and_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let listen = ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let names = ["alpha", "beta", "gamma", "delta"];
    let mut nodes: Vec<Node> = Vec::new();
    for name in names {
        let token = nodes.first().map(|founder| founder.invite(&[]));
        let words: Vec<&str> = token.iter().flat_map(|token| ["join", token.as_str()]).chain(listen).collect();
        let words = if token.is_some() { words } else { [&["up"][..], &listen].concat() };
        nodes.push(Node::start(folder.path().join(name), name, &words, &[]));
    }
    names.into_iter().for_each(|name| wait_said(&nodes, name, "alive"));

    signal(nodes[2].pid(), "STOP");
    let dead = |nodes: &[Node]| said(nodes, "gamma").iter().all(|state| state == "dead");
    wait_for("a stopped node is dead for all", BOUND, || dead(&nodes).then_some(()));
    let others_alive = |nodes: &[Node]| {
        let (alpha, beta, delta) = (&nodes[0], &nodes[1], &nodes[3]);
        let pairs =
            [(alpha, "beta"), (alpha, "delta"), (beta, "alpha"), (beta, "delta"), (delta, "alpha"), (delta, "beta")];
        pairs.iter().all(|(node, other)| node.state_of(other).as_deref() == Some("alive"))
    };
    assert!(others_alive(&nodes), "nobody else was missed");
    signal(nodes[2].pid(), "CONT");
    names.into_iter().for_each(|name| wait_said(&nodes, name, "alive"));

    nodes[1].kill();
    let missed = |state: &String| state != "alive";
    let killed = nodes.remove(1);
    wait_for("a killed node is missed by all", BOUND, || said(&nodes, "beta").iter().all(missed).then_some(()));
    // The idle connection ended and nobody listens there: the one over QUIC, which says nothing, is closed as well.
    wait_for("no way to it is left", BOUND, || {
        let ways = nodes.iter().map(|node| path_of(node, "beta"));
        ways.into_iter().all(|path| path == "none").then_some(())
    });
    nodes.insert(1, killed);
    nodes[1].restart();
    names.into_iter().for_each(|name| wait_said(&nodes, name, "alive"));
}

fn path_of(node: &Node, name: &str) -> String {
    let report = node.json(&["members"]);
    let members = report["members"].as_array().expect("members");
    let member = members.iter().find(|member| member["name"] == name).expect("a member");
    member["path"].as_str().unwrap_or_default().to_owned()
}
