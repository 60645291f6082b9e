//! What strangers and a hostile member cost: calls between two members and the memory of the called one, quiet and beside each load.
//!
//! The loads come from a thread of this process that has the lowest priority, since they would be made elsewhere; what it takes from
//! both nodes all the same is in the figures.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use weft_protocol::control::{InviteReport, InviteRequest, StatusReport};
use weft_protocol::{Durability, KeyPair, Token, WireVersions};

use super::call::{FarNode, call, near_node, resident_bytes, until_reachable};
use super::{Figure, failed, micros, percentile};
use crate::ask::Asker;
use crate::cli::CliError;
use crate::identity::random;
use crate::network::{Rogue, callers_that_leave, half_open, strangers};
use crate::run::shut_down;

/// Times that strangers come.
const ATTEMPTS: usize = 10_000;
/// Of them at once.
const AT_ONCE: usize = 64;
/// Of them that speak the whole handshake; the others connect and leave.
const HANDSHAKES: usize = 2_000;
/// Strangers with keys of their own.
const UNCERTIFIED: usize = 50;
/// What a member may send, a second: so little that ten times as much reaches the node although it is held back, and more than the
/// member that calls beside it sends.
const ALLOWED_PER_S: u64 = 750;
/// Ten times that.
const FLOOD_PER_S: u64 = 10 * ALLOWED_PER_S;
/// Time from one call to the next beside the flood: the caller is a member too, with the same limit.
const PACE: Duration = Duration::from_millis(2);
/// Connections that say nothing.
const HALF_OPEN: usize = 200;
/// Answers that nobody reads, and bytes of each.
const UNREAD: (usize, usize) = (256, 32 * 1024);
/// How long a load without an end of its own lasts, and how long calls are measured without one.
const LASTS: Duration = Duration::from_secs(5);
/// The lowest priority of a thread.
const LOWEST: i32 = 19;
/// How much slower calls may be.
const SLOWER_MAX: f64 = 1.5;
/// How much more memory the node may take, in bytes.
const MEMORY_MAX: f64 = 64.0 * 1024.0 * 1024.0;

/// Calls and memory over some time.
struct Measured {
    p50_us: f64,
    rss: f64,
}

/// Measures in `folder`.
pub(super) async fn measure(folder: &Path) -> Result<Vec<Figure>, CliError> {
    let listen = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"];
    let far = FarNode::start_at(&folder.join("beta"), "beta", &listen, &[]).await?;
    let near = near_node(&folder.join("alpha"), &far).await?;
    let asker = near.asker.clone();
    until_reachable(&asker).await?;
    let bench = Bench { far: &far, asker: &asker, pace: None };
    let _warm = bench.beside(sleep(LASTS)).await?;

    let token = bench.token().await?;
    let (quic, tcp) = (bench.address("/quic-v1").await?, bench.address("/tcp/").await?);
    let worthless = Token { secret: random().map_err(|error| failed("entropy", &error))?.into(), ..token };
    let keys = (0..UNCERTIFIED).map(|_| random().map(|seed| Arc::new(KeyPair::generate(seed))));
    let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(|error| failed("entropy", &error))?;
    let socket = socket(&tcp)?;

    let mut figures = Vec::new();
    let (worthless_too, strange) = (worthless.clone(), keys.clone());
    let load = elsewhere(async move || {
        let handshakes = strangers(&worthless_too, &tcp, &strange, HANDSHAKES, AT_ONCE / 2);
        Ok(tokio::join!(handshakes, callers_that_leave(socket, ATTEMPTS - HANDSHAKES, AT_ONCE / 2)).0)
    });
    let visits = bench.compare(["strangers_p50_us", "strangers_rss_bytes"], load, &mut figures).await??;
    let address = quic.clone();
    let load = elsewhere(async move || Ok(strangers(&worthless, &address, &keys, HANDSHAKES / 2, UNCERTIFIED).await));
    let others = bench.compare(["uncertified_50_p50_us", "uncertified_50_rss_bytes"], load, &mut figures).await??;
    tracing::info!(?visits, ?others, "strangers came");
    if visits.accepted + others.accepted > 0 {
        return Err(failed("strangers", &"one was let in"));
    }

    let token = bench.token().await?;
    let load = elsewhere(async move || {
        let mut deaf = rogue(token, "delta", quic).await?;
        deaf.ask_and_read_nothing(UNREAD.0, UNREAD.1);
        sleep(LASTS).await;
        Ok(())
    });
    bench.compare(["slow_reader_p50_us", "slow_reader_rss_bytes"], load, &mut figures).await??;
    let load = elsewhere(async move || {
        tokio::select! {
            () = half_open(socket, HALF_OPEN) => {}
            () = sleep(LASTS) => {}
        }
        Ok(())
    });
    bench.compare(["half_open_p50_us", "half_open_rss_bytes"], load, &mut figures).await??;

    shut_down(&asker).await.map_err(|refusal| CliError::from(&refusal))?;
    near.ended().await?;
    let mut far = far;
    far.down().await?;
    flood(&folder.join("flood"), &mut figures).await?;
    Ok(figures)
}

