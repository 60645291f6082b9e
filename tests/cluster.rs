//! Starts and stops real nodes of the built binary, talks to their doors, and waits for conditions with a bound.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long any single thing may take before a test fails: far above what it takes, far below what hangs.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// Nodes of tests are nobody's business on the LAN of whoever runs them.
pub(crate) const MDNS: (&str, &str) = ("WEFT_NETWORK_MDNS", "false");

/// The built binary.
pub(crate) fn weft() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.env_remove("RUST_LOG").env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command.env(MDNS.0, MDNS.1);
    command
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

impl Said {
    /// The code of the error that `--json` told, and the exit code.
    pub(crate) fn json_error(&self) -> (String, i32) {
        (self.json()["error"]["code"].as_str().unwrap_or_default().to_owned(), self.code)
    }
}

/// Runs `weft` with these words to its end.
pub(crate) fn run(words: &[&str]) -> Said {
    run_command(weft().args(words))
}

/// Runs a command to its end.
pub(crate) fn run_command(command: &mut Command) -> Said {
    let output = command.output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Said { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Waits until `condition` gives a value, looking again whenever a little time has passed.
pub(crate) fn wait_for<T>(what: &str, bound: Duration, condition: impl FnMut() -> Option<T>) -> T {
    within(bound, condition).unwrap_or_else(|| panic!("{what} did not come true within {bound:?}"))
}

/// What `condition` gave in time, looking again whenever a little time has passed.
pub(crate) fn within<T>(bound: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let (_keep, never) = mpsc::channel::<()>();
    let end = Instant::now() + bound;
    loop {
        let value = condition();
        if value.is_some() || Instant::now() >= end {
            return value;
        }
        let _pause = never.recv_timeout(Duration::from_millis(20));
    }
}

/// A running node and its home. Dropping it kills what runs.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) up: Value,
    child: Child,
    prefix: Vec<String>,
}

impl Node {
    /// A new cluster of one, with its home below `folder`.
    pub(crate) fn found(folder: &Path, name: &str) -> Self {
        Self::start(folder.join(name), name, &[], &[])
    }

    /// A node that joins by `token`.
    pub(crate) fn join(folder: &Path, name: &str, token: &str) -> Self {
        Self::start(folder.join(name), name, &["join", token], &[])
    }

    /// Starts `weft up`, or the given words, behind a prefix such as `ip netns exec a`, and waits until it serves.
    pub(crate) fn start(home: PathBuf, name: &str, words: &[&str], prefix: &[&str]) -> Self {
        let words = if words.is_empty() { &["up"] } else { words };
        let prefix: Vec<String> = prefix.iter().map(|&word| word.to_owned()).collect();
        let mut command = with_prefix(&prefix);
        command
            .args(words)
            .args(["--name", name, "--json", "--home"])
            .arg(&home)
            .env("XDG_STATE_HOME", state_of(&home));
        let (child, up) = spawn(&mut command).unwrap_or_else(|said| panic!("{name} did not start: {said:?}"));
        Self { name: name.to_owned(), home, up, child, prefix }
    }

    /// Starts the stopped node again in its home.
    pub(crate) fn restart(&mut self) {
        let mut command = with_prefix(&self.prefix);
        command.args(["up", "--json", "--home"]).arg(&self.home).env("XDG_STATE_HOME", state_of(&self.home));
        let (child, up) = spawn(&mut command).unwrap_or_else(|said| panic!("{} did not restart: {said:?}", self.name));
        (self.child, self.up) = (child, up);
    }

    /// The process of the node itself, whatever was put before it.
    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.up["pid"].as_u64().expect("a pid")).expect("a pid")
    }

    /// Ends it as a power cut would, but for the page cache.
    pub(crate) fn kill(&mut self) {
        signal(self.pid(), "KILL");
        self.wait_end();
    }

    /// Asks it to go down and waits for its end.
    pub(crate) fn down(&mut self) -> ExitStatus {
        let said = self.weft(&["down"]);
        assert_eq!(said.code, 0, "{said:?}");
        self.wait_end()
    }

    /// Waits for the end of the process.
    pub(crate) fn wait_end(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the end of the node", BOUND, || child.try_wait().expect("a child"))
    }

    /// Runs `weft` with these words against this node.
    pub(crate) fn weft(&self, words: &[&str]) -> Said {
        let mut command = with_prefix(&self.prefix);
        run_command(command.args(words).arg("--home").arg(&self.home).env("XDG_STATE_HOME", state_of(&self.home)))
    }

    /// The same with `--json`, which must succeed.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let mut words = words.to_vec();
        words.push("--json");
        let said = self.weft(&words);
        assert_eq!(said.code, 0, "weft {words:?}: {said:?}");
        said.json()
    }

    /// An invite of this node.
    pub(crate) fn invite(&self, words: &[&str]) -> String {
        let invited = self.json(&[&["invite"], words].concat());
        invited["token"].as_str().expect("a token").to_owned()
    }

    /// One request through the node's door.
    pub(crate) fn api(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Value)> {
        api(&self.home, method, path, body)
    }

    /// A durable call of `target` with `text`; whether it was acknowledged.
    pub(crate) fn call_durable(&self, target: &str, text: &str) -> bool {
        let body = json!({"target": target, "payload": text, "receipt": "executed+durable", "deadline_ms": 5000});
        matches!(self.api("POST", "/v1/call", Some(&body)), Ok((200, _)))
    }

    /// What it thinks of that member.
    pub(crate) fn state_of(&self, name: &str) -> Option<String> {
        let (_, members) = self.api("GET", "/v1/members", None).ok()?;
        let row = members["members"].as_array()?.iter().find(|row| row["name"] == name)?.clone();
        row["state"].as_str().map(str::to_owned)
    }

    /// Waits until it sees that member alive; how long that took.
    pub(crate) fn wait_alive(&self, name: &str, bound: Duration) -> Duration {
        let begin = Instant::now();
        let alive = || (self.state_of(name).as_deref() == Some("alive")).then_some(());
        wait_for(&format!("{} sees {name} alive", self.name), bound, alive);
        begin.elapsed()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.pid(), "KILL");
            let _ended = self.child.wait();
        }
    }
}

