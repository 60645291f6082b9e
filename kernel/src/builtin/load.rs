//! The built-in agent that makes load: told to whom and how many, it sends, and answers with what became of the messages; told a
//! topic, it listens (`ear`).

mod ear;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weft_protocol::limits::MAILBOX_MESSAGES_MAX;
use weft_protocol::{
    Delivery as Reached, Durability, Level, MessageId, Payload, Publication, Refusal, Target, Timestamp,
};

use self::ear::{Ear, Told};
use super::Act;
use crate::event::{Answer, Delivery};
use crate::syscall::Syscall;
use crate::topic::Start;

/// Most messages of one order: a minute of a fast machine (guess).
const MESSAGES_MAX: u64 = 10_000_000;
/// Most bytes of one of them: what still travels in a frame with others (guess).
const BYTES_MAX: usize = 64 * 1024;
/// Longest time from one message to the next, in microseconds.
const EVERY_US_MAX: u64 = 1_000_000;
/// How long one message may take, in microseconds.
const DEADLINE_US: u64 = 10_000_000;

/// What it is told, as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// To whom.
    to: String,
    /// How many.
    messages: u64,
    /// How many may be on their way at once.
    #[serde(default = "at_once")]
    at_once: usize,
    /// Bytes of text in each.
    #[serde(default = "bytes")]
    bytes: usize,
    /// Microseconds from one to the next; none: as fast as they are taken.
    #[serde(default)]
    every_us: u64,
}

/// What it answers to an order that comes while another is being carried out.
const BUSY: &str = "busy: it is still sending for somebody else; ask again when that is done";
/// What it answers when it listens.
const LISTENS: &str = r#"{"listens":true}"#;

const fn at_once() -> usize {
    64
}

const fn bytes() -> usize {
    64
}

/// What it answers, as JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// Messages that are in a mailbox.
    sent: u64,
    /// Messages that were refused for good, by the code of the refusal.
    refused: &'a BTreeMap<&'static str, u64>,
    /// How often it was told to come again.
    busy: u64,
    elapsed_us: u64,
    messages_per_s: u64,
}

/// An order that is being carried out.
#[derive(Debug)]
struct Run {
    order: MessageId,
    to: Target,
    body: String,
    at_once: usize,
    /// Messages that are still to be asked for, and those that are asked for and not answered.
    left: u64,
    asked: usize,
    /// Microseconds from one to the next, and how many were begun.
    every_us: u64,
    begun: u64,
    sent: u64,
    refused: BTreeMap<&'static str, u64>,
    busy: u64,
    /// Until when it was told to wait.
    waits: Option<Timestamp>,
    began: Timestamp,
}

/// One of these agents. It works on one order at a time.
#[derive(Debug, Default)]
pub(super) struct Load {
    run: Option<Run>,
    ear: Option<Ear>,
    /// Questions of an order that was taken back, whose answers are still to come.
    stale: usize,
}

impl Load {
    pub(super) fn order(&mut self, delivery: &Delivery, now: Timestamp, acts: &mut Vec<Act>) {
        let (Payload::Json(text) | Payload::Text(text)) = &delivery.payload else {
            let answer = Err("an order is JSON: {\"to\":\"echo\",\"messages\":1000}".to_owned());
            return acts.push(Act::Answer { message: delivery.message, answer });
        };
        if let Ok(told) = serde_json::from_str(text) {
            return self.told(delivery.message, told, acts);
        }
        match self.begin(delivery.message, text, now) {
            Ok(()) => self.go_on(now, acts),
            Err(reason) => acts.push(Act::Answer { message: delivery.message, answer: Err(reason) }),
        }
    }

