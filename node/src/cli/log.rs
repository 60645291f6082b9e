//! Where log lines of a running node go: stderr, filtered as configured, and by another filter when that changes.

use std::fmt;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use super::CliError;
use crate::config::{Config, LogFormat};

/// The filter of the lines that are written, while they are.
#[derive(Clone)]
pub(crate) struct LogFilter(Arc<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>);

impl fmt::Debug for LogFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LogFilter")
    }
}

impl LogFilter {
    /// Writes what this filter lets through from now on.
    ///
    /// # Errors
    /// `bad-config` for a filter that is none; the one before stays.
    pub(crate) fn set(&self, text: &str) -> Result<(), CliError> {
        let filter = parse(text).map_err(|problem| CliError::new("bad-config", problem))?;
        (self.0)(filter).map_err(|error| CliError::new("failed", format!("the log keeps its filter: {error}")))
    }
}

/// Whether the text is a filter.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_filter(text: &str) -> Result<(), String> {
    parse(text).map(|_filter| ())
}

fn parse(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(text).map_err(|error| format!("`{text}` is no filter of log lines: {error}"))
}

/// Starts logging; once in a process.
///
/// # Errors
/// `bad-config` for a filter that is none.
pub(crate) fn start(config: &Config) -> Result<LogFilter, CliError> {
    let filter = parse(&config.log).map_err(|problem| CliError::new("bad-config", problem))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let (started, handle) = match config.log_format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let builder = builder.with_ansi(colour && super::output::wants_colour()).with_filter_reloading();
            let reload = builder.reload_handle();
            let set = move |filter| reload.reload(filter).map_err(|error| error.to_string());
            (builder.try_init(), LogFilter(Arc::new(set)))
        }
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            let reload = builder.reload_handle();
            let set = move |filter| reload.reload(filter).map_err(|error| error.to_string());
            (builder.try_init(), LogFilter(Arc::new(set)))
        }
    };
    started.map_err(|error| CliError::new("failed", format!("logging cannot start: {error}")))?;
    Ok(handle)
}
