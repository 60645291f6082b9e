//! Answers in parts across two nodes: as they come, no faster than they are read, and cancelled when the reader goes away.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::agents::script;
use crate::cluster::{BOUND, Node, signal, wait_for, weft};
use crate::remote::two;

/// Told `count N` it says the numbers below N; `large N` so many parts of 64 KiB; `wait`, that it waits, and then nothing.
/// Told `sent` it says how many parts there was room for, `cancelled` how many messages were cancelled, and `heard` whether it was
/// ever told to wait. Told `relay` it calls an agent that answers in parts, and `give-up` itself, to wait, and takes that back.
const STREAMER: &str = r#"
import threading
from weft_agent import Agent, Refused
sent, cancelled, heard, never = [], [], threading.Event(), threading.Event()
def answer(agent, message):
    word, _, count = message["payload"]["text"].partition(" ")
    if word == "count":
        for number in range(int(count)):
            agent.stream(message, {"text": f"{number}\n"})
        return {"text": "done"}
    if word == "large":
        for number in range(int(count)):
            agent.stream(message, {"text": "x" * 65536})
            sent.append(number)
        return {"text": "done"}
    if word == "relay":
        parts = []
        answer = agent.call_in_parts("echo", {"text": "to be or not"}, parts.append, trace=message["trace"])
        return {"json": [parts, answer["reply"], answer["parts"]]}
    if word == "give-up":
        said, call = [], agent._last_id + 1
        def ask():
            try:
                agent.call("streamer", {"text": "wait"}, deadline_ms=60000)
            except Refused as error:
                said.append(error.code)
        asking = threading.Thread(target=ask)
        asking.start()
        heard.wait()
        agent.request("cancel", id=call)
        asking.join()
        return {"text": said[0]}
    if word == "wait":
        heard.set()
        if message.get("parts"):
            agent.stream(message, {"text": "waiting\n"})
        else:
            sent.append(0)
        never.wait()
    if word == "heard":
        return {"text": str(int(heard.is_set()))}
    return {"text": str(len(sent if word == "sent" else cancelled))}
Agent(answer, cancelled=lambda agent, message: cancelled.append(message)).run()
"#;

fn streamer(beta: &Node, folder: &std::path::Path) {
    let command = script(folder, STREAMER);
    beta.json(&["agent", "spawn", "streamer", "--exec", &command, "--grant", "call:echo", "--grant", "call:streamer"]);
}

/// A number that the agent tells of itself, once it is known where it is.
fn told(node: &Node, word: &str) -> Option<usize> {
    let said = node.weft(&["call", "streamer@beta", word, "--json"]);
    if said.code == 0 { said.json()["reply"].as_str()?.parse().ok() } else { None }
}

/// `weft call` to the agent, as a process whose output is a pipe.
fn calling(node: &Node, words: &[&str]) -> Child {
    let home = node.home.to_str().expect("text");
    let mut command = weft();
    command.args(["call", "streamer@beta"]).args(words).args(["--home", home, "--deadline", "60s"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn interrupt(mut calling: Child) {
    signal(calling.id(), "INT");
    let ended = calling.wait().expect("it ends");
    assert!(!ended.success(), "{ended}");
}

#[test]
fn parts_come_in_order_across_nodes_and_both_chains_prove_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, beta) = two(folder.path());
    streamer(&beta, folder.path());
    wait_for("alpha hears of it", BOUND, || told(&alpha, "sent"));
    let said = alpha.weft(&["call", "streamer@beta", "count 1000", "--stream", "--deadline", "60s"]);
    let numbers = (0..1_000).map(|number| format!("{number}\n")).collect::<String>();
    assert!(said.stdout == format!("{numbers}done\n") && said.code == 0, "{said:?}");
    assert!(said.stderr.contains("1,000 parts"), "{}", said.stderr);

    let said = alpha.weft(&["call", "streamer@beta", "count 3", "--stream", "--json"]);
    let lines: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 4, "{said:?}");
    assert_eq!(lines[1]["part"], serde_json::json!({"number": 1, "payload": "1\n"}));
    let answer = &lines[3]["answer"];
    assert_eq!((&answer["reply"], &answer["parts"]), (&Value::from("done"), &Value::from(3)));
    let trace = answer["trace"].as_str().expect("a trace");
    let traced = wait_for("both have recorded it", BOUND, || {
        let traced = alpha.json(&["trace", trace]);
        (traced["agree"] == true).then_some(traced)
    });
    let hops = traced["hops"].as_array().expect("steps");
    let proofs = |kind: &str| {
        let of_kind = hops.iter().filter(|hop| hop["kind"] == kind);
        of_kind.map(|hop| (hop["parts"].clone(), hop["parts_digest"].clone())).collect::<Vec<_>>()
    };
    let proof = vec![(answer["parts"].clone(), answer["parts_digest"].clone())];
    assert!(answer["parts_digest"].is_string());
    assert_eq!((proofs("answered"), proofs("acknowledged")), (proof.clone(), proof));

    let relayed = alpha.json(&["call", "streamer@beta", "relay"])["reply"]["json"].clone();
    let words = serde_json::json!([{"text": "to "}, {"text": "be "}, {"text": "or "}, {"text": "not"}]);
    assert_eq!(relayed, serde_json::json!([words, {"text": "to be or not"}, 4]), "an agent takes parts too");
}

