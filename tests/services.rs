//! Services from outside: any provider in the cluster answers, one that dies is replaced, and contracts hold everywhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, Said, wait_for};

const RIGHT: &str = r#"{"items": [{"name": "tea"}, {"name": "milk"}]}"#;
const WRONG: &str = r#"{"items": [{"name": "tea"}, {"name": 5}]}"#;

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/agents").join(name);
    format!("python3 {}", fs::canonicalize(path).expect("an example").display())
}

fn serve(node: &Node) {
    let command = example("summarizer.py");
    node.json(&["agent", "spawn", "summarizer", "--exec", &command, "--grant", "serve:summarizer"]);
}

fn providers(node: &Node) -> BTreeSet<String> {
    let report = node.json(&["services"]);
    let rows = report["services"].as_array().expect("rows").iter();
    let serving = rows.filter(|row| row["service"] == "summarizer" && row["state"] == "serving");
    serving.map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
}

fn wait_providers(node: &Node, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    let what = format!("{} knows the providers {expected:?}", node.name);
    wait_for(&what, BOUND, || (providers(node) == expected).then_some(()));
}

fn call(node: &Node, words: &[&str]) -> Value {
    node.json(&[&["call", "svc:summarizer.run", RIGHT], words].concat())
}

/// The error object of a command that was refused with this exit code.
fn refused(said: &Said, code: i32) -> Value {
    assert_eq!(said.code, code, "{said:?}");
    let error: Value =
        serde_json::from_str(&said.stdout).or_else(|_| serde_json::from_str(&said.stderr)).expect("JSON");
    error["error"].clone()
}

/// alpha calls; beta and gamma serve.
fn three(folder: &Path) -> [Node; 3] {
    let alpha = Node::found(folder, "alpha");
    let token = alpha.invite(&["--uses", "2"]);
    let beta = Node::join(folder, "beta", &token);
    let gamma = Node::join(folder, "gamma", &token);
    serve(&beta);
    serve(&gamma);
    for node in [&alpha, &beta, &gamma] {
        wait_providers(node, &["beta", "gamma"]);
    }
    [alpha, beta, gamma]
}

#[test]
fn a_service_is_called_on_any_provider_survives_the_death_of_one_and_holds_its_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let [alpha, mut beta, gamma] = three(folder.path());
    let mut seen = BTreeSet::new();
    wait_for("both providers have answered", BOUND, || {
        let answer = call(&alpha, &[]);
        assert_eq!(answer["reply"]["json"]["count"], 2, "{answer}");
        assert_eq!(answer["reply"]["json"]["node"], answer["name"], "the report names who answered: {answer}");
        seen.insert(answer["name"].as_str().expect("a name").to_owned());
        (seen.len() == 2).then_some(())
    });
    let local = call(&gamma, &[]);
    assert_eq!(local["name"], "gamma", "a node that serves it itself goes first: {local}");

    for node in [&alpha, &beta] {
        let error = refused(&node.weft(&["call", "svc:summarizer.run", WRONG, "--json"]), 7);
        assert_eq!(error["code"], "contract-violated", "{error}");
        let message = error["message"].as_str().expect("a text");
        assert!(message.contains("/items/1/name: 5 is not of type \"string\""), "{message}");
        assert_eq!((&error["changed"], &error["retry"]), (&json!(false), &json!(false)));
    }
    let error = refused(&alpha.weft(&["call", "svc:summarizer.walk", "{}", "--json"]), 7);
    assert!(error["message"].as_str().expect("a text").contains("no method walk"), "{error}");

    // The contract is on the chains of both providers, and this node gets its text from one of them.
    let inspected = alpha.json(&["services", "inspect", "summarizer"]);
    assert_eq!(inspected["providers"].as_array().map(Vec::len), Some(2), "{inspected}");
    assert_eq!(inspected["contract"]["methods"]["run"]["input"]["required"], json!(["items"]), "{inspected}");

    beta.kill();
    // Known dead or not: a call that may be executed twice is answered by whoever lives, each time.
    for _ in 0..8 {
        let answer = call(&alpha, &["--idempotent", "--deadline", "10s"]);
        assert_eq!(answer["name"], "gamma", "{answer}");
    }
    wait_providers(&alpha, &["gamma"]);
    for _ in 0..8 {
        assert_eq!(call(&alpha, &[])["name"], "gamma", "a provider known dead is not asked");
    }

    beta.restart();
    serve(&beta);
    wait_providers(&alpha, &["beta", "gamma"]);
    let trace = call(&alpha, &["--receipt", "durable"])["trace"].as_str().expect("a trace").to_owned();
    wait_for("both sides of the call agree and are sealed", BOUND, || {
        let trace = alpha.json(&["trace", &trace]);
        (trace["agree"] == true && trace["sealed"] == true).then_some(())
    });
    for node in [&alpha, &beta, &gamma] {
        let verified = node.json(&["chain", "verify"]);
        assert_eq!(verified["ok"], true, "{verified}");
        assert_eq!(verified["chains"].as_array().map(Vec::len), Some(3), "{verified}");
    }
}

