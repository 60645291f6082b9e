//! One cluster in which a member speaks an older version of the wire: everything that it knows works, what it does not know is refused
//! as such, and its upgrade is noticed without a restart of the others.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::cluster::{BOUND, Node, Said, wait_for, weft};

/// What makes a node speak no more than the first version.
const OLD: &str = "[network]\nwire_version_max = 1\n";

/// Makes the node that begins in this home one of the first version.
fn make_old(home: &Path) {
    fs::create_dir_all(home).expect("a folder");
    fs::write(home.join("config.toml"), OLD).expect("written");
}

/// The version of the wire that this node says it speaks with that member.
fn wire(node: &Node, member: &str) -> Option<u64> {
    let members = node.json(&["members"]);
    members["members"].as_array()?.iter().find(|row| row["name"] == member)?["wire"].as_u64()
}

/// Waits until all see each other alive, and speak these versions with each other.
fn wait_agreed(nodes: &[&Node], agreed: impl Fn(&str, &str) -> u64) {
    for one in nodes {
        for other in nodes {
            if one.name == other.name {
                continue;
            }
            one.wait_alive(&other.name, BOUND);
            let expected = agreed(&one.name, &other.name);
            let what = format!("{} and {} speak version {expected}", one.name, other.name);
            wait_for(&what, BOUND, || (wire(one, &other.name) == Some(expected)).then_some(()));
        }
    }
}

/// The version that two of them speak when beta is the old one.
fn with_old_beta(one: &str, other: &str) -> u64 {
    if [one, other].contains(&"beta") { 1 } else { 2 }
}

/// A streamed call to that member's echo agent.
fn streamed(node: &Node, member: &str) -> Said {
    node.weft(&["call", &format!("echo@{member}"), "to be", "--stream", "--json"])
}

/// Streams an answer of that member's; the number of its parts.
fn parts_of(node: &Node, member: &str) -> u64 {
    let said = streamed(node, member);
    assert_eq!(said.code, 0, "{said:?}");
    let last: Value = said.stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("JSON");
    last["answer"]["parts"].as_u64().unwrap_or_else(|| panic!("{last}"))
}

