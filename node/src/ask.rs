//! The one door to the event loop: how the local API and running agents ask the peer for something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};
use weft_peer::{AskId, Input, Peer, Question, Reply};
use weft_protocol::limits::{PARTS_OPEN_MAX, PARTS_TAKEN_STEP, PARTS_TAKEN_STEP_BYTES};
use weft_protocol::{Payload, Principal, Publication, Refusal};

/// Most questions that wait for the event loop; one more waits in its sender's task (guess).
const QUESTIONS_MAX: usize = 1_024;
/// Most publications that wait for one operator's subscription: its history, and as much as a slow reader may lag behind; a
/// slower one loses the subscription (guess).
const NOTIFICATIONS_MAX: usize = weft_protocol::limits::HISTORY_MAX + 1_024;

/// One part of an answer, for whoever asked.
#[derive(Debug)]
pub(crate) struct Part {
    /// Which it is, from zero.
    pub(crate) number: u32,
    /// What it says.
    pub(crate) payload: Payload,
}

/// One publication for an operator's subscription.
#[derive(Debug)]
pub(crate) struct Notified {
    /// How far the subscription has come with it.
    pub(crate) cursor: weft_kernel::Cursor,
    /// What.
    pub(crate) publication: Publication,
}

/// What reaches the event loop from inside this process.
pub(crate) enum Local {
    /// A question, its answer, and for subscriptions where publications go.
    Asked {
        ask: AskId,
        by: Principal,
        question: Box<Question>,
        answer: oneshot::Sender<Result<Reply, Refusal>>,
        notify: Option<mpsc::Sender<Notified>>,
        parts: Option<mpsc::Sender<Part>>,
    },
    /// Something to read from the peer between two inputs.
    Read(Box<dyn FnOnce(&Peer) + Send>),
    /// Something that happened to an agent, a read or a worker.
    Happened(Box<Input>),
}

impl std::fmt::Debug for Local {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Asked { .. } => "Asked",
            Self::Read(_) => "Read",
            Self::Happened(_) => "Happened",
        })
    }
}

/// A handle that can be cloned; when the event loop has ended every question is answered `shutting-down`.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    sender: mpsc::Sender<Local>,
    next_ask: Arc<AtomicU64>,
}

/// The door and what comes through it.
pub(crate) fn door() -> (Asker, mpsc::Receiver<Local>) {
    let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
    (Asker { sender, next_ask: Arc::default() }, receiver)
}

impl Asker {
    /// Whether the event loop has ended: nobody is asked any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.sender.is_closed()
    }

    /// A number no other question has.
    pub(crate) fn next_ask(&self) -> AskId {
        AskId(self.next_ask.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks and waits for the answer. Dropping the future withdraws the question.
    pub(crate) async fn ask(&self, by: Principal, question: Question) -> Result<Reply, Refusal> {
        let (reply, interest) = self.send(by, question, None).await?;
        interest.end();
        Ok(reply)
    }

    /// Subscribes; dropping the subscription ends it.
    pub(crate) async fn subscribe(&self, by: Principal, question: Question) -> Result<Subscription, Refusal> {
        let (notify, publications) = mpsc::channel(NOTIFICATIONS_MAX);
        let (_, interest) = self.send(by, question, Some(notify)).await?;
        Ok(Subscription { publications, _interest: interest })
    }

    async fn send(
        &self,
        by: Principal,
        question: Question,
        notify: Option<mpsc::Sender<Notified>>,
    ) -> Result<(Reply, Interest), Refusal> {
        let (answered, interest) = self.put(by, question, notify, None).await?;
        match told(answered.await) {
            Ok(reply) => Ok((reply, interest)),
            Err(refusal) => {
                interest.end();
                Err(refusal)
            }
        }
    }

    /// Asks now, behind all that was asked before; the answer is waited for elsewhere. Dropping that withdraws the question.
    pub(crate) async fn begin(&self, by: Principal, question: Question) -> Result<Pending, Refusal> {
        let (answered, interest) = self.put(by, question, None, None).await?;
        Ok(Pending { answered, interest })
    }

    /// The same for an answer that may come in parts.
    pub(crate) async fn begin_in_parts(&self, by: Principal, question: Question) -> Result<Parts, Refusal> {
        let (parts, coming) = mpsc::channel(PARTS_OPEN_MAX as usize);
        let (answered, interest) = self.put(by, question, None, Some(parts)).await?;
        Ok(Parts { parts: coming, pending: Pending { answered, interest }, untold: (0, 0) })
    }

    async fn put(
        &self,
        by: Principal,
        question: Question,
        notify: Option<mpsc::Sender<Notified>>,
        parts: Option<mpsc::Sender<Part>>,
    ) -> Result<(Answered, Interest), Refusal> {
        let (answer, answered) = oneshot::channel();
        let ask = self.next_ask();
        let asked = Local::Asked { ask, by, question: Box::new(question), answer, notify, parts };
        self.sender.send(asked).await.map_err(|_| Refusal::ShuttingDown)?;
        Ok((answered, Interest { ask, sender: Some(self.sender.clone()) }))
    }

    /// Reads from the peer between two inputs.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Peer) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let read = Local::Read(Box::new(move |peer| {
            let _gone = answer.send(read(peer));
        }));
        self.sender.send(read).await.map_err(|_| Refusal::ShuttingDown)?;
        answered.await.map_err(|_| Refusal::ShuttingDown)
    }

    /// Tells the peer what happened to an agent, a read or a worker.
    pub(crate) async fn happened(&self, input: Input) {
        let _loop_has_ended = self.sender.send(Local::Happened(Box::new(input))).await;
    }

    /// The same from a thread that may block.
    pub(crate) fn happened_blocking(&self, input: Input) {
        let _loop_has_ended = self.sender.blocking_send(Local::Happened(Box::new(input)));
    }
}

