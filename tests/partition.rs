//! Five nodes are two and three for a minute, with traffic on both sides and across, and one cluster again afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::agents::script;
use crate::cluster::{BOUND, Node, run_command, wait_for, within};
use crate::failover::holder;
use crate::stable::{stable, state};

/// How long the two sides do not hear each other.
const APART: Duration = Duration::from_secs(60);
/// What each sender leaves between two messages meanwhile: some hundred of each kind then wait for the other side (guess).
const PACE: Duration = Duration::from_millis(500);
/// How many messages are on record before the cut, which falls wherever the load then is.
const SENT_MIN: usize = 200;
/// How long a message may wait for the other side, in milliseconds: for longer than the test runs.
const QUEUED_MS: u64 = 600_000;
/// How often a life of the agent says that it runs, in microseconds: for so long it may have run after its last word.
const MARK_US: u64 = 50_000;

/// Who is on the side of the fewer.
const FEWER: [&str; 2] = ["alpha", "beta"];
/// Who is on the side of the more.
const MORE: [&str; 3] = ["gamma", "delta", "epsilon"];

/// Appends each message that it executes to the file of its node.
const LEDGER: &str = r#"
import os
from weft_agent import Agent

ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def execute(agent, message):
    os.write(ledger, (message["payload"]["text"] + "\n").encode())
    return {"text": "written"}

Agent(execute).run()
"#;

/// Says on which node it runs, and when by the clock that all processes of the machine share, for as long as it runs.
const MARKER: &str = r#"
import os, threading, time
from weft_agent import Agent

marks = os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
life = f"{os.environ['WEFT_NODE']} {os.getpid()}"
ended = threading.Event()

def mark():
    while True:
        os.write(marks, f"{life} {time.monotonic_ns() // 1000}\n".encode())
        if ended.wait(int(os.environ["MARK_US"]) / 1e6):
            return

threading.Thread(target=mark, daemon=True).start()
Agent(lambda agent, message: {"text": "here"}).run()
"#;

#[test]
fn two_and_three_nodes_apart_for_a_minute_lose_and_double_nothing() {
    let world = World::new();
    let nodes = world.nodes.iter().collect::<Vec<_>>();
    let (fewer, more) = nodes.split_at(FEWER.len());
    let traffic = Traffic::default();
    let (healed, equal, before) = std::thread::scope(|scope| {
        let _over = Over(&traffic);
        for (side, others) in [(fewer, more), (more, fewer)] {
            for (place, &node) in side.iter().enumerate() {
                let (near, far) = (&side[(place + 1) % side.len()].name, &others[place % others.len()].name);
                let traffic = &traffic;
                scope.spawn(move || traffic.repeat(node, near, "calls", Traffic::call));
                scope.spawn(move || traffic.repeat(node, far, "queues", Traffic::queue));
                if place == 0 {
                    scope.spawn(move || traffic.repeat(node, far, "asks", Traffic::call));
                }
            }
        }
        wait_for("enough messages", BOUND, || (traffic.len() >= SENT_MIN).then_some(()));
        world.network.cut();
        let (cut, cut_at) = (Instant::now(), stamp());
        traffic.apart.store(true, Ordering::Relaxed);

        let among = |node: &Node| holder(node, "marker").filter(|(name, _)| MORE.contains(&name.as_str()));
        let (next, fence) = wait_for("the agent runs among the three", APART, || among(more[0]));
        println!("{next} holds fence {fence} {:.1} s after the cut", cut.elapsed().as_secs_f64());
        for node in &nodes {
            waits_for_the_other_side(node);
        }
        // Reading all orders takes a part of the minute.
        let before = assert_agreed(&nodes);
        wait_for("the minute is over", APART + BOUND, || (cut.elapsed() >= APART).then_some(()));
        for node in &nodes {
            let reached = waits_for_the_other_side(node);
            assert!(reached <= cut_at, "{}: {reached:x} is stable, the cut was at {cut_at:x}", node.name);
        }
        let marks = lives(&world.marks()).last().expect("it runs").marks;
        wait_for("it still runs there", BOUND, || {
            let last = lives(&world.marks()).pop()?;
            (last.node == next && last.marks > marks).then_some(())
        });
        assert_ne!(root(fewer[0]), root(more[0]), "both sides have written what the other has not");

        world.network.heal();
        let healed = Instant::now();
        println!("apart for {:.1} s", cut.elapsed().as_secs_f64());
        traffic.over.store(true, Ordering::Relaxed);
        (healed, equal_roots(&nodes, healed), before)
    });
    println!("vector roots equal {equal:.2} s after the heal");

    let sent = traffic.sent.into_inner().expect("not poisoned");
    for &node in &nodes {
        let mut waits = BTreeSet::new();
        let settled = within(BOUND, || {
            waits = open(node);
            waits.is_empty().then_some(())
        });
        if settled.is_none() {
            let other = |id: &str| node.weft(&["call", &format!("echo@{id}"), "there?", "--deadline", "3s"]);
            nodes.iter().for_each(|to| println!("{} calls {}: {:?}", node.name, to.name, other(&to.name)));
            nodes.iter().for_each(|of| println!("{} has open: {:?}", of.name, open(of)));
        }
        let rows = || messages(node, node).into_iter().filter(|row| waits.iter().any(|(_, id)| row["message"] == **id));
        assert!(settled.is_some(), "{} waits for {}: {:?}", node.name, waits.len(), rows().collect::<Vec<_>>());
    }
    let settled = equal_roots(&nodes, healed);
    println!("every message was answered for, and roots equal, {settled:.2} s after the heal");
    assert_accounted(&world, &sent);
    for &node in &nodes {
        wait_for("everything is stable", BOUND, || (state(node)["order"] == "stable").then_some(()));
        assert_eq!(stable(node)[..before.len()], before, "what was stable stays");
        let verified = node.json(&["chain", "verify"]);
        assert_eq!(verified["ok"], true, "{}: {verified}", node.name);
    }
    assert_agreed(&nodes);
    assert_never_two(&lives(&world.marks()));
}

