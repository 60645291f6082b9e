//! Publishing to topics, and their publications as server-sent events.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Deserialize;
use weft_kernel::{Answer, Cursor, Start, Syscall, TopicInfo};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{
    Body, ErrorBody, HistoryReport, PublicationEvent, PublishReport, PublishRequest, PublisherRow, TopicReport,
    TopicsReport,
};
use weft_protocol::{Principal, Publication, TopicName, TopicPattern};

use super::failure::Failure;
use super::messages::{deadline_us, payload, sender, trace};
use super::request::{JsonBody, Parameters};
use super::{Served, last_event_id, mismatch, text};
use crate::ask::{Notified, Subscription};
use crate::since::start;

/// Publishes to a topic.
#[utoipa::path(post, path = "/v1/topics/{topic}", params(("topic" = String, Path, description = "Where")),
    request_body = PublishRequest, responses((status = 200, body = PublishReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn publish(
    State(served): State<Arc<Served>>,
    Path(topic): Path<String>,
    JsonBody(request): JsonBody<PublishRequest>,
) -> Result<Json<PublishReport>, Failure> {
    let topic: TopicName = topic.parse()?;
    let (payload, trace) = (payload(&request.payload)?, trace(request.trace.as_deref())?);
    let deadline = Duration::from_micros(deadline_us(request.deadline_ms)?);
    wait_for_subscribers(&served, &topic, request.wait_for, deadline).await?;
    let publish = Syscall::Publish { topic, payload, trace };
    match served.ask(Question::Kernel(Box::new(publish))).await? {
        Reply::Kernel(Answer::Published { id, trace, seq, delivered }) => {
            Ok(Json(PublishReport { id: id.to_string(), delivered, trace: trace.to_string(), seq }))
        }
        other => Err(mismatch(&other)),
    }
}

async fn wait_for_subscribers(
    served: &Served,
    topic: &TopicName,
    wanted: u64,
    deadline: Duration,
) -> Result<(), Failure> {
    if wanted == 0 {
        return Ok(());
    }
    let until = tokio::time::Instant::now() + deadline;
    let mut changes = served.changes();
    loop {
        let topic_read = topic.clone();
        let known = served.read(move |peer| subscribers(peer, &topic_read)).await?;
        if known >= wanted {
            return Ok(());
        }
        let Ok(changed) = tokio::time::timeout_at(until, changes.next()).await else {
            let message = format!("{known} of {wanted} subscribers of {topic} are known; nothing was published");
            return Err(Failure::new("deadline", message).hint("give them more time: --deadline").retry());
        };
        changed?;
    }
}

/// Subscriptions that mean the topic, here and as far as members say.
fn subscribers(peer: &Peer, topic: &TopicName) -> u64 {
    let others = peer.discovery().subscribers(topic).into_iter().map(|(_, count)| count).sum::<u64>();
    peer.kernel().subscribers(topic) + others
}

/// Every topic that this node knows of.
#[utoipa::path(get, path = "/v1/topics", responses((status = 200, body = TopicsReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(State(served): State<Arc<Served>>) -> Result<Json<TopicsReport>, Failure> {
    Ok(Json(TopicsReport { topics: served.read(reports).await? }))
}

fn reports(peer: &Peer) -> Vec<TopicReport> {
    let mut topics = peer.kernel().topics();
    let mut patterns = BTreeMap::<String, u64>::new();
    for (pattern, count) in peer.discovery().members().flat_map(|member| member.subscriptions) {
        match pattern.exact() {
            Some(topic) => drop(topics.entry(topic).or_default()),
            None => *patterns.entry(pattern.to_string()).or_default() += u64::from(count),
        }
    }
    let publisher = |publisher: &weft_kernel::TopicPublisher| PublisherRow {
        node: publisher.chain.node.to_string(),
        name: peer.discovery().display_name(publisher.chain.node),
        last: publisher.last,
        at: publisher.at.map(|at| text::time(at.to_wall())),
    };
    let report = |(topic, info): (&TopicName, &TopicInfo)| TopicReport {
        topic: topic.to_string(),
        subscribers: subscribers(peer, topic),
        publishers: info.publishers.iter().map(publisher).collect(),
        history: HistoryReport { publications: info.publications as u64, bytes: info.bytes as u64 },
    };
    let pattern = |(topic, subscribers)| TopicReport {
        topic,
        subscribers,
        publishers: Vec::new(),
        history: HistoryReport::default(),
    };
    topics.iter().map(report).chain(patterns.into_iter().map(pattern)).collect()
}

/// From where on.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsParameters {
    /// And what was published since: a duration back from now (`10m`) or a time in RFC 3339.
    since: Option<String>,
    /// And so many of the newest.
    last: Option<u64>,
}

