//! What an agent that is a program may touch and do on its machine, more or less than every such agent may.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::envelope::Refusal;
use crate::error::ParseError;
use crate::limits::{SANDBOX_PATH_BYTES_MAX, SANDBOX_PATHS_MAX};

/// What may be done with an allowed path and everything below it. Nothing in it can be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathMode {
    /// Reading.
    ReadOnly,
    /// Reading, writing, making, renaming and removing.
    ReadWrite,
}

/// A path of the machine that an agent may use, written `/data:ro` or `/data:rw`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AllowedPath {
    /// From the root, without a link in it.
    pub path: String,
    /// For what.
    pub mode: PathMode,
}

impl fmt::Display for AllowedPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            PathMode::ReadOnly => "ro",
            PathMode::ReadWrite => "rw",
        };
        write!(formatter, "{}:{mode}", self.path)
    }
}

impl FromStr for AllowedPath {
    type Err = ParseError;

    /// Without a mode it is read-only. Whether the path is a good one [`SandboxPolicy::check`] says.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (path, mode) = match text.rsplit_once(':') {
            None => (text, PathMode::ReadOnly),
            Some((path, "ro")) => (path, PathMode::ReadOnly),
            Some((path, "rw")) => (path, PathMode::ReadWrite),
            Some(_) => return Err(ParseError::new(text, "a path and a mode (/data, /data:ro or /data:rw)")),
        };
        Ok(Self { path: without_slash(path).to_owned(), mode })
    }
}

/// A folder as a shell completes it is the folder.
fn without_slash(path: &str) -> &str {
    if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path }
}

/// What an agent that is a program may touch beyond the system, its program and its own folder, and what of that it may not.
///
/// [`SandboxPolicy::default`] is what an agent without one has: no path more, no path less, the network, and other programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPolicy {
    /// What it may touch besides; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_paths: Vec<AllowedPath>,
    /// What of the files that every agent may touch it may not, with everything below; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied_paths: Vec<String>,
    /// Whether it may open sockets other than those of its own machine that have a name in the file system.
    pub allow_network: bool,
    /// Whether it may start other programs, shells among them.
    pub allow_shell: bool,
}

impl Default for SandboxPolicy {
    fn default() -> Self {
        Self { allowed_paths: Vec::new(), denied_paths: Vec::new(), allow_network: true, allow_shell: true }
    }
}

impl SandboxPolicy {
    /// The policy with these paths as they are written: `/data:rw`, `/etc`.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a mode that is none.
    pub fn of(allowed: &[String], denied: &[String], allow_network: bool, allow_shell: bool) -> Result<Self, Refusal> {
        let allowed_paths = allowed.iter().map(|text| text.parse()).collect::<Result<_, ParseError>>()?;
        let denied_paths = denied.iter().map(|path| without_slash(path).to_owned()).collect();
        Ok(Self { allowed_paths, denied_paths, allow_network, allow_shell })
    }

    /// Whether it is well-formed, bounded, and not at odds with itself, as far as that can be told without the machine.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] or [`Refusal::Unenforceable`] that names the paths: nothing changed.
    pub fn check(&self) -> Result<(), Refusal> {
        for (what, count) in [("allowed", self.allowed_paths.len()), ("denied", self.denied_paths.len())] {
            if count > SANDBOX_PATHS_MAX {
                return invalid(format!("{count} {what} paths, at most {SANDBOX_PATHS_MAX} are accepted"));
            }
        }
        let paths = self.allowed_paths.iter().map(|allowed| &allowed.path).chain(&self.denied_paths);
        paths.map(String::as_str).try_for_each(check_path)?;
        for (number, allowed) in self.allowed_paths.iter().enumerate() {
            self.check_denied(&allowed.path)?;
            let others = self.allowed_paths.iter().enumerate().filter(|(other, _)| *other != number);
            others.map(|(_, other)| other).try_for_each(|other| check_pair(allowed, other))?;
        }
        Ok(())
    }

    /// Everything not allowed is denied, and what is allowed is allowed with all that is below it.
    fn check_denied(&self, allowed: &str) -> Result<(), Refusal> {
        for denied in &self.denied_paths {
            if is_within(allowed, denied) {
                return invalid(format!("{allowed} is allowed and {denied} denied: leave one of them out"));
            }
            if is_within(denied, allowed) {
                let reason = format!("{denied} cannot be denied, because {allowed} above it is allowed as a whole");
                return Err(Refusal::Unenforceable { reason });
            }
        }
        Ok(())
    }

