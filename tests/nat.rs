//! Two nodes behind translators of addresses, and one member in between: they reach each other through it, and directly where
//! the translators allow that.

use std::process::Command;
use std::time::Instant;

use crate::cluster::{BOUND, Node, run_command, wait_for};

/// How the two translators choose ports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ports {
    /// Each inner port is one outer port, whoever is spoken to: two sides can open a way to each other.
    Kept,
    /// Another outer port for each conversation: nobody knows the one to dial.
    Scrambled,
}

#[test]
fn nodes_behind_translators_reach_each_other_and_directly_where_that_is_possible() {
    let nodes = Between::new(Ports::Kept).join("kept");
    let way = wait_for("a direct way", BOUND, || way(&nodes.alpha, "beta").filter(|way| way == "direct"));
    assert_eq!(way, "direct");
    assert!(nodes.alpha.call_durable("echo@beta", "over the direct way"));
    assert!(nodes.beta.call_durable("echo@alpha", "and back"));
}

#[test]
fn where_translators_scramble_ports_the_member_in_between_goes_on_passing_on() {
    let nodes = Between::new(Ports::Scrambled).join("scrambled");
    for call in 0..20 {
        assert!(nodes.alpha.call_durable("echo@beta", &format!("call {call}")));
        assert_eq!(way(&nodes.alpha, "beta").as_deref(), Some("relayed"), "{}", nodes.alpha.json(&["path", "beta"]));
    }
    let said = nodes.alpha.weft(&["path", "beta"]);
    assert!(said.stdout.contains("relayed") && said.stdout.contains("over relay"), "{said:?}");
    let verified = nodes.beta.json(&["chain", "verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
}

/// How one node reaches another.
fn way(node: &Node, other: &str) -> Option<String> {
    let path = node.json(&["path", other]);
    path["path"].as_str().map(str::to_owned)
}

/// Three nodes and what is between them; the nodes end first.
struct Nodes {
    alpha: Node,
    beta: Node,
    _public: Node,
    _between: Between,
    _folder: tempfile::TempDir,
}

/// Five namespaces: a public one, two translators, and one behind each. Removed when dropped.
struct Between {
    mark: &'static str,
}

impl Between {
    fn new(ports: Ports) -> Self {
        let mark = match ports {
            Ports::Kept => "k",
            Ports::Scrambled => "s",
        };
        let between = Self { mark };
        between.remove();
        let public = between.name("pub");
        for name in between.names() {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        ip(&format!("-n {public} link add bridge0 type bridge"));
        ip(&format!("-n {public} link set bridge0 up"));
        ip(&format!("-n {public} addr add 10.77.0.1/24 dev bridge0"));
        for (number, inner) in [(1, "a"), (2, "b")] {
            let (translator, inner) = (between.name(&format!("t{number}")), between.name(inner));
            ip(&format!("link add wan netns {translator} type veth peer name port{number} netns {public}"));
            ip(&format!("-n {public} link set port{number} master bridge0 up"));
            ip(&format!("-n {translator} link set wan up"));
            ip(&format!("-n {translator} addr add 10.77.0.1{number}/24 dev wan"));
            ip(&format!("link add lan netns {translator} type veth peer name eth0 netns {inner}"));
            ip(&format!("-n {translator} link set lan up"));
            ip(&format!("-n {translator} addr add 10.77.{number}.1/24 dev lan"));
            ip(&format!("-n {inner} link set eth0 up"));
            ip(&format!("-n {inner} addr add 10.77.{number}.2/24 dev eth0"));
            ip(&format!("-n {inner} route add default via 10.77.{number}.1"));
            ip(&format!("netns exec {translator} sysctl -q -w net.ipv4.ip_forward=1"));
            let random = if ports == Ports::Scrambled { " --random-fully" } else { "" };
            let iptables = format!("netns exec {translator} iptables");
            ip(&format!("{iptables} -t nat -A POSTROUTING -o wan -j MASQUERADE{random}"));
            // What nobody inside asked for is dropped without a word, as translators at home do.
            ip(&format!("{iptables} -A INPUT -i wan -j DROP"));
            ip(&format!("{iptables} -A FORWARD -i wan -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"));
            ip(&format!("{iptables} -A FORWARD -i wan -j DROP"));
        }
        between
    }

    /// A public member and two behind translators, who see each other as soon as the later one has joined.
    fn join(self, name: &str) -> Nodes {
        let folder = tempfile::tempdir().expect("a folder");
        let [public, inner, other] = ["pub", "a", "b"].map(|place| self.name(place));
        let start = |name: &str, words: &[&str], place: &str| {
            Node::start(folder.path().join(name), name, words, &["ip", "netns", "exec", place])
        };
        let founder = start("public", &["up"], &public);
        let token = founder.invite(&["--uses", "2"]);
        let alpha = start("alpha", &["join", &token], &inner);
        alpha.wait_alive("public", BOUND);
        let beta = start("beta", &["join", &token], &other);
        let joined = Instant::now();
        wait_for("a way from alpha to beta", BOUND, || way(&alpha, "beta").filter(|way| way != "none"));
        let reached = joined.elapsed();
        assert!(alpha.call_durable("echo@beta", "hello"));
        println!("{name}: reached {reached:?} after beta served, {:?} with a durable call", joined.elapsed());
        Nodes { alpha, beta, _public: founder, _between: self, _folder: folder }
    }

    fn name(&self, place: &str) -> String {
        format!("weft-{}-{place}", self.mark)
    }

    fn names(&self) -> [String; 5] {
        ["pub", "t1", "t2", "a", "b"].map(|place| self.name(place))
    }

    fn remove(&self) {
        for name in self.names() {
            let _absent = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.remove();
    }
}

fn ip(words: &str) {
    let said = run_command(Command::new("ip").args(words.split_ascii_whitespace()));
    assert_eq!(said.code, 0, "network namespaces need root, iproute2 and iptables: ip {words}: {}", said.stderr);
}
