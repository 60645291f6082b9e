//! The description of everything that is served, made from the handlers.

use axum::Json;
use utoipa::OpenApi;

use super::{
    agents, anchor, bonds, chain, config, cron, dead_letters, events, evidence, gate, grants, health, identity, logs,
    members, messages, node, order, prune, services, topics, trace, tree,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "weft", description = "The local door of one node: HTTP on the Unix socket of its home."),
    paths(
        node::status,
        health::health,
        health::livez,
        health::readyz,
        identity::identity,
        identity::rotate,
        node::boot_log,
        node::down,
        node::leave,
        config::show,
        config::reload,
        members::members,
        order::change,
        order::order,
        order::state,
        members::invites,
        members::invite,
        members::revoke,
        agents::list,
        agents::spawn,
        agents::inspect,
        agents::stop,
        agents::restart,
        agents::resume,
        agents::signal,
        agents::suspend,
        bonds::demonitor,
        bonds::link,
        bonds::monitor,
        bonds::unlink,
        gate::rules,
        gate::explain,
        gate::pending,
        gate::approve,
        gate::deny,
        gate::log,
        gate::amendments,
        gate::amend,
        gate::endorse,
        grants::grant,
        grants::list,
        grants::revoke,
        logs::follow,
        logs::logs,
        messages::send,
        messages::call,
        topics::list,
        services::list,
        services::register,
        services::inspect,
        services::unregister,
        topics::publish,
        topics::events,
        cron::list,
        cron::add,
        cron::remove,
        cron::run,
        events::events,
        dead_letters::list,
        dead_letters::retry,
        dead_letters::discard,
        trace::trace,
        anchor::anchors,
        anchor::checkpoint,
        anchor::stamp,
        anchor::stamps,
        tree::list,
        tree::proof,
        tree::resource,
        tree::root,
        tree::score,
        chain::status,
        chain::events,
        chain::proof,
        evidence::evidence,
        chain::verify,
        chain::witnesses,
        chain::export,
        prune::snapshot,
        prune::prune,
    )
)]
struct Document;

/// The OpenAPI document.
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `router` serves, but the document itself.
    const SERVED: &[&str] = &[
        "/v1/agents",
        "/v1/agents/{agent}",
        "/v1/agents/{agent}/links",
        "/v1/agents/{agent}/links/{with}",
        "/v1/agents/{agent}/logs",
        "/v1/agents/{agent}/logs/follow",
        "/v1/agents/{agent}/monitors",
        "/v1/agents/{agent}/monitors/{target}",
        "/v1/agents/{agent}/restart",
        "/v1/agents/{agent}/resume",
        "/v1/agents/{agent}/signal",
        "/v1/agents/{agent}/stop",
        "/v1/agents/{agent}/suspend",
        "/v1/boot-log",
        "/v1/call",
        "/v1/chain",
        "/v1/chain/anchors",
        "/v1/chain/checkpoint",
        "/v1/chain/events",
        "/v1/chain/export",
        "/v1/chain/proof/{seq}",
        "/v1/chain/prune",
        "/v1/chain/snapshot",
        "/v1/chain/stamps",
        "/v1/chain/verify",
        "/v1/chain/witnesses",
        "/v1/cron",
        "/v1/cron/{id}",
        "/v1/cron/{id}/run",
        "/v1/dead-letters",
        "/v1/dead-letters/{id}",
        "/v1/dead-letters/{id}/retry",
        "/v1/config",
        "/v1/config/reload",
        "/v1/down",
        "/v1/health",
        "/v1/events",
        "/v1/grants",
        "/v1/grants/{id}",
        "/v1/invites",
        "/v1/invites/{id}",
        "/v1/livez",
        "/v1/members",
        "/v1/members/change",
        "/v1/order",
        "/v1/order/state",
        "/v1/readyz",
        "/v1/send",
        "/v1/services",
        "/v1/services/{service}",
        "/v1/status",
        "/v1/topics",
        "/v1/topics/{topic}",
        "/v1/topics/{topic}/events",
        "/v1/trace/{id}",
        "/v1/tree",
        "/v1/tree/proof",
        "/v1/tree/resource",
        "/v1/tree/root",
        "/v1/tree/score",
    ];

    #[test]
    fn everything_that_is_served_is_described() {
        let document = Document::openapi();
        let described: Vec<&str> = document.paths.paths.keys().map(String::as_str).collect();
        for path in SERVED {
            assert!(described.contains(path), "{path} is not described");
        }
        let router = include_str!("../control.rs");
        for path in described {
            assert!(router.contains(&format!("\"{path}\"")), "{path} is not served");
        }
    }

    #[test]
    fn the_error_object_is_part_of_it() {
        let document = serde_json::to_value(Document::openapi()).expect("JSON");
        let error = &document["components"]["schemas"]["ErrorDetail"]["properties"];
        assert!(error["code"].is_object() && error["retry"].is_object(), "{error}");
    }
}
