//! Carries out what a peer wants, as the node's own loop does: one exhaustive match, so that a forgotten effect does not compile.

use weft_discovery::Answer as DiscoveryAnswer;
use weft_kernel::{Act, Builtin, Delivery, ProbeAnswer, Syscall};
use weft_peer::{Input, Output, Question, Reply};
use weft_protocol::{
    AgentSpec, Backend, Batch, ExitReason, MessageId, Payload, Principal, ProcessId, Recovered, Refusal, Token,
};

use crate::disk::{DiskCounts, End, Unsynced};
use crate::faults::Fault;
use crate::mutation::Mutation;
use crate::node::{Agent, Armed};
use crate::reference::Asked;
use crate::world::{Event, World};

/// How long a disk is idle before its store is settled, as in the node's own loop, in microseconds.
const IDLE_US: u64 = 20_000;
/// Most steps of a conversation that are read at once, as in the node's own loop.
const TRACE_ROWS_MAX: usize = 256;

impl World {
    /// Does one thing that a node's peer wants.
    pub(crate) fn carry_out(&mut self, node: usize, output: Output) {
        match output {
            Output::Persist(batch) => self.persist(node, batch),
            Output::Answer { ask: _, answer } => {
                self.note_token(node, &answer);
                self.note_too_old(&answer);
            }
            Output::AnswerJoin { ask, answer } => self.answer_join(ask, answer),
            Output::AnswerPart { ask, number, payload: _ } => {
                self.tell_after(0, node, Input::PartsTaken { ask, count: number + 1 });
            }
            Output::Notify { .. } | Output::DeliverPublication { .. } | Output::Warn { .. } | Output::Signal { .. } => {
            }
            // A link that is not kept is closed by the peer.
            Output::KeepLinks { .. } => {}
            Output::Dial { node: to, addresses } => self.begin_dial(node, to, addresses),
            // Nobody moves in this world, and everybody can be dialled.
            Output::LookUp { node: _ } | Output::UseRelays { nodes: _ } => {}
            Output::SeekProviders { service } => self.seek_providers(node, service),
            Output::Provide { services } => {
                if let Some(running) = self.nodes[node].running.as_mut() {
                    running.provided = services;
                }
            }
            Output::SendSwim { to, packet } => self.send_swim(node, to, &packet),
            Output::Disconnect { node: peer } => self.disconnect(node, peer),
            Output::Request { request, to, content } => self.request(node, request, to, &content),
            Output::Respond { request, mut content } => {
                if let Some(mutation) = self.mutation {
                    mutation.promise_twice(&mut content);
                }
                self.respond(node, request, &content)
            }
            Output::Gossip { topic, content } => self.gossip(node, &topic, &content),
            Output::Follow { topics, wildcards } => self.follow_topics(node, topics, wildcards),
            Output::Start { process, spec } => self.start_agent(node, process, &spec),
            Output::Deliver { process, delivery } => self.deliver(node, process, *delivery),
            Output::CancelDelivery { process, message } => self.cancel(node, process, &message),
            Output::Probe { number, target: _ } => {
                self.tell_after(0, node, Input::ProbeAnswered { number, answer: ProbeAnswer::Healthy });
            }
            Output::Suspend { process } => self.tell_after(0, node, Input::AgentSuspended { process }),
            Output::Resume { process } => self.tell_after(0, node, Input::AgentResumed { process }),
            Output::Stop { process, grace_us } => self.stop_process(node, process, grace_us),
            Output::ReadRange { request, chain, from_commit, bytes_max } => {
                let groups = self.read(node, |store| store.range(chain, from_commit, bytes_max));
                self.have_read(node, Input::RangeRead { request, chain, groups });
            }
            Output::ReadCommit { chain, commit_no, other } => {
                let held = self.read(node, |store| store.commit_header(chain, commit_no)).map(Box::new);
                self.have_read(node, Input::CommitRead { chain, held, other });
            }
            Output::ReadHashes { chain, commit_nos } => {
                let hashes = self.read(node, |store| store.commit_hashes(chain, &commit_nos));
                self.have_read(node, Input::HashesRead { chain, hashes });
            }
            Output::Mend { chain, .. } => {
                self.judge
                    .book
                    .complain(format!("node {node} mends {chain}, of which nobody told it that it is damaged"));
            }
            Output::ReadChain { chain } => {
                let (state, facts) = self.read(node, |store| store.chain_left(chain)).unzip();
                let (state, facts) = (state.map(Box::new), facts.unwrap_or_default());
                self.have_read(node, Input::ChainRead { chain, state, facts });
            }
            Output::ReadTrace { request, trace } => {
                let Some(own) = self.judge.reference.own_chain(node) else { return };
                let rows = self.read(node, |store| store.trace(own, trace, TRACE_ROWS_MAX));
                let pruned = self.read(node, |store| store.pruned_steps(own, trace, TRACE_ROWS_MAX));
                self.have_read(node, Input::TraceRead { request, rows, pruned });
            }
            Output::Verify(job) => self.tell_after(0, node, Input::Verified(Box::new(job.run()))),
            Output::PublishView(view) => {
                if let Some(running) = self.nodes[node].running.as_mut() {
                    running.view = view;
                }
            }
            Output::Halt => self.halt(node),
            Output::StartOver(over) => {
                let run = self.nodes[node].run;
                self.after(0, Event::StartOver { node, run, over });
            }
        }
    }

