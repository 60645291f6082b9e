//! Which connections are open to whom: so that a member is reported once, and not together with its own past.

use std::collections::BTreeMap;

use libp2p::swarm::ConnectionId;
use tokio::sync::oneshot;
use weft_protocol::{NodeId, WIRE_VERSION_MIN};

use super::secured::Security;

/// Connections kept to one member: one dialled by each side. A third one closes the oldest. One that another member passes on is
/// closed when there is a direct one.
const CONNECTIONS_MAX: usize = 2;

/// A number that a node draws at each start: a connection with another number is of another life of that node.
pub(super) type Run = u64;

/// What the handshake of one connection told of the node behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    /// Which life of it.
    pub(super) run: Run,
    /// The version of the wire that was agreed on.
    pub(super) wire: u16,
    /// What encrypts the connection.
    pub(super) security: Security,
}

#[derive(Debug, Default)]
struct Link {
    run: Run,
    /// Whether a connection of this life of it was encrypted by Noise.
    noise: bool,
    /// The lowest version of the wire that this life of it agreed on, and the one that was told of.
    wire: Option<u16>,
    told: Option<u16>,
    connections: Vec<ConnectionId>,
    /// Those that another member passes on.
    relayed: Vec<ConnectionId>,
    /// Connections of a new life that wait until those of the old one are closed.
    waiting: Vec<(Life, oneshot::Sender<()>)>,
}

impl Link {
    /// One more connection of that life was let in.
    fn speak(&mut self, life: Life) {
        let Life { run, wire, security } = life;
        let lowest = self.wire.filter(|_| self.run == run).map_or(wire, |lowest| lowest.min(wire));
        self.noise = security == Security::Noise || (self.noise && self.run == run);
        (self.run, self.wire) = (run, Some(lowest));
    }

    fn spoken(&self) -> u16 {
        self.wire.unwrap_or(WIRE_VERSION_MIN)
    }
}

/// One entry for each node that was let in since the start.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<NodeId, Link>,
}

/// What a new connection changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// Whether it is the first to that node.
    pub(super) first: bool,
    /// Those to close: too many, or not needed any more.
    pub(super) surplus: Vec<ConnectionId>,
    /// Whether what runs to that node runs another way than before.
    pub(super) upgraded: bool,
    /// Whether a lower version of the wire is spoken to it than before.
    pub(super) lowered: bool,
}

impl Links {
    /// A node was authenticated and wants to be heard. Whether its connections of an earlier life must be closed first;
    /// then `ready` is told when the last of them is.
    pub(super) fn enter(&mut self, node: NodeId, life: Life, ready: oneshot::Sender<()>) -> bool {
        let link = self.links.entry(node).or_default();
        let other_life = !link.connections.is_empty() && link.run != life.run;
        if other_life {
            link.waiting.push((life, ready));
        } else {
            link.speak(life);
            let _gave_up_waiting = ready.send(());
        }
        other_life
    }

    /// A connection is open, which another member passes on or not.
    pub(super) fn open(&mut self, node: NodeId, connection: ConnectionId, relayed: bool) -> Opened {
        let link = self.links.entry(node).or_default();
        let first = link.connections.is_empty();
        let had_direct = link.connections.len() > link.relayed.len();
        link.connections.push(connection);
        let surplus = match (relayed, had_direct) {
            (true, true) => vec![connection],
            (false, false) => link.relayed.clone(),
            (false, true) | (true, false) if link.connections.len() > CONNECTIONS_MAX => vec![link.connections[0]],
            (false, true) | (true, false) => Vec::new(),
        };
        if relayed {
            link.relayed.push(connection);
        }
        let before = link.told.replace(link.spoken());
        let lowered = !first && before.is_some_and(|before| link.spoken() < before);
        Opened { first, surplus, upgraded: !first && !relayed && !had_direct, lowered }
    }

    /// A connection is closed; whether it was the last to that node.
    pub(super) fn close(&mut self, node: NodeId, connection: ConnectionId) -> bool {
        let Some(link) = self.links.get_mut(&node) else { return false };
        let before = link.connections.len();
        link.connections.retain(|open| *open != connection);
        link.relayed.retain(|open| *open != connection);
        if before == 0 || !link.connections.is_empty() {
            return false;
        }
        for (life, ready) in std::mem::take(&mut link.waiting) {
            link.speak(life);
            let _gave_up_waiting = ready.send(());
        }
        true
    }

    /// The version of the wire that is spoken to a node: the lowest that its connections agreed on.
    pub(super) fn wire(&self, node: &NodeId) -> u16 {
        self.links.get(node).map_or(WIRE_VERSION_MIN, Link::spoken)
    }

