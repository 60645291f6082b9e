//! Where settings come from: files with their lines, variables, flags.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::keys::{KEYS, Key, sections, unknown};
use super::value::Value;
use crate::cli::nearest;

/// Largest configuration file in bytes (guess; a full one has a few thousand).
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Variables that are ours and no settings.
const OTHER_VARIABLES: [&str; 4] = ["WEFT_HOME", "WEFT_AGENT", "WEFT_NODE", "WEFT_API"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The program.
    Default,
    /// A line of a file, counted from one.
    File(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl Origin {
    /// What is wrong with what was said there.
    pub(super) fn refuse(&self, problem: String) -> ConfigError {
        match self {
            Self::File(path, line) => ConfigError::File { path: path.clone(), line: *line, problem },
            other => ConfigError::Elsewhere { place: other.to_string(), problem },
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path, line) => write!(formatter, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => formatter.write_str(name),
        }
    }
}

/// One value of one key.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) key: &'static Key,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// What was typed, as pairs of key and value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(Vec<(String, String, String)>);

impl Flags {
    /// Adds the value of a key that a flag of this name gave.
    pub(crate) fn add(&mut self, flag: &str, key: &str, value: impl fmt::Display) {
        self.0.push((flag.to_owned(), key.to_owned(), value.to_string()));
    }

    pub(super) fn given(&self) -> Result<Vec<Given>, ConfigError> {
        let given = self.0.iter().map(|(flag, name, value)| {
            let origin = Origin::Flag(flag.clone());
            let key = Key::named(name).ok_or_else(|| origin.refuse(unknown(name)))?;
            Ok(Given { key, value: Value::Text(value.clone()), origin })
        });
        given.collect()
    }
}

/// The file of all nodes of this user; none when the user has no folders.
pub(super) fn user_file() -> Option<PathBuf> {
    let folders = etcetera::base_strategy::Xdg::new().ok()?;
    Some(folders.config_dir().join("weft/config.toml"))
}

/// What the file says; none when there is no file.
pub(super) fn file(path: &Path) -> Result<Option<Vec<Given>>, ConfigError> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        // A home that cannot be one is refused by whoever opens it.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(ConfigError::io(path, error)),
    };
    if size > FILE_BYTES_MAX {
        let problem = format!("{size} bytes, at most {FILE_BYTES_MAX} are accepted");
        return Err(ConfigError::io(path, io::Error::other(problem)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::io(path, error))?;
    parse(path, &text).map(Some)
}

/// What this text of a file says.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Given>, ConfigError> {
    let line = |offset: usize| text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
    let refuse = |offset: usize, problem: String| Origin::File(path.to_owned(), line(offset)).refuse(problem);
    let table = DeTable::parse(text).map_err(|error| {
        let problem = error.message().lines().next().unwrap_or_default().to_owned();
        refuse(error.span().map_or(0, |span| span.start), problem)
    })?;
    let mut given = Vec::new();
    let mut add = |name: &str, at: usize, value: &DeValue<'_>| match Key::named(name) {
        None => Err(refuse(at, unknown(name))),
        Some(key) => {
            let origin = Origin::File(path.to_owned(), line(at));
            given.push(Given { key, value: written(value), origin });
            Ok(())
        }
    };
    for (name, value) in table.get_ref() {
        let at = name.span().start;
        let name = name.get_ref();
        let DeValue::Table(section) = value.get_ref() else {
            add(name, at, value.get_ref())?;
            continue;
        };
        if !sections().any(|known| known == name) {
            let problem = match nearest(name, sections()) {
                Some(near) => format!("unknown section `{name}`; did you mean `{near}`?"),
                None => format!("unknown section `{name}`; sections are {}", sections().collect::<Vec<_>>().join(", ")),
            };
            return Err(refuse(at, problem));
        }
        for (inner, value) in section {
            add(&format!("{name}.{}", inner.get_ref()), inner.span().start, value.get_ref())?;
        }
    }
    Ok(given)
}

fn written(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(&number.as_str().replace('_', ""), number.radix());
            parsed.map_or(Value::Other("number beyond 64 bits"), Value::Number)
        }
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map_or(Value::Other("list of other things"), Value::List)
        }
        DeValue::Boolean(on) => Value::Switch(*on),
        other => Value::Other(other.type_str()),
    }
}

/// Variables that only resemble ours are refused; others that begin with `WEFT_` may be another program's.
pub(super) fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Result<Vec<Given>, ConfigError> {
    let mut given = Vec::new();
    for (variable, value) in variables {
        let Some(rest) = variable.strip_prefix("WEFT_") else { continue };
        let origin = Origin::Variable(variable.clone());
        if let Some(key) = KEYS.iter().find(|key| key.variable() == variable) {
            given.push(Given { key, value: Value::Text(value), origin });
        } else if !OTHER_VARIABLES.contains(&variable.as_str()) {
            let names: Vec<String> = KEYS.iter().map(Key::variable).collect();
            let near = nearest(&variable, names.iter().map(String::as_str));
            let ours = sections().any(|section| rest.starts_with(&format!("{}_", section.to_ascii_uppercase())));
            match near {
                Some(near) => return Err(origin.refuse(format!("unknown variable; did you mean {near}?"))),
                None if ours => return Err(origin.refuse("unknown variable: no key has that name".to_owned())),
                None => {}
            }
        }
    }
    Ok(given)
}
