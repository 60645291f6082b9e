//! What of a packet is believed: that it is its sender's own, and of others only what is about members.

use foca::{Codec as _, Header, Member, Message, PostcardCodec};
use weft_protocol::NodeId;
use weft_protocol::limits::SWIM_PACKET_BYTES_MAX;

use super::identity::SwimIdentity;

/// A packet without what is not believed.
pub(super) struct Sifted {
    pub(super) sender: SwimIdentity,
    pub(super) packet: Vec<u8>,
}

/// Takes a packet apart and leaves out updates that are not believed; none when it is no packet of that node.
pub(super) fn sift(from: NodeId, packet: &[u8], believed: impl Fn(&SwimIdentity) -> bool) -> Option<Sifted> {
    if packet.len() > SWIM_PACKET_BYTES_MAX {
        return None;
    }
    let mut rest = packet;
    let header: Header<SwimIdentity> = PostcardCodec.decode_header(&mut rest).ok()?;
    if header.src.node != from {
        return None;
    }
    let mut sifted = packet[..packet.len() - rest.len()].to_vec();
    if rest.len() >= 2 && carries_updates(&header) {
        let (count, mut updates) = rest.split_at_checked(2)?;
        let count = u16::from_be_bytes(count.try_into().ok()?);
        let mut kept = 0_u16;
        let place = sifted.len();
        sifted.extend([0; 2]);
        for _ in 0..count {
            let before = updates;
            let update: Member<SwimIdentity> = PostcardCodec.decode_member(&mut updates).ok()?;
            if believed(update.id()) {
                sifted.extend(&before[..before.len() - updates.len()]);
                kept += 1;
            }
        }
        sifted[place..place + 2].copy_from_slice(&kept.to_be_bytes());
        rest = updates;
    }
    // Nothing else is ever sent; what is left would be refused below in any case.
    rest.is_empty().then_some(Sifted { sender: header.src, packet: sifted })
}

fn carries_updates(header: &Header<SwimIdentity>) -> bool {
    !matches!(header.message, Message::Announce | Message::Broadcast)
}
