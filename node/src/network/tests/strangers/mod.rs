//! Strangers stay out: every way in that is none, what each is answered, and what it cost the node.
//!
//! All cases are in one table, which the test prints: `cargo nextest run -E 'test(strangers)' --no-capture`. What a case is
//! answered, that it is not let in and that nothing is recorded is asserted; times and costs are printed beside their limit.

mod calls;
mod case;
mod forge;
mod lies;
mod line;
mod relay;
mod scene;
mod victim;
mod words;

use std::sync::Arc;

use tokio::time::{Instant, timeout};
use weft_protocol::{AuthFrame, AuthRefusal, DualSignature, KeyPair, Signer as _, Token, prove, statement};

use self::case::{Answer, Call, Case, Lie, Way};
use self::line::{Door, Line, PREFACE, dialled};
use self::relay::Relay;
use self::scene::{GOOD, Scene};
use self::victim::{Spent, Victim, cpu_us};
use super::cluster::{PATIENCE, new_keys};
use crate::cli::token_of;
use crate::network::fence::ARRIVALS;
use crate::network::join::AttemptFailure;
use crate::network::{JoinError, join, strangers};

/// How many ways in there must be at least.
const CASES_MIN: usize = 60;
/// Strangers that come at once, where their number counts: fewer than may wait for their handshake, so that this bound is not met.
const AT_ONCE: usize = 24;
/// How soon each should be answered, in milliseconds.
const ANSWER_MS_MAX: f64 = 100.0;

/// What a case was answered, and what it cost.
struct Outcome {
    answer: Answer,
    next: String,
    answered_ms: f64,
    /// To the node and from it.
    bytes: (u64, u64),
    cpu_us: u64,
    records: usize,
    accepted: usize,
}

#[tokio::test]
async fn strangers_stay_out_and_each_is_told_what_to_do() {
    let scene = Scene::new();
    let victim = scene.victim().await;
    let joiner = Arc::new(new_keys());
    let overheard = overheard(&scene, &victim).await;
    let cases = [
        words::cases(&scene),
        calls::nonsense(&scene),
        calls::certificates(&scene),
        calls::rotations(&scene),
        calls::proofs(&scene, overheard),
        calls::invites(&scene),
        lies::inviters(&scene, &joiner),
        lies::members(&scene),
    ];
    let cases: Vec<Case> = cases.into_iter().flatten().collect();
    assert!(cases.len() >= CASES_MIN, "{}", cases.len());
    let mut faults = Vec::new();
    let mut slow = 0;
    println!("{:<74} {:<28} {:>8} {:>7} {:>7} {:>7} {:>7}", "way in", "answer", "ms", "in", "out", "cpu µs", "records");
    for case in cases.into_iter().chain(calls::good(&scene)) {
        let (name, expected) = (case.name, case.expected.clone());
        let outcome = tried(case, &scene, &victim, &joiner).await;
        let (bytes_in, bytes_out) = outcome.bytes;
        println!(
            "{name:<74} {:<28} {:>8.1} {bytes_in:>7} {bytes_out:>7} {:>7} {:>7}",
            outcome.answer.code(),
            outcome.answered_ms,
            outcome.cpu_us,
            outcome.records,
        );
        slow += usize::from(outcome.answered_ms > ANSWER_MS_MAX);
        let good = expected == Answer::Accepted;
        if outcome.answer != expected {
            faults.push(format!("{name}: {:?} in place of {expected:?}", outcome.answer));
        }
        if !good && (outcome.next.is_empty() || outcome.accepted > 0 || outcome.records > 0) {
            let Outcome { next, accepted, records, .. } = &outcome;
            faults.push(format!("{name}: next {next:?}, {accepted} let in, {records} recorded"));
        }
    }
    println!("{slow} answered later than the limit of {ANSWER_MS_MAX} ms");
    assert_eq!(faults, Vec::<String>::new());
    let spent = victim.spent().await;
    assert_eq!((spent.accepted, spent.records), (2, 2), "the member and the joiner, with its two records");
}

