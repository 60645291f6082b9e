//! The kernel machine: the one dispatcher, and the tables it owns.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use smallvec::SmallVec;
use weft_protocol::{
    AgentName, ChainId, ChainState, CommitRef, DeferralId, Denial, Evidence, Fact, Grant, GrantId, Head, Hlc,
    LocalTarget, MessageId, NewTraces, NodeId, Principal, ProcessId, Recovered, RecoveredChain, Refusal, Reserved,
    Role, Sender, SignedTick, Signer, Target, Tick, Timestamp, Warned,
};

use crate::action::Action;
use crate::ahead::Ahead;
use crate::bonds::{BondHistory, Bonds};
use crate::capability::{Ledger, Reach, Void};
use crate::chain::{Promise, Writer};
use crate::config::{KernelConfig, KernelIdentity};
use crate::cron::{self, Crontab, Firings};
use crate::deferral::Deferrals;
use crate::effects::Effects;
use crate::event::{AskId, Input, Output, Route};
use crate::gate::{Decision, Gate as _, Gates, Notes, Request};
use crate::governance::Governance;
use crate::health::Monitors;
use crate::ipc::{Calls, DeadLetters, Inbox, Message, Receipts, Streams, ToolRuns, Windows};
use crate::process::{History, ProcessTable};
use crate::service::{Needs, ServiceHistory, Services};
use crate::status::{NodeState, WrongState};
use crate::supervisor::Supervisors;
use crate::syscall::Syscall;
use crate::timers::{Timer, Timers};
use crate::topic::Topics;

/// When somebody who was told `busy` may try again, in microseconds: a full mailbox of quick messages is empty by then
/// (guess).
pub(crate) const BUSY_RETRY_US: u64 = 50_000;
/// Most inputs that wait for a reservation on disk; questions and messages beyond are answered `busy` (guess).
const DEFERRED_MAX: usize = 4_096;

/// See the crate's description. Invariant: an input is handled to its end before the next.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) config: KernelConfig,
    pub(crate) identity: KernelIdentity,
    /// Under which texts this node is named: its name and its id.
    pub(crate) own_names: (String, String),
    pub(crate) gates: Gates,
    pub(crate) deferrals: Deferrals,
    pub(crate) rules_changing: Governance,
    pub(crate) random: ChaCha8Rng,
    /// The time of the input that is being handled.
    pub(crate) now: Timestamp,
    pub(crate) state: NodeState,
    /// Whether the last record of this run was appended.
    pub(crate) ending: bool,
    /// Whether nothing may be appended yet.
    held: bool,
    pub(crate) chain: Writer,
    pub(crate) effects: Effects,
    pub(crate) timers: Timers,
    /// Inputs that wait for a reservation on disk, in order.
    pub(crate) deferred: VecDeque<Input>,
    /// Inputs that wait for our clock.
    pub(crate) ahead: Ahead,
    pub(crate) processes: ProcessTable,
    pub(crate) supervisors: Supervisors,
    pub(crate) bonds: Bonds,
    pub(crate) ledger: Ledger,
    pub(crate) advertised: Vec<(AgentName, ProcessId)>,
    /// Whether what is advertised may have changed.
    pub(crate) advert_due: bool,
    pub(crate) calls: Calls,
    pub(crate) inbox: Inbox,
    /// Answers that come in parts.
    pub(crate) streams: Streams,
    pub(crate) windows: Windows,
    pub(crate) new_traces: NewTraces,
    pub(crate) receipts: Receipts,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) reachable: BTreeMap<NodeId, bool>,
    /// Who may write chains that count.
    pub(crate) members: BTreeSet<NodeId>,
    pub(crate) topics: Topics,
    pub(crate) crontab: Crontab,
    /// Runs of cron jobs that are on their way.
    pub(crate) firings: Firings,
    pub(crate) monitors: Monitors,
    /// Tools of the kernel that run.
    pub(crate) tool_runs: ToolRuns,
    /// How many questions the kernel itself has asked.
    own_asks: u64,
    pub(crate) services: Services,
    pub(crate) needs: Needs,
    pub(crate) shutdown_asks: Vec<AskId>,
    pub(crate) stopped_at_shutdown: Vec<(AgentName, ProcessId)>,
}

/// Who asks, known to be who it says it is.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) sender: Sender,
    /// What counts on this node.
    pub(crate) grants: Arc<Vec<Grant>>,
    /// What counts only towards other nodes.
    pub(crate) foreign: Vec<Grant>,
    /// The role of its node; none when that is this one.
    pub(crate) role: Option<Role>,
    /// What an agent of this node reaches; none when that is everybody.
    pub(crate) reach: Option<Box<Reach>>,
}

