//! Answers in parts, on their way between the kernel, members and whoever asked.

use weft_kernel::{self as kernel, Route, Syscall};
use weft_protocol::{A2aItem, NodeId, Payload, WIRE_VERSION_PARTS};

use crate::event::{AskId, Output};
use crate::peer::Peer;

impl Peer {
    /// The route of a question: none to a member that does not understand it.
    pub(crate) fn route_of_parts(&self, syscall: &Syscall, route: Route) -> Route {
        match (syscall, route) {
            (Syscall::Send { parts: true, .. }, Route::Remote(node)) => {
                self.check_version(node, WIRE_VERSION_PARTS).map_or_else(Route::nowhere, |()| Route::Remote(node))
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
