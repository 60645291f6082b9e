//! Topics between real nodes: late subscribers, a killed publisher, a stream that is cut and goes on; and dead letters.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, wait_for};

/// A stream of server-sent events through the door of a node.
struct Events {
    lines: BufReader<UnixStream>,
}

/// One event.
#[derive(Debug)]
struct Event {
    id: Option<String>,
    name: Option<String>,
    data: Value,
}

impl Events {
    fn open(home: &Path, path: &str, last: Option<&str>) -> Self {
        let token = std::fs::read_to_string(home.join("operator.token")).expect("the token");
        let mut stream = UnixStream::connect(home.join("api.sock")).expect("the door");
        stream.set_read_timeout(Some(BOUND)).expect("a timeout");
        let last = last.map_or_else(String::new, |last| format!("last-event-id: {last}\r\n"));
        let token = token.trim();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: weft\r\nauthorization: Bearer {token}\r\n{last}\r\n")
            .expect("sent");
        let mut lines = BufReader::new(stream);
        let mut status = String::new();
        lines.read_line(&mut status).expect("an answer");
        assert!(status.contains(" 200 "), "{path}: {status}");
        Self { lines }
    }

    /// The next event. Chunk sizes and comments are passed over: none of them begins like a field.
    fn next(&mut self) -> Event {
        let (mut id, mut name) = (None, None);
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).expect("an event in time"), 0, "the stream ended");
            match line.trim_end().split_once(": ") {
                Some(("id", text)) => id = Some(text.to_owned()),
                Some(("event", text)) => name = Some(text.to_owned()),
                Some(("data", text)) => {
                    let data = serde_json::from_str(text).expect("JSON");
                    // The id may follow its data.
                    let mut next = String::new();
                    self.lines.read_line(&mut next).expect("the rest of the event");
                    if let Some(("id", text)) = next.trim_end().split_once(": ") {
                        id = Some(text.to_owned());
                    }
                    return Event { id, name, data };
                }
                _ => {}
            }
        }
    }

    fn texts(&mut self, count: usize) -> (Vec<String>, String) {
        let events: Vec<Event> = (0..count).map(|_| self.next()).collect();
        let texts = events.iter().map(|event| event.data["payload"].as_str().unwrap_or_default().to_owned()).collect();
        (texts, events.last().and_then(|event| event.id.clone()).expect("an id"))
    }
}

fn publish(node: &Node, text: &str) -> u64 {
    node.json(&["pub", "jobs.new", text])["seq"].as_u64().expect("a number")
}

fn history(node: &Node, words: &[&str]) -> Vec<Value> {
    let mut all = vec!["sub"];
    all.extend(words);
    all.push("--json");
    let said = node.weft(&all);
    assert_eq!(said.code, 0, "{said:?}");
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn texts(history: &[Value]) -> Vec<&str> {
    history.iter().map(|event| event["payload"].as_str().expect("text")).collect()
}

#[test]
fn a_late_subscriber_misses_nothing_a_killed_publisher_repeats_nothing_and_a_cut_stream_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let beta = Node::join(folder.path(), "beta", &alpha.invite(&[]));
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);

    // Nobody listened to these.
    let numbers: Vec<u64> = ["one", "two", "three"].iter().map(|text| publish(&alpha, text)).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(texts(&history(&beta, &["jobs.new", "--last", "2", "--count", "2"])), ["two", "three"]);
    assert_eq!(texts(&history(&beta, &["jobs.*", "--since", "10m", "--count", "3"])), ["one", "two", "three"]);

    alpha.kill();
    alpha.restart();
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    let number = publish(&alpha, "four");
    assert!(number > 3, "{number} was given before");
    let all = history(&beta, &["jobs.>", "--since", "10m", "--count", "4"]);
    assert_eq!(texts(&all), ["one", "two", "three", "four"]);
    for pair in all.windows(2) {
        assert_eq!(pair[0]["seq"], pair[1]["prev"], "what was skipped is announced: {pair:?}");
    }

    // A reader that is cut goes on where it was, though its node did not follow the topic meanwhile.
    let path = "/v1/topics/jobs.*/events";
    let mut stream = Events::open(&beta.home, &format!("{path}?last=2"), None);
    let (seen, cursor) = stream.texts(1);
    assert_eq!(seen, ["three"]);
    drop(stream);
    let unfollowed = || {
        let topics = beta.json(&["topics"]);
        let topics = topics["topics"].as_array().expect("a list").clone();
        topics.iter().all(|topic| topic["subscribers"] == 0).then_some(())
    };
    wait_for("the end of the subscription", BOUND, unfollowed);
    publish(&alpha, "five");
    let mut stream = Events::open(&beta.home, path, Some(&cursor));
    let (seen, _) = stream.texts(2);
    assert_eq!(seen, ["four", "five"]);
    let said = alpha.weft(&["pub", "jobs.new", "x", "--wait-for", "2", "--deadline", "300ms", "--json"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.stdout.contains("1 of 2 subscribers of jobs.new are known"), "{said:?}");
    alpha.json(&["pub", "jobs.new", "six", "--wait-for", "1"]);
    let (seen, cursor) = stream.texts(1);
    assert_eq!(seen, ["six"], "what waited for too many subscribers was not published");
    drop(stream);

    // And after a kill of its own node.
    let mut beta = beta;
    beta.kill();
    publish(&alpha, "seven");
    beta.restart();
    beta.wait_alive("alpha", BOUND);
    let mut stream = Events::open(&beta.home, path, Some(&cursor));
    assert_eq!(stream.texts(1).0, ["seven"]);

    let topics = beta.json(&["topics"]);
    let row = topics["topics"].as_array().expect("a list").iter().find(|row| row["topic"] == "jobs.new").cloned();
    let row = row.expect("it is known");
    assert_eq!((&row["history"]["publications"], &row["subscribers"]), (&json!(7), &json!(1)), "{row}");
    assert_eq!(row["publishers"][0]["name"], "alpha");
    let (code, refused) = alpha.api("POST", "/v1/topics/jobs.*", Some(&json!({"payload": "x"}))).expect("an answer");
    assert_eq!((code, &refused["error"]["code"]), (400, &json!("invalid")), "{refused}");
}

