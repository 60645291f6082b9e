//! How the network is, as far as discovery can tell.

use weft_discovery::{Discovery, MemberState};
use weft_kernel::ProbeAnswer;
use weft_protocol::NodeId;

/// Degraded when nobody could reach this node, or it reaches none of those who should be there: it works alone.
pub(crate) fn network_health(own: NodeId, discovery: &Discovery) -> ProbeAnswer {
    let (mut others, mut reached, mut listens) = (0_usize, 0_usize, false);
    for member in discovery.members() {
        if member.node == own {
            listens = !member.addresses.is_empty();
            continue;
        }
        match member.state {
            MemberState::Alive | MemberState::Suspect => {
                others += 1;
                reached += 1;
            }
            MemberState::Dead => others += 1,
            MemberState::Left | MemberState::Quarantined | MemberState::Evicted => {}
        }
    }
    if !listens {
        return ProbeAnswer::Degraded { reason: "it listens at no address".to_owned() };
    }
    if others > 0 && reached == 0 {
        return ProbeAnswer::Degraded { reason: format!("none of the {others} other members is reached") };
    }
    ProbeAnswer::Healthy
}
