//! What an agent may ask about ends: tying its own to another's, and hearing of another's.

use serde::Deserialize;
use weft_kernel::Syscall;
use weft_peer::Question;

use super::{kernel, parse};
use crate::runners::jsonrpc::RpcError;

/// `link` and `unlink`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    agent: String,
}

/// `monitor` and `demonitor`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Monitor {
    agent: String,
}

impl Link {
    pub(super) fn question(self) -> Result<Question, RpcError> {
        parse(&self.agent).map(|with| kernel(Syscall::Link { agent: None, with }))
    }

    pub(super) fn undo(self) -> Result<Question, RpcError> {
        parse(&self.agent).map(|with| kernel(Syscall::Unlink { agent: None, with }))
    }
}

impl Monitor {
    pub(super) fn question(self) -> Result<Question, RpcError> {
        parse(&self.agent).map(|target| kernel(Syscall::Monitor { watcher: None, target, seen: None }))
    }

    pub(super) fn undo(self) -> Result<Question, RpcError> {
        parse(&self.agent).map(|target| kernel(Syscall::Demonitor { watcher: None, target }))
    }
}