/// Each message was executed at most once, each that was promised exactly once; and the chains that another node holds say so too.
fn assert_accounted(world: &World, sent: &[Sent]) {
    for node in &world.nodes {
        let executed = std::fs::read_to_string(world.ledger(&node.name)).expect("a ledger");
        let executed = counted(executed.lines().map(str::to_owned));
        let own = sent.iter().filter(|sent| sent.to == node.name).collect::<Vec<_>>();
        for sent in &own {
            let count = executed.get(&sent.text).copied().unwrap_or_default();
            assert!(count <= 1, "`{}` was executed {count} times", sent.text);
            assert!(count == 1 || !sent.promised, "`{}` was promised and is lost", sent.text);
        }
        let texts = own.iter().map(|sent| &sent.text).collect::<BTreeSet<_>>();
        assert!(executed.keys().all(|text| texts.contains(text)), "nobody else sends");
        for witness in &world.nodes {
            let rows = messages(witness, node).into_iter().filter(|row| row["stage"] == "received");
            let received = counted(rows.map(|row| row["body"].as_str().expect("a text").to_owned()));
            for text in executed.keys() {
                assert_eq!(received.get(text), Some(&1), "`{text}` on {}'s chain, held by {}", node.name, witness.name);
            }
        }
    }
    let kind = |kind: &str| {
        let of = sent.iter().filter(|sent| sent.text.contains(kind)).collect::<Vec<_>>();
        (of.len(), of.iter().filter(|sent| sent.promised).count())
    };
    let (calls, queued, asked) = (kind("calls"), kind("queues"), kind("asks"));
    println!("messages and promises: within a side {calls:?}, queued across {queued:?}, asked across {asked:?}");
    assert!(asked.1 > 0 && asked.1 < asked.0, "some across were answered before the cut, and some were not");
}

/// No life of the agent begins before the one before it has ended.
fn assert_never_two(lives: &[Life]) {
    for pair in lives.windows(2) {
        let (last, next) = (pair[0].last_us + MARK_US, pair[1].first_us);
        assert!(last < next, "two ran: {pair:?}");
        println!("{} ended {} ms before {} began", pair[0].node, (next - last) / 1_000, pair[1].node);
    }
    assert!(lives.len() >= 2, "it moved: {lives:?}");
    assert!(
        FEWER.contains(&lives[0].node.as_str()) && MORE.contains(&lives[lives.len() - 1].node.as_str()),
        "{lives:?}"
    );
}

/// Whatever one of them calls stable the others do too, or will; returns what all do.
fn assert_agreed(nodes: &[&Node]) -> Vec<(String, u64, String)> {
    let mut all = nodes.iter().map(|node| stable(node)).collect::<Vec<_>>();
    let shared = all.iter().map(Vec::len).min().expect("five");
    assert!(shared > 0, "something is stable on all");
    all.iter_mut().for_each(|events| events.truncate(shared));
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "they disagree on what is stable");
    all.swap_remove(0)
}

/// The time now as stamps have it: whatever of the other side came before the cut is from before that.
fn stamp() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    (now.as_secs() << 32) + (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000
}

