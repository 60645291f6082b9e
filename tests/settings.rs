//! Starts, signals and settings from outside: what a start records, what a reload changes, how a node ends, and what it takes
//! to start again after a failed write.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, run, signal, wait_for};

const PHASES: [&str; 8] = ["init", "config", "services", "resource-tree", "agents", "network", "ecc", "ready"];

/// Every event of the node's own chain of these kinds.
fn events(node: &Node, kind: &str) -> Vec<Value> {
    let said = node.weft(&["chain", "log", "--kind", kind, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn wait_booted(node: &Node, count: usize) -> Vec<Value> {
    wait_for("the start is recorded", BOUND, || {
        Some(events(node, "node.booted")).filter(|booted| booted.len() == count)
    })
}

#[test]
fn each_start_is_recorded_once_with_its_phases_and_genesis_only_by_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::found(folder.path(), "alpha");
    for start in 1..=3 {
        let booted = wait_booted(&node, start);
        let phases = booted[start - 1]["detail"]["phases"].as_array().expect("phases").clone();
        let names: Vec<&str> = phases.iter().map(|phase| phase["phase"].as_str().expect("a name")).collect();
        assert_eq!(names, PHASES, "{phases:?}");
        for phase in &phases {
            let built_in = !["resource-tree", "ecc"].contains(&phase["phase"].as_str().expect("a name"));
            assert_eq!(phase["result"] == "done", built_in, "{phase}");
            assert_eq!(phase["duration_us"] == 0, !built_in, "{phase}");
        }
        assert_eq!(events(&node, "genesis").len(), 1, "start {start}");
        assert_eq!(events(&node, "node.boot").len(), start);
        assert_eq!(events(&node, "member.admitted").len(), 1, "start {start}");

        let log = node.json(&["boot-log"]);
        assert_eq!(log["ready"], true, "{log}");
        let entries = log["entries"].as_array().expect("entries");
        for entry in entries {
            for field in ["at", "level", "phase", "message"] {
                assert!(entry[field].as_str().is_some_and(|text| !text.is_empty()), "{entry}");
            }
        }
        for phase in PHASES {
            assert!(entries.iter().any(|entry| entry["phase"] == phase), "nothing is said of {phase}: {log}");
        }
        let status = node.json(&["status"]);
        assert_eq!(status["phases"], log["phases"]);
        assert!(status["limits"].as_array().is_some_and(|limits| limits.iter().any(|row| row["name"] == "open-files")));
        if start % 2 == 1 {
            node.kill();
        } else {
            node.down();
        }
        node.restart();
    }
}

#[test]
fn a_changed_file_counts_after_a_hangup_and_a_wrong_one_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::found(folder.path(), "alpha");
    let pid = node.pid();
    wait_booted(&node, 1);
    let file = node.home.join("config.toml");
    let shown = |key: &str| node.json(&["config", "show", key])["settings"][0].clone();
    assert_eq!(
        (shown("kernel.grace")["value"].as_str(), shown("kernel.grace")["from"].as_str()),
        (Some("2s"), Some("default"))
    );

    std::fs::write(
        &file,
        "listen = [\"/ip4/127.0.0.1/tcp/0\"]\nlog = \"warn\"\n[kernel]\ngrace = \"3s\"\nin_flight = 7\n",
    )
    .expect("written");
    signal(pid, "HUP");
    let configured = wait_for("the change is recorded", BOUND, || events(&node, "node.configured").pop());
    let change = |key: &str, from: &str, to: &str| json!({"key": key, "from": from, "to": to});
    assert_eq!(
        configured["detail"]["changes"],
        json!([
            change("log", "info,libp2p=warn", "warn"),
            change("kernel.in_flight", "64", "7"),
            change("kernel.grace", "2s", "3s")
        ])
    );
    let grace = shown("kernel.grace");
    assert_eq!(grace["value"], "3s");
    assert_eq!(grace["from"], format!("{}:4", file.display()));
    let limits = node.json(&["status"])["limits"].clone();
    let in_flight =
        limits.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == "messages-in-flight-per-agent"));
    assert_eq!(in_flight.map(|row| &row["most"]), Some(&json!(7)), "the kernel itself goes by it: {limits}");
    assert_eq!(shown("listen")["value"], "", "what needs a restart is not in force");
    let again = node.json(&["config", "reload"]);
    assert_eq!(again["changed"], json!([]));
    assert_eq!(again["waiting"], json!([change("listen", "", "/ip4/127.0.0.1/tcp/0")]));

    std::fs::write(&file, "[kernel]\ngrace = \"4s\"\nstart = \"1ms\"\n").expect("written");
    let before = node.json(&["chain", "status"])["events"].clone();
    signal(pid, "HUP");
    let (status, answer) = node.api("POST", "/v1/config/reload", None).expect("an answer");
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("bad-config")), "{answer}");
    assert_eq!(
        answer["error"]["message"],
        format!("{}:3: `kernel.start` is `1ms`; allowed is 1s to 10m", file.display())
    );
    assert_eq!((&shown("kernel.grace")["value"], &node.json(&["chain", "status"])["events"]), (&json!("3s"), &before));
    assert_eq!(node.json(&["status"])["pid"], pid, "the same process");
    let said = node.weft(&["doctor", "--json"]);
    assert_eq!(said.code, 1, "the file is wrong, and doctor says so: {said:?}");
    let checks = said.json()["checks"].clone();
    let wrong: Vec<&Value> = checks.as_array().expect("checks").iter().filter(|row| row["verdict"] != "ok").collect();
    assert!(wrong.iter().any(|row| row["name"] == "config" && row["verdict"] == "fail"), "{wrong:?}");

    std::fs::write(&file, "[network]\ntcp_security = \"tls+noise\"\n").expect("written");
    let checks = node.weft(&["doctor", "--json"]).json()["checks"].clone();
    let config = checks.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == "config")).cloned();
    let config = config.expect("a check of the settings");
    assert_eq!(config["verdict"], "warn", "{config}");
    assert!(config["message"].as_str().is_some_and(|text| text.contains("post-quantum")), "{config}");
}