impl Asker {
    /// What it holds, wherever that counts.
    pub(crate) fn all_grants(&self) -> Vec<Grant> {
        self.grants.iter().chain(&self.foreign).cloned().collect()
    }

    /// The process, when an agent of this node asks.
    pub(crate) const fn process(&self) -> Option<ProcessId> {
        match (&self.sender.principal, self.role) {
            (Principal::Agent { process, .. }, None) => Some(*process),
            (Principal::Operator, _) | (Principal::Agent { .. }, Some(_)) => None,
        }
    }

    /// The action as it is judged, coming from here or from another node.
    pub(crate) fn wants(&self, action: Action) -> Action {
        match self.role {
            None => action,
            Some(role) => Action::Foreign { role, action: Box::new(action) },
        }
    }
}

/// What a gate permitted.
#[derive(Debug)]
pub(crate) struct Permit {
    rule: Cow<'static, str>,
    pub(crate) grant: Option<Grant>,
    notes: Option<Arc<Notes>>,
    /// The approval of a person that it needs.
    pub(crate) approval: Option<DeferralId>,
}

impl Permit {
    /// The rule as records name it, with the grant that decided, the approval it needed and what applies besides.
    pub(crate) fn text(&self) -> String {
        let notes = self.notes.as_ref().map_or("", |notes| notes.text());
        if self.grant.is_none() && self.approval.is_none() && notes.is_empty() {
            return self.rule.clone().into_owned();
        }
        let mut text = String::with_capacity(self.rule.len() + 1 + GrantId::TEXT_BYTES + notes.len());
        text.push_str(&self.rule);
        if let Some(grant) = &self.grant {
            text.push(' ');
            grant.id.push_text(&mut text);
        }
        if let Some(approval) = self.approval {
            text.push_str(" approved ");
            text.push_str(&approval.to_string());
        }
        text.push_str(notes);
        text
    }
}

impl Kernel {
    /// A kernel that continues from what was recovered. Its first wakeup is due at once, and its first output then is the
    /// `Persist` of what every start records; until that is on disk inputs wait.
    ///
    /// # Panics
    /// When the signer holds the keys of another node than `identity.chain` names: a bug of the caller.
    #[must_use]
    pub fn new(
        config: KernelConfig,
        identity: KernelIdentity,
        mut gates: Gates,
        recovered: &Recovered,
        signer: Arc<dyn Signer>,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let keys = signer.public_keys().clone();
        let written = recovered.chains_of(identity.chain.node);
        // What an agent, a job or a right is does not depend on which of its chains the node wrote it on.
        let facts = || written.iter().flat_map(|chain| &chain.facts);
        let own = written.iter().find(|chain| chain.state.chain() == identity.chain);
        let mut jobs = cron::History::of(facts());
        let last = own.and_then(|chain| chain.facts.last());
        let orderly = last.is_none_or(|last| matches!(last.fact, Fact::Shutdown(_)));
        let mut history = History::of(identity.chain.node, facts());
        if own.is_none() {
            history.begin_chain();
            jobs.begin_chain();
        }
        let bonds = BondHistory::of(identity.chain.node, facts());
        let services = ServiceHistory::of(facts());
        let state = own.map(|chain| chain.state.clone());
        let state = state.unwrap_or_else(|| ChainState::new(identity.chain, identity.cluster, keys.clone()));
        let reserved = reserved(recovered, &identity, facts());
        let earlier = written.iter().filter(|chain| chain.state.chain() != identity.chain).count();
        let mut chain = Writer::restored(signer, state, reserved, config.records_linger_us, now);
        for (head, hlc) in heads_to_vouch_for(recovered, own.copied()) {
            chain.note_head(head, hlc);
        }
        let receipts = Receipts::restored(identity.chain.node, &recovered.messages);
        let mut windows = Windows::default();
        receipts.past().for_each(|message| windows.mark(message, now));
        let own_chains = recovered.let_in.iter().filter(|(chain, _)| chain.node == identity.chain.node);
        own_chains.flat_map(|(_, messages)| messages).for_each(|message| windows.mark(message, now));
        let (deferrals, environment) = Deferrals::of(own.map_or(&[], |chain| &chain.facts));
        gates.configure(config.environment, &config.effects);
        let mut kernel = Self {
            rules_changing: Governance::of(gates.governance().rules().clone(), identity.chain.node, facts()),
            gates,
            deferrals,
            random: ChaCha8Rng::seed_from_u64(seed),
            now,
            state: NodeState::Booting,
            ending: false,
            held: identity.held,
            effects: Effects::default(),
            timers: Timers::default(),
            deferred: VecDeque::new(),
            ahead: Ahead::default(),
            processes: ProcessTable::restored(history.generations(), first_generation(earlier)),
            supervisors: Supervisors::default(),
            bonds: Bonds::default(),
            ledger: Ledger::of(identity.chain.node, facts()),
            advertised: Vec::new(),
            advert_due: false,
            calls: Calls::default(),
            inbox: Inbox::default(),
            streams: Streams::default(),
            new_traces: NewTraces::default(),
            windows,
            receipts,
            dead_letters: DeadLetters::restored(&recovered.dead_letters),
            reachable: BTreeMap::new(),
            members: BTreeSet::new(),
            crontab: Crontab::default(),
            firings: Firings::new(),
            monitors: Monitors::new(&config.node_checks, now),
            tool_runs: ToolRuns::default(),
            own_asks: 0,
            topics: Topics::restored(identity.chain, chain.next_counter(), &recovered.topic_log, orderly),
            services: Services::restored(&services),
            needs: Needs::default(),
            shutdown_asks: Vec::new(),
            stopped_at_shutdown: Vec::new(),
            chain,
            config,
            own_names: (identity.name.to_string(), identity.chain.node.to_string()),
            identity,
        };
        kernel.boot(&keys, &history, jobs, bonds, environment, recovered);
        kernel
    }

