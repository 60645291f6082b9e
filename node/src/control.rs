//! The local door of a node: HTTP and JSON on the Unix socket of its home, for the operator alone.
//!
//! It decides nothing: a request becomes a question to the peer, or a read of peer or store, and the answer becomes JSON. Who
//! may knock is checked here: the same user, not an agent, with the operator's token.
//!
//! Modules in reading order: `door` (who may knock), `request` (bodies and parameters), `failure` (how a refusal looks), `changes`; then
//! what is served: `node`, `config`, `members`, `agents` with `elsewhere`, `bonds` and `logs`, `grants`, `gate`, `services`, `messages` with `parts`, `topics`, `dead_letters`,
//! `events`, `cron`, `health`, `identity`, `trace` with `agreement`, `chain` with `fact`, `tree`; `openapi` describes it; `text` writes times.

mod agents;
mod agreement;
mod anchor;
mod bonds;
mod chain;
mod changes;
mod config;
mod cron;
mod dead_letters;
mod door;
mod elsewhere;
mod events;
mod evidence;
mod fact;
mod failure;
mod gate;
mod grants;
mod health;
mod identity;
mod logs;
mod members;
mod messages;
mod node;
mod openapi;
mod order;
mod parts;
mod placement;
mod prune;
mod request;
mod services;
pub(crate) mod text;
mod topics;
mod trace;
mod tree;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use tokio::sync::watch;
use tokio::time::Instant;
use weft_peer::{Peer, Question, Reply};
use weft_protocol::limits::FRAME_BYTES_MAX;
use weft_protocol::{NodeId, Principal, Refusal};
use weft_storage::{Store, StoreError};

use self::changes::Changes;
use self::failure::Failure;
use crate::anchor::Keeper;
use crate::ask::Asker;
use crate::boot::Boot;
use crate::config::Live;
use crate::home::HomeDir;
use crate::network::{MdnsBoard, Refusals};
use crate::runners::AgentProcesses;
use crate::scrub::ScrubBoard;

pub(crate) use self::chain::verify_report;
pub(crate) use self::door::{Door, open};
pub(crate) use self::identity::{Rotated, Written, report as identity_report};
pub(crate) use self::node::{LISTEN_WAIT_MAX, up_report};

/// Largest body of a request, in bytes; a larger one is answered 413.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX;

/// What the door needs of its node.
#[derive(Debug)]
pub(crate) struct Control {
    /// The way to the event loop.
    pub(crate) asker: Asker,
    /// For reads.
    pub(crate) store: Arc<Store>,
    /// Which processes are agents; they have doors of their own.
    pub(crate) agents: AgentProcesses,
    /// Who was refused lately.
    pub(crate) refusals: Refusals,
    /// What was said of the start.
    pub(crate) boot: Boot,
    /// What was read of the store in the background.
    pub(crate) scrub: ScrubBoard,
    /// What is asked of the LAN.
    pub(crate) mdns: MdnsBoard,
    /// What is configured.
    pub(crate) live: Live,
    /// What makes anchors.
    pub(crate) keeper: Arc<Keeper>,
    /// Changes whenever the event loop has handled something.
    pub(crate) passed: watch::Receiver<u64>,
}

/// A node as its door serves it.
#[derive(Debug)]
struct Served {
    control: Control,
    home: HomeDir,
    token: String,
    started: Instant,
}

impl Served {
    /// Reads from the peer between two inputs.
    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Peer) -> T + Send + 'static) -> Result<T, Failure> {
        Ok(self.control.asker.read(read).await?)
    }

    /// What is told when the peer may have changed.
    fn changes(&self) -> Changes {
        Changes::new(self.control.passed.clone())
    }

    /// Asks the peer as the operator.
    async fn ask(&self, question: Question) -> Result<Reply, Failure> {
        match self.control.asker.ask(Principal::Operator, question).await {
            Ok(reply) => Ok(reply),
            Err(refusal) => Err(self.refused(refusal).await),
        }
    }

    /// The refusal as people are told it: a node that cannot be reached by its name, where that is known.
    async fn refused(&self, refusal: Refusal) -> Failure {
        let Refusal::Unreachable { node } = refusal else { return refusal.into() };
        let name = match node.parse::<NodeId>() {
            Ok(id) => self.read(move |peer| peer.discovery().display_name(id)).await.unwrap_or(node),
            Err(_not_an_id) => node,
        };
        Refusal::Unreachable { node: name }.into()
    }

    /// Reads from the store, off the threads that serve.
    async fn stored<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Failure> {
        let store = Arc::clone(&self.control.store);
        match tokio::task::spawn_blocking(move || read(&store)).await {
            Ok(result) => Ok(result?),
            Err(_stopped) => Err(Refusal::ShuttingDown.into()),
        }
    }
}