    /// What it is told about listening.
    fn told(&mut self, message: MessageId, told: Told, acts: &mut Vec<Act>) {
        let answer = match told {
            Told::Report { heard } => match &self.ear {
                Some(ear) if ear.pattern == heard => Ok(ear.report()),
                _ => Err(format!("it does not listen to {heard}")),
            },
            Told::Listen { listen } => match &self.ear {
                _ if self.is_waiting() => Err(BUSY.to_owned()),
                Some(ear) if ear.pattern == listen => {
                    self.ear = Some(Ear::new(listen, None));
                    Ok(LISTENS.to_owned())
                }
                Some(ear) => Err(format!("it listens to {} already, and to one alone", ear.pattern)),
                None => {
                    let subscribe = Syscall::Subscribe { pattern: listen.clone(), start: Start::Now };
                    acts.push(Act::Ask(Box::new(subscribe)));
                    self.ear = Some(Ear::new(listen, Some(message)));
                    return;
                }
            },
        };
        acts.push(Act::Answer { message, answer: answer.map(|said| Some(Payload::Json(said))) });
    }

    /// Whether an answer is still to come, so that the next could be taken for it.
    fn is_waiting(&self) -> bool {
        self.run.is_some() || self.stale > 0 || self.ear.as_ref().is_some_and(|ear| ear.order.is_some())
    }

    /// Something was published that it listens to.
    pub(super) fn hear(&mut self, publication: &Publication, now: Timestamp) {
        if let Some(ear) = &mut self.ear {
            ear.hear(publication, now);
        }
    }

    fn begin(&mut self, message: MessageId, text: &str, now: Timestamp) -> Result<(), String> {
        if self.run.is_some() || self.ear.as_ref().is_some_and(|ear| ear.order.is_some()) {
            return Err(BUSY.to_owned());
        }
        let order = serde_json::from_str::<Order>(text)
            .map_err(|error| format!("not an order like {{\"to\":\"echo\",\"messages\":1000}}: {error}"))?;
        let to = order.to.parse::<Target>().map_err(|error| format!("to: {error}"))?;
        within("messages", order.messages, MESSAGES_MAX)?;
        within("at_once", order.at_once as u64, MAILBOX_MESSAGES_MAX as u64)?;
        within("bytes", order.bytes as u64, BYTES_MAX as u64)?;
        if order.every_us > EVERY_US_MAX {
            return Err(format!("every_us is {}: up to {EVERY_US_MAX}", order.every_us));
        }
        self.run = Some(Run {
            order: message,
            to,
            body: "x".repeat(order.bytes),
            at_once: order.at_once,
            left: order.messages,
            asked: 0,
            every_us: order.every_us,
            begun: 0,
            sent: 0,
            refused: BTreeMap::new(),
            busy: 0,
            waits: None,
            began: now,
        });
        Ok(())
    }

    pub(super) fn answered(&mut self, answer: &Result<Answer, Refusal>, now: Timestamp, acts: &mut Vec<Act>) {
        if let Some(left) = self.stale.checked_sub(1) {
            self.stale = left;
            return;
        }
        if let Some(message) = self.ear.as_mut().and_then(|ear| ear.order.take()) {
            let answer = match answer {
                Ok(_) => Ok(Some(Payload::Json(LISTENS.to_owned()))),
                Err(refusal) => {
                    self.ear = None;
                    Err(refusal.to_string())
                }
            };
            return acts.push(Act::Answer { message, answer });
        }
        let Some(run) = &mut self.run else { return };
        run.asked -= 1;
        match answer {
            Ok(_) => run.sent += 1,
            Err(Refusal::Busy { retry_after_us }) => {
                run.busy += 1;
                run.left += 1;
                run.begun -= 1;
                run.waits = Some(now.after_us(*retry_after_us));
            }
            Err(refusal) => {
                *run.refused.entry(refusal.code()).or_default() += 1;
                if matches!(refusal, Refusal::ShuttingDown | Refusal::Damaged) {
                    run.left = 0;
                }
            }
        }
        self.go_on(now, acts);
    }

