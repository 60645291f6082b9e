//! Publications of an agent on one node that agents on four others hear, each node a process: as many as all four get in a second, at
//! a pace, and one at a time; the same by libp2p's own gossip, signed, in the fastest of several settings.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};
use weft_protocol::control::{CallReport, InviteReport, InviteRequest, TypedBody};

use super::call::{FarNode, processor_us};
use super::gossip::{Gossip, Settings};
use super::{Figure, failed};
use crate::cli::CliError;

/// Bytes of a publication.
pub(super) const BODY_BYTES: usize = 256;
const TOPIC: &str = "bench.pub";
const LISTENERS: usize = 4;
/// Publications as fast as possible, and how many of them warm up.
const FLAT_OUT: u64 = 20_000;
const WARM_UP: u64 = 2_000;
/// Publications of a setting of the baseline that is tried.
const TRIED: u64 = 10_000;
/// How long the paced run lasts.
const PACED_US: u64 = 5_000_000;
/// From one publication to the next when there is to be one at a time: none takes as long.
const ALONE_US: u64 = 5_000;
const ALONE: u64 = 600;
/// How long nothing may come of a run before it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) count: u64,
    /// Microseconds from one to the next; zero: as fast as possible.
    pub(super) every_us: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Messages a second that all four heard.
    pub(super) per_s: f64,
    /// Processor time of all five processes, for each message.
    pub(super) processor_us: f64,
    /// From its publication to its arrival, of the listener where that took longest.
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

impl Run {
    #[expect(clippy::cast_precision_loss, reason = "counts and times of one run fit a double")]
    pub(super) fn new(count: u64, took_us: u64, processor_us: f64, p50_us: u64, p99_us: u64) -> Self {
        let (count, took_us) = (count as f64, took_us.max(1) as f64);
        let (per_s, processor_us) = (count * 1e6 / took_us, processor_us / count);
        Self { per_s, processor_us, p50_us: p50_us as f64, p99_us: p99_us as f64 }
    }
}

/// Measures in `folder`.
pub(super) async fn measure(folder: &Path) -> Result<Vec<Figure>, CliError> {
    let mut tried = Vec::new();
    for settings in Settings::all() {
        let mut gossip = Gossip::start(settings).await?;
        let run = gossip.run(Load { count: TRIED, every_us: 0 }).await?;
        tried.push((settings, run));
    }
    tried.sort_by(|(_, one), (_, other)| other.per_s.total_cmp(&one.per_s));
    let (settings, _) = tried[0];
    let mut gossip = Gossip::start(settings).await?;
    gossip.run(Load { count: WARM_UP, every_us: 0 }).await?;
    let stock = gossip.run(Load { count: FLAT_OUT, every_us: 0 }).await?;
    let paced = paced(stock.per_s / 2.0);
    let alone = Load { count: ALONE, every_us: ALONE_US };
    let (stock_paced, stock_alone) = (gossip.run(paced).await?, gossip.run(alone).await?);
    drop(gossip);

    let mut cluster = Cluster::start(folder).await?;
    cluster.run(Load { count: WARM_UP, every_us: 0 }).await?;
    let ours = cluster.run(Load { count: FLAT_OUT, every_us: 0 }).await?;
    let (ours_paced, ours_alone) = (cluster.run(paced).await?, cluster.run(alone).await?);
    cluster.down().await?;

    let limit = format!("signed gossipsub, QUIC, {}", settings.name());
    let pace = format!("the same, {:.0} a second", 1e6 / per(paced.every_us));
    let one = format!("the same, one each {} ms", ALONE_US / 1_000);
    let figure = |metric, unit, value, limit: &str, limit_value| Figure::new(metric, unit, value, limit, limit_value);
    let mut figures = vec![
        figure("pub_1_to_4_delivered_per_s", "messages/s", ours.per_s, &limit, stock.per_s),
        figure("pub_1_to_4_cpu_us", "µs", ours.processor_us, "the same, of all five processes", stock.processor_us),
        figure("pub_1_to_4_p50_us", "µs", ours.p50_us, "the same, its queues unbounded", stock.p50_us),
        figure("pub_1_to_4_p99_us", "µs", ours.p99_us, "the same, its queues unbounded", stock.p99_us),
        figure("pub_paced_p50_us", "µs", ours_paced.p50_us, &pace, stock_paced.p50_us),
        figure("pub_paced_p99_us", "µs", ours_paced.p99_us, &pace, stock_paced.p99_us),
        figure("pub_paced_cpu_us", "µs", ours_paced.processor_us, &pace, stock_paced.processor_us),
        figure("pub_one_at_a_time_p50_us", "µs", ours_alone.p50_us, &one, stock_alone.p50_us),
        figure("pub_one_at_a_time_p99_us", "µs", ours_alone.p99_us, &one, stock_alone.p99_us),
        figure("pub_one_at_a_time_cpu_us", "µs", ours_alone.processor_us, &one, stock_alone.processor_us),
    ];
    let best = tried[0].1.per_s;
    let with_mesh = tried.iter().find(|(settings, _)| settings.has_mesh());
    figures.extend(with_mesh.map(|(settings, run)| {
        let limit = format!("signed gossipsub, QUIC, {}", settings.name());
        figure("pub_beside_a_mesh_per_s", "messages/s", ours.per_s, &limit, run.per_s)
    }));
    figures.extend(tried.iter().map(|(settings, run)| {
        Figure::new("stock_gossip_per_s", "messages/s", run.per_s, format!("best of these; {}", settings.name()), best)
    }));
    Ok(figures)
}