/// What is published to a topic, or to all that a pattern means (`a.*`, `a.>`), as server-sent events: from now on, or with
/// history from members. Each id is a cursor: with it as `Last-Event-ID` the stream goes on behind that event, without hole
/// or duplicate as far as the history of 4,096 publications reaches. A reader that falls too far behind is cut off.
#[utoipa::path(get, path = "/v1/topics/{topic}/events",
    params(("topic" = String, Path, description = "Which, or a pattern"), EventsParameters),
    responses((status = 200, body = PublicationEvent, content_type = "text/event-stream"), (status = "default", body = ErrorBody)))]
pub(crate) async fn events(
    State(served): State<Arc<Served>>,
    Path(topic): Path<String>,
    Parameters(EventsParameters { since, last }): Parameters<EventsParameters>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let pattern: TopicPattern = topic.parse()?;
    let start = match last_event_id(&headers)? {
        Some(cursor) => Start::Resume(cursor.parse()?),
        None => start(since.as_deref(), last).map_err(|message| Failure::new("invalid", message))?,
    };
    let subscribe = Question::Kernel(Box::new(Syscall::Subscribe { pattern, start }));
    let subscription = served.control.asker.subscribe(Principal::Operator, subscribe).await?;
    let names = Names { served, known: BTreeMap::new() };
    let stream = futures::stream::unfold((subscription, names), next_event);
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

async fn next_event(
    (mut subscription, mut names): (Subscription, Names),
) -> Option<(Result<Event, Infallible>, (Subscription, Names))> {
    let Notified { cursor, publication } = subscription.next().await?;
    let name = names.of(&publication).await;
    let event = event(&publication, &name, &cursor);
    let event = Event::default().id(event.cursor.clone()).json_data(&event).unwrap_or_else(|error| {
        tracing::error!(%error, "BUG: a publication cannot be written as JSON");
        Event::default().comment("a publication could not be written")
    });
    Some((Ok(event), (subscription, names)))
}

fn event(publication: &Publication, name: &str, cursor: &Cursor) -> PublicationEvent {
    let from = sender(&publication.from.principal);
    PublicationEvent {
        id: publication.id.to_string(),
        topic: publication.topic.to_string(),
        from: format!("{from}@{name}"),
        node: publication.from.node.to_string(),
        seq: publication.seq,
        prev: publication.prev,
        cursor: cursor.to_string(),
        hlc: publication.hlc.to_string(),
        at: text::time(publication.hlc.to_wall()),
        trace: publication.trace.to_string(),
        payload: Body::from(&publication.payload),
    }
}

/// The names of publishing nodes, each asked for once; at most as many as the cluster has members.
struct Names {
    served: Arc<Served>,
    known: BTreeMap<weft_protocol::NodeId, String>,
}

impl Names {
    async fn of(&mut self, publication: &Publication) -> String {
        let node = publication.from.node;
        if let Some(name) = self.known.get(&node) {
            return name.clone();
        }
        let name = self.served.read(move |peer| peer.discovery().display_name(node)).await;
        let name = name.unwrap_or_else(|_shutting_down| node.to_string());
        self.known.insert(node, name.clone());
        name
    }
}