    /// The order was taken back: what is on its way stays so, no more is sent.
    pub(super) fn cancel(&mut self, message: &MessageId) {
        if let Some(run) = self.run.take_if(|run| run.order == *message) {
            self.stale += run.asked;
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Timestamp> {
        let run = self.run.as_ref()?;
        let paced = run.every_us > 0 && run.left > 0 && run.asked < run.at_once;
        run.waits.or_else(|| paced.then(|| run.began.after_us(run.begun * run.every_us)))
    }

    pub(super) fn woken(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        if let Some(run) = &mut self.run {
            run.waits.take_if(|until| *until <= now);
            self.go_on(now, acts);
        }
    }

    /// Asks for as much as may be on its way, or answers when all is done.
    fn go_on(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        let Some(run) = &mut self.run else { return };
        while run.waits.is_none() && run.left > 0 && run.asked < run.at_once && run.is_due(now) {
            run.left -= 1;
            run.asked += 1;
            run.begun += 1;
            acts.push(Act::Ask(Box::new(run.message())));
        }
        if run.left == 0 && run.asked == 0 {
            let (message, answer) = (run.order, Ok(Some(Payload::Json(run.report(now)))));
            acts.push(Act::Answer { message, answer });
            self.run = None;
        }
    }
}

impl Run {
    /// Whether it is time for the next one.
    const fn is_due(&self, now: Timestamp) -> bool {
        self.every_us == 0 || self.begun * self.every_us <= now.since_us(self.began)
    }

    fn message(&self) -> Syscall {
        Syscall::Send {
            target: self.to.clone(),
            payload: Payload::Text(self.body.clone()),
            wants_reply: false,
            level: Level { delivery: Reached::Received, durability: Durability::None },
            deadline_us: DEADLINE_US,
            trace: None,
            cause: Vec::new(),
            idempotent: false,
            parts: false,
        }
    }

    fn report(&self, now: Timestamp) -> String {
        let elapsed_us = now.since_us(self.began);
        let messages_per_s = self.sent.saturating_mul(1_000_000) / elapsed_us.max(1);
        let (sent, refused, busy) = (self.sent, &self.refused, self.busy);
        let report = Report { sent, refused, busy, elapsed_us, messages_per_s };
        serde_json::to_string(&report).expect("BUG: a report of numbers is always JSON")
    }
}

fn within(what: &str, value: u64, max: u64) -> Result<(), String> {
    if (1..=max).contains(&value) { Ok(()) } else { Err(format!("{what} is {value}: from 1 to {max}")) }
}

#[cfg(test)]
pub(super) mod tests {
    use weft_protocol::{ChainId, Incarnation, NodeId, Principal, Sender, TraceId};

    use super::*;
    use crate::event::SendReport;

    const START: Timestamp = Timestamp(1_000_000);
    const NODE: NodeId = NodeId::from_bytes([7; 32]);

    pub(in crate::builtin) fn delivery(payload: Payload) -> Delivery {
        Delivery {
            message: MessageId { chain: ChainId { node: NODE, incarnation: Incarnation(1) }, counter: 1 },
            from: Sender { node: NODE, principal: Principal::Operator },
            target: "load".into(),
            payload,
            wants_reply: true,
            deadline: START.after_us(1_000_000),
            trace: TraceId(1),
            parts: false,
        }
    }

    fn order(text: &str) -> Delivery {
        delivery(Payload::Text(text.to_owned()))
    }

    fn sent() -> Result<Answer, Refusal> {
        let report = SendReport {
            id: order("").message,
            trace: TraceId(1),
            node: NODE,
            level: Level { delivery: Reached::Received, durability: Durability::None },
            reply: None,
            delivered: None,
            latency_us: 0,
            record: None,
            remote_record: None,
            witnesses: Vec::new(),
            parts: None,
        };
        Ok(Answer::Sent(Box::new(report)))
    }

    /// How many questions there are; the answer, when there is one.
    fn take(acts: &mut Vec<Act>) -> (usize, Option<Result<Option<Payload>, String>>) {
        let mut answer = None;
        let mut asked = 0;
        for act in acts.drain(..) {
            match act {
                Act::Ask(_) => asked += 1,
                Act::Answer { answer: given, .. } => answer = Some(given),
            }
        }
        (asked, answer)
    }

    #[test]
    fn it_keeps_as_many_on_their_way_as_it_may_and_reports_at_the_end() {
        let (mut load, mut acts) = (Load::default(), Vec::new());
        load.order(&order(r#"{"to":"sink","messages":5,"at_once":2,"bytes":3}"#), START, &mut acts);
        let Some(Act::Ask(first)) = acts.first() else { panic!("{acts:?}") };
        assert!(matches!(&**first, Syscall::Send { payload: Payload::Text(text), .. } if text == "xxx"), "{first:?}");
        assert_eq!(take(&mut acts), (2, None));
        let later = START.after_us(500_000);
        for asked in [1, 1, 1, 0] {
            load.answered(&sent(), later, &mut acts);
            assert_eq!(take(&mut acts), (asked, None));
        }
        load.answered(&Err(Refusal::Expired), later, &mut acts);
        let report = r#"{"sent":4,"refused":{"expired":1},"busy":0,"elapsed_us":500000,"messages_per_s":8}"#.to_owned();
        assert_eq!(take(&mut acts), (0, Some(Ok(Some(Payload::Json(report))))));
    }

    #[test]
    fn told_to_come_again_it_waits_and_loses_nothing() {
        let (mut load, mut acts) = (Load::default(), Vec::new());
        load.order(&order(r#"{"to":"sink","messages":2,"at_once":1}"#), START, &mut acts);
        load.answered(&Err(Refusal::Busy { retry_after_us: 40 }), START, &mut acts);
        assert_eq!((take(&mut acts), load.next_wakeup()), ((1, None), Some(START.after_us(40))));
        load.woken(START.after_us(39), &mut acts);
        assert_eq!(take(&mut acts).0, 0);
        load.woken(START.after_us(40), &mut acts);
        assert_eq!((take(&mut acts).0, load.next_wakeup()), (1, None));
        load.answered(&sent(), START, &mut acts);
        load.answered(&sent(), START, &mut acts);
        let (_, answer) = take(&mut acts);
        let Some(Ok(Some(Payload::Json(report)))) = answer else { panic!("{answer:?}") };
        assert!(report.starts_with(r#"{"sent":2,"refused":{},"busy":1,"#), "{report}");
    }

    #[test]
    fn an_order_that_is_taken_back_sends_no_more_and_another_can_begin() {
        let (mut load, mut acts) = (Load::default(), Vec::new());
        let first = order(r#"{"to":"sink","messages":9,"at_once":2}"#);
        load.order(&first, START, &mut acts);
        load.order(&first, START, &mut acts);
        let (asked, answer) = take(&mut acts);
        assert!(asked == 2 && matches!(&answer, Some(Err(why)) if why.starts_with("busy")), "{asked} {answer:?}");
        load.cancel(&first.message);
        load.order(&order(r#"{"to":"sink","messages":1}"#), START, &mut acts);
        assert_eq!(take(&mut acts), (1, None));
        for _ in 0..2 {
            load.answered(&sent(), START, &mut acts);
            assert_eq!(take(&mut acts), (0, None));
        }
        load.answered(&sent(), START, &mut acts);
        assert!(take(&mut acts).1.is_some());
    }

    fn publication(seq: u64, prev: u64, text: &str) -> Publication {
        let chain = ChainId { node: NODE, incarnation: Incarnation(1) };
        Publication {
            id: MessageId { chain, counter: seq },
            hlc: weft_protocol::Hlc::from_wall(START),
            trace: TraceId(1),
            from: Sender { node: NODE, principal: Principal::Operator },
            topic: "jobs".parse().expect("a topic"),
            seq,
            prev,
            forgetful: false,
            payload: Payload::Text(text.to_owned()),
            grant: None,
            ed25519: None,
        }
    }

    #[test]
    fn it_says_what_it_heard_and_counts_anew_when_it_is_told_to_listen_again() {
        let (mut load, mut acts) = (Load::default(), Vec::new());
        let said = |acts: &mut Vec<Act>| match take(acts) {
            (0, Some(Ok(Some(Payload::Json(said))))) => said,
            other => panic!("{other:?}"),
        };
        let listen = order(r#"{"listen":"jobs"}"#);
        load.order(&listen, START, &mut acts);
        let Some(Act::Ask(first)) = acts.first() else { panic!("{acts:?}") };
        assert!(matches!(&**first, Syscall::Subscribe { start: Start::Now, .. }), "{first:?}");
        assert_eq!(take(&mut acts), (1, None));
        load.order(&listen, START, &mut acts);
        let (_, busy) = take(&mut acts);
        assert!(matches!(&busy, Some(Err(why)) if why.starts_with("busy")), "{busy:?}");
        load.answered(&Ok(Answer::Subscribed), START, &mut acts);
        assert_eq!(said(&mut acts), LISTENS);

        for (late_us, heard) in
            [(3, publication(4, 1, "xx")), (9, publication(5, 4, "xx")), (7, publication(8, 7, "x!"))]
        {
            load.hear(&heard, START.after_us(late_us));
        }
        load.order(&order(r#"{"heard":"jobs"}"#), START, &mut acts);
        let counts = r#"{"heard":3,"bytes":4,"other":1,"gaps":1,"#;
        let times = r#""first_at_us":1000003,"last_at_us":1000007,"p50_us":7,"p99_us":9}"#;
        assert_eq!(said(&mut acts), format!("{counts}{times}"));
        load.order(&listen, START, &mut acts);
        assert_eq!(said(&mut acts), LISTENS);
        load.order(&order(r#"{"heard":"jobs"}"#), START, &mut acts);
        assert!(said(&mut acts).starts_with(r#"{"heard":0,"bytes":0,"#));
        for other in [r#"{"listen":"jobs.*"}"#, r#"{"heard":"jobs.*"}"#] {
            load.order(&order(other), START, &mut acts);
            assert!(matches!(take(&mut acts), (0, Some(Err(_)))), "{other}");
        }
    }

    #[test]
    fn it_does_not_listen_where_it_may_not() {
        let (mut load, mut acts) = (Load::default(), Vec::new());
        load.order(&order(r#"{"listen":"jobs"}"#), START, &mut acts);
        acts.clear();
        load.answered(&Err(Refusal::Expired), START, &mut acts);
        assert!(matches!(take(&mut acts), (0, Some(Err(_)))));
        load.order(&order(r#"{"heard":"jobs"}"#), START, &mut acts);
        assert!(matches!(take(&mut acts), (0, Some(Err(_)))));
    }

    #[test]
    fn at_a_pace_it_sends_what_is_due_and_no_more() {
        let (mut load, mut acts) = (Load::default(), Vec::new());
        load.order(&order(r#"{"to":"sink","messages":4,"every_us":100}"#), START, &mut acts);
        assert_eq!((take(&mut acts), load.next_wakeup()), ((1, None), Some(START.after_us(100))));
        load.answered(&sent(), START.after_us(99), &mut acts);
        load.woken(START.after_us(99), &mut acts);
        assert_eq!(take(&mut acts).0, 0);
        load.woken(START.after_us(250), &mut acts);
        assert_eq!((take(&mut acts).0, load.next_wakeup()), (2, Some(START.after_us(300))));
        load.answered(&Err(Refusal::Busy { retry_after_us: 10 }), START.after_us(250), &mut acts);
        assert_eq!((take(&mut acts).0, load.next_wakeup()), (0, Some(START.after_us(260))));
        load.woken(START.after_us(310), &mut acts);
        assert_eq!((take(&mut acts).0, load.next_wakeup()), (2, None));
    }

    #[test]
    fn what_is_no_order_is_answered_with_what_is_wrong() {
        let cases = [
            ("go", "not an order like"),
            (r#"{"to":"sink"}"#, "missing field `messages`"),
            (r#"{"to":"a b","messages":1}"#, "to: "),
            (r#"{"to":"sink","messages":0}"#, "messages is 0: from 1 to 10000000"),
            (r#"{"to":"sink","messages":1,"at_once":1025}"#, "at_once is 1025: from 1 to 1024"),
            (r#"{"to":"sink","messages":1,"bytes":65537}"#, "bytes is 65537: from 1 to 65536"),
            (r#"{"to":"sink","messages":1,"every_us":1000001}"#, "every_us is 1000001: up to 1000000"),
            (r#"{"to":"sink","messages":1,"speed":2}"#, "unknown field `speed`"),
        ];
        for (text, expected) in cases {
            let (mut load, mut acts) = (Load::default(), Vec::new());
            load.order(&order(text), START, &mut acts);
            let (asked, answer) = take(&mut acts);
            assert!(asked == 0 && matches!(&answer, Some(Err(why)) if why.contains(expected)), "{text}: {answer:?}");
        }
    }
}