    /// What of a policy of somebody whom this agent spawns is more than this one has; none when it only narrows.
    #[must_use]
    pub fn widened_by(&self, child: &Self) -> Option<String> {
        if child.allow_network && !self.allow_network {
            return Some("the network".to_owned());
        }
        if child.allow_shell && !self.allow_shell {
            return Some("starting other programs".to_owned());
        }
        let held = |wanted: &&AllowedPath| {
            self.allowed_paths.iter().any(|own| own.mode >= wanted.mode && is_within(&wanted.path, &own.path))
        };
        if let Some(wanted) = child.allowed_paths.iter().find(|wanted| !held(wanted)) {
            return Some(wanted.to_string());
        }
        let kept = |denied: &&String| child.denied_paths.iter().any(|above| is_within(denied, above));
        self.denied_paths.iter().find(|denied| !kept(denied)).cloned()
    }
}

/// What is allowed, then what is denied: `allow /data:rw, deny /etc, no network, no shell`.
impl fmt::Display for SandboxPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = self.allowed_paths.iter().map(|path| format!("allow {path}"));
        let denied = self.denied_paths.iter().map(|path| format!("deny {path}"));
        let network = (!self.allow_network).then(|| "no network".to_owned());
        let shell = (!self.allow_shell).then(|| "no shell".to_owned());
        let all = allowed.chain(denied).chain(network).chain(shell).collect::<Vec<_>>();
        if all.is_empty() { formatter.write_str("as every agent") } else { formatter.write_str(&all.join(", ")) }
    }
}

/// Whether `path` is `above` or lies below it; both without a link and a slash at their ends.
#[must_use]
pub fn is_within(path: &str, above: &str) -> bool {
    let Some(rest) = path.strip_prefix(above) else { return false };
    rest.is_empty() || rest.starts_with('/') || above == "/"
}

