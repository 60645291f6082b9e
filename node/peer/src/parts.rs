//! Answers in parts, on their way between the kernel, members and whoever asked.

use weft_kernel::{self as kernel, Route, Syscall};
use weft_protocol::{A2aItem, NodeId, Payload, Refusal};

use crate::event::{AskId, Output};
use crate::peer::Peer;

impl Peer {
    /// Whether a member understands a call whose answer may come in parts: every member of this version does.
    #[expect(clippy::unused_self, reason = "what a member understands is what it said of itself")]
    const fn takes_parts(&self, _node: NodeId) -> bool {
        true
    }

    /// The route of a question: none to a member that does not understand it.
    pub(crate) fn route_of_parts(&self, syscall: &Syscall, route: Route) -> Route {
        match (syscall, route) {
            (Syscall::Send { parts: true, .. }, Route::Remote(node)) if !self.takes_parts(node) => {
                Route::nowhere(Refusal::Unsupported { what: "an answer in parts, by that node".to_owned() })
            }
            (_, route) => route,
        }
    }

    /// Hands a part to whoever asked; the attempts of one call have one asker.
    pub(crate) fn part_came(&mut self, ask: kernel::AskId, number: u32, payload: Payload, out: &mut Vec<Output>) {
        let ask = self.services.part_came(ask);
        out.push(Output::AnswerPart { ask, number, payload });
    }

    /// Whoever asked has taken parts.
    pub(crate) fn parts_taken(&mut self, ask: AskId, count: u32) {
        let ask = self.services.attempt_of(ask);
        self.tell_kernel(kernel::Input::PartsTaken { ask, count });
    }

    /// An item that waited for a member has not left, or may not have arrived.
    pub(crate) fn item_lost(&mut self, to: NodeId, item: &A2aItem) {
        if let Some(message) = crate::links::message_of(item) {
            self.tell_kernel(kernel::Input::TransmitFailed { to, message });
        }
    }
}
