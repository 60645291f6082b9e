//! The tables of the database; what their keys and rows hold is on the crate's page.

use redb::TableDefinition;

use crate::row::Kind;

pub(crate) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
pub(crate) const GROUPS: Table = TableDefinition::new("groups");
pub(crate) const DIGESTS: Table = TableDefinition::new("digests");
pub(crate) const BODIES: Table = TableDefinition::new("bodies");
pub(crate) const INDEX: Table = TableDefinition::new("index");
pub(crate) const OUTBOX: Table = TableDefinition::new("outbox");
pub(crate) const EVIDENCE: Table = TableDefinition::new("evidence");
pub(crate) const ADDRESSES: Table = TableDefinition::new("addresses");
pub(crate) const STATE: Table = TableDefinition::new("state");
pub(crate) const TOPICS: Table = TableDefinition::new("topics");
pub(crate) const DEAD_LETTERS: Table = TableDefinition::new("dead-letters");
/// What does not count of forked chains.
pub(crate) const CUTS: Table = TableDefinition::new("cuts");
/// All of them.
pub(crate) const TABLES: [Table; 11] =
    [GROUPS, DIGESTS, BODIES, INDEX, OUTBOX, EVIDENCE, ADDRESSES, STATE, TOPICS, DEAD_LETTERS, CUTS];

/// Where rows of this kind are kept.
pub(crate) const fn of(kind: Kind) -> Table {
    match kind {
        Kind::Group => GROUPS,
        Kind::Digest => DIGESTS,
        Kind::Outbox => OUTBOX,
        Kind::Evidence => EVIDENCE,
        Kind::Addresses => ADDRESSES,
        Kind::State => STATE,
        Kind::Body => BODIES,
        Kind::Topic => TOPICS,
        Kind::DeadLetter => DEAD_LETTERS,
        Kind::Cut => CUTS,
    }
}
