//! Whether all sides of a conversation recorded the same: a pure function of their records.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{MessageId, MessageRecord, NodeId, Stage};

/// One recorded step and whose record it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Whose.
    pub(crate) node: NodeId,
    /// What.
    pub(crate) record: MessageRecord,
}

/// What the sides of a conversation say of each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Agreement {
    /// What does not fit, one sentence each.
    pub(crate) disagreements: Vec<String>,
    /// Messages of which the other side has no record, and what to do next, one sentence each.
    pub(crate) unheard: Vec<String>,
}

/// Why it is not known what a node recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nobody could ask it.
    Unreachable,
    /// It deleted some of that.
    Pruned,
}

impl Silence {
    fn words(self, node: &str) -> String {
        match self {
            Self::Unreachable => format!(
                "{node} could not be asked what it recorded; next: weft members shows whether it can be reached, then ask again"
            ),
            Self::Pruned => format!(
                "{node} pruned what it recorded; next: weft chain log --node {node} --kind chain.pruned says when and how much"
            ),
        }
    }
}

/// Whether every message with two sides was recorded alike by both. `name` gives the name of a node; of those in `silent` it
/// could not be found out what they recorded, and why not.
pub(crate) fn agreement(
    steps: &[Step],
    silent: &BTreeMap<NodeId, Silence>,
    name: impl Fn(NodeId) -> String,
) -> Agreement {
    let mut messages: BTreeMap<MessageId, Vec<&Step>> = BTreeMap::new();
    for step in steps {
        messages.entry(step.record.message).or_default().push(step);
    }
    let mut found = Agreement::default();
    messages.values().for_each(|steps| compare_message(steps, silent, &name, &mut found));
    found
}

fn compare_message(
    steps: &[&Step],
    silent: &BTreeMap<NodeId, Silence>,
    name: &impl Fn(NodeId) -> String,
    agreement: &mut Agreement,
) {
    let Agreement { disagreements: found, unheard } = agreement;
    let at = |stage: Stage| steps.iter().copied().filter(move |step| step.record.stage == stage);
    let senders: BTreeSet<&_> = steps.iter().map(|step| &step.record.from).collect();
    if senders.len() > 1 {
        found.push("the records name different senders".to_owned());
    }
    for sent in at(Stage::Sent) {
        let (here, there) = (name(sent.node), name(sent.record.peer));
        let theirs = |stage: Stage| at(stage).find(|step| step.node == sent.record.peer);
        let ours = |stage: Stage| at(stage).find(|step| step.node == sent.node);
        let turned_away = at(Stage::Refused).any(|step| step.node == sent.record.peer);
        match theirs(Stage::Received) {
            Some(received) => compare(sent, received, &here, &there, found),
            None if turned_away => {}
            None if silent.contains_key(&sent.record.peer) => unheard.push(silent[&sent.record.peer].words(&there)),
            None => match (ours(Stage::Refused), ours(Stage::Acknowledged)) {
                // The sender knows that nobody let it in.
                (Some(ended), _) => unheard.push(format!(
                    "the other side has no record: {here} ended it ({}) and {there} never let it in; next: weft members shows \
                     whether {there} can be reached, then send it again",
                    ended.record.rule
                )),
                (None, Some(answer)) if answer.record.rule == "denied" || answer.record.rule == "out-of-scope" => {
                    unheard.push(format!(
                        "the other side has no record of the message: {there} denied it, which is an event of its own; next: \
                         weft chain log --node {there} --kind gate.denied"
                    ));
                }
                (None, Some(answer)) if !matches!(answer.record.rule.as_str(), "received" | "executed") => {
                    unheard.push(format!(
                        "the other side has no record: {there} turned it away ({}); next: send it again",
                        answer.record.rule
                    ));
                }
                (None, _) => found.push(format!("{here} sent a message to {there}, which recorded nothing of it")),
            },
        }
        if let (Some(answered), Some(acknowledged)) = (theirs(Stage::Answered), ours(Stage::Acknowledged))
            && answered.record.body_hash != acknowledged.record.body_hash
        {
            found.push(format!("the answer that {there} recorded is not the one that {here} recorded"));
        }
        // A caller that took none has recorded none.
        if let (Some(answered), Some(acknowledged)) = (theirs(Stage::Answered), ours(Stage::Acknowledged))
            && let (Some(said), Some(came)) = (answered.record.parts, acknowledged.record.parts)
            && said != came
        {
            found.push(format!("the parts that {there} recorded are not those that {here} recorded"));
        }
    }
    for received in at(Stage::Received) {
        let sender = received.record.from.node;
        // Of a plain message to its own node *received* is the record of both sides.
        if sender != received.node && !at(Stage::Sent).any(|step| step.node == sender) {
            let (there, here) = (name(received.node), name(sender));
            if let Some(silence) = silent.get(&sender) {
                unheard.push(silence.words(&here));
            } else {
                found.push(format!("{there} received a message from {here}, which recorded nothing of it"));
            }
        }
    }
    for delivered in at(Stage::Delivered) {
        let publisher = delivered.record.from.node;
        match at(Stage::Published).find(|step| step.node == publisher) {
            Some(published) => compare(published, delivered, &name(publisher), &name(delivered.node), found),
            None => {
                let (there, here) = (name(delivered.node), name(publisher));
                found.push(format!("{there} delivered a publication of {here}, which recorded nothing of it"));
            }
        }
    }
}