    /// Whether the life of that node that is spoken to came by a connection that Noise encrypts.
    pub(super) fn is_by_noise(&self, node: &NodeId) -> bool {
        self.links.get(node).is_some_and(|link| link.noise)
    }

    /// Whether a connection to that node is open.
    pub(super) fn is_open(&self, node: &NodeId) -> bool {
        self.links.get(node).is_some_and(|link| !link.connections.is_empty())
    }

    /// All nodes with an open connection.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.links.iter().filter(|(_, link)| !link.connections.is_empty()).map(|(node, _)| *node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([1; 32]);

    const fn life(run: Run, wire: u16) -> Life {
        Life { run, wire, security: Security::Tls }
    }

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn the_first_and_the_last_connection_count_and_the_oldest_gives_way() {
        let mut links = Links::default();
        let opened = |first, surplus: &[usize]| {
            let surplus = surplus.iter().map(|number| connection(*number)).collect();
            Opened { first, surplus, upgraded: false, lowered: false }
        };
        assert_eq!(links.open(NODE, connection(1), false), opened(true, &[]));
        assert_eq!(links.open(NODE, connection(2), false), opened(false, &[]));
        assert_eq!(links.open(NODE, connection(3), false), opened(false, &[1]));
        assert!(!links.close(NODE, connection(1)));
        assert!(!links.close(NODE, connection(2)));
        assert!(links.is_open(&NODE));
        assert!(links.close(NODE, connection(3)));
        assert!(!links.is_open(&NODE));
        assert!(!links.close(NODE, connection(3)), "the last one closes once");
    }

    #[test]
    fn a_new_life_waits_for_the_end_of_the_old_one() {
        let mut links = Links::default();
        let (ready, mut first) = oneshot::channel();
        assert!(!links.enter(NODE, life(7, 2), ready));
        assert_eq!(first.try_recv(), Ok(()));
        links.open(NODE, connection(1), false);

        let (ready, mut same) = oneshot::channel();
        assert!(!links.enter(NODE, life(7, 2), ready), "a second connection of the same life is welcome");
        assert_eq!(same.try_recv(), Ok(()));

        let (ready, mut next) = oneshot::channel();
        assert!(links.enter(NODE, life(8, 2), ready));
        assert_eq!(next.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(links.close(NODE, connection(1)));
        assert_eq!(next.try_recv(), Ok(()));
        assert!(links.open(NODE, connection(2), false).first);
    }

    #[test]
    fn a_direct_connection_takes_the_place_of_those_that_are_passed_on() {
        let mut links = Links::default();
        assert!(links.open(NODE, connection(1), true).first);
        assert_eq!(links.open(NODE, connection(2), true).surplus, []);
        let direct = links.open(NODE, connection(3), false);
        assert_eq!(
            direct,
            Opened { first: false, surplus: vec![connection(1), connection(2)], upgraded: true, lowered: false }
        );
        assert_eq!(links.open(NODE, connection(4), true).surplus, [connection(4)], "it is not needed");
        for gone in [1, 2, 4] {
            assert!(!links.close(NODE, connection(gone)));
        }
        assert!(links.close(NODE, connection(3)));
    }

    #[test]
    fn noise_counts_for_one_life() {
        let mut links = Links::default();
        let enter = |links: &mut Links, life| links.enter(NODE, life, oneshot::channel().0);
        assert!(!enter(&mut links, Life { security: Security::Noise, ..life(7, 2) }));
        links.open(NODE, connection(1), false);
        assert!(!enter(&mut links, life(7, 2)));
        assert!(links.is_by_noise(&NODE), "one of its connections is encrypted so");
        assert!(enter(&mut links, life(8, 2)), "a new life waits");
        links.close(NODE, connection(1));
        assert!(!links.is_by_noise(&NODE));
    }

    #[test]
    fn the_lowest_version_of_one_life_counts_and_the_next_life_begins_anew() {
        let mut links = Links::default();
        let enter = |links: &mut Links, run, wire| links.enter(NODE, life(run, wire), oneshot::channel().0);
        assert!(!enter(&mut links, 7, 2));
        assert_eq!((links.open(NODE, connection(1), false).lowered, links.wire(&NODE)), (false, 2));
        assert!(!enter(&mut links, 7, 1));
        assert_eq!((links.open(NODE, connection(2), false).lowered, links.wire(&NODE)), (true, 1));
        assert!(!enter(&mut links, 7, 2));
        assert_eq!((links.open(NODE, connection(3), false).lowered, links.wire(&NODE)), (false, 1));
        assert!(enter(&mut links, 8, 2), "a new life waits");
        assert_eq!(links.wire(&NODE), 1);
        for gone in [1, 2, 3] {
            links.close(NODE, connection(gone));
        }
        assert_eq!((links.open(NODE, connection(4), false).lowered, links.wire(&NODE)), (false, 2));
    }
}
