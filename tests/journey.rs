//! Two nodes by hand: up, invite, join, members, call, trace, verify; on one machine and across two network namespaces.

use std::process::Command;
use std::time::Duration;

use crate::cluster::{BOUND, Node, run, run_command};

#[test]
fn two_homes_on_one_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let token = alpha.invite(&[]);
    let mut beta = Node::join(folder.path(), "beta", &token);
    journey(&alpha, &beta);
    assert!(beta.down().success());
    assert!(alpha.down().success());
    for node in [&alpha, &beta] {
        let home = node.home.to_str().expect("text");
        let said = run(&["chain", "verify", "--offline", home, "--json"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(said.json()["ok"], true);
        assert_eq!(said.json()["chains"].as_array().expect("chains").len(), 2);
    }
}

#[test]
fn two_network_namespaces_joined_by_a_veth_pair() {
    let _link = Link::new();
    let folder = tempfile::tempdir().expect("a folder");
    let (left, right) = (["ip", "netns", "exec", "weft-left"], ["ip", "netns", "exec", "weft-right"]);
    let alpha = Node::start(folder.path().join("alpha"), "alpha", &[], &left);
    let token = alpha.invite(&[]);
    let beta = Node::start(folder.path().join("beta"), "beta", &["join", &token], &right);
    journey(&alpha, &beta);
    let members = beta.json(&["members"]);
    let row = members["members"].as_array().expect("rows").iter().find(|row| row["name"] == "alpha").expect("alpha");
    assert!(row["address"].as_str().expect("an address").contains("10.77.0.1"), "{row}");
}

fn journey(alpha: &Node, beta: &Node) {
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    let members = beta.json(&["members"]);
    assert_eq!(members["members"].as_array().expect("rows").len(), 2);
    let called = beta.json(&["call", "echo@alpha", "hi", "--receipt", "executed+durable"]);
    assert_eq!(called["reply"], "hi");
    assert_eq!(called["node"], alpha.up["node"]);
    let trace = called["trace"].as_str().expect("a trace");
    let agreed =
        crate::cluster::wait_for("both chains agree on the call and are sealed", Duration::from_secs(10), || {
            let traced = beta.json(&["trace", trace]);
            (traced["agree"] == true && traced["sealed"] == true).then_some(traced)
        });
    let kinds = |name: &str| -> Vec<String> {
        let hops = agreed["hops"].as_array().expect("hops").iter();
        hops.filter(|hop| hop["name"] == name).map(|hop| hop["kind"].as_str().expect("kind").to_owned()).collect()
    };
    assert_eq!(kinds("beta"), ["sent", "acknowledged"]);
    assert_eq!(kinds("alpha"), ["received", "answered"]);
    for node in [alpha, beta] {
        let verified = node.json(&["chain", "verify"]);
        assert_eq!(verified["ok"], true, "{verified}");
    }
}

/// Two namespaces with one cable between them, removed when dropped.
struct Link;

impl Link {
    fn new() -> Self {
        Self::remove();
        let commands = [
            "netns add weft-left",
            "netns add weft-right",
            "link add weft-l type veth peer name weft-r",
            "link set weft-l netns weft-left",
            "link set weft-r netns weft-right",
            "-n weft-left addr add 10.77.0.1/24 dev weft-l",
            "-n weft-right addr add 10.77.0.2/24 dev weft-r",
            "-n weft-left link set weft-l up",
            "-n weft-right link set weft-r up",
            "-n weft-left link set lo up",
            "-n weft-right link set lo up",
        ];
        let link = Self;
        for command in commands {
            let said = run_command(Command::new("ip").args(command.split(' ')));
            assert_eq!(said.code, 0, "network namespaces need root and iproute2: ip {command}: {}", said.stderr);
        }
        link
    }

    fn remove() {
        for namespace in ["weft-left", "weft-right"] {
            let _absent = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        Self::remove();
    }
}
