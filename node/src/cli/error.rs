//! What the command line says when something went wrong: one line, one exit code, one JSON object.

use std::fmt;

use weft_protocol::control::{ErrorBody, ErrorDetail};
use weft_protocol::{ParseError, Refusal};

use crate::home::HomeError;
use crate::identity::IdentityError;
use crate::network::NetworkError;

/// Exit codes that scripts rely on.
pub(crate) mod exit {
    /// Something else.
    pub(crate) const FAILED: u8 = 1;
    /// The command line itself is wrong.
    pub(crate) const USAGE: u8 = 2;
    /// A rule said no.
    pub(crate) const DENIED: u8 = 3;
    /// No responder, or not found.
    pub(crate) const NOT_FOUND: u8 = 4;
    /// The time was over.
    pub(crate) const DEADLINE: u8 = 5;
    /// The node does not run.
    pub(crate) const NOT_RUNNING: u8 = 6;
    /// The input was refused.
    pub(crate) const REFUSED: u8 = 7;
    /// Stored data is damaged.
    pub(crate) const DAMAGED: u8 = 8;
}

/// What each exit code means, as `weft help exit-codes` prints it.
pub(crate) const EXITS: [(u8, &str); 9] = [
    (0, "done"),
    (exit::FAILED, "failed, for a reason of its own; the message says whether to try again"),
    (exit::USAGE, "the command line is wrong"),
    (exit::DENIED, "a rule, a role or a token says no, or a person must say yes first"),
    (exit::NOT_FOUND, "nothing answers to that name, or cannot be reached"),
    (exit::DEADLINE, "the time was over"),
    (exit::NOT_RUNNING, "the node does not run, or is going down"),
    (exit::REFUSED, "the input was refused; the same again is refused again"),
    (exit::DAMAGED, "stored data is damaged, or may be"),
];

/// The error codes that end with this exit code.
pub(crate) fn codes_of(exit: u8) -> impl Iterator<Item = &'static str> {
    EXIT_CODES.iter().filter(move |(code, of)| *of == exit && *code != CLOSED).map(|(code, _)| *code)
}

/// The code of a result that nobody reads any more.
const CLOSED: &str = "closed";

/// The exit code of each error code.
const EXIT_CODES: &[(&str, u8)] = &[
    (CLOSED, 0),
    ("usage", exit::USAGE),
    ("several-nodes", exit::USAGE),
    ("denied", exit::DENIED),
    ("deferred", exit::DENIED),
    ("quarantined", exit::DENIED),
    ("unauthorized", exit::DENIED),
    ("limit-reached", exit::DENIED),
    ("wider", exit::DENIED),
    ("out-of-scope", exit::DENIED),
    ("no-responder", exit::NOT_FOUND),
    ("ambiguous", exit::NOT_FOUND),
    ("gone", exit::NOT_FOUND),
    ("not-found", exit::NOT_FOUND),
    ("unreachable", exit::NOT_FOUND),
    ("deadline", exit::DEADLINE),
    ("cancelled", exit::DEADLINE),
    ("not-running", exit::NOT_RUNNING),
    ("shutting-down", exit::NOT_RUNNING),
    ("invalid", exit::REFUSED),
    ("contract-violated", exit::REFUSED),
    ("backend-not-available", exit::REFUSED),
    ("unenforceable", exit::REFUSED),
    ("too-large", exit::REFUSED),
    ("unsupported", exit::REFUSED),
    ("peer-too-old", exit::REFUSED),
    ("bad-token", exit::REFUSED),
    ("token-expired", exit::REFUSED),
    ("bad-config", exit::REFUSED),
    ("bad-proof", exit::REFUSED),
    ("bad-evidence", exit::REFUSED),
    ("other-cluster", exit::REFUSED),
    ("other-name", exit::REFUSED),
    ("joining", exit::REFUSED),
    ("wire-version", exit::REFUSED),
    ("wrong-cluster", exit::REFUSED),
    ("wrong-rules", exit::REFUSED),
    ("unknown-invite", exit::REFUSED),
    ("invite-expired", exit::REFUSED),
    ("invite-used-up", exit::REFUSED),
    ("invite-revoked", exit::REFUSED),
    ("name-taken", exit::REFUSED),
    ("not-a-member", exit::DENIED),
    ("unknown-issuer", exit::DENIED),
    ("certificate-expired", exit::DENIED),
    ("damaged", exit::DAMAGED),
    ("busy", exit::FAILED),
    ("restarting", exit::FAILED),
    ("agent-failed", exit::FAILED),
    ("broken-off", exit::FAILED),
    ("no-witness", exit::FAILED),
    ("no-majority", exit::FAILED),
    ("not-witnessed", exit::DEADLINE),
    ("bad-checkpoint", exit::REFUSED),
    ("bad-stamp", exit::REFUSED),
    ("not-reached", exit::FAILED),
    ("contradicted", exit::DAMAGED),
    ("expired", exit::FAILED),
    ("conflict", exit::FAILED),
    ("locked", exit::FAILED),
    ("failed", exit::FAILED),
];

