//! Who passes gossip on in a full mesh: whoever says something tells everybody it is connected to, so a few others are enough.

use weft_protocol::NodeId;

/// How many pass on what they heard from its author itself, for those that the author does not reach: each to some neighbours, and
/// to whoever asks for what these name (guess: that all three are as cut off from one member as the author is seldom happens, and
/// comparing heads and adverts finds that out).
const PASSING_MAX: usize = 3;

/// Whether this node is among those that pass on a message of this id: the nearest to it, as Kademlia counts, so that each message has
/// others and all that are connected to each other choose the same. `others` are connected to this node, without the author.
pub(super) fn passes_on(message: &[u8], own: &NodeId, others: impl IntoIterator<Item = NodeId>) -> bool {
    let nearer = |node: &NodeId| distance(node, message).lt(distance(own, message));
    others.into_iter().filter(nearer).take(PASSING_MAX).count() < PASSING_MAX
}

fn distance(node: &NodeId, message: &[u8]) -> impl Iterator<Item = u8> {
    node.as_bytes().iter().zip(message).map(|(one, other)| one ^ other)
}

#[cfg(test)]
mod tests {
    use weft_protocol::hash;

    use super::*;

    #[test]
    fn of_all_that_hear_a_message_three_pass_it_on_and_not_always_the_same() {
        let node = |number: u8| NodeId::from_bytes(*hash("gossip-id", &[&[number]]).as_bytes());
        let nodes: Vec<NodeId> = (0..20).map(node).collect();
        let mut chosen = std::collections::BTreeMap::new();
        for number in 0..100_u8 {
            let message = hash("gossip-id", &[b"message", &[number]]);
            let others = |own: NodeId| nodes.iter().copied().filter(move |node| *node != own);
            let passing: Vec<NodeId> =
                nodes.iter().copied().filter(|own| passes_on(message.as_bytes(), own, others(*own))).collect();
            assert_eq!(passing.len(), PASSING_MAX);
            passing.into_iter().for_each(|node| *chosen.entry(node).or_insert(0) += 1);
        }
        assert_eq!(chosen.len(), nodes.len(), "each of them now and then: {chosen:?}");
    }

    #[test]
    fn among_few_everybody_passes_on() {
        let nodes = [1, 2, 3].map(|byte| NodeId::from_bytes([byte; 32]));
        for own in nodes {
            assert!(passes_on(&[7; 32], &own, nodes.into_iter().filter(|node| *node != own)));
        }
    }
}