    /// The founder's first invite is the one that joiners use.
    fn note_token(&mut self, node: usize, answer: &Result<Reply, Refusal>) {
        if let Ok(Reply::Discovery(DiscoveryAnswer::Invited { token, invite })) = answer
            && node == 0
            && self.token.is_none()
            && invite.uses > 1
        {
            self.token = token.parse::<Token>().ok();
        }
    }

    // The disk.

    fn persist(&mut self, node: usize, batch: Box<Batch>) {
        let slow_us = self.nodes[node].slow_disk_us;
        let delay_us = self.disk_dice.between(self.scenario.disk.write_us) + slow_us;
        if slow_us > 0 {
            self.faults.count(Fault::DiskSlow);
        }
        let run = self.nodes[node].run;
        if self.mutation == Some(Mutation::AcknowledgeBeforeWrite) {
            self.tell_after(0, node, Input::Persisted);
            let running = self.nodes[node].running.as_mut();
            if let Some(writing) = running.and_then(|running| running.writing.as_mut()) {
                return writing.append(*batch);
            }
        }
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        if running.writing.replace(batch).is_some() {
            self.judge.book.complain(format!("node {node} wants two transactions at once"));
        }
        self.after(delay_us, Event::Written { node, run });
    }

    /// The disk has done what it could of a write: all, or as much as what strikes the node now left.
    pub(crate) fn written(&mut self, node: usize) {
        let armed = self.nodes[node].armed.take();
        if let Some(armed) = armed {
            let (operations, end) = self.end_of(node, armed);
            self.nodes[node].disk.end_after(operations, end);
        }
        let before = self.nodes[node].disk.counts();
        let (own, keys) = (self.nodes[node].id(), std::sync::Arc::clone(&self.nodes[node].keys));
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        let Some(mut batch) = running.writing.take() else { return };
        if let Some(mutation) = self.mutation {
            mutation.spoil(&mut batch, own);
            mutation.bend(&mut batch, &*keys);
        }
        let outcome = running.store.commit(&batch);
        let after = self.nodes[node].disk.counts();
        match (outcome, armed) {
            (Ok(()), Some(armed)) => {
                // It was a shorter write than the last: the next one is struck.
                self.nodes[node].disk.keep_on();
                self.nodes[node].armed = Some(armed);
                self.have_written(node, &batch, before, after);
            }
            (Err(_), Some(Armed::Power(unsynced))) if !self.nodes[node].disk.is_full() => {
                // A torn write is counted by the disk, which alone knows whether there was one to tear.
                match unsynced {
                    Unsynced::Lost => self.faults.count(Fault::Crash),
                    Unsynced::Kept => self.faults.count(Fault::Kill),
                    Unsynced::Scattered => self.faults.count(Fault::Scattered),
                    Unsynced::Torn => {}
                }
                self.crash(node, unsynced);
            }
            (Ok(()), None) => self.have_written(node, &batch, before, after),
            (Err(error), armed) if armed == Some(Armed::Disk) || self.nodes[node].disk.is_full() => {
                self.trace.add(self.now_us, Some(node), format_args!("disk fails: {error}"));
                self.look_at_disk(node);
                if let Some(running) = self.nodes[node].running.as_mut() {
                    running.damaged = true;
                }
                self.tell(node, Input::PersistFailed);
            }
            (Err(error), _) => {
                let damaged = self.nodes[node].running.as_ref().is_some_and(|running| running.damaged);
                if !damaged {
                    self.judge.book.complain(format!("node {node} cannot write to a good disk: {error}"));
                }
                self.tell(node, Input::PersistFailed);
            }
        }
    }

