//! Asks a running node through its local door: HTTP/1.1 over the Unix socket of its home.

use std::io;
use std::path::PathBuf;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use weft_protocol::control::ErrorBody;

use super::{At, CliError};
use crate::home::{Choice, HomeDir, choose};

/// A node's door. Each request opens a connection of its own.
#[derive(Debug)]
pub(crate) struct Client {
    home: HomeDir,
    token: String,
}

impl Client {
    /// The door of the node that the arguments mean.
    ///
    /// # Errors
    /// `not-running` when there is no such node, or it has never run; `several-nodes`.
    pub(crate) fn of(at: &At) -> Result<Self, CliError> {
        Self::at(choose_home(at)?)
    }

    /// The door of the node in this home.
    ///
    /// # Errors
    /// `not-running` when it has never run.
    pub(crate) fn at(home: HomeDir) -> Result<Self, CliError> {
        let token = home.operator_token().map_err(|_| not_running(&home))?;
        Ok(Self { home, token })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// What the node said, or `not-running`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.whole(Method::GET, path, None::<&()>).await
    }

    /// The very bytes of an answer.
    ///
    /// # Errors
    /// What the node said, or `not-running`.
    pub(crate) async fn bytes(&self, path: &str) -> Result<Vec<u8>, CliError> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        let bytes = response.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
        Ok(bytes.to_vec())
    }

    /// Asks to do something.
    ///
    /// # Errors
    /// What the node said, or `not-running`.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.whole(Method::POST, path, Some(body)).await
    }

    /// Asks to take something back.
    ///
    /// # Errors
    /// What the node said, or `not-running`.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.whole(Method::DELETE, path, None::<&()>).await
    }

    /// Asks for something that arrives bit by bit.
    ///
    /// # Errors
    /// What the node said, or `not-running`.
    pub(crate) async fn stream(&self, path: &str) -> Result<Incoming, CliError> {
        Ok(self.send(Method::GET, path, None::<&()>).await?.into_body())
    }

    /// Asks to do something whose outcome arrives bit by bit.
    ///
    /// # Errors
    /// What the node said, or `not-running`.
    pub(crate) async fn post_stream(&self, path: &str, body: &impl Serialize) -> Result<Incoming, CliError> {
        Ok(self.send(Method::POST, path, Some(body)).await?.into_body())
    }

    async fn whole<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, CliError> {
        let response = self.send(method, path, body).await?;
        let bytes = response.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|error| broken(&error))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response<Incoming>, CliError> {
        let stream = UnixStream::connect(self.home.api_socket()).await.map_err(|error| self.no_door(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        tokio::spawn(connection);
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| broken(&error))?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "weft")
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| CliError::new("invalid", error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
        Err(match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => body.error.into(),
            Err(_) => CliError::new("failed", format!("the node answered {status}")),
        })
    }

    fn no_door(&self, error: &io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => not_running(&self.home),
            io::ErrorKind::PermissionDenied => {
                CliError::new("denied", format!("the node in {} is another user's", self.home.path().display()))
            }
            _ => CliError::new("failed", format!("{}: {error}", self.home.api_socket().display())),
        }
    }
}

/// The home that the arguments mean, of a node that exists.
///
/// # Errors
/// `not-running` when there is none; `several-nodes`.
pub(crate) fn choose_home(at: &At) -> Result<HomeDir, CliError> {
    let home = match &at.node {
        Some(_) => None,
        None => at.home.clone().or_else(home_of_environment),
    };
    Ok(choose(Choice { home: home.as_deref(), node: at.node.as_ref() })?)
}

/// The home that `WEFT_HOME` names.
pub(crate) fn home_of_environment() -> Option<PathBuf> {
    crate::config::variable("WEFT_HOME").map(PathBuf::from)
}

fn not_running(home: &HomeDir) -> CliError {
    CliError::new("not-running", format!("the node in {} does not run", home.path().display()))
        .hint(format!("weft up --home {}", home.path().display()))
        .retry()
}

fn broken(error: &dyn std::error::Error) -> CliError {
    CliError::new("failed", format!("the node's answer broke off: {error}")).hint("weft status").changed()
}

/// A text as one segment of a path: everything but letters, digits and `-_.~` is escaped (RFC 3986, section 2.3).
pub(crate) fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
        escaped
    })
}

/// A body in pieces as they arrive: lines, or server-sent events.
#[derive(Debug)]
pub(crate) struct Pieces {
    body: Incoming,
    pending: Vec<u8>,
    end: &'static [u8],
    inner: fn(&str) -> Option<String>,
}

impl Pieces {
    /// Lines that are not empty.
    pub(crate) const fn lines(body: Incoming) -> Self {
        Self { body, pending: Vec::new(), end: b"\n", inner: not_empty }
    }

    /// The data of server-sent events; comments are left out.
    pub(crate) const fn events(body: Incoming) -> Self {
        Self { body, pending: Vec::new(), end: b"\n\n", inner: data_of }
    }

    /// Server-sent events, whole; comments are left out.
    pub(crate) const fn named_events(body: Incoming) -> Self {
        Self { body, pending: Vec::new(), end: b"\n\n", inner: whole_event }
    }

    /// The next piece; `None` when the node ended the stream.
    ///
    /// # Errors
    /// When the stream broke off.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, CliError> {
        loop {
            while let Some(piece) = take_piece(&mut self.pending, self.end) {
                if let Some(piece) = (self.inner)(&piece) {
                    return Ok(Some(piece));
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(frame)) => self.pending.extend(frame.into_data().unwrap_or_default()),
            }
        }
    }
}

/// Cuts the first whole piece off, without its end.
fn take_piece(pending: &mut Vec<u8>, end: &[u8]) -> Option<String> {
    let at = pending.windows(end.len()).position(|window| window == end)?;
    let piece: Vec<u8> = pending.drain(..at + end.len()).collect();
    Some(String::from_utf8_lossy(&piece[..at]).into_owned())
}

fn not_empty(line: &str) -> Option<String> {
    if line.is_empty() { None } else { Some(line.to_owned()) }
}

fn whole_event(event: &str) -> Option<String> {
    data_of(event).map(|_| event.to_owned())
}

/// The name and the data of a server-sent event.
pub(crate) fn name_and_data(event: &str) -> Option<(String, String)> {
    let name = event.lines().find_map(|line| line.strip_prefix("event:")).map_or("message", str::trim);
    Some((name.to_owned(), data_of(event)?))
}

fn data_of(event: &str) -> Option<String> {
    let lines: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
    if lines.is_empty() { None } else { Some(lines.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_at_empty_lines() {
        let mut pending = b"id: 1\ndata: {\"a\":\ndata: 1}\n\n: keep-alive\n\ndata: x".to_vec();
        let event = take_piece(&mut pending, b"\n\n").expect("whole");
        assert_eq!(data_of(&event).as_deref(), Some("{\"a\":\n1}"));
        let comment = take_piece(&mut pending, b"\n\n").expect("whole");
        assert_eq!(data_of(&comment), None);
        assert_eq!(take_piece(&mut pending, b"\n\n"), None);
        assert_eq!(pending, b"data: x");
    }

    #[test]
    fn segments_are_escaped() {
        assert_eq!(segment("#12.3@b/ä"), "%2312.3%40b%2F%C3%A4");
        assert_eq!(segment("jobs.new-1_~"), "jobs.new-1_~");
    }
}
