//! A node from its home to its end: founding, opening or repairing the store, wiring all parts, serving until it halts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_bytes::{ByteArray, ByteBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use weft_kernel::Gates;
use weft_peer::{Memory, Peer, PeerConfig, PeerIdentity, Question};
use weft_protocol::control::UpReport;
use weft_protocol::{
    BootPhase, Certificate, ChainId, Charter, Incarnation, KeyPair, NodeName, Principal, Recovered, Repaired, Role,
    Signed, Signer as _, Timestamp,
};
use weft_storage::{OpenError, Store};

use crate::anchor::Keeper;
use crate::ask::{Asker, door};
use crate::boot::Boot;
use crate::cli::{CliError, plural};
use crate::clock::{Clock, wall};
use crate::config::{Config, Live, reload};
pub(crate) use crate::event_loop::shut_down;
use crate::event_loop::{Disk, EventLoop, Scrubbing};
use crate::home::{ClusterFile, Home, HomeDir};
use crate::identity::{self, Next};
use crate::loop_thread::{Ended, LoopThread};
use crate::network::{Mdns, NetworkConfig};
use crate::repair::Repair;
use crate::runners::{Runners, RunnersConfig};
use crate::scrub::{ScrubBoard, Scrubber};
use crate::sign_state::{self, FileId, SignState, SignStateError};
use crate::succession::{Succession, Successor};

/// The program's version.
const BUILD: &str = env!("CARGO_PKG_VERSION");

/// Signals that come within this time are one: a supervisor may send to the process and to its group (guess: less than a
/// person needs to press twice).
const SIGNALS_TOGETHER: Duration = Duration::from_millis(100);

/// What lets a node start whose disk is not trusted.
const CHECK_STORAGE: &str = "weft doctor --storage checks it and lets the node start";

/// How long `up` waits for a start that asks members before it says what is served all the same: longer than such a start
/// waits for members; a long chain that comes back takes its time (guess).
const DECIDED_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often it looks.
const DECIDED_STEP: Duration = Duration::from_millis(10);

/// Writes a cluster of one into a home that has none: its founder is the holder of `keys`.
///
/// # Errors
/// What the operating system said about random bytes or the file.
pub(crate) fn found(home: &Home, keys: &KeyPair, name: NodeName, now: Timestamp) -> Result<ClusterFile, CliError> {
    let nonce = identity::random()?;
    let public = keys.public_keys().clone();
    let rules = ByteBuf::from(weft_kernel::genesis_rules());
    let charter = Charter { founder: public.clone(), rules, nonce: ByteArray::new(nonce) };
    let certificate = Certificate {
        cluster: charter.cluster_id(),
        issuer: public.node(),
        keys: public,
        name: name.clone(),
        role: Role::Admin,
        grants: Vec::new(),
        issued: now,
        not_after: None,
    };
    let certificate = Signed::new(&certificate, keys);
    let (members, addresses) = (Vec::new(), Vec::new());
    let cluster = ClusterFile {
        charter,
        certificate,
        name,
        incarnation: new_incarnation()?,
        members,
        addresses,
        reborn: None,
        disowned: Vec::new(),
    };
    home.write_cluster(&cluster)?;
    Ok(cluster)
}

/// A new random incarnation.
///
/// # Errors
/// When the operating system gives no random bytes.
pub(crate) fn new_incarnation() -> Result<Incarnation, CliError> {
    Ok(Incarnation(u64::from_be_bytes(identity::random()?)))
}

/// A node at work.
pub(crate) struct Running {
    /// The door to its event loop.
    pub(crate) asker: Asker,
    /// Its settings.
    pub(crate) live: Live,
    home: Arc<Home>,
    door: crate::control::Door,
    /// What makes anchors beside it.
    anchors: tokio::task::JoinHandle<()>,
    event_loop: Ended,
}

