//! The gates from outside: rules and explanations, what a production node defers to a person, and who decided on the chain.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, run, wait_for};

/// Turns the running node into one of this environment.
fn become_one_of(node: &Node, environment: &str, more: &str) {
    let file = format!("environment = \"{environment}\"\n{more}");
    std::fs::write(node.home.join("config.toml"), file).expect("written");
    let report = node.json(&["config", "reload"]);
    assert!(report["changed"].as_array().is_some_and(|changed| !changed.is_empty()), "{report}");
}

fn pending(node: &Node) -> Vec<Value> {
    node.json(&["gate", "pending"])["pending"].as_array().expect("rows").clone()
}

fn events(node: &Node, kind: &str) -> Vec<Value> {
    let said = node.weft(&["chain", "log", "--kind", kind, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn agents(node: &Node) -> Vec<String> {
    let listed = node.json(&["agent", "ls"]);
    let rows = listed["agents"].as_array().expect("rows");
    rows.iter().filter_map(|row| row["agent"].as_str().map(str::to_owned)).collect()
}

#[test]
fn what_is_deferred_does_not_happen_before_a_person_approves_it_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::found(folder.path(), "alpha");
    become_one_of(&node, "production", "");
    assert_eq!(events(&node, "node.configured")[0]["detail"]["changes"][0]["to"], "production");

    let spawn = ["agent", "spawn", "words", "--builtin", "echo"];
    let deferred = node.weft(&spawn);
    let waits = pending(&node);
    let id = waits[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (deferred.code, &*deferred.stderr),
        (
            3,
            &*format!(
                "error: deferred by rule GOV-006 until a person approves it, as {id} (nothing changed); \
                 next: weft gate approve {id} --as NAME, then the same again; weft gate pending shows all\n"
            )
        )
    );
    let told = &waits[0];
    assert_eq!(
        json!([told["by"], told["action"], told["resource"], told["rule"], told["state"], told["decided_by"]]),
        json!(["operator", "spawn", "words", "GOV-006", "waiting", null])
    );
    assert_eq!(agents(&node), ["echo"], "it has not happened");
    assert_eq!(events(&node, "effect.intent").len(), 1, "the agent of the first start");

    node.kill();
    node.restart();
    assert_eq!(pending(&node), waits, "it waits on over a crash");

    let nameless = node.weft(&["gate", "approve", &id]);
    assert_eq!(nameless.code, 2, "{nameless:?}");
    let approved = node.json(&["gate", "approve", &id, "--as", "Ada Lovelace", "--why", "for the demo"]);
    assert_eq!(json!([approved["state"], approved["name"]]), json!(["approved", "Ada Lovelace"]));
    assert_eq!(agents(&node), ["echo"], "an approval starts nothing");

    node.kill();
    node.restart();
    assert_eq!(pending(&node)[0]["state"], "approved");
    node.json(&spawn);
    assert_eq!(agents(&node), ["echo", "words"]);
    assert_eq!(pending(&node), Vec::<Value>::new());
    let decided = &events(&node, "gate.approved")[0];
    assert_eq!(decided["detail"], json!({"deferral": id, "name": "Ada Lovelace", "why": "for the demo"}));
    assert_eq!(decided["summary"], format!("Ada Lovelace approves {id}: for the demo"));
    assert_eq!(events(&node, "gate.approval-spent").len(), 1);

    let again = node.weft(&["gate", "approve", &id, "--as", "Ada"]);
    assert_eq!(again.code, 7);
    assert!(again.stderr.contains(&format!("{id} was approved and has happened")), "{again:?}");
    let second = node.weft(&["agent", "spawn", "more", "--builtin", "echo"]);
    assert_eq!(second.code, 3, "an approval is of one thing: {second:?}");

    let log = node.json(&["gate", "log"]);
    let decisions = log["decisions"].as_array().expect("rows");
    assert!(
        decisions.iter().all(|row| row["rules"]
            .as_array()
            .is_some_and(|rules| { !rules.is_empty() || row["kind"] == "gate.approval-spent" })),
        "{log}"
    );
    let spawned = decisions.iter().rfind(|row| row["kind"] == "effect.intent").expect("the spawn");
    assert_eq!(spawned["rules"], json!([format!("operator-local#1 approved {id}")]));
    let kinds = decisions.iter().map(|row| row["kind"].as_str().expect("a kind"));
    let kinds = kinds.filter(|kind| kind.starts_with("gate."));
    let expected =
        ["gate.deferred", "gate.warned", "gate.approved", "gate.approval-spent", "gate.warned", "gate.deferred"];
    assert_eq!(kinds.collect::<Vec<_>>(), expected, "a decision of a person is one that rules warn of");
    let verified = node.json(&["chain", "verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
}

#[test]
fn a_no_says_who_and_why_and_what_nobody_decides_expires() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::found(folder.path(), "alpha");
    become_one_of(&node, "production", "[kernel]\napproval = \"3s\"\n");
    let invite = ["invite", "--json"];
    assert_eq!(node.weft(&invite).json_error(), ("deferred".to_owned(), 3));
    let id = pending(&node)[0]["id"].as_str().expect("an id").to_owned();
    let why = node.weft(&["gate", "deny", &id, "--as", "Bob"]);
    assert_eq!(why.code, 2, "{why:?}");
    let denied = node.json(&["gate", "deny", &id, "--as", "Bob", "--why", "no strangers today"]);
    assert_eq!(denied["state"], "denied");
    let again = node.weft(&["invite"]);
    assert_eq!(again.code, 3);
    assert!(again.stderr.contains(&format!("denied by rule GOV-001 denied by Bob as {id}")), "{again:?}");
    assert_eq!(events(&node, "gate.denied-by")[0]["detail"]["why"], "no strangers today");
    assert_eq!(events(&node, "invite.issued").len(), 0);

    node.weft(&["agent", "spawn", "words", "--builtin", "echo"]);
    wait_for("nobody decides", Duration::from_secs(10), || {
        Some(events(&node, "gate.deferral-expired")).filter(|expired| expired.len() == 1)
    });
    let late = pending(&node);
    assert_eq!(late, Vec::<Value>::new());
    let id = events(&node, "gate.deferral-expired")[0]["detail"]["deferral"].as_str().expect("an id").to_owned();
    let late = node.weft(&["gate", "approve", &id, "--as", "Ada"]);
    assert_eq!(late.code, 7);
    assert!(late.stderr.contains(&format!("the time of {id} is over: whoever asked may ask again")), "{late:?}");
}

#[test]
fn rules_are_listed_and_decisions_explained_without_changing_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::found(folder.path(), "alpha");
    let rules = node.json(&["gate", "rules"]);
    assert_eq!((&rules["version"], &rules["environment"]), (&json!(1), &json!("development")));
    assert_eq!(rules["capability"].as_array().map(Vec::len), Some(4));
    assert_eq!(rules["rules"].as_array().map(Vec::len), Some(22));
    assert_eq!(rules["hash"], rules["genesis_hash"], "nothing was amended");
    let text = node.weft(&["gate", "rules"]).stdout;
    for word in ["default-closed#4", "GOV-001", "SOP-J004", "judicial", "blocking", "version 1"] {
        assert!(text.contains(word), "{word}: {text}");
    }

    let before = node.json(&["chain", "status"])["events"].clone();
    let explain = |words: &[&str]| node.json(&[&["gate", "explain"], words].concat());
    let now = explain(&["operator", "spawn", "words"]);
    assert_eq!(
        json!([now["decision"], now["rule"], now["environment"]]),
        json!(["permit", "operator-local#1", "development"])
    );
    let strict = explain(&["operator", "spawn", "words", "--env", "production"]);
    assert_eq!(json!([strict["decision"], strict["rule"]]), json!(["defer", "GOV-006"]));
    assert_eq!(strict["effects"], json!({"novelty": 200, "risk": 500}));
    assert_eq!(json!([strict["magnitude"], strict["threshold"]]), json!([538, 300]));
    let applying = strict["applying"].as_array().expect("rules").iter().map(|rule| rule["id"].as_str().expect("an id"));
    assert_eq!(applying.collect::<Vec<_>>(), ["GOV-004", "GOV-006", "SOP-L006", "SOP-J004"]);
    let abroad = explain(&["operator", "spawn", "words", "--env", "production", "--role", "admin"]);
    assert_eq!(json!([abroad["decision"], abroad["rule"]]), json!(["deny", "GOV-006"]), "nobody there decides");
    let poor = explain(&["echo", "call", "echo"]);
    assert_eq!(json!([poor["decision"], poor["rule"]]), json!(["deny", "default-closed#4"]));
    node.json(&["cap", "grant", "echo", "call:echo"]);
    let rich = explain(&["echo", "call", "echo@alpha"]);
    assert_eq!(json!([rich["decision"], rich["rule"]]), json!(["permit", "grant#3"]), "{rich}");
    assert!(rich["grant"].is_string());
    let text = node.weft(&["gate", "explain", "operator", "spawn", "words", "--env", "production"]).stdout;
    assert!(text.starts_with("operator spawn words in production: deferred to a person by rule GOV-006\n"), "{text}");
    let after = node.json(&["chain", "status"])["events"].as_u64();
    assert_eq!(after, before.as_u64().map(|before| before + 1), "the grant, and nothing else");
    assert_eq!(pending(&node), Vec::<Value>::new());

    let typo = run(&["gate", "explain", "operator", "spwan", "words", "--home", node.home.to_str().expect("a path")]);
    assert_eq!(typo.code, 2, "{typo:?}");
    assert!(typo.stderr.contains("next: weft gate explain operator spawn words"), "{typo:?}");
    let help = run(&["gate", "explain", "--help"]).stdout;
    assert!(help.contains("register-service") && help.contains("read-dead-letters"), "{help}");
}

#[test]
fn more_than_half_of_the_admins_change_a_rule_for_all_and_nobody_is_cut_off_by_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let beta = Node::join(folder.path(), "beta", &alpha.invite(&["--role", "admin"]));
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    let version = |node: &Node| node.json(&["gate", "rules"])["version"].as_u64().expect("a number");
    let rule = folder.path().join("rule.toml");
    let text = "id = \"OWN-1\"\ndescription = \"no agent called words\"\nbranch = \"executive\"\nseverity = \"critical\"\n\
                when = [{ action = [\"spawn\"] }, { resource = [\"words\"] }]\n";
    std::fs::write(&rule, text).expect("written");
    let rule = rule.to_str().expect("a path");

    let foreign = alpha.weft(&["gate", "amend", "--branch", "judicial", "--add", rule]);
    assert_eq!(foreign.code, 7, "{foreign:?}");
    assert!(foreign.stderr.contains("OWN-1 is of the executive branch, which alone changes it"), "{foreign:?}");
    let proposed = alpha.json(&["gate", "amend", "--branch", "executive", "--add", rule]);
    assert_eq!(
        json!([proposed["version"], proposed["support"], proposed["admins"], proposed["in_force"]]),
        json!([2, 1, 2, false])
    );
    assert_eq!(version(&alpha), 1, "one of two is not more than half");
    wait_for("beta hears of it", BOUND, || {
        let listed = beta.json(&["gate", "amendments"]);
        Some(listed["amendments"].as_array()?.first()?.clone()).filter(|one| one["proposer"] == "alpha")
    });
    let endorsed = beta.json(&["gate", "endorse", "2"]);
    assert_eq!(json!([endorsed["support"], endorsed["in_force"]]), json!([2, true]));
    assert_eq!(version(&beta), 2);
    wait_for("alpha hears that it counts", BOUND, || (version(&alpha) == 2).then_some(()));
    for node in [&alpha, &beta] {
        let denied = node.weft(&["agent", "spawn", "words", "--builtin", "echo"]);
        assert_eq!(denied.code, 3, "{denied:?}");
        assert!(denied.stderr.contains("denied by rule OWN-1"), "{denied:?}");
        let rules = node.json(&["gate", "rules"]);
        assert_ne!(rules["hash"], rules["genesis_hash"]);
    }
    alpha.kill();
    alpha.restart();
    assert_eq!(version(&alpha), 2, "it stays so over a crash");
    alpha.wait_alive("beta", BOUND);
    assert_eq!(alpha.json(&["call", "echo@beta", "hi"])["reply"], "hi", "both talk to each other as before");
    let gamma = Node::join(folder.path(), "gamma", &alpha.invite(&[]));
    wait_for("who joins later learns of it", BOUND, || (version(&gamma) == 2).then_some(()));
    let voiceless = gamma.weft(&["gate", "amend", "--branch", "executive", "--retire", "OWN-1"]);
    assert_eq!(voiceless.code, 3, "a worker has no say: {voiceless:?}");
    let retired = beta.json(&["gate", "amend", "--branch", "executive", "--retire", "OWN-1"]);
    assert_eq!(retired["in_force"], false);
}