fn compare(ours: &Step, theirs: &Step, here: &str, there: &str, found: &mut Vec<String>) {
    if ours.record.body_hash != theirs.record.body_hash || ours.record.body_bytes != theirs.record.body_bytes {
        found.push(format!("{here} and {there} recorded different bodies"));
    }
    // The sender names the node too; the receiver is that node.
    let local = |target: &str| target.split('@').next().unwrap_or_default().to_owned();
    if local(&ours.record.target) != local(&theirs.record.target) {
        let (ours, theirs) = (&ours.record.target, &theirs.record.target);
        found.push(format!("{here} recorded the target {ours}, {there} recorded {theirs}"));
    }
}

#[cfg(test)]
mod tests {
    use weft_protocol::{ChainId, Hlc, Incarnation, Principal, Sender, TraceId, content_address};

    use super::*;

    const ALPHA: NodeId = NodeId::from_bytes([1; 32]);
    const BETA: NodeId = NodeId::from_bytes([2; 32]);

    fn step(node: NodeId, stage: Stage, target: &str, body: &str) -> Step {
        let chain = ChainId { node: BETA, incarnation: Incarnation(1) };
        let record = MessageRecord {
            stage,
            message: MessageId { chain, counter: 1 },
            trace: TraceId(1),
            hlc: Hlc(1),
            from: Sender { node: BETA, principal: Principal::Operator },
            target: target.to_owned(),
            peer: if node == BETA { ALPHA } else { BETA },
            rule: "rule".to_owned(),
            body_hash: content_address(body.as_bytes()),
            body_bytes: body.len() as u64,
            body: None,
            parts: None,
        };
        Step { node, record }
    }

    fn name(node: NodeId) -> String {
        if node == ALPHA { "alpha".to_owned() } else { "beta".to_owned() }
    }

    fn acknowledged(rule: &str, body: &str) -> Step {
        let mut step = step(BETA, Stage::Acknowledged, "echo@alpha", body);
        step.record.rule = rule.to_owned();
        step
    }

    fn call() -> Vec<Step> {
        vec![
            step(BETA, Stage::Sent, "echo@alpha", "hi"),
            step(ALPHA, Stage::Received, "echo", "hi"),
            step(ALPHA, Stage::Answered, "echo", "hi back"),
            acknowledged("executed", "hi back"),
        ]
    }

    fn disagreements(steps: &[Step], name: fn(NodeId) -> String) -> Vec<String> {
        let Agreement { disagreements, unheard } = agreement(steps, &BTreeMap::new(), name);
        assert_eq!(unheard, Vec::<String>::new());
        disagreements
    }

    fn unheard(steps: &[Step], silent: &[NodeId]) -> Vec<String> {
        let Agreement { disagreements, unheard } =
            agreement(steps, &silent.iter().map(|node| (*node, Silence::Unreachable)).collect(), name);
        assert_eq!(disagreements, Vec::<String>::new());
        unheard
    }