fn check_pair(one: &AllowedPath, other: &AllowedPath) -> Result<(), Refusal> {
    if one.path == other.path {
        return invalid(format!("{} is allowed twice: leave one out", one.path));
    }
    if one.mode < other.mode && is_within(&one.path, &other.path) {
        let reason = format!("{one} cannot be read-only, because {other} above it is writable as a whole");
        return Err(Refusal::Unenforceable { reason });
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), Refusal> {
    if path.len() > SANDBOX_PATH_BYTES_MAX {
        return invalid(format!("a path of {} bytes, at most {SANDBOX_PATH_BYTES_MAX} are accepted", path.len()));
    }
    if path.chars().any(char::is_control) {
        return invalid(format!("the path `{}` has a control character in it", path.escape_debug()));
    }
    let Some(rest) = path.strip_prefix('/') else {
        return invalid(format!("the path `{path}` does not begin at the root: write it with a / in front"));
    };
    if rest.split('/').any(|part| matches!(part, "." | "..")) {
        return invalid(format!("the path `{path}` has . or .. in it: write where it leads"));
    }
    if !rest.is_empty() && rest.split('/').any(str::is_empty) {
        return invalid(format!("the path `{path}` has a / too many"));
    }
    Ok(())
}

fn invalid(message: String) -> Result<(), Refusal> {
    Err(Refusal::Invalid { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str], denied: &[&str]) -> SandboxPolicy {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        SandboxPolicy::of(&owned(allowed), &owned(denied), true, true).expect("modes")
    }

    fn refused(allowed: &[&str], denied: &[&str]) -> String {
        let refusal = policy(allowed, denied).check().expect_err("wrong");
        format!("{}: {refusal}", refusal.code())
    }

    #[test]
    fn what_is_written_is_read() {
        for (text, shown) in [("/data", "/data:ro"), ("/data/:rw", "/data:rw"), ("/a:b:ro", "/a:b:ro"), ("/", "/:ro")] {
            assert_eq!(text.parse::<AllowedPath>().expect("a path").to_string(), shown);
        }
        assert!("/data:wr".parse::<AllowedPath>().is_err());
        let all = SandboxPolicy { allow_network: false, allow_shell: false, ..policy(&["/data:rw"], &["/etc/"]) };
        assert_eq!(all.to_string(), "allow /data:rw, deny /etc, no network, no shell");
        assert_eq!(SandboxPolicy::default().to_string(), "as every agent");
    }

    #[test]
    fn good_ones_pass() {
        let many = (0..SANDBOX_PATHS_MAX).map(|number| format!("/data/{number}")).collect::<Vec<_>>();
        let many = many.iter().map(String::as_str).collect::<Vec<_>>();
        let longest = format!("/{}", "a".repeat(SANDBOX_PATH_BYTES_MAX - 1));
        for good in [policy(&[], &[]), policy(&many, &["/etc"]), policy(&[&longest], &[]), policy(&["/data/..a"], &[])]
        {
            assert_eq!(good.check(), Ok(()), "{good}");
        }
        assert_eq!(policy(&["/data:ro", "/data/in:rw", "/datum"], &["/dat"]).check(), Ok(()), "wider below narrower");
    }

    #[test]
    fn wrong_ones_are_refused_with_the_reason() {
        let many = vec!["/a"; SANDBOX_PATHS_MAX + 1];
        let long = format!("/{}", "a".repeat(SANDBOX_PATH_BYTES_MAX));
        let cases: [(&[&str], &[&str], &str); 14] = [
            (&many, &[], "invalid: 33 allowed paths, at most 32 are accepted"),
            (&[], &many, "invalid: 33 denied paths, at most 32 are accepted"),
            (&[&long], &[], "invalid: a path of 513 bytes, at most 512 are accepted"),
            (&["data"], &[], "invalid: the path `data` does not begin at the root: write it with a / in front"),
            (&[""], &[], "invalid: the path `` does not begin at the root: write it with a / in front"),
            (&[], &["~/data"], "invalid: the path `~/data` does not begin at the root: write it with a / in front"),
            (&["/data/../etc"], &[], "invalid: the path `/data/../etc` has . or .. in it: write where it leads"),
            (&[], &["/./etc"], "invalid: the path `/./etc` has . or .. in it: write where it leads"),
            (&["//data"], &[], "invalid: the path `//data` has a / too many"),
            (&["/da\0ta"], &[], "invalid: the path `/da\\0ta` has a control character in it"),
            (&["/data:ro", "/data:rw"], &[], "invalid: /data is allowed twice: leave one out"),
            (&["/data/x"], &["/data"], "invalid: /data/x is allowed and /data denied: leave one of them out"),
            (
                &["/data"],
                &["/data/x"],
                "unenforceable: this sandbox cannot be enforced: /data/x cannot be denied, because /data above it is \
                 allowed as a whole",
            ),
            (
                &["/data:rw", "/data/x:ro"],
                &[],
                "unenforceable: this sandbox cannot be enforced: /data/x:ro cannot be read-only, because /data:rw above \
                 it is writable as a whole",
            ),
        ];
        for (allowed, denied, expected) in cases {
            assert_eq!(refused(allowed, denied), expected);
        }
    }

    #[test]
    fn a_child_only_narrows() {
        let closed = |policy: SandboxPolicy| SandboxPolicy { allow_network: false, allow_shell: false, ..policy };
        let parent = closed(policy(&["/data:ro", "/srv:rw"], &["/etc/ssl", "/proc"]));
        let narrow = closed(policy(&["/data/in:ro", "/srv:ro", "/srv/a:rw"], &["/etc", "/proc", "/bin"]));
        assert_eq!((parent.widened_by(&parent), parent.widened_by(&narrow)), (None, None));
        let wider = [
            (SandboxPolicy { allow_network: true, ..narrow.clone() }, "the network"),
            (SandboxPolicy { allow_shell: true, ..narrow.clone() }, "starting other programs"),
            (closed(policy(&["/data:rw"], &["/etc", "/proc"])), "/data:rw"),
            (closed(policy(&["/dat"], &["/etc", "/proc"])), "/dat:ro"),
            (closed(policy(&["/"], &["/etc", "/proc"])), "/:ro"),
            (closed(policy(&[], &["/etc/ssl/certs", "/proc"])), "/etc/ssl"),
            (closed(policy(&[], &["/etc/ssl"])), "/proc"),
        ];
        for (child, expected) in wider {
            assert_eq!(parent.widened_by(&child).as_deref(), Some(expected), "{child}");
        }
        let none = SandboxPolicy::default();
        assert_eq!(none.widened_by(&closed(policy(&[], &["/etc"]))), None, "less than every agent has");
        assert_eq!(none.widened_by(&policy(&["/data"], &[])).as_deref(), Some("/data:ro"), "more than that");
    }
}