    /// Takes one input and appends what must be done for it, in order, with what is to be written before anything else.
    pub fn handle(&mut self, input: Input, now: Timestamp, outputs: &mut Vec<Output>) {
        self.absorb(input, now);
        self.write(now, outputs);
    }

    /// The same but for what is to be written, which is asked for with [`Kernel::write`] when all this is done: a commit takes longer
    /// to sign than anything else here takes, and nobody who does not wait for the disk needs to wait for that.
    pub fn take_in(&mut self, input: Input, now: Timestamp, outputs: &mut Vec<Output>) {
        self.absorb(input, now);
        self.effects.drain_into(outputs);
    }

    /// Appends what is to be written by now.
    pub fn write(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.now = now;
        self.close(outputs);
        self.effects.drain_into(outputs);
    }

    fn absorb(&mut self, input: Input, now: Timestamp) {
        self.now = now;
        match input {
            Input::Persisted => self.on_persisted(),
            Input::PersistFailed => self.damage(),
            Input::Released => self.held = false,
            Input::Woken => {}
            input => self.take(input),
        }
        self.take_ahead();
        self.fire_timers();
        self.take_deferred();
        self.take_own_answers();
        self.hold_deferred();
        self.advertise_now();
        self.advertise_services();
    }

    /// When `Woken` is due.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        match self.state {
            NodeState::Halted | NodeState::Damaged => None,
            NodeState::Booting if self.held => None,
            NodeState::Booting | NodeState::Running | NodeState::ShuttingDown => {
                // What is due already waits for a reservation, whose `Persisted` wakes as well.
                let timer = self.timers.next().into_iter().chain(self.next_job()).min();
                let timer = timer.filter(|at| *at > self.now || self.is_ready());
                let ahead = self.ahead.next_wakeup().into_iter().chain(self.next_probe()).min();
                timer.into_iter().chain(ahead).chain(self.chain.next_wakeup(self.now)).min()
            }
        }
    }

    /// Handles an input, or lets it wait until everything that may leave because of it is reserved on disk.
    pub(crate) fn take(&mut self, input: Input) {
        if self.ending || self.state == NodeState::Damaged {
            let refusal = if self.state == NodeState::Damaged { Refusal::Damaged } else { Refusal::ShuttingDown };
            return self.refuse_input(input, &refusal);
        }
        // Which rules and members count is changed by nothing that waits, and counts for whatever waits.
        if matches!(input, Input::RulesSaid { .. } | Input::AdminsKnown { .. } | Input::MembersKnown { .. }) {
            return self.dispatch(input);
        }
        let Some(input) = self.hold_ahead(input) else { return };
        if self.deferred.is_empty() && self.is_ready() {
            return self.dispatch(input);
        }
        let optional = matches!(
            input,
            Input::Asked { .. }
                | Input::EnvelopeArrived { .. }
                | Input::PublicationArrived { .. }
                | Input::AnchorWanted { .. }
        );
        if optional && self.deferred.len() >= DEFERRED_MAX {
            return self.refuse_input(input, &Refusal::Busy { retry_after_us: BUSY_RETRY_US });
        }
        self.deferred.push_back(input);
    }

    fn is_ready(&self) -> bool {
        self.state != NodeState::Booting && self.chain.is_ready(self.now)
    }

    fn take_deferred(&mut self) {
        while !self.deferred.is_empty() && (self.ending || self.is_ready()) {
            let Some(input) = self.deferred.pop_front() else { return };
            if self.ending {
                self.refuse_input(input, &Refusal::ShuttingDown);
            } else {
                self.dispatch(input);
            }
        }
    }

    fn dispatch(&mut self, input: Input) {
        self.handle_one(input);
        self.chain.end_asking();
    }

    fn handle_one(&mut self, input: Input) {
        match input {
            Input::Asked { ask, by, syscall, route } => self.on_asked(ask, &by, *syscall, route),
            Input::Withdrawn { ask } => self.on_withdrawn(ask),
            Input::EnvelopeArrived { from, role, envelope } => self.on_arrived(from, role, *envelope),
            Input::ReceiptArrived { from, receipt } => self.on_receipt(from, *receipt),
            Input::CancelArrived { from, message } => self.on_cancel(from, &message),
            Input::PartArrived { from, part } => self.on_part(from, *part),
            Input::PartsTakenArrived { from, taken } => self.on_parts_taken(from, taken),
            Input::PartsTaken { ask, count } => self.on_taken(ask, count),
            Input::TransmitFailed { to, message } => self.on_transmit_failed(to, &message),
            Input::ReachabilityChanged { node, reachable } => self.on_reachability_changed(node, reachable),
            Input::PublicationArrived { from, role, publication, fetched } => {
                self.on_publication(from, role, *publication, fetched);
            }
            Input::Gathered { gather } => self.on_gathered(gather),
            Input::AgentStarted { process, pid } => self.on_agent_started(process, pid),
            Input::AgentSuspended { process } => self.on_agent_paused(process, false),
            Input::AgentResumed { process } => self.on_agent_paused(process, true),
            Input::AgentExited { process, reason } => self.on_agent_exited(process, reason),
            Input::ResourcesMeasured { process, measured } => self.on_resources_measured(process, measured),
            Input::ProbeAnswered { number, answer } => self.on_probe_answered(number, answer),
            Input::AgentAnswered { process, message, answer } => self.on_agent_answered(process, &message, answer),
            Input::FactsGiven { ticket, by, action, facts } => self.on_facts(ticket, &by, &action, &facts),
            Input::RotationAsked { ticket, by, next } => self.on_rotation_asked(ticket, &by, next),
            Input::GrantLearned { issuer, issued } => self.on_grant_learned(issuer, &issued),
            Input::RevocationLearned { issuer, grant } => self.on_revocation_learned(issuer, grant),
            Input::ExitLearned { node, exited } => self.on_exit_learned(node, *exited),
            Input::NodeLost { node } => self.on_node_lost(node),
            Input::LeaseGained(leased) => self.on_lease_gained(*leased),
            Input::LeaseLost { agent, reason, at_once } => self.on_lease_lost(&agent, reason, at_once),
            Input::Configured { config } => self.configure(*config),
            Input::RulesSaid { node, hlc, fact } => self.on_rules_said(node, hlc, &fact),
            Input::AdminsKnown { admins } => self.on_admins(admins),
            Input::ServicesElsewhere { services } => self.on_services_elsewhere(services),
            Input::MembersKnown { members } => self.members = members,
            Input::Witnessed { message, vouching } => self.on_witnessed(&message, vouching),
            Input::AnchorWanted { chain } => self.chain.want_anchor(&chain),
            Input::HeadStored { head, hlc } => self.on_head_stored(*head, hlc),
            Input::ChainForked { chain } => self.chain.forget_head(&chain),
            Input::TickAsked { heads, horizon } => self.on_tick_asked(heads, horizon),
            Input::Withheld { ends } => self.chain.withhold(ends),
            Input::Persisted | Input::PersistFailed | Input::Released | Input::Woken => {}
        }
    }

    fn on_asked(&mut self, ask: AskId, by: &Principal, syscall: Syscall, route: Route) {
        let asker = match self.asker(by).and_then(|asker| self.check_capacity(&syscall).map(|()| asker)) {
            Ok(asker) => asker,
            Err(refusal) => return self.effects.answer(ask, Err(refusal)),
        };
        match syscall {
            Syscall::Send { target, payload, wants_reply, level, deadline_us, trace, cause, idempotent: _, parts } => {
                let message = Message { target, payload, wants_reply, level, deadline_us, trace, cause, parts };
                self.on_send(ask, &asker, message, route);
            }
            Syscall::Stream { message, part } => self.on_stream(ask, &asker, &message, part),
            Syscall::Publish { topic, payload, trace } => self.on_publish(ask, &asker, topic, payload, trace),
            Syscall::CallTool { name } => self.on_call_tool(ask, &asker, &name),
            Syscall::Subscribe { pattern, start } => self.on_subscribe(ask, &asker, pattern, start),
            Syscall::Unsubscribe { pattern } => self.on_unsubscribe(ask, &asker, &pattern),
            Syscall::ListDeadLetters => self.on_list_dead_letters(ask, &asker),
            Syscall::RetryDeadLetter { message, deadline_us } => {
                self.on_retry_dead_letter(ask, &asker, message, deadline_us, route);
            }
            Syscall::DropDeadLetter { message } => self.on_drop_dead_letter(ask, &asker, message),
            Syscall::Spawn { spec } => self.on_spawn(ask, &asker, *spec),
            Syscall::Stop { agent } => self.on_stop(ask, &asker, &agent),
            Syscall::CronAdd { spec } => self.on_cron_add(ask, &asker, *spec),
            Syscall::CronRemove { job } => self.on_cron_remove(ask, &asker, job),
            Syscall::CronRun { job } => self.on_cron_run(ask, &asker, job),
            Syscall::CronList => self.on_cron_list(ask, &asker),
            Syscall::Suspend { agent } => self.on_suspend(ask, &asker, &agent),
            Syscall::Resume { agent } => self.on_resume(ask, &asker, &agent),
            Syscall::Restart { agent } => self.on_restart(ask, &asker, &agent),
            Syscall::Grant { to: Target { local: LocalTarget::Agent(agent), .. }, terms, lasts_us } => {
                self.on_grant(ask, &asker, agent, terms, lasts_us, route);
            }
            Syscall::Grant { .. } => {
                let message = "a right is given to an agent, by its name".to_owned();
                self.effects.answer(ask, Err(Refusal::Invalid { message }));
            }
            Syscall::Revoke { grant } => self.on_revoke(ask, &asker, grant),
            Syscall::Shutdown => self.on_shutdown(ask, &asker),
            Syscall::RegisterService(wanted) => self.on_register_service(ask, &asker, *wanted, route),
            Syscall::UnregisterService { service } => self.on_unregister_service(ask, &asker, &service),
            Syscall::Link { agent, with } => self.on_link(ask, &asker, agent.as_ref(), &with, route),
            Syscall::Unlink { agent, with } => self.on_unlink(ask, &asker, agent.as_ref(), &with, route),
            Syscall::Monitor { watcher, target, seen } => {
                self.on_monitor(ask, &asker, watcher.as_ref(), &target, seen, route);
            }
            Syscall::Demonitor { watcher, target } => self.on_demonitor(ask, &asker, watcher.as_ref(), &target, route),
            Syscall::Amend { branch, change } => self.on_amend(ask, &asker, branch, *change),
            Syscall::Endorse { amendment } => self.on_endorse(ask, &asker, amendment),
            Syscall::Decide { deferral, approve, name, why } => {
                self.on_decide(ask, &asker, deferral, approve, name, why);
            }
        }
    }

    /// Whether anything new is taken on: not on the way down, and not while the disk is far behind.
    fn check_capacity(&self, syscall: &Syscall) -> Result<(), Refusal> {
        match syscall {
            // An answer that was begun may be ended.
            Syscall::Shutdown | Syscall::ListDeadLetters | Syscall::Stream { .. } => Ok(()),
            Syscall::Send { .. }
            | Syscall::Publish { .. }
            | Syscall::Subscribe { .. }
            | Syscall::Unsubscribe { .. }
            | Syscall::CallTool { .. }
            | Syscall::RetryDeadLetter { .. }
            | Syscall::DropDeadLetter { .. }
            | Syscall::Spawn { .. }
            | Syscall::Stop { .. }
            | Syscall::CronAdd { .. }
            | Syscall::CronRemove { .. }
            | Syscall::CronRun { .. }
            | Syscall::CronList
            | Syscall::Suspend { .. }
            | Syscall::Resume { .. }
            | Syscall::Restart { .. }
            | Syscall::Grant { .. }
            | Syscall::Revoke { .. }
            | Syscall::RegisterService(_)
            | Syscall::UnregisterService { .. }
            | Syscall::Link { .. }
            | Syscall::Unlink { .. }
            | Syscall::Monitor { .. }
            | Syscall::Demonitor { .. }
            | Syscall::Decide { .. }
            | Syscall::Amend { .. }
            | Syscall::Endorse { .. } => self.check_open(),
        }
    }

    fn check_open(&self) -> Result<(), Refusal> {
        if self.state == NodeState::ShuttingDown {
            return Err(Refusal::ShuttingDown);
        }
        if self.chain.is_backlogged() {
            return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US });
        }
        Ok(())
    }

    fn on_arrived(&mut self, from: NodeId, role: Role, envelope: weft_protocol::Envelope) {
        match self.check_open() {
            Ok(()) => self.on_envelope(from, role, envelope),
            Err(refusal) => self.refuse(from, envelope.id, refusal),
        }
    }

    fn on_head_stored(&mut self, head: Head, hlc: Hlc) {
        // A stamp too far ahead does not move the clock; whoever carried it has judged it.
        self.chain.observe(hlc, self.now);
        self.chain.note_head(head, hlc);
    }

    /// Signs how far time has come here: everything stamped up to then is on disk.
    fn on_tick_asked(&mut self, heads: Vec<CommitRef>, horizon: Hlc) {
        let tick = self.chain.quiet_until(self.now).map(|(last, hlc)| {
            let cluster = self.chain.durable().cluster();
            let tick = Tick { cluster, last, hlc, horizon: horizon.min(hlc), heads };
            Box::new(SignedTick::new(&tick, self.chain.signer()))
        });
        self.effects.ticked(tick);
    }

    /// Who asks, with its grants; an agent must be alive.
    pub(crate) fn asker(&self, by: &Principal) -> Result<Asker, Refusal> {
        let mut reach = None;
        let (grants, foreign) = match by {
            Principal::Operator => (Arc::default(), Vec::new()),
            Principal::Agent { agent, process } => {
                let life = self.processes.living(*process).filter(|life| life.spec.agent == *agent);
                let life = life.ok_or(Refusal::Gone { process: *process })?;
                reach = Reach::of(life);
                self.grants_of(agent, &life.grants)
            }
        };
        Ok(Asker { sender: self.own_sender(by.clone()), grants, foreign, role: None, reach })
    }

    /// The source of what somebody causes: with its node, when that is another one.
    pub(crate) fn source(&self, by: &Sender) -> String {
        match self.abroad(by) {
            None => by.principal.to_string(),
            Some(node) => format!("{}@{node}", by.principal),
        }
    }

    /// The node of somebody of another one.
    pub(crate) fn abroad(&self, by: &Sender) -> Option<NodeId> {
        Some(by.node).filter(|node| *node != self.identity.chain.node)
    }

    /// Asks the gates, and uses an approval up where one was needed. A denial is an event; so is a deferral, and what is
    /// deferred has not happened.
    pub(crate) fn judge(
        &mut self,
        by: &Sender,
        action: &Action,
        resources: &[String],
        grants: &[Grant],
        message: Option<MessageId>,
    ) -> Result<Permit, Refusal> {
        let permit = self.weigh(by, action, resources, grants, message)?;
        if let Some(deferral) = permit.approval {
            self.spend_approval(deferral);
        }
        Ok(permit)
    }

    /// The same, and an approval is left as it is: for what happens only together with something else that is judged too.
    pub(crate) fn weigh(
        &mut self,
        by: &Sender,
        action: &Action,
        resources: &[String],
        grants: &[Grant],
        message: Option<MessageId>,
    ) -> Result<Permit, Refusal> {
        let now = self.now;
        // Whoever passed a right on may take it back, however much is left of its own.
        let taken_back = matches!(action, Action::Revoke { .. });
        let why = |grant: &Grant| if taken_back { None } else { self.ledger.void(by.node, grant) };
        let standing = grants.iter().filter(|grant| why(grant).is_none()).collect::<SmallVec<[_; 8]>>();
        let resource = || resources.first().map_or("", String::as_str);
        match self.gates.decide(&Request { by, action, resources, grants: &standing, now }) {
            Decision::Permit { rule, grant, notes } => {
                if let Some(notes) = &notes {
                    self.warn_of(by, action, resource(), notes);
                }
                Ok(self.permitted(action, Permit { rule, grant, notes, approval: None }))
            }
            Decision::Defer { rule, permitted_by, grant } => {
                // A person approves to whom something is given, not only what.
                let what = match action {
                    Action::Grant { to, .. } => Cow::Owned(format!("{} for {to}", resource())),
                    _ => Cow::Borrowed(resource()),
                };
                let approval = Some(self.approval(by, action, &what, &rule, message)?);
                Ok(self.permitted(action, Permit { rule: permitted_by, grant, notes: None, approval }))
            }
            Decision::Deny { rule } => {
                let void = grants.iter().filter_map(|grant| why(grant).map(|void| (grant, void)));
                let void = void.collect::<Vec<_>>();
                let rule = self.why_void(by, action, resources, &void).unwrap_or_else(|| rule.into_owned());
                Err(self.deny(by, action.name(), resource(), &rule, message))
            }
        }
    }

    /// Whether roles and grants alone permit it; nothing is recorded.
    pub(crate) fn has_right(&self, by: &Sender, action: &Action, resources: &[String], grants: &[Grant]) -> bool {
        let standing = grants.iter().filter(|grant| self.ledger.void(by.node, grant).is_none()).collect::<Vec<_>>();
        self.gates.has_right(&Request { by, action, resources, grants: &standing, now: self.now })
    }

    /// What is recorded of it names the rule; a step of a message has its own place for that.
    fn permitted(&mut self, action: &Action, permit: Permit) -> Permit {
        if !action.kind().is_message() {
            self.chain.permitted_by(|| permit.text());
        }
        permit
    }

    /// Records that rules warn of something that is permitted; the record of a message's step names them itself.
    fn warn_of(&mut self, by: &Sender, action: &Action, resource: &str, notes: &Notes) {
        if notes.warned.is_empty() || action.kind().is_message() {
            return;
        }
        let (action, resource) = (action.name().to_owned(), resource.to_owned());
        let rules = notes.warned.iter().map(|rule| rule.as_ref().to_owned()).collect();
        let warned = Warned { by: by.clone(), action, resource, rules };
        self.chain.append("kernel", &Fact::Warned(Box::new(warned)), self.now);
    }

    /// The operator's settings are other ones from now on.
    fn configure(&mut self, config: KernelConfig) {
        self.gates.configure(config.environment, &config.effects);
        self.chain.linger_for(config.records_linger_us);
        self.config = config;
    }

    /// Why the grant that would have permitted it does not stand.
    fn why_void(&self, by: &Sender, action: &Action, resources: &[String], void: &[(&Grant, Void)]) -> Option<String> {
        let would_permit = |grant: &Grant| {
            let decision = self.gates.decide(&Request { by, action, resources, grants: &[grant], now: self.now });
            matches!(decision, Decision::Permit { .. } | Decision::Defer { .. })
        };
        void.iter().find(|(grant, _)| would_permit(grant)).map(|(_, void)| void.text())
    }

    /// Records a denial and returns it.
    pub(crate) fn deny(
        &mut self,
        by: &Sender,
        action: &str,
        resource: &str,
        rule: &str,
        message: Option<MessageId>,
    ) -> Refusal {
        let (action, resource, rule) = (action.to_owned(), resource.to_owned(), rule.to_owned());
        let denial = Denial { by: by.clone(), action, resource, rule: rule.clone(), message };
        self.chain.append("kernel", &Fact::Denied(denial), self.now);
        Refusal::Denied { rule }
    }

    fn on_persisted(&mut self) {
        let (group, promises) = self.chain.persisted();
        if let Some(group) = group {
            self.effects.announce(group);
        }
        promises.into_iter().for_each(|promise| self.keep_promise(promise));
    }

    fn keep_promise(&mut self, promise: Promise) {
        match promise {
            Promise::Order(order) => self.effects.carry_out(order),
            Promise::Answer { ask, answer } => self.effects.answer(ask, answer),
            Promise::Deferred { told, refusal } => self.effects.tell_deferred(told, refusal),
            Promise::Receipt { to, receipt } => self.release_receipt(to, *receipt),
            Promise::SentRecorded { message } => self.on_sent_recorded(&message),
            Promise::ReceivedRecorded { message } => self.on_received_recorded(&message),
            Promise::Signalled { message } => self.on_signalled(&message),
            Promise::FactsRecorded { ticket, first_seq } => self.effects.confirm_facts(ticket, first_seq),
            Promise::RunIntended { own } => self.on_run_intended(own),
            Promise::Notify { ask, cursor, publication } => self.effects.notify(ask, cursor, publication),
            Promise::RetryRecorded { message, rule } => self.on_retry_recorded(&message, &rule),
            Promise::SubscriptionRecorded { gather } => self.begin_gathering(gather),
            Promise::Tell { process, signal } => self.tell(process, *signal),
            Promise::Booted => self.enter(NodeState::Running),
            Promise::Halted => self.on_halted(),
        }
    }

    /// What happens by itself may make receipts leave: it waits for a reservation like an input.
    fn fire_timers(&mut self) {
        while self.is_ready() {
            let Some(timer) = self.timers.take_due(self.now) else { break };
            match timer {
                Timer::CallDeadline(message) => self.expire_call(&message),
                Timer::CallRetry(message) => self.transmit(&message),
                Timer::IncomingDeadline(message) => self.expire_incoming(&message),
                Timer::Stream(message) => self.forget_stream(&message),
                Timer::Start(process) => self.on_start_overdue(process),
                Timer::Stop(process) => self.on_stop_overdue(process),
                Timer::Restart(plan) => self.run_plan(plan),
                Timer::Shutdown => self.finish_shutdown(),
                Timer::Needs(id) => self.on_needs_overdue(id),
                Timer::Deferral(id) => self.on_deferral_overdue(id),
            }
        }
        if self.is_ready() && self.jobs_are_due() {
            self.run_jobs();
        }
        // No stamp of a probe leaves, and a disk that hangs must be found out without it.
        if self.probes_are_due() {
            self.make_probes();
        }
    }

    /// A number for a question that the kernel itself asks.
    pub(crate) const fn next_own_ask(&mut self) -> AskId {
        self.own_asks += 1;
        AskId::own(self.own_asks)
    }

    /// Hears what became of the kernel's own questions.
    pub(crate) fn take_own_answers(&mut self) {
        for (ask, answer) in self.effects.take_own_answers() {
            match self.tool_runs.take(ask) {
                Some(run) => self.on_tool_answered(run, answer),
                None => self.on_own_answer(ask, answer),
            }
        }
    }

    /// Goes to another state. One that cannot follow is a bug; nothing is promised after it.
    pub(crate) fn enter(&mut self, next: NodeState) {
        match self.state.then(next) {
            Ok(state) => self.state = state,
            Err(WrongState { .. }) => self.damage(),
        }
    }

    /// Writes what waits, before anything else that this input caused.
    fn close(&mut self, outputs: &mut Vec<Output>) {
        if self.held || matches!(self.state, NodeState::Damaged | NodeState::Halted) {
            return;
        }
        let waits = !self.deferred.is_empty() || self.timers.is_due(self.now) || self.jobs_are_due();
        match self.chain.close(waits, self.now) {
            Ok(batch) => outputs.extend(batch.map(Output::Persist)),
            Err(_) => self.damage(),
        }
    }
}

