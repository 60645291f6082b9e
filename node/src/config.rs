//! What can be configured: a TOML file, then the environment, then flags; one typed value comes out.
//!
//! The file is HOME/config.toml, or `$XDG_CONFIG_HOME/weft/config.toml` when the home has none. A key that nobody knows is
//! refused with the nearest right one: a setting that is silently ignored is worse than one that is missing.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use serde::Deserialize;
use weft_protocol::NodeName;

use crate::cli::nearest;
use crate::home::HomeDir;

/// Largest configuration file in bytes (guess; a full one has a few hundred).
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// What changes and matters; of the transport only what is wrong.
const LOG_DEFAULT: &str = "info,libp2p=warn";
/// All keys of the file; each is also an environment variable `WEFT_` and its name in capitals.
const KEYS: [&str; 4] = ["name", "listen", "log", "log_format"];
/// Variables that are ours and no settings.
const OTHER_VARIABLES: [&str; 4] = ["WEFT_HOME", "WEFT_AGENT", "WEFT_NODE", "WEFT_API"];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object on each line.
    Json,
}

/// All settings of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// The name a new node goes by; one that exists keeps its own.
    pub(crate) name: Option<NodeName>,
    /// Multiaddresses to listen on. Empty: QUIC and TCP on all interfaces, at ports chosen once and kept.
    pub(crate) listen: Vec<String>,
    /// Which log lines are written, as tracing's filter directives; [`LOG_DEFAULT`] without one.
    pub(crate) log: String,
    /// How they look.
    pub(crate) log_format: LogFormat,
}

/// One source of settings; what it leaves out the source before it decides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// See [`Config::name`].
    pub(crate) name: Option<NodeName>,
    /// See [`Config::listen`].
    pub(crate) listen: Option<Vec<String>>,
    /// See [`Config::log`].
    pub(crate) log: Option<String>,
    /// See [`Config::log_format`].
    pub(crate) log_format: Option<LogFormat>,
}

/// Why the configuration was refused. The writer's fault; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file does not say what it should.
    #[error("{}:{line}: {problem}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Where, from one.
        line: usize,
        /// What is wrong, with the nearest right key.
        problem: String,
    },
    /// A variable does not say what it should.
    #[error("{variable}: {problem}")]
    Variable {
        /// Which.
        variable: String,
        /// What is wrong.
        problem: String,
    },
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

impl From<ConfigError> for crate::cli::CliError {
    fn from(error: ConfigError) -> Self {
        Self::new("bad-config", error.to_string())
    }
}

/// The configuration of the node in `home`: its file, the environment, then `flags`.
///
/// # Errors
/// [`ConfigError`] naming the file and line, or the variable.
pub(crate) fn load(home: &HomeDir, flags: Settings) -> Result<Config, ConfigError> {
    let file = match read(&home.config())? {
        Some(settings) => settings,
        None => user_settings()?,
    };
    let environment = from_environment(
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    )?;
    Ok(merge([file, environment, flags]))
}

/// The settings of the user's own file, which name a node before there is a home.
///
/// # Errors
/// [`ConfigError`].
pub(crate) fn user_settings() -> Result<Settings, ConfigError> {
    let Ok(folders) = etcetera::base_strategy::Xdg::new() else { return Ok(Settings::default()) };
    Ok(read(&folders.config_dir().join("weft/config.toml"))?.unwrap_or_default())
}

/// The name that file or environment give a new node.
///
/// # Errors
/// [`ConfigError`].
pub(crate) fn configured_name() -> Result<Option<NodeName>, ConfigError> {
    let name = variable("WEFT_NAME").and_then(|name| Some(("WEFT_NAME".to_owned(), name.into_string().ok()?)));
    Ok(from_environment(name)?.name.or(user_settings()?.name))
}

/// A variable of the environment that is set to something.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn merge(sources: impl IntoIterator<Item = Settings>) -> Config {
    let mut config =
        Config { name: None, listen: Vec::new(), log: LOG_DEFAULT.to_owned(), log_format: LogFormat::default() };
    for source in sources {
        config.name = source.name.or(config.name);
        config.listen = source.listen.unwrap_or(config.listen);
        config.log = source.log.unwrap_or(config.log);
        config.log_format = source.log_format.unwrap_or(config.log_format);
    }
    config
}

fn read(path: &Path) -> Result<Option<Settings>, ConfigError> {
    let failed = |source| ConfigError::Io { path: path.to_owned(), source };
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if size > FILE_BYTES_MAX {
        return Err(failed(io::Error::other(format!("{size} bytes, at most {FILE_BYTES_MAX} are accepted"))));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse(&text).map(Some).map_err(|(line, problem)| ConfigError::File { path: path.to_owned(), line, problem })
}

/// The settings in this text, or the line and what is wrong there.
fn parse(text: &str) -> Result<Settings, (usize, String)> {
    let table: toml::Table = toml::from_str(text).map_err(|error| problem(text, &error))?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err((line_of_key(text, key), unknown(key, KEYS)));
    }
    toml::from_str(text).map_err(|error| problem(text, &error))
}

