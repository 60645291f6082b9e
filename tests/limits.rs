//! Bounds in force on real child processes: told at four fifths, ended at the bound, and the chain says what was measured.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, wait_for};

/// Uses one thing up to a little over four fifths, waits until it is told, then goes on until it is ended.
const HUNGRY: &str = r#"
import os, resource, subprocess, sys, threading
from weft_agent import Agent, Refused

told = threading.Event()
warnings = []

def signalled(agent, signal):
    warnings.append(signal)
    agent.request("log", level="warn", text="told of " + signal["resource"])
    told.set()

def memory(limit):
    held = []
    def used():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    while used() < limit * 85 // 100:
        held.append(b"x" * (1 << 20))
    told.wait(60)
    while True:
        held.append(b"x" * (1 << 20))

def cpu(limit):
    # Somebody else burns it: what an agent starts counts as the agent's.
    subprocess.run([sys.executable, "-c", "while True: pass"])

def disk(limit):
    name = 0
    def write():
        nonlocal name
        name += 1
        os.makedirs(f"deep/{name}")
        with open(f"deep/{name}/file", "wb") as file:
            file.write(b"x" * (limit // 40))
    while name < 33:
        write()
    told.wait(60)
    while name < 60:
        write()
    threading.Event().wait()

def answer(agent, message):
    what, _, limit = message["payload"]["text"].partition(" ")
    if what == "send":
        codes = []
        for _ in range(int(limit)):
            try:
                agent.request("send", target="echo", payload={"text": "hi"})
                codes.append("ok")
            except Refused as refused:
                codes.append(refused.code)
        try:
            agent.request("tool", name="fs.read_file", args={})
        except Refused as refused:
            codes.append(refused.code)
        told.wait(60)
        return {"json": [codes, warnings]}
    threading.Thread(target={"memory": memory, "cpu": cpu, "disk": disk}[what], args=(int(limit),), daemon=True).start()
    return {"text": "on it"}

Agent(answer, signalled=signalled).run()
os._exit(0)
"#;

fn hungry(folder: &Path) -> String {
    let code = folder.join("code");
    fs::create_dir_all(&code).expect("a folder");
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/agents/weft_agent.py");
    fs::copy(module, code.join("weft_agent.py")).expect("a copy");
    fs::write(code.join("hungry.py"), HUNGRY).expect("written");
    format!("python3 {}", code.join("hungry.py").display())
}

/// The events of this kind, oldest first.
fn events(node: &Node, kind: &str) -> Vec<Value> {
    let said = node.weft(&["chain", "log", "--kind", kind, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Lets an agent use more than `bound` of one thing, and checks that it is told, ended, and how that is recorded.
fn is_told_and_ended(what: &str, text: &str, bound: u64, unit_name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let limit = format!("{what}={text}");
    alpha.json(&["agent", "spawn", "hungry", "--exec", &hungry(folder.path()), "--limit", &limit]);
    let inspect = || alpha.json(&["agent", "inspect", "hungry"]);
    let before = inspect();
    assert_eq!(before["limits"][unit_name], bound, "{before}");
    assert_eq!(before["limits"]["messages"], Value::Null, "{before}");
    if what != "cpu" {
        assert_eq!(before["used"]["cpu_us"], Value::Null, "what nothing bounds is not measured: {before}");
    }
    assert_eq!(alpha.json(&["call", "hungry", &format!("{what} {bound}")])["reply"], "on it");
    let ended = wait_for("the agent is ended", BOUND, || {
        let shown = inspect();
        (shown["state"] == "exited").then_some(shown)
    });
    let reason = ended["reason"].as_str().expect("a reason");
    assert!(reason.starts_with(&format!("over its {what} limit: used ")), "{reason}");
    let measured = |event: &Value| event["detail"]["measured"].as_u64().expect("a measure");
    let warned = events(&alpha, "resource.warned");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!((&warned[0]["detail"]["resource"], &warned[0]["detail"]["agent"]), (&what.into(), &"hungry".into()));
    assert!((bound * 4 / 5..bound).contains(&measured(&warned[0])), "{warned:?}");
    let exceeded = events(&alpha, "resource.exceeded");
    assert_eq!(exceeded.len(), 1, "{exceeded:?}");
    assert!(measured(&exceeded[0]) >= bound && exceeded[0]["detail"]["limit"] == bound, "{exceeded:?}");
    let used = ended["used"][unit_name].as_u64().expect("measured");
    assert!(used >= bound, "{ended}");
    let exits = events(&alpha, "process.exited");
    let over = &exits.last().expect("an exit")["detail"]["reason"]["over_limit"];
    assert_eq!((&over["resource"], &over["limit"]), (&what.into(), &bound.into()), "{exits:?}");
    assert_eq!(over["measured"], exceeded[0]["detail"]["measured"], "{exits:?}");
    if what != "cpu" {
        let log = fs::read_to_string(alpha.home.join("logs/hungry.log")).expect("its log");
        assert!(log.contains(&format!("told of {what}")), "{log}");
    }
    assert_eq!(alpha.json(&["chain", "verify"])["ok"], true);
}

#[test]
fn an_agent_over_its_memory_limit_is_told_and_then_ended() {
    is_told_and_ended("memory", "96MiB", 96 << 20, "memory_bytes");
}

#[test]
fn an_agent_over_its_cpu_limit_is_told_and_then_ended_whoever_burnt_it() {
    is_told_and_ended("cpu", "3s", 3_000_000, "cpu_us");
}

#[test]
fn an_agent_over_its_disk_limit_is_told_and_then_ended() {
    is_told_and_ended("disk", "4MiB", 4 << 20, "disk_bytes");
}

#[test]
fn messages_and_tool_calls_beyond_their_limit_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let command = hungry(folder.path());
    let spawn = ["agent", "spawn", "hungry", "--exec", &command, "--grant", "send:echo", "--limit", "messages=5"];
    alpha.json(&[&spawn[..], &["--limit", "tool-calls=1"]].concat());
    let reply = alpha.json(&["call", "hungry", "send 7"])["reply"]["json"].clone();
    let codes: Vec<&str> = reply[0].as_array().expect("codes").iter().filter_map(Value::as_str).collect();
    assert_eq!(codes, ["ok", "ok", "ok", "ok", "ok", "limit-reached", "limit-reached", "unsupported"], "{reply}");
    assert_eq!((&reply[1][0]["resource"], &reply[1][0]["measured"]), (&"messages".into(), &4.into()), "{reply}");
    let again = alpha.json(&["call", "hungry", "send 1"])["reply"]["json"].clone();
    assert_eq!(again[0], serde_json::json!(["limit-reached", "limit-reached"]), "{again}");
    let used = alpha.json(&["agent", "inspect", "hungry"])["used"].clone();
    assert_eq!((&used["messages"], &used["tool_calls"]), (&5.into(), &1.into()), "{used}");
    assert!(used["memory_bytes"].as_u64().is_none_or(|bytes| bytes > 1 << 20), "the node's default bounds it: {used}");
    let warned = events(&alpha, "resource.warned");
    assert_eq!(warned[0]["detail"]["measured"], 4, "{warned:?}");
}

#[test]
fn what_is_configured_bounds_agents_whose_spawn_says_nothing_and_a_reload_those_that_start_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let spawn = |name: &str, limits: &[&str]| {
        let program = hungry(folder.path());
        let words = ["agent", "spawn", name, "--exec", &program];
        let limits = limits.iter().flat_map(|limit| ["--limit", limit]);
        alpha.json(&words.into_iter().chain(limits).collect::<Vec<_>>());
    };
    let limits = |name: &str| alpha.json(&["agent", "inspect", name])["limits"].clone();
    let default = json!({
        "memory_bytes": 256 << 20, "cpu_us": null, "disk_bytes": 100 << 20, "messages": null, "tool_calls": null
    });
    spawn("early", &[]);
    assert_eq!(limits("early"), default);
    let file = "[kernel]\nagent_memory = \"none\"\nagent_cpu = \"3s\"\nagent_disk = \"1MiB\"\nagent_messages = 7\n\
        agent_tool_calls = 9\n";
    fs::write(alpha.home.join("config.toml"), file).expect("written");
    let report = alpha.json(&["config", "reload"]);
    assert_eq!(report["waiting"], json!([]), "{report}");
    let changed: Vec<(&str, &str, &str)> = report["changed"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| ["key", "from", "to"].map(|part| row[part].as_str().expect("a text")).into())
        .collect();
    let expected = [
        ("kernel.agent_memory", "256MiB", "none"),
        ("kernel.agent_cpu", "none", "3s"),
        ("kernel.agent_disk", "100MiB", "1MiB"),
        ("kernel.agent_messages", "none", "7"),
        ("kernel.agent_tool_calls", "none", "9"),
    ];
    assert_eq!(changed, expected);
    spawn("late", &[]);
    spawn("told", &["cpu=60s", "messages=none", "memory=64MiB"]);
    assert_eq!(limits("early"), default, "a life keeps the bounds that it began with");
    let late =
        json!({ "memory_bytes": null, "cpu_us": 3_000_000, "disk_bytes": 1 << 20, "messages": 7, "tool_calls": 9 });
    assert_eq!(limits("late"), late);
    let told = json!({
        "memory_bytes": 64 << 20, "cpu_us": 60_000_000, "disk_bytes": 1 << 20, "messages": null, "tool_calls": 9
    });
    assert_eq!(limits("told"), told);
    assert_eq!(alpha.json(&["call", "late", "cpu 3000000"])["reply"], "on it");
    let exceeded = wait_for("what is configured is enforced", BOUND, || events(&alpha, "resource.exceeded").pop());
    assert_eq!((&exceeded["detail"]["agent"], &exceeded["detail"]["limit"]), (&"late".into(), &3_000_000.into()));
}
