//! What an agent may ask about jobs: making, listing and removing them.

use serde::Deserialize;
use weft_kernel::{CronSpec, Syscall};
use weft_peer::Question;
use weft_protocol::MissedRule;

use super::{kernel, parse, payload};
use crate::runners::jsonrpc::RpcError;
use crate::runners::payload::PayloadJson;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CronAdd {
    expression: String,
    timezone: Option<String>,
    target: String,
    payload: PayloadJson,
    missed: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CronRemove {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CronList {}

impl CronAdd {
    pub(super) fn question(self) -> Result<Question, RpcError> {
        let missed = self.missed.as_deref().map_or(Ok(MissedRule::Skip), parse)?;
        let timezone = self.timezone.unwrap_or_else(|| "UTC".to_owned());
        let (target, payload) = (parse(&self.target)?, payload(self.payload)?);
        let spec = CronSpec { expression: self.expression, timezone, target, payload, missed };
        Ok(kernel(Syscall::CronAdd { spec: Box::new(spec) }))
    }
}

impl CronRemove {
    pub(super) fn question(self) -> Result<Question, RpcError> {
        parse(&self.id).map(|job| kernel(Syscall::CronRemove { job }))
    }
}

impl CronList {
    pub(super) fn question(self) -> Question {
        let Self {} = self;
        kernel(Syscall::CronList)
    }
}