/// The exit code that goes with an error code; 1 for one this version does not know.
pub(crate) fn exit_code(code: &str) -> u8 {
    EXIT_CODES.iter().find(|(known, _)| *known == code).map_or(exit::FAILED, |(_, exit)| *exit)
}

/// An error as it is told to whoever typed the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    detail: Box<ErrorDetail>,
    reported: bool,
}

impl CliError {
    /// Nothing changed, trying again cannot help, and there is nothing to type: the builder's other methods say otherwise.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        ErrorDetail {
            code: code.to_owned(),
            message: message.into(),
            hint: String::new(),
            changed: false,
            retry: false,
            retry_after_ms: None,
        }
        .into()
    }

    /// What to type next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.detail.hint = hint.into();
        self
    }

    /// Something may have changed.
    #[must_use]
    pub(crate) fn changed(mut self) -> Self {
        self.detail.changed = true;
        self
    }

    /// The same command may succeed later.
    #[must_use]
    pub(crate) fn retry(mut self) -> Self {
        self.detail.retry = true;
        self
    }

    /// A failed write of a result: `closed` when the reader has gone, which is no error to talk about.
    pub(crate) fn writing(error: std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::BrokenPipe { CLOSED } else { "failed" };
        Self::new(code, format!("the result was not written: {error}"))
    }

    /// Whether the reader of the results has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.detail.code == CLOSED
    }

    /// The report that was printed says it already; only the exit code is left to give.
    #[must_use]
    pub(crate) fn reported(mut self, reported: bool) -> Self {
        self.reported = reported;
        self
    }

    /// Whether nothing is left to print: it was reported, or nobody reads.
    pub(crate) fn is_silent(&self) -> bool {
        self.reported || self.is_closed()
    }

    /// What it says.
    pub(crate) fn detail(&self) -> &ErrorDetail {
        &self.detail
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        exit_code(&self.detail.code)
    }

    /// The object of `--json`.
    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody { error: (*self.detail).clone() }
    }
}

impl std::error::Error for CliError {}

impl fmt::Display for CliError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorDetail { message, hint, changed, .. } = &*self.detail;
        let message = message.replace('\n', " ");
        let changed = if *changed { "something may have changed" } else { "nothing changed" };
        write!(formatter, "{message} ({changed})")?;
        if hint.is_empty() { Ok(()) } else { write!(formatter, "; next: {hint}") }
    }
}

impl From<ErrorDetail> for CliError {
    fn from(detail: ErrorDetail) -> Self {
        Self { detail: Box::new(detail), reported: false }
    }
}

