//! Agents that outlive their nodes: one that is killed with its node goes on elsewhere, and the old node may not run it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, wait_for};

/// Three nodes that count, the first of them an admin.
fn cluster(folder: &Path) -> [Node; 3] {
    let alpha = Node::found(folder, "alpha");
    let token = alpha.invite(&["--uses", "2"]);
    let nodes = [Node::join(folder, "beta", &token), Node::join(folder, "gamma", &token)];
    let [beta, gamma] = nodes;
    for node in [&alpha, &beta, &gamma] {
        wait_for("all three count", BOUND, || {
            let (_, state) = node.api("GET", "/v1/order/state", None).ok()?;
            (state["counting"].as_array()?.len() == 3).then_some(())
        });
    }
    [alpha, beta, gamma]
}

/// Who holds the agent under which fence, as a node sees it.
pub(crate) fn holder(node: &Node, agent: &str) -> Option<(String, u64)> {
    let said = node.weft(&["ps", "--json"]);
    let report: Value = serde_json::from_str(&said.stdout).ok()?;
    let held = |row: &&Value| row["agent"] == agent && row["fence"].is_u64() && row["state"] == "running";
    let row = report["agents"].as_array()?.iter().find(held)?;
    Some((row["name"].as_str()?.to_owned(), row["fence"].as_u64()?))
}

fn answers(node: &Node, target: &str) -> bool {
    node.weft(&["call", target, "+1", "--deadline", "500ms"]).code == 0
}

#[test]
fn an_agent_killed_with_its_node_goes_on_elsewhere_and_the_old_node_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let [mut alpha, beta, gamma] = cluster(folder.path());
    let spawned =
        alpha.json(&["agent", "spawn", "tally", "--builtin", "counter", "--restart", "permanent", "--failover"]);
    assert_eq!(spawned["state"], "running", "{spawned}");
    let here = || holder(&beta, "tally").filter(|held| *held == ("alpha".to_owned(), 1));
    wait_for("beta sees who holds it", BOUND, here);
    assert!(answers(&beta, "tally"));
    let again = alpha.weft(&["agent", "spawn", "tally", "--builtin", "counter", "--failover", "--json"]);
    assert_eq!(again.json_error(), ("invalid".to_owned(), 7), "one of that name is enough");

    alpha.kill();
    let killed = Instant::now();
    wait_for("it goes on", BOUND, || answers(&beta, "tally").then_some(()));
    let gap = killed.elapsed();
    println!("resumed elsewhere {} ms after the kill", gap.as_millis());
    assert!(gap <= Duration::from_secs(10), "after {gap:?}");
    let (next, fence) = wait_for("it is held", BOUND, || holder(&beta, "tally"));
    assert!(next != "alpha" && fence == 2, "{next} holds fence {fence}");

    alpha.restart();
    let refused = wait_for("the old node says why it may not", BOUND, || {
        let report = alpha.json(&["agent", "ls"]);
        let rows = report["agents"].as_array()?.clone();
        rows.into_iter().find(|row| row["agent"] == "tally" && row["reason"].is_string())
    });
    let reason = refused["reason"].as_str().expect("text");
    assert!(refused["state"] != "running" && reason.starts_with("refused: fence 2 is held by "), "{refused}");
    let own = alpha.up["node"].as_str().expect("an id");
    let log = alpha.weft(&["chain", "log", "--kind", "fence.released", "--node", own, "--json"]);
    assert!(log.stdout.lines().any(|line| line.contains("superseded")), "on its own chain: {log:?}");
    let [mut holding, other] = if next == "beta" { [beta, gamma] } else { [gamma, beta] };
    assert!(answers(&alpha, "tally") && holder(&alpha, "tally") == Some((next, 2)));

    let left = Instant::now();
    let report = holding.json(&["leave"]);
    assert_eq!(holding.wait_end().code(), Some(0));
    let to = report["handed"][0]["to"].as_str().expect("somebody holds it");
    println!("handed over to {to}, and left, in {} ms", left.elapsed().as_millis());
    let (after, fence) = wait_for("it is held", BOUND, || holder(&other, "tally").filter(|(node, _)| node == to));
    assert!(fence == 3 && after != holding.name, "{after} holds fence {fence}");
    wait_for("it answers", BOUND, || answers(&other, "tally").then_some(()));
    assert!(report["took_ms"].as_u64().expect("a number") < 5_000, "at once, not after a lease: {report}");

    holding.restart();
    // Three count again: who stops it ends it for all.
    let stopped = alpha.weft(&["agent", "stop", &format!("tally@{after}"), "--json"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    let id = [&alpha, &other, &holding].into_iter().find(|node| node.name == after).expect("one of three").up["node"]
        .clone();
    let ended = wait_for("its end is written", BOUND, || {
        let log = other.weft(&["chain", "log", "--kind", "fence.released", "--node", id.as_str()?, "--json"]);
        log.stdout.lines().find(|line| line.contains("\"ended\"")).map(str::to_owned)
    });
    assert!(ended.contains("tally"), "{ended}");
}

#[test]
fn two_members_are_too_few_and_a_trusted_program_cannot_move() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let refused = alpha.weft(&["agent", "spawn", "tally", "--builtin", "counter", "--failover", "--json"]);
    assert_eq!(refused.json_error(), ("no-majority".to_owned(), 1));
    let body = json!({ "agent": "tally", "exec": ["true"], "trusted": true, "failover": true });
    let (status, refused) = alpha.api("POST", "/v1/agents", Some(&body)).expect("the door");
    assert_eq!((status, refused["error"]["code"].as_str()), (400, Some("invalid")), "{refused}");
}

#[test]
fn an_agent_is_started_where_a_label_is_or_where_the_fewest_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let token = alpha.invite(&["--uses", "2"]);
    let home = folder.path().join("beta");
    let beta = Node::start(home, "beta", &["join", &token], &["env", "WEFT_LABELS=role=gpu,zone=b"]);
    let spawned = wait_for("the label is known", BOUND, || {
        let said = alpha.weft(&["agent", "spawn", "seer", "--builtin", "counter", "--where", "role=gpu", "--json"]);
        (said.code == 0).then(|| said.json())
    });
    assert_eq!(spawned["node"], beta.up["node"], "{spawned}");
    let nowhere = alpha.weft(&["agent", "spawn", "x", "--builtin", "echo", "--where", "role=tpu", "--json"]);
    assert_eq!(nowhere.json_error(), ("not-found".to_owned(), 4));
    for name in ["one", "two"] {
        assert_eq!(alpha.weft(&["agent", "spawn", name, "--builtin", "echo"]).code, 0);
    }
    let running = alpha.json(&["agent", "ls"])["agents"].as_array().expect("rows").len();
    let least = alpha.json(&["agent", "spawn", "light", "--builtin", "counter", "--least-loaded"]);
    assert_eq!(least["node"], beta.up["node"], "alpha runs {running}: {least}");
}