    /// How much of a write like the last one is done before it is struck, and how that ends. What is to be torn or scattered
    /// must have begun and must not be synced yet.
    fn end_of(&mut self, node: usize, armed: Armed) -> (u64, End) {
        let operations = self.nodes[node].write_operations;
        match armed {
            Armed::Power(Unsynced::Torn | Unsynced::Scattered) => {
                (1 + self.disk_dice.below(operations), End::PowerLostUnsynced)
            }
            Armed::Power(Unsynced::Lost | Unsynced::Kept) => (self.disk_dice.below(operations), End::PowerLost),
            Armed::Disk => (self.disk_dice.below(operations), End::Broken),
        }
    }

    /// A write came back well; it is durable when the disk synced meanwhile.
    fn have_written(&mut self, node: usize, batch: &Batch, before: DiskCounts, after: DiskCounts) {
        self.nodes[node].write_operations = after.operations - before.operations;
        if after.syncs > before.syncs {
            let actor = self.nodes[node].actor();
            self.remember(node, batch);
            if self.forks(node, batch) {
                return;
            }
            self.judge.stored(actor, &batch.groups);
            for (address, _) in &batch.bodies {
                self.judge.reference.hold_body(node, *address);
            }
            self.judge.topics.logged(&batch.topic_put);
        }
        if self.mutation != Some(Mutation::AcknowledgeBeforeWrite) {
            self.tell(node, Input::Persisted);
        }
        let run = self.nodes[node].run;
        self.after(IDLE_US, Event::Settle { node, run, operations: after.operations });
    }

    /// Settles a store whose disk nobody wrote to for a moment, as the node's own loop does.
    pub(crate) fn settle(&mut self, node: usize, operations: u64) {
        let idle = self.nodes[node].disk.counts().operations == operations;
        let Some(running) = self.nodes[node].running.as_ref() else { return };
        if idle
            && !running.damaged
            && !self.nodes[node].disk.is_full()
            && running.writing.is_none()
            && let Err(error) = running.store.settle()
        {
            self.judge.book.complain(format!("node {node} cannot settle its store: {error}"));
        }
    }

    fn read<T: Default>(
        &mut self,
        node: usize,
        read: impl FnOnce(&weft_storage::Store) -> Result<T, weft_storage::StoreError>,
    ) -> T {
        let Some(running) = self.nodes[node].running.as_ref() else { return T::default() };
        match read(&running.store) {
            Ok(value) => value,
            Err(error) => {
                if !running.damaged {
                    self.judge.book.complain(format!("node {node} cannot read its store: {error}"));
                }
                T::default()
            }
        }
    }

    fn have_read(&mut self, node: usize, input: Input) {
        let delay_us = self.disk_dice.between(self.scenario.disk.read_us);
        self.tell_after(delay_us, node, input);
    }

    // Agents.

    fn start_agent(&mut self, node: usize, process: ProcessId, spec: &AgentSpec) {
        if spec.failover.is_some() {
            self.began_roaming(node, process);
        }
        let builtin = match &spec.backend {
            Backend::Builtin(kind) => Some(Builtin::new(*kind)),
            Backend::Command { .. } => None,
        };
        if let Some(running) = self.nodes[node].running.as_mut() {
            running.agents.insert(process, Agent { name: spec.agent.clone(), builtin, working: Default::default() });
        }
        let delay_us = self.agent_dice.between(self.scenario.agents.start_us);
        self.tell_after(delay_us, node, Input::AgentStarted { process, pid: None });
    }