/// What to do about a refusal, when there is one thing to do.
fn refusal_hint(refusal: &Refusal) -> String {
    match refusal {
        Refusal::BackendNotAvailable { instead, .. } => instead,
        Refusal::Deferred { deferral, .. } => {
            return format!("weft gate approve {deferral} --as NAME, then the same again; weft gate pending shows all");
        }
        Refusal::Denied { .. } => "ask an admin of the cluster for the right",
        Refusal::Busy { .. } | Refusal::Restarting { .. } => "try again after that time",
        Refusal::NoResponder { .. } | Refusal::Gone { .. } => "weft ps lists what runs",
        Refusal::Ambiguous { .. } => "name the node too: agent@node",
        Refusal::Deadline { maybe_executed: true } => {
            "look at what happened with weft trace, or give more time: --deadline"
        }
        Refusal::Deadline { maybe_executed: false } => "give more time: --deadline",
        Refusal::NotWitnessed { .. } => {
            "do not send it again; weft chain witnesses lists who vouches, weft trace shows the message"
        }
        Refusal::Cancelled { .. } => "weft trace shows how far it came",
        Refusal::BrokenOff { .. } => "what was printed is not the whole answer; call again when that may be done twice",
        Refusal::PeerTooOld { .. } => {
            "weft members shows what each speaks: upgrade the older of the two, or raise its network.wire_version_max; without --stream the answer comes whole"
        }
        Refusal::NoMajority { .. } => "weft members shows who is there; without --failover it starts here",
        Refusal::NoWitness => "--receipt executed+durable; a witness is a third member: weft members",
        Refusal::Unreachable { .. } => "weft members shows who can be reached",
        Refusal::Damaged => "weft chain verify shows what is damaged",
        Refusal::ShuttingDown => "weft up",
        Refusal::AgentFailed { .. } => "weft agent inspect shows how it is",
        Refusal::Wider { .. } => "weft cap ls shows what is held; an operator gives more: weft cap grant",
        Refusal::OutOfScope { .. } => "weft agent inspect shows its scope; it is set at its spawn: --ipc-scope",
        Refusal::Unenforceable { .. } => {
            "leave out or change what it names; weft doctor shows whether this machine confines agents"
        }
        Refusal::LimitReached { .. } => "weft agent inspect shows what is used; a new start counts from zero",
        Refusal::Expired => "send it again as a new message",
        Refusal::ContractViolated { .. } => "weft services inspect shows the contract",
        Refusal::Quarantined | Refusal::TooLarge { .. } | Refusal::Unsupported { .. } | Refusal::Invalid { .. } => "",
    }
    .to_owned()
}

impl From<&Refusal> for CliError {
    fn from(refusal: &Refusal) -> Self {
        let retry_after_ms = refusal.retry_after_us().map(|us| us / 1_000);
        ErrorDetail {
            code: refusal.code().to_owned(),
            message: refusal.to_string(),
            hint: refusal_hint(refusal),
            changed: refusal.changed(),
            retry: refusal.retry(),
            retry_after_ms,
        }
        .into()
    }
}

impl From<getrandom::Error> for CliError {
    fn from(error: getrandom::Error) -> Self {
        Self::new("failed", format!("the operating system gave no random bytes: {error}")).retry()
    }
}

impl From<ParseError> for CliError {
    fn from(error: ParseError) -> Self {
        Self::new("invalid", error.to_string())
    }
}

impl From<HomeError> for CliError {
    fn from(error: HomeError) -> Self {
        let message = error.to_string();
        match error {
            HomeError::Locked { .. } => {
                Self::new("locked", message).hint("weft status, or another node beside it: --name other").retry()
            }
            HomeError::Missing { .. } | HomeError::None { .. } => Self::new("not-running", message).hint("weft up"),
            HomeError::Several { .. } => Self::new("several-nodes", message).hint("name one: --node NAME"),
            HomeError::NoUserFolder => Self::new("failed", message).hint("name a folder: --home DIR"),
            HomeError::Damaged { .. } => Self::new("damaged", message).hint("restore the file from a backup"),
            HomeError::Io { .. } => Self::new("failed", message),
        }
    }
}

