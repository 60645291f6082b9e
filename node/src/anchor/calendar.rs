//! Talking to calendars of OpenTimestamps: a hash goes there, a promise comes back, and later what Bitcoin attests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::proof::{ProofError, Timestamp};

/// What a calendar speaks.
const MEDIA_TYPE: &str = "application/vnd.opentimestamps.v1";
/// Most bytes of an answer, as the reference has it.
const ANSWER_BYTES_MAX: usize = 10_000;
/// How long a calendar has for an answer (guess: they answer within one).
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Why a calendar was of no use. Nothing changed there that matters; the same may work later, where it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CalendarError {
    /// Nobody is there, or the connection broke.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("it did not answer within {} s", ANSWER_TIME_MAX.as_secs())]
    Slow,
    /// It does not want to.
    #[error("it answered {0}")]
    Status(u16),
    /// Its answer is too large.
    #[error("its answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// Its answer is no proof.
    #[error("its answer is no proof: {0}")]
    Malformed(#[from] ProofError),
}

/// The address of a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Calendar {
    /// `host` or `host:port`.
    authority: String,
    /// Without a slash at its end.
    path: String,
}

impl fmt::Display for Calendar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.authority, self.path)
    }
}

impl FromStr for Calendar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{text}` is no calendar: {what}");
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(wrong(
                "its address begins with http://; put a proxy of yours in front of one that speaks https",
            ));
        };
        if text.len() > 256 {
            return Err(wrong("its address has at most 256 bytes"));
        }
        let (authority, path) = rest
            .split_once('/')
            .map_or((rest, String::new()), |(host, path)| (host, format!("/{path}").trim_end_matches('/').to_owned()));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(allowed) {
            return Err(wrong("it names no host"));
        }
        if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)) {
            return Err(wrong("its path holds characters that must be escaped"));
        }
        Ok(Self { authority: authority.to_owned(), path })
    }
}

impl Calendar {
    /// Hands a hash in; what comes back says how it leads to what the calendar promises.
    ///
    /// # Errors
    /// [`CalendarError`].
    pub(crate) async fn submit(&self, digest: &[u8; 32]) -> Result<Timestamp, CalendarError> {
        let answer = self.ask(Method::POST, "/digest", Bytes::copy_from_slice(digest)).await?;
        let answer = answer.ok_or(CalendarError::Status(StatusCode::NOT_FOUND.as_u16()))?;
        Ok(Timestamp::decode(&answer, digest.len())?)
    }

    /// Asks what became of a promise; `None` while nothing did.
    ///
    /// # Errors
    /// [`CalendarError`].
    pub(crate) async fn upgrade(&self, commitment: &[u8]) -> Result<Option<Timestamp>, CalendarError> {
        let path = format!("/timestamp/{}", HEXLOWER.encode(commitment));
        let answer = self.ask(Method::GET, &path, Bytes::new()).await?;
        Ok(answer.map(|answer| Timestamp::decode(&answer, commitment.len())).transpose()?)
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Option<Vec<u8>>, CalendarError> {
        let asked = tokio::time::timeout(ANSWER_TIME_MAX, self.exchange(method, path, body)).await;
        asked.unwrap_or(Err(CalendarError::Slow))
    }

    /// The answer; none when there is nothing under that path.
    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Option<Vec<u8>>, CalendarError> {
        let lost = |error: &dyn std::error::Error| CalendarError::Unreachable(error.to_string());
        let has_port = self.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { self.authority.clone() } else { format!("{}:80", self.authority) };
        let stream = TcpStream::connect(address).await.map_err(|error| lost(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.path))
            .header(HOST, &self.authority)
            .header(ACCEPT, MEDIA_TYPE)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(USER_AGENT, "weft")
            .body(Full::new(body))
            .map_err(|error| lost(&error))?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(None),
                status => return Err(CalendarError::Status(status.as_u16())),
            }
            let mut body = response.into_body();
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| lost(&error))?;
                bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
                if bytes.len() > ANSWER_BYTES_MAX {
                    return Err(CalendarError::TooLarge);
                }
            }
            Ok(Some(bytes))
        };
        let answer = answered.await;
        connection.abort();
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_strictly() {
        let shown = |text: &str| text.parse::<Calendar>().map(|calendar| calendar.to_string());
        assert_eq!(shown("http://127.0.0.1:8000/"), Ok("http://127.0.0.1:8000".to_owned()));
        assert_eq!(shown("http://calendar.example/a/b/"), Ok("http://calendar.example/a/b".to_owned()));
        for wrong in
            ["https://a", "a", "http://", "http:///x", "http://a b", "http://a/?x", "http://a@b", "http://a\r\nx"]
        {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
