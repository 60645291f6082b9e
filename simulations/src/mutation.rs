//! Ways to break the world on purpose, so that each check is seen to fail when it must.

/// One defect, as a careless program, operating system or disk would have it. A run with one must not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mutation {
    /// Says that a batch is on disk before it is written.
    AcknowledgeBeforeWrite,
    /// The disk says that it synced and did not.
    LyingDisk,
    /// Writes all groups of a batch but the last.
    DropTail,
    /// Writes a foreign commit with another signature than the one that was checked.
    StoreUnverified,
    /// A start forgets which stamps and message ids were given.
    ForgetReservation,
    /// A start forgets which effects had been intended.
    ForgetIntents,
    /// A start forgets which messages had been received.
    ForgetMessages,
    /// Answers do not reach whoever asked.
    SwallowAnswers,
    /// Nothing of the chains is heard from others.
    DeafToSync,
    /// A crash brings back the disk as it was some syncs ago.
    RollBackDisk,
    /// Starts agents that were not asked for.
    StartUnasked,
    /// Hands a message to its agent twice.
    DeliverTwice,
}