#[test]
fn the_events_of_a_node_go_on_where_a_reader_was_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let mut events = Events::open(&alpha.home, "/v1/events?from=0", None);
    let first = std::iter::from_fn(|| Some(events.next())).find(|event| event.id.is_some()).expect("endless");
    assert_eq!((first.id.as_deref(), first.name.as_deref()), (Some("0"), Some("chain")));
    assert_eq!(first.data["kind"], "genesis");
    drop(events);
    alpha.json(&["agent", "spawn", "counter"]);
    let mut events = Events::open(&alpha.home, "/v1/events", Some("0"));
    let mut next = 1;
    let mut states = 0;
    loop {
        let event = events.next();
        match event.id {
            Some(id) => {
                assert_eq!(id, next.to_string(), "neither hole nor duplicate");
                next += 1;
                if event.data["kind"] == "effect.intent" {
                    assert_eq!(event.name.as_deref(), Some("agent"));
                    break;
                }
            }
            None => {
                assert_eq!((event.name.as_deref(), &event.data["state"]), (Some("member-state"), &json!("alive")));
                states += 1;
            }
        }
    }
    assert_eq!(states, 1, "the node itself");
}

#[test]
fn a_message_that_was_given_up_waits_for_a_person_across_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let mut beta = Node::join(folder.path(), "beta", &alpha.invite(&[]));
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    let letters = |node: &Node| node.json(&["dlq", "ls"])["letters"].as_array().expect("a list").clone();
    assert_eq!(letters(&alpha), Vec::<Value>::new());
    for text in ["hello", "unwanted"] {
        let said = alpha.weft(&["call", "ghost@beta", text, "--receipt", "durable"]);
        assert_eq!(said.code, 4, "{said:?}");
    }
    alpha.kill();
    alpha.restart();
    alpha.wait_alive("beta", BOUND);
    let kept = letters(&alpha);
    let shown: Vec<(&Value, &Value)> = kept.iter().map(|letter| (&letter["payload"], &letter["reason"])).collect();
    let reason = json!("no-responder");
    assert_eq!(shown, [(&json!("hello"), &reason), (&json!("unwanted"), &reason)]);
    let id = |letter: &Value| letter["id"].as_str().expect("an id").to_owned();

    assert_eq!(alpha.json(&["dlq", "drop", &id(&kept[1])])["id"], kept[1]["id"]);
    assert_eq!(alpha.weft(&["dlq", "drop", &id(&kept[1])]).code, 4, "once");
    beta.json(&["agent", "spawn", "ghost", "--builtin", "echo"]);
    let retried = alpha.json(&["dlq", "retry", &id(&kept[0])]);
    assert_eq!((&retried["reply"], &retried["retried"]), (&json!("hello"), &kept[0]["id"]), "{retried}");
    assert_ne!(retried["id"], kept[0]["id"], "it is a message of its own");
    assert_eq!(letters(&alpha), Vec::<Value>::new());
    let log = alpha.weft(&["chain", "log", "--kind", "ipc.dead-letter*", "--json"]);
    let kinds: Vec<String> = log
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["kind"].as_str().expect("a kind").to_owned())
        .collect();
    let expected = ["ipc.dead-lettered", "ipc.dead-lettered", "ipc.dead-letter-removed", "ipc.dead-letter-retried"];
    assert_eq!(kinds, expected);

    alpha.weft(&["call", "nobody@beta", "again", "--receipt", "durable"]);
    let kept = letters(&alpha);
    beta.down();
    let said = wait_for("beta is known to be away", BOUND, || {
        let said = alpha.weft(&["call", "echo@beta", "hi", "--deadline", "1s"]);
        said.stderr.contains("unreachable").then_some(said)
    });
    assert!(said.stderr.starts_with("error: beta is unreachable"), "{said:?}");
    let said = alpha.weft(&["dlq", "retry", &id(&kept[0]), "--deadline", "100ms", "--json"]);
    assert_eq!((said.code, &said.json()["error"]["changed"]), (5, &json!(true)), "its letter is another one: {said:?}");
    let again = letters(&alpha);
    assert_eq!((again.len(), &again[0]["payload"], &again[0]["reason"]), (1, &json!("again"), &json!("deadline")));
    assert_ne!(again[0]["id"], kept[0]["id"]);
}