/// Starts the node of `home`.
///
/// # Errors
/// Damage (exit 8), addresses that cannot be listened on, and everything else that keeps a node from starting.
pub(crate) async fn start(home: Home, live: Live, keys: KeyPair, boot: Boot) -> Result<Running, CliError> {
    let config = &live.config().await;
    let cluster = home.cluster()?.ok_or_else(|| CliError::new("failed", "the home has no cluster").hint("weft up"))?;
    if let Some(reason) = home.poisoned() {
        let reason = if reason.is_empty() { "the disk was full" } else { &reason };
        let message = format!("an earlier run could not write its store: {reason}");
        return Err(CliError::new("damaged", message).hint(CHECK_STORAGE));
    }
    let keys = Arc::new(keys);
    let mut clock = Clock::new();
    let before = FileId::of(&home.store());
    let (store, mut recovered, repaired) = open(&home, config, &keys, &cluster, &mut clock, &boot).await?;
    boot.info(&held(&recovered));
    let keys = settled(&home, &keys, &recovered, &boot)?;
    let store = Arc::new(store);
    let now = clock.now();
    let (sign_state, memory) = recall(&home, &keys, &cluster, &store, &recovered, before, &boot)?;
    if let Some(state) = &sign_state {
        // A home that was put back may have reserved fewer stamps than have left this machine since.
        let clock = state.lock().unwrap_or_else(PoisonError::into_inner).clock();
        recovered.reserved.clock = recovered.reserved.clock.max(clock);
    }
    let succession =
        Succession { home: Arc::new(home), config: config.clone(), keys: Arc::clone(&keys), boot: boot.clone() };
    let home = &succession.home;
    let peer = new_peer(config, &cluster, &recovered, &keys, memory, now)?;

    let listen = listen_addresses(home, config);
    let view = peer.discovery().view();
    let (mdns, mdns_board) = Mdns::begin_if(config.mdns, view.cluster, view.node);
    let (tcp_security, announce) = (config.tcp_security, config.announce.clone());
    let thread =
        LoopThread::begin(NetworkConfig { keys: Arc::clone(&keys), listen, announce, tcp_security, view, mdns })
            .await?;
    keep_ports(home, config, &thread.bound)?;
    boot.info(&format!("listening: {}", thread.bound.join(" ")));

    let (asker, locals) = door();
    let exe = std::env::current_exe().map_err(|error| CliError::new("failed", format!("this program: {error}")))?;
    let runners_config = RunnersConfig {
        node: keys.public_keys().node(),
        node_name: cluster.name.clone(),
        home: home.path().to_owned(),
        exe,
    };
    let runners = Runners::new(runners_config, asker.clone());
    let (passes, passed) = tokio::sync::watch::channel(0);
    let keeper = Arc::new(Keeper::new(home.path(), asker.clone(), Arc::clone(&store), live.clone()));
    let anchors = tokio::spawn(Arc::clone(&keeper).run());
    let scrub = ScrubBoard::default();
    let dice = u64::from_be_bytes(identity::random()?);
    let scrubber = Scrubber::new(config.scrub_period_us, dice, clock.now(), scrub.clone());
    let control = crate::control::Control {
        keeper,
        asker: asker.clone(),
        store: Arc::clone(&store),
        agents: runners.agent_processes(),
        refusals: thread.refusals.clone(),
        boot: boot.clone(),
        scrub: scrub.clone(),
        mdns: mdns_board,
        live: live.clone(),
        passed,
    };
    let door = crate::control::open(home, control)?;
    boot.info("the local door is open");
    boot.pass_over(BootPhase::ResourceTree);
    let (home, home_dir) = (Arc::clone(home), HomeDir::new(home.path())?);
    let disk = Disk::start(Arc::clone(&store), sign_state.clone());
    let loop_asker = asker.clone();
    let scrubbing = Scrubbing::new(scrubber, scrub);
    let successor = Successor { succession, sign_state };
    let event_loop = thread.run(move |network| {
        EventLoop::new(
            peer, clock, store, network, runners, loop_asker, locals, home_dir, passes, disk, scrubbing, successor,
        )
    });
    if !repaired.is_empty() {
        record_repair(&asker, repaired).await?;
    }
    let agents_wait = Duration::from_micros(config.kernel.start_us_max);
    tokio::spawn(boot.complete(asker.clone(), agents_wait));
    Ok(Running { asker, live, home, door, anchors, event_loop })
}

impl Running {
    /// What it serves.
    ///
    /// # Errors
    /// When it is going down already.
    pub(crate) async fn report(&self) -> Result<UpReport, CliError> {
        crate::control::up_report(&self.asker, &self.home).await
    }

    /// Waits until a start that is not sure of its chain has asked the members about it; a sure one is not waited for.
    ///
    /// # Errors
    /// When it is going down already.
    pub(crate) async fn decided(&self) -> Result<(), CliError> {
        let begun = Instant::now();
        let open = |peer: &Peer| peer.is_asking() && !peer.is_sure();
        while begun.elapsed() < DECIDED_WAIT_MAX {
            if !self.asker.read(open).await.map_err(|refusal| CliError::from(&refusal))? {
                break;
            }
            tokio::time::sleep(DECIDED_STEP).await;
        }
        Ok(())
    }