fn contract(folder: &Path, name: &str, input: &Value) -> PathBuf {
    let path = folder.join(name);
    let contract = json!({"version": "1.0.0", "methods": {"run": {"input": input}}});
    fs::write(&path, contract.to_string()).expect("written");
    path
}

#[test]
fn what_an_operator_registered_survives_sigkill_and_its_contract_can_never_be_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let text = contract(folder.path(), "text.json", &json!({"type": "string", "maxLength": 5}));
    let other = contract(folder.path(), "other.json", &json!({"type": "string"}));
    let broken = contract(folder.path(), "broken.json", &json!({"type": "strnig"}));
    let register = |node: &Node, file: &Path, words: &[&str]| {
        let file = file.to_str().expect("text");
        let words =
            [&["services", "register", "shout", "--agent", "echo", "--contract", file, "--json"], words].concat();
        node.weft(&words)
    };
    let error = refused(&register(&alpha, &broken, &[]), 7);
    assert!(error["message"].as_str().expect("a text").contains("/type: \"strnig\""), "{error}");
    let said = register(&alpha, &text, &["--audit", "full"]);
    assert_eq!(said.code, 0, "{said:?}");
    let hash = said.json()["providers"][0]["contract"].clone();
    let error = refused(&register(&alpha, &text, &[]), 7);
    assert!(error["message"].as_str().expect("a text").contains("registered on this node already"), "{error}");
    assert_eq!(alpha.json(&["call", "svc:shout.run", "hey"])["reply"], "hey");

    alpha.kill();
    alpha.restart();
    let row = alpha.json(&["services", "ls"])["services"][0].clone();
    assert_eq!((&row["contract"], &row["owner"], &row["audit"]), (&hash, &json!("operator"), &json!("full")), "{row}");
    let called = wait_for("echo runs again", BOUND, || {
        let said = alpha.weft(&["call", "svc:shout.run", "hey", "--json"]);
        (said.code == 0).then(|| said.json())
    });
    assert_eq!(called["reply"], "hey");
    refused(&alpha.weft(&["call", "svc:shout.run", "too long", "--json"]), 7);
    let log = || alpha.weft(&["chain", "log", "--kind", "ipc.message", "--json"]).stdout;
    wait_for("each call is an event with its body", BOUND, || log().contains("too long").then_some(()));
    assert!(log().contains(r#""body":"hey""#), "{}", log());

    assert_eq!(alpha.weft(&["services", "unregister", "shout"]).code, 0);
    let error = refused(&alpha.weft(&["call", "svc:shout.run", "hey", "--json"]), 4);
    assert_eq!(error["code"], "no-responder", "{error}");
    let error = refused(&register(&alpha, &other, &[]), 7);
    assert!(error["message"].as_str().expect("a text").contains("a changed contract needs a new version"), "{error}");
    assert_eq!(register(&alpha, &text, &[]).code, 0, "the same content may be served again");
    assert_eq!(alpha.json(&["chain", "verify"])["ok"], true);
}

#[test]
fn the_kernel_answers_and_a_broadcast_says_how_many_on_each_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let beta = Node::join(folder.path(), "beta", &alpha.invite(&[]));
    beta.json(&["agent", "spawn", "counter"]);
    assert_eq!(alpha.json(&["call", "kernel", "ping"])["reply"], "pong");
    let status = alpha.json(&["call", "kernel@beta", "status"]);
    assert_eq!(status["reply"]["json"]["name"], "beta", "{status}");
    refused(&alpha.weft(&["call", "kernel@beta", "reboot", "--json"]), 7);
    assert_eq!(alpha.json(&["send", "broadcast", "hi"])["delivered"], 1);
    assert_eq!(alpha.json(&["send", "broadcast@beta", "hi"])["delivered"], 2);
    let counted = || (alpha.json(&["call", "counter@beta", "x"])["reply"] != "1").then_some(());
    wait_for("the broadcast was counted", BOUND, counted);
    refused(&alpha.weft(&["call", "broadcast", "hi", "--json"]), 7);
}

#[test]
fn an_agent_starts_when_what_it_needs_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let beta = Node::join(folder.path(), "beta", &alpha.invite(&[]));
    serve(&beta);
    wait_providers(&alpha, &["beta"]);
    alpha.json(&["agent", "spawn", "counter", "--needs", "summarizer"]);
    let said = alpha.weft(&["services", "register", "count", "--agent", "counter"]);
    assert_eq!(said.code, 0, "{said:?}");
    alpha.json(&["agent", "stop", "counter"]);
    let error = refused(&alpha.weft(&["agent", "spawn", "counter", "--needs", "count", "--json"]), 7);
    assert_eq!(error["message"], "agents would wait for each other: counter needs svc:count of counter", "{error}");
}
