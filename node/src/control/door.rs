//! Who may knock: the same user, no agent, with the operator's token.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::failure::Failure;
use super::{Control, Served, router};
use crate::cli::CliError;
use crate::home::{Home, HomeDir};

/// How long requests that are being answered may take when the node goes down.
const LAST_ANSWERS: std::time::Duration = std::time::Duration::from_secs(2);

/// Who is at the other end of a connection, as the kernel says; nobody knows when it does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knock {
    user: Option<u32>,
    process: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Knock {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        let process = credentials.and_then(|credentials| credentials.pid()).and_then(|pid| u32::try_from(pid).ok());
        Self { user: credentials.map(|credentials| credentials.uid()), process }
    }
}

/// An open door; requests are answered until it is closed.
#[derive(Debug)]
pub(crate) struct Door {
    closing: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// Opens the door of a home: its socket (0600), its token, and the file that says where it is.
///
/// # Errors
/// What the file system said.
pub(crate) fn open(home: &Home, control: Control) -> Result<Door, CliError> {
    let token = home.operator_token_or_new()?;
    let socket = home.place_api_socket()?;
    let listener = bind(&socket).map_err(|error| CliError::new("failed", format!("{}: {error}", socket.display())))?;
    let folder = HomeDir::new(home.path())?;
    let served = Served { control, home: folder, token, started: Instant::now() };
    let service = router(Arc::new(served)).into_make_service_with_connect_info::<Knock>();
    let (closing, closed) = oneshot::channel();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
        let _closed_or_dropped = closed.await;
    });
    let serving = tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the local door does not work any more");
        }
    });
    Ok(Door { closing, serving })
}

fn bind(socket: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Door {
    /// Lets nobody in any more; requests that are being answered get two more seconds.
    pub(crate) async fn close(self) {
        let _ended_already = self.closing.send(());
        let stop = self.serving.abort_handle();
        if tokio::time::timeout(LAST_ANSWERS, self.serving).await.is_err() {
            stop.abort();
        }
    }
}

/// Lets a request in, or refuses it before anything of it is read.
pub(crate) async fn admit(
    State(served): State<Arc<Served>>,
    ConnectInfo(knock): ConnectInfo<Knock>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    if knock.user != Some(rustix::process::geteuid().as_raw()) {
        return Err(Failure::new("denied", "this door is another user's"));
    }
    if knock.process.is_none_or(|pid| served.control.agents.is_agent_pid(pid)) {
        let message = "this door is the operator's; an agent has its own, named in WEFT_API";
        return Err(Failure::new("denied", message));
    }
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if !shown.is_some_and(|shown| same(shown, served.token.as_bytes())) {
        let message = "the operator's token is missing or wrong";
        return Err(
            Failure::new("unauthorized", message).hint("Authorization: Bearer, then what HOME/operator.token holds")
        );
    }
    Ok(next.run(request).await)
}

/// Compares without telling by the time it takes how much is right.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same(b"token", b"token"));
        assert!(!same(b"token", b"tokem"));
        assert!(!same(b"token", b"tokens"));
        assert!(!same(b"", b"token"));
    }
}