/// However many come, their handshakes cost the node no more than it allows for them.
#[tokio::test]
async fn strangers_in_numbers_are_taken_in_at_a_bounded_rate() {
    for (transport, count) in [("tcp", 400), ("quic", 256)] {
        let scene = Scene::new();
        let victim = scene.victim().await;
        let address = if transport == "tcp" { victim.address.clone() } else { victim.quic.clone() };
        let keys: Vec<_> = (0..4).map(|_| Arc::new(new_keys())).collect();
        let begun = Instant::now();
        let visits = strangers(&scene.token(99), &address, &keys, count, AT_ONCE).await;
        let most = ARRIVALS.burst + ARRIVALS.per_s * (begun.elapsed().as_secs() + 1);
        assert!(visits.refused as u64 <= most, "{transport}: {visits:?}, at most {most} may be heard");
        assert!(visits.refused > 0, "{transport}: {visits:?}: some are");
        assert_eq!((visits.accepted, victim.spent().await.accepted), (0, 0), "{transport}");
    }
}

/// Tries one case, with what the node spent on it.
async fn tried(case: Case, scene: &Scene, victim: &Victim, joiner: &Arc<KeyPair>) -> Outcome {
    match case.way {
        Way::Word(word) => {
            let (begun, cpu) = (Instant::now(), cpu_us());
            let token: Result<Token, _> = word.parse();
            let (answer, next) = match (token, token_of(&word)) {
                (Err(error), Err(_)) => (Answer::NoToken(error), error.next().to_owned()),
                (Ok(_), Err(error)) => {
                    let detail = error.detail();
                    let code = if detail.code == "token-expired" { "token-expired" } else { "another code" };
                    (Answer::Command(code), detail.hint.clone())
                }
                (_, Ok(_)) => (Answer::Accepted, String::new()),
            };
            outcome(answer, next, begun, (word.len() as u64, 0), cpu_us() - cpu)
        }
        Way::Raw(bytes) => {
            let talk = async |line: &mut Line| {
                line.write(&bytes).await;
                line.preface().await;
                verdict(line).await
            };
            against(victim, &scene.stranger, talk).await
        }
        Way::Call(call) => {
            let node = victim.node;
            let keys = Arc::clone(&call.keys);
            against(victim, &keys, async |line: &mut Line| call_out(line, &call, node, scene).await).await
        }
        Way::Inviter(lie) => joined(*lie, scene, joiner).await,
        Way::Member(lie) => dialled_by(*lie, scene, victim).await,
    }
}

fn outcome(answer: Answer, next: String, begun: Instant, bytes: (u64, u64), cpu_us: u64) -> Outcome {
    let answered_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    Outcome { answer, next, answered_ms, bytes, cpu_us, records: 0, accepted: 0 }
}

fn with_costs(mut outcome: Outcome, before: Spent, after: Spent, bytes: (u64, u64)) -> Outcome {
    outcome.cpu_us = after.cpu_us - before.cpu_us;
    outcome.records = after.records - before.records;
    outcome.accepted = after.accepted - before.accepted;
    outcome.bytes = bytes;
    outcome
}

fn next_of(answer: &Answer) -> String {
    match answer {
        Answer::Refused(refusal) => refusal.next().to_owned(),
        Answer::NoToken(_) | Answer::Command(_) | Answer::Accepted => String::new(),
    }
}

/// Dials the node through a relay and talks.
async fn against(victim: &Victim, keys: &KeyPair, talk: impl AsyncFnOnce(&mut Line) -> Answer) -> Outcome {
    let relay = Relay::to(&victim.address).await;
    let before = victim.spent().await;
    let begun = Instant::now();
    let answered = dialled(keys, &relay.address, async |line: &mut Line| {
        let answer = talk(line).await;
        let next = next_of(&answer);
        outcome(answer, next, begun, (0, 0), 0)
    });
    let answered = answered.await;
    let bytes = relay.bytes().await;
    let after = settled(victim, before, &answered.answer).await;
    with_costs(answered, before, after, bytes)
}