/// Waits until the node calls its order provisional and names everybody of the other side; up to which stamp it is stable then.
fn waits_for_the_other_side(node: &Node) -> u64 {
    let others: &[&str] = if FEWER.contains(&node.name.as_str()) { &MORE } else { &FEWER };
    wait_for(&format!("{} waits for the other side", node.name), BOUND, || {
        let state = state(node);
        let waits =
            state["waits_for"].as_array().expect("rows").iter().map(|row| row["name"].as_str().expect("a name"));
        let waits = waits.collect::<BTreeSet<_>>();
        let named = others.iter().all(|other| waits.contains(other));
        let watermark = || u64::from_str_radix(state["watermark"].as_str()?, 16).ok();
        if state["order"] == "provisional" && named { watermark() } else { None }
    })
}

/// When all hold the same, in seconds since then.
fn equal_roots(nodes: &[&Node], since: Instant) -> f64 {
    wait_for("equal vector roots", BOUND, || {
        let roots = nodes.iter().map(|node| root(node)).collect::<BTreeSet<_>>();
        (roots.len() == 1).then(|| since.elapsed().as_secs_f64())
    })
}

fn root(node: &Node) -> String {
    let (status, roots) = node.api("GET", "/v1/tree/root", None).expect("the door");
    assert_eq!(status, 200, "{roots}");
    roots["vector_root"].as_str().expect("a hash").to_owned()
}

/// What a node holds of the messages on another one's chain.
fn messages(node: &Node, of: &Node) -> Vec<Value> {
    let of = of.up["node"].as_str().expect("an id");
    let log = node.weft(&["chain", "log", "--kind", "ipc.message", "--node", of, "--json"]);
    assert_eq!(log.code, 0, "{log:?}");
    let rows = log.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a row"));
    rows.map(|row| row["detail"].clone()).collect()
}

/// Messages that a node has sent and that were not acknowledged, and those that it has received and not answered.
fn open(node: &Node) -> BTreeSet<(bool, String)> {
    let mut open = BTreeSet::new();
    for row in messages(node, node) {
        let message = row["message"].as_str().expect("an id");
        let (own, others) = ((true, message.to_owned()), (false, message.to_owned()));
        match row["stage"].as_str().expect("a stage") {
            "sent" => _ = open.insert(own),
            "received" => _ = open.insert(others),
            "acknowledged" => _ = open.remove(&own),
            "answered" => _ = open.remove(&others),
            "refused" => _ = (open.remove(&own), open.remove(&others)),
            stage => panic!("nobody publishes: {stage}"),
        }
    }
    open
}

fn counted(texts: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    texts.for_each(|text| *counted.entry(text).or_default() += 1);
    counted
}

/// From when to when one process of the agent said that it runs.
#[derive(Debug)]
struct Life {
    node: String,
    first_us: u64,
    last_us: u64,
    marks: usize,
}

/// All lives of the agent, in the order in which they began.
fn lives(marks: &Path) -> Vec<Life> {
    let mut lives = BTreeMap::<String, Life>::new();
    let text = std::fs::read_to_string(marks).expect("marks");
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (life, at) = line.rsplit_once(' ').expect("a mark");
        let at = at.parse().expect("a time");
        let node = life.split(' ').next().expect("a node").to_owned();
        let life = lives.entry(life.to_owned()).or_insert(Life { node, first_us: at, last_us: at, marks: 0 });
        life.last_us = at;
        life.marks += 1;
    }
    let mut lives = lives.into_values().collect::<Vec<_>>();
    lives.sort_by_key(|life| life.first_us);
    lives
}

/// A durable message, and whether its sender was told that it is safe or done.
#[derive(Debug)]
struct Sent {
    to: String,
    text: String,
    promised: bool,
}

/// What is sent, as fast as it goes until the cut and slowly afterwards.
#[derive(Default)]
struct Traffic {
    apart: AtomicBool,
    over: AtomicBool,
    sent: Mutex<Vec<Sent>>,
}

impl Traffic {
    fn repeat(&self, from: &Node, to: &str, kind: &str, send: fn(&Node, &str, &str) -> bool) {
        for number in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let begin = Instant::now();
            let text = format!("{} {kind} {number}", from.name);
            let promised = send(from, &format!("ledger@{to}"), &text);
            self.sent.lock().expect("not poisoned").push(Sent { to: to.to_owned(), text, promised });
            let hurries = || !self.apart.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed);
            wait_for("the next message", BOUND, || (hurries() || begin.elapsed() >= PACE).then_some(()));
        }
    }

    /// Whether it was executed, as both disks say.
    fn call(from: &Node, target: &str, text: &str) -> bool {
        from.call_durable(target, text)
    }

    /// Whether it is kept for its receiver on this disk.
    fn queue(from: &Node, target: &str, text: &str) -> bool {
        let body = json!({ "target": target, "payload": text, "receipt": "routed+durable", "deadline_ms": QUEUED_MS });
        matches!(from.api("POST", "/v1/send", Some(&body)), Ok((200, _)))
    }

    fn len(&self) -> usize {
        self.sent.lock().expect("not poisoned").len()
    }
}