/// Heads that are on disk since an earlier run and that no commit of ours names yet.
fn heads_to_vouch_for<'a>(
    recovered: &'a Recovered,
    own: Option<&'a RecoveredChain>,
) -> impl Iterator<Item = (Head, Hlc)> {
    let forked = recovered.evidence.iter().filter_map(Evidence::chain);
    let forked: Vec<ChainId> = forked.collect();
    let named = move |head: &Head| {
        own.is_some_and(|own| own.anchors.iter().any(|anchor| anchor.commit_hash == head.commit_hash))
    };
    let heads = recovered.chains.iter().filter_map(|chain| Some((chain.state.head()?, chain.state.last_hlc())));
    heads.filter(move |(head, _)| !forked.contains(&head.chain) && !named(head))
}

/// Numbers that a restored node leaves out, for messages that it sent and does not know of: more than a node that sends one
/// every two microseconds gives in a year. The low half of it is odd, since conversations are told apart by the low half of a number.
const SKIPPED_NUMBERS: u64 = (1 << 44) + 0x9e37_79b9;
/// Lives of each place in the process table that one chain leaves to what was lost of the one before it (guess).
const LOST_GENERATIONS: u32 = 1 << 16;

/// What was promised never to be used again, or lies far above it when others may know of more.
fn reserved<'a>(
    recovered: &Recovered,
    identity: &KernelIdentity,
    facts: impl Iterator<Item = &'a weft_protocol::PlacedFact>,
) -> Reserved {
    if !identity.skip_numbers {
        return recovered.reserved;
    }
    let begun = facts.filter_map(|placed| match &placed.fact {
        Fact::Boot(boot) => boot.counter,
        _ => None,
    });
    let counter = begun.max().unwrap_or(0).max(recovered.reserved.counter).saturating_add(SKIPPED_NUMBERS);
    Reserved { counter, ..recovered.reserved }
}

/// The first generation that a chain with so many before it gives.
fn first_generation(earlier: usize) -> u32 {
    u32::try_from(earlier).unwrap_or(u32::MAX).saturating_mul(LOST_GENERATIONS)
}
