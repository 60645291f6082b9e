//! Rows beside old events go when everybody has them behind them, and not before; what the events prove stays.

use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, run, wait_for};

fn call(node: &Node, target: &str, payload: &str, receipt: &str) -> Value {
    let body = json!({"target": target, "payload": payload, "receipt": receipt, "deadline_ms": 20_000});
    let (status, report) = node.api("POST", "/v1/call", Some(&body)).expect("an answer");
    assert_eq!(status, 200, "{report:.300}");
    report
}

/// Why something stays, in order.
fn reasons(report: &Value) -> Vec<&str> {
    let stays = report["stays"].as_array().expect("rows").iter();
    stays.map(|stay| stay["reason"].as_str().expect("a word")).collect()
}

fn goes(report: &Value) -> [u64; 2] {
    ["rows", "bodies"].map(|what| report["goes"][what].as_u64().expect("a number"))
}

/// Lets the others write something, so that they name what they hold of this chain.
fn talk(node: &Node) {
    for other in ["echo@beta", "echo@gamma"] {
        call(node, other, "hi", "executed+durable");
    }
}

fn assert_verifies(node: &Node, snapshots: u64, pruned: u64) {
    let report = node.json(&["chain", "verify"]);
    assert_eq!(report["ok"], true, "{report}");
    let chains = report["chains"].as_array().expect("rows");
    let own = chains.iter().find(|chain| chain["name"] == node.name).expect("its own chain");
    assert_eq!((&own["snapshots"], &own["pruned"]), (&json!(snapshots), &json!(pruned)), "{own}");
}

#[test]
fn rows_go_when_they_are_below_a_snapshot_stable_vouched_for_and_old_and_what_they_proved_stays_provable() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let token = alpha.invite(&["--uses", "2"]);
    let beta = Node::join(folder.path(), "beta", &token);
    let mut gamma = Node::join(folder.path(), "gamma", &token);
    let counting = |node: &Node| node.api("GET", "/v1/order/state", None).expect("the door").1["counting"].clone();
    for node in [&alpha, &beta, &gamma] {
        wait_for("all three count", BOUND, || (counting(node).as_array()?.len() == 3).then_some(()));
    }
    let plain = call(&alpha, "echo@beta", "hello", "executed");
    let large = "0123456789".repeat(20_000);
    call(&alpha, "echo@beta", &large, "executed+durable");
    let trace = plain["trace"].as_str().expect("an id").to_owned();
    let steps = alpha.json(&["trace", &trace])["hops"].as_array().expect("steps").len();
    assert_eq!(steps, 4);

    let dry = ["chain", "prune", "--older-than", "0s", "--dry-run"];
    assert!(reasons(&alpha.json(&dry)).contains(&"no-snapshot"));
    let taken = alpha.json(&["chain", "snapshot"]);
    assert!(taken["events"].as_u64() <= taken["seq"].as_u64() && taken["events"].as_u64() > Some(0), "{taken}");
    // As soon as everybody has all of it, and has said so.
    let would = wait_for("all below the snapshot may go", BOUND, || {
        talk(&alpha);
        let report = alpha.json(&dry);
        (report["to"].as_u64() > Some(0) && goes(&report)[1] == 1).then_some(report)
    });
    assert_eq!(would["dry_run"], true);
    assert_verifies(&alpha, 1, 0);

    let forever = alpha.json(&["chain", "prune"]);
    assert_eq!((goes(&forever), forever["older_than_us"].clone()), ([0, 0], Value::Null));
    assert!(reasons(&forever).contains(&"too-young"), "{forever}");
    let young = alpha.json(&["chain", "prune", "--older-than", "1h"]);
    assert_eq!(goes(&young), [0, 0], "{young}");

    let went = alpha.json(&["chain", "prune", "--older-than", "0s"]);
    let [rows, bodies] = goes(&went);
    assert!(rows > 0 && bodies == 1, "{went}");
    let said = alpha.weft(&["chain", "log", "--kind", "chain.pruned", "--json"]);
    let said: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert_eq!(said.len(), 1);
    assert_eq!((&said[0]["detail"]["rows"], &said[0]["detail"]["to"]), (&json!(rows), &went["to"]));

    assert_gone(&alpha, &trace, rows, folder.path());
    alpha.kill();
    alpha.restart();
    assert_eq!(goes(&alpha.json(&dry))[1], 0, "nothing is left of it");
    assert_gone(&alpha, &trace, rows, &folder.path().join("again"));
    // The other side keeps what it recorded, and hears why it is alone with that.
    beta.wait_alive("alpha", BOUND);
    let theirs = beta.json(&["trace", &trace]);
    assert_eq!(
        (theirs["hops"].as_array().map(Vec::len), theirs["pruned"].as_array().map(Vec::len)),
        (Some(2), Some(2))
    );
    assert_eq!(theirs["disagreements"], json!([]), "{theirs}");
    let unheard = theirs["unheard"][0].as_str().expect("a sentence");
    assert!(unheard.starts_with("alpha pruned what it recorded"), "{unheard}");

    // Somebody who is not there does not vouch, and may still say something that comes before.
    gamma.kill();
    call(&alpha, "echo@beta", "hello again", "executed");
    call(&alpha, "echo@beta", "so that it is recorded", "executed+durable");
    alpha.json(&["chain", "snapshot"]);
    let kept = alpha.json(&["chain", "prune", "--older-than", "0s"]);
    let why = reasons(&kept);
    assert!(why.contains(&"not-stable") && why.contains(&"not-witnessed"), "{kept}");
    let later = alpha.json(&["trace", call(&alpha, "echo@beta", "last", "executed")["trace"].as_str().expect("an id")]);
    assert_eq!(later["pruned"], json!([]), "{later}");
}