    #[test]
    fn a_whole_call_agrees() {
        assert_eq!(disagreements(&call(), name), Vec::<String>::new());
    }

    #[test]
    fn every_missing_or_different_side_is_named() {
        let without = |stage: Stage| {
            let steps: Vec<Step> = call().into_iter().filter(|step| step.record.stage != stage).collect();
            disagreements(&steps, name)
        };
        assert_eq!(without(Stage::Received), ["beta sent a message to alpha, which recorded nothing of it"]);
        assert_eq!(without(Stage::Sent), ["alpha received a message from beta, which recorded nothing of it"]);

        let mut steps = call();
        steps[1] = step(ALPHA, Stage::Received, "echo", "ho");
        assert_eq!(disagreements(&steps, name), ["beta and alpha recorded different bodies"]);
        let mut steps = call();
        steps[1] = step(ALPHA, Stage::Received, "clock", "hi");
        assert_eq!(disagreements(&steps, name), ["beta recorded the target echo@alpha, alpha recorded clock"]);
        let mut steps = call();
        steps[3] = step(BETA, Stage::Acknowledged, "echo@alpha", "forged");
        assert_eq!(disagreements(&steps, name), ["the answer that alpha recorded is not the one that beta recorded"]);
        let mut steps = call();
        steps[1].record.from.node = ALPHA;
        assert!(disagreements(&steps, name).contains(&"the records name different senders".to_owned()));
    }

    #[test]
    fn a_refused_message_has_one_side_or_two() {
        let sent = step(BETA, Stage::Sent, "echo@alpha", "hi");
        let turned_away = step(ALPHA, Stage::Refused, "echo", "hi");
        assert_eq!(disagreements(&[sent.clone(), turned_away], name), Vec::<String>::new());
        let lost = step(BETA, Stage::Refused, "echo@alpha", "hi");
        assert_eq!(disagreements(std::slice::from_ref(&lost), name), Vec::<String>::new(), "nothing was sent");
        let reached_nobody = unheard(&[sent.clone(), lost], &[]);
        let expected = "the other side has no record: beta ended it (rule) and alpha never let it in; next: weft members shows \
                        whether alpha can be reached, then send it again";
        assert_eq!(reached_nobody, [expected]);
        let denied = unheard(&[sent.clone(), acknowledged("denied", "")], &[]);
        assert!(denied[0].ends_with("next: weft chain log --node alpha --kind gate.denied"), "{denied:?}");
        let busy = unheard(&[sent.clone(), acknowledged("busy", "")], &[]);
        assert!(busy[0].starts_with("the other side has no record: alpha turned it away (busy)"), "{busy:?}");
        // Whoever says that it received it must have recorded that.
        let lies = disagreements(&[sent.clone(), acknowledged("executed", "")], name);
        assert_eq!(lies, ["beta sent a message to alpha, which recorded nothing of it"]);
        let silent = unheard(&[sent, acknowledged("executed", "")], &[ALPHA]);
        assert!(silent[0].starts_with("alpha could not be asked what it recorded; next: weft members"), "{silent:?}");
        let received = step(ALPHA, Stage::Received, "echo", "hi");
        assert!(unheard(&[received], &[BETA])[0].starts_with("beta could not be asked"));
    }

    #[test]
    fn publications_have_one_publisher_and_many_receivers() {
        let published = step(BETA, Stage::Published, "topic:jobs", "hi");
        let delivered = step(ALPHA, Stage::Delivered, "topic:jobs", "hi");
        assert_eq!(disagreements(&[published.clone(), delivered.clone()], name), Vec::<String>::new());
        assert_eq!(disagreements(std::slice::from_ref(&published), name), Vec::<String>::new());
        let alone = disagreements(&[delivered], name);
        assert_eq!(alone, ["alpha delivered a publication of beta, which recorded nothing of it"]);
        let other = step(ALPHA, Stage::Delivered, "topic:jobs", "ho");
        assert_eq!(disagreements(&[published, other], name), ["beta and alpha recorded different bodies"]);
    }
}
