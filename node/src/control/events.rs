//! What happens on a node, as server-sent events: its own record as it grows, and what becomes of members.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::{Deserialize, Serialize};
use weft_protocol::NodeId;
use weft_protocol::control::{ErrorBody, EventRow, MemberEvent};

use super::chain::own_events;
use super::changes::Changes;
use super::failure::Failure;
use super::request::Parameters;
use super::{Served, last_event_id};

/// Recorded events read at once.
const PAGE_EVENTS: usize = 256;

/// From where on.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsParameters {
    /// From this place of the record on; from its end on without one. `Last-Event-ID` goes before it.
    from: Option<u64>,
}

/// The node's own record from a place on and as it grows, each event with its place as id: `agent` when it says something of an
/// agent, `member` when it says something of members or invites, else `chain`. In between, without an id, `member-state`:
/// the state of every member at first, and then whenever it changes.
#[utoipa::path(get, path = "/v1/events", params(EventsParameters),
    responses((status = 200, body = EventRow, content_type = "text/event-stream"), (status = 299, body = MemberEvent),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn events(
    State(served): State<Arc<Served>>,
    Parameters(EventsParameters { from }): Parameters<EventsParameters>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let after = match last_event_id(&headers)? {
        Some(id) => {
            let last: u64 = id.parse().map_err(|_| Failure::new("invalid", format!("`{id}` is not a place")))?;
            Some(last.saturating_add(1))
        }
        None => from,
    };
    let end = served.read(|peer| peer.kernel().chain_state().size()).await?;
    let changes = served.changes();
    let watch = Watch { served, changes, next: after.unwrap_or(end), states: BTreeMap::new(), ready: VecDeque::new() };
    let stream = futures::stream::unfold(watch, |mut watch| async {
        let event = watch.next().await?;
        Some((Ok(event), watch))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// One reader of the events.
struct Watch {
    served: Arc<Served>,
    changes: Changes,
    next: u64,
    states: BTreeMap<NodeId, String>,
    ready: VecDeque<Event>,
}

impl Watch {
    /// The next event; none when the node ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.look().await.ok()?;
            if self.ready.is_empty() {
                self.changes.next().await.ok()?;
            }
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let read = |peer: &weft_peer::Peer| {
            let state =
                |member: weft_discovery::MemberView| (member.node, (member.name.to_string(), member.state.to_string()));
            let states: BTreeMap<_, _> = peer.discovery().members().map(state).collect();
            (states, peer.kernel().chain_state().size())
        };
        let (states, size) = self.served.read(read).await?;
        for (node, (name, state)) in states {
            if self.states.insert(node, state.clone()).as_ref() != Some(&state) {
                let event = MemberEvent { node: node.to_string(), name, state };
                self.ready.extend(written("member-state", None, &event));
            }
        }
        if self.next < size {
            let rows = own_events(&self.served, self.next, PAGE_EVENTS).await?;
            for row in rows {
                self.next = row.seq + 1;
                self.ready.extend(written(family(&row.kind), Some(row.seq), &row));
            }
        }
        Ok(())
    }
}

/// Under which name an event of the record goes.
fn family(kind: &str) -> &'static str {
    match kind.split('.').next() {
        Some("effect" | "process" | "agent") => "agent",
        Some("member" | "invite") => "member",
        _ => "chain",
    }
}

fn written(name: &str, id: Option<u64>, data: &impl Serialize) -> Option<Event> {
    let event = Event::default().event(name).json_data(data).inspect_err(|error| {
        tracing::error!(%error, "BUG: an event cannot be written as JSON");
    });
    let event = event.ok()?;
    Some(match id {
        Some(id) => event.id(id.to_string()),
        None => event,
    })
}
