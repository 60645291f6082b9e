//! Sandboxes: whether one may be asked for, and that whoever an agent spawns gets no wider one than it has itself.

use std::borrow::Cow;

use weft_protocol::{AgentSpec, Backend, Principal, Refusal, SandboxPolicy, is_within};

use crate::kernel::{Asker, Kernel};

/// Whether an agent like this may have the sandbox that it asks for.
pub(crate) fn check_sandbox(spec: &AgentSpec) -> Result<(), Refusal> {
    let Some(sandbox) = &spec.sandbox else { return Ok(()) };
    let invalid = |message: &str| Err(Refusal::Invalid { message: message.to_owned() });
    match &spec.backend {
        Backend::Builtin(_) => invalid("a built-in agent touches no file and starts nothing: it takes no sandbox"),
        Backend::Command { trusted: true, .. } => {
            invalid("a trusted agent may run unconfined, so it can have no sandbox: leave one of them out")
        }
        Backend::Command { trusted: false, .. } => sandbox.check(),
    }
}

impl Kernel {
    /// A program that an agent spawns has that agent's sandbox, or a narrower one; of an agent of another node it is not known
    /// here, so that it gives no path that not every program has.
    pub(crate) fn narrow_sandbox(&mut self, by: &Asker, spec: &mut AgentSpec) -> Result<(), Refusal> {
        match (&by.sender.principal, &spec.backend) {
            (Principal::Operator, _) | (_, Backend::Builtin(_)) => return Ok(()),
            (Principal::Agent { .. }, Backend::Command { .. }) => {}
        }
        let (own, command) = self.sandbox_of(by);
        let held = own.as_ref().map_or_else(Cow::default, Cow::Borrowed);
        match (&own, &spec.sandbox) {
            (None, None) => return Ok(()),
            (_, Some(wanted)) => self.refuse_wider(by, spec, &held, held.widened_by(wanted))?,
            (Some(_), None) => {}
        }
        if let Some(own) = &own {
            self.refuse_wider(by, spec, &held, widening_word(own, &command, &spec.backend))?;
            spec.sandbox.get_or_insert_with(|| own.clone());
        }
        Ok(())
    }

    /// An agent with a sandbox starts no program on another node with a wider one. What that is called with is not looked at:
    /// these are files of another machine.
    pub(crate) fn check_sandbox_elsewhere(&mut self, by: &Asker, spec: &AgentSpec) -> Result<(), Refusal> {
        let Backend::Command { .. } = spec.backend else { return Ok(()) };
        let (Some(own), _) = self.sandbox_of(by) else { return Ok(()) };
        let wanted = spec.sandbox.as_ref().map_or_else(Cow::default, Cow::Borrowed);
        self.refuse_wider(by, spec, &own, own.widened_by(&wanted))
    }

    /// The sandbox of an agent of this node, and the words that run it.
    fn sandbox_of(&self, by: &Asker) -> (Option<SandboxPolicy>, Vec<String>) {
        let life = by.process().and_then(|process| self.processes.living(process));
        match life.map(|life| (&life.spec.sandbox, &life.spec.backend)) {
            Some((sandbox, Backend::Command { command, .. })) => (sandbox.clone(), command.clone()),
            Some((_, Backend::Builtin(_))) | None => (None, Vec::new()),
        }
    }

    fn refuse_wider(
        &mut self,
        by: &Asker,
        spec: &AgentSpec,
        held: &SandboxPolicy,
        wider: Option<String>,
    ) -> Result<(), Refusal> {
        let Some(wider) = wider else { return Ok(()) };
        let (asked, held) = (format!("a sandbox with {wider}"), format!("sandbox {held}"));
        self.deny(&by.sender, "widen-sandbox", &spec.agent.to_string(), &held, None);
        Err(Refusal::Wider { asked, held })
    }
}

/// The word of a command that lets its program touch what `own` does not: a program may read the folders of the files that
/// it is called with, and trust lets it read everything.
fn widening_word(own: &SandboxPolicy, command: &[String], backend: &Backend) -> Option<String> {
    match backend {
        Backend::Builtin(_) => None,
        Backend::Command { trusted: true, .. } => Some("trust".to_owned()),
        Backend::Command { command: words, trusted: false, .. } => {
            let is_own = |word: &str| command.iter().any(|own| own == word);
            let is_allowed = |word: &str| {
                let plain = !word.split('/').any(|part| part == "..");
                plain && own.allowed_paths.iter().any(|allowed| is_within(word, &allowed.path))
            };
            let program = words.first().filter(|word| word.contains('/') && !is_own(word));
            let mut arguments = words.iter().skip(1).filter(|word| word.starts_with('/'));
            program.or_else(|| arguments.find(|word| !is_own(word) && !is_allowed(word))).cloned()
        }
    }
}
