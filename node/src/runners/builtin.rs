//! Agents that come with the program: they answer at once, in the event loop's own turn.

use weft_kernel::{Builtin, Delivery};
use weft_peer::Input;
use weft_protocol::ProcessId;

use crate::clock::wall;

/// The agent's answer, to be given to the peer before anything else happens.
pub(crate) fn deliver(builtin: &mut Builtin, process: ProcessId, delivery: &Delivery) -> Input {
    let answer = builtin.handle(&delivery.payload, wall());
    Input::AgentAnswered { process, message: delivery.message, answer }
}