/// What is said of a conversation whose rows are gone, and of the events that hold the roots over them.
fn assert_gone(node: &Node, trace: &str, rows: u64, folder: &Path) {
    assert_verifies(node, 1, rows);
    let report = node.json(&["trace", trace]);
    let pruned = report["pruned"].as_array().expect("steps");
    assert_eq!(pruned.len(), 2, "sent and acknowledged: {report}");
    assert_eq!(report["disagreements"], json!([]), "{report}");
    let told = node.weft(&["trace", trace]);
    assert!(told.code == 0 && told.stdout.contains("pruned") && !told.stdout.contains("damaged"), "{told:?}");

    let seq = pruned[0]["seq"].as_u64().expect("a place").to_string();
    let proof = node.weft(&["chain", "prove", &seq]);
    std::fs::create_dir_all(folder).expect("a folder");
    let file = folder.join("event.proof");
    std::fs::write(&file, &proof.stdout).expect("written");
    let checked = run(&[
        "chain",
        "check-proof",
        file.to_str().expect("text"),
        "--node",
        node.up["node"].as_str().expect("an id"),
        "--json",
    ]);
    assert_eq!((checked.code, &checked.json()["kind"]), (0, &json!("ipc.batch")), "{checked:?}");

    let export = folder.join("export");
    let export = export.to_str().expect("text");
    node.json(&["chain", "export", export]);
    let offline = run(&["chain", "verify", "--offline", export, "--json"]);
    assert_eq!((offline.code, &offline.json()["ok"]), (0, &json!(true)), "{offline:?}");
}

#[test]
fn who_is_alone_prunes_nothing_since_nobody_vouches_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    call(&alpha, "echo", "hello", "executed");
    call(&alpha, "echo", "so that it is recorded", "executed+durable");
    alpha.json(&["chain", "snapshot"]);
    // Its own next word makes the order stable; nobody's makes it vouched for.
    wait_for("nothing else keeps them", BOUND, || {
        let kept = alpha.json(&["chain", "prune", "--older-than", "0s"]);
        assert_eq!(goes(&kept), [0, 0], "{kept}");
        (reasons(&kept) == ["not-witnessed"]).then_some(())
    });
    let told = alpha.weft(&["chain", "prune", "--older-than", "0s"]);
    assert!(told.stdout.contains("fewer than 1 of the others vouch for them"), "{told:?}");
    let said = alpha.weft(&["chain", "log", "--kind", "chain.pruned", "--json"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "nothing went, and nothing says so");
    assert_verifies(&alpha, 1, 0);
}
