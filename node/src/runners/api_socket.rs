//! The socket of one agent alone, `WEFT_API`: programs that it starts send, call and publish there under its name.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use weft_protocol::Refusal;
use weft_protocol::limits::AGENT_IN_FLIGHT_MAX;

use crate::runners::agent_log::AgentLog;
use crate::runners::calls::{Answered, Call, Caller, raw, understand};
use crate::runners::family::is_member;
use crate::runners::jsonrpc::{self, Id, Incoming, LINE_BYTES_MAX, PARSE_ERROR, RpcError};
use crate::runners::lines::{Line, next_line};
use crate::runners::open_calls::{OpenCalls, PartLine};
use crate::runners::session::{BAD_LINES_MAX, Session};
use crate::runners::variable;

/// Longest path of a Unix socket on Linux, in bytes, without the zero at its end.
const PATH_BYTES_MAX: usize = 107;
/// Most connections of one agent; one more is closed at once (guess).
const CONNECTIONS_MAX: usize = 8;

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub(crate) struct ApiSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ApiSocket {
    /// Binds `HOME/run/NAME`, or when that is too long for a socket, the same name in a private folder for runtime files.
    ///
    /// # Errors
    /// What the file system said.
    pub(crate) fn bind(home: &Path, name: &str) -> io::Result<Self> {
        let path = home.join("run").join(name);
        let path = if path.as_os_str().len() <= PATH_BYTES_MAX { path } else { runtime_folder().join(name) };
        let folder = path.parent().ok_or_else(|| io::Error::other("a socket needs a folder"))?;
        make_private(folder)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Self { listener: UnixListener::bind(&path)?, path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Serves whoever belongs to the family of this guard, until dropped.
    pub(crate) async fn serve(self, guard: u32, caller: Caller, log: AgentLog) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_ended) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() < CONNECTIONS_MAX && is_of_agent(&stream, guard) => {
                        connections.spawn(Connection::new(caller.clone(), log.clone()).run(stream));
                    }
                    Ok(_stranger) => {}
                    Err(error) => {
                        log.line("weft", &format!("the agent's socket is closed: {error}"));
                        return;
                    }
                },
            }
        }
    }
}

impl Drop for ApiSocket {
    fn drop(&mut self) {
        let _removed_already = fs::remove_file(&self.path);
    }
}

fn is_of_agent(stream: &UnixStream, guard: u32) -> bool {
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok());
    pid.is_some_and(|pid| is_member(pid, guard))
}

fn runtime_folder() -> PathBuf {
    let own = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let shared = || std::env::temp_dir().join(format!("weft-{}", rustix::process::getuid().as_raw()));
    own.map_or_else(shared, |folder| folder.join("weft"))
}

/// Makes the folder, or checks that it is ours and open to nobody else.
fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = fs::symlink_metadata(folder)?;
    let private = metadata.is_dir()
        && metadata.uid() == rustix::process::getuid().as_raw()
        && metadata.permissions().mode() & 0o077 == 0;
    if private { Ok(()) } else { Err(io::Error::other(format!("{} is not a private folder", folder.display()))) }
}

/// One connection: the same lines as on stdio, but only what an agent asks of its node.
struct Connection {
    log: AgentLog,
    open: OpenCalls,
    parts: mpsc::Receiver<PartLine>,
    bad_lines: u32,
}

impl Connection {
    fn new(caller: Caller, log: AgentLog) -> Self {
        let (open, parts) = OpenCalls::new(caller);
        Self { log, open, parts, bad_lines: 0 }
    }

    async fn run(mut self, stream: UnixStream) {
        let (reading, mut writing) = stream.into_split();
        let (lines, mut incoming) = mpsc::channel(AGENT_IN_FLIGHT_MAX);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            let mut reading = BufReader::new(reading);
            while let Some(line) = next_line(&mut reading, LINE_BYTES_MAX).await {
                if lines.send(line).await.is_err() {
                    return;
                }
            }
        });
        let mut reading = true;
        while reading || !self.open.is_empty() {
            let written = tokio::select! {
                Some(answered) = self.open.next() => match answered {
                    (Some(id), answer) => write_line(&mut writing, Session::answer(&id, &answer)).await,
                    (None, _) => true,
                },
                Some((line, written)) = self.parts.recv() => {
                    let good = write_line(&mut writing, line).await;
                    let _cancelled_meanwhile = written.send(());
                    good
                }
                line = incoming.recv(), if reading => match line {
                    Some(line) => self.line(line, &mut writing).await,
                    None => { reading = false; true }
                },
            };
            if !written || self.bad_lines == BAD_LINES_MAX {
                return;
            }
        }
    }

    /// Whether the connection is still good.
    async fn line(&mut self, line: Line, writing: &mut OwnedWriteHalf) -> bool {
        let incoming = match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => return true,
            Line::Whole(line) => jsonrpc::parse(&line),
            Line::TooLong => {
                Err((None, RpcError::malformed(PARSE_ERROR, format!("a line is at most {LINE_BYTES_MAX} bytes"))))
            }
        };
        let (id, answer) = match incoming {
            Err((id, error)) => {
                self.bad_lines += 1;
                return write_line(writing, jsonrpc::answer(id.as_ref(), &Err(error))).await;
            }
            Ok(Incoming::Request { id, method, params }) => {
                (Some(id.clone()), self.ask(Some(id), &method, &params, writing).await)
            }
            Ok(Incoming::Notification { method, params }) => (None, self.ask(None, &method, &params, writing).await),
            Ok(Incoming::Response { .. } | Incoming::Stray) => return true,
        };
        self.bad_lines = 0;
        match (id, answer) {
            (Some(id), Some(answer)) => write_line(writing, Session::answer(&id, &answer)).await,
            _ => true,
        }
    }

    /// The answer when it is known at once.
    async fn ask(
        &mut self,
        id: Option<Id>,
        method: &str,
        params: &str,
        writing: &mut OwnedWriteHalf,
    ) -> Option<Answered> {
        if matches!(method, "subscribe" | "unsubscribe") {
            let what = format!("{method} on this socket: publications arrive on the agent's own stdin");
            return Some(Err((&Refusal::Unsupported { what }).into()));
        }
        match understand(method, params) {
            Err(error) => Some(Err(error)),
            Ok(Call::Ready) => Some(Ok(raw("{}".into()))),
            Ok(Call::Log { level, text }) => {
                self.log.line(level.name(), &text);
                Some(Ok(raw("{}".into())))
            }
            Ok(Call::Cancel(call)) => {
                if let Some(cancelled) = self.open.cancel(&call) {
                    write_line(writing, Session::answer(&call, &cancelled)).await;
                }
                Some(Ok(raw("{}".into())))
            }
            Ok(Call::Ask(question)) => self.open.ask(id, question).await.err().map(Err),
        }
    }
}

async fn write_line(writing: &mut OwnedWriteHalf, mut line: String) -> bool {
    line.push('\n');
    writing.write_all(line.as_bytes()).await.is_ok()
}
