//! Anchors outside of the cluster, on a real node: checkpoint files, calendars that really aggregate, blocks that really hold it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cluster::{BOUND, Node, Said, run, wait_for};
use crate::forks::Copy;

/// How a calendar behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    Failing,
    Huge,
    Truncated,
    Silent,
}

/// What a calendar holds: the hashes it promised, and the block that holds them once it was found.
#[derive(Debug, Default)]
struct Ledger {
    promised: Vec<Vec<u8>>,
    mined: bool,
    asked: usize,
}

/// A calendar server; it ends with the test.
struct Calendar {
    url: String,
    ledger: Arc<Mutex<Ledger>>,
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

fn twice(bytes: &[u8]) -> Vec<u8> {
    sha256(&sha256(bytes))
}

fn operand(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(bytes.len()).expect("short")][..], bytes].concat()
}

const APPEND: u8 = 0xf0;
const PREPEND: u8 = 0xf1;
const SHA256: u8 = 0x08;
const HEIGHT: u8 = 101;

/// From one promised hash to the Merkle root of the block: through the calendar's own tree, its transaction, and the block's tree.
fn path(promised: &[Vec<u8>], commitment: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut place = promised.iter().position(|it| it == commitment)?;
    let mut row = promised.to_vec();
    let mut steps = Vec::new();
    while row.len() > 1 {
        let sibling = place ^ 1;
        if let Some(other) = row.get(sibling) {
            steps.extend(operand(if sibling > place { APPEND } else { PREPEND }, other));
            steps.push(SHA256);
        }
        row =
            row.chunks(2).map(|pair| if pair.len() == 2 { sha256(&pair.concat()) } else { pair[0].clone() }).collect();
        place /= 2;
    }
    let (before, after) = (b"a transaction with an output of ", b" and a lock time");
    steps.extend([operand(PREPEND, before), operand(APPEND, after), vec![SHA256, SHA256]].concat());
    let transaction = twice(&[&before[..], &row[0], &after[..]].concat());
    let other = twice(b"another transaction of the block");
    steps.extend([operand(PREPEND, &other), vec![SHA256, SHA256]].concat());
    Some((steps, twice(&[other, transaction].concat())))
}

impl Ledger {
    fn promise(&mut self, digest: &[u8], url: &str) -> Vec<u8> {
        let salt = u64::try_from(self.promised.len()).expect("few").to_be_bytes();
        self.promised.push(sha256(&[digest, &salt].concat()));
        let content = operand(u8::try_from(url.len()).expect("short"), b"")[..1].to_vec();
        let content = [content, url.as_bytes().to_vec()].concat();
        let tag = [0x83, 0xdf, 0xe3, 0x0d, 0x2e, 0xf9, 0x0c, 0x8e, u8::try_from(content.len()).expect("short")];
        [operand(APPEND, &salt), vec![SHA256, 0], tag.to_vec(), content].concat()
    }

    fn attest(&self, commitment: &[u8]) -> Option<Vec<u8>> {
        let (steps, _) = path(&self.promised, commitment).filter(|_| self.mined)?;
        let tag = [0x00, 0x05, 0x88, 0x96, 0x0d, 0x73, 0xd7, 0x19, 0x01, 1, HEIGHT];
        Some([steps, tag.to_vec()].concat())
    }

    /// The header of the block.
    fn header(&self) -> String {
        let (_, root) = path(&self.promised, &self.promised[0]).expect("it was promised");
        let version_and_parent = [7; 36];
        let (time, bits_and_nonce) = (1_700_000_000_u32.to_le_bytes(), [9; 8]);
        HEXLOWER.encode(&[&version_and_parent[..], &root, &time, &bits_and_nonce].concat())
    }
}

impl Calendar {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let ledger = Arc::<Mutex<Ledger>>::default();
        let (held, own) = (Arc::clone(&ledger), url.clone());
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                match manner {
                    Manner::Silent => kept.push(stream),
                    manner => serve(stream, manner, &held, &own),
                }
            }
        });
        Self { url, ledger }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no test panicked in it")
    }
}