/// What the node has spent when it has noted what became of a case.
async fn settled(victim: &Victim, before: Spent, answer: &Answer) -> Spent {
    let noted = async {
        loop {
            let after = victim.spent().await;
            let over = match answer {
                // One that is let in all the same is over as well.
                Answer::Refused(_) => after.last_refused > before.last_refused || after.accepted > before.accepted,
                Answer::Accepted => after.accepted > before.accepted,
                Answer::NoToken(_) | Answer::Command(_) => true,
            };
            if over {
                return after;
            }
        }
    };
    // Of one that is neither refused nor let in nothing is noted, and its answer is not the right one.
    match timeout(PATIENCE, noted).await {
        Ok(after) => after,
        Err(_) => victim.spent().await,
    }
}

/// What the other side says in the end.
async fn verdict(line: &mut Line) -> Answer {
    loop {
        match line.read().await {
            Some(AuthFrame::Refused(refusal)) => return Answer::Refused(refusal),
            Some(AuthFrame::Accepted | AuthFrame::Admitted(_)) => return Answer::Accepted,
            Some(AuthFrame::Hello(_) | AuthFrame::Proof(_) | AuthFrame::Join(_)) => {}
            None => return Answer::Command("closed without a word"),
        }
    }
}

async fn call_out(line: &mut Line, call: &Call, node: weft_protocol::NodeId, scene: &Scene) -> Answer {
    line.write(PREFACE).await;
    line.send(&AuthFrame::Hello(Box::new(call.hello.clone()))).await;
    line.preface().await;
    let theirs = match line.read().await {
        Some(AuthFrame::Hello(theirs)) => theirs,
        Some(AuthFrame::Refused(refusal)) => return Answer::Refused(refusal),
        other => panic!("{other:?}"),
    };
    let Some(AuthFrame::Proof(their_proof)) = line.read().await else { panic!("a proof follows the hello") };
    let own = call.keys.public_keys().node();
    let said = statement(&scene.cluster.charter.cluster_id(), (own, &call.hello), (node, &theirs), own);
    let AuthFrame::Proof(proof) = prove(&*call.signer, &said) else { panic!("a proof") };
    let proof = (call.alter)(proof, &their_proof);
    for frame in &call.then {
        let frame = frame.clone().unwrap_or_else(|| AuthFrame::Proof(proof.clone()));
        line.send(&frame).await;
    }
    verdict(line).await
}

/// The proof of a member on a connection of its own, as somebody in the middle heard it.
async fn overheard(scene: &Scene, victim: &Victim) -> DualSignature {
    let call = Call::new(&scene.worker.keys, scene.hello(scene.worker.certificate.clone()));
    let node = victim.node;
    dialled(&call.keys, &victim.address, async |line: &mut Line| {
        line.write(PREFACE).await;
        line.send(&AuthFrame::Hello(Box::new(call.hello.clone()))).await;
        line.preface().await;
        let Some(AuthFrame::Hello(theirs)) = line.read().await else { panic!("a hello") };
        let own = call.keys.public_keys().node();
        let said = statement(&scene.cluster.charter.cluster_id(), (own, &call.hello), (node, &theirs), own);
        let AuthFrame::Proof(proof) = prove(&*call.signer, &said) else { panic!("a proof") };
        proof
    })
    .await
}

