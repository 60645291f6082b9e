//! How answers are printed: results on stdout, everything else on stderr, colour only on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::CliError;

/// Where results go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// For people, or with `json` for programs.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub(crate) const fn json(self) -> bool {
        self.json
    }

    /// Prints the report as one line of JSON, or what `text` makes of it.
    ///
    /// # Errors
    /// A failed write; a reader that is gone is `closed`, see [`CliError::is_silent`].
    pub(crate) fn report<T: Serialize>(self, report: &T, text: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        if self.json { self.object(report) } else { self.text(&text(report)) }
    }

    /// Prints one line of JSON.
    ///
    /// # Errors
    /// See [`Self::report`].
    pub(crate) fn object<T: Serialize>(self, object: &T) -> Result<(), CliError> {
        let line = serde_json::to_string(object).map_err(|error| CliError::new("failed", error.to_string()))?;
        self.text(&line)
    }

    /// Prints text as it is, at once: it may be the beginning of a line.
    ///
    /// # Errors
    /// See [`Self::report`].
    pub(crate) fn piece(self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(CliError::writing)
    }

    /// Prints text; ends the last line when it does not end itself. No text prints nothing.
    ///
    /// # Errors
    /// See [`Self::report`].
    pub(crate) fn text(self, text: &str) -> Result<(), CliError> {
        if text.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let write = |stdout: &mut io::StdoutLock<'_>| {
            stdout.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                stdout.write_all(b"\n")?;
            }
            stdout.flush()
        };
        write(&mut stdout).map_err(CliError::writing)
    }

    /// Prints a remark on stderr; a reader that is gone does not matter.
    pub(crate) fn remark(self, text: &str) {
        if !self.json {
            let _reader_is_gone = writeln!(io::stderr(), "{text}");
        }
    }

    /// Prints an error: the object on stdout for programs, one line on stderr for people.
    pub(crate) fn error(self, error: &CliError) {
        if error.is_silent() {
            return;
        }
        if self.json {
            let _reader_is_gone = self.object(&error.body());
        } else {
            let _reader_is_gone = writeln!(io::stderr(), "{} {error}", paint_stderr("error:", RED));
        }
    }
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";

/// Whether nobody asked for no colour (no-color.org).
pub(crate) fn wants_colour() -> bool {
    crate::config::variable("NO_COLOR").is_none()
}

fn paint(text: &str, code: &str, terminal: bool) -> String {
    if terminal && wants_colour() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn paint_stderr(text: &str, code: &str) -> String {
    paint(text, code, io::stderr().is_terminal())
}

/// Good news, in green on a terminal.
pub(crate) fn good(text: &str) -> String {
    paint(text, GREEN, io::stdout().is_terminal())
}

/// Bad news, in red on a terminal.
pub(crate) fn bad(text: &str) -> String {
    paint(text, RED, io::stdout().is_terminal())
}

/// Something to look at, in yellow on a terminal.
pub(crate) fn doubtful(text: &str) -> String {
    paint(text, YELLOW, io::stdout().is_terminal())
}

/// Something beside the point, dim on a terminal.
pub(crate) fn dim(text: &str) -> String {
    paint(text, DIM, io::stdout().is_terminal())
}

/// Aligned columns under a header; without rows `empty` instead.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>, empty: &str) -> String {
    if rows.is_empty() {
        return empty.to_owned();
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(str::to_uppercase));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Lines of a name and a value, the values aligned.
pub(crate) fn card<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines = lines.into_iter().collect::<Vec<_>>();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("  {name:width$}   {value}\n")).collect()
}

/// Microseconds as people read them: `0.3 ms`, `212 ms`, `1.2 s`.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// A number with a comma at every third digit.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 member`, `2 members`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

/// The first and the last characters of a long id.
pub(crate) fn short(id: &str) -> String {
    match (id.get(..6), id.len().checked_sub(6).and_then(|start| id.get(start..))) {
        (Some(first), Some(last)) if id.len() > 16 => format!("{first}…{last}"),
        _ => id.to_owned(),
    }
}

/// How long ago a time in RFC 3339 is: `3s`, `4m`, `2h`, `5d`.
pub(crate) fn ago(time: &str) -> String {
    let then = humantime::parse_rfc3339(time).ok().and_then(|then| then.duration_since(UNIX_EPOCH).ok());
    let Some(then) = then else { return time.to_owned() };
    rough(Duration::from_micros(crate::clock::wall().0).saturating_sub(then))
}

/// A duration in its largest unit.
pub(crate) fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// How a clock that is so many milliseconds ahead stands to the machine's: `30s behind this machine's`.
pub(crate) fn clock(offset_ms: i64) -> String {
    let off = humantime::format_duration(Duration::from_millis(offset_ms.unsigned_abs()));
    match offset_ms {
        ..0 => format!("{off} behind this machine's"),
        0 => "this machine's".to_owned(),
        1.. => format!("{off} ahead of this machine's"),
    }
}

/// A listening address as people read it: `quic 192.168.1.7:4810`.
pub(crate) fn address(multiaddr: &str) -> String {
    let parts: Vec<&str> = multiaddr.split('/').collect();
    match parts.as_slice() {
        ["", "ip4" | "ip6" | "dns" | "dns4" | "dns6", host, protocol, port, rest @ ..] => {
            let host = if host.contains(':') { format!("[{host}]") } else { (*host).to_owned() };
            let transport = if rest.contains(&"quic-v1") { "quic" } else { protocol };
            format!("{transport} {host}:{port}")
        }
        _ => multiaddr.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(7), count(123), count(1_204), count(1_234_567)], ["7", "123", "1,204", "1,234,567"]);
        assert_eq!(
            [micros(300), micros(2_100), micros(212_000), micros(1_250_000)],
            ["0.3 ms", "2.1 ms", "212 ms", "1.2 s"]
        );
        assert_eq!([plural(1, "member"), plural(2, "member")], ["1 member", "2 members"]);
        assert_eq!(rough(Duration::from_secs(7_300)), "2h");
    }

    #[test]
    fn addresses_read_well() {
        assert_eq!(address("/ip4/192.168.1.7/udp/4810/quic-v1"), "quic 192.168.1.7:4810");
        assert_eq!(address("/ip4/192.168.1.7/tcp/4810"), "tcp 192.168.1.7:4810");
        assert_eq!(address("/ip6/::1/tcp/4810"), "tcp [::1]:4810");
        assert_eq!(address("/memory/7"), "/memory/7");
    }

    #[test]
    fn columns_are_aligned() {
        let text = table(["name", "state"], vec![["alpha".into(), "alive".into()], ["b".into(), "dead".into()]], "");
        assert_eq!(text, "NAME   STATE\nalpha  alive\nb      dead");
        assert_eq!(table(["name"], Vec::new(), "nobody"), "nobody");
        assert_eq!(card([("node", "alpha".into()), ("id", "x".into())]), "  node   alpha\n  id     x\n");
    }
}
