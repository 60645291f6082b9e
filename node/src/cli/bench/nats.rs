//! The same exchange through a broker: requests and their replies by `nats-server`, in plain text over TCP on the loopback, between two
//! processes. Measured when it is installed.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::ChildStdout;
use tokio::time::{Instant, interval, timeout};

use super::stock::{BODY_BYTES, on_one_thread};
use super::{failed, micros, per_second, percentile};
use crate::cli::CliError;

const SERVER: &str = "nats-server";
const REQUESTS: &str = "bench";
const REPLIES: &str = "_INBOX.bench";
/// How long the server and the answering side may take to come up, and one answer to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the exchange comes to.
#[derive(Debug)]
pub(super) struct Nats {
    /// What the server says it is.
    pub(super) version: String,
    /// On how many threads both sides run: for people.
    pub(super) setting: &'static str,
    /// One at a time: the middle and the slowest hundredth, in microseconds.
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Exchanges per second, so many at once.
    pub(super) at_once_per_s: f64,
}

/// Both settings, each with a server of its own in a folder of its own under `folder`.
///
/// # Errors
/// Why there is nothing to print.
pub(super) async fn measure(
    folder: &Path,
    count: usize,
    in_flight: usize,
    at_once: usize,
) -> Result<[Nats; 2], String> {
    let several = folder.join("nats-several");
    let several = measure_one(&several, "several threads", false, count, in_flight, at_once).await?;
    let folder = folder.join("nats-one");
    let one =
        on_one_thread(async move || Ok(measure_one(&folder, "one thread", true, count, in_flight, at_once).await));
    Ok([several, one.await.map_err(|error| error.to_string())??])
}

async fn measure_one(
    folder: &Path,
    setting: &'static str,
    one_thread: bool,
    count: usize,
    in_flight: usize,
    at_once: usize,
) -> Result<Nats, String> {
    let server = Server::start(folder).await?;
    let measured = async {
        let _answering = Answering::start(&server.address, one_thread).await?;
        let mut client = Connection::open(&server.address, REPLIES).await?;
        client.one_at_a_time(count / 4).await?;
        let mut times = client.one_at_a_time(count).await?;
        let at_once_per_s = client.at_once(in_flight, at_once).await?;
        let (p50_us, p99_us) = (percentile(&mut times, 50), percentile(&mut times, 99));
        io::Result::Ok(Nats { version: client.version, setting, p50_us, p99_us, at_once_per_s })
    };
    measured.await.map_err(|error| format!("{SERVER} did not answer: {error}"))
}

/// The broker.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Where it says that it listens.
#[derive(Debug, Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Server {
    /// Starts it on a free port of the loopback; it writes its ports into a file.
    async fn start(folder: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| format!("the folder of {SERVER}: {error}"))?;
        let started = Command::new(SERVER)
            .args(["--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir"])
            .arg(folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = started.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{SERVER} is not installed"),
            _ => format!("{SERVER} did not start: {error}"),
        })?;
        let file = folder.join(format!("{SERVER}_{}.ports", child.id()));
        let mut server = Self { child, address: String::new() };
        let mut looks = interval(Duration::from_millis(5));
        let told = timeout(PATIENCE, async {
            loop {
                looks.tick().await;
                let ports = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Ports>(&text).ok());
                if let Some(address) = ports.and_then(|ports| ports.nats.into_iter().next()) {
                    return address;
                }
            }
        });
        let address = told.await.map_err(|_| format!("{SERVER} does not say where it listens"))?;
        server.address = address.trim_start_matches("nats://").to_owned();
        Ok(server)
    }
}

/// The process that answers.
struct Answering(Child);

