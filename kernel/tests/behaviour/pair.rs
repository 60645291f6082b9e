//! Two kernels in one hand: what one transmits the other receives, at once and without loss unless a test interferes.

use std::collections::VecDeque;

use weft_kernel::{Answer, AskId, Input, Output, Route, Syscall};
use weft_protocol::{ExitReason, NodeId, Principal, Refusal, Role};

use crate::node::{Node, echoed};

pub(crate) struct Pair {
    pub(crate) nodes: [Node; 2],
    /// Whether built-in agents answer by themselves.
    pub(crate) agents_answer: bool,
    /// The role of both.
    pub(crate) role: Role,
}

impl Pair {
    /// alpha, and beta with a running `echo`.
    pub(crate) fn new() -> Self {
        Self {
            nodes: [Node::new("alpha"), Node::with_agents("beta", &["echo"])],
            agents_answer: true,
            role: Role::Worker,
        }
    }

    pub(crate) fn asked(&self, ask: u64, by: Principal, syscall: Syscall) -> Input {
        let route = Route::Remote(self.nodes[1].id());
        Input::Asked { ask: AskId(ask), by, syscall: Box::new(syscall), route }
    }

    /// Gives alpha one input and lets everything happen; returns what was answered there.
    pub(crate) fn run(&mut self, input: Input) -> Vec<(u64, Result<Answer, Refusal>)> {
        let mut queue = VecDeque::from([(0, input)]);
        let mut answers = Vec::new();
        while let Some((place, input)) = queue.pop_front() {
            for output in self.nodes[place].run(input) {
                match output {
                    Output::Answer { ask, answer } if place == 0 => answers.push((ask.0, answer)),
                    output => queue.extend(self.carry(place, output)),
                }
            }
        }
        answers
    }

    fn carry(&self, place: usize, output: Output) -> Option<(usize, Input)> {
        let (from, other) = (self.nodes[place].id(), 1 - place);
        let role = self.role;
        match output {
            Output::Transmit { to, envelope } if self.is(other, to) => {
                Some((other, Input::EnvelopeArrived { from, role, envelope }))
            }
            Output::Acknowledge { to, receipt } if self.is(other, to) => {
                Some((other, Input::ReceiptArrived { from, receipt }))
            }
            Output::Cancel { to, message } if self.is(other, to) => {
                Some((other, Input::CancelArrived { from, message }))
            }
            Output::SendPart { to, part } if self.is(other, to) => Some((other, Input::PartArrived { from, part })),
            Output::SayPartsTaken { to, taken } if self.is(other, to) => {
                Some((other, Input::PartsTakenArrived { from, taken }))
            }
            Output::Publish(publication) => {
                Some((other, Input::PublicationArrived { from, role, publication, fetched: false }))
            }
            Output::Deliver { process, delivery } if self.agents_answer => Some((place, echoed(process, *delivery))),
            Output::Start { process, .. } => Some((place, Input::AgentStarted { process, pid: None })),
            Output::Stop { process, .. } => Some((place, Input::AgentExited { process, reason: ExitReason::Stopped })),
            Output::Suspend { process } => Some((place, Input::AgentSuspended { process })),
            Output::Resume { process } => Some((place, Input::AgentResumed { process })),
            _ => None,
        }
    }

    fn is(&self, place: usize, node: NodeId) -> bool {
        self.nodes[place].id() == node
    }
}
