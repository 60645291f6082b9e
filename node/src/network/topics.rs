//! The names of gossip topics: all of them carry the cluster's id, and no other is ever subscribed to.

use libp2p::gossipsub::{TopicHash, TopicSubscriptionFilter};
use weft_peer::GossipTopic;
use weft_protocol::{ClusterId, TopicName};

const HEADS: &str = "heads";
const DIRECTORY: &str = "directory";
const WILDCARDS: &str = "wildcards";
const AGENTS: &str = "agents/";

/// The topics of one cluster, as names and back; also the allow-list of what a member may subscribe to.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    prefix: String,
}

impl Topics {
    /// Those of this cluster.
    pub(super) fn new(cluster: ClusterId) -> Self {
        Self { prefix: format!("weft/{cluster}/") }
    }

    /// The name a topic has on the mesh.
    pub(super) fn name(&self, topic: &GossipTopic) -> String {
        let prefix = &self.prefix;
        match topic {
            GossipTopic::Heads => format!("{prefix}{HEADS}"),
            GossipTopic::Directory => format!("{prefix}{DIRECTORY}"),
            GossipTopic::Wildcards => format!("{prefix}{WILDCARDS}"),
            GossipTopic::Agents(topic) => format!("{prefix}{AGENTS}{topic}"),
        }
    }

    /// The topic of that name; `None` for a name that no member of this cluster gives.
    pub(super) fn parse(&self, name: &TopicHash) -> Option<GossipTopic> {
        match name.as_str().strip_prefix(&self.prefix)? {
            HEADS => Some(GossipTopic::Heads),
            DIRECTORY => Some(GossipTopic::Directory),
            WILDCARDS => Some(GossipTopic::Wildcards),
            other => {
                let topic: TopicName = other.strip_prefix(AGENTS)?.parse().ok()?;
                Some(GossipTopic::Agents(topic))
            }
        }
    }
}

impl TopicSubscriptionFilter for Topics {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        self.parse(topic).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_foreign_ones_do_not() {
        let mut topics = Topics::new(ClusterId::from_bytes([0xab; 32]));
        let cluster = "ab".repeat(32);
        for (topic, name) in [
            (GossipTopic::Heads, format!("weft/{cluster}/heads")),
            (GossipTopic::Directory, format!("weft/{cluster}/directory")),
            (GossipTopic::Wildcards, format!("weft/{cluster}/wildcards")),
            (
                GossipTopic::Agents("news.of.today".parse().expect("a topic")),
                format!("weft/{cluster}/agents/news.of.today"),
            ),
        ] {
            assert_eq!(topics.name(&topic), name);
            assert_eq!(topics.parse(&TopicHash::from_raw(name)), Some(topic));
        }
        let other = "cd".repeat(32);
        for name in [
            String::new(),
            "heads".to_owned(),
            format!("weft/{other}/heads"),
            format!("weft/{cluster}/agents/"),
            format!("weft/{cluster}/agents/two words"),
            format!("weft/{cluster}/agents/a..b"),
            format!("weft/{cluster}/headsup"),
        ] {
            let hash = TopicHash::from_raw(name.clone());
            assert_eq!(topics.parse(&hash), None, "{name}");
            assert!(!topics.can_subscribe(&hash), "{name}");
        }
    }
}