#[test]
fn a_signal_ends_the_node_in_order_and_a_second_one_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::found(folder.path(), "alpha");
    wait_booted(&node, 1);
    for name in ["TERM", "INT"] {
        signal(node.pid(), name);
        assert!(node.wait_end().success(), "{name}");
        let said = run(&["doctor", "--json", "--home", node.home.to_str().expect("text")]);
        let report = said.json();
        assert_eq!((&report["running"], &report["home"]), (&json!(false), &json!(node.home)), "{said:?}");
        node.restart();
        let last = events(&node, "node.*");
        let shutdown = last.iter().rev().find(|event| event["kind"] == "node.shutdown").expect("an end");
        assert_eq!((&shutdown["sealed"], &shutdown["detail"]["stopped"]), (&json!(true), &json!(1)), "{name}");
    }
    let deaf = "import signal,sys,json\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nfor line in sys.stdin:\n m=json.loads(line)\n if m.get('method')=='initialize': print(json.dumps({'jsonrpc':'2.0','id':m['id'],'result':{}}),flush=True)\nwhile True: signal.pause()";
    let script = folder.path().join("deaf.py");
    std::fs::write(&script, deaf).expect("a script");
    node.json(&["agent", "spawn", "deaf", "--exec", &format!("python3 {}", script.display())]);
    signal(node.pid(), "TERM");
    let going_down = || {
        let (_, status) = node.api("GET", "/v1/status", None).ok()?;
        (status["state"] == "shutting-down").then(Instant::now)
    };
    let since = wait_for("the node goes down", BOUND, going_down);
    // Signals that come together count as one.
    wait_for("a tenth of a second", BOUND, || (since.elapsed() > Duration::from_millis(150)).then_some(()));
    signal(node.pid(), "TERM");
    assert_eq!(node.wait_end().code(), Some(1));
    node.restart();
    assert_eq!(node.json(&["chain", "verify"])["ok"], true);
}

#[test]
fn what_was_stopped_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::found(folder.path(), "alpha");
    wait_booted(&node, 1);
    node.json(&["agent", "spawn", "counter"]);
    let down = node.json(&["down"]);
    assert!(node.wait_end().success());
    let agents: Vec<&str> =
        down["stopped"].as_array().expect("rows").iter().map(|row| row["agent"].as_str().expect("a name")).collect();
    assert_eq!(agents, ["counter", "echo"], "what began last is stopped first: {down}");
    assert!(down["took_ms"].as_u64().is_some_and(|took| took < 5_000), "{down}");
}

#[test]
fn after_a_failed_write_the_store_is_checked_before_the_node_starts_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::new(&folder.path().join("disk"));
    let mut node = Node::found(&disk.path, "alpha");
    wait_booted(&node, 1);
    assert!(node.call_durable("echo", "while there is room"));
    let filler = disk.path.join("filler");
    std::fs::write(&filler, vec![0_u8; 64 << 20]).expect_err("the disk is small");
    let damaged = || (node.json(&["status"])["state"] == "damaged").then_some(());
    wait_for("a write fails", BOUND, || {
        node.call_durable("echo", &"x".repeat(50_000));
        damaged()
    });
    let said = node.weft(&["doctor", "--json"]);
    assert_eq!(said.code, 8, "{said:?}");
    assert_eq!(node.weft(&["down"]).code, 8, "nothing can be recorded any more");
    node.wait_end();
    std::fs::remove_file(&filler).expect("ours");

    let home = node.home.to_str().expect("text").to_owned();
    let refused = run(&["up", "--log", "off", "--json", "--home", &home]);
    assert_eq!(
        (refused.code, refused.json()["error"]["code"].as_str().map(str::to_owned)),
        (8, Some("damaged".into()))
    );
    assert!(refused.stdout.contains("weft doctor --storage"), "{refused:?}");
    assert_eq!(run(&["doctor", "--json", "--home", &home]).code, 8);
    let checked = run(&["doctor", "--storage", "--json", "--home", &home]);
    assert_eq!((checked.code, &checked.json()["ok"]), (0, &json!(true)), "{checked:?}");
    node.restart();
    assert_eq!(node.json(&["chain", "verify"])["ok"], true);
    let held = node.weft(&["chain", "log", "--kind", "ipc.message", "--json"]);
    assert!(held.stdout.contains("while there is room"), "what was acknowledged is there");
}

/// A file system in memory with room for little.
struct SmallDisk {
    path: std::path::PathBuf,
}

impl SmallDisk {
    fn new(path: &std::path::Path) -> Self {
        std::fs::create_dir(path).expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(path).output();
        let mounted = mounted.expect("mount");
        assert!(mounted.status.success(), "a file system of its own needs root: {mounted:?}");
        Self { path: path.to_owned() }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}
