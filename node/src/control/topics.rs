//! Publishing to topics, and their publications as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use weft_kernel::{Answer, Syscall};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{Body, ErrorBody, PublicationEvent, PublishReport, PublishRequest};
use weft_protocol::{Principal, Publication, TopicName};

use super::failure::Failure;
use super::messages::{deadline_us, payload, trace};
use super::request::JsonBody;
use super::{Served, mismatch, text};
use crate::ask::Subscription;

/// How often the number of subscribing nodes is looked at while a publication waits for them.
const SUBSCRIBERS_STEP: Duration = Duration::from_millis(20);

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
    let begun = tokio::time::Instant::now();
    loop {
        let topic_read = topic.clone();
        let known = served.read(move |peer| subscribing_nodes(peer, &topic_read)).await?;
        if known >= wanted {
            return Ok(());
        }
        if begun.elapsed() >= deadline {
            let message = format!("{known} of {wanted} nodes subscribe to {topic}");
            return Err(Failure::new("deadline", message).hint("give them more time: --deadline").retry());
        }
        tokio::time::sleep(SUBSCRIBERS_STEP).await;
    }
}

/// Nodes known to have subscribers of the topic, this one included.
fn subscribing_nodes(peer: &Peer, topic: &TopicName) -> u64 {
    let own = |member: &weft_discovery::MemberView| member.node == peer.node() && member.topics.contains(topic);
    let here = peer.discovery().members().any(|member| own(&member));
    peer.discovery().subscribers(topic).len() as u64 + u64::from(here)
}

/// What is published to a topic from now on, as server-sent events whose ids are those of the publications. A reader that
/// falls more than 1,024 publications behind is cut off.
#[utoipa::path(get, path = "/v1/topics/{topic}/events", params(("topic" = String, Path, description = "Which")),
    responses((status = 200, body = PublicationEvent, content_type = "text/event-stream"), (status = "default", body = ErrorBody)))]
pub(crate) async fn events(
    State(served): State<Arc<Served>>,
    Path(topic): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let topic: TopicName = topic.parse()?;
    let subscribe = Question::Kernel(Box::new(Syscall::Subscribe { topic }));
    let subscription = served.control.asker.subscribe(Principal::Operator, subscribe).await?;
    let names = Names { served, known: std::collections::BTreeMap::new() };
    let stream = futures::stream::unfold((subscription, names), next_event);
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

async fn next_event(
    (mut subscription, mut names): (Subscription, Names),
) -> Option<(Result<Event, Infallible>, (Subscription, Names))> {
    let publication = subscription.next().await?;
    let name = names.of(&publication).await;
    let event = event(&publication, &name);
    let event = Event::default().id(event.id.clone()).json_data(&event).unwrap_or_else(|error| {
        tracing::error!(%error, "BUG: a publication cannot be written as JSON");
        Event::default().comment("a publication could not be written")
    });
    Some((Ok(event), (subscription, names)))
}

fn event(publication: &Publication, name: &str) -> PublicationEvent {
    let from = match &publication.from.principal {
        Principal::Operator => "operator".to_owned(),
        Principal::Agent { agent, .. } => agent.to_string(),
    };
    PublicationEvent {
        id: publication.id.to_string(),
        topic: publication.topic.to_string(),
        from: format!("{from}@{name}"),
        node: publication.from.node.to_string(),
        seq: publication.seq,
        hlc: publication.hlc.to_string(),
        at: text::time(publication.hlc.to_wall()),
        trace: publication.trace.to_string(),
        payload: Body::from(&publication.payload),
    }
}

/// The names of publishing nodes, each asked for once; at most as many as the cluster has members.
struct Names {
    served: Arc<Served>,
    known: std::collections::BTreeMap<weft_protocol::NodeId, String>,
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