fn assert_too_old(said: &Said) {
    let error = said.json()["error"].clone();
    assert_eq!((said.code, error["code"].as_str()), (7, Some("peer-too-old")), "{said:?}");
    assert_eq!((&error["changed"], &error["retry"]), (&Value::Bool(false), &Value::Bool(false)), "{error}");
    let hint = error["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("upgrade") && hint.contains("weft members"), "{error}");
}

/// alpha and gamma are new, beta is old, between them in the chain of invites: both directions of a join.
fn mixed(folder: &Path) -> [Node; 3] {
    let alpha = Node::found(folder, "alpha");
    make_old(&folder.join("beta"));
    let beta = Node::join(folder, "beta", &alpha.invite(&["--role", "admin"]));
    wait_agreed(&[&alpha, &beta], with_old_beta);
    let gamma = Node::join(folder, "gamma", &beta.invite(&[]));
    [alpha, beta, gamma]
}

#[test]
fn an_old_member_joins_and_admits_calls_and_is_called_and_its_upgrade_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let [alpha, mut beta, gamma] = mixed(folder.path());
    wait_agreed(&[&alpha, &beta, &gamma], with_old_beta);
    let text = alpha.weft(&["members"]).stdout;
    assert!(text.contains("WIRE"), "{text}");

    for (from, to) in [(&alpha, "beta"), (&beta, "alpha"), (&gamma, "beta"), (&beta, "gamma"), (&gamma, "alpha")] {
        let target = format!("echo@{to}");
        wait_for("it knows the agent", BOUND, || (from.weft(&["call", &target, "hi"]).code == 0).then_some(()));
        let called = from.json(&["call", &target, "whole", "--receipt", "executed+durable"]);
        assert_eq!(called["reply"], "whole");
        assert!(called["record"].is_u64() && called["remote_record"].is_u64(), "{called}");
        let trace = called["trace"].as_str().expect("a trace").to_owned();
        wait_for("both sides agree", BOUND, || (from.json(&["trace", &trace])["agree"] == true).then_some(()));
    }

    for (from, to) in [(&alpha, "beta"), (&gamma, "beta"), (&beta, "alpha")] {
        assert_too_old(&streamed(from, to));
    }
    assert_eq!(parts_of(&beta, "beta"), 2, "nothing of its own travels");
    // The two new ones stream, and the old one holds what they record of it.
    let said = alpha.weft(&["call", "echo@gamma", "to be", "--stream", "--receipt", "executed+durable", "--json"]);
    let last: Value = said.stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("JSON");
    assert_eq!(last["answer"]["parts"], 2, "{said:?}");
    let trace = last["answer"]["trace"].as_str().expect("a trace").to_owned();
    wait_for("both have recorded it", BOUND, || (alpha.json(&["trace", &trace])["agree"] == true).then_some(()));

    // Of two providers of a service only the one that can answer in parts is one for whoever wants them.
    for node in [&beta, &gamma] {
        node.json(&["services", "register", "shout", "--agent", "echo"]);
    }
    let providers = || {
        let services = alpha.json(&["services"]);
        let rows = services["services"].as_array()?.iter().filter(|row| row["service"] == "shout");
        (rows.count() == 2).then_some(())
    };
    wait_for("alpha knows both providers", BOUND, providers);
    for _ in 0..8 {
        let said = alpha.weft(&["call", "svc:shout", "to be", "--stream", "--json"]);
        let last: Value = said.stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("JSON");
        assert_eq!(last["answer"]["parts"], 2, "{said:?}");
    }

    for (publisher, listener) in [(&alpha, &beta), (&beta, &alpha), (&beta, &gamma)] {
        let topic = format!("from.{}.to.{}", publisher.name, listener.name);
        publisher.json(&["pub", &topic, "news"]);
        let heard = listener.json(&["sub", &topic, "--last", "1", "--count", "1"]);
        assert_eq!(heard["payload"], "news");
    }

    let roots = |node: &Node| {
        let members = node.json(&["members"]);
        let rows = members["members"].as_array().expect("rows").clone();
        rows.iter().map(|row| row["chain"]["root"].clone()).collect::<Vec<_>>()
    };
    wait_for("all hold the same", BOUND, || {
        let [one, two, three] = [&alpha, &beta, &gamma].map(roots);
        (one == two && two == three).then_some(())
    });
    for node in [&alpha, &beta, &gamma] {
        assert_eq!(node.json(&["chain", "verify"])["ok"], true, "{}", node.name);
    }

    let pids = [alpha.pid(), gamma.pid()];
    beta.down();
    fs::remove_file(beta.home.join("config.toml")).expect("the configuration");
    beta.restart();
    wait_agreed(&[&alpha, &beta, &gamma], |_, _| 2);
    for (from, to) in [(&alpha, "beta"), (&gamma, "beta"), (&beta, "alpha")] {
        wait_for("it knows the agent", BOUND, || (streamed(from, to).code == 0).then_some(()));
        assert_eq!(parts_of(from, to), 2);
    }
    assert_eq!([&alpha, &gamma].map(|node| node.json(&["status"])["pid"].as_u64()), pids.map(|pid| Some(pid.into())));
    for node in [&alpha, &beta, &gamma] {
        assert_eq!(node.json(&["chain", "verify"])["ok"], true, "{}", node.name);
    }
}

#[test]
fn a_member_that_is_put_back_to_the_old_version_is_spoken_to_in_that_and_what_waited_for_it_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, mut beta) = crate::remote::two(folder.path());
    wait_agreed(&[&alpha, &beta], |_, _| 2);
    wait_for("it knows the agent", BOUND, || (streamed(&alpha, "beta").code == 0).then_some(()));
    beta.kill();
    make_old(&beta.home);
    // Nobody knows yet what beta will speak.
    let home = alpha.home.to_str().expect("text");
    let words =
        ["call", "echo@beta", "to be", "--stream", "--receipt", "executed+durable", "--deadline", "60s", "--json"];
    let mut waiting = weft();
    let waiting = waiting.args(words).args(["--home", home]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiting = waiting.spawn().expect("it starts");
    wait_for("it waits for beta", BOUND, || {
        let log = alpha.weft(&["chain", "log", "--kind", "ipc.message", "--json"]);
        log.stdout.contains("to be").then_some(())
    });
    beta.restart();
    wait_agreed(&[&alpha, &beta], |_, _| 1);
    let output = waiting.wait_with_output().expect("it ends");
    let code = output.status.code().unwrap_or(-1);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    assert_too_old(&Said { code, stdout: text(output.stdout), stderr: text(output.stderr) });
    assert_eq!(alpha.json(&["call", "echo@beta", "whole"])["reply"], "whole");
    for node in [&alpha, &beta] {
        assert_eq!(node.json(&["chain", "verify"])["ok"], true, "{}", node.name);
    }
}