    /// Waits until it has ended, by whatever asked it to.
    ///
    /// # Errors
    /// When the event loop panicked.
    pub(crate) async fn ended(self) -> Result<(), CliError> {
        let Self { home, door, anchors, event_loop, .. } = self;
        let ended = event_loop.wait().await;
        // It holds the store, which whoever comes next wants to open.
        anchors.abort();
        let _aborted = anchors.await;
        door.close().await;
        home.remove_api_socket();
        ended
    }
}

/// What a node is run with.
pub(crate) struct RunOptions {
    /// Where, locked.
    pub(crate) home: Home,
    /// How. A home without a cluster becomes the founder of a new one under the configured name.
    pub(crate) live: Live,
    /// What is said of the start.
    pub(crate) boot: Boot,
    /// Hears what the node serves once it does.
    pub(crate) on_ready: Box<dyn FnOnce(&UpReport) + Send>,
}

/// Runs a node until it is asked to go down.
///
/// # Errors
/// Those of [`start`], and a panic of the event loop.
pub(crate) async fn run_node(options: RunOptions) -> Result<(), CliError> {
    let RunOptions { home, live, boot, on_ready } = options;
    let running = begin(home, live, boot.clone()).await.inspect_err(|error| boot.error(&error.to_string()))?;
    watch_signals(running.asker.clone(), running.live.clone())?;
    running.decided().await?;
    on_ready(&running.report().await?);
    running.ended().await
}

async fn begin(home: Home, live: Live, boot: Boot) -> Result<Running, CliError> {
    boot.begin(BootPhase::Services);
    let keys = keys_of(&home, &live.config().await)?;
    boot.info(&format!("{} is locked, its keys are those of {}", home.path().display(), keys.public_keys().node()));
    start(home, live, keys, boot).await
}

/// The keys with which this run signs: a rotation that a run before this one did not end is ended or taken back.
fn settled(home: &Home, keys: &KeyPair, recovered: &Recovered, boot: &Boot) -> Result<Arc<KeyPair>, CliError> {
    let held = keys.public_keys().clone();
    let (keys, next) = identity::settle(home.path(), identity::load(home.path())?, recovered)?;
    match next {
        Next::Absent => {}
        Next::Counts => boot.info("the keys are those of the last rotation, which the chain holds"),
        Next::Unrecorded => boot.warn("a rotation of the keys was begun and never recorded: the keys are the old ones"),
    }
    debug_assert_eq!(held.node(), keys.public_keys().node());
    Ok(Arc::new(keys))
}

/// What a start found, in words.
fn held(recovered: &Recovered) -> String {
    let chains = plural(recovered.chains.len() as u64, "chain");
    let events = recovered.chains.iter().map(|chain| chain.state.size()).sum();
    format!("the store holds {chains} with {}, all verified", plural(events, "event"))
}

/// The keys of the home, which founds a cluster when it has none.
pub(crate) fn keys_of(home: &Home, config: &Config) -> Result<KeyPair, CliError> {
    if home.cluster()?.is_some() {
        return Ok(identity::load(home.path())?);
    }
    let keys = identity::load_or_create(home.path())?;
    let name = config
        .name
        .clone()
        .ok_or_else(|| CliError::new("invalid", "the node has no name").hint("weft up --name NAME"))?;
    let cluster = found(home, &keys, name, wall())?;
    remember_new(home, &keys, cluster.incarnation);
    Ok(keys)
}

