//! What the gate, the directory and a full mailbox answer, with their exit codes.

use serde_json::json;

use crate::cluster::{BOUND, Node, Said};

#[test]
fn a_denied_action_names_its_rule_and_an_unknown_target_has_no_responder() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let observer = Node::join(folder.path(), "watcher", &alpha.invite(&["--role", "observer"]));
    observer.wait_alive("alpha", BOUND);
    let said = observer.weft(&["call", "echo@alpha", "hi", "--json"]);
    let error = refusal(&said, 3, "denied");
    assert!(error["message"].as_str().expect("a message").contains('#'), "the rule is named: {said:?}");
    assert_eq!(error["changed"], false);

    refusal(&alpha.weft(&["call", "nobody", "hi", "--json"]), 4, "no-responder");
    refusal(&alpha.weft(&["call", "echo@nowhere", "hi", "--json"]), 4, "no-responder");
    let log = alpha.weft(&["chain", "log", "--kind", "gate.denied", "--json"]);
    assert_eq!(log.stdout.lines().count(), 1, "the denial is on alpha's chain: {log:?}");
    for node in [&alpha, &observer] {
        assert_eq!(node.json(&["chain", "verify"])["ok"], true);
    }
}

#[test]
fn a_full_mailbox_is_busy() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let deaf = "import sys,json\nfor line in sys.stdin:\n m=json.loads(line)\n if m.get('method')=='initialize': print(json.dumps({'jsonrpc':'2.0','id':m['id'],'result':{}}),flush=True)";
    let script = folder.path().join("deaf.py");
    std::fs::write(&script, deaf).expect("a script");
    let command = format!("python3 {}", script.display());
    alpha.json(&["agent", "spawn", "deaf", "--exec", &command]);
    let body = json!({"target": "deaf", "payload": "x", "receipt": "received", "deadline_ms": 60_000});
    let room = 1_024 + 64;
    for sent in 0..room {
        let (code, answer) = alpha.api("POST", "/v1/send", Some(&body)).expect("the door answers");
        assert_eq!(code, 200, "message {sent}: {answer}");
    }
    let (code, answer) = alpha.api("POST", "/v1/send", Some(&body)).expect("the door answers");
    assert_eq!((code, answer["error"]["code"].as_str()), (429, Some("busy")), "{answer}");
    refusal(&alpha.weft(&["call", "deaf", "hi", "--json"]), 1, "busy");
}

fn refusal(said: &Said, exit: i32, code: &str) -> serde_json::Value {
    let error = said.json()["error"].clone();
    assert_eq!((said.code, error["code"].as_str()), (exit, Some(code)), "{said:?}");
    error
}