impl From<NetworkError> for CliError {
    fn from(error: NetworkError) -> Self {
        let code = match &error {
            NetworkError::Address { .. } | NetworkError::Announce { .. } => "invalid",
            NetworkError::Listen { .. } | NetworkError::ListenTimeout { .. } | NetworkError::Transport(_) => "failed",
        };
        Self::new(code, error.to_string())
    }
}

impl From<IdentityError> for CliError {
    fn from(error: IdentityError) -> Self {
        let code = match &error {
            IdentityError::Missing { .. } | IdentityError::Damaged { .. } => "damaged",
            IdentityError::Exists { .. } | IdentityError::Unsettled { .. } => "conflict",
            IdentityError::Replaced { .. }
            | IdentityError::Permissions { .. }
            | IdentityError::Entropy(_)
            | IdentityError::Io { .. } => "failed",
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_whether_anything_changed_and_what_next() {
        let error = CliError::from(&Refusal::NoResponder { target: "ecko".into() });
        assert_eq!(error.to_string(), "no responder: ecko (nothing changed); next: weft ps lists what runs");
        let error = CliError::new("failed", "two\nlines").changed();
        assert_eq!(error.to_string(), "two lines (something may have changed)");
    }

    #[test]
    fn every_refusal_has_its_exit_code() {
        let cases = [
            (Refusal::Denied { rule: "r".into() }, 3),
            (Refusal::Busy { retry_after_us: 2_000 }, 1),
            (Refusal::NoResponder { target: "t".into() }, 4),
            (Refusal::Ambiguous { targets: Vec::new() }, 4),
            (Refusal::Gone { process: "#1.1".parse().expect("a process") }, 4),
            (Refusal::Deadline { maybe_executed: true }, 5),
            (Refusal::TooLarge { size: 2, max: 1 }, 7),
            (Refusal::Expired, 1),
            (Refusal::Quarantined, 3),
            (Refusal::AgentFailed { reason: "r".into() }, 1),
            (Refusal::Unsupported { what: "w".into() }, 7),
            (Refusal::NoWitness, 1),
            (Refusal::NoMajority { counting: 2 }, 1),
            (Refusal::NotWitnessed { delivery: weft_protocol::Delivery::Executed, vouching: 0, wanted: 1 }, 5),
            (Refusal::Cancelled { maybe_executed: true }, 5),
            (Refusal::BrokenOff { parts: 1, reason: "r".into() }, 1),
            (Refusal::Damaged, 8),
            (Refusal::ShuttingDown, 6),
            (Refusal::Unreachable { node: "n".into() }, 4),
            (Refusal::Invalid { message: "m".into() }, 7),
            (Refusal::Wider { asked: "a".into(), held: "b".into() }, 3),
            (Refusal::OutOfScope { agent: "a".parse().expect("a name"), scope: "none".into(), what: "b".into() }, 3),
            (
                Refusal::ContractViolated {
                    target: "svc:s.m".into(),
                    version: "1".into(),
                    part: weft_protocol::ContractPart::Input,
                    path: "/a".into(),
                    reason: "r".into(),
                },
                7,
            ),
            (Refusal::BackendNotAvailable { backend: "wasm".into(), reason: "r".into(), instead: "i".into() }, 7),
            (Refusal::Unenforceable { reason: "r".into() }, 7),
            (Refusal::PeerTooOld { node: weft_protocol::NodeId::from_bytes([1; 32]), wire: 1, needed: 2 }, 7),
            (
                Refusal::Deferred {
                    rule: "r".into(),
                    deferral: weft_protocol::DeferralId(1),
                    expires: weft_protocol::Timestamp(1),
                },
                3,
            ),
            (Refusal::LimitReached { resource: weft_protocol::Resource::Messages, limit: 1 }, 3),
            (Refusal::Restarting { agent: "a".parse().expect("a name"), retry_after_us: 1 }, 1),
        ];
        for (refusal, code) in cases {
            assert!(EXIT_CODES.iter().any(|(known, _)| *known == refusal.code()), "{refusal:?}");
            assert_eq!(CliError::from(&refusal).exit_code(), code, "{refusal:?}");
        }
    }
}