    fn deliver(&mut self, node: usize, process: ProcessId, delivery: Delivery) {
        let run = self.nodes[node].run;
        let agents = self.scenario.agents;
        let running = self.nodes[node].running.as_mut();
        let Some(agent) = running.and_then(|running| running.agents.get_mut(&process)) else { return };
        let message = delivery.message;
        agent.working.insert(message, delivery);
        let slow = agent.builtin.is_none();
        let answer_us = if slow { agents.slow_answer_us } else { agents.answer_us };
        let delay_us = self.agent_dice.between(answer_us);
        if !(slow && self.agent_dice.chance(agents.never_per_mille)) {
            self.after(delay_us, Event::Answered { node, run, process, message });
        }
    }

    fn cancel(&mut self, node: usize, process: ProcessId, message: &MessageId) {
        let running = self.nodes[node].running.as_mut();
        if let Some(agent) = running.and_then(|running| running.agents.get_mut(&process)) {
            agent.working.remove(message);
        }
    }

    /// An agent finished with a message, unless it was stopped or told not to go on.
    pub(crate) fn answered(&mut self, node: usize, process: ProcessId, message: MessageId) {
        let Some(now) = self.nodes[node].now(self.now_us) else { return };
        let running = self.nodes[node].running.as_mut();
        let Some(agent) = running.and_then(|running| running.agents.get_mut(&process)) else { return };
        let Some(delivery) = agent.working.remove(&message) else { return };
        let name = agent.name.clone();
        let mut acts = Vec::new();
        match &mut agent.builtin {
            Some(builtin) => builtin.deliver(delivery, now, &mut acts),
            None => {
                let answer = Ok(Some(Payload::Text("at last".to_owned())));
                acts.push(Act::Answer { message, answer });
            }
        }
        for act in acts {
            match act {
                Act::Answer { message, answer } => {
                    self.tell(node, Input::AgentAnswered { process, message, answer });
                }
                Act::Ask(syscall) if matches!(*syscall, Syscall::Stream { .. }) => {
                    let (ask, by) =
                        (self.new_ask(node, Asked::Other), Principal::Agent { agent: name.clone(), process });
                    self.tell(node, Input::Asked { ask, by, question: Question::Kernel(syscall) });
                }
                Act::Ask(syscall) => {
                    self.judge.book.complain(format!("no agent of a scenario asks for anything: {syscall:?}"));
                }
            }
        }
    }

    fn stop_process(&mut self, node: usize, process: ProcessId, grace_us: u64) {
        let running = self.nodes[node].running.as_mut();
        let agent = running.and_then(|running| running.agents.remove(&process));
        let delay_us = match agent {
            Some(Agent { builtin: Some(_), .. }) => self.agent_dice.between(self.scenario.agents.answer_us),
            Some(Agent { builtin: None, .. }) => grace_us,
            None => return,
        };
        self.tell_after(delay_us, node, Input::AgentExited { process, reason: ExitReason::Stopped });
    }

    // Defects.

    /// What a peer with the chosen defect would want besides.
    pub(crate) fn mutate(&self, outputs: &mut Vec<Output>) {
        let is_wanted = |output: &Output| {
            matches!(
                (self.mutation, output),
                (Some(Mutation::DeliverTwice), Output::Deliver { .. })
                    | (Some(Mutation::StartUnasked), Output::Start { .. })
                    | (Some(Mutation::NotifyTwice), Output::Notify { .. })
            )
        };
        let wanted = outputs.iter().position(is_wanted);
        if let Some(place) = wanted {
            let mut again = outputs[place].clone();
            if let Output::Start { process, .. } = &mut again {
                process.generation += 1_000;
            }
            outputs.insert(place + 1, again);
        }
    }

    /// Whether an output never reaches anybody.
    pub(crate) fn is_swallowed(&self, output: &Output) -> bool {
        self.begun
            && matches!(
                (self.mutation, output),
                (Some(Mutation::SwallowAnswers), Output::Answer { .. })
                    | (Some(Mutation::DeliverNothing), Output::Deliver { .. })
                    | (Some(Mutation::OutliveLease), Output::Stop { .. })
            )
    }

    /// What a start with the chosen defect does not know any more.
    pub(crate) fn forget(&self, node: usize, recovered: &mut Recovered) {
        let own = self.nodes[node].id();
        if let Some(mutation) = self.mutation {
            mutation.forget(own, recovered);
        }
    }
}
