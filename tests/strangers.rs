//! Who is not let in: strangers, and tokens that are cut, expired, used up, revoked or for another cluster.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{BOUND, Node, Said, run};

/// How long a refusal may take, process start included, in an unoptimised build.
const REFUSAL: Duration = Duration::from_millis(1_500);

#[test]
fn each_bad_token_has_its_own_refusal() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let gamma = Node::found(folder.path(), "gamma");
    let home = folder.path().join("stranger");
    let home = home.to_str().expect("text");
    let refused = |token: &str, code: &str, exit: i32| {
        let begin = Instant::now();
        let said = run(&["join", token, "--name", "stranger", "--home", home, "--json"]);
        let took = begin.elapsed();
        assert_eq!((said.code, error_code(&said).as_str()), (exit, code), "{said:?}");
        assert!(took < REFUSAL, "{code} took {took:?}");
    };
    let token = alpha.invite(&[]);
    refused(&token[..token.len() - 3], "bad-token", 7);
    refused("weft2abc", "bad-token", 7);
    refused(&alpha.invite(&["--ttl", "1ms"]), "token-expired", 7);

    let revoked = alpha.json(&["invite"]);
    alpha.json(&["invite", "revoke", revoked["id"].as_str().expect("an id")]);
    refused(revoked["token"].as_str().expect("a token"), "invite-revoked", 7);

    let beta = Node::join(folder.path(), "beta", &token);
    refused(&token, "invite-used-up", 7);

    let said = beta.weft(&["join", &gamma.invite(&[]), "--json"]);
    assert_eq!((said.code, error_code(&said).as_str()), (7, "other-cluster"), "{said:?}");
    assert!(said.stdout.contains("--name"), "the hint names the way out: {said:?}");

    let members = alpha.json(&["members"]);
    assert_eq!(members["members"].as_array().expect("rows").len(), 2, "only beta was let in: {members}");
}

#[test]
fn a_join_that_crashed_after_the_use_was_burnt_completes_when_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let token = alpha.invite(&[]);
    let mut beta = Node::join(folder.path(), "beta", &token);
    beta.kill();
    // What a crash before the certificate was written leaves behind: keys, the mark of a join, and nothing else.
    std::fs::remove_file(beta.home.join("cluster.cbor")).expect("the joiner's certificate");
    let _none = std::fs::remove_file(beta.home.join("store.redb"));
    alpha.kill();
    alpha.restart();
    drop(beta);
    let beta = Node::join(folder.path(), "beta", &token);
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    assert_eq!(beta.json(&["call", "echo@alpha", "again"])["reply"], "again");
}

fn error_code(said: &Said) -> String {
    let value: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("no JSON error: {said:?}"));
    value["error"]["code"].as_str().unwrap_or_else(|| panic!("no code: {said:?}")).to_owned()
}
