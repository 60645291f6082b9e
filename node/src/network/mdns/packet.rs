//! The packets of multicast DNS that this program says and hears: who knows this alias, and where the node with that alias listens.
//!
//! A node is asked for by an alias, a hash of its cluster and its id: who is no member can neither tell who is meant nor ask.

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use weft_protocol::limits::ADDRESS_BYTES_MAX;
use weft_protocol::{ClusterId, NodeId, hash};

use super::seeking::{ADDRESSES_TAKEN_MAX, SOUGHT_MAX};

/// Most bytes of a packet that are read. What this program says fits into one frame of Ethernet, and of longer packets, which
/// are for others, nothing is understood.
pub(super) const PACKET_BYTES_MAX: usize = 1_500;
/// How long somebody might remember an answer, in seconds: the time for names of machines in RFC 6762, 10. Nobody here does.
const TTL_S: u32 = 120;
/// What stands before an address.
const ADDRESS_KEY: &str = "address=";
/// What stands behind an alias.
const SERVICE: [&str; 3] = ["_weft", "_udp", "local"];

/// What a node is called on a LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alias([u8; 16]);

impl Alias {
    /// That of one node.
    pub(super) fn of(cluster: ClusterId, node: NodeId) -> Self {
        let digest = hash("mdns-alias", &[cluster.as_bytes(), node.as_bytes()]);
        let mut alias = [0; 16];
        alias.copy_from_slice(&digest.as_bytes()[..16]);
        Self(alias)
    }

    /// As a name of DNS.
    fn name(self) -> Option<Name> {
        let alias = data_encoding::HEXLOWER.encode(&self.0);
        let mut name = Name::from_labels([alias.as_str()].into_iter().chain(SERVICE)).ok()?;
        name.set_fqdn(true);
        Some(name)
    }

    /// The alias in such a name. Case means nothing in one.
    fn in_name(name: &Name) -> Option<Self> {
        let mut labels = name.iter();
        let alias = labels.next()?.to_ascii_lowercase();
        if !labels.map(<[u8]>::to_ascii_lowercase).eq(SERVICE.map(|label| label.as_bytes().to_vec())) {
            return None;
        }
        let decoded = data_encoding::HEXLOWER.decode(&alias).ok()?;
        Some(Self(decoded.try_into().ok()?))
    }
}

/// What was heard, as far as it is of this program's concern.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// Somebody asks for these.
    Question(Vec<Alias>),
    /// Somebody says where these listen, each with texts that were not looked at yet.
    Answer(Vec<(Alias, Vec<String>)>),
}

/// Reads a packet; none, when it is not well formed or of no concern.
pub(super) fn parse(bytes: &[u8]) -> Option<Packet> {
    let message = Message::from_vec(bytes).ok()?;
    match message.metadata.message_type {
        MessageType::Query => {
            let aliases = message.queries.iter().filter_map(|query| Alias::in_name(query.name()));
            some(aliases.take(SOUGHT_MAX).collect()).map(Packet::Question)
        }
        MessageType::Response => {
            let answers = message.answers.iter().filter_map(|record| match &record.data {
                RData::TXT(text) => Some((Alias::in_name(&record.name)?, addresses(text))),
                _ => None,
            });
            some(answers.take(SOUGHT_MAX).collect()).map(Packet::Answer)
        }
    }
}

fn some<T>(of: Vec<T>) -> Option<Vec<T>> {
    if of.is_empty() { None } else { Some(of) }
}

fn addresses(text: &TXT) -> Vec<String> {
    let texts = text.txt_data.iter().filter_map(|text| str::from_utf8(text).ok()?.strip_prefix(ADDRESS_KEY));
    texts.filter(|text| text.len() <= ADDRESS_BYTES_MAX).take(ADDRESSES_TAKEN_MAX).map(str::to_owned).collect()
}

/// The packet that asks for these.
pub(super) fn question(aliases: &[Alias]) -> Option<Vec<u8>> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    for alias in aliases {
        message.add_query(Query::query(alias.name()?, RecordType::TXT));
    }
    message.to_vec().ok()
}

/// The packet that says where this node listens.
pub(super) fn answer(alias: Alias, addresses: &[String]) -> Option<Vec<u8>> {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = true;
    let texts = addresses.iter().take(ADDRESSES_TAKEN_MAX).map(|address| format!("{ADDRESS_KEY}{address}"));
    // What is longer is no text of DNS.
    let texts: Vec<String> = texts.filter(|text| text.len() <= usize::from(u8::MAX)).collect();
    message.add_answer(Record::from_rdata(alias.name()?, TTL_S, RData::TXT(TXT::new(texts))));
    message.to_vec().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn alias(node: u8) -> Alias {
        Alias::of(ClusterId::from_bytes([1; 32]), NodeId::from_bytes([node; 32]))
    }

    #[test]
    fn what_is_said_is_understood() {
        let asked = question(&[alias(1), alias(2)]).unwrap();
        assert_eq!(parse(&asked), Some(Packet::Question(vec![alias(1), alias(2)])));
        let addresses = vec!["/ip4/10.0.0.7/udp/4001/quic-v1".to_owned(), "/ip4/10.0.0.7/tcp/4001".to_owned()];
        let said = answer(alias(2), &addresses).unwrap();
        assert_eq!(parse(&said), Some(Packet::Answer(vec![(alias(2), addresses)])));
    }

    #[test]
    fn an_alias_names_nobody_to_whom_the_cluster_is_unknown() {
        let (node, other) = (NodeId::from_bytes([7; 32]), ClusterId::from_bytes([2; 32]));
        assert_ne!(Alias::of(ClusterId::from_bytes([1; 32]), node), Alias::of(other, node));
        let packet = question(&[alias(7)]).unwrap();
        assert!(!packet.windows(4).any(|bytes| bytes == [7; 4]), "the id itself stands in the packet");
    }

    #[test]
    fn a_packet_of_others_or_a_broken_one_says_nothing() {
        let mut printer = Message::new(7, MessageType::Query, OpCode::Query);
        printer.add_query(Query::query(Name::from_ascii("_ipp._tcp.local.").unwrap(), RecordType::PTR));
        assert_eq!(parse(&printer.to_vec().unwrap()), None);
        let said = answer(alias(2), &["/ip4/10.0.0.7/tcp/1".to_owned()]).unwrap();
        for end in 0..said.len() {
            assert_eq!(parse(&said[..end]), None, "{end} bytes of {}", said.len());
        }
        // It announces 65,535 answers and holds one.
        let mut boast = said.clone();
        boast[6..8].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(parse(&boast), None);
        // A name that points at itself has no end.
        let mut circle = said[..12].to_vec();
        circle.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse(&circle), None);
    }

    #[test]
    fn of_a_long_answer_no_more_is_taken_than_a_node_has() {
        let many: Vec<String> = (1..=20).map(|port| format!("address=/ip4/10.0.0.7/tcp/{port}")).collect();
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.add_answer(Record::from_rdata(alias(2).name().unwrap(), TTL_S, RData::TXT(TXT::new(many))));
        let Some(Packet::Answer(answers)) = parse(&message.to_vec().unwrap()) else { panic!("no answer") };
        assert_eq!(answers[0].1.len(), ADDRESSES_TAKEN_MAX);
    }
}