/// Ends the traffic, however the test ends.
struct Over<'a>(&'a Traffic);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Five nodes, what they run, and what is between them; the nodes end first.
struct World {
    nodes: Vec<Node>,
    network: Network,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let network = Network::new();
        let start = |name: &str, words: &[&str]| {
            let place = Network::name(name);
            Node::start(folder.path().join(name), name, words, &["ip", "netns", "exec", &place])
        };
        let mut nodes = vec![start("alpha", &["up"])];
        let token = nodes[0].invite(&["--uses", "4"]);
        nodes.extend(Network::names().skip(1).map(|name| start(name, &["join", &token])));
        let world = Self { nodes, network, folder };
        std::fs::create_dir(world.shared()).expect("a folder");
        for node in &world.nodes {
            let others = world.nodes.iter().filter(|other| other.name != node.name);
            others.for_each(|other| _ = node.wait_alive(&other.name, BOUND));
        }
        let allowed = format!("{}:rw", world.shared().display());
        let command = script(&world.folder.path().join("ledger"), LEDGER);
        for node in &world.nodes {
            wait_for("all count", BOUND, || {
                (state(node)["counting"].as_array()?.len() == world.nodes.len()).then_some(())
            });
            let ledger = format!("LEDGER={}", world.ledger(&node.name).display());
            node.json(&["agent", "spawn", "ledger", "--exec", &command, "--allow-path", &allowed, "--env", &ledger]);
        }
        let command = script(&world.folder.path().join("marker"), MARKER);
        let (marks, every) = (format!("MARKS={}", world.marks().display()), format!("MARK_US={MARK_US}"));
        let words =
            ["--restart", "permanent", "--failover", "--allow-path", &allowed, "--env", &marks, "--env", &every];
        world.nodes[0].json(&[&["agent", "spawn", "marker", "--exec", &command], words.as_slice()].concat());
        for node in &world.nodes {
            wait_for("all see who holds it", BOUND, || holder(node, "marker").filter(|(name, _)| name == "alpha"));
        }
        wait_for("it marks", BOUND, || world.marks().exists().then_some(()));
        world
    }

    /// What the agents of all nodes may write to.
    fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    fn ledger(&self, name: &str) -> PathBuf {
        self.shared().join(name)
    }

    fn marks(&self) -> PathBuf {
        self.shared().join("marks")
    }
}

/// A namespace for each node, and one that holds the switches of both sides with the cable between them. Removed when dropped.
struct Network {
    hub: String,
}

impl Network {
    fn new() -> Self {
        Self::remove();
        let hub = Self::name("hub");
        for name in Self::names().chain(["hub"]).map(Self::name) {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        ip(&format!("-n {hub} link add cable0 type veth peer name cable1"));
        for side in 0..2 {
            ip(&format!("-n {hub} link add side{side} type bridge"));
            ip(&format!("-n {hub} link set side{side} up"));
            ip(&format!("-n {hub} link set cable{side} master side{side} up"));
        }
        for (number, name) in Self::names().enumerate() {
            let (side, place, host) = (usize::from(number >= FEWER.len()), Self::name(name), number + 1);
            ip(&format!("link add eth0 netns {place} type veth peer name port{number} netns {hub}"));
            ip(&format!("-n {hub} link set port{number} master side{side} up"));
            ip(&format!("-n {place} link set eth0 up"));
            ip(&format!("-n {place} addr add 10.79.0.{host}/24 dev eth0"));
        }
        Self { hub }
    }

    fn names() -> impl Iterator<Item = &'static str> {
        FEWER.into_iter().chain(MORE)
    }

    fn name(place: &str) -> String {
        format!("weft-p-{place}")
    }

    fn cut(&self) {
        ip(&format!("-n {} link set cable0 down", self.hub));
    }

    fn heal(&self) {
        ip(&format!("-n {} link set cable0 up", self.hub));
    }

    fn remove() {
        for name in Self::names().chain(["hub"]).map(Self::name) {
            let _absent = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        Self::remove();
    }
}

fn ip(words: &str) {
    let said = run_command(Command::new("ip").args(words.split_ascii_whitespace()));
    assert_eq!(said.code, 0, "network namespaces need root and iproute2: ip {words}: {}", said.stderr);
}