impl Answering {
    /// Starts it, and waits until it says that the server knows of it: a request before that is lost.
    async fn start(address: &str, one_thread: bool) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench-stock", "--nats", address]).args(one_thread.then_some("--one-thread"));
        let mut answering = Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
        let stdout = answering.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut lines = BufReader::new(ChildStdout::from_std(stdout)?).lines();
        timeout(PATIENCE, lines.next_line()).await??.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(answering)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Answers each request with its own body, until the server ends.
///
/// # Errors
/// When the server cannot be reached or says something else than messages.
pub(super) async fn answer(address: &str) -> Result<(), CliError> {
    let broken = |error: io::Error| failed("nats", &error);
    let mut connection = Connection::open(address, REQUESTS).await.map_err(broken)?;
    writeln!(io::stdout(), "ready").map_err(CliError::writing)?;
    while let Some(reply_to) = connection.message().await.map_err(broken)? {
        let body = std::mem::take(&mut connection.body);
        connection.put(&reply_to, "", &body);
        connection.body = body;
        if connection.reader.buffer().is_empty() {
            connection.flush().await.map_err(broken)?;
        }
    }
    Ok(())
}

/// A client of the server, with one subscription.
struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// What is to be written.
    out: Vec<u8>,
    /// The body of the last message.
    body: Vec<u8>,
    line: String,
    version: String,
}

/// What a server says of itself first.
#[derive(Debug, Deserialize)]
struct Info {
    version: String,
}

impl Connection {
    async fn open(address: &str, subject: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let reader = BufReader::with_capacity(64 * 1024, reader);
        let (out, body, line) = (Vec::new(), Vec::new(), String::new());
        let mut connection = Self { reader, writer, out, body, line, version: String::new() };
        connection.read_line().await?;
        let info = connection.line.strip_prefix("INFO ").unwrap_or_default();
        let info: Info = serde_json::from_str(info).map_err(io::Error::other)?;
        connection.version = info.version;
        let begin = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {subject} 1\r\nPING\r\n");
        connection.out.extend_from_slice(begin.as_bytes());
        connection.flush().await?;
        loop {
            connection.read_line().await?;
            if connection.line == "PONG" {
                return Ok(connection);
            }
        }
    }

    async fn read_line(&mut self) -> io::Result<()> {
        self.line.clear();
        if self.reader.read_line(&mut self.line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.line.truncate(self.line.trim_end().len());
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    fn put(&mut self, subject: &str, reply_to: &str, body: &[u8]) {
        self.out.extend_from_slice(format!("PUB {subject} {reply_to} {}\r\n", body.len()).as_bytes());
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Reads the next message into `body`; to whom its reply goes, which is nobody for a reply. None when the server has ended.
    async fn message(&mut self) -> io::Result<Option<String>> {
        loop {
            match self.read_line().await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
            if self.line == "PING" {
                self.out.extend_from_slice(b"PONG\r\n");
                self.flush().await?;
                continue;
            }
            // MSG subject subscription [reply-to] bytes
            let words: Vec<&str> = self.line.split_whitespace().collect();
            let (reply_to, bytes) = match words[..] {
                ["MSG", _, _, bytes] => (String::new(), bytes),
                ["MSG", _, _, reply_to, bytes] => (reply_to.to_owned(), bytes),
                _ => return Err(io::Error::other(self.line.clone())),
            };
            let bytes: usize = bytes.parse().map_err(io::Error::other)?;
            self.body.resize(bytes + 2, 0);
            self.reader.read_exact(&mut self.body).await?;
            self.body.truncate(bytes);
            return Ok(Some(reply_to));
        }
    }

    async fn ask(&mut self) -> io::Result<()> {
        self.put(REQUESTS, REPLIES, &[7; BODY_BYTES]);
        self.flush().await
    }

    async fn answered(&mut self) -> io::Result<()> {
        let answered = timeout(PATIENCE, self.message()).await??;
        match answered {
            Some(_) if self.body == [7; BODY_BYTES] => Ok(()),
            Some(_) => Err(io::Error::other("other bytes came back than were sent")),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn one_at_a_time(&mut self, count: usize) -> io::Result<Vec<f64>> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let begin = Instant::now();
            self.ask().await?;
            self.answered().await?;
            times.push(micros(begin));
        }
        Ok(times)
    }

    async fn at_once(&mut self, in_flight: usize, count: usize) -> io::Result<f64> {
        let begin = Instant::now();
        for _ in 0..in_flight {
            self.put(REQUESTS, REPLIES, &[7; BODY_BYTES]);
        }
        self.flush().await?;
        for answered in 0..count {
            self.answered().await?;
            if answered + in_flight < count {
                self.put(REQUESTS, REPLIES, &[7; BODY_BYTES]);
            }
            if self.reader.buffer().is_empty() {
                self.flush().await?;
            }
        }
        Ok(per_second(count, begin))
    }
}
