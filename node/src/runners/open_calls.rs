//! What one agent has asked on one of its doors and was not answered yet: asked in order, answered as answers come.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use weft_peer::Question;
use weft_protocol::Refusal;

use crate::ask::Part;
use crate::runners::calls::{Answered, Caller, raw, takes_parts};
use crate::runners::jsonrpc::{self, Id, LINE_BYTES_MAX, RpcError};
use crate::runners::payload::PayloadJson;

/// A line with a part of an answer. Whoever writes it says so: then the next one may come.
pub(crate) type PartLine = (String, oneshot::Sender<()>);

/// Invariant: `handles` names questions of `asked` alone; of one that is not there any more no answer is told.
#[derive(Debug)]
pub(crate) struct OpenCalls {
    caller: Caller,
    asked: JoinSet<(Option<Id>, Answered)>,
    handles: BTreeMap<Id, AbortHandle>,
    parts: mpsc::Sender<PartLine>,
}

impl OpenCalls {
    /// None is open; parts of answers go as lines to whoever reads the other end.
    pub(crate) fn new(caller: Caller) -> (Self, mpsc::Receiver<PartLine>) {
        let (parts, lines) = mpsc::channel(1);
        (Self { caller, asked: JoinSet::new(), handles: BTreeMap::new(), parts }, lines)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Asks behind all that was asked before.
    ///
    /// # Errors
    /// What is wrong with it: nothing was asked.
    pub(crate) async fn ask(&mut self, id: Option<Id>, question: Question) -> Result<(), RpcError> {
        let handle = if takes_parts(&question) {
            let Some(id) = id.clone() else {
                return Err(RpcError::parameters("a call that takes parts is a request with an id: they name it"));
            };
            let lines = self.parts.clone();
            let mut answer = self.caller.begin_in_parts(question).await?;
            self.asked.spawn(async move {
                while let Some(part) = answer.parts.next().await {
                    if let Err(error) = tell(&lines, &id, part).await {
                        return (Some(id), Err(error));
                    }
                }
                (Some(id), answer.answer().await)
            })
        } else {
            let answer = self.caller.begin(question).await?;
            let id = id.clone();
            self.asked.spawn(async move { (id, answer.answer().await) })
        };
        self.handles.extend(id.map(|id| (id, handle)));
        Ok(())
    }

    /// Takes a question back; it is answered as cancelled. One that is not open is no mistake: its answer was on its way.
    pub(crate) fn cancel(&mut self, id: &Id) -> Option<Answered> {
        self.handles.remove(id)?.abort();
        Some(Err((&Refusal::Cancelled { maybe_executed: true }).into()))
    }

    /// The next answer; none while nothing is open, and when nobody wants the one that came.
    pub(crate) async fn next(&mut self) -> Option<(Option<Id>, Answered)> {
        loop {
            match self.asked.join_next().await? {
                Ok((Some(id), answer)) if self.handles.remove(&id).is_some() => return Some((Some(id), answer)),
                Ok((None, answer)) => return Some((None, answer)),
                Ok((Some(_), _)) | Err(_) => {}
            }
        }
    }

    pub(crate) async fn shutdown(&mut self) {
        self.asked.shutdown().await;
    }
}

/// Hands a part over as a line, and waits until it is written.
async fn tell(lines: &mpsc::Sender<PartLine>, id: &Id, part: Part) -> Result<(), RpcError> {
    #[derive(Serialize)]
    struct Params {
        id: Box<RawValue>,
        number: u32,
        payload: PayloadJson,
    }
    let size = part.payload.size() as u64;
    let payload = PayloadJson::from_payload(part.payload);
    let payload = payload.map_err(|reason| RpcError::from(&Refusal::AgentFailed { reason }))?;
    let params = Params { id: raw(id.text().to_owned()), number: part.number, payload };
    let line = jsonrpc::request(None, "part", &params);
    if line.len() > LINE_BYTES_MAX {
        return Err((&Refusal::TooLarge { size, max: LINE_BYTES_MAX as u64 }).into());
    }
    let (written, is_written) = oneshot::channel();
    let gone = |()| RpcError::from(&Refusal::Cancelled { maybe_executed: true });
    lines.send((line, written)).await.map_err(|_| gone(()))?;
    is_written.await.map_err(|_| gone(()))
}
