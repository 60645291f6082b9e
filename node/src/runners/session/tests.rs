//! One line or order in, exact steps out.

use weft_protocol::{ChainId, Incarnation, Timestamp, TraceId};

use super::*;

fn node() -> NodeId {
    NodeId::from_bytes([7; 32])
}

fn begin() -> (Session, String) {
    Session::begin(&Introduction {
        protocol: 1,
        node: node(),
        node_name: &"alpha".parse().expect("a name"),
        agent: &"a".parse().expect("a name"),
        process: ProcessId { index: 3, generation: 1 },
        grants: grant_texts(&["call:echo*".parse().expect("a grant")]),
    })
}

/// A session whose agent has answered `initialize`.
fn running() -> Session {
    let (mut session, _) = begin();
    check(
        session.line(br#"{"jsonrpc":"2.0","id":0,"result":{"name":"x","methods":[{"name":"m","input_schema":{}}]}}"#),
        &["Initialized"],
    );
    session
}

fn message(counter: u64) -> MessageId {
    MessageId { chain: ChainId { node: node(), incarnation: Incarnation(1) }, counter }
}

fn delivery(counter: u64, payload: Payload) -> Delivery {
    Delivery {
        message: message(counter),
        from: Sender { node: node(), principal: Principal::Operator },
        target: "a".into(),
        payload,
        wants_reply: true,
        deadline: Timestamp(0),
        trace: TraceId(9),
        parts: false,
    }
}

fn hi(counter: u64) -> Delivery {
    delivery(counter, Payload::Text("hi".into()))
}

fn answer(id: u64) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":null}}"#).into_bytes()
}

/// Compares by the beginning of what each step shows: enough to tell which step it is, and with what.
fn check(steps: Vec<Step>, expected: &[&str]) {
    let shown: Vec<_> = steps.iter().map(|step| format!("{step:?}").replace("\\\"", "'")).collect();
    let fits = shown.len() == expected.len() && shown.iter().zip(expected).all(|(step, start)| step.starts_with(start));
    assert!(fits, "{shown:#?} is not {expected:#?}");
}

#[test]
fn initialize_introduces_both() {
    let (session, line) = begin();
    let expected = format!(
        concat!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocol":1,"node":"{}","node_name":"alpha","#,
            r##""agent":"a","process":"#3.1","grants":["call:echo*"]}}}}"##
        ),
        node()
    );
    assert_eq!(line, expected);
    assert!(!session.initialized());
    assert!(running().initialized());
}