type Answered = oneshot::Receiver<Result<Reply, Refusal>>;

/// What the event loop answered; nothing any more when it has ended.
fn told(answer: Result<Result<Reply, Refusal>, oneshot::error::RecvError>) -> Result<Reply, Refusal> {
    answer.unwrap_or(Err(Refusal::ShuttingDown))
}

/// A question that was asked.
#[derive(Debug)]
pub(crate) struct Pending {
    answered: Answered,
    interest: Interest,
}

impl Pending {
    /// Its answer.
    pub(crate) async fn answer(self) -> Result<Reply, Refusal> {
        let answer = told(self.answered.await);
        self.interest.end();
        answer
    }
}

/// A question whose answer comes in parts.
#[derive(Debug)]
pub(crate) struct Parts {
    parts: mpsc::Receiver<Part>,
    pending: Pending,
    /// How many parts were taken and not told of, and how many bytes they have.
    untold: (u32, usize),
}

impl Parts {
    /// The next part, when whoever takes it has done with the one before; none when all have come and the answer is there.
    pub(crate) async fn next(&mut self) -> Option<Part> {
        // The event loop lets go of its end when it answers, behind all parts.
        let part = self.parts.recv().await?;
        self.untold = (self.untold.0 + 1, self.untold.1 + part.payload.size());
        let Some(sender) = &self.pending.interest.sender else { return Some(part) };
        if self.untold.0 >= PARTS_TAKEN_STEP || self.untold.1 >= PARTS_TAKEN_STEP_BYTES {
            let taken = Input::PartsTaken { ask: self.pending.interest.ask, count: part.number.saturating_add(1) };
            let _loop_has_ended = sender.send(Local::Happened(Box::new(taken))).await;
            self.untold = (0, 0);
        }
        Some(part)
    }

    /// The answer, once there are no more parts.
    pub(crate) async fn answer(self) -> Result<Reply, Refusal> {
        self.pending.answer().await
    }
}

/// Publications of one topic, in the order in which they reached this node.
#[derive(Debug)]
pub(crate) struct Subscription {
    publications: mpsc::Receiver<Notified>,
    _interest: Interest,
}

impl Subscription {
    /// The next one; none when the node ends or this reader was too slow.
    pub(crate) async fn next(&mut self) -> Option<Notified> {
        self.publications.recv().await
    }
}

/// Withdraws its question when dropped, unless it was ended before.
#[derive(Debug)]
struct Interest {
    ask: AskId,
    sender: Option<mpsc::Sender<Local>>,
}

impl Interest {
    fn end(mut self) {
        self.sender = None;
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let Some(sender) = self.sender.take() else { return };
        let withdrawn = Local::Happened(Box::new(Input::Withdrawn { ask: self.ask }));
        if let Err(mpsc::error::TrySendError::Full(withdrawn)) = sender.try_send(withdrawn)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                let _loop_has_ended = sender.send(withdrawn).await;
            });
        }
    }
}
