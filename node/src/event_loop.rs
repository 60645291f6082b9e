//! The loop that gives the peer everything that happens, one input at a time, and carries out what it asks, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use weft_kernel::ProbeTarget;
use weft_peer::{AskId, Input, Output, Peer, Question, Reply};
use weft_protocol::{Admission, AgentSpec, AuthRefusal, Batch, NodeCheck, Principal, ProcessId, Refusal, Timestamp};
use weft_storage::Store;

use crate::ask::{Asker, Local, Notified};
use crate::clock::Clock;
use crate::home::HomeDir;
use crate::network::{Network, NetworkEvent};
use crate::runners::Runners;

/// How long the loop sleeps at most, so that a wall clock that jumps forward is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Most events from inside that are handled before the mesh and the clock are looked at again: less than a millisecond of
/// plain messages (guess).
const GATHERED_MAX: usize = 256;

/// Most inputs in a row that are handled while what they cause goes on causing more, before anything outside is looked at:
/// half a millisecond of plain messages (guess).
const TAKEN_MAX: usize = 1_024;

/// How long the disk is idle before the store is settled, which costs a sync that nobody waits for (guess).
const IDLE: Duration = Duration::from_millis(20);

/// Everything that can wake the loop.
enum Event {
    Local(Local),
    Network(NetworkEvent),
    Disk(Result<(), weft_storage::StoreError>),
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
    inputs: VecDeque<Input>,
    answers: BTreeMap<AskId, oneshot::Sender<Result<Reply, Refusal>>>,
    notifies: BTreeMap<AskId, mpsc::Sender<Notified>>,
    joins: BTreeMap<AskId, oneshot::Sender<Result<Box<Admission>, AuthRefusal>>>,
    home: HomeDir,
    /// Counts how often something was handled, for whoever waits for a change. It ends with the loop.
    passes: watch::Sender<u64>,
    /// Whether something was handled since it was counted.
    handled: bool,
    halted: bool,
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
    ) -> Self {
        let disk = Disk::start(Arc::clone(&store));
        Self {
            peer,
            clock,
            store,
            network,
            runners,
            asker,
            locals,
            disk,
            inputs: VecDeque::new(),
            answers: BTreeMap::new(),
            notifies: BTreeMap::new(),
            joins: BTreeMap::new(),
            home,
            passes,
            handled: false,
            halted: false,
        }
    }

    /// Runs until the peer halts, then lets go of agents and sockets.
    pub(crate) async fn run(mut self) {
        let mut outputs = Vec::new();
        while let Some(event) = self.network.take_begun() {
            self.take_in(Event::Network(event));
        }
        // The first advert must say where this node is: gossip of the next one may find nobody ready.
        self.inputs.push_back(Input::Woken);
        let (mut taken, mut gathered) = (0, 0);
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
            self.peer.handle(input, now, &mut outputs);
            self.handled = true;
            for output in outputs.drain(..) {
                self.carry_out(output, now);
            }
        }
        self.runners.shutdown().await;
        self.network.shutdown().await;
        self.disk.shutdown().await;
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
        self.peer.next_wakeup().into_iter().chain(self.runners.next_wakeup()).min()
    }

    /// What is here already, without a wake-up.
    fn gather(&mut self) -> Option<Event> {
        let disk = self.disk.results.try_recv().ok().map(Event::Disk);
        disk.or_else(|| self.locals.try_recv().ok().map(Event::Local))
    }

    async fn next_event(&mut self) -> Event {
        self.tell_readers();
        self.clock.now();
        let sleep = self.next_wakeup().map_or(SLEEP_MAX, |wakeup| self.clock.until(wakeup).min(SLEEP_MAX));
        tokio::select! {
            biased;
            Some(result) = self.disk.results.recv() => Event::Disk(result),
            // Before what comes from inside: that was gathered a moment ago.
            event = self.network.next() => Event::Network(event),
            Some(local) = self.locals.recv() => Event::Local(local),
            () = tokio::time::sleep(sleep) => Event::Woken,
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Local(local) => self.take_in_local(local),
            Event::Network(NetworkEvent::Peer(input)) => self.inputs.push_back(input),
            Event::Network(NetworkEvent::JoinAttempt { keys, invite, join, answer }) => {
                let ask = self.asker.next_ask();
                self.joins.insert(ask, answer);
                self.inputs.push_back(Input::JoinAsked { ask, keys, invite, join });
            }
            Event::Disk(Ok(())) => self.inputs.push_back(Input::Persisted),
            Event::Disk(Err(error)) => {
                tracing::error!(%error, "the store cannot be written; nothing is promised any more");
                if let Err(error) = self.home.poison(&error.to_string()) {
                    tracing::error!(%error, "the next start will not know that this one could not write");
                }
                self.inputs.push_back(Input::PersistFailed);
            }
            Event::Woken => {
                self.inputs.push_back(Input::Woken);
                let now = self.clock.now();
                self.runners.woken(now, &mut self.inputs);
            }
        }
    }

    fn take_in_local(&mut self, local: Local) {
        match local {
            Local::Asked { ask, by, question, answer, notify } => {
                self.answers.insert(ask, answer);
                self.notifies.extend(notify.map(|notify| (ask, notify)));
                self.inputs.push_back(Input::Asked { ask, by, question: *question });
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
    }

    /// Starts an agent under the bounds that the kernel holds it to.
    fn start(&mut self, process: ProcessId, spec: AgentSpec) {
        let limits = self.peer.kernel().process(process).map_or_else(|| spec.limits.clone(), |known| known.limits);
        self.inputs.extend(self.runners.start(process, spec, limits));
    }

    fn carry_out(&mut self, output: Output, now: Timestamp) {
        match output {
            Output::Persist(batch) => self.disk.write(*batch),
            Output::Answer { ask, answer } => self.answer(ask, answer, now),
            Output::AnswerJoin { ask, answer } => {
                if let Some(join) = self.joins.remove(&ask) {
                    let _joiner_is_gone = join.send(answer);
                }
            }
            Output::Notify { ask, cursor, publication } => {
                self.notify(ask, Notified { cursor, publication: *publication })
            }
            Output::Dial { node, addresses } => self.network.dial(node, addresses),
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
                self.runners.deliver_publication(process, *publication);
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
                let state = store.chain_state(chain).unwrap_or_else(unreadable).map(Box::new);
                Input::ChainRead { chain, state }
            }),
            Output::ReadTrace { request, trace } => {
                let own = self.peer.kernel().chain_state().chain();
                self.read(move |store| {
                    let rows = store.trace(own, trace, 256).unwrap_or_else(unreadable);
                    Input::TraceRead { request, rows }
                });
            }
            Output::Verify(job) => {
                let asker = self.asker.clone();
                tokio::task::spawn_blocking(move || {
                    asker.happened_blocking(Input::Verified(Box::new(job.run())));
                });
            }
            Output::PublishView(view) => self.network.publish_view(view),
            Output::Halt => self.halted = true,
        }
    }

    /// Asks without waiting: what never answers costs the peer a deadline and nobody else anything.
    fn probe(&mut self, number: u64, target: ProbeTarget) {
        match target {
            ProbeTarget::Process { process, kind, check } => {
                self.inputs.extend(self.runners.probe(number, process, kind, check));
            }
            ProbeTarget::Node(NodeCheck::Disk) => {
                let (home, asker) = (self.runners.home().to_owned(), self.asker.clone());
                tokio::task::spawn_blocking(move || {
                    let answer = crate::runners::look_at_disk(&home);
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
        if let Some(asker) = self.answers.remove(&ask) {
            let _asker_is_gone = asker.send(answer);
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

/// What cannot be read cannot be served: the member asks somebody else, and the scrub finds the damage.
fn unreadable<T: Default>(error: weft_storage::StoreError) -> T {
    tracing::error!(%error, "a stored record cannot be read");
    T::default()
}

/// Asks for an orderly end, as whoever holds the node's terminal.
pub(crate) async fn shut_down(asker: &Asker) -> Result<Reply, Refusal> {
    let shutdown = Box::new(weft_kernel::Syscall::Shutdown);
    asker.ask(Principal::Operator, Question::Kernel(shutdown)).await
}

/// The next batch; a disk that has been idle for a moment is settled meanwhile. None when the loop has ended.
fn next_batch(incoming: &std::sync::mpsc::Receiver<Batch>, store: &Store) -> Option<Batch> {
    match incoming.recv_timeout(IDLE) {
        Ok(batch) => Some(batch),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
            if let Err(error) = store.settle() {
                tracing::error!(%error, "the store could not be settled");
            }
            incoming.recv().ok()
        }
    }
}

/// The thread that writes: one transaction at a time, off the loop.
struct Disk {
    batches: std::sync::mpsc::SyncSender<Batch>,
    results: mpsc::Receiver<Result<(), weft_storage::StoreError>>,
    thread: std::thread::JoinHandle<()>,
}

impl Disk {
    fn start(store: Arc<Store>) -> Self {
        let (batches, incoming) = std::sync::mpsc::sync_channel::<Batch>(1);
        let (done, results) = mpsc::channel(1);
        #[expect(clippy::disallowed_methods, reason = "writing blocks, and the loop must not")]
        let thread = std::thread::spawn(move || {
            while let Some(batch) = next_batch(&incoming, &store) {
                if done.blocking_send(store.commit(&batch)).is_err() {
                    return;
                }
            }
        });
        Self { batches, results, thread }
    }

    /// Lets go of the store, once what was given is written.
    async fn shutdown(self) {
        let Self { batches, results, thread } = self;
        drop((batches, results));
        let _it_has_no_result = tokio::task::spawn_blocking(move || thread.join()).await;
    }

    /// The peer has at most one batch out, so there is always room.
    fn write(&self, batch: Batch) {
        if let Err(error) = self.batches.try_send(batch) {
            tracing::error!(%error, "BUG: a batch was given while another was out");
        }
    }
}