/// One request, one answer.
fn serve(mut stream: TcpStream, manner: Manner, ledger: &Mutex<Ledger>, url: &str) {
    let mut request = Vec::new();
    let mut piece = [0; 1_024];
    let end = loop {
        let Ok(count @ 1..) = stream.read(&mut piece) else { return };
        request.extend_from_slice(&piece[..count]);
        let head = request.windows(4).position(|window| window == b"\r\n\r\n");
        let posted = request.starts_with(b"POST");
        if let Some(head) = head.filter(|head| !posted || request.len() >= head + 4 + 32) {
            break head + 4;
        }
    };
    let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
    let mut ledger = ledger.lock().expect("no request panicked");
    ledger.asked += 1;
    let answer = match line.split(' ').nth(1).unwrap_or_default() {
        "/digest" => Some(ledger.promise(&request[end..end + 32], url)),
        path => path.strip_prefix("/timestamp/").and_then(|hex| ledger.attest(&HEXLOWER.decode(hex.as_bytes()).ok()?)),
    };
    drop(ledger);
    let (status, body) = match (manner, answer) {
        (Manner::Failing, _) => ("503 Service Unavailable", Vec::new()),
        (Manner::Huge, _) => ("200 OK", vec![0; 20_000]),
        (Manner::Truncated, Some(answer)) => ("200 OK", answer[..answer.len() - 1].to_vec()),
        (_, Some(answer)) => ("200 OK", answer),
        (_, None) => ("404 Not Found", b"Pending confirmation".to_vec()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _reader_may_be_gone = stream.write_all(&[head.as_bytes(), &body].concat());
}

/// A node with this configuration.
fn configured(folder: &Path, name: &str, config: &str) -> Node {
    let home = folder.join(name);
    std::fs::create_dir_all(&home).expect("a folder");
    std::fs::write(home.join("config.toml"), config).expect("a file");
    Node::found(folder, name)
}

fn checked(words: &[&str]) -> Said {
    run(&[&["chain"], words, &["--json"]].concat())
}

/// The steps of anchors on the chain, and where.
fn recorded(node: &Node) -> Vec<String> {
    let said = node.weft(&["chain", "log", "--kind", "chain.anchored", "--json"]);
    let events = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
    let step = |event: Value| {
        let step = &event["detail"]["step"];
        step.as_str()
            .map_or_else(|| step.as_object().expect("a step").keys().next().expect("one").clone(), str::to_owned)
    };
    events.map(step).collect()
}

#[test]
fn a_stamp_is_promised_then_attested_and_checked_with_a_header() {
    let folder = tempfile::tempdir().expect("a folder");
    let (calendar, failing) = (Calendar::start(Manner::Honest), Calendar::start(Manner::Failing));
    // Others use the calendar too, so that there is a tree.
    for other in [b"one", b"two"] {
        calendar.ledger().promise(&sha256(other), &calendar.url);
    }
    let config = format!("[anchor]\nretry = \"100ms\"\ncalendars = [\"{}\", \"{}\"]\n", calendar.url, failing.url);
    let mut alpha = configured(folder.path(), "alpha", &config);
    let row = alpha.json(&["chain", "stamp"]);
    assert_eq!(row["calendars"][0]["state"], "pending", "{row}");
    assert_eq!(row["calendars"][1]["error"], "it answered 503", "{row}");
    assert_eq!(row["blocks"], Value::Array(Vec::new()), "{row}");
    let proof = row["proof"].as_str().expect("a path").to_owned();
    assert_eq!(checked(&["check-stamp", &proof]).code, 1, "no block holds it yet");
    assert_eq!(recorded(&alpha), ["intended", "done", "failed"]);

    // What was begun goes on after a kill.
    alpha.kill();
    calendar.ledger().mined = true;
    alpha.restart();
    let block = wait_for("the calendar attests it", BOUND, || {
        let listed = alpha.json(&["chain", "stamps"]);
        listed["stamps"][0]["blocks"].as_array().expect("blocks").first().cloned()
    });
    assert_eq!(block["height"], HEIGHT);
    wait_for("that is on the chain", BOUND, || recorded(&alpha).contains(&"attested".to_owned()).then_some(()));

    let header = calendar.ledger().header();
    let said = checked(&["check-stamp", &proof, "--block-header", &header]);
    assert_eq!((said.code, said.json()["ok"].as_bool()), (0, Some(true)), "{said:?}");
    assert_eq!(said.json()["block_time"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(checked(&["check-stamp", &proof]).code, 1, "nobody looked at a block");
    let other = format!("{}00{}", &header[..80], &header[82..]);
    assert_ne!(other, header);
    assert_eq!(checked(&["check-stamp", &proof, "--block-header", &other]).code, 7, "another block");

    // A proof of one checkpoint says nothing of another.
    let later = folder.path().join("later");
    let later = later.to_str().expect("a path");
    alpha.json(&["chain", "checkpoint", "--output", later]);
    let said = checked(&["check-stamp", &proof, "--checkpoint", later, "--block-header", &header]);
    assert_eq!(said.json_error(), ("bad-stamp".to_owned(), 7));
}

#[test]
fn calendars_that_are_of_no_use_are_named_and_asked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = configured(folder.path(), "alpha", "[anchor]\nretry = \"100ms\"\n");
    assert_eq!(alpha.weft(&["chain", "stamp", "--json"]).json_error(), ("invalid".to_owned(), 7), "none is configured");
    let manners = [Manner::Failing, Manner::Huge, Manner::Truncated, Manner::Silent];
    let calendars = manners.map(Calendar::start);
    let mut words = vec!["chain", "stamp", "--json"];
    calendars.iter().for_each(|calendar| words.extend(["--calendar", &calendar.url]));
    let said = alpha.weft(&words);
    assert_eq!(said.json_error(), ("unreachable".to_owned(), 4), "{said:?}");
    let message = said.json()["error"]["message"].as_str().expect("a text").to_owned();
    let reasons = [
        "it answered 503",
        "its answer is larger than 10000 bytes",
        "its answer is no proof: it ends too early",
        "it did not answer within 10 s",
    ];
    for reason in reasons {
        assert!(message.contains(reason), "{reason}: {message}");
    }
    wait_for("they are asked again", BOUND, || (calendars[0].ledger().asked > 1).then_some(()));
    assert!(alpha.call_durable("echo@alpha", "the node goes on"), "meanwhile");
}

#[test]
fn a_checkpoint_file_is_extended_contradicted_and_never_made_smaller() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let (file, kept) = (path("always"), path("kept"));
    let config = format!("[anchor]\ninterval = \"100ms\"\nfile = \"{file}\"\n");
    let mut alpha = configured(folder.path(), "alpha", &config);
    let id = alpha.up["node"].as_str().expect("an id").to_owned();
    wait_for("the node writes its file", BOUND, || Path::new(&file).exists().then_some(()));
    alpha.down();
    let before = Copy::of(&alpha.home);

    alpha.restart();
    for number in 0..30 {
        assert!(alpha.call_durable("echo@alpha", &format!("first {number}")));
    }
    let sealed = |node: &Node| {
        let status = node.json(&["chain", "status"]);
        (status["events"] == status["sealed_events"]).then(|| status["events"].as_u64().expect("a number"))
    };
    let first = wait_for("the chain is sealed", BOUND, || sealed(&alpha));
    let written = alpha.json(&["chain", "checkpoint", "--output", &kept]);
    assert!(written["events"].as_u64() >= Some(first), "{written}");
    wait_for("and its own file has come as far", BOUND, || {
        let held: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
        (held["events"].as_u64()? >= first).then_some(())
    });
    assert!(alpha.call_durable("echo@alpha", "one more"));
    let export = path("export");
    alpha.json(&["chain", "export", &export]);
    let said = checked(&["check-anchor", &kept, "--against", &export, "--node", &id]);
    assert_eq!((said.code, said.json()["chain"].as_str()), (0, Some("extends")), "{said:?}");
    assert!(!said.json()["consistency"].as_array().expect("a path").is_empty());
    assert_eq!(checked(&["check-anchor", &kept]).code, 1, "whose chain it must be is not said");
    alpha.kill();

    // The machine itself goes back in time, and its node does not notice: it writes another history.
    before.put_back();
    std::fs::write(alpha.home.join("config.toml"), "").expect("a file");
    alpha.restart();
    let refused = alpha.weft(&["chain", "checkpoint", "--output", &kept, "--json"]);
    assert_eq!(refused.json_error(), ("conflict".to_owned(), 1), "a smaller one: {refused:?}");
    let short = path("short");
    alpha.json(&["chain", "export", &short]);
    let said = checked(&["check-anchor", &kept, "--against", &short, "--node", &id]);
    assert_eq!((said.code, said.json()["chain"].as_str()), (1, Some("shorter")), "{said:?}");
    for number in 0..60 {
        assert!(alpha.call_durable("echo@alpha", &format!("second {number}")));
    }
    let refused = wait_for("it is as long as the first", BOUND, || {
        let said = alpha.weft(&["chain", "checkpoint", "--output", &kept, "--json"]);
        (said.json_error().0 != "conflict").then_some(said)
    });
    assert_eq!(refused.json_error(), ("contradicted".to_owned(), 8), "{refused:?}");
    let other = path("other");
    alpha.json(&["chain", "export", &other]);
    let said = checked(&["check-anchor", &kept, "--against", &other, "--node", &id]);
    assert_eq!((said.code, said.json()["chain"].as_str()), (8, Some("contradicts")), "{said:?}");

    // Another node's file is left alone as well.
    let beta = Node::found(folder.path(), "beta");
    let refused = beta.weft(&["chain", "checkpoint", "--output", &kept, "--json"]);
    assert_eq!(refused.json_error(), ("conflict".to_owned(), 1), "{refused:?}");
}
