//! Keeps the chains on disk and refuses to promise what it could not sync.
//!
//! [`Store::commit`] makes one [`Batch`](weft_protocol::Batch) durable with one disk sync and returns only when it is; [`Store::open`] verifies every chain from its first event before anything is built on it. This crate
//! decides nothing: whether an event may be written, who is a member and what to do about damage is its caller's business.
//! It deletes of what stands beside events what its caller names, shortens a chain only where a proven fork says so ([`Cut`](weft_protocol::Cut)) and keeps the rest aside, never begins one anew, and writes nothing more after the first error (`poison`).
//!
//! # The file
//!
//! ```text
//! 0      page 0      "weft store\n" ‖ 0… (16) ‖ layout version (u32) ‖ salt (16) ‖ check (16) ‖ bytes of the journal (u32)
//!                       ‖ check of all (16), then zeros to 4096
//! 4096   mark, even  "weftmark" ‖ generation (u64) ‖ salt (16) ‖ reserved counter (u64) ‖ reserved clock (u64)
//! 8192   mark, odd      ‖ heads (u16) ‖ heads × (chain (40) ‖ commits (u64) ‖ last commit hash (32)) ‖ check (16), then zeros
//! 12288  journal     frames, each with its mark behind it, each at a multiple of 512 bytes
//! ‥      redb        a redb database, shifted by all this
//!
//! frame  "weftjrnl" ‖ generation (u64) ‖ length of the entries (u32) ‖ check over salt, generation and entries (16) ‖ entries:
//!          0 ‖ row, which takes the place of what has its key | 1 ‖ kind (u8) ‖ length of the key (u8) ‖ key of a row that goes
//! ```
//!
//! Layout 3, which had no journal, is read and goes on without one.
//!
//! Numbers are big-endian; a check is the first 16 bytes of a BLAKE3 hash of what stands before it. The tables of the
//! database, all from bytes to bytes:
//!
//! ```text
//! groups     chain (40) ‖ commit number (u64)                → row: generation (u64) ‖ first seq (u64) ‖ events (u32)
//!                                                               ‖ checkpoint (u8) ‖ commit, ed25519 (64), mldsa65 and
//!                                                               each event, length-framed (u32)
//! digests    chain (40) ‖ seq (u64)                          → row: canonical CBOR of a DigestRow
//! bodies     BLAKE3 of the body (32)                        → row: the body of a durable message, as its event names it
//! index      't' ‖ trace (u64), and 'm' ‖ message (48) for  → nothing
//!              one that did not begin its conversation,
//!              ‖ chain (40) ‖ seq (u64) ‖ leaf (u32, all ones: the event itself)
//! outbox     message (48)                                    → row: canonical CBOR of an OutboxEntry
//! topics     place (u64)                                     → row: canonical CBOR of a LoggedPublication
//! dead-letters  message (48)                                 → row: canonical CBOR of a DeadLetter
//! evidence   hash of one commit (32) ‖ of the other (32)     → row: canonical CBOR of an Evidence
//! cuts       chain (40) ‖ commit number (u64) ‖ its hash (32) → row: the body of a row of groups that does not count
//! addresses  node (32)                                       → row: canonical CBOR of the list
//! state      'g' | 'r' | 'h' ‖ chain (40)                    → row: generation | Reserved |
//!                                                               generation ‖ commits ‖ events (u64 each) ‖ last commit hash
//!
//! row        f7 "weftrow" ‖ kind (u8) ‖ key length (u8) ‖ body length (u32) ‖ check over salt and all of the row (16)
//!              ‖ key ‖ body
//! ```
//!
//! # The journal
//!
//! A transaction of redb writes several pages for each row and waits for all of them. So a transaction is a frame in the journal
//! first: one write, one sync. Its rows wait in memory until somebody reads, the disk is idle or they are many, and then go into the
//! database in a transaction that nothing waits for; when the journal is full, one that is synced takes over everything, and the
//! journal begins anew. What is larger than the journal, and what it cannot repeat (a cut), goes into the database at once, with
//! what waits. A start puts what the journal holds into the database before it verifies anything.
//!
//! # How damage is told from a torn write
//!
//! After a crash redb falls back to the transaction before when a page of the last one does not match its checksum: right when
//! the last sync never returned, and the silent loss of a promise when a bit rotted afterwards; the same is true of a frame. So each
//! transaction counts up a generation, and after its sync that is written as a mark, without a sync of its own: behind its frame, or
//! in one of the two pages when it is in the database. The kernel keeps the mark when the process is killed, and the next sync, which
//! covers the whole file, makes it durable; and a frame behind another says of that one what its mark, whose place it takes, said.
//! A store whose generation is below its mark has lost something, and is refused as damaged. Each start takes a generation of its
//! own and wipes the journal, so that what a crash left behind is always older than what overtook it. What this leaves open, and
//! [`Store::settle`] closes: a power loss before the mark reached the disk, together with damage to that very transaction. What redb
//! writes while it opens is held back until every chain is verified, so a refused store is byte for byte what it was.
//!
//! Rows carry their own magic, key and check, so that a repair ([`DamagedStore`]) finds them in the bytes of the file, whatever
//! became of the tree around them. The salt keeps the content of a message from posing as a row.
//!
//! # Modules in reading order
//!
//! `store` (one generation per batch), `write` (its rows), `changes` (what the journal keeps and the database takes), `journal`, `cut` (what does not count of a forked chain), `prune` (rows that go), `poison`, `opening`, `recover` (what a start reads), `read`,
//! `index`, `order`, `verify`, `export`; `beside`, `scrub`, `noted` and `mend` (what rots while it runs); `damaged` and `salvage` (repair); below them `table`, `row` (bytes of a
//! row), `mark`, `backend` (the file), `error`.

mod answers;
mod backend;
mod beside;
mod changes;
mod cut;
mod damaged;
mod error;
mod export;
mod index;
mod journal;
mod mark;
mod mend;
mod noted;
mod opening;
mod order;
mod poison;
mod prune;
mod read;
mod recover;
mod row;
mod salvage;
mod scrub;
mod store;
mod table;
mod verify;
mod write;

pub use damaged::{DamagedRange, DamagedStore};
pub use error::{ExportError, OpenError, RepairError, StoreError};
pub use export::{ExportedChain, exported_chain, verify_export};
pub use noted::Noted;
pub use order::{OrderKey, OrderKeys};
pub use prune::{PRUNED_EVENTS_MAX, PrunePlan, RowCount};
pub use scrub::{Damage, ScrubBounds, ScrubCursor, ScrubSlice};
pub use store::Store;
pub use verify::{ChainFault, ChainReport, VerifyReport};
