//! Who is in the cluster, who is alive, and who holds which agent.
//!
//! One machine without IO: it folds the admissions on the members' chains into the set of members, serves its own invites,
//! watches connections, dials who is missing, and keeps the directory of agents that members advertise. It puts nothing on a
//! chain itself (it asks for that and waits), opens no socket, and does not decide what a member may do: that is the gate's
//! business. The handshake is here too, because it is the same decision, but it runs inside the transport, one machine per
//! connection, on an [`AdmissionView`] that this crate publishes.
//!
//! Modules in reading order: `event`, `config`, `discovery` (the machine); `admission` with `members` (the fold), `invites`,
//! `joining`, `pending` and `view`; `handshake`; `swim` (who misses whom); `peers` with `liveness` (the table of nodes, their state,
//! redialling), `mesh` with `standing` (whom links are kept to), `detour` (SWIM between those that are not connected) and `reach` (who
//! passes connections on); `directory`, `own_advert` and `inquiry`; `reads` (all that may be asked of the machine between two inputs).

mod address;
mod admission;
mod config;
mod detour;
mod directory;
mod discovery;
mod event;
mod handshake;
mod inquiry;
mod liveness;
mod mesh;
mod own_advert;
mod peers;
mod reach;
mod reads;
mod standing;
mod swim;

pub use admission::{AdmissionView, AdmittedMember};
pub use config::DiscoveryConfig;
pub use discovery::{Counters, Discovery};
pub use event::{Answer, AskId, Identity, Input, InviteState, Output, Path, RecordAction, Ticket};
pub use handshake::{Handshake, HandshakeOutcome, Step};
pub use liveness::MemberState;
pub use mesh::Mesh;
pub use reads::{MemberView, Resolution};
