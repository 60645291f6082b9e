//! Bad input of every kind at the command line and at the local door: each with its exact code and message, and nothing changed.

use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, Said, api, run_command, wait_for, weft};

/// Runs `weft` as a user who has nothing but this folder.
fn run_in(folder: &Path, words: &[&str]) -> Said {
    let mut command = weft();
    command.args(words).env("XDG_DATA_HOME", folder.join("data")).env("XDG_CONFIG_HOME", folder.join("config"));
    command.env("HOME", folder).env_remove("WEFT_HOME").env_remove("WEFT_NAME");
    run_command(&mut command)
}

/// Every file below a folder with its bytes; the store of a running node is compared by its chain instead.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.file_name().is_none_or(|name| name != "store.redb") {
                found.push((entry.display().to_string(), std::fs::read(&entry).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

/// Checks one case for people, then the same with `--json`.
fn check(said: &Said, json: &Said, code: i32, error: &str, message: &str, words: &[&str]) {
    assert_eq!(said.code, code, "{words:?}: {said:?}");
    assert_eq!(said.stdout, "", "{words:?}: results are on stdout, errors are not");
    assert_eq!(said.stderr, format!("error: {message}\n"), "{words:?}");
    assert_eq!(json.code, code, "{words:?}: {json:?}");
    assert_eq!(json.stderr, "", "{words:?}");
    let object = json.json();
    assert_eq!(object["error"]["code"], error, "{words:?}");
    assert_eq!(object["error"]["changed"], false, "{words:?}");
    let told = object["error"]["message"].as_str().expect("a message");
    assert!(message.starts_with(told), "{words:?}: {told} is not the beginning of {message}");
}

#[test]
fn what_is_wrong_without_any_node() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path();
    let home = folder.join("home");
    let none =
        format!("there is no node under {} (nothing changed); next: weft up", folder.join("data/weft").display());
    let missing = format!("there is no node in {} (nothing changed); next: weft up", home.display());
    let no_proof = folder.join("no-proof");
    let (home, no_proof) = (home.display().to_string(), no_proof.display().to_string());
    let neither = format!("{home} is neither an export nor the home of a node (nothing changed)");
    let not_there = format!("{no_proof}: No such file or directory (os error 2) (nothing changed)");
    let token = |said: &str| format!("{said} (nothing changed); next: weft invite, on a member, makes a new one");
    let prefix = token("not a weft token: it must begin with weft1");
    let cut = token("the token is cut or mistyped: its checksum does not match");
    let not_a_trace = "`banana` is not a trace id (t- and 16 hexadecimal digits) (nothing changed)";
    let not_a_target = "`Echo` is not a target (echo, echo@beta, #12.3@beta or topic:jobs) (nothing changed)";
    let cases: Vec<(Vec<&str>, i32, &str, &str)> = vec![
        (vec!["status"], 6, "not-running", &none),
        (vec!["status", "--home", &home], 6, "not-running", &missing),
        (vec!["down"], 6, "not-running", &none),
        (vec!["call", "echo", "hi"], 6, "not-running", &none),
        (vec!["join", "hello"], 7, "bad-token", &prefix),
        (vec!["join", "weft1"], 7, "bad-token", &cut),
        (vec!["join", "weft1XPEpcPqBhYLUSVt6osTPZ6w6Yc6hsoFCumJM3WaJJRvg"], 7, "bad-token", &cut),
        (vec!["trace", "banana"], 7, "invalid", not_a_trace),
        (vec!["call", "Echo", "hi"], 7, "invalid", not_a_target),
        (
            vec!["send", "#12@beta", "hi"],
            7,
            "invalid",
            "`#12@beta` is not a target (echo, echo@beta, #12.3@beta or topic:jobs) (nothing changed)",
        ),
        (
            vec!["call", "echo", "hi", "--receipt", "received"],
            2,
            "usage",
            "a call waits for its answer; `received` does not (nothing changed); next: weft send, or --receipt executed+durable",
        ),
        (
            vec!["agent", "spawn", "summarizer"],
            2,
            "usage",
            "`summarizer` is no built-in agent, so it must be said what runs (nothing changed); \
             next: --builtin echo|counter|clock, or --exec 'CMD'",
        ),
        (
            vec!["agent", "spawn", "Loud", "--builtin", "echo"],
            7,
            "invalid",
            "`Loud` is not a name (1 to 63 of a-z 0-9 - _, beginning with a letter or digit) (nothing changed)",
        ),
        (
            vec!["agent", "spawn", "x", "--exec", "python3 'agent"],
            7,
            "invalid",
            "--exec: a single quote is not closed (nothing changed)",
        ),
        (vec!["chain", "verify", "--offline", &home], 4, "not-found", &neither),
        (vec!["chain", "check-proof", &no_proof, "--any-node"], 4, "not-found", &not_there),
        (
            vec!["statsu"],
            2,
            "usage",
            "unrecognized subcommand 'statsu'; a similar subcommand exists: 'status' (nothing changed); \
             next: weft [OPTIONS] <COMMAND>",
        ),
        (
            vec!["members", "--nod", "beta"],
            2,
            "usage",
            "unexpected argument '--nod' found; a similar argument exists: '--node' (nothing changed); \
             next: weft members --node <NAME>",
        ),
        (
            vec!["call", "echo", "hi", "--deadline", "soon"],
            2,
            "usage",
            "invalid value 'soon' for '--deadline <TIME>': not a duration (500ms, 5s, 1h) (nothing changed)",
        ),
        (
            vec!["agent", "spawn", "x", "--builtin", "ecko"],
            2,
            "usage",
            "invalid value 'ecko' for '--builtin <KIND>': `ecko` is not a built-in agent (echo, counter or clock) \
             (nothing changed)",
        ),
        (
            vec!["agent", "spawn", "echo", "--grant", "fly:me"],
            2,
            "usage",
            "invalid value 'fly:me' for '--grant <RIGHT:PATTERN>': `fly:me` is not a grant (right:pattern, as call:echo@beta \
             or publish:jobs.*) (nothing changed)",
        ),
        (
            vec!["agent", "spawn", "echo", "--limit", "memory=64mb"],
            2,
            "usage",
            "invalid value 'memory=64mb' for '--limit <WHAT=BOUND>': not a bound (memory=64MiB, cpu=10s, disk=10MiB, messages=1000, tool-calls=100, or =none) (nothing changed)",
        ),
        (
            vec!["invite", "--role", "king"],
            2,
            "usage",
            "invalid value 'king' for '--role <ROLE>': `king` is not a role (admin, worker or observer) (nothing changed)",
        ),
        (
            vec!["pub", "jobs.*", "x"],
            2,
            "usage",
            "invalid value 'jobs.*' for '<TOPIC>': `jobs.*` is not an exact topic (words of a-z A-Z 0-9 - _ joined by \
             dots, at most 128 bytes; only subscribers use * and >) (nothing changed)",
        ),
        (
            vec!["pub", "jobs..new", "x"],
            2,
            "usage",
            "invalid value 'jobs..new' for '<TOPIC>': `jobs..new` is not an exact topic (words of a-z A-Z 0-9 - _ joined by \
             dots, at most 128 bytes; only subscribers use * and >) (nothing changed)",
        ),
        (
            vec!["status", "--home", &home, "--node", "beta"],
            2,
            "usage",
            "the argument '--home <DIR>' cannot be used with '--node <NAME>' (nothing changed); \
             next: weft status --home <DIR>",
        ),
    ];
    for (words, code, error, message) in cases {
        let said = run_in(folder, &words);
        let json = run_in(folder, &[&words[..], &["--json"]].concat());
        check(&said, &json, code, error, message, &words);
    }
    assert_eq!(files(folder), Vec::new(), "nothing was written");
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path();
    let home = folder.join("home");
    std::fs::create_dir(&home).expect("a folder");
    let file = home.join("config.toml");
    let (path, shown) = (home.display().to_string(), file.display().to_string());
    let cases = [
        ("lissten = []\n", "1: unknown key `lissten`; did you mean `listen`?"),
        ("name = \"alpha\"\n\n[limits]\n", "3: unknown key `limits`; known keys: name, listen, log, log_format"),
        ("name = \"alpha\"\nlog_format = \"xml\"\n", "2: unknown variant `xml`, expected `text` or `json`"),
        ("name = \"Al Pha\"\n", "1: `Al Pha` is not a name (1 to 63 of a-z 0-9 - _, beginning with a letter or digit)"),
    ];
    for (text, problem) in cases {
        std::fs::write(&file, text).expect("written");
        let before = files(folder);
        let words = ["up", "--home", &path];
        let (said, json) = (run_in(folder, &words), run_in(folder, &["up", "--home", &path, "--json"]));
        check(&said, &json, 7, "bad-config", &format!("{shown}:{problem} (nothing changed)"), &words);
        assert_eq!(files(folder), before, "{text}");
    }
}

#[test]
fn what_a_running_node_refuses() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path();
    let node = Node::found(folder, "alpha");
    let home = node.home.display().to_string();
    let started = || !node.weft(&["chain", "log", "--kind", "effect.outcome"]).stdout.is_empty();
    wait_for("the start of echo is recorded", BOUND, || started().then_some(()));
    let events = || node.json(&["chain", "status"])["events"].as_u64().expect("a number");
    let (files_before, events_before) = (files(folder), events());
    let locked = format!(
        "{home} is in use by a running node (process {}) (nothing changed); \
         next: weft status, or another node beside it: --name other",
        node.pid()
    );
    let other_name = format!(
        "the node in {home} goes by the name alpha, and a name does not change (nothing changed); \
         next: leave --name out, or name another --home"
    );
    let offline = format!(
        "{home} is in use by a running node (process {}) (nothing changed); \
         next: weft chain verify, without --offline, while it runs",
        node.pid()
    );
    let cases: Vec<(Vec<&str>, i32, &str, &str)> = vec![
        (vec!["up"], 1, "locked", &locked),
        (vec!["up", "--detach"], 1, "locked", &locked),
        (vec!["up", "--name", "beta"], 7, "other-name", &other_name),
        (vec!["invite", "--uses", "0"], 7, "invalid", "an invite has 1 to 1024 uses (nothing changed); next: --uses 1"),
        (
            vec!["invite", "--ttl", "30days"],
            7,
            "invalid",
            "an invite lasts at least a millisecond and at most 7days (nothing changed); next: --ttl 1h",
        ),
        (
            vec!["invite", "revoke", "0000000000000000"],
            4,
            "not-found",
            "this node has issued no invite 0000000000000000 (nothing changed); next: weft invite ls",
        ),
        (
            vec!["agent", "inspect", "ecko"],
            4,
            "not-found",
            "no agent ecko on this node (nothing changed); next: did you mean echo?",
        ),
        (
            vec!["agent", "stop", "summarizer"],
            4,
            "not-found",
            "no agent summarizer on this node (nothing changed); next: weft agent ls",
        ),
        (
            vec!["call", "echo", "hi", "--deadline", "2h"],
            7,
            "invalid",
            "a deadline is at least a millisecond and at most 3600 s (nothing changed); next: --deadline 5s",
        ),
        (
            vec!["trace", "t-0000000000000000"],
            4,
            "not-found",
            "nobody that can be asked has recorded t-0000000000000000 (nothing changed); \
             next: weft call prints the id of its trace",
        ),
        (
            vec!["pub", "jobs", "x", "--wait-for", "1", "--deadline", "10ms"],
            5,
            "deadline",
            "0 of 1 subscribers of jobs are known; nothing was published (nothing changed); \
             next: give them more time: --deadline",
        ),
    ];
    for (words, code, error, message) in cases {
        let said = node.weft(&words);
        let json = node.weft(&[&words[..], &["--json"]].concat());
        check(&said, &json, code, error, message, &words);
    }
    let words = ["chain", "verify", "--offline", &home];
    let (said, json) = (run_in(folder, &words), run_in(folder, &[&words[..], &["--json"]].concat()));
    check(&said, &json, 1, "locked", &offline, &words);
    assert_eq!(events(), events_before, "nothing was recorded");
    assert_eq!(files(folder), files_before, "nothing was written");

    // What nobody answers is recorded as refused; it changes nothing else.
    let message = "no responder: ecko (nothing changed); next: did you mean echo@alpha?";
    let words = ["call", "ecko", "hi"];
    check(&node.weft(&words), &node.weft(&[&words[..], &["--json"]].concat()), 4, "no-responder", message, &words);
}