/// Opens the store, with the help of members when it is damaged.
async fn open(
    home: &Home,
    config: &Config,
    keys: &Arc<KeyPair>,
    cluster: &ClusterFile,
    clock: &mut Clock,
    boot: &Boot,
) -> Result<(Store, Recovered, Vec<Repaired>), CliError> {
    let path = home.store();
    let damage = match Store::create_or_open(&path) {
        // What was read then and is not there now is read otherwise the next time: nobody knows what such a disk holds.
        Ok(_) if home.damaged().is_some() => {
            let reason = home.damaged().unwrap_or_default();
            let message = format!("an earlier run found its store damaged, and this one finds it whole: {reason}");
            return Err(CliError::new("damaged", message).hint(CHECK_STORAGE));
        }
        Ok((store, recovered)) => return Ok((store, recovered, Vec::new())),
        Err(error @ OpenError::Damaged { .. }) => error,
        Err(error) => return Err(open_error(&error)),
    };
    boot.warn(&format!("{damage}; what is missing is asked of members"));
    let refused = |reason: String| {
        let message = format!("{damage}; it could not be repaired: {reason}");
        CliError::new("damaged", message).hint("start a member that holds this chain, then weft up again").retry()
    };
    let repair = Repair::begin(&path).map_err(|error| refused(error.to_string()))?;
    let salvaged = repair.salvaged().map_err(|error| refused(error.to_string()))?;
    let peer = new_peer(config, cluster, &salvaged, keys, Memory::Fresh, clock.now())?;
    let mut addresses = salvaged.addresses;
    addresses.extend(cluster.addresses.iter().cloned());
    let view = peer.discovery().view();
    let repaired = repair.run(Arc::clone(keys), view, listen_addresses(home, config), addresses).await;
    let repaired = repaired.map_err(|error| refused(error.to_string()))?;
    for stretch in &repaired {
        let Repaired { chain, first_commit, count, from } = stretch;
        boot.warn(&format!("{count} commits of {chain} from {first_commit} on came back from {from}"));
    }
    if repaired.is_empty() {
        boot.warn("everything was still there: the store was put together again");
    }
    let (store, recovered) = Store::create_or_open(&path).map_err(|error| open_error(&error))?;
    home.clear_damage()?;
    Ok((store, recovered, repaired))
}

fn open_error(error: &OpenError) -> CliError {
    let code = match error {
        OpenError::Damaged { .. } | OpenError::NotAStore => "damaged",
        OpenError::Busy => "locked",
        OpenError::Absent { .. } | OpenError::Version { .. } | OpenError::Io(_) => "failed",
    };
    CliError::new(code, error.to_string())
}

pub(crate) fn new_peer(
    config: &Config,
    cluster: &ClusterFile,
    recovered: &Recovered,
    keys: &Arc<KeyPair>,
    memory: Memory,
    now: Timestamp,
) -> Result<Peer, CliError> {
    let node = keys.public_keys().node();
    // A part of the own chains may have come back from members.
    if identity::is_replaced(keys.public_keys(), recovered) {
        let message = "the chain of this node says that its keys gave way to others, which are not in this home";
        return Err(CliError::new("failed", message).hint("restore the newest identity.key, then weft up"));
    }
    let chain = ChainId { node, incarnation: cluster.incarnation };
    let own = recovered.chains.iter().map(|it| &it.state).find(|state| state.chain() == chain && state.commits() > 0);
    if own.is_some_and(|own| own.keys() != keys.public_keys()) {
        let message = "the chain that this home goes on with is written with other keys than identity.key holds";
        return Err(
            CliError::new("failed", message).hint("weft identity rejoin --yes begins a new chain with these keys")
        );
    }
    let gates = Gates::new(node, &cluster.charter.rules, &cluster.charter.rules_hash())
        .map_err(|error| CliError::new("failed", error.to_string()))?;
    let config: PeerConfig = config.peer()?;
    let identity = PeerIdentity {
        name: cluster.name.clone(),
        charter: cluster.charter.clone(),
        certificate: cluster.certificate.clone(),
        incarnation: cluster.incarnation,
        disowned: cluster.disowned.clone(),
        memory,
        build: BUILD.to_owned(),
        members: cluster.members.clone(),
        addresses: cluster.addresses.clone(),
    };
    let seed = u64::from_be_bytes(identity::random()?);
    Ok(Peer::new(config, identity, recovered, Arc::clone(keys) as Arc<_>, gates, seed, now))
}

/// Notes outside the home that this incarnation was chosen now: nobody can hold any of its chain. When that cannot be noted,
/// the first start asks members, who hold nothing.
pub(crate) fn remember_new(home: &Home, keys: &KeyPair, incarnation: Incarnation) {
    let chain = ChainId { node: keys.public_keys().node(), incarnation };
    let Some(path) = sign_state::path_of(chain.node, home.state_folder()) else { return };
    let noted = SignState::open(&path, chain, None)
        .map_err(|error| error.to_string())
        .and_then(|(mut state, _)| state.begin(chain).map_err(|error| error.to_string()));
    if let Err(error) = noted {
        tracing::debug!(error, "the new chain was not remembered");
    }
}