/// An answer that does not fit its question.
fn mismatch(reply: &Reply) -> Failure {
    tracing::error!(?reply, "BUG: the peer answered another question");
    Failure::new("failed", "the node answered another question; this is a bug in it").changed()
}

/// What a reader of server-sent events had last.
fn last_event_id(headers: &axum::http::HeaderMap) -> Result<Option<&str>, Failure> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    id.to_str().map(Some).map_err(|_| Failure::new("invalid", "Last-Event-ID is not text"))
}

fn router(served: Arc<Served>) -> Router {
    Router::new()
        .route("/v1/status", get(node::status))
        .route("/v1/health", get(health::health))
        .route("/v1/livez", get(health::livez))
        .route("/v1/readyz", get(health::readyz))
        .route("/v1/identity", get(identity::identity))
        .route("/v1/identity/rotate", post(identity::rotate))
        .route("/v1/boot-log", get(node::boot_log))
        .route("/v1/down", post(node::down))
        .route("/v1/leave", post(node::leave))
        .route("/v1/config", get(config::show))
        .route("/v1/config/reload", post(config::reload))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/v1/members", get(members::members))
        .route("/v1/invites", get(members::invites).post(members::invite))
        .route("/v1/invites/{id}", delete(members::revoke))
        .route("/v1/agents", get(agents::list).post(agents::spawn))
        .route("/v1/agents/{agent}", get(agents::inspect))
        .route("/v1/agents/{agent}/stop", post(agents::stop))
        .route("/v1/agents/{agent}/restart", post(agents::restart))
        .route("/v1/agents/{agent}/suspend", post(agents::suspend))
        .route("/v1/agents/{agent}/resume", post(agents::resume))
        .route("/v1/agents/{agent}/signal", post(agents::signal))
        .route("/v1/agents/{agent}/links", post(bonds::link))
        .route("/v1/agents/{agent}/links/{with}", delete(bonds::unlink))
        .route("/v1/agents/{agent}/monitors", post(bonds::monitor))
        .route("/v1/agents/{agent}/monitors/{target}", delete(bonds::demonitor))
        .route("/v1/agents/{agent}/logs", get(logs::logs))
        .route("/v1/agents/{agent}/logs/follow", get(logs::follow))
        .route("/v1/grants", get(grants::list).post(grants::grant))
        .route("/v1/grants/{id}", delete(grants::revoke))
        .route("/v1/gate/rules", get(gate::rules))
        .route("/v1/gate/explain", get(gate::explain))
        .route("/v1/gate/pending", get(gate::pending))
        .route("/v1/gate/pending/{id}/approve", post(gate::approve))
        .route("/v1/gate/pending/{id}/deny", post(gate::deny))
        .route("/v1/gate/log", get(gate::log))
        .route("/v1/gate/amendments", get(gate::amendments).post(gate::amend))
        .route("/v1/gate/amendments/{which}/endorse", post(gate::endorse))
        .route("/v1/services", get(services::list).post(services::register))
        .route("/v1/services/{service}", get(services::inspect).delete(services::unregister))
        .route("/v1/send", post(messages::send))
        .route("/v1/call", post(messages::call))
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{topic}", post(topics::publish))
        .route("/v1/topics/{topic}/events", get(topics::events))
        .route("/v1/cron", get(cron::list).post(cron::add))
        .route("/v1/cron/{id}", delete(cron::remove))
        .route("/v1/cron/{id}/run", post(cron::run))
        .route("/v1/tree", get(tree::list))
        .route("/v1/tree/resource", get(tree::resource))
        .route("/v1/tree/root", get(tree::root))
        .route("/v1/tree/proof", get(tree::proof))
        .route("/v1/tree/score", post(tree::score))
        .route("/v1/events", get(events::events))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/{id}", delete(dead_letters::discard))
        .route("/v1/dead-letters/{id}/retry", post(dead_letters::retry))
        .route("/v1/trace/{id}", get(trace::trace))
        .route("/v1/chain", get(chain::status))
        .route("/v1/chain/events", get(chain::events))
        .route("/v1/chain/proof/{seq}", get(chain::proof))
        .route("/v1/chain/evidence", get(evidence::evidence))
        .route("/v1/chain/witnesses", get(chain::witnesses))
        .route("/v1/chain/anchors", get(anchor::anchors))
        .route("/v1/chain/checkpoint", get(anchor::checkpoint))
        .route("/v1/chain/stamps", get(anchor::stamps).post(anchor::stamp))
        .route("/v1/chain/verify", post(chain::verify))
        .route("/v1/chain/export", post(chain::export))
        .route("/v1/chain/snapshot", post(prune::snapshot))
        .route("/v1/chain/prune", post(prune::prune))
        .route("/v1/order", get(order::order))
        .route("/v1/order/state", get(order::state))
        .route("/v1/members/change", post(order::change))
        .fallback(failure::no_such_path)
        .method_not_allowed_fallback(failure::no_such_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&served), door::admit))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(served)
}
