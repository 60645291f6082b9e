//! How a run ends: in order, with every process stopped and the chain sealed, or at once when nothing can be written.

use weft_protocol::{AgentName, EffectResult, ExitReason, Fact, Outcome, Principal, ProcessId, Refusal, Shutdown};

use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId, Input};
use crate::ipc::failed;
use crate::kernel::{Asker, Kernel};
use crate::service::Waiting;
use crate::status::NodeState;
use crate::timers::Timer;

impl Kernel {
    /// Stops every process; when they have ended, or the time is over, the last record is written.
    pub(crate) fn on_shutdown(&mut self, ask: AskId, by: &Asker) {
        if let Err(refusal) = self.judge(&by.sender, &Action::Shutdown, &["node".to_owned()], &by.grants, None) {
            return self.effects.answer(ask, Err(refusal));
        }
        if self.state == NodeState::ShuttingDown {
            return self.shutdown_asks.push(ask);
        }
        match self.state.then(NodeState::ShuttingDown) {
            Ok(state) => self.state = state,
            Err(wrong) => return self.effects.answer(ask, Err(Refusal::Invalid { message: wrong.to_string() })),
        }
        self.shutdown_asks.push(ask);
        self.supervisors.plans.clear();
        self.refuse_waiting(&Refusal::ShuttingDown);
        let living = self.living_last_first();
        for (_, process) in &living {
            self.stop(*process, &by.sender, None, true);
        }
        let none = living.is_empty();
        self.stopped_at_shutdown = living;
        if none {
            self.finish_shutdown();
        } else {
            self.timers.set(self.now.after_us(self.config.shutdown_us_max), Timer::Shutdown);
        }
    }

    /// The living processes, those that began to run last first: what was started on top of another is stopped before it.
    fn living_last_first(&self) -> Vec<(AgentName, ProcessId)> {
        let mut living = self.processes.all_living().collect::<Vec<_>>();
        // One that does not run yet was started after all that do.
        living.sort_by_key(|life| (life.started_at.is_some(), std::cmp::Reverse((life.started_at, life.process))));
        living.into_iter().map(|life| (life.spec.agent.clone(), life.process)).collect()
    }

    /// Writes the last record: nothing is taken on after it.
    pub(crate) fn finish_shutdown(&mut self) {
        if self.ending {
            return;
        }
        self.ending = true;
        let left = self.processes.all_living().map(|life| life.process).collect::<Vec<ProcessId>>();
        for process in left {
            let reason = "it had not ended when the node went down".to_owned();
            self.end_process(process, ExitReason::NodeStopped, EffectResult::Failed { reason });
        }
        self.answer_calls_at_shutdown();
        self.take_own_answers();
        self.timers.clear_all();
        let shutdown = Shutdown { stopped: self.stopped_at_shutdown.len() as u64 };
        let seq = self.chain.append_last(&Fact::Shutdown(shutdown), self.now);
        self.chain.hold(seq, Promise::Halted);
    }

    /// Whoever still waits is told; durable messages stay in the outbox for the next run.
    fn answer_calls_at_shutdown(&mut self) {
        for message in self.calls.all() {
            let refusal = if self.may_have_been_executed(&message) {
                Refusal::Deadline { maybe_executed: true }
            } else {
                Refusal::ShuttingDown
            };
            if let Some(ask) = self.calls.release_ask(&message) {
                self.effects.answer(ask, Err(refusal));
            }
            self.remove_call(&message);
        }
    }

    /// The last record is on disk.
    pub(crate) fn on_halted(&mut self) {
        self.enter(NodeState::Halted);
        let stopped = std::mem::take(&mut self.stopped_at_shutdown);
        for ask in std::mem::take(&mut self.shutdown_asks) {
            self.effects.answer(ask, Ok(Answer::ShuttingDown { stopped: stopped.clone() }));
        }
        self.effects.halt();
    }

    /// A write failed, or what was to be written did not verify: everybody who waits is told that nothing is promised.
    pub(crate) fn damage(&mut self) {
        self.state = NodeState::Damaged;
        for promise in self.chain.failed() {
            self.break_promise(promise);
        }
        for ask in std::mem::take(&mut self.shutdown_asks) {
            self.effects.answer(ask, Err(Refusal::Damaged));
        }
        for message in self.calls.all() {
            let call = self.remove_call(&message);
            if let Some(ask) = call.and_then(|call| call.ask) {
                self.effects.answer(ask, Err(Refusal::Damaged));
            }
        }
        self.damage_processes();
        self.damage_firings();
        self.refuse_waiting(&Refusal::Damaged);
        self.timers.clear_all();
        while let Some(input) = self.deferred.pop_front() {
            self.refuse_input(input, &Refusal::Damaged);
        }
    }