/// Tells a lie to whoever dialled, and what it said to that; whether it told a secret.
async fn lie_to(line: &mut Line, lie: &Lie, dialler: weft_protocol::NodeId, scene: &Scene) -> bool {
    line.preface().await;
    let Some(AuthFrame::Hello(theirs)) = line.read().await else { panic!("whoever dials says hello") };
    line.write(PREFACE).await;
    line.send(&AuthFrame::Hello(Box::new(lie.hello.clone()))).await;
    let own = lie.keys.public_keys().node();
    let said = statement(&scene.cluster.charter.cluster_id(), (dialler, &theirs), (own, &lie.hello), own);
    let AuthFrame::Proof(proof) = prove(&*lie.signer, &said) else { panic!("a proof") };
    line.send(&AuthFrame::Proof((lie.alter)(proof.clone(), &proof))).await;
    let mut told = false;
    loop {
        match line.read().await {
            Some(AuthFrame::Proof(_)) if theirs_is_a_member(&theirs) => answer_with(line, lie).await,
            Some(AuthFrame::Join(_)) => {
                told = true;
                answer_with(line, lie).await;
            }
            Some(AuthFrame::Refused(_)) | None => return told,
            Some(_) => {}
        }
    }
}

fn theirs_is_a_member(theirs: &weft_protocol::Hello) -> bool {
    matches!(theirs.credential, weft_protocol::Credential::Member(_))
}

async fn answer_with(line: &mut Line, lie: &Lie) {
    if let Some(verdict) = &lie.verdict {
        line.send(verdict).await;
    }
}

/// Somebody joins with a token at whose address a liar listens.
async fn joined(lie: Lie, scene: &Scene, joiner: &Arc<KeyPair>) -> Outcome {
    let door = Door::open(&lie.keys).await;
    let relay = Relay::to(&door.address).await;
    let token = Token { addresses: vec![relay.address.clone()], ..scene.token(GOOD) };
    let (keys, name) = (Arc::clone(joiner), "gamma".parse().unwrap());
    let begun = Instant::now();
    // On a thread of its own, whose time is counted.
    let (done, joining) = tokio::sync::oneshot::channel();
    #[expect(clippy::disallowed_methods, reason = "processor time is counted by thread")]
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut failure = None;
        let result = runtime.block_on(join(&keys, &token, &name, weft_protocol::WireVersions::default(), |attempt| {
            failure = attempt.result.clone().err()
        }));
        drop(runtime);
        drop(done.send((result, failure, cpu_us())));
    });
    let node = joiner.public_keys().node();
    let lying = door.answered(async |line: &mut Line| lie_to(line, &lie, node, scene).await);
    let (told, ended) = tokio::join!(lying, timeout(PATIENCE, joining));
    let (result, failure, cpu) = ended.expect("a join ends").unwrap();
    assert!(!told || lie.may_hear_the_secret, "a secret was told to a liar");
    let answer = match result {
        Err(JoinError::NotBelieved { refusal, .. }) => {
            assert_eq!(failure, Some(AttemptFailure::NotBelieved(refusal.clone())), "the attempt says the same");
            Answer::Refused(refusal)
        }
        Ok(_) => Answer::Accepted,
        Err(other) => panic!("{other}"),
    };
    let next = next_of(&answer);
    let (into, out) = relay.bytes().await;
    outcome(answer, next, begun, (out, into), cpu)
}

/// The node dials a member at whose address a liar listens.
async fn dialled_by(lie: Lie, scene: &Scene, victim: &Victim) -> Outcome {
    let door = Door::open(&lie.keys).await;
    let relay = Relay::to(&door.address).await;
    let before = victim.spent().await;
    let begun = Instant::now();
    victim.dial(lie.keys.public_keys().node(), relay.address.clone());
    let node = victim.node;
    let answered_ms = door.answered(async |line: &mut Line| {
        let _no_secret = lie_to(line, &lie, node, scene).await;
        begun.elapsed().as_secs_f64() * 1_000.0
    });
    let answered_ms = answered_ms.await;
    let (into, out) = relay.bytes().await;
    let after = settled(victim, before, &Answer::Refused(AuthRefusal::NotReady)).await;
    let refusal: Option<AuthRefusal> = victim.refusals().await.first().map(|noted| noted.refusal.clone());
    let answer = refusal.map_or(Answer::Accepted, Answer::Refused);
    let next = next_of(&answer);
    let outcome = Outcome { answered_ms, ..outcome(answer, next, begun, (0, 0), 0) };
    with_costs(outcome, before, after, (out, into))
}
