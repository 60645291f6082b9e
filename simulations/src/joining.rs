//! How new nodes become members: a token of the founder, the real handshake of a joiner, and another try until it works.

use std::collections::VecDeque;
use std::sync::Arc;

use weft_discovery::{Handshake, HandshakeOutcome, Step as Shake};
use weft_peer::{AskId, Input};
use weft_protocol::limits::INVITE_USES_MAX;
use weft_protocol::{Admission, AuthRefusal, encode};

use crate::faults::Fault;
use crate::mesh::{Shaken, Shaking};
use crate::reference::Asked;
use crate::world::{Event, World};

/// How long a joiner waits before it tries again, in microseconds (guess: a person who types the command again).
const AGAIN_US: u64 = 700_000;

/// A handshake that waits for the inviter's disk.
#[derive(Debug)]
pub(crate) struct Joining {
    joiner: usize,
    /// Whose answer is waited for.
    pub(crate) inviter: usize,
    machines: Shaking,
}

impl World {
    /// Lets a new node try to be admitted until it is.
    pub(crate) fn begin_join(&mut self, node: usize) {
        if self.nodes[node].identity.is_none() {
            self.after(0, Event::TryJoin { node });
        }
    }

    /// One attempt; the founder makes an invite for all when it has not yet.
    pub(crate) fn try_join(&mut self, node: usize) {
        let under_way = self.joining.values().any(|joining| joining.joiner == node);
        if self.nodes[node].identity.is_some() || under_way {
            return;
        }
        self.after(AGAIN_US, Event::TryJoin { node });
        let Some(token) = self.token.clone() else {
            if self.nodes[0].running.is_some() {
                let question = self.invite(INVITE_USES_MAX);
                self.ask(0, question, Asked::Other);
            }
            return;
        };
        let view = self.nodes[0].running.as_ref().map(|running| Arc::clone(&running.view));
        let Some(view) = view.filter(|_| self.is_reached(node, 0)) else { return };
        let nonces = [self.peer_dice.bytes(), self.peer_dice.bytes()];
        let (name, build) = (self.nodes[node].name.clone(), "simulation".to_owned());
        let (joiner, inviter) = (Arc::clone(&self.nodes[node].keys), Arc::clone(&self.nodes[0].keys));
        let (joiner_id, inviter_id) = (self.nodes[node].id(), self.nodes[0].id());
        let mut machines = Shaking {
            dialer: Handshake::dialer_joiner(token, joiner, name, build, nonces[0], inviter_id)
                .offering(self.wire_of(node).newest()),
            listener: Handshake::listener(view, inviter, nonces[1], joiner_id),
            frames: VecDeque::new(),
        };
        let frames = machines.dialer.start();
        machines.put(true, frames);
        match self.shake(&mut machines, node, 0) {
            Shaken::Asks(asked) => {
                let (keys, invite, join) = *asked;
                let ask = self.new_ask(0, Asked::Join { joiner: keys.node() });
                self.joining.insert(ask, Joining { joiner: node, inviter: 0, machines });
                self.tell(0, Input::JoinAsked { ask, keys, invite, join });
            }
            Shaken::Refused(refusal) => self.refused(node, &refusal),
            Shaken::Both(_) | Shaken::Lost => {}
        }
    }

    /// Carries out `AnswerJoin`.
    pub(crate) fn answer_join(&mut self, ask: AskId, answer: Result<Box<Admission>, AuthRefusal>) {
        let Some(mut joining) = self.joining.remove(&ask) else { return };
        let (joiner, inviter) = (joining.joiner, joining.inviter);
        match joining.machines.listener.admission_decided(answer.map(|admission| *admission)) {
            Shake::Done { send, .. } => joining.machines.put(false, send),
            Shake::Refuse { error, .. } | Shake::Refused(error) => return self.refused(joiner, &error),
            Shake::Send(_) | Shake::Ask { .. } => return,
        }
        // The listener is done, so only the joiner's outcome is waited for.
        let machines = &mut joining.machines;
        while let Some((_, frame)) = machines.frames.pop_front() {
            let bytes = encode(&frame).len();
            if self.network.carry(inviter, joiner, self.now_us, bytes, &mut self.network_dice).is_empty() {
                return;
            }
            let now = self.nodes[joiner].wall(self.now_us);
            if let Shake::Done { outcome: HandshakeOutcome::Admitted(admission), .. } =
                machines.dialer.frame_arrived(frame, now)
            {
                self.admitted(joiner, *admission);
            }
        }
    }

    fn admitted(&mut self, node: usize, admission: Admission) {
        if self.nodes[node].identity.is_some() {
            return;
        }
        if self.begun {
            self.faults.count(Fault::LateJoin);
            let others = self.nodes.iter().any(|other| other.index != node && other.identity.is_none());
            if self.storm.remove(&node) && (others || self.storm_seen) {
                self.storm_seen = true;
                self.faults.count(Fault::StormJoin);
            }
        }
        let Admission { certificate, charter, members, .. } = admission;
        self.become_member(node, charter, certificate, members);
    }

    /// A refusal that no other try can mend is a defect: every joiner here is entitled.
    fn refused(&mut self, node: usize, refusal: &AuthRefusal) {
        self.trace.add(self.now_us, Some(node), format_args!("is refused: {}", refusal.code()));
        if !refusal.retry() {
            self.judge.book.complain(format!("node {node} was refused for good: {refusal}"));
        }
    }
}