#[test]
fn a_refused_initialize_is_a_failed_start() {
    for answer in [r#""error":{"code":1,"message":"no"}"#, r#""result":7"#, r#""result":{"methods":["m"]}"#] {
        let (mut session, _) = begin();
        let line = format!(r#"{{"jsonrpc":"2.0","id":0,{answer}}}"#);
        check(session.line(line.as_bytes()), &["End(StartFailed { reason: \"the agent refused initialize"]);
    }
}

#[test]
fn a_message_is_written_and_its_answer_reported() {
    let mut session = running();
    let steps = session.deliver(hi(1), 250);
    let expected = format!(
        concat!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"message","params":{{"id":"{}","from":{{"node":"{}","operator":true}},"#,
            r#""target":"a","payload":{{"text":"hi"}},"wants_reply":true,"deadline_ms":250,"trace":"t-0000000000000009"}}}}"#
        ),
        message(1),
        node()
    );
    let [Step::Write(line)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(line, &expected);
    let steps = session.line(br#"{"jsonrpc":"2.0","id":1,"result":{"json":{"n":1.0}}}"#);
    let [Step::Answered { message: answered, answer }] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((*answered, answer), (message(1), &Ok(Some(Payload::Json("{\"n\":1.0}".into())))));
    check(session.line(br#"{"jsonrpc":"2.0","id":1,"result":null}"#), &[]);
}

#[test]
fn what_an_agent_answers_is_checked() {
    let big = format!(r#""result":{{"text":"{}"}}"#, "x".repeat(ENVELOPE_BYTES_MAX + 1));
    for (answer, expected) in [
        (r#""result":null"#, "Ok(None)"),
        (r#""error":{"code":3,"message":"I will not"}"#, "Err(\"I will not\")"),
        (r#""result":"hi""#, "Err(\"the agent's answer is not a payload"),
        (r#""result":{"base64":"?"}"#, "Err(\"the base64 text is wrong"),
        (big.as_str(), "Err(\"the agent's answer has 655361 bytes, at most 655360\")"),
    ] {
        let mut session = running();
        let _written = session.deliver(hi(1), 1);
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,{answer}}}"#);
        check(session.line(line.as_bytes()), &[&format!("Answered {{ message: {}, answer: {expected}", message(1))]);
    }
}

#[test]
fn a_message_that_cannot_be_written_fails_at_once() {
    let mut session = running();
    check(session.deliver(delivery(1, Payload::Json("{".into())), 1), &["Answered"]);
    let control = Payload::Text("\u{1}".repeat(600_000));
    check(session.deliver(delivery(2, control), 1), &["Answered"]);
    check(session.deliver(hi(3), 1), &["Write"]);
    check(session.deliver(hi(3), 1), &["Answered"]);
}

#[test]
fn sixty_four_messages_are_open_and_one_more_is_busy() {
    let mut session = running();
    for counter in 0..64 {
        check(session.deliver(hi(counter), 1), &["Write"]);
    }
    check(session.deliver(hi(64), 1), &[&format!("Answered {{ message: {}, answer: Err(\"busy", message(64))]);
    check(session.line(&answer(5)), &["Answered"]);
    check(session.deliver(hi(65), 1), &["Write"]);
}

#[test]
fn a_cancelled_message_makes_room_and_is_forgotten_when_it_is_never_answered() {
    let mut session = running();
    for counter in 0..64 {
        check(session.deliver(hi(counter), 1), &["Write"]);
        check(
            session.cancel(message(counter)),
            &["WriteIfRoom(\"{'jsonrpc':'2.0','method':'cancel','params':{'id':'m-"],
        );
    }
    check(session.cancel(message(99)), &[]);
    for counter in 64..128 {
        check(session.deliver(hi(counter), 1), &["Write"]);
    }
    check(session.line(&answer(64)), &["Answered"]);
    check(session.line(&answer(65)), &["Answered"]);
    check(session.deliver(hi(128), 1), &["Write"]);
    check(session.cancel(message(100)), &["WriteIfRoom"]);
    check(session.deliver(hi(129), 1), &["Write"]);
    check(session.cancel(message(101)), &["WriteIfRoom"]);
    let oldest = format!("Answered {{ message: {}, answer: Err(\"cancelled", message(0));
    check(session.deliver(hi(130), 1), &[&oldest, "Write"]);
}

#[test]
fn requests_are_handed_on() {
    let mut session = running();
    check(session.line(br#"{"jsonrpc":"2.0","id":1,"method":"send","params":{}}"#), &["Asked { id: Some(Id(\"1\"))"]);
    check(session.line(br#"{"jsonrpc":"2.0","method":"log","params":{}}"#), &["Asked { id: None, method: \"log\""]);
    check(session.line(b"  "), &[]);
}

#[test]
fn ten_bad_lines_in_a_row_end_the_process_and_nine_do_not() {
    let mut session = running();
    for _ in 0..9 {
        check(session.line(b"garbage"), &["WriteIfRoom(\"{'jsonrpc':'2.0','id':null,'error':{'code':-32700"]);
    }
    check(session.line(br#"{"jsonrpc":"2.0","method":"ready"}"#), &["Asked"]);
    for _ in 0..8 {
        check(session.line(b"garbage"), &["WriteIfRoom"]);
    }
    check(session.long_line(), &["WriteIfRoom(\"{'jsonrpc':'2.0','id':null,'error':{'code':-32700"]);
    check(session.line(b"[]"), &["WriteIfRoom", "End(Misbehaved { reason: \"10 malformed lines in a row\" })"]);
}

#[test]
fn a_publication_that_fits_no_line_is_left_out() {
    let session = running();
    let publication = |payload| Publication {
        id: message(1),
        hlc: weft_protocol::Hlc(1),
        trace: TraceId(2),
        from: Sender {
            node: node(),
            principal: Principal::Agent {
                agent: "b".parse().expect("a name"),
                process: ProcessId { index: 1, generation: 0 },
            },
        },
        topic: "jobs".parse().expect("a topic"),
        seq: 4,
        payload,
        grant: None,
        prev: 0,
        forgetful: false,
        ed25519: None,
    };
    let steps = session.publication(publication(Payload::Text("x".into())));
    let expected = format!(
        concat!(
            r#"{{"jsonrpc":"2.0","method":"published","params":{{"topic":"jobs","from":{{"node":"{}","agent":"b","#,
            r##""process":"#1.0","operator":false}},"seq":4,"prev":0,"hlc":"0000000000000001","payload":{{"text":"x"}},"id":"{}","##,
            r#""trace":"t-0000000000000002"}}}}"#
        ),
        node(),
        message(1)
    );
    let [Step::WriteIfRoom(line)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(line, &expected);
    check(session.publication(publication(Payload::Text("\u{1}".repeat(600_000)))), &[]);
    check(session.publication(publication(Payload::Json("}".into()))), &[]);
}

#[test]
fn the_guards_words_are_kept_and_an_agent_cannot_rewrite_how_it_began() {
    let (mut session, _) = begin();
    let mut say = |method: &str, params: &str| {
        let line = format!(r#"{{"jsonrpc":"2.0","method":"child/{method}","params":{params}}}"#);
        check(session.line(line.as_bytes()), &[]);
        session.guard_words().to_vec()
    };
    say("started", r#"{"pid":12}"#);
    say("started", r#"{"pid":1}"#);
    say("ended", r#"{"signal":3}"#);
    let words = say("ended", r#"{"signal":9}"#);
    assert_eq!(words, [GuardWord::Started(12), GuardWord::Ended(9)]);
    assert_eq!(say("failed", r#"{"reason":"no Landlock"}"#).len(), 3);
    let words = say("unenforceable", r#"{"reason":"no filters"}"#);
    assert_eq!(words.last(), Some(&GuardWord::Unenforceable("no filters".to_owned())));
    let mut session = running();
    check(session.line(br#"{"jsonrpc":"2.0","method":"child/failed","params":{"reason":"x"}}"#), &[]);
    check(session.line(br#"{"jsonrpc":"2.0","method":"child/unenforceable","params":{"reason":"x"}}"#), &[]);
    assert_eq!(session.guard_words(), []);
}

#[test]
fn an_answer_too_long_for_a_line_becomes_an_error() {
    let Ok(Incoming::Request { id, .. }) = jsonrpc::parse(br#"{"jsonrpc":"2.0","id":"q","method":"call"}"#) else {
        panic!("not a request")
    };
    let long = RawValue::from_string(format!("\"{}\"", "x".repeat(LINE_BYTES_MAX))).expect("JSON");
    let line = Session::answer(&id, &Ok(long));
    assert!(
        line.starts_with(r#"{"jsonrpc":"2.0","id":"q","error":{"code":-32000,"message":"too large"#),
        "{line:.200}"
    );
}
