//! Certificates that end: their connections are closed at that moment, and admins renew them at half of their life before.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{Admitted, Certificate, Digest, Fact, NodeId, Role, Signed, Timestamp, hash};

use super::pending::{RENEWALS_MAX, Waiting};
use super::view::AdmittedMember;
use crate::discovery::Discovery;
use crate::event::{Output, RecordAction};
use crate::liveness::MemberState;

/// An admin waits for this part of a certificate's life for each one whose turn comes before its own (guess: several have a turn
/// in the second half).
const TURN_PARTS: u64 = 32;
/// And at most so long, in microseconds (guess: far longer than it takes a renewal to become known).
const TURN_US_MAX: u64 = 600 * 1_000_000;
/// Admins that have the last turn together: what is left of the certificate's life after it is a sixteenth (guess).
const TURNS_MAX: u64 = 14;

/// What is under way about certificates that end.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Connected nodes whose certificate has ended, each told to be disconnected once.
    closed: BTreeSet<NodeId>,
    /// When to try again what the gate refused; at most one entry per member.
    retry_at: BTreeMap<NodeId, Timestamp>,
}

/// The life of a certificate that ends.
#[derive(Debug, Clone, Copy)]
struct Life {
    issued: Timestamp,
    end: Timestamp,
}

impl Life {
    fn of(member: &AdmittedMember) -> Option<Self> {
        Some(Self { issued: member.issued, end: member.not_after? })
    }

    const fn length_us(self) -> u64 {
        self.end.0.saturating_sub(self.issued.0)
    }

    const fn half(self) -> Timestamp {
        self.issued.after_us(self.length_us() / 2)
    }

    fn turn_us(self) -> u64 {
        (self.length_us() / TURN_PARTS).min(TURN_US_MAX)
    }
}

impl Discovery {
    /// Closes connections to members whose certificate has ended and was not renewed.
    pub(crate) fn close_ended(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let ended = self.connected_lives().filter(|(_, life)| life.end <= now);
        let ended: BTreeSet<NodeId> = ended.map(|(node, _)| node).collect();
        outputs.extend(ended.difference(&self.ends.closed).map(|node| Output::Disconnect { node: *node }));
        self.ends.closed = ended;
    }

    /// When the first of the certificates of connected members ends.
    pub(crate) fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.connected_lives().map(|(_, life)| life.end).filter(|end| *end > now).min()
    }

    fn connected_lives(&self) -> impl Iterator<Item = (NodeId, Life)> {
        self.lives().filter(|(node, _)| self.is_reachable(*node))
    }

    /// Renews whatever this node has to, as far as there is room.
    pub(crate) fn renew_due(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let due: Vec<NodeId> = self.renewals(now).filter(|(when, _)| *when <= now).map(|(_, node)| node).collect();
        let room = RENEWALS_MAX.saturating_sub(self.pending.renewals().count());
        for node in due.into_iter().take(room) {
            if let Some(certificate) = self.renewed(node, now) {
                let facts = vec![Fact::Admitted(Box::new(Admitted { certificate, invite: None }))];
                self.record(Waiting::Renewal { node }, RecordAction::Renew { node }, facts, outputs);
            }
        }
    }

    /// When this node has to renew a certificate next.
    pub(crate) fn next_renewal(&self, now: Timestamp) -> Option<Timestamp> {
        if self.pending.renewals().count() >= RENEWALS_MAX {
            return None;
        }
        self.renewals(now).map(|(when, _)| when).min()
    }

    pub(super) fn on_renewed(&mut self, node: &NodeId) {
        self.ends.retry_at.remove(node);
    }

    pub(super) fn on_renewal_refused(&mut self, node: NodeId) {
        let life = self.view.members.get(&node).and_then(Life::of);
        if let Some(life) = life {
            self.ends.retry_at.insert(node, self.now.after_us(life.turn_us()));
        }
    }

    /// Members whose certificates end and that are not cut off. What was admitted by others counts as well.
    fn lives(&self) -> impl Iterator<Item = (NodeId, Life)> {
        let others = self.view.members.iter().filter(|(node, _)| **node != self.node);
        let lives = others.filter_map(|(node, member)| Some((*node, Life::of(member)?)));
        lives.filter(|(node, _)| !self.members.is_cut_off(node))
    }

    /// What this node has to renew, and when. What has ended is not renewed: its node joins again, with another invite.
    fn renewals(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, NodeId)> {
        let may = self.admits_now(now);
        let lives = self.lives().filter(move |(_, life)| may && now < life.end);
        let idle = lives.filter(|(node, _)| {
            let joining = self.pending.joins().any(|join| join.keys.node() == *node);
            !joining && !self.pending.renewals().any(|other| other == *node)
        });
        idle.map(move |(node, life)| (self.renewal_due(node, life, now), node))
    }

    fn renewal_due(&self, node: NodeId, life: Life, now: Timestamp) -> Timestamp {
        let half = life.half();
        // Whose turn it is matters only once there is something to do.
        let turns = if half <= now { self.turns_before_ours(node, now) } else { 0 };
        let due = half.after_us(turns.min(TURNS_MAX) * life.turn_us());
        self.ends.retry_at.get(&node).map_or(due, |retry| due.max(*retry))
    }

    /// How many admins are there that this renewal falls to rather than to us: all who know of the same members say the same.
    fn turns_before_ours(&self, node: NodeId, now: Timestamp) -> u64 {
        let ours = place_in_turn(self.node, node);
        let others = self.view.members.iter().filter(|(other, member)| {
            let admits = member.role == Role::Admin && member.admits_until.is_some_and(|end| now < end);
            **other != self.node && **other != node && admits && self.state_of(other) == MemberState::Alive
        });
        others.filter(|(other, _)| place_in_turn(**other, node) < ours).count() as u64
    }

    /// The next certificate of a member: the same for as long again, for the keys that it has today.
    fn renewed(&self, node: NodeId, now: Timestamp) -> Option<Signed<Certificate>> {
        let last = self.members.get(&node)?.signed.peek().ok()?;
        let life = Life { issued: last.issued, end: last.not_after? };
        let issued = self.next_issued(&node, now);
        // Nobody but the cluster's id says which keys the founder has.
        let founder = node == self.view.charter.founder.node();
        let keys = self.members.all_keys(&node).last().filter(|_| !founder).unwrap_or(&last.keys).clone();
        let not_after = Some(issued.after_us(life.length_us()));
        let certificate = Certificate { keys, issuer: self.node, issued, not_after, ..last };
        Some(Signed::new(&certificate, &*self.signer))
    }

    fn admits_now(&self, now: Timestamp) -> bool {
        self.view.members.get(&self.node).and_then(|own| own.admits_until).is_some_and(|end| now < end)
            && !self.members.is_cut_off(&self.node)
    }
}

/// The admin with the lowest one renews the certificate of `member`, and each next one when those before it did not.
fn place_in_turn(admin: NodeId, member: NodeId) -> Digest {
    hash("renewal-turn", &[admin.as_bytes(), member.as_bytes()])
}
