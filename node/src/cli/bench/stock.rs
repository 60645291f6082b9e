//! The same exchange with nothing of ours in it: libp2p's request-response over QUIC between two processes, on a runtime of several
//! threads, as it comes, and on one of one thread, which is faster.

use std::io::{self, BufRead as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::request_response::{self, Codec, Event, Message, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder};
use tokio::time::Instant;

use super::gossip_node::{self, Mesh};
use super::{failed, micros, nats, per_second, percentile};
use crate::cli::CliError;

/// Bytes of a request and of its response.
pub(super) const BODY_BYTES: usize = 256;
const PROTOCOL: StreamProtocol = StreamProtocol::new("/stock/1");

/// `weft bench-stock`, started by the benchmark: answers until its input ends.
#[derive(Debug, Args)]
pub(crate) struct StockArgs {
    /// On a runtime of one thread.
    #[arg(long)]
    one_thread: bool,
    /// As a node that publishes and subscribes, by this mesh.
    #[arg(long)]
    gossip: Option<Mesh>,
    /// As the answering side of requests through the NATS server at this address.
    #[arg(long)]
    nats: Option<String>,
}

/// What one setting of the exchange comes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stock {
    /// On how many threads: for people.
    pub(super) setting: &'static str,
    /// One at a time: the middle and the slowest hundredth, in microseconds.
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Exchanges per second, so many at once.
    pub(super) at_once_per_s: f64,
}

/// Both settings, each in processes of its own.
///
/// # Errors
/// When one does not run.
pub(super) async fn measure(count: usize, in_flight: usize, at_once: usize) -> Result<[Stock; 2], CliError> {
    let several = measure_one("several threads", false, count, in_flight, at_once).await?;
    let one = on_one_thread(move || measure_one("one thread", true, count, in_flight, at_once)).await?;
    Ok([several, one])
}

async fn measure_one(
    setting: &'static str,
    one_thread: bool,
    count: usize,
    in_flight: usize,
    at_once: usize,
) -> Result<Stock, CliError> {
    let mut client = StockClient::connect(one_thread).await?;
    client.one_at_a_time(count / 4).await?;
    let mut times = client.one_at_a_time(count).await?;
    let at_once_per_s = client.at_once(in_flight, at_once).await?;
    Ok(Stock { setting, p50_us: percentile(&mut times, 50), p99_us: percentile(&mut times, 99), at_once_per_s })
}

/// Runs a future on a thread and runtime of its own.
pub(super) async fn on_one_thread<T, F>(make: impl FnOnce() -> F + Send + 'static) -> Result<T, CliError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, CliError>>,
{
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| failed("stock", &error))?.block_on(make())
    };
    tokio::task::spawn_blocking(run).await.map_err(|error| failed("stock", &error))?
}

/// Bodies of one size, as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, stream: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut body = vec![0; BODY_BYTES];
        stream.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, stream: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_request(protocol, stream).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, stream: &mut T, body: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        stream.write_all(&body).await
    }

    async fn write_response<T>(&mut self, protocol: &StreamProtocol, stream: &mut T, body: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write_request(protocol, stream, body).await
    }
}

type StockSwarm = Swarm<request_response::Behaviour<Plain>>;

fn swarm() -> Result<StockSwarm, CliError> {
    let behaviour = |_: &libp2p::identity::Keypair| {
        let config = request_response::Config::default().with_max_concurrent_streams(256);
        request_response::Behaviour::new([(PROTOCOL, ProtocolSupport::Full)], config)
    };
    let builder = SwarmBuilder::with_new_identity().with_tokio().with_quic();
    let builder = builder.with_behaviour(behaviour).map_err(|error| failed("stock", &error))?;
    Ok(builder.with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60))).build())
}

/// The answering side.
///
/// # Errors
/// When it cannot listen.
pub(crate) async fn serve(args: &StockArgs) -> Result<(), CliError> {
    let (gossip, server) = (args.gossip, args.nats.clone());
    let run = async move || match (gossip, server) {
        (Some(mesh), _) => gossip_node::run(mesh).await,
        (None, Some(server)) => nats::answer(&server).await,
        (None, None) => answer().await,
    };
    if args.one_thread { on_one_thread(run).await } else { run().await }
}

async fn answer() -> Result<(), CliError> {
    let mut swarm = swarm()?;
    let address: Multiaddr = "/ip4/127.0.0.1/udp/0/quic-v1".parse().map_err(|error| failed("stock", &error))?;
    swarm.listen_on(address).map_err(|error| failed("stock", &error))?;
    let ended = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    tokio::pin!(ended);
    loop {
        tokio::select! {
            _ = &mut ended => return Ok(()),
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { address, .. } => {
                    let line = format!("{address}/p2p/{}\n", swarm.local_peer_id());
                    io::stdout().write_all(line.as_bytes()).map_err(CliError::writing)?;
                }
                SwarmEvent::Behaviour(Event::Message { message: Message::Request { request, channel, .. }, .. }) => {
                    let _asker_is_gone = swarm.behaviour_mut().send_response(channel, request);
                }
                _ => {}
            },
        }
    }
}

/// The asking side, connected to a process of its own.
struct StockClient {
    swarm: StockSwarm,
    peer: PeerId,
    server: Child,
}

impl StockClient {
    /// Starts the other side and connects to it.
    async fn connect(one_thread: bool) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(|error| failed("stock", &error))?;
        let mut server = Command::new(program)
            .arg("bench-stock")
            .args(one_thread.then_some("--one-thread"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed("stock", &error))?;
        let mut line = String::new();
        if let Some(stdout) = server.stdout.take() {
            io::BufReader::new(stdout).read_line(&mut line).map_err(|error| failed("stock", &error))?;
        }
        let address: Multiaddr = line.trim().parse().map_err(|error| failed("stock", &error))?;
        let peer = address.iter().find_map(|part| match part {
            libp2p::multiaddr::Protocol::P2p(peer) => Some(peer),
            _ => None,
        });
        let peer = peer.ok_or_else(|| failed("stock", &"no peer id"))?;
        let mut swarm = swarm()?;
        swarm.dial(address).map_err(|error| failed("stock", &error))?;
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
        Ok(Self { swarm, peer, server })
    }

    fn ask(&mut self) {
        self.swarm.behaviour_mut().send_request(&self.peer, vec![7; BODY_BYTES]);
    }

    async fn answered(&mut self) -> Result<(), CliError> {
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::Behaviour(Event::Message { message: Message::Response { .. }, .. }) => return Ok(()),
                SwarmEvent::Behaviour(Event::OutboundFailure { error, .. }) => return Err(failed("stock", &error)),
                _ => {}
            }
        }
    }

    /// Times of `count` exchanges one after the other, in microseconds.
    async fn one_at_a_time(&mut self, count: usize) -> Result<Vec<f64>, CliError> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let begin = Instant::now();
            self.ask();
            self.answered().await?;
            times.push(micros(begin));
        }
        Ok(times)
    }

    /// Exchanges per second with so many under way at once.
    async fn at_once(&mut self, in_flight: usize, count: usize) -> Result<f64, CliError> {
        let begin = Instant::now();
        for _ in 0..in_flight {
            self.ask();
        }
        for answered in 0..count {
            self.answered().await?;
            if answered + in_flight < count {
                self.ask();
            }
        }
        Ok(per_second(count, begin))
    }
}

impl Drop for StockClient {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ended = self.server.wait();
    }
}