/// A member that sends ten times what it may, to a node of its own, beside a member that calls at its leisure.
async fn flood(folder: &Path, figures: &mut Vec<Figure>) -> Result<(), CliError> {
    let allowed = [("WEFT_LIMITS_MESSAGES_PER_SECOND", ALLOWED_PER_S.to_string())];
    let mut far = FarNode::start_at(&folder.join("beta"), "beta", &["/ip4/127.0.0.1/udp/0/quic-v1"], &allowed).await?;
    let near = near_node(&folder.join("alpha"), &far).await?;
    let asker = near.asker.clone();
    until_reachable(&asker).await?;
    let bench = Bench { far: &far, asker: &asker, pace: Some(PACE) };
    let _warm = bench.beside(sleep(LASTS)).await?;

    let (token, address) = (bench.token().await?, bench.address("/quic-v1").await?);
    let load = elsewhere(async move || Ok(rogue(token, "gamma", address).await?.flood(FLOOD_PER_S, LASTS).await));
    let flooded = bench.compare(["flood_p50_us", "flood_rss_bytes"], load, figures).await??;
    let per_s = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / LASTS.as_secs_f64();
    let (most, allowed) = (per_s(FLOOD_PER_S * LASTS.as_secs()), per_s(ALLOWED_PER_S * LASTS.as_secs()));
    let sent = per_s(flooded.sent);
    figures.extend([
        Figure::new("flood_sent_per_s", "messages/s", sent, "ten times what a member may", most),
        Figure::new("flood_taken_per_s", "messages/s", per_s(flooded.taken), "what a member may", allowed),
        Figure::new("flood_busy_per_s", "messages/s", per_s(flooded.busy), "what it sent", sent),
        Figure::new("flood_other_per_s", "messages/s", per_s(flooded.other), "what it sent", sent),
    ]);
    shut_down(&asker).await.map_err(|refusal| CliError::from(&refusal))?;
    near.ended().await?;
    far.down().await
}

struct Bench<'a> {
    far: &'a FarNode,
    asker: &'a Asker,
    /// The least time from one call to the next; none: each follows the one before.
    pace: Option<Duration>,
}

impl Bench<'_> {
    /// Calls, one after the other, for as long as a load lasts; and the most memory that the called node had meanwhile.
    async fn beside<T>(&self, load: impl Future<Output = T>) -> Result<(Measured, T), CliError> {
        let mut load = pin!(load);
        let (mut times, mut rss) = (Vec::new(), self.memory()?);
        let over = tokio::select! {
            over = &mut load => over,
            error = self.call_for_ever(&mut times, &mut rss) => return Err(error),
        };
        rss = rss.max(self.memory()?);
        Ok((Measured { p50_us: percentile(&mut times, 50), rss }, over))
    }

    /// Times each call, in microseconds, until the memory cannot be read.
    async fn call_for_ever(&self, times: &mut Vec<f64>, rss: &mut f64) -> CliError {
        let mut next = Instant::now();
        loop {
            if let Some(pace) = self.pace {
                sleep_until(next).await;
                next = (next + pace).max(Instant::now());
            }
            let begin = Instant::now();
            let called = call(self.asker, Durability::None).await;
            // One that failed is slower than any.
            times.push(if called.is_ok() { micros(begin) } else { f64::INFINITY });
            if times.len().is_multiple_of(256) {
                match self.memory() {
                    Ok(now) => *rss = rss.max(now),
                    Err(error) => return error,
                }
            }
        }
    }

    /// The same beside what is measured quiet just before.
    async fn compare<T>(
        &self,
        names: [&'static str; 2],
        load: impl Future<Output = T>,
        figures: &mut Vec<Figure>,
    ) -> Result<T, CliError> {
        let (quiet, ()) = self.beside(sleep(LASTS)).await?;
        let (loaded, over) = self.beside(load).await?;
        let [p50, rss] = names;
        let slower = format!("{SLOWER_MAX} × quiet ({:.0} µs)", quiet.p50_us);
        figures.push(Figure::new(p50, "µs", loaded.p50_us, slower, SLOWER_MAX * quiet.p50_us));
        figures.push(Figure::new(rss, "bytes", loaded.rss, "quiet + 64 MiB", quiet.rss + MEMORY_MAX));
        Ok(over)
    }

    fn memory(&self) -> Result<f64, CliError> {
        resident_bytes(self.far.pid())
    }

    async fn token(&self) -> Result<Token, CliError> {
        let asked = InviteRequest { role: None, ttl_ms: None, uses: None, certificate_ttl_ms: None };
        let invite: InviteReport = self.far.client.post("/v1/invites", &asked).await?;
        invite.token.parse().map_err(|error| failed("token", &error))
    }

    /// Where the far node listens, in an address with this part.
    async fn address(&self, part: &str) -> Result<String, CliError> {
        let status: StatusReport = self.far.client.get("/v1/status").await?;
        let address = status.listen.into_iter().find(|address| address.contains(part));
        address.ok_or_else(|| failed("beta", &"listens nowhere"))
    }
}

/// A member that this process plays.
async fn rogue(token: Token, name: &str, address: String) -> Result<Rogue, CliError> {
    let name = name.parse()?;
    let seed = random().map_err(|error| failed("entropy", &error))?;
    let keys = Arc::new(KeyPair::generate(seed));
    let (admission, _) =
        crate::network::join(&keys, &token, &name, WireVersions::default(), |_| {}).await.map_err(CliError::from)?;
    let rogue = Rogue::connect(keys, admission, name, token.inviter, address).await;
    rogue.map_err(|error| failed("a member", &error))
}

/// Runs something on a thread of its own with the lowest priority.
async fn elsewhere<T: Send + 'static>(
    load: impl AsyncFnOnce() -> Result<T, CliError> + Send + 'static,
) -> Result<T, CliError> {
    let (done, over) = tokio::sync::oneshot::channel();
    #[expect(clippy::disallowed_methods, reason = "a priority is a thread's own")]
    std::thread::spawn(move || {
        let _priority_is_as_it_was = rustix::process::nice(LOWEST);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.map_err(|error| failed("the load", &error)).and_then(|runtime| runtime.block_on(load()));
        let _nobody_waits = done.send(result);
    });
    over.await.map_err(|error| failed("the load", &error))?
}

fn socket(address: &str) -> Result<SocketAddr, CliError> {
    let port = address.rsplit('/').next().and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| failed("beta", &"no port"))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}
