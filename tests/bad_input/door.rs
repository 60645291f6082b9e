//! Cases of the local door: `METHOD PATH [BODY]`, behind `anonymous` or `mistaken` without or with a wrong token.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::table::Case;
use super::world::World;
use crate::cluster::{BOUND, Node};

/// Sends the case's request and compares status, code, message and that nothing changed.
pub(super) fn check(world: &World, node: &Node, case: &Case, events: &str) -> Result<(), String> {
    let line = world.fill(&case.given, &[]);
    let token = std::fs::read_to_string(node.home.join("operator.token")).expect("a token");
    let (token, line) = match line.split_once(' ') {
        Some(("anonymous", rest)) => (String::new(), rest),
        Some(("mistaken", rest)) => {
            (format!("authorization: Bearer {}\r\n", token.to_uppercase().replace('0', "1")), rest)
        }
        _ => (format!("authorization: Bearer {}\r\n", token.trim()), line.as_str()),
    };
    let mut parts = line.splitn(3, ' ');
    let (method, path) = (parts.next().expect("a method"), parts.next().expect("a path"));
    let (status, answer) = send(node, method, path, parts.next().unwrap_or_default(), &token);
    let error = &answer["error"];
    let shown: String = case.given.chars().take(200).collect();
    let told = error["message"].as_str().unwrap_or_default();
    let message = world.fill(&case.message, &[("events", events)]);
    let same = status == case.exit && error["code"] == case.code.as_str() && told == message;
    if same && error["changed"] == false {
        return Ok(());
    }
    let code = error["code"].as_str().unwrap_or_default();
    Err(format!("{shown}\n  {status} {code}\n  {told}\n  (changed {}, hint {})", error["changed"], error["hint"]))
}

fn send(node: &Node, method: &str, path: &str, body: &str, token: &str) -> (i32, Value) {
    let mut stream = UnixStream::connect(node.home.join("api.sock")).expect("the door");
    stream.set_read_timeout(Some(BOUND)).expect("a bound");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: weft\r\n{token}content-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len(),
    );
    stream.write_all(head.as_bytes()).expect("sent");
    // The door may answer, and close, before it has read a body that is too large.
    let _closed = stream.write_all(body.as_bytes());
    let mut text = String::new();
    let _closed = stream.read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: no answer: {text}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