#[test]
fn what_the_door_refuses() {
    let temporary = tempfile::tempdir().expect("a folder");
    let node = Node::found(temporary.path(), "alpha");
    let body = |value: Value| Some(value);
    let unknown_field =
        "the body: unknown field `text`, expected one of `target`, `payload`, `receipt`, `deadline_ms`, `trace`";
    let cases = [
        ("GET", "/v1/nothing", None, 404, "not-found", "nothing is served at /v1/nothing"),
        ("PUT", "/v1/status", None, 405, "no-such-method", "PUT is not served at /v1/status"),
        ("POST", "/v1/send", body(json!({"target": "echo"})), 400, "invalid", "the body: missing field `payload`"),
        ("POST", "/v1/send", body(json!({"target": "echo", "text": "hi"})), 400, "invalid", unknown_field),
        (
            "POST",
            "/v1/send",
            body(json!({"target": "echo", "payload": {"base64": "?"}})),
            400,
            "invalid",
            "payload: `base64` does not hold base64 with padding",
        ),
        (
            "POST",
            "/v1/call",
            body(json!({"target": "echo", "payload": "hi", "receipt": "received"})),
            400,
            "invalid",
            "a call waits for its answer; `received` does not",
        ),
        (
            "POST",
            "/v1/call",
            body(json!({"target": "echo", "payload": "hi", "deadline_ms": 0})),
            400,
            "invalid",
            "a deadline is at least a millisecond and at most 3600 s",
        ),
        ("POST", "/v1/agents", body(json!({"agent": "x", "exec": []})), 400, "invalid", "`exec` names no program"),
        ("POST", "/v1/topics/a..b", body(json!({"payload": "x"})), 400, "invalid", "`a..b` is not an exact topic"),
        ("GET", "/v1/chain/events?form=1", None, 400, "invalid", "the query: Failed to deserialize query string"),
        ("GET", "/v1/chain/events?node=nobody", None, 404, "no-responder", "no responder: no member nobody"),
        ("GET", "/v1/chain/proof/1000000", None, 404, "not-found", "the chain has "),
        ("GET", "/v1/chain/proof/x", None, 400, "invalid", "`x` is not a place on a chain"),
        ("POST", "/v1/chain/export", body(json!({"path": "here"})), 400, "invalid", "here is not an absolute path"),
    ];
    for (method, path, body, status, code, message) in cases {
        let (answered, error) = node.api(method, path, body.as_ref()).expect("an answer");
        assert_eq!((answered, &error["error"]["code"]), (status, &json!(code)), "{method} {path}: {error}");
        let told = error["error"]["message"].as_str().expect("a message");
        assert!(told.starts_with(message), "{method} {path}: {told}");
        assert_eq!(error["error"]["changed"], false, "{method} {path}");
    }

    let large = json!({"target": "echo", "payload": "x".repeat(1024 * 1024)});
    let (status, error) = node.api("POST", "/v1/send", Some(&large)).expect("an answer");
    assert_eq!((status, &error["error"]["code"]), (413, &json!("too-large")), "{error}");
}

#[test]
fn the_door_opens_for_the_token_alone() {
    let temporary = tempfile::tempdir().expect("a folder");
    let node = Node::found(temporary.path(), "alpha");
    let token = node.home.join("operator.token");
    let right = std::fs::read_to_string(&token).expect("a token");
    for wrong in ["", "0", &right[..63], &format!("{right}0"), &right.to_uppercase()] {
        if wrong == right {
            continue;
        }
        std::fs::write(&token, wrong).expect("written");
        let (status, error) = api(&node.home, "GET", "/v1/status", None).expect("an answer");
        assert_eq!((status, &error["error"]["code"]), (401, &json!("unauthorized")), "{wrong}: {error}");
        let said = node.weft(&["status"]);
        assert_eq!(said.code, 3, "{said:?}");
    }
    std::fs::write(&token, &right).expect("written");
    let (status, _) = api(&node.home, "GET", "/v1/status", None).expect("an answer");
    assert_eq!(status, 200);
}
