//! The loop that gives the peer everything that happens, one input at a time, and carries out what it asks, in order.
//!
//! `scrubbing` reads the store in the background, and does what is to be done about damage.

mod scrubbing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use weft_discovery::AdmissionView;
use weft_kernel::{ProbeAnswer, ProbeTarget};
use weft_peer::{AskId, Input, Output, Peer, Question, Reply, StartOver};
use weft_protocol::{Admission, AgentSpec, AuthRefusal, Batch, NodeCheck, Principal, ProcessId, Refusal, Timestamp};
use weft_storage::Store;

use crate::ask::{Asker, Local, Notified, Part};
use crate::cli::CliError;
use crate::clock::Clock;
use crate::home::HomeDir;
use crate::network::{Network, NetworkEvent};
use crate::runners::Runners;
use crate::sign_state::SignState;

use self::scrubbing::Scrubbed;
pub(crate) use self::scrubbing::Scrubbing;
use crate::succession::Successor;

/// How long the loop sleeps at most, so that a wall clock that jumps forward is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Most events from inside that are handled before the mesh and the clock are looked at again: less than a millisecond of
/// plain messages (guess).
const GATHERED_MAX: usize = 256;

/// Most inputs that are here together after which what waits for members leaves, and is written. Measured with 64 calls in flight: an
/// eighth more of them a second than with one; with 64 all leave in one frame, and the two ends take turns.
const TOGETHER_MAX: usize = 16;

/// Most inputs in a row that are handled while what they cause goes on causing more, before anything outside is looked at:
/// half a millisecond of plain messages (guess).
const TAKEN_MAX: usize = 1_024;

/// How long the disk is idle before the store is settled, which costs a sync that nobody waits for (guess).
const IDLE: Duration = Duration::from_millis(20);

/// Most questions that are kept for the next peer while a start is not decided; more are answered `busy` if there is one.
const EARLY_MAX: usize = 1_024;
/// When these may be asked again, in microseconds: the next peer is there by then.
const BUSY_RETRY_US: u64 = 50_000;

/// Everything that can wake the loop.
enum Event {
    Local(Local),
    Network(NetworkEvent),
    Disk(Result<(), weft_storage::StoreError>),
    Scrubbed(Scrubbed),
    Woken,
}

/// The node at work. It ends when the peer halts.
pub(crate) struct EventLoop {
    peer: Peer,
    clock: Clock,
    store: Arc<Store>,
    network: Network,
    runners: Runners,
    asker: Asker,
    locals: mpsc::Receiver<Local>,
    disk: Disk,
    scrubbing: Scrubbing,
    inputs: VecDeque<Input>,
    answers: BTreeMap<AskId, oneshot::Sender<Result<Reply, Refusal>>>,
    notifies: BTreeMap<AskId, mpsc::Sender<Notified>>,
    parts: BTreeMap<AskId, mpsc::Sender<Part>>,
    joins: BTreeMap<AskId, oneshot::Sender<Result<Box<Admission>, AuthRefusal>>>,
    home: HomeDir,
    /// Counts how often something was handled, for whoever waits for a change. It ends with the loop.
    passes: watch::Sender<u64>,
    /// Whether something was handled since it was counted.
    handled: bool,
    halted: bool,
    /// Who builds the next peer.
    successor: Successor,
    /// What was last told of the addresses: the next peer is told too.
    listening: Option<Input>,
    /// What was asked while the start was not decided: the next peer is asked it.
    early: Vec<Input>,
    /// Why this peer is to be ended.
    over: Option<StartOver>,
}

impl EventLoop {
    /// A loop around these parts.
    pub(crate) fn new(
        peer: Peer,
        clock: Clock,
        store: Arc<Store>,
        network: Network,
        runners: Runners,
        asker: Asker,
        locals: mpsc::Receiver<Local>,
        home: HomeDir,
        passes: watch::Sender<u64>,
        disk: Disk,
        scrubbing: Scrubbing,
        successor: Successor,
    ) -> Self {
        Self {
            peer,
            clock,
            store,
            network,
            runners,
            asker,
            locals,
            disk,
            scrubbing,
            inputs: VecDeque::new(),
            answers: BTreeMap::new(),
            notifies: BTreeMap::new(),
            parts: BTreeMap::new(),
            joins: BTreeMap::new(),
            home,
            passes,
            handled: false,
            halted: false,
            successor,
            listening: None,
            early: Vec::new(),
            over: None,
        }
    }

