//! A packet of SWIM for a member that its sender has no connection to: a neighbour of both passes it on.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::id::NodeId;

/// Said on the stream of SWIM in the place of a packet. It goes over one member and no further: whoever passes it on got it from its
/// sender, and hands it to the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwimDetour {
    /// Whose packet it is.
    pub from: NodeId,
    /// For whom.
    pub to: NodeId,
    /// As it would have been sent on a connection of the two.
    pub packet: ByteBuf,
}
