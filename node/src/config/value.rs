//! What a source can say of a key, and how times and sizes are written.

use std::time::Duration;

/// One value as it was written, before it is known which key it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A text; from the environment and from flags everything is one.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Switch(bool),
    /// A list of texts.
    List(Vec<String>),
    /// Something that no key takes, by the name of its type.
    Other(&'static str),
}

impl Value {
    /// As it is told in an error.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("`{text}`"),
            Self::Number(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
            Self::List(items) => format!("[{}]", items.join(", ")),
            Self::Other(kind) => format!("a {kind}"),
        }
    }

    /// A time in microseconds.
    pub(super) fn time_us(&self) -> Result<u64, String> {
        let Self::Text(text) = self else {
            return Err(format!("a time with its unit, as \"5s\" or \"200ms\", and not {}", self.shown()));
        };
        let time = humantime::parse_duration(text).map_err(|_| format!("`{text}` is not a time (500ms, 5s, 1h)"))?;
        u64::try_from(time.as_micros()).map_err(|_| format!("`{text}` is longer than any time"))
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self) -> Result<u64, String> {
        let refused = || format!("a whole number, and not {}", self.shown());
        match self {
            Self::Number(number) => u64::try_from(*number).map_err(|_| refused()),
            Self::Text(text) => text.parse().map_err(|_| refused()),
            Self::Switch(_) | Self::List(_) | Self::Other(_) => Err(refused()),
        }
    }

    /// A size in bytes, as a number or with a unit.
    pub(super) fn bytes(&self) -> Result<u64, String> {
        let refused = || format!("a size, as \"64KiB\", and not {}", self.shown());
        match self {
            Self::Number(number) => u64::try_from(*number).map_err(|_| refused()),
            Self::Text(text) => crate::cli::bytes(text).ok_or_else(refused),
            Self::Switch(_) | Self::List(_) | Self::Other(_) => Err(refused()),
        }
    }

    /// Whether something is done.
    pub(super) fn switch(&self) -> Result<bool, String> {
        match self {
            Self::Switch(on) => Ok(*on),
            Self::Text(text) if text == "true" => Ok(true),
            Self::Text(text) if text == "false" => Ok(false),
            Self::Text(_) | Self::Number(_) | Self::List(_) | Self::Other(_) => {
                Err(format!("true or false, and not {}", self.shown()))
            }
        }
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Number(_) | Self::Switch(_) | Self::List(_) | Self::Other(_) => {
                Err(format!("a text, and not {}", self.shown()))
            }
        }
    }

    /// A list of texts; a text is a list with commas.
    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        match self {
            Self::List(items) => Ok(items.clone()),
            Self::Text(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(items.map(str::to_owned).collect())
            }
            Self::Number(_) | Self::Switch(_) | Self::Other(_) => {
                Err(format!("a list of texts, and not {}", self.shown()))
            }
        }
    }
}

/// A time as it is written in a file: `500ms`, `5s`, `1m`.
pub(super) fn show_time(us: u64) -> String {
    humantime::format_duration(Duration::from_micros(us)).to_string()
}

/// A size as it is written in a file.
pub(super) fn show_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}