    /// Runs until the peer halts, then lets go of agents and sockets.
    ///
    /// # Errors
    /// When a peer that had to be ended before it began could not be followed by another.
    pub(crate) async fn run(mut self) -> Result<(), CliError> {
        let mut ended = Ok(());
        let mut outputs = Vec::new();
        while let Some(event) = self.network.take_begun() {
            self.take_in(Event::Network(event));
        }
        // The first advert must say where this node is: gossip of the next one may find nobody ready.
        self.inputs.push_back(Input::Woken);
        let (mut taken, mut gathered, mut together) = (0, 0, 0);
        while !self.halted {
            if self.inputs.is_empty() {
                self.wait(&mut gathered).await;
            } else if taken >= TAKEN_MAX {
                self.look_around().await;
                taken = 0;
            }
            let Some(input) = self.inputs.pop_front() else { continue };
            taken += 1;
            let now = self.clock.now();
            self.peer.take_in(input, now, &mut outputs);
            self.handled = true;
            self.carry_out_all(&mut outputs, now);
            together += 1;
            if together < TOGETHER_MAX && self.is_more_here(&mut gathered) {
                continue;
            }
            together = 0;
            self.peer.depart(now, &mut outputs);
            self.carry_out_all(&mut outputs, now);
            self.peer.write(now, &mut outputs);
            self.carry_out_all(&mut outputs, now);
            if let Some(over) = self.over.take()
                && let Err(error) = self.start_over(over).await
            {
                ended = Err(error);
                break;
            }
        }
        self.runners.shutdown().await;
        self.network.shutdown().await;
        self.scrubbing.rest().await;
        self.disk.shutdown().await;
        ended
    }

    /// Whether the next input is here already, without a wake-up: then what leaves for members leaves together with what that brings.
    fn is_more_here(&mut self, gathered: &mut usize) -> bool {
        if self.halted || self.over.is_some() {
            return false;
        }
        if self.inputs.is_empty()
            && *gathered < GATHERED_MAX
            && let Some(event) = self.gather()
        {
            *gathered += 1;
            self.take_in(event);
        }
        !self.inputs.is_empty()
    }