fn problem(text: &str, error: &toml::de::Error) -> (usize, String) {
    let offset = error.span().map_or(0, |span| span.start);
    let line = text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
    (line, error.message().lines().next().unwrap_or_default().to_owned())
}

fn line_of_key(text: &str, key: &str) -> usize {
    let names_key = |line: &str| {
        let line = line.trim_start().trim_start_matches(['[', '"', '\'']);
        line.strip_prefix(key).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    };
    text.lines().position(names_key).map_or(1, |index| index + 1)
}

fn unknown<const N: usize>(key: &str, known: [&str; N]) -> String {
    match nearest(key, known) {
        Some(near) => format!("unknown key `{key}`; did you mean `{near}`?"),
        None => format!("unknown key `{key}`; known keys: {}", known.join(", ")),
    }
}

/// Variables that only resemble ours are refused; others that begin with `WEFT_` may be another program's.
fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    for (variable, value) in variables {
        let Some(rest) = variable.strip_prefix("WEFT_") else { continue };
        let key = rest.to_ascii_lowercase();
        let refuse = |problem| ConfigError::Variable { variable: variable.clone(), problem };
        match key.as_str() {
            "name" => settings.name = Some(value.parse().map_err(|error| refuse(format!("{error}")))?),
            "listen" => settings.listen = Some(value.split(',').map(|word| word.trim().to_owned()).collect()),
            "log" => settings.log = Some(value),
            "log_format" => {
                let format = clap::ValueEnum::from_str(&value, true);
                settings.log_format = Some(format.map_err(|_| refuse(format!("`{value}` is neither text nor json")))?);
            }
            _ if OTHER_VARIABLES.contains(&variable.as_str()) => {}
            _ => {
                if let Some(near) = nearest(&key, KEYS) {
                    let near = near.to_ascii_uppercase();
                    return Err(refuse(format!("unknown variable; did you mean WEFT_{near}?")));
                }
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_sources_win() {
        let file = parse("name = \"alpha\"\nlog = \"debug\"\nlisten = [\"/ip4/127.0.0.1/tcp/1\"]\n").expect("settings");
        let environment = from_environment([("WEFT_LOG".to_owned(), "warn".to_owned())]).expect("settings");
        let flags = Settings { listen: Some(vec!["/ip4/127.0.0.1/tcp/2".to_owned()]), ..Settings::default() };
        let config = merge([file, environment, flags]);
        assert_eq!(config.name, Some("alpha".parse().expect("a name")));
        assert_eq!((config.log.as_str(), config.log_format), ("warn", LogFormat::Text));
        assert_eq!(config.listen, ["/ip4/127.0.0.1/tcp/2"]);
    }

    #[test]
    fn wrong_files_are_refused_with_line_and_nearest_key() {
        let cases = [
            ("# c\n\nlissten = []\n", 3, "unknown key `lissten`; did you mean `listen`?"),
            ("[limits]\nx = 1\n", 1, "unknown key `limits`; known keys: name, listen, log, log_format"),
            ("name = \"a\"\nlog_format = \"xml\"\n", 2, "unknown variant `xml`, expected `text` or `json`"),
            ("name = \"A b\"\n", 1, "`A b` is not a name (1 to 63 of a-z 0-9 - _, beginning with a letter or digit)"),
            ("listen = 7\n", 1, "invalid type: integer `7`, expected a sequence"),
        ];
        for (text, line, problem) in cases {
            assert_eq!(parse(text), Err((line, problem.to_owned())), "{text}");
        }
        assert_eq!(parse("name = \n").expect_err("cut").0, 1);
    }

    #[test]
    fn variables_that_resemble_ours_are_refused() {
        let check = |name: &str, value: &str| {
            from_environment([(name.to_owned(), value.to_owned())]).map_err(|error| error.to_string())
        };
        assert_eq!(check("WEFT_LISTEM", "x"), Err("WEFT_LISTEM: unknown variable; did you mean WEFT_LISTEN?".into()));
        assert_eq!(check("WEFT_LOG_FORMAT", "xml"), Err("WEFT_LOG_FORMAT: `xml` is neither text nor json".into()));
        assert_eq!(check("WEFT_HOME", "/x"), Ok(Settings::default()));
        assert_eq!(check("WEFT_SOMETHING_ELSE", "x"), Ok(Settings::default()));
        assert_eq!(check("PATH", "x"), Ok(Settings::default()));
    }
}
