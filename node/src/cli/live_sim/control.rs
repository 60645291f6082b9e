//! How other commands reach the simulation that runs: a line of JSON to its socket, a line of JSON back.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use weft_protocol::control::ErrorBody;

use super::cluster::NodeRow;
use super::fault::{Fault, FaultRow};
use super::folder::{short_path, sim_folder};
use crate::cli::CliError;

/// Longest line (guess: 64 nodes as JSON take a fifth of it).
const LINE_BYTES_MAX: u64 = 64 * 1_024;
/// How long whoever connects may take to say what it wants.
const ASK_MAX: Duration = Duration::from_secs(5);
/// Commands that wait for their turn at once.
const ASKS_MAX: usize = 16;

/// The code of the answer to everything but the end while the nodes start.
pub(crate) const STARTING: &str = "busy";

/// What can be asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// To do something.
    Act(Fault),
    /// Which faults are in force.
    Faults,
    /// Which nodes there are.
    Nodes,
    /// To end everything.
    Down,
}

/// The answer to [`Ask::Faults`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FaultsReport {
    /// In force.
    pub(crate) faults: Vec<FaultRow>,
}

/// The answer to [`Ask::Nodes`] and [`Ask::Down`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodesReport {
    /// The process that stands between them.
    pub(crate) pid: u32,
    /// All of them.
    pub(crate) nodes: Vec<NodeRow>,
}

/// One question, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    pub(crate) answer: oneshot::Sender<Result<Value, CliError>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Done(Value),
    Failed(ErrorBody),
}

/// Takes questions from now on.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn serve(socket: &Path) -> io::Result<mpsc::Receiver<Asked>> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // The folder is this user's alone, so the socket is.
    let (_folder, path) = short_path(socket)?;
    let listener = UnixListener::bind(path)?;
    let (sender, asks) = mpsc::channel(ASKS_MAX);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, sender.clone()));
        }
    });
    Ok(asks)
}

async fn answer(stream: UnixStream, asks: mpsc::Sender<Asked>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut lines = BufReader::new(read.take(LINE_BYTES_MAX));
    if timeout(ASK_MAX, lines.read_line(&mut line)).await.is_err() {
        return Ok(());
    }
    let said = match serde_json::from_str(&line) {
        Ok(ask) => {
            let (answer, answered) = oneshot::channel();
            let _ends_meanwhile = asks.send(Asked { ask, answer }).await;
            answered.await.unwrap_or_else(|_| Err(CliError::new("shutting-down", "the simulation ends")))
        }
        Err(error) => Err(CliError::new("invalid", format!("not a question: {error}"))),
    };
    let said = match said {
        Ok(value) => Said::Done(value),
        Err(error) => Said::Failed(error.body()),
    };
    let mut text = serde_json::to_string(&said).unwrap_or_default();
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

/// Asks the simulation that runs.
///
/// # Errors
/// `not-running` without one; what it said.
pub(crate) async fn ask<T: DeserializeOwned>(ask: &Ask) -> Result<T, CliError> {
    let none = |_| CliError::new("not-running", "no simulation runs").hint("weft sim up 5, in another terminal");
    let broken = |error: &dyn std::fmt::Display| {
        CliError::new("failed", format!("the simulation's answer broke off: {error}"))
            .hint("weft sim fault ls")
            .changed()
    };
    let stream = {
        let (_folder, path) = short_path(&sim_folder()?.join("control.sock")).map_err(none)?;
        UnixStream::connect(path).await.map_err(none)?
    };
    let (read, mut write) = stream.into_split();
    let mut text = serde_json::to_string(ask).map_err(|error| broken(&error))?;
    text.push('\n');
    write.write_all(text.as_bytes()).await.map_err(|error| broken(&error))?;
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.map_err(|error| broken(&error))?;
    if line.is_empty() {
        return Err(CliError::new("not-running", "the simulation ends, or has just ended")
            .hint("weft sim up 5")
            .changed());
    }
    match serde_json::from_str(&line).map_err(|error| broken(&error))? {
        Said::Done(value) => serde_json::from_value(value).map_err(|error| broken(&error)),
        Said::Failed(body) => Err(body.error.into()),
    }
}
