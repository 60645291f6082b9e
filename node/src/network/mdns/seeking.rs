//! Who is sought on the LAN, when it is asked for, which answer is taken, and when this node answers; no socket and no clock.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use weft_protocol::{ClusterId, NodeId, Timestamp};

use super::packet::Alias;

/// Members sought at once; a further one is not begun, and asked for again by whoever misses it (as many as lookups, a guess).
pub(super) const SOUGHT_MAX: usize = 16;
/// Addresses that are taken of one answer: QUIC and TCP, at two ports each (guess).
pub(super) const ADDRESSES_TAKEN_MAX: usize = 4;
/// Answers that are taken for one question: the true one, when somebody was faster with a false one (guess).
const ANSWERS_TAKEN_MAX: usize = 2;
/// When it is asked, after the beginning, in microseconds: a packet may be lost, and RFC 6762, 5.2, wants a second at least between
/// the first two and twice as long each time.
const ASKED_AT_US: [u64; 3] = [0, 1_000_000, 3_000_000];
/// How long answers are listened to, in microseconds: as long as a lookup among members may take.
const SOUGHT_US: u64 = 10_000_000;
/// Least time between two answers of this node, in microseconds (RFC 6762, 6).
const ANSWER_PAUSE_US: u64 = 1_000_000;

/// One member that is sought.
#[derive(Debug)]
struct Sought {
    node: NodeId,
    begun: Timestamp,
    asked: usize,
    answers: usize,
}

impl Sought {
    /// When it is asked for again, or is sought no more.
    fn due(&self) -> Timestamp {
        self.begun.after_us(ASKED_AT_US.get(self.asked).copied().unwrap_or(SOUGHT_US))
    }
}

/// All that is asked and answered.
#[derive(Debug)]
pub(super) struct Seeking {
    cluster: ClusterId,
    own: Alias,
    sought: BTreeMap<Alias, Sought>,
    answered: Option<Timestamp>,
}

impl Seeking {
    /// Nobody is sought yet by this node.
    pub(super) fn new(cluster: ClusterId, node: NodeId) -> Self {
        Self { cluster, own: Alias::of(cluster, node), sought: BTreeMap::new(), answered: None }
    }

    /// What this node is called.
    pub(super) const fn own(&self) -> Alias {
        self.own
    }

    /// A member is missed. One that is sought already goes on being sought, no longer than before.
    pub(super) fn seek(&mut self, node: NodeId, now: Timestamp) {
        let alias = Alias::of(self.cluster, node);
        if self.sought.len() < SOUGHT_MAX && alias != self.own {
            self.sought.entry(alias).or_insert(Sought { node, begun: now, asked: 0, answers: 0 });
        }
    }

    /// For whom it is asked now. Who was sought for long enough is forgotten.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<Alias> {
        self.sought.retain(|_, sought| now < sought.begun.after_us(SOUGHT_US));
        let due = self.sought.iter_mut().filter(|(_, sought)| sought.due() <= now);
        let asked = due.map(|(alias, sought)| {
            sought.asked += 1;
            *alias
        });
        asked.collect()
    }

    /// When there is something to do again.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.sought.values().map(Sought::due).min()
    }

    /// Somebody asks for these; whether this node answers.
    pub(super) fn question_heard(&mut self, aliases: &[Alias], now: Timestamp) -> bool {
        let lately = |at: Timestamp| at <= now && now < at.after_us(ANSWER_PAUSE_US);
        if !aliases.contains(&self.own) || self.answered.is_some_and(lately) {
            return false;
        }
        self.answered = Some(now);
        true
    }

    /// The machine at `from` says that a node listens there. What can be used of that; only of one that is sought, and only
    /// addresses of that machine, so that nobody makes this node dial a third one.
    pub(super) fn answer_heard(
        &mut self,
        from: Ipv4Addr,
        alias: Alias,
        texts: &[String],
    ) -> Option<(NodeId, Vec<String>)> {
        let sought = self.sought.get_mut(&alias).filter(|sought| sought.answers < ANSWERS_TAKEN_MAX)?;
        let usable = texts.iter().filter(|text| text.parse().is_ok_and(|address| is_at(&address, from)));
        let usable: Vec<String> = usable.take(ADDRESSES_TAKEN_MAX).cloned().collect();
        if usable.is_empty() {
            return None;
        }
        sought.answers += 1;
        Some((sought.node, usable))
    }
}