/// Where the machine of a node keeps the state of programs: beside its home, and gone with it.
pub(crate) fn state_of(home: &Path) -> PathBuf {
    home.with_file_name("state")
}

fn with_prefix(prefix: &[String]) -> Command {
    let Some((program, words)) = prefix.split_first() else { return weft() };
    let mut command = Command::new(program);
    command.args(words).arg(env!("CARGO_BIN_EXE_weft")).env_remove("RUST_LOG").env(MDNS.0, MDNS.1);
    command.stdin(Stdio::null());
    command
}

/// Starts a node and reads its first line; what it said when it ended instead.
pub(crate) fn spawn(command: &mut Command) -> Result<(Child, Value), Said> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut stderr = child.stderr.take().expect("piped");
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        let _cut_off = stderr.read_to_string(&mut text);
        text
    });
    let mut line = String::new();
    let _cut_off = stdout.read_line(&mut line);
    if let Ok(up) = serde_json::from_str::<Value>(&line)
        && up["pid"].is_u64()
    {
        let _reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        return Ok((child, up));
    }
    let _cut_off = stdout.read_to_string(&mut line);
    let code = child.wait().expect("a child").code().unwrap_or(-1);
    Err(Said { code, stdout: line, stderr: errors.join().unwrap_or_default() })
}

/// Sends a signal to a process that is ours.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).output();
    assert!(sent.is_ok(), "kill: {sent:?}");
}

/// One HTTP request through the Unix socket of the node in `home`.
pub(crate) fn api(home: &Path, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Value)> {
    let named = std::fs::read_to_string(home.join("api")).ok().map(|path| PathBuf::from(path.trim()));
    let socket = named.filter(|path| path.exists()).unwrap_or_else(|| home.join("api.sock"));
    let token = std::fs::read_to_string(home.join("operator.token"))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(BOUND))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: weft\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        token.trim(),
        body.len(),
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?;
    let body =
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { body.into() };
    Ok((code, serde_json::from_str(&body).unwrap_or(Value::Null)))
}

fn unchunk(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let Ok(size @ 1..) = usize::from_str_radix(size.trim(), 16) else { break };
        whole.push_str(rest.get(..size).unwrap_or_default());
        text = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}