    /// Ends this peer, of which nobody has heard anything yet, and goes on with the next.
    async fn start_over(&mut self, over: StartOver) -> Result<(), CliError> {
        self.network.close_all().await;
        self.disk.rest().await;
        self.inputs.clear();
        self.joins.clear();
        let peer = self.successor.next(&self.store, over, self.clock.now())?;
        self.peer = peer.after(&self.peer);
        self.network.publish_view(self.peer.discovery().view());
        self.inputs.extend(self.listening.clone());
        self.inputs.push_back(Input::Woken);
        let early = std::mem::take(&mut self.early);
        let asked: BTreeSet<AskId> = early.iter().filter_map(ask_of).collect();
        let now = self.clock.now();
        let beyond: Vec<AskId> = self.answers.keys().copied().filter(|ask| !asked.contains(ask)).collect();
        for ask in beyond {
            self.answer(ask, Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US }), now);
        }
        let waits = |input: &Input| ask_of(input).is_some_and(|ask| self.answers.contains_key(&ask));
        let (again, _given_up): (Vec<_>, Vec<_>) = early.into_iter().partition(waits);
        self.inputs.extend(again);
        Ok(())
    }

    /// Takes in one thing that is here already, without a wake-up, or waits for the next; the mesh and the clock are looked at
    /// every so often.
    async fn wait(&mut self, gathered: &mut usize) {
        let here = if *gathered < GATHERED_MAX { self.gather() } else { None };
        match here {
            Some(event) => {
                *gathered += 1;
                self.take_in(event);
            }
            None => {
                *gathered = 0;
                let event = self.next_event().await;
                self.take_in(event);
            }
        }
    }

    /// Lets those who wait for a change look. What only reads is not counted: a reader would wake itself.
    fn tell_readers(&mut self) {
        // One receiver is the door's own, which waits for nothing.
        if std::mem::take(&mut self.handled) && self.passes.receiver_count() > 1 {
            self.passes.send_modify(|passes| *passes = passes.wrapping_add(1));
        }
    }

    /// Takes in what is here from outside while the agents of the loop itself keep it busy, and lets others run.
    async fn look_around(&mut self) {
        self.tell_readers();
        let event = tokio::select! {
            biased;
            event = self.network.next() => Some(Event::Network(event)),
            () = tokio::task::yield_now() => None,
        };
        self.clock.now();
        let due = self.next_wakeup().is_some_and(|wakeup| self.clock.until(wakeup).is_zero());
        event.into_iter().chain(due.then_some(Event::Woken)).for_each(|event| self.take_in(event));
        for _ in 0..GATHERED_MAX {
            let Some(event) = self.gather() else { break };
            self.take_in(event);
        }
    }

    fn next_wakeup(&self) -> Option<Timestamp> {
        let scrub = self.scrubbing.scrubber.next_wakeup();
        self.peer.next_wakeup().into_iter().chain(self.runners.next_wakeup()).chain(scrub).min()
    }

    /// What is here already, without a wake-up.
    fn gather(&mut self) -> Option<Event> {
        let disk = self.disk.results.try_recv().ok().map(Event::Disk);
        disk.or_else(|| self.locals.try_recv().ok().map(Event::Local))
    }

    async fn next_event(&mut self) -> Event {
        self.tell_readers();
        let now = self.clock.now();
        self.scrub_on(now);
        let sleep = self.next_wakeup().map_or(SLEEP_MAX, |wakeup| self.clock.until(wakeup).min(SLEEP_MAX));
        tokio::select! {
            biased;
            Some(result) = self.disk.results.recv() => Event::Disk(result),
            // Before what comes from inside: that was gathered a moment ago.
            event = self.network.next() => Event::Network(event),
            Some(local) = self.locals.recv() => Event::Local(local),
            Some(scrubbed) = self.scrubbing.results.recv() => Event::Scrubbed(scrubbed),
            () = tokio::time::sleep(sleep) => Event::Woken,
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Local(local) => self.take_in_local(local),
            Event::Network(NetworkEvent::Peer(input)) => {
                if matches!(input, Input::ListenChanged { .. }) {
                    self.listening = Some(input.clone());
                }
                self.inputs.push_back(input);
            }
            Event::Network(NetworkEvent::JoinAttempt { keys, invite, join, answer }) => {
                let ask = self.asker.next_ask();
                self.joins.insert(ask, answer);
                self.inputs.push_back(Input::JoinAsked { ask, keys, invite, join });
            }
            Event::Disk(Ok(())) => {
                self.disk.busy = false;
                self.inputs.push_back(Input::Persisted);
                if self.scrubbing.distrusted {
                    self.inputs.push_back(Input::PersistFailed);
                }
            }
            // Not tried: why is known.
            Event::Disk(Err(weft_storage::StoreError::Poisoned { .. })) if self.scrubbing.distrusted => {
                self.disk.busy = false;
                self.inputs.push_back(Input::PersistFailed);
            }
            Event::Disk(Err(error)) => {
                self.disk.busy = false;
                tracing::error!(%error, "the store cannot be written; nothing is promised any more");
                if let Err(error) = self.home.poison(&error.to_string()) {
                    tracing::error!(%error, "the next start will not know that this one could not write");
                }
                self.inputs.push_back(Input::PersistFailed);
            }
            Event::Scrubbed(scrubbed) => self.scrubbed(scrubbed),
            Event::Woken => {
                self.inputs.push_back(Input::Woken);
                let now = self.clock.now();
                self.runners.woken(now, &mut self.inputs);
            }
        }
    }

    fn take_in_local(&mut self, local: Local) {
        match local {
            Local::Asked { ask, by, question, answer, notify, parts } => {
                self.answers.insert(ask, answer);
                self.parts.extend(parts.map(|parts| (ask, parts)));
                self.notifies.extend(notify.map(|notify| (ask, notify)));
                let input = Input::Asked { ask, by, question: *question };
                if self.peer.is_asking() && self.early.len() < EARLY_MAX {
                    self.early.push(input.clone());
                }
                self.inputs.push_back(input);
            }
            Local::Read(read) => read(&self.peer),
            Local::Happened(input) => {
                if let Input::Withdrawn { ask } = *input {
                    self.forget(ask);
                }
                self.inputs.push_back(*input);
            }
        }
    }

    fn forget(&mut self, ask: AskId) {
        self.answers.remove(&ask);
        self.notifies.remove(&ask);
        self.parts.remove(&ask);
    }

    /// Starts an agent under the bounds that the kernel holds it to.
    fn start(&mut self, process: ProcessId, spec: AgentSpec) {
        let limits = self.peer.kernel().process(process).map_or_else(|| spec.limits.clone(), |known| known.limits);
        self.inputs.extend(self.runners.start(process, spec, limits));
    }

    fn carry_out_all(&mut self, outputs: &mut Vec<Output>, now: Timestamp) {
        for output in outputs.drain(..) {
            self.carry_out(output, now);
        }
    }

    fn carry_out(&mut self, output: Output, now: Timestamp) {
        match output {
            Output::Persist(batch) => self.disk.write(*batch, self.peer.is_asking()),
            Output::Answer { ask, answer } => self.answer(ask, answer, now),
            Output::AnswerJoin { ask, answer } => {
                if let Some(join) = self.joins.remove(&ask) {
                    let _joiner_is_gone = join.send(answer);
                }
            }
            Output::Notify { ask, cursor, publication } => {
                self.notify(ask, Notified { cursor, publication: *publication })
            }
            Output::AnswerPart { ask, number, payload } => self.answer_part(ask, Part { number, payload }),
            Output::Dial { node, addresses } => self.network.dial(node, addresses),
            Output::KeepLinks { to } => self.network.keep_links(to),
            Output::UseRelays { nodes } => self.network.use_relays(nodes),
            Output::SendSwim { to, packet } => self.network.send_swim(to, packet),
            Output::LookUp { node } => self.network.look_up(node),
            Output::SeekProviders { service } => self.network.seek_providers(service),
            Output::Provide { services } => self.network.provide(services),
            Output::Disconnect { node } => self.network.disconnect(node),
            Output::Request { request, to, content } => self.network.request(request, to, content),
            Output::Respond { request, content } => self.network.respond(request, content),
            Output::Gossip { topic, content } => self.network.gossip(&topic, &content),
            Output::Follow { topics, wildcards } => self.network.follow(topics, wildcards),
            Output::Start { process, spec } => self.start(process, *spec),
            Output::Deliver { process, delivery } => {
                self.runners.deliver(process, *delivery, now, &mut self.inputs);
            }
            Output::DeliverPublication { process, publication } => {
                self.runners.deliver_publication(process, *publication, now);
            }
            Output::CancelDelivery { process, message } => self.runners.cancel(process, message),
            Output::Warn { process, resource, measured, limit } => {
                self.runners.warn(process, resource, measured, limit);
            }
            Output::Probe { number, target } => self.probe(number, target),
            Output::Suspend { process } => self.inputs.extend(self.runners.suspend(process)),
            Output::Resume { process } => self.inputs.extend(self.runners.resume(process)),
            Output::Signal { process, signal, from } => self.runners.signal(process, signal, from),
            Output::Stop { process, grace_us } => self.inputs.extend(self.runners.stop(process, grace_us)),
            Output::ReadRange { request, chain, from_commit, bytes_max } => self.read(move |store| {
                let groups = store.range(chain, from_commit, bytes_max).unwrap_or_else(unreadable);
                Input::RangeRead { request, chain, groups }
            }),
            Output::ReadCommit { chain, commit_no, other } => self.read(move |store| {
                let held = store.commit_header(chain, commit_no).unwrap_or_else(unreadable).map(Box::new);
                Input::CommitRead { chain, held, other }
            }),
            Output::ReadHashes { chain, commit_nos } => self.read(move |store| {
                let hashes = store.commit_hashes(chain, &commit_nos).unwrap_or_else(unreadable);
                Input::HashesRead { chain, hashes }
            }),
            Output::ReadChain { chain } => self.read(move |store| {
                let (state, facts) = store.chain_left(chain).unwrap_or_else(unreadable).unzip();
                Input::ChainRead { chain, state: state.map(Box::new), facts: facts.unwrap_or_default() }
            }),
            Output::Mend { chain, from, groups } => self.mend(chain, from, groups),
            Output::ReadTrace { request, trace } => {
                let own = self.peer.kernel().chain_state().chain();
                self.read(move |store| {
                    let rows = store.trace(own, trace, 256).unwrap_or_else(unreadable);
                    let pruned = store.pruned_steps(own, trace, 256).unwrap_or_else(unreadable);
                    Input::TraceRead { request, rows, pruned }
                });
            }
            Output::Verify(job) => {
                let asker = self.asker.clone();
                tokio::task::spawn_blocking(move || {
                    asker.happened_blocking(Input::Verified(Box::new(job.run())));
                });
            }
            Output::PublishView(view) => self.publish_view(view),
            Output::Halt => self.halted = true,
            Output::StartOver(over) => self.over = Some(over),
        }
    }

    /// The home shows the certificate that this node shows. The chains hold it too, so a home that cannot be written is no reason
    /// to stop.
    fn publish_view(&mut self, view: Arc<AdmissionView>) {
        if let Err(error) = self.home.keep_certificate(&view.certificate) {
            tracing::warn!(%error, "the renewed certificate was not written to the home; the chains hold it");
        }
        self.network.publish_view(view);
    }

    /// Asks without waiting: what never answers costs the peer a deadline and nobody else anything.
    fn probe(&mut self, number: u64, target: ProbeTarget) {
        match target {
            ProbeTarget::Process { process, kind, check } => {
                self.inputs.extend(self.runners.probe(number, process, kind, check));
            }
            ProbeTarget::Node(NodeCheck::Disk) => {
                let (home, asker) = (self.runners.home().to_owned(), self.asker.clone());
                let found = self.scrubbing.board.open_find();
                tokio::task::spawn_blocking(move || {
                    let answer = match (crate::runners::look_at_disk(&home), found) {
                        (ProbeAnswer::Healthy, Some(reason)) => ProbeAnswer::Degraded { reason },
                        (answer, _) => answer,
                    };
                    asker.happened_blocking(Input::ProbeAnswered { number, answer });
                });
            }
            ProbeTarget::Node(check @ (NodeCheck::Chain | NodeCheck::Network)) => {
                tracing::error!(%check, "BUG: the peer asks the world for what it knows itself");
            }
        }
    }

    fn answer(&mut self, ask: AskId, answer: Result<Reply, Refusal>, now: Timestamp) {
        let Some(answer) = self.runners.answered(ask, answer, now, &mut self.inputs) else { return };
        if answer.is_err() {
            self.notifies.remove(&ask);
        }
        self.parts.remove(&ask);
        if let Some(asker) = self.answers.remove(&ask) {
            let _asker_is_gone = asker.send(answer);
        }
    }

    /// Hands a part on. No more come than there is room for, so one that finds none has a reader that is gone.
    fn answer_part(&mut self, ask: AskId, part: Part) {
        let Some(parts) = self.parts.get(&ask) else { return };
        if parts.try_send(part).is_err() {
            self.forget(ask);
            self.inputs.push_back(Input::Withdrawn { ask });
        }
    }

    /// Hands a publication on; a reader that is gone or too slow loses its subscription.
    fn notify(&mut self, ask: AskId, publication: Notified) {
        let Some(notify) = self.notifies.get(&ask) else { return };
        if notify.try_send(publication).is_err() {
            self.forget(ask);
            self.inputs.push_back(Input::Withdrawn { ask });
        }
    }

    fn read(&self, read: impl FnOnce(&Store) -> Input + Send + 'static) {
        let (store, asker) = (Arc::clone(&self.store), self.asker.clone());
        tokio::task::spawn_blocking(move || asker.happened_blocking(read(&store)));
    }
}