/// Whether this is an address of a transport that is spoken here, at that machine.
fn is_at(address: &Multiaddr, ip: Ipv4Addr) -> bool {
    let parts: Vec<Protocol<'_>> = address.iter().take(4).collect();
    match parts.as_slice() {
        [Protocol::Ip4(at), Protocol::Udp(_), Protocol::QuicV1] | [Protocol::Ip4(at), Protocol::Tcp(_)] => *at == ip,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000);
    const THERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn alias(number: u8) -> Alias {
        Alias::of(cluster(), node(number))
    }

    fn cluster() -> ClusterId {
        ClusterId::from_bytes([1; 32])
    }

    fn seeking(sought: &[u8]) -> Seeking {
        let mut seeking = Seeking::new(cluster(), node(0));
        sought.iter().for_each(|number| seeking.seek(node(*number), START));
        seeking
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_missed_member_is_asked_for_three_times_and_then_no_more() {
        let mut seeking = seeking(&[1]);
        let mut asked = Vec::new();
        for _ in 0..10 {
            let Some(due) = seeking.next_due() else { break };
            asked.extend(seeking.take_due(due).into_iter().map(|alias| (due.since_us(START), alias)));
            // Whoever misses it goes on saying so.
            if due < START.after_us(SOUGHT_US) {
                seeking.seek(node(1), due);
            }
        }
        assert_eq!(asked, ASKED_AT_US.map(|at| (at, alias(1))));
        assert_eq!(seeking.next_due(), None, "it is sought no more");
    }

    #[test]
    fn only_of_a_member_that_is_sought_an_answer_is_taken() {
        let mut seeking = seeking(&[1]);
        let there = texts(&["/ip4/10.0.0.7/udp/4001/quic-v1", "/ip4/10.0.0.7/tcp/4001"]);
        assert_eq!(seeking.answer_heard(THERE, alias(2), &there), None, "a stranger, or a member that is not missed");
        assert_eq!(seeking.answer_heard(THERE, alias(1), &there), Some((node(1), there.clone())));
        seeking.take_due(START.after_us(SOUGHT_US));
        assert_eq!(seeking.answer_heard(THERE, alias(1), &there), None, "it is sought no more");
    }

    #[test]
    fn of_an_answer_only_addresses_of_the_machine_that_sent_it_are_taken() {
        let said = texts(&[
            "/ip4/10.0.0.8/tcp/4001",
            "/dns/example.org/tcp/4001",
            "/ip4/10.0.0.7/tcp/22/p2p-circuit",
            "/ip4/10.0.0.7",
            "/ip4/10.0.0.7/udp/53",
            "nonsense",
        ]);
        assert_eq!(seeking(&[1]).answer_heard(THERE, alias(1), &said), None);
        let mixed = texts(&["/ip4/10.0.0.8/tcp/1", "/ip4/10.0.0.7/tcp/2"]);
        let taken = seeking(&[1]).answer_heard(THERE, alias(1), &mixed).unwrap();
        assert_eq!(taken.1, ["/ip4/10.0.0.7/tcp/2"]);
        let many: Vec<String> = (1..=9).map(|port| format!("/ip4/10.0.0.7/tcp/{port}")).collect();
        assert_eq!(seeking(&[1]).answer_heard(THERE, alias(1), &many).unwrap().1.len(), ADDRESSES_TAKEN_MAX);
    }

    #[test]
    fn a_flood_of_false_answers_is_taken_twice() {
        let mut seeking = seeking(&[1]);
        let taken = (1..1_000)
            .filter(|port| seeking.answer_heard(THERE, alias(1), &[format!("/ip4/10.0.0.7/tcp/{port}")]).is_some());
        assert_eq!(taken.count(), ANSWERS_TAKEN_MAX);
    }

    #[test]
    fn a_node_answers_whoever_knows_its_alias_and_once_in_a_second() {
        let mut seeking = seeking(&[]);
        assert!(!seeking.question_heard(&[alias(1), alias(2)], START), "others are meant");
        assert!(seeking.question_heard(&[alias(1), alias(0)], START));
        assert!(!seeking.question_heard(&[alias(0)], START.after_us(ANSWER_PAUSE_US - 1)));
        assert!(seeking.question_heard(&[alias(0)], START.after_us(ANSWER_PAUSE_US)));
    }

    #[test]
    fn more_than_sixteen_are_not_sought_at_once_and_a_node_does_not_seek_itself() {
        let mut seeking = seeking(&(0..100).collect::<Vec<_>>());
        let due = seeking.take_due(START);
        assert_eq!(due.len(), SOUGHT_MAX);
        assert!(!due.contains(&alias(0)));
    }
}