/// What this machine remembers of the node's chain, compared with what its home holds. A home that has just been founded or
/// admitted is remembered from here on.
fn recall(
    home: &Home,
    keys: &KeyPair,
    cluster: &ClusterFile,
    store: &Store,
    recovered: &Recovered,
    before: Option<FileId>,
    boot: &Boot,
) -> Result<(Option<Arc<Mutex<SignState>>>, Memory), CliError> {
    let chain = ChainId { node: keys.public_keys().node(), incarnation: cluster.incarnation };
    let Some(path) = sign_state::path_of(chain.node, home.state_folder()) else {
        boot.warn("there is no folder for the state of programs: the next start will ask members about the chain");
        return Ok((None, Memory::Unknown("this machine has no folder to remember its chain in".to_owned())));
    };
    let (sign_state, remembered) = match SignState::open(&path, chain, FileId::of(&home.store())) {
        Ok(opened) => opened,
        Err(error @ SignStateError::Busy) => {
            return Err(CliError::new("locked", error.to_string()).hint("weft down, on that home"));
        }
        Err(error @ SignStateError::Io { .. }) => {
            boot.warn(&format!("{error}; the next start will ask members about the chain"));
            return Ok((None, Memory::Unknown("this machine cannot remember its chain".to_owned())));
        }
    };
    let commits = recovered.chains.iter().find(|it| it.state.chain() == chain).map_or(0, |it| it.state.commits());
    let commit = |number| store.commit_header(chain, number).ok().flatten();
    let (said, elsewhere) = remembered.as_ref().map(|known| sign_state::whereabouts(known, before)).unzip();
    let memory = Memory::compare(said, chain, commits, elsewhere.flatten(), commit);
    match &memory {
        Memory::Fresh | Memory::Agrees => {}
        Memory::Unknown(why) | Memory::Lost(why) => {
            boot.warn(&format!("{why}; members are asked before anything is written"));
        }
    }
    Ok((Some(Arc::new(Mutex::new(sign_state))), memory))
}

/// What is configured; else the ports of the first start; else all interfaces at free ports.
fn listen_addresses(home: &Home, config: &Config) -> Vec<String> {
    if !config.listen.is_empty() {
        return config.listen.clone();
    }
    let kept = std::fs::read(home.listen()).ok().and_then(|bytes| serde_json::from_slice::<Vec<String>>(&bytes).ok());
    kept.filter(|addresses| !addresses.is_empty())
        .unwrap_or_else(|| ["/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"].map(str::to_owned).to_vec())
}

/// Keeps the ports that were chosen, so that what other members know of this node stays true.
fn keep_ports(home: &Home, config: &Config, bound: &[String]) -> Result<(), CliError> {
    if !config.listen.is_empty() {
        return Ok(());
    }
    let path = home.listen();
    let text = serde_json::to_string(bound).unwrap_or_default();
    std::fs::write(&path, text).map_err(|error| CliError::new("failed", format!("{}: {error}", path.display())))
}

async fn record_repair(asker: &Asker, repaired: Vec<Repaired>) -> Result<(), CliError> {
    let question = Question::RecordRepair { repaired };
    asker.ask(Principal::Operator, question).await.map(|_recorded| ()).map_err(|refusal| CliError::from(&refusal))
}

/// The first SIGINT or SIGTERM asks for an orderly end, the second ends at once; SIGHUP reads the configuration again.
fn watch_signals(asker: Asker, live: Live) -> Result<(), CliError> {
    let failed = |error| CliError::new("failed", format!("signals cannot be watched: {error}"));
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(failed)?;
    tokio::spawn(async move {
        let mut asked: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
                _ = hung_up.recv() => {
                    tokio::spawn(read_again(live.clone(), asker.clone()));
                    continue;
                }
            }
            match asked {
                Some(since) if since.elapsed() < SIGNALS_TOGETHER => continue,
                Some(_) => {
                    tracing::warn!("ending at once");
                    std::process::exit(1);
                }
                None => asked = Some(Instant::now()),
            }
            tracing::info!("going down; once more ends at once");
            let asker = asker.clone();
            tokio::spawn(async move { shut_down(&asker).await });
        }
    });
    Ok(())
}

async fn read_again(live: Live, asker: Asker) {
    match reload(&live, &asker).await {
        Ok(report) if report.changed.is_empty() && report.waiting.is_empty() => {
            tracing::info!("the configuration says what is in force already");
        }
        Ok(_said_key_by_key) => {}
        Err(error) => tracing::error!(%error, "the configuration was not reloaded"),
    }
}