/// So many a second.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate between one and a million")]
fn paced(per_s: f64) -> Load {
    let every_us = (1e6 / per_s.clamp(1.0, 1e6)).ceil() as u64;
    Load { count: PACED_US / every_us, every_us }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds below a second")]
const fn per(every_us: u64) -> f64 {
    every_us as f64
}

/// What a listening agent says.
#[derive(Debug, Deserialize)]
struct Heard {
    heard: u64,
    bytes: u64,
    other: u64,
    gaps: u64,
    last_at_us: u64,
    p50_us: u64,
    p99_us: u64,
}

/// Five nodes of one cluster. An agent of the first publishes, one on each of the others listens.
struct Cluster {
    nodes: Vec<FarNode>,
}

impl Cluster {
    async fn start(folder: &Path) -> Result<Self, CliError> {
        let first = FarNode::start(&folder.join("n0"), "n0").await?;
        let request = InviteRequest { role: None, ttl_ms: None, uses: Some(16), certificate_ttl_ms: None };
        let invite: InviteReport = first.client.post("/v1/invites", &request).await?;
        let mut nodes = vec![first];
        for number in 1..=LISTENERS {
            let name = format!("n{number}");
            nodes.push(FarNode::join(&folder.join(&name), &name, &invite.token).await?);
        }
        for (number, node) in nodes.iter().enumerate() {
            let grant = if number == 0 { format!("publish:{TOPIC}") } else { format!("subscribe:{TOPIC}") };
            let spawn = json!({ "agent": "load", "builtin": "load", "grants": [grant] });
            let _spawned: Value = node.client.post("/v1/agents", &spawn).await?;
        }
        for node in &nodes[1..] {
            let _listens: Value = order(node, json!({ "listen": TOPIC })).await?;
        }
        let published = json!({ "payload": "first", "wait_for": LISTENERS, "deadline_ms": 20_000 });
        let _published: Value = nodes[0].client.post(&format!("/v1/topics/{TOPIC}"), &published).await?;
        let mut cluster = Self { nodes };
        cluster.until_heard(1).await?;
        Ok(cluster)
    }

    async fn reports(&self) -> Result<Vec<Heard>, CliError> {
        let mut reports = Vec::new();
        for node in &self.nodes[1..] {
            reports.push(order(node, json!({ "heard": TOPIC })).await?);
        }
        Ok(reports)
    }

    /// Waits until all have heard so many.
    async fn until_heard(&mut self, count: u64) -> Result<Vec<Heard>, CliError> {
        let mut looks = interval(Duration::from_millis(50));
        let (mut most, mut since) = (0, Instant::now());
        loop {
            looks.tick().await;
            let reports = self.reports().await?;
            if reports.iter().all(|heard| heard.heard >= count) {
                return Ok(reports);
            }
            let heard = reports.iter().map(|heard| heard.heard).sum();
            if heard > most {
                (most, since) = (heard, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                return Err(failed("publications", &format!("{heard} of {} were heard", LISTENERS as u64 * count)));
            }
        }
    }

    fn processor_us(&self) -> Result<f64, CliError> {
        self.nodes.iter().map(|node| processor_us(node.pid())).sum()
    }

    /// Publishes what the load says, and waits until all four have heard all, each once and in order.
    async fn run(&mut self, load: Load) -> Result<Run, CliError> {
        for node in &self.nodes[1..] {
            let _counts_anew: Value = order(node, json!({ "listen": TOPIC })).await?;
        }
        let before_us = self.processor_us()?;
        let (count, to) = (load.count, format!("topic:{TOPIC}"));
        let publish = json!({ "to": to, "messages": count, "bytes": BODY_BYTES, "every_us": load.every_us });
        let began_us = crate::clock::wall().0;
        let report: Value = order(&self.nodes[0], publish).await?;
        if report["sent"] != count {
            return Err(failed("publications", &format!("not all was published: {report}")));
        }
        let heard = self.until_heard(count).await?;
        let processor_us = self.processor_us()? - before_us;
        let whole = |heard: &Heard| {
            heard.heard == count && heard.bytes == count * BODY_BYTES as u64 && heard.other == 0 && heard.gaps == 0
        };
        if !heard.iter().all(whole) {
            return Err(failed("publications", &format!("{count} were published, and not what was heard: {heard:?}")));
        }
        let most = |of: fn(&Heard) -> u64| heard.iter().map(of).max().unwrap_or_default();
        let took_us = most(|heard| heard.last_at_us).saturating_sub(began_us);
        Ok(Run::new(count, took_us, processor_us, most(|heard| heard.p50_us), most(|heard| heard.p99_us)))
    }

    async fn down(&mut self) -> Result<(), CliError> {
        for node in &mut self.nodes {
            node.down().await?;
        }
        Ok(())
    }
}

/// Gives the agent `load` of a node an order; what it answers.
async fn order<T: DeserializeOwned>(node: &FarNode, order: Value) -> Result<T, CliError> {
    let call = json!({ "target": "load", "payload": { "json": order }, "deadline_ms": 120_000 });
    let report: CallReport = node.client.post("/v1/call", &call).await?;
    match report.reply {
        Some(weft_protocol::control::Body::Typed(TypedBody::Json(said))) => {
            serde_json::from_value(said).map_err(|error| failed("load", &error))
        }
        other => Err(failed("load", &format!("not a report: {other:?}"))),
    }
}
