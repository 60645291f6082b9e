//! What an agent writes to its error output and logs: one file per agent, of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::wall;
use crate::runners::clip;

/// A file of this size becomes the `.old` one, in place of the last: an agent's log takes at most twice this (guess).
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest line that is kept, in characters (guess).
const LINE_CHARACTERS_MAX: usize = 4_096;

/// The log of one agent; clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct AgentLog(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    size: u64,
    last: String,
}

impl AgentLog {
    /// Opens `FOLDER/NAME.log` to append to it.
    ///
    /// # Errors
    /// What the file system said.
    pub(crate) fn open(folder: &Path, name: &str) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(format!("{name}.log"));
        let file = append_to(&path)?;
        let size = file.metadata()?.len();
        Ok(Self(Arc::new(Mutex::new(Inner { path, file, size, last: String::new() }))))
    }

    /// Adds a line with the time and where it came from. A full disk loses the line, not the agent.
    pub(crate) fn line(&self, source: &str, text: &str) {
        let time = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(wall().0));
        // One entry is one line, whatever an agent puts into it.
        let text = clip(text.trim_end(), LINE_CHARACTERS_MAX).replace(char::is_control, " ");
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.write(&format!("{time} {source} {text}\n")).is_err() {
            tracing::debug!(path = %inner.path.display(), "a line of an agent's log was lost");
        }
        inner.last = text;
    }

    /// The last line, for whoever asks why the agent ended.
    pub(crate) fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }
}

impl Inner {
    fn write(&mut self, line: &str) -> io::Result<()> {
        let size = line.len() as u64;
        if self.size + size > FILE_BYTES_MAX {
            fs::rename(&self.path, self.path.with_extension("log.old"))?;
            self.file = append_to(&self.path)?;
            self.size = 0;
        }
        self.file.write_all(line.as_bytes())?;
        self.size += size;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_log_never_takes_more_than_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let log = AgentLog::open(folder.path(), "a").unwrap();
        let line = "x".repeat(5_000);
        for _ in 0..800 {
            log.line("stderr", &line);
        }
        log.line("stderr", "the end\n");
        assert_eq!(log.last(), "the end");
        let sizes: Vec<_> =
            ["a.log", "a.log.old"].map(|name| fs::metadata(folder.path().join(name)).unwrap().len()).into();
        assert!(sizes.iter().all(|size| *size <= FILE_BYTES_MAX), "{sizes:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let text = fs::read_to_string(folder.path().join("a.log")).unwrap();
        assert!(text.ends_with("Z stderr the end\n"), "{text}");
    }
}