#[test]
fn a_reader_that_goes_away_reaches_the_agent_as_a_cancellation() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, beta) = two(folder.path());
    streamer(&beta, folder.path());
    wait_for("alpha hears of it", BOUND, || told(&alpha, "sent"));

    let mut streamed = calling(&alpha, &["wait", "--stream"]);
    let mut line = String::new();
    let stdout = streamed.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert_eq!(line, "waiting\n", "it is there before the answer");
    assert_eq!(told(&alpha, "cancelled"), Some(0));
    interrupt(streamed);
    wait_for("the agent is told", BOUND, || (told(&alpha, "cancelled")? == 1).then_some(()));

    let whole = calling(&alpha, &["wait"]);
    wait_for("the agent has it", BOUND, || (told(&alpha, "sent")? == 1).then_some(()));
    interrupt(whole);
    wait_for("the agent is told", BOUND, || (told(&alpha, "cancelled")? == 2).then_some(()));

    let said = alpha.json(&["call", "streamer@beta", "give-up", "--deadline", "60s"]);
    assert_eq!(said["reply"], "cancelled", "an agent takes back what it asked");
    wait_for("the agent is told", BOUND, || (told(&alpha, "cancelled")? == 3).then_some(()));
}

#[test]
fn a_reader_that_stands_still_makes_the_agent_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, beta) = two(folder.path());
    streamer(&beta, folder.path());
    wait_for("alpha hears of it", BOUND, || told(&alpha, "sent"));
    let mut slow = calling(&alpha, &["large 4000", "--stream"]);
    wait_for("as much as may be open is sent", BOUND, || (told(&alpha, "sent")? >= 16).then_some(()));
    let mut before = 0;
    let still = wait_for("no more is sent", BOUND, || {
        let sent = told(&alpha, "sent")?;
        let same = std::mem::replace(&mut before, sent) == sent;
        (same && (0..10).all(|_| told(&alpha, "sent") == Some(sent))).then_some(sent)
    });
    // A mebibyte that is open, and what the sockets, the pipe and their buffers hold.
    assert!(still <= 64, "{still} parts of 64 KiB were sent to a reader that read nothing");

    let mut read = vec![0; 200 * 65_536];
    slow.stdout.as_mut().expect("a pipe").read_exact(&mut read).expect("they come");
    wait_for("the agent goes on", BOUND, || (told(&alpha, "sent")? > still).then_some(()));
    assert!(read.iter().all(|byte| *byte == b'x'));
    interrupt(slow);
    wait_for("the agent is told", BOUND, || (told(&alpha, "cancelled")? == 1).then_some(()));
}

#[test]
fn no_other_provider_is_asked_once_a_part_came() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, mut beta) = two(folder.path());
    streamer(&beta, folder.path());
    beta.json(&["services", "register", "tale", "--agent", "streamer"]);
    wait_for("alpha hears of it", BOUND, || (alpha.weft(&["call", "svc:tale", "sent"]).code == 0).then_some(()));
    let home = alpha.home.to_str().expect("text");
    let mut command = weft();
    command.args([
        "call",
        "svc:tale",
        "wait",
        "--stream",
        "--idempotent",
        "--deadline",
        "60s",
        "--json",
        "--home",
        home,
    ]);
    let mut calling = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut told = BufReader::new(calling.stdout.take().expect("a pipe"));
    let mut line = String::new();
    told.read_line(&mut line).expect("a line");
    assert!(line.contains("waiting"), "{line}");

    let command = script(folder.path(), STREAMER);
    alpha.json(&["agent", "spawn", "streamer", "--exec", &command]);
    alpha.json(&["services", "register", "tale", "--agent", "streamer"]);
    beta.kill();
    line.clear();
    told.read_line(&mut line).expect("a line");
    let ended: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(ended["error"]["code"], "broken-off", "{ended}");
    assert_eq!(calling.wait().expect("it ends").code(), Some(1));
    let asked = alpha.json(&["call", "streamer@alpha", "heard"]);
    assert_eq!(asked["reply"], "0", "the other provider heard nothing of it");
}
