//! Why a configuration was refused: always its writer's fault, and nothing was changed.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::CliError;

/// See the module. Trying again cannot help before the named place says something else.
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
    /// A variable, a flag or the whole does not say what it should.
    #[error("{place}: {problem}")]
    Elsewhere {
        /// The variable or flag.
        place: String,
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

impl ConfigError {
    /// An error of the file system about `path`.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        match &error {
            ConfigError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::new("not-found", error.to_string())
            }
            ConfigError::Io { .. } => Self::new("bad-config", error.to_string()),
            ConfigError::File { .. } | ConfigError::Elsewhere { .. } => {
                Self::new("bad-config", error.to_string()).hint("weft config show KEY says what is allowed")
            }
        }
    }
}
