//! What an agent wrote to its error output and said with `log`: the last lines of it, and the next ones as they come.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use weft_protocol::control::{ErrorBody, LogLine, LogReport};
use weft_protocol::{AgentName, Backend, Target};

use super::Served;
use super::agents::find;
use super::failure::Failure;
use super::request::Parameters;

/// Lines that are told when nobody says how many.
const LINES: usize = 100;
/// Most lines that are told at once; a log holds about this many (guess).
const LINES_MAX: usize = 20_000;
/// How often a log that is followed is looked at again (guess).
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What logs may be asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogParameters {
    /// The last so many lines, 100 without it, at most 20,000.
    lines: Option<usize>,
}

/// The last lines of an agent's log, oldest first. The log outlives the agent's processes and holds what all of them said.
#[utoipa::path(get, path = "/v1/agents/{agent}/logs",
    params(("agent" = String, Path, description = "Its name or process"), LogParameters),
    responses((status = 200, body = LogReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn logs(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
    Parameters(parameters): Parameters<LogParameters>,
) -> Result<Json<LogReport>, Failure> {
    let (agent, path) = log_of(&served, &agent).await?;
    let lines = last_lines(&path, count(&parameters)).await.map_err(|error| unreadable(&path, &error))?;
    Ok(Json(LogReport { agent: agent.to_string(), lines }))
}

/// The last lines of an agent's log and then every new one, as server-sent events.
#[utoipa::path(get, path = "/v1/agents/{agent}/logs/follow",
    params(("agent" = String, Path, description = "Its name or process"), LogParameters),
    responses((status = 200, body = LogLine, content_type = "text/event-stream"), (status = "default", body = ErrorBody)))]
pub(crate) async fn follow(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
    Parameters(parameters): Parameters<LogParameters>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let (_, path) = log_of(&served, &agent).await?;
    let problem = |error: io::Error| unreadable(&path, &error);
    // Opened first: what is written meanwhile is told twice rather than never, and then only when it is among the last.
    let mut file = File::open(&path).await.map_err(problem)?;
    file.seek(io::SeekFrom::End(0)).await.map_err(problem)?;
    let mut lines = last_lines(&path, count(&parameters)).await.map_err(problem)?;
    lines.reverse();
    let tail = Tail { file, read: Vec::new(), lines, path };
    Ok(Sse::new(futures::stream::unfold(tail, next_line)).keep_alive(KeepAlive::default()))
}

/// A log that is followed.
struct Tail {
    path: PathBuf,
    file: File,
    /// What was read and is no whole line yet.
    read: Vec<u8>,
    /// What is told next is last.
    lines: Vec<LogLine>,
}

async fn next_line(mut tail: Tail) -> Option<(Result<Event, Infallible>, Tail)> {
    loop {
        if let Some(line) = tail.lines.pop() {
            let event = Event::default().json_data(&line).unwrap_or_else(|error| {
                tracing::error!(%error, "BUG: a line of a log cannot be written as JSON");
                Event::default().comment("a line could not be written")
            });
            return Some((Ok(event), tail));
        }
        if tail.look().await.ok()? == 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Tail {
    /// Reads what was added, in the file that took this one's place too; says how many lines that were.
    async fn look(&mut self) -> io::Result<usize> {
        let added = self.file.read_to_end(&mut self.read).await?;
        if added == 0 {
            let now = tokio::fs::metadata(&self.path).await;
            if now.is_ok_and(|now| now.ino() != 0) && self.was_replaced().await? {
                self.file = File::open(&self.path).await?;
            }
        }
        let whole = self.read.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = String::from_utf8_lossy(&self.read[..whole]).into_owned();
        self.read.drain(..whole);
        self.lines = text.lines().rev().map(log_line).collect();
        Ok(self.lines.len())
    }

    async fn was_replaced(&self) -> io::Result<bool> {
        let (held, named) = (self.file.metadata().await?, tokio::fs::metadata(&self.path).await?);
        Ok(held.ino() != named.ino())
    }
}

fn count(parameters: &LogParameters) -> usize {
    parameters.lines.unwrap_or(LINES).min(LINES_MAX)
}

/// The log of an agent that runs, or ran, as a program.
async fn log_of(served: &Served, agent: &str) -> Result<(AgentName, PathBuf), Failure> {
    let target: Target = agent.parse()?;
    let process = served.read(move |peer| find(peer, &target)).await??;
    match process.backend {
        Backend::Builtin(_) => {
            let message = format!("{} is built in and has no log", process.agent);
            Err(Failure::new("unsupported", message).hint("weft chain log shows what it did"))
        }
        Backend::Command { .. } => {
            let path = served.home.path().join("logs").join(format!("{}.log", process.agent));
            Ok((process.agent, path))
        }
    }
}

/// The last lines of a log and of the file that it replaced, oldest first.
async fn last_lines(path: &FilePath, most: usize) -> io::Result<Vec<LogLine>> {
    let now = tokio::fs::read(path).await?;
    let before = match tokio::fs::read(path.with_extension("log.old")).await {
        Ok(before) => before,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let (before, now) = (String::from_utf8_lossy(&before), String::from_utf8_lossy(&now));
    let mut lines: Vec<LogLine> = now.lines().rev().chain(before.lines().rev()).take(most).map(log_line).collect();
    lines.reverse();
    Ok(lines)
}

/// A line as the log holds it: time, source, text.
fn log_line(line: &str) -> LogLine {
    let mut words = line.splitn(3, ' ').map(str::to_owned);
    let mut next = || words.next().unwrap_or_default();
    LogLine { at: next(), source: next(), text: next() }
}

fn unreadable(path: &FilePath, error: &io::Error) -> Failure {
    Failure::new("failed", format!("{}: {error}", path.display()))
}