/// What cannot be read cannot be served: the member asks somebody else, and the store has noted it for the scrub.
fn unreadable<T: Default>(error: weft_storage::StoreError) -> T {
    tracing::error!(%error, "a stored record cannot be read");
    T::default()
}

/// Asks for an orderly end, as whoever holds the node's terminal.
pub(crate) async fn shut_down(asker: &Asker) -> Result<Reply, Refusal> {
    let shutdown = Box::new(weft_kernel::Syscall::Shutdown);
    asker.ask(Principal::Operator, Question::Kernel(shutdown)).await
}

/// Which question this is.
const fn ask_of(input: &Input) -> Option<AskId> {
    match input {
        Input::Asked { ask, .. } => Some(*ask),
        _ => None,
    }
}

/// A batch, and whether its part of the own chain leaves it open how far that went.
struct Work {
    batch: Batch,
    doubtful: bool,
}

/// What the writing thread has besides the store.
struct Writing {
    store: Arc<Store>,
    sign_state: Option<Arc<Mutex<SignState>>>,
}

impl Writing {
    /// The next batch; a disk that has been idle for a moment is settled meanwhile. None when the loop has ended.
    fn next(&self, incoming: &std::sync::mpsc::Receiver<Work>) -> Option<Work> {
        let mut settled = false;
        loop {
            let due = self.remembered(|state| state.due_in()).flatten();
            let wait = if settled { due } else { Some(IDLE) };
            let Some(wait) = wait else { return incoming.recv().ok() };
            match incoming.recv_timeout(wait) {
                Ok(work) => return Some(work),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) if settled => self.settle_sign_state(),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    settled = true;
                    if let Err(error) = self.store.settle() {
                        tracing::error!(%error, "the store could not be settled");
                    }
                }
            }
        }
    }

    fn remembered<T>(&self, act: impl FnOnce(&mut SignState) -> T) -> Option<T> {
        let state = self.sign_state.as_ref()?;
        Some(act(&mut state.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn settle_sign_state(&self) {
        if let Some(Err(error)) = self.remembered(SignState::settle) {
            tracing::warn!(%error, "how far the chain has come is not synced");
        }
    }

    /// Writes a batch, and then how far the chain has come: before anybody hears of it.
    fn write(&self, Work { batch, doubtful }: Work) -> Result<(), weft_storage::StoreError> {
        self.store.commit(&batch)?;
        if let Some(Err(error)) = self.remembered(|state| state.written(&batch, doubtful)) {
            tracing::warn!(%error, "how far the chain has come is not remembered; the next start will ask members");
        }
        Ok(())
    }

    /// Under steady load the disk is never idle: then this costs one sync in a second.
    fn settle_overdue(&self) {
        if self.remembered(|state| state.due_in()).flatten() == Some(Duration::ZERO) {
            self.settle_sign_state();
        }
    }
}

/// The thread that writes: one transaction at a time, off the loop.
pub(crate) struct Disk {
    batches: std::sync::mpsc::SyncSender<Work>,
    results: mpsc::Receiver<Result<(), weft_storage::StoreError>>,
    thread: std::thread::JoinHandle<()>,
    /// Whether a batch is out.
    busy: bool,
}

impl Disk {
    /// Begins to write to this store, and to remember how far the chain has come.
    pub(crate) fn start(store: Arc<Store>, sign_state: Option<Arc<Mutex<SignState>>>) -> Self {
        let (batches, incoming) = std::sync::mpsc::sync_channel::<Work>(1);
        let (done, results) = mpsc::channel(1);
        let writing = Writing { store, sign_state };
        #[expect(clippy::disallowed_methods, reason = "writing blocks, and the loop must not")]
        let thread = std::thread::spawn(move || {
            while let Some(work) = writing.next(&incoming) {
                if done.blocking_send(writing.write(work)).is_err() {
                    break;
                }
                writing.settle_overdue();
            }
            writing.settle_sign_state();
        });
        Self { batches, results, thread, busy: false }
    }

    /// Waits for the batch that is out, whose result nobody wants any more.
    async fn rest(&mut self) {
        if std::mem::take(&mut self.busy) {
            let _of_a_peer_that_has_ended = self.results.recv().await;
        }
    }

    /// Lets go of the store, once what was given is written.
    async fn shutdown(self) {
        let Self { batches, results, thread, .. } = self;
        drop((batches, results));
        let _it_has_no_result = tokio::task::spawn_blocking(move || thread.join()).await;
    }

    /// The peer has at most one batch out, so there is always room.
    fn write(&mut self, batch: Batch, doubtful: bool) {
        self.busy = true;
        if let Err(error) = self.batches.try_send(Work { batch, doubtful }) {
            tracing::error!(%error, "BUG: a batch was given while another was out");
        }
    }
}
