//! Machines on one LAN that moved while apart: members find each other by multicast DNS, and nobody else is found.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::cluster::{BOUND, MDNS, Node, run_command, wait_for};

#[test]
fn members_that_both_moved_find_each_other_on_the_lan_when_both_want_to_be_found() {
    let lan = Lan::new("m", &["a", "b", "c"]);
    // A tunnel that is down: nothing can be said there, and all the rest goes on.
    ip(&format!("-n {} link add tunnel0 type veth peer name tunnel1", lan.place("b")));
    ip(&format!("-n {} addr add 10.1.0.2/24 dev tunnel0", lan.place("b")));
    let folder = tempfile::tempdir().expect("a folder");
    let start = |name: &str, words: &[&str], place: &str| lan.start(folder.path(), name, words, place);
    let mut alpha = start("alpha", &["up"], "a");
    let mut beta = start("beta", &["join", &alpha.invite(&[])], "b");
    // Somebody else's cluster, on the same LAN, that hears all of it.
    let gamma = start("gamma", &["up"], "c");
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    assert_eq!(mdns(&beta)["asked"], 0, "nobody is missed, so nothing is asked");
    alpha.down();
    beta.down();
    lan.number(79);
    wait_for("gamma at its new address", BOUND, || {
        (mdns(&gamma)["places"] == serde_json::json!(["10.79.0.3"])).then_some(())
    });

    set_mdns(&beta, false);
    alpha.restart();
    beta.restart();
    // It asked as often as it asks for one that is missed; the last question is out for longer than an answer takes.
    wait_for("alpha to ask", BOUND, || (mdns(&alpha)["asked"].as_u64() >= Some(3)).then_some(()));
    assert_eq!((&mdns(&alpha)["found"], &mdns(&beta)["state"]), (&Value::from(0), &Value::from("off")));
    assert_ne!(alpha.state_of("beta").as_deref(), Some("alive"), "beta does not want to be found");
    wait_for("gamma to hear it", BOUND, || (mdns(&gamma)["heard"].as_u64() >= Some(3)).then_some(()));

    beta.down();
    set_mdns(&beta, true);
    beta.restart();
    let took = beta.wait_alive("alpha", BOUND);
    alpha.wait_alive("beta", BOUND);
    println!("found {took:?} after the start");
    let (near, far) = (mdns(&beta), mdns(&alpha));
    assert!(near["reason"].as_str().is_some_and(|reason| reason.contains("10.1.0.2")), "{near}");
    let found = near["found"].as_u64().max(far["found"].as_u64());
    let answered = near["answered"].as_u64().max(far["answered"].as_u64());
    assert!(found >= Some(1) && answered >= Some(1), "{near} {far}");
    assert!(alpha.call_durable("echo@beta", "at the new address"));
    let doctor = alpha.json(&["doctor"]);
    let line = doctor["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["name"] == "mdns"));
    assert_eq!(line.map(|line| &line["verdict"]), Some(&Value::from("ok")), "{doctor}");

    let heard = mdns(&gamma);
    assert_eq!((&heard["answered"], &heard["asked"]), (&Value::from(0), &Value::from(0)), "{heard}");
    for node in [&alpha, &beta, &gamma] {
        assert_eq!(node.json(&["status"])["refusals"], serde_json::json!([]), "{} met a stranger", node.name);
    }
}

#[test]
fn a_node_serves_where_another_program_holds_the_port_of_multicast_dns() {
    let lan = Lan::new("h", &["a"]);
    let folder = tempfile::tempdir().expect("a folder");
    let holder = Holder::start(&lan.place("a"));
    let alpha = lan.start(folder.path(), "alpha", &["up"], "a");
    wait_for("the failure", BOUND, || (mdns(&alpha)["state"] == "failed").then_some(()));
    assert!(alpha.call_durable("echo", "all the same"));
    let doctor = alpha.weft(&["doctor", "--json"]).json();
    let checks = doctor["checks"].as_array().expect("checks");
    let line = checks.iter().find(|check| check["name"] == "mdns").expect("a line of multicast DNS");
    assert_eq!(line["verdict"], "warn", "{line}");
    assert!(line["message"].as_str().is_some_and(|message| message.contains("UDP port 5353")), "{line}");
    drop(holder);
}

/// What a node says of multicast DNS.
fn mdns(node: &Node) -> Value {
    node.json(&["status"])["mdns"].clone()
}

fn set_mdns(node: &Node, on: bool) {
    let written = std::fs::write(node.home.join("config.toml"), format!("[network]\nmdns = {on}\n"));
    written.expect("the settings of the node");
}

/// A program that shares the port with nobody.
struct Holder(Child);

impl Holder {
    fn start(place: &str) -> Self {
        let program = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('', 5353))\n\
                       print('bound', flush=True)\nimport sys\nsys.stdin.read()";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", place, "python3", "-c", program]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ip and python3");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
        assert_eq!(line, "bound\n");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// A switch and machines at it, each in a namespace of its own. Removed when dropped.
struct Lan {
    mark: &'static str,
    places: &'static [&'static str],
}

impl Lan {
    fn new(mark: &'static str, places: &'static [&'static str]) -> Self {
        let lan = Self { mark, places };
        lan.remove();
        let hub = lan.place("hub");
        ip(&format!("netns add {hub}"));
        ip(&format!("-n {hub} link add bridge0 type bridge"));
        ip(&format!("-n {hub} link set bridge0 up"));
        for (number, place) in places.iter().enumerate() {
            let inside = lan.place(place);
            ip(&format!("netns add {inside}"));
            ip(&format!("-n {inside} link set lo up"));
            ip(&format!("link add eth0 netns {inside} type veth peer name port{number} netns {hub}"));
            ip(&format!("-n {hub} link set port{number} master bridge0 up"));
            ip(&format!("-n {inside} link set eth0 up"));
        }
        lan.number(78);
        lan
    }

    /// Gives each machine its address in another network; the old one leads nowhere.
    fn number(&self, network: u8) {
        for (number, place) in self.places.iter().enumerate() {
            let inside = self.place(place);
            ip(&format!("-n {inside} -4 addr flush dev eth0"));
            ip(&format!("-n {inside} addr add 10.{network}.0.{}/24 dev eth0", number + 1));
        }
    }

    /// Starts a node on that machine, with its own settings for the LAN.
    fn start(&self, folder: &Path, name: &str, words: &[&str], place: &str) -> Node {
        let inside = ["ip", "netns", "exec", &self.place(place), "env", "-u", MDNS.0];
        Node::start(folder.join(name), name, words, &inside)
    }

    fn place(&self, name: &str) -> String {
        format!("weft-{}-{name}", self.mark)
    }

    fn remove(&self) {
        for name in self.places.iter().chain(&["hub"]) {
            let _absent = Command::new("ip").args(["netns", "del", &self.place(name)]).output();
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.remove();
    }
}

fn ip(words: &str) {
    let said = run_command(Command::new("ip").args(words.split_ascii_whitespace()));
    assert_eq!(said.code, 0, "network namespaces need root and iproute2: ip {words}: {}", said.stderr);
}