    /// Whoever waits for a process to begin or end, or for its answer, is told.
    fn damage_processes(&mut self) {
        let living = self.processes.all_living().map(|life| life.process).collect::<Vec<_>>();
        for process in living {
            let Some(life) = self.processes.living_mut(process) else { continue };
            let stops = life.stop.take().into_iter().flat_map(|stop| stop.asks.into_iter().chain(stop.again_asks));
            let pauses = life.pause.take().into_iter().flat_map(|pause| pause.asks);
            for ask in std::mem::take(&mut life.spawn_asks).into_iter().chain(stops).chain(pauses) {
                self.effects.answer(ask, Err(Refusal::Damaged));
            }
        }
        let own = self.identity.chain.node;
        let awaited = self.inbox.take_all();
        for (message, incoming) in awaited.filter(|(_, incoming)| incoming.is_awaited() && incoming.from != own) {
            let refusal = if incoming.was_delivered() {
                failed("the receiving node's store is damaged; the message may have been executed")
            } else {
                Refusal::Damaged
            };
            self.refuse(incoming.from, message, refusal);
        }
    }

    /// Starts that wait for what they need do not happen any more.
    fn refuse_waiting(&mut self, refusal: &Refusal) {
        for waiting in self.needs.take_all() {
            if let Waiting::Asked { ask, .. } = waiting {
                self.effects.answer(ask, Err(refusal.clone()));
            }
        }
    }

    fn break_promise(&mut self, promise: Promise) {
        match promise {
            Promise::Answer { ask, .. } => self.effects.answer(ask, Err(Refusal::Damaged)),
            Promise::FactsRecorded { ticket, .. } => self.effects.refuse_facts(ticket, Refusal::Damaged),
            Promise::Deferred { told, .. } => self.effects.tell_deferred(told, Refusal::Damaged),
            Promise::SubscriptionRecorded { gather } => self.break_subscription(gather),
            Promise::Receipt { to, receipt } if to != self.identity.chain.node => {
                let refusal = match receipt.outcome {
                    // Other than of an answer, the sender may hear that it is not so: what is in a mailbox is lost.
                    Outcome::Received | Outcome::Refused(_) | Outcome::Delivered { .. } => Refusal::Damaged,
                    Outcome::Executed { .. } => failed("executed, but the receiving node could not record it"),
                };
                self.refuse(to, receipt.message, refusal);
            }
            // Calls and processes are told below, by themselves; effects without a record do not happen.
            Promise::Receipt { .. }
            | Promise::Order(_)
            | Promise::SentRecorded { .. }
            | Promise::Signalled { .. }
            | Promise::ReceivedRecorded { .. }
            | Promise::RunIntended { .. }
            | Promise::RetryRecorded { .. }
            | Promise::Notify { .. }
            | Promise::Tell { .. }
            | Promise::Booted
            | Promise::Halted => {}
        }
    }

    /// Answers what is not taken on any more; what needs no answer is forgotten.
    pub(crate) fn refuse_input(&mut self, input: Input, refusal: &Refusal) {
        match input {
            Input::Asked { ask, by: Principal::Operator, syscall, .. }
                if self.state == NodeState::Damaged && *syscall == crate::syscall::Syscall::Shutdown =>
            {
                // Nothing can be recorded, but the node must be able to end.
                self.effects.answer(ask, Err(refusal.clone()));
                self.effects.halt();
            }
            Input::Asked { ask, .. } => self.effects.answer(ask, Err(refusal.clone())),
            Input::EnvelopeArrived { from, envelope, .. } => self.refuse(from, envelope.id, refusal.clone()),
            Input::FactsGiven { ticket, .. } | Input::RotationAsked { ticket, .. } => {
                self.effects.refuse_facts(ticket, refusal.clone())
            }
            Input::LeaseGained(leased) => {
                let (agent, fence) = (leased.spec.agent, leased.fence);
                leased.ask.into_iter().for_each(|ask| self.effects.answer(ask, Err(refusal.clone())));
                self.effects.leave_lease(agent, fence, refusal.clone());
            }
            Input::TickAsked { .. } => self.effects.ticked(None),
            Input::Withheld { ends } => self.chain.withhold(ends),
            Input::Withdrawn { .. }
            | Input::ReceiptArrived { .. }
            | Input::CancelArrived { .. }
            | Input::PartArrived { .. }
            | Input::PartsTakenArrived { .. }
            | Input::PartsTaken { .. }
            | Input::TransmitFailed { .. }
            | Input::ReachabilityChanged { .. }
            | Input::PublicationArrived { .. }
            | Input::Gathered { .. }
            | Input::AgentStarted { .. }
            | Input::AgentSuspended { .. }
            | Input::AgentResumed { .. }
            | Input::AgentExited { .. }
            | Input::ResourcesMeasured { .. }
            | Input::ProbeAnswered { .. }
            | Input::AgentAnswered { .. }
            | Input::GrantLearned { .. }
            | Input::RevocationLearned { .. }
            | Input::ExitLearned { .. }
            | Input::NodeLost { .. }
            | Input::LeaseLost { .. }
            | Input::Configured { .. }
            | Input::ServicesElsewhere { .. }
            | Input::RulesSaid { .. }
            | Input::AdminsKnown { .. }
            | Input::MembersKnown { .. }
            | Input::Witnessed { .. }
            | Input::AnchorWanted { .. }
            | Input::HeadStored { .. }
            | Input::ChainForked { .. }
            | Input::Released
            | Input::Persisted
            | Input::PersistFailed
            | Input::Woken => {}
        }
    }
}
